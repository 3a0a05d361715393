//! `byname compile`.

mod outputs;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::bail;
use clap::Args;

use self::outputs::{CompileFormat, Outputs};
use super::{
    args::{Input, NoFormatParser, parse_whole},
    live::Needs,
    namespace_args::{KnownNamespaces, choice, parse_namespace},
    status::FINE,
};
use crate::{
    caller::CallerSettings,
    compile::{self, Base, CompileOptions, Compiled},
    envoy,
    kubernetes::{ClusterState, NamespacedName},
    output,
};

/// Compile Kubernetes objects into the configuration that the filter loads.
///
/// The output is deterministic: the same objects give the same bytes, so it can live in git. On any error, byname writes nothing.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  byname compile --namespace shop --context staging
  kubectl get svc,endpointslices,pods,nodes -A -o yaml | byname compile --namespace shop
  byname compile -f cluster.yaml --pod shop/web-5c8f7b6d9f-4xk2p --output-file table.json
  byname compile -f cluster.yaml -n shop --format envoy-bootstrap \\
      --module target/byname.wasm --output-file sidecar.yaml
  byname compile -n shop --format envoy-bootstrap --server byname.byname-system:18000 \\
      --output-file sidecar.yaml
  byname compile -f cluster.yaml -n shop --format istio-wasmplugin \\
      --image oci://registry.example.com/byname:0.1.0
  byname compile --format istio-wasmplugin --server byname.byname-system:9905 \\
      --image oci://registry.example.com/byname:0.1.0")]
pub(super) struct Compile {
    #[command(flatten)]
    input: Input,
    #[command(flatten)]
    recipe: Recipe,
    /// Choose the output format.
    #[arg(long, value_enum, default_value_t = CompileFormat::Table)]
    format: CompileFormat,
    /// Write to this file, replaced atomically. Default: the standard output.
    #[arg(long, value_name = "FILE")]
    output_file: Option<PathBuf>,
    /// Not an option here: the error names the options in its place.
    #[arg(short, long, hide = true, value_parser = NoFormatParser::<CompileFormat>::new())]
    output: Option<String>,
    #[command(flatten)]
    outputs: Box<Outputs>,
}

/// The caller and the settings that a table is compiled with.
#[derive(Args, Clone, Debug)]
pub(super) struct Recipe {
    /// Compile for clients in this namespace. byname reads the objects of all namespaces. Default: each Envoy uses the namespace in
    /// its node metadata.
    #[arg(short, long, conflicts_with = "pod", value_parser = parse_namespace)]
    namespace: Option<String>,
    /// Compile for this one pod, with its zone, node, address and DNS settings. Example: shop/web-5c8f7b6d9f-4xk2p
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = parse_name)]
    pod: Option<NamespacedName>,
    /// Merge in this hand-written configuration, in YAML or JSON: steering, externalNames and other top-level fields, and alias,
    /// subsets and steering of single Services under table.services.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Put only Services of this namespace in the table. Can be repeated. Default: all namespaces.
    #[arg(long = "visible", value_name = "NAMESPACE", value_parser = parse_namespace)]
    visible: Vec<String>,
    /// Set table.version to this number. Default: that of --config, else a checksum of the table.
    #[arg(long, value_name = "NUMBER", value_parser = |text: &str| parse_whole(text, 0..=u64::MAX))]
    table_version: Option<u64>,
    /// Leave out Services that the filter would refuse, with a warning for each. Default: fail.
    #[arg(long)]
    skip_invalid: bool,
}

impl Compile {
    pub(super) fn run(self) -> anyhow::Result<u8> {
        self.outputs.check(self.format)?;
        if let (CompileFormat::EnvoyEcds | CompileFormat::EnvoyBootstrap, Some(file)) = (self.format, &self.output_file)
        {
            envoy::check_name(file)?;
        }
        let mut recipe = self.recipe.read()?;
        if matches!(self.format, CompileFormat::IstioWasmplugin | CompileFormat::IstioTrafficextension) {
            let options = &recipe.options;
            let versions =
                [("--table-version", options.version), ("table.version", Some(options.base.config.table.version))];
            for (field, version) in versions {
                if version.is_some_and(|version| version > 1 << 53) {
                    bail!("{field}: the object stores numbers as floating point; use at most 2^53");
                }
            }
        }
        self.outputs.prepare(self.format, &mut recipe.options)?;
        let is_asked_by_filter = self.outputs.is_asked_by_filter(self.format, &recipe.options.base);
        let cluster = match self.outputs.has_server() {
            true if is_asked_by_filter => read_for_filter(&self.input, &recipe)?,
            true => read_for_server(&self.input, &mut recipe)?,
            false => {
                let origin = self.input.origin()?;
                let labels = recipe.options.base.namespaces_of_labels();
                let needs = Needs::of_table(&recipe.options.visible, &labels, recipe.pod());
                self.input.read(&origin, &needs)?
            }
        };
        let compiled = recipe.compile(&cluster)?;
        compiled.left_out.values().for_each(|problem| output::warn(&format!("left out: {problem}")));
        if self.outputs.hold_table(self.format) {
            compiled.unknown_node().iter().for_each(|warning| output::warn(warning));
        }
        let pod = recipe.recipe.pod.as_ref();
        let texts = self.outputs.make(self.format, &compiled, &recipe.options.base, (&cluster, pod))?;
        // Files that other files refer to are written first.
        let mut files: Vec<(&Path, &str)> = texts.beside.iter().map(|(file, text)| (file.as_path(), &**text)).collect();
        files.extend(self.output_file.as_deref().map(|file| (file, &*texts.text)));
        output::write_all(&files)?;
        if self.output_file.is_none() {
            output::write(None, &texts.text)?;
        }
        Ok(FINE)
    }
}

/// The objects of a filter that asks a server for its Services: its own pod, if that is known.
fn read_for_filter(input: &Input, recipe: &ReadRecipe) -> anyhow::Result<ClusterState> {
    check_for_server(recipe)?;
    if recipe.pod().is_none() {
        if input.is_given() {
            bail!(
                "--filename has no effect with --server and without --pod: the filter asks the server for Services; remove --filename"
            );
        }
        return Ok(ClusterState::default());
    }
    let mut cluster = input.read_any(&input.origin()?, &Needs::of_bootstrap(recipe.pod()))?.cluster;
    cluster.services.clear();
    Ok(cluster)
}

/// Refuses options that say what goes into the table.
fn check_for_server(recipe: &ReadRecipe) -> anyhow::Result<()> {
    let options = [
        ("--visible", !recipe.recipe.visible.is_empty()),
        ("--table-version", recipe.recipe.table_version.is_some()),
        ("--skip-invalid", recipe.recipe.skip_invalid),
    ];
    match options.iter().find(|(_, is_said)| *is_said) {
        Some((option, _)) => bail!("{option} has no effect with --server, which has the table; remove {option}"),
        None => Ok(()),
    }
}

/// The objects that a bootstrap needs whose table a server pushes.
fn read_for_server(input: &Input, recipe: &mut ReadRecipe) -> anyhow::Result<ClusterState> {
    check_for_server(recipe)?;
    if input.is_given() || recipe.pod().is_some() {
        let origin = input.origin()?;
        return Ok(input.read_any(&origin, &Needs::of_bootstrap(recipe.pod()))?.cluster);
    }
    // The server has the Services that these entries are for.
    recipe.options.base.config.table.services.clear();
    Ok(ClusterState::default())
}

/// A [`Recipe`] with its files read.
#[derive(Debug)]
pub(super) struct ReadRecipe {
    recipe: Recipe,
    pub(super) options: CompileOptions,
}

impl Recipe {
    pub(super) fn read(self) -> anyhow::Result<ReadRecipe> {
        let options = CompileOptions {
            base: self.config.as_deref().map(Base::read).transpose()?.unwrap_or_default(),
            visible: self.visible.iter().cloned().collect::<BTreeSet<_>>(),
            version: self.table_version,
            skip_invalid: self.skip_invalid,
            ..CompileOptions::default()
        };
        Ok(ReadRecipe { recipe: self, options })
    }
}

impl ReadRecipe {
    pub(super) fn compile(&self, cluster: &ClusterState) -> anyhow::Result<Compiled> {
        self.check_visible(cluster)?;
        if self.options.visible.is_empty() && !cluster.services.is_empty() {
            // The table is right if the caller's namespace has no Service, but a wrong name is more likely.
            KnownNamespaces::of(cluster).check_leniently(&self.recipe.namespace, "the input");
        }
        self.check_mode_exceptions(cluster);
        let caller = self.caller(cluster)?;
        caller.notes.iter().for_each(|text| output::note(text));
        Ok(compile::compile(cluster, &caller, &self.options)?)
    }

    /// Warns of each namespace of `--visible` without Services.
    ///
    /// # Errors
    /// If none has a Service.
    fn check_visible(&self, cluster: &ClusterState) -> anyhow::Result<()> {
        let visible = &self.options.visible;
        let there: BTreeSet<&str> = cluster.services.keys().map(|name| &*name.namespace).collect();
        let empty: Vec<&str> = visible.iter().map(String::as_str).filter(|name| !there.contains(name)).collect();
        let Some(first) = empty.first() else { return Ok(()) };
        // Of a live cluster, only the namespaces of --visible are read.
        let others = choice("namespaces with Services", &there);
        if empty.len() == visible.len() {
            bail!("--visible {first}: the input has no Service in this namespace; {others}");
        }
        for name in empty {
            output::warn(&format!("--visible {name}: the input has no Service in this namespace; {others}"));
        }
        Ok(())
    }

    /// Warns of each entry of `modeExceptions` that changes nothing now: a Service that one wants to observe would be steered.
    fn check_mode_exceptions(&self, cluster: &ClusterState) {
        let visible = &self.options.visible;
        for (index, exception) in self.options.base.config.mode_exceptions.iter().enumerate() {
            let namespace = exception.split('/').next().unwrap_or_default();
            let is_there = |name: &NamespacedName| name.namespace == *exception || name.to_string() == *exception;
            if (visible.is_empty() || visible.contains(namespace)) && !cluster.services.keys().any(is_there) {
                let what = if exception.contains('/') { "Service" } else { "Service in namespace" };
                output::warn(&format!(
                    "modeExceptions[{index}]: the input has no {what} {exception}; correct the name if it exists"
                ));
            }
        }
    }

    pub(super) fn caller(&self, cluster: &ClusterState) -> anyhow::Result<CallerSettings> {
        let base = &self.options.base.config;
        Ok(match (&self.recipe.pod, &self.recipe.namespace) {
            (Some(pod), _) => CallerSettings::of_pod(pod, cluster, base)?,
            (None, Some(namespace)) => CallerSettings::of_namespace(namespace, base),
            (None, None) => CallerSettings::anyone(base),
        })
    }

    pub(super) fn pod(&self) -> Option<&NamespacedName> {
        self.recipe.pod.as_ref()
    }
}

pub(super) fn parse_name(text: &str) -> Result<NamespacedName, String> {
    NamespacedName::parse(text).ok_or_else(|| "use the form namespace/name".to_owned())
}
