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
    // Nobody else can hold the buffers, as the host calls nothing while it is called; if it did, there were others.
    let (mut buffers, mut others);
    let plan = match live.plan.try_borrow_mut() {
        Ok(plan) => {
            buffers = plan;
            &mut *buffers
        }
        Err(_) => {
            others = Plan::default();
            &mut others
        }
    };
    let action = host::request_headers().and_then(|headers| {
        let action = handle(&live.config, &headers, plan);
        if let Some(ticket) = plan.take_ticket() {
            contexts::keep_open(stream, live, Open { ticket, is_grpc: is_grpc(&headers), was_sent: action.is_ok() });
        }
        action
    });
    action.unwrap_or_else(|status| {
        stats::count_host_error();
        fail(status)
    })
}

#[inline(never)]
fn handle(config: &Config, headers: &Headers, plan: &mut Plan) -> host::Result<Action> {
    let asked = Asked::find(headers, config.trace_header());
    let scheme = if asked.method == b"CONNECT" { Scheme::Connect } else { Scheme::from_bytes(asked.scheme) };
    let request = Request { authority: asked.authority, scheme };
    let mut trace = asked.traced.then(|| Trace::new(config.table.version()));
    let resolution = config.resolve(request, trace.as_mut());
    choices::with(headers, |chooser| config.plan(&resolution, request, chooser, plan, trace.as_mut()));
    stats::count(config, &resolution);
    let shown = trace.as_ref().and_then(|trace| log_trace(config, request, &resolution, trace));
    if config.access_log() {
        show_decision(config, &resolution, plan);
    }
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

/// Writes the trace that was asked for to the log, and gives the header that shows it to whoever asked.
#[cold]
#[inline(never)]
fn log_trace<'c>(
    config: &'c Config,
    request: Request<'_>,
    resolution: &Resolution<'_>,
    trace: &Trace,
) -> Option<(&'c str, String)> {
    request_log::write(Level::Info, || config.log_line(request, resolution, trace));
    config.trace_response_header().map(|header| (header, trace.header_value()))
}

#[inline(never)]
fn show_decision(config: &Config, resolution: &Resolution<'_>, plan: &Plan) {
    show(ACCESS_LOG_STATE, &config.decision(resolution, plan).to_string());
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
    traced: bool,
}

impl<'h> Asked<'h> {
    fn find(headers: &'h Headers, trace_header: Option<&str>) -> Self {
        let mut asked = Self::default();
        headers.each(|name, value| {
            let place = match name {
                b":authority" => &mut asked.authority,
                b":scheme" => &mut asked.scheme,
                b":method" => &mut asked.method,
                name => {
                    asked.traced |= trace_header.is_some_and(|header| header.as_bytes() == name);
                    return ControlFlow::Continue(());
                }
            };
            *place = value;
            // They stand in front of all others, which are only looked through for a header that asks for a trace.
            let found = [asked.authority, asked.scheme, asked.method].iter().all(|value| !value.is_empty());
            if found && trace_header.is_none() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        asked
    }
}

/// Whether a request is gRPC: by its content type, and what comes behind, such as `+proto`.
fn is_grpc(headers: &Headers) -> bool {
    headers.get("content-type").is_some_and(|value| value.starts_with(b"application/grpc"))
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

#[inline(never)]
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
#[cold]
fn fail(status: host::Status) -> Action {
    const UNAVAILABLE: (u16, u8) = (503, 14);
    let (http, grpc) = UNAVAILABLE;
    let body = format!("byname: host_error: Envoy answered a host call with status {}\n", status.0);
    // If even that is not taken, the stream stays where it is until its timeout: held is better than misled.
    let _ = host::send_local_response(http, grpc, "byname_host_error", &[(REASON_HEADER, "host_error")], &body);
    Action::Pause
}
