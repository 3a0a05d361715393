//! `byname proxy-config`.

use anyhow::{Context, bail};
use byname_core::wire::FEATURES;
use clap::Args;

use super::{
    live::ClusterArgs,
    namespace_args::parse_namespace,
    sidecars::{AdminArgs, AskedSidecar, parse_host_port, parse_pod, pod_names},
    status::{FINE, NO},
};
use crate::{
    compile,
    output::{self, note, warn},
};

/// Print the configuration that a running sidecar holds, with its table unpacked: JSON with a line for each Service.
///
/// Compare it with `byname diff`, or explain a name with it by `byname explain --live`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  byname proxy-config shop/web-5c8f7b6d9f-4xk2p
  byname proxy-config shop/web-5c8f7b6d9f-4xk2p > held.json && byname diff held.json context:
  byname proxy-config --admin 127.0.0.1:9901
  # With what byname serve sent it
  byname proxy-config shop/web-5c8f7b6d9f-4xk2p --monitor 127.0.0.1:9902

Exit status: 0 if the filter takes what Envoy holds; 1 if it refuses that; 2 if the sidecar cannot be asked.")]
pub(super) struct ProxyConfig {
    /// Pod to ask, as NAME or NAMESPACE/NAME.
    #[arg(value_name = "POD", value_parser = parse_pod, required_unless_present = "admin", conflicts_with = "admin")]
    pod: Option<String>,
    /// Namespace of the pod. Default: that of the kubeconfig's context.
    #[arg(short, long, value_parser = parse_namespace)]
    namespace: Option<String>,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    admin: AdminArgs,
    /// Also print, on the standard error, what byname serve sent to this Envoy, and whether the Envoy acknowledged or refused it.
    /// HOST:PORT is the address of its --monitor.
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_host_port)]
    monitor: Option<String>,
}

impl ProxyConfig {
    pub(super) fn run(self) -> anyhow::Result<u8> {
        let asked = self.ask()?;
        let AskedSidecar { called, answer, .. } = asked;
        let (_, state) = answer.with_context(|| called.clone())?;
        if let Some(monitor) = &self.monitor {
            let id = state.node_id().context("this Envoy has no node id, so no server knows it")?;
            let resources = AdminArgs::monitor(monitor, &format!("/debug/resources?node={id}"))?;
            if resources.is_empty() {
                note(&format!("--monitor {monitor}: the server has no stream of this Envoy"));
            }
            // The standard output is the configuration alone, for programs.
            resources.lines().for_each(|line| note(&format!("--monitor {monitor}: stream {}", told(line))));
        }
        let Some(held) = &state.held else {
            bail!("{called}: no listener of this Envoy has byname's filter; see docs/status.md");
        };
        match &held.read {
            Ok(wire) => {
                if state.serves_older() {
                    warn(&format!(
                        "{called}: the filter serves another table, version {}",
                        state.served().unwrap_or_default()
                    ));
                }
                if !held.updated.is_empty() {
                    note(&format!("{called}: Envoy got this configuration at {}", held.updated));
                }
                if let Some(server) = held.server() {
                    note(&format!(
                        "{called}: the filter asks the server {server} for Services, so this has none of them"
                    ));
                }
                // The table is not packed any more, so that an older module may read it too.
                let mut shown = wire.clone();
                let needed = wire.features();
                shown.requires.retain(|feature| needed.contains(feature) || !FEATURES.contains(&feature.as_str()));
                output::write(None, &compile::text(&shown))?;
                Ok(FINE)
            }
            Err(reasons) => {
                reasons.iter().for_each(|reason| {
                    output::error(&format!("{called}: the filter refuses the configuration: {reason}"))
                });
                Ok(NO)
            }
        }
    }

    fn ask(&self) -> anyhow::Result<AskedSidecar> {
        if let Some(asked) = self.admin.ask_address() {
            return asked;
        }
        let live = self.cluster.open_for_sidecars()?;
        let names = pod_names(self.pod.as_slice(), self.namespace.as_deref(), &live);
        let mut asked = self.admin.in_pods.ask_pods(&live, &names, &Default::default())?;
        asked.pop().context("no pod was asked")
    }
}

/// A line of the server's answer, for people: the stream, the type, the name and the version that Envoy was told, and what Envoy said to
/// it.
fn told(line: &str) -> String {
    match line.split('\t').collect::<Vec<_>>()[..] {
        [stream, resource_type, name, "-", "not sent"] => format!("{stream}: {resource_type} {name}, not sent"),
        [stream, resource_type, name, "-", receipt] => format!("{stream}: {resource_type} {name}, missing, {receipt}"),
        [stream, resource_type, name, version, receipt] => {
            format!("{stream}: {resource_type} {name}, version {version}, {receipt}")
        }
        _ => line.to_owned(),
    }
}
