//! Containers that keep a large table small and fast to read.
//!
//! They know nothing of Kubernetes, of JSON, or of each other. They may use `limits` and nothing else of the crate, and they
//! never decide what an entry means.

mod chunked_vec;
mod entries;
mod hash;
mod one_or_many;
mod sorted_map;
mod string_list;

pub use entries::Entries;
pub use hash::{HashMap, hash_bytes, hash_words};
pub use string_list::StringList;

pub(crate) use chunked_vec::ChunkedVec;
pub(crate) use hash::{GOLDEN, combine, hash_address, hash_name, mix};
pub(crate) use one_or_many::OneOrMany;
pub(crate) use sorted_map::SortedMap;
