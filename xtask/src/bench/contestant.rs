//! The contestants, each in an Envoy of its own.

pub(super) mod filter;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use byname_test_support::{Envoy, EnvoyBuilder, free_port};
use serde_json::{Value, json};

use filter::ShippedFilter;

use super::{
    native,
    setting::Setting,
    world::{BenchSteering, World},
};

/// The bootstrap, relative to the shipped ones.
const BOOTSTRAP: &str = "../benches/envoy/bench.yaml";
/// The port of the listener in it.
const LISTENER: u16 = 15001;
/// The header in which the listener writes the port of the connection.
const PORT_HEADER: &str = "x-byname-destination-port";
const BUILT: &str = "target/bench/build";
/// The directory for discovered configuration.
const WRITTEN: &str = "target/bench/discovered";

/// A way to steer by name, or a baseline for its cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Contestant {
    /// No filter and one route: the baseline.
    None,
    /// Envoy's own routes for every spelling of every name, as a control plane configures a sidecar without byname.
    Native,
    /// Envoy's Lua filter with a script that steers by name.
    Lua,
    /// A module of the SDK that does nothing.
    Noop,
    /// byname, steering by cluster.
    Cluster,
    /// The same, where traffic is redirected: the port is that of the connection, which the filter asks Envoy for.
    ClusterAttribute,
    /// The same, with the port in a header that the listener sets.
    ClusterHeader,
    /// byname, steering by authority.
    Authority,
    /// byname, steering by endpoint with round robin.
    Endpoint,
    /// byname, steering by endpoint with least request and outlier detection.
    EndpointWatched,
}

/// All contestants.
pub(super) const ALL: [Contestant; 10] = [
    Contestant::None,
    Contestant::Native,
    Contestant::Lua,
    Contestant::Noop,
    Contestant::Cluster,
    Contestant::ClusterAttribute,
    Contestant::ClusterHeader,
    Contestant::Authority,
    Contestant::Endpoint,
    Contestant::EndpointWatched,
];

impl Contestant {
    /// The name in reports.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Native => "native",
            Self::Lua => "lua",
            Self::Noop => "noop",
            Self::Cluster => "byname-cluster",
            Self::ClusterAttribute => "byname-cluster-attribute",
            Self::ClusterHeader => "byname-cluster-header",
            Self::Authority => "byname-authority",
            Self::Endpoint => "byname-endpoint",
            Self::EndpointWatched => "byname-endpoint-watched",
        }
    }

    /// Whether requests arrive with their canonical authority.
    pub(super) fn rewrites(self) -> bool {
        !matches!(self, Self::None | Self::Native | Self::Noop)
    }

    /// The number of Services that its Envoy knows out of `services`: 0 for a contestant without a table.
    pub(super) fn services_of(self, services: usize) -> usize {
        if matches!(self, Self::None | Self::Noop) { 0 } else { services }
    }

    /// A builder for its Envoy.
    pub(super) fn envoy(self, root: &Path, world: World, upstream: u16, setting: Setting) -> Result<EnvoyBuilder> {
        let listener = free_port()?;
        let destination_port = match self {
            Self::ClusterAttribute => json!({"listenerPort": listener}),
            Self::ClusterHeader => json!({"listenerPort": listener, "header": PORT_HEADER}),
            _ => Value::Null,
        };
        let mut shipped = match self {
            Self::Authority => ShippedFilter::read(root, "authority", &world.configuration(&BenchSteering::Authority))?,
            Self::Endpoint | Self::EndpointWatched => {
                let is_watched = self == Self::EndpointWatched;
                let steering = BenchSteering::Endpoint { upstream, is_watched, reach: setting.reach() };
                ShippedFilter::read(root, "cluster", &world.configuration(&steering))?
            }
            _ => {
                let steering = BenchSteering::Cluster { destination_port };
                ShippedFilter::read(root, "cluster", &world.configuration(&steering))?
            }
        };
        if self == Self::ClusterHeader {
            shipped.write_port_into(PORT_HEADER);
        }
        let mutations = if self.rewrites() { shipped.early_header_mutations } else { json!([]) };
        let directory = root.join(WRITTEN);
        let filter = match self {
            Self::None | Self::Native => None,
            Self::Lua => Some(filter::lua(&world.script(&fs::read_to_string(root.join(filter::SCRIPT))?)?)),
            Self::Noop => Some(filter::wasm(&noop_path(root))),
            Self::Cluster
            | Self::ClusterAttribute
            | Self::ClusterHeader
            | Self::Authority
            | Self::Endpoint
            | Self::EndpointWatched => Some(shipped.filter),
        };
        let filter = match (filter, setting) {
            (Some(filter), Setting::Standing) => {
                let path = directory.join(format!("{}-{}.json", self.name(), world.services));
                filter::write(&path, filter, root)?;
                Some(self.discovered(&path))
            }
            (filter, _) => filter,
        };
        let (routes, discovery) = match self {
            Self::Native => native::write(&directory, world, upstream, setting)?,
            _ => (json!({"route_config": {"name": "outbound", "virtual_hosts": self.virtual_hosts(world)}}), json!({})),
        };
        Ok(bootstrap(&routes, &mutations, filter, upstream)
            .port(LISTENER, listener)
            .concurrency(setting.workers())
            .edit("DYNAMIC_RESOURCES", &discovery.to_string()))
    }

    fn virtual_hosts(self, world: World) -> Value {
        let any = json!({"prefix": "/"});
        let upstream = json!({"match": any, "route": {"cluster": "upstream"}});
        let unsteered = json!({"match": any, "direct_response": {"status": 421}});
        match self {
            Self::None | Self::Native | Self::Noop => {
                json!([{"name": "all", "domains": ["*"], "routes": [upstream]}])
            }
            Self::Lua
            | Self::Cluster
            | Self::ClusterAttribute
            | Self::ClusterHeader
            | Self::Endpoint
            | Self::EndpointWatched => steered_virtual_hosts(),
            Self::Authority => json!([
                {"name": "services", "domains": world.domains(), "routes": [upstream]},
                {"name": "passthrough", "domains": ["*"], "routes": [unsteered]},
            ]),
        }
    }
}

/// The route that follows the control header, and the route for other requests.
pub(super) fn steered_virtual_hosts() -> Value {
    let steered = json!({
        "match": {"prefix": "/", "headers": [{"name": "x-byname-cluster", "present_match": true}]},
        "request_headers_to_remove": ["x-byname-cluster", PORT_HEADER],
        "route": {"cluster_header": "x-byname-cluster"},
    });
    let unsteered = json!({"match": {"prefix": "/"}, "direct_response": {"status": 421}});
    json!([{"name": "all", "domains": ["*"], "routes": [steered, unsteered]}])
}

/// The bootstrap, without what is discovered.
fn bootstrap(routes: &Value, mutations: &Value, filter: Option<Value>, upstream: u16) -> EnvoyBuilder {
    // A field of the connection manager: `route_config` or `rds`.
    let fields = routes.as_object().into_iter().flatten();
    let routes: String = fields.map(|(field, value)| format!("{field}: {value}")).collect();
    let filters: Vec<Value> = filter.into_iter().chain([router()]).collect();
    Envoy::builder(BOOTSTRAP)
        .edit("UPSTREAM_PORT", &upstream.to_string())
        .edit("EARLY_HEADER_MUTATIONS", &mutations.to_string())
        .edit("HTTP_FILTERS", &Value::from(filters).to_string())
        .edit("ROUTES: HERE", &routes)
}

/// The discovered part of a configuration, and its file.
pub(super) enum Discovered<'p> {
    /// A filter.
    Filter(&'p Path),
    /// The clusters of `native`, with its routes.
    Clusters(&'p Path, Value),
}

impl Contestant {
    /// An Envoy with two workers whose filter or clusters are discovered from a file.
    pub(super) fn discovering(self, root: &Path, upstream: u16, discovered: Discovered<'_>) -> Result<EnvoyBuilder> {
        let mutations = &filter::manager(root, "ecds")?["early_header_mutation_extensions"];
        let workers = Setting::Standing.workers();
        let (routes, mutations, filter, discovery) = match discovered {
            Discovered::Clusters(path, routes) => {
                (routes, &Value::Array(Vec::new()), None, json!({"cds_config": native::source(path)}))
            }
            Discovered::Filter(path) => {
                let routes = json!({"route_config": {"name": "outbound", "virtual_hosts": steered_virtual_hosts()}});
                (routes, mutations, Some(self.discovered(path)), json!({}))
            }
        };
        Ok(bootstrap(&routes, mutations, filter, upstream)
            .concurrency(workers)
            .edit("DYNAMIC_RESOURCES", &discovery.to_string()))
    }

    /// The reference to its filter in a discovered file.
    pub(super) fn discovered(self, path: &Path) -> Value {
        let kind = if self == Self::Lua { "lua.v3.Lua" } else { "wasm.v3.Wasm" };
        json!({
            "name": filter::NAME,
            "config_discovery": {
                "config_source": native::source(path),
                "type_urls": [format!("type.googleapis.com/envoy.extensions.filters.http.{kind}")],
            },
        })
    }
}

pub(super) fn router() -> Value {
    json!({
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
    })
}

fn noop_path(root: &Path) -> PathBuf {
    root.join(BUILT).join("wasm32-unknown-unknown/release/byname_noop.wasm")
}

/// Compiles the module that does nothing, optimized for speed like the SDK's examples, whatever byname's settings are.
pub(super) fn build_noop(root: &Path) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(root)
        .args(["build", "--quiet", "--release", "--package", "byname-noop", "--target", "wasm32-unknown-unknown"])
        .args(["--config", "profile.release.opt-level=3", "--target-dir", BUILT])
        .status()
        .context("cargo cannot be run")?;
    ensure!(status.success(), "benches/noop does not compile (see the error above)");
    Ok(())
}
