//! The shipped module, steering by endpoint in a small host: its host calls, statuses of failing calls, the end of a
//! stream, and the cost of the choice.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic fails the test"
)]

use anyhow::Result;
use byname_test_support::{Action, SmallHost, TestResult};
use serde_json::{Value, json};

const ROOT: u32 = 1;
const STREAM: u32 = 2;
const WEB: &str = "web.shop.svc.cluster.local";
const STATE: &str =
    r"call_foreign_function(set_envoy_filter_state: \n3envoy.network.transport_socket.original_dst_address\x12";
const STATUSES: [u32; 14] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 255, u32::MAX];

/// A Service steered by endpoint, with this many endpoints and these fields of `steering`.
fn configuration(endpoints: usize, steering: Value) -> String {
    let addresses: Vec<String> =
        (0..endpoints).map(|number| format!("10.0.{}.{}", number / 250, number % 250 + 1)).collect();
    let web = json!({
        "ports": [{"name": "http", "port": 80}],
        "endpoints": [{"addresses": addresses.join(" "), "ports": {"http": 8080}}],
    });
    let mut steering = steering;
    steering["by"] = json!("endpoint");
    json!({
        "version": 1,
        "caller": {"namespace": "shop", "podIP": "10.244.0.9"},
        "steering": steering,
        "table": {"version": 7, "services": {"shop/web": web}},
    })
    .to_string()
}

fn host(configuration: &str) -> Result<SmallHost> {
    let mut host = SmallHost::new()?;
    assert!(host.configure(ROOT, configuration)?, "{:?}", host.state().log);
    host.ask(STREAM, WEB.as_bytes())?;
    host.state_mut().calls.clear();
    Ok(host)
}

fn take_calls(host: &mut SmallHost) -> Vec<String> {
    std::mem::take(&mut host.state_mut().calls)
}

/// One whole stream. The upstream answers with this status, if any.
fn stream(host: &mut SmallHost, status: Option<i64>) -> Result<()> {
    host.state_mut().properties.remove("response.code");
    host.request_headers(STREAM, &[(":authority", WEB.as_bytes())])?;
    if let Some(status) = status {
        host.state_mut().properties.insert("response.code".into(), status.to_le_bytes().to_vec());
        host.state_mut().properties.insert("response.code_details".into(), b"via_upstream".to_vec());
    }
    host.delete(STREAM)
}

#[test]
fn unused_features_make_no_calls() -> TestResult {
    let steered = |endpoint: &str| {
        vec![
            "get_header_map_pairs()".to_owned(),
            "increment_metric(byname.reason.service)".to_owned(),
            "replace_header_map_value(x-byname-cluster: original-dst)".to_owned(),
            format!("{STATE}{endpoint})"),
        ]
    };
    // One endpoint, so that the choice is known.
    let one = r"\r10.0.0.1:8080";
    let mut plain = host(&configuration(1, json!({})))?;
    stream(&mut plain, Some(200))?;
    assert_eq!(take_calls(&mut plain), steered(one), "the end of a stream makes no call");

    // Outlier detection with several endpoints adds one call, and reads no clock while all endpoints are healthy.
    let outliers =
        json!({"outlierDetection": {"consecutive5xxErrors": 2}, "loadBalancer": {"simple": "LEAST_REQUEST"}});
    let mut watched = host(&configuration(3, outliers))?;
    stream(&mut watched, Some(200))?;
    let calls = take_calls(&mut watched);
    assert_eq!(calls.len(), 5, "{calls:?}");
    assert!(calls[3].starts_with(STATE), "{calls:?}");
    assert_eq!(calls[4], "get_property(response.code)");
    Ok(())
}

#[test]
fn failures_eject_an_endpoint_and_time_returns_it() -> TestResult {
    const SECOND: u64 = 1_000_000_000;
    let outliers = json!({"outlierDetection": {"consecutive5xxErrors": 2, "maxEjectionPercent": 100}});
    let mut host = host(&configuration(2, outliers))?;
    host.state_mut().now = 1_000 * SECOND;
    // A stream without a valid status counts as neither success nor failure.
    for status in [None, Some(0), Some(-1), Some(i64::MAX)] {
        for _ in 0..10 {
            stream(&mut host, status)?;
        }
    }
    assert_eq!(host.state().metric("byname.endpoint_ejections"), Some(0));
    for _ in 0..20 {
        stream(&mut host, Some(503))?;
    }
    assert_eq!(host.state().metric("byname.endpoint_ejections"), Some(1), "the last endpoint is never ejected");
    assert!(host.state().log.iter().any(|line| line.contains("port 8080 is ejected")), "{:?}", host.state().log);
    take_calls(&mut host);
    let chosen = |host: &mut SmallHost| -> Result<std::collections::BTreeSet<String>> {
        for _ in 0..20 {
            stream(host, Some(200))?;
        }
        Ok(take_calls(host).into_iter().filter(|call| call.starts_with(STATE)).collect())
    };
    assert_eq!(chosen(&mut host)?.len(), 1, "the ejected endpoint is skipped");
    // Ejections outlive the root context that made them.
    let next = 10;
    assert!(host.configure(next, &configuration(2, json!({"outlierDetection": {"consecutive5xxErrors": 2}})))?);
    host.delete(ROOT)?;
    host.delete(STREAM)?;
    host.state_mut().now += 31 * SECOND;
    assert!(host.configure(ROOT, &configuration(2, json!({"outlierDetection": {"consecutive5xxErrors": 2}})))?);
    assert_eq!(chosen(&mut host)?.len(), 2, "the ejection has ended");
    assert_eq!(host.state().metric("byname.endpoint_returns"), Some(1));
    Ok(())
}

#[test]
fn failing_host_calls_never_crash_or_lose_the_endpoint() -> TestResult {
    let outliers = json!({
        "outlierDetection": {"consecutive5xxErrors": 1},
        "loadBalancer": {"simple": "LEAST_REQUEST"},
    });
    let mut host = host(&configuration(5, outliers))?;
    for name in [
        "proxy_call_foreign_function",
        "proxy_replace_header_map_value",
        "proxy_get_property",
        "proxy_get_current_time_nanoseconds",
        "proxy_increment_metric",
        "proxy_log",
    ] {
        for status in STATUSES {
            host.state_mut().failing.insert(name, status);
            host.state_mut().response = None;
            let headers: &[(&str, &[u8])] = &[(":authority", WEB.as_bytes()), ("x-byname-cluster", b"forged")];
            let action = host.request_headers(STREAM, headers)?;
            host.state_mut().properties.insert("response.code".into(), 503_i64.to_le_bytes().to_vec());
            host.delete(STREAM)?;
            host.state_mut().failing.clear();
            let is_needed = ["proxy_call_foreign_function", "proxy_replace_header_map_value"].contains(&name);
            assert_eq!(action, if is_needed { Action::Pause } else { Action::Continue }, "{name} {status}");
            let answered = host.state().response.as_ref().map(|response| response.status);
            assert_eq!(answered, is_needed.then_some(503), "{name} {status}");
        }
    }
    // Properties that are not a status as a 64-bit integer.
    for property in [vec![], vec![1], vec![0xff; 7], vec![0xff; 8], vec![0xff; 100]] {
        host.state_mut().properties.insert("response.code".into(), property);
        assert_eq!(host.request_headers(STREAM, &[(":authority", WEB.as_bytes())])?, Action::Continue);
        host.delete(STREAM)?;
    }
    // After the ejections have ended, the host works as before.
    host.state_mut().now += 3_600_000_000_000;
    for _ in 0..100 {
        stream(&mut host, Some(200))?;
    }
    take_calls(&mut host);
    stream(&mut host, Some(200))?;
    assert_eq!(take_calls(&mut host).len(), 5, "the host works as before");
    Ok(())
}

/// Envoy's response details and flags tell whether the endpoint failed. They are read only if the status requires it.
#[test]
fn only_failures_of_the_endpoint_count_against_it() -> TestResult {
    const NO_ROOM: u64 = 0x80;
    const UNREACHABLE: u64 = 0x20;
    const FAULT_INJECTED: u64 = 0x800;
    const UPSTREAM: &str = "via_upstream";
    for (content_type, status, details, flags, ejects) in [
        ("text/plain", 200, UPSTREAM, 0, false),
        ("text/plain", 500, UPSTREAM, 0, true),
        ("text/plain", 503, "upstream_reset_before_response_started{remote connection failure}", UNREACHABLE, true),
        ("text/plain", 504, "upstream_response_timeout", 0x04, true),
        ("text/plain", 503, "upstream_reset_before_response_started{overflow}", NO_ROOM, false),
        ("text/plain", 503, "fault_filter_abort", FAULT_INJECTED, false),
        ("text/plain", 500, "ext_authz_error", 0, false),
        ("application/grpc", 200, "upstream_reset_before_response_started{connection failure}", UNREACHABLE, true),
        ("application/grpc+proto", 200, "upstream_reset_before_response_started{x}", UNREACHABLE, true),
        ("application/grpc", 200, UPSTREAM, 0, false),
        ("application/grpc", 503, UPSTREAM, 0, true),
    ] {
        let outliers = json!({"outlierDetection": {"consecutive5xxErrors": 3}});
        let mut host = host(&configuration(2, outliers))?;
        for _ in 0..10 {
            let headers = [(":authority", WEB.as_bytes()), ("content-type", content_type.as_bytes())];
            host.request_headers(STREAM, &headers)?;
            let properties = &mut host.state_mut().properties;
            properties.insert("response.code".into(), i64::to_le_bytes(status).to_vec());
            properties.insert("response.code_details".into(), details.into());
            properties.insert("response.flags".into(), flags.to_le_bytes().to_vec());
            host.delete(STREAM)?;
        }
        let case = format!("{content_type} {status} {details} {flags:#x}");
        let calls = take_calls(&mut host);
        let asks = |name: &str| calls.contains(&format!("get_property(response.{name})"));
        let is_failure = status >= 500;
        assert_eq!(asks("code_details"), is_failure, "{case}");
        let is_grpc = content_type.starts_with("application/grpc");
        assert_eq!(asks("flags"), if is_failure { details != UPSTREAM } else { is_grpc }, "{case}");
        assert_eq!(host.state().metric("byname.endpoint_ejections"), Some(ejects.into()), "{case}");
    }
    Ok(())
}

/// A bootstrap whose list of capabilities lacks `proxy_on_delete`.
#[test]
fn requests_that_never_end_are_forgotten_with_an_error() -> TestResult {
    let mut host = SmallHost::new()?;
    assert!(host.configure(ROOT, &configuration(3, json!({"loadBalancer": {"simple": "LEAST_REQUEST"}})))?);
    let mut pages = Vec::new();
    for round in 1..=4_usize {
        for stream in 0..10_000 {
            host.request_headers(STREAM + stream, &[(":authority", WEB.as_bytes())])?;
            host.state_mut().calls.clear();
        }
        let errors = host.state().log.iter().filter(|line| line.contains("add proxy_on_delete")).count();
        assert_eq!(errors, round);
        assert_eq!(host.state().metric("byname.host_errors"), Some(i64::try_from(round)?));
        pages.push(host.pages());
    }
    assert_eq!(pages[3], pages[0], "{pages:?}");
    // Once a request has ended, many may be open.
    host.request_headers(STREAM, &[(":authority", WEB.as_bytes())])?;
    host.delete(STREAM)?;
    for stream in 0..20_000 {
        host.request_headers(STREAM + stream, &[(":authority", WEB.as_bytes())])?;
        host.state_mut().calls.clear();
    }
    assert_eq!(host.state().metric("byname.host_errors"), Some(4));
    Ok(())
}

/// A stream that lives for days does not keep the table that steered its request.
#[test]
fn long_streams_keep_no_old_table() -> TestResult {
    let outliers =
        json!({"outlierDetection": {"consecutive5xxErrors": 3}, "loadBalancer": {"simple": "LEAST_REQUEST"}});
    let mut host = SmallHost::new()?;
    let mut pages = Vec::new();
    for push in 0..60 {
        let root = 1_000 + push;
        assert!(host.configure(root, &configuration(5_000, outliers.clone()))?);
        let stream = 10_000 + push;
        host.request_headers(stream, &[(":authority", WEB.as_bytes())])?;
        if push > 0 {
            host.delete(root - 1)?;
        }
        pages.push(host.pages());
    }
    // The map of open streams grows meanwhile, which may take one more page. Fifty tables would take fifteen.
    assert!(pages[59] <= pages[9] + 1, "pages of linear memory: {pages:?}");
    for push in 0..60 {
        host.delete(10_000 + push)?;
    }
    Ok(())
}

/// The cost of consistent hashing grows with the endpoints by a bounded amount. The cost of other policies does not
/// grow.
#[test]
fn only_consistent_hashing_costs_more_with_more_endpoints() -> TestResult {
    let fuel = |endpoints: usize, balancer: Value| -> Result<u64> {
        let mut host = host(&configuration(endpoints, json!({"loadBalancer": balancer})))?;
        for _ in 0..100 {
            stream(&mut host, None)?;
        }
        host.take_fuel()?;
        for _ in 0..100 {
            stream(&mut host, None)?;
        }
        Ok(host.take_fuel()? / 100)
    };
    for policy in ["ROUND_ROBIN", "RANDOM", "LEAST_REQUEST"] {
        let (few, many) = (fuel(10, json!({"simple": policy}))?, fuel(10_000, json!({"simple": policy}))?);
        println!("fuel of a request by {policy}, with 10 and 10,000 endpoints: {few}, {many}");
        assert!(many < few + few / 10, "{policy}: {few} {many}");
    }
    let hash = json!({"consistentHash": {"useSourceIp": true}});
    let (few, many) = (fuel(10, hash.clone())?, fuel(1_000, hash)?);
    println!("fuel of a request by consistentHash, with 10 and 1,000 endpoints: {few}, {many}");
    let each = (many - few) / 990;
    assert!(each < 200, "{each} an endpoint");
    Ok(())
}

#[test]
fn streams_of_every_policy_use_no_more_memory() -> TestResult {
    for balancer in [
        json!({"simple": "ROUND_ROBIN"}),
        json!({"simple": "LEAST_REQUEST"}),
        json!({"consistentHash": {"httpHeaderName": "x-user"}}),
    ] {
        let steering = json!({"loadBalancer": balancer, "outlierDetection": {"consecutive5xxErrors": 3}});
        let mut host = host(&configuration(1_000, steering))?;
        let run = |host: &mut SmallHost, streams: u32| -> Result<u64> {
            for number in 0..streams {
                stream(host, Some(if number % 3 == 0 { 503 } else { 200 }))?;
                host.state_mut().calls.clear();
                host.state_mut().log.clear();
                host.state_mut().now += 1_000_000_000;
            }
            Ok(host.pages())
        };
        let warm = run(&mut host, 10_000)?;
        assert_eq!(run(&mut host, 10_000)?, warm, "pages of linear memory");
    }
    Ok(())
}
