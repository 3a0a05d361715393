//! Which requests are observed rather than steered.

use super::Config;
use crate::{
    policy::Modes,
    resolve::{Reason, Request, Resolution, Trace, trace::Step},
};

impl Config {
    /// Whether any request may be observed.
    #[must_use]
    #[inline(always)]
    pub fn may_observe(&self) -> bool {
        self.modes.is_some()
    }

    /// Whether every request is observed.
    #[must_use]
    pub fn observes_all(&self) -> bool {
        self.modes.as_deref().is_some_and(Modes::observe_all)
    }

    /// What `request` resolves to, with every step.
    #[cold]
    #[inline(never)]
    pub(super) fn trace(&self, request: Request<'_>) -> (Resolution<'_>, Trace) {
        let mut trace = Trace::new(self.table.version());
        let resolution = self.resolve(request, Some(&mut trace));
        (resolution, trace)
    }

    /// The share of requests that are observed, in percent, of those with this resolution. The mode is that of the Service that the
    /// request resolves to, or where it resolves to none, of the last Service on its way.
    #[must_use]
    #[cold]
    #[inline(never)]
    pub fn observed_percent(&self, resolution: &Resolution<'_>, request: Request<'_>) -> u32 {
        let Some(modes) = self.modes.as_deref() else { return 0 };
        if let Resolution::Route(route) = resolution
            && let Some(service) = route.destination.service()
        {
            return modes.observed_percent(service.key());
        }
        if !modes.has_exceptions() {
            return modes.observed_percent("");
        }
        let (_, trace) = self.trace(request);
        if resolution.reason() != Reason::Unanswered {
            return modes.observed_percent(trace.last_service().map_or("", |name| name.as_str()));
        }
        // To wait for the answer would change a request that may have to be observed.
        let mut percent = 0;
        for service in trace.steps.iter().filter_map(Step::unanswered) {
            percent = percent.max(modes.observed_percent(service));
        }
        percent
    }
}
