//! What a name means to a caller, and why: every step, as data.

mod asked;
mod dns;
mod endpoints;
mod hints;
mod outside;
mod step;
mod text;

use byname_core::{Balance, Chooser, Destination, FakeEnv, Plan, Reason, Request, Resolution, Trace};
use schemars::JsonSchema;
use serde::Serialize;

pub use self::{
    asked::Asked,
    dns::{DnsAnswer, DnsQuery},
    endpoints::Endpoint,
    outside::Way,
    step::Step,
    text::text,
};
use crate::{
    caller::Caller,
    cluster::{Cluster, NamespacedName, is_tcp},
    compile::{Compiled, zone},
};

/// What a name means to a caller, and why.
#[derive(Clone, Debug, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// What was asked.
    pub asked: Asked,
    /// Who asks.
    pub caller: Who,
    /// Whether a request goes to what the name means.
    pub reachable: bool,
    /// What the filter does with a request.
    pub resolution: Kind,
    /// Why, by the name that counters and headers have for it.
    pub reason: String,
    /// The status of the answer where it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What the name means.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<Target>,
    /// Every step, in order.
    pub steps: Vec<Step>,
    /// All endpoints of the Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Vec<Endpoint>>,
    /// What is done to the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<Upstream>,
    /// What the caller's resolver would ask the cluster's DNS, up to the query that ends it.
    pub dns: Vec<DnsQuery>,
    /// How the same is reached from outside the cluster, or why it is not.
    pub outside: Vec<Way>,
    /// What else is good to know.
    pub notes: Vec<String>,
    /// Version of the table that was asked.
    pub table_version: u64,
}

/// Who asks.
#[derive(Clone, Debug, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Who {
    /// Its namespace.
    pub namespace: String,
    /// `namespace/name` of the Pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Its zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Its node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// From so many dots on a name is tried as it stands first.
    pub ndots: u8,
    /// The search list.
    pub searches: Vec<String>,
}

/// What the filter does with a request.
#[derive(Clone, Copy, Debug, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// It goes to what the name means.
    Route,
    /// It goes on as it came.
    Pass,
    /// It is answered.
    Refuse,
}

/// What a name means.
#[derive(Clone, Debug, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// `service`, `endpoint`, `pod` or `external`.
    pub kind: String,
    /// The whole name.
    pub host: String,
    /// The Service's port, or that of an external host.
    pub port: u16,
    /// Name of the Service's port.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub port_name: String,
    /// `namespace/name` of the Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The Service's port's `targetPort`, as it is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_port: Option<String>,
    /// Whether an external host is spoken to over TLS.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tls: bool,
    /// Where the Service was read: file and line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

/// What is done to a request.
#[derive(Clone, Debug, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Upstream {
    /// The upstream cluster; left out where Envoy's routes decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Address and port of the endpoint, where the filter chooses it. Another request may get another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The authority that goes upstream, where it is rewritten.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
}

/// What `asked` means to `caller`.
#[must_use]
pub fn explain(
    cluster: &Cluster,
    caller: &Caller,
    pod: Option<&NamespacedName>,
    compiled: &Compiled,
    asked: Asked,
) -> Explanation {
    let config = &compiled.config;
    let zone = zone(&compiled.wire.dns);
    let authority = asked.authority();
    let request = Request { authority: authority.as_bytes(), scheme: asked.scheme() };
    let (mut balance, mut env, mut plan) = (Balance::default(), FakeEnv::default(), Plan::default());
    let mut chooser = Chooser { balance: &mut balance, env: &mut env };
    let mut trace = Trace::new(config.table.version());
    let resolution = config.resolve(request, Some(&mut trace));
    config.plan(&resolution, request, &mut chooser, &mut plan, Some(&mut trace));
    let destination = match &resolution {
        Resolution::Route(route) => Some(&route.destination),
        Resolution::Pass(_) | Resolution::Refuse(_) => None,
    };
    let service = match destination {
        Some(destination) => destination.service(),
        // The steps tell which Service it came to.
        None => step::service(&trace, &zone, config),
    };
    let named = service.map(|service| NamespacedName::new(service.namespace(), service.name()));
    let port_name = match &resolution {
        Resolution::Route(route) => Some(route.port_name),
        // A headless Service with nothing ready is missing before its ports are looked at.
        Resolution::Pass(_) | Resolution::Refuse(_) => step::port_name(&trace).or_else(|| match resolution.reason() {
            Reason::NameNotFound => Some(service?.ports().first()?.name()),
            _ => None,
        }),
    };
    let endpoints = match (&named, service, port_name) {
        (Some(name), Some(service), Some(port)) if cluster.knows_endpoints_of(name) => {
            let single_machine = compiled.wire.table.single_machine;
            let named = match &resolution {
                Resolution::Route(route) => route.endpoint(),
                Resolution::Pass(_) | Resolution::Refuse(_) => None,
            };
            let asked = endpoints::Asked { service, port, named, caller, single_machine };
            Some(endpoints::of(cluster, name, &asked))
        }
        _ => None,
    };
    let mut notes = caller.notes.clone();
    notes.extend(hints::hints(cluster, compiled, &asked, (resolution.reason(), &trace), named.as_ref().zip(service)));
    let status = match &resolution {
        Resolution::Refuse(refusal) => Some(config.local_reply(request, *refusal).status),
        Resolution::Route(_) | Resolution::Pass(_) => None,
    };
    Explanation {
        reachable: matches!(resolution, Resolution::Route(_)),
        resolution: match resolution {
            Resolution::Route(_) => Kind::Route,
            Resolution::Pass(_) => Kind::Pass,
            Resolution::Refuse(_) => Kind::Refuse,
        },
        reason: resolution.reason().to_string(),
        status,
        destination: target(&resolution, cluster, &zone),
        upstream: matches!(resolution, Resolution::Route(_)).then(|| Upstream {
            cluster: plan.cluster().map(str::to_owned),
            endpoint: plan.endpoint().map(str::to_owned),
            authority: plan.authority().map(str::to_owned),
        }),
        steps: trace.steps.iter().map(Step::of).collect(),
        endpoints,
        dns: dns::queries(cluster, config, &zone, &asked),
        outside: outside::ways(cluster, named.as_ref(), port_name),
        notes,
        table_version: trace.table_version,
        caller: who(caller, pod, config),
        asked,
    }
}

fn who(caller: &Caller, pod: Option<&NamespacedName>, config: &byname_core::Config) -> Who {
    let namespace = config.caller.namespace().to_owned();
    let zone = zone(&caller.dns);
    let defaults = || vec![format!("{namespace}.svc.{zone}"), format!("svc.{zone}"), zone.clone()];
    let mut searches = caller.dns.searches.clone().unwrap_or_else(defaults);
    searches.extend(caller.dns.extra_searches.iter().cloned());
    Who {
        pod: pod.map(NamespacedName::to_string),
        zone: caller.who.zone.clone(),
        node: caller.who.node.clone(),
        ndots: caller.dns.ndots,
        namespace,
        searches,
    }
}

fn target(resolution: &Resolution<'_>, cluster: &Cluster, zone: &str) -> Option<Target> {
    let Resolution::Route(route) = resolution else { return None };
    let mut host = String::new();
    route.destination.write_host(zone, &mut host);
    let service = route.destination.service();
    let name = service.map(|service| NamespacedName::new(service.namespace(), service.name()));
    let source = name.as_ref().and_then(|name| cluster.services.get(name));
    let ports = source.and_then(|source| source.object.spec.as_ref()?.ports.as_ref());
    let port =
        ports.into_iter().flatten().find(|port| is_tcp(port.protocol.as_ref()) && port.port == i32::from(route.port));
    let kind = match route.destination {
        Destination::Service(_) => "service",
        Destination::Endpoint(..) => "endpoint",
        Destination::Pod(_) => "pod",
        Destination::External(_) => "external",
    };
    Some(Target {
        kind: kind.to_owned(),
        host,
        port: route.port,
        port_name: route.port_name.to_owned(),
        service: name.map(|name| name.to_string()),
        target_port: port.map(outside::target_port),
        tls: route.tls,
        at: source.map(|source| source.place.to_string()),
    })
}
