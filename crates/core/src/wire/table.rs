//! The pushed table: Services, their ports and their endpoints.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use serde::{Deserialize, Deserializer, Serialize};

use super::{
    readable::{names, object},
    reader::{self, ListElement},
    steering::ServiceSteering,
};
use crate::{
    collections::{Entries, StringList},
    limits::MAX_ENDPOINT_GROUPS,
};

/// What is known of the cluster.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", schemars(bound = "S: schemars::JsonSchema + Serialize + Default"))]
pub struct Table<S = BTreeMap<String, Service>> {
    /// Says which table this is, in traces and in a gauge. Default 0.
    pub version: u64,
    /// Whether endpoints may have loopback and link-local addresses, for demos and tests. Default false.
    pub single_machine: bool,
    /// By `namespace/name`.
    pub services: S,
}

object!(Table<S> { "version" => version, "singleMachine" => single_machine, "services" => services, });

/// A Service.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Service {
    /// Default `ClusterIP`.
    #[serde(rename = "type", skip_serializing_if = "ServiceType::is_default")]
    pub service_type: ServiceType,
    /// `["None"]` makes it headless.
    #[serde(rename = "clusterIPs", skip_serializing_if = "StringList::is_empty")]
    pub cluster_ips: StringList,
    /// The ports that requests are matched to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<ServicePort>,
    /// Target of an ExternalName Service: an absolute name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_name: Option<String>,
    /// What an ExternalName Service changes beside the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<Alias>,
    /// Left out: nothing is known of the endpoints. Empty: there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<EndpointGroup>"))]
    pub endpoints: Option<Vec<EndpointGroup>>,
    /// Its endpoints in named groups, of which one is chosen for a request: `{subset}` of a cluster's name.
    #[serde(skip_serializing_if = "Entries::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "BTreeMap<String, Subset>"))]
    pub subsets: Entries<Subset>,
    /// Whether endpoints that are not ready count as ready. Default false.
    #[serde(skip_serializing_if = "is_false")]
    pub publish_not_ready_addresses: bool,
    /// Default `Cluster`.
    #[serde(skip_serializing_if = "InternalTrafficPolicy::is_default")]
    pub internal_traffic_policy: InternalTrafficPolicy,
    /// Which endpoints are preferred where none of them has hints. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic_distribution: Option<TrafficDistribution>,
    /// Default `None`.
    #[serde(skip_serializing_if = "SessionAffinity::is_default")]
    pub session_affinity: SessionAffinity,
    /// The first is preferred. Default: that of the first cluster IP, else none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ip_families: Vec<IpFamily>,
    /// What differs from the configuration's `steering` for this Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steering: Option<ServiceSteering>,
}

object!(Service {
    "type" => service_type,
    "clusterIPs" => cluster_ips,
    "ports" => ports,
    "externalName" => external_name,
    "alias" => alias,
    "endpoints" => endpoints,
    "subsets" => subsets,
    "publishNotReadyAddresses" => publish_not_ready_addresses,
    "internalTrafficPolicy" => internal_traffic_policy,
    "trafficDistribution" => traffic_distribution,
    "sessionAffinity" => session_affinity,
    "ipFamilies" => ip_families,
    "steering" => steering,
});

/// The type of a Service. What is not an ExternalName has the same meaning in DNS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum ServiceType {
    /// A virtual IP inside the cluster, or headless.
    #[default]
    ClusterIP,
    /// As ClusterIP.
    NodePort,
    /// As ClusterIP.
    LoadBalancer,
    /// An alias of another name.
    ExternalName,
}

names!(ServiceType {
    "ClusterIP" => ClusterIP,
    "NodePort" => NodePort,
    "LoadBalancer" => LoadBalancer,
    "ExternalName" => ExternalName,
});

impl ServiceType {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Where a Service's traffic may go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum InternalTrafficPolicy {
    /// To every node.
    #[default]
    Cluster,
    /// To the caller's own node alone.
    Local,
}

names!(InternalTrafficPolicy { "Cluster" => Cluster, "Local" => Local, });

impl InternalTrafficPolicy {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A port of a Service.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServicePort {
    /// May be left out where it is the only one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The Service's port, never the `targetPort`.
    pub port: u16,
    /// Default `TCP`. Only TCP ports are matched.
    #[serde(default, skip_serializing_if = "Protocol::is_default")]
    pub protocol: Protocol,
    /// The application protocol (KEP-1422), shown in traces. While steering by endpoint it chooses the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<String>,
}

object!(ServicePort requires "port" {
    "name" => name,
    "port" => port,
    "protocol" => protocol,
    "appProtocol" => app_protocol,
});

/// Transport protocol of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// What HTTP is carried by.
    #[default]
    Tcp,
    /// Not matched.
    Udp,
    /// Not matched.
    Sctp,
}

names!(Protocol { "TCP" => Tcp, "UDP" => Udp, "SCTP" => Sctp, });

impl Protocol {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What an ExternalName Service changes beside the name.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Alias {
    /// The port of the target. Default: the port that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Whether an external target is spoken to over TLS. Default: as the request came, by its scheme.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<bool>,
}

object!(Alias { "port" => port, "tls" => tls, });

/// Endpoints that share all but their addresses and hostnames.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EndpointGroup {
    /// IPv4 and IPv6 addresses.
    pub addresses: StringList,
    /// One for each address, in the same order; left out where the endpoints have none.
    #[serde(skip_serializing_if = "StringList::is_empty")]
    pub hostnames: StringList,
    /// The endpoints' own ports by name. Left out: they serve every port of the Service, under its own number.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<BTreeMap<String, u16>>"))]
    pub ports: Option<Entries<u16>>,
    /// Their zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Their node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Zones that the control plane means them for: `hints.forZones` of an EndpointSlice.
    #[serde(skip_serializing_if = "StringList::is_empty")]
    pub for_zones: StringList,
    /// Nodes that it means them for: `hints.forNodes`.
    #[serde(skip_serializing_if = "StringList::is_empty")]
    pub for_nodes: StringList,
    /// Share of each endpoint beside those of other groups, 1 to 1,000. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// Labels of their pods, for `subsets`.
    #[serde(skip_serializing_if = "Entries::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "BTreeMap<String, String>"))]
    pub labels: Entries<String>,
    /// EndpointSlice condition; absent counts as true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
    /// EndpointSlice condition; absent counts as true, as kube-proxy reads it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serving: Option<bool>,
    /// EndpointSlice condition; absent counts as false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminating: Option<bool>,
}

object!(EndpointGroup {
    "addresses" => addresses,
    "hostnames" => hostnames,
    "ports" => ports,
    "zone" => zone,
    "node" => node,
    "forZones" => for_zones,
    "forNodes" => for_nodes,
    "weight" => weight,
    "labels" => labels,
    "ready" => ready,
    "serving" => serving,
    "terminating" => terminating,
});

/// Some endpoints of a Service: those that meet all that is said here.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Subset {
    /// Its share beside those of other subsets, 0 to 1,000,000; one with 0 is chosen where no other is left. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// The zone of its endpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Labels that its endpoints have.
    #[serde(skip_serializing_if = "Entries::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "BTreeMap<String, String>"))]
    pub labels: Entries<String>,
}

object!(Subset { "weight" => weight, "zone" => zone, "labels" => labels, });

/// Which endpoints are preferred (KEP-3015, KEP-4444).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum TrafficDistribution {
    /// Those in the caller's zone.
    #[default]
    PreferSameZone,
    /// As PreferSameZone, by its old name.
    PreferClose,
    /// Those on the caller's node, else in its zone.
    PreferSameNode,
}

names!(TrafficDistribution {
    "PreferSameZone" => PreferSameZone,
    "PreferClose" => PreferClose,
    "PreferSameNode" => PreferSameNode,
});

/// Whether a client stays with one endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum SessionAffinity {
    /// It does not.
    #[default]
    None,
    /// It does; and the client of a sidecar is its pod.
    ClientIP,
}

impl SessionAffinity {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

names!(SessionAffinity { "None" => None, "ClientIP" => ClientIP, });

/// A family of addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum IpFamily {
    /// IPv4.
    #[default]
    IPv4,
    /// IPv6.
    IPv6,
}

names!(IpFamily { "IPv4" => IPv4, "IPv6" => IPv6, });

impl<'de> Deserialize<'de> for Service {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        reader::read(deserializer)
    }
}

impl ListElement for ServicePort {}

impl ListElement for EndpointGroup {
    /// Checked while reading: an empty group takes 3 bytes in JSON and many more in memory.
    const MAX_LEN: usize = MAX_ENDPOINT_GROUPS;
    const LIST: &'static str = "at most 4096 groups of endpoints";
    /// No endpoints and unknown endpoints differ, and some programs write null for an empty list.
    const LIST_MAY_BE_NULL: bool = false;
}

const _: () = assert!(MAX_ENDPOINT_GROUPS == 4_096, "the text says 4096");

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}
