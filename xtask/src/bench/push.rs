//! How long a pushed table takes until every connection sees it, and how long answers take meanwhile: byname steering by
//! endpoint with two workers, its configuration discovered from a file that is exchanged, under a steady load.

use std::{
    cell::RefCell,
    path::Path,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use byname_test_support::Envoy;
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    task::{LocalSet, spawn_blocking, spawn_local},
    time::sleep,
};

use super::{
    contestant::discovering,
    load::{MAX_MESSAGE_BYTES, Pace, ask, body},
    numbers::{median, quartiles, round, table},
    progress::Progress,
    traffic::get,
    world::{OWN, Reach, Steering, World},
};

/// So many that each worker has some of them.
const CONNECTIONS: u32 = 16;
/// From one request to the next, of all connections together.
const PACE: Duration = Duration::from_micros(500);
/// Before a push and after it is live.
const CALM: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(60);
/// An alias, and the Services that it leads to in turn. It tells which table has answered; both are as long, so that one
/// knows how much to read.
const PROBE: &str = "probe";
const TARGETS: [&str; 2] = ["probe-a", "probe-b"];

/// What differs from the table before, besides the probe.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// The address of one endpoint.
    OneEndpoint,
    /// The addresses of all.
    All,
}

impl Change {
    fn name(self) -> &'static str {
        match self {
            Self::OneEndpoint => "one endpoint",
            Self::All => "all endpoints",
        }
    }
}

/// One push.
pub(super) struct Push {
    services: usize,
    change: Change,
    /// Of the file.
    bytes: usize,
    /// Until the last connection saw it.
    live: Duration,
    /// The longest that an answer took meanwhile, and for [`CALM`] before.
    worst: Duration,
    worst_before: Duration,
}

/// An answer: on which connection, from when to when, and by which of the probe's targets.
struct Seen {
    connection: u32,
    since: Instant,
    until: Instant,
    target: usize,
}

type Log = Rc<RefCell<Vec<Seen>>>;

/// Pushes `rounds` tables of each kind to an Envoy of its own.
pub(super) async fn run(
    root: &Path,
    services: usize,
    upstream: u16,
    rounds: usize,
    progress: &Progress,
) -> Result<Vec<Push>> {
    let envoy = Arc::new(discovering(root, upstream)?.start().await?);
    let filter = envoy.filter("shop")?;
    let text = |change: Change, version: usize| {
        let mut filter = filter.clone();
        filter.configuration = configuration(services, upstream, change, version);
        filter.to_string()
    };
    envoy.push_text("shop", &text(Change::All, 0), "config_reload").await?;
    LocalSet::new()
        .run_until(async {
            let log = Log::default();
            let mut clients = Vec::new();
            for connection in 0..CONNECTIONS {
                let stream = TcpStream::connect(("127.0.0.1", envoy.port(15001))).await?;
                stream.set_nodelay(true)?;
                clients.push(spawn_local(client(connection, stream, Rc::clone(&log))));
            }
            ensure_workers_share(&envoy).await?;
            let mut pushes = Vec::new();
            for version in 1..=rounds * 2 {
                let change = if version % 2 == 1 { Change::All } else { Change::OneEndpoint };
                progress.say(&format!("{} of {services} Services, push {version}", change.name()));
                let text = text(change, version);
                let bytes = text.len();
                let (live, worst, worst_before) = once(&envoy, text, version, &log).await?;
                pushes.push(Push { services, change, bytes, live, worst, worst_before });
                if let Some(ended) = clients.iter().position(|client| client.is_finished()) {
                    clients.swap_remove(ended).await?.context("a connection ended")?;
                }
            }
            clients.iter().for_each(|client| client.abort());
            Ok(pushes)
        })
        .await
}

/// One push: how long until it is live, and the longest answers meanwhile and before.
async fn once(envoy: &Arc<Envoy>, text: String, version: usize, log: &Log) -> Result<(Duration, Duration, Duration)> {
    log.borrow_mut().clear();
    sleep(CALM).await;
    let pushed = Instant::now();
    let file = Arc::clone(envoy);
    // Not by this thread, whose requests would wait for the disk.
    spawn_blocking(move || file.write_push("shop", &text)).await??;
    let live = loop {
        sleep(Duration::from_millis(5)).await;
        let firsts: Vec<Instant> =
            (0..CONNECTIONS).filter_map(|connection| first_new(&log.borrow(), connection, version)).collect();
        if let (true, Some(last)) = (firsts.len() == CONNECTIONS as usize, firsts.into_iter().max()) {
            break last;
        }
        if pushed.elapsed() > PATIENCE {
            bail!("a push is not live after {} s:\n{}", PATIENCE.as_secs(), envoy.log());
        }
    };
    sleep(CALM).await;
    let served = envoy.stat("wasmcustom.byname.table.version").await?;
    ensure!(served == version as u64, "the gauge says version {served}, and {version} was pushed");
    // Not held while anything is waited for: the clients write to it.
    let log = log.borrow();
    let is_old = |seen: &&Seen| seen.since > live && seen.target != version % 2;
    ensure!(!log.iter().any(|seen| is_old(&seen)), "an old table answered after the new one was live everywhere");
    let longest = |is_meant: &dyn Fn(&Seen) -> bool| {
        log.iter().filter(|seen| is_meant(seen)).map(|seen| seen.until - seen.since).max().unwrap_or_default()
    };
    // What was under way when the table was pushed may have waited for it.
    let meanwhile = longest(&|seen| seen.until >= pushed && seen.since <= live);
    Ok((live - pushed, meanwhile, longest(&|seen| seen.until < pushed)))
}

/// When a connection first got an answer by this version's table.
fn first_new(log: &[Seen], connection: u32, version: usize) -> Option<Instant> {
    let new = log.iter().find(|seen| seen.connection == connection && seen.target == version % 2);
    new.map(|seen| seen.until)
}

async fn client(connection: u32, mut stream: TcpStream, log: Log) -> Result<()> {
    let request = get(PROBE);
    let names = TARGETS.map(|target| format!("{target}.{OWN}.svc.cluster.local"));
    let mut buffer = vec![0; MAX_MESSAGE_BYTES];
    let mut pace = Pace::new(PACE * connection, PACE * CONNECTIONS);
    loop {
        let since = pace.wait().await;
        let answer = ask(&mut stream, &mut buffer, &request, names[0].len()).await?;
        let until = Instant::now();
        let target = names.iter().position(|name| body(answer) == Some(name.as_bytes()));
        let target = target.with_context(|| format!("an answer by neither: {}", String::from_utf8_lossy(answer)))?;
        log.borrow_mut().push(Seen { connection, since, until, target });
    }
}

/// The kernel deals connections out to the workers; were all with one, the other's table would be nobody's.
async fn ensure_workers_share(envoy: &Envoy) -> Result<()> {
    sleep(CALM).await;
    let stats = envoy.stats(".worker_").await?;
    let busy = stats.iter().filter(|(name, active)| {
        name.contains(&format!("_{}.", envoy.port(15001))) && name.ends_with("downstream_cx_active") && **active > 0
    });
    let busy = busy.count();
    ensure!(busy == 2, "{busy} of 2 workers have connections: run it once more");
    Ok(())
}

/// A table whose probe leads to the target of `version`, and that differs from the one before it by `change`.
fn configuration(services: usize, upstream: u16, change: Change, version: usize) -> Value {
    let steering = Steering::Endpoint { upstream, is_watched: false, reach: Reach::First };
    let mut configuration = World { services }.configuration(&steering);
    // What changed all stays so with the version after it, which changes one.
    let block = version.div_ceil(2) % 2;
    configuration["table"]["version"] = version.into();
    let Some(table) = configuration.pointer_mut("/table/services").and_then(Value::as_object_mut) else {
        return configuration;
    };
    for addresses in table.values_mut().filter_map(|service| service.pointer_mut("/endpoints/0/addresses")) {
        let all = addresses.as_str().unwrap_or_default().split(' ').map(|address| match address.strip_prefix("10.") {
            Some(rest) => format!("{}.{rest}", 10 + block),
            None => address.to_owned(),
        });
        *addresses = all.collect::<Vec<_>>().join(" ").into();
    }
    let one = table.values_mut().find_map(|service| service.pointer_mut("/endpoints/0/addresses"));
    if let (Change::OneEndpoint, Some(addresses)) = (change, one) {
        *addresses = format!("{} 10.99.0.{version}", addresses.as_str().unwrap_or_default()).into();
    }
    for target in TARGETS {
        let endpoints = json!([{"addresses": "127.0.0.1", "ports": {"http": upstream}}]);
        let ports = json!([{"name": "http", "port": 80}]);
        table.insert(format!("{OWN}/{target}"), json!({"ports": ports, "endpoints": endpoints}));
    }
    let target = TARGETS.get(version % 2).copied().unwrap_or_default();
    let external_name = format!("{target}.{OWN}.svc.cluster.local");
    table.insert(format!("{OWN}/{PROBE}"), json!({"type": "ExternalName", "externalName": external_name}));
    configuration
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The longest answers while all endpoints of so many Services were pushed.
pub(super) fn worst_stall(pushes: &[Push], services: usize) -> Option<f64> {
    let full = pushes.iter().filter(|push| (push.services, push.change) == (services, Change::All));
    let worst = median(full.map(|push| milliseconds(push.worst)));
    worst.is_finite().then_some(worst)
}

/// Every number of Services and change once.
fn rows(pushes: &[Push]) -> Vec<(usize, Change, Vec<&Push>)> {
    let mut services: Vec<usize> = pushes.iter().map(|push| push.services).collect();
    services.dedup();
    let of = |services, change| pushes.iter().filter(move |push| (push.services, push.change) == (services, change));
    let changes = [Change::OneEndpoint, Change::All];
    services.iter().flat_map(|&n| changes.map(|change| (n, change, of(n, change).collect()))).collect()
}

pub(super) fn print(pushes: &[Push]) {
    let headings = ["Services", "pushed anew", "bytes", "live ms", "quartiles", "worst ms", "quartiles", "before ms"];
    let mut table = table(headings, &[1]);
    for (services, change, pushes) in rows(pushes) {
        let of = |time: fn(&Push) -> Duration| quartiles(pushes.iter().map(|push| milliseconds(time(push))).collect());
        let [low, live, high] = of(|push| push.live);
        let [low_worst, worst, high_worst] = of(|push| push.worst);
        let [_, before, _] = of(|push| push.worst_before);
        table.add_row([
            services.to_string(),
            change.name().to_owned(),
            pushes.first().map(|push| push.bytes).unwrap_or_default().to_string(),
            format!("{live:.0}"),
            format!("{low:.0} .. {high:.0}"),
            format!("{worst:.1}"),
            format!("{low_worst:.1} .. {high_worst:.1}"),
            format!("{before:.1}"),
        ]);
    }
    println!(
        "Pushes of byname by endpoint, two workers: until every connection sees it, and the longest answer meanwhile,"
    );
    println!("beside the longest of {} ms before. A push is the whole table, whatever changed.", CALM.as_millis());
    println!("{table}\n");
}

pub(super) fn json(pushes: &[Push]) -> Value {
    let result = |(services, change, pushes): (usize, Change, Vec<&Push>)| {
        let of =
            |time: fn(&Push) -> Duration| pushes.iter().map(|push| round(milliseconds(time(push)))).collect::<Vec<_>>();
        json!({
            "contestant": "byname-endpoint",
            "services": services,
            "change": change.name(),
            "bytes": pushes.first().map(|push| push.bytes),
            "liveMs": of(|push| push.live),
            "worstMs": of(|push| push.worst),
            "worstBeforeMs": of(|push| push.worst_before),
        })
    };
    json!({
        "workers": 2,
        "requestsPerSecond": 1.0 / PACE.as_secs_f64(),
        "connections": CONNECTIONS,
        "results": rows(pushes).into_iter().map(result).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::world::{namespace, service},
        *,
    };

    #[test]
    fn tables_differ_as_they_say() {
        let addresses = |change, version, index: usize| {
            let configuration = configuration(20, 1, change, version);
            let key = format!("{}/{}", namespace(index), service(index));
            configuration["table"]["services"][key]["endpoints"][0]["addresses"].clone()
        };
        // The first one's have to be reached.
        for index in 1..20 {
            assert_ne!(addresses(Change::All, 1, index), addresses(Change::All, 3, index), "Service {index}");
        }
        let changed =
            (0..20).filter(|index| addresses(Change::All, 1, *index) != addresses(Change::OneEndpoint, 2, *index));
        assert_eq!(changed.count(), 1);
    }
}
