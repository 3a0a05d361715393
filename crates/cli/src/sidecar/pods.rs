//! Pods with a sidecar, and the port of its Envoy's admin interface.

use serde::Serialize;

use crate::{
    input::{InputNode, RawObject},
    kubernetes::{NamespacedName, containers, is_running},
};

/// The annotation of a pod that tells the port of its Envoy's admin interface.
const ADMIN_PORT: &str = "byname/admin-port";
/// The container of Istio's sidecars and gateways, and the port of its admin interface.
const ISTIO: (&str, u16) = ("istio-proxy", 15000);
/// The port of the admin interface in bootstraps of `byname compile`.
const DEFAULT_PORT: u16 = 9901;

/// A pod with a sidecar.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SidecarPod {
    /// Namespace and name.
    #[serde(serialize_with = "as_text")]
    pub name: NamespacedName,
    /// The container of Envoy.
    pub container: String,
    /// The port of Envoy's admin interface.
    pub admin_port: u16,
    /// Whether Istio's agent runs beside Envoy.
    pub is_istio: bool,
    /// Whether the pod runs.
    pub is_running: bool,
}

fn as_text<S: serde::Serializer>(name: &NamespacedName, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(name)
}

impl SidecarPod {
    /// The sidecar of a Pod, whose admin interface has the port `asked` if that is given; `None` if no container looks like Envoy.
    #[must_use]
    pub fn of(raw: &RawObject, asked: Option<u16>) -> Option<Self> {
        let namespace = raw.metadata("namespace")?;
        let name = NamespacedName::new(namespace, raw.metadata("name")?);
        let annotations = raw.node.get("metadata")?.get("annotations");
        let told = asked.or_else(|| annotations.and_then(|all| all.get(ADMIN_PORT)?.text()?.parse().ok()));
        let own = |container: &InputNode, field: &str| {
            container.get(field).and_then(InputNode::text).unwrap_or_default().to_owned()
        };
        let containers: Vec<(String, String)> =
            containers(raw).map(|container| (own(container, "name"), own(container, "image"))).collect();
        let sidecar = |container: &str, port, is_istio| Self {
            name: name.clone(),
            container: container.to_owned(),
            admin_port: told.unwrap_or(port),
            is_istio,
            is_running: is_running(raw),
        };
        if containers.iter().any(|(container, _)| container == ISTIO.0) {
            return Some(sidecar(ISTIO.0, ISTIO.1, true));
        }
        let envoy = containers.iter().find(|(name, image)| {
            let image = image.rsplit('/').next().unwrap_or_default();
            name == "envoy" || image.starts_with("envoy")
        });
        match (envoy, containers.first()) {
            (Some((name, _)), _) => Some(sidecar(name, DEFAULT_PORT, false)),
            (None, Some((first, _))) if told.is_some() => Some(sidecar(first, DEFAULT_PORT, false)),
            _ => None,
        }
    }
}
