//! What stands in for a Service that is missing, or that has no endpoint which may serve.
//!
//! A Service may have a *fallback*: another Service, or a host outside the cluster. It is followed when what it stands in for
//! comes up on the way of a request, at most [`MAX_FALLBACK_HOPS`] times, each at most once; and where none leads anywhere, the
//! request ends with the fault that it began with. It is as much a way to send requests elsewhere as an alias, and what may not be reached by
//! an alias may not be reached so: this is judged when a configuration is read, which is refused for it.
//!
//! A namespace may have a *baseline namespace*, in which what its own search path does not find is looked up last: one more
//! domain at the end of the list. It is for test environments that deploy three Services of three hundred.

use alloc::{boxed::Box, format};
use core::fmt;

use crate::{
    limits::{MAX_BASELINES, MAX_FALLBACK_HOPS, MAX_FALLBACKS},
    name::{Name, is_label},
    policy::Policy,
    problem::{Fault, Place, Problems},
    reason::Reason,
    resolve::{Destination, Resolution, Route, Upstream},
    service::Key,
    sorted::Sorted,
    table::{Found, Missing},
    trace::{FallbackOutcome, PortOrigin, Step, note},
    walk::{Asked, Walk, Way},
    wire::{self, Trigger},
};

/// What stands in for one Service.
#[derive(Clone, Debug)]
pub(crate) struct Fallback {
    target: Target,
    port: Option<u16>,
    tls: Option<bool>,
    when_missing: bool,
    when_no_endpoints: bool,
}

#[derive(Clone, Debug)]
enum Target {
    Service(Key),
    Host(Box<str>),
}

/// By the Service that is stood in for.
pub(crate) type Fallbacks = Sorted<Fallback>;

/// Where a walk goes on.
pub(crate) enum Next<'t> {
    /// To another Service.
    At(Found<'t>, Asked),
    /// Nowhere: it has ended outside the cluster.
    End(Resolution<'t>),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(key) => key.fmt(f),
            Self::Host(host) => f.write_str(host),
        }
    }
}

/// Reads `fallback.services`. `policy` says what may be reached.
pub(crate) fn compile(wire: &wire::Fallbacks, policy: &Policy, problems: &mut Problems) -> Fallbacks {
    let fallback = Place::root("fallback");
    let at = fallback.field("services");
    if wire.services.len() > MAX_FALLBACKS {
        problems.push(at.problem(wire.services.len(), Fault::TooMany(MAX_FALLBACKS)));
        return Fallbacks::default();
    }
    let mut fallbacks = Fallbacks::default();
    for (key, wire) in wire.services.iter() {
        let Some(of) = Key::parse(key) else {
            problems.push(at.problem(key, Fault::ServiceKey));
            continue;
        };
        if let Some(compiled) = Fallback::compile(wire, &of, policy, &at.key(key), problems)
            && !fallbacks.insert(key, compiled)
        {
            problems.push(at.problem(key, Fault::Twice));
        }
    }
    fallbacks
}

/// The domain that is searched last for a caller in `namespace`.
pub(crate) fn baseline(
    wire: &wire::Fallbacks,
    namespace: &str,
    zone: &str,
    problems: &mut Problems,
) -> Option<Box<str>> {
    let fallback = Place::root("fallback");
    let at = fallback.field("baselines");
    if wire.baselines.len() > MAX_BASELINES {
        problems.push(at.problem(wire.baselines.len(), Fault::TooMany(MAX_BASELINES)));
    }
    if let Some(namespace) = wire.baselines.repeated() {
        problems.push(at.problem(namespace, Fault::Twice));
    }
    for (from, to) in wire.baselines.iter() {
        let at = at.key(from);
        for label in [from, to].into_iter().filter(|label| !is_label(label)) {
            problems.push(at.problem(label, Fault::Label));
        }
        if from == to {
            problems.push(at.problem(to, Fault::OwnFallback));
        }
    }
    wire.baselines.get(namespace).map(|baseline| format!("{baseline}.svc.{zone}").into())
}

impl Fallback {
    fn compile(
        wire: &wire::Fallback,
        of: &Key,
        policy: &Policy,
        at: &Place<'_>,
        problems: &mut Problems,
    ) -> Option<Self> {
        if wire.port == Some(0) {
            problems.push(at.field("port").problem(0, Fault::Port));
        }
        let target = match (&wire.service, &wire.host) {
            (Some(service), None) => {
                let in_service = at.field("service");
                let Some(key) = Key::parse(service) else {
                    problems.push(in_service.problem(service, Fault::ServiceKey));
                    return None;
                };
                if key == *of {
                    problems.push(in_service.problem(service, Fault::OwnFallback));
                }
                if !policy.grants(of.namespace(), key.namespace()) {
                    problems.push(in_service.problem(service, Fault::FallbackNotGranted));
                }
                if wire.tls.is_some() {
                    problems.push(at.field("tls").problem("", Fault::NotOnServiceFallback));
                }
                Target::Service(key)
            }
            (None, Some(host)) => Target::Host(compile_host(host, wire.port, policy, at, problems)?),
            _ => {
                problems.push(at.problem("", Fault::OneOf("service or host")));
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

fn compile_host(
    host: &str,
    port: Option<u16>,
    policy: &Policy,
    at: &Place<'_>,
    problems: &mut Problems,
) -> Option<Box<str>> {
    let in_host = at.field("host");
    let Ok(name) = Name::parse(host.strip_suffix('.').unwrap_or(host).as_bytes()) else {
        problems.push(in_host.problem(host, Fault::Name));
        return None;
    };
    // With any port whatever the allow-list could not be asked now.
    let Some(port) = port else {
        problems.push(at.field("port").problem("", Fault::Port));
        return None;
    };
    if name.below(&policy.zone).is_some() || !policy.allowed_ports(&name).contains(&port) {
        problems.push(in_host.problem(host, Fault::FallbackNotListed));
    }
    Some(name.as_str().into())
}

impl<'t> Walk<'t, '_> {
    /// What stands in for the Service called `name` in `namespace`. `None`: nothing does, or nothing that helps.
    pub(crate) fn stand_in(
        &mut self,
        (namespace, name): (&str, &str),
        trigger: Trigger,
        asked: Asked,
        way: &mut Way<'t>,
    ) -> Option<Next<'t>> {
        let table = self.table;
        let fallback = table.policy().fallbacks.get(&[namespace, "/", name])?;
        let (is_meant, reason) = match trigger {
            Trigger::Missing => (fallback.when_missing, Reason::FallbackMissing),
            Trigger::NoEndpoints => (fallback.when_no_endpoints, Reason::FallbackNoEndpoints),
        };
        if !is_meant {
            return None;
        }
        way.stood_in.get_or_insert(reason);
        let mut asked = asked;
        asked.change(PortOrigin::Fallback, fallback.port, fallback.tls);
        let (outcome, next) = self.follow_fallback(fallback, asked, way);
        note(&mut self.trace, || Step::Fallback {
            of: format!("{namespace}/{name}").into(),
            to: format!("{}", fallback.target).into(),
            trigger,
            outcome,
        });
        match (outcome, &fallback.target) {
            // As deep as fallbacks are followed.
            (FallbackOutcome::Missing(missing), Target::Service(key)) => {
                self.stand_in((key.namespace(), key.name()), missing.trigger()?, asked, way)
            }
            _ => next,
        }
    }

    fn follow_fallback(
        &self,
        fallback: &'t Fallback,
        asked: Asked,
        way: &mut Way<'t>,
    ) -> (FallbackOutcome, Option<Next<'t>>) {
        if way.fallbacks.iter().flatten().any(|before| core::ptr::eq(*before, fallback)) {
            return (FallbackOutcome::Circle, None);
        }
        let Some(place) = way.fallbacks.iter_mut().find(|place| place.is_none()) else {
            return (FallbackOutcome::TooMany, None);
        };
        *place = Some(fallback);
        match &fallback.target {
            Target::Service(key) => match self.table.existing(key.namespace(), key.name()) {
                Ok(service) => (FallbackOutcome::Inside, Some(Next::At(Found::Service(service), asked))),
                Err(missing) => (FallbackOutcome::Missing(missing), None),
            },
            Target::Host(host) => {
                let route = Route {
                    reason: way.stood_in.unwrap_or(Reason::FallbackMissing),
                    destination: Destination::External(host),
                    port: asked.port,
                    port_name: "",
                    tls: asked.tls,
                    upstream: Upstream::Unknown,
                };
                (FallbackOutcome::Outside { port: asked.port }, Some(Next::End(Resolution::Route(route))))
            }
        }
    }
}

impl Missing {
    /// What a Service that is missed so counts as; `None` for what is no Service.
    pub(crate) fn trigger(self) -> Option<Trigger> {
        match self {
            Self::Service => Some(Trigger::Missing),
            Self::NothingReady => Some(Trigger::NoEndpoints),
            _ => None,
        }
    }
}

/// As many fallbacks as are followed for one request.
pub(crate) type Followed<'t> = [Option<&'t Fallback>; MAX_FALLBACK_HOPS];
