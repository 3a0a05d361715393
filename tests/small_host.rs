//! The shipped module in a small host, which can do what no client and no Envoy would do. `tests/envoy.rs` shows that
//! Envoy understands these host calls.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic fails the test"
)]

use anyhow::Result;
use byname_test_support::{Action, SmallHost, TestResult, serialize, with_fields};
use serde_json::{Value, json};

const ROOT: u32 = 1;
const STREAM: u32 = 2;
const PAYMENTS: &str = "payments.shop.svc.cluster.local";

/// A configuration in which every kind of reply occurs, with more fields at its top level.
fn configuration(fields: Value) -> String {
    let configuration = json!({
        "version": 1,
        "caller": {"namespace": "shop"},
        "externalNames": {"mode": "listed", "allow": [{"host": "api.example.com", "ports": [80]}]},
        "steering": {"external": {"cluster": "dfp", "tlsCluster": "dfp-tls", "dynamicForwardProxy": true}},
        "table": {"version": 7, "services": {
            "shop/payments": {"ports": [{"port": 80}]},
            "shop/api": {"type": "ExternalName", "externalName": "api.example.com"},
            "shop/partner": {"type": "ExternalName", "externalName": "partner.example.com"},
        }},
    });
    with_fields(configuration, fields).to_string()
}

/// A configuration with everything observable: trace, access log, counters and forwarded host.
fn seen() -> String {
    configuration(json!({
        "trace": {"requestHeader": "x-trace", "responseHeader": "x-trace"},
        "accessLog": true,
        "stats": {"services": 10},
        "steering": {"forwardedHost": true, "external": {"cluster": "dfp", "tlsCluster": "dfp-tls", "dynamicForwardProxy": true}},
    }))
}

fn host(configuration: &str) -> Result<SmallHost> {
    let mut host = SmallHost::new()?;
    assert!(host.configure(ROOT, configuration)?, "{:?}", host.state().log);
    // The first request defines counters, so later requests make no such call.
    host.ask(STREAM, b"nope")?;
    host.state_mut().calls.clear();
    Ok(host)
}

/// The host calls of one request.
fn calls(host: &mut SmallHost, authority: &str) -> Result<Vec<String>> {
    host.ask(STREAM, authority.as_bytes())?;
    Ok(std::mem::take(&mut host.state_mut().calls))
}

#[test]
fn each_kind_of_reply_makes_only_the_expected_calls() -> TestResult {
    let mut host = host(&configuration(json!({})))?;
    let cluster = format!("replace_header_map_value(x-byname-cluster: outbound|80||{PAYMENTS})");
    assert_eq!(
        calls(&mut host, "payments")?,
        [
            "get_header_map_pairs()",
            "increment_metric(byname.reason.service)",
            &cluster,
            &format!("replace_header_map_value(:authority: {PAYMENTS})"),
        ],
        "a name"
    );
    assert_eq!(
        calls(&mut host, PAYMENTS)?,
        ["get_header_map_pairs()", "increment_metric(byname.reason.service)", &cluster],
        "the canonical name"
    );
    assert_eq!(
        calls(&mut host, "nope")?,
        [
            "get_header_map_pairs()",
            "increment_metric(byname.reason.name_not_found)",
            "remove_header_map_value(x-byname-cluster)"
        ],
        "an unknown name"
    );
    assert_eq!(
        calls(&mut host, "api")?,
        [
            "get_header_map_pairs()",
            "increment_metric(byname.reason.external)",
            "replace_header_map_value(x-byname-cluster: dfp)",
            r"call_foreign_function(set_envoy_filter_state: \n\x1benvoy.upstream.dynamic_host\x12\x0fapi.example.com)",
            r"call_foreign_function(set_envoy_filter_state: \n\x1benvoy.upstream.dynamic_port\x12\x0280)",
            "replace_header_map_value(:authority: api.example.com)",
        ],
        "an external target"
    );
    assert_eq!(
        calls(&mut host, "partner")?,
        [
            "get_header_map_pairs()",
            "increment_metric(byname.reason.alias_denied)",
            "get_current_time_nanoseconds()",
            "log()",
            "send_local_response(403)"
        ],
        "a refusal"
    );
    let response = host.state().response.clone().expect("an answer");
    assert_eq!((response.status, response.grpc_status, &*response.details), (403, 7, "byname_alias_denied"));
    assert_eq!(response.headers[0], ("x-byname-reason".into(), "alias_denied".into()));
    Ok(())
}

/// For names of each kind and each way to steer: the host calls after the headers are read and the reason is counted.
#[test]
fn each_way_to_steer_makes_only_the_expected_calls() -> TestResult {
    let services = json!({
        "shop/payments": {"clusterIPs": "10.96.0.10", "ports": [{"name": "http", "port": 80}],
                          "endpoints": [{"addresses": "10.244.0.7", "hostnames": "pod-0"}]},
        "shop/routed": {"ports": [{"port": 80}], "steering": {"by": "authority"}},
        "shop/none": {"ports": [{"port": 80}], "endpoints": []},
        "shop/tls": {"type": "ExternalName", "externalName": "api.example.com", "alias": {"port": 443, "tls": true}},
    });
    let allow = json!({"allow": [{"host": "api.example.com", "ports": [443]}]});
    let by = |steering: Value| {
        configuration(
            json!({"steering": steering, "externalNames": allow, "table": {"version": 1, "services": services}}),
        )
    };
    let set = |name: &str, value: &str| format!("replace_header_map_value({name}: {value})");
    let cluster = |value: &str| set("x-byname-cluster", value);
    let authority = |value: &str| set(":authority", value);
    let removed = || "remove_header_map_value(x-byname-cluster)".to_owned();
    let service = format!("outbound|80||{PAYMENTS}");
    let pod = format!("pod-0.{PAYMENTS}");
    let refused = |status: u16| {
        vec!["get_current_time_nanoseconds()".to_owned(), "log()".to_owned(), format!("send_local_response({status})")]
    };
    let by_cluster = json!({"passCluster": "pass"});
    let by_authority = json!({"by": "authority"});
    let rows = [
        (&by_cluster, "10.96.0.10", "cluster_ip", vec![cluster(&service), authority(PAYMENTS)]),
        (&by_cluster, "_http._tcp.payments", "service", vec![cluster(&service), authority(PAYMENTS)]),
        (&by_cluster, "pod-0.payments", "endpoint", vec![cluster(&format!("outbound|80||{pod}")), authority(&pod)]),
        (
            &by_cluster,
            "10-244-0-7.shop.pod",
            "pod",
            vec![cluster("pass"), authority("10-244-0-7.shop.pod.cluster.local")],
        ),
        (&by_cluster, "nope", "name_not_found", vec![cluster("pass")]),
        (&by_cluster, "203.0.113.7", "ip_literal", vec![cluster("pass")]),
        (&by_cluster, "routed", "service", vec![removed(), authority("routed.shop.svc.cluster.local")]),
        (
            &by_cluster,
            "tls",
            "external",
            vec![cluster("external-tls|443|api.example.com"), authority("api.example.com")],
        ),
        (&by_cluster, "none", "no_endpoints", refused(503)),
        (&by_cluster, "a,b", "bad_authority", refused(400)),
        (&by_authority, "payments", "service", vec![removed(), authority(PAYMENTS)]),
        (&by_authority, PAYMENTS, "service", vec![removed()]),
        (&by_authority, "nope", "name_not_found", vec![removed()]),
        (&by_authority, "none", "no_endpoints", refused(503)),
    ];
    for (steering, asked, reason, expected) in rows {
        let mut host = host(&by(steering.clone()))?;
        let first = ["get_header_map_pairs()".to_owned(), format!("increment_metric(byname.reason.{reason})")];
        assert_eq!(calls(&mut host, asked)?, [&first[..], &expected].concat(), "{asked}, {steering}");
    }
    Ok(())
}

#[test]
fn only_enabled_observability_adds_calls() -> TestResult {
    let mut host = host(&seen())?;
    host.ask(STREAM, b"payments")?;
    host.state_mut().calls.clear();
    assert_eq!(
        calls(&mut host, "payments")?,
        [
            "get_header_map_pairs()",
            "increment_metric(byname.reason.service)",
            "increment_metric(byname.service_requests.shop.payments)",
            "set_property(byname)",
            &format!("replace_header_map_value(x-byname-cluster: outbound|80||{PAYMENTS})"),
            &format!("replace_header_map_value(:authority: {PAYMENTS})"),
            "replace_header_map_value(x-forwarded-host: payments)",
        ]
    );
    let decision = format!("reason=service authority={PAYMENTS} cluster=outbound|80||{PAYMENTS} table=7");
    assert_eq!(host.state().properties["byname"], decision.as_bytes());
    host.request_headers(STREAM, &[(":authority", b"payments"), ("x-trace", b"")])?;
    assert_eq!(
        std::mem::take(&mut host.state_mut().calls),
        [
            "get_header_map_pairs()",
            "increment_metric(byname.reason.service)",
            "increment_metric(byname.service_requests.shop.payments)",
            "get_current_time_nanoseconds()",
            "log()",
            "set_property(byname)",
            &format!("replace_header_map_value(x-byname-cluster: outbound|80||{PAYMENTS})"),
            &format!("replace_header_map_value(:authority: {PAYMENTS})"),
            "replace_header_map_value(x-forwarded-host: payments)",
            "set_property(byname_trace)",
        ],
        "with a trace"
    );
    host.delete(STREAM)?;
    host.request_headers(STREAM, &[(":authority", b"partner"), ("x-trace", b"")])?;
    assert_eq!(
        std::mem::take(&mut host.state_mut().calls),
        [
            "get_header_map_pairs()",
            "increment_metric(byname.reason.alias_denied)",
            "get_current_time_nanoseconds()",
            "log()",
            "set_property(byname)",
            "get_current_time_nanoseconds()",
            "log()",
            "send_local_response(403)",
        ],
        "a refusal with a trace"
    );
    assert!(
        host.state()
            .response
            .as_ref()
            .is_some_and(|response| response.headers.iter().any(|(name, _)| name == "x-trace"))
    );
    host.state_mut().failing.insert("proxy_get_header_map_pairs", 10);
    host.delete(STREAM)?;
    host.request_headers(STREAM, &[])?;
    assert_eq!(
        std::mem::take(&mut host.state_mut().calls),
        ["get_header_map_pairs()", "increment_metric(byname.host_errors)", "send_local_response(503)"],
        "a host that fails"
    );
    Ok(())
}

/// Every status of the ABI, and some unknown ones.
const STATUSES: [u32; 14] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 255, u32::MAX];

#[test]
fn failing_host_calls_never_crash_or_half_steer_a_request() -> TestResult {
    let requests: [&[(&str, &[u8])]; 5] = [
        &[(":authority", b"payments"), ("x-byname-cluster", b"forged")],
        &[(":authority", b"nope"), ("x-byname-cluster", b"forged")],
        &[(":authority", b"api"), ("x-byname-cluster", b"forged")],
        &[(":authority", b"partner"), ("x-byname-cluster", b"forged")],
        &[(":authority", b"payments"), ("x-trace", b""), ("x-byname-cluster", b"forged")],
    ];
    // Calls that a request can do without, and calls that it needs.
    let (dispensable, needed) = (
        [
            "proxy_log",
            "proxy_get_current_time_nanoseconds",
            "proxy_define_metric",
            "proxy_increment_metric",
            "proxy_record_metric",
            "proxy_set_property",
        ],
        [
            "proxy_get_header_map_pairs",
            "proxy_replace_header_map_value",
            "proxy_remove_header_map_value",
            "proxy_call_foreign_function",
            "proxy_send_local_response",
        ],
    );
    let mut host = host(&seen())?;
    for request in requests {
        host.state_mut().calls.clear();
        let usual = host.request_headers(STREAM, request)?;
        host.delete(STREAM)?;
        let used = std::mem::take(&mut host.state_mut().calls);
        for name in dispensable.into_iter().chain(needed) {
            let is_used = used.iter().any(|call| name.strip_prefix("proxy_") == call.split('(').next());
            for status in STATUSES {
                let case = format!("{name} answers {status} to {:?}", String::from_utf8_lossy(request[0].1));
                host.state_mut().failing.insert(name, status);
                host.state_mut().response = None;
                let action = host.request_headers(STREAM, request)?;
                host.delete(STREAM)?;
                host.state_mut().failing.clear();
                if dispensable.contains(&name) || !is_used {
                    assert_eq!(action, usual, "{case}");
                } else {
                    assert_eq!(action, Action::Pause, "{case}");
                    let answered = host.state().response.as_ref().map(|response| response.status);
                    let expected = (name != "proxy_send_local_response").then_some(503);
                    assert_eq!(answered, expected, "{case}");
                }
                if action == Action::Continue {
                    assert!(!host.state().header("x-byname-cluster").contains(&"forged".to_owned()), "{case}");
                }
            }
        }
    }
    assert!(host.state().metric("byname.host_errors").is_some_and(|count| count > 0));
    host.state_mut().calls.clear();
    assert_eq!(calls(&mut host, "nope")?.len(), 4, "the host works as before");
    Ok(())
}

#[test]
fn failing_host_calls_never_crash_a_configuration_push() -> TestResult {
    for name in [
        "proxy_log",
        "proxy_get_property",
        "proxy_get_buffer_bytes",
        "proxy_define_metric",
        "proxy_record_metric",
        "proxy_get_shared_data",
        "proxy_set_shared_data",
    ] {
        for status in STATUSES {
            let mut host = SmallHost::new()?;
            host.state_mut().failing.insert(name, status);
            let taken = host.configure(ROOT, &seen())?;
            let words = match name {
                "proxy_get_buffer_bytes" => format!("Envoy returned only a part of it (status {status})"),
                "proxy_get_property" => "Envoy does not tell the filter's name; add proxy_get_property".to_owned(),
                _ => {
                    assert!(taken, "{name} {status}");
                    assert_eq!(host.ask(STREAM, b"payments")?, Action::Continue, "{name} {status}");
                    continue;
                }
            };
            assert!(!taken, "{name} {status}");
            assert!(host.state().log.iter().any(|line| line.contains(&words)), "{:?}", host.state().log);
        }
    }
    Ok(())
}

#[test]
fn invalid_authority_bytes_get_a_400() -> TestResult {
    let mut host = host(&configuration(json!({})))?;
    let hosts: [&[u8]; 12] = [
        b"",
        b"\0",
        b"pay\0ments",
        b"payments\0",
        b"\xff\xfe",
        b"caf\xc3\xa9",
        b"payments\r\nx-byname-cluster: forged",
        b"payments payments",
        b"a,b",
        b"user@payments",
        &[b'a'; 65_536],
        &[0xf0; 65_536],
    ];
    for bytes in hosts {
        host.state_mut().response = None;
        let action = host.ask(STREAM, bytes)?;
        assert_eq!(action, Action::Pause, "{:.40}", bytes.escape_ascii());
        let response = host.state().response.clone().expect("an answer");
        assert_eq!(response.status, 400);
        assert!(response.body.len() < 700 && response.body.is_ascii(), "{}", response.body);
    }
    // No authority, a repeated authority, and one header many times.
    for headers in [vec![], vec![(":authority", b"a".as_slice()); 3], vec![("x", b"\xff".as_slice()); 1_000]] {
        host.request_headers(STREAM, &headers)?;
        host.delete(STREAM)?;
    }
    Ok(())
}

#[test]
fn malformed_header_maps_never_crash() -> TestResult {
    let mut host = host(&configuration(json!({})))?;
    let headers = [(":authority", "payments"), (":scheme", "http"), ("x-byname-cluster", "forged")];
    let whole = serialize(&headers.map(|(name, value)| (name.into(), value.into())));
    let mut broken: Vec<Vec<u8>> = (0..whole.len()).map(|length| whole[..length].to_vec()).collect();
    for index in 0..whole.len() {
        for byte in [0, 1, 0x7f, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[index] = byte;
            broken.push(bytes);
        }
    }
    let cases = broken.len();
    for bytes in broken {
        host.state_mut().raw_headers = Some(bytes.clone());
        let action = host.ask(STREAM, b"")?;
        if action == Action::Continue {
            let steered = host.state().calls.iter().any(|call| call.contains("_header_map_value(x-byname-cluster"));
            assert!(steered, "the client's control header was kept: {:?}", bytes.escape_ascii().to_string());
        }
        host.state_mut().calls.clear();
    }
    assert!(cases > 400, "{cases} maps");
    host.state_mut().raw_headers = None;
    assert_eq!(calls(&mut host, "payments")?.len(), 4, "the host works as before");
    Ok(())
}

/// Envoy creates no context for a stream in the module, so a request is decided by the newest configuration of its plugin.
#[test]
fn the_newest_accepted_configuration_decides() -> TestResult {
    let table = |version: u32, service: &str| {
        configuration(json!({"table": {"version": version, "services": {service: {"ports": [{"port": 80}]}}}}))
    };
    // Envoy tries a configuration first in a VM that it throws away.
    assert!(SmallHost::new()?.configure(ROOT, &table(1, "shop/a"))?);
    let mut host = SmallHost::new()?;
    let knows_a = |host: &mut SmallHost, stream: u32| -> Result<bool> {
        host.ask(stream, b"a")?;
        Ok(!host.state().header("x-byname-cluster").is_empty())
    };
    let mut roots: Vec<u32> = Vec::new();
    for version in 1..=50 {
        let root = 100 + 10 * version;
        let is_a = version % 2 == 1;
        assert!(host.configure(root, &table(version, if is_a { "shop/a" } else { "shop/b" }))?);
        assert_eq!(host.state().metric("byname.table.version"), Some(version.into()));
        // A bad configuration is refused in a root context of its own, and changes nothing.
        assert!(!host.configure(root + 1, "{\"version\": 1, \"tables\": {}}")?);
        assert_eq!(knows_a(&mut host, root + 2)?, is_a);
        host.delete(root + 1)?;
        roots.push(root);
        // Envoy deletes an older root context when the last stream that began under it has ended.
        if roots.len() > 3 {
            host.delete(roots.remove(0))?;
        }
        assert_eq!(knows_a(&mut host, root + 3)?, is_a);
    }
    let definitions = host.state().metrics.len();
    let mut names: Vec<_> = host.state().metrics.iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), definitions, "each metric is defined once in a VM");
    assert_eq!(host.state().metric("byname.configurations_refused"), Some(50));
    Ok(())
}

#[test]
fn plugins_that_share_a_vm_are_told_apart_by_their_names() -> TestResult {
    const OTHER_ROOT: u32 = ROOT + 100;
    let mut host = SmallHost::new()?;
    let name = |host: &mut SmallHost, name: &str| {
        host.state_mut().properties.insert("plugin_name".into(), name.into());
    };
    for (root, plugin) in [(ROOT, "shop"), (OTHER_ROOT, "prod")] {
        name(&mut host, plugin);
        let services = json!({format!("{plugin}/payments"): {"ports": [{"port": 80}]}});
        let own = json!({"caller": {"namespace": plugin}, "table": {"version": 1, "services": services}});
        assert!(host.configure(root, &configuration(own))?, "{:?}", host.state().log);
    }
    let steered = |host: &mut SmallHost| -> Result<Vec<String>> {
        host.ask(STREAM, b"payments")?;
        Ok(host.state().header(":authority"))
    };
    for plugin in ["shop", "prod", "shop"] {
        name(&mut host, plugin);
        assert_eq!(steered(&mut host)?, [format!("payments.{plugin}.svc.cluster.local")]);
    }
    name(&mut host, "unknown");
    assert_eq!(steered(&mut host)?, ["payments"], "a plugin without a configuration: the routes decide");
    host.state_mut().failing.insert("proxy_get_property", 10);
    assert_eq!(host.ask(STREAM, b"payments")?, Action::Pause, "never by the wrong plugin's table");
    assert_eq!(host.state().response.as_ref().map(|response| response.status), Some(503));
    host.state_mut().failing.clear();
    // The plugin `prod` is removed, so nobody needs to be asked any more.
    host.delete(OTHER_ROOT)?;
    host.state_mut().calls.clear();
    assert_eq!(steered(&mut host)?, ["payments.shop.svc.cluster.local"]);
    assert!(!host.state().calls.iter().any(|call| call.starts_with("get_property")), "{:?}", host.state().calls);
    Ok(())
}

#[test]
fn short_configuration_buffers_are_read_or_refused() -> TestResult {
    let whole = seen();
    let length = u32::try_from(whole.len())?;
    for most in [1, 2, 3, 7, 100] {
        let mut host = SmallHost::new()?;
        host.state_mut().most_bytes = Some(most);
        assert!(host.configure(ROOT, &whole)?, "in pieces of {most}");
        assert_eq!(host.ask(STREAM, b"payments")?, Action::Continue);
    }
    for cut in (0..whole.len()).step_by(37) {
        let mut host = SmallHost::new()?;
        host.state_mut().configuration = whole.as_bytes()[..cut].to_vec();
        assert!(!host.configure_with_length(ROOT, length)?, "{cut} bytes instead of the announced {length}");
        assert!(host.state().log.iter().any(|line| line.contains("configuration refused")));
        assert_eq!(host.ask(STREAM, b"payments")?, Action::Continue, "without a configuration the routes decide");
    }
    for length in [0, u32::MAX] {
        let mut host = SmallHost::new()?;
        assert!(!host.configure_with_length(ROOT, length)?, "a length of {length}");
    }
    Ok(())
}

#[test]
fn log_lines_are_limited_to_ten_and_one_per_second() -> TestResult {
    const SECOND: u64 = 1_000_000_000;
    let mut host = host(&configuration(json!({})))?;
    let lines = |host: &mut SmallHost, now: u64, requests: u32| -> Result<usize> {
        host.state_mut().now = now;
        host.state_mut().log.clear();
        for _ in 0..requests {
            host.ask(STREAM, b"partner")?;
        }
        Ok(host.state().log.len())
    };
    let noon = 1_000_000 * SECOND;
    assert_eq!(lines(&mut host, noon, 100)?, 10, "at once");
    assert_eq!(lines(&mut host, noon, 100)?, 0, "without a pause");
    assert_eq!(lines(&mut host, noon + SECOND, 100)?, 1, "a second later");
    assert!(host.state().log[0].ends_with("(190 similar lines were suppressed)"), "{:?}", host.state().log);
    assert_eq!(lines(&mut host, noon + 4 * SECOND, 100)?, 3, "three seconds later");
    let earlier = noon - 3_600 * SECOND;
    assert_eq!(lines(&mut host, earlier, 100)?, 0, "after the clock was set back");
    assert_eq!(lines(&mut host, earlier + 2 * SECOND, 100)?, 2, "two seconds after that");
    assert_eq!(lines(&mut host, noon + 3_600 * SECOND, 100)?, 10, "after a long pause");
    Ok(())
}

#[test]
fn a_hundred_thousand_streams_use_no_more_memory() -> TestResult {
    let mut host = host(&seen())?;
    let authorities: [&[u8]; 6] = [b"payments", b"nope", b"api", b"partner", b"a,b", PAYMENTS.as_bytes()];
    let run = |host: &mut SmallHost, streams: u32| -> Result<u64> {
        for stream in 0..streams {
            host.ask(STREAM + stream, authorities[stream as usize % authorities.len()])?;
            host.state_mut().calls.clear();
            host.state_mut().log.clear();
            host.state_mut().now += 100_000_000;
        }
        Ok(host.pages())
    };
    let warm = run(&mut host, 1_000)?;
    assert_eq!(run(&mut host, 100_000)?, warm, "pages of linear memory");
    Ok(())
}

#[test]
fn only_headers_beyond_4_kb_take_memory_of_the_allocator() -> TestResult {
    let mut host = host(&configuration(json!({"trace": {"requestHeader": "x-trace"}})))?;
    let mut ask = |bytes: usize| -> Result<u32> {
        let padding = vec![b'a'; bytes];
        let headers: [(&str, &[u8]); 4] =
            [(":authority", b"payments"), (":method", b"GET"), ("x-padding", &padding), ("x-trace", b"1")];
        host.state_mut().log.clear();
        assert_eq!(host.request_headers(STREAM, &headers)?, Action::Continue);
        assert_eq!(host.state().header(":authority"), [PAYMENTS], "{bytes} bytes");
        assert_eq!(host.state().log.len(), 1, "the header behind {bytes} bytes asks for a trace");
        host.state_mut().now += 1_000_000_000;
        Ok(host.state().returned_at)
    };
    let room = ask(0)?;
    let serialized = |bytes: usize| {
        let headers = [(":authority", 8), (":method", 3), ("x-padding", bytes), ("x-trace", 1)];
        4 + headers.iter().map(|(name, value)| 8 + name.len() + value + 2).sum::<usize>()
    };
    let most = 4_096 - serialized(0);
    for (bytes, is_in_room) in [(1, true), (most, true), (most + 1, false), (100_000, false), (0, true)] {
        assert_eq!(ask(bytes)? == room, is_in_room, "{bytes} bytes");
    }
    // A host that fails leaves the room free.
    for status in [1, 10] {
        host.state_mut().failing.insert("proxy_get_header_map_pairs", status);
        assert_eq!(host.ask(STREAM, b"payments")?, Action::Pause);
        host.state_mut().failing.clear();
        host.ask(STREAM, b"payments")?;
        assert_eq!(host.state().returned_at, room, "after status {status}");
    }
    Ok(())
}

/// docs/decisions/measured-costs.md has what each function executes. `make bench PART=fuel` measures it.
#[test]
fn the_fuel_of_a_request_has_a_bound() -> TestResult {
    let mut host = host(&configuration(json!({"steering": {"cluster": "upstream"}})))?;
    let mut fuel = |authority: &str| -> Result<u64> {
        for _ in 0..9 {
            host.take_fuel()?;
            host.ask(STREAM, authority.as_bytes())?;
        }
        host.take_fuel()
    };
    for (authority, most) in [("payments", 7_800), (PAYMENTS, 14_200), ("nope", 7_800)] {
        let used = fuel(authority)?;
        println!("{authority}: {used} units of fuel");
        assert!(used <= most, "{authority}: {used} units of fuel, and {most} are the bound");
    }
    Ok(())
}

#[test]
fn the_fuel_of_a_request_does_not_grow_with_the_table() -> TestResult {
    let mut used = Vec::new();
    for services in [10, 1_000, 10_000] {
        let table: serde_json::Map<String, Value> = (0..services)
            .map(|n| {
                (format!("shop/svc-{n:05}"), json!({"ports": [{"port": 80}], "endpoints": [{"addresses": "10.0.0.1"}]}))
            })
            .collect();
        let mut host = host(&configuration(json!({"table": {"services": table}})))?;
        for _ in 0..100 {
            host.ask(STREAM, b"svc-00007")?;
        }
        host.take_fuel()?;
        for _ in 0..100 {
            host.ask(STREAM, b"svc-00007")?;
        }
        used.push(host.take_fuel()? / 100);
    }
    println!("fuel of a request with 10, 1,000 and 10,000 Services: {used:?}");
    assert!(used.iter().max() <= used.iter().min().map(|least| least + least / 20).as_ref(), "{used:?}");
    Ok(())
}

#[test]
fn a_gateway_removes_the_control_header_and_does_nothing_else() -> TestResult {
    let mut host = SmallHost::new()?;
    let id = b"router~10.0.0.1~edge.shop~shop.svc.cluster.local".to_vec();
    host.state_mut().properties.insert("xds.node.id".into(), id);
    assert!(host.configure(ROOT, &configuration(json!({})))?, "{:?}", host.state().log);
    assert!(host.state().log.iter().any(|line| line.contains("this Envoy is a gateway")), "{:?}", host.state().log);
    assert_eq!(host.state().metric("byname.passive"), Some(1));
    host.state_mut().calls.clear();
    let headers: [(&str, &[u8]); 3] =
        [(":authority", b"payments"), (":method", b"GET"), ("x-byname-cluster", b"forged")];
    assert_eq!(host.request_headers(STREAM, &headers)?, Action::Continue);
    assert_eq!(host.state().calls, ["remove_header_map_value(x-byname-cluster)"]);
    assert_eq!(host.state().header("x-byname-cluster"), Vec::<String>::new());

    assert!(host.configure(ROOT, &configuration(json!({"gateways": "resolve"})))?, "{:?}", host.state().log);
    assert_eq!(host.state().metric("byname.passive"), Some(0));
    host.ask(STREAM + 1, b"payments")?;
    assert_eq!(host.state().header(":authority"), [PAYMENTS]);
    Ok(())
}
