//! `byname proxy-config`.

use anyhow::{Context, bail};
use byname_core::wire::FEATURES;
use clap::Args;

use super::{
    live::ClusterArgs,
    sidecars::{AdminArgs, AskedSidecar, pod_names},
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
  byname proxy-config shop/web-5c8f7b6d9f-4xk2p --monitor 127.0.0.1:9902     with what byname serve sent it

Exit status: 0 if the filter takes what Envoy holds; 1 if it refuses that; 2 if the sidecar cannot be asked.")]
pub(super) struct ProxyConfig {
    /// Pod to ask, as NAME or NAMESPACE/NAME.
    #[arg(value_name = "POD", required_unless_present = "admin", conflicts_with = "admin")]
    pod: Option<String>,
    /// Namespace of the pod. Default: that of the kubeconfig's context.
    #[arg(short, long)]
    namespace: Option<String>,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    admin: AdminArgs,
    /// Print too what the byname serve whose --monitor is here sent to this Envoy, and what the Envoy acknowledged.
    #[arg(long, value_name = "HOST:PORT")]
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
            output::print(&resources)?;
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
                reasons.iter().for_each(|reason| output::error(&format!("{called}: the filter refuses {reason}")));
                Ok(NO)
            }
        }
    }

    fn ask(&self) -> anyhow::Result<AskedSidecar> {
        if let Some(asked) = self.admin.ask_address() {
            return asked;
        }
        let live = self.cluster.open_without_files()?;
        let names = pod_names(self.pod.as_slice(), self.namespace.as_deref(), &live);
        let mut asked = self.admin.in_pods.ask_pods(&live, &names, &Default::default())?;
        asked.pop().context("no pod was asked")
    }
}
