//! Names that mean something else than they seem to, and what it costs to look them up.

use std::collections::BTreeMap;

use byname_core::limits::MAX_NDOTS;

use super::{
    context::{Context, LintedService, some},
    findings::{Findings, Subject},
    public_suffixes::PUBLIC_SUFFIXES,
    rule::{Rule, Severity},
};
use crate::kubernetes::{DnsPolicy, EndpointView, NamespacedName, Pod};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "BN060",
        name: "name-shadowed",
        severity: Severity::Warning,
        summary: "an endpoint has the short name that a Service of another namespace is called by",
        why: "the search path tries the caller's own namespace first, so the name means the endpoint alone",
        fix: "rename one of them, or ask for the Service by its whole name with a dot at its end",
        needs: &["EndpointSlice"],
        check: name_shadowed,
    },
    Rule {
        id: "BN061",
        name: "service-called-like-namespace",
        severity: Severity::Info,
        summary: "a Service is called like another namespace that has Services",
        why: "svc.namespace means an endpoint of that Service first: a pod with the right hostname takes the name over",
        fix: "rename the Service, or ask for Services of that namespace as svc.namespace.svc",
        needs: &[],
        check: called_like_namespace,
    },
    Rule {
        id: "BN062",
        name: "namespace-called-like-public-suffix",
        severity: Severity::Warning,
        summary: "a namespace with Services is called like a top-level domain that programs use",
        why: "the search path is tried before public DNS, so in every pod the public name means the Service",
        fix: "move the Services to a namespace of another name, or ask for the public name with a dot at its end",
        needs: &[],
        check: called_like_suffix,
    },
    Rule {
        id: "BN063",
        name: "many-lookups",
        severity: Severity::Info,
        summary: "the dnsConfig of a pod makes names cost more queries than the defaults of a cluster",
        why: "each name outside the cluster waits for all of the search path, and the DNS servers answer all of it",
        fix: "take searches out, lower ndots, or write a dot at the end of whole names",
        needs: &[],
        check: many_lookups,
    },
    Rule {
        id: "BN064",
        name: "dns-none-without-nameservers",
        severity: Severity::Error,
        summary: "a pod with dnsPolicy: None has no nameservers",
        why: "its resolver has nobody to ask; the API server refuses such a pod",
        fix: "write dnsConfig.nameservers, or take another dnsPolicy",
        needs: &[],
        check: no_nameservers,
    },
];

/// What a name of each address family is looked up for.
const FAMILIES: usize = 2;
/// `ndots` of a pod that the cluster's DNS serves, and of a resolver that is told nothing.
const CLUSTER_NDOTS: usize = 5;
const BARE_NDOTS: usize = 1;
/// How many domains the search path of a pod has by default.
const CLUSTER_SEARCHES: usize = 3;

/// Endpoints of a Service whose short names are those of Services in the namespace that is called like it.
fn shadowed<'a, 'c>(
    service: &'a LintedService<'c>,
    context: &'a Context<'c>,
) -> Vec<(&'a EndpointView<'c>, &'a LintedService<'c>)> {
    let ready = service.endpoints.iter().filter(|endpoint| endpoint.is_ready);
    let shadowed = ready.filter_map(|endpoint| {
        let hostname = endpoint.hostname()?;
        context.service(&service.name.name, hostname).map(|service| (endpoint, service))
    });
    shadowed.collect()
}

fn name_shadowed(context: &Context<'_>, findings: &mut Findings) {
    for service in context.services.iter().filter(|service| !service.view.is_external_name()) {
        let shadowed = shadowed(service, context);
        let Some((endpoint, other)) = shadowed.first() else { continue };
        let more = match shadowed.len() {
            1 => String::new(),
            count => format!("; so for {count} names in all"),
        };
        let message = format!(
            "in namespace {}, {}.{} is the endpoint {} of Service {}, and not Service {}{more}",
            service.name.namespace, other.name.name, service.name.name, endpoint.address, service.name, other.name
        );
        findings.add(service.subject(), "metadata.name", message);
    }
}

fn called_like_namespace(context: &Context<'_>, findings: &mut Findings) {
    for service in context.services.iter().filter(|service| !service.view.is_external_name()) {
        let (own, namespace) = (&*service.name.namespace, &*service.name.name);
        let Some(one) = context.services_in(namespace).first().filter(|_| own != namespace) else { continue };
        // BN060 says more.
        if !shadowed(service, context).is_empty() {
            continue;
        }
        let message = format!(
            "in namespace {own}, {}.{namespace} is looked for as an endpoint of it first, then as Service {}",
            one.name.name, one.name
        );
        findings.add(service.subject(), "metadata.name", message);
    }
}

fn called_like_suffix(context: &Context<'_>, findings: &mut Findings) {
    for suffix in PUBLIC_SUFFIXES {
        let services = context.services_in(suffix);
        let Some(first) = services.first() else { continue };
        let names = some(services.iter().map(|service| format!("{}.{suffix}", service.name.name)));
        let message = format!("in every pod these mean Services and no public names: {names}");
        match context.cluster.namespaces.get_key_value(*suffix) {
            Some((name, place)) => {
                findings.add(Subject::unread("Namespace", "", name, place), "metadata.name", message);
            }
            None => findings.add(first.subject(), "metadata.namespace", message),
        }
    }
}

/// How names are looked up in a pod.
struct Lookups {
    ndots: usize,
    /// Domains of the search path.
    searches: usize,
}

impl Lookups {
    /// `None` where the node says it.
    fn of(pod: &Pod) -> Option<Self> {
        let (searches, ndots) = match pod.dns_policy {
            DnsPolicy::ClusterFirst => (CLUSTER_SEARCHES, CLUSTER_NDOTS),
            DnsPolicy::None => (0, BARE_NDOTS),
            DnsPolicy::Default => return None,
        };
        let said = pod.ndots.as_deref().and_then(|ndots| ndots.parse().ok());
        let ndots = said.map_or(ndots, |said: usize| said.min(usize::from(MAX_NDOTS)));
        Some(Self { ndots, searches: searches + pod.searches.len() })
    }

    /// Names that are asked for, one after the other, where none but the last is there.
    fn names(&self, dots: usize) -> usize {
        if dots < self.ndots { self.searches + 1 } else { 1 }
    }
}

fn many_lookups(context: &Context<'_>, findings: &mut Findings) {
    /// Of a name such as `api.example.com`.
    const OUTSIDE_DOTS: usize = 2;
    let usual = Lookups { ndots: CLUSTER_NDOTS, searches: CLUSTER_SEARCHES };
    // Pods of one workload are told of once.
    let mut seen: BTreeMap<_, (&NamespacedName, usize)> = BTreeMap::new();
    for (name, pod) in context.cluster.pods.iter().filter(|(_, pod)| !pod.object.is_over()) {
        let pod = &pod.object;
        if pod.ndots.is_none() && pod.searches.is_empty() {
            continue;
        }
        let who = pod.owner.as_ref().map_or_else(|| name.name.clone(), ToString::to_string);
        let (_, count) = seen.entry((&name.namespace, who, &pod.ndots, &pod.searches)).or_insert((name, 0));
        *count += 1;
    }
    for (name, count) in seen.into_values() {
        let Some(pod) = context.cluster.pods.get(name) else { continue };
        let Some(lookups) = Lookups::of(&pod.object) else { continue };
        let dots = context.domain.split('.').count() + 3;
        let endpoint = format!("db-0.db.{}.svc.{}", name.namespace, context.domain);
        let (example, names, usual) = if lookups.names(OUTSIDE_DOTS) > usual.names(OUTSIDE_DOTS) {
            ("api.example.com", lookups.names(OUTSIDE_DOTS), usual.names(OUTSIDE_DOTS))
        } else if lookups.names(dots) > usual.names(dots) {
            (&*endpoint, lookups.names(dots), usual.names(dots))
        } else {
            continue;
        };
        let pods = if count > 1 { format!(" in {count} pods") } else { String::new() };
        let message = format!(
            "{example} costs {} queries (A and AAAA of {names} names){pods}; by default {}",
            names * FAMILIES,
            usual * FAMILIES
        );
        findings.add(Subject::new("Pod", name, pod), "spec.dnsConfig", message);
    }
}

fn no_nameservers(context: &Context<'_>, findings: &mut Findings) {
    for (name, pod) in &context.cluster.pods {
        if pod.object.dns_policy == DnsPolicy::None && pod.object.nameservers.is_empty() {
            findings.add(Subject::new("Pod", name, pod), "spec.dnsPolicy", "None, and dnsConfig has no nameservers");
        }
    }
}
