//! A request: read its headers, ask the core, apply what it says.
//!
//! The host calls of each path stand in ARCHITECTURE.md, and `tests/small_host.rs` holds them to it.

use std::{ops::ControlFlow, rc::Rc};

use byname_core::{Config, Plan, Request, Resolution, Scheme, Trace};
use log::Level;
use proxy_wasm::types::Action;

use crate::{
    choices::{self, Open},
    contexts,
    host::{self, Headers},
    request_log,
    root::Live,
    stats,
};

const AUTHORITY: &str = ":authority";
const FORWARDED_HOST: &str = "x-forwarded-host";
const REASON_HEADER: &str = "x-byname-reason";
/// Filter state, which Envoy knows as `wasm.byname` and `wasm.byname_trace`.
const ACCESS_LOG_STATE: &str = "byname";
const TRACE_STATE: &str = "byname_trace";

/// The headers of this stream's request are there, and `live` decides it.
pub(crate) fn on_request_headers(stream: u32, live: &Rc<Live>) -> Action {
    let mut plan = live.plan.take();
    let mut is_grpc = false;
    let action = handle(&live.config, &mut plan, &mut is_grpc);
    if let Some(ticket) = plan.take_ticket() {
        contexts::keep_open(stream, live, Open { ticket, is_grpc, was_sent: action.is_ok() });
    }
    live.plan.set(plan);
    action.unwrap_or_else(|status| {
        stats::count_host_error();
        fail(status)
    })
}

fn handle(config: &Config, plan: &mut Plan, is_grpc: &mut bool) -> host::Result<Action> {
    let headers = host::request_headers()?;
    let asked = Asked::find(&headers, config.trace_header());
    *is_grpc = asked.is_grpc;
    let scheme = if asked.method == b"CONNECT" { Scheme::Connect } else { Scheme::from_bytes(asked.scheme) };
    let request = Request { authority: asked.authority, scheme };
    let (resolution, trace) = choices::with(&headers, |chooser| match asked.traced {
        true => {
            let (resolution, trace) = config.decide_traced(request, chooser, plan);
            (resolution, Some(trace))
        }
        false => (config.decide(request, chooser, plan), None),
    });
    stats::count(config, &resolution);
    if let Some(trace) = &trace {
        request_log::write(Level::Info, || config.log_line(request, &resolution, trace));
    }
    if config.access_log() {
        show(ACCESS_LOG_STATE, &config.decision(&resolution, plan).to_string());
    }
    // The header that shows the trace to whoever asked for it.
    let shown = config.trace_response_header().zip(trace.as_ref().map(Trace::header_value));
    match resolution {
        Resolution::Refuse(_) => refuse(config, request, shown),
        Resolution::Route(_) | Resolution::Pass(_) => {
            apply(config, request, plan)?;
            if let Some((_, trace)) = shown {
                show(TRACE_STATE, &trace);
            }
            Ok(Action::Continue)
        }
    }
}

/// Keeps a text where an access log or a route can show it. What cannot be shown is no reason to fail a request.
fn show(state: &str, text: &str) {
    if host::set_property(state, text).is_err() {
        stats::count_host_error();
    }
}

/// What of the headers a decision needs.
#[derive(Default)]
struct Asked<'h> {
    authority: &'h [u8],
    scheme: &'h [u8],
    method: &'h [u8],
    is_grpc: bool,
    traced: bool,
}

impl<'h> Asked<'h> {
    fn find(headers: &'h Headers, trace_header: Option<&str>) -> Self {
        let mut asked = Self::default();
        headers.each(|name, value| {
            match name {
                b":authority" => asked.authority = value,
                b":scheme" => asked.scheme = value,
                b":method" => asked.method = value,
                // And what comes behind, such as `+proto`.
                b"content-type" => asked.is_grpc = value.starts_with(b"application/grpc"),
                name => asked.traced |= trace_header.is_some_and(|header| header.as_bytes() == name),
            }
            ControlFlow::Continue(())
        });
        asked
    }
}

fn apply(config: &Config, request: Request<'_>, plan: &Plan) -> host::Result<()> {
    let control_header = config.steering.control_header();
    match plan.cluster() {
        Some(cluster) => host::set_request_header(control_header, cluster.as_bytes())?,
        None => host::remove_request_header(control_header)?,
    }
    if let Some(endpoint) = plan.endpoint() {
        host::set_filter_state("envoy.network.transport_socket.original_dst_address", endpoint)?;
    }
    if let Some((name, port)) = plan.dynamic_host() {
        host::set_filter_state("envoy.upstream.dynamic_host", name)?;
        host::set_filter_state("envoy.upstream.dynamic_port", &port.to_string())?;
    }
    if let Some(authority) = plan.authority() {
        host::set_request_header(AUTHORITY, authority.as_bytes())?;
        if config.steering.forwarded_host() {
            host::set_request_header(FORWARDED_HOST, request.authority)?;
        }
    }
    Ok(())
}

fn refuse(config: &Config, request: Request<'_>, shown: Option<(&str, String)>) -> host::Result<Action> {
    // A request that is refused has an answer; without one it would be the host's fault to fail.
    let Some(answer) = config.answer(request) else { return Ok(Action::Pause) };
    request_log::write(Level::Warn, || format!("{}; table {}", answer.body.trim_end(), config.table.version()));
    let reason = answer.reason.as_str();
    let mut headers = vec![(REASON_HEADER, reason), ("content-type", "text/plain")];
    headers.extend(shown.as_ref().map(|(name, trace)| (*name, trace.as_str())));
    let details = format!("byname_{reason}");
    host::send_local_response(answer.status, answer.grpc_status, &details, &headers, &answer.body)?;
    Ok(Action::Pause)
}

/// A request whose steering the host did not let us finish must not go on half steered, or by a header that its client
/// sent: it ends here.
fn fail(status: host::Status) -> Action {
    const UNAVAILABLE: (u16, u8) = (503, 14);
    let (http, grpc) = UNAVAILABLE;
    let body = format!("byname: host_error: Envoy answered a host call with status {}\n", status.0);
    // If even that is not taken, the stream stays where it is until its timeout: held is better than misled.
    let _ = host::send_local_response(http, grpc, "byname_host_error", &[(REASON_HEADER, "host_error")], &body);
    Action::Pause
}
