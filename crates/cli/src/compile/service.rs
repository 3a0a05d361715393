//! Compiles a Kubernetes Service into a Service of the table.

use byname_core::{limits::MAX_ENDPOINT_GROUPS, wire};

use super::groups;
use crate::{
    input::{Field, InputError},
    kubernetes::{ClusterState, ServicePortView, ServiceView, TransportProtocol},
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

/// The source of a Service's fields, for errors.
struct ServiceFields<'s> {
    called: String,
    service: ServiceView<'s>,
}

/// Compiles a Service.
pub(super) fn compile(
    cluster: &ClusterState,
    view: ServiceView<'_>,
    ServiceOptions { own, names_only, node }: ServiceOptions<'_>,
) -> Result<wire::Service, InputError> {
    let fields = ServiceFields { called: format!("Service {}", view.name), service: view };
    let spec = view.spec;
    let own = own.cloned().unwrap_or_default();
    let service_type = match view.type_word() {
        "ClusterIP" => wire::ServiceType::ClusterIP,
        "NodePort" => wire::ServiceType::NodePort,
        "LoadBalancer" => wire::ServiceType::LoadBalancer,
        "ExternalName" => wire::ServiceType::ExternalName,
        other => {
            return Err(fields.problem(
                ["spec", "type"],
                format!("{other:?} is not a Service type"),
                "use ClusterIP, NodePort, LoadBalancer or ExternalName",
            ));
        }
    };
    if view.is_external_name() {
        // DNS ignores its ports, and the other fields belong to other types.
        return Ok(wire::Service {
            service_type,
            external_name: spec.external_name.clone(),
            alias: own.alias,
            subsets: own.subsets,
            steering: own.steering,
            ..wire::Service::default()
        });
    }
    let mut service = wire::Service {
        service_type,
        cluster_ips: view.cluster_ips().collect(),
        ports: fields.ports()?,
        publish_not_ready_addresses: view.publishes_not_ready(),
        internal_traffic_policy: match spec.internal_traffic_policy.as_deref() {
            None | Some("Cluster") => wire::InternalTrafficPolicy::Cluster,
            Some("Local") => wire::InternalTrafficPolicy::Local,
            Some(other) => {
                let reason = format!("{other:?} is not a traffic policy");
                return Err(fields.problem(["spec", "internalTrafficPolicy"], reason, "use Cluster or Local"));
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
            None | Some("None") => wire::SessionAffinity::None,
            Some("ClientIP") => wire::SessionAffinity::ClientIP,
            Some(other) => {
                let reason = format!("{other:?} is not a session affinity");
                return Err(fields.problem(["spec", "sessionAffinity"], reason, "use None or ClientIP"));
            }
        },
        ip_families: ip_families(view),
        alias: own.alias,
        subsets: own.subsets,
        steering: own.steering,
        ..wire::Service::default()
    };
    if !names_only && cluster.knows_endpoints_of(view.name) {
        let groups = groups::compile(cluster, view, &service, node)?;
        if groups.len() > MAX_ENDPOINT_GROUPS {
            let reason = format!("has {} groups of endpoints, and the limit is {MAX_ENDPOINT_GROUPS}", groups.len());
            let fix = "compile for one pod with --pod, so that endpoints on all other nodes share groups";
            return Err(fields.problem(["metadata", "name"], reason, fix));
        }
        service.endpoints = Some(groups);
    }
    Ok(service)
}

/// The IP families of a Service; empty if its first address implies them. A single-stack Service says its family if it has
/// EndpointSlices of the other one, whose endpoints must not serve.
fn ip_families(view: ServiceView<'_>) -> Vec<wire::IpFamily> {
    let families: Vec<wire::IpFamily> = view.ip_families().collect();
    let is_implied = families.first().copied() == view.address_family();
    if is_implied && view.stray_family().is_none() { Vec::new() } else { families }
}

impl ServiceFields<'_> {
    fn ports(&self) -> Result<Vec<wire::ServicePort>, InputError> {
        self.service.ports().map(|port| self.port(port)).collect()
    }

    fn port(&self, view: ServicePortView<'_>) -> Result<wire::ServicePort, InputError> {
        let number = u16::try_from(view.number).ok().filter(|number| *number != 0).ok_or_else(|| {
            self.problem(view.field().field("port"), format!("{} is not a port", view.number), "use 1 to 65535")
        })?;
        let protocol = match view.protocol {
            TransportProtocol::Tcp => wire::Protocol::Tcp,
            TransportProtocol::Udp => wire::Protocol::Udp,
            TransportProtocol::Sctp => wire::Protocol::Sctp,
            TransportProtocol::Unknown(other) => {
                let reason = format!("{other:?} is not a port protocol");
                return Err(self.problem(view.field().field("protocol"), reason, "use TCP, UDP or SCTP"));
            }
        };
        Ok(wire::ServicePort {
            name: view.name.to_owned(),
            port: number,
            protocol,
            app_protocol: view.object.app_protocol.clone(),
        })
    }

    fn problem(&self, field: impl Into<Field>, reason: impl Into<String>, fix: impl Into<String>) -> InputError {
        self.service.source.problem(&self.called, field, reason, fix)
    }
}
