//! The sidecars that a command asks, and how it reaches them.

use std::collections::BTreeSet;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use futures_util::{StreamExt, stream};

use crate::{
    kubernetes::NamespacedName,
    sidecar::{Admin, SidecarPod, SidecarState},
    snapshot::{ApiKind, LiveCluster, Wanted},
};

/// Sidecars that are asked at once.
const AT_ONCE: usize = 8;

/// How Envoy's admin interface is reached, in a pod or at an address.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct AdminArgs {
    /// Ask the Envoy whose admin interface has this address, without the Kubernetes API. Example: 127.0.0.1:9901
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_host_port, conflicts_with_all = ["admin_port", "exec"])]
    pub(super) admin: Option<String>,
    #[command(flatten)]
    pub(super) in_pods: PodAdminArgs,
}

/// How Envoy's admin interface is reached in a pod.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct PodAdminArgs {
    /// Port of the admin interface in the pod. Default: the pod's annotation byname/admin-port; 15000 in Istio, 9901 otherwise.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    admin_port: Option<u16>,
    /// Ask by `pilot-agent request` in the container istio-proxy, in place of a port-forward. Default: only if the port-forward fails
    /// in Istio.
    #[arg(long)]
    exec: bool,
}

/// A sidecar, and what it answered.
pub(super) struct AskedSidecar {
    /// The pod, or the address.
    pub(super) called: String,
    pub(super) pod: Option<SidecarPod>,
    pub(super) answer: anyhow::Result<(Admin, SidecarState)>,
}

impl AdminArgs {
    /// The one sidecar of `--admin`, if that is given.
    pub(super) fn ask_address(&self) -> Option<anyhow::Result<AskedSidecar>> {
        let address = self.admin.as_ref()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return Some(Err(error.into())),
        };
        let admin = Admin::Address(address.clone());
        let answer = runtime.block_on(SidecarState::ask(&admin)).map(|state| (admin, state));
        Some(Ok(AskedSidecar { called: address.clone(), pod: None, answer }))
    }

    /// The answer of a `byname serve` whose `--monitor` is at `address`.
    pub(super) fn monitor(address: &str, path: &str) -> anyhow::Result<String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(Admin::Address(address.to_owned()).get(path)).with_context(|| format!("--monitor {address}"))
    }
}

impl PodAdminArgs {
    /// Refuses options where no pod is asked.
    pub(super) fn check_unused(&self) -> anyhow::Result<()> {
        match (self.admin_port, self.exec) {
            (None, false) => Ok(()),
            (Some(_), _) => bail!("--admin-port: has no effect without --live; add --live POD, or remove --admin-port"),
            (None, true) => bail!("--exec: has no effect without --live; add --live POD, or remove --exec"),
        }
    }

    /// The sidecars of pods: those that `names` names, or else those of `namespaces`; of all if there are none.
    pub(super) fn ask_pods(
        &self,
        live: &LiveCluster,
        names: &[NamespacedName],
        namespaces: &BTreeSet<String>,
    ) -> anyhow::Result<Vec<AskedSidecar>> {
        let wanted: Vec<Wanted> = match names {
            [] => vec![Wanted::of_namespaces(&ApiKind::POD, namespaces)],
            names => names.iter().map(|name| Wanted::one(&ApiKind::POD, name.clone())).collect(),
        };
        let (mut pods, mut found) = (Vec::new(), BTreeSet::new());
        let report = live.read(&wanted, &mut |_| {}, &mut |raw| {
            let own = |field: &str| raw.metadata(field).unwrap_or_default().to_owned();
            found.insert(NamespacedName { namespace: own("namespace"), name: own("name") });
            pods.extend(SidecarPod::of(&raw, self.admin_port));
            Ok(())
        })?;
        if let Some(gap) = report.gaps.first() {
            bail!("{}: {}", live.called, gap.text);
        }
        for name in names {
            if !found.contains(name) {
                bail!("Pod {name}: {} has no such pod; correct the name, or pass --namespace", live.called);
            }
            if !pods.iter().any(|pod| pod.name == *name) {
                bail!(
                    "Pod {name}: no container looks like Envoy; pass --admin-port PORT, or annotate the pod with byname/admin-port"
                );
            }
        }
        if names.is_empty() {
            pods.retain(|pod| pod.is_running);
        }
        pods.sort_by(|one, other| one.name.cmp(&other.name));
        let client = live.client();
        let asked = live.run(async {
            let asks = pods.into_iter().map(|pod| {
                let client = client.clone();
                async move {
                    let answer = match pod.is_running {
                        true => self.ask(client, &pod).await,
                        false => Err(anyhow!("the pod does not run")),
                    };
                    AskedSidecar { called: pod.name.to_string(), pod: Some(pod), answer }
                }
            });
            stream::iter(asks).buffered(AT_ONCE).collect::<Vec<_>>().await
        });
        Ok(asked)
    }

    async fn ask(&self, client: kube::Client, pod: &SidecarPod) -> anyhow::Result<(Admin, SidecarState)> {
        let port_forward = || Admin::PortForward(client.clone(), pod.clone());
        let exec = || Admin::Exec(client.clone(), pod.clone());
        let (first, second) = match (self.exec, pod.is_istio) {
            (true, _) => (exec(), None),
            (false, true) => (port_forward(), Some(exec())),
            (false, false) => (port_forward(), None),
        };
        let (error, second) = match (SidecarState::ask(&first).await, second) {
            (Ok(state), _) => return Ok((first, state)),
            (Err(error), None) => return Err(error),
            (Err(error), Some(second)) => (error, second),
        };
        match SidecarState::ask(&second).await {
            Ok(state) => Ok((second, state)),
            Err(other) => Err(anyhow!("{error:#}; and {other:#}")),
        }
    }
}

/// Parses the address of an interface, and keeps it as it is.
pub(super) fn parse_host_port(text: &str) -> Result<String, String> {
    let port =
        text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).and_then(|(_, port)| port.parse::<u16>().ok());
    match port {
        Some(port) if port > 0 => Ok(text.to_owned()),
        _ => Err("use HOST:PORT, such as 127.0.0.1:9901".to_owned()),
    }
}

/// Parses the name of a pod: `NAME`, `NAMESPACE/NAME` or `pod/NAME`.
pub(super) fn parse_pod(text: &str) -> Result<String, String> {
    let name = text.strip_prefix("pod/").unwrap_or(text);
    match !name.is_empty() && name.split('/').all(|part| !part.is_empty()) && name.matches('/').count() < 2 {
        true => Ok(text.to_owned()),
        false => Err("use NAME or NAMESPACE/NAME".to_owned()),
    }
}

/// The pods that a user names: `NAMESPACE/NAME`, or `NAME` in the namespace of `-n` or of the context.
pub(super) fn pod_names(texts: &[String], namespace: Option<&str>, live: &LiveCluster) -> Vec<NamespacedName> {
    let own = namespace.unwrap_or(&live.namespace);
    let named = |text: &String| {
        let text = text.trim_start_matches("pod/");
        NamespacedName::parse(text).unwrap_or_else(|| NamespacedName::new(own, text))
    };
    texts.iter().map(named).collect()
}
