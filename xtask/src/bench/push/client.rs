//! Who asks while tables are pushed, and what they saw. They and their upstream have a thread of their own, which does
//! nothing else: what the harness does meanwhile must not look like an Envoy that is slow.

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

/// So many that each worker has some of them.
pub(super) const CONNECTIONS: u32 = 16;
/// From one request to the next, of all connections together.
pub(super) const PACE: Duration = Duration::from_micros(500);
/// How often the thread looks whether it is late: as often as its timer ticks.
const TICK: Duration = Duration::from_millis(1);

/// From when to when something was waited for.
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

/// What was seen since it was last cleared.
#[derive(Default)]
pub(super) struct Log {
    /// Each answer, and by which of the probe's targets.
    answers: Vec<(Span, usize)>,
    /// When each connection first got an answer by each of the targets.
    firsts: Vec<[Option<Instant>; 2]>,
    /// From when the thread should have run to when it did.
    late: Vec<Span>,
}

impl Log {
    pub(super) fn clear(&mut self) {
        self.answers.clear();
        self.late.clear();
        self.firsts.clear();
        self.firsts.resize(CONNECTIONS as usize, [None; 2]);
    }

    fn answered(&mut self, connection: usize, span: Span, target: usize) {
        self.answers.push((span, target));
        if let Some(first) = self.firsts.get_mut(connection).and_then(|firsts| firsts.get_mut(target)) {
            first.get_or_insert(span.until);
        }
    }

    /// When the last of all connections first got an answer by this target, if all did.
    pub(super) fn live(&self, target: usize) -> Option<Instant> {
        let firsts = self.firsts.iter().map(|firsts| firsts.get(target).copied().flatten());
        firsts.collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// Whether what was asked after `live` was answered by another target.
    pub(super) fn is_old_after(&self, live: Instant, target: usize) -> bool {
        self.answers.iter().any(|(span, answered)| span.since > live && *answered != target)
    }

    /// The longest answer that was waited for between these moments.
    pub(super) fn longest(&self, from: Instant, to: Instant) -> Duration {
        longest(self.answers.iter().map(|(span, _)| *span), from, to)
    }

    /// The longest that the clients themselves were late between these moments.
    pub(super) fn latest(&self, from: Instant, to: Instant) -> Duration {
        longest(self.late.iter().copied(), from, to)
    }
}

fn longest(spans: impl Iterator<Item = Span>, from: Instant, to: Instant) -> Duration {
    spans.filter(|span| span.touches(from, to)).map(Span::time).max().unwrap_or_default()
}

/// The thread, and what its clients saw.
pub(super) struct Clients {
    /// There until this is dropped.
    runtime: Option<Runtime>,
    tasks: Vec<JoinHandle<Result<()>>>,
    log: Arc<Mutex<Log>>,
}

impl Clients {
    pub(super) fn new() -> Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        Ok(Self { runtime: Some(runtime), tasks: Vec::new(), log: Arc::default() })
    }

    fn runtime(&self) -> Result<&Runtime> {
        self.runtime.as_ref().context("the clients have a thread")
    }

    /// Starts the upstream on the same thread, and says where it listens.
    pub(super) async fn start_upstream(&self) -> Result<u16> {
        self.runtime()?.spawn(start_upstream()).await?
    }

    /// Lets them ask on this port from now on.
    pub(super) fn ask(&mut self, port: u16) -> Result<()> {
        self.log().clear();
        for connection in 0..CONNECTIONS {
            let task = self.runtime()?.spawn(client(connection, port, Arc::clone(&self.log)));
            self.tasks.push(task);
        }
        let task = self.runtime()?.spawn(watch_the_clock(Arc::clone(&self.log)));
        self.tasks.push(task);
        Ok(())
    }

    /// What was seen, which they wait for to be let go.
    pub(super) fn log(&self) -> MutexGuard<'_, Log> {
        lock(&self.log)
    }

    /// Fails where one of them has ended.
    pub(super) async fn check(&mut self) -> Result<()> {
        if let Some(ended) = self.tasks.iter().position(JoinHandle::is_finished) {
            self.tasks.swap_remove(ended).await?.context("a connection ended")?;
        }
        Ok(())
    }
}

impl Drop for Clients {
    /// Without waiting, which is not allowed where other things wait.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is due while the one before is under way is left out: a stall is not followed by a queue that is the client's own.
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
    // All are as long, so that one knows how much to read.
    let length = names.first().map(String::len).unwrap_or_default();
    let mut buffer = vec![0; MAX_MESSAGE_BYTES];
    let mut ticks = ticks(PACE * connection, PACE * CONNECTIONS);
    loop {
        ticks.tick().await;
        // Not since it was due: of the connections of a worker that stalls one waits for all of it.
        let since = Instant::now();
        let answer = ask(&mut stream, &mut buffer, &request, length).await?;
        let span = Span { since, until: Instant::now() };
        let target = names.iter().position(|name| body(answer) == Some(name.as_bytes()));
        let target = target.with_context(|| format!("an answer by neither: {}", String::from_utf8_lossy(answer)))?;
        lock(&log).answered(connection as usize, span, target);
    }
}

/// Notes how late the thread is, which is what its clients may have added to an answer.
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
    fn a_table_is_live_when_all_connections_saw_it() {
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
        assert_eq!(answered(15, 3, 40, 0), None, "the last one has another's answer");
        assert_eq!(answered(15, 41, 50, 1), Some(at(50)));
        assert_eq!(answered(0, 60, 61, 1), Some(at(50)), "it was live before");
        assert_eq!(log.live(0), None);
        assert!(!log.is_old_after(at(50), 1));
        log.answered(3, Span { since: at(51), until: at(52) }, 0);
        assert!(log.is_old_after(at(50), 1));
    }

    #[test]
    fn the_longest_is_of_what_was_under_way() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let span = |since, until| Span { since: at(since), until: at(until) };
        let spans = [span(0, 30), span(35, 45), span(60, 90)];
        let longest = |from, to| longest(spans.into_iter(), at(from), at(to)).as_millis();
        assert_eq!([longest(0, 100), longest(32, 50), longest(40, 60), longest(46, 50)], [30, 10, 30, 0]);
        assert_eq!(longest(29, 31), 30, "it was waited for before too");
    }
}
