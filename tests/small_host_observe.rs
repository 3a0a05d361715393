//! Requests that are observed, in a small host: every host call of one, and that none of them changes the request.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic fails the test"
)]

use anyhow::Result;
use byname_test_support::{Action, SmallHost, TestResult, with_fields};
use serde_json::{Value, json};

const ROOT: u32 = 1;
const STREAM: u32 = 2;
const PAYMENTS: &str = "payments.shop.svc.cluster.local";

fn configuration(fields: Value) -> String {
    let services = json!({
        "shop/payments": {"ports": [{"port": 80}]},
        "shop/web": {"ports": [{"port": 80}], "endpoints": [{"addresses": "10.0.0.7 10.0.0.8"}],
                     "steering": {"by": "endpoint", "outlierDetection": {}, "loadBalancer": {"simple": "LEAST_REQUEST"}}},
        "prod/none": {"ports": [{"port": 80}], "endpoints": []},
        "shop/api": {"type": "ExternalName", "externalName": "api.example.com"},
    });
    let configuration = json!({
        "version": 1,
        "caller": {"namespace": "shop"},
        "externalNames": {"allow": [{"host": "api.example.com", "ports": [80]}]},
        "steering": {"forwardedHost": true, "external": {"cluster": "dfp", "tlsCluster": "dfp-tls", "dynamicForwardProxy": true}},
        "table": {"version": 7, "services": services},
    });
    with_fields(configuration, fields).to_string()
}

fn host(fields: Value) -> Result<SmallHost> {
    let mut host = SmallHost::new()?;
    assert!(host.configure(ROOT, &configuration(fields))?, "{:?}", host.state().log);
    host.state_mut().properties.insert("xds.cluster_name".to_owned(), b"default".to_vec());
    Ok(host)
}

/// The host calls of a second request, which defines no counter.
fn calls(host: &mut SmallHost, headers: &[(&str, &[u8])]) -> Result<Vec<String>> {
    for _ in 0..2 {
        host.state_mut().calls.clear();
        assert_eq!(host.request_headers(STREAM, headers)?, Action::Continue);
        assert_eq!(host.state().response, None, "no local reply");
        host.delete(STREAM)?;
    }
    Ok(std::mem::take(&mut host.state_mut().calls))
}

#[test]
fn an_observed_request_makes_only_the_expected_calls() -> TestResult {
    let mut host = host(json!({"mode": "observe"}))?;
    let cluster = "get_property(xds.cluster_name)";
    for (asked, reason, difference, more) in [
        ("payments", "service", "host_and_cluster", vec![cluster]),
        (PAYMENTS, "service", "cluster", vec![cluster]),
        ("web", "service", "host_and_cluster", vec![cluster]),
        ("api", "external", "host_and_cluster", vec![cluster]),
        ("nope", "name_not_found", "none", vec![]),
        ("none.prod", "no_endpoints", "refused", vec![]),
        ("a,b", "bad_authority", "refused", vec![]),
    ] {
        let made = calls(&mut host, &[(":authority", asked.as_bytes())])?;
        let made: Vec<&str> = made
            .iter()
            .map(String::as_str)
            .filter(|call| *call != "log()" && *call != "get_current_time_nanoseconds()")
            .collect();
        let counted = [format!("increment_metric(byname.reason.{reason})")];
        let observed = format!("increment_metric(byname.observed.{difference}.{reason})");
        let expected = [vec!["get_header_map_pairs()", &counted[0]], more, vec![&observed]].concat();
        assert_eq!(made, expected, "{asked}");
        assert_eq!(host.state().header(":authority"), [asked]);
    }
    let refusals = host.state().log.iter().filter(|line| line.contains("; observed: no local reply was sent")).count();
    assert_eq!(refusals, 4, "{:?}", host.state().log);
    assert_eq!(host.state().metric("byname.observing"), Some(1));
    Ok(())
}

#[test]
fn a_clients_control_header_is_removed_and_nothing_else_changes() -> TestResult {
    let mut host = host(
        json!({"mode": "observe", "accessLog": true, "trace": {"requestHeader": "x-trace", "responseHeader": "x-trace"}}),
    )?;
    for asked in ["payments", PAYMENTS, "web", "api", "nope", "none.prod", "a,b", "203.0.113.7", "10-0-0-7.shop.pod"] {
        let headers: [(&str, &[u8]); 5] = [
            (":authority", asked.as_bytes()),
            ("x-byname-cluster", b"forged"),
            ("x-byname-cluster", b""),
            ("x-forwarded-host", b"own"),
            ("x-trace", b""),
        ];
        let made = calls(&mut host, &headers)?;
        let changing: Vec<&String> = made
            .iter()
            .filter(|call| {
                ["replace", "add_", "remove", "call_foreign", "send_"].iter().any(|verb| call.starts_with(verb))
            })
            .collect();
        assert_eq!(changing, ["remove_header_map_value(x-byname-cluster)"], "{asked}");
        assert!(host.state().header("x-byname-cluster").is_empty());
        assert_eq!(
            (host.state().header(":authority"), host.state().header("x-forwarded-host")),
            (vec![asked.to_owned()], vec!["own".to_owned()])
        );
        let property = |name: &str| String::from_utf8_lossy(&host.state().properties[name]).into_owned();
        assert!(property("byname").starts_with("mode=observe difference="), "{}", property("byname"));
        assert!(property("byname_trace").contains("; observed: the request goes on unchanged, difference "), "{asked}");
    }
    calls(&mut host, &[(":authority", b"payments")])?;
    assert_eq!(
        String::from_utf8_lossy(&host.state().properties["byname"]),
        format!(
            "mode=observe difference=host_and_cluster reason=service authority={PAYMENTS} cluster=outbound|80||{PAYMENTS} table=7"
        )
    );
    Ok(())
}

#[test]
fn modes_and_shares_are_by_request() -> TestResult {
    let mut host = host(json!({"modeExceptions": ["prod"]}))?;
    assert_eq!(host.ask(STREAM, b"none.prod")?, Action::Continue);
    host.ask(STREAM, b"payments")?;
    assert_eq!(host.state().header(":authority"), [PAYMENTS], "shop is enforced");
    host.state_mut().response = None;
    let mut host = self::host(json!({"mode": "observe", "observePercent": 25}))?;
    let mut enforced = 0;
    for stream in STREAM..STREAM + 1_000 {
        host.request_headers(stream, &[(":authority", b"payments")])?;
        enforced += usize::from(host.state().header(":authority") == [PAYMENTS]);
        host.delete(stream)?;
    }
    assert!((700..800).contains(&enforced), "{enforced} of 1,000 requests are enforced");
    assert_eq!(host.state().metric("byname.observed.host_and_cluster.service"), Some(1_000 - i64::try_from(enforced)?));
    Ok(())
}

#[test]
fn an_observed_request_is_not_open_at_an_endpoint() -> TestResult {
    let mut host = host(json!({"mode": "observe"}))?;
    // Streams that do not end.
    for stream in STREAM..STREAM + 3 {
        host.request_headers(stream, &[(":authority", b"web")])?;
    }
    let next = ROOT + 100;
    assert!(host.configure(next, &configuration(json!({})))?);
    host.state_mut().calls.clear();
    for stream in [STREAM + 10, STREAM + 11] {
        host.request_headers(stream, &[(":authority", b"web")])?;
    }
    let chosen: Vec<&String> = host.state().calls.iter().filter(|call| call.contains("original_dst_address")).collect();
    assert_eq!(chosen.len(), 2);
    assert_ne!(chosen[0], chosen[1], "the open request of the first counts, those that were observed do not");
    Ok(())
}

#[test]
fn a_host_that_fails_an_observed_request_fails_no_client() -> TestResult {
    let requests: [&[(&str, &[u8])]; 3] = [
        &[(":authority", b"payments")],
        &[(":authority", b"none.prod")],
        &[(":authority", b"nope"), ("x-byname-cluster", b"forged")],
    ];
    for name in [
        "proxy_get_header_map_pairs",
        "proxy_get_property",
        "proxy_log",
        "proxy_get_current_time_nanoseconds",
        "proxy_define_metric",
        "proxy_increment_metric",
        "proxy_set_property",
        "proxy_replace_header_map_value",
        "proxy_call_foreign_function",
        "proxy_send_local_response",
    ] {
        let mut host = host(json!({"mode": "observe", "accessLog": true}))?;
        for status in [1, 2, 10] {
            for request in requests {
                host.state_mut().failing.insert(name, status);
                let action = host.request_headers(STREAM, request)?;
                host.delete(STREAM)?;
                host.state_mut().failing.clear();
                assert_eq!((action, &host.state().response), (Action::Continue, &None), "{name} answers {status}");
                assert!(host.state().header("x-byname-cluster").is_empty(), "{name} answers {status}");
            }
        }
    }
    // A client's control header that cannot be removed may not go on.
    let mut host = host(json!({"mode": "observe"}))?;
    host.state_mut().failing.insert("proxy_remove_header_map_value", 2);
    assert_eq!(host.request_headers(STREAM, requests[2])?, Action::Pause);
    Ok(())
}
