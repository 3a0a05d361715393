//! Compiles a cluster into the configuration that the filter loads.

mod base;
mod compiled;
mod fair_part;
mod groups;
mod prefetch;
mod pushed;
mod refused;
mod service;
mod text;
mod upstream_clusters;

use std::collections::{BTreeMap, BTreeSet};

use byname_core::{Config, Defaults, Name, is_label, limits::MAX_LISTED_ERRORS, wire};

pub use self::{
    base::Base,
    compiled::Compiled,
    prefetch::prefetched,
    pushed::is_pushed,
    text::{oldest, packed, service_text, text},
    upstream_clusters::{
        ALL_SCHEMES, AuthorityRoute, ClusterEndpoints, ISTIO_SCHEMES, Steered, UpstreamCluster, UpstreamClusters,
        clusters, clusters_on_demand,
    },
};
pub(crate) use self::{
    pushed::{PushedService, clusters_of_aliases, names_of, pushed_names},
    text::{text_with, value},
};
use crate::{
    caller::CallerSettings,
    input::{InputError, InputErrors},
    kubernetes::{ClusterState, NamespacedName, ObjectError, ObjectName, ServiceView},
};

/// Options of a compilation.
#[derive(Clone, Debug, Default)]
pub struct CompileOptions {
    /// The hand-written part: steering, policies, and overrides for single Services.
    pub base: Base,
    /// The namespaces whose Services go into the table; all if empty.
    pub visible: BTreeSet<String>,
    /// `table.version`. Default: that of `base`; without it a checksum of the table, so that equal tables have equal versions.
    pub version: Option<u64>,
    /// Leave out Services that the filter would refuse, in place of failing.
    pub skip_invalid: bool,
    /// Write the table in its packed form.
    pub packed: bool,
    /// Leave out all endpoints, because another control plane, such as istiod, pushes them.
    pub names_only: bool,
}

/// The cluster domain in the core's form: lowercase, without a final dot. Empty if it is not a DNS name.
#[must_use]
pub fn zone(dns: &wire::Dns) -> String {
    let name = Name::parse(dns.cluster_domain.trim_end_matches('.').as_bytes());
    name.map(|name| name.as_str().to_owned()).unwrap_or_default()
}

/// Compiles `cluster` for `caller`.
///
/// # Errors
/// If the filter would refuse the configuration. Each error has its place in the input.
pub fn compile(
    cluster: &ClusterState,
    caller: &CallerSettings,
    options: &CompileOptions,
) -> Result<Compiled, InputErrors> {
    let mut left_out = BTreeMap::new();
    let (services, problems) = services(cluster, caller, options, &mut left_out);
    whole(cluster, caller, options, services, (problems, left_out))
}

/// The configuration with these Services of `cluster`, after `problems` with others, some of which were left out.
fn whole(
    cluster: &ClusterState,
    caller: &CallerSettings,
    options: &CompileOptions,
    mut services: BTreeMap<String, wire::Service>,
    (mut problems, mut left_out): (InputErrors, BTreeMap<NamespacedName, InputError>),
) -> Result<Compiled, InputErrors> {
    loop {
        let wire = with_services(services, caller, options);
        let text = text(&wire);
        let defaults = Defaults { namespace: Some("default"), ..Defaults::default() };
        let read = Config::read(&text, &defaults);
        let is_too_much = text.len() > fair_part::MAX_TABLE_BYTES
            || read.as_ref().is_err_and(|refused| refused.listed().iter().any(fair_part::is_of_all));
        if options.skip_invalid && is_too_much {
            let mut fewer = wire.table.services.clone();
            if fair_part::leave_out(&mut fewer, &mut left_out) {
                services = fewer;
                continue;
            }
        }
        let refused = match read {
            Ok(config) => {
                let packed = options.packed.then(|| packed(&wire));
                let text = packed.as_ref().map_or(text, text::text);
                return problems.or(Compiled { wire, packed, text, config, left_out });
            }
            Err(refused) => refused,
        };
        let mut of_services = BTreeMap::new();
        for problem in refused.listed() {
            match refused::service(problem).filter(|name| wire.table.services.contains_key(&name.to_string())) {
                Some(name) => {
                    let in_input = refused::in_service(problem, &name, cluster, &options.base);
                    match options.skip_invalid {
                        true => drop(of_services.entry(name).or_insert(in_input)),
                        false => problems.push(in_input),
                    }
                }
                None => problems.push(refused::in_base(problem, &options.base)),
            }
        }
        problems.add_unlisted(refused.count().saturating_sub(MAX_LISTED_ERRORS));
        // Leaving out a Service fixes only errors of Services.
        if of_services.is_empty() || !options.skip_invalid {
            return Err(problems);
        }
        services = wire.table.services;
        for (name, problem) in of_services {
            services.remove(&name.to_string());
            left_out.insert(name, problem);
        }
    }
}

/// The valid Services, and the errors of the others.
fn services(
    cluster: &ClusterState,
    caller: &CallerSettings,
    options: &CompileOptions,
    left_out: &mut BTreeMap<NamespacedName, InputError>,
) -> (BTreeMap<String, wire::Service>, InputErrors) {
    let mut problems = InputErrors::default();
    let mut services = BTreeMap::new();
    let own = &options.base.config.table.services;
    for view in cluster.service_views() {
        let name = view.name;
        if !options.visible.is_empty() && !options.visible.contains(&name.namespace) {
            continue;
        }
        let key = name.to_string();
        let with = service::ServiceOptions {
            own: own.get(&key),
            names_only: options.names_only,
            node: caller.who.node.as_deref(),
        };
        match one(cluster, view, with, &options.base) {
            Ok(wire) => drop(services.insert(key, wire)),
            Err(found) if options.skip_invalid => {
                left_out.extend(found.first().map(|first| (name.clone(), first.clone())))
            }
            Err(found) => problems.append(found),
        }
    }
    for key in own.keys() {
        let name = NamespacedName::parse(key);
        if name.as_ref().is_some_and(|name| cluster.services.contains_key(name)) {
            continue;
        }
        let problem = options.base.problem(
            ["table", "services", key],
            format!("the cluster has no Service {key}"),
            "correct the name, or remove the entry",
        );
        // The deletion of one Service must not stop the updates of all others.
        match name {
            Some(name) if options.skip_invalid => drop(left_out.insert(name, problem)),
            _ => problems.push(problem),
        }
    }
    (services, problems)
}

/// Compiles one Service, with the errors that it has on its own.
fn one(
    cluster: &ClusterState,
    view: ServiceView<'_>,
    with: service::ServiceOptions<'_>,
    base: &Base,
) -> Result<wire::Service, InputErrors> {
    let name = view.name;
    let (wire, own) = service::compile(cluster, view, with);
    let mut problems = InputErrors::default();
    wrong_labels(view).chain(own).for_each(|error| problems.push(error.into()));
    let wire = problems.or(wire)?;
    match byname_core::ServiceSpec::compile(&name.to_string(), &wire) {
        Ok(_) => Ok(wire),
        Err(refused) => {
            let mut problems = InputErrors::default();
            refused.listed().iter().for_each(|one| problems.push(refused::in_service(one, name, cluster, base)));
            problems.add_unlisted(refused.count() - refused.listed().len());
            Err(problems)
        }
    }
}

/// The errors in the name and the namespace of a Service.
fn wrong_labels(view: ServiceView<'_>) -> impl Iterator<Item = ObjectError> {
    /// Bytes of a label that an error shows.
    const SHOWN_BYTES: usize = 80;
    let labels = [("namespace", &view.name.namespace), ("name", &view.name.name)];
    labels.into_iter().filter(|(_, text)| !is_label(text)).map(move |(field, text)| {
        let shown: String = text.chars().take(SHOWN_BYTES).collect();
        let more = if shown.len() < text.len() { "…" } else { "" };
        let reason = format!("{shown:?}{more} is not a lower-case DNS label");
        let fix = "use a-z, 0-9 and '-' (not first or last), at most 63 bytes";
        view.source.problem(ObjectName::of("Service", view.name), ["metadata", field], reason, fix)
    })
}

/// The Service of a table that `view` has, without endpoints. A field with an error has its default.
#[must_use]
pub fn without_endpoints(cluster: &ClusterState, view: ServiceView<'_>) -> wire::Service {
    service::compile(cluster, view, service::ServiceOptions { own: None, names_only: true, node: None }).0
}

/// Every error for which the filter would refuse a Service, whatever the rest of the table is.
#[must_use]
pub fn refusals(cluster: &ClusterState, view: ServiceView<'_>) -> Vec<ObjectError> {
    /// The key of a Service whose own name is refused.
    const SOME_KEY: &str = "default/service";
    let with = service::ServiceOptions { own: None, names_only: false, node: None };
    let (wire, own) = service::compile(cluster, view, with);
    let mut errors: Vec<ObjectError> = wrong_labels(view).collect();
    let key = if errors.is_empty() { view.name.to_string() } else { SOME_KEY.to_owned() };
    errors.extend(own);
    if let Err(refused) = byname_core::ServiceSpec::compile(&key, &wire) {
        for error in refused.listed().iter().map(|error| refused::in_service_alone(error, view)) {
            if !errors.iter().any(|other| (&other.object, &other.field) == (&error.object, &error.field)) {
                errors.push(error);
            }
        }
    }
    errors
}

fn with_services(
    services: BTreeMap<String, wire::Service>,
    caller: &CallerSettings,
    options: &CompileOptions,
) -> wire::Config {
    let base = &options.base.config;
    let version = table_version(services.iter().map(|(key, service)| (key.as_str(), service_text(service))), options);
    let mut wire = wire::Config {
        minor: Some(wire::MINOR),
        caller: caller.who.clone(),
        dns: caller.dns.clone(),
        table: wire::Table { version, single_machine: base.table.single_machine, services, packed: None },
        ..base.clone()
    };
    wire.requires = wire.features();
    wire
}

/// The version of a table with these Services, each as [`service_text`] has it.
pub(crate) fn table_version<'k, T: AsRef<str>>(
    services: impl Iterator<Item = (&'k str, T)>,
    options: &CompileOptions,
) -> u64 {
    // 0 is the default, as in a file that does not set it.
    let by_hand = Some(options.base.config.table.version).filter(|version| *version != 0);
    options.version.or(by_hand).unwrap_or_else(|| checksum(services).into())
}

fn checksum<'k, T: AsRef<str>>(services: impl Iterator<Item = (&'k str, T)>) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    for (key, service) in services {
        sum.update(key.as_bytes());
        sum.update(service.as_ref().as_bytes());
    }
    sum.finalize()
}
