//! The filter's own stream in a host that misbehaves: requests wait, and no longer than they may, whatever the host and the server do.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a panic fails the test")]

use anyhow::Result;
use byname_core::put_protobuf_bytes;
use byname_test_support::{Action, SmallHost, TestResult};
use serde_json::{Value, json};

const ROOT: u32 = 1;
const STREAM: u32 = 1_000;
const MILLISECOND: u64 = 1_000_000;
const SERVICE: &str = "type.googleapis.com/byname.v1.Service";
const NAMESPACES: &str = "type.googleapis.com/byname.v1.Namespaces";

fn configuration(server: &Value) -> String {
    json!({
        "version": 1,
        "caller": {"namespace": "shop"},
        "trace": {"requestHeader": "x-trace", "responseHeader": "x-trace"},
        "server": server,
    })
    .to_string()
}

/// A VM whose requests may wait: a tick has come.
fn vm(on_timeout: &str) -> Result<SmallHost> {
    let mut host = SmallHost::new()?;
    host.state_mut().now = 1_000_000 * MILLISECOND;
    host.state_mut().properties.insert("xds.node.id".to_owned(), b"shop-0".to_vec());
    assert!(
        host.configure(ROOT, &configuration(&json!({"cluster": "outbound|9905||byname", "onTimeout": on_timeout})))?
    );
    assert!(host.state().tick_period > 0, "a request waits only once ticks come");
    host.tick(ROOT)?;
    Ok(host)
}

/// A `DeltaDiscoveryResponse` with a resource, or without one if it is removed.
fn response(type_url: &str, name: &str, value: Option<&str>) -> Vec<u8> {
    let mut message = Vec::new();
    match value {
        Some(value) => {
            let (mut any, mut resource) = (Vec::new(), Vec::new());
            put_protobuf_bytes(&mut any, 1, type_url.as_bytes());
            put_protobuf_bytes(&mut any, 2, value.as_bytes());
            put_protobuf_bytes(&mut resource, 3, name.as_bytes());
            put_protobuf_bytes(&mut resource, 1, b"1");
            put_protobuf_bytes(&mut resource, 2, &any);
            put_protobuf_bytes(&mut message, 2, &resource);
        }
        None => put_protobuf_bytes(&mut message, 6, name.as_bytes()),
    }
    put_protobuf_bytes(&mut message, 4, type_url.as_bytes());
    put_protobuf_bytes(&mut message, 5, b"1");
    message
}

fn service(cluster_ip: &str) -> String {
    json!({"clusterIPs": [cluster_ip], "ports": [{"port": 80}]}).to_string()
}

fn request(host: &mut SmallHost, stream: u32, authority: &str) -> Result<Action> {
    host.request_headers(
        stream,
        &[(":authority", authority.as_bytes()), (":path", b"/"), (":method", b"GET"), (":scheme", b"http")],
    )
}

fn later(host: &mut SmallHost, milliseconds: u64) {
    host.state_mut().now += milliseconds * MILLISECOND;
}

/// Lets the time pass to the next tick that the module has asked for, and returns how many milliseconds that were.
fn tick_in_time(host: &mut SmallHost, root: u32) -> Result<u64> {
    let period = u64::from(host.state().tick_period);
    assert!(period > 0, "no tick is asked for");
    later(host, period);
    host.tick(root)?;
    Ok(period)
}

/// Lets the time pass, with the ticks that the module asks for, until a request is decided. Returns how many milliseconds that were.
fn decided_by_ticks(host: &mut SmallHost, root: u32) -> Result<u64> {
    let mut waited = 0;
    while host.state().continued.is_empty() && host.state().response.is_none() {
        assert!(waited <= 1_000, "not decided after {waited} ms");
        waited += tick_in_time(host, root)?;
    }
    Ok(waited)
}

fn has_sent(host: &SmallHost, text: &str) -> bool {
    host.state().grpc_sent.iter().any(|(_, message)| message.windows(text.len()).any(|part| part == text.as_bytes()))
}

#[test]
fn a_request_waits_for_its_name_and_goes_on() -> TestResult {
    let mut host = vm("pass")?;
    assert_eq!(request(&mut host, STREAM, "web")?, Action::Pause);
    assert_eq!(host.state().response, None);
    // The cluster's name is no authority, because of its bytes `|`. The last field is the longest message, 4 MiB.
    let opened = r#"grpc_stream(\n&\n\x15outbound|9905||byname\x12\x06byname\"\x05\x08\x80\x80\x80\x02, envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources)"#;
    assert!(host.state().calls.iter().any(|call| call == opened), "{:?}", host.state().calls);
    assert!(has_sent(&host, "shop/web") && has_sent(&host, "shop-0"));
    assert_eq!(host.state().effective, STREAM, "the host goes on with the request");
    host.grpc_receive(ROOT, 1, &response(NAMESPACES, "*", Some("shop")))?;
    host.grpc_receive(ROOT, 1, &response(SERVICE, "shop/web", Some(&service("10.96.0.1"))))?;
    assert_eq!(host.state().continued, [STREAM]);
    assert_eq!(host.state().header("x-byname-cluster"), ["outbound|80||web.shop.svc.cluster.local"]);
    // It is known now.
    assert_eq!(request(&mut host, STREAM + 1, "web")?, Action::Continue);
    assert_eq!(host.state().grpc_streams, 1);
    assert_eq!(host.state().metric("byname.stream.waits"), Some(1));
    assert_eq!(host.state().metric("byname.stream.keys"), Some(1));
    assert_eq!(host.state().metric("byname.reason.unanswered"), Some(0), "nobody was decided so");
    Ok(())
}

#[test]
fn an_observed_request_never_waits_and_is_asked_for() -> TestResult {
    let mut host = SmallHost::new()?;
    host.state_mut().now = 1_000_000 * MILLISECOND;
    let mut observing: Value =
        serde_json::from_str(&configuration(&json!({"cluster": "byname", "onTimeout": "refuse"})))?;
    observing["mode"] = json!("observe");
    assert!(host.configure(ROOT, &observing.to_string())?, "{:?}", host.state().log);
    host.tick(ROOT)?;
    assert_eq!(request(&mut host, STREAM, "web")?, Action::Continue);
    assert!(has_sent(&host, "shop/web"));
    assert_eq!(host.state().response, None);
    assert_eq!(host.state().metric("byname.observed.unknown.unanswered"), Some(1));
    assert_eq!(host.state().metric("byname.stream.waits"), Some(0));
    assert_eq!(host.state().metric("byname.stream.timeouts"), Some(1));
    host.grpc_receive(ROOT, 1, &response(SERVICE, "shop/web", Some(&service("10.96.0.1"))))?;
    assert_eq!(request(&mut host, STREAM + 1, "web")?, Action::Continue);
    assert_eq!(host.state().metric("byname.observed.host_and_cluster.service"), Some(1));
    assert_eq!(host.state().header(":authority"), ["web"]);
    assert_eq!(host.state().continued, [0_u32; 0], "nothing was paused");
    Ok(())
}

#[test]
fn a_trace_says_how_long_the_request_waited() -> TestResult {
    let mut host = vm("pass")?;
    let headers: [(&str, &[u8]); 4] =
        [(":authority", b"web"), (":method", b"GET"), (":scheme", b"http"), ("x-trace", b"1")];
    assert_eq!(host.request_headers(STREAM, &headers)?, Action::Pause);
    later(&mut host, 7);
    host.grpc_receive(ROOT, 1, &response(SERVICE, "shop/web", Some(&service("10.96.0.1"))))?;
    assert_eq!(host.state().continued, [STREAM]);
    let trace = |host: &SmallHost| {
        host.state().properties.get("byname_trace").map(|trace| String::from_utf8_lossy(trace).into_owned())
    };
    assert!(trace(&host).is_some_and(|trace| trace.contains("waited 7 ms for the server")), "{:?}", trace(&host));
    // So does that of one whose time is over.
    let headers = headers.map(|(name, value)| (name, if name == ":authority" { &b"late"[..] } else { value }));
    assert_eq!(host.request_headers(STREAM + 1, &headers)?, Action::Pause);
    host.pass(310)?;
    assert_eq!(host.state().continued, [STREAM, STREAM + 1]);
    let over = trace(&host).unwrap_or_default();
    let waited = over.split("waited ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<u64>().ok());
    assert!(waited.is_some_and(|waited| (300..=310).contains(&waited)), "{over}");
    Ok(())
}

#[test]
fn a_silent_server_holds_a_request_no_longer_than_the_bound() -> TestResult {
    for (on_timeout, refused) in [("pass", None), ("refuse", Some(503))] {
        let mut host = vm(on_timeout)?;
        assert_eq!(request(&mut host, STREAM, "web")?, Action::Pause);
        let waited = decided_by_ticks(&mut host, ROOT)?;
        assert!(waited <= 320, "after {waited} ms");
        let response = host.state().response.as_ref();
        assert_eq!(response.map(|response| response.status), refused, "{response:?}");
        assert_eq!(host.state().continued.len(), usize::from(refused.is_none()));
        assert_eq!(host.state().metric("byname.reason.unanswered"), Some(1));
        assert_eq!(host.state().metric("byname.stream.timeouts"), Some(1));
    }
    Ok(())
}

/// Envoy begins a period of ticks anew when it is set: what happens all the time must not move the tick that ends a wait.
#[test]
fn events_that_come_all_the_time_move_no_bound() -> TestResult {
    const EVERY: u64 = 5;
    for is_message in [true, false] {
        let mut host = vm("pass")?;
        assert_eq!(request(&mut host, STREAM, "web")?, Action::Pause);
        let mut waited = 0;
        while !host.state().continued.contains(&STREAM) {
            assert!(waited <= 320, "{is_message}: not decided after {waited} ms");
            host.pass(EVERY)?;
            waited += EVERY;
            if is_message {
                host.grpc_receive(ROOT, 1, &response(NAMESPACES, "*", Some("prod shop")))?;
            } else {
                request(&mut host, STREAM + u32::try_from(waited)?, &format!("other-{waited}"))?;
            }
        }
    }
    Ok(())
}

#[test]
fn a_request_that_has_no_tick_to_end_its_wait_does_not_wait() -> TestResult {
    let mut host = SmallHost::new()?;
    assert!(host.configure(ROOT, &configuration(&json!({"cluster": "byname"})))?);
    assert_eq!(request(&mut host, STREAM, "web")?, Action::Continue);
    // The server is asked all the same.
    assert!(has_sent(&host, "shop/web"));
    assert_eq!(host.state().metric("byname.stream.waits"), Some(0));
    assert_eq!(host.state().metric("byname.stream.timeouts"), Some(1));
    Ok(())
}

/// An older bootstrap does not allow the calls, and says so by a status of each.
#[test]
fn a_host_that_refuses_a_call_gets_an_answer_for_each_request() -> TestResult {
    let calls = [
        "proxy_grpc_stream",
        "proxy_grpc_send",
        "proxy_grpc_cancel",
        "proxy_grpc_close",
        "proxy_continue_stream",
        "proxy_set_effective_context",
        "proxy_set_tick_period_milliseconds",
        "proxy_get_current_time_nanoseconds",
        "proxy_get_property",
    ];
    for call in calls {
        for status in [1, 2, 10] {
            let mut host = vm("pass")?;
            host.state_mut().failing.insert(call, status);
            let paused = request(&mut host, STREAM, "web")? == Action::Pause;
            if paused {
                // Whatever it was, the bound holds.
                for _ in 0..4 {
                    later(&mut host, 200);
                    host.tick(ROOT)?;
                }
                let is_decided = !host.state().continued.is_empty() || host.state().response.is_some();
                assert!(is_decided || call == "proxy_set_effective_context", "{call}: {status}");
            }
            host.grpc_receive(ROOT, 1, &response(SERVICE, "shop/web", Some(&service("10.96.0.1"))))?;
            host.grpc_close(ROOT, 1, 14)?;
            host.tick(ROOT)?;
        }
    }
    let mut host = vm("pass")?;
    host.state_mut().failing.insert("proxy_grpc_stream", 10);
    assert_eq!(request(&mut host, STREAM, "web")?, Action::Continue);
    let says = |line: &String| line.contains("allowed_capabilities has proxy_grpc_stream");
    assert!(host.state().log.iter().any(says), "{:?}", host.state().log);
    // While it is known that there is no stream, nobody waits.
    assert_eq!(request(&mut host, STREAM + 1, "other")?, Action::Continue);
    Ok(())
}

/// Else it would wait for as long as its client.
#[test]
fn a_request_that_the_host_does_not_let_go_on_gets_a_reply_and_no_other_waits() -> TestResult {
    let mut host = vm("pass")?;
    host.state_mut().failing.insert("proxy_continue_stream", 12);
    assert_eq!(request(&mut host, STREAM, "web")?, Action::Pause);
    host.grpc_receive(ROOT, 1, &response(SERVICE, "shop/web", Some(&service("10.96.0.1"))))?;
    let response = host.state_mut().response.take().expect("a local reply");
    assert_eq!((response.status, response.details.as_str()), (503, "byname_host_error"), "{response:?}");
    assert_eq!(host.state().metric("byname.host_errors"), Some(1));
    assert_eq!(request(&mut host, STREAM + 1, "other")?, Action::Continue, "it goes on at once");
    assert_eq!(request(&mut host, STREAM + 2, "web")?, Action::Continue);
    assert_eq!(host.state().header("x-byname-cluster"), ["outbound|80||web.shop.svc.cluster.local"]);
    Ok(())
}

/// Envoy writes nothing of a stream that fails.
#[test]
fn a_stream_that_is_of_no_use_is_told_with_its_status() -> TestResult {
    let said = |host: &SmallHost, words: &str| {
        let line = format!("byname: the stream to the server {words}: check that Envoy has the cluster of `server`");
        host.state().log.iter().any(|other| other.contains(&line))
    };
    let mut host = vm("pass")?;
    assert_eq!(request(&mut host, STREAM, "web")?, Action::Pause);
    host.grpc_close(ROOT, 1, 16)?;
    assert!(said(&host, "ended with gRPC status 16"), "{:?}", host.state().log);

    let mut host = vm("pass")?;
    assert_eq!(request(&mut host, STREAM, "web")?, Action::Pause);
    while host.state().grpc_streams < 2 {
        tick_in_time(&mut host, ROOT)?;
    }
    assert!(said(&host, "gave no readable answer"), "{:?}", host.state().log);

    // One that was of use is opened again at once.
    let mut host = vm("pass")?;
    assert_eq!(request(&mut host, STREAM, "web")?, Action::Pause);
    host.grpc_receive(ROOT, 1, &response(SERVICE, "shop/web", Some(&service("10.96.0.1"))))?;
    host.grpc_close(ROOT, 1, 14)?;
    assert!(!said(&host, "ended with gRPC status 14"), "{:?}", host.state().log);
    Ok(())
}

#[test]
fn a_client_that_leaves_is_forgotten() -> TestResult {
    let mut host = vm("pass")?;
    assert_eq!(request(&mut host, STREAM, "web")?, Action::Pause);
    host.delete(STREAM)?;
    host.state_mut().calls.clear();
    host.grpc_receive(ROOT, 1, &response(SERVICE, "shop/web", Some(&service("10.96.0.1"))))?;
    assert_eq!(host.state().continued, [0_u32; 0]);
    assert!(!host.state().calls.contains(&format!("set_effective_context({STREAM})")));
    Ok(())
}

#[test]
fn a_push_takes_over_answers_and_waiting_requests() -> TestResult {
    let mut host = vm("pass")?;
    request(&mut host, STREAM, "web")?;
    host.grpc_receive(ROOT, 1, &response(SERVICE, "shop/web", Some(&service("10.96.0.1"))))?;
    assert_eq!(request(&mut host, STREAM + 1, "late")?, Action::Pause);
    let next = ROOT + 1;
    host.state_mut().effective = next;
    assert!(host.configure(next, &configuration(&json!({"cluster": "byname"})))?);
    assert!(host.state().calls.contains(&"grpc_cancel(1)".to_owned()), "the earlier stream ends");
    assert_eq!(request(&mut host, STREAM + 2, "web")?, Action::Continue, "it is known without a stream");
    assert_eq!(host.state().header("x-byname-cluster"), ["outbound|80||web.shop.svc.cluster.local"]);
    host.tick(next)?;
    assert_eq!(host.state().grpc_streams, 2, "the stream is opened again");
    // A message of the earlier stream comes too late.
    host.grpc_receive(ROOT, 1, &response(SERVICE, "shop/late", Some(&service("10.96.0.2"))))?;
    assert_eq!(host.state().continued, [STREAM]);
    host.grpc_receive(next, 2, &response(SERVICE, "shop/late", Some(&service("10.96.0.2"))))?;
    assert_eq!(host.state().continued, [STREAM, STREAM + 1]);
    host.delete(ROOT)?;
    host.tick(next)?;
    Ok(())
}

#[test]
fn a_push_without_a_server_lets_nobody_wait() -> TestResult {
    let mut host = vm("pass")?;
    assert_eq!(request(&mut host, STREAM, "web")?, Action::Pause);
    assert_eq!(host.state().metric("byname.stream.open"), Some(1));
    let next = ROOT + 1;
    host.state_mut().effective = next;
    assert!(host.configure(next, r#"{"version": 1, "caller": {"namespace": "shop"}}"#)?);
    assert!(host.state().calls.contains(&"grpc_cancel(1)".to_owned()), "the earlier stream ends");
    assert_eq!(decided_by_ticks(&mut host, next)?, 300);
    assert_eq!(host.state().continued, [STREAM]);
    host.tick(next)?;
    assert_eq!(host.state().tick_period, 0, "nothing is left to wait for");
    // The gauges count no stream that is gone, and the counters go on.
    let metrics = |host: &SmallHost| {
        ["open", "keys", "waits", "opened"].map(|name| host.state().metric(&format!("byname.stream.{name}")))
    };
    assert_eq!(metrics(&host), [Some(0), Some(0), Some(1), Some(1)]);
    let last = next + 1;
    assert!(host.configure(last, &configuration(&json!({"cluster": "byname"})))?);
    host.tick(last)?;
    assert_eq!(request(&mut host, STREAM + 1, "web")?, Action::Pause);
    assert_eq!(metrics(&host), [Some(1), Some(1), Some(2), Some(2)]);
    Ok(())
}

#[test]
fn a_plugin_that_is_deleted_leaves_no_stream_in_the_gauges() -> TestResult {
    let mut host = vm("pass")?;
    assert_eq!(request(&mut host, STREAM, "web")?, Action::Pause);
    host.delete(STREAM)?;
    host.delete(ROOT)?;
    let metrics = ["open", "keys", "waits"].map(|name| host.state().metric(&format!("byname.stream.{name}")));
    assert_eq!(metrics, [Some(0), Some(0), Some(1)]);
    Ok(())
}

/// The filter does not see the time between its last look at the clock and the first one after the clock was set back: a wait may last twice
/// as long.
#[test]
fn a_clock_that_is_set_back_moves_no_bound() -> TestResult {
    let mut host = vm("pass")?;
    assert_eq!(request(&mut host, STREAM, "web")?, Action::Pause);
    host.state_mut().now -= 300_000 * MILLISECOND;
    assert!(decided_by_ticks(&mut host, ROOT)? <= 610);
    host.grpc_close(ROOT, 1, 14)?;
    host.state_mut().now -= 300_000 * MILLISECOND;
    let mut waited = 0;
    while host.state().grpc_streams < 2 {
        waited += tick_in_time(&mut host, ROOT)?;
        assert!(waited <= 1_000, "no second stream after {waited} ms");
    }
    Ok(())
}

/// A place is free again as soon as the request that had it is decided.
#[test]
fn requests_that_are_answered_soon_make_room_for_others() -> TestResult {
    let mut host = vm("pass")?;
    for number in 0..1_100 {
        let (stream, name) = (STREAM + number, format!("n{number}"));
        assert_eq!(request(&mut host, stream, &name)?, Action::Pause, "{name}");
        host.grpc_receive(ROOT, 1, &response(SERVICE, &format!("shop/{name}"), Some("{\"ports\": [{\"port\": 80}]}")))?;
        host.delete(stream)?;
    }
    assert_eq!(host.state().continued.len(), 1_100);
    assert_eq!(host.state().metric("byname.stream.timeouts"), Some(0));
    Ok(())
}

#[test]
fn torn_and_foreign_messages_end_the_stream_and_nothing_else() -> TestResult {
    let whole = response(SERVICE, "shop/web", Some(&service("10.96.0.1")));
    for length in 0..whole.len() {
        let mut host = vm("pass")?;
        request(&mut host, STREAM, "web")?;
        host.grpc_receive(ROOT, 1, &whole[..length])?;
        later(&mut host, 2_000);
        host.tick(ROOT)?;
        assert_eq!(host.state().continued, [STREAM], "of {length} bytes");
    }
    let mut host = vm("pass")?;
    request(&mut host, STREAM, "web")?;
    host.grpc_receive(ROOT, 7, &whole)?;
    assert_eq!(host.state().continued, [0_u32; 0], "nobody has asked on that stream");
    host.grpc_receive(ROOT, 1, &response("type.googleapis.com/other", "a", Some("b")))?;
    assert!(host.state().calls.contains(&"grpc_cancel(1)".to_owned()));
    Ok(())
}

/// The table takes and drops one Service, whatever else it has.
#[test]
fn the_fuel_of_a_pushed_service_does_not_grow_with_the_table() -> TestResult {
    const TIMES: u64 = 10;
    let mut used = Vec::new();
    for services in [10, 10_000] {
        let mut host = vm("pass")?;
        request(&mut host, STREAM, "web")?;
        let push = |host: &mut SmallHost, name: &str, value: Option<&str>| {
            host.grpc_receive(ROOT, 1, &response(SERVICE, &format!("shop/{name}"), value))
        };
        for number in 0..services {
            let address = format!("10.96.{}.{}", number / 250, number % 250);
            push(&mut host, &format!("svc-{number:05}"), Some(&service(&address)))?;
        }
        let mut fuel = |pushes: &[(&str, Option<&str>)]| -> Result<u64> {
            host.take_fuel()?;
            for _ in 0..TIMES {
                pushes.iter().try_for_each(|(name, value)| push(&mut host, name, *value))?;
            }
            Ok(host.take_fuel()? / TIMES)
        };
        let (one, other) = (service("10.97.0.1"), service("10.97.0.2"));
        used.push([
            fuel(&[("svc-00007", Some(&one)), ("svc-00007", Some(&other))])?,
            fuel(&[("late", Some(&one)), ("late", None)])?,
        ]);
        assert_eq!(request(&mut host, STREAM + 1, "svc-00007")?, Action::Continue);
        assert_eq!(host.state().header("x-byname-cluster"), ["outbound|80||svc-00007.shop.svc.cluster.local"]);
    }
    println!(
        "fuel of a Service that changes twice, and of one that comes and goes, with 10 and 10,000 others: {used:?}"
    );
    for (few, many) in std::iter::zip(used[0], used[1]) {
        assert!(many <= few + few / 10, "{used:?}");
    }
    Ok(())
}

#[test]
fn a_message_that_is_too_long_is_not_read() -> TestResult {
    let mut host = vm("pass")?;
    request(&mut host, STREAM, "web")?;
    let pages = host.pages();
    host.state_mut().calls.clear();
    host.grpc_receive(ROOT, 1, &vec![0; 64 << 20])?;
    assert!(!host.state().calls.iter().any(|call| call.starts_with("get_buffer_bytes")));
    assert_eq!(host.pages(), pages);
    Ok(())
}

/// With `open`, this says how long a sidecar has had no server.
#[test]
fn the_loss_of_a_stream_is_shown_by_its_time() -> TestResult {
    const LOST: &str = "byname.stream.lost_timestamp_seconds";
    let mut host = vm("pass")?;
    assert_eq!(request(&mut host, STREAM, "web")?, Action::Pause);
    host.grpc_receive(ROOT, 1, &response(NAMESPACES, "*", Some("shop")))?;
    assert_eq!(host.state().metric(LOST), Some(0));
    later(&mut host, 7_000);
    host.grpc_close(ROOT, 1, 14)?;
    assert_eq!(host.state().metric(LOST), Some(1_007));
    // Attempts that fail are no other loss: Envoy opens each of them before it fails.
    for attempt in 2..4 {
        while host.state().grpc_streams < attempt {
            tick_in_time(&mut host, ROOT)?;
        }
        host.grpc_close(ROOT, attempt, 14)?;
    }
    assert_eq!(host.state().metric("byname.stream.failures"), Some(2));
    assert_eq!(host.state().metric(LOST), Some(1_007));
    // Silence is no message that was refused, and a loss if there was an answer before.
    while host.state().grpc_streams < 4 {
        tick_in_time(&mut host, ROOT)?;
    }
    host.grpc_receive(ROOT, 4, &response(NAMESPACES, "*", Some("shop")))?;
    let before = host.state().now;
    while host.state().grpc_streams < 5 {
        tick_in_time(&mut host, ROOT)?;
    }
    let lost = host.state().metric(LOST).and_then(|lost| u64::try_from(lost).ok());
    assert!(lost >= Some(before / 1_000 / MILLISECOND + 4), "{lost:?}");
    assert_eq!(host.state().metric("byname.stream.rejections"), Some(0));
    Ok(())
}
