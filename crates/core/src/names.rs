//! Names and addresses as clients and Kubernetes write them: what an authority is, which absolute names a resolver tries for a
//! short one, how DNS labels a single endpoint, and the caller.
//!
//! Every type here is parsed once and correct from then on. A name is compared in lower case, and nothing here knows which
//! names exist: the table does. It may use `text`, `collections` and `limits`.

mod authority;
mod caller;
mod endpoint_label;
mod labels;
mod name;
mod namespaced_name;
mod search_path;
mod special_addresses;

pub use authority::{Authority, AuthorityError, Host};
pub use caller::Caller;
pub use endpoint_label::EndpointLabel;
pub use name::{Name, NameError, is_label};
pub use namespaced_name::NamespacedName;
pub use search_path::{Candidate, Resolver, SearchPath, SearchedName};
pub use special_addresses::is_special;

pub(crate) use authority::{RawAuthority, RawHost, may_have_port};
pub(crate) use caller::Locality;
pub(crate) use endpoint_label::{is_dashed, parse_dashed};
pub(crate) use labels::{ClusterName, Labels};
pub(crate) use name::below;
pub(crate) use search_path::SearchDomain;
