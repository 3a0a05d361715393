//! The contexts of a VM: by which configuration a stream is decided, and what is to be told at its end.
//!
//! Envoy gives each root context its configuration once, and a push comes in a new one. A stream is a number from its creation
//! to its headers, which Envoy hands over at once, and after that nothing at all, unless its end matters.

use std::{
    cell::RefCell,
    rc::{Rc, Weak},
};

use byname_core::Map;

use crate::{
    choices::{self, Open},
    root::Live,
};

thread_local! {
    static CONTEXTS: RefCell<Contexts> = RefCell::default();
}

#[derive(Default)]
struct Contexts {
    /// Root contexts that serve: the one in use, and those whose streams are not over.
    roots: Vec<(u32, Rc<Live>)>,
    /// The stream that was created last, until its headers come.
    newest: Option<(u32, Rc<Live>)>,
    /// Streams whose headers did not come before another was created, and those whose end matters.
    others: Map<u32, Stream>,
}

enum Stream {
    /// It keeps the configuration with which it began until it is decided.
    Waiting(Rc<Live>),
    /// It may live for days, and tables are large: it keeps none.
    Open(Weak<Live>, Open),
}

impl Contexts {
    fn serving(&mut self, root: u32) -> Option<&mut Rc<Live>> {
        self.roots.iter_mut().find(|(other, _)| *other == root).map(|(_, live)| live)
    }
}

/// Nothing in here calls the host, so that nobody else can hold them; if somebody did, it would be as if there were none.
fn with<T: Default>(use_them: impl FnOnce(&mut Contexts) -> T) -> T {
    CONTEXTS.with(|contexts| contexts.try_borrow_mut().map(|mut contexts| use_them(&mut contexts)).unwrap_or_default())
}

/// From now on new streams of this root context are decided by `live`.
pub(crate) fn root_serves(root: u32, live: Rc<Live>) {
    // What it served before goes when nobody holds the contexts, as that may take long.
    let _before = with(|contexts| match contexts.serving(root) {
        Some(serving) => Some(std::mem::replace(serving, live)),
        None => {
            contexts.roots.push((root, live));
            None
        }
    });
}

/// A stream was created under `root`.
pub(crate) fn stream_created(stream: u32, root: u32) {
    with(|contexts| {
        // Without a configuration Envoy makes no stream; if it did, the routes would decide, as without the filter.
        let Some(live) = contexts.serving(root).map(|live| Rc::clone(live)) else { return };
        if let Some((before, live)) = contexts.newest.replace((stream, live)) {
            contexts.others.insert(before, Stream::Waiting(live));
        }
    });
}

/// The headers of this stream are there: the configuration that decides it, once.
pub(crate) fn begin(stream: u32) -> Option<Rc<Live>> {
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

/// Keeps what is to be told when this stream, which `live` decided, is over.
pub(crate) fn keep_open(stream: u32, live: &Rc<Live>, open: Open) {
    with(|contexts| drop(contexts.others.insert(stream, Stream::Open(Rc::downgrade(live), open))));
}

/// A context is gone.
pub(crate) fn deleted(context: u32) {
    let (_undecided, other, _root) = with(|contexts| {
        let undecided = contexts.newest.take_if(|(newest, _)| *newest == context);
        let other = if contexts.others.is_empty() { None } else { contexts.others.remove(&context) };
        let root = contexts.roots.iter().position(|(root, _)| *root == context);
        (undecided, other, root.map(|place| contexts.roots.swap_remove(place)))
    });
    if let Some(Stream::Open(live, open)) = other {
        choices::done(live.upgrade().as_deref().map(|live| &*live.config), open);
    }
}
