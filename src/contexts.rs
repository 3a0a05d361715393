//! The configurations that decide requests, and the streams whose end matters.
//!
//! Envoy configures a plugin in a new root context at each push, and deletes the old one once its streams have ended. A request is
//! decided by the newest configuration of its plugin that was accepted before its headers arrived.

use std::{
    cell::RefCell,
    hash::BuildHasherDefault,
    rc::{Rc, Weak},
};

use byname_core::HashMap;

use crate::{
    active_config::ActiveConfig,
    balance::{self, Open},
    host,
    stats::{self, StreamCounts},
};

/// Streams that may be open before the first of them ends. More mean that Envoy does not say when streams end, because its list of
/// capabilities lacks `proxy_on_delete`.
const MAX_OPEN_BEFORE_AN_END: usize = 10_000;

thread_local! {
    static CONTEXTS: RefCell<Contexts> = const {
        RefCell::new(Contexts {
            plugins: Vec::new(),
            open: HashMap::with_hasher(BuildHasherDefault::new()),
            has_seen_an_end: false,
        })
    };
}

struct Contexts {
    plugins: Vec<Plugin>,
    /// Streams whose end matters, until it. They may live for days, so they keep no table alive.
    open: HashMap<u32, (Weak<ActiveConfig>, Open)>,
    has_seen_an_end: bool,
}

/// A filter of Envoy's configuration. Several share a VM if they have the same `vm_id`; Envoy asks for a name that is unique in it
/// (`PluginConfig.name`).
struct Plugin {
    name: Vec<u8>,
    /// The root context of the newest configuration that was accepted.
    root: u32,
    live: Rc<ActiveConfig>,
}

impl Contexts {
    fn plugin(&mut self, name: &[u8]) -> Option<&mut Plugin> {
        self.plugins.iter_mut().find(|plugin| plugin.name == name)
    }
}

/// Passes the contexts to a function that never calls the host, so the contexts are free. If they were not, the default
/// would be returned.
fn with<T: Default>(use_them: impl FnOnce(&mut Contexts) -> T) -> T {
    CONTEXTS.with(|contexts| contexts.try_borrow_mut().map(|mut contexts| use_them(&mut contexts)).unwrap_or_default())
}

/// The name of the plugin that is configured, or that the request belongs to; `None` if the host does not tell.
pub(crate) fn plugin_name() -> Option<Vec<u8>> {
    host::property("plugin_name")
}

/// The key of what all VMs with this plugin share. In Istio the data are those of every plugin in the process, whose names differ.
pub(crate) fn shared_key(what: &str) -> Vec<u8> {
    let (name, root) = (plugin_name().unwrap_or_default(), host::property("plugin_root_id").unwrap_or_default());
    [b"byname/", what.as_bytes(), b"/1/", &name, b"/", &root].concat()
}

/// Whether a configuration of this plugin serves.
pub(crate) fn serves(name: &[u8]) -> bool {
    with(|contexts| contexts.plugin(name).is_some())
}

/// Lets the configuration that serves this plugin serve on in another root context, until that one's own is read. Envoy deletes the
/// earlier root context meanwhile.
pub(crate) fn serve_on(name: &[u8], root: u32) {
    with(|contexts| {
        if let Some(plugin) = contexts.plugin(name) {
            plugin.root = root;
            plugin.live.root.set(root);
        }
    });
}

/// Makes `live` decide the requests of the plugin `name`, which is configured in this root context.
pub(crate) fn root_serves(root: u32, name: Vec<u8>, live: Rc<ActiveConfig>) {
    // Dropping the earlier configuration may take long, so it happens outside the borrow.
    let _before = with(|contexts| {
        let newest = Plugin { name, root, live };
        match contexts.plugin(&newest.name) {
            Some(plugin) => Some(std::mem::replace(plugin, newest)),
            None => {
                contexts.plugins.push(newest);
                None
            }
        }
    });
}

/// The configuration that serves this plugin.
pub(crate) fn serving_plugin(name: &[u8]) -> Option<Rc<ActiveConfig>> {
    with(|contexts| contexts.plugin(name).map(|plugin| Rc::clone(&plugin.live)))
}

/// The configuration that serves, of those for which `is_it` says so.
#[inline(never)]
pub(crate) fn find_serving(is_it: &mut dyn FnMut(&ActiveConfig) -> bool) -> Option<Rc<ActiveConfig>> {
    with(|contexts| contexts.plugins.iter().find(|plugin| is_it(&plugin.live)).map(|plugin| Rc::clone(&plugin.live)))
}

/// The configuration for a request whose headers have arrived; `None` if there is none, in which case Envoy's routes decide as
/// without the filter.
///
/// # Errors
/// If several plugins share the VM and the host does not name the request's.
pub(crate) fn serving() -> host::Result<Option<Rc<ActiveConfig>>> {
    let live = with(|contexts| match &*contexts.plugins {
        [] => Some(None),
        [plugin] => Some(Some(Rc::clone(&plugin.live))),
        _ => None,
    });
    live.map_or_else(serving_by_name, Ok)
}

/// The configuration for a request whose plugin is one of several.
#[inline(never)]
fn serving_by_name() -> host::Result<Option<Rc<ActiveConfig>>> {
    let name = plugin_name().ok_or(host::NOT_FOUND)?;
    Ok(with(|contexts| contexts.plugin(&name).map(|plugin| Rc::clone(&plugin.live))))
}

/// Remembers a stream, decided by `live`, whose end matters.
#[inline(never)]
pub(crate) fn keep_open(stream: u32, live: &Rc<ActiveConfig>, open: Open) {
    let endless = with(|contexts| {
        contexts.open.insert(stream, (Rc::downgrade(live), open));
        let is_full = !contexts.has_seen_an_end && contexts.open.len() >= MAX_OPEN_BEFORE_AN_END;
        if is_full { std::mem::take(&mut contexts.open) } else { HashMap::default() }
    });
    if endless.is_empty() {
        return;
    }
    stats::count_host_error();
    log::error!(
        "byname: none of {MAX_OPEN_BEFORE_AN_END} requests has ended, so LEAST_REQUEST and outlierDetection do not work; add \
         proxy_on_delete to allowed_capabilities of capability_restriction_config"
    );
    for (_, open) in endless.into_values() {
        balance::done(None, open);
    }
}

/// Forgets a context that was deleted: records the end of a stream, or drops the configuration of a plugin that is gone. The root
/// context of an earlier configuration has nothing left to forget.
pub(crate) fn deleted(context: u32) {
    // Nearly every context that is deleted is a stream whose end does not matter.
    let matters =
        with(|contexts| !contexts.open.is_empty() || contexts.plugins.iter().any(|plugin| plugin.root == context));
    if matters {
        forget(context);
    }
}

#[inline(never)]
fn forget(context: u32) {
    let (open, plugin) = with(|contexts| {
        let open = if contexts.open.is_empty() { None } else { contexts.open.remove(&context) };
        contexts.has_seen_an_end |= open.is_some();
        let gone = contexts.plugins.iter().position(|plugin| plugin.root == context);
        (open, gone.map(|place| contexts.plugins.swap_remove(place)))
    });
    if let Some((live, open)) = open {
        let live = live.upgrade();
        let config = live.as_deref().and_then(|live| live.config().ok());
        balance::done(config.as_deref(), open);
    }
    if let Some(plugin) = plugin {
        // Its stream has ended with the root context.
        stats::show_stream(&plugin.live.shown, StreamCounts::default());
    }
}
