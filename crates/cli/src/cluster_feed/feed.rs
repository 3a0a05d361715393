//! A feed: the objects of one list and watch.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use kube::{Resource, core::dynamic::DynamicObject};

use super::object::ObjectKind;
use crate::{kubernetes::NamespacedName, output::some};

/// The objects of one list and watch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Feed {
    pub(super) kind: ObjectKind,
    /// `None` for all.
    pub(super) namespace: Option<String>,
    /// `None` for all.
    pub(super) name: Option<String>,
}

impl Feed {
    /// The path of the feed's list in the API.
    pub(super) fn url(&self) -> String {
        DynamicObject::url_path(&self.kind.resource(), self.namespace.as_deref())
    }

    /// Whether an object of this name is in the feed, if it is of its kind.
    pub(super) fn has(&self, name: &NamespacedName) -> bool {
        self.namespace.as_ref().is_none_or(|namespace| *namespace == name.namespace)
            && self.name.as_ref().is_none_or(|own| *own == name.name)
    }
}

impl fmt::Display for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.name();
        match (&self.namespace, &self.name) {
            (None, None) => write!(f, "{kind}s"),
            (Some(namespace), None) => write!(f, "{kind}s of namespace {namespace}"),
            (None, Some(name)) => write!(f, "{kind} {name}"),
            (Some(namespace), Some(name)) => write!(f, "{kind} {namespace}/{name}"),
        }
    }
}

/// All `feeds` as text for people, such as `Services, EndpointSlices of namespaces prod, shop`.
pub(super) fn called(feeds: &BTreeSet<Feed>) -> String {
    let mut namespaces: BTreeMap<ObjectKind, BTreeSet<&str>> = BTreeMap::new();
    for feed in feeds {
        if let (Some(namespace), None) = (&feed.namespace, &feed.name) {
            namespaces.entry(feed.kind).or_default().insert(namespace);
        }
    }
    let mut words = Vec::new();
    for feed in feeds {
        match &feed.namespace {
            Some(_) if feed.name.is_none() => {
                if let Some(namespaces) = namespaces.remove(&feed.kind) {
                    words.push(format!("{}s of {}", feed.kind.name(), named(&namespaces)));
                }
            }
            _ => words.push(feed.to_string()),
        }
    }
    words.join(", ")
}

/// The permissions that `feeds` need, as advice for people.
pub(super) fn permissions(feeds: &BTreeSet<Feed>) -> String {
    let mut resources: BTreeMap<Option<&str>, BTreeSet<String>> = BTreeMap::new();
    for feed in feeds {
        resources.entry(feed.namespace.as_deref()).or_default().insert(feed.kind.resource_name());
    }
    // Namespaces that need the same are named together.
    let mut namespaces: BTreeMap<BTreeSet<String>, BTreeSet<&str>> = BTreeMap::new();
    let mut words = Vec::new();
    for (namespace, resources) in resources {
        match namespace {
            Some(namespace) => drop(namespaces.entry(resources).or_default().insert(namespace)),
            None => {
                let (of_cluster, namespaced): (BTreeSet<_>, BTreeSet<_>) =
                    resources.into_iter().partition(|resource| {
                        [ObjectKind::Node, ObjectKind::Namespace].iter().any(|kind| *resource == kind.resource_name())
                    });
                let places = [(namespaced, "in all namespaces"), (of_cluster, "in a ClusterRole")];
                let places = places.iter().filter(|(resources, _)| !resources.is_empty());
                words.extend(places.map(|(resources, place)| format!("{} {place}", joined(resources))));
            }
        }
    }
    words.extend(namespaces.iter().map(|(resources, names)| format!("{} in {}", joined(resources), named(names))));
    // Only a server follows Namespaces.
    let place = match feeds.iter().any(|feed| feed.kind == ObjectKind::Namespace) {
        true => "docs/serve.md",
        false => "examples/kubernetes/rbac.yaml",
    };
    format!("grant \"list\" and \"watch\" on {}; {place} has the rules", words.join(", and on "))
}

fn joined(words: &BTreeSet<String>) -> String {
    words.iter().map(String::as_str).collect::<Vec<_>>().join(" and ")
}

fn named(namespaces: &BTreeSet<&str>) -> String {
    let plural = if namespaces.len() == 1 { "" } else { "s" };
    format!("namespace{plural} {}", some(namespaces))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(kind: ObjectKind, namespace: Option<&str>, name: Option<&str>) -> Feed {
        Feed { kind, namespace: namespace.map(str::to_owned), name: name.map(str::to_owned) }
    }

    #[test]
    fn feeds_of_many_namespaces_are_one_short_text() {
        use ObjectKind::{EndpointSlice, Node, Pod, Service};
        let mut feeds = BTreeSet::from([feed(Service, None, None), feed(EndpointSlice, None, None)]);
        feeds.insert(feed(Pod, Some("shop"), Some("web-0")));
        feeds.insert(feed(Node, None, Some("node-1")));
        assert_eq!(called(&feeds), "Services, EndpointSlices, Pod shop/web-0, Node node-1");
        let feeds = ["a", "b", "c", "d", "e"].map(|namespace| feed(Service, Some(namespace), None)).into();
        assert_eq!(called(&feeds), "Services of namespaces a, b, c and 2 more");
    }

    #[test]
    fn permissions_name_verbs_resource_group_and_namespace() {
        let slices = BTreeSet::from([feed(ObjectKind::EndpointSlice, Some("shop"), None)]);
        assert_eq!(
            permissions(&slices),
            "grant \"list\" and \"watch\" on endpointslices.discovery.k8s.io in namespace shop; \
             examples/kubernetes/rbac.yaml has the rules"
        );
        let all = [ObjectKind::Service, ObjectKind::EndpointSlice].map(|kind| feed(kind, None, None)).into();
        let text = permissions(&all);
        assert!(text.contains("on endpointslices.discovery.k8s.io and services in all namespaces;"), "{text}");
        let node = [feed(ObjectKind::Node, None, Some("node-1"))].into();
        assert!(permissions(&node).contains("on nodes in a ClusterRole;"));
        let namespaces = [feed(ObjectKind::Namespace, None, None)].into();
        assert!(permissions(&namespaces).ends_with("on namespaces in a ClusterRole; docs/serve.md has the rules"));
    }
}
