//! `byname diff`.

use std::{collections::BTreeSet, path::PathBuf};

use anyhow::bail;
use clap::{Args, ValueEnum};

use super::{
    args::{FileOutput, FormatParser, Leniency, NO_SERVICE},
    live::{ClusterArgs, Needs, own_namespaces, read_cluster},
    namespace_args::{KnownNamespaces, parse_namespace},
    reading::{ReadProgress, say_left_out},
    status::{FINE, NO},
};
use crate::{
    compile::{Base, CompileOptions},
    diff::{self, DnsChangeKind, Side, SideInput},
    input::{InputErrors, LeftOut, Source},
    output,
};

/// Print the names that resolve differently in NEW than in OLD: every name and port, from every namespace, that vanishes, changes
/// or appears.
///
/// Either state may be a live cluster, written context:NAME. Compares the destination, port, upstream cluster and reason of each name. Endpoints matter only if the last usable one is lost
/// or the first one appears.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  # From the file to the live cluster
  byname diff before.yaml
  # What changes when byname is turned on in the live cluster
  byname diff --against-dns --config byname.json
  byname diff context:staging context:prod
  byname diff before.yaml after.yaml
  kubectl get wasmplugin byname -n istio-system -o yaml > deployed.yaml
  byname diff deployed.yaml cluster.yaml
  git show HEAD~:table.json > old.json && byname diff old.json table.json

Exit status, as for kubectl diff: 0 if there is no difference; 1 if there is one; 2 if an argument or the input is invalid.")]
pub(super) struct Diff {
    /// Old state: a file or directory of Kubernetes objects, a table from `byname compile`, or the WasmPlugin, TrafficExtension or
    /// EnvoyFilter that holds it; - is the standard input. context:NAME is the live cluster of this context of the kubeconfig, and
    /// context: is the context of --context, or else kubectl's current context.
    #[arg(required_unless_present = "against_dns")]
    old: Option<String>,
    /// New state, in the same forms. Default: context:
    new: Option<String>,
    /// Compare one state, OLD, with the cluster's DNS and kube-proxy, as without byname. Report which names byname
    /// refuses, sends elsewhere, reaches alone, or gives another Host. Default of OLD: context:
    #[arg(long, conflicts_with = "new")]
    against_dns: bool,
    /// With --against-dns: leave out names whose only difference is a Host that is the full name of their Service.
    #[arg(long)]
    ignore_full_names: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    leniency: Leniency,
    /// Report only how names resolve for clients in this namespace. Can be repeated. Default: all namespaces.
    #[arg(short, long = "namespace", value_name = "NAMESPACE", alias = "from", value_parser = parse_namespace)]
    namespaces: Vec<String>,
    /// Report how names resolve for clients in all namespaces. This is the default.
    #[arg(short = 'A', long, conflicts_with = "namespaces")]
    all_namespaces: bool,
    /// Merge this hand-written configuration into both states: steering, externalNames and so on. It has no effect on a state that
    /// is a table. Default: objects that are compared with a table get the table's own settings.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Former option: a difference always exits with 1.
    #[arg(long, hide = true)]
    exit_code: bool,
    /// Print in this format. `byname schema diff` prints the JSON's schema.
    #[arg(short, long, value_name = "FORMAT", default_value = "text", value_parser = FormatParser::<DiffFormat>::new(FileOutput::Redirection))]
    output: DiffFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DiffFormat {
    /// Text for people.
    Text,
    /// JSON for programs.
    Json,
}

/// A state that begins so is a live cluster; a context follows.
const CONTEXT: &str = "context:";

/// What a state was read from, and what it holds.
type State = (SideInput, LeftOut);

impl Diff {
    /// Reads a state from a file; `None` for a live cluster.
    fn read(&self, name: &str) -> anyhow::Result<Option<State>> {
        if name.starts_with(CONTEXT) {
            return Ok(None);
        }
        let source = Source::new(name);
        let options = self.leniency.options(SideInput::is_needed);
        let mut progress = ReadProgress::new(std::slice::from_ref(&source), &options.excluded);
        SideInput::read(&source, &options, &mut |bytes| progress.add(bytes)).map(Some)
    }

    /// Reads a state from the live cluster that `name` calls.
    fn ask(&self, name: &str, labels: &BTreeSet<String>) -> anyhow::Result<State> {
        let named = Some(name.trim_start_matches(CONTEXT)).filter(|context| !context.is_empty()).map(str::to_owned);
        let context = named.or_else(|| self.cluster.context.clone());
        let live = ClusterArgs { context, ..self.cluster.clone() }.open_for_states()?;
        let needs = Needs::of_diff(&own_namespaces(&self.namespaces, &live.namespace), labels);
        Ok((SideInput::Cluster(Box::new(read_cluster(&live, &needs)?)), LeftOut::default()))
    }

    pub(super) fn run(self) -> anyhow::Result<u8> {
        if self.against_dns {
            return self.run_against_dns();
        }
        if self.ignore_full_names {
            bail!("--ignore-full-names: has no effect without --against-dns; add --against-dns, or remove it");
        }
        let names = [self.old.as_deref().unwrap_or(CONTEXT), self.new.as_deref().unwrap_or(CONTEXT)];
        if names == ["-", "-"] {
            bail!("-: the standard input can be read only once; pass a file for the other state");
        }
        if self.cluster.is_given() && !names.iter().any(|name| name.starts_with(CONTEXT)) {
            bail!(
                "--kubeconfig and --context are for a live cluster; leave out NEW, or write context: for one of the states"
            );
        }
        let [old, new] = names.map(|name| self.read(name));
        let (old, new) = (old?, new?);
        let settings = |state: &Option<State>| state.as_ref().and_then(|(input, _)| input.settings());
        let mut options = CompileOptions { skip_invalid: true, ..CompileOptions::default() };
        match (&self.config, settings(&old).xor(settings(&new))) {
            (Some(file), _) => options.base = Base::read(file)?,
            // Objects are compared with a configuration as that was compiled, else every name would differ.
            (None, Some((base, has_endpoints))) => {
                options.base = base;
                options.names_only = !has_endpoints;
            }
            (None, None) => {}
        }
        // What is asked of a cluster depends on the settings.
        let labels = options.base.namespaces_of_labels();
        let state = |state: Option<State>, name| state.map_or_else(|| self.ask(name, &labels), Ok);
        let [old_name, new_name] = names;
        let ((old, old_left_out), (new, new_left_out)) = (state(old, old_name)?, state(new, new_name)?);
        let has_services = [&old, &new].map(SideInput::has_services);
        if has_services == [false, false] {
            output::error(NO_SERVICE);
        }
        [&old_left_out, &new_left_out].into_iter().for_each(say_left_out);
        match has_services {
            [true, true] => {}
            // The error was printed above.
            [false, false] => return Err(InputErrors::default().into()),
            // One state may be empty: every name appears, or vanishes.
            [has_old, _] => {
                let name = if has_old { new_name } else { old_name };
                output::note(&format!("{name}: has no Service"));
            }
        }
        self.check_namespaces(&[&old, &new])?;
        let [mut old, mut new] = [warned(Side::new(old, &options)?), warned(Side::new(new, &options)?)];
        let from: BTreeSet<String> = self.namespaces.iter().cloned().collect();
        let difference = diff::diff(&mut old, &mut new, &from)
            .map_err(|refused| InputErrors::of_configuration("--namespace", &refused))?;
        match self.output {
            DiffFormat::Text => {
                output::print(&output::wrapped_lines(&diff::text(&difference), |_| 4, output::columns()))?;
            }
            DiffFormat::Json => output::write_json(&difference)?,
        }
        Ok(if difference.changes.is_empty() { FINE } else { NO })
    }

    /// Warns of a namespace that neither state has.
    ///
    /// # Errors
    /// If it does not exist.
    fn check_namespaces(&self, states: &[&SideInput]) -> anyhow::Result<()> {
        let mut known = KnownNamespaces::default();
        states.iter().for_each(|state| known.add(state.namespaces(), state.lists_namespaces()));
        known.check(&self.namespaces, "the input")
    }

    fn run_against_dns(self) -> anyhow::Result<u8> {
        let base = self.config.as_deref().map(Base::read).transpose()?.unwrap_or_default();
        let options = CompileOptions { base, skip_invalid: true, ..CompileOptions::default() };
        let name = self.old.as_deref().unwrap_or(CONTEXT);
        let (input, left_out) = match self.read(name)? {
            Some(state) => state,
            None => self.ask(name, &options.base.namespaces_of_labels())?,
        };
        say_left_out(&left_out);
        let SideInput::Cluster(cluster) = input else {
            bail!("{name}: is a table; --against-dns needs Kubernetes objects, with the addresses of Services");
        };
        if cluster.services.is_empty() {
            output::error(NO_SERVICE);
            return Err(InputErrors::default().into());
        }
        KnownNamespaces::of(&cluster).check(&self.namespaces, "the input")?;
        let mut with = warned(Side::of_cluster(&cluster, &options)?);
        // kube-proxy knows addresses and ports, and no policy. The resolver's settings are the same.
        let mut plain = Base::default();
        plain.config.dns = options.base.config.dns.clone();
        plain.config.caller = options.base.config.caller.clone();
        let plain = CompileOptions { base: plain, skip_invalid: true, ..CompileOptions::default() };
        let mut plain = Side::of_cluster(&cluster, &plain)?;
        let from: BTreeSet<String> = self.namespaces.iter().cloned().collect();
        let mut difference = diff::against_dns(&cluster, &mut with, &mut plain, &from)
            .map_err(|refused| InputErrors::of_configuration("--namespace", &refused))?;
        if self.ignore_full_names {
            difference.changes.retain(|change| change.kind != DnsChangeKind::FullHost);
        }
        match self.output {
            DiffFormat::Text => {
                let text = diff::text_against_dns(&difference);
                output::print(&output::wrapped_lines(&text, |_| 4, output::columns()))?;
            }
            DiffFormat::Json => output::write_json(&difference)?,
        }
        Ok(if difference.changes.is_empty() { FINE } else { NO })
    }
}

/// The side, with a warning printed for each Service that was left out of it.
fn warned(side: Side) -> Side {
    side.left_out.values().for_each(|problem| output::warn(&format!("left out: {problem}")));
    side
}
