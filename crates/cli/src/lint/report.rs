//! The report as text, JSON and SARIF.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use anstyle::Style;
use serde_json::{Value, json};

use super::{
    baseline::Baseline,
    finding::{self, Finding, IgnoredBy},
    registry::rules,
    rule::{Rule, Severity},
};
use crate::output::{ASIDE, ERROR, GOOD, NAME, WARNING, count, is_harmful, plain};

/// The key in [`LintReport::not_run`] of rules that need objects of other files.
pub(super) const OTHER_FILES: &str = "other files";
/// The document that explains the rules.
const DOCUMENT: &str = "docs/lint.md";

/// The result of lint.
#[derive(Clone, Debug)]
pub struct LintReport {
    /// Findings in the order of files and lines, including ignored ones.
    pub findings: Vec<Finding>,
    /// Rules that did not run, by the kind of object that the input lacks.
    pub not_run: BTreeMap<&'static str, Vec<&'static Rule>>,
    /// Rules that judge by the absence of an object and could not do so, by the kind that no API server listed.
    pub in_part: BTreeMap<&'static str, Vec<&'static Rule>>,
    /// Ignores that match no finding, as the user wrote them.
    pub unused: Vec<String>,
    /// Number of entries of the baseline that match no finding.
    pub stale: usize,
    /// Number of Services.
    pub services: usize,
}

impl LintReport {
    /// Adds the report of another file.
    pub fn append(&mut self, other: Self) {
        let Self { findings, not_run, in_part, unused, stale, services } = other;
        self.findings.extend(findings);
        finding::sort(&mut self.findings);
        self.not_run.extend(not_run);
        self.in_part.extend(in_part);
        self.stale += stale;
        // An ignore may match a finding of any file.
        self.unused.retain(|ignore| unused.contains(ignore));
        self.services += services;
    }

    /// Findings that are not ignored.
    pub fn open(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.ignored.is_none())
    }

    /// The baseline of the findings that are open or in the baseline of this run.
    #[must_use]
    pub fn baseline(&self) -> Baseline {
        let is_kept =
            |finding: &&Finding| finding.ignored.as_ref().is_none_or(|ignored| ignored.by == IgnoredBy::Baseline);
        Baseline::of(self.findings.iter().filter(is_kept))
    }

    /// Whether an open finding has this severity or a worse one.
    #[must_use]
    pub fn fails_on(&self, severity: Severity) -> bool {
        self.open().any(|finding| finding.rule.severity >= severity)
    }

    /// A line for each missing kind, with the rules that did not run or judged only a part.
    #[must_use]
    pub fn not_run(&self) -> Vec<String> {
        let ids = |rules: &[&Rule]| rules.iter().map(|rule| rule.id).collect::<Vec<_>>().join(", ");
        let missing = self.not_run.iter().map(|(kind, rules)| {
            if *kind == OTHER_FILES {
                return format!("rules not run because they need the objects of other files: {}", ids(rules));
            }
            let resource = resource(kind);
            format!("rules not run because the input has no {kind}: {}; add {resource} to kubectl get", ids(rules))
        });
        let in_part: Vec<String> =
            self.in_part.iter().map(|(kind, rules)| format!("{} ({kind})", ids(rules))).collect();
        let in_part = (!in_part.is_empty()).then(|| {
            let rules = in_part.join(", ");
            format!("rules that need a dump to know what is missing, because manifests may lack it: {rules}")
        });
        missing.chain(in_part).collect()
    }

    /// How many rules did not run, and the kinds of objects that they need; `None` if all rules ran.
    fn without_verdict(&self) -> Option<String> {
        let rules_not_run: BTreeSet<&str> = self.not_run.values().flatten().map(|rule| rule.id).collect();
        let has_neither = self.not_run.contains_key("Pod or workload");
        let kinds = self.not_run.keys().copied().filter(|kind| !(has_neither && *kind == "Pod"));
        let kinds: Vec<&str> = kinds.collect();
        let all = rules().count();
        (!kinds.is_empty()).then(|| {
            format!("{} of {all} rules did not run: the input has no {}", rules_not_run.len(), kinds.join(", no "))
        })
    }
}

/// The word for a kind in `kubectl get`.
fn resource(kind: &str) -> &'static str {
    match kind {
        "EndpointSlice" => "endpointslices",
        "EnvoyFilter" => "envoyfilters",
        "Node" => "nodes",
        "Pod" | "Pod or workload" => "pods",
        _ => "services",
    }
}

/// The report as text for people, with or without the codes of colours.
#[must_use]
pub fn text(report: &LintReport, has_colours: bool) -> String {
    let style = |style: Style| if has_colours { style } else { Style::new() };
    let (name, aside) = (style(NAME), style(ASIDE));
    let mut text = String::new();
    for finding in report.open() {
        let Finding { rule, object, field, file, line, message, why, fix, .. } = finding;
        let paste = finding.paste();
        let colour = style(colour(rule.severity));
        let (id, severity) = (rule.id, rule.severity);
        // An object from an API has no line.
        let file = if *line > 0 { format!("{}:{line}", plain(file)) } else { plain(file) };
        let object = shortened(&object.to_string());
        let (field, message) = (shortened(field), shortened(message));
        push(
            &mut text,
            format_args!("{file}: {colour}{severity}[{id}]{colour:#} {name}{object}{name:#}, {field}: {message}"),
        );
        push(&mut text, format_args!("    {aside}why:{aside:#} {why}"));
        push(&mut text, format_args!("    {aside}fix:{aside:#} {}", plain(fix)));
        if let Some(paste) = paste {
            push(&mut text, format_args!("         {}", plain(&paste)));
        }
    }
    if report.open().next().is_some() {
        text.push('\n');
    }
    push(&mut text, format_args!("{}", summary(report, style(GOOD))));
    let ignored = |is_baseline: bool| {
        let ignored = report.findings.iter().filter_map(|finding| finding.ignored.as_ref());
        ignored.filter(|ignored| (ignored.by == IgnoredBy::Baseline) == is_baseline).count()
    };
    let (with_reasons, in_baseline) = (ignored(false), ignored(true));
    if with_reasons > 0 {
        push(&mut text, format_args!("{} ignored, with reasons", count(with_reasons, "finding", "findings")));
    }
    if in_baseline > 0 {
        push(&mut text, format_args!("{} ignored, in the baseline", count(in_baseline, "finding", "findings")));
    }
    for line in report.not_run() {
        push(&mut text, format_args!("{aside}{line}{aside:#}"));
    }
    text
}

/// Text from the input, safe for a terminal, and cut if it is longer than any that Kubernetes accepts.
fn shortened(text: &str) -> String {
    const SHOWN_CHARS: usize = 1000;
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", plain(text.get(..end).unwrap_or(text))),
        None => plain(text),
    }
}

fn push(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a `String` cannot fail.
    let _ = writeln!(text, "{line}");
}

fn colour(severity: Severity) -> Style {
    match severity {
        Severity::Error => ERROR,
        Severity::Warning => WARNING,
        Severity::Info => NAME,
    }
}

fn summary(report: &LintReport, good: Style) -> String {
    let of = |severity| report.open().filter(|finding| finding.rule.severity == severity).count();
    let services = count(report.services, "Service", "Services");
    let (errors, warnings, infos) = (of(Severity::Error), of(Severity::Warning), of(Severity::Info));
    let not_run = report.without_verdict().map_or(String::new(), |not_run| format!("; {not_run}"));
    if errors + warnings + infos == 0 {
        return format!("{good}no issues{good:#} in {services}{not_run}");
    }
    let found =
        [count(errors, "error", "errors"), count(warnings, "warning", "warnings"), count(infos, "info", "infos")];
    format!("{} in {services}{not_run}", found.join(", "))
}

/// The report as JSON: a list of findings.
#[must_use]
pub fn json(report: &LintReport) -> String {
    let findings: Vec<Value> = report.findings.iter().map(finding_json).collect();
    pretty(&Value::from(findings))
}

fn finding_json(finding: &Finding) -> Value {
    let Finding { rule, object, field, file, line, message, why, fix, ignored, .. } = finding;
    json!({
        "rule": rule.id,
        "name": rule.name,
        "severity": rule.severity.as_str(),
        "object": {"kind": object.kind, "namespace": object.namespace, "name": object.name},
        "field": field,
        "file": **file,
        "line": (*line > 0).then_some(line),
        "message": message,
        "why": why,
        "fix": fix,
        "paste": finding.paste(),
        "fingerprint": fingerprint(finding),
        "ignored": ignored.as_ref().map(|ignored| json!({"by": by(ignored.by), "reason": ignored.reason})),
    })
}

fn by(by: IgnoredBy) -> &'static str {
    match by {
        IgnoredBy::Flag => "flag",
        IgnoredBy::Annotation => "annotation",
        IgnoredBy::Baseline => "baseline",
    }
}

/// The report as SARIF 2.1.0, for code scanning.
#[must_use]
pub fn sarif(report: &LintReport) -> String {
    // Code scanning keeps a baseline of its own.
    let is_shown =
        |finding: &&Finding| finding.ignored.as_ref().is_none_or(|ignored| ignored.by != IgnoredBy::Baseline);
    let results: Vec<Value> = report.findings.iter().filter(is_shown).map(result).collect();
    pretty(&json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "byname",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules().map(descriptor).collect::<Vec<_>>(),
            }},
            "results": results,
        }],
    }))
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "note",
    }
}

fn descriptor(rule: &Rule) -> Value {
    let Rule { id, name, severity, summary, why, fix, .. } = rule;
    let anchor = id.to_ascii_lowercase();
    json!({
        "id": id,
        "name": name,
        "shortDescription": {"text": summary},
        "fullDescription": {"text": format!("{summary}: {why}")},
        "help": {
            "text": format!("why: {why}\nfix: {fix}\nmore: {DOCUMENT}#{anchor}"),
            "markdown": format!("**Why:** {why}\n\n**Fix:** {fix}\n\n**More:** `{DOCUMENT}#{anchor}`"),
        },
        "defaultConfiguration": {"level": level(*severity)},
    })
}

fn result(finding: &Finding) -> Value {
    let Finding { rule, object, field, file, line, message, why, fix, ignored, .. } = finding;
    let paste = finding.paste().map_or(String::new(), |paste| format!("\n{paste}"));
    let what = format!("{object}, {field}");
    let mut result = json!({
        "ruleId": rule.id,
        "ruleIndex": rules().position(|one| one.id == rule.id),
        "level": level(rule.severity),
        "message": {"text": format!("{what}: {message}\nwhy: {why}\nfix: {fix}{paste}")},
        "partialFingerprints": {"primaryLocationLineHash": format!("{}:1", fingerprint(finding))},
        "locations": [{
            "physicalLocation": physical_location(file, *line),
            "logicalLocations": [{"fullyQualifiedName": what}],
        }],
    });
    if let (Some(ignored), Some(result)) = (ignored, result.as_object_mut()) {
        let kind = match ignored.by {
            IgnoredBy::Flag | IgnoredBy::Baseline => "external",
            IgnoredBy::Annotation => "inSource",
        };
        result.insert("suppressions".into(), json!([{"kind": kind, "justification": ignored.reason}]));
    }
    result
}

/// The place of a finding. An object from an API has no line.
fn physical_location(file: &str, line: u32) -> Value {
    let mut place = json!({"artifactLocation": {"uri": uri(file)}});
    if let (true, Some(place)) = (line > 0, place.as_object_mut()) {
        place.insert("region".into(), json!({"startLine": line}));
    }
    place
}

/// A text that stays the same for a finding while its line, its file and the counts in its message change.
fn fingerprint(finding: &Finding) -> String {
    let Finding { rule, object, field, .. } = finding;
    let text = format!("{} {object} {field}", rule.id);
    let halves = [text.clone(), text.chars().rev().collect()];
    halves.iter().map(|half| format!("{:08x}", crc32fast::hash(half.as_bytes()))).collect()
}

/// A path as a URI reference (RFC 3986); a relative path stays relative.
fn uri(path: &str) -> String {
    let mut uri = if path.starts_with('/') { "file://".to_owned() } else { String::new() };
    for byte in path.strip_prefix("./").unwrap_or(path).bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => uri.push(char::from(byte)),
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}

/// Escapes harmful characters as JSON does, so that the value stays the same; keeps the layout's line breaks.
fn pretty(value: &Value) -> String {
    let raw = format!("{value:#}\n");
    let mut json = String::with_capacity(raw.len());
    for c in raw.chars() {
        if c == '\n' || !is_harmful(c) {
            json.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            json.push_str(&format!("\\u{unit:04x}"));
        }
    }
    json
}
