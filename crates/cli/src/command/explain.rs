//! `byname explain`.

use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, ValueEnum};

use super::{
    args::{FileOutput, FormatParser, Input},
    compile::parse_name,
    explain_live::LiveQuestion,
    live::Needs,
    name_args::NameArgs,
    namespace_args::parse_namespace,
    sidecars::AdminArgs,
    status::{FINE, NO},
};
use crate::{
    caller::CallerSettings,
    compile::{self, Base, CompileOptions},
    explain::{self, ResolutionKind, TextLayout},
    kubernetes::NamespacedName,
    output,
};

/// Print how a name resolves for a client, and why: the names tried, aliases, the port, every endpoint with the reason it is used
/// or not, the upstream, the DNS answers, and the ways in from outside the cluster.
///
/// Exit status: 0 if the request is routed or passed on as it came, 1 if it is refused, 2 if an argument or the input is invalid.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  byname explain payments -n shop
  byname explain payments --pod shop/web-5c8f7b6d9f-4xk2p --context staging
  # What its sidecar does, and what the cluster says now
  byname explain payments --live shop/web-5c8f7b6d9f-4xk2p
  kubectl get svc,endpointslices,pods,nodes,ingresses -A -o yaml > cluster.yaml
  byname explain payments -n shop -f cluster.yaml
  byname explain http://catalog.shop:8080/ --pod billing/api-6d4f -f cluster.yaml
  byname explain payments.prod -n shop -f cluster.yaml -o json | jq .endpoints")]
pub(super) struct Explain {
    /// Resolve for a client in this namespace. byname reads the objects of all namespaces. Default, for a live cluster only: the
    /// namespace of the kubeconfig's context.
    #[arg(short, long, alias = "from", conflicts_with = "pod", value_parser = parse_namespace)]
    namespace: Option<String>,
    /// Resolve for a client in this pod, with the pod's zone, node, address and DNS settings.
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = parse_name)]
    pod: Option<NamespacedName>,
    /// Resolve by the table that the sidecar of this pod holds, and say what the cluster would answer now and what differs.
    #[arg(long, value_name = "[NAMESPACE/]POD", conflicts_with_all = ["pod", "config"])]
    live: Option<String>,
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    input: Input,
    #[command(flatten)]
    asked: NameArgs,
    /// Merge in this hand-written configuration: steering, externalNames and so on. YAML or JSON.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print in this format. `byname schema explain` prints the JSON's schema.
    #[arg(short, long, value_name = "FORMAT", default_value = "text", value_parser = FormatParser::<ExplainFormat>::new(FileOutput::Redirection))]
    output: ExplainFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ExplainFormat {
    /// Text for people.
    Text,
    /// Text, with the node and zone of each endpoint too.
    Wide,
    /// JSON for programs.
    Json,
}

impl Explain {
    pub(super) fn run(self) -> anyhow::Result<u8> {
        let layout = TextLayout { is_wide: matches!(self.output, ExplainFormat::Wide), columns: output::columns() };
        if self.live.is_some() || self.admin.admin.is_some() {
            let question = LiveQuestion {
                asked: &self.asked,
                pod: self.live.as_deref(),
                namespace: self.namespace.as_deref(),
                admin: &self.admin,
                input: &self.input,
                is_json: matches!(self.output, ExplainFormat::Json),
                layout,
            };
            return question.run();
        }
        self.admin.in_pods.check_unused()?;
        let mut base = self.config.as_deref().map(Base::read).transpose()?.unwrap_or_default();
        let origin = self.input.origin()?;
        let of_pod = self.pod.as_ref().map(|pod| &*pod.namespace);
        let Some(namespace) = of_pod.or(self.namespace.as_deref()).or(origin.namespace()) else {
            bail!("with -f, the caller is unknown; pass --namespace <NAMESPACE> or --pod <NAMESPACE/NAME>");
        };
        let cluster = self.input.read(&origin, &Needs::of_explain(namespace))?;
        let caller = match &self.pod {
            Some(pod) => CallerSettings::of_pod(pod, &cluster, &base.config)?,
            None => CallerSettings::of_namespace(namespace, &base.config),
        };
        // The cluster answers in place of a server that the filter asks.
        let server = base.config.server.take();
        // Errors in other Services must not hide the answer for this one.
        let options = CompileOptions { base, skip_invalid: true, ..CompileOptions::default() };
        let mut compiled = compile::compile(&cluster, &caller, &options)?;
        compiled.wire.server = server;
        let typed = self.asked.typed(&cluster)?;
        let explanation = explain::explain(&cluster, &caller, self.pod.as_ref(), &compiled, typed);
        match self.output {
            ExplainFormat::Text | ExplainFormat::Wide => {
                output::print(&explain::text(&explanation, layout))?;
            }
            ExplainFormat::Json => output::write_json(&explanation)?,
        }
        Ok(if explanation.resolution == ResolutionKind::Refuse { NO } else { FINE })
    }
}
