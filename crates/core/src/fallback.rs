//! What stands in for a Service that is missing, or that has no endpoint which may serve.
//!
//! A Service may have a *fallback*: another Service, or a host outside the cluster. It is followed when what it stands in
//! for comes up on the way of a request, at most [`MAX_FALLBACK_HOPS`](crate::limits::MAX_FALLBACK_HOPS) times, each at
//! most once; and where none leads anywhere, the request ends with the fault that it began with. It is as much a way to
//! send requests elsewhere as an alias, and what may not be reached by an alias may not be reached so: this is judged
//! when a configuration is read, which is refused for it.
//!
//! A namespace may have a *baseline namespace*, in which what its own search path does not find is looked up last: one
//! more domain at the end of the list. It is for test environments that deploy three Services of three hundred.

use alloc::{boxed::Box, format, vec::Vec};
use core::fmt;

use crate::{
    key::Key,
    name::{Name, is_label},
    problem::{Fault, Place, Problems},
    search::Domain,
    sorted::Sorted,
    wire::{self, Trigger},
};

/// What stands in for one Service.
#[derive(Clone, Debug)]
pub(crate) struct Fallback {
    pub(crate) target: Target,
    pub(crate) port: Option<u16>,
    pub(crate) tls: Option<bool>,
    pub(crate) when_missing: bool,
    pub(crate) when_no_endpoints: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Target {
    Service(Key),
    Host(Box<str>),
}

/// What aliases may reach, and fallbacks likewise.
#[derive(Clone, Copy)]
pub(crate) struct Allowed<'a> {
    /// The cluster domain.
    pub(crate) zone: &'a str,
    /// Whether from one namespace into another.
    pub(crate) is_granted: &'a dyn Fn(&str, &str) -> bool,
    /// On which ports of an external host.
    pub(crate) ports: &'a dyn Fn(&str) -> Vec<u16>,
}

/// By the Service that is stood in for.
pub(crate) type Fallbacks = Sorted<Fallback>;

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(key) => key.fmt(f),
            Self::Host(host) => f.write_str(host),
        }
    }
}

/// Reads `fallback.services`. `may` says what may be reached.
#[inline(never)]
pub(crate) fn compile(wire: &wire::Fallbacks, may: Allowed<'_>, problems: &mut Problems) -> Fallbacks {
    let fallback = Place::root("fallback");
    let at = fallback.field("services");
    let mut fallbacks = Fallbacks::default();
    for (key, wire) in wire.services.iter() {
        let Some(of) = Key::parse(key) else {
            problems.add(&at, key, Fault::ServiceKey);
            continue;
        };
        if let Some(compiled) = Fallback::compile(wire, &of, may, &at.key(key), problems)
            && !fallbacks.insert(key, compiled)
        {
            problems.add(&at, key, Fault::Twice);
        }
    }
    fallbacks
}

/// The domain that is searched last for a caller in `namespace`.
#[inline(never)]
pub(crate) fn baseline(wire: &wire::Fallbacks, namespace: &str, zone: &str, problems: &mut Problems) -> Option<Domain> {
    let fallback = Place::root("fallback");
    let at = fallback.field("baselines");
    if let Some(namespace) = wire.baselines.repeated() {
        problems.add(&at, namespace, Fault::Twice);
    }
    for (from, to) in wire.baselines.iter() {
        let at = at.key(from);
        for label in [from, to].into_iter().filter(|label| !is_label(label)) {
            problems.add(&at, label, Fault::Label);
        }
        if from == to {
            problems.add(&at, to, Fault::OwnFallback);
        }
    }
    wire.baselines.get(namespace).map(|baseline| Domain::new(&format!("{baseline}.svc.{zone}"), zone))
}

impl Fallback {
    fn compile(
        wire: &wire::Fallback,
        of: &Key,
        may: Allowed<'_>,
        at: &Place<'_>,
        problems: &mut Problems,
    ) -> Option<Self> {
        if wire.port == Some(0) {
            problems.add(&at.field("port"), 0, Fault::Port);
        }
        let target = match (&wire.service, &wire.host) {
            (Some(service), None) => {
                let in_service = at.field("service");
                let Some(key) = Key::parse(service) else {
                    problems.add(&in_service, service, Fault::ServiceKey);
                    return None;
                };
                if key == *of {
                    problems.add(&in_service, service, Fault::OwnFallback);
                }
                if !(may.is_granted)(of.namespace(), key.namespace()) {
                    problems.add(&in_service, service, Fault::FallbackNotGranted);
                }
                if wire.tls.is_some() {
                    problems.add(&at.field("tls"), "", Fault::NotOnServiceFallback);
                }
                Target::Service(key)
            }
            (None, Some(host)) => Target::Host(compile_host(host, wire.port, may, at, problems)?),
            _ => {
                problems.add(at, "", Fault::OneOf("service or host"));
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
    may: Allowed<'_>,
    at: &Place<'_>,
    problems: &mut Problems,
) -> Option<Box<str>> {
    let in_host = at.field("host");
    let Ok(name) = Name::parse_absolute(host) else {
        problems.add(&in_host, host, Fault::Name);
        return None;
    };
    // With any port whatever the allow-list could not be asked now.
    let Some(port) = port else {
        problems.add(&at.field("port"), "", Fault::Port);
        return None;
    };
    if name.below(may.zone).is_some() || !(may.ports)(name.as_str()).contains(&port) {
        problems.add(&in_host, host, Fault::FallbackNotListed);
    }
    Some(name.as_str().into())
}
