//! A search that reads the Services one by one, writes out each name that they have, and knows no index: what the table
//! is checked against. It is shared: `properties.rs` makes its clusters by chance, `crates/core/fuzz` by coverage.

use byname_core::Config;
use serde_json::{Value, json};

use crate::world::config;

/// Few short words, so that names of Services, namespaces, endpoints and suffixes meet often.
pub(crate) const WORDS: [&str; 11] =
    ["a", "b", "prod", "svc", "pod", "cluster", "local", "http", "tcp", "10-0-0-1", "10-0-0-2"];

/// What may stand at the end of an asked name.
pub(crate) const ENDS: [&str; 7] =
    ["", ".", ".svc", ".svc.cluster.local", ".svc.cluster.local.", ".pod.cluster.local", ".svc.cluster.local:81"];

/// Targets of aliases outside the cluster.
pub(crate) const OUTSIDE: [&str; 7] =
    ["a.example", "b.a.example", "b.example", "a.b.example", "metadata.google.internal", "localhost", "a.localhost"];

/// From which namespace into which one aliases may lead.
const GRANTS: [(&str, &str); 3] = [("a", "prod"), ("prod", "b"), ("b", "a")];

/// As many aliases as are followed for one request.
const MOST_ALIASES: usize = 10;

/// A Service as the naive search sees it. Each has one port, `http`, 80.
#[derive(Clone, Debug)]
pub(crate) struct Plain {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// None where it is an alias.
    pub(crate) endpoints: Vec<Endpoint>,
}

/// What DNS makes of it.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Virtual,
    Headless,
    Alias { target: String, port: Option<u16> },
}

#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) hostname: Option<String>,
    pub(crate) address: [u8; 4],
    pub(crate) ready: bool,
}

/// All that an answer depends on. The caller is in the namespace `a`.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    pub(crate) services: Vec<Plain>,
    pub(crate) ndots: u8,
    pub(crate) musl: bool,
}

/// What a whole name is.
enum Found<'c> {
    Service(&'c Plain),
    Port(&'c Plain),
    Endpoint(&'c Plain, String),
    Pod(String),
}

impl Endpoint {
    fn dashed(&self) -> String {
        self.address.map(|byte| byte.to_string()).join("-")
    }

    fn label(&self) -> String {
        self.hostname.clone().unwrap_or_else(|| self.dashed())
    }
}

impl Plain {
    pub(crate) fn wire(&self) -> Value {
        let group = |endpoint: &Endpoint| {
            let address = endpoint.address.map(|byte| byte.to_string()).join(".");
            let hostnames: Vec<&String> = endpoint.hostname.iter().collect();
            json!({"addresses": [address], "hostnames": hostnames, "ready": endpoint.ready})
        };
        let endpoints: Vec<Value> = self.endpoints.iter().map(group).collect();
        let ports = json!([{"name": "http", "port": 80}]);
        match &self.kind {
            Kind::Virtual => json!({"ports": ports, "endpoints": endpoints}),
            Kind::Headless => json!({"clusterIPs": "None", "ports": ports, "endpoints": endpoints}),
            Kind::Alias { target, port } => {
                json!({"type": "ExternalName", "externalName": target, "alias": {"port": port}})
            }
        }
    }

    fn short(&self) -> String {
        format!("{}.{}", self.name, self.namespace)
    }

    fn any_ready(&self) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint.ready)
    }
}

impl Cluster {
    /// Of several Services with one name, the first is taken.
    pub(crate) fn new(mut services: Vec<Plain>, ndots: u8, musl: bool) -> Self {
        services.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        services.dedup_by(|a, b| (&a.namespace, &a.name) == (&b.namespace, &b.name));
        Self { services, ndots, musl }
    }

    /// The configuration that says the same.
    pub(crate) fn config(&self) -> Config {
        let services: serde_json::Map<String, Value> = self
            .services
            .iter()
            .map(|service| (format!("{}/{}", service.namespace, service.name), service.wire()))
            .collect();
        let grants: Vec<Value> = GRANTS.iter().map(|(from, to)| json!({"from": from, "to": to})).collect();
        config(json!({
            "caller": {"namespace": "a"},
            "dns": {"ndots": self.ndots, "resolver": if self.musl { "musl" } else { "glibc" }},
            "externalNames": {
                "allow": [
                    {"host": "a.example", "ports": [80, 81]},
                    {"host": "*.b.example", "ports": [81]},
                    {"host": "metadata.google.internal", "ports": [80]},
                ],
                "grants": grants,
            },
            "table": {"services": services},
        }))
    }

    /// What `asked` means over `http`, in the words of `world::ask`.
    pub(crate) fn answer(&self, asked: &str) -> String {
        let (host, port) = match asked.split_once(':') {
            Some((host, port)) => (host, port.parse().expect("a port")),
            None => (asked, 80),
        };
        let (bare, absolute) = host.strip_suffix('.').map_or((host, false), |bare| (bare, true));
        let itself_first = absolute || bare.matches('.').count() >= usize::from(self.ndots);
        let list = ["a.svc.cluster.local", "svc.cluster.local", "cluster.local"].map(|end| format!("{bare}.{end}"));
        let mut candidates = if absolute || (itself_first && self.musl) { vec![] } else { list.to_vec() };
        candidates.insert(if itself_first { 0 } else { candidates.len() }, bare.to_owned());
        for candidate in candidates {
            if !is_inside(&candidate) {
                if itself_first && candidate == bare {
                    return "pass public_name".into();
                }
                continue;
            }
            if let Some(found) = self.find(&candidate) {
                return self.follow(found, port);
            }
        }
        "pass name_not_found".into()
    }

    fn find(&self, candidate: &str) -> Option<Found<'_>> {
        for service in &self.services {
            let own = format!("{}.svc.cluster.local", service.short());
            if !candidate.ends_with(&own) || (matches!(service.kind, Kind::Headless) && !service.any_ready()) {
                continue;
            }
            if candidate == own {
                return Some(Found::Service(service));
            }
            if matches!(service.kind, Kind::Alias { .. }) {
                continue;
            }
            let mut with_port = ["", "_"].into_iter().flat_map(|a| ["", "_"].map(|b| format!("{a}http.{b}tcp.{own}")));
            if with_port.any(|name| name == candidate) {
                return Some(Found::Port(service));
            }
            for endpoint in service.endpoints.iter().filter(|endpoint| endpoint.ready) {
                if candidate == format!("{}.{own}", endpoint.label()) {
                    return Some(Found::Endpoint(service, endpoint.label()));
                }
            }
        }
        let labels: Vec<&str> = candidate.split('.').collect();
        let mut endpoints = self.services.iter().flat_map(|service| &service.endpoints);
        let is_pod =
            labels.len() == 5 && labels[2] == "pod" && endpoints.any(|endpoint| labels[0] == endpoint.dashed());
        is_pod.then(|| Found::Pod(candidate.to_owned()))
    }

    fn follow<'c>(&'c self, mut found: Found<'c>, mut port: u16) -> String {
        let mut followed = Vec::new();
        while let Found::Service(service @ Plain { kind: Kind::Alias { target, port: own }, .. }) = found {
            if followed.contains(&service.short()) || followed.len() == MOST_ALIASES {
                return "refuse alias_loop".into();
            }
            followed.push(service.short());
            port = own.unwrap_or(port);
            if !is_inside(target) {
                let allowed = match target.as_str() {
                    "a.example" => port == 80 || port == 81,
                    target => target.ends_with(".b.example") && port == 81,
                };
                return if allowed { format!("external {target}:{port}") } else { "refuse alias_denied".into() };
            }
            let labels: Vec<&str> = target.trim_end_matches("cluster.local").trim_end_matches('.').split('.').collect();
            let to = labels.len().checked_sub(2).map_or(service.namespace.as_str(), |place| labels[place]);
            let is_granted = service.namespace == to || GRANTS.contains(&(&service.namespace, to));
            if labels.ends_with(&["pod"]) || !is_granted {
                return "refuse alias_denied".into();
            }
            let Some(next) = self.find(target) else { return "pass name_not_found".into() };
            found = next;
        }
        let (reason, host, service) = match found {
            Found::Service(service) | Found::Port(service) => ("service", service.short(), Some(service)),
            Found::Endpoint(service, label) => ("endpoint", format!("{label}.{}", service.short()), Some(service)),
            Found::Pod(name) => ("pod", name, None),
        };
        match service {
            Some(_) if port != 80 => "pass port_not_found".into(),
            Some(service) if !service.any_ready() => "refuse no_endpoints".into(),
            _ => format!("{} {host}:{port}", if followed.is_empty() { reason } else { "alias" }),
        }
    }
}

fn is_inside(name: &str) -> bool {
    name == "cluster.local" || name.ends_with(".cluster.local")
}
