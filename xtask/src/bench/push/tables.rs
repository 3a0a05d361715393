//! The pushed files. Each contestant has one text with placeholders for what differs between versions, because
//! generating 10,000 Services anew takes longer than the measured push.

use std::path::Path;

use anyhow::{Context, Result};
use byname_test_support::EcdsFile;
use serde_json::{Value, json};

use super::super::{
    contestant::{
        Contestant,
        filter::{SCRIPT, lua},
    },
    native,
    setting::Setting,
    world::{BenchSteering, OWN, Reach, World, canonical, namespace, service},
};
use crate::module::SHIPPED;

/// A name that resolves to two Services in turn, so that the response shows which table is live. Both Services have
/// equally long names, so that the length to read is known.
pub(in super::super) const PROBE: &str = "probe";
pub(in super::super) const TARGETS: [&str; 2] = ["probe-a", "probe-b"];

/// The placeholder for the first part of all addresses.
const BLOCK: &str = "BLOCK";
/// The placeholder for the last part of one address.
const SPARE: &str = "SPARE";
/// The placeholder for the probe's target.
const TARGET: &str = "TARGETED";
/// The placeholder for the version, where it is a number.
const VERSION: u64 = 99_999_999_999;

/// The Service with the spare address. It is not the first Service, whose endpoints must be reachable.
const SPARED: usize = 1;

/// The authorities that the upstream receives, by the number of the target.
pub(super) fn canonical_targets() -> [String; 2] {
    TARGETS.map(canonical_name)
}

fn canonical_name(name: &str) -> String {
    format!("{name}.{OWN}.svc.cluster.local")
}

/// The change from the previous table, besides the probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PushedChange {
    /// The address of one endpoint.
    OneEndpoint,
    /// The addresses of all endpoints.
    All,
    /// Only the probe's alias, for a table without endpoints.
    Alias,
}

impl PushedChange {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::OneEndpoint => "one endpoint",
            Self::All => "all endpoints",
            Self::Alias => "one alias",
        }
    }
}

/// The text of every version of a discovered file.
pub(super) struct Tables {
    contestant: Contestant,
    text: String,
}

impl Tables {
    pub(super) fn new(root: &Path, contestant: Contestant, services: usize, upstream: u16) -> Result<Self> {
        let world = World { services };
        let text = match contestant {
            Contestant::Native => native::discovered("cluster.v3.Cluster", clusters(world, upstream)),
            Contestant::Lua => native::discovered("core.v3.TypedExtensionConfig", vec![lua(&script(root, world)?)]),
            _ => filter(root, &configuration(world, upstream))?,
        };
        Ok(Self { contestant, text })
    }

    /// The extension of the file, by which Envoy knows its format. byname's file is the shipped YAML.
    pub(super) fn format(&self) -> &'static str {
        match self.contestant {
            Contestant::Native | Contestant::Lua => "json",
            _ => "yaml",
        }
    }

    /// The change that `version` makes to the previous version: alternately all endpoints and one, or the alias alone.
    pub(super) fn change(&self, version: usize) -> PushedChange {
        match (self.contestant, version % 2) {
            (Contestant::Lua, _) => PushedChange::Alias,
            (_, 0) => PushedChange::OneEndpoint,
            _ => PushedChange::All,
        }
    }

    /// The number of kinds of changes.
    pub(super) fn changes(&self) -> usize {
        if self.contestant == Contestant::Lua { 1 } else { 2 }
    }

    /// The number of the probe's target in `version`.
    pub(super) fn target(version: usize) -> usize {
        version % TARGETS.len()
    }

    pub(super) fn text(&self, version: usize) -> String {
        // An odd version changes all addresses, and the next version keeps them.
        let block = 10 + version.div_ceil(2) % 2;
        let target = TARGETS.get(Self::target(version)).copied().unwrap_or_default();
        let text = self.text.replace(BLOCK, &block.to_string()).replace(SPARE, &version.to_string());
        text.replace(TARGET, target).replace(&VERSION.to_string(), &version.to_string())
    }
}

/// An endpoint's address with a first part that differs between versions. Reachable addresses stay.
fn blocked(address: &str) -> String {
    match address.strip_prefix("10.") {
        Some(rest) => format!("{BLOCK}.{rest}"),
        None => address.to_owned(),
    }
}

fn spare() -> String {
    format!("10.99.0.{SPARE}")
}

/// byname's configuration, in which the probe is an alias.
fn configuration(world: World, upstream: u16) -> Value {
    let steering = BenchSteering::Endpoint { upstream, is_watched: false, reach: Reach::First };
    let mut configuration = world.configuration(&steering);
    configuration["table"]["version"] = VERSION.into();
    let Some(table) = configuration.pointer_mut("/table/services").and_then(Value::as_object_mut) else {
        return configuration;
    };
    let spared = format!("{}/{}", namespace(SPARED), service(SPARED));
    for (name, service) in table.iter_mut() {
        if let Some(addresses) = service.pointer_mut("/endpoints/0/addresses") {
            let all = addresses.as_str().unwrap_or_default().split(' ').map(blocked);
            *addresses = all.chain((*name == spared).then(spare)).collect::<Vec<_>>().join(" ").into();
        }
    }
    for target in TARGETS {
        let endpoints = json!([{"addresses": "127.0.0.1", "ports": {"http": upstream}}]);
        let ports = json!([{"name": "http", "port": 80}]);
        table.insert(format!("{OWN}/{target}"), json!({"ports": ports, "endpoints": endpoints}));
    }
    let alias = json!({"type": "ExternalName", "externalName": canonical_name(TARGET)});
    table.insert(format!("{OWN}/{PROBE}"), alias);
    configuration
}

/// The shipped file with this configuration.
fn filter(root: &Path, configuration: &Value) -> Result<String> {
    let text = EcdsFile::read(&root.join("envoy/ecds/shop.yaml"))?.with_text(&configuration.to_string());
    let module = root.join(SHIPPED);
    Ok(text.replace(SHIPPED, module.to_str().context("the path of the module is no text")?))
}

/// Lua's script, in which the probe is an alias. The script knows no endpoints.
fn script(root: &Path, world: World) -> Result<String> {
    let template = std::fs::read_to_string(root.join(SCRIPT))?;
    let ports: String = canonical_targets().map(|name| format!("[\"{name}\"]=80,")).concat();
    let alias = format!("[\"{}\"]=\"{}\",", canonical_name(PROBE), canonical_name(TARGET));
    let template = template.replace("SERVICE_PORTS", &format!("{ports}SERVICE_PORTS"));
    world.script(&template.replace("ALIAS_TARGETS", &format!("{alias}ALIAS_TARGETS")))
}

/// The clusters of `native`. The probe's cluster comes last, so its response shows that all clusters before it are
/// live.
fn clusters(world: World, upstream: u16) -> Vec<Value> {
    let mut clusters = native::all_clusters(world, upstream);
    for cluster in &mut clusters {
        let is_spared = cluster["name"] == native::cluster_name(&canonical(SPARED));
        let endpoints = cluster.pointer_mut("/load_assignment/endpoints/0/lb_endpoints").and_then(Value::as_array_mut);
        let Some(endpoints) = endpoints else { continue };
        for address in
            endpoints.iter_mut().filter_map(|one| one.pointer_mut("/endpoint/address/socket_address/address"))
        {
            *address = blocked(address.as_str().unwrap_or_default()).into();
        }
        endpoints.extend(is_spared.then(|| native::endpoint(&spare(), 8080)));
    }
    let mut endpoint = native::endpoint("127.0.0.1", upstream);
    // `auto_host_rewrite` sends this name to the upstream.
    endpoint["endpoint"]["hostname"] = canonical_name(TARGET).into();
    clusters.push(native::cluster(&canonical_name(PROBE), vec![endpoint]));
    clusters
}

/// The routes of `native`. They do not change with endpoints.
pub(super) fn routes(world: World) -> Vec<Value> {
    let mut virtual_hosts = native::virtual_hosts(world, Setting::Standing);
    let cluster = native::cluster_name(&canonical_name(PROBE));
    let mut probe = native::virtual_host(PROBE, OWN, &cluster);
    probe["routes"][0]["route"]["auto_host_rewrite"] = true.into();
    virtual_hosts.push(probe);
    virtual_hosts
}

#[cfg(test)]
mod tests {
    use byname_test_support::repository;

    use super::*;

    #[test]
    fn versions_differ_by_their_declared_change() {
        let tables = Tables::new(&repository(), Contestant::Endpoint, 20, 1).expect("a text");
        let pieces = |version: usize| -> Vec<String> {
            tables.text(version).split(['"', ' ', '\\']).filter(|piece| !piece.is_empty()).map(str::to_owned).collect()
        };
        let changed = |from, to| -> Vec<(String, String)> {
            let all = pieces(from).into_iter().zip(pieces(to));
            all.filter(|(from, to)| from != to && from.starts_with("1")).collect()
        };
        assert_eq!(tables.change(1), PushedChange::All);
        // The first Service's endpoints must stay reachable.
        assert!(changed(0, 1).len() >= 19 * 10, "{:?}", changed(0, 1));
        assert_eq!(tables.change(2), PushedChange::OneEndpoint);
        assert_eq!(changed(1, 2), [("10.99.0.1".to_owned(), "10.99.0.2".to_owned())]);
        for word in [BLOCK, SPARE, TARGET] {
            assert!(!tables.text(3).contains(word), "{word} is left in the text");
        }
    }
}
