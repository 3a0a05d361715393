//! Envoy goes back to an earlier configuration: while streams of it are open, it goes back to that root context, and says nothing.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a panic fails the test")]

use anyhow::Result;
use byname_test_support::{SmallHost, TestResult};
use serde_json::{Value, json};

/// The root contexts of configurations.
const A: u32 = 1;
const B: u32 = 2;
const C: u32 = 3;
const STREAM: u32 = 1_000;

/// A configuration whose alias `pay` resolves to `web-VERSION`, and as many other Services.
fn configuration(version: u32, others: u32) -> String {
    with_namespace("shop", version, others)
}

fn with_namespace(namespace: &str, version: u32, others: u32) -> String {
    let target = format!("web-{version}.shop.svc.cluster.local");
    let mut services = serde_json::Map::new();
    for number in 0..others {
        services.insert(format!("shop/other-{number}"), json!({"ports": [{"port": 80}], "clusterIPs": [std::net::Ipv4Addr::from(0x0A60_0000 + number).to_string()]}));
    }
    services.insert(format!("{namespace}/pay"), json!({"type": "ExternalName", "externalName": target}));
    json!({"version": 1, "caller": {"namespace": namespace}, "table": {"version": version, "services": services}})
        .to_string()
}

/// The table that decides a request of a new stream of this root context; empty if none does.
fn serving(host: &mut SmallHost, root: u32) -> Result<String> {
    host.create(STREAM, root)?;
    host.ask(STREAM, b"pay")?;
    let authority = host.state().header(":authority").concat();
    Ok(authority.trim_start_matches("web-").trim_end_matches(".shop.svc.cluster.local").to_owned())
}

#[test]
fn the_stream_tells_that_envoy_went_back() -> TestResult {
    let mut host = SmallHost::new()?;
    for (root, version) in [(A, 1), (B, 2)] {
        assert!(host.configure(root, &configuration(version, 0))?);
    }
    // Streams of both are open, so that neither root context is deleted.
    for (root, version) in [(B, "2"), (A, "1"), (A, "1"), (B, "2"), (A, "1")] {
        assert_eq!(serving(&mut host, root)?, version);
        assert_eq!(host.state().metric("byname.table.version"), Some(version.parse()?));
    }
    assert!(host.configure(C, &configuration(3, 0))?);
    assert_eq!(serving(&mut host, C)?, "3");
    for root in [B, A] {
        host.delete(root)?;
        assert_eq!(serving(&mut host, C)?, "3", "the newest serves on");
    }
    host.delete(C)?;
    assert_eq!(serving(&mut host, C)?, "pay", "the plugin is gone");
    assert_eq!(host.state().metric("byname.host_errors"), Some(0));
    Ok(())
}

/// An older bootstrap does not let Envoy tell of new streams.
#[test]
fn the_deletion_of_the_newest_tells_that_envoy_went_back() -> TestResult {
    let mut host = SmallHost::new()?;
    for (root, version) in [(A, 1), (B, 2)] {
        assert!(host.configure(root, &configuration(version, 0))?);
    }
    host.delete(B)?;
    host.ask(STREAM, b"pay")?;
    assert_eq!(host.state().header(":authority"), ["web-1.shop.svc.cluster.local"]);
    host.delete(A)?;
    host.ask(STREAM, b"pay")?;
    assert_eq!(host.state().header(":authority"), ["pay"]);
    Ok(())
}

/// The tables of two listeners, whose namespaces differ, in one VM.
#[test]
fn each_plugin_goes_back_by_itself() -> TestResult {
    let mut host = SmallHost::new()?;
    let plugin = |host: &mut SmallHost, name: &str| {
        host.state_mut().properties.insert("plugin_name".to_owned(), name.as_bytes().to_vec());
    };
    for (root, name, version) in [(A, "shop", 1), (10, "prod", 10), (B, "shop", 2)] {
        plugin(&mut host, name);
        assert!(host.configure(root, &with_namespace(name, version, 0))?);
    }
    for (root, name, version) in [(B, "shop", "2"), (10, "prod", "10"), (A, "shop", "1"), (10, "prod", "10")] {
        plugin(&mut host, name);
        assert_eq!(serving(&mut host, root)?, version);
    }
    host.delete(B)?;
    plugin(&mut host, "shop");
    assert_eq!(serving(&mut host, A)?, "1");
    Ok(())
}

/// Earlier tables are kept up to a bound. Beyond it the newest serves on, as long as Envoy pushes nothing else.
#[test]
fn the_oldest_of_too_many_are_forgotten() -> TestResult {
    let mut host = SmallHost::new()?;
    // Half of what may be kept, and a little more: two do not fit.
    let large = |version: u32| {
        let text = configuration(version, 0);
        format!("{text}{}", " ".repeat((16 << 20) + 1 - text.len()))
    };
    for version in 1..=3 {
        assert!(host.configure(version, &large(version))?);
    }
    assert_eq!(serving(&mut host, 2)?, "2", "it fits");
    assert_eq!(serving(&mut host, 1)?, "2", "it was forgotten");
    assert_eq!(serving(&mut host, 3)?, "3");
    assert_eq!(host.state().metric("byname.host_errors"), Some(0));
    Ok(())
}

/// With a stream of its own, the filter takes along what it was told.
#[test]
fn what_a_server_said_goes_back_too() -> TestResult {
    let configuration = |cluster: &str| -> Value {
        json!({"version": 1, "caller": {"namespace": "shop"}, "server": {"cluster": cluster}})
    };
    let mut host = SmallHost::new()?;
    host.state_mut().now = 1_000_000_000_000;
    assert!(host.configure(A, &configuration("one").to_string())?);
    host.tick(A)?;
    host.state_mut().effective = B;
    assert!(host.configure(B, &configuration("two").to_string())?);
    host.tick(B)?;
    for (root, streams) in [(B, 1), (A, 2), (B, 3), (A, 4)] {
        host.create(STREAM, root)?;
        host.request_headers(
            STREAM,
            &[(":authority", b"web"), (":path", b"/"), (":method", b"GET"), (":scheme", b"http")],
        )?;
        host.tick(root)?;
        assert_eq!(host.state().grpc_streams, streams, "a stream in this root context");
        host.delete(STREAM)?;
    }
    Ok(())
}
