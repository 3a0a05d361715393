//! Requests that are observed: each goes on unchanged, and what would be done to it is counted and shown.
//!
//! Only the control header is removed, because its client must not steer.

use byname_core::{Config, Plan, Request, Resolution, next_random, trace::Difference};
use proxy_wasm::types::Action;

use crate::{
    host::{self, Headers},
    stats,
};

/// Whether the request of `stream` is observed. The answer is the same each time, so that a request that was paused keeps its mode.
#[cold]
#[inline(never)]
pub(crate) fn is_observed(stream: u32, config: &Config, resolution: &Resolution<'_>, request: Request<'_>) -> bool {
    next_random(&mut u64::from(stream)) % 100 < u64::from(config.observed_percent(resolution, request))
}

/// What would be different about a request that is observed. Counts the request, and forgets the endpoint that was chosen.
#[cold]
#[inline(never)]
pub(crate) fn difference(resolution: &Resolution<'_>, plan: &mut Plan) -> Difference {
    // The request does not go to the endpoint that was chosen, so its end says nothing about that one.
    let _ = plan.take_ticket();
    // The cluster of the route that Envoy matched before it called the filter.
    let difference = plan.difference(resolution, || host::property("xds\0cluster_name"));
    stats::count_observed(difference, resolution.reason());
    difference
}

/// Lets a request go on without the control header. Envoy's route cache would be cleared if a header were removed that is not there.
#[cold]
#[inline(never)]
pub(crate) fn go_on(config: &Config, headers: &Headers) -> host::Result<Action> {
    let control_header = config.steering.control_header();
    if headers.get(control_header).is_some() {
        host::remove_request_header(control_header)?;
    }
    Ok(Action::Continue)
}

/// What becomes of a request whose headers Envoy does not give. It goes on if every request is observed.
#[cold]
#[inline(never)]
pub(crate) fn without_headers(config: &Config, status: host::Status) -> host::Result<Action> {
    if !config.observes_all() {
        return Err(status);
    }
    stats::count_host_error();
    host::remove_request_header(config.steering.control_header()).map(|()| Action::Continue)
}
