//! What the answers are made of: the cluster, and what pods say of their containers.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    input::{InputError, InputNode, RawObject},
    kubernetes::{ClusterState, NamespacedName, containers, is_running},
};

/// A cluster as the answers need it.
#[derive(Debug, Default)]
pub struct ClusterFacts {
    /// The objects.
    pub cluster: ClusterState,
    /// The namespaces to look at; all if empty.
    pub namespaces: BTreeSet<String>,
    /// The Service of `byname serve`, if it is known.
    pub server: Option<NamespacedName>,
    pub(super) pods: BTreeMap<NamespacedName, PodFacts>,
    pub(super) sidecars: Vec<SidecarObject>,
}

/// The containers of a pod.
#[derive(Debug, Default)]
pub(super) struct PodFacts {
    pub(super) containers: Vec<ContainerFacts>,
    pub(super) is_running: bool,
}

/// A container: its name, its image and its environment, as far as it is written in the pod.
#[derive(Debug, Default)]
pub(super) struct ContainerFacts {
    pub(super) name: String,
    pub(super) image: String,
    pub(super) environment: BTreeMap<String, String>,
}

/// A Sidecar object of Istio's, which limits what sidecars know.
#[derive(Debug)]
pub(super) struct SidecarObject {
    pub(super) name: NamespacedName,
    /// The hosts of all egress listeners, such as `./*` or `istio-system/*`.
    pub(super) hosts: Vec<String>,
}

impl ClusterFacts {
    /// Facts without an object, for the pods of `namespaces`; of all if there are none.
    #[must_use]
    pub fn new(namespaces: BTreeSet<String>, server: Option<NamespacedName>) -> Self {
        Self { namespaces, server, ..Self::default() }
    }

    /// Adds an object.
    ///
    /// # Errors
    /// If it does not fit its kind.
    pub fn add(&mut self, raw: RawObject) -> Result<(), InputError> {
        let own = |field: &str| raw.metadata(field).unwrap_or_default().to_owned();
        let name = NamespacedName { namespace: own("namespace"), name: own("name") };
        match raw.kind.as_str() {
            "Sidecar" => {
                let egress = raw.node.get("spec").map(|spec| items(spec, "egress")).unwrap_or_default();
                let hosts = egress.iter().flat_map(|listener| items(listener, "hosts"));
                let hosts = hosts.filter_map(InputNode::text).map(str::to_owned).collect();
                self.sidecars.push(SidecarObject { name, hosts });
                return Ok(());
            }
            "Pod" => drop(self.pods.insert(name, PodFacts::of(&raw))),
            _ => {}
        }
        self.cluster.add(raw)
    }

    /// The running pods to look at.
    pub(super) fn pods(&self) -> impl Iterator<Item = (&NamespacedName, &PodFacts)> {
        self.pods.iter().filter(|(name, pod)| pod.is_running && self.is_asked(&name.namespace))
    }

    pub(super) fn is_asked(&self, namespace: &str) -> bool {
        self.namespaces.is_empty() || self.namespaces.contains(namespace)
    }
}

impl PodFacts {
    fn of(raw: &RawObject) -> Self {
        Self { containers: containers(raw).map(ContainerFacts::of).collect(), is_running: is_running(raw) }
    }
}

impl ContainerFacts {
    fn of(node: &InputNode) -> Self {
        let text =
            |node: &InputNode, field: &str| node.get(field).and_then(InputNode::text).unwrap_or_default().to_owned();
        let variables = items(node, "env").iter().filter(|variable| variable.get("value").is_some());
        let environment = variables.map(|variable| (text(variable, "name"), text(variable, "value"))).collect();
        Self { name: text(node, "name"), image: text(node, "image"), environment }
    }

    /// The version in the image's tag, as major and minor.
    pub(super) fn version(&self) -> Option<(u32, u32)> {
        let (_, tag) = self.image.rsplit_once(':')?;
        let mut parts = tag.trim_start_matches('v').split(['.', '-']);
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }
}

/// The items of the list in this field.
fn items<'n>(node: &'n InputNode, field: &str) -> &'n [InputNode] {
    node.get(field).map(InputNode::items).unwrap_or_default()
}
