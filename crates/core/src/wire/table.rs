//! The pushed table: Services, their ports and their endpoints.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use serde::{Deserialize, Deserializer, Serialize};

use super::{
    field_error::{FieldErrorType, FieldErrors},
    field_path::FieldPathRef,
    packed::Packed,
    readable::{names, object},
    reader::{self, LeftOut, ListElement, Readable, read_json},
    steering::ServiceSteering,
};
use crate::{
    collections::{Entries, StringList},
    limits::MAX_ENDPOINT_GROUPS,
};

/// The Services of the cluster, as far as the caller may see them.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", schemars(bound = "S: schemars::JsonSchema + Serialize + Default"))]
pub struct Table<S = BTreeMap<String, Service>> {
    /// The version of the table, which traces and a gauge show. Default 0.
    pub version: u64,
    /// Whether endpoints may have loopback and link-local addresses, for demos and tests on one machine. Default false.
    pub single_machine: bool,
    /// Services by `namespace/name`.
    pub services: S,
    /// The Services in their packed form, in place of `services`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packed: Option<Packed>,
}

object!(Table<S> { "version" => version, "singleMachine" => single_machine, "services" => services, "packed" => packed, });

/// Replaces the packed form of a table's Services, if there is one, by the Services. `has_services` says whether there are others.
/// Unknown fields are refused, or added to `left_out`.
///
/// # Errors
/// If it is torn, has another length than it says, or holds no Services: then nothing is taken of it.
#[inline(never)]
pub(crate) fn unpack<S: Readable>(
    table: &mut Table<S>,
    has_services: bool,
    left_out: Option<&mut LeftOut>,
) -> Result<(), FieldErrors> {
    let Some(packed) = table.packed.take() else { return Ok(()) };
    let at = FieldPathRef::root("table");
    if has_services {
        return Err(FieldErrors::of(&at, "", FieldErrorType::ExactlyOneOf("services and packed")));
    }
    let text = packed.inflate(&at.field("packed"))?;
    Ok(read_json(&text, &mut table.services, Some(&at.field("services")), left_out)?)
}

/// A Service.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Service {
    /// Default `ClusterIP`.
    #[serde(rename = "type", skip_serializing_if = "ServiceType::is_default")]
    pub service_type: ServiceType,
    /// The cluster IPs, at most one of each family. `["None"]` makes the Service headless.
    #[serde(rename = "clusterIPs", skip_serializing_if = "StringList::is_empty")]
    pub cluster_ips: StringList,
    /// The ports of the Service.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<ServicePort>,
    /// The target of an ExternalName Service: an absolute name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_name: Option<String>,
    /// What an ExternalName Service changes besides the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<Alias>,
    /// The endpoints. Omitted: they are unknown. Empty: there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<EndpointGroup>"))]
    pub endpoints: Option<Vec<EndpointGroup>>,
    /// Named subsets of the endpoints. One is chosen for each request, and is `{subset}` in the cluster's name.
    #[serde(skip_serializing_if = "Entries::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "BTreeMap<String, Subset>"))]
    pub subsets: Entries<Subset>,
    /// Whether endpoints that are not ready count as ready. Default false.
    #[serde(skip_serializing_if = "is_false")]
    pub publish_not_ready_addresses: bool,
    /// Default `Cluster`.
    #[serde(skip_serializing_if = "InternalTrafficPolicy::is_default")]
    pub internal_traffic_policy: InternalTrafficPolicy,
    /// Which endpoints are preferred where no endpoint has hints. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic_distribution: Option<TrafficDistribution>,
    /// Default `None`.
    #[serde(skip_serializing_if = "SessionAffinity::is_default")]
    pub session_affinity: SessionAffinity,
    /// The IP families; endpoints of the first are preferred. Default: the family of the first cluster IP, if there is one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ip_families: Vec<IpFamily>,
    /// What differs from the configuration's `steering`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steering: Option<ServiceSteering>,
}

impl Service {
    /// Whether the Service is headless (`clusterIP: None`).
    #[must_use]
    pub fn is_headless(&self) -> bool {
        self.cluster_ips.iter().eq(["None"])
    }
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

/// The type of a Service. All types but ExternalName are the same to DNS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum ServiceType {
    /// A virtual IP inside the cluster, or headless.
    #[default]
    ClusterIP,
    /// The same as ClusterIP here.
    NodePort,
    /// The same as ClusterIP here.
    LoadBalancer,
    /// An alias for another name.
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

/// Which nodes a Service's traffic may go to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum InternalTrafficPolicy {
    /// Every node.
    #[default]
    Cluster,
    /// The caller's own node only.
    Local,
}

names!(InternalTrafficPolicy { "Cluster" => Cluster, "Local" => Local, });

impl InternalTrafficPolicy {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A port of a Service.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServicePort {
    /// The name of the port. Optional where the Service has one port.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The number of the port, never the `targetPort`.
    pub port: u16,
    /// Default `TCP`. The names of other ports exist in DNS, but requests go to TCP ports only.
    #[serde(default, skip_serializing_if = "Protocol::is_default")]
    pub protocol: Protocol,
    /// The application protocol (KEP-1422), which traces show. With `by: endpoint` it chooses the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<String>,
}

object!(ServicePort requires "port" {
    "name" => name,
    "port" => port,
    "protocol" => protocol,
    "appProtocol" => app_protocol,
});

/// The transport protocol of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// TCP, which carries HTTP.
    #[default]
    Tcp,
    /// UDP. No request goes to it.
    Udp,
    /// SCTP. No request goes to it.
    Sctp,
}

names!(Protocol { "TCP" => Tcp, "UDP" => Udp, "SCTP" => Sctp, });

impl Protocol {
    /// The protocol of this name, in any case.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::Tcp, Self::Udp, Self::Sctp].into_iter().find(|protocol| protocol.as_str().eq_ignore_ascii_case(name))
    }

    /// The name of the protocol, as Kubernetes writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        }
    }

    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What an ExternalName Service changes besides the name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Alias {
    /// The port of the target. Default: the requested port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Whether to speak TLS to an external target. Default: as the scheme of the request says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<bool>,
}

object!(Alias { "port" => port, "tls" => tls, });

/// Endpoints that differ in nothing but their addresses and hostnames.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EndpointGroup {
    /// IPv4 and IPv6 addresses.
    pub addresses: StringList,
    /// The hostnames, one for each address in the same order. Omitted where the endpoints have none.
    #[serde(skip_serializing_if = "StringList::is_empty")]
    pub hostnames: StringList,
    /// The endpoints' own ports by name. Omitted: they serve every port of the Service, under the Service's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<BTreeMap<String, u16>>"))]
    pub ports: Option<Entries<u16>>,
    /// Of a headless Service: the names of the endpoints' ports that no request can go to, each with its protocol: `dns/UDP`,
    /// `sig/SCTP`, or `http/TCP` for a port without a number. DNS has these names. Omitted: those of the Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other_ports: Option<StringList>,
    /// The zone of the endpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The node of the endpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The zones that the endpoints are hinted for: `hints.forZones` of an EndpointSlice.
    #[serde(skip_serializing_if = "StringList::is_empty")]
    pub for_zones: StringList,
    /// The nodes that the endpoints are hinted for: `hints.forNodes` of an EndpointSlice.
    #[serde(skip_serializing_if = "StringList::is_empty")]
    pub for_nodes: StringList,
    /// The weight of each endpoint, 1 to 1,000. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// The labels of the endpoints' pods, for `subsets`.
    #[serde(skip_serializing_if = "Entries::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "BTreeMap<String, String>"))]
    pub labels: Entries<String>,
    /// The condition of an EndpointSlice. Default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
    /// The condition of an EndpointSlice. Default true, as kube-proxy reads it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serving: Option<bool>,
    /// The condition of an EndpointSlice. Default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminating: Option<bool>,
}

object!(EndpointGroup {
    "addresses" => addresses,
    "hostnames" => hostnames,
    "ports" => ports,
    "otherPorts" => other_ports,
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

/// The endpoints of a Service that match every field given.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Subset {
    /// The weight of the subset, 0 to 1,000,000. A subset with weight 0 is chosen only where no other is left. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// The zone of the endpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The labels of the endpoints.
    #[serde(skip_serializing_if = "Entries::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "BTreeMap<String, String>"))]
    pub labels: Entries<String>,
}

object!(Subset { "weight" => weight, "zone" => zone, "labels" => labels, });

/// Which endpoints are preferred (KEP-3015, KEP-4444).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum TrafficDistribution {
    /// Endpoints in the caller's zone.
    #[default]
    PreferSameZone,
    /// The old name of PreferSameZone.
    PreferClose,
    /// Endpoints on the caller's node, else in its zone.
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
    /// No.
    #[default]
    None,
    /// Yes. The client of a sidecar is its pod.
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
