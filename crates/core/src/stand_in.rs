//! Following fallbacks, where a Service that is asked for is missing or has no endpoint which may serve.

use alloc::format;

use crate::{
    fallback::{Fallback, Target},
    reason::Reason,
    resolve::Destination,
    table::{Found, Missing},
    trace::{FallbackOutcome, PortOrigin, Step, note},
    walk::{Asked, Next, Walk},
    wire::Trigger,
};

impl<'t> Walk<'t, '_> {
    /// What stands in for the Service called `name` in `namespace`. `None`: nothing does, or nothing that helps.
    pub(crate) fn stand_in(
        &mut self,
        (namespace, name): (&str, &str),
        trigger: Trigger,
        asked: Asked,
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
        self.way.stood_in.get_or_insert(reason);
        let mut asked = asked;
        asked.change(PortOrigin::Fallback, fallback.port, fallback.tls);
        let (outcome, next) = self.follow_fallback(fallback, asked);
        note(&mut self.trace, || Step::Fallback {
            of: format!("{namespace}/{name}").into(),
            to: format!("{}", fallback.target).into(),
            trigger,
            outcome,
        });
        match (outcome, &fallback.target) {
            // As deep as fallbacks are followed.
            (FallbackOutcome::Missing(missing), Target::Service(key)) => {
                self.stand_in((key.namespace(), key.name()), missing.trigger()?, asked)
            }
            _ => next,
        }
    }

    fn follow_fallback(&mut self, fallback: &'t Fallback, asked: Asked) -> (FallbackOutcome, Option<Next<'t>>) {
        if self.way.fallbacks.iter().flatten().any(|before| core::ptr::eq(*before, fallback)) {
            return (FallbackOutcome::Circle, None);
        }
        let Some(place) = self.way.fallbacks.iter_mut().find(|place| place.is_none()) else {
            return (FallbackOutcome::TooMany, None);
        };
        *place = Some(fallback);
        match &fallback.target {
            Target::Service(key) => match self.table.existing(key.namespace(), key.name()) {
                Ok(service) => (FallbackOutcome::Inside, Some(Next::At(Found::Service(service), asked))),
                Err(missing) => (FallbackOutcome::Missing(missing), None),
            },
            Target::Host(host) => {
                let reason = self.way.stood_in.unwrap_or(Reason::FallbackMissing);
                let route = asked.route_to(Destination::External(host), reason);
                (FallbackOutcome::Outside { port: asked.port }, Some(Next::End(route)))
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
