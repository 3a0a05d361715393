//! Configuration pushes: a configuration becomes live as a whole, or is refused and the last known good one stays.
//!
//! Envoy runs a push first in a VM that it throws away, then on the main thread, then on each worker, each time in a
//! new root context. All of them must reach the same verdict, so the verdict depends only on the configuration and the
//! node.

use byname_core::limits::MAX_CONFIGURATION_BYTES;

use crate::{
    contexts, host,
    node::Node,
    slices, ticks,
    verdict::{conclude, read, refuse},
};

/// Reads the configuration of a root context, of `bytes` bytes, and accepts or refuses it.
pub(crate) fn configure(root: u32, bytes: u32) -> bool {
    // `usize` is 32 bits wide here.
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    let (plugin, text) = match plugin().and_then(|plugin| Ok((plugin, text(bytes)?))) {
        Ok(told) => told,
        Err(error) => return refuse(&error),
    };
    slices::overtake(&plugin);
    let hash = slices::hash(&text);
    let (node, text) = match slices::begin(root, &plugin, Node::read(), text, hash) {
        Ok(()) => return true,
        Err(at_once) => at_once,
    };
    ticks::ask_for_first(root);
    let is_accepted =
        conclude(root, plugin, bytes, read(text, &node, &|| host::configuration(bytes).unwrap_or_default()));
    if let Some(hash) = hash
        && is_accepted
    {
        slices::accept(hash);
    }
    is_accepted
}

/// The name of the plugin. Without it, requests of several plugins in one VM would be decided by each other's tables.
fn plugin() -> Result<Vec<u8>, String> {
    contexts::plugin_name().ok_or_else(|| {
        "Envoy does not tell the filter's name; add proxy_get_property to allowed_capabilities".to_owned()
    })
}

/// The text of the configuration that is pushed, of `bytes` bytes.
#[inline(never)]
fn text(bytes: usize) -> Result<Vec<u8>, String> {
    if bytes == 0 {
        return Err("it is empty; the smallest is {\"version\": 1}".to_owned());
    }
    if bytes > MAX_CONFIGURATION_BYTES {
        return Err(format!("it has {bytes} bytes, and at most {MAX_CONFIGURATION_BYTES} are read; push less"));
    }
    let text = host::configuration(bytes)
        .map_err(|status| format!("Envoy returned only a part of it (status {})", status.0))?;
    // The first byte of a protobuf message whose first field is text or bytes. No valid configuration starts with it.
    if matches!(*text, [b'\n', second, ..] if !b" \t\r\n{".contains(&second)) {
        return Err("it is protobuf in binary: write the JSON into a google.protobuf.StringValue".to_owned());
    }
    Ok(text)
}
