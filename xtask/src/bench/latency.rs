//! Response times at a fixed rate, below the capacity of the machine.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    contestant::{ALL, Contestant},
    load::CONNECTIONS,
    numbers::{quantile, quartiles, round, table},
};

/// Requests of a turn at a fixed rate.
pub(super) const PACED: usize = 1_000;
/// One request every half millisecond, which a processor shared by all serves without a queue.
pub(super) const PACE: Duration = Duration::from_micros(500);

/// One turn.
pub(super) struct Latency {
    contestant: Contestant,
    services: usize,
    /// The median and the 99th percentile in microseconds.
    p50: f64,
    p99: f64,
}

impl Latency {
    pub(super) fn new(contestant: Contestant, services: usize, times: &[Duration]) -> Self {
        let mut micros: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e6).collect();
        micros.sort_unstable_by(f64::total_cmp);
        Self { contestant, services, p50: quantile(&micros, 0.5), p99: quantile(&micros, 0.99) }
    }
}

/// The turns of each contestant and number of Services, in the order of the tables.
fn rows(turns: &[Latency]) -> Vec<(Contestant, usize, Vec<&Latency>)> {
    let mut services: Vec<usize> = turns.iter().map(|turn| turn.services).collect();
    services.sort_unstable();
    services.dedup();
    let of = |contestant, services| {
        turns.iter().filter(|turn| (turn.contestant, turn.services) == (contestant, services)).collect()
    };
    services.iter().flat_map(|&services| ALL.map(|one| (one, services, of(one, services)))).collect()
}

pub(super) fn print(turns: &[Latency]) {
    let mut table = table(["Services", "contestant", "p50 µs", "quartiles", "p99 µs", "quartiles"], &[1]);
    for (contestant, services, turns) in rows(turns) {
        let [low, p50, high] = quartiles(turns.iter().map(|turn| turn.p50).collect());
        let [low_99, p99, high_99] = quartiles(turns.iter().map(|turn| turn.p99).collect());
        table.add_row([
            services.to_string(),
            contestant.name().to_owned(),
            format!("{p50:.0}"),
            format!("{low:.0} .. {high:.0}"),
            format!("{p99:.0}"),
            format!("{low_99:.0} .. {high_99:.0}"),
        ]);
    }
    let rate = 1.0 / PACE.as_secs_f64();
    println!("How long answers take at {rate:.0} requests a second, other names: medians over turns of {PACED}.");
    println!("{table}\n");
}

pub(super) fn json(turns: &[Latency]) -> Value {
    let result = |(contestant, services, turns): (Contestant, usize, Vec<&Latency>)| {
        json!({
            "contestant": contestant.name(),
            "services": services,
            "p50MicrosByTurn": turns.iter().map(|turn| round(turn.p50)).collect::<Vec<_>>(),
            "p99MicrosByTurn": turns.iter().map(|turn| round(turn.p99)).collect::<Vec<_>>(),
        })
    };
    json!({
        "requestsPerSecond": 1.0 / PACE.as_secs_f64(),
        "requestsPerTurn": PACED,
        "connections": CONNECTIONS,
        "results": rows(turns).into_iter().map(result).collect::<Vec<_>>(),
    })
}
