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
    serve::{self, DefaultExport, DirectDoor, Doors, Job, MeshDoor, TlsFiles},
};

/// Serve all sidecars from one place: push the filter's names, and clusters and endpoints on demand, by delta xDS.
///
/// Reads the cluster through the Kubernetes API, with a kubeconfig or a pod's service account, or from files with --from-dir.
/// An Envoy asks for a cluster when a request first goes to it, and gets the endpoints that may serve its zone and node. Changes of
/// endpoints never enter the filter. Services that the filter would refuse are left out, with one warning for each. If the API or
/// the files cannot be read later, the last known good state is served.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  byname serve --insecure --from-dir cluster/
  byname serve --listen :18000 --identity certificate --tls-cert-file tls.crt --tls-private-key-file tls.key --client-ca-file ca.crt
  byname serve --listen :18000 --identity token --tls-cert-file tls.crt --tls-private-key-file tls.key --monitor :9902
  byname serve --identity xfcc --xfcc-listen :18001")]
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
    /// Show Services to every namespace (*) or only to their own (.), if neither the Service nor its Namespace has the annotation
    /// byname/export-to.
    #[arg(long, value_name = "WORD", default_value = "*", value_parser = parse_default_export)]
    default_export: DefaultExport,
    /// Path of the Wasm module on the file system of each Envoy.
    #[arg(long, value_name = "FILE", default_value = envoy::DEFAULT_MODULE)]
    module: PathBuf,
    /// Name of the filter in Envoy's bootstrap.
    #[arg(long, value_name = "NAME", default_value = envoy::FILTER_NAME)]
    filter_name: String,
    /// Path of the CA certificates that each Envoy trusts, on its file system.
    #[arg(long, value_name = "FILE", default_value = envoy::DEFAULT_CA_FILE)]
    ca_file: PathBuf,
    /// Serve sidecars on this address:port. With --insecure it must be a loopback address.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:18000", value_parser = parse_address)]
    listen: SocketAddr,
    /// Identify clients by this proof: certificate, token or xfcc. Can be repeated.
    #[arg(long = "identity", value_name = "PROOF", value_enum)]
    identities: Vec<IdentityProof>,
    /// Serve with this certificate, in PEM, with the chain to its CA. The files of certificates are read again when they change.
    #[arg(long, value_name = "FILE", requires = "tls_private_key_file")]
    tls_cert_file: Option<PathBuf>,
    /// Private key of --tls-cert-file, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert_file")]
    tls_private_key_file: Option<PathBuf>,
    /// Trust client certificates of these CAs, in PEM: for --identity certificate.
    #[arg(long, value_name = "FILE")]
    client_ca_file: Option<PathBuf>,
    /// Trust domain of SPIFFE ids: for --identity certificate and xfcc.
    #[arg(long, value_name = "DOMAIN", default_value = "cluster.local")]
    trust_domain: String,
    /// Audience that service account tokens must be for: for --identity token.
    #[arg(long, value_name = "AUDIENCE", default_value = "byname")]
    token_audience: String,
    /// Serve sidecars of a mesh on this address:port: for --identity xfcc. Accepts connections from 127.0.0.6 and ::6 only, the addresses
    /// from which the sidecar of this pod connects.
    #[arg(long, value_name = "ADDRESS", default_value = ":18001", value_parser = parse_address)]
    xfcc_listen: SocketAddr,
    /// Serve in plaintext to every process of this machine, without verifying who it is: for one machine.
    #[arg(long, conflicts_with = "identities")]
    insecure: bool,
    /// Serve /metrics, /healthz and /readyz on this address:port; `:9902` listens on all addresses, as kubelet probes need.
    /// /debug/streams, /debug/resources?node=ID and POST /debug/brake/release work from loopback only. Default: no server.
    #[arg(long, value_name = "ADDRESS", value_parser = parse_address)]
    monitor: Option<SocketAddr>,
}

impl Serve {
    pub(super) fn run(self) -> anyhow::Result<u8> {
        let doors = self.doors()?;
        let options = CompileOptions {
            base: self.config.as_deref().map(Base::read).transpose()?.unwrap_or_default(),
            visible: self.visible.into_iter().collect(),
            ..CompileOptions::default()
        };
        let brake = self.source.brake();
        serve::run(Job {
            source: self.source.options(&options, None, true),
            options,
            filter: EcdsFilter { name: self.filter_name, module: self.module },
            ca_file: self.ca_file,
            default_export: self.default_export,
            doors,
            monitor: self.monitor,
            brake,
        })?;
        Ok(FINE)
    }

    fn doors(&self) -> anyhow::Result<Doors> {
        if self.insecure {
            return Ok(Doors::Insecure { listen: self.listen });
        }
        let has = |proof| self.identities.contains(&proof);
        let (certificates, tokens, xfcc) =
            (has(IdentityProof::Certificate), has(IdentityProof::Token), has(IdentityProof::Xfcc));
        let unused = [
            ("--client-ca-file", self.client_ca_file.is_some() && !certificates, "--identity certificate"),
            (
                "--tls-cert-file",
                self.tls_cert_file.is_some() && !certificates && !tokens,
                "--identity certificate or token",
            ),
        ];
        if let Some((option, _, wanted)) = unused.into_iter().find(|(_, is_unused, _)| *is_unused) {
            bail!("{option}: has no effect without {wanted}; add it, or remove {option}");
        }
        if self.identities.is_empty() {
            bail!(
                "byname serve must know how to tell clients apart: pass --identity certificate, token or xfcc (docs/serve.md), or --insecure \
                 to serve every process of this machine and nobody else"
            );
        }
        let trust_domain = || -> anyhow::Result<String> {
            if self.trust_domain.is_empty() || self.trust_domain.contains('/') {
                bail!("--trust-domain {:?}: use only the name, such as cluster.local", self.trust_domain);
            }
            Ok(self.trust_domain.clone())
        };
        let direct = match (certificates || tokens, &self.tls_cert_file, &self.tls_private_key_file) {
            (false, ..) => None,
            (true, Some(certificate), Some(private_key)) => {
                if certificates && self.client_ca_file.is_none() {
                    bail!("--identity certificate: needs the CAs of client certificates; add --client-ca-file");
                }
                let tls = TlsFiles {
                    certificate: certificate.clone(),
                    private_key: private_key.clone(),
                    client_ca: self.client_ca_file.clone(),
                };
                Some(DirectDoor {
                    listen: self.listen,
                    tls,
                    trust_domain: certificates.then(trust_domain).transpose()?,
                    token_audience: tokens.then(|| self.token_audience.clone()),
                })
            }
            _ => bail!("--identity certificate and token: need TLS; add --tls-cert-file and --tls-private-key-file"),
        };
        let mesh =
            xfcc.then(|| Ok::<_, anyhow::Error>(MeshDoor { listen: self.xfcc_listen, trust_domain: trust_domain()? }));
        Ok(Doors::Secure { direct, mesh: mesh.transpose()? })
    }
}

fn parse_default_export(text: &str) -> Result<DefaultExport, String> {
    match text {
        "*" => Ok(DefaultExport::Everyone),
        "." => Ok(DefaultExport::OwnNamespace),
        _ => Err("use \"*\" or \".\"".to_owned()),
    }
}

/// How a client proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum IdentityProof {
    /// A client certificate of --client-ca-file whose only URI is spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/SERVICE_ACCOUNT.
    Certificate,
    /// A service account token in the header authorization, which the Kubernetes API verifies.
    Token,
    /// The header x-forwarded-client-cert of the sidecar beside this server, which a mesh such as Istio has put there.
    Xfcc,
}
