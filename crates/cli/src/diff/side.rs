//! One of the two states that are compared: a cluster, or a configuration that was made of one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::BufReader,
    path::Path,
};

use anyhow::{Context, anyhow};
use byname_core::{Config, Defaults, Problems, limits::MAX_CONFIGURATION_BYTES, wire};
use serde::{Deserialize, de::IgnoredAny};

use crate::{
    caller::Caller,
    cluster::{Cluster, NamespacedName},
    compile::{self, Options},
    input::{Problem, Source},
};

/// One of the two states that are compared.
#[derive(Debug)]
pub struct Side {
    pub(super) config: Config,
    pub(super) services: BTreeMap<String, wire::Service>,
    /// The configuration without its Services.
    rest: wire::Config,
    /// Namespaces of pods, where pods are known.
    namespaces: BTreeSet<String>,
    /// What was left out, as the filter would refuse it.
    pub left_out: BTreeMap<NamespacedName, Problem>,
}

/// Enough of a document to tell a configuration from Kubernetes objects.
#[derive(Deserialize)]
struct Head {
    version: Option<IgnoredAny>,
    kind: Option<IgnoredAny>,
}

impl Side {
    /// A cluster, as it is compiled with `options`.
    ///
    /// # Errors
    /// Those of [`compile::compile`].
    pub fn of_cluster(cluster: &Cluster, options: &Options) -> anyhow::Result<Self> {
        let compiled = compile::compile(cluster, &Caller::anyone(&options.base.config), options)?;
        let namespaces = cluster.all_namespaces().into_iter().map(str::to_owned).collect();
        Ok(Self::new(compiled.wire, compiled.config, namespaces, compiled.left_out))
    }

    /// What `byname compile --format table` wrote.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn of_configuration(path: &Path) -> anyhow::Result<Self> {
        let called = || path.display().to_string();
        let text = std::fs::read_to_string(path).with_context(called)?;
        if text.len() > MAX_CONFIGURATION_BYTES {
            return Err(anyhow!("{}: is larger than the {MAX_CONFIGURATION_BYTES} bytes of a configuration", called()));
        }
        let defaults = Defaults { namespace: Some("default"), ..Defaults::default() };
        let config = Config::from_json(&text, &defaults).with_context(called)?;
        let wire: wire::Config = serde_json::from_str(&text).with_context(called)?;
        let namespaces = wire.caller.namespace.iter().cloned().collect();
        Ok(Self::new(wire, config, namespaces, BTreeMap::new()))
    }

    /// Whether `source` is a configuration, and no Kubernetes objects.
    #[must_use]
    pub fn is_configuration(source: &Source) -> bool {
        let Source::Path(path) = source else { return false };
        let Ok(file) = File::open(path) else { return false };
        let head: Result<Head, _> = serde_json::from_reader(BufReader::new(file));
        head.is_ok_and(|head| head.version.is_some() && head.kind.is_none())
    }

    fn new(
        wire: wire::Config,
        config: Config,
        namespaces: BTreeSet<String>,
        left_out: BTreeMap<NamespacedName, Problem>,
    ) -> Self {
        let mut rest = wire;
        let services = std::mem::take(&mut rest.table.services);
        Self { config, services, rest, namespaces, left_out }
    }

    /// The namespaces that names are asked from: where pods are, or else where Services are.
    pub(super) fn namespaces(&self) -> BTreeSet<String> {
        if !self.namespaces.is_empty() {
            return self.namespaces.clone();
        }
        self.services.keys().filter_map(|key| Some(key.split_once('/')?.0.to_owned())).collect()
    }

    /// From now on names are asked from this namespace.
    pub(super) fn ask_from(&mut self, namespace: &str) -> Result<(), Problems> {
        self.rest.caller.namespace = Some(namespace.to_owned());
        // The same as the whole one, but for the caller and without Services.
        self.config.caller = Config::from_json(&compile::text(&self.rest), &Defaults::default())?.caller;
        Ok(())
    }

    /// The cluster domain.
    pub(super) fn zone(&self) -> &str {
        &self.rest.dns.cluster_domain
    }

    /// Ports that an alias to this target may be asked for.
    pub(super) fn allowed_ports(&self, target: &str) -> impl Iterator<Item = u16> {
        let target = target.trim_end_matches('.').to_ascii_lowercase();
        let entries = self.rest.external_names.allow.iter().filter(move |allow| match allow.host.strip_prefix('*') {
            Some(domain) => target.ends_with(domain),
            None => target == allow.host,
        });
        entries.flat_map(|allow| allow.ports.iter().copied())
    }
}
