//! One of the two states that are compared: a cluster, or a configuration that was made of one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, BufReader, Read},
};

use anyhow::{Context, bail};
use byname_core::{Config, Defaults, FieldErrors, limits::MAX_CONFIGURATION_BYTES, wire};

use crate::{
    caller::CallerSettings,
    compile::{self, CompileOptions},
    input::{self, InputError, Source},
    kubernetes::{ClusterState, NamespacedName},
};

/// One of the two states that are compared.
#[derive(Debug)]
pub struct Side {
    pub(super) config: Config,
    pub(super) services: BTreeMap<String, wire::Service>,
    /// The configuration without its Services.
    rest: wire::Config,
    zone: String,
    /// Those of objects of any kind; of a configuration, the caller's.
    namespaces: BTreeSet<String>,
    /// What was left out, as the filter would refuse it.
    pub left_out: BTreeMap<NamespacedName, InputError>,
}

/// So much of an input tells a configuration from Kubernetes objects.
const HEAD_BYTES: u64 = 4 << 10;
/// With one of these a configuration begins, and no Kubernetes object.
const FIELDS: [&str; 10] = [
    "version",
    "caller",
    "dns",
    "steering",
    "unknownNames",
    "externalNames",
    "fallback",
    "trace",
    "accessLog",
    "table",
];

impl Side {
    /// Kubernetes objects, which are compiled with `options`, or what `byname compile --format table` wrote.
    ///
    /// # Errors
    /// All that is wrong with either.
    pub fn read(source: &Source, options: &CompileOptions, progress: &mut dyn FnMut(u64)) -> anyhow::Result<Self> {
        let (mut reader, called): (Box<dyn Read>, String) = match source {
            Source::Path(path) if !path.is_dir() => {
                let called = path.display().to_string();
                (Box::new(File::open(path).with_context(|| called.clone())?), called)
            }
            Source::Path(_) => {
                return Self::of_cluster(&ClusterState::read(std::slice::from_ref(source), progress)?, options);
            }
            Source::Stdin => (Box::new(io::stdin()), "standard input".to_owned()),
        };
        // What a pipe has given out it does not give again.
        let mut head = Vec::new();
        reader.by_ref().take(HEAD_BYTES).read_to_end(&mut head).with_context(|| called.clone())?;
        let is_configuration = is_configuration(&head);
        let reader = input::counted(io::Cursor::new(head).chain(reader), progress);
        if is_configuration {
            return Self::of_configuration(reader, &called);
        }
        let mut cluster = ClusterState::default();
        input::read_stream(BufReader::new(reader), &called, &mut |object| cluster.add(object))?;
        Self::of_cluster(&cluster, options)
    }

    fn of_cluster(cluster: &ClusterState, options: &CompileOptions) -> anyhow::Result<Self> {
        let compiled = compile::compile(cluster, &CallerSettings::anyone(&options.base.config), options)?;
        let namespaces = cluster.all_namespaces().into_iter().map(str::to_owned).collect();
        Ok(Self::new(compiled.wire, compiled.config, namespaces, compiled.left_out))
    }

    fn of_configuration(reader: impl Read, called: &str) -> anyhow::Result<Self> {
        let most = u64::try_from(MAX_CONFIGURATION_BYTES).unwrap_or(u64::MAX);
        let mut text = String::new();
        let bytes = reader.take(most + 1).read_to_string(&mut text).with_context(|| called.to_owned())?;
        if bytes > MAX_CONFIGURATION_BYTES {
            bail!("{called}: is larger than the {MAX_CONFIGURATION_BYTES} bytes of a configuration");
        }
        let defaults = Defaults { namespace: Some("default"), ..Defaults::default() };
        let config = Config::read(&text, &defaults).with_context(|| called.to_owned())?;
        let wire: wire::Config = serde_json::from_str(&text).with_context(|| called.to_owned())?;
        let namespaces = wire.caller.namespace.iter().cloned().collect();
        Ok(Self::new(wire, config, namespaces, BTreeMap::new()))
    }

    fn new(
        wire: wire::Config,
        config: Config,
        namespaces: BTreeSet<String>,
        left_out: BTreeMap<NamespacedName, InputError>,
    ) -> Self {
        let mut rest = wire;
        let services = std::mem::take(&mut rest.table.services);
        Self { config, zone: compile::zone(&rest.dns), services, rest, namespaces, left_out }
    }

    /// The namespaces that names are asked from; of a configuration for whomever, those of its Services.
    pub(super) fn namespaces(&self) -> BTreeSet<String> {
        if !self.namespaces.is_empty() {
            return self.namespaces.clone();
        }
        self.services.keys().filter_map(|key| Some(key.split_once('/')?.0.to_owned())).collect()
    }

    /// From now on names are asked from this namespace.
    pub(super) fn ask_from(&mut self, namespace: &str) -> Result<(), FieldErrors> {
        self.rest.caller.namespace = Some(namespace.to_owned());
        // The same as the whole one, but for the caller and without Services.
        self.config.caller = Config::read(compile::text(&self.rest), &Defaults::default())?.caller;
        Ok(())
    }

    /// The cluster domain.
    pub(super) fn zone(&self) -> &str {
        &self.zone
    }

    /// The Service that has this whole name.
    pub(super) fn service_called(&self, name: &str) -> Option<&wire::Service> {
        let below = name.strip_suffix(&self.zone)?.strip_suffix(".svc.")?;
        let (service, namespace) = below.split_once('.')?;
        self.services.get(&format!("{namespace}/{service}"))
    }

    /// Ports that an alias to this target may be asked for.
    pub(super) fn allowed_ports(&self, target: &str) -> impl Iterator<Item = u16> {
        let entries = self.rest.external_names.allow.iter().filter(move |allow| match allow.host.strip_prefix('*') {
            Some(domain) => target.ends_with(domain),
            None => target == allow.host,
        });
        entries.flat_map(|allow| allow.ports.iter().copied())
    }
}

/// By its first field: objects begin with one of their own.
fn is_configuration(head: &[u8]) -> bool {
    let head = String::from_utf8_lossy(head);
    let field = head.trim_start_matches('\u{feff}').trim_start().strip_prefix('{').map(str::trim_start);
    let field = field.and_then(|rest| rest.strip_prefix('"')?.split('"').next());
    field.is_some_and(|field| FIELDS.contains(&field))
}
