//! `byname lint`.

use std::{collections::BTreeSet, path::PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};

use super::{
    args::{FileOutput, FormatParser, Input},
    linted_input::LintedInput,
    namespace_args::{choice, parse_namespace},
    status::{FINE, NO},
};
use crate::{
    lint::{self, Baseline, Finding, Ignore, LintOptions, LintReport, Severity},
    output,
};

/// Find likely mistakes in names, ports and endpoints, and print why each matters and how to fix it.
///
/// A rule that needs a kind of object that is not in the input is skipped and listed. To silence a finding, use --ignore or
/// annotate the object: `byname/ignore-BN001: "why"`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  byname lint --context staging
  kubectl get svc,endpointslices,pods,nodes,ingresses,namespaces -A -o yaml | byname lint
  kubectl get svc,wasmplugins,envoyfilters -A -o yaml | byname lint
  byname lint -f manifests/ --fail-on error
  byname lint -f cluster.yaml \\
      --ignore BN056:shop/edge=\"until the new load balancer is there\"
  byname lint -f manifests/ -o sarif --output-file byname.sarif
  byname lint -f manifests/ --write-baseline byname-baseline.json
  byname lint -f manifests/ --baseline byname-baseline.json

Exit status: 0 if no finding reaches --fail-on, or there is nothing to check; 1 if one does; 2 if an argument or the input is invalid.")]
pub(super) struct Lint {
    #[command(flatten)]
    input: Input,
    /// Check each file by itself, as where a directory holds variants of one Service. Rules that need the objects of other files do
    /// not run. Default: check the objects of all files together.
    #[arg(long)]
    each_file: bool,
    /// Report only findings in this namespace; the rules see the objects of all namespaces. Can be repeated. Default: all namespaces.
    #[arg(short, long = "namespace", value_name = "NAMESPACE", value_parser = parse_namespace)]
    namespaces: Vec<String>,
    /// Report findings in all namespaces. This is the default.
    #[arg(short = 'A', long, conflicts_with = "namespaces")]
    all_namespaces: bool,
    /// Print in this format.
    #[arg(short, long, value_name = "FORMAT", default_value = "text", value_parser = FormatParser::<LintFormat>::new(FileOutput::Flag))]
    output: LintFormat,
    /// Former name of --output.
    #[arg(long, value_enum, hide = true, conflicts_with = "output")]
    format: Option<LintFormat>,
    /// Exit with status 1 on findings of this severity or higher.
    #[arg(long, value_enum, value_name = "SEVERITY", default_value_t = FailOn::Warning)]
    fail_on: FailOn,
    /// Ignore a rule everywhere or for one object; a reason is required. Can be repeated.
    #[arg(long, value_name = "RULE[:NAMESPACE/NAME]=REASON")]
    ignore: Vec<Ignore>,
    /// Ignore the findings of this file, which --write-baseline wrote.
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Write all open findings to this file for --baseline, and exit with status 0.
    #[arg(long, value_name = "FILE")]
    write_baseline: Option<PathBuf>,
    /// Print all rules and exit.
    #[arg(long)]
    list_rules: bool,
    /// Resolve names in this cluster domain. Other commands take it from dns.clusterDomain of --config.
    #[arg(long, value_name = "DOMAIN", default_value = "cluster.local", value_parser = parse_domain)]
    cluster_domain: String,
    /// Treat Istio's objects in this namespace, the mesh's root namespace, as objects for every namespace.
    #[arg(long, value_name = "NAMESPACE", default_value = "istio-system", value_parser = parse_namespace)]
    root_namespace: String,
    /// Write to this file, replaced atomically. Default: the standard output.
    #[arg(long, value_name = "FILE")]
    output_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LintFormat {
    /// Text for people.
    Text,
    /// A JSON list of findings.
    Json,
    /// SARIF 2.1.0, for GitHub code scanning.
    Sarif,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// Errors: configuration that cannot work.
    Error,
    /// Warnings and errors: a warning is configuration that does not do what it seems to.
    Warning,
    /// All findings.
    Info,
    /// Never: exit with 0 whatever the findings.
    Never,
}

impl FailOn {
    fn fails(self, report: &LintReport) -> bool {
        match self {
            Self::Error => report.fails_on(Severity::Error),
            Self::Warning => report.fails_on(Severity::Warning),
            Self::Info => report.fails_on(Severity::Info),
            Self::Never => false,
        }
    }
}

impl Lint {
    pub(super) fn run(self) -> anyhow::Result<u8> {
        if self.format.is_some() {
            output::note("--format is called -o now; the next release no longer takes --format");
        }
        let format = self.format.unwrap_or(self.output);
        let output = self.output_file.as_deref();
        if self.list_rules {
            output::write(output, &list())?;
            return Ok(FINE);
        }
        let baseline = match &self.baseline {
            Some(file) => Some(Baseline::read(file).with_context(|| {
                format!("--baseline {} cannot be read; write the file with --write-baseline", file.display())
            })?),
            None => None,
        };
        let options = LintOptions {
            domain: self.cluster_domain,
            root_namespace: self.root_namespace,
            ignores: self.ignore,
            baseline,
        };
        let LintedInput { mut report, services, namespaces: known, has_objects } = match self.each_file {
            true => LintedInput::of_each_file(&self.input, &options)?,
            false => LintedInput::of_all_files(&self.input, &self.namespaces, &options)?,
        };
        let no_service = match (services.is_empty(), has_objects) {
            (false, _) => None,
            (true, true) => Some("the input has no Service; only rules for other objects ran"),
            (true, false) => Some("the input has no Service, so there is nothing to check"),
        };
        if let Some(file) = &self.write_baseline {
            let baseline = report.baseline();
            output::write(Some(file), &baseline.text())?;
            let findings = output::count(baseline.count(), "finding", "findings");
            output::note(&format!("{}: {findings} written", file.display()));
            return Ok(FINE);
        }
        if report.stale > 0 {
            output::note(&format!(
                "{} of the baseline match no finding any more; renew the file with --write-baseline",
                output::count(report.stale, "entry", "entries")
            ));
        }
        for ignore in &report.unused {
            output::warn(&format!("--ignore {ignore}: no finding matches; correct or remove it"));
        }
        let namespaces: BTreeSet<String> = self.namespaces.into_iter().collect();
        if !namespaces.is_empty() && has_objects {
            limit(&mut report, &namespaces, &known)?;
            report.services = services.iter().filter(|name| namespaces.contains(&name.namespace)).count();
        }
        let text = |has_colours| match (no_service, has_objects) {
            (Some(no_service), false) => format!("{no_service}\n"),
            (Some(no_service), true) => format!("{no_service}\n{}", lint::text(&report, has_colours)),
            (None, _) => lint::text(&report, has_colours),
        };
        if format != LintFormat::Text {
            no_service.iter().for_each(|line| output::note(line));
            report.not_run().iter().for_each(|line| output::note(line));
        }
        match (format, output) {
            (LintFormat::Text, None) => {
                // "    why: " and "    fix: " have nine columns.
                let hang = |line: &str| if line.starts_with(' ') { 9 } else { 4 };
                output::print(&output::wrapped_lines(&text(true), hang, output::columns()))?;
            }
            (LintFormat::Text, Some(_)) => output::write(output, &text(false))?,
            (LintFormat::Json, _) => output::write(output, &lint::json(&report))?,
            (LintFormat::Sarif, _) => output::write(output, &lint::sarif(&report))?,
        }
        Ok(if self.fail_on.fails(&report) { NO } else { FINE })
    }
}

/// Keeps the findings of these namespaces.
fn limit(report: &mut LintReport, namespaces: &BTreeSet<String>, known: &BTreeSet<String>) -> anyhow::Result<()> {
    let is_known = |namespace: &str| {
        known.contains(namespace) || report.findings.iter().any(|finding| finding.object.namespace == namespace)
    };
    if let Some(unknown) = namespaces.iter().find(|namespace| !is_known(namespace)) {
        bail!("--namespace {unknown}: the input has no object of this namespace; {}", choice("its namespaces", known));
    }
    report.findings.retain(|Finding { object, .. }| {
        namespaces.contains(if object.kind == "Namespace" { &object.name } else { &object.namespace })
    });
    Ok(())
}

fn list() -> String {
    let lines =
        lint::rules().map(|rule| format!("{}  {:<7}  {:<35}  {}\n", rule.id, rule.severity, rule.name, rule.summary));
    lines.collect()
}

fn parse_domain(text: &str) -> Result<String, String> {
    let name = text.strip_suffix('.').unwrap_or(text);
    byname_core::Name::parse(name.as_bytes()).map(|name| name.to_string()).map_err(|error| error.to_string())
}
