//! What `byname compile` writes, and what can be said of it.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::bail;
use byname_core::wire::SteeringMode;
use clap::{Args, ValueEnum};

use crate::{
    compile::{self, Base, CompileOptions, Compiled, Steered, UpstreamClusters},
    envoy::{self, Bootstrap, DEFAULT_MODULE, Discovery, EcdsFilter, Pass, Style},
    istio::{self, Image, IstioObject, MAX_OBJECT_BYTES},
    kubernetes::NamespacedName,
    output,
};

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum CompileFormat {
    /// The filter's configuration itself, as JSON.
    Table,
    /// The file that Envoy discovers the filter from (ECDS).
    EnvoyEcds,
    /// A whole Envoy that runs as it stands: listener, routes, filter and upstream clusters.
    EnvoyBootstrap,
    /// A WasmPlugin for the caller's namespace, with names alone, steering by authority unless --config says otherwise.
    IstioWasmplugin,
    /// The EnvoyFilter that steering by cluster or by endpoint needs in Istio.
    IstioEnvoyfilter,
}

use CompileFormat::{EnvoyBootstrap, EnvoyEcds, IstioEnvoyfilter, IstioWasmplugin};

/// What is said of it.
#[derive(Args, Clone, Debug)]
pub(super) struct Outputs {
    /// Where the Envoy has byname.wasm. With istio-envoyfilter: bring the filter too, from this file of the proxy. Default:
    /// /etc/byname/byname.wasm
    #[arg(long, value_name = "PATH", help_heading = "Envoy")]
    module: Option<PathBuf>,
    /// How Envoy comes to know the endpoints of Services [default: static]
    #[arg(long, value_enum, help_heading = "Envoy")]
    clusters: Option<Discovery>,
    /// Write the upstream clusters into this file as well, as Envoy discovers them (CDS).
    #[arg(long, value_name = "FILE", help_heading = "Envoy")]
    clusters_output: Option<PathBuf>,
    /// The directory in which Envoy finds the endpoints of --clusters eds [default: /etc/byname/endpoints]
    #[arg(long, value_name = "PATH", help_heading = "Envoy")]
    eds_directory: Option<PathBuf>,
    /// Write the endpoints of --clusters eds into this directory, a file for each cluster.
    #[arg(long, value_name = "DIRECTORY", help_heading = "Envoy")]
    eds_output: Option<PathBuf>,
    /// The certificates that Envoy trusts [default: /etc/ssl/certs/ca-certificates.crt]
    #[arg(long, value_name = "PATH", help_heading = "Envoy")]
    ca_file: Option<PathBuf>,
    /// Have the filter come from this file, which Envoy watches and envoy-ecds writes, in place of the bootstrap.
    #[arg(long, value_name = "PATH", help_heading = "Envoy")]
    ecds_file: Option<PathBuf>,
    /// Have the upstream clusters come from this file, which Envoy watches and --clusters-output writes.
    #[arg(long, value_name = "PATH", help_heading = "Envoy")]
    cds_file: Option<PathBuf>,
    /// Where the bootstrap listens [default: 127.0.0.1:15001]
    #[arg(long, value_name = "ADDRESS:PORT", help_heading = "Envoy")]
    listen: Option<SocketAddr>,
    /// Where the bootstrap's admin interface listens [default: 127.0.0.1:9901]
    #[arg(long, value_name = "ADDRESS:PORT", help_heading = "Envoy")]
    admin: Option<SocketAddr>,
    /// What becomes of names that mean nothing [default: original-dst where there is a steering.passCluster, else refuse]
    #[arg(long, value_enum, help_heading = "Envoy")]
    pass: Option<Pass>,
    /// The image with the module, as oci://registry/name:tag, or the module, as https://host/byname.wasm.
    #[arg(long, value_name = "URL", help_heading = "Istio")]
    image: Option<String>,
    /// What Istio compares it with, 64 hexadecimal digits: the digest of an image's manifest, which `make image` prints, else the
    /// sum of the module itself.
    #[arg(long, value_name = "SUM", help_heading = "Istio", value_parser = checksum)]
    sha256: Option<String>,
    /// Put the endpoints into the table: steering by endpoint needs them, and istiod knows the others'.
    #[arg(long, help_heading = "Istio")]
    endpoints: bool,
}

/// What is to be written.
pub(super) struct RenderedTexts {
    pub(super) text: String,
    pub(super) beside: Vec<(PathBuf, String)>,
}

impl Outputs {
    /// Whether all that was said means something for this format.
    pub(super) fn check(&self, format: CompileFormat) -> anyhow::Result<()> {
        let options: [(&str, bool, &[CompileFormat]); 14] = [
            ("--module", self.module.is_some(), &[EnvoyEcds, EnvoyBootstrap, IstioEnvoyfilter]),
            ("--clusters", self.clusters.is_some(), &[EnvoyEcds, EnvoyBootstrap]),
            ("--clusters-output", self.clusters_output.is_some(), &[EnvoyEcds, EnvoyBootstrap]),
            ("--eds-directory", self.eds_directory.is_some(), &[EnvoyEcds, EnvoyBootstrap]),
            ("--eds-output", self.eds_output.is_some(), &[EnvoyEcds, EnvoyBootstrap]),
            ("--ca-file", self.ca_file.is_some(), &[EnvoyEcds, EnvoyBootstrap, IstioEnvoyfilter]),
            ("--ecds-file", self.ecds_file.is_some(), &[EnvoyBootstrap]),
            ("--cds-file", self.cds_file.is_some(), &[EnvoyBootstrap]),
            ("--listen", self.listen.is_some(), &[EnvoyBootstrap]),
            ("--admin", self.admin.is_some(), &[EnvoyBootstrap]),
            ("--pass", self.pass.is_some(), &[EnvoyBootstrap]),
            ("--image", self.image.is_some(), &[IstioWasmplugin]),
            ("--sha256", self.sha256.is_some(), &[IstioWasmplugin]),
            ("--endpoints", self.endpoints, &[IstioWasmplugin, IstioEnvoyfilter]),
        ];
        for (option, is_said, formats) in options {
            if is_said && !formats.contains(&format) {
                let names: Vec<String> = formats.iter().map(|format| name(*format)).collect();
                bail!("{option} means nothing with --format {}; it is for {}", name(format), names.join(", "));
            }
        }
        if format == EnvoyEcds
            && self.clusters_output.is_none()
            && (self.ca_file.is_some() || (self.clusters.is_some() && self.eds_output.is_none()))
        {
            bail!(
                "--clusters and --ca-file are for upstream clusters; say --clusters-output FILE to have them written"
            );
        }
        for file in [&self.ecds_file, &self.cds_file, &self.clusters_output].into_iter().flatten() {
            envoy::check_name(file)?;
        }
        if self.clusters != Some(Discovery::Eds) && (self.eds_output.is_some() || self.eds_directory.is_some()) {
            bail!("--eds-output and --eds-directory mean nothing without --clusters eds");
        }
        Ok(())
    }

    /// What the format changes of what is compiled.
    pub(super) fn prepare(&self, format: CompileFormat, options: &mut CompileOptions) -> anyhow::Result<()> {
        if format == IstioWasmplugin && !options.base.says("steering.by") {
            options.base.config.steering.by = SteeringMode::Authority;
        }
        if matches!(format, IstioWasmplugin | IstioEnvoyfilter) {
            options.names_only = !self.endpoints;
            if options.names_only && Steered::of(&options.base.config).endpoint {
                bail!(
                    "steering by endpoint needs the endpoints in the table; add --endpoints, or steer by authority or by cluster"
                );
            }
        }
        Ok(())
    }

    /// Makes what is to be written.
    pub(super) fn make(
        &self,
        format: CompileFormat,
        compiled: &Compiled,
        base: &Base,
        pod: Option<&NamespacedName>,
    ) -> anyhow::Result<RenderedTexts> {
        let alone = |text| Ok(RenderedTexts { text, beside: Vec::new() });
        let clusters = || compile::clusters(compiled, base);
        let style = self.style();
        match format {
            CompileFormat::Table => alone(compiled.text.clone()),
            EnvoyEcds => {
                let filter = EcdsFilter { module: self.module().to_owned(), ..EcdsFilter::default() };
                let text = envoy::ecds(&compiled.text, &filter);
                let beside = match self.clusters_output.is_some() || self.eds_output.is_some() {
                    true => self.beside(&clusters()?, &style)?,
                    false => Vec::new(),
                };
                Ok(RenderedTexts { text, beside })
            }
            EnvoyBootstrap => {
                let clusters = clusters()?;
                let wanted = Bootstrap {
                    module: self.module().to_owned(),
                    listen: self.listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 15001))),
                    admin: self.admin.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 9901))),
                    pass: self.pass,
                    id: pod.map(|pod| format!("{}.{}", pod.name, pod.namespace)),
                    ecds_file: self.ecds_file.clone(),
                    cds_file: self.cds_file.clone(),
                    style: style.clone(),
                };
                let text = envoy::bootstrap(compiled, &clusters, &wanted)?;
                Ok(RenderedTexts { text, beside: self.beside(&clusters, &style)? })
            }
            IstioWasmplugin => {
                let Some(url) = self.image.clone() else {
                    bail!("a WasmPlugin names the image with the module; say --image oci://registry/name:tag");
                };
                let object = istio::wasm_plugin(compiled, &Image { url, sha256: self.sha256.clone() })?;
                say_size(&object);
                let steered = Steered::of(&compiled.wire);
                if steered.cluster || steered.endpoint {
                    output::note(
                        "steering by cluster or by endpoint needs what --format istio-envoyfilter writes as well",
                    );
                }
                alone(object.text)
            }
            IstioEnvoyfilter => {
                let object = istio::envoy_filter(compiled, &clusters()?, &style, self.module.as_deref())?;
                say_size(&object);
                alone(object.text)
            }
        }
    }

    /// Each of these has a file that Envoy watches by itself.
    fn say_watched(&self, clusters: &UpstreamClusters) {
        /// Linux's `fs.inotify.max_user_instances` is 128, and others of the user need some.
        const MOST: usize = 100;
        let count =
            clusters.by_name.values().filter(|one| matches!(one, compile::UpstreamCluster::Endpoints(_))).count();
        if self.clusters == Some(Discovery::Eds) && count > MOST {
            output::warn(&format!(
                "{count} clusters have files of their own, and each takes Envoy an inotify instance, without which it ends: \
                 raise fs.inotify.max_user_instances, or say --clusters static with --cds-file"
            ));
        }
    }

    fn beside(&self, clusters: &UpstreamClusters, style: &Style) -> anyhow::Result<Vec<(PathBuf, String)>> {
        let mut beside = Vec::new();
        self.say_watched(clusters);
        if let Some(directory) = &self.eds_output {
            let files = envoy::endpoint_files(clusters)?;
            beside.extend(files.into_iter().map(|(name, text)| (directory.join(name), text)));
        }
        if let Some(file) = &self.clusters_output {
            beside.push((file.clone(), envoy::cds(clusters, style)?));
        }
        Ok(beside)
    }

    fn module(&self) -> &Path {
        self.module.as_deref().unwrap_or(Path::new(DEFAULT_MODULE))
    }

    fn style(&self) -> Style {
        let or = |path: &Option<PathBuf>, default: &str| path.clone().unwrap_or_else(|| default.into());
        Style {
            discovery: self.clusters.unwrap_or_default(),
            eds_directory: or(&self.eds_directory, "/etc/byname/endpoints"),
            ca_file: or(&self.ca_file, "/etc/ssl/certs/ca-certificates.crt"),
        }
    }
}

fn name(format: CompileFormat) -> String {
    format.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

fn say_size(object: &IstioObject) {
    let permille = object.bytes * 1000 / MAX_OBJECT_BYTES;
    let (percent, tenth) = (permille / 10, permille % 10);
    output::note(&format!("{} bytes: {percent}.{tenth} % of what an object may have", object.bytes));
}

/// As Istio takes it; registries and `docker` put the name of the algorithm before it.
fn checksum(text: &str) -> Result<String, String> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    let is_digit = |c: char| matches!(c, '0'..='9' | 'a'..='f');
    if digits.len() != 64 || !digits.chars().all(is_digit) {
        return Err("a SHA-256 has 64 digits from 0 to 9 and a to f".to_owned());
    }
    Ok(digits.to_owned())
}
