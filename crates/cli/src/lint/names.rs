//! Names that resolve to something unexpected, and the cost of lookups.

use std::collections::BTreeMap;

use super::{
    context::{Context, LintedService},
    findings::{Findings, Subject},
    patch::Patch,
    public_suffixes::PUBLIC_SUFFIXES,
    rule::{Rule, Severity},
};
use crate::{
    input::Field,
    kubernetes::{DnsPolicy, EndpointView, LIBC_NDOTS, NamespacedName, NdotsOption, Pod},
    output::some,
};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "BN060",
        name: "name-shadowed",
        severity: Severity::Warning,
        summary: "an endpoint has the same short name as a Service of another namespace",
        why: "the search path tries the client's own namespace first, so the name resolves to the endpoint",
        fix: "rename one of the two, or use the full name of the Service with a trailing dot",
        needs: &["EndpointSlice"],
        absence: None,
        check: name_shadowed,
    },
    Rule {
        id: "BN061",
        name: "service-called-like-namespace",
        severity: Severity::Info,
        summary: "a Service has the name of another namespace that has Services",
        why: "svc.namespace is tried as an endpoint of the Service first, so a pod's hostname can take the name over",
        fix: "rename the Service, or write svc.namespace.svc for Services of that namespace",
        needs: &[],
        absence: None,
        check: called_like_namespace,
    },
    Rule {
        id: "BN062",
        name: "namespace-called-like-public-suffix",
        severity: Severity::Warning,
        summary: "a namespace with Services has the name of a common top-level domain",
        why: "the search path is tried before public DNS, so in every pod the public name resolves to the Service",
        fix: "move the Services to a namespace with another name, or use the public name with a trailing dot",
        needs: &[],
        absence: None,
        check: called_like_suffix,
    },
    Rule {
        id: "BN063",
        name: "many-lookups",
        severity: Severity::Info,
        summary: "the dnsConfig of a pod causes more DNS queries than the defaults of a cluster",
        why: "each lookup of an external name waits for the whole search path, and DNS servers answer every query",
        fix: "remove searches, lower ndots, or end full names with a dot",
        needs: &[],
        absence: None,
        check: many_lookups,
    },
    Rule {
        id: "BN064",
        name: "dns-none-without-nameservers",
        severity: Severity::Error,
        summary: "a pod with dnsPolicy: None has no nameservers",
        why: "the pod's resolver has no server to ask, and the API server rejects such a pod",
        fix: "set dnsConfig.nameservers, or use another dnsPolicy",
        needs: &[],
        absence: None,
        check: no_nameservers,
    },
    Rule {
        id: "BN065",
        name: "ndots-is-no-number",
        severity: Severity::Warning,
        summary: "the option ndots in the dnsConfig of a pod has no number as its value, or has the number in its name",
        why: "the pod's resolver reads another number, so short names and external names cost other queries, and may fail",
        fix: "write a number from 0 to 15 as the value: {name: ndots, value: \"2\"}",
        needs: &[],
        absence: None,
        check: ndots_no_number,
    },
];

/// Queries for one name: A and AAAA.
const FAMILIES: usize = 2;
/// Default `ndots` of a pod that uses the cluster's DNS.
const CLUSTER_NDOTS: usize = 5;
/// Number of domains in the default search path of a pod.
const CLUSTER_SEARCHES: usize = 3;

/// Ready endpoints whose short name `hostname.service` is also the short name `service.namespace` of another Service.
fn shadowed<'a, 'c>(
    service: &'a LintedService<'c>,
    context: &'a Context<'c>,
) -> Vec<(&'a EndpointView<'c>, &'a LintedService<'c>)> {
    let ready = service.endpoints.iter().filter(|endpoint| endpoint.is_ready);
    let shadowed = ready.filter_map(|endpoint| {
        let hostname = endpoint.hostname()?;
        let other = context.service(&service.name.name, hostname)?;
        // The name reaches the same endpoint either way.
        let is_same = other.name == service.name || other.endpoints.iter().all(|one| one.has_same_address(endpoint));
        (!is_same || other.endpoints.is_empty()).then_some((endpoint, other))
    });
    shadowed.collect()
}

fn name_shadowed(context: &Context<'_>, findings: &mut Findings) {
    for service in context.services.iter().filter(|service| !service.view.is_external_name()) {
        let shadowed = shadowed(service, context);
        let Some((endpoint, other)) = shadowed.first() else { continue };
        let more = match shadowed.len() {
            1 => String::new(),
            count => format!("; {count} names are shadowed in all"),
        };
        let message = format!(
            "in namespace {}, {}.{} resolves to endpoint {} of Service {}, not to Service {}{more}",
            service.name.namespace, other.name.name, service.name.name, endpoint.address, service.name, other.name
        );
        findings.add(service.subject(), ["metadata", "name"], message);
    }
}

fn called_like_namespace(context: &Context<'_>, findings: &mut Findings) {
    for service in context.services.iter().filter(|service| !service.view.is_external_name()) {
        let (own, namespace) = (&*service.name.namespace, &*service.name.name);
        let Some(one) = context.services_in(namespace).first().filter(|_| own != namespace) else { continue };
        // BN060 reports this case.
        if !shadowed(service, context).is_empty() {
            continue;
        }
        let message = format!(
            "in namespace {own}, {}.{namespace} is tried as an endpoint of this Service first, then as Service {}",
            one.name.name, one.name
        );
        findings.add(service.subject(), ["metadata", "name"], message);
    }
}

fn called_like_suffix(context: &Context<'_>, findings: &mut Findings) {
    for suffix in PUBLIC_SUFFIXES {
        let services = context.services_in(suffix);
        let Some(first) = services.first() else { continue };
        let names = some(services.iter().map(|service| format!("{}.{suffix}", service.name.name)));
        let message = format!("in every pod these names resolve to Services, not to public hosts: {names}");
        match context.cluster.namespaces.get_key_value(*suffix) {
            Some((name, place)) => {
                findings.add(Subject::unread("Namespace", "", name, place), ["metadata", "name"], message)
            }
            None => findings.add(first.subject(), ["metadata", "namespace"], message),
        };
    }
}

/// Settings of a pod's resolver.
struct Lookups {
    ndots: usize,
    /// Domains of the search path.
    searches: usize,
}

impl Lookups {
    /// The settings of `pod`; `None` if the node's resolver settings apply.
    fn of(pod: &Pod) -> Option<Self> {
        let (searches, ndots) = match pod.dns_policy {
            DnsPolicy::ClusterFirst => (CLUSTER_SEARCHES, CLUSTER_NDOTS),
            DnsPolicy::None => (0, usize::from(LIBC_NDOTS)),
            DnsPolicy::Default => return None,
        };
        let ndots = pod.ndots().map_or(ndots, |option| usize::from(option.in_glibc()));
        Some(Self { ndots, searches: searches + pod.searches.len() })
    }

    /// Number of names that are tried if only the last one exists.
    fn names(&self, dots: usize) -> usize {
        if dots < self.ndots { self.searches + 1 } else { 1 }
    }
}

/// A `dnsConfig` of the input.
struct DnsConfig<'c> {
    /// The name of its Pod or workload.
    name: &'c NamespacedName,
    /// The pods of one workload that have it.
    count: usize,
    pod: &'c Pod,
    subject: Subject<'c>,
    field: Field,
}

/// The `dnsConfig`s of pods and pod templates that change lookups. Pods of one workload are reported once.
fn dns_configs<'a, 'c>(context: &'a Context<'c>) -> impl Iterator<Item = DnsConfig<'c>> + use<'a, 'c> {
    let mut seen: BTreeMap<_, (&NamespacedName, usize)> = BTreeMap::new();
    for (name, pod) in context.cluster.pods.iter().filter(|(_, pod)| !pod.object.is_over()) {
        let pod = &pod.object;
        if pod.ndots.is_empty() && pod.searches.is_empty() {
            continue;
        }
        let who = pod.owner.as_ref().map_or_else(|| name.name.clone(), ToString::to_string);
        let (_, count) = seen.entry((&name.namespace, who, &pod.ndots, &pod.searches)).or_insert((name, 0));
        *count += 1;
    }
    let pods = seen.into_values().filter_map(|(name, count)| {
        let pod = context.cluster.pods.get(name)?;
        let field = Field::from(["spec", "dnsConfig"]);
        Some(DnsConfig { name, count, pod: &pod.object, subject: Subject::new("Pod", name, pod), field })
    });
    let templates = context.templates().map(|(name, workload)| {
        let field = workload.object.pod_field("dnsConfig");
        DnsConfig { name, count: 1, pod: &workload.object.pod, subject: Subject::of_workload(name, workload), field }
    });
    pods.chain(templates)
}

/// Words for the pods of one workload, if there are several.
fn in_pods(count: usize) -> String {
    if count > 1 { format!(" in {count} pods") } else { String::new() }
}

fn many_lookups(context: &Context<'_>, findings: &mut Findings) {
    /// Dots in a name such as `api.example.com`.
    const OUTSIDE_DOTS: usize = 2;
    let usual = Lookups { ndots: CLUSTER_NDOTS, searches: CLUSTER_SEARCHES };
    for DnsConfig { name, count, pod, subject, field } in dns_configs(context) {
        let Some(lookups) = Lookups::of(pod) else { continue };
        let dots = context.domain.split('.').count() + 3;
        let endpoint = format!("db-0.db.{}.svc.{}", name.namespace, context.domain);
        let (example, names, usual) = if lookups.names(OUTSIDE_DOTS) > usual.names(OUTSIDE_DOTS) {
            ("api.example.com", lookups.names(OUTSIDE_DOTS), usual.names(OUTSIDE_DOTS))
        } else if lookups.names(dots) > usual.names(dots) {
            (&*endpoint, lookups.names(dots), usual.names(dots))
        } else {
            continue;
        };
        let pods = in_pods(count);
        let message = format!(
            "a lookup of {example} costs {} queries (A and AAAA of {names} names){pods}; the default is {}",
            names * FAMILIES,
            usual * FAMILIES
        );
        findings.add(subject, field, message);
    }
}

fn no_nameservers(context: &Context<'_>, findings: &mut Findings) {
    const MESSAGE: &str = "None requires dnsConfig.nameservers";
    let is_it = |pod: &Pod| pod.dns_policy == DnsPolicy::None && pod.nameservers.is_empty();
    for (name, pod) in context.cluster.pods.iter().filter(|(_, pod)| is_it(&pod.object)) {
        findings.add(Subject::new("Pod", name, pod), ["spec", "dnsPolicy"], MESSAGE);
    }
    for (name, workload) in context.templates().filter(|(_, workload)| is_it(&workload.object.pod)) {
        let field = workload.object.pod_field("dnsPolicy");
        let patch = Patch::Set(field.clone(), "ClusterFirst".into());
        findings.add(Subject::of_workload(name, workload), field, MESSAGE).patch(patch);
    }
}

fn ndots_no_number(context: &Context<'_>, findings: &mut Findings) {
    for DnsConfig { count, pod, subject, field, .. } in dns_configs(context) {
        for option in &pod.ndots {
            if let Some(message) = misread_ndots(pod, option) {
                let message = format!("{message}{}", in_pods(count));
                findings.add(subject, field.clone().field("options").item(option.index), message);
            }
        }
    }
}

/// What a resolver reads of an option that does not set `ndots` as it seems to.
fn misread_ndots(pod: &Pod, option: &NdotsOption) -> Option<String> {
    let number = option.in_glibc();
    if option.is_in_name {
        let written = option.written();
        let others: Vec<String> = match pod.ndots.iter().filter(|other| *other != option).map(NdotsOption::written) {
            others if pod.ndots().is_none() => others.chain([format!("ndots:{CLUSTER_NDOTS}")]).collect(),
            others => others.collect(),
        };
        let others = others.join(" and ");
        return (!others.is_empty()).then(|| {
            format!("the option is called {written:?}, so resolv.conf gets {written} and {others} in random order")
        });
    }
    match (option.has_value(), option.is_number()) {
        (false, _) => Some(format!("ndots has no value, so the pod's resolver reads {number}")),
        (true, true) => None,
        (true, false) => Some(format!("ndots {:?} is not a number, and glibc reads {number}", option.text)),
    }
}
