//! A naive search, which the table is compared with: it reads the Services one by one, writes out every name that they have, and
//! has no index. The properties draw its clusters at random, `crates/core/fuzz` by coverage.

use byname_core::Config;
use serde_json::{Value, json};

use crate::fixture::config;

/// Few short words, so that names of Services, namespaces, endpoints and suffixes often match.
pub(crate) const WORDS: [&str; 11] =
    ["a", "b", "prod", "svc", "pod", "cluster", "local", "http", "tcp", "10-0-0-1", "10-0-0-2"];

/// Ends of requested names.
pub(crate) const ENDS: [&str; 7] =
    ["", ".", ".svc", ".svc.cluster.local", ".svc.cluster.local.", ".pod.cluster.local", ".svc.cluster.local:81"];

/// Targets of aliases outside the cluster.
pub(crate) const OUTSIDE: [&str; 7] =
    ["a.example", "b.a.example", "b.example", "a.b.example", "metadata.google.internal", "localhost", "a.localhost"];

/// Those of them that no alias may have.
const ALWAYS_REFUSED: [&str; 3] = ["metadata.google.internal", "localhost", "a.localhost"];

/// The namespaces of aliases and the namespaces that they may lead into.
const GRANTS: [(&str, &str); 3] = [("a", "prod"), ("prod", "b"), ("b", "a")];

/// Aliases followed for one request.
const MAX_ALIASES: usize = 10;

/// Fallbacks followed for one request.
const MAX_FALLBACKS: usize = 4;

/// A Service. Each has a port `http`, 80, and some have a port `b`, 53, over UDP.
#[derive(Clone, Debug)]
pub(crate) struct NaiveService {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) kind: NaiveKind,
    /// Empty for an alias.
    pub(crate) endpoints: Vec<NaiveEndpoint>,
    pub(crate) has_udp: bool,
}

/// How DNS answers for a Service.
#[derive(Clone, Debug)]
pub(crate) enum NaiveKind {
    Virtual,
    Headless,
    Alias { target: String, port: Option<u16> },
}

#[derive(Clone, Debug)]
pub(crate) struct NaiveEndpoint {
    pub(crate) hostname: Option<String>,
    pub(crate) address: [u8; 4],
    pub(crate) ready: bool,
}

/// The fallback of a Service.
#[derive(Clone, Debug)]
pub(crate) struct NaiveFallback {
    /// Namespace and name of the Service.
    pub(crate) of: (String, String),
    pub(crate) to: NaiveTarget,
    pub(crate) port: Option<u16>,
    pub(crate) when_missing: bool,
    pub(crate) when_no_endpoints: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum NaiveTarget {
    /// Namespace and name.
    Service(String, String),
    Host(String),
}

/// Everything that an answer depends on. The caller is in the namespace `a`.
#[derive(Clone, Debug)]
pub(crate) struct NaiveCluster {
    pub(crate) services: Vec<NaiveService>,
    pub(crate) ndots: u8,
    pub(crate) musl: bool,
    pub(crate) fallbacks: Vec<NaiveFallback>,
    /// The baseline namespace of `a`.
    pub(crate) baseline: Option<String>,
    /// `externalNames.mode` is `follow`; otherwise there are `GRANTS` and no mode.
    pub(crate) follows: bool,
    /// Requests are steered by endpoint; otherwise by cluster.
    pub(crate) by_endpoint: bool,
}

/// The aliases and fallbacks that a search has followed.
#[derive(Default)]
struct NaiveWalk {
    aliases: Vec<String>,
    fallbacks: Vec<(String, String)>,
    reason: Option<&'static str>,
    /// Whether an alias replaced the port.
    has_own_port: bool,
}

/// What a full name is the name of.
enum NaiveMatch<'c> {
    Service(&'c NaiveService),
    Port(&'c NaiveService),
    /// A port over UDP.
    Udp,
    Endpoint(&'c NaiveService, String),
    Pod(String),
}

impl NaiveEndpoint {
    fn dashed(&self) -> String {
        self.address.map(|byte| byte.to_string()).join("-")
    }

    /// The label of its name: the hostname, or the address with dashes.
    pub(crate) fn label(&self) -> String {
        self.hostname.clone().unwrap_or_else(|| self.dashed())
    }
}

impl NaiveFallback {
    fn wire(&self) -> (String, Value) {
        let (namespace, name) = &self.of;
        let mut wire = match &self.to {
            NaiveTarget::Service(namespace, name) => json!({"service": format!("{namespace}/{name}")}),
            NaiveTarget::Host(host) => json!({"host": host}),
        };
        wire["port"] = json!(self.port);
        let triggers = [(self.when_missing, "missing"), (self.when_no_endpoints, "noEndpoints")];
        wire["when"] = triggers.into_iter().filter(|(is_triggered, _)| *is_triggered).map(|(_, name)| name).collect();
        (format!("{namespace}/{name}"), wire)
    }
}

impl NaiveService {
    pub(crate) fn wire(&self) -> Value {
        let group = |endpoint: &NaiveEndpoint| {
            let address = endpoint.address.map(|byte| byte.to_string()).join(".");
            let hostnames: Vec<&String> = endpoint.hostname.iter().collect();
            json!({"addresses": [address], "hostnames": hostnames, "ready": endpoint.ready})
        };
        let endpoints: Vec<Value> = self.endpoints.iter().map(group).collect();
        let ports = match self.has_udp {
            true => json!([{"name": "http", "port": 80}, {"name": "b", "port": 53, "protocol": "UDP"}]),
            false => json!([{"name": "http", "port": 80}]),
        };
        match &self.kind {
            NaiveKind::Virtual => json!({"ports": ports, "endpoints": endpoints}),
            NaiveKind::Headless => json!({"clusterIPs": "None", "ports": ports, "endpoints": endpoints}),
            NaiveKind::Alias { target, port } => {
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

    /// Whether DNS has a record of its name.
    fn exists(&self) -> bool {
        !matches!(self.kind, NaiveKind::Headless) || self.any_ready()
    }
}

impl NaiveCluster {
    /// Takes the first of several Services with one name.
    pub(crate) fn new(mut services: Vec<NaiveService>, ndots: u8, musl: bool, follows: bool) -> Self {
        services.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        services.dedup_by(|a, b| (&a.namespace, &a.name) == (&b.namespace, &b.name));
        Self { services, ndots, musl, fallbacks: vec![], baseline: None, follows, by_endpoint: false }
    }

    /// The same cluster, with requests steered by endpoint.
    pub(crate) fn steered_by_endpoint(self) -> Self {
        Self { by_endpoint: true, ..self }
    }

    /// Adds the fallbacks that a configuration may have, the first of several for one Service.
    pub(crate) fn with_fallbacks(mut self, fallbacks: Vec<NaiveFallback>, baseline: Option<String>) -> Self {
        for fallback in fallbacks {
            let is_allowed = match (&fallback.to, fallback.port) {
                (NaiveTarget::Service(namespace, name), _) => {
                    fallback.of != (namespace.clone(), name.clone())
                        && (self.follows || is_granted(&fallback.of.0, namespace))
                }
                (NaiveTarget::Host(host), Some(port)) => is_listed(host, port),
                (NaiveTarget::Host(_), None) => false,
            };
            let is_there = self.fallbacks.iter().any(|before| before.of == fallback.of);
            let has_reason = fallback.when_missing || fallback.when_no_endpoints;
            if is_allowed && has_reason && !is_there {
                self.fallbacks.push(fallback);
            }
        }
        self.baseline = baseline.filter(|namespace| namespace != "a");
        self
    }

    /// The configuration that describes this cluster.
    pub(crate) fn config(&self) -> Config {
        config(self.fields())
    }

    /// The fields of that configuration.
    pub(crate) fn fields(&self) -> Value {
        let services: serde_json::Map<String, Value> = self
            .services
            .iter()
            .map(|service| (format!("{}/{}", service.namespace, service.name), service.wire()))
            .collect();
        let grants: Vec<Value> = GRANTS.iter().map(|(from, to)| json!({"from": from, "to": to})).collect();
        let fallbacks: serde_json::Map<String, Value> = self.fallbacks.iter().map(NaiveFallback::wire).collect();
        let baselines: serde_json::Map<String, Value> =
            self.baseline.iter().map(|baseline| ("a".to_owned(), json!(baseline))).collect();
        let mut fields = json!({
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
            "fallback": {"services": fallbacks, "baselines": baselines},
            "table": {"services": services},
        });
        if self.by_endpoint {
            fields["steering"] = json!({"by": "endpoint"});
        }
        if self.follows {
            fields["externalNames"]["mode"] = json!("follow");
        }
        fields
    }

    /// What `asked` resolves to over `http`, in the form of `fixture::ask`.
    pub(crate) fn answer(&self, asked: &str) -> String {
        let (host, port) = match asked.split_once(':') {
            Some((host, port)) => (host, port.parse().expect("a port")),
            None => (asked, 80),
        };
        let (bare, absolute) = host.strip_suffix('.').map_or((host, false), |bare| (bare, true));
        let itself_first = absolute || bare.matches('.').count() >= usize::from(self.ndots);
        let list = ["a.svc.cluster.local", "svc.cluster.local", "cluster.local"].map(|end| format!("{bare}.{end}"));
        let has_list = !(absolute || (itself_first && self.musl));
        let mut candidates = if has_list { list.to_vec() } else { vec![] };
        candidates.insert(if itself_first { 0 } else { candidates.len() }, bare.to_owned());
        for candidate in &candidates {
            if !is_inside(candidate) {
                if itself_first && *candidate == bare {
                    return "pass public_name".into();
                }
                continue;
            }
            if let Some(answer) = self.try_candidate(candidate, port, NaiveWalk::default()) {
                return answer;
            }
        }
        if let Some(baseline) = self.baseline.as_ref().filter(|_| has_list) {
            let walk = NaiveWalk { reason: Some("baseline"), ..NaiveWalk::default() };
            if let Some(answer) = self.try_candidate(&format!("{bare}.{baseline}.svc.cluster.local"), port, walk) {
                return answer;
            }
        }
        let baseline = self.baseline.iter().filter(|_| has_list);
        candidates.extend(baseline.map(|baseline| format!("{bare}.{baseline}.svc.cluster.local")));
        match candidates.iter().any(|candidate| self.lacks_readiness(candidate)) {
            true => "refuse no_endpoints".into(),
            false => "pass name_not_found".into(),
        }
    }

    /// Whether DNS leaves the name out only because what it stands for is not ready.
    fn lacks_readiness(&self, candidate: &str) -> bool {
        self.services.iter().any(|service| {
            let own = format!("{}.svc.cluster.local", service.short());
            let is_unready =
                |endpoint: &NaiveEndpoint| !endpoint.ready && candidate == format!("{}.{own}", endpoint.label());
            let with_port = ["", "_"].into_iter().flat_map(|a| ["", "_"].map(|b| format!("{a}http.{b}tcp.{own}")));
            let mut names = with_port.chain([own.clone()]);
            service.endpoints.iter().any(is_unready) || (!service.exists() && names.any(|name| name == candidate))
        })
    }

    /// `None`: it does not exist, and no fallback helps.
    fn try_candidate(&self, candidate: &str, port: u16, mut walk: NaiveWalk) -> Option<String> {
        match self.find(candidate) {
            Some(found) => Some(self.follow(found, port, &mut walk).unwrap_or_else(|| "refuse no_endpoints".into())),
            None => self.fallback_of_name(candidate, port, &mut walk),
        }
    }

    /// The answer of the fallback of the Service that `name`, which does not exist, would be.
    fn fallback_of_name(&self, name: &str, port: u16, walk: &mut NaiveWalk) -> Option<String> {
        let labels: Vec<&str> = name.strip_suffix(".svc.cluster.local")?.split('.').collect();
        let [service, namespace] = labels[..] else { return None };
        self.fallback_of(namespace, service, port, walk)
    }

    /// The answer of the fallback of a Service that is missing or has no endpoints. `None`: it has no fallback that helps.
    fn fallback_of(&self, namespace: &str, name: &str, port: u16, walk: &mut NaiveWalk) -> Option<String> {
        let of = (namespace.to_owned(), name.to_owned());
        let fallback = self.fallbacks.iter().find(|fallback| fallback.of == of)?;
        let (is_triggered, reason) = match self.get(namespace, name) {
            None => (fallback.when_missing, "fallback_missing"),
            Some(_) => (fallback.when_no_endpoints, "fallback_no_endpoints"),
        };
        if !is_triggered || walk.fallbacks.contains(&of) || walk.fallbacks.len() == MAX_FALLBACKS {
            return None;
        }
        walk.fallbacks.push(of);
        let reason = *walk.reason.get_or_insert(reason);
        let port = fallback.port.unwrap_or(port);
        match &fallback.to {
            NaiveTarget::Host(host) => Some(format!("{reason} {host}:{port}")),
            NaiveTarget::Service(namespace, name) => match self.get(namespace, name) {
                Some(service) if service.exists() => {
                    let answer = self.follow(NaiveMatch::Service(service), port, walk)?;
                    // A fallback that is not routed does not help.
                    (!answer.starts_with("pass") && !answer.starts_with("refuse")).then_some(answer)
                }
                _ => self.fallback_of(namespace, name, port, walk),
            },
        }
    }

    fn get(&self, namespace: &str, name: &str) -> Option<&NaiveService> {
        self.services.iter().find(|service| service.namespace == namespace && service.name == name)
    }

    fn find(&self, candidate: &str) -> Option<NaiveMatch<'_>> {
        for service in &self.services {
            let own = format!("{}.svc.cluster.local", service.short());
            if !candidate.ends_with(&own) || !service.exists() {
                continue;
            }
            if candidate == own {
                return Some(NaiveMatch::Service(service));
            }
            if matches!(service.kind, NaiveKind::Alias { .. }) {
                continue;
            }
            let mut with_port = ["", "_"].into_iter().flat_map(|a| ["", "_"].map(|b| format!("{a}http.{b}tcp.{own}")));
            if with_port.any(|name| name == candidate) {
                return Some(NaiveMatch::Port(service));
            }
            let mut over_udp = ["", "_"].into_iter().flat_map(|a| ["", "_"].map(|b| format!("{a}b.{b}udp.{own}")));
            if service.has_udp && over_udp.any(|name| name == candidate) {
                return Some(NaiveMatch::Udp);
            }
            for endpoint in service.endpoints.iter().filter(|endpoint| endpoint.ready) {
                if candidate == format!("{}.{own}", endpoint.label()) {
                    return Some(NaiveMatch::Endpoint(service, endpoint.label()));
                }
            }
        }
        let labels: Vec<&str> = candidate.split('.').collect();
        let mut endpoints = self.services.iter().flat_map(|service| &service.endpoints);
        let is_pod =
            labels.len() == 5 && labels[2] == "pod" && endpoints.any(|endpoint| labels[0] == endpoint.dashed());
        is_pod.then(|| NaiveMatch::Pod(candidate.to_owned()))
    }

    /// `None`: it has no usable endpoint, and no fallback helps.
    fn follow<'c>(&'c self, mut found: NaiveMatch<'c>, mut port: u16, walk: &mut NaiveWalk) -> Option<String> {
        while let NaiveMatch::Service(service @ NaiveService { kind: NaiveKind::Alias { target, port: own }, .. }) =
            found
        {
            if walk.aliases.contains(&service.short()) || walk.aliases.len() == MAX_ALIASES {
                return Some("refuse alias_loop".into());
            }
            walk.aliases.push(service.short());
            port = own.unwrap_or(port);
            walk.has_own_port |= own.is_some();
            if !is_inside(target) {
                let reason = walk.reason.unwrap_or("external");
                if ALWAYS_REFUSED.contains(&target.as_str()) {
                    return Some("refuse alias_denied".into());
                }
                if is_listed(target, port) {
                    return Some(format!("{reason} {target}:{port}"));
                }
                let is_passed = self.follows && !walk.has_own_port;
                return Some(if is_passed {
                    format!("pass external as {target}:{port}")
                } else {
                    "refuse alias_denied".into()
                });
            }
            let labels: Vec<&str> = target.trim_end_matches("cluster.local").trim_end_matches('.').split('.').collect();
            let to = labels.len().checked_sub(2).map_or(service.namespace.as_str(), |place| labels[place]);
            if labels.ends_with(&["pod"]) || !(self.follows || is_granted(&service.namespace, to)) {
                return Some("refuse alias_denied".into());
            }
            let Some(next) = self.find(target) else {
                let missing = match (self.follows, walk.has_own_port) {
                    _ if self.lacks_readiness(target) => "refuse no_endpoints".to_owned(),
                    (false, _) => "pass name_not_found".to_owned(),
                    (true, true) => "refuse alias_denied".to_owned(),
                    (true, false) => {
                        format!("pass name_not_found as {}:{port}", target.replace(".svc.cluster.local", ""))
                    }
                };
                return Some(self.fallback_of_name(target, port, walk).unwrap_or(missing));
            };
            found = next;
        }
        // DNS resolves it to the addresses of pods, where any port may answer.
        let is_of_pods = match &found {
            NaiveMatch::Service(service) => matches!(service.kind, NaiveKind::Headless),
            NaiveMatch::Endpoint(..) | NaiveMatch::Pod(_) => true,
            NaiveMatch::Port(_) | NaiveMatch::Udp => false,
        };
        let (reason, host, service) = match found {
            NaiveMatch::Service(service) | NaiveMatch::Port(service) => ("service", service.short(), Some(service)),
            NaiveMatch::Endpoint(service, label) => ("endpoint", format!("{label}.{}", service.short()), Some(service)),
            NaiveMatch::Pod(name) => ("pod", name, None),
            NaiveMatch::Udp => return Some("pass port_not_found".into()),
        };
        let reason = walk.reason.unwrap_or(if walk.aliases.is_empty() { reason } else { "alias" });
        match service {
            Some(_) if port != 80 && !(self.by_endpoint && is_of_pods) => Some("pass port_not_found".into()),
            Some(service) if !service.any_ready() => self.fallback_of(&service.namespace, &service.name, port, walk),
            _ => Some(format!("{reason} {host}:{port}")),
        }
    }
}

/// Whether aliases and fallbacks of the namespace `from` may lead to a Service in `to`.
fn is_granted(from: &str, to: &str) -> bool {
    from == to || GRANTS.contains(&(from, to))
}

/// Whether `externalNames.allow` lists `host` with this port.
fn is_listed(host: &str, port: u16) -> bool {
    match host {
        "a.example" => port == 80 || port == 81,
        host => host.ends_with(".b.example") && port == 81,
    }
}

fn is_inside(name: &str) -> bool {
    name == "cluster.local" || name.ends_with(".cluster.local")
}
