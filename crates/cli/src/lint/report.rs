//! The report as text, JSON and SARIF.

use std::{collections::BTreeMap, fmt::Write};

use anstyle::Style;
use serde_json::{Value, json};

use super::{
    OTHER_FILES,
    finding::{self, Finding, IgnoredBy},
    registry::rules,
    rule::{Rule, Severity},
};
use crate::output::{ASIDE, ERROR, GOOD, NAME, WARNING, is_harmful, plain};

/// The document that explains the rules.
const DOCUMENT: &str = "docs/lint.md";

/// The result of lint.
#[derive(Clone, Debug)]
pub struct LintReport {
    /// Findings in the order of files and lines, including ignored ones.
    pub findings: Vec<Finding>,
    /// Rules that did not run, by the kind of object that the input lacks.
    pub not_run: BTreeMap<&'static str, Vec<&'static Rule>>,
    /// Ignores that match no finding, as the user wrote them.
    pub unused: Vec<String>,
    /// Number of Services.
    pub services: usize,
}

impl LintReport {
    /// Adds the report of another file.
    pub fn append(&mut self, other: Self) {
        let Self { findings, not_run, unused, services } = other;
        self.findings.extend(findings);
        finding::sort(&mut self.findings);
        self.not_run.extend(not_run);
        // An ignore may match a finding of any file.
        self.unused.retain(|ignore| unused.contains(ignore));
        self.services += services;
    }

    /// Findings that are not ignored.
    pub fn open(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.ignored.is_none())
    }

    /// Whether an open finding has this severity or a worse one.
    #[must_use]
    pub fn fails_on(&self, severity: Severity) -> bool {
        self.open().any(|finding| finding.rule.severity >= severity)
    }

    /// A line for each missing kind, with the rules that did not run.
    #[must_use]
    pub fn not_run(&self) -> Vec<String> {
        let lines = self.not_run.iter().map(|(kind, rules)| {
            let ids: Vec<&str> = rules.iter().map(|rule| rule.id).collect();
            if *kind == OTHER_FILES {
                return format!("rules not run because they need the objects of other files: {}", ids.join(", "));
            }
            let resource = match *kind {
                "EndpointSlice" => "endpointslices",
                "Node" => "nodes",
                "Pod" => "pods",
                _ => "services",
            };
            format!("rules not run because the input has no {kind}: {}; add {resource} to kubectl get", ids.join(", "))
        });
        lines.collect()
    }
}

fn count(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// The report as text for people, with or without the codes of colours.
#[must_use]
pub fn text(report: &LintReport, has_colours: bool) -> String {
    let style = |style: Style| if has_colours { style } else { Style::new() };
    let (name, aside) = (style(NAME), style(ASIDE));
    let mut text = String::new();
    for Finding { rule, object, field, file, line, message, .. } in report.open() {
        let colour = style(colour(rule.severity));
        let (id, severity) = (rule.id, rule.severity);
        let (file, object, field, message) = (plain(file), plain(&object.to_string()), plain(field), plain(message));
        push(
            &mut text,
            format_args!(
                "{file}:{line}: {colour}{severity}[{id}]{colour:#} {name}{object}{name:#}, {field}: {message}"
            ),
        );
        push(&mut text, format_args!("    {aside}why:{aside:#} {}", rule.why));
        push(&mut text, format_args!("    {aside}fix:{aside:#} {}", rule.fix));
    }
    if report.open().next().is_some() {
        text.push('\n');
    }
    push(&mut text, format_args!("{}", summary(report, style(GOOD))));
    let ignored = report.findings.len() - report.open().count();
    if ignored > 0 {
        push(&mut text, format_args!("{} ignored, with reasons", count(ignored, "finding", "findings")));
    }
    for line in report.not_run() {
        push(&mut text, format_args!("{aside}{line}{aside:#}"));
    }
    text
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
    if errors + warnings + infos == 0 {
        return format!("{good}no issues{good:#} in {services}");
    }
    let found =
        [count(errors, "error", "errors"), count(warnings, "warning", "warnings"), count(infos, "info", "infos")];
    format!("{} in {services}", found.join(", "))
}

/// The report as JSON: a list of findings.
#[must_use]
pub fn json(report: &LintReport) -> String {
    let findings: Vec<Value> = report.findings.iter().map(finding_json).collect();
    pretty(&Value::from(findings))
}

fn finding_json(finding: &Finding) -> Value {
    let Finding { rule, object, field, file, line, message, ignored } = finding;
    json!({
        "rule": rule.id,
        "name": rule.name,
        "severity": rule.severity.as_str(),
        "object": {"kind": object.kind, "namespace": object.namespace, "name": object.name},
        "field": field,
        "file": **file,
        "line": line,
        "message": message,
        "why": rule.why,
        "fix": rule.fix,
        "ignored": ignored.as_ref().map(|ignored| json!({"by": by(ignored.by), "reason": ignored.reason})),
    })
}

fn by(by: IgnoredBy) -> &'static str {
    match by {
        IgnoredBy::Flag => "flag",
        IgnoredBy::Annotation => "annotation",
    }
}

/// The report as SARIF 2.1.0, for code scanning.
#[must_use]
pub fn sarif(report: &LintReport) -> String {
    let results: Vec<Value> = report.findings.iter().map(result).collect();
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
    let Finding { rule, object, field, file, line, message, ignored } = finding;
    let what = format!("{object}, {field}");
    let mut result = json!({
        "ruleId": rule.id,
        "ruleIndex": rules().position(|one| one.id == rule.id),
        "level": level(rule.severity),
        "message": {"text": format!("{what}: {message}\nwhy: {}\nfix: {}", rule.why, rule.fix)},
        "locations": [{
            "physicalLocation": {"artifactLocation": {"uri": uri(file)}, "region": {"startLine": line}},
            "logicalLocations": [{"fullyQualifiedName": what}],
        }],
    });
    if let (Some(ignored), Some(result)) = (ignored, result.as_object_mut()) {
        let kind = match ignored.by {
            IgnoredBy::Flag => "external",
            IgnoredBy::Annotation => "inSource",
        };
        result.insert("suppressions".into(), json!([{"kind": kind, "justification": ignored.reason}]));
    }
    result
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
