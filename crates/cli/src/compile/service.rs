//! A Service of the API as the table has it.

use byname_core::wire;
use k8s_openapi::api::core::v1;

use super::groups;
use crate::{
    cluster::{Cluster, NamespacedName, Sourced},
    input::Problem,
};

/// What of a Service the API gives by a word.
struct Fields<'s> {
    called: String,
    source: &'s Sourced<v1::Service>,
}

/// The Service `name`, with what `own` changes of it.
pub(super) fn compile(
    cluster: &Cluster,
    name: &NamespacedName,
    source: &Sourced<v1::Service>,
    own: Option<&wire::Service>,
    names_only: bool,
) -> Result<wire::Service, Problem> {
    let fields = Fields { called: format!("Service {name}"), source };
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
                format!("{other:?} is no type of Service"),
                "use ClusterIP, NodePort, LoadBalancer or ExternalName",
            ));
        }
    };
    if service_type == wire::ServiceType::ExternalName {
        // Its ports mean nothing to DNS, and whatever else it may have belongs to other types.
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
            Some("Local") => wire::InternalTrafficPolicy::Local,
            _ => wire::InternalTrafficPolicy::Cluster,
        },
        traffic_distribution: match spec.traffic_distribution.as_deref() {
            Some("PreferSameZone") => Some(wire::TrafficDistribution::PreferSameZone),
            Some("PreferClose") => Some(wire::TrafficDistribution::PreferClose),
            Some("PreferSameNode") => Some(wire::TrafficDistribution::PreferSameNode),
            // A value that an implementation does not know means nothing to it, the API says.
            _ => None,
        },
        session_affinity: match spec.session_affinity.as_deref() {
            Some("ClientIP") => wire::SessionAffinity::ClientIP,
            _ => wire::SessionAffinity::None,
        },
        ip_families: ip_families(spec),
        alias: own.alias,
        subsets: own.subsets,
        steering: own.steering,
        ..wire::Service::default()
    };
    if !names_only && cluster.knows("EndpointSlice") {
        service.endpoints = Some(groups::compile(cluster, name, &service)?);
    }
    Ok(service)
}

fn cluster_ips(spec: &v1::ServiceSpec) -> impl Iterator<Item = &str> {
    let listed = spec.cluster_ips.iter().flatten();
    // Servers without dual stack, and people, write the one alone.
    let alone = spec.cluster_ip.iter().filter(|_| spec.cluster_ips.as_ref().is_none_or(Vec::is_empty));
    listed.chain(alone).map(String::as_str).filter(|text| !text.is_empty())
}

/// The families of a Service, where they say more than its addresses do.
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

impl Fields<'_> {
    fn ports(&self, spec: &v1::ServiceSpec) -> Result<Vec<wire::ServicePort>, Problem> {
        let ports = spec.ports.iter().flatten().enumerate();
        ports.map(|(index, port)| self.port(&format!("spec.ports[{index}]"), port)).collect()
    }

    fn port(&self, field: &str, port: &v1::ServicePort) -> Result<wire::ServicePort, Problem> {
        let number = u16::try_from(port.port).ok().filter(|number| *number != 0).ok_or_else(|| {
            self.problem(&format!("{field}.port"), format!("{} is not a port", port.port), "use 1 to 65535")
        })?;
        let protocol = match port.protocol.as_deref() {
            None | Some("TCP") => wire::Protocol::Tcp,
            Some("UDP") => wire::Protocol::Udp,
            Some("SCTP") => wire::Protocol::Sctp,
            Some(other) => {
                let reason = format!("{other:?} is no protocol of a port");
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

    fn problem(&self, field: &str, reason: impl Into<String>, fix: impl Into<String>) -> Problem {
        self.source.problem(&self.called, field, reason, fix)
    }
}
