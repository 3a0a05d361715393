//! The timers of root contexts, in whose ticks slices are read and waits end.
//!
//! Envoy begins a period anew whenever it is set, and keeps the timer of a root context that is gone.

use std::cell::{Cell, RefCell};

use crate::host;

thread_local! {
    static TIMERS: RefCell<Vec<Timer>> = const { RefCell::new(Vec::new()) };
    /// No context with a higher number has a timer.
    static HIGHEST: Cell<u32> = const { Cell::new(0) };
    static HAS_ASKED: Cell<bool> = const { Cell::new(false) };
    static HAS_TICKED: Cell<bool> = const { Cell::new(false) };
}

/// The tick that shows that ticks come.
const MILLISECONDS_TO_FIRST_TICK: u32 = 100;

/// A timer that runs.
struct Timer {
    root: u32,
    /// When the tick comes that was asked for by [`within`]; 0: none was, or it has come.
    next: u64,
}

/// Uses the timers. Nothing in here re-enters, so they are free. If they were not, the default would be returned.
fn with<T: Default>(use_them: impl FnOnce(&mut Vec<Timer>) -> T) -> T {
    TIMERS.with(|timers| timers.try_borrow_mut().map(|mut timers| use_them(&mut timers)).unwrap_or_default())
}

/// Asks for a first tick, once: an older bootstrap may not allow ticks.
pub(crate) fn ask_for_first(root: u32) {
    if !HAS_ASKED.replace(true) {
        // Without ticks every push is read at once, and nobody waits.
        let _ = every(root, MILLISECONDS_TO_FIRST_TICK);
    }
}

/// Lets ticks come to the effective root context every so many milliseconds; 0: no more.
pub(crate) fn every(root: u32, milliseconds: u32) -> host::Result<()> {
    set(root, milliseconds, 0)
}

/// Has a tick come to the effective root context in so many milliseconds, or sooner: ticks that every request moved would never come.
/// `now` is in milliseconds.
pub(crate) fn within(root: u32, milliseconds: u32, now: u64) {
    let next = now.saturating_add(milliseconds.into());
    let comes = |timer: &Timer| timer.root == root && (1..=next).contains(&timer.next);
    if !with(|timers| timers.iter().any(comes)) {
        let _ = set(root, milliseconds, next);
    }
}

#[inline(never)]
fn set(root: u32, milliseconds: u32, next: u64) -> host::Result<()> {
    host::set_tick_period(milliseconds)?;
    HIGHEST.set(HIGHEST.get().max(root));
    with(|timers| {
        timers.retain(|timer| timer.root != root);
        if milliseconds > 0 {
            timers.push(Timer { root, next });
        }
    });
    Ok(())
}

/// A tick has come to this root context.
pub(crate) fn ticked(root: u32) {
    HAS_TICKED.set(true);
    with(|timers| timers.iter_mut().filter(|timer| timer.root == root).for_each(|timer| timer.next = 0));
}

/// Whether a tick has come: the host lets the module have ticks.
pub(crate) fn has_ticked() -> bool {
    HAS_TICKED.get()
}

/// Stops the timer of a context that is deleted. Nearly every such context is a stream, and newer than the root contexts.
pub(crate) fn forget(context: u32) {
    if context <= HIGHEST.get() {
        forget_timer(context);
    }
}

#[cold]
#[inline(never)]
fn forget_timer(context: u32) {
    if with(|timers| timers.iter().any(|timer| timer.root == context)) {
        let _ = every(context, 0);
        // Its first tick will not come.
        HAS_ASKED.set(HAS_TICKED.get());
    }
}
