//! The properties of a Pod that decide how names resolve.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1;

/// The label by which a Deployment tells its ReplicaSets apart.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// The properties of a Pod that decide how names resolve.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// The Pod's labels.
    pub labels: BTreeMap<String, String>,
    /// The node that the Pod runs on.
    pub node: Option<String>,
    /// The Pod's addresses, the primary address first.
    pub ips: Vec<String>,
    /// Whether the Pod uses the node's network.
    pub host_network: bool,
    /// The ports that the Pod's containers declare, sidecars included.
    pub container_ports: Vec<ContainerPort>,
    /// The controller that made the Pod.
    pub owner: Option<Owner>,
    /// `status.phase`.
    pub phase: String,
    /// Whether the Pod is ready.
    pub ready: bool,
    /// Whether the Pod is being deleted.
    pub deleting: bool,
    /// `spec.hostname`, the Pod's hostname in DNS.
    pub hostname: Option<String>,
    /// `spec.subdomain`, the name of the Pod's headless Service.
    pub subdomain: Option<String>,
    /// The source of the Pod's resolver settings.
    pub dns_policy: DnsPolicy,
    /// `dnsConfig.nameservers`.
    pub nameservers: Vec<String>,
    /// `dnsConfig.searches`.
    pub searches: Vec<String>,
    /// The option `ndots`, as text.
    pub ndots: Option<String>,
}

/// `dnsPolicy` of a Pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DnsPolicy {
    /// The cluster's DNS: `ClusterFirst` or `ClusterFirstWithHostNet`.
    #[default]
    ClusterFirst,
    /// The node's DNS: `Default`, or `ClusterFirst` with `hostNetwork`.
    Default,
    /// Only the settings in `dnsConfig`.
    None,
}

/// A port that a container declares. It may listen on other ports too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerPort {
    /// The port's name; empty if it has none.
    pub name: String,
    /// The port's number.
    pub port: i32,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
}

/// The controller that made a Pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// The controller's kind: a ReplicaSet counts as the Deployment that made it.
    pub kind: String,
    /// The controller's name.
    pub name: String,
}

impl std::fmt::Display for Owner {
    /// Writes `Deployment web`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

impl Pod {
    /// Reads the API's object.
    #[must_use]
    pub fn of(pod: v1::Pod) -> Self {
        let v1::Pod { metadata, spec, status } = pod;
        let (spec, status) = (spec.unwrap_or_default(), status.unwrap_or_default());
        let labels = metadata.labels.unwrap_or_default();
        let owner =
            metadata.owner_references.unwrap_or_default().into_iter().find(|owner| owner.controller == Some(true));
        let owner = owner.map(|owner| workload(owner.kind, owner.name, labels.get(TEMPLATE_HASH)));
        let host_network = spec.host_network.unwrap_or(false);
        let restarting = spec.init_containers.unwrap_or_default().into_iter();
        let sidecars = restarting.filter(|container| container.restart_policy.as_deref() == Some("Always"));
        let container_ports = spec
            .containers
            .into_iter()
            .chain(sidecars)
            .flat_map(|container| container.ports.unwrap_or_default())
            .map(|port| ContainerPort {
                name: port.name.unwrap_or_default(),
                port: port.container_port,
                protocol: port.protocol.filter(|word| !word.is_empty()).unwrap_or_else(|| "TCP".into()),
            })
            .collect();
        let dns_policy = match (spec.dns_policy.as_deref(), host_network) {
            (Some("None"), _) => DnsPolicy::None,
            (Some("Default"), _) | (Some("" | "ClusterFirst") | None, true) => DnsPolicy::Default,
            _ => DnsPolicy::ClusterFirst,
        };
        let dns = spec.dns_config.unwrap_or_default();
        // The last of several options counts.
        let mut options = dns.options.unwrap_or_default().into_iter().rev();
        let ndots = options.find(|option| option.name.as_deref() == Some("ndots"));
        let listed = status.pod_ips.unwrap_or_default().into_iter().map(|address| address.ip);
        let mut ips: Vec<String> = listed.collect();
        if ips.is_empty() {
            ips.extend(status.pod_ip.filter(|ip| !ip.is_empty()));
        }
        Self {
            labels,
            node: spec.node_name.filter(|node| !node.is_empty()),
            ips,
            host_network,
            container_ports,
            owner,
            phase: status.phase.unwrap_or_default(),
            ready: status
                .conditions
                .unwrap_or_default()
                .iter()
                .any(|condition| condition.type_ == "Ready" && condition.status == "True"),
            deleting: metadata.deletion_timestamp.is_some(),
            hostname: spec.hostname,
            subdomain: spec.subdomain,
            dns_policy,
            nameservers: dns.nameservers.unwrap_or_default(),
            searches: dns.searches.unwrap_or_default(),
            ndots: ndots.and_then(|option| option.value),
        }
    }

    /// Whether the Pod has every label of a selector.
    #[must_use]
    pub fn matches(&self, selector: &BTreeMap<String, String>) -> bool {
        selector.iter().all(|(key, value)| self.labels.get(key) == Some(value))
    }

    /// Whether the Pod has run to its end. Services ignore such Pods.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.phase.as_str(), "Succeeded" | "Failed")
    }
}

/// A Deployment makes a ReplicaSet for each version, named after the Deployment and a hash.
fn workload(kind: String, name: String, hash: Option<&String>) -> Owner {
    let stem = hash.and_then(|hash| name.strip_suffix(hash.as_str())?.strip_suffix('-'));
    match stem {
        Some(stem) if kind == "ReplicaSet" => Owner { kind: "Deployment".into(), name: stem.to_owned() },
        _ => Owner { kind, name },
    }
}
