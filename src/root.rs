//! Configuration pushes: a configuration becomes live as a whole, or is refused and the last known good one stays.
//!
//! Envoy runs a push first in a VM that it throws away, then on the main thread, then on each worker, each time in a
//! new root context. All of them must reach the same verdict, so the verdict depends only on the configuration and the
//! node.

use std::rc::Rc;

use byname_core::{Config, Defaults, limits::MAX_CONFIGURATION_BYTES};

use crate::{active_config::ActiveConfig, balance, contexts, first, host, stats};

/// Reads the configuration of a root context, of `bytes` bytes, and accepts or refuses it.
pub(crate) fn configure(root: u32, bytes: u32) -> bool {
    // `usize` is 32 bits wide here.
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    let (name, config) = match name().and_then(|name| Ok((name, read(bytes)?))) {
        Ok(read) => read,
        Err(error) => {
            stats::count_refused_configuration();
            log::error!("byname: configuration refused, the last known good one serves on: {error}");
            return false;
        }
    };
    let table = &config.table;
    if config.is_passive() {
        log::info!(
            "byname: this Envoy is a gateway, so byname passes every request on unchanged; set `\"gateways\": \"resolve\"` \
             to resolve its names"
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
    log::info!(
        "byname: serving table {} with {} Services and {} endpoints to namespace {}",
        table.version(),
        table.services(),
        table.endpoints(),
        config.caller.namespace(),
    );
    if table.addresses_dropped() > 0 {
        log::warn!(
            "byname: {} endpoint addresses were dropped: loopback, link-local, multicast, unspecified and metadata ones \
             never are a pod's; table.singleMachine keeps them",
            table.addresses_dropped(),
        );
    }
    stats::show(&config);
    balance::sweep();
    contexts::root_serves(root, name, Rc::new(ActiveConfig::new(config)));
    true
}

/// The name of the plugin. Without it, requests of several plugins in one VM would be decided by each other's tables.
fn name() -> Result<Vec<u8>, String> {
    contexts::plugin_name().ok_or_else(|| {
        "Envoy does not tell the filter's name; add proxy_get_property to allowed_capabilities of capability_restriction_config"
            .to_owned()
    })
}

#[inline(never)]
fn read(bytes: usize) -> Result<Config, String> {
    if bytes == 0 {
        return Err("it is empty; the smallest is {\"version\": 1}".to_owned());
    }
    if bytes > MAX_CONFIGURATION_BYTES {
        return Err(format!(
            "it has {bytes} bytes, and at most {MAX_CONFIGURATION_BYTES} are read; push a smaller table"
        ));
    }
    // Read as a whole: reading in pieces, the parser works byte by byte and takes twice as long, and requests wait
    // meanwhile. The text is freed before the table is built.
    let text =
        host::configuration(bytes).map_err(|status| format!("the host gave no more of it (status {})", status.0))?;
    // The first byte of a protobuf message whose first field is text or bytes. No valid configuration starts with it.
    if matches!(*text, [b'\n', second, ..] if !b" \t\r\n{".contains(&second)) {
        return Err(
            "it is protobuf in binary; Envoy hands over a google.protobuf.Struct so, and a StringValue as it stands: \
                    write the JSON into a google.protobuf.StringValue"
                .to_owned(),
        );
    }
    let namespace = text_property("xds\0node\0metadata\0NAMESPACE");
    let zone = text_property("xds\0node\0locality\0zone");
    let node = text_property("xds\0node\0metadata\0NODE_NAME");
    let id = text_property("xds\0node\0id");
    let defaults =
        Defaults { namespace: namespace.as_deref(), zone: zone.as_deref(), node: node.as_deref(), id: id.as_deref() };
    Config::read(text, &defaults)
        .inspect(first::accept)
        .or_else(|refused| {
            // The text was freed, so that a table and its text are never held together.
            let text = host::configuration(bytes).unwrap_or_default();
            let hash = || byname_core::hash_bytes(&text);
            Config::read_first(&text, refused, &defaults, &|| first::may_leave_out(hash()))
                .inspect(|_| first::accept_without(hash()))
        })
        .map_err(|problems| problems.to_string())
}

/// A property that is text.
#[inline(never)]
fn text_property(path: &str) -> Option<String> {
    let bytes = host::property(path)?;
    String::from_utf8(bytes).ok().filter(|text| !text.is_empty())
}
