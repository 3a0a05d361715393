//! Clients that ask an Envoy for names that it knows, without pause.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use byname_test_support::{Connection, Envoy, RequestForm};
use tokio::{task::JoinSet, time::sleep};

const CLIENTS: usize = 4;
const PAUSE: Duration = Duration::from_millis(4);
/// Failures that are shown.
const SHOWN: usize = 5;

/// The upstreams of a [`Load`] that may answer now.
type Expected = Arc<Mutex<Vec<String>>>;

pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    expected: Expected,
    seen: Arc<Mutex<Seen>>,
    clients: JoinSet<()>,
}

#[derive(Default)]
struct Seen {
    requests: usize,
    /// How often each upstream answered each name.
    answers: BTreeMap<(String, String), usize>,
    failures: Vec<String>,
}

impl Load {
    /// Asks for these names over and over, each client on one connection. Only these upstreams may answer: Envoy may pass on what it does
    /// not know, so that a lost name gets a 200 too.
    pub(crate) fn start(envoy: &Envoy, names: &[&str], upstreams: &[&str]) -> Self {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Seen::default())));
        let expected = Expected::default();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let shared = (Arc::clone(&expected), Arc::clone(&seen));
            clients.spawn(ask(envoy.port(15001), names.clone(), Arc::clone(&stop), shared));
        }
        let load = Self { stop, expected, seen, clients };
        load.expect(upstreams);
        load
    }

    /// From now on, only these upstreams may answer.
    pub(crate) fn expect(&self, upstreams: &[&str]) {
        *self.expected.lock().unwrap() = upstreams.iter().map(|&name| name.to_owned()).collect();
    }

    /// Which upstreams have answered `name` since the last call.
    pub(crate) fn take_answers(&self, name: &str) -> Vec<String> {
        let all = std::mem::take(&mut self.seen.lock().unwrap().answers);
        all.into_keys().filter(|(asked, _)| asked == name).map(|(_, upstream)| upstream).collect()
    }

    /// Ends the clients, and returns how many requests they sent. None may have failed, and no connection may have ended.
    pub(crate) async fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.join_all().await;
        let seen = self.seen.lock().unwrap();
        assert_eq!(seen.failures, Vec::<String>::new(), "of {} requests", seen.requests);
        seen.requests
    }
}

async fn ask(port: u16, names: Vec<String>, stop: Arc<AtomicBool>, (expected, seen): (Expected, Arc<Mutex<Seen>>)) {
    let mut connection = Connection::open(port, RequestForm::Host).await.unwrap();
    for name in names.iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let reply = connection.get(name, &[]).await;
        let failure = match &reply {
            Ok(reply) if reply.status == 200 => {
                let upstream = reply.said("upstream");
                (!expected.lock().unwrap().contains(&upstream)).then(|| format!("{name}: {upstream} answered"))
            }
            Ok(reply) => Some(format!("{name}: {} {}", reply.status, reply.body.trim())),
            Err(error) => Some(format!("{name}: {error:#}")),
        };
        if reply.is_err() {
            connection = Connection::open(port, RequestForm::Host).await.unwrap();
        }
        {
            let mut seen = seen.lock().unwrap();
            seen.requests += 1;
            match (failure, reply) {
                (None, Ok(reply)) => {
                    *seen.answers.entry((name.clone(), reply.said("upstream"))).or_default() += 1;
                }
                (Some(failure), _) if seen.failures.len() < SHOWN => seen.failures.push(failure),
                _ => {}
            }
        }
        sleep(PAUSE).await;
    }
}
