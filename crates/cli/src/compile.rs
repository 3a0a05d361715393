//! From a cluster to the configuration that the filter takes.

mod base;
mod groups;
mod refused;
mod service;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use byname_core::{Config, Defaults, limits::MAX_REPORTED_PROBLEMS, wire};

pub use self::{
    base::Base,
    text::{service_text, text},
};
use crate::{
    caller::Caller,
    cluster::{Cluster, NamespacedName},
    input::{Problem, Problems},
};

/// What is wanted beside the cluster and the caller.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What people write by hand: steering, policy, and what single Services change of it.
    pub base: Base,
    /// The namespaces whose Services may be seen; empty: all.
    pub visible: BTreeSet<String>,
    /// `table.version`; by default a checksum of the table, so that the same table has the same version.
    pub version: Option<u64>,
    /// Leave out Services that would have the configuration refused, in place of refusing it here.
    pub skip_invalid: bool,
    /// Leave out all endpoints: something else, such as istiod, pushes them.
    pub names_only: bool,
}

/// A configuration, and what it was made of.
#[derive(Debug)]
pub struct Compiled {
    /// As it is pushed.
    pub wire: wire::Config,
    /// The same as text.
    pub text: String,
    /// The same as the filter has it.
    pub config: Config,
    /// What was left out, and why.
    pub left_out: Vec<Problem>,
}

/// Compiles `cluster` for `caller`.
///
/// # Errors
/// All that the filter would refuse, with the place in the input that it comes from.
pub fn compile(cluster: &Cluster, caller: &Caller, options: &Options) -> Result<Compiled, Problems> {
    let mut left_out = Vec::new();
    let mut services = services(cluster, options, &mut left_out)?;
    loop {
        let wire = with_services(services, caller, options);
        let text = text(&wire);
        let defaults = Defaults { namespace: Some("default"), ..Defaults::default() };
        let refused = match Config::from_json(&text, &defaults) {
            Ok(config) => return Ok(Compiled { wire, text, config, left_out }),
            Err(refused) => refused,
        };
        let (mut of_services, mut others) = (BTreeMap::new(), Problems::default());
        for problem in refused.listed() {
            match refused::service(problem).filter(|key| wire.table.services.contains_key(*key)) {
                Some(key) if options.skip_invalid => {
                    of_services.entry(key.to_owned()).or_insert_with(|| refused::in_cluster(problem, key, cluster));
                }
                Some(key) => others.push(refused::in_cluster(problem, key, cluster)),
                None => others.push(refused::in_base(problem, &options.base)),
            }
        }
        others.add_unlisted(refused.count().saturating_sub(MAX_REPORTED_PROBLEMS));
        // What is not a Service's fault is not mended by leaving one out.
        if of_services.is_empty() || !options.skip_invalid {
            return others.or(()).and_then(|()| Err(Problem::new("the configuration", "is refused", "").into()));
        }
        services = wire.table.services;
        for (key, problem) in of_services {
            services.remove(&key);
            left_out.push(problem);
        }
    }
}

fn services(
    cluster: &Cluster,
    options: &Options,
    left_out: &mut Vec<Problem>,
) -> Result<BTreeMap<String, wire::Service>, Problems> {
    let mut problems = Problems::default();
    let mut services = BTreeMap::new();
    let own = &options.base.config.table.services;
    for (name, service) in &cluster.services {
        if !options.visible.is_empty() && !options.visible.contains(&name.namespace) {
            continue;
        }
        let key = name.to_string();
        match service::compile(cluster, name, service, own.get(&key), options.names_only) {
            Ok(wire) => drop(services.insert(key, wire)),
            Err(problem) if options.skip_invalid => left_out.push(problem),
            Err(problem) => problems.push(problem),
        }
    }
    for key in own.keys().filter(|key| !is_there(key, cluster)) {
        let problem = options.base.problem(
            &format!("table.services.{key}"),
            format!("says something of Service {key}, which is not in the cluster"),
            "correct its name, or take it out",
        );
        // Whoever deletes a Service must not stop all others.
        if options.skip_invalid { left_out.push(problem) } else { problems.push(problem) }
    }
    problems.or(services)
}

fn is_there(key: &str, cluster: &Cluster) -> bool {
    NamespacedName::parse(key).is_some_and(|name| cluster.services.contains_key(&name))
}

fn with_services(services: BTreeMap<String, wire::Service>, caller: &Caller, options: &Options) -> wire::Config {
    let base = &options.base.config;
    let version = options.version.unwrap_or_else(|| checksum(&services).into());
    wire::Config {
        version: wire::VERSION,
        caller: caller.who.clone(),
        dns: caller.dns.clone(),
        table: wire::Table { version, single_machine: base.table.single_machine, services },
        ..base.clone()
    }
}

fn checksum(services: &BTreeMap<String, wire::Service>) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    for (key, service) in services {
        sum.update(key.as_bytes());
        sum.update(service_text(service).as_bytes());
    }
    sum.finalize()
}
