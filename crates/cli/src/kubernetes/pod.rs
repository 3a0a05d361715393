//! The properties of a Pod that decide how names resolve.

use std::collections::BTreeMap;

use byname_core::limits::MAX_NDOTS;
use k8s_openapi::api::core::v1;

/// The label by which a Deployment tells its ReplicaSets apart.
const TEMPLATE_HASH: &str = "pod-template-hash";
/// The values of `dnsPolicy`. An empty one, which is the default, is as good as none.
pub const DNS_POLICIES: &[&str] = &["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
/// The default of C libraries, from resolv.conf(5).
pub const LIBC_NDOTS: u8 = 1;

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
    /// `dnsPolicy` as it is written, if Kubernetes has no such policy: an API server refuses the Pod.
    pub unknown_dns_policy: Option<String>,
    /// `dnsConfig.nameservers`.
    pub nameservers: Vec<String>,
    /// `dnsConfig.searches`.
    pub searches: Vec<String>,
    /// The options of `dnsConfig` that set `ndots`: none, `ndots` itself, or others whose names begin like it.
    pub ndots: Vec<NdotsOption>,
}

/// An option of a Pod's `dnsConfig` that sets `ndots`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NdotsOption {
    /// The option's index in `dnsConfig.options`.
    pub index: usize,
    /// The number as text: the option's value, empty if it has none, or `2` if its name is `ndots:2`.
    pub text: String,
    /// Whether the number is in the name. The kubelet takes `ndots:2` for another option than `ndots`, and writes both.
    pub is_in_name: bool,
}

impl NdotsOption {
    /// The option as the kubelet writes it to resolv.conf.
    #[must_use]
    pub fn written(&self) -> String {
        if self.has_value() { format!("ndots:{}", self.text) } else { "ndots".to_owned() }
    }

    /// Whether the kubelet writes a number. It writes an option without a value as `ndots`, and a resolver then keeps its default.
    #[must_use]
    pub fn has_value(&self) -> bool {
        self.is_in_name || !self.text.is_empty()
    }

    /// Whether every resolver reads the same number.
    #[must_use]
    pub fn is_number(&self) -> bool {
        !self.text.is_empty() && self.text.bytes().all(|byte| byte.is_ascii_digit())
    }

    /// The number that glibc reads: it calls `atoi` and keeps 4 bits of what is not above 15.
    #[must_use]
    pub fn in_glibc(&self) -> u8 {
        if !self.has_value() {
            return LIBC_NDOTS;
        }
        let text = self.text.trim_ascii_start();
        let digits = |text: &str| {
            let end = text.bytes().take_while(u8::is_ascii_digit).count();
            text.get(..end).filter(|digits| !digits.is_empty()).map_or(0, |digits| digits.parse().unwrap_or(i64::MAX))
        };
        let number: i64 = match text.strip_prefix('-') {
            Some(text) => -digits(text),
            None => digits(text.strip_prefix('+').unwrap_or(text)),
        };
        let most = i64::from(MAX_NDOTS);
        u8::try_from(if number > most { most } else { number.rem_euclid(most + 1) }).unwrap_or(MAX_NDOTS)
    }

    /// The number that musl reads: it wants a digit first.
    #[must_use]
    pub fn in_musl(&self) -> u8 {
        let has_number = self.text.starts_with(|c: char| c.is_ascii_digit());
        if has_number { self.in_glibc() } else { LIBC_NDOTS }
    }
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
        let unknown_dns_policy = spec.dns_policy.filter(|word| !word.is_empty() && !DNS_POLICIES.contains(&&**word));
        let dns = spec.dns_config.unwrap_or_default();
        let ndots = ndots(dns.options.unwrap_or_default());
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
            unknown_dns_policy,
            nameservers: dns.nameservers.unwrap_or_default(),
            searches: dns.searches.unwrap_or_default(),
            ndots,
        }
    }

    /// The `ndots` that the Pod's `dnsConfig` sets, as glibc reads it. An option whose name has the number counts only where the kubelet
    /// writes no other.
    #[must_use]
    pub fn ndots(&self) -> Option<&NdotsOption> {
        let in_name = || self.ndots.last().filter(|_| self.dns_policy != DnsPolicy::ClusterFirst);
        self.ndots.iter().find(|option| !option.is_in_name).or_else(in_name)
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

/// The options that set `ndots`, as the kubelet merges them: the last one of a name counts.
fn ndots(options: Vec<v1::PodDNSConfigOption>) -> Vec<NdotsOption> {
    let mut by_name = BTreeMap::new();
    for (index, option) in options.into_iter().enumerate() {
        let (name, value) = (option.name.unwrap_or_default(), option.value.unwrap_or_default());
        let (text, is_in_name) = match name.strip_prefix("ndots") {
            Some("") => (value, false),
            Some(rest) if rest.starts_with(':') => {
                let rest = rest.trim_start_matches(':');
                (if value.is_empty() { rest.to_owned() } else { format!("{rest}:{value}") }, true)
            }
            _ => continue,
        };
        by_name.insert(name, NdotsOption { index, text, is_in_name });
    }
    by_name.into_values().collect()
}

/// A Deployment makes a ReplicaSet for each version, named after the Deployment and a hash.
fn workload(kind: String, name: String, hash: Option<&String>) -> Owner {
    let stem = hash.and_then(|hash| name.strip_suffix(hash.as_str())?.strip_suffix('-'));
    match stem {
        Some(stem) if kind == "ReplicaSet" => Owner { kind: "Deployment".into(), name: stem.to_owned() },
        _ => Owner { kind, name },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option(text: &str, is_in_name: bool) -> NdotsOption {
        NdotsOption { index: 0, text: text.to_owned(), is_in_name }
    }

    #[test]
    fn ndots_is_what_c_libraries_read() {
        for (text, in_glibc, in_musl) in [
            ("2", 2, 2),
            ("007", 7, 7),
            ("15", 15, 15),
            ("16", 15, 15),
            ("99999999999999999999", 15, 15),
            ("", 1, 1),
            ("x", 0, 1),
            ("0x2", 0, 0),
            ("2.5", 2, 2),
            ("-1", 15, 1),
            ("-2", 14, 1),
            ("-16", 0, 1),
            (" 3", 3, 1),
            ("+3", 3, 1),
        ] {
            let option = option(text, false);
            assert_eq!((option.in_glibc(), option.in_musl()), (in_glibc, in_musl), "{text:?}");
        }
        assert_eq!(option("", true).in_glibc(), 0, "ndots:");
    }

    #[test]
    fn options_are_merged_as_by_the_kubelet() {
        let options = |named: &[(&str, Option<&str>)]| {
            let named = named.iter().map(|(name, value)| v1::PodDNSConfigOption {
                name: Some((*name).to_owned()),
                value: value.map(str::to_owned),
            });
            ndots(named.collect()).iter().map(NdotsOption::written).collect::<Vec<_>>()
        };
        assert_eq!(options(&[("edns0", None), ("ndots2", Some("1"))]), [""; 0]);
        assert_eq!(options(&[("ndots", Some("3")), ("ndots", Some("4"))]), ["ndots:4"]);
        assert_eq!(options(&[("ndots", Some("3")), ("ndots", None)]), ["ndots"]);
        assert_eq!(options(&[("ndots:2", None), ("ndots", Some(""))]), ["ndots", "ndots:2"]);
        assert_eq!(options(&[("ndots:2", Some("3"))]), ["ndots:2:3"]);
    }
}
