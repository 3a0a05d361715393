//! Compiles a Kubernetes Service into a Service of the table.

use byname_core::{limits::MAX_ENDPOINT_GROUPS, wire};

use super::groups;
use crate::{
    input::Field,
    kubernetes::{ClusterState, ObjectError, ObjectName, ServicePortView, ServiceView, TransportProtocol},
};

/// Options for compiling a Service.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServiceOptions<'w> {
    /// The Service's hand-written fields from `--config`.
    pub(super) own: Option<&'w wire::Service>,
    /// Whether endpoints are omitted.
    pub(super) names_only: bool,
    /// The caller's node, if known.
    pub(super) node: Option<&'w str>,
}

/// The errors of a Service's fields, collected.
struct ServiceFields<'s> {
    service: ServiceView<'s>,
    errors: Vec<ObjectError>,
}

/// Compiles a Service. A field with an error gets its default, so that the rest of the Service is checked too.
pub(super) fn compile(
    cluster: &ClusterState,
    view: ServiceView<'_>,
    ServiceOptions { own, names_only, node }: ServiceOptions<'_>,
) -> (wire::Service, Vec<ObjectError>) {
    let mut fields = ServiceFields { service: view, errors: Vec::new() };
    let spec = view.spec;
    let own = own.cloned().unwrap_or_default();
    let service_type = match view.type_word() {
        "ClusterIP" => wire::ServiceType::ClusterIP,
        "NodePort" => wire::ServiceType::NodePort,
        "LoadBalancer" => wire::ServiceType::LoadBalancer,
        "ExternalName" => wire::ServiceType::ExternalName,
        other => {
            let fix = "use ClusterIP, NodePort, LoadBalancer or ExternalName";
            fields.add(["spec", "type"], format!("{other:?} is not a Service type"), fix);
            wire::ServiceType::default()
        }
    };
    if view.is_external_name() {
        // DNS ignores its ports, and the other fields belong to other types.
        let service = wire::Service {
            service_type,
            external_name: spec.external_name.clone().filter(|name| !name.is_empty()),
            alias: own.alias,
            subsets: own.subsets,
            steering: own.steering,
            ..wire::Service::default()
        };
        return (service, fields.errors);
    }
    let mut service = wire::Service {
        service_type,
        cluster_ips: fields.cluster_ips(),
        ports: view.ports().map(|port| fields.port(port)).collect(),
        publish_not_ready_addresses: view.publishes_not_ready(),
        internal_traffic_policy: match spec.internal_traffic_policy.as_deref() {
            None | Some("Cluster") => wire::InternalTrafficPolicy::Cluster,
            Some("Local") => wire::InternalTrafficPolicy::Local,
            Some(other) => {
                let reason = format!("{other:?} is not a traffic policy");
                fields.add(["spec", "internalTrafficPolicy"], reason, "use Cluster or Local");
                wire::InternalTrafficPolicy::Cluster
            }
        },
        traffic_distribution: match spec.traffic_distribution.as_deref() {
            Some("PreferSameZone") => Some(wire::TrafficDistribution::PreferSameZone),
            Some("PreferClose") => Some(wire::TrafficDistribution::PreferClose),
            Some("PreferSameNode") => Some(wire::TrafficDistribution::PreferSameNode),
            // The API says that implementations ignore unknown values.
            _ => None,
        },
        session_affinity: match spec.session_affinity.as_deref() {
            None | Some("" | "None") => wire::SessionAffinity::None,
            Some("ClientIP") => wire::SessionAffinity::ClientIP,
            Some(other) => {
                let reason = format!("{other:?} is not a session affinity");
                fields.add(["spec", "sessionAffinity"], reason, "use None or ClientIP");
                wire::SessionAffinity::None
            }
        },
        ip_families: ip_families(view),
        alias: own.alias,
        subsets: own.subsets,
        steering: own.steering,
        ..wire::Service::default()
    };
    if !names_only && cluster.knows_endpoints_of(view.name) {
        match groups::compile(cluster, view, &service, node) {
            Ok(groups) if groups.len() > MAX_ENDPOINT_GROUPS => {
                let reason =
                    format!("has {} groups of endpoints, and the limit is {MAX_ENDPOINT_GROUPS}", groups.len());
                let fix = "compile for one pod with --pod, so that endpoints on all other nodes share groups";
                fields.add(["metadata", "name"], reason, fix);
            }
            Ok(groups) => service.endpoints = Some(groups),
            Err(error) => fields.errors.push(error),
        }
    }
    (service, fields.errors)
}

/// The IP families of a Service; empty if its first address implies them. A single-stack Service says its family if it has
/// EndpointSlices of the other one, whose endpoints must not serve.
fn ip_families(view: ServiceView<'_>) -> Vec<wire::IpFamily> {
    let families: Vec<wire::IpFamily> = view.ip_families().collect();
    let is_implied = families.first().copied() == view.address_family();
    if is_implied && view.stray_family().is_none() { Vec::new() } else { families }
}

impl ServiceFields<'_> {
    /// The cluster IPs, which the core checks. In the table white space separates them, so that one with white space would be two.
    fn cluster_ips(&mut self) -> wire::StringList {
        let is_one = |text: &str| !text.contains(char::is_whitespace);
        let view = self.service;
        if let Some(wrong) = view.cluster_ips().find(|text| !is_one(text)) {
            let listed = view.spec.cluster_ips.as_ref().is_some_and(|ips| !ips.is_empty());
            let field = ["spec", if listed { "clusterIPs" } else { "clusterIP" }];
            let fix = "write an IPv4 or IPv6 address without brackets, port or zone";
            self.add(field, format!("{wrong:?} is not an IP address"), fix);
        }
        view.cluster_ips().filter(|text| is_one(text)).collect()
    }

    /// The port in the table. A number that is no port becomes 0.
    fn port(&mut self, view: ServicePortView<'_>) -> wire::ServicePort {
        let number = u16::try_from(view.number).unwrap_or_default();
        if number == 0 {
            self.add(view.field().field("port"), format!("{} is not a port", view.number), "use 1 to 65535");
        }
        let protocol = match view.protocol {
            TransportProtocol::Tcp => wire::Protocol::Tcp,
            TransportProtocol::Udp => wire::Protocol::Udp,
            TransportProtocol::Sctp => wire::Protocol::Sctp,
            TransportProtocol::Unknown(other) => {
                let reason = format!("{other:?} is not a port protocol");
                self.add(view.field().field("protocol"), reason, "use TCP, UDP or SCTP");
                wire::Protocol::Tcp
            }
        };
        wire::ServicePort {
            name: view.name.to_owned(),
            port: number,
            protocol,
            app_protocol: view.object.app_protocol.clone(),
        }
    }

    fn add(&mut self, field: impl Into<Field>, reason: impl Into<String>, fix: impl Into<String>) {
        let object = ObjectName::of("Service", self.service.name);
        self.errors.push(self.service.source.problem(object, field, reason, fix));
    }
}
