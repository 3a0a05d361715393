//! The configuration as it is pushed: structs that mirror its JSON, how they are read, and how an error names its field.
//!
//! The structs are plain data. The reader checks their form and refuses unknown fields; their meaning is checked by `policy`,
//! `table`, `steer` and `config`, which turn them into what the rest of the crate works with. Outside this folder a struct is
//! always written `wire::X`, since most have a compiled twin. Field names are those of the Kubernetes API wherever it has one,
//! then those of Envoy and Istio.
//!
//! It may use `names`, `collections`, `text` and `limits`. It never decides what a value means.

mod caller;
mod compatibility;
mod config;
mod entries;
mod external_names;
mod fallback;
mod field_error;
mod field_path;
mod packed;
mod readable;
mod reader;
#[cfg(feature = "schema")]
mod schema;
mod server;
mod steering;
mod table;

pub use crate::{
    collections::{Entries, StringList},
    names::Resolver,
};
pub use caller::{Caller, Dns};
pub use compatibility::{FEATURES, MINOR, SCHEMA};
pub use config::{Config, DestinationPort, FirstConfiguration, Gateways, Mode, Stats, Trace, UnknownNames, VERSION};
pub use external_names::{Allow, ExternalNames, ExternalNamesMode, Grant};
pub use fallback::{Fallback, Fallbacks, Trigger};
pub use field_error::{FieldError, FieldErrorType, FieldErrors};
pub use field_path::{FieldPath, PathElement};
pub use packed::Packed;
pub use reader::LeftOut;
pub use server::{OnTimeout, Server};
pub use steering::{
    ConsistentHash, External, LoadBalancer, OriginalDst, OutlierDetection, RewriteAuthority, ServiceSteering, SimpleLb,
    Steering, SteeringMode,
};
pub use table::{
    Alias, EndpointGroup, InternalTrafficPolicy, IpFamily, Protocol, Service, ServicePort, ServiceType,
    SessionAffinity, Subset, Table, TrafficDistribution,
};

pub(crate) use compatibility::{read_configuration, read_header};
pub(crate) use entries::{NextEntry, find_services, next_entry};
pub(crate) use field_path::FieldPathRef;
pub(crate) use packed::Unpacking;
pub(crate) use reader::{Readable, ReadableMap, Shape, read_json};
pub(crate) use table::unpack;
