//! Load on a real Envoy while good and bad tables are pushed and an upstream is repeatedly killed and restarted.

use std::{
    fmt::Write,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::sleep};

use crate::{
    client::{Connection, FORMS, Reply, RequestForm},
    envoy::Envoy,
    push::EcdsFile,
    scenario::{ENDPOINTS, UPSTREAMS},
    upstream::TestUpstream,
};

const PUSH_EVERY: Duration = Duration::from_millis(100);
/// Every push of this number is bad.
const BAD_EVERY: u64 = 4;
const UPSTREAM_DOWN: Duration = Duration::from_millis(300);
const UPSTREAM_UP: Duration = Duration::from_millis(1_200);
const CONNECTIONS_EACH: usize = 2;
const SERVICES: usize = 1_000;
/// The bootstrap's port of the upstream that is killed.
const KILLED: u16 = 18084;
const LISTENER: u16 = 15001;
const DISCOVERY: &str = "extension_config_discovery.http_filter.byname-shop";

/// The result of a run.
#[derive(Clone, Debug, Default)]
pub struct ReliabilityReport {
    /// The workers of Envoy.
    pub workers: u32,
    /// The duration of the run.
    pub elapsed: Duration,
    /// The requests that were answered.
    pub requests: u64,
    /// Replies with 503 because the upstream was down.
    pub caused_by_upstream: u64,
    /// Failures that no upstream caused. None is expected. At most ten are kept.
    pub failures: Vec<String>,
    /// The number of failures that no upstream caused.
    pub failed: u64,
    /// The connections that Envoy closed.
    pub closed: u64,
    /// The good and the bad pushes that were written.
    pub pushes: (u64, u64),
    /// Envoy's `config_reload`: configurations that took effect.
    pub config_reload: u64,
    /// Envoy's `update_rejected`: configurations that the filter or Envoy refused.
    pub update_rejected: u64,
    /// Envoy's `config_fail`: files that are no ECDS response, and refused configurations once more.
    pub config_fail: u64,
    /// The number of times that the upstream was killed.
    pub kills: u64,
    /// The response times, sorted.
    pub times: Vec<Duration>,
    /// The resident memory of Envoy in kB, after the first quarter and at the end.
    pub resident: (u64, u64),
    /// The version of the table that was pushed last, and the version of the table in use.
    pub versions: (u64, u64),
}

impl ReliabilityReport {
    /// The response time at this quantile.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Duration {
        let index = (self.times.len() as f64 * part) as usize;
        self.times.get(index.min(self.times.len().saturating_sub(1))).copied().unwrap_or_default()
    }
}

/// The names, the upstreams that answer, and the upstreams' ports in the bootstrap.
const NAMES: [(&str, &str, u16); 6] = [
    ("payments", "payments in shop", 18081),
    ("pay", "payments in shop", 18081),
    ("payments.prod", "payments in prod", 18082),
    ("db-0.db", "pod db-0", KILLED),
    ("web", "pod web-0, in eu-a", 18088),
    ("www.example.org", "passthrough", 18080),
];

/// Runs for `time` on `workers` workers.
///
/// # Errors
/// If something cannot be started. Failures under load are in the report.
pub async fn run(workers: u32, time: Duration) -> Result<ReliabilityReport> {
    let mut builder = Envoy::builder("ecds.yaml").concurrency(workers);
    let mut upstreams = Vec::new();
    let mut killed = None;
    for (port, name) in UPSTREAMS {
        let upstream = TestUpstream::start(name).await?;
        builder = builder.upstream(port, &upstream);
        if port == KILLED {
            killed = Some((name, upstream));
        } else {
            upstreams.push(upstream);
        }
    }
    for (port, name) in ENDPOINTS {
        let upstream = TestUpstream::start(name).await?;
        builder = builder.edit(&port.to_string(), &upstream.port().to_string());
        upstreams.push(upstream);
    }
    let (name, upstream) = killed.context("the demo has no such upstream")?;
    let envoy = builder.start().await?;
    let filter = envoy.filter("shop")?;
    let report = Arc::new(Mutex::new(ReliabilityReport { workers, ..ReliabilityReport::default() }));
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for form in FORMS {
        for _ in 0..CONNECTIONS_EACH {
            tasks.spawn(ask(envoy.port(LISTENER), form, Arc::clone(&report), Arc::clone(&stop)));
        }
    }
    let kill = tokio::spawn(kill_and_restart(name.to_owned(), upstream, Arc::clone(&stop)));

    let start = Instant::now();
    let mut pushes = 0;
    let mut last_good = 0;
    let mut resident = (0, 0);
    while start.elapsed() < time {
        pushes += 1;
        if pushes % BAD_EVERY == 0 {
            envoy.write_push("shop", &bad(&filter, pushes / BAD_EVERY))?;
        } else {
            last_good = pushes;
            envoy.write_push("shop", &table(&filter, pushes).to_string())?;
        }
        if resident.0 == 0 && start.elapsed() > time / 4 {
            resident.0 = envoy.resident_kilobytes()?;
        }
        sleep(PUSH_EVERY.saturating_sub(start.elapsed().saturating_sub(PUSH_EVERY * pushes as u32))).await;
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        ended?;
    }
    let kills = kill.await??;
    // The run ends with a good push.
    last_good += BAD_EVERY;
    envoy.push("shop", &table(&filter, last_good), "config_reload").await?;
    resident.1 = envoy.resident_kilobytes()?;
    let mut report = report.lock().map_err(|_| anyhow::anyhow!("a client panicked"))?.clone();
    report.elapsed = start.elapsed();
    report.pushes = (pushes - pushes / BAD_EVERY, pushes / BAD_EVERY);
    report.config_reload = envoy.stat(&format!("{DISCOVERY}.config_reload")).await?;
    report.update_rejected = envoy.stat(&format!("{DISCOVERY}.update_rejected")).await?;
    report.config_fail = envoy.stat(&format!("{DISCOVERY}.config_fail")).await?;
    report.kills = kills;
    report.resident = resident;
    report.versions = (last_good, envoy.stat("wasmcustom.byname.table.version").await?);
    report.times.sort_unstable();
    Ok(report)
}

/// Runs one client, which reconnects only after an error.
async fn ask(port: u16, form: RequestForm, report: Arc<Mutex<ReliabilityReport>>, stop: Arc<AtomicBool>) {
    let mut connection = None;
    for (name, expected, upstream) in NAMES.into_iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        if connection.is_none() {
            connection = Connection::open(port, form).await.ok();
        }
        let start = Instant::now();
        let reply = match &mut connection {
            Some(connection) => connection.get(name, &[]).await,
            None => Err(anyhow::anyhow!("Envoy takes no connection")),
        };
        let took = start.elapsed();
        let Ok(mut report) = report.lock() else { return };
        match reply {
            Ok(reply) => {
                report.requests += 1;
                report.times.push(took);
                if reply.status == 200 && reply.said("upstream") == expected {
                    continue;
                }
                if upstream == KILLED && is_envoys_word_about_an_upstream(&reply) {
                    report.caused_by_upstream += 1;
                } else {
                    fail(&mut report, format!("{form:?} {name}: {} {}", reply.status, reply.body.trim()));
                }
            }
            Err(error) => {
                connection = None;
                report.closed += 1;
                fail(&mut report, format!("{form:?} {name}: {error:#}"));
            }
        }
    }
}

fn is_envoys_word_about_an_upstream(reply: &Reply) -> bool {
    reply.status == 503
        && reply.body.starts_with("upstream connect error")
        && reply.header("x-byname-reason").is_empty()
}

fn fail(report: &mut ReliabilityReport, what: String) {
    report.failed += 1;
    if report.failures.len() < 10 {
        report.failures.push(what);
    }
}

async fn kill_and_restart(name: String, upstream: TestUpstream, stop: Arc<AtomicBool>) -> Result<u64> {
    let port = upstream.port();
    let mut alive = Some(upstream);
    let mut kills = 0;
    while !stop.load(Ordering::Relaxed) {
        sleep(UPSTREAM_UP).await;
        drop(alive.take());
        kills += 1;
        sleep(UPSTREAM_DOWN).await;
        alive = Some(TestUpstream::start_at(&name, port).await?);
    }
    Ok(kills)
}

/// The demo's table with a thousand more Services, whose endpoints change with the version.
fn table(filter: &EcdsFile, version: u64) -> EcdsFile {
    let mut filter = filter.clone();
    if let Some(table) = filter.configuration.get_mut("table") {
        table["version"] = version.into();
        if let Some(services) = table.get_mut("services").and_then(Value::as_object_mut) {
            for n in 0..SERVICES {
                let address = |e: usize| format!("10.244.{}.{}", (n + e) % 250, (version as usize + e) % 250 + 1);
                let addresses = (0..10).map(address).fold(String::new(), |mut all, address| {
                    let _ = write!(all, "{address} ");
                    all
                });
                services.insert(
                    format!("load/svc-{n}"),
                    json!({"ports": [{"name": "http", "port": 80}], "endpoints": [{"addresses": addresses}]}),
                );
            }
        }
    }
    filter
}

/// A push that cannot take effect, of one of eight kinds.
fn bad(filter: &EcdsFile, kind: u64) -> String {
    let json = |from: &str, to: &str| filter.with_text(&filter.configuration.to_string().replace(from, to));
    match kind % 8 {
        0 => filter.with_text("{\"version\": 1,"),
        1 => filter.with_text(""),
        2 => json("\"version\"", "\"versions\""),
        3 => json("payments-v2", "Payments_V2"),
        4 => json("\"singleMachine\":true", "\"singleMachine\":\"yes\""),
        5 => filter.with_text("\u{0}\u{1}\u{2}"),
        6 => filter.to_string().replace("google.protobuf.StringValue", "google.protobuf.NoSuchValue"),
        _ => "resources: [".to_owned(),
    }
}
