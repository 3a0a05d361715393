//! `byname lint`.

use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, ValueEnum};

use super::{
    args::Input,
    status::{FINE, NO},
};
use crate::{
    lint::{self, Ignore, LintOptions, LintReport, Severity},
    output,
};

/// Finds what is likely to be wrong with names, ports and endpoints, says why it hurts and how to mend it.
///
/// Rules that need objects of a kind of which nothing was read are not run, and named. What is not wrong here is ignored
/// by --ignore or by an annotation `byname/ignore-BN001: "why"` of the object.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kubectl get svc,endpointslices,pods,nodes,ingresses,namespaces -A -o yaml | byname lint
  byname lint -f manifests/ --fail-on error
  byname lint -f cluster.yaml --ignore BN056:shop/edge=\"until the new load balancer is there\"
  byname lint -f manifests/ --format sarif -o byname.sarif

Exit status: 0, nothing as bad as --fail-on; 1, something is; 2, what was typed or read is wrong.")]
pub(super) struct Lint {
    #[command(flatten)]
    input: Input,
    /// What is written.
    #[arg(long, value_enum, default_value_t = LintFormat::Text)]
    format: LintFormat,
    /// From where on findings make the exit status 1.
    #[arg(long, value_enum, default_value_t = FailOn::Warning)]
    fail_on: FailOn,
    /// A rule to ignore, with the reason: everywhere, or in one object. May be given several times.
    #[arg(long, value_name = "RULE[:NAMESPACE/NAME]=REASON")]
    ignore: Vec<Ignore>,
    /// Print all rules and stop.
    #[arg(long)]
    list_rules: bool,
    /// The cluster domain.
    #[arg(long, value_name = "DOMAIN", default_value = "cluster.local", value_parser = parse_domain)]
    cluster_domain: String,
    /// The file that is written, whole or not at all. Default: the standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LintFormat {
    /// For people.
    Text,
    /// A list of findings.
    Json,
    /// SARIF 2.1.0, as GitHub's code scanning takes it.
    Sarif,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// What cannot work.
    Error,
    /// Also what does something else than it seems to.
    Warning,
    /// Anything.
    Info,
    /// Nothing.
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
        let output = self.output.as_deref();
        if self.list_rules {
            output::write(output, &list())?;
            return Ok(FINE);
        }
        let cluster = self.input.read()?;
        if cluster.read.is_empty() {
            bail!(
                "nothing in the input says anything of names; \
                 give what kubectl get svc,endpointslices,pods,nodes,ingresses -A -o yaml prints"
            );
        }
        let report = lint::lint(&cluster, &LintOptions { domain: self.cluster_domain, ignores: self.ignore });
        for ignore in &report.unused {
            output::warn(&format!("--ignore {ignore} is for nothing that was found; correct it, or take it out"));
        }
        if self.format != LintFormat::Text {
            report.not_run().iter().for_each(|line| output::note(line));
        }
        match (self.format, output) {
            (LintFormat::Text, None) => output::print(&lint::text(&report))?,
            // Colours are for terminals.
            (LintFormat::Text, Some(_)) => {
                output::write(output, &anstream::adapter::strip_str(&lint::text(&report)).to_string())?;
            }
            (LintFormat::Json, _) => output::write(output, &lint::json(&report))?,
            (LintFormat::Sarif, _) => output::write(output, &lint::sarif(&report))?,
        }
        Ok(if self.fail_on.fails(&report) { NO } else { FINE })
    }
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
