//! What choices are made with: what earlier ones left, the host's clock, chance, and the headers of the request.

use std::cell::Cell;

use byname_core::{Ambient, Balance, Chooser, Config, Ticket, next_random};

use crate::{
    host::{self, Headers},
    request_log, stats,
};

thread_local! {
    /// One for a VM: configurations come and go, and what endpoints were found to be stays true.
    static BALANCE: Cell<Balance> = Cell::default();
    static CHANCE: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Clock, chance and headers, as a request sees them.
struct World<'h> {
    headers: &'h Headers,
}

impl Ambient for World<'_> {
    fn now(&self) -> u64 {
        // Without a clock no time passes: what is ejected stays so, and is used where nothing else is left.
        host::now().unwrap_or_default()
    }

    fn random(&mut self) -> u64 {
        // The module has no source of chance but the time at which a worker needs it first, in nanoseconds.
        let mut state = CHANCE.get().unwrap_or_else(|| self.now());
        let random = next_random(&mut state);
        CHANCE.set(Some(state));
        random
    }

    fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(other, _)| *other == name.as_bytes()).map(|(_, value)| value)
    }
}

/// Lets `decide` choose for the request with these headers.
pub(crate) fn with<T>(headers: &Headers, decide: impl FnOnce(&mut Chooser<'_>) -> T) -> T {
    let mut balance = BALANCE.take();
    let decided = decide(&mut Chooser { balance: &mut balance, ambient: &mut World { headers } });
    put_back(balance);
    decided
}

/// A request whose endpoint was chosen, until its stream ends.
#[derive(Clone, Copy)]
pub(crate) struct Open {
    pub(crate) ticket: Ticket,
    pub(crate) is_grpc: bool,
    /// Whether it went to the endpoint at all.
    pub(crate) was_sent: bool,
}

/// The stream of this request ends.
pub(crate) fn done(config: &Config, open: Open) {
    let Open { ticket, is_grpc, was_sent } = open;
    let status = if was_sent && ticket.wants_status() { outcome(is_grpc) } else { None };
    let mut balance = BALANCE.take();
    let mut world = World { headers: &Headers::default() };
    if config.done(ticket, status, &mut Chooser { balance: &mut balance, ambient: &mut world }) {
        let (address, port) = ticket.endpoint();
        request_log::write(log::Level::Warn, || {
            format!("byname: endpoint {address} port {port} is ejected: too many failures in a row")
        });
    }
    put_back(balance);
}

/// Envoy's response flags: an upstream that took too long, reset the request, could not be reached, went away.
const UPSTREAM_FAILED: u64 = 0x04 | 0x10 | 0x20 | 0x40;
/// A circuit breaker was open: that says nothing of the endpoint.
const UPSTREAM_OVERFLOW: u64 = 0x80;

/// How a request ended, as a status. To gRPC Envoy answers 200 where it cannot reach an upstream; only the flags tell then.
fn outcome(is_grpc: bool) -> Option<u16> {
    let status = host::response_code()?;
    if status < 500 && !is_grpc {
        return Some(status);
    }
    match host::response_flags().unwrap_or_default() {
        flags if flags & UPSTREAM_OVERFLOW != 0 => None,
        flags if flags & UPSTREAM_FAILED != 0 => Some(status.max(503)),
        _ => Some(status),
    }
}

/// Forgets what is over.
pub(crate) fn sweep() {
    let mut balance = BALANCE.take();
    if !balance.is_empty() {
        balance.sweep(host::now().unwrap_or_default());
    }
    put_back(balance);
}

fn put_back(mut balance: Balance) {
    stats::count_events(balance.take_events());
    BALANCE.set(balance);
}
