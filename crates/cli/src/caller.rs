//! The caller: the properties of a Pod that decide how names resolve for it.

use byname_core::{Config, Defaults, limits::MAX_SEARCH_DOMAINS, wire};

use crate::{
    input::{Field, InputError},
    kubernetes::{ClusterState, DnsPolicy, LIBC_NDOTS, NamespacedName, NdotsOption, ObjectName, Pod, Sourced},
};

/// Characters of all search domains of a pod, which the kubelet writes into one line of resolv.conf.
const MAX_SEARCH_LINE: usize = 2_048;

/// The caller that names are resolved for.
#[derive(Clone, Debug, Default)]
pub struct CallerSettings {
    /// Namespace, zone, node and address.
    pub who: wire::Caller,
    /// Settings of its resolver.
    pub dns: wire::Dns,
    /// What is unknown about it, as text for people.
    pub notes: Vec<String>,
}

impl CallerSettings {
    /// Any pod of a namespace with default DNS settings, with the zone and domain of `base`.
    #[must_use]
    pub fn of_namespace(namespace: &str, base: &wire::Config) -> Self {
        let mut caller = Self::anyone(base);
        caller.replace("namespace", |who| &mut who.namespace, Some(namespace));
        caller
    }

    /// The caller of `base`, whose namespace comes from each Envoy's node metadata if `base` has none.
    #[must_use]
    pub fn anyone(base: &wire::Config) -> Self {
        Self { who: base.caller.clone(), dns: base.dns.clone(), notes: Vec::new() }
    }

    /// A pod of the cluster.
    ///
    /// # Errors
    /// If the pod is not in the cluster, or has invalid DNS settings.
    pub fn of_pod(name: &NamespacedName, cluster: &ClusterState, base: &wire::Config) -> Result<Self, InputError> {
        let Some(pod) = cluster.pods.get(name) else {
            return Err(missing(name, cluster));
        };
        let mut caller = Self::of_namespace(&name.namespace, base);
        let Pod { node, ips, .. } = &pod.object;
        caller.replace("podIP", |who| &mut who.pod_ip, ips.first().map(String::as_str));
        if let Some(node) = node {
            caller.replace("node", |who| &mut who.node, Some(node));
            match cluster.nodes.get(node) {
                Some(of) => {
                    let zone = of.object.zone.clone().or_else(|| caller.who.zone.clone());
                    caller.replace("zone", |who| &mut who.zone, zone.as_deref());
                }
                None => caller.notes.push(format!(
                    "the input has no Node {node}, so the zone of Pod {name} is unknown; add nodes to kubectl get"
                )),
            }
        }
        check_searches(name, pod)?;
        caller.take_dns(name, &pod.object);
        caller.cut_searches(name);
        Ok(caller)
    }

    /// Replaces a field of the hand-written configuration, and notes it if the file says otherwise.
    fn replace(
        &mut self,
        field: &str,
        place: impl FnOnce(&mut wire::Caller) -> &mut Option<String>,
        value: Option<&str>,
    ) {
        let before = std::mem::replace(place(&mut self.who), value.map(str::to_owned));
        if let Some(before) = before.filter(|before| Some(&**before) != value) {
            let now = value.map_or_else(|| "unknown".to_owned(), |value| format!("{value:?}"));
            self.notes
                .push(format!("caller.{field} of the --config file, {before:?}, is replaced: the client's is {now}"));
        }
    }

    /// Takes the pod's DNS settings, as the kubelet writes them to resolv.conf.
    fn take_dns(&mut self, name: &NamespacedName, pod: &Pod) {
        let Pod { dns_policy, unknown_dns_policy, nameservers, searches, host_network, .. } = pod;
        if let Some(word) = unknown_dns_policy {
            self.notes.push(format!(
                "Kubernetes has no dnsPolicy {word:?}, so an API server refuses Pod {name}; byname resolves as with ClusterFirst"
            ));
        }
        match dns_policy {
            DnsPolicy::ClusterFirst => {
                // The kubelet writes each search domain once.
                let before = self.own_searches(&name.namespace);
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
                    "Pod {name} uses only the DNS servers {} (dnsPolicy: None), which may not resolve the cluster's names",
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
                    "Pod {name} uses its node's DNS servers ({because}), which may not resolve the cluster's names; the node's \
                     search domains are unknown"
                ));
                self.dns.searches = Some(searches.clone());
                self.dns.ndots = LIBC_NDOTS;
            }
        }
        self.take_ndots(name, pod);
    }

    /// Takes the pod's `ndots` as its resolver reads it, and notes options that do not say what they seem to.
    fn take_ndots(&mut self, name: &NamespacedName, pod: &Pod) {
        let default = self.dns.ndots;
        let own = pod.ndots();
        if let Some(option) = own {
            let is_musl = self.dns.resolver == wire::Resolver::Musl;
            self.dns.ndots = if is_musl { option.in_musl() } else { option.in_glibc() };
        }
        if let Some(option) = own.filter(|option| !option.is_number()) {
            let (glibc, musl) = (option.in_glibc(), option.in_musl());
            let read =
                if glibc == musl { format!("{glibc}") } else { format!("{glibc} with glibc, and {musl} with musl") };
            let wrong = match option.has_value() {
                true => format!("has ndots {:?}, which is not a number", option.text),
                false => "sets the option ndots without a value".to_owned(),
            };
            self.notes.push(format!(
                "Pod {name} {wrong}, so its resolver reads {read}; write a number from 0 to 15 as the value of ndots"
            ));
        }
        let is_cluster_first = pod.dns_policy == DnsPolicy::ClusterFirst;
        let first = (own.is_none() && is_cluster_first).then(|| format!("ndots:{default}"));
        let written: Vec<String> = first.into_iter().chain(pod.ndots.iter().map(NdotsOption::written)).collect();
        if written.len() > 1 {
            let used = self.dns.ndots;
            self.notes.push(format!(
                "resolv.conf of Pod {name} gets {} in random order, so its ndots is one of them, and byname takes {used}; write the \
                 number as the value of the option ndots, not into a name",
                written.join(" and ")
            ));
        }
    }

    /// The search domains before `extra_searches`.
    fn own_searches(&self, namespace: &str) -> Vec<String> {
        let zone = self.dns.cluster_domain.trim_end_matches('.');
        let defaults = || vec![format!("{namespace}.svc.{zone}"), format!("svc.{zone}"), zone.to_owned()];
        self.dns.searches.clone().unwrap_or_else(defaults)
    }

    /// Leaves out the last search domains where the kubelet does: a pod may list 32, and the cluster's come before them.
    fn cut_searches(&mut self, name: &NamespacedName) {
        let mut all = self.own_searches(&name.namespace);
        let own = all.len();
        all.extend(self.dns.extra_searches.iter().cloned());
        let mut line = 0;
        let fitting = all.iter().take(MAX_SEARCH_DOMAINS).take_while(|search| {
            line += search.len() + usize::from(line > 0);
            line <= MAX_SEARCH_LINE
        });
        let kept = fitting.count();
        let Some(first) = all.get(kept) else { return };
        self.notes.push(format!(
            "the kubelet leaves out the search domains of Pod {name} from {first} on: resolv.conf gets at most \
             {MAX_SEARCH_DOMAINS}, and {MAX_SEARCH_LINE} characters"
        ));
        self.dns.extra_searches.truncate(kept.saturating_sub(own));
        if let Some(searches) = &mut self.dns.searches {
            searches.truncate(kept);
        }
    }
}

/// # Errors
/// The first search domain of a pod that the filter would refuse.
fn check_searches(name: &NamespacedName, pod: &Sourced<Pod>) -> Result<(), InputError> {
    for (index, search) in pod.object.searches.iter().enumerate() {
        let searches = Some(vec![search.clone()]);
        let dns = wire::Dns { searches, ..wire::Dns::default() };
        let alone = wire::Config { version: wire::VERSION, dns, ..wire::Config::default() };
        let defaults = Defaults { namespace: Some(&name.namespace), ..Defaults::default() };
        let refused = Config::from_wire(alone, &defaults).err();
        if let Some(error) = refused.as_ref().and_then(|refused| refused.listed().first()) {
            let field = Field::from(["spec", "dnsConfig", "searches"]).item(index);
            let object = ObjectName::of("Pod", name);
            return Err(pod.problem(object, field, error.problem(), error.error_type.fix()).into());
        }
    }
    Ok(())
}

fn missing(name: &NamespacedName, cluster: &ClusterState) -> InputError {
    if !cluster.knows("Pod") {
        let reason = "the input has no Pods";
        return InputError::new(&format!("Pod {name}"), reason, "add pods to kubectl get, or pass --namespace");
    }
    let there = cluster.pods.keys().filter(|other| other.namespace == name.namespace);
    let mut there: Vec<&str> = there.map(|other| other.name.as_str()).collect();
    there.sort_by_key(|other| std::cmp::Reverse(common_prefix(other, &name.name)));
    there.truncate(3);
    let fix = match there.as_slice() {
        [] => format!("correct --pod, or add the pods of namespace {} to the input", name.namespace),
        near => format!("correct --pod; the closest names are {}", near.join(", ")),
    };
    InputError::new(&format!("Pod {name}"), "is not in the input", fix)
}

fn common_prefix(one: &str, other: &str) -> usize {
    one.bytes().zip(other.bytes()).take_while(|(one, other)| one == other).count()
}
