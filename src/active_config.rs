//! The configuration in use.

use std::cell::RefCell;

use byname_core::{Config, Plan};

/// A configuration in use, with a plan whose buffers requests reuse.
pub(crate) struct ActiveConfig {
    /// Boxed, because a stream that outlives the configuration keeps the memory of `ActiveConfig`, which should be
    /// small.
    pub(crate) config: Box<Config>,
    pub(crate) plan: RefCell<Plan>,
}

impl ActiveConfig {
    pub(crate) fn new(config: Config) -> Self {
        Self { config: Box::new(config), plan: RefCell::default() }
    }
}
