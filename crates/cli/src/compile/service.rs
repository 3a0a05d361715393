//! Compiles a Kubernetes Service into a Service of the table.

use byname_core::{limits::MAX_ENDPOINT_GROUPS, wire};
use k8s_openapi::api::core::v1;

use super::groups;
use crate::{
    input::InputError,
    kubernetes::{ClusterState, NamespacedName, Sourced, cluster_ips},
};

/// Options for compiling a Service.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServiceOptions<'w> {
    /// Its hand-written fields from `--config`.
    pub(super) own: Option<&'w wire::Service>,
    /// Whether endpoints are omitted.
    pub(super) names_only: bool,
    /// The caller's node, if known.
    pub(super) node: Option<&'w str>,
}

/// The source of a Service's fields, for errors.
struct ServiceFields<'s> {
    called: String,
    source: &'s Sourced<v1::Service>,
}

/// Compiles the Service `name`.
pub(super) fn compile(
    cluster: &ClusterState,
    name: &NamespacedName,
    source: &Sourced<v1::Service>,
    ServiceOptions { own, names_only, node }: ServiceOptions<'_>,
) -> Result<wire::Service, InputError> {
    let fields = ServiceFields { called: format!("Service {name}"), source };
    let nothing = v1::ServiceSpec::default();
    let spec = source.object.spec.as_ref().unwrap_or(&nothing);
    let own = own.cloned().unwrap_or_default();
    let service_type = match spec.type_.as_deref() {
        None | Some("ClusterIP") => wire::ServiceType::ClusterIP,
        Some("NodePort") => wire::ServiceType::NodePort,
        Some("LoadBalancer") => wire::ServiceType::LoadBalancer,
        Some("ExternalName") => wire::ServiceType::ExternalName,
        Some(other) => {
            return Err(fields.problem(
                "spec.type",
                format!("{other:?} is not a Service type"),
                "use ClusterIP, NodePort, LoadBalancer or ExternalName",
            ));
        }
    };
    if service_type == wire::ServiceType::ExternalName {
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
        cluster_ips: cluster_ips(spec).collect(),
        ports: fields.ports(spec)?,
        publish_not_ready_addresses: spec.publish_not_ready_addresses.unwrap_or(false),
        internal_traffic_policy: match spec.internal_traffic_policy.as_deref() {
            None | Some("Cluster") => wire::InternalTrafficPolicy::Cluster,
            Some("Local") => wire::InternalTrafficPolicy::Local,
            Some(other) => {
                let reason = format!("{other:?} is not a traffic policy");
                return Err(fields.problem("spec.internalTrafficPolicy", reason, "use Cluster or Local"));
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
                return Err(fields.problem("spec.sessionAffinity", reason, "use None or ClientIP"));
            }
        },
        ip_families: ip_families(spec),
        alias: own.alias,
        subsets: own.subsets,
        steering: own.steering,
        ..wire::Service::default()
    };
    if !names_only && cluster.knows_endpoints_of(name) {
        let groups = groups::compile(cluster, name, &service, node)?;
        if groups.len() > MAX_ENDPOINT_GROUPS {
            let reason = format!("has {} groups of endpoints, and the limit is {MAX_ENDPOINT_GROUPS}", groups.len());
            let fix = "compile for one pod with --pod, so that endpoints on all other nodes share groups";
            return Err(fields.problem("metadata.name", reason, fix));
        }
        service.endpoints = Some(groups);
    }
    Ok(service)
}

/// The IP families of a Service; empty if its first address implies them.
fn ip_families(spec: &v1::ServiceSpec) -> Vec<wire::IpFamily> {
    let families = spec.ip_families.iter().flatten();
    let families: Vec<wire::IpFamily> = families
        .filter_map(|family| match family.as_str() {
            "IPv4" => Some(wire::IpFamily::IPv4),
            "IPv6" => Some(wire::IpFamily::IPv6),
            _ => None,
        })
        .collect();
    let of_first = cluster_ips(spec).next().and_then(|text| match text.parse() {
        Ok(std::net::IpAddr::V4(_)) => Some(wire::IpFamily::IPv4),
        Ok(std::net::IpAddr::V6(_)) => Some(wire::IpFamily::IPv6),
        Err(_) => None,
    });
    if families.first().copied() == of_first { Vec::new() } else { families }
}

impl ServiceFields<'_> {
    fn ports(&self, spec: &v1::ServiceSpec) -> Result<Vec<wire::ServicePort>, InputError> {
        let ports = spec.ports.iter().flatten().enumerate();
        ports.map(|(index, port)| self.port(&format!("spec.ports[{index}]"), port)).collect()
    }

    fn port(&self, field: &str, port: &v1::ServicePort) -> Result<wire::ServicePort, InputError> {
        let number = u16::try_from(port.port).ok().filter(|number| *number != 0).ok_or_else(|| {
            self.problem(&format!("{field}.port"), format!("{} is not a port", port.port), "use 1 to 65535")
        })?;
        let protocol = match port.protocol.as_deref() {
            None | Some("TCP") => wire::Protocol::Tcp,
            Some("UDP") => wire::Protocol::Udp,
            Some("SCTP") => wire::Protocol::Sctp,
            Some(other) => {
                let reason = format!("{other:?} is not a port protocol");
                return Err(self.problem(&format!("{field}.protocol"), reason, "use TCP, UDP or SCTP"));
            }
        };
        Ok(wire::ServicePort {
            name: port.name.clone().unwrap_or_default(),
            port: number,
            protocol,
            app_protocol: port.app_protocol.clone(),
        })
    }

    fn problem(&self, field: &str, reason: impl Into<String>, fix: impl Into<String>) -> InputError {
        self.source.problem(&self.called, field, reason, fix)
    }
}
