//! The configuration in use.

use std::cell::{Cell, Ref, RefCell, RefMut};

use byname_core::{Config, Plan};

use crate::{
    host::{self, GrpcStream},
    stats::StreamCounts,
};

/// A configuration in use, with a plan whose buffers requests reuse.
pub(crate) struct ActiveConfig {
    /// Boxed, because a stream that outlives the configuration keeps the memory of `ActiveConfig`, which should be
    /// small.
    config: RefCell<Box<Config>>,
    pub(crate) plan: RefCell<Plan>,
    /// The bytes of its text.
    pub(crate) text_bytes: usize,
    /// The root context of the newest configuration push.
    pub(crate) root: Cell<u32>,
    /// The stream to the server that fills the table, if it is open.
    pub(crate) stream: Cell<Option<GrpcStream>>,
    /// What the metrics show of it.
    pub(crate) shown: Cell<StreamCounts>,
}

impl ActiveConfig {
    pub(crate) fn new(config: Config, text_bytes: usize, root: u32) -> Self {
        Self {
            text_bytes,
            config: RefCell::new(Box::new(config)),
            plan: RefCell::default(),
            root: Cell::new(root),
            stream: Cell::default(),
            shown: Cell::default(),
        }
    }

    /// The configuration.
    ///
    /// # Errors
    /// Never: an answer of the server changes it between two requests. A panic would poison the worker, so it is an error all the same.
    pub(crate) fn config(&self) -> host::Result<Ref<'_, Config>> {
        self.config.try_borrow().map(|config| Ref::map(config, |config| &**config)).map_err(|_| host::IN_USE)
    }

    /// The configuration, to change its table; `None` while a request is decided.
    pub(crate) fn config_mut(&self) -> Option<RefMut<'_, Config>> {
        self.config.try_borrow_mut().ok().map(|config| RefMut::map(config, |config| &mut **config))
    }
}
