//! The clients during pushes, and their observations. Clients and upstream have a thread of their own, so that other
//! work of the harness does not look like a slow Envoy.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use tokio::{
    net::TcpStream,
    runtime::{Builder, Runtime},
    task::JoinHandle,
    time::{Interval, MissedTickBehavior, interval_at},
};

use super::{
    super::{
        load::{MAX_MESSAGE_BYTES, ask, body, start_upstream},
        traffic::get,
    },
    tables::{PROBE, canonical_targets},
};

/// Enough connections for each worker to get some.
pub(in super::super) const CONNECTIONS: u32 = 16;
/// The time between requests over all connections.
pub(in super::super) const PACE: Duration = Duration::from_micros(500);
/// The interval of checks whether the thread is late, which is the resolution of its timer.
const TICK: Duration = Duration::from_millis(1);

/// The start and the end of a wait.
#[derive(Clone, Copy)]
struct Span {
    since: Instant,
    until: Instant,
}

impl Span {
    fn time(self) -> Duration {
        self.until.saturating_duration_since(self.since)
    }

    fn touches(self, from: Instant, to: Instant) -> bool {
        self.until >= from && self.since <= to
    }
}

/// A response, with the probe's target that sent it.
struct Answer {
    connection: usize,
    span: Span,
    target: usize,
}

/// The observations since the last `clear`.
#[derive(Default)]
pub(in super::super) struct Log {
    answers: Vec<Answer>,
    /// The time of each connection's first response by each target.
    firsts: Vec<[Option<Instant>; 2]>,
    /// The delays of the thread, from when it should have run to when it ran.
    late: Vec<Span>,
}

impl Log {
    pub(in super::super) fn clear(&mut self) {
        self.answers.clear();
        self.late.clear();
        self.firsts.clear();
        self.firsts.resize(CONNECTIONS as usize, [None; 2]);
    }

    fn answered(&mut self, connection: usize, span: Span, target: usize) {
        self.answers.push(Answer { connection, span, target });
        if let Some(first) = self.firsts.get_mut(connection).and_then(|firsts| firsts.get_mut(target)) {
            first.get_or_insert(span.until);
        }
    }

    /// The time at which the last connection got its first response by this target; `None` until all did.
    pub(in super::super) fn live(&self, target: usize) -> Option<Instant> {
        let firsts = self.firsts.iter().map(|firsts| firsts.get(target).copied().flatten());
        firsts.collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// Whether a request after `live` was answered by another target.
    pub(in super::super) fn is_old_after(&self, live: Instant, target: usize) -> bool {
        self.answers.iter().any(|answer| answer.span.since > live && answer.target != target)
    }

    /// The longest response time between these moments.
    pub(in super::super) fn longest(&self, from: Instant, to: Instant) -> Duration {
        longest(self.answers.iter().map(|answer| answer.span), from, to)
    }

    /// The response times of requests between these moments.
    pub(in super::super) fn times(&self, from: Instant, to: Instant) -> Vec<Duration> {
        self.answers.iter().map(|answer| answer.span).filter(|span| span.touches(from, to)).map(Span::time).collect()
    }

    /// The time of the last response that was not by this target.
    pub(in super::super) fn last_of_others(&self, target: usize) -> Option<Instant> {
        self.answers.iter().filter(|answer| answer.target != target).map(|answer| answer.span.until).max()
    }

    /// How often the responses changed from one target to the other, on the connection that saw the fewest changes.
    pub(in super::super) fn changes(&self) -> usize {
        let mut all = vec![(None, 0); CONNECTIONS as usize];
        for answer in &self.answers {
            if let Some((last, changes)) = all.get_mut(answer.connection) {
                *changes += usize::from(last.replace(answer.target).is_some_and(|last| last != answer.target));
            }
        }
        all.into_iter().map(|(_, changes)| changes).min().unwrap_or_default()
    }

    /// The longest delay of the clients' thread between these moments.
    pub(in super::super) fn latest(&self, from: Instant, to: Instant) -> Duration {
        longest(self.late.iter().copied(), from, to)
    }
}

fn longest(spans: impl Iterator<Item = Span>, from: Instant, to: Instant) -> Duration {
    spans.filter(|span| span.touches(from, to)).map(Span::time).max().unwrap_or_default()
}

/// The thread of the clients, and their observations.
pub(in super::super) struct Clients {
    /// `None` only during drop.
    runtime: Option<Runtime>,
    tasks: Vec<JoinHandle<Result<()>>>,
    log: Arc<Mutex<Log>>,
}

impl Clients {
    pub(in super::super) fn new() -> Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        Ok(Self { runtime: Some(runtime), tasks: Vec::new(), log: Arc::default() })
    }

    fn runtime(&self) -> Result<&Runtime> {
        self.runtime.as_ref().context("the clients have a thread")
    }

    /// Starts the upstream on the same thread, and returns its port.
    pub(in super::super) async fn start_upstream(&self) -> Result<u16> {
        self.runtime()?.spawn(start_upstream()).await?
    }

    /// Starts sending requests to this port.
    pub(in super::super) fn ask(&mut self, port: u16) -> Result<()> {
        self.log().clear();
        for connection in 0..CONNECTIONS {
            let task = self.runtime()?.spawn(client(connection, port, Arc::clone(&self.log)));
            self.tasks.push(task);
        }
        let task = self.runtime()?.spawn(watch_the_clock(Arc::clone(&self.log)));
        self.tasks.push(task);
        Ok(())
    }

    /// The observations. The clients wait while the guard is held.
    pub(in super::super) fn log(&self) -> MutexGuard<'_, Log> {
        lock(&self.log)
    }

    /// Fails if a client has ended.
    pub(in super::super) async fn check(&mut self) -> Result<()> {
        if let Some(ended) = self.tasks.iter().position(JoinHandle::is_finished) {
            self.tasks.swap_remove(ended).await?.context("a connection ended")?;
        }
        Ok(())
    }
}

impl Drop for Clients {
    /// Does not wait for the thread, because blocking is not allowed in asynchronous code.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An interval that skips missed ticks, so that no queue of the client's own follows a stall.
fn ticks(after: Duration, every: Duration) -> Interval {
    let mut ticks = interval_at((Instant::now() + after).into(), every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

async fn client(connection: u32, port: u16, log: Arc<Mutex<Log>>) -> Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let request = get(PROBE);
    let names = canonical_targets();
    // All targets have equally long names, so the length to read is known.
    let length = names.first().map(String::len).unwrap_or_default();
    let mut buffer = vec![0; MAX_MESSAGE_BYTES];
    let mut ticks = ticks(PACE * connection, PACE * CONNECTIONS);
    loop {
        ticks.tick().await;
        // Not the due time: one request per connection already records the whole stall of its worker.
        let since = Instant::now();
        let answer = ask(&mut stream, &mut buffer, &request, length).await?;
        let span = Span { since, until: Instant::now() };
        let target = names.iter().position(|name| body(answer) == Some(name.as_bytes()));
        let target = target.with_context(|| format!("an answer by neither: {}", String::from_utf8_lossy(answer)))?;
        lock(&log).answered(connection as usize, span, target);
    }
}

/// Records the delays of the thread, which its clients may have added to response times.
async fn watch_the_clock(log: Arc<Mutex<Log>>) -> Result<()> {
    let mut ticks = ticks(TICK, TICK);
    loop {
        let since = ticks.tick().await.into_std();
        lock(&log).late.push(Span { since, until: Instant::now() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_live_once_all_connections_saw_it() {
        let mut log = Log::default();
        log.clear();
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut answered = |connection, since, until, target| {
            log.answered(connection, Span { since: at(since), until: at(until) }, target);
            log.live(1)
        };
        for connection in 0..15 {
            assert_eq!(answered(connection, 1, 2 + connection as u64, 1), None);
        }
        assert_eq!(answered(15, 3, 40, 0), None, "the last connection has a response of the other target");
        assert_eq!(answered(15, 41, 50, 1), Some(at(50)));
        assert_eq!(answered(0, 60, 61, 1), Some(at(50)), "the push was live before");
        assert_eq!(log.live(0), None);
        assert!(!log.is_old_after(at(50), 1));
        log.answered(3, Span { since: at(51), until: at(52) }, 0);
        assert!(log.is_old_after(at(50), 1));
    }

    #[test]
    fn changes_are_those_that_every_connection_saw() {
        let mut log = Log::default();
        log.clear();
        let start = Instant::now();
        for (time, targets) in [(0, [0; 16]), (10, [1; 16]), (20, [0; 16])] {
            for (connection, target) in targets.into_iter().enumerate() {
                let at = start + Duration::from_millis(time);
                // One connection had no request while target 1 was live.
                let target = if connection == 7 { 0 } else { target };
                log.answered(connection, Span { since: at, until: at }, target);
            }
        }
        assert_eq!(log.changes(), 0);
        assert_eq!(log.last_of_others(0), Some(start + Duration::from_millis(10)));
        let after = start + Duration::from_millis(21);
        log.answered(7, Span { since: after, until: after }, 1);
        assert_eq!((log.changes(), log.last_of_others(0)), (1, Some(after)));
        assert_eq!(log.times(after, after).len(), 1);
    }

    #[test]
    fn the_longest_response_counts_overlapping_requests() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let span = |since, until| Span { since: at(since), until: at(until) };
        let spans = [span(0, 30), span(35, 45), span(60, 90)];
        let longest = |from, to| longest(spans.into_iter(), at(from), at(to)).as_millis();
        assert_eq!([longest(0, 100), longest(32, 50), longest(40, 60), longest(46, 50)], [30, 10, 30, 0]);
        assert_eq!(longest(29, 31), 30, "the wait began before");
    }
}
