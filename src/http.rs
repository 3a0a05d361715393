//! Handles a request: reads its headers, lets the core decide, and applies the decision.
//!
//! docs/decisions/host-calls.md lists the host calls of each path, and `tests/small_host.rs` asserts them.

use std::{ops::ControlFlow, rc::Rc};

use byname_core::{
    Config, DestinationPort, LocalReply, Plan, Reason, Refusal, Request, Resolution, Scheme, Trace,
    trace::{Difference, Step},
};
use log::Level;
use proxy_wasm::types::Action;

use crate::{
    active_config::ActiveConfig,
    balance::{self, Open},
    contexts,
    host::{self, Headers},
    observe, request_log, stats, stream,
};

const AUTHORITY: &str = ":authority";
const FORWARDED_HOST: &str = "x-forwarded-host";
const REASON_HEADER: &str = "x-byname-reason";
/// Filter state, which Envoy knows as `wasm.byname` and `wasm.byname_trace`.
const ACCESS_LOG_STATE: &str = "byname";
const TRACE_STATE: &str = "byname_trace";

/// Decides the request of `stream`, once its headers are there.
pub(crate) fn on_request_headers(stream: u32) -> Action {
    decide_as_configured(stream, Wait::Possible)
}

/// Decides the request of `stream`, which was paused `since` this time, and lets it go on if it is to.
#[cold]
#[inline(never)]
fn on_resumption(stream: u32, since: u64) -> host::Result<()> {
    if decide_as_configured(stream, Wait::PossibleSince(since)) != Action::Continue {
        return Ok(());
    }
    host::continue_request().inspect_err(|status| {
        fail(*status);
    })
}

/// Decides the request of `stream` by the configuration that serves its plugin.
fn decide_as_configured(stream: u32, wait: Wait) -> Action {
    match contexts::serving() {
        Ok(None) => Action::Continue,
        Ok(Some(live)) => decide(stream, &live, wait).unwrap_or_else(fail),
        Err(status) => fail(status),
    }
}

/// Whether a request may wait for a server's answers, and since when it has.
#[derive(Clone, Copy)]
enum Wait {
    Possible,
    /// It has waited since this time, and may wait on.
    PossibleSince(u64),
    /// It has waited since this time, 0 if it has not waited.
    OverSince(u64),
}

/// What has become of a request.
enum Handled {
    Decided(Action),
    /// It needs the server's answer.
    Unanswered {
        is_observed: bool,
    },
}

#[inline(never)]
fn decide(stream: u32, live: &Rc<ActiveConfig>, wait: Wait) -> host::Result<Action> {
    let config = live.config()?;
    if config.is_passive() {
        return pass_on(&config);
    }
    // The host makes no callback during a host call, so the buffers are free. A panic would poison the worker, so it is an error all the
    // same.
    let mut plan = live.plan.try_borrow_mut().map_err(|_| host::IN_USE)?;
    let headers = match host::request_headers() {
        Ok(headers) => headers,
        Err(status) => return observe::without_headers(&config, status),
    };
    let action = match handle(stream, &config, &headers, &mut plan, wait) {
        Ok(Handled::Unanswered { is_observed }) => {
            drop((plan, config));
            // A request that is observed asks the server, and goes on as if its time were over.
            return wait_or_decide(stream, live, headers, if is_observed { Wait::OverSince(0) } else { wait });
        }
        Ok(Handled::Decided(action)) => Ok(action),
        Err(status) => Err(status),
    };
    if plan.has_ticket() {
        keep_open(stream, live, &headers, &mut plan, action.is_ok());
    }
    action
}

/// Lets a request go on at a gateway that steers none. Envoy matches its route again: to look for the header first would be a second call.
#[inline(never)]
fn pass_on(config: &Config) -> host::Result<Action> {
    host::remove_request_header(config.steering.control_header()).map(|()| Action::Continue)
}

/// Remembers a stream whose end matters.
#[inline(never)]
fn keep_open(stream: u32, live: &Rc<ActiveConfig>, headers: &Headers, plan: &mut Plan, was_sent: bool) {
    if let Some(ticket) = plan.take_ticket() {
        contexts::keep_open(stream, live, Open { ticket, is_grpc: is_grpc(headers), was_sent });
    }
}

/// Lets a request wait for the server, or decides it as it is.
#[cold]
#[inline(never)]
fn wait_or_decide(stream: u32, live: &Rc<ActiveConfig>, headers: Headers, wait: Wait) -> host::Result<Action> {
    let since = match wait {
        Wait::Possible => None,
        Wait::PossibleSince(since) | Wait::OverSince(since) => Some(since),
    };
    let waits = stream::wait(stream, live, since, |config| request(config, &headers).0, on_resumption);
    drop(headers);
    if waits { Ok(Action::Pause) } else { decide(stream, live, Wait::OverSince(since.unwrap_or_default())) }
}

/// What the core has to know of a request, and whether a trace is asked for.
#[inline(always)]
fn request<'h>(config: &Config, headers: &'h Headers) -> (Request<'h>, bool) {
    let asked = RequestHeaders::find(headers, config.trace_header());
    let scheme = match Scheme::from_bytes(asked.scheme) {
        _ if asked.method == b"CONNECT" => Scheme::Connect,
        Scheme::Https if is_forwarded_scheme(headers) => Scheme::Http,
        scheme => scheme,
    };
    let destination_port = config.destination_port(asked.authority).and_then(|port| find_port(port, headers));
    (Request { authority: asked.authority, scheme, destination_port }, asked.traced)
}

/// Decides a request, and applies the decision.
#[inline(never)]
fn handle(stream: u32, config: &Config, headers: &Headers, plan: &mut Plan, wait: Wait) -> host::Result<Handled> {
    let (request, is_traced) = request(config, headers);
    if is_traced {
        return handle_traced(stream, config, headers, request, plan, wait);
    }
    let resolution = config.resolve(request, None);
    let is_observed = config.may_observe() && observe::is_observed(stream, config, &resolution, request);
    if config.table.is_on_demand() && has_to_wait(&resolution, wait) {
        return Ok(Handled::Unanswered { is_observed });
    }
    finish(config, headers, &resolution, request, plan, None, is_observed);
    let observed = if is_observed { Some(observe::difference(&resolution, plan)) } else { None };
    conclude(config, headers, request, &resolution, plan, None, observed).map(Handled::Decided)
}

/// Whether the server has not said what the name resolves to, and the request may wait for it.
#[inline(never)]
fn has_to_wait(resolution: &Resolution<'_>, wait: Wait) -> bool {
    !matches!(wait, Wait::OverSince(_)) && resolution.reason() == Reason::Unanswered
}

#[cold]
#[inline(never)]
fn handle_traced(
    stream: u32,
    config: &Config,
    headers: &Headers,
    request: Request<'_>,
    plan: &mut Plan,
    wait: Wait,
) -> host::Result<Handled> {
    let mut trace = Trace::new(config.table.version());
    if let Wait::PossibleSince(since @ 1..) | Wait::OverSince(since @ 1..) = wait {
        trace.steps.push(Step::Waited { milliseconds: stream::waited(since) });
    }
    let resolution = config.resolve(request, Some(&mut trace));
    let is_observed = config.may_observe() && observe::is_observed(stream, config, &resolution, request);
    if has_to_wait(&resolution, wait) {
        return Ok(Handled::Unanswered { is_observed });
    }
    finish(config, headers, &resolution, request, plan, Some(&mut trace), is_observed);
    let observed = if is_observed { Some(observe::difference(&resolution, plan)) } else { None };
    if let Some(difference) = observed {
        trace.steps.push(Step::Observed(difference));
    }
    let shown = log_trace(config, request, &resolution, &trace);
    let shown = shown.as_ref().map(|(header, trace)| (*header, trace.as_str()));
    let action = conclude(config, headers, request, &resolution, plan, shown, observed)?;
    if let (Some((_, trace)), Action::Continue) = (shown, action) {
        show(TRACE_STATE, trace);
    }
    Ok(Handled::Decided(action))
}

/// Lets the core plan what is done, and counts the decision. A request that is observed leaves no mark on later choices.
fn finish(
    config: &Config,
    headers: &Headers,
    resolution: &Resolution<'_>,
    request: Request<'_>,
    plan: &mut Plan,
    trace: Option<&mut Trace>,
    is_observed: bool,
) {
    balance::with(headers, is_observed, |chooser| config.plan(resolution, request, chooser, plan, trace));
    stats::count(config, resolution);
}

/// Applies the decision, unless the request is `observed`: then this says what would be different. `shown` is the response header that
/// shows a trace, with its value.
fn conclude(
    config: &Config,
    headers: &Headers,
    request: Request<'_>,
    resolution: &Resolution<'_>,
    plan: &Plan,
    shown: Option<(&str, &str)>,
    observed: Option<Difference>,
) -> host::Result<Action> {
    if config.access_log() {
        show_decision(config, resolution, plan, observed);
    }
    if observed.is_some() {
        return go_on_observed(config, headers, request, resolution);
    }
    match resolution {
        Resolution::Refuse(refusal) => refuse(config, request, *refusal, shown),
        Resolution::Route(_) | Resolution::Pass(_) => apply(config, request, plan).map(|()| Action::Continue),
    }
}

/// Lets a request go on that is observed.
#[cold]
#[inline(never)]
fn go_on_observed(
    config: &Config,
    headers: &Headers,
    request: Request<'_>,
    resolution: &Resolution<'_>,
) -> host::Result<Action> {
    if let Resolution::Refuse(refusal) = resolution {
        log_refusal(config, request, *refusal, "; observed: no local reply was sent");
    }
    observe::go_on(config, headers)
}

/// Logs a requested trace, and returns the response header that shows it, with its value.
#[cold]
#[inline(never)]
fn log_trace<'c>(
    config: &'c Config,
    request: Request<'_>,
    resolution: &Resolution<'_>,
    trace: &Trace,
) -> Option<(&'c str, String)> {
    request_log::write(Level::Info, || config.trace_line(request, resolution, trace));
    config.trace_response_header().map(|header| (header, trace.header_value()))
}

#[inline(never)]
fn show_decision(config: &Config, resolution: &Resolution<'_>, plan: &Plan, observed: Option<Difference>) {
    show(ACCESS_LOG_STATE, &config.decision(resolution, plan, observed).to_string());
}

/// Sets filter state for an access log or a route. A request does not fail for lack of it.
fn show(state: &str, text: &str) {
    if host::set_property(state, text).is_err() {
        stats::count_host_error();
    }
}

/// The headers that a decision needs.
#[derive(Default)]
struct RequestHeaders<'h> {
    authority: &'h [u8],
    scheme: &'h [u8],
    method: &'h [u8],
    traced: bool,
}

impl<'h> RequestHeaders<'h> {
    fn find(headers: &'h Headers, trace_header: Option<&str>) -> Self {
        let mut asked = Self::default();
        headers.each(|name, value| {
            let place = match name {
                b":authority" => &mut asked.authority,
                b":scheme" => &mut asked.scheme,
                b":method" => &mut asked.method,
                name => {
                    if let Some(header) = trace_header {
                        asked.traced |= is_named(header, name);
                    }
                    return ControlFlow::Continue(());
                }
            };
            *place = value;
            // Pseudo-headers come first. Other headers are searched only if a trace header is configured.
            let found = !(asked.authority.is_empty() || asked.scheme.is_empty() || asked.method.is_empty());
            if found && trace_header.is_none() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        asked
    }
}

#[cold]
#[inline(never)]
fn is_named(header: &str, name: &[u8]) -> bool {
    header.as_bytes() == name
}

/// Whether `:scheme` says https only because an earlier hop's client spoke it. A request in origin form has no scheme of its own, so it
/// has its connection's (RFC 9110 section 7.1). For HTTP/1 Envoy takes it from `x-forwarded-proto`, which a program behind an ingress
/// often hands on. The two differ where the scheme was in the request itself.
#[cold]
#[inline(never)]
fn is_forwarded_scheme(headers: &Headers) -> bool {
    headers.get("x-forwarded-proto").is_some_and(|forwarded| forwarded.eq_ignore_ascii_case(b"https"))
        && host::property("request\0protocol").is_some_and(|protocol| protocol.starts_with(b"HTTP/1"))
        && host::property("connection\0tls_version").is_none_or(|version| version.is_empty())
}

/// The port that the connection was going to before it was redirected.
#[inline(never)]
fn find_port(port: &DestinationPort, headers: &Headers) -> Option<u16> {
    let written = port.header().and_then(|header| headers.get(header)).and_then(|value| port.from_header(value));
    written.or_else(|| port.from_attribute(&host::property("destination\0port")?))
}

/// Whether a request is gRPC: its content type is `application/grpc`, optionally with a suffix such as `+proto`.
fn is_grpc(headers: &Headers) -> bool {
    headers.get("content-type").is_some_and(|value| value.starts_with(b"application/grpc"))
}

fn apply(config: &Config, request: Request<'_>, plan: &Plan) -> host::Result<()> {
    let control_header = config.steering.control_header();
    match plan.cluster() {
        Some(cluster) => host::set_request_header(control_header, cluster.as_bytes())?,
        None => host::remove_request_header(control_header)?,
    }
    if plan.endpoint().is_some() || plan.dynamic_host().is_some() {
        apply_filter_state(plan)?;
    }
    if let Some(authority) = plan.authority() {
        host::set_request_header(AUTHORITY, authority.as_bytes())?;
        if config.steering.forwarded_host() {
            host::set_request_header(FORWARDED_HOST, request.authority)?;
        }
    }
    Ok(())
}

/// Tells Envoy the endpoint, or the host for a dynamic forward proxy.
#[inline(never)]
fn apply_filter_state(plan: &Plan) -> host::Result<()> {
    if let Some(endpoint) = plan.endpoint() {
        host::set_filter_state("envoy.network.transport_socket.original_dst_address", endpoint)?;
    }
    if let Some((name, port)) = plan.dynamic_host() {
        host::set_filter_state("envoy.upstream.dynamic_host", name)?;
        host::set_filter_state("envoy.upstream.dynamic_port", &port.to_string())?;
    }
    Ok(())
}

/// Words a refusal, and logs it.
#[inline(never)]
fn log_refusal(config: &Config, request: Request<'_>, refusal: Refusal, also: &str) -> LocalReply {
    let reply = config.local_reply(request, refusal);
    request_log::write(Level::Warn, || format!("{}; table {}{also}", reply.body.trim_end(), config.table.version()));
    reply
}

#[inline(never)]
fn refuse(
    config: &Config,
    request: Request<'_>,
    refusal: Refusal,
    shown: Option<(&str, &str)>,
) -> host::Result<Action> {
    let reply = log_refusal(config, request, refusal, "");
    let reason = reply.reason.as_str();
    let mut headers = vec![(REASON_HEADER, reason), ("content-type", "text/plain")];
    headers.extend(shown);
    let details = format!("byname_{reason}");
    host::send_local_response(reply.status, reply.grpc_status, &details, &headers, &reply.body)?;
    Ok(Action::Pause)
}

/// Ends a request that could not be steered completely. It must not continue half steered, or by a header of its
/// client.
#[cold]
fn fail(status: host::Status) -> Action {
    stats::count_host_error();
    const UNAVAILABLE: (u16, u8) = (503, 14);
    let (http, grpc) = UNAVAILABLE;
    let body = format!("byname: host_error: Envoy answered a host call with status {}\n", status.0);
    // If the host refuses even this, the stream is held until its timeout rather than sent to the wrong place.
    let _ = host::send_local_response(http, grpc, "byname_host_error", &[(REASON_HEADER, "host_error")], &body);
    Action::Pause
}
