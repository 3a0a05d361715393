//! byname in the objects of Istio's that deploy it.

use std::{collections::BTreeSet, net::IpAddr};

use byname_core::{Config, Defaults, wire};

use super::{
    context::Context,
    findings::{Findings, Subject},
    rule::{Rule, Severity},
};
use crate::{
    compile::{self, Base, Steered, UpstreamCluster},
    input::Field,
    istio::{self, Deployed, DeployedConfiguration},
    kubernetes::{NamespacedName, ObjectName, Sourced},
    output::some,
};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "BN081",
        name: "deployed-configuration-refused",
        severity: Severity::Error,
        summary: "the filter refuses the configuration of a WasmPlugin, TrafficExtension or EnvoyFilter",
        why: "running sidecars keep their last known good configuration; a new pod lacks the Services with errors, or answers 500",
        fix: "compile the object again",
        needs: &[],
        absence: None,
        check: is_refused,
    },
    Rule {
        id: STALE,
        name: "deployed-table-is-stale",
        severity: Severity::Warning,
        summary: "the table of a deployed object has other Services or ports than the input",
        why: "the filter passes names that the table lacks as if they were unknown, and steers by ports that are gone",
        fix: "compile the object again and replace it; byname diff shows the names that change",
        needs: &[],
        absence: Some("Service"),
        check: is_stale,
    },
    Rule {
        id: "BN083",
        name: "caller-in-other-namespace",
        severity: Severity::Warning,
        summary: "a deployed object is in another namespace than the caller of its configuration",
        why: "the pods that it applies to resolve short names as if they were in the caller's namespace",
        fix: "compile the object with --namespace for its namespace, or without it for the root namespace",
        needs: &[],
        absence: None,
        check: has_other_caller,
    },
    Rule {
        id: "BN084",
        name: "filter-runs-twice",
        severity: Severity::Warning,
        summary: "two objects add the filter to the same sidecars",
        why: "Istio merges them all, so the filter runs twice, and the second one resolves what the first one wrote",
        fix: "delete one of the two, or give them selectors without a pod in common",
        needs: &[],
        absence: None,
        check: runs_twice,
    },
    Rule {
        id: "BN085",
        name: "control-header-without-route",
        severity: Severity::Error,
        summary: "a plugin steers by cluster or by endpoint, and no EnvoyFilter routes by its control header",
        why: "no route follows the control header, so Envoy ignores the cluster or the endpoint that byname chose",
        fix: "create the output of byname compile --format istio-envoyfilter with the same options",
        needs: &["EnvoyFilter"],
        absence: Some("EnvoyFilter"),
        check: has_no_route,
    },
    Rule {
        id: "BN086",
        name: "cluster-in-no-envoyfilter",
        severity: Severity::Error,
        summary: "a plugin steers to clusters that neither its EnvoyFilter nor Istio adds",
        why: "Envoy answers 503 to every request that is steered to a cluster that it does not have",
        fix: "compile the EnvoyFilter again with the options of the plugin, and replace it before the plugin",
        needs: &[],
        absence: None,
        check: lacks_clusters,
    },
    Rule {
        id: "BN087",
        name: "observes-every-request",
        severity: Severity::Info,
        summary: "a deployed configuration observes every request",
        why: "no request is steered or refused: byname only counts and logs what it would do",
        fix: "when the differences are as expected, set mode to enforce and compile the object again",
        needs: &[],
        absence: None,
        check: observes_all,
    },
];

/// The rule that compares a table with the Services.
const STALE: &str = "BN082";

/// An object that deploys byname.
#[derive(Clone, Copy)]
struct Deployment<'c> {
    name: &'c ObjectName,
    source: &'c Sourced<Deployed>,
}

/// An object with byname's configuration, which the filter takes.
struct Plugin<'c> {
    deployment: Deployment<'c>,
    configuration: &'c DeployedConfiguration,
    wire: &'c wire::Config,
}

impl<'c> Deployment<'c> {
    fn subject(&self) -> Subject<'c> {
        Subject::of_object(self.name, self.source)
    }

    fn may_overlap(&self, other: &Self, root: &str) -> bool {
        self.source.object.reach.may_overlap(&other.source.object.reach, root)
    }
}

impl Plugin<'_> {
    /// The field at `names` of the configuration, or the whole configuration if it does not set that field.
    fn field(&self, names: &[&str]) -> Field {
        let field = self.configuration.part(names);
        match self.deployment.source.lines.exactly(&field) {
            Some(_) => field,
            None => self.configuration.field.clone(),
        }
    }

    /// Whether any request needs the route of the control header.
    fn needs_route(&self) -> bool {
        let Steered { cluster, endpoint, .. } = Steered::of(self.wire);
        // At gateways byname needs no route of sidecars.
        (cluster || endpoint) && !self.deployment.source.object.reach.is_for_targets
    }
}

fn deployments<'c>(context: &Context<'c>) -> impl Iterator<Item = Deployment<'c>> {
    context.input.deployed.iter().map(|(name, source)| Deployment { name, source })
}

fn plugins<'c>(context: &Context<'c>) -> impl Iterator<Item = Plugin<'c>> {
    deployments(context).filter_map(|deployment| {
        let configuration = deployment.source.object.configuration.as_ref()?;
        Some(Plugin { deployment, configuration, wire: configuration.read.as_ref().ok()? })
    })
}

/// Whether the lack of a kind matters to a rule of this file: only where a deployed object needs that kind.
pub(super) fn matters(context: &Context<'_>, rule: &Rule, kind: &str) -> bool {
    match (rule.id, kind) {
        (STALE, _) => plugins(context).any(|plugin| plugin.wire.server.is_none()),
        (_, "EnvoyFilter") => plugins(context).any(|plugin| plugin.needs_route()),
        _ => true,
    }
}

fn is_refused(context: &Context<'_>, findings: &mut Findings) {
    for Deployment { name, source } in deployments(context) {
        for error in istio::refusals(name, source) {
            findings.add(Subject::of_object(name, source), error.field, error.reason).fix(error.fix);
        }
    }
}

fn is_stale(context: &Context<'_>, findings: &mut Findings) {
    for plugin in plugins(context) {
        let Plugin { deployment, wire, .. } = &plugin;
        let table = &wire.table.services;
        let (mut gone, mut changed) = (Vec::new(), Vec::new());
        let mut namespaces = BTreeSet::new();
        for (key, compiled) in table {
            let Some(name) = NamespacedName::parse(key) else { continue };
            match context.service(&name.namespace, &name.name) {
                Some(service) => {
                    let now = compile::without_endpoints(context.cluster, service.view);
                    let other = differences(compiled, &now, service.view.is_of_api());
                    changed.extend((!other.is_empty()).then(|| format!("{key} differs in {}", other.join(" and "))));
                }
                None if context.knows_services_of(&name.namespace) => gone.push(key.as_str()),
                None => {}
            }
            namespaces.insert(name.namespace);
        }
        // A program puts all Services of a visible namespace into a table, and a person the ones that matter. A server has the rest.
        let is_compiled = wire.minor.is_some() && wire.server.is_none();
        let is_new = |name: &&NamespacedName| {
            is_compiled && namespaces.contains(&name.namespace) && !table.contains_key(&name.to_string())
        };
        let services = context.services.iter().filter(|service| is_new(&service.name));
        let services = services.filter(|service| compile::refusals(context.cluster, service.view).is_empty());
        let missing: Vec<String> = services.map(|service| service.name.to_string()).collect();
        let found = [
            (!missing.is_empty()).then(|| format!("the table lacks {}", some(&missing))),
            (!gone.is_empty()).then(|| format!("the table has {}, which the cluster lacks", some(&gone))),
            (!changed.is_empty()).then(|| some(&changed)),
        ];
        let found: Vec<String> = found.into_iter().flatten().collect();
        if !found.is_empty() {
            findings.add(deployment.subject(), plugin.field(&["table"]), found.join("; "));
        }
    }
}

/// The fields in which a Service of a table differs from the Service of the input, apart from endpoints.
fn differences(compiled: &wire::Service, now: &wire::Service, is_of_api: bool) -> Vec<&'static str> {
    let ports = |service: &wire::Service| {
        let ports = service.ports.iter().map(|port| (port.name.clone(), port.port, port.protocol));
        let mut ports: Vec<_> = ports.collect();
        ports.sort_unstable_by(|one, other| (&one.0, one.1).cmp(&(&other.0, other.1)));
        ports
    };
    // An address has several spellings.
    let addresses = |service: &wire::Service| -> Vec<Result<IpAddr, String>> {
        let parsed = service.cluster_ips.iter().map(|text| text.parse::<IpAddr>().map_err(|_| text.to_owned()));
        parsed.map(|address| address.map(|address| address.to_canonical())).collect()
    };
    // Manifests leave cluster IPs to the API server.
    let has_other_ips = match is_of_api {
        true => addresses(compiled) != addresses(now),
        false => compiled.is_headless() != now.is_headless(),
    };
    let fields = [
        ("externalName", compiled.external_name != now.external_name),
        ("ports", ports(compiled) != ports(now)),
        ("cluster IPs", has_other_ips),
    ];
    fields.into_iter().filter(|(_, is_other)| *is_other).map(|(field, _)| field).collect()
}

fn has_other_caller(context: &Context<'_>, findings: &mut Findings) {
    for plugin in plugins(context) {
        let Plugin { deployment, wire, .. } = &plugin;
        let namespace = &deployment.name.namespace;
        // A gateway has a namespace of its own, and may ask for another one.
        let is_for_gateways = wire.gateways == wire::Gateways::Resolve;
        if let Some(caller) = wire.caller.namespace.as_ref().filter(|caller| *caller != namespace)
            && !is_for_gateways
        {
            let field = plugin.field(&["caller", "namespace"]);
            let message =
                format!("the object is in namespace {namespace}, and the caller of its configuration in {caller}");
            findings.add(deployment.subject(), field, message);
        }
    }
}

fn runs_twice(context: &Context<'_>, findings: &mut Findings) {
    let filters: Vec<Deployment<'_>> =
        deployments(context).filter(|deployment| deployment.source.object.adds_filter()).collect();
    for (index, one) in filters.iter().enumerate() {
        let earlier = filters.iter().take(index).find(|other| has_pods_in_common(context, one, other));
        if let Some(other) = earlier {
            let message = format!("{} adds the filter to the same sidecars", other.name);
            findings.add(one.subject(), ["metadata", "name"], message);
        }
    }
}

/// Whether two objects certainly apply to the same pods.
fn has_pods_in_common(context: &Context<'_>, one: &Deployment<'_>, other: &Deployment<'_>) -> bool {
    let (reach, others) = (&one.source.object.reach, &other.source.object.reach);
    one.may_overlap(other, context.root_namespace) && reach.has_nested_selector(others)
}

fn has_no_route(context: &Context<'_>, findings: &mut Findings) {
    for plugin in plugins(context).filter(Plugin::needs_route) {
        let Plugin { deployment, wire, .. } = &plugin;
        let header = &wire.steering.control_header;
        let root = context.root_namespace;
        let near = || deployments(context).filter(|other| deployment.may_overlap(other, root));
        if near().any(|other| other.source.object.patches.cluster_headers.contains(header)) {
            continue;
        }
        let other = near().find(|other| !other.source.object.patches.own_cluster_headers.is_empty());
        let message = match other {
            Some(other) => {
                let headers = some(&other.source.object.patches.own_cluster_headers);
                format!("the control header is {header}, and {} routes by {headers}", other.name)
            }
            None if knows_filters_of(context, &deployment.name.namespace) => {
                format!("no EnvoyFilter for these sidecars routes by the control header {header}")
            }
            None => continue,
        };
        findings.add(deployment.subject(), plugin.field(&["steering"]), message);
    }
}

/// Whether the input has every EnvoyFilter that may apply to all sidecars of a plugin in `namespace`. A dump of one namespace lacks
/// the root namespace; one that also has another namespace is of all.
fn knows_filters_of(context: &Context<'_>, namespace: &str) -> bool {
    let mut listed = context.cluster.listed.iter().filter(|(kind, _)| *kind == "EnvoyFilter");
    listed.any(|(_, listed)| listed != namespace || listed == context.root_namespace)
}

fn observes_all(context: &Context<'_>, findings: &mut Findings) {
    for plugin in plugins(context) {
        let wire = plugin.wire;
        let is_whole = wire.mode_exceptions.is_empty() && wire.observe_percent.unwrap_or(100) == 100;
        if wire.mode == wire::Mode::Observe && is_whole {
            findings.add(plugin.deployment.subject(), plugin.field(&["mode"]), "mode is observe, without exceptions");
        }
    }
}

fn lacks_clusters(context: &Context<'_>, findings: &mut Findings) {
    for plugin in plugins(context).filter(Plugin::needs_route) {
        let Plugin { deployment, wire, .. } = &plugin;
        let header = &wire.steering.control_header;
        let near = || deployments(context).filter(|other| deployment.may_overlap(other, context.root_namespace));
        // Another file may have the EnvoyFilter.
        let Some(filter) = near().find(|other| other.source.object.patches.own_cluster_headers.contains(header)) else {
            continue;
        };
        let added: BTreeSet<&String> = near().flat_map(|other| &other.source.object.patches.clusters).collect();
        let needed = needed_clusters(wire);
        // Istio makes clusters with such names, for ServiceEntries too.
        let missing = needed.iter().filter(|name| !added.contains(name) && !name.starts_with("outbound|"));
        let missing: Vec<&String> = missing.collect();
        if !missing.is_empty() {
            let message = format!("{} does not add {}", filter.name, some(missing));
            findings.add(deployment.subject(), plugin.field(&["table"]), message);
        }
    }
}

/// The clusters that a configuration needs and that Istio does not make.
fn needed_clusters(wire: &wire::Config) -> BTreeSet<String> {
    // Aliases are steered as the whole configuration is.
    if wire.steering.by == wire::SteeringMode::Authority {
        return BTreeSet::new();
    }
    let defaults = Defaults { namespace: Some("default"), ..Defaults::default() };
    let Ok(config) = Config::from_wire(wire.clone(), &defaults) else { return BTreeSet::new() };
    let Ok(clusters) = compile::clusters(wire, &config, &Base::default(), &compile::ISTIO_SCHEMES) else {
        return BTreeSet::new();
    };
    let is_endpoint = Steered::of(wire).endpoint;
    let is_needed = |upstream: &UpstreamCluster| match upstream {
        UpstreamCluster::External { .. } | UpstreamCluster::DynamicForwardProxy { .. } => true,
        UpstreamCluster::OriginalDst(_) => is_endpoint,
        UpstreamCluster::Endpoints(_) | UpstreamCluster::Passthrough => false,
    };
    clusters.by_name.into_iter().filter(|(_, upstream)| is_needed(upstream)).map(|(name, _)| name).collect()
}
