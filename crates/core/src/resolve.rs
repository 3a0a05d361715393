//! The resolution: what the name that a client used resolves to for a caller.
//!
//! [`resolve`] walks along the search path (`search`), through ExternalName Services (`alias`) and fallbacks (`fallback`), to a
//! port that something serves (`port`). It is pure and total: whatever the input, there is a resolution with a reason, and the
//! same function answers in the filter, in the `byname` command and in every test. If a trace is asked for, it notes every
//! step.
//!
//! It may use `table` and everything below it. It never chooses one endpoint of several and knows nothing of Envoy's clusters.

use alloc::vec::Vec;

use crate::{
    names::Caller,
    table::{Key, Table},
};

mod alias;
mod fallback;
mod port;
mod reason;
mod resolution;
mod search;
pub mod trace;
mod walk_state;

pub use reason::{Reason, Refusal};
pub use resolution::{Destination, Pass, Request, Resolution, Route, Scheme};
pub use trace::Trace;

pub(crate) use resolution::Upstream;

/// What `request` resolves to for `caller`, by `table`. Notes every step in `trace`, if given.
#[must_use]
pub(crate) fn resolve<'t>(
    table: &'t Table,
    caller: &Caller,
    request: Request<'_>,
    trace: Option<&mut Trace>,
) -> Resolution<'t> {
    let mut walk = walk_state::Walk::new(table, caller, trace);
    let mut resolution = walk.resolve(request);
    walk.conclude(&mut resolution);
    resolution
}

/// What a server has to answer before it is known what `request` resolves to.
#[must_use]
#[inline(never)]
pub(crate) fn unanswered_keys(table: &Table, caller: &Caller, request: Request<'_>) -> Vec<Key> {
    let mut keys = Vec::new();
    let mut walk = walk_state::Walk::new(table, caller, None);
    walk.collect(&mut keys);
    let _ = walk.resolve(request);
    keys
}
