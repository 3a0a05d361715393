//! Resolves Kubernetes names, and plans what is done to a request for a name.
//!
//! [`Config::read`] compiles a pushed configuration. [`Config::resolve`] returns what an authority resolves to for a caller,
//! and [`Config::plan`] what is done to the request. For choices, `plan` takes an [`Env`] (clock, random numbers, headers) and
//! a [`Balance`] (the state of earlier choices). Everything else is pure, and the same code answers in the filter, in the
//! `byname` command and in every test.
//!
//! Each module may use the modules below it, and none above it; `make lint` checks that.
//!
//! ```text
//! config                     the whole configuration: read, resolve, plan
//!   report                   what people see of a decision: local reply, access log, trace
//!     steer                  from a resolution to a cluster, an endpoint, an authority
//!       resolve | balance | discovery   what a name resolves to | which endpoint is chosen | what a server is asked for
//!         table              what is known of the cluster, compiled for one caller
//!           policy           the rules of a configuration
//!             wire           the pushed JSON, how it is read, errors that name the field
//!               names        authorities, DNS names, the search path
//!                 text, collections, limits
//! ```
//!
//! The crate knows nothing of Envoy or proxy-wasm, has no Kubernetes client types, no input or output, and no state between two
//! requests except a [`Balance`], which its caller owns, and what a server was asked for ([`Discovery`]).

#![no_std]
// `Debug` formatting is taken out of the module: it would only word panics.
#![cfg_attr(not(test), deny(clippy::use_debug))]

extern crate alloc;

mod balance;
mod collections;
mod config;
mod discovery;
pub mod limits;
mod names;
mod policy;
mod report;
mod resolve;
mod steer;
mod table;
mod text;
pub mod wire;

pub use balance::{Balance, Env, Events, FakeEnv, Ticket, next_random};
pub use collections::{HashMap, hash_bytes, hash_words};
pub use config::{Config, ConfigReading, Defaults, DestinationPort, ReadingStep, ServicesLeftOut};
pub use discovery::{Counts, Discovery, StreamAction, StreamNode, put_protobuf_bytes, put_protobuf_number};
pub use names::{
    Authority, AuthorityError, Caller, Candidate, EndpointLabel, Host, Name, NameError, NamespacedName, Resolver,
    SearchPath, SearchedName, is_label, is_special,
};
pub use policy::is_refused_target;
pub use report::{Decision, LocalReply};
pub use resolve::{Destination, Pass, Reason, Refusal, Request, Resolution, Route, Scheme, Trace, trace};
pub use steer::{Chooser, Plan, Steering};
pub use table::{Choice, Key, Missing, Service, ServicePort, ServiceSpec, Table, UpstreamProtocol};
pub use wire::{FieldError, FieldErrorType, FieldErrors, FieldPath};
