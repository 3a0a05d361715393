//! Response times while a Service changes again and again.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::time::{sleep, sleep_until};

use super::{
    super::{
        numbers::{median, quantile, quartiles, round, table},
        progress::Progress,
        push::{CONNECTIONS, Clients, PACE, TARGETS, ensure_workers_share, milliseconds},
        setting::Setting,
    },
    names::Names,
    sidecar::{Content, Sidecar, by_sidecar},
    started::{Started, listeners},
};

/// The interval of changes, and their number.
const EVERY: Duration = Duration::from_millis(200);
const CHANGES: usize = 25;
/// The quiet time before the first change.
const CALM: Duration = Duration::from_millis(300);
/// The time after the last change that counts, and the time in which it has to be live.
const AFTER: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(3);

/// The placeholder for the version of a pushed file. Every version is another text: where Envoy still has a filter with the
/// same configuration, it takes that one.
const VERSION: usize = 99_999_999_999;

/// One sidecar, whose alias changed its target [`CHANGES`] times.
pub(super) struct Changing {
    sidecar: Sidecar,
    /// The size of a pushed file; 0 if the server sends the change.
    bytes: usize,
    /// The median response time before the first change, and those from it until [`AFTER`] the last one.
    before: f64,
    p50: f64,
    p99: f64,
    longest: f64,
    /// The time until every connection saw the first change.
    live: f64,
    /// The changes that every connection saw.
    seen: usize,
    /// The longest delay of the clients' own thread.
    late: f64,
}

/// Starts each of `sidecars` with this number of names, and changes one of them under load.
pub(super) async fn run(
    root: &Path,
    sidecars: &[Sidecar],
    names: usize,
    progress: &Progress,
    measured: &mut Vec<Changing>,
) -> Result<()> {
    let versions = [0, 1].map(|target| Names::with_probe(names, target));
    for &sidecar in sidecars {
        progress.say(&format!("{}, a Service changes", sidecar.name()));
        measured.push(once(root, sidecar, &versions).await?);
    }
    Ok(())
}

async fn once(root: &Path, sidecar: Sidecar, versions: &[Names; 2]) -> Result<Changing> {
    let mut clients = Clients::new()?;
    let upstream = clients.start_upstream().await?;
    let [content, next] = versions.each_ref().map(|names| Content::new(sidecar, names));
    // Prepared long before the measured moments.
    let texts = [content.text(root, VERSION)?, next.text(root, VERSION)?];
    let started = Started::start(root, &content, &versions[0], Setting::Standing.workers(), upstream).await?;
    // Both filters have had a tick by then, so that requests can wait for the server.
    sleep(CALM * 2).await;
    clients.ask(started.port())?;
    sleep(CALM).await;
    clients.check().await?;
    ensure_workers_share(&started.envoy).await?;

    clients.log().clear();
    let calm = Instant::now();
    sleep(CALM).await;
    let first = Instant::now();
    let mut bytes = 0;
    let mut last = (first, 0);
    for (number, due) in (1..=CHANGES).zip(0..) {
        sleep_until((first + EVERY * due).into()).await;
        let target = number % TARGETS.len();
        last = (Instant::now(), target);
        match (sidecar, versions.get(target), texts.get(target)) {
            (Sidecar::Stream { .. }, Some(names), _) => started.change(names)?,
            (_, _, Some(text)) => bytes = started.push(&text.replace(&VERSION.to_string(), &number.to_string()))?,
            _ => {}
        }
        clients.check().await?;
    }
    sleep(PATIENCE).await;
    clients.check().await?;
    let end = Instant::now();
    started.ensure_answered().await?;
    let log = clients.log();
    let (pushed, target) = last;
    let old = log.last_of_others(target).unwrap_or(pushed);
    ensure!(old + CALM < end, "the last change is not live after {} s:\n{}", PATIENCE.as_secs(), started.log());
    let live = log.live(1).context("a connection saw no change")?;
    let until = pushed + AFTER;
    let times = |from, to| {
        let mut times: Vec<f64> = log.times(from, to).into_iter().map(milliseconds).collect();
        times.sort_unstable_by(f64::total_cmp);
        times
    };
    let (before, during) = (times(calm, first), times(first, until));
    Ok(Changing {
        sidecar,
        bytes,
        before: quantile(&before, 0.5),
        p50: quantile(&during, 0.5),
        p99: quantile(&during, 0.99),
        longest: quantile(&during, 1.0),
        live: milliseconds(live.saturating_duration_since(first)),
        seen: log.changes(),
        late: milliseconds(log.latest(first, until)),
    })
}

/// The longest response time of the filter's own stream, with the quartiles of the starts.
pub(super) fn worst_stall(all: &[Changing]) -> Option<[f64; 3]> {
    let stream = all.iter().filter(|one| matches!(one.sidecar, Sidecar::Stream { .. }));
    let longest: Vec<f64> = stream.map(|one| one.longest).collect();
    (!longest.is_empty()).then(|| quartiles(longest))
}

pub(super) fn print(all: &[Changing]) {
    if all.is_empty() {
        return;
    }
    let headings =
        ["sidecar", "a change", "before p50 ms", "p50 ms", "p99 ms", "longest ms", "first live ms", "seen", "late ms"];
    let mut table = table(headings, &[0]);
    for (sidecar, starts) in by_sidecar(all, |one| one.sidecar) {
        let cell = |of: fn(&Changing) -> f64| format!("{:.1}", median(starts.iter().map(|one| of(one))));
        let bytes = starts.iter().map(|one| one.bytes).max().unwrap_or_default();
        table.add_row([
            sidecar.name(),
            if bytes == 0 { "a message".to_owned() } else { format!("{} kB", bytes / 1_000) },
            cell(|one| one.before),
            cell(|one| one.p50),
            cell(|one| one.p99),
            cell(|one| one.longest),
            cell(|one| one.live),
            format!("{:.0}", median(starts.iter().map(|one| one.seen as f64))),
            cell(|one| one.late),
        ]);
    }
    println!(
        "A Service changes every {} ms, {CHANGES} times, at {:.0} requests a second: response times from the first change",
        EVERY.as_millis(),
        1.0 / PACE.as_secs_f64()
    );
    println!(
        "until {} s after the last, the median of the {} ms before, the time until the first change is live, the changes",
        AFTER.as_secs(),
        CALM.as_millis()
    );
    println!(
        "that every connection saw, and how late the clients' own thread was. {} listeners, two workers.",
        listeners()
    );
    println!("{table}\n");
}

pub(super) fn json(all: &[Changing]) -> Value {
    let result = |(sidecar, starts): (Sidecar, Vec<&Changing>)| {
        let of = |of: fn(&Changing) -> f64| starts.iter().map(|one| round(of(one))).collect::<Vec<_>>();
        json!({
            "sidecar": sidecar.name(),
            "bytes": starts.iter().map(|one| one.bytes).max(),
            "p50BeforeMs": of(|one| one.before),
            "p50Ms": of(|one| one.p50),
            "p99Ms": of(|one| one.p99),
            "longestMs": of(|one| one.longest),
            "firstLiveMs": of(|one| one.live),
            "seen": starts.iter().map(|one| one.seen).collect::<Vec<_>>(),
            "clientsLateMs": of(|one| one.late),
        })
    };
    json!({
        "workers": Setting::Standing.workers(),
        "listeners": listeners(),
        "requestsPerSecond": 1.0 / PACE.as_secs_f64(),
        "connections": CONNECTIONS,
        "changes": CHANGES,
        "everyMs": EVERY.as_millis(),
        "results": by_sidecar(all, |one| one.sidecar).into_iter().map(result).collect::<Vec<_>>(),
    })
}
