//! What compiling a cluster gives.

use std::collections::BTreeMap;

use byname_core::{Config, wire};

use crate::{input::InputError, kubernetes::NamespacedName};

/// A configuration, and what it was made of.
#[derive(Debug)]
pub struct Compiled {
    /// As it is pushed.
    pub wire: wire::Config,
    /// The same as text.
    pub text: String,
    /// The same as the filter has it.
    pub config: Config,
    /// The Services that were left out, and why.
    pub left_out: BTreeMap<NamespacedName, InputError>,
}
