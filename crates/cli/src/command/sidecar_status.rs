//! `byname status`.

use std::{collections::BTreeSet, time::SystemTime};

use anyhow::bail;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::{
    args::{FileOutput, FormatParser, Input},
    live::{Needs, read_namespaces},
    namespace_args::{KnownNamespaces, parse_namespace},
    sidecars::{AdminArgs, AskedSidecar, parse_pod, pod_names},
    status::{FINE, NO, WRONG},
};
use crate::{
    compile::Base,
    kubernetes::ClusterState,
    output::{self, ERROR, NAME, plain},
    sidecar::{self, Comparison, HeldConfiguration, SidecarState},
};

/// Print what running sidecars hold: version and age of the table, requests by reason, ejections, refused pushes, and whether the
/// table matches the cluster now.
///
/// byname asks each Envoy's admin interface through the API's port-forward, by pilot-agent in Istio, or at --admin.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  # All sidecars in the namespace of your context
  byname status
  byname status web-5c8f7b6d9f-4xk2p -n shop
  byname status -A --context prod
  byname status --admin 127.0.0.1:9901 -f dump.yaml

Exit status: 0 if no sidecar lacks the filter, serves an older table, has one that differs from the cluster or has lost its stream to \
the server; 1 if one does; 2 if a sidecar or the cluster cannot be asked.")]
pub(super) struct Status {
    /// Pods to ask, as NAME or NAMESPACE/NAME. Default: all pods with a sidecar in the namespace.
    #[arg(value_name = "POD", value_parser = parse_pod)]
    pods: Vec<String>,
    /// Namespace of the pods. Default: that of the kubeconfig's context.
    #[arg(short, long, value_parser = parse_namespace)]
    namespace: Option<String>,
    /// Ask the sidecars of all namespaces.
    #[arg(short = 'A', long, conflicts_with_all = ["namespace", "pods"])]
    all_namespaces: bool,
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    input: Input,
    /// Print in this format.
    #[arg(short, long, value_name = "FORMAT", default_value = "text", value_parser = FormatParser::<StatusFormat>::new(FileOutput::Redirection))]
    output: StatusFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum StatusFormat {
    /// Text for people.
    Text,
    /// JSON for programs.
    Json,
}

impl Status {
    pub(super) fn run(self) -> anyhow::Result<u8> {
        let (asked, place, cluster) = self.ask()?;
        let (mut status, now) = (FINE, SystemTime::now());
        let (mut texts, mut values) = (Vec::new(), Vec::new());
        for AskedSidecar { called, pod, answer } in &asked {
            let state = match answer {
                Ok((_, state)) => state,
                Err(error) => {
                    status = WRONG;
                    texts.push(format!(
                        "{NAME}{}{NAME:#}  {ERROR}not asked{ERROR:#}: {}\n",
                        plain(called),
                        plain(&format!("{error:#}"))
                    ));
                    values.push(json!({"sidecar": called, "error": format!("{error:#}")}));
                    continue;
                }
            };
            let comparison = compared(state, cluster.as_ref())?;
            let is_current = comparison.as_ref().is_none_or(Comparison::is_current);
            let has_no_stream = state.stream().is_some_and(|stream| stream.silence(now).is_some());
            if status == FINE && (state.held.is_none() || state.serves_older() || !is_current || has_no_stream) {
                status = NO;
            }
            texts.push(sidecar::text(called, state, comparison.as_ref(), now));
            values.push(value(called, pod.as_ref(), state, comparison.as_ref()));
        }
        match self.output {
            StatusFormat::Text if asked.is_empty() => output::print(&format!("no pod with a sidecar in {place}\n"))?,
            StatusFormat::Text => {
                // Continued lines stand below the second column.
                let hang = |line: &str| if line.starts_with(' ') { 12 } else { 4 };
                output::print(&output::wrapped_lines(&texts.join("\n"), hang, output::columns()))?;
            }
            StatusFormat::Json => output::write_json(&values)?,
        }
        Ok(status)
    }

    /// The sidecars, where they were looked for, and the cluster to compare them with, if there is one.
    fn ask(&self) -> anyhow::Result<(Vec<AskedSidecar>, String, Option<ClusterState>)> {
        if let Some(asked) = self.admin.ask_address() {
            if !self.pods.is_empty() {
                bail!("--admin asks one Envoy by its address; leave out the pods, or --admin");
            }
            let asked = vec![asked?];
            let cluster = self
                .input
                .is_given()
                .then(|| self.input.origin().and_then(|origin| self.input.read(&origin, &needs(&asked))));
            return Ok((asked, String::new(), cluster.transpose()?));
        }
        let live = self.input.open_cluster()?;
        let namespace = self.namespace.as_deref().unwrap_or(&live.namespace);
        let namespaces = if self.all_namespaces { BTreeSet::new() } else { BTreeSet::from([namespace.to_owned()]) };
        let place = if self.all_namespaces { "any namespace".to_owned() } else { format!("namespace {namespace}") };
        let names = pod_names(&self.pods, self.namespace.as_deref(), &live);
        let asked = self.admin.in_pods.ask_pods(&live, &names, &namespaces)?;
        if asked.is_empty() && self.namespace.is_some() {
            KnownNamespaces::of(&read_namespaces(&live)?).check(&self.namespace, &live.called)?;
        }
        if asked.iter().all(|sidecar| sidecar.answer.is_err()) {
            return Ok((asked, place, None));
        }
        let cluster = self.input.read_beside(&live, &needs(&asked))?;
        Ok((asked, place, Some(cluster)))
    }
}

/// What the tables of these sidecars are compiled from.
fn needs(asked: &[AskedSidecar]) -> Needs {
    let held = || asked.iter().filter_map(|sidecar| sidecar.answer.as_ref().ok()?.1.held.as_ref());
    let wires = held().filter_map(HeldConfiguration::wire);
    let labels = wires.flat_map(|wire| Base::of_configuration(wire).0.namespaces_of_labels()).collect();
    Needs::of_comparison(&labels, held().any(HeldConfiguration::is_pushed))
}

/// How the table of a sidecar differs from the cluster's; `None` if one of the two is not known, as where a server fills the table.
pub(super) fn compared(state: &SidecarState, cluster: Option<&ClusterState>) -> anyhow::Result<Option<Comparison>> {
    let held = state.held.as_ref().filter(|held| held.server().is_none()).and_then(|held| held.wire());
    let (Some(held), Some(cluster)) = (held, cluster) else { return Ok(None) };
    let held = state.with_node(held);
    Ok(Some(Comparison::new(&held, &sidecar::compile_as(&held, cluster)?)))
}

fn value(
    called: &str,
    pod: Option<&sidecar::SidecarPod>,
    state: &SidecarState,
    comparison: Option<&Comparison>,
) -> Value {
    let refused = state.held.as_ref().and_then(|held| held.read.as_ref().err());
    json!({
        "sidecar": called,
        "pod": pod,
        "envoy": state.envoy,
        "state": state.envoy_state,
        "hasFilter": state.held.is_some(),
        "server": state.server(),
        "tableVersion": state.served(),
        "acceptedAtMilliseconds": Some(state.counters.accepted_at).filter(|at| *at > 0),
        "servesOlderTable": state.serves_older(),
        "refused": refused,
        "counters": state.counters,
        "isCurrent": comparison.map(|comparison| comparison.is_current() && !state.serves_older()),
        "differences": comparison,
    })
}
