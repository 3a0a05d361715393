//! What is asked in every contestant's Envoy: N Services in ten namespaces, and aliases, in the form each of them needs.

use std::fmt::Write;

use anyhow::Result;
use serde_json::{Map, Value, json};

/// Every tenth Service is in the caller's own namespace, and has an alias beside it.
const NAMESPACES: usize = 10;
/// The caller's.
pub(super) const OWN: &str = "shop";
/// Endpoints of each Service.
pub(super) const ENDPOINTS: usize = 10;

/// Services and the aliases of some of them.
#[derive(Clone, Copy)]
pub(super) struct World {
    /// How many Services there are.
    pub(super) services: usize,
}

/// How byname steers.
pub(super) enum BenchSteering {
    Cluster,
    Authority,
    Endpoint { upstream: u16, is_watched: bool, reach: Reach },
}

/// Which endpoints can be reached where they are addressed one by one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// All: each of them is the one upstream.
    All,
    /// Those of the first Service alone. All others have addresses of their own, as in a cluster, and take its memory.
    First,
}

/// A name as a program uses it, and what it has to become.
pub(super) struct RequestedHost {
    pub(super) asked: String,
    pub(super) canonical: String,
}

impl World {
    /// Every Service and every alias by a name that programs use: short in one's own namespace, `svc.ns` in most others,
    /// now and then longer. They come in an order in which no two neighbours stand beside each other in any table; the
    /// first is a Service's short name.
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
        // A step that shares no divisor with the number of names visits each of them once.
        let step = (names.len() * 5 / 8..).find(|step| divisor(*step, names.len()) == 1).unwrap_or(1);
        let mut mixed: Vec<(usize, RequestedHost)> = names.into_iter().enumerate().collect();
        let count = mixed.len();
        mixed.sort_by_key(|(index, _)| index * step % count);
        mixed.into_iter().map(|(_, name)| name).collect()
    }

    /// The filter's configuration, as the program writes it.
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
        // One upstream serves them all.
        let steering = match by {
            BenchSteering::Cluster => json!({"by": "cluster", "cluster": "upstream"}),
            BenchSteering::Authority => json!({"by": "authority"}),
            BenchSteering::Endpoint { is_watched: false, .. } => json!({"by": "endpoint"}),
            BenchSteering::Endpoint { is_watched: true, .. } => json!({
                "by": "endpoint",
                "loadBalancer": {"simple": "LEAST_REQUEST"},
                "outlierDetection": {"consecutive5xxErrors": 5},
            }),
        };
        json!({
            "version": 1,
            "steering": steering,
            "table": {"version": 1, "singleMachine": true, "services": services},
        })
    }

    /// `template`, a script, with the two tables filled in.
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

    /// The domains of all Services, as routes have them.
    pub(super) fn domains(self) -> Vec<Value> {
        (0..self.services).map(|index| canonical(index).into()).collect()
    }

    /// Aliases in the caller's namespace, and the Service that each leads to.
    pub(super) fn aliases(self) -> impl Iterator<Item = (String, usize)> {
        (0..self.services).step_by(NAMESPACES).map(|target| (format!("alias-{target}"), target))
    }
}

/// What a Service is called.
pub(super) fn service(index: usize) -> String {
    format!("payments-{index}")
}

/// Where it is.
pub(super) fn namespace(index: usize) -> String {
    match index % NAMESPACES {
        0 => OWN.to_owned(),
        team => format!("team-{team}"),
    }
}

/// Its canonical name.
pub(super) fn canonical(index: usize) -> String {
    format!("{}.{}.svc.cluster.local", service(index), namespace(index))
}

/// The addresses of its endpoints, which are no other's.
pub(super) fn addresses(index: usize) -> impl Iterator<Item = String> {
    (0..ENDPOINTS).map(move |endpoint| address(10, index * ENDPOINTS + endpoint))
}

/// The address number `index` below `first`.
fn address(first: u8, index: usize) -> String {
    format!("{first}.{}.{}.{}", 16 + (index >> 16), index >> 8 & 255, index & 255)
}

fn divisor(one: usize, other: usize) -> usize {
    if other == 0 { one } else { divisor(other, one % other) }
}
