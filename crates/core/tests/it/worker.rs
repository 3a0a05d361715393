//! One worker of a sidecar, the Services that it chooses endpoints of, and what its choices are measured with.
//!
//! Seeds are fixed, so no test is flaky. A random spread is held to 99.9 %: a correct spread would miss the bound for one seed
//! in a thousand, and a test shows that a skewed one does miss it.

use std::collections::{BTreeMap, BTreeSet};

use byname_core::{Balance, Chooser, Config, FakeEnv, Plan, Ticket};
use serde_json::{Value, json};

use crate::fixture::{config, decide_traced_with, decide_with, http};

/// One worker of a sidecar: its configuration, what it remembers, and its clock, random numbers and request headers.
pub(crate) struct Worker {
    pub(crate) config: Config,
    pub(crate) balance: Balance,
    pub(crate) env: FakeEnv,
}

impl Worker {
    pub(crate) fn new(config: Config, seed: u64) -> Self {
        Self { config, balance: Balance::default(), env: FakeEnv { seed, ..FakeEnv::default() } }
    }

    fn with_chooser<T>(&mut self, decide: impl FnOnce(&Config, &mut Chooser<'_>) -> T) -> T {
        decide(&self.config, &mut Chooser { balance: &mut self.balance, env: &mut self.env })
    }

    fn decide(&mut self, authority: &str) -> (Plan, String) {
        let mut plan = Plan::default();
        let trace = self.with_chooser(|config, chooser| {
            decide_traced_with(config, http(authority), chooser, &mut plan).1.to_string()
        });
        (plan, trace)
    }

    /// Sends a request, and returns its endpoint and its ticket, which ends it.
    pub(crate) fn send(&mut self, authority: &str) -> (String, Option<Ticket>) {
        let mut plan = Plan::default();
        self.with_chooser(|config, chooser| _ = decide_with(config, http(authority), chooser, &mut plan));
        (plan.endpoint().unwrap_or("none").to_owned(), plan.take_ticket())
    }

    /// Ends a request, and returns whether its endpoint is ejected for it.
    pub(crate) fn end(&mut self, ticket: Option<Ticket>, status: Option<u16>) -> bool {
        ticket.is_some_and(|ticket| self.with_chooser(|config, chooser| config.done(ticket, status, chooser)))
    }

    /// The endpoint of a request that ends with 200 at once.
    pub(crate) fn pick(&mut self, authority: &str) -> String {
        let (endpoint, ticket) = self.send(authority);
        self.end(ticket, Some(200));
        endpoint
    }

    pub(crate) fn picks(&mut self, authority: &str, count: usize) -> Vec<String> {
        (0..count).map(|_| self.pick(authority)).collect()
    }

    pub(crate) fn picks_by(&mut self, header: &str, keys: usize) -> Vec<String> {
        let mut pick = |key| {
            self.env.headers = vec![(header.into(), format!("user-{key}"))];
            self.pick("web")
        };
        (0..keys).map(&mut pick).collect()
    }

    pub(crate) fn cluster(&mut self, authority: &str) -> String {
        self.decide(authority).0.cluster().unwrap_or("-").to_owned()
    }

    pub(crate) fn trace(&mut self, authority: &str) -> String {
        self.decide(authority).1
    }
}

/// A configuration with `shop/web` on port 80, which has these groups of endpoints and is steered by endpoint.
pub(crate) fn web(groups: Value, steering: Value) -> Config {
    service(json!({"ports": [{"name": "http", "port": 80}], "endpoints": groups}), steering)
}

/// A configuration with this Service as `shop/web`, steered by endpoint.
pub(crate) fn service(service: Value, mut steering: Value) -> Config {
    steering["by"] = json!("endpoint");
    config(json!({"steering": steering, "table": {"services": {"shop/web": service}}}))
}

pub(crate) fn simple(policy: &str) -> Value {
    json!({"loadBalancer": {"simple": policy}})
}

pub(crate) fn by_header() -> Value {
    json!({"loadBalancer": {"consistentHash": {"httpHeaderName": "x-user"}}})
}

/// The endpoints `10.0.NET.1` to `10.0.NET.COUNT`, on port 8080.
pub(crate) fn group(net: u8, count: u8, weight: u32) -> Value {
    let addresses: Vec<String> = (1..=count).map(|last| format!("10.0.{net}.{last}")).collect();
    json!({"addresses": addresses, "weight": weight, "ports": {"http": 8080}})
}

pub(crate) fn counts(picks: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    picks.iter().for_each(|pick| *counts.entry(pick.as_str()).or_default() += 1);
    counts
}

/// Whether `picks` are spread in proportion to `shares`, each an endpoint and its weight (chi-square test, 99.9 %).
pub(crate) fn is_spread(picks: &[String], shares: &[(String, u32)]) -> bool {
    let counts = counts(picks);
    let weights: u32 = shares.iter().map(|(_, weight)| weight).sum();
    let part = |(endpoint, weight): &(String, u32)| {
        let expected = picks.len() as f64 * f64::from(*weight) / f64::from(weights);
        assert!(expected >= 5.0, "too few picks for chi-square");
        (counts.get(endpoint.as_str()).copied().unwrap_or(0) as f64 - expected).powi(2) / expected
    };
    let known: BTreeSet<&str> = shares.iter().map(|(endpoint, _)| endpoint.as_str()).collect();
    // The approximation by Wilson and Hilferty: 3 % too wide for one degree of freedom, and closer for more.
    let freedom = (shares.len() - 1) as f64;
    let bound = freedom * (1.0 - 2.0 / (9.0 * freedom) + 3.09 * (2.0 / (9.0 * freedom)).sqrt()).powi(3);
    counts.keys().all(|endpoint| known.contains(endpoint)) && shares.iter().map(part).sum::<f64>() < bound
}

/// The endpoints of these [`group`]s, each with its weight.
pub(crate) fn shares(groups: &[(u8, u8, u32)]) -> Vec<(String, u32)> {
    let of = |(net, count, weight): &(u8, u8, u32)| {
        let (net, weight) = (*net, *weight);
        (1..=*count).map(move |last| (format!("10.0.{net}.{last}:8080"), weight))
    };
    groups.iter().flat_map(of).collect()
}

/// Whether `count` is about a `share` of `of`: within 3.29 standard deviations (99.9 %).
pub(crate) fn is_about(count: usize, of: usize, share: f64) -> bool {
    let of = of as f64;
    (count as f64 - of * share).abs() <= 3.29 * (of * share * (1.0 - share)).sqrt()
}
