//! Configurations that are being read in slices.

use std::cell::RefCell;

use byname_core::ConfigReading;

use crate::node::Node;

thread_local! {
    static PENDING: RefCell<Vec<Pending>> = const { RefCell::new(Vec::new()) };
}

/// A configuration that is being read.
pub(crate) struct Pending {
    pub(crate) root: u32,
    pub(crate) plugin: Vec<u8>,
    pub(crate) node: Node,
    /// The bytes of its text.
    pub(crate) bytes: usize,
    pub(crate) reading: ConfigReading,
}

pub(crate) fn take(is_it: impl Fn(&Pending) -> bool) -> Option<Pending> {
    PENDING.with(|all| {
        let mut all = all.try_borrow_mut().ok()?;
        let place = all.iter().position(is_it)?;
        Some(all.swap_remove(place))
    })
}

pub(crate) fn put(pending: Pending) {
    PENDING.with(|all| {
        if let Ok(mut all) = all.try_borrow_mut() {
            all.push(pending);
        }
    });
}

/// Forgets what is being read in a root context.
pub(crate) fn forget(root: u32) {
    if PENDING.with(|all| all.try_borrow().is_ok_and(|all| !all.is_empty())) {
        forget_one(root);
    }
}

#[cold]
#[inline(never)]
fn forget_one(root: u32) {
    drop(take(|pending| pending.root == root));
}

/// Whether a configuration is being read in this root context.
pub(crate) fn is_reading(root: u32) -> bool {
    PENDING.with(|all| all.try_borrow().is_ok_and(|all| all.iter().any(|pending| pending.root == root)))
}
