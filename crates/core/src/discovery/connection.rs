//! Whether the stream is open, and when it is opened next.

/// The first pause after a failed attempt; each further one doubles it.
const FIRST_PAUSE_MILLISECONDS: u64 = 500;
/// The longest pause after an attempt that was refused, which costs a server little.
const LONGEST_PAUSE_MILLISECONDS: u64 = 5_000;
/// The longest pause after streams that were answered and ended young, which cost it more.
const LONGEST_PAUSE_OF_YOUNG_MILLISECONDS: u64 = 30_000;
/// Attempts after a stream that was of use are spread over this time.
const SPREAD_MILLISECONDS: u64 = 50;
/// A stream that ends sooner was of little use: a second one in a row counts as a failed attempt.
const YOUNG_MILLISECONDS: u64 = 10_000;
/// A server that answers nothing for so long is of no use.
const SILENCE_MILLISECONDS: u64 = 5_000;

#[derive(Debug, Default)]
pub(super) struct Connection {
    state: State,
    /// Attempts since the server last answered.
    failures: u32,
    has_answered: bool,
    opened_at: u64,
    /// Streams in a row that ended young.
    young: u32,
    /// Since when there is no stream that the server answers; 0 if there is one, or none was opened yet.
    lost_at: u64,
    /// Since when the server has had questions to answer and has answered nothing.
    silent_since: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// Nothing has been asked for yet.
    #[default]
    Unused,
    Opening,
    Open,
    Closed {
        retry_at: u64,
    },
}

impl Connection {
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// Whether there is a stream, or soon will be.
    pub(super) fn is_under_way(&self) -> bool {
        matches!(self.state, State::Opening | State::Open)
    }

    /// Whether an answer can be expected soon.
    pub(super) fn is_hopeful(&self) -> bool {
        self.failures == 0
    }

    /// Whether the stream is to be opened now, which the caller then does.
    pub(super) fn may_open(&mut self, now: u64) -> bool {
        let may = match self.state {
            State::Unused => true,
            State::Closed { retry_at } => retry_at <= now,
            State::Opening | State::Open => false,
        };
        if may {
            self.state = State::Opening;
        }
        may
    }

    pub(super) fn opened(&mut self, now: u64) {
        (self.state, self.opened_at) = (State::Open, now);
        (self.has_answered, self.silent_since) = (false, None);
    }

    /// The server has questions to answer.
    pub(super) fn asked(&mut self, now: u64) {
        self.silent_since.get_or_insert(now);
    }

    /// The server answered; `is_more` says that there are questions left.
    pub(super) fn answered(&mut self, now: u64, is_more: bool) {
        (self.failures, self.has_answered, self.silent_since) = (0, true, is_more.then_some(now));
        self.lost_at = 0;
    }

    /// What the server sent is of no use, or it sends nothing.
    pub(super) fn failed(&mut self) {
        self.has_answered = false;
    }

    pub(super) fn lost_at(&self) -> u64 {
        self.lost_at
    }

    pub(super) fn closed(&mut self, now: u64, random: u64) {
        if self.lost_at == 0 {
            self.lost_at = now;
        }
        let was_of_use = core::mem::take(&mut self.has_answered);
        if was_of_use {
            let is_young = now.saturating_sub(self.opened_at) < YOUNG_MILLISECONDS;
            self.young = if is_young { self.young.saturating_add(1) } else { 0 };
        }
        // A server that stops, or lets its streams age, is replaced by another at once.
        let pause = if was_of_use && self.young <= 1 {
            random % SPREAD_MILLISECONDS
        } else {
            self.failures = self.failures.max(self.young.saturating_sub(2)).saturating_add(1);
            let doubled = FIRST_PAUSE_MILLISECONDS << (self.failures - 1).min(8);
            let longest = if was_of_use { LONGEST_PAUSE_OF_YOUNG_MILLISECONDS } else { LONGEST_PAUSE_MILLISECONDS };
            let pause = doubled.min(longest);
            pause / 2 + random % (pause / 2)
        };
        self.state = State::Closed { retry_at: now.saturating_add(pause) };
    }

    /// Whether the server has let questions wait for too long.
    pub(super) fn is_silent(&self, now: u64) -> bool {
        self.is_open() && self.silent_since.is_some_and(|since| now.saturating_sub(since) >= SILENCE_MILLISECONDS)
    }

    /// A new configuration has ended the stream, perhaps with another server.
    pub(super) fn was_replaced(&mut self, now: u64, is_other_server: bool) {
        if is_other_server {
            (self.failures, self.young) = (0, 0);
        }
        if !matches!(self.state, State::Unused) {
            self.state = State::Closed { retry_at: now };
        }
    }

    /// When something is to be done, if nothing happens before. `is_needed` says whether the stream is.
    pub(super) fn next_event(&self, is_needed: bool) -> Option<u64> {
        match self.state {
            State::Open => self.silent_since.map(|since| since.saturating_add(SILENCE_MILLISECONDS)),
            State::Closed { retry_at } => is_needed.then_some(retry_at),
            State::Unused => is_needed.then_some(0),
            State::Opening => None,
        }
    }
}
