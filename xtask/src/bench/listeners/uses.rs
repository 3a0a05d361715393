//! The latency of a request for a name that this sidecar has not used yet, and of later requests for it.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{
    super::{
        load::{Client, Turn},
        numbers::{median, quantile, round, table},
        progress::Progress,
        traffic::{Requests, Traffic},
    },
    names::Names,
    sidecar::{Content, Sidecar, by_sidecar},
    started::{Started, listeners},
};

/// One worker, because each worker has a VM of its own and asks the server itself.
const WORKERS: u32 = 1;
/// The names that are used.
const USED: usize = 500;
/// The requests before, which open the connections to the upstream and to the server.
const BEFORE: usize = 20;
/// The columns of each round.
const ROUNDS: [&str; 2] = ["first", "warm"];

/// The sorted response times of one sidecar: the first request for each name, and the second.
pub(super) struct Uses {
    sidecar: Sidecar,
    rounds: [Vec<f64>; 2],
}

/// Starts each of `sidecars` with this number of names, and uses some of them twice.
pub(super) async fn run(
    root: &Path,
    sidecars: &[Sidecar],
    names: usize,
    upstream: u16,
    progress: &Progress,
    measured: &mut Vec<Uses>,
) -> Result<()> {
    let names = Names::new(names);
    for &sidecar in sidecars {
        progress.say(&format!("{}, first use", sidecar.name()));
        let started = Started::start(root, &Content::new(sidecar, &names), &names, WORKERS, upstream).await?;
        // The filter has had a tick by then, so that requests can wait for the server.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mut client = Client::connect(started.port(), 1).await?;
        let mut times = async |requests: &Arc<Requests>, number| -> Result<Vec<f64>> {
            let turn = Turn { requests: number, traffic: Traffic::Other, rewritten: sidecar.rewrites(), pace: None };
            let times = client.run(requests, turn).await.with_context(|| started.log())?;
            let mut micros: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e6).collect();
            micros.sort_unstable_by(f64::total_cmp);
            Ok(micros)
        };
        times(&Arc::new(names.requests(0, 1)), BEFORE).await?;
        let requests = Arc::new(names.requests(1, USED));
        let rounds = [times(&requests, USED).await?, times(&requests, USED).await?];
        started.ensure_answered().await?;
        measured.push(Uses { sidecar, rounds });
    }
    Ok(())
}

/// This quantile of each start: of the first requests, and of the second.
fn quantiles(starts: &[&Uses], part: f64) -> [Vec<f64>; 2] {
    [0, 1].map(|number| {
        let rounds = starts.iter().filter_map(|one| one.rounds.get(number));
        rounds.map(|times| quantile(times, part)).collect()
    })
}

pub(super) fn print(all: &[Uses]) {
    if all.is_empty() {
        return;
    }
    let mut table = table(["sidecar", "first p50 µs", "first p99 µs", "warm p50 µs", "warm p99 µs"], &[0]);
    for (sidecar, starts) in by_sidecar(all, |one| one.sidecar) {
        let [first, warm] = quantiles(&starts, 0.5);
        let [first_99, warm_99] = quantiles(&starts, 0.99);
        let cell = |times: Vec<f64>| format!("{:.0}", median(times));
        table.add_row([sidecar.name(), cell(first), cell(first_99), cell(warm), cell(warm_99)]);
    }
    println!(
        "First use: {USED} names that this sidecar has not used, one after the other over one connection, then the same"
    );
    println!("names again. {} listeners and one worker. Medians of all starts.", listeners());
    println!("{table}\n");
}

pub(super) fn json(all: &[Uses]) -> Value {
    let result = |(sidecar, starts): (Sidecar, Vec<&Uses>)| {
        let mut result = json!({"sidecar": sidecar.name()});
        for (part, name) in [(0.5, "p50"), (0.99, "p99")] {
            for (round_name, times) in ROUNDS.into_iter().zip(quantiles(&starts, part)) {
                result[format!("{round_name}Micros{name}ByStart")] = times.into_iter().map(round).collect();
            }
        }
        result
    };
    json!({
        "workers": WORKERS,
        "listeners": listeners(),
        "names": USED,
        "results": by_sidecar(all, |one| one.sidecar).into_iter().map(result).collect::<Vec<_>>(),
    })
}
