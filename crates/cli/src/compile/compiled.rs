//! The result of compiling a cluster.

use std::collections::BTreeMap;

use byname_core::{Config, wire};

use crate::{input::InputError, kubernetes::NamespacedName};

/// A compiled configuration.
#[derive(Debug)]
pub struct Compiled {
    /// The configuration in its JSON form.
    pub wire: wire::Config,
    /// The same with a packed table, if that was asked for.
    pub packed: Option<wire::Config>,
    /// The configuration as JSON text.
    pub text: String,
    /// The configuration as the filter reads it.
    pub config: Config,
    /// The Services that were left out, each with the reason.
    pub left_out: BTreeMap<NamespacedName, InputError>,
}
