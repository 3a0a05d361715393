//! Who asks: what of a Pod decides what a name means to it.

use byname_core::{limits::MAX_NDOTS, wire};

use crate::{
    input::InputError,
    kubernetes::{ClusterState, DnsPolicy, NamespacedName, Pod, Sourced},
};

/// `ndots` of a C library that is told nothing, resolv.conf(5).
const LIBC_NDOTS: u8 = 1;

/// Who asks.
#[derive(Clone, Debug, Default)]
pub struct CallerSettings {
    /// Namespace, zone, node and address.
    pub who: wire::Caller,
    /// How its resolver works.
    pub dns: wire::Dns,
    /// What is not known of it, for people.
    pub notes: Vec<String>,
}

impl CallerSettings {
    /// Any pod of a namespace that says nothing of DNS, with the zone and domain that `base` has.
    #[must_use]
    pub fn of_namespace(namespace: &str, base: &wire::Config) -> Self {
        let mut caller = Self::anyone(base);
        caller.who.namespace = Some(namespace.to_owned());
        caller
    }

    /// Whoever the configuration is given to, as `base` has it.
    #[must_use]
    pub fn anyone(base: &wire::Config) -> Self {
        Self { who: base.caller.clone(), dns: base.dns.clone(), notes: Vec::new() }
    }

    /// A pod of the cluster.
    ///
    /// # Errors
    /// Where it is not there, or says something of DNS that cannot be.
    pub fn of_pod(name: &NamespacedName, cluster: &ClusterState, base: &wire::Config) -> Result<Self, InputError> {
        let Some(pod) = cluster.pods.get(name) else {
            return Err(missing(name, cluster));
        };
        let mut caller = Self::of_namespace(&name.namespace, base);
        let Pod { node, ips, .. } = &pod.object;
        caller.who.pod_ip = ips.first().cloned();
        if let Some(node) = node {
            caller.who.node = Some(node.clone());
            match cluster.nodes.get(node) {
                Some(of) => caller.who.zone = of.object.zone.clone().or(caller.who.zone),
                None => caller.notes.push(format!(
                    "Node {node} of Pod {name} is not in the input, so its zone is not known; add nodes to what kubectl gets"
                )),
            }
        }
        caller.take_dns(name, pod)?;
        Ok(caller)
    }

    /// As the kubelet writes the pod's resolv.conf.
    fn take_dns(&mut self, name: &NamespacedName, pod: &Sourced<Pod>) -> Result<(), InputError> {
        let Pod { dns_policy, nameservers, searches, ndots, host_network, .. } = &pod.object;
        match dns_policy {
            DnsPolicy::ClusterFirst => {
                // What is there already is not written twice.
                let zone = self.dns.cluster_domain.trim_end_matches('.');
                let defaults = [format!("{}.svc.{zone}", name.namespace), format!("svc.{zone}"), zone.to_owned()];
                let before = self.dns.searches.clone().unwrap_or(defaults.into());
                for search in searches {
                    let search = search.trim_end_matches('.');
                    if !before.iter().chain(&self.dns.extra_searches).any(|other| other.trim_end_matches('.') == search)
                    {
                        self.dns.extra_searches.push(if search.is_empty() { "." } else { search }.to_owned());
                    }
                }
            }
            DnsPolicy::None => {
                self.notes.push(format!(
                    "Pod {name} asks the DNS servers {} alone (dnsPolicy: None), which need not know the cluster's names",
                    nameservers.join(" "),
                ));
                self.dns.searches = Some(searches.clone());
                self.dns.extra_searches.clear();
                self.dns.ndots = LIBC_NDOTS;
            }
            DnsPolicy::Default => {
                let because =
                    if *host_network { "hostNetwork without ClusterFirstWithHostNet" } else { "dnsPolicy: Default" };
                self.notes.push(format!(
                    "Pod {name} asks the DNS servers of its node ({because}), which need not know the cluster's names; the \
                     search domains of the node are not known"
                ));
                self.dns.searches = Some(searches.clone());
                self.dns.ndots = LIBC_NDOTS;
            }
        }
        if let Some(text) = ndots {
            let number: u32 = text.parse().map_err(|_| {
                let (reason, fix) = (format!("ndots {text:?} is no number"), "write a number from 0 to 15");
                pod.problem(&format!("Pod {name}"), "spec.dnsConfig.options", reason, fix)
            })?;
            // Resolvers have it so, resolv.conf(5).
            self.dns.ndots = u8::try_from(number).unwrap_or(MAX_NDOTS).min(MAX_NDOTS);
        }
        Ok(())
    }
}

fn missing(name: &NamespacedName, cluster: &ClusterState) -> InputError {
    if !cluster.knows("Pod") {
        let reason = "is asked for, and there are no Pods in the input";
        return InputError::new(&format!("Pod {name}"), reason, "add pods to what kubectl gets, or say --namespace");
    }
    let there = cluster.pods.keys().filter(|other| other.namespace == name.namespace);
    let mut there: Vec<&str> = there.map(|other| other.name.as_str()).collect();
    there.sort_by_key(|other| std::cmp::Reverse(common_prefix(other, &name.name)));
    there.truncate(3);
    let fix = match there.as_slice() {
        [] => format!("there is none in namespace {}", name.namespace),
        near => format!("there are, among others: {}", near.join(", ")),
    };
    InputError::new(&format!("Pod {name}"), "is not in the input", fix)
}

fn common_prefix(one: &str, other: &str) -> usize {
    one.bytes().zip(other.bytes()).take_while(|(one, other)| one == other).count()
}
