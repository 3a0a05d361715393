//! Configuration: what is pushed becomes the live one, whole, or is refused and the last good one serves on.
//!
//! Envoy runs a pushed configuration first in a VM that it throws away, then on the main thread, then on each worker, each
//! time in a new root context. All of them must come to the same end, so nothing here depends on anything but the
//! configuration and the node.

use std::{cell::RefCell, rc::Rc};

use byname_core::{Config, Defaults, Plan, limits::MAX_CONFIGURATION_BYTES};

use crate::{choices, contexts, host, stats};

/// A configuration that is being served, with the buffers that requests take turns in.
pub(crate) struct Live {
    /// Apart, as what is left of this while a stream remembers it should be small.
    pub(crate) config: Box<Config>,
    pub(crate) plan: RefCell<Plan>,
}

/// The configuration of a root context, of so many bytes: taken and served from now on, or refused.
pub(crate) fn configure(root: u32, bytes: u32) -> bool {
    // `usize` is 32 bits wide here.
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    let config = match read(bytes) {
        Ok(config) => config,
        Err(error) => {
            stats::count_refused_configuration();
            log::error!("byname: configuration refused, the last good one serves on: {error}");
            return false;
        }
    };
    let table = &config.table;
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
    choices::sweep();
    contexts::root_serves(root, Rc::new(Live { config: Box::new(config), plan: RefCell::default() }));
    true
}

#[inline(never)]
fn read(bytes: usize) -> Result<Config, String> {
    if bytes == 0 {
        return Err("it is empty; the least is {\"version\": 1}".to_owned());
    }
    if bytes > MAX_CONFIGURATION_BYTES {
        return Err(format!(
            "it has {bytes} bytes, and at most {MAX_CONFIGURATION_BYTES} are read; push a smaller table"
        ));
    }
    // As a whole: text that is read byte by byte from pieces takes twice as long to read, and requests wait meanwhile. It is
    // let go of when the table is made, and its memory is the next one's.
    let text =
        host::configuration(bytes).map_err(|status| format!("the host gave no more of it (status {})", status.0))?;
    // The first byte of a protobuf message with a first field of text or bytes, and of no JSON that means anything here.
    if matches!(*text, [b'\n', second, ..] if !b" \t\r\n{".contains(&second)) {
        return Err(
            "it is protobuf in binary; Envoy hands over a google.protobuf.Struct so, and a StringValue as it stands: \
                    write the JSON into a google.protobuf.StringValue"
                .to_owned(),
        );
    }
    let namespace = node_text(&["metadata", "NAMESPACE"]);
    let zone = node_text(&["locality", "zone"]);
    let id = node_text(&["id"]);
    let defaults = Defaults { namespace: namespace.as_deref(), zone: zone.as_deref(), id: id.as_deref() };
    Config::read(text, &defaults).map_err(|problems| problems.to_string())
}

/// A text that the node says of itself; `None` where it says none.
#[inline(never)]
fn node_text(path: &[&str]) -> Option<String> {
    let path: Vec<&str> = ["xds", "node"].iter().chain(path).copied().collect();
    let bytes = host::property(&path)?;
    String::from_utf8(bytes).ok().filter(|text| !text.is_empty())
}
