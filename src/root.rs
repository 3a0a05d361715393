//! Configuration: what is pushed becomes the live one, whole, or is refused and the last good one serves on.
//!
//! Envoy runs a pushed configuration first in a VM that it throws away, then on the main thread, then on each worker, each
//! time in a new root context. All of them must come to the same end, so nothing here depends on anything but the
//! configuration and the node.

use std::{
    cell::Cell,
    io::{self, BufRead, Read},
    rc::Rc,
};

use byname_core::{Config, Defaults, Plan, limits::MAX_CONFIGURATION_BYTES};
use proxy_wasm::{
    traits::{Context, HttpContext, RootContext},
    types::ContextType,
};
use serde_json::de::IoRead;

use crate::{choices, host, http, stats};

/// The configuration is read in pieces of this size, so that memory never holds the whole text of a large table.
const PIECE_BYTES: usize = 64 << 10;

/// A configuration that is being served, with the buffers that requests take turns in.
pub(crate) struct Live {
    pub(crate) config: Config,
    pub(crate) plan: Cell<Plan>,
}

#[derive(Default)]
pub(crate) struct Root {
    live: Option<Rc<Live>>,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, bytes: usize) -> bool {
        match read(bytes) {
            Ok(config) => {
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
                        "byname: {} endpoint addresses were dropped: loopback, link-local, multicast, unspecified and \
                         metadata ones never are a pod's; table.singleMachine keeps them",
                        table.addresses_dropped(),
                    );
                }
                stats::show(&config);
                choices::sweep();
                self.live = Some(Rc::new(Live { config, plan: Cell::default() }));
                true
            }
            Err(error) => {
                stats::count_refused_configuration();
                log::error!("byname: configuration refused, the last good one serves on: {error}");
                false
            }
        }
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(http::Stream::new(self.live.clone())))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

fn read(bytes: usize) -> Result<Config, String> {
    if bytes == 0 {
        return Err("it is empty; the least is {\"version\": 1}".to_owned());
    }
    // The first byte of a protobuf message with a first field of text or bytes, and of no JSON that means anything here.
    if host::configuration(0, 2).is_ok_and(|start| matches!(*start, [b'\n', second] if !b" \t\r\n{".contains(&second)))
    {
        return Err(
            "it is protobuf in binary; Envoy hands over a google.protobuf.Struct so, and a StringValue as it stands: \
                    write the JSON into a google.protobuf.StringValue"
                .to_owned(),
        );
    }
    if bytes > MAX_CONFIGURATION_BYTES {
        return Err(format!(
            "it has {bytes} bytes, and at most {MAX_CONFIGURATION_BYTES} are read; push a smaller table"
        ));
    }
    let namespace = node_text(&["metadata", "NAMESPACE"]);
    let zone = node_text(&["locality", "zone"]);
    let id = node_text(&["id"]);
    let defaults = Defaults { namespace: namespace.as_deref(), zone: zone.as_deref(), id: id.as_deref() };
    let pieces = || Pieces { bytes, next: 0, piece: Vec::new(), read: 0 };
    let again = || pieces().bytes().map_while(Result::ok);
    Config::read(IoRead::new(pieces()), again, &defaults).map_err(|problems| problems.to_string())
}

/// A text that the node says of itself; `None` where it says none.
fn node_text(path: &[&str]) -> Option<String> {
    let path: Vec<&str> = ["xds", "node"].iter().chain(path).copied().collect();
    let bytes = host::property(&path)?;
    String::from_utf8(bytes).ok().filter(|text| !text.is_empty())
}

/// The plugin configuration, piece by piece.
struct Pieces {
    bytes: usize,
    next: usize,
    piece: Vec<u8>,
    read: usize,
}

impl BufRead for Pieces {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.read >= self.piece.len() && self.next < self.bytes {
            // The old piece goes before the new one comes.
            self.piece = Vec::new();
            self.read = 0;
            let most = PIECE_BYTES.min(self.bytes - self.next);
            self.piece = host::configuration(self.next, most)
                .map_err(|status| io::Error::other(format!("the host gave no more of it (status {})", status.0)))?;
            self.next = if self.piece.is_empty() { self.bytes } else { self.next.saturating_add(self.piece.len()) };
        }
        Ok(self.piece.get(self.read..).unwrap_or_default())
    }

    fn consume(&mut self, bytes: usize) {
        self.read = self.read.saturating_add(bytes);
    }
}

impl Read for Pieces {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(to)?;
        self.consume(read);
        Ok(read)
    }
}
