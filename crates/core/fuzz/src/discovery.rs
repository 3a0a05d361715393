//! A table that a server fills: requests, messages of a server that may mean harm, time, and configuration pushes.

use arbitrary::{Result, Unstructured};
use byname_core::{
    Plan,
    limits::{MAX_KEYS, MAX_WAIT_MILLISECONDS, MAX_WAITING_REQUESTS},
};
use serde_json::{Value, json};

use crate::{
    fixture::http,
    rules::decided,
    stream::{Answer, Sidecar, TYPES},
};

/// Events of one input: enough for several streams.
const MAX_EVENTS: usize = 40;

/// Names that requests ask for, all of few Services.
const NAMES: [&str; 16] = [
    "a",
    "b",
    "x",
    "a.b",
    "x.a",
    "x.b.a",
    "b.a.svc",
    "_http._tcp.a",
    "www.example.org",
    "10.96.0.1",
    "10.96.0.2",
    "[fd00::1]",
    "10-0-0-1.a.pod",
    "fd00--1.b.pod",
    "A.b:81",
    "a,b",
];

/// Names of resources: of each type, and of none.
const RESOURCES: [&str; 16] = [
    "a/a",
    "a/b",
    "b/a",
    "b/b",
    "a/x",
    "b/x",
    "10.96.0.1",
    "10.96.0.2",
    "10.0.0.1",
    "fd00::1",
    "::ffff:10.96.0.1",
    "*",
    "a",
    "b",
    "A/a",
    "",
];

/// Values of resources: of each type, and of none.
const VALUES: [&str; 20] = [
    r#"{"clusterIPs":"10.96.0.1","ports":[{"name":"http","port":80}],"endpoints":[{"addresses":"10.0.0.1"}]}"#,
    r#"{"clusterIPs":"10.96.0.2","ports":[{"name":"http","port":80}],"endpoints":[{"addresses":"10.0.0.1 10.0.0.2"}]}"#,
    r#"{"clusterIPs":"10.96.0.1 fd00::1","ports":[{"port":80}]}"#,
    r#"{"clusterIPs":"fd00::1","ports":[{"port":80}],"steering":{"by":"endpoint"}}"#,
    r#"{"ports":[{"port":80}],"endpoints":[],"steering":{"by":"endpoint"}}"#,
    r#"{"ports":[{"name":"http","port":80}],"endpoints":[{"addresses":"10.0.0.3","hostnames":"x"}]}"#,
    r#"{"clusterIPs":"None","ports":[{"name":"http","port":80}],"endpoints":[{"addresses":"10.0.0.1","hostnames":"x"}]}"#,
    r#"{"clusterIPs":"None","ports":[{"name":"http","port":80}],"endpoints":[{"addresses":"10.0.0.1","ready":false}]}"#,
    r#"{"type":"ExternalName","externalName":"a.b.svc.cluster.local"}"#,
    r#"{"type":"ExternalName","externalName":"b.a.svc.cluster.local"}"#,
    r#"{"type":"ExternalName","externalName":"example.org"}"#,
    r#"{"type":"ExternalName","externalName":"a.svc.cluster.local","alias":{"tls":true}}"#,
    "{}",
    "{",
    "",
    "a/a",
    "b/b",
    "a b",
    "a a a x b",
    "b \u{85} a/b 10.0.0.1",
];

/// The bytes are a configuration and events. Whatever the server sends, nothing grows without a bound, each request is decided once and in
/// time, and what is decided keeps the rules of `rules.rs`.
pub fn discovery(bytes: &[u8]) {
    let mut bytes = Unstructured::new(bytes);
    let Ok(fields) = configuration(&mut bytes) else { return };
    let mut run = Run { sidecar: Sidecar::new(fields), opened: 0, ids: Vec::new() };
    for _ in 0..MAX_EVENTS {
        if bytes.is_empty() || run.event(&mut bytes).is_err() {
            break;
        }
        run.check();
    }
    run.sidecar.wait(MAX_WAIT_MILLISECONDS);
    assert!(run.sidecar.waiting.is_empty(), "{:?} wait without an end", run.sidecar.waiting);
    // Each of the names in turn: one costs as much as all events.
    let name = NAMES[run.ids.len() % NAMES.len()];
    decided(&run.sidecar.config, "cluster.local", http(name), &mut Plan::default());
}

struct Run {
    sidecar: Sidecar,
    /// Attempts to open the stream that have come to an end.
    opened: usize,
    ids: Vec<u32>,
}

impl Run {
    fn event(&mut self, bytes: &mut Unstructured<'_>) -> Result<()> {
        let sidecar = &mut self.sidecar;
        match bytes.int_in_range(0..=15u8)? {
            0..=3 => self.ids.push(sidecar.request(bytes.choose(&NAMES)?)),
            4 => {
                if let Some(id) = self.ids.pop() {
                    sidecar.leave(id);
                }
            }
            5 | 6 if self.opened < sidecar.opens => {
                self.opened = sidecar.opens;
                sidecar.opened();
            }
            5 | 6 => sidecar.tick_after(1),
            7 => {
                self.opened = sidecar.opens;
                sidecar.random = bytes.arbitrary()?;
                sidecar.closed();
            }
            8 => sidecar.tick_after(bytes.arbitrary::<u16>()?.into()),
            9 => {
                // Time does not go by in steps of a millisecond.
                let milliseconds = u64::from(bytes.arbitrary::<u16>()?) * 100;
                let ticks = sidecar.wait(milliseconds);
                assert!(ticks as u64 <= 100 + milliseconds / 100, "{ticks} ticks in {milliseconds} ms");
            }
            10..=12 => sidecar.answer(&answer(bytes)?),
            13 => {
                let mut message = answer(bytes)?.write();
                for _ in 0..bytes.int_in_range(1..=4u8)? {
                    let place = bytes.choose_index(message.len())?;
                    message[place] = bytes.arbitrary()?;
                }
                let cut = bytes.int_in_range(0..=3u8)?;
                message.truncate(message.len() - usize::from(cut));
                sidecar.receive(&message);
            }
            14 => {
                let count = bytes.int_in_range(0..=64)?;
                let count = bytes.len().min(count);
                sidecar.receive(bytes.bytes(count)?);
            }
            _ => {
                let fields = configuration(bytes)?;
                sidecar.push(fields);
                self.opened = sidecar.opens;
            }
        }
        Ok(())
    }

    fn check(&mut self) {
        let now = self.sidecar.now;
        let waiting = self.sidecar.waiting.len();
        let (discovery, table) = self.sidecar.discovery();
        assert!(table.keys() <= MAX_KEYS);
        assert_eq!(discovery.waiting(), waiting);
        assert!(waiting <= MAX_WAITING_REQUESTS);
        assert!(discovery.next_tick(now, table).is_none_or(|next| next > 0));
        assert!(table.services() <= table.keys() + 1, "each Service is a key, or the configuration has it");
        self.sidecar.sent.clear();
    }
}

fn configuration(bytes: &mut Unstructured<'_>) -> Result<Value> {
    let bits: u8 = bytes.arbitrary()?;
    let is = |bit: u8| bits & 1 << bit != 0;
    let preload: &[&str] = if is(0) { &["a/*"] } else { &[] };
    let services = match is(1) {
        true => {
            json!({"a/b": {"clusterIPs": "10.96.0.2", "ports": [{"port": 80}], "endpoints": [{"addresses": "10.0.0.9"}]}})
        }
        false => json!({}),
    };
    let baselines = if is(2) { json!({"a": "b"}) } else { json!({}) };
    let fallbacks = if is(3) { json!({"a/x": {"service": "b/x"}, "a/a": {"service": "a/x"}}) } else { json!({}) };
    Ok(json!({
        "server": {"cluster": "byname", "preload": preload, "onTimeout": if is(4) { "refuse" } else { "pass" }},
        "caller": {"namespace": if is(5) && is(6) { "b" } else { "a" }},
        "steering": {"by": if is(7) { "endpoint" } else { "cluster" }},
        "externalNames": {"grants": [{"from": "a", "to": "b"}, {"from": "b", "to": "a"}]},
        "fallback": {"services": fallbacks, "baselines": baselines},
        "unknownNames": if is(6) { "refuse" } else { "pass" },
        "table": {"services": services},
    }))
}

fn answer(bytes: &mut Unstructured<'_>) -> Result<Answer> {
    let mut answer = Answer::new(bytes.choose(&TYPES)?);
    for _ in 0..bytes.int_in_range(0..=3u8)? {
        let name = bytes.choose(&RESOURCES)?;
        answer = match bytes.arbitrary()? {
            true => answer.with(name, bytes.choose(&VALUES)?),
            false => answer.without(name),
        };
    }
    Ok(answer)
}
