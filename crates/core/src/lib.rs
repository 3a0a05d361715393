//! What a Kubernetes name means: the names, the table and the decision.
//!
//! [`Config::read`] turns a pushed configuration into something that can be asked; [`resolve`] says what an authority means
//! to a caller; [`Config::decide`] adds what is done to the request, and where that takes a choice it is handed a clock,
//! chance and the headers ([`Ambient`]) and what earlier choices left ([`Balance`]). All else is pure. The same code answers
//! in the filter, in the tests and wherever else a name has to be explained.
//!
//! What it does not do: it knows nothing of Envoy or proxy-wasm, has no Kubernetes client types, no input or output, and no
//! state between two requests but a [`Balance`], which its caller owns.

#![no_std]
// What writes by `Debug` is taken out of the module: it would only find words for a panic.
#![cfg_attr(not(test), deny(clippy::use_debug))]

extern crate alloc;

mod alias;
mod ambient;
mod answer;
mod authority;
mod balance;
mod caller;
mod config;
mod decision;
mod endpoints;
mod fallback;
mod few;
mod hash;
mod header;
mod health;
mod key;
mod label;
pub mod limits;
mod name;
mod path;
mod pick;
mod pieces;
mod plan;
mod policy;
mod port;
mod problem;
mod read;
mod reason;
mod rendezvous;
mod resolve;
#[cfg(feature = "schema")]
mod schema;
mod search;
mod service;
mod sorted;
mod special;
mod stand_in;
mod steer;
mod subsets;
mod syntax;
mod table;
mod template;
mod texts;
pub mod trace;
mod usable;
mod walk;
pub mod wire;

pub use ambient::{Ambient, Scripted, next_random};
pub use answer::Answer;
pub use authority::{Authority, AuthorityError, Host};
pub use balance::{Balance, Events, Ticket};
pub use caller::Caller;
pub use config::{Config, Defaults};
pub use decision::Decision;
pub use hash::Map;
pub use health::Outliers;
pub use label::EndpointLabel;
pub use name::{Name, NameError, is_label};
pub use plan::{Chooser, Plan};
pub use policy::{Policy, is_refused_target};
pub use problem::{Fault, Problem, Problems};
pub use reason::Reason;
pub use resolve::{Destination, Request, Resolution, Route, Scheme, resolve, resolve_traced};
pub use search::{Candidate, Resolver, SearchPath, SearchedName};
pub use service::{Service, ServicePort, Spoken};
pub use special::is_special;
pub use steer::Steering;
pub use table::{Missing, Table};
pub use trace::Trace;
pub use usable::Choice;
