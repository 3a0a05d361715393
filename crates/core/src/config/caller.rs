//! The caller, its search path and the cluster domain, compiled.

use alloc::{boxed::Box, format, string::String, vec::Vec};
use core::{net::IpAddr, str::FromStr};

use crate::{
    balance::score_address,
    collections::hash_bytes,
    limits::{MAX_NDOTS, MAX_SEARCH_DOMAINS, MAX_ZONE_BYTES},
    names::{Caller, Name, SearchDomain, SearchPath, is_label},
    policy::compile_baseline,
    wire::{self, FieldErrorType, FieldErrors, FieldPathRef},
};

/// The caller's defaults from Envoy's node. They apply if the configuration sets none.
#[derive(Clone, Debug, Default)]
pub struct Defaults<'a> {
    /// The caller's namespace.
    pub namespace: Option<&'a str>,
    /// The caller's zone.
    pub zone: Option<&'a str>,
    /// The name of the caller's Kubernetes node.
    pub node: Option<&'a str>,
    /// The id of the node, which tells this Envoy from all others.
    pub id: Option<&'a str>,
}

/// A domain in its canonical form.
#[inline(never)]
fn compile_domain(text: &str, at: &FieldPathRef<'_>, errors: &mut FieldErrors) -> Box<str> {
    match Name::parse_absolute(text) {
        Ok(name) => name.as_str().into(),
        Err(_) => {
            errors.add(at, text, FieldErrorType::InvalidName);
            Box::default()
        }
    }
}

/// The cluster domain.
#[inline(never)]
pub(super) fn compile_zone(text: &str, errors: &mut FieldErrors) -> Box<str> {
    let dns = FieldPathRef::root("dns");
    let at = dns.field("clusterDomain");
    let zone = compile_domain(text, &at, errors);
    if zone.len() > MAX_ZONE_BYTES {
        errors.add(&at, zone.len(), FieldErrorType::TooLong(MAX_ZONE_BYTES));
    }
    if Name::parse(zone.as_bytes()).is_ok_and(|name| name.looks_like_ipv4()) {
        errors.add(&at, text, FieldErrorType::LooksLikeIpv4);
    }
    zone
}

#[inline(never)]
pub(super) fn compile_caller<S>(
    config: &wire::Config<S>,
    zone: &str,
    defaults: &Defaults<'_>,
    errors: &mut FieldErrors,
) -> Caller {
    let at = FieldPathRef::root("caller");
    let wire = &config.caller;
    let namespace = wire.namespace.as_deref().or(defaults.namespace).unwrap_or_default();
    let in_namespace = at.field("namespace");
    if namespace.is_empty() {
        errors.add(&in_namespace, "", FieldErrorType::NamespaceRequired);
    } else if !is_label(namespace) {
        errors.add(&in_namespace, namespace, FieldErrorType::InvalidLabel);
    }
    let pod_ip = wire.pod_ip.as_deref().and_then(|text| match IpAddr::from_str(text) {
        Ok(address) => Some(address.to_canonical()),
        Err(_) => {
            errors.add(&at.field("podIP"), text, FieldErrorType::InvalidAddress);
            None
        }
    });
    let non_empty = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(Box::from);
    Caller {
        namespace: namespace.into(),
        zone: non_empty(wire.zone.as_deref().or(defaults.zone)),
        node: non_empty(wire.node.as_deref().or(defaults.node)),
        pod_ip,
        search: compile_search(&config.dns, namespace, zone, errors),
        baseline: compile_baseline(&config.fallback, namespace, zone, errors),
        identity: match (pod_ip, defaults.id) {
            (Some(address), _) => Some(score_address(0, address, 0)),
            (None, Some(id)) if !id.is_empty() => Some(hash_bytes(id.as_bytes())),
            _ => None,
        },
    }
}

#[inline(never)]
fn compile_search(dns: &wire::Dns, namespace: &str, zone: &str, errors: &mut FieldErrors) -> SearchPath {
    let at = FieldPathRef::root("dns");
    if dns.ndots > MAX_NDOTS {
        errors.add(&at.field("ndots"), dns.ndots, FieldErrorType::TooLarge(MAX_NDOTS.into()));
    }
    let mut suffixes: Vec<Box<str>> = Vec::new();
    let mut add = |texts: &[String], at: &FieldPathRef<'_>| {
        for (index, text) in texts.iter().enumerate() {
            suffixes.push(match text.as_str() {
                "." => Box::default(),
                text => compile_domain(text, &at.index(index), errors),
            });
        }
    };
    let defaults = [format!("{namespace}.svc.{zone}"), format!("svc.{zone}"), String::from(zone)];
    match &dns.searches {
        Some(searches) => add(searches, &at.field("searches")),
        // Their parts are checked where they are configured.
        None if is_label(namespace) && !zone.is_empty() => add(&defaults, &at),
        None => {}
    }
    add(&dns.extra_searches, &at.field("extraSearches"));
    if suffixes.len() > MAX_SEARCH_DOMAINS {
        errors.add(&at.field("searches"), suffixes.len(), FieldErrorType::TooMany(MAX_SEARCH_DOMAINS));
    }
    let domains = suffixes.iter().map(|suffix| SearchDomain::new(suffix, zone)).collect();
    SearchPath::new(domains, dns.ndots, dns.resolver)
}
