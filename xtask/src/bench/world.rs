//! The Services of every contestant: N Services in ten namespaces, and aliases, in the form that each contestant needs.

use std::fmt::Write;

use anyhow::Result;
use serde_json::{Map, Value, json};

/// Every tenth Service is in the caller's namespace, and has an alias.
const NAMESPACES: usize = 10;
/// The caller's namespace.
pub(super) const OWN: &str = "shop";
/// The number of endpoints of each Service.
pub(super) const ENDPOINTS: usize = 10;

/// Services, and aliases of some of them.
#[derive(Clone, Copy)]
pub(super) struct World {
    /// The number of Services.
    pub(super) services: usize,
}

/// How byname steers.
pub(super) enum BenchSteering {
    /// `destination_port` is the configuration's field.
    Cluster {
        destination_port: Value,
    },
    Authority,
    Endpoint {
        upstream: u16,
        is_watched: bool,
        reach: Reach,
    },
}

/// The reachable endpoints, for contestants that address endpoints directly.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// All endpoints, because each one is the test upstream.
    All,
    /// The endpoints of the first Service. Other Services have distinct addresses, which take as much memory as in a
    /// cluster.
    First,
}

/// A name as a workload sends it, and its canonical form.
pub(super) struct RequestedHost {
    pub(super) asked: String,
    pub(super) canonical: String,
}

impl World {
    /// Every Service and every alias by a typical name: short in the own namespace, mostly `svc.ns` elsewhere, and
    /// sometimes longer. The order separates names that are neighbours in a table. The first name is a Service's short
    /// name.
    pub(super) fn names(self) -> Vec<RequestedHost> {
        let mut names: Vec<RequestedHost> = (0..self.services)
            .map(|index| {
                let (name, namespace) = (service(index), namespace(index));
                let asked = match index % NAMESPACES {
                    0 => name.clone(),
                    8 => format!("{name}.{namespace}.svc"),
                    9 => canonical(index),
                    _ => format!("{name}.{namespace}"),
                };
                RequestedHost { asked, canonical: canonical(index) }
            })
            .collect();
        names.extend(self.aliases().map(|(asked, target)| RequestedHost { asked, canonical: canonical(target) }));
        // A step that is coprime to the number of names visits each name once.
        let step = (names.len() * 5 / 8..).find(|step| divisor(*step, names.len()) == 1).unwrap_or(1);
        let mut mixed: Vec<(usize, RequestedHost)> = names.into_iter().enumerate().collect();
        let count = mixed.len();
        mixed.sort_by_key(|(index, _)| index * step % count);
        mixed.into_iter().map(|(_, name)| name).collect()
    }

    /// The filter's configuration, as `byname compile` writes it.
    pub(super) fn configuration(self, by: &BenchSteering) -> Value {
        let mut services = Map::new();
        for index in 0..self.services {
            let endpoints = match by {
                BenchSteering::Endpoint { upstream, reach, .. } if *reach == Reach::All || index == 0 => {
                    let all = ["127.0.0.1"; ENDPOINTS];
                    json!({"addresses": all.join(" "), "ports": {"http": upstream}})
                }
                _ => json!({"addresses": addresses(index).collect::<Vec<_>>().join(" ")}),
            };
            let entry = json!({
                "clusterIPs": address(172, index),
                "ports": [{"name": "http", "port": 80}],
                "endpoints": [endpoints],
            });
            services.insert(format!("{}/{}", namespace(index), service(index)), entry);
        }
        for (name, target) in self.aliases() {
            let alias = json!({"type": "ExternalName", "externalName": canonical(target)});
            services.insert(format!("{OWN}/{name}"), alias);
        }
        // One cluster serves all Services.
        let steering = match by {
            BenchSteering::Cluster { .. } => json!({"by": "cluster", "cluster": "upstream"}),
            BenchSteering::Authority => json!({"by": "authority"}),
            BenchSteering::Endpoint { is_watched: false, .. } => json!({"by": "endpoint"}),
            BenchSteering::Endpoint { is_watched: true, .. } => json!({
                "by": "endpoint",
                "loadBalancer": {"simple": "LEAST_REQUEST"},
                "outlierDetection": {"consecutive5xxErrors": 5},
            }),
        };
        let mut configuration = json!({
            "version": 1,
            "steering": steering,
            "table": {"version": 1, "singleMachine": true, "services": services},
        });
        if let BenchSteering::Cluster { destination_port } = by
            && !destination_port.is_null()
        {
            configuration["destinationPort"] = destination_port.clone();
        }
        configuration
    }

    /// The Lua script `template` with its two tables filled in.
    pub(super) fn script(self, template: &str) -> Result<String> {
        let (mut ports, mut targets) = (String::new(), String::new());
        for index in 0..self.services {
            write!(ports, "[\"{}\"]=80,", canonical(index))?;
        }
        for (name, target) in self.aliases() {
            write!(targets, "[\"{name}.{OWN}.svc.cluster.local\"]=\"{}\",", canonical(target))?;
        }
        Ok(template.replace("SERVICE_PORTS", &ports).replace("ALIAS_TARGETS", &targets))
    }

    /// The domains of all Services in a route configuration.
    pub(super) fn domains(self) -> Vec<Value> {
        (0..self.services).map(|index| canonical(index).into()).collect()
    }

    /// The aliases in the caller's namespace, with the Services that they resolve to.
    pub(super) fn aliases(self) -> impl Iterator<Item = (String, usize)> {
        (0..self.services).step_by(NAMESPACES).map(|target| (format!("alias-{target}"), target))
    }
}

/// The name of a Service.
pub(super) fn service(index: usize) -> String {
    format!("payments-{index}")
}

/// The namespace of a Service.
pub(super) fn namespace(index: usize) -> String {
    match index % NAMESPACES {
        0 => OWN.to_owned(),
        team => format!("team-{team}"),
    }
}

/// The canonical name of a Service.
pub(super) fn canonical(index: usize) -> String {
    format!("{}.{}.svc.cluster.local", service(index), namespace(index))
}

/// The addresses of a Service's endpoints. No other Service has them.
pub(super) fn addresses(index: usize) -> impl Iterator<Item = String> {
    (0..ENDPOINTS).map(move |endpoint| address(10, index * ENDPOINTS + endpoint))
}

/// The address with this index, whose first part is `first`.
fn address(first: u8, index: usize) -> String {
    format!("{first}.{}.{}.{}", 16 + (index >> 16), index >> 8 & 255, index & 255)
}

fn divisor(one: usize, other: usize) -> usize {
    if other == 0 { one } else { divisor(other, one % other) }
}
