//! The filter's own stream where the bootstrap's list of capabilities is older than the stream.

use std::sync::Arc;

use byname_test_support::TestUpstream;
use tokio::task::JoinSet;

use crate::{
    program::{ServeProcess, upstream},
    stream::{answers, builder, objects, settle},
};

const STREAM: &str = "byname: the stream to the server ";
const DENIED: &str = "Attempted call to restricted proxy-wasm capability: ";

/// The functions that the list lacks; what answers the first and the third request for a Service, and the second, for an unknown name; how
/// Envoy's log says it: the stream, the call, or nothing.
type Row = (&'static [&'static str], [&'static str; 3], Option<(&'static str, &'static str)>);

const UNCHANGED: &str = "passthrough";
const REFUSED: &str = "503 byname: host_error: Envoy answered a host call with status 10";

/// What the lists of bootstraps lack that are older than the stream.
const OLDER: &[&str] = &[
    "proxy_grpc_stream",
    "proxy_grpc_send",
    "proxy_grpc_close",
    "proxy_grpc_cancel",
    "proxy_set_effective_context",
    "proxy_continue_stream",
    "proxy_on_grpc_receive",
    "proxy_on_grpc_close",
];

#[rustfmt::skip]
const ROWS: [Row; 9] = [
    (OLDER, [UNCHANGED, UNCHANGED, UNCHANGED], Some((STREAM, "cannot be opened: check"))),
    (&["proxy_grpc_stream"], [UNCHANGED, UNCHANGED, UNCHANGED], Some((STREAM, "cannot be opened: check"))),
    (&["proxy_grpc_send"], [UNCHANGED, UNCHANGED, UNCHANGED], Some((STREAM, "takes no message: check"))),
    (&["proxy_on_grpc_receive"], [UNCHANGED, UNCHANGED, UNCHANGED], Some((STREAM, "gave no readable answer: check"))),
    (&["proxy_on_grpc_close"], ["web", UNCHANGED, "web"], None),
    (&["proxy_set_effective_context"], [UNCHANGED, UNCHANGED, UNCHANGED], Some((DENIED, "proxy_set_effective_context"))),
    (&["proxy_continue_stream"], [REFUSED, UNCHANGED, "web"], Some((DENIED, "proxy_continue_stream"))),
    // Nobody waits, because nothing would end the wait.
    (&["proxy_on_tick"], [UNCHANGED, UNCHANGED, "web"], None),
    (&["proxy_set_tick_period_milliseconds"], [UNCHANGED, UNCHANGED, "web"], Some((DENIED, "proxy_set_tick_period_milliseconds"))),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_lacks_a_function_of_the_stream_lets_no_request_hang() {
    let (web, passthrough) = (upstream("web").await, Arc::new(upstream("passthrough").await));
    let program = ServeProcess::start(&objects("shop/payments", "10.96.0.1", &[&web])).await;
    // Envoy writes its log ten seconds late.
    let mut rows = JoinSet::new();
    for row in ROWS {
        let (server, passthrough) = (program.port, Arc::clone(&passthrough));
        rows.spawn(async move { lets_no_request_hang(row, server, &passthrough).await });
    }
    rows.join_all().await;
}

async fn lets_no_request_hang((functions, expected, says): Row, server: u16, passthrough: &TestUpstream) {
    let edited = functions.iter().fold(builder(server, passthrough, "pass"), |envoy, function| {
        envoy.edit(&format!("                      {function}: {{}}\n"), "")
    });
    let envoy = edited.concurrency(1).start().await.unwrap();
    settle().await;
    // `answers` holds each of them to the bound.
    for (authority, expected) in ["payments", "nobody", "payments"].into_iter().zip(expected) {
        assert_eq!(answers(&envoy, authority).await, expected, "{functions:?}: {authority}");
    }
    if let Some((what, how)) = says {
        envoy.wait_for_log(&format!("{what}{how}")).await.unwrap_or_else(|error| panic!("{functions:?}: {error:#}"));
    }
}
