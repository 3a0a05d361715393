//! What a Kubernetes name means: the names, the table and the decision.
//!
//! [`Config::read`] turns a pushed configuration into something that can be asked; [`resolve`] says what an authority means
//! to a caller; [`Config::decide`] adds what is done to the request. All of it is pure: no clock, no chance, no host, no
//! input or output. The same code answers in the filter, in the tests and wherever else a name has to be explained.
//!
//! What it does not do: it knows nothing of Envoy or proxy-wasm, has no Kubernetes client types, picks no endpoint, and
//! keeps no state between two requests.

#![no_std]

extern crate alloc;

mod alias;
mod answer;
mod authority;
mod caller;
mod config;
mod decision;
mod endpoints;
pub mod limits;
mod name;
mod objects;
mod policy;
mod port;
mod problem;
mod reason;
mod resolve;
#[cfg(feature = "schema")]
mod schema;
mod search;
mod service;
mod steer;
mod syntax;
mod table;
mod template;
mod texts;
pub mod trace;
mod usable;
mod walk;
pub mod wire;

pub use answer::Answer;
pub use authority::{Authority, AuthorityError, Host};
pub use caller::Caller;
pub use config::{Config, Defaults};
pub use decision::Decision;
pub use endpoints::EndpointLabel;
pub use name::{Name, NameError, is_label};
pub use policy::Policy;
pub use problem::{Fault, Problem, Problems};
pub use reason::Reason;
pub use resolve::{Destination, Request, Resolution, Route, Scheme, resolve, resolve_traced};
pub use search::{Candidate, Resolver, SearchPath};
pub use service::{Service, ServicePort};
pub use steer::{Plan, Steering};
pub use table::{Missing, Table};
pub use trace::Trace;
pub use usable::Choice;
