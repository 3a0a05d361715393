//! The choice of one endpoint out of the usable ones, and the only state between two requests.
//!
//! `subset` chooses a subset, `pick` one endpoint of it, `state` keeps the state between choices (round-robin turns, open
//! requests, failures), and `ejection` decides which endpoints are ejected. Clock, random numbers and headers are passed in as
//! an [`Env`], so every choice can be repeated.
//!
//! It may use `table` and everything below it. It never changes a table and knows no names: Services and endpoints are
//! numbers to it, so its state outlives every configuration push.

mod ejection;
mod env;
mod pick;
mod rendezvous;
mod state;
mod subset;

pub use env::{Env, FakeEnv, next_random};
pub use state::{Balance, Events, Ticket};

pub(crate) use pick::{PickRequest, Picked, affinity_key};
pub(crate) use rendezvous::score_address;
pub(crate) use state::SetLocation;
pub(crate) use subset::choose_subset;
