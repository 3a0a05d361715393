//! The configurations that decide requests, and the streams whose end matters.
//!
//! Envoy configures a plugin in a new root context at each push, and deletes the old one once its streams have ended. A request is
//! decided by the newest configuration of its plugin that was accepted before its headers arrived.
//!
//! If a push has the text of an earlier configuration that still has streams, Envoy goes back to its root context and says nothing: only the
//! next stream tells, because it belongs there. So an earlier configuration is kept until its root context is deleted.

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
/// How much the texts of all earlier configurations may have; beyond that, the oldest go, so that a list of capabilities without
/// `proxy_on_delete` costs no more. A table takes about as much as its text.
const MAX_EARLIER_BYTES: usize = 32 << 20;
/// What a configuration takes beside its table.
const BYTES_OF_A_CONFIGURATION: usize = 16 << 10;

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
    /// In the order in which they were configured.
    plugins: Vec<Plugin>,
    /// Streams whose end matters, until it. They may live for days, so they keep no table alive.
    open: HashMap<u32, (Weak<ActiveConfig>, Open)>,
    has_seen_an_end: bool,
}

/// A configuration of a filter of Envoy's configuration. Several filters share a VM if they have the same `vm_id`; Envoy asks for a name that
/// is unique in it (`PluginConfig.name`).
struct Plugin {
    name: Vec<u8>,
    /// The root context of the newest push that it serves.
    root: u32,
    live: Rc<ActiveConfig>,
    /// Else it served before, and its root context is not deleted yet.
    serves: bool,
}

impl Contexts {
    fn serving(&mut self, name: &[u8]) -> Option<&mut Plugin> {
        self.plugins.iter_mut().find(|plugin| plugin.serves && plugin.name == name)
    }

    /// Lets what serves a plugin serve no more, and returns it.
    #[inline(never)]
    fn stop(&mut self, name: &[u8]) -> Option<Rc<ActiveConfig>> {
        let plugin = self.serving(name)?;
        plugin.serves = false;
        Some(Rc::clone(&plugin.live))
    }

    #[inline(never)]
    fn push(&mut self, plugin: Plugin) {
        self.plugins.push(plugin);
        let mut room = MAX_EARLIER_BYTES;
        for place in (0..self.plugins.len()).rev() {
            let Some(plugin) = self.plugins.get(place).filter(|plugin| !plugin.serves) else { continue };
            let bytes = plugin.live.text_bytes + BYTES_OF_A_CONFIGURATION;
            if bytes > room {
                self.plugins.remove(place);
            }
            room = room.saturating_sub(bytes);
        }
    }

    #[inline(never)]
    fn take(&mut self, root: u32) -> Option<Plugin> {
        let place = self.plugins.iter().position(|plugin| plugin.root == root)?;
        Some(self.plugins.remove(place))
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
    with(|contexts| contexts.serving(name).is_some())
}

/// Lets the configuration that serves this plugin serve on in another root context, until that one's own is read. Envoy deletes the
/// earlier root context meanwhile.
pub(crate) fn serve_on(name: &[u8], root: u32) {
    with(|contexts| {
        if let Some(plugin) = contexts.serving(name) {
            let (before, live) = (std::mem::replace(&mut plugin.root, root), Rc::clone(&plugin.live));
            live.root.set(root);
            contexts.push(Plugin { name: name.to_vec(), root: before, live, serves: false });
        }
    });
}

/// Makes `live` decide the requests of the plugin `name`, which is configured in this root context. Returns what decided them before.
pub(crate) fn root_serves(root: u32, name: Vec<u8>, live: Rc<ActiveConfig>) -> Option<Rc<ActiveConfig>> {
    with(|contexts| {
        let before = contexts.stop(&name);
        // What served on here while this one was read.
        drop(contexts.take(root));
        contexts.push(Plugin { name, root, live, serves: true });
        before
    })
}

/// Whether an earlier configuration has this root context: if a stream is created in it, Envoy has gone back to it.
pub(crate) fn is_earlier(root: u32) -> bool {
    with(|contexts| contexts.plugins.iter().any(|plugin| plugin.root == root && !plugin.serves))
}

/// The root context that Envoy has gone back to if it deletes this one, in case that nobody tells of streams: the newest of the same plugin.
pub(crate) fn before(deleted: u32) -> Option<u32> {
    with(|contexts| {
        let gone = contexts.plugins.iter().find(|plugin| plugin.root == deleted && plugin.serves)?;
        let is_earlier = |plugin: &&Plugin| !plugin.serves && plugin.name == gone.name;
        contexts.plugins.iter().rev().find(is_earlier).map(|earlier| earlier.root)
    })
}

/// Lets the configuration of an earlier root context serve again. Returns it, and what served before.
#[inline(never)]
pub(crate) fn go_back(root: u32) -> Option<(Rc<ActiveConfig>, Rc<ActiveConfig>)> {
    with(|contexts| {
        let mut one = contexts.take(root)?;
        one.serves = true;
        let again = Rc::clone(&one.live);
        again.root.set(root);
        let before = contexts.stop(&one.name)?;
        contexts.push(one);
        Some((again, before))
    })
}

/// The configuration that serves, of those for which `is_it` says so.
#[inline(never)]
pub(crate) fn find_serving(is_it: &mut dyn FnMut(&ActiveConfig) -> bool) -> Option<Rc<ActiveConfig>> {
    with(|contexts| {
        contexts
            .plugins
            .iter()
            .find(|plugin| plugin.serves && is_it(&plugin.live))
            .map(|plugin| Rc::clone(&plugin.live))
    })
}

/// The configuration for a request whose headers have arrived; `None` if there is none, in which case Envoy's routes decide as
/// without the filter.
///
/// # Errors
/// If several plugins share the VM and the host does not name the request's.
pub(crate) fn serving() -> host::Result<Option<Rc<ActiveConfig>>> {
    let live = with(|contexts| {
        let mut serving = contexts.plugins.iter().filter(|plugin| plugin.serves);
        let first = serving.next().map(|plugin| Rc::clone(&plugin.live));
        serving.next().is_none().then_some(first)
    });
    live.map_or_else(serving_by_name, Ok)
}

/// The configuration for a request whose plugin is one of several.
#[inline(never)]
fn serving_by_name() -> host::Result<Option<Rc<ActiveConfig>>> {
    let name = plugin_name().ok_or(host::NOT_FOUND)?;
    Ok(with(|contexts| contexts.serving(&name).map(|plugin| Rc::clone(&plugin.live))))
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
        "byname: no request has ended, so LEAST_REQUEST and outlierDetection do not work; add proxy_on_delete to allowed_capabilities"
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
        (open, contexts.take(context))
    });
    if let Some((live, open)) = open {
        let live = live.upgrade();
        let config = live.as_deref().and_then(|live| live.config().ok());
        balance::done(config.as_deref(), open);
    }
    if let Some(plugin) = plugin.filter(|plugin| plugin.serves) {
        // Its stream has ended with the root context.
        stats::show_stream(&plugin.live.shown, StreamCounts::default());
    }
}
