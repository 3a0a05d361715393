//! One of the two states to compare: Kubernetes objects, or a configuration compiled from them, as `byname compile` wrote it or as
//! it is deployed in an object of Istio's.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, BufReader, Read},
};

use anyhow::bail;
use byname_core::{Config, Defaults, FieldErrors, is_label, limits::MAX_CONFIGURATION_BYTES, wire};

use crate::{
    caller::CallerSettings,
    compile::{self, Base, CompileOptions},
    input::{self, InputError, InputErrors, LeftOut, ReadOptions, Source},
    istio::{self, Deployed},
    kubernetes::{self, ClusterState, NamespacedName},
};

/// One of the two states to compare.
#[derive(Debug)]
pub struct Side {
    pub(super) config: Config,
    pub(super) services: BTreeMap<String, wire::Service>,
    /// The configuration without its Services.
    rest: wire::Config,
    zone: String,
    /// The namespaces of all objects. For a configuration: the caller's namespace, if it sets one.
    namespaces: BTreeSet<String>,
    /// The Services that were left out because the filter would refuse them, each with the reason.
    pub left_out: BTreeMap<NamespacedName, InputError>,
}

/// The part of an input that tells a configuration from Kubernetes objects.
const HEAD_BYTES: u64 = 4 << 10;
/// The fields that a configuration may begin with. No Kubernetes object begins with one of them.
const FIELDS: [&str; 20] = [
    "version",
    "minor",
    "requires",
    "firstConfiguration",
    "caller",
    "dns",
    "steering",
    "destinationPort",
    "gateways",
    "unknownNames",
    "externalNames",
    "fallback",
    "mode",
    "modeExceptions",
    "observePercent",
    "trace",
    "accessLog",
    "stats",
    "server",
    "table",
];

/// What an input holds.
#[derive(Debug)]
pub enum SideInput {
    /// Kubernetes objects.
    Cluster(Box<ClusterState>),
    /// A configuration, and the name of its file.
    Configuration {
        /// The configuration.
        wire: Box<wire::Config>,
        /// Its file, as the user named it.
        called: String,
    },
}

impl SideInput {
    /// Reads Kubernetes objects, or a configuration: the output of `byname compile --format table`, or the object of Istio's
    /// that holds it.
    ///
    /// # Errors
    /// If the input cannot be read, or holds several configurations.
    pub fn read(
        source: &Source,
        options: &ReadOptions,
        progress: &mut dyn FnMut(u64),
    ) -> anyhow::Result<(Self, LeftOut)> {
        let (reader, called): (Box<dyn Read>, String) = match source {
            Source::Path(path) | Source::Found(path) if !path.is_dir() => {
                let called = path.display().to_string();
                let file = File::open(path).map_err(|error| unreadable(&called, &error))?;
                (Box::new(file), called)
            }
            Source::Path(_) | Source::Found(_) => {
                let (cluster, left_out) = ClusterState::read_with(std::slice::from_ref(source), options, progress)?;
                return Ok((Self::Cluster(Box::new(cluster)), left_out));
            }
            Source::Stdin => (Box::new(io::stdin()), "standard input".to_owned()),
        };
        let reader = BufReader::new(input::counted(reader, progress));
        let mut reader = input::as_utf8(reader).map_err(|error| unreadable(&called, &error))?;
        // A pipe cannot be read twice, so the head is put back in front of the rest.
        let mut head = Vec::new();
        reader.by_ref().take(HEAD_BYTES).read_to_end(&mut head).map_err(|error| unreadable(&called, &error))?;
        let is_configuration = is_configuration(&head);
        let reader = io::Cursor::new(head).chain(reader);
        if is_configuration {
            return Ok((Self::configuration(reader, called)?, LeftOut::default()));
        }
        let mut cluster = ClusterState::default();
        let mut deployed = Vec::new();
        let left_out = input::read_from(reader, &called, options, &mut |object| {
            if let Some((name, found)) = Deployed::of(&object) {
                if let Some(refused) = istio::refusals(&name, &found).into_iter().next() {
                    return Err(refused.into());
                }
                deployed.extend(found.object.configuration.and_then(|configuration| configuration.read.ok()));
            }
            cluster.add(object)
        })?;
        let input = match <[Box<wire::Config>; 1]>::try_from(deployed) {
            Ok([wire]) if cluster.services.is_empty() => Self::of_table(wire, called)?,
            Err(several) if several.len() > 1 && cluster.services.is_empty() => {
                bail!("{called}: holds {} configurations; pass an input with one", several.len())
            }
            _ => Self::Cluster(Box::new(cluster)),
        };
        Ok((input, left_out))
    }

    /// Whether a state needs objects of this `apiVersion` and kind. An empty `apiVersion` is unknown.
    #[must_use]
    pub fn is_needed(api_version: &str, kind: &str) -> bool {
        kubernetes::decides_names(api_version, kind) || istio::may_be_deployed(kind)
    }

    /// Whether it holds a Service. A configuration is what it is.
    #[must_use]
    pub fn has_services(&self) -> bool {
        match self {
            Self::Cluster(cluster) => !cluster.services.is_empty(),
            Self::Configuration { .. } => true,
        }
    }

    /// The namespaces of its objects; those of a configuration's Services.
    #[must_use]
    pub fn namespaces(&self) -> BTreeSet<String> {
        match self {
            Self::Cluster(cluster) => cluster.all_namespaces().into_iter().map(str::to_owned).collect(),
            Self::Configuration { wire, .. } => {
                let of_services = namespaces_of(wire.table.services.keys());
                of_services.chain(wire.caller.namespace.clone()).collect()
            }
        }
    }

    /// Whether it has all Namespace objects of a cluster.
    #[must_use]
    pub fn lists_namespaces(&self) -> bool {
        matches!(self, Self::Cluster(cluster) if cluster.lists_any("Namespace"))
    }

    fn configuration(reader: impl Read, called: String) -> anyhow::Result<Self> {
        let most = u64::try_from(MAX_CONFIGURATION_BYTES).unwrap_or(u64::MAX);
        let mut text = String::new();
        let bytes = reader.take(most + 1).read_to_string(&mut text).map_err(|error| unreadable(&called, &error))?;
        if bytes > MAX_CONFIGURATION_BYTES {
            bail!("{called}: is larger than {MAX_CONFIGURATION_BYTES} bytes, the limit of a configuration");
        }
        // PowerShell writes the mark in front of UTF-8; it is no part of JSON.
        let text = text.strip_prefix(input::BYTE_ORDER_MARK).unwrap_or(&text);
        // The filter's own reader names the place of each error.
        Config::read(text, &DEFAULTS).map_err(|refused| InputErrors::of_configuration(&called, &refused))?;
        let wire =
            wire::Config::read(text.as_bytes()).map_err(|refused| InputErrors::of_configuration(&called, &refused))?;
        Self::of_table(Box::new(wire), called)
    }

    /// A configuration, if it has a table of all Services.
    fn of_table(wire: Box<wire::Config>, called: String) -> anyhow::Result<Self> {
        if let Some(server) = &wire.server {
            bail!(
                "{called}: is the configuration of a filter that asks the server {} for Services, so it has no table to compare; pass \
                 Kubernetes objects, or a table",
                server.cluster
            );
        }
        Ok(Self::Configuration { wire, called })
    }

    /// The settings that a configuration has apart from what comes from Kubernetes, and whether its table has endpoints: with them
    /// the objects of the other side give a table that can be compared. `None` for Kubernetes objects.
    #[must_use]
    pub fn settings(&self) -> Option<(Base, bool)> {
        let Self::Configuration { wire, .. } = self else { return None };
        Some(Base::of_configuration(wire))
    }
}

/// A configuration is compared from every namespace, whichever it is for.
const DEFAULTS: Defaults<'_> = Defaults { namespace: Some("default"), zone: None, node: None, id: None };

impl Side {
    /// Compiles Kubernetes objects with `options`, or takes a configuration as it is.
    ///
    /// # Errors
    /// If the filter would refuse it.
    pub fn new(input: SideInput, options: &CompileOptions) -> anyhow::Result<Self> {
        match input {
            SideInput::Cluster(cluster) => Self::of_cluster(&cluster, options),
            SideInput::Configuration { wire, called } => {
                let config = Config::from_wire(wire::Config::clone(&wire), &DEFAULTS)
                    .map_err(|refused| InputErrors::of_configuration(&called, &refused))?;
                let namespaces = wire.caller.namespace.iter().cloned().collect();
                Ok(Self::of(*wire, config, namespaces, BTreeMap::new()))
            }
        }
    }

    /// Compiles Kubernetes objects with `options`.
    ///
    /// # Errors
    /// If the filter would refuse the result.
    pub fn of_cluster(cluster: &ClusterState, options: &CompileOptions) -> anyhow::Result<Self> {
        let compiled = compile::compile(cluster, &CallerSettings::anyone(&options.base.config), options)?;
        // An object that was left out may be in a namespace that cannot exist.
        let namespaces = cluster.all_namespaces().into_iter().filter(|name| is_label(name));
        let namespaces = namespaces.map(str::to_owned).collect();
        Ok(Self::of(compiled.wire, compiled.config, namespaces, compiled.left_out))
    }

    fn of(
        mut wire: wire::Config,
        mut config: Config,
        namespaces: BTreeSet<String>,
        left_out: BTreeMap<NamespacedName, InputError>,
    ) -> Self {
        // Without a node, the question is whether names resolve on some node.
        let is_local = |service: &&mut wire::Service| {
            service.internal_traffic_policy == wire::InternalTrafficPolicy::Local && wire.caller.node.is_none()
        };
        let local: Vec<&mut wire::Service> = wire.table.services.values_mut().filter(is_local).collect();
        if !local.is_empty() {
            let any_node = wire::InternalTrafficPolicy::Cluster;
            local.into_iter().for_each(|service| service.internal_traffic_policy = any_node);
            let defaults = Defaults { namespace: Some("default"), ..Defaults::default() };
            // The configuration was read before, and this field is never refused.
            config = Config::from_wire(wire.clone(), &defaults).unwrap_or(config);
        }
        let mut rest = wire;
        let services = std::mem::take(&mut rest.table.services);
        Self { config, zone: compile::zone(&rest.dns), services, rest, namespaces, left_out }
    }

    /// The namespaces to resolve names from. A configuration without a caller's namespace has the namespaces of its Services.
    pub(super) fn namespaces(&self) -> BTreeSet<String> {
        if !self.namespaces.is_empty() {
            return self.namespaces.clone();
        }
        namespaces_of(self.services.keys()).collect()
    }

    /// Resolves names from this namespace from now on.
    pub(super) fn ask_from(&mut self, namespace: &str) -> Result<(), FieldErrors> {
        self.rest.caller.namespace = Some(namespace.to_owned());
        // The caller does not depend on the Services.
        self.config.caller = Config::from_wire(self.rest.clone(), &Defaults::default())?.caller;
        Ok(())
    }

    /// The cluster domain.
    pub(super) fn zone(&self) -> &str {
        &self.zone
    }

    /// The Service with this full name.
    pub(super) fn service_called(&self, name: &str) -> Option<&wire::Service> {
        let below = name.strip_suffix(&self.zone)?.strip_suffix(".svc.")?;
        let (service, namespace) = below.split_once('.')?;
        self.services.get(&NamespacedName::new(namespace, service).to_string())
    }

    /// The ports that `externalNames.allow` lists for this target.
    pub(super) fn allowed_ports(&self, target: &str) -> impl Iterator<Item = u16> {
        let entries = self.rest.external_names.allow.iter().filter(move |allow| match allow.host.strip_prefix('*') {
            Some(domain) => target.ends_with(domain),
            None => target == allow.host,
        });
        entries.flat_map(|allow| allow.ports.iter().copied())
    }
}

/// The namespaces of Services with these keys.
fn namespaces_of<'k>(keys: impl Iterator<Item = &'k String>) -> impl Iterator<Item = String> {
    keys.filter_map(|key| Some(NamespacedName::parse(key)?.namespace))
}

fn unreadable(called: &str, error: &io::Error) -> InputError {
    if error.kind() == io::ErrorKind::InvalidData {
        return InputError::new(called, error.to_string(), "save it as UTF-8");
    }
    let fix = "pass a readable file or directory, - for the standard input, or context:NAME for a live cluster";
    InputError::new(called, format!("cannot be read: {error}"), fix)
}

/// Whether an input is a configuration, by its first field.
fn is_configuration(head: &[u8]) -> bool {
    let head = String::from_utf8_lossy(head);
    let field = head.trim_start_matches(input::BYTE_ORDER_MARK).trim_start().strip_prefix('{').map(str::trim_start);
    let field = field.and_then(|rest| rest.strip_prefix('"')?.split('"').next());
    field.is_some_and(|field| FIELDS.contains(&field))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_may_begin_with_each_of_its_fields() {
        let schema: serde_json::Value = serde_json::from_str(&wire::Config::json_schema_text()).unwrap();
        let fields = schema["properties"].as_object().unwrap();
        assert!(fields.len() >= FIELDS.len(), "{fields:?}");
        let unknown: Vec<&String> =
            fields.keys().filter(|field| !is_configuration(format!("{{\n  \"{field}\": ").as_bytes())).collect();
        assert_eq!(unknown, [] as [&str; 0]);
        for field in ["apiVersion", "kind", "metadata", "items"] {
            assert!(!is_configuration(format!("{{\"{field}\": \"version\"").as_bytes()), "{field}");
        }
    }
}
