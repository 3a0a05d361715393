//! The output formats of `byname compile`, and their options.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::bail;
use byname_core::{
    is_label,
    wire::{self, DestinationPort, FirstConfiguration, SteeringMode, UnknownNames},
};
use clap::{Args, ValueEnum};

use super::super::{namespace_args::parse_namespace, source::parse_address};
use crate::{
    compile::{self, Base, CompileOptions, Compiled, Steered, UpstreamClusters},
    envoy::{
        self, Bootstrap, ClientCertificate, Credentials, DEFAULT_MODULE, Discovery, EcdsFilter, Pass, SERVER_CLUSTER,
        Server, ServerAddress, Style, WhenNoServer,
    },
    input::{InputError, InputErrors},
    istio::{self, Image, IstioObject, MAX_OBJECT_BYTES, Placement},
    kubernetes::{ClusterState, NamespacedName, is_label_value, is_qualified_name},
    output,
};

/// An output format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum CompileFormat {
    /// The filter's configuration as JSON.
    Table,
    /// The file from which Envoy discovers the filter (ECDS).
    EnvoyEcds,
    /// A complete Envoy bootstrap: listener, routes, filter and upstream clusters.
    EnvoyBootstrap,
    /// An Istio WasmPlugin: for the client's namespace, or without one for the whole mesh. It steers by authority unless --config
    /// sets steering.by.
    IstioWasmplugin,
    /// The same as a TrafficExtension, which Istio has since 1.30.
    IstioTrafficextension,
    /// The Istio EnvoyFilter that steering by cluster or by endpoint needs.
    IstioEnvoyfilter,
}

use CompileFormat::{EnvoyBootstrap, EnvoyEcds, IstioEnvoyfilter, IstioTrafficextension, IstioWasmplugin};

/// The formats of objects for Istio.
const ISTIO: [CompileFormat; 3] = [IstioWasmplugin, IstioTrafficextension, IstioEnvoyfilter];

/// Options of the output formats.
#[derive(Args, Clone, Debug)]
pub(super) struct Outputs {
    /// Load the filter from this file on Envoy's machine. With istio-envoyfilter: also write the filter into the output. Default:
    /// /etc/byname/byname.wasm
    #[arg(long, value_name = "PATH", help_heading = "Envoy")]
    module: Option<PathBuf>,
    /// Choose how Envoy discovers the endpoints of Services. Default: static.
    #[arg(long, value_enum, value_name = "SOURCE", help_heading = "Envoy")]
    clusters: Option<Discovery>,
    /// Also write the upstream clusters to this file, from which Envoy discovers them (CDS).
    #[arg(long, value_name = "FILE", help_heading = "Envoy")]
    clusters_output: Option<PathBuf>,
    /// Set the directory in which Envoy finds the endpoint files of --clusters eds. Default: /etc/byname/endpoints
    #[arg(long, value_name = "PATH", help_heading = "Envoy")]
    eds_directory: Option<PathBuf>,
    /// Write the endpoint files of --clusters eds to this directory, one file per cluster.
    #[arg(long, value_name = "DIRECTORY", help_heading = "Envoy")]
    eds_output: Option<PathBuf>,
    /// Have Envoy trust the CA certificates in this file. Default: /etc/ssl/certs/ca-certificates.crt
    #[arg(long, value_name = "PATH", help_heading = "Envoy")]
    ca_file: Option<PathBuf>,
    /// Have Envoy watch this file for the filter, in place of a filter in the bootstrap. --format envoy-ecds writes it.
    #[arg(long, value_name = "PATH", help_heading = "Envoy")]
    ecds_file: Option<PathBuf>,
    /// Have Envoy watch this file for the upstream clusters. --clusters-output writes it.
    #[arg(long, value_name = "PATH", help_heading = "Envoy")]
    cds_file: Option<PathBuf>,
    /// Listen for requests on this address. Default: 127.0.0.1:15001
    #[arg(long, value_name = "ADDRESS:PORT", help_heading = "Envoy", value_parser = parse_address)]
    listen: Option<SocketAddr>,
    /// Serve Envoy's admin interface on this address. Default: 127.0.0.1:9901
    #[arg(long, value_name = "ADDRESS:PORT", help_heading = "Envoy", value_parser = parse_address)]
    admin: Option<SocketAddr>,
    /// Choose what happens to names outside the table. Default: original-dst if steering.passCluster is set, else refuse.
    #[arg(long, value_enum, value_name = "ACTION", help_heading = "Envoy")]
    pass: Option<Pass>,
    /// Let clients upgrade to this protocol too, as the Upgrade header names it. Can be repeated. Default: WebSocket and a few others.
    #[arg(long = "upgrade", value_name = "TYPE", help_heading = "Envoy")]
    upgrades: Vec<String>,
    /// Have Envoy get the filter, the upstream clusters and their endpoints from `byname serve` at this address. byname then reads
    /// objects only for --pod, or with -f. For Istio, and with steering.by: endpoint in --config, the filter itself asks the server for
    /// the Services that its pod uses, and byname reads no objects. Example: byname.byname-system:18000
    #[arg(long, value_name = "HOST:PORT", help_heading = "Server")]
    server: Option<ServerAddress>,
    /// Have the filter ask --server for all Services of this namespace at the start, and not at their first requests. Can be repeated.
    #[arg(long, value_name = "NAMESPACE", help_heading = "Server", requires = "server", value_parser = parse_preload)]
    preload: Vec<String>,
    /// Choose what happens to a request whose name --server does not answer in time, where the filter asks. Default: refuse in a
    /// bootstrap that refuses names outside the table (--pass), else pass.
    #[arg(long, value_enum, value_name = "ACTION", help_heading = "Server", requires = "server")]
    on_timeout: Option<OnTimeout>,
    /// Choose what happens to requests until Envoy gets its first table from --server. Default: pass with --pass original-dst, else
    /// refuse.
    #[arg(long, value_enum, value_name = "ACTION", help_heading = "Server", requires = "server")]
    when_no_server: Option<WhenNoServer>,
    /// Have Envoy get the endpoints of this name from --server when it starts, and not at the first request. Can be repeated.
    /// Without -f, the name is that of a plaintext Service. Example: --prefetch payments --prefetch ledger.billing:8080
    #[arg(long, value_name = "NAME", help_heading = "Server", requires = "server")]
    prefetch: Vec<String>,
    /// Connect to --server over TLS, and trust a server certificate of the CAs in this file on Envoy's machine. Needs
    /// --secrets-output.
    #[arg(long, value_name = "PATH", help_heading = "Server", requires_all = ["server", "secrets_output"])]
    server_ca_file: Option<PathBuf>,
    /// Expect this name in the server's certificate. Default: the host of --server.
    #[arg(long, value_name = "NAME", help_heading = "Server", requires = "server_ca_file")]
    server_name: Option<String>,
    /// Show the server this certificate on Envoy's machine, whose only URI is a SPIFFE id. Needs --client-key-file
    /// and --server-ca-file.
    #[arg(long, value_name = "PATH", help_heading = "Server", requires_all = ["server_ca_file", "client_key_file"])]
    client_cert_file: Option<PathBuf>,
    /// Use this private key of --client-cert-file, on Envoy's machine, in the same directory.
    #[arg(long, value_name = "PATH", help_heading = "Server", requires = "client_cert_file")]
    client_key_file: Option<PathBuf>,
    /// Send the server the service account token in this file on Envoy's machine. Needs --server-ca-file.
    #[arg(long, value_name = "PATH", help_heading = "Server", requires = "server_ca_file")]
    token_file: Option<PathBuf>,
    /// Write files to this directory that name those of --server-ca-file, --client-cert-file and --token-file: Envoy reads them again when
    /// they change.
    #[arg(long, value_name = "DIRECTORY", help_heading = "Server", requires = "server_ca_file")]
    secrets_output: Option<PathBuf>,
    /// Set the directory in which Envoy finds the files of --secrets-output. Default: /etc/byname/secrets
    #[arg(long, value_name = "PATH", help_heading = "Server", requires = "server_ca_file")]
    secrets_directory: Option<PathBuf>,
    /// Set the URL of the image with the module, oci://registry/name:tag, or of the module, https://host/byname.wasm.
    #[arg(long, value_name = "URL", help_heading = "Istio", value_parser = parse_image)]
    image: Option<String>,
    /// Have Istio verify this SHA-256, 64 hexadecimal digits. For oci:// it is the digest of the image's manifest, as `make image`
    /// prints it; for https:// it is the checksum of the module.
    #[arg(long, value_name = "SUM", help_heading = "Istio", value_parser = checksum)]
    sha256: Option<String>,
    /// Without --namespace and --pod, put the object into this namespace, the mesh's root namespace. It is then for every
    /// namespace. Default: istio-system
    #[arg(long, value_name = "NAMESPACE", help_heading = "Istio", conflicts_with_all = ["namespace", "pod"], value_parser = parse_namespace)]
    root_namespace: Option<String>,
    /// Write the object for pods with this label. Can be repeated. Default: all pods.
    #[arg(long = "selector", value_name = "KEY=VALUE", help_heading = "Istio", value_parser = label)]
    selector: Vec<(String, String)>,
    /// Write the object for this revision of the control plane. Default: for every one.
    #[arg(long, value_name = "REVISION", help_heading = "Istio")]
    revision: Option<String>,
    /// Write the table as people read it. Default for Istio: packed, because each listener of a sidecar keeps copies of it.
    #[arg(long, help_heading = "Istio")]
    plain: bool,
    /// Write the table packed: deflated, in base64. The filter and every command read it.
    #[arg(long, conflicts_with = "plain")]
    packed: bool,
    /// Put the endpoints into the table. Steering by endpoint needs them. Default: leave them to istiod.
    #[arg(long, help_heading = "Istio")]
    endpoints: bool,
}

/// The rendered output, and the files beside it.
pub(super) struct RenderedTexts {
    pub(super) text: String,
    pub(super) beside: Vec<(PathBuf, String)>,
}

impl Outputs {
    /// Refuses options that have no effect with this format.
    pub(super) fn check(&self, format: CompileFormat) -> anyhow::Result<()> {
        let options: [(&str, bool, &[CompileFormat]); 23] = [
            ("--module", self.module.is_some(), &[EnvoyEcds, EnvoyBootstrap, IstioEnvoyfilter]),
            ("--clusters", self.clusters.is_some(), &[EnvoyEcds, EnvoyBootstrap]),
            ("--clusters-output", self.clusters_output.is_some(), &[EnvoyEcds, EnvoyBootstrap]),
            ("--eds-directory", self.eds_directory.is_some(), &[EnvoyEcds, EnvoyBootstrap]),
            ("--eds-output", self.eds_output.is_some(), &[EnvoyEcds, EnvoyBootstrap]),
            ("--ca-file", self.ca_file.is_some(), &[EnvoyEcds, EnvoyBootstrap, IstioEnvoyfilter]),
            ("--ecds-file", self.ecds_file.is_some(), &[EnvoyBootstrap]),
            ("--cds-file", self.cds_file.is_some(), &[EnvoyBootstrap]),
            ("--listen", self.listen.is_some(), &[EnvoyEcds, EnvoyBootstrap]),
            ("--admin", self.admin.is_some(), &[EnvoyBootstrap]),
            ("--pass", self.pass.is_some(), &[EnvoyEcds, EnvoyBootstrap]),
            ("--upgrade", !self.upgrades.is_empty(), &[EnvoyBootstrap]),
            (
                "--server",
                self.server.is_some(),
                &[EnvoyBootstrap, IstioWasmplugin, IstioTrafficextension, IstioEnvoyfilter],
            ),
            ("--when-no-server", self.when_no_server.is_some(), &[EnvoyBootstrap]),
            ("--prefetch", !self.prefetch.is_empty(), &[EnvoyBootstrap]),
            ("--server-ca-file", self.server_ca_file.is_some(), &[EnvoyBootstrap]),
            ("--image", self.image.is_some(), &[IstioWasmplugin, IstioTrafficextension]),
            ("--sha256", self.sha256.is_some(), &[IstioWasmplugin, IstioTrafficextension]),
            ("--root-namespace", self.root_namespace.is_some(), &ISTIO),
            ("--selector", !self.selector.is_empty(), &ISTIO),
            ("--revision", self.revision.is_some(), &ISTIO),
            ("--plain", self.plain, &ISTIO),
            ("--endpoints", self.endpoints, &ISTIO),
        ];
        for (option, is_said, formats) in options {
            if is_said && !formats.contains(&format) {
                let names: Vec<String> = formats.iter().map(|format| name(*format)).collect();
                bail!("{option} has no effect with --format {}; use it with {}", name(format), alternatives(&names));
            }
        }
        if format == EnvoyEcds
            && self.clusters_output.is_none()
            && (self.ca_file.is_some() || (self.clusters.is_some() && self.eds_output.is_none()))
        {
            bail!(
                "--clusters and --ca-file have no effect without upstream clusters; add --clusters-output FILE to write them"
            );
        }
        if self.server.is_some() {
            let options = [
                ("--clusters", self.clusters.is_some()),
                ("--clusters-output", self.clusters_output.is_some()),
                ("--eds-directory", self.eds_directory.is_some()),
                ("--eds-output", self.eds_output.is_some()),
                ("--ecds-file", self.ecds_file.is_some()),
                ("--cds-file", self.cds_file.is_some()),
                ("--packed", self.packed),
                ("--plain", self.plain),
                ("--endpoints", self.endpoints),
            ];
            if let Some((option, _)) = options.iter().find(|(_, is_said)| *is_said) {
                let has = match ISTIO.contains(&format) {
                    true => "has the table",
                    false => "pushes the filter and the clusters",
                };
                bail!("{option} has no effect with --server, which {has}; remove {option}");
            }
        }
        for file in [&self.ecds_file, &self.cds_file, &self.clusters_output].into_iter().flatten() {
            envoy::check_name(file)?;
        }
        if format == EnvoyBootstrap {
            let (listen, admin) = (self.listen(), self.admin());
            let is_one = listen.ip() == admin.ip() || listen.ip().is_unspecified() || admin.ip().is_unspecified();
            if listen.port() == admin.port() && listen.port() != 0 && is_one {
                bail!(
                    "--listen {listen}: is the address of the admin interface too (--admin {admin}); use another port"
                );
            }
        }
        if let (Some(certificate), Some(key)) = (&self.client_cert_file, &self.client_key_file)
            && certificate.parent() != key.parent()
        {
            bail!(
                "--client-key-file {}: is not in the directory of --client-cert-file, and Envoy watches that one for changes; keep both \
                 in one directory",
                key.display()
            );
        }
        if self.clusters != Some(Discovery::Eds) && (self.eds_output.is_some() || self.eds_directory.is_some()) {
            bail!("--eds-output and --eds-directory have no effect without --clusters eds; add --clusters eds");
        }
        Ok(())
    }

    /// Adapts the compile options to the format.
    pub(super) fn prepare(&self, format: CompileFormat, options: &mut CompileOptions) -> anyhow::Result<()> {
        let pass = match (self.pass, format) {
            (None, EnvoyBootstrap) if options.base.config.steering.pass_cluster.is_none() => Some(Pass::Refuse),
            (None, EnvoyBootstrap) => Some(Pass::OriginalDst),
            (pass, _) => pass,
        };
        if pass == Some(Pass::Refuse) && !options.base.says(["unknownNames"]) {
            // The filter says what it looked for and what there is; the route behind it knows neither.
            options.base.config.unknown_names = UnknownNames::Refuse;
        }
        if pass == Some(Pass::Refuse) && options.base.config.may_observe() {
            output::warn(
                "mode: a request that is observed goes on as it came, and this bootstrap answers 404 to what byname does not steer; pass \
                 --pass original-dst",
            );
        }
        if !options.base.says(["destinationPort"]) {
            options.base.config.destination_port = match (pass, format) {
                // Envoy's attribute costs a request less than a header that the listener would set.
                (Some(Pass::OriginalDst), _) => {
                    Some(DestinationPort { header: None, listener_port: Some(self.listen().port()) })
                }
                // Istio redirects the traffic of its sidecars.
                (_, format) if ISTIO.contains(&format) => Some(DestinationPort::default()),
                _ => None,
            };
        }
        if matches!(format, IstioWasmplugin | IstioTrafficextension) && !options.base.says(["steering", "by"]) {
            options.base.config.steering.by = SteeringMode::Authority;
        }
        // A new pod must not be out of order because of one Service; a bootstrap with a typo must stop Envoy's start.
        let has_table = format == EnvoyEcds || ISTIO.contains(&format) && self.server.is_none();
        if has_table && !options.base.says(["firstConfiguration"]) {
            options.base.config.first_configuration = FirstConfiguration::LeaveOut;
        }
        if let Some(server) = &self.server {
            if self.is_asked_by_filter(format, &options.base) {
                let default = if pass == Some(Pass::Refuse) { OnTimeout::Refuse } else { OnTimeout::Pass };
                return self.prepare_filter((server, default), format, options);
            }
            self.check_asked_by_envoy(&options.base)?;
            options.names_only = true;
        }
        options.packed = self.packed || (ISTIO.contains(&format) && !self.plain);
        if ISTIO.contains(&format) {
            options.names_only = !self.endpoints;
            if options.names_only && Steered::of(&options.base.config).endpoint {
                bail!(
                    "steering by endpoint needs the endpoints in the table; add --endpoints, or steer by authority or by cluster"
                );
            }
        }
        Ok(())
    }

    /// Whether the filter asks --server for Services, by a stream of its own. Otherwise Envoy does, if there is a server.
    pub(super) fn is_asked_by_filter(&self, format: CompileFormat, base: &Base) -> bool {
        let is_by_endpoint = base.config.steering.by == SteeringMode::Endpoint;
        self.server.is_some() && (ISTIO.contains(&format) || format == EnvoyBootstrap && is_by_endpoint)
    }

    /// Adapts the compile options to a filter that asks the server.
    fn prepare_filter(
        &self,
        (server, on_timeout): (&ServerAddress, OnTimeout),
        format: CompileFormat,
        options: &mut CompileOptions,
    ) -> anyhow::Result<()> {
        let base = &mut options.base;
        if base.says(["server"]) {
            return Err(base.problem(["server"], "--server says it too", "remove one of the two").into());
        }
        let of_envoy = [("--when-no-server", self.when_no_server.is_some()), ("--prefetch", !self.prefetch.is_empty())];
        if let Some((option, _)) = of_envoy.iter().find(|(_, is_said)| *is_said) {
            bail!(
                "{option} has no effect where the filter asks the server, as with steering.by: endpoint; use --on-timeout and --preload"
            );
        }
        let cluster = match ISTIO.contains(&format) {
            true => server.istio_cluster(&compile::zone(&base.config.dns))?,
            false => SERVER_CLUSTER.to_owned(),
        };
        let on_timeout = match self.on_timeout.unwrap_or(on_timeout) {
            OnTimeout::Pass => wire::OnTimeout::Pass,
            OnTimeout::Refuse => wire::OnTimeout::Refuse,
        };
        base.config.server = Some(wire::Server { cluster, preload: self.preload.clone(), on_timeout });
        // The server has the Services that these entries are for.
        base.config.table.services.clear();
        Ok(())
    }

    /// Checks that a server can steer as `base` says where Envoy asks it.
    fn check_asked_by_envoy(&self, base: &Base) -> anyhow::Result<()> {
        if base.config.steering.by != SteeringMode::Cluster {
            let fix = "steer by cluster or by endpoint, or do not use --server";
            return Err(base.problem(["steering", "by"], "a server's names are not steered by authority", fix).into());
        }
        let of_filter = [("--preload", !self.preload.is_empty()), ("--on-timeout", self.on_timeout.is_some())];
        if let Some((option, _)) = of_filter.iter().find(|(_, is_said)| *is_said) {
            bail!(
                "{option} has no effect where Envoy asks the server; use --prefetch and --when-no-server, or steer by endpoint"
            );
        }
        Ok(())
    }

    /// Whether the output has the table: a bootstrap whose filter is discovered has none.
    pub(super) fn hold_table(&self, format: CompileFormat) -> bool {
        format != EnvoyBootstrap || (self.ecds_file.is_none() && self.server.is_none())
    }

    /// Whether Envoy gets the table from a server.
    pub(super) fn has_server(&self) -> bool {
        self.server.is_some()
    }

    fn placement(&self) -> Placement {
        Placement {
            root_namespace: self.root_namespace.clone().unwrap_or_else(|| "istio-system".to_owned()),
            selector: self.selector.iter().cloned().collect(),
            revision: self.revision.clone(),
        }
    }

    fn admin(&self) -> SocketAddr {
        self.admin.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 9901)))
    }

    fn listen(&self) -> SocketAddr {
        self.listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 15001)))
    }

    /// Renders the output in this format, from `cluster` and for `pod` if that is known.
    pub(super) fn make(
        &self,
        format: CompileFormat,
        compiled: &Compiled,
        base: &Base,
        (cluster, pod): (&ClusterState, Option<&NamespacedName>),
    ) -> anyhow::Result<RenderedTexts> {
        let alone = |text| Ok(RenderedTexts { text, beside: Vec::new() });
        let is_asked_by_filter = self.is_asked_by_filter(format, base);
        let clusters = || match self.server {
            Some(_) if is_asked_by_filter => compile::clusters_on_demand(&compiled.wire, base, &compile::ALL_SCHEMES),
            Some(_) => self.prefetched(compiled, base),
            None => {
                let mut clusters = compile::clusters(&compiled.wire, &compiled.config, base, &compile::ALL_SCHEMES)?;
                clusters.locate(cluster);
                Ok(clusters)
            }
        };
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
                    listen: self.listen(),
                    admin: self.admin(),
                    pass: self.pass,
                    upgrades: self.upgrades.clone(),
                    id: pod.map(|pod| format!("{}.{}", pod.name, pod.namespace)),
                    ecds_file: self.ecds_file.clone(),
                    cds_file: self.cds_file.clone(),
                    server: self.server(is_asked_by_filter)?,
                    style: style.clone(),
                };
                let text = envoy::bootstrap(compiled, &clusters, &wanted)?;
                let mut beside = self.beside(&clusters, &style)?;
                let credentials = wanted.server.as_ref().and_then(|server| server.credentials.as_ref());
                if let (Some(directory), Some(credentials)) = (&self.secrets_output, credentials) {
                    beside.extend(credentials.secrets().into_iter().map(|(name, text)| (directory.join(name), text)));
                }
                Ok(RenderedTexts { text, beside })
            }
            IstioWasmplugin | IstioTrafficextension => {
                let Some(url) = self.image.clone() else {
                    bail!(
                        "--image is missing: the object names the image with the module; add --image oci://registry/name:tag"
                    );
                };
                let image = Image { url, sha256: self.sha256.clone() };
                let object = match format {
                    IstioTrafficextension => istio::traffic_extension(compiled, &image, &self.placement())?,
                    _ => istio::wasm_plugin(compiled, &image, &self.placement())?,
                };
                say_size(&object);
                let steered = Steered::of(&compiled.wire);
                if steered.cluster || steered.endpoint {
                    output::note(
                        "steering by cluster or by endpoint also needs the output of --format istio-envoyfilter",
                    );
                }
                alone(object.text)
            }
            IstioEnvoyfilter => {
                // Without CONNECT: no route of Istio's sidecars matches it, so Envoy answers it with 404.
                let schemes = &compile::ISTIO_SCHEMES;
                let clusters = match is_asked_by_filter {
                    true => compile::clusters_on_demand(&compiled.wire, base, schemes)?,
                    false => compile::clusters(&compiled.wire, &compiled.config, base, schemes)?,
                };
                let object =
                    istio::envoy_filter(compiled, &clusters, &style, self.module.as_deref(), &self.placement())?;
                say_size(&object);
                alone(object.text)
            }
        }
    }

    fn server(&self, is_asked_by_filter: bool) -> Result<Option<Server>, InputError> {
        let Some(address) = self.server.clone() else { return Ok(None) };
        let schema = envoy::schema_of(self.module())?;
        let credentials = self.credentials(&address);
        let when_absent = self.when_no_server;
        Ok(Some(Server { address, when_absent, schema, credentials, is_asked_by_filter }))
    }

    fn credentials(&self, server: &ServerAddress) -> Option<Credentials> {
        let certificate = self.client_cert_file.clone().zip(self.client_key_file.clone());
        Some(Credentials {
            server_ca_file: self.server_ca_file.clone()?,
            secrets_directory: self.secrets_directory.clone().unwrap_or_else(|| "/etc/byname/secrets".into()),
            server_name: self.server_name.clone().unwrap_or_else(|| server.host()),
            certificate: certificate.map(|(certificate, private_key)| ClientCertificate { certificate, private_key }),
            token_file: self.token_file.clone(),
        })
    }

    /// The clusters that are in a bootstrap although a server pushes clusters.
    fn prefetched(&self, compiled: &Compiled, base: &Base) -> Result<UpstreamClusters, InputErrors> {
        let knows_services = !compiled.wire.table.services.is_empty();
        compile::prefetched(&self.prefetch, &compiled.wire, &compiled.config, base, knows_services)
    }

    /// Warns of too many endpoint files: Envoy takes an inotify instance for each.
    fn say_watched(&self, clusters: &UpstreamClusters) {
        /// Linux's default of `fs.inotify.max_user_instances` is 128, and the user's other processes need some.
        const MOST: usize = 100;
        let count =
            clusters.by_name.values().filter(|one| matches!(one, compile::UpstreamCluster::Endpoints(_))).count();
        if self.clusters == Some(Discovery::Eds) && count > MOST {
            output::warn(&format!(
                "{count} clusters have endpoint files. Envoy needs an inotify instance for each, and exits if it gets none; \
                 raise fs.inotify.max_user_instances, or use --clusters static with --cds-file"
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
            discovery: match self.server {
                Some(_) => Discovery::Ads,
                None => self.clusters.unwrap_or_default(),
            },
            eds_directory: or(&self.eds_directory, "/etc/byname/endpoints"),
            ca_file: or(&self.ca_file, envoy::DEFAULT_CA_FILE),
        }
    }
}

/// `a, b or c`.
fn alternatives(names: &[String]) -> String {
    match names {
        [others @ .., last] if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        names => names.concat(),
    }
}

fn name(format: CompileFormat) -> String {
    format.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

fn say_size(object: &IstioObject) {
    let permille = object.bytes * 1000 / MAX_OBJECT_BYTES;
    let (percent, tenth) = (permille / 10, permille % 10);
    output::note(&format!("{} bytes: {percent}.{tenth} % of an object's size limit", object.bytes));
}

/// What happens to a request whose name the server has not answered in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum OnTimeout {
    /// Pass it on, as without byname.
    Pass,
    /// Answer 503.
    Refuse,
}

/// Parses a namespace whose Services are asked for at the start, and returns it as the configuration names it.
fn parse_preload(text: &str) -> Result<String, String> {
    let namespace = text.strip_suffix("/*").unwrap_or(text);
    if !is_label(namespace) {
        return Err("use the name of a namespace".to_owned());
    }
    Ok(format!("{namespace}/*"))
}

/// Parses a label that a pod can have.
fn label(text: &str) -> Result<(String, String), String> {
    let Some((key, value)) = text.split_once('=') else { return Err("use the form key=value".to_owned()) };
    if !is_qualified_name(key) {
        return Err(format!("no label has the key {key:?}; use the key of a label of the pods, such as app"));
    }
    if !is_label_value(value) {
        let form = "at most 63 letters, digits, \"-\", \"_\" and \".\", with a letter or a digit at both ends";
        return Err(format!("no label has the value {value:?}; use {form}"));
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// Parses the URL of an image or a module. Istio reads one without a scheme as `oci://`.
fn parse_image(text: &str) -> Result<String, String> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("oci", text));
    let is_clean = text.chars().all(|c| c.is_ascii_graphic());
    match ["oci", "https", "http", "file"].contains(&scheme) && !rest.is_empty() && is_clean {
        true => Ok(text.to_owned()),
        false => Err("use oci://registry/name:tag or https://host/byname.wasm".to_owned()),
    }
}

/// Parses a checksum in Istio's form. Registries and `docker` put the algorithm's name before it.
fn checksum(text: &str) -> Result<String, String> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    let is_digit = |c: char| matches!(c, '0'..='9' | 'a'..='f');
    if digits.len() != 64 || !digits.chars().all(is_digit) {
        return Err("use 64 hexadecimal digits, 0-9 and a-f".to_owned());
    }
    Ok(digits.to_owned())
}
