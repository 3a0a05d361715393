//! What is compared, each in an Envoy of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use byname_test_support::{Envoy, yaml_documents};
use serde_json::{Value, json};

use super::world::{Steering, World};

/// Beside the bootstraps that are shipped.
const BOOTSTRAP: &str = "../benches/envoy/bench.yaml";
const SCRIPT: &str = "benches/envoy/steer.lua";
const BUILT: &str = "target/bench/build";

/// A way to do the job, or a part of the price of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Contestant {
    /// No filter and one route: what all others add to.
    None,
    /// Envoy's Lua filter with a script that does the job.
    Lua,
    /// A module of the SDK's that does nothing.
    Noop,
    /// byname, steering by cluster.
    Cluster,
    /// byname, steering by authority.
    Authority,
    /// byname, steering by endpoint, in turn.
    Endpoint,
    /// byname, steering by endpoint with all that can be switched on: open requests counted, failures watched.
    EndpointWatched,
}

/// All of them.
pub(super) const ALL: [Contestant; 7] = [
    Contestant::None,
    Contestant::Lua,
    Contestant::Noop,
    Contestant::Cluster,
    Contestant::Authority,
    Contestant::Endpoint,
    Contestant::EndpointWatched,
];

impl Contestant {
    /// What it is called in reports.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lua => "lua",
            Self::Noop => "noop",
            Self::Cluster => "byname-cluster",
            Self::Authority => "byname-authority",
            Self::Endpoint => "byname-endpoint",
            Self::EndpointWatched => "byname-endpoint-watched",
        }
    }

    /// Whether requests arrive with their canonical authority.
    pub(super) fn steers(self) -> bool {
        !matches!(self, Self::None | Self::Noop)
    }

    /// How many Services its Envoy knows, where there are so many: none where it has no table.
    pub(super) fn services_of(self, services: usize) -> usize {
        if self.steers() { services } else { 0 }
    }

    /// Starts its Envoy, with one worker.
    pub(super) async fn start(self, root: &Path, world: World, upstream: u16) -> Result<Envoy> {
        let shipped = match self {
            Self::Authority => Shipped::read(root, "authority", world.configuration(&Steering::Authority))?,
            Self::Endpoint | Self::EndpointWatched => {
                let is_watched = self == Self::EndpointWatched;
                Shipped::read(root, "cluster", world.configuration(&Steering::Endpoint { upstream, is_watched }))?
            }
            _ => Shipped::read(root, "cluster", world.configuration(&Steering::Cluster))?,
        };
        let mutations = if self.steers() { shipped.early_header_mutations } else { json!([]) };
        let filter = match self {
            Self::None => None,
            Self::Lua => Some(lua(&world.script(&fs::read_to_string(root.join(SCRIPT))?)?)),
            Self::Noop => Some(wasm(&noop_path(root))),
            Self::Cluster | Self::Authority | Self::Endpoint | Self::EndpointWatched => Some(shipped.filter),
        };
        let filters: Vec<Value> = filter.into_iter().chain([router()]).collect();
        Envoy::builder(BOOTSTRAP)
            .concurrency(1)
            .edit("UPSTREAM_PORT", &upstream.to_string())
            .edit("EARLY_HEADER_MUTATIONS", &mutations.to_string())
            .edit("VIRTUAL_HOSTS", &self.virtual_hosts(world).to_string())
            .edit("HTTP_FILTERS", &Value::from(filters).to_string())
            .start()
            .await
            .with_context(|| format!("{} with {} Services", self.name(), world.services))
    }

    fn virtual_hosts(self, world: World) -> Value {
        let any = json!({"prefix": "/"});
        let upstream = json!({"match": any, "route": {"cluster": "upstream"}});
        let unsteered = json!({"match": any, "direct_response": {"status": 421}});
        match self {
            Self::None | Self::Noop => json!([{"name": "all", "domains": ["*"], "routes": [upstream]}]),
            Self::Lua | Self::Cluster | Self::Endpoint | Self::EndpointWatched => {
                let steered = json!({
                    "match": {"prefix": "/", "headers": [{"name": "x-byname-cluster", "present_match": true}]},
                    "request_headers_to_remove": ["x-byname-cluster"],
                    "route": {"cluster_header": "x-byname-cluster"},
                });
                json!([{"name": "all", "domains": ["*"], "routes": [steered, unsteered]}])
            }
            Self::Authority => json!([
                {"name": "services", "domains": world.domains(), "routes": [upstream]},
                {"name": "passthrough", "domains": ["*"], "routes": [unsteered]},
            ]),
        }
    }
}

/// What a bootstrap in `envoy/` has of byname, with a configuration of ours.
struct Shipped {
    early_header_mutations: Value,
    filter: Value,
}

impl Shipped {
    fn read(root: &Path, bootstrap: &str, configuration: String) -> Result<Self> {
        let path = root.join("envoy").join(bootstrap).with_extension("yaml");
        let bootstrap = yaml_documents(&fs::read_to_string(&path)?)?.into_iter().next().unwrap_or_default();
        let manager = &bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
        let mut filter = manager["http_filters"][0].clone();
        let value = filter.pointer_mut("/typed_config/config/configuration/value");
        *value.with_context(|| format!("the first filter of {} is not byname", path.display()))? = configuration.into();
        Ok(Self { early_header_mutations: manager["early_header_mutation_extensions"].clone(), filter })
    }
}

fn lua(script: &str) -> Value {
    json!({
        "name": "lua",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
            "default_source_code": {"inline_string": script},
        },
    })
}

fn wasm(module: &Path) -> Value {
    json!({
        "name": "noop",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": "noop",
                "root_id": "noop",
                "vm_config": {
                    "vm_id": "noop",
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"filename": module}},
                },
            },
        },
    })
}

fn router() -> Value {
    json!({
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
    })
}

fn noop_path(root: &Path) -> PathBuf {
    root.join(BUILT).join("wasm32-unknown-unknown/release/byname_noop.wasm")
}

/// Compiles the module that does nothing, optimized for speed as the SDK's examples are, whatever byname itself is.
pub(super) fn build_noop(root: &Path) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(root)
        .args(["build", "--quiet", "--release", "--package", "byname-noop", "--target", "wasm32-unknown-unknown"])
        .args(["--config", "profile.release.opt-level=3", "--target-dir", BUILT])
        .status()
        .context("cargo cannot be run")?;
    ensure!(status.success(), "benches/noop does not compile (above it says why)");
    Ok(())
}
