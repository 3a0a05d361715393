//! The verdict on a configuration: it serves, or it is refused and the last known good one serves on.

use std::rc::Rc;

use byname_core::{Config, hash_bytes};

use crate::{active_config::ActiveConfig, balance, contexts, first, node::Node, stats, stream};

/// Reads a whole text. It is freed before the table is built, so that the two are never held together; `again` gives it once more.
#[inline(never)]
pub(crate) fn read(text: Vec<u8>, node: &Node, again: &dyn Fn() -> Vec<u8>) -> Result<Config, String> {
    let defaults = node.defaults();
    Config::read(text, &defaults)
        .inspect(first::accept)
        .or_else(|refused| {
            let text = again();
            let hash = || hash_bytes(&text);
            Config::read_first(&text, refused, &defaults, &|| first::may_leave_out(hash()))
                .inspect(|_| first::accept_without(hash()))
        })
        .map_err(|problems| problems.to_string())
}

/// Says why a configuration is refused, and returns the verdict.
pub(crate) fn refuse(error: &str) -> bool {
    stats::count_refused_configuration();
    log::error!("byname: configuration refused, the last known good one serves on: {error}");
    false
}

/// Makes what was `read` for a plugin, from a text of `bytes` bytes, serve in its root context, or says why it was refused. Returns whether
/// it serves.
pub(crate) fn conclude(root: u32, plugin: Vec<u8>, bytes: usize, read: Result<Config, String>) -> bool {
    let config = match read {
        Ok(config) => config,
        Err(error) => return refuse(&error),
    };
    let table = &config.table;
    if config.is_passive() {
        log::info!(
            "byname: this Envoy is a gateway, so every request passes unchanged; set `\"gateways\": \"resolve\"` to change it"
        );
    }
    let without = config.services_left_out();
    if without.count > 0 {
        log::error!(
            "byname: the first configuration of this process serves without {} Services that cannot be taken; correct them, and push \
             it again: {}",
            without.count,
            without.problems,
        );
    }
    let left_out = config.left_out();
    if left_out.count > 0 {
        log::warn!(
            "byname: {} fields of a newer version of byname were left out, the first is \"{}\"; update the module",
            left_out.count,
            left_out.first,
        );
    }
    if table.addresses_dropped() > 0 {
        log::warn!(
            "byname: {} endpoint addresses were dropped that are never a pod's, such as loopback; table.singleMachine keeps them",
            table.addresses_dropped(),
        );
    }
    let live = Rc::new(ActiveConfig::new(config, bytes, root));
    let before = contexts::root_serves(root, plugin, Rc::clone(&live));
    serve(&live, before.as_ref());
    true
}

/// Lets the configuration of an earlier root context serve again: Envoy has gone back to it.
#[cold]
#[inline(never)]
pub(crate) fn serve_again(root: u32) {
    if let Some((live, before)) = contexts::go_back(root) {
        serve(&live, Some(&before));
    }
}

/// Shows that a configuration serves from now on, in the place of the one `before`.
#[inline(never)]
fn serve(live: &Rc<ActiveConfig>, before: Option<&Rc<ActiveConfig>>) {
    if let Ok(config) = live.config() {
        log::info!(
            "byname: serving table {} with {} Services and {} endpoints to namespace {}",
            config.table.version(),
            config.table.services(),
            config.table.endpoints(),
            config.caller.namespace(),
        );
        stats::show(&config);
    }
    balance::sweep();
    // One that serves on while another is read has its stream already.
    if !before.is_some_and(|before| Rc::ptr_eq(before, live)) {
        stream::begin(live, before.map(|before| &**before));
    }
}
