//! The inputs of the core's choices: the state of earlier choices, the host's clock, random numbers and the request's
//! headers.

use std::cell::{Cell, RefCell};

use byname_core::{Balance, Chooser, Config, Env, Ticket, next_random};

use crate::{
    host::{self, Headers},
    request_log, stats,
};

thread_local! {
    /// One per VM, because the health of endpoints outlives every configuration.
    static BALANCE: RefCell<Balance> = const { RefCell::new(Balance::new()) };
    /// The state of the random number generator.
    static RANDOM: Cell<Option<u64>> = const { Cell::new(None) };
}

/// The clock, random numbers and headers for one request.
struct HostEnv<'h> {
    headers: &'h Headers,
}

impl Env for HostEnv<'_> {
    fn now(&self) -> u64 {
        // Without a clock nothing stays ejected, because every end seems further away than the longest ejection.
        host::now().unwrap_or_default()
    }

    fn random(&mut self) -> u64 {
        random()
    }

    fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.get(name)
    }
}

/// A random number.
pub(crate) fn random() -> u64 {
    // The only entropy of a module is the time, in nanoseconds, at which a worker first needs a random number.
    let mut state = RANDOM.get().unwrap_or_else(|| host::now().unwrap_or_default());
    let random = next_random(&mut state);
    RANDOM.set(Some(state));
    random
}

/// Passes the balance to `use_it`, or an empty one for a request that is observed, and counts the resulting ejections. Nothing in here re-enters, so the balance is
/// free. If it were not, an empty balance would be used.
fn with_balance<T>(is_observed: bool, use_it: impl FnOnce(&mut Balance) -> T) -> T {
    let use_and_count = |balance: &mut Balance| {
        let used = use_it(balance);
        stats::count_events(balance.take_events());
        used
    };
    BALANCE.with(|balance| match balance.try_borrow_mut() {
        Ok(mut balance) if !is_observed => use_and_count(&mut balance),
        _ => use_and_count(&mut Balance::new()),
    })
}

/// Calls `decide` with the chooser for a request with these headers.
pub(crate) fn with<T>(headers: &Headers, is_observed: bool, decide: impl FnOnce(&mut Chooser<'_>) -> T) -> T {
    with_balance(is_observed, |balance| decide(&mut Chooser { balance, env: &mut HostEnv { headers } }))
}

/// A request whose endpoint was chosen, until its stream ends.
#[derive(Clone, Copy)]
pub(crate) struct Open {
    pub(crate) ticket: Ticket,
    pub(crate) is_grpc: bool,
    /// Whether the request was sent to the endpoint.
    pub(crate) was_sent: bool,
}

/// Records the end of a request. `config` is the configuration that steered it, if it still serves.
pub(crate) fn done(config: Option<&Config>, open: Open) {
    let Open { ticket, is_grpc, was_sent } = open;
    let Some(config) = config else { return with_balance(false, |balance| balance.release(ticket)) };
    let status = if was_sent && ticket.wants_status() { outcome(is_grpc) } else { None };
    let mut env = HostEnv { headers: &Headers::default() };
    let is_ejected =
        with_balance(false, |balance| config.done(ticket, status, &mut Chooser { balance, env: &mut env }));
    if is_ejected {
        let (address, port) = ticket.endpoint();
        request_log::write(log::Level::Warn, || {
            format!("byname: endpoint {address} port {port} is ejected: too many consecutive failures")
        });
    }
}

/// Envoy's response flags for an upstream that timed out, reset the request, refused the connection, or closed it.
const UPSTREAM_FAILED: u64 = 0x04 | 0x10 | 0x20 | 0x40;
/// The response details of a response that an upstream sent.
const VIA_UPSTREAM: &[u8] = b"via_upstream";

/// The status of a request as a result of its endpoint; `None` if another filter or a circuit breaker caused a status
/// of 500 and above. For gRPC, Envoy responds with 200 even if it cannot reach the upstream.
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

/// Forgets expired state.
pub(crate) fn sweep() {
    with_balance(false, |balance| {
        if !balance.is_empty() {
            balance.sweep(host::now().unwrap_or_default());
        }
    });
}
