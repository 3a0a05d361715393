//! `byname serve`.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::bail;
use clap::Args;

use super::{
    source::{SourceArgs, parse_address},
    status::FINE,
};
use crate::{
    compile::{Base, CompileOptions},
    envoy::{self, EcdsFilter},
    serve::{self, Job},
};

/// Serve all sidecars from one place: push the filter's names, and clusters and endpoints on demand, by delta xDS.
///
/// Reads the cluster through the Kubernetes API, with a kubeconfig or a pod's service account, or from files with --from-dir.
/// An Envoy asks for a cluster when a name of it is first used, and gets the endpoints that may serve its zone and node. Changes of
/// endpoints never enter the filter. Services that the filter would refuse are left out, with one warning for each. If the API or
/// the files cannot be read later, the last known good state is served.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  byname serve --insecure --from-dir cluster/
  byname serve --insecure --listen 127.0.0.1:18000 --monitor :9902 --module /etc/byname/byname.wasm")]
pub(super) struct Serve {
    #[command(flatten)]
    source: SourceArgs,
    /// Merge in this hand-written configuration, in YAML or JSON: steering, externalNames and other top-level fields, and alias
    /// and subsets of single Services under table.services.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Serve only Services of this namespace. Can be repeated. Default: all namespaces.
    #[arg(long = "visible", value_name = "NAMESPACE")]
    visible: Vec<String>,
    /// Path of the Wasm module on the file system of each Envoy.
    #[arg(long, value_name = "FILE", default_value = envoy::DEFAULT_MODULE)]
    module: PathBuf,
    /// Name of the filter in Envoy's bootstrap.
    #[arg(long, value_name = "NAME", default_value = envoy::FILTER_NAME)]
    filter_name: String,
    /// Path of the CA certificates that each Envoy trusts, on its file system.
    #[arg(long, value_name = "FILE", default_value = envoy::DEFAULT_CA_FILE)]
    ca_file: PathBuf,
    /// Serve sidecars on this address:port, which must be of loopback.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:18000", value_parser = parse_address)]
    listen: SocketAddr,
    /// Serve without TLS, to every process of this machine. Required: byname cannot verify identities yet.
    #[arg(long)]
    insecure: bool,
    /// Serve /metrics, /healthz and /readyz on this address:port; `:9902` listens on all addresses, as kubelet probes need.
    /// /debug/streams, /debug/resources?node=ID and POST /debug/brake/release work from loopback only. Default: no server.
    #[arg(long, value_name = "ADDRESS", value_parser = parse_address)]
    monitor: Option<SocketAddr>,
}

impl Serve {
    pub(super) fn run(self) -> anyhow::Result<u8> {
        if !self.insecure {
            bail!(
                "byname serve cannot verify the identities of sidecars yet; pass --insecure to serve every process of this machine, \
                 or run byname watch beside each sidecar"
            );
        }
        let options = CompileOptions {
            base: self.config.as_deref().map(Base::read).transpose()?.unwrap_or_default(),
            visible: self.visible.into_iter().collect(),
            ..CompileOptions::default()
        };
        let brake = self.source.brake();
        serve::run(Job {
            source: self.source.options(&options, None),
            options,
            filter: EcdsFilter { name: self.filter_name, module: self.module },
            ca_file: self.ca_file,
            listen: self.listen,
            monitor: self.monitor,
            brake,
        })?;
        Ok(FINE)
    }
}
