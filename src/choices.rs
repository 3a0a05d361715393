//! What choices are made with: what earlier ones left, the host's clock, chance, and the headers of the request.

use std::cell::Cell;

use byname_core::{Ambient, Balance, Chooser, Ticket, next_random};

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

/// The request of this ticket is over.
pub(crate) fn done(ticket: Ticket) {
    let status = if ticket.wants_status() { host::response_code() } else { None };
    let mut balance = BALANCE.take();
    if balance.done(ticket, status, &mut World { headers: &Headers::default() }) {
        let (address, port) = ticket.endpoint();
        request_log::write(log::Level::Warn, || {
            format!("byname: endpoint {address} port {port} is ejected: too many failures in a row")
        });
    }
    put_back(balance);
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
