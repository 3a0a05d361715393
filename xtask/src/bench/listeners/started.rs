//! An Envoy with many listeners, as Istio configures them: each Service port with an address of its own has one.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use anyhow::{Context, Result, ensure};
use byname_test_support::{Envoy, free_port};
use serde_json::{Value, json};

use super::{
    names::Names,
    server::Server,
    sidecar::{Content, Sidecar},
};

const BOOTSTRAP: &str = "../benches/envoy/listeners.yaml";
/// The directory of pushed files.
const WRITTEN: &str = "target/bench/listeners";
/// The number of listeners, the same in all of a run.
static LISTENERS: OnceLock<usize> = OnceLock::new();
const USUAL_LISTENERS: usize = 50;
/// The port of the first listener, the only one that binds a port.
const LISTENER: u16 = 15001;

/// Sets the number of listeners of all sidecars that start.
pub(in crate::bench) fn set_listeners(number: usize) {
    // The first call counts: sidecars with other numbers cannot be compared.
    let _ = LISTENERS.set(number);
}

pub(super) fn listeners() -> usize {
    *LISTENERS.get_or_init(|| USUAL_LISTENERS)
}

/// A running sidecar.
pub(super) struct Started {
    pub(super) envoy: Envoy,
    file: PathBuf,
    server: Option<Server>,
}

impl Started {
    /// Starts a sidecar with version 0 of its content, and the server that it asks.
    pub(super) async fn start(
        root: &Path,
        content: &Content,
        names: &Names,
        workers: u32,
        upstream: u16,
    ) -> Result<Self> {
        let sidecar = content.sidecar();
        let directory = root.join(WRITTEN);
        fs::create_dir_all(&directory)?;
        let file = directory.join("discovered.json");
        replace(&file, &content.text(root, 0)?)?;
        let server = match sidecar {
            Sidecar::Stream { .. } => Some(Server::start(names).await?),
            _ => None,
        };
        let port = free_port()?;
        let fields = sidecar.connection_manager(root, &file)?;
        let listeners: Vec<Value> = (0..listeners()).map(|index| listener(index, port, &fields)).collect();
        // Only a filter that asks for Services connects to its cluster.
        let server_port = server.as_ref().map_or(upstream, Server::port);
        let envoy = Envoy::builder(BOOTSTRAP)
            .port(LISTENER, port)
            .concurrency(workers)
            .edit("UPSTREAM_PORT", &upstream.to_string())
            .edit("SERVER_PORT", &server_port.to_string())
            .edit("LISTENERS", &Value::from(listeners).to_string())
            .start()
            .await?;
        Ok(Self { envoy, file, server })
    }

    /// The port of the first listener.
    pub(super) fn port(&self) -> u16 {
        self.envoy.port(LISTENER)
    }

    /// Replaces the discovered file in one step. Returns its size.
    pub(super) fn push(&self, text: &str) -> Result<usize> {
        replace(&self.file, text)?;
        Ok(text.len())
    }

    /// Changes the alias at the server to the one of `names`.
    pub(super) fn change(&self, names: &Names) -> Result<()> {
        self.server.as_ref().context("this sidecar has no server")?.change(names);
        Ok(())
    }

    /// Fails if the filter had to do without an answer of its server.
    pub(super) async fn ensure_answered(&self) -> Result<()> {
        let Some(server) = &self.server else { return Ok(()) };
        let stats = self.envoy.stats("wasmcustom.byname.stream.").await?;
        let of = |name: &str| stats.get(&format!("wasmcustom.byname.stream.{name}")).copied().unwrap_or_default();
        let is_answered = of("timeouts") + of("failures") + of("rejections") == 0;
        ensure!(is_answered, "the filter lacked answers of the server: {stats:?}\n{}", server.log());
        Ok(())
    }

    /// The logs of Envoy and of the server.
    pub(super) fn log(&self) -> String {
        self.envoy.log() + &self.server.as_ref().map(Server::log).unwrap_or_default()
    }
}

fn replace(file: &Path, text: &str) -> Result<()> {
    let next = file.with_extension("next");
    fs::write(&next, text)?;
    Ok(fs::rename(next, file)?)
}

/// A listener. Only the first one binds its port, as in Istio.
fn listener(index: usize, port: u16, fields: &Value) -> Value {
    let (address, port) = match index {
        0 => ("127.0.0.1".to_owned(), port),
        _ => (format!("10.96.0.{index}"), 80),
    };
    let mut manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "outbound",
        "codec_type": "HTTP1",
    });
    for (name, value) in fields.as_object().into_iter().flatten() {
        manager[name] = value.clone();
    }
    json!({
        "name": format!("outbound-{index}"),
        "address": {"socket_address": {"address": address, "port_value": port}},
        "bind_to_port": index == 0,
        "filter_chains": [{"filters": [
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager},
        ]}],
    })
}
