//! Fallbacks: what replaces a Service that is missing, or that has no usable endpoint.
//!
//! The fallback of a Service is another Service, or a host outside the cluster. A request follows at most
//! [`MAX_FALLBACK_HOPS`](crate::limits::MAX_FALLBACK_HOPS) fallbacks, each at most once; if none of them resolves, the request
//! ends with its first reason. A fallback sends requests elsewhere just as an alias does, so it may have only the targets that
//! an alias may have. This is checked when a configuration is read.
//!
//! A baseline namespace is searched last, for names that the search path does not find: one more search domain at the end of
//! the list. It serves test environments that deploy three Services of three hundred.

use alloc::{boxed::Box, format};
use core::fmt;

use super::external_names::ExternalNames;
use crate::{
    collections::SortedMap,
    names::{Name, NamespacedName, SearchDomain, is_label},
    wire::{self, FieldErrorType, FieldErrors, FieldPathRef, Trigger},
};

/// The fallback of one Service.
#[derive(Clone, Debug)]
pub(crate) struct Fallback {
    pub(crate) target: FallbackTarget,
    pub(crate) port: Option<u16>,
    pub(crate) tls: Option<bool>,
    pub(crate) when_missing: bool,
    pub(crate) when_no_endpoints: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum FallbackTarget {
    Service(NamespacedName),
    Host(Box<str>),
}

/// Fallbacks by the `namespace/name` of the Service that they replace.
pub(crate) type Fallbacks = SortedMap<Fallback>;

impl fmt::Display for FallbackTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(name) => name.fmt(f),
            Self::Host(host) => f.write_str(host),
        }
    }
}

/// Compiles `fallback.services`.
#[inline(never)]
pub(super) fn compile(
    wire: &wire::Fallbacks,
    zone: &str,
    external_names: &ExternalNames,
    errors: &mut FieldErrors,
) -> Fallbacks {
    let fallback = FieldPathRef::root("fallback");
    let at = fallback.field("services");
    let mut fallbacks = Fallbacks::default();
    for (key, wire) in wire.services.iter() {
        let Some(of) = NamespacedName::parse(key) else {
            errors.add(&at, key, FieldErrorType::InvalidNamespacedName);
            continue;
        };
        if let Some(compiled) = Fallback::compile(wire, &of, zone, external_names, &at.key(key), errors)
            && !fallbacks.insert(key, compiled)
        {
            errors.add(&at, key, FieldErrorType::Duplicate);
        }
    }
    fallbacks
}

/// Checks `fallback.baselines`, and returns the domain that is searched last for a caller in `namespace`.
#[inline(never)]
pub(crate) fn compile_baseline(
    wire: &wire::Fallbacks,
    namespace: &str,
    zone: &str,
    errors: &mut FieldErrors,
) -> Option<SearchDomain> {
    let fallback = FieldPathRef::root("fallback");
    let at = fallback.field("baselines");
    if let Some(namespace) = wire.baselines.duplicate() {
        errors.add(&at, namespace, FieldErrorType::Duplicate);
    }
    for (from, to) in wire.baselines.iter() {
        let at = at.key(from);
        for label in [from, to].into_iter().filter(|label| !is_label(label)) {
            errors.add(&at, label, FieldErrorType::InvalidLabel);
        }
        if from == to {
            errors.add(&at, to, FieldErrorType::FallbackToItself);
        }
    }
    wire.baselines.get(namespace).map(|baseline| SearchDomain::new(&format!("{baseline}.svc.{zone}"), zone))
}

impl Fallback {
    fn compile(
        wire: &wire::Fallback,
        of: &NamespacedName,
        zone: &str,
        external_names: &ExternalNames,
        at: &FieldPathRef<'_>,
        errors: &mut FieldErrors,
    ) -> Option<Self> {
        if wire.port == Some(0) {
            errors.add(&at.field("port"), 0, FieldErrorType::InvalidPort);
        }
        let target = match (&wire.service, &wire.host) {
            (Some(service), None) => {
                let in_service = at.field("service");
                let Some(target) = NamespacedName::parse(service) else {
                    errors.add(&in_service, service, FieldErrorType::InvalidNamespacedName);
                    return None;
                };
                if target == *of {
                    errors.add(&in_service, service, FieldErrorType::FallbackToItself);
                }
                if !external_names.grants(of.namespace(), target.namespace()) {
                    errors.add(&in_service, service, FieldErrorType::FallbackNotGranted);
                }
                if wire.tls.is_some() {
                    errors.add(&at.field("tls"), "", FieldErrorType::NotForServiceFallback);
                }
                FallbackTarget::Service(target)
            }
            (None, Some(host)) => {
                FallbackTarget::Host(compile_host(host, wire.port, zone, external_names, at, errors)?)
            }
            _ => {
                errors.add(at, "", FieldErrorType::ExactlyOneOf("service or host"));
                return None;
            }
        };
        let has = |trigger| wire.when.is_empty() || wire.when.contains(&trigger);
        Some(Self {
            target,
            port: wire.port,
            tls: wire.tls,
            when_missing: has(Trigger::Missing),
            when_no_endpoints: has(Trigger::NoEndpoints),
        })
    }
}

#[inline(never)]
fn compile_host(
    host: &str,
    port: Option<u16>,
    zone: &str,
    external_names: &ExternalNames,
    at: &FieldPathRef<'_>,
    errors: &mut FieldErrors,
) -> Option<Box<str>> {
    let in_host = at.field("host");
    let Ok(name) = Name::parse_absolute(host) else {
        errors.add(&in_host, host, FieldErrorType::InvalidName);
        return None;
    };
    // Without a port the allow-list could not be checked here.
    let Some(port) = port else {
        errors.add(&at.field("port"), "", FieldErrorType::InvalidPort);
        return None;
    };
    if name.below(zone).is_some() || !external_names.allowed_ports(name.as_str()).contains(&port) {
        errors.add(&in_host, host, FieldErrorType::FallbackNotListed);
    }
    Some(name.as_str().into())
}
