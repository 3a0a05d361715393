//! Large configurations in a host that misbehaves: read in slices where that is safe, else at once.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a panic fails the test")]

use anyhow::Result;
use byname_core::wire::Packed;
use byname_test_support::{SmallHost, TestResult};
use serde_json::{Map, Value, json};

const ROOT: u32 = 1;
const STREAM: u32 = 1_000;

/// The Services of a table, whose alias `pay` resolves to `web-VERSION`.
fn services(count: u32, version: u32) -> Value {
    let service = |number: u32| {
        let address = |first: u32| std::net::Ipv4Addr::from(first + number).to_string();
        let endpoints: Vec<_> = (0..10).map(|which| address(0x0AF4_0000 + which * count)).collect();
        json!({"clusterIPs": [address(0x0A60_0000)], "ports": [{"port": 80}], "endpoints": [{"addresses": endpoints}]})
    };
    let mut services: Map<String, Value> =
        (0..count).map(|number| (format!("shop/web-{number}"), service(number))).collect();
    let target = format!("web-{version}.shop.svc.cluster.local");
    services.insert("shop/pay".to_owned(), json!({"type": "ExternalName", "externalName": target}));
    Value::Object(services)
}

fn with_table(table: Value) -> String {
    json!({"version": 1, "caller": {"namespace": "shop"}, "table": table}).to_string()
}

fn table(version: u32) -> String {
    with_table(json!({"version": version, "services": services(500, version)}))
}

/// A VM that serves table 0 and knows that ticks come, beside one that has accepted `next`.
fn vm(next: &str) -> Result<SmallHost> {
    let mut host = SmallHost::new()?;
    assert!(host.configure(ROOT, &table(0))?, "{:?}", host.state().log);
    assert_eq!(host.state().tick_period, 100);
    host.tick(ROOT)?;
    assert_eq!(host.state().tick_period, 0, "one tick is enough");
    accept_elsewhere(&mut host, next)?;
    Ok(host)
}

/// Lets another VM with the same shared data accept a configuration.
fn accept_elsewhere(host: &mut SmallHost, configuration: &str) -> TestResult {
    let mut other = SmallHost::new()?;
    other.state_mut().shared_data = host.state().shared_data.clone();
    assert!(other.configure(ROOT, configuration)?, "{:?}", other.state().log);
    host.state_mut().shared_data = other.state().shared_data.clone();
    Ok(())
}

/// The table that decides requests, by the target of `pay`.
fn serving(host: &mut SmallHost) -> Result<String> {
    host.ask(STREAM, b"pay")?;
    let authority = host.state().header(":authority").concat();
    Ok(authority.trim_start_matches("web-").trim_end_matches(".shop.svc.cluster.local").to_owned())
}

/// Ticks until the root context asks for no more, and returns the number of ticks.
fn tick(host: &mut SmallHost, root: u32) -> Result<u32> {
    for ticks in 1..1_000 {
        host.tick(root)?;
        if host.state().tick_period == 0 {
            return Ok(ticks);
        }
    }
    panic!("it ticks on and on")
}

#[test]
fn an_accepted_push_is_read_in_slices_while_the_last_table_serves() -> TestResult {
    let packed = Packed::new(&services(5_000, 1).to_string());
    let plain = with_table(json!({"version": 1, "services": services(3_000, 1)}));
    for next in [plain, with_table(json!({"version": 1, "packed": packed}))] {
        let mut host = vm(&next)?;
        host.take_fuel()?;
        assert!(host.configure(ROOT + 1, &next)?);
        let mut most = host.take_fuel()?;
        assert_eq!(host.state().tick_period, 1);
        // Envoy deletes the earlier root context at once, unless requests are open.
        host.delete(ROOT)?;
        let mut ticks = 0;
        while host.state().tick_period != 0 {
            assert_eq!((serving(&mut host)?.as_str(), host.state().metric("byname.table.version")), ("0", Some(0)));
            host.take_fuel()?;
            host.tick(ROOT + 1)?;
            most = most.max(host.take_fuel()?);
            ticks += 1;
        }
        assert!(ticks > 3, "{ticks} ticks");
        assert_eq!((serving(&mut host)?.as_str(), host.state().metric("byname.table.version")), ("1", Some(1)));
        let mut at_once = SmallHost::new()?;
        at_once.take_fuel()?;
        assert!(at_once.configure(ROOT, &next)?);
        let whole = at_once.take_fuel()?;
        assert!(most * 2 < whole, "the most expensive of {ticks} slices takes {most} of {whole}");
        // Only bootstraps with a server allow this one.
        let moves = |call: &String| call.starts_with("set_effective_context");
        assert!(!host.state().calls.iter().any(moves), "{:?}", host.state().calls);
    }
    Ok(())
}

#[test]
fn what_nobody_has_accepted_is_read_at_once() -> TestResult {
    let mut host = vm(&table(1))?;
    assert!(host.configure(ROOT + 1, &table(2))?);
    assert_eq!((serving(&mut host)?.as_str(), host.state().tick_period), ("2", 0));
    let bad = with_table(json!({"version": 3, "services": {"shop/a": {"ports": [{"port": 0}]}}}));
    assert!(!host.configure(ROOT + 2, &bad)?);
    // A small one is read at once, whoever has accepted it.
    let small = with_table(json!({"version": 4, "services": services(2, 1)}));
    accept_elsewhere(&mut host, &small)?;
    assert!(host.configure(ROOT + 3, &small)?);
    assert_eq!((serving(&mut host)?.as_str(), host.state().tick_period), ("1", 0));
    Ok(())
}

#[test]
fn without_ticks_every_push_is_read_at_once() -> TestResult {
    for is_allowed in [true, false] {
        let mut host = SmallHost::new()?;
        if !is_allowed {
            host.state_mut().failing.insert("proxy_set_tick_period_milliseconds", 10);
        }
        assert!(host.configure(ROOT, &table(0))?);
        // The list of capabilities may lack either side: ticks are allowed here, and never come.
        accept_elsewhere(&mut host, &table(1))?;
        assert!(host.configure(ROOT + 1, &table(1))?);
        assert_eq!(serving(&mut host)?, "1", "{is_allowed}");
        let asked = |call: &&String| call.starts_with("set_tick_period");
        assert!(host.state().calls.iter().filter(asked).count() <= 1, "{:?}", host.state().calls);
    }
    // They are refused later.
    let mut host = vm(&table(1))?;
    host.state_mut().failing.insert("proxy_set_tick_period_milliseconds", 10);
    assert!(host.configure(ROOT + 1, &table(1))?);
    assert_eq!(serving(&mut host)?, "1");
    Ok(())
}

#[test]
fn a_newer_push_overtakes_what_is_being_read() -> TestResult {
    let mut host = vm(&table(1))?;
    accept_elsewhere(&mut host, &table(2))?;
    assert!(host.configure(ROOT + 1, &table(1))?);
    host.tick(ROOT + 1)?;
    assert!(host.configure(ROOT + 2, &table(2))?);
    assert_eq!(tick(&mut host, ROOT + 1)?, 1, "there is nothing left to read");
    host.state_mut().tick_period = 1;
    assert!(tick(&mut host, ROOT + 2)? > 3);
    assert_eq!(serving(&mut host)?, "2");
    // One that is read at once overtakes too.
    accept_elsewhere(&mut host, &table(3))?;
    assert!(host.configure(ROOT + 3, &table(3))?);
    assert!(host.configure(ROOT + 4, &table(4))?);
    tick(&mut host, ROOT + 3)?;
    assert_eq!(serving(&mut host)?, "4");
    // The plugin is gone with the last of its root contexts.
    for earlier in 0..4 {
        host.delete(ROOT + earlier)?;
    }
    accept_elsewhere(&mut host, &table(5))?;
    assert!(host.configure(ROOT + 5, &table(5))?);
    host.delete(ROOT + 4)?;
    assert_eq!(serving(&mut host)?, "4");
    host.delete(ROOT + 5)?;
    tick(&mut host, ROOT + 5)?;
    assert_eq!(serving(&mut host)?, "pay", "the routes decide");
    Ok(())
}

/// Envoy keeps the timer of a root context that is gone.
#[test]
fn a_root_context_that_is_gone_leaves_no_timer() -> TestResult {
    let mut host = vm(&table(1))?;
    accept_elsewhere(&mut host, &table(2))?;
    assert!(host.configure(ROOT + 1, &table(1))?);
    assert!(host.state().timers.contains_key(&(ROOT + 1)));
    // It is overtaken before its first tick.
    assert!(host.configure(ROOT + 2, &table(2))?);
    for gone in [ROOT, ROOT + 1] {
        host.delete(gone)?;
    }
    assert_eq!(host.state().timers.keys().copied().collect::<Vec<_>>(), [ROOT + 2]);
    host.pass(500)?;
    assert_eq!(serving(&mut host)?, "2");
    assert!(host.state().timers.is_empty(), "{:?}", host.state().timers);

    // A first push that is refused takes the tick along that was to show that ticks come.
    let mut host = SmallHost::new()?;
    assert!(!host.configure(ROOT, "{}")?);
    host.delete(ROOT)?;
    assert!(host.configure(ROOT + 1, &table(0))?);
    host.pass(200)?;
    accept_elsewhere(&mut host, &table(1))?;
    assert!(host.configure(ROOT + 2, &table(1))?);
    assert_eq!(serving(&mut host)?, "0", "it is read in slices");
    Ok(())
}

/// The stream to a server ends with the root context that opened it, and nobody says so.
#[test]
fn a_push_that_is_refused_late_opens_the_stream_anew() -> TestResult {
    let with_server = |text: &str| text.replacen('{', r#"{"server":{"cluster":"byname"},"#, 1);
    let mut host = SmallHost::new()?;
    host.state_mut().now = 1_000_000_000_000;
    assert!(host.configure(ROOT, &with_server(&table(0)))?, "{:?}", host.state().log);
    host.pass(200)?;
    host.ask(STREAM, b"unknown")?;
    assert_eq!(host.state().grpc_streams, 1);
    let torn = with_server(&table(1).replace("\"port\":80", "\"port\":0"));
    for record in host.state_mut().shared_data.values_mut() {
        *record = byname_core::hash_words(torn.as_bytes()).to_le_bytes().to_vec();
    }
    assert!(host.configure(ROOT + 1, &torn)?, "Envoy was told that it is accepted");
    host.delete(ROOT)?;
    host.pass(1_000)?;
    assert!(host.state().log.iter().any(|line| line.contains("configuration refused")), "{:?}", host.state().log);
    assert_eq!(host.state().grpc_streams, 2);
    Ok(())
}

#[test]
fn a_push_that_was_accepted_before_is_read_in_slices_again() -> TestResult {
    let mut host = vm(&table(1))?;
    for version in [1, 0, 1, 0] {
        assert!(host.configure(ROOT + 1 + version, &table(version))?);
        assert!(tick(&mut host, ROOT + 1 + version)? > 3);
        assert_eq!(serving(&mut host)?, version.to_string());
    }
    Ok(())
}

/// Other plugins in the process may write under byname's keys.
#[test]
fn foreign_records_never_make_a_bad_table_serve() -> TestResult {
    let bad = table(1).replace("\"shop/web-7\"", "\"shop/web-8\"");
    let torn = table(1).replace("\"port\":80", "\"port\":0");
    for bad in [bad, torn] {
        let mut host = vm(&table(1))?;
        let hash = byname_core::hash_words(bad.as_bytes());
        for record in host.state_mut().shared_data.values_mut() {
            *record = hash.to_le_bytes().to_vec();
        }
        assert!(host.configure(ROOT + 1, &bad)?, "Envoy was told that it is accepted");
        tick(&mut host, ROOT + 1)?;
        assert_eq!((serving(&mut host)?.as_str(), host.state().metric("byname.table.version")), ("0", Some(0)));
        assert_eq!(host.state().metric("byname.configurations_refused"), Some(1));
        assert!(host.state().log.iter().any(|line| line.contains("configuration refused")), "{:?}", host.state().log);
    }
    for junk in [&b""[..], b"1", b"1234567", &[0xff; 1_000]] {
        let mut host = vm(&table(1))?;
        for record in host.state_mut().shared_data.values_mut() {
            *record = junk.to_vec();
        }
        assert!(host.configure(ROOT + 1, &table(1))?);
        assert_eq!(serving(&mut host)?, "1", "it is read at once");
    }
    Ok(())
}

#[test]
fn memory_stays_bounded_over_many_pushes() -> TestResult {
    let mut host = vm(&table(1))?;
    let mut pages = Vec::new();
    for push in 1..=80 {
        accept_elsewhere(&mut host, &table(push))?;
        assert!(host.configure(ROOT + push, &table(push))?);
        tick(&mut host, ROOT + push)?;
        host.delete(ROOT + push - 1)?;
        pages.push(host.pages());
    }
    assert!(pages[79] == pages[59] && pages[59] <= pages[9] + 2, "pages of linear memory: {pages:?}");
    Ok(())
}
