//! The types of resources that are served: to Envoy, and to filters over streams of their own.

use std::time::Duration;

use byname_xds::{ResourceType, ResourceTypes, TypeIndex};

/// The time for which changes of names and clusters are collected.
const NAMES_WINDOW: Duration = Duration::from_secs(1);
/// The time for which steady changes of endpoints, and of Services that a filter asked for, are collected.
const ENDPOINTS_WINDOW: Duration = Duration::from_millis(50);
/// The same for a change after a quiet time: enough for the other EndpointSlices of a Service, which Kubernetes writes one after another.
const FIRST_ENDPOINTS_WINDOW: Duration = Duration::from_millis(10);

/// The resource types, by what they hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Types {
    pub(super) filter: TypeIndex,
    pub(super) cluster: TypeIndex,
    pub(super) endpoints: TypeIndex,
    /// Lists of names for a filter's own stream.
    pub(super) namespaces: TypeIndex,
    /// Services for a filter that leaves their endpoints to Envoy.
    pub(super) service: TypeIndex,
    /// Services with their endpoints, for a filter that chooses an endpoint.
    pub(super) service_endpoints: TypeIndex,
    /// What an address stands for.
    pub(super) address: TypeIndex,
}

impl Types {
    /// Adds the types to `all`, in the order in which Envoy, or the filter, needs them.
    pub(super) fn add_to(all: &mut ResourceTypes, filter_name: &str) -> Self {
        let url = |name: &str| format!("type.googleapis.com/{name}");
        // The filter lets go of a name before its cluster is removed. Envoy answers 500 where the filter itself is removed.
        let filter = ResourceType::new(url("envoy.config.core.v3.TypedExtensionConfig"), NAMES_WINDOW)
            .wildcard([filter_name])
            .never_removed();
        let filter = all.add(filter);
        let cluster = ResourceType::new(url("envoy.config.cluster.v3.Cluster"), NAMES_WINDOW)
            .in_window_of(filter)
            .removed_after(filter);
        let cluster = all.add(cluster);
        let endpoints = ResourceType::new(url("envoy.config.endpoint.v3.ClusterLoadAssignment"), ENDPOINTS_WINDOW)
            .first_window(FIRST_ENDPOINTS_WINDOW)
            .following(cluster);
        let endpoints = all.add(endpoints);
        let of_filter = |name: &str, window| ResourceType::new(url(&format!("byname.v1.{name}")), window).linked();
        let by_key = |name: &str| of_filter(name, ENDPOINTS_WINDOW).first_window(FIRST_ENDPOINTS_WINDOW);
        let namespaces = all.add(of_filter("Namespaces", NAMES_WINDOW));
        let service = all.add(by_key("Service"));
        let service_endpoints = all.add(by_key("Endpoints").in_window_of(service));
        let address = all.add(by_key("Address").in_window_of(service));
        Self { filter, cluster, endpoints, namespaces, service, service_endpoints, address }
    }

    /// All types, each with its word.
    pub(super) fn words(&self) -> [(TypeIndex, &'static str); 7] {
        [
            (self.filter, "filter"),
            (self.cluster, "cluster"),
            (self.endpoints, "endpoints"),
            (self.namespaces, "namespaces"),
            (self.service, "service"),
            (self.service_endpoints, "service_endpoints"),
            (self.address, "address"),
        ]
    }

    /// The type's word.
    pub(super) fn word(&self, resource_type: TypeIndex) -> &'static str {
        self.words().into_iter().find(|(found, _)| *found == resource_type).map_or("other", |(_, word)| word)
    }

    /// Whether a filter asks for resources of the type by a stream of its own; otherwise Envoy does.
    pub(super) fn is_of_filter(&self, resource_type: TypeIndex) -> bool {
        resource_type >= self.namespaces
    }
}
