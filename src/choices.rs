//! What choices are made with: what earlier ones left, the host's clock, chance, and the headers of the request.

use std::cell::{Cell, RefCell};

use byname_core::{Ambient, Balance, Chooser, Config, Ticket, next_random};

use crate::{
    host::{self, Headers},
    request_log, stats,
};

thread_local! {
    /// One for a VM: configurations come and go, and what endpoints were found to be stays true.
    static BALANCE: RefCell<Balance> = RefCell::default();
    static CHANCE: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Clock, chance and headers, as a request sees them.
struct World<'h> {
    headers: &'h Headers,
}

impl Ambient for World<'_> {
    fn now(&self) -> u64 {
        // Without a clock nothing stays ejected: any end then seems further away than an ejection lasts.
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
        self.headers.get(name)
    }
}

/// Lets `use_it` see what earlier choices left, and counts what came of it. Nobody else can hold it, as nothing in here waits
/// for anything; if somebody did, it would be as if there had been none.
fn with_balance<T>(use_it: impl FnOnce(&mut Balance) -> T) -> T {
    let use_and_count = |balance: &mut Balance| {
        let used = use_it(balance);
        stats::count_events(balance.take_events());
        used
    };
    BALANCE.with(|balance| match balance.try_borrow_mut() {
        Ok(mut balance) => use_and_count(&mut balance),
        Err(_) => use_and_count(&mut Balance::default()),
    })
}

/// Lets `decide` choose for the request with these headers.
pub(crate) fn with<T>(headers: &Headers, decide: impl FnOnce(&mut Chooser<'_>) -> T) -> T {
    with_balance(|balance| decide(&mut Chooser { balance, ambient: &mut World { headers } }))
}

/// A request whose endpoint was chosen, until its stream ends.
#[derive(Clone, Copy)]
pub(crate) struct Open {
    pub(crate) ticket: Ticket,
    pub(crate) is_grpc: bool,
    /// Whether it went to the endpoint at all.
    pub(crate) was_sent: bool,
}

/// The stream of this request ends. `config` is the one by which it was steered, if that is still there.
pub(crate) fn done(config: Option<&Config>, open: Open) {
    let Open { ticket, is_grpc, was_sent } = open;
    let Some(config) = config else { return with_balance(|balance| balance.release(ticket)) };
    let status = if was_sent && ticket.wants_status() { outcome(is_grpc) } else { None };
    let mut world = World { headers: &Headers::default() };
    let is_ejected = with_balance(|balance| config.done(ticket, status, &mut Chooser { balance, ambient: &mut world }));
    if is_ejected {
        let (address, port) = ticket.endpoint();
        request_log::write(log::Level::Warn, || {
            format!("byname: endpoint {address} port {port} is ejected: too many failures in a row")
        });
    }
}

/// Envoy's response flags: an upstream that took too long, reset the request, could not be reached, went away.
const UPSTREAM_FAILED: u64 = 0x04 | 0x10 | 0x20 | 0x40;
/// What Envoy says of a response that an upstream gave.
const VIA_UPSTREAM: &[u8] = b"via_upstream";

/// How a request ended for its endpoint, as a status; `None` where that says nothing of it: an answer of 500 and above may
/// be another filter's, or that of a circuit breaker. To gRPC Envoy answers 200 where it cannot reach an upstream.
fn outcome(is_grpc: bool) -> Option<u16> {
    let status = host::response_code()?;
    let is_failure = status >= 500;
    if (!is_failure && !is_grpc)
        || (is_failure && host::response_details().is_some_and(|details| details == VIA_UPSTREAM))
    {
        return Some(status);
    }
    match host::response_flags().unwrap_or_default() & UPSTREAM_FAILED {
        0 if is_failure => None,
        0 => Some(status),
        _ => Some(status.max(503)),
    }
}

/// Forgets what is over.
pub(crate) fn sweep() {
    with_balance(|balance| {
        if !balance.is_empty() {
            balance.sweep(host::now().unwrap_or_default());
        }
    });
}
