//! The table: what is known of the cluster, compiled for one caller, so that a request parses nothing and a lookup takes the
//! same time whatever the table's size.
//!
//! A pushed Service becomes a [`ServiceSpec`], checked by itself. A [`Table`] turns the spec into a [`Service`]: it works out
//! once which endpoints may serve each port for its caller, in which subsets and with which weights. Lookups by DNS name are
//! in `lookup`. Lookups never change a table: `filling` does, and `discovery` by what a server
//! answers.
//!
//! It may use `policy` and everything below it. It never chooses one endpoint of several: `balance` does.

mod addresses;
mod endpoint_group;
mod endpoint_set;
mod endpoints;
mod filling;
mod headless;
mod index;
mod lookup;
mod missing;
mod on_demand;
mod service;
mod service_port;
mod service_spec;
mod subsets;
mod usable_endpoints;

pub use index::Table;
pub use missing::Missing;
pub use on_demand::Key;
pub use service::Service;
pub use service_port::{ServicePort, UpstreamProtocol};
pub use service_spec::ServiceSpec;
pub use usable_endpoints::Choice;

pub(crate) use addresses::Addresses;
pub(crate) use endpoint_group::EndpointGroup;
pub(crate) use endpoint_set::{EndpointSet, SetEndpoint};
pub(crate) use endpoints::LabelledEndpoints;
pub(crate) use lookup::{Lookup, Match, NamedEndpoint};
pub(crate) use on_demand::{Answer, KeyState};
pub(crate) use service_spec::{AliasTarget, ServiceKind};
pub(crate) use subsets::{Subsets, WeightedSubset};
pub(crate) use usable_endpoints::Usable;
