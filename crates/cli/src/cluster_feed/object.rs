//! An object from the Kubernetes API, trimmed to the parts that a table needs.

use k8s_openapi::{
    api::{core::v1, discovery::v1::EndpointSlice},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::api::ApiResource;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    input::{InputError, InputNode, SourceLocation},
    kubernetes::{EXPORT_TO, NamespacedName, Node, Pod, SERVICE_NAME, read_used},
};

/// A kind of object that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ObjectKind {
    Service,
    EndpointSlice,
    Pod,
    Node,
    Namespace,
}

impl ObjectKind {
    /// All kinds.
    pub(super) const ALL: [Self; 5] = [Self::Service, Self::EndpointSlice, Self::Pod, Self::Node, Self::Namespace];

    /// The kind's name in the API.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Pod => "Pod",
            Self::Node => "Node",
            Self::Namespace => "Namespace",
        }
    }

    /// The kind's resource in the API.
    pub(super) fn resource(self) -> ApiResource {
        match self {
            Self::Service => ApiResource::erase::<v1::Service>(&()),
            Self::EndpointSlice => ApiResource::erase::<EndpointSlice>(&()),
            Self::Pod => ApiResource::erase::<v1::Pod>(&()),
            Self::Node => ApiResource::erase::<v1::Node>(&()),
            Self::Namespace => ApiResource::erase::<v1::Namespace>(&()),
        }
    }

    /// The resource's name and group, as in `endpointslices.discovery.k8s.io`.
    pub(super) fn resource_name(self) -> String {
        let ApiResource { plural, group, .. } = self.resource();
        if group.is_empty() { plural } else { format!("{plural}.{group}") }
    }
}

/// Any object, not yet parsed: one unreadable object must not fail the whole list.
#[derive(Clone, Debug)]
pub(super) struct WatchedObject {
    metadata: ObjectMeta,
    value: Value,
}

impl<'de> Deserialize<'de> for WatchedObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let own = |field: &str| Some(value.get("metadata")?.get(field)?.as_str()?.to_owned());
        let metadata = ObjectMeta {
            name: own("name"),
            namespace: own("namespace"),
            resource_version: own("resourceVersion"),
            ..ObjectMeta::default()
        };
        Ok(Self { metadata, value })
    }
}

/// The kept part of an object: what a table is compiled from. Other fields would cause needless compilations.
#[derive(Debug)]
pub(super) enum Kept {
    Service(Box<v1::Service>),
    EndpointSlice(EndpointSlice),
    Pod(Pod),
    Node(Node),
    /// The value of [`EXPORT_TO`].
    Namespace(Option<String>),
}

/// Decides which optional parts are kept.
#[derive(Clone, Debug)]
pub(super) struct Trim {
    /// Whether EndpointSlices keep the Pods of their endpoints.
    pub(super) has_pods: bool,
    /// The caller's pod, which keeps more than its labels.
    pub(super) pod: Option<NamespacedName>,
    pub(super) place: SourceLocation,
}

impl WatchedObject {
    /// The namespace and name; Nodes and Namespaces have an empty namespace.
    pub(super) fn called(&self) -> NamespacedName {
        let own = |text: &Option<String>| text.clone().unwrap_or_default();
        NamespacedName { namespace: own(&self.metadata.namespace), name: own(&self.metadata.name) }
    }

    /// The object's resourceVersion.
    pub(super) fn version(&self) -> Option<&str> {
        self.metadata.resource_version.as_deref()
    }

    /// The object as it came.
    pub(super) fn into_value(self) -> Value {
        self.value
    }

    /// Parses the object and keeps the needed parts.
    pub(super) fn keep(self, kind: ObjectKind, trim: &Trim) -> Result<Kept, InputError> {
        let name = self.called();
        let kept = match kind {
            ObjectKind::Service => read(kind, self.value).map(|service| Kept::Service(Box::new(of_service(service)))),
            ObjectKind::EndpointSlice => {
                read(kind, self.value).map(|slice| Kept::EndpointSlice(of_slice(slice, trim.has_pods)))
            }
            ObjectKind::Pod => {
                let is_whole = trim.pod.as_ref() == Some(&name);
                read(kind, self.value).map(|pod| Kept::Pod(of_pod(Pod::of(pod), is_whole)))
            }
            ObjectKind::Node => read(kind, self.value).map(|node| Kept::Node(Node::of(node))),
            ObjectKind::Namespace => read(kind, self.value).map(|namespace: v1::Namespace| {
                Kept::Namespace(namespace.metadata.annotations.and_then(|mut all| all.remove(EXPORT_TO)))
            }),
        };
        kept.map_err(|(field, why)| {
            let fix = "correct the field to its type in the Kubernetes API; the object is ignored until then";
            InputError::at(&trim.place, why, fix).with_object(format!("{} {name}", kind.name())).with_field(field)
        })
    }
}

/// Parses the object. The error is the field and the reason. Fields that byname does not use may have any type.
fn read<T: DeserializeOwned>(kind: ObjectKind, value: Value) -> Result<T, (String, String)> {
    T::deserialize(&value).or_else(|_| {
        let read = read_used(kind.name(), &InputNode::of_json(value));
        read.map_err(|unreadable| (unreadable.field, unreadable.why))
    })
}

fn of_service(service: v1::Service) -> v1::Service {
    let spec = service.spec.map(|spec| v1::ServiceSpec {
        selector: None,
        ports: spec.ports.map(|ports| {
            ports.into_iter().map(|port| v1::ServicePort { node_port: None, target_port: None, ..port }).collect()
        }),
        ..spec
    });
    let annotations = service.metadata.annotations.map(|mut all| {
        all.retain(|key, _| key == EXPORT_TO);
        all
    });
    let annotations = annotations.filter(|kept| !kept.is_empty());
    v1::Service { spec, metadata: ObjectMeta { annotations, ..ObjectMeta::default() }, ..v1::Service::default() }
}

fn of_slice(mut slice: EndpointSlice, has_pods: bool) -> EndpointSlice {
    for endpoint in slice.endpoints.iter_mut().flatten() {
        endpoint.deprecated_topology = None;
        let target = endpoint.target_ref.take().filter(|_| has_pods);
        endpoint.target_ref = target.map(|target| v1::ObjectReference {
            kind: target.kind,
            namespace: target.namespace,
            name: target.name,
            ..v1::ObjectReference::default()
        });
    }
    let labels = slice.metadata.labels.take().map(|mut labels| {
        labels.retain(|key, _| key == SERVICE_NAME);
        labels
    });
    slice.metadata = ObjectMeta { labels, ..ObjectMeta::default() };
    slice
}

fn of_pod(pod: Pod, is_whole: bool) -> Pod {
    if is_whole { pod } else { Pod { labels: pod.labels, ..Pod::default() } }
}
