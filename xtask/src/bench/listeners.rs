//! The memory of a sidecar with many listeners, as Istio configures it: each Service port with an address of its own has a
//! listener. The connection manager of each listener keeps copies of the filter's configuration. Envoy's own routes are
//! shared by all listeners, and so is the VM.

mod names;

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use byname_core::wire::Packed;
use byname_test_support::{Envoy, free_port};
use serde_json::{Map, Value, json};
use tokio::time::sleep;

use super::{
    contestant::{Contestant, filter, filter::ShippedFilter, router, steered_virtual_hosts},
    load::body,
    native,
    numbers::{median, quartiles, round, table},
    progress::Progress,
    setting::Setting,
    standing::answer,
    world::OWN,
};
use names::{NamedService, services};

const BOOTSTRAP: &str = "../benches/envoy/listeners.yaml";
/// The directory of pushed files.
const WRITTEN: &str = "target/bench/listeners";
/// Istio gives a sidecar a listener for each Service port with an address of its own.
const LISTENERS: usize = 50;
const PUSHES: usize = 10;
/// The port of the first listener, the only one that binds a port.
const LISTENER: u16 = 15001;
const POLL: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(60);
/// The time after each push in which all workers take it, and the time before memory is read.
const CALM: Duration = Duration::from_millis(300);
const SETTLING: Duration = Duration::from_secs(2);

/// A sidecar with [`LISTENERS`] listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sidecar {
    /// One route, no filter and no pushes: the baseline.
    None,
    /// Envoy's own routes, in one route configuration that all listeners share by RDS. Each name has one virtual host and no
    /// cluster, because the tables of the other sidecars have no endpoints.
    Native,
    /// byname with an empty table: the module and its VMs.
    Empty,
    /// byname with the table as plain JSON.
    Plain,
    /// byname with the packed table, as `byname compile` writes it for Istio.
    Packed,
}

/// All sidecars.
pub(super) const ALL: &[Sidecar] = &[Sidecar::None, Sidecar::Native, Sidecar::Empty, Sidecar::Plain, Sidecar::Packed];

impl Sidecar {
    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Native => "native, routes alone",
            Self::Empty => "byname, empty table",
            Self::Plain => "byname, plain table",
            Self::Packed => "byname, packed table",
        }
    }

    /// What is discovered, apart from its version: the virtual hosts, or the table.
    fn content(self, services: &[NamedService]) -> Value {
        match self {
            Self::None => Value::Null,
            Self::Native => services.iter().map(virtual_host).collect(),
            Self::Empty => json!({}),
            Self::Plain => json!({"services": entries(services)}),
            Self::Packed => json!({"packed": packed(services)}),
        }
    }

    /// The text of its discovered file in this version.
    fn text(self, root: &Path, content: &Value, version: usize) -> Result<String> {
        match self {
            Self::None => Ok(String::new()),
            Self::Native => Ok(routes(content, version)),
            Self::Empty | Self::Plain | Self::Packed => filter_text(root, content, version),
        }
    }

    /// The fields of its connection managers that differ from those of the other sidecars.
    fn connection_manager(self, root: &Path, file: &Path) -> Result<Value> {
        let inline = |virtual_hosts: Value| json!({"name": "outbound", "virtual_hosts": virtual_hosts});
        Ok(match self {
            Self::None => {
                let route = json!({"match": {"prefix": "/"}, "route": {"cluster": "upstream"}});
                let all = json!([{"name": "all", "domains": ["*"], "routes": [route]}]);
                json!({"route_config": inline(all), "http_filters": [router()]})
            }
            Self::Native => json!({
                "rds": {"route_config_name": "outbound", "config_source": native::source(file)},
                "http_filters": [router()],
            }),
            Self::Empty | Self::Plain | Self::Packed => json!({
                "route_config": inline(steered_virtual_hosts()),
                "early_header_mutation_extensions":
                    filter::manager(root, "ecds")?["early_header_mutation_extensions"],
                "http_filters": [Contestant::Cluster.discovered(file), router()],
            }),
        })
    }

    /// Whether Envoy has taken `version`.
    async fn has_taken(self, envoy: &Envoy, version: usize) -> Result<bool> {
        let taken = match self {
            Self::None => return Ok(true),
            Self::Native => {
                let updates = envoy.stats(".rds.outbound.update_success").await?;
                // The first update is version 0.
                updates.into_values().max().unwrap_or_default().saturating_sub(1)
            }
            Self::Empty | Self::Plain | Self::Packed => envoy.stat("wasmcustom.byname.table.version").await?,
        };
        Ok(taken == version as u64)
    }
}

/// The Services of a table, as `byname compile` writes names without endpoints.
fn entries(services: &[NamedService]) -> Map<String, Value> {
    let entry = |service: &NamedService| {
        let value = json!({"clusterIPs": service.cluster_ip, "ports": [{"name": "http", "port": 80}]});
        (format!("{}/{}", service.namespace, service.name), value)
    };
    services.iter().map(entry).collect()
}

/// The packed form of the same Services.
fn packed(services: &[NamedService]) -> Value {
    let text = Value::from(entries(services)).to_string();
    let Packed { bytes, deflate } = Packed::new(&text);
    json!({"bytes": bytes, "deflate": deflate})
}

/// The discovered filter with this table.
fn filter_text(root: &Path, table: &Value, version: usize) -> Result<String> {
    let mut configuration = json!({
        "version": 1,
        "steering": {"by": "cluster", "cluster": "upstream"},
        "table": table,
    });
    configuration["table"]["version"] = version.into();
    filter::text(ShippedFilter::read(root, "cluster", &configuration)?.filter, root)
}

/// The virtual host of a Service as Istio writes it: a cluster IP is a host too, and no host has a port.
fn virtual_host(service: &NamedService) -> Value {
    let NamedService { name, namespace, cluster_ip } = service;
    let mut domains =
        vec![service.canonical(), format!("{name}.{namespace}.svc"), format!("{name}.{namespace}"), cluster_ip.clone()];
    domains.extend((namespace == OWN).then(|| name.clone()));
    json!({
        "name": format!("{}:80", service.canonical()),
        "domains": domains,
        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "upstream"}}],
    })
}

fn routes(virtual_hosts: &Value, version: usize) -> String {
    let routes = json!({
        "name": "outbound",
        "ignore_port_in_host_matching": true,
        "virtual_hosts": virtual_hosts,
        // Envoy ignores a route configuration that has not changed.
        "response_headers_to_add": [{"header": {"key": "x-version", "value": version.to_string()}}],
    });
    native::discovered("route.v3.RouteConfiguration", vec![routes])
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

/// One sidecar after its pushes.
pub(super) struct Listening {
    sidecar: Sidecar,
    names: usize,
    /// The size of a pushed file.
    bytes: usize,
    resident_kilobytes: u64,
    /// The most that was ever resident.
    peak_kilobytes: u64,
}

/// Starts each of `sidecars` with this number of names, one at a time, and pushes to it.
pub(super) async fn run(
    root: &Path,
    sidecars: &[Sidecar],
    names: usize,
    upstream: u16,
    progress: &Progress,
    measured: &mut Vec<Listening>,
) -> Result<()> {
    let services = services(names);
    for &sidecar in sidecars {
        progress.say(&format!("{} with {names} names", sidecar.name()));
        measured.push(once(root, sidecar, &services, upstream).await?);
    }
    Ok(())
}

async fn once(root: &Path, sidecar: Sidecar, services: &[NamedService], upstream: u16) -> Result<Listening> {
    let directory = root.join(WRITTEN);
    fs::create_dir_all(&directory)?;
    let file = directory.join("discovered.json");
    let content = sidecar.content(services);
    let mut bytes = replace(&file, &sidecar.text(root, &content, 0)?)?;
    let port = free_port()?;
    let fields = sidecar.connection_manager(root, &file)?;
    let listeners: Vec<Value> = (0..LISTENERS).map(|index| listener(index, port, &fields)).collect();
    let envoy = Envoy::builder(BOOTSTRAP)
        .port(LISTENER, port)
        .concurrency(Setting::Standing.workers())
        .edit("UPSTREAM_PORT", &upstream.to_string())
        .edit("LISTENERS", &Value::from(listeners).to_string())
        .start()
        .await?;
    let pushes = if sidecar == Sidecar::None { 0 } else { PUSHES };
    for version in 1..=pushes {
        bytes = replace(&file, &sidecar.text(root, &content, version)?)?;
        let start = Instant::now();
        while !sidecar.has_taken(&envoy, version).await? {
            if start.elapsed() > PATIENCE {
                bail!("{} has not taken push {version}:\n{}", sidecar.name(), envoy.log());
            }
            sleep(POLL).await;
        }
        sleep(CALM).await;
    }
    if let Some(first) = services.first() {
        let expected = match sidecar {
            Sidecar::Plain | Sidecar::Packed => first.canonical(),
            _ => first.name.clone(),
        };
        if sidecar != Sidecar::Empty {
            let answer = answer(port, &first.name, expected.len()).await?;
            let is_expected = body(&answer) == Some(expected.as_bytes());
            ensure!(is_expected, "{} answered {}", sidecar.name(), String::from_utf8_lossy(&answer));
        }
    }
    sleep(SETTLING).await;
    Ok(Listening {
        sidecar,
        names: services.len(),
        bytes,
        resident_kilobytes: envoy.resident_kilobytes()?,
        peak_kilobytes: envoy.peak_kilobytes()?,
    })
}

/// Replaces the file in one step. Returns the size.
fn replace(file: &Path, text: &str) -> Result<usize> {
    let next = file.with_extension("next");
    fs::write(&next, text)?;
    fs::rename(next, file)?;
    Ok(text.len())
}

/// The sidecars of a run.
pub(super) struct Listenings(pub(super) Vec<Listening>);

impl Listenings {
    fn of(&self, sidecar: Sidecar, names: usize) -> impl Iterator<Item = &Listening> {
        self.0.iter().filter(move |one| (one.sidecar, one.names) == (sidecar, names))
    }

    /// Each number of names with each sidecar.
    fn rows(&self) -> Vec<(usize, Sidecar)> {
        let mut rows: Vec<_> = self.0.iter().map(|one| (one.names, one.sidecar)).collect();
        rows.sort_unstable();
        rows.dedup();
        rows
    }

    /// What this sidecar adds to `none`, in MB, in each round. `none` and `empty` do not depend on the number of names.
    fn added(&self, sidecar: Sidecar, names: usize, to: Sidecar) -> Vec<f64> {
        let base = median(self.0.iter().filter(|one| one.sidecar == to).map(resident));
        self.of(sidecar, names).map(|one| resident(one) - base).collect()
    }

    /// What the packed table adds, divided by what `other` adds, in each round, with its quartiles. What the module adds
    /// with an empty table is in both.
    pub(super) fn packed_vs(&self, other: Sidecar, names: usize) -> Option<[f64; 3]> {
        self.ratio(other, names, Sidecar::None)
    }

    fn ratio(&self, other: Sidecar, names: usize, base: Sidecar) -> Option<[f64; 3]> {
        let packed = self.added(Sidecar::Packed, names, base);
        let ratios = packed.into_iter().zip(self.added(other, names, base)).map(|(packed, other)| packed / other);
        let ratios: Vec<f64> = ratios.filter(|ratio| ratio.is_finite()).collect();
        (!ratios.is_empty()).then(|| quartiles(ratios))
    }

    pub(super) fn print(&self) {
        if self.0.is_empty() {
            return;
        }
        let headings = ["names", "sidecar", "a push", "resident", "spread", "most", "added", "by the table"];
        let mut table = table(headings, &[1]);
        for (names, sidecar) in self.rows() {
            let [low, middle, high] = quartiles(self.of(sidecar, names).map(resident).collect());
            let most = median(self.of(sidecar, names).map(|one| one.peak_kilobytes as f64 / 1e3));
            let bytes = self.of(sidecar, names).map(|one| one.bytes).max().unwrap_or_default();
            let added = |to| format!("{:.0} MB", median(self.added(sidecar, names, to)));
            table.add_row([
                names.to_string(),
                sidecar.name().to_owned(),
                if bytes == 0 { String::new() } else { format!("{} kB", bytes / 1_000) },
                format!("{middle:.0} MB"),
                format!("{low:.0} .. {high:.0}"),
                format!("{most:.0} MB"),
                if sidecar == Sidecar::None { String::new() } else { added(Sidecar::None) },
                if sidecar < Sidecar::Plain { String::new() } else { added(Sidecar::Empty) },
            ]);
        }
        println!("Memory of a sidecar with {LISTENERS} listeners and two workers after {PUSHES} pushes:");
        println!("medians and quartiles of all starts.");
        println!("{table}");
        let ratio = |other, base| self.ratio(other, NAMES, base).map_or(f64::NAN, |[_, ratio, _]| ratio);
        println!(
            "Packed ÷ plain: {:.2} with the module, {:.2} the table alone. Packed ÷ native: {:.2}, {:.2} without the module.\n",
            ratio(Sidecar::Plain, Sidecar::None),
            ratio(Sidecar::Plain, Sidecar::Empty),
            ratio(Sidecar::Native, Sidecar::None),
            self.table_vs_native(),
        );
    }

    /// What the packed table adds to the module, divided by what the routes add.
    fn table_vs_native(&self) -> f64 {
        let of = |sidecar, base| median(self.added(sidecar, NAMES, base));
        of(Sidecar::Packed, Sidecar::Empty) / of(Sidecar::Native, Sidecar::None)
    }

    pub(super) fn json(&self) -> Value {
        let result = |(names, sidecar): (usize, Sidecar)| {
            let all = |field: fn(&Listening) -> u64| self.of(sidecar, names).map(field).collect::<Vec<_>>();
            json!({
                "sidecar": sidecar.name(),
                "names": names,
                "bytes": self.of(sidecar, names).map(|one| one.bytes).max(),
                "residentKilobytes": all(|one| one.resident_kilobytes),
                "peakKilobytes": all(|one| one.peak_kilobytes),
                "addedMegabytes": round(median(self.added(sidecar, names, Sidecar::None))),
                "addedByTheTableMegabytes": round(median(self.added(sidecar, names, Sidecar::Empty))),
            })
        };
        json!({
            "workers": 2,
            "listeners": LISTENERS,
            "pushes": PUSHES,
            "results": self.rows().into_iter().map(result).collect::<Vec<_>>(),
        })
    }
}

/// The number of names in the ratios.
pub(super) const NAMES: usize = 10_000;

fn resident(one: &Listening) -> f64 {
    one.resident_kilobytes as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use byname_core::{Config, Defaults};

    use super::*;

    #[test]
    fn ratios_compare_what_sidecars_add() {
        let one = |sidecar, resident_kilobytes| Listening {
            sidecar,
            names: NAMES,
            bytes: 1,
            resident_kilobytes,
            peak_kilobytes: 0,
        };
        let mut all = Listenings(vec![one(Sidecar::None, 50_000), one(Sidecar::Packed, 90_000)]);
        assert_eq!(all.packed_vs(Sidecar::Plain, NAMES), None, "the plain table was not measured");
        all.0.extend([one(Sidecar::Empty, 70_000), one(Sidecar::Plain, 250_000)]);
        assert_eq!(all.packed_vs(Sidecar::Plain, NAMES), Some([0.2; 3]));
        assert_eq!(all.ratio(Sidecar::Plain, NAMES, Sidecar::Empty), Some([20.0 / 180.0; 3]));
    }

    #[test]
    fn the_plain_and_the_packed_table_hold_the_same_names() {
        let services = services(50);
        let read = |table: Value| {
            let configuration = json!({"version": 1, "caller": {"namespace": OWN}, "table": table});
            let config = Config::read(configuration.to_string().into_bytes(), &Defaults::default());
            config.map(|config| config.table.services()).expect("it is whole")
        };
        assert_eq!(read(json!({"services": entries(&services)})), 50);
        assert_eq!(read(json!({"packed": packed(&services)})), 50);
    }
}
