//! The contexts of a VM: the configuration that decides each stream, and the streams whose end matters.
//!
//! Envoy configures each root context once, and a configuration push comes in a new root context. A stream is
//! remembered from its creation to its headers, which follow at once, and afterwards only if its end matters.

use std::{
    cell::RefCell,
    rc::{Rc, Weak},
};

use byname_core::HashMap;

use crate::{
    active_config::ActiveConfig,
    balance::{self, Open},
};

thread_local! {
    static CONTEXTS: RefCell<Contexts> = RefCell::default();
}

#[derive(Default)]
struct Contexts {
    /// Root contexts that serve: the current one, and earlier ones with open streams.
    roots: Vec<(u32, Rc<ActiveConfig>)>,
    /// The newest stream, until its headers arrive.
    newest: Option<(u32, Rc<ActiveConfig>)>,
    /// Streams whose headers did not arrive before another stream was created, and streams whose end matters.
    others: HashMap<u32, Stream>,
}

enum Stream {
    /// Undecided. It keeps the configuration that was current at its creation.
    Waiting(Rc<ActiveConfig>),
    /// Decided. It may live for days, so it keeps no table alive.
    Open(Weak<ActiveConfig>, Open),
}

impl Contexts {
    fn serving(&mut self, root: u32) -> Option<&mut Rc<ActiveConfig>> {
        self.roots.iter_mut().find(|(other, _)| *other == root).map(|(_, live)| live)
    }
}

/// Passes the contexts to a function that never calls the host, so the contexts are free. If they were not, the default
/// would be returned.
fn with<T: Default>(use_them: impl FnOnce(&mut Contexts) -> T) -> T {
    CONTEXTS.with(|contexts| contexts.try_borrow_mut().map(|mut contexts| use_them(&mut contexts)).unwrap_or_default())
}

/// Makes `live` the configuration that decides new streams of this root context.
pub(crate) fn root_serves(root: u32, live: Rc<ActiveConfig>) {
    // Dropping the earlier configuration may take long, so it happens outside the borrow.
    let _before = with(|contexts| match contexts.serving(root) {
        Some(serving) => Some(std::mem::replace(serving, live)),
        None => {
            contexts.roots.push((root, live));
            None
        }
    });
}

/// Records a stream that was created under `root`.
pub(crate) fn stream_created(stream: u32, root: u32) {
    with(|contexts| {
        // Envoy creates no stream without a configuration. If it did, its routes would decide, as without the filter.
        let Some(live) = contexts.serving(root).map(|live| Rc::clone(live)) else { return };
        if let Some((before, live)) = contexts.newest.replace((stream, live)) {
            contexts.others.insert(before, Stream::Waiting(live));
        }
    });
}

/// The configuration for a stream whose headers have arrived. Returned once.
pub(crate) fn begin(stream: u32) -> Option<Rc<ActiveConfig>> {
    with(|contexts| {
        if let Some((_, live)) = contexts.newest.take_if(|(newest, _)| *newest == stream) {
            return Some(live);
        }
        match contexts.others.remove(&stream)? {
            Stream::Waiting(live) => Some(live),
            open @ Stream::Open(..) => {
                contexts.others.insert(stream, open);
                None
            }
        }
    })
}

/// Remembers a stream, decided by `live`, whose end matters.
pub(crate) fn keep_open(stream: u32, live: &Rc<ActiveConfig>, open: Open) {
    with(|contexts| drop(contexts.others.insert(stream, Stream::Open(Rc::downgrade(live), open))));
}

/// Forgets a context that was deleted, and records the end of its stream.
pub(crate) fn deleted(context: u32) {
    let (_undecided, other, _root) = with(|contexts| {
        let undecided = contexts.newest.take_if(|(newest, _)| *newest == context);
        let other = if contexts.others.is_empty() { None } else { contexts.others.remove(&context) };
        let root = contexts.roots.iter().position(|(root, _)| *root == context);
        (undecided, other, root.map(|place| contexts.roots.swap_remove(place)))
    });
    if let Some(Stream::Open(live, open)) = other {
        balance::done(live.upgrade().as_deref().map(|live| &*live.config), open);
    }
}
