//! `byname serve`.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
};

use anyhow::bail;
use clap::{Args, builder::NonEmptyStringValueParser};

use super::{
    namespace_args::parse_namespace,
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
  byname serve --listen :18000 --identity certificate --tls-cert-file tls.crt \\
      --tls-private-key-file tls.key --client-ca-file ca.crt
  byname serve --listen :18000 --identity token --tls-cert-file tls.crt \\
      --tls-private-key-file tls.key --monitor :9902
  byname serve --identity xfcc --xfcc-listen :18001

Exit status: 0 if a signal ends it; 2 if an argument, the kubeconfig or the address is invalid.")]
pub(super) struct Serve {
    #[command(flatten)]
    source: SourceArgs,
    /// Merge in this hand-written configuration, in YAML or JSON: steering, externalNames and other top-level fields, and alias
    /// and subsets of single Services under table.services.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Serve only Services of this namespace. Can be repeated. Default: all namespaces.
    #[arg(long = "visible", value_name = "NAMESPACE", value_parser = parse_namespace)]
    visible: Vec<String>,
    /// Show Services to every namespace (*) or only to their own (.), if neither the Service nor its Namespace has the annotation
    /// byname/export-to.
    #[arg(long, value_name = "WORD", default_value = "*", value_parser = parse_default_export)]
    default_export: DefaultExport,
    /// Load the filter from this file on the machine of each Envoy.
    #[arg(long, value_name = "FILE", default_value = envoy::DEFAULT_MODULE)]
    module: PathBuf,
    /// Use this name of the filter, as in Envoy's bootstrap.
    #[arg(long, value_name = "NAME", default_value = envoy::FILTER_NAME)]
    filter_name: String,
    /// Have each Envoy trust the CA certificates in this file on its machine.
    #[arg(long, value_name = "FILE", default_value = envoy::DEFAULT_CA_FILE)]
    ca_file: PathBuf,
    /// Serve sidecars on this address:port. With --insecure it must be a loopback address. Default: 127.0.0.1:18000
    #[arg(long, value_name = "ADDRESS", value_parser = parse_address)]
    listen: Option<SocketAddr>,
    /// Identify clients by this proof: certificate, token or xfcc. Can be repeated.
    #[arg(long = "identity", value_name = "PROOF", value_enum)]
    identities: Vec<IdentityProof>,
    /// Serve with this certificate, in PEM, with the chain to its CA. The files of certificates are read again when they change.
    #[arg(long, value_name = "FILE", requires = "tls_private_key_file")]
    tls_cert_file: Option<PathBuf>,
    /// Use this private key of --tls-cert-file, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert_file")]
    tls_private_key_file: Option<PathBuf>,
    /// Trust client certificates of these CAs, in PEM: for --identity certificate.
    #[arg(long, value_name = "FILE")]
    client_ca_file: Option<PathBuf>,
    /// Accept SPIFFE ids of this trust domain: for --identity certificate and xfcc. Default: cluster.local
    #[arg(long, value_name = "DOMAIN", value_parser = parse_trust_domain)]
    trust_domain: Option<String>,
    /// Accept service account tokens for this audience: for --identity token. Default: byname
    #[arg(long, value_name = "AUDIENCE", value_parser = NonEmptyStringValueParser::new())]
    token_audience: Option<String>,
    /// Serve sidecars of a mesh on this address:port: for --identity xfcc. Accepts connections from 127.0.0.6 and ::6 only, the addresses
    /// from which the sidecar of this pod connects. Default: :18001
    #[arg(long, value_name = "ADDRESS", value_parser = parse_address)]
    xfcc_listen: Option<SocketAddr>,
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
        let has = |proof| self.identities.contains(&proof);
        let (certificates, tokens, xfcc) =
            (has(IdentityProof::Certificate), has(IdentityProof::Token), has(IdentityProof::Xfcc));
        self.check_used(certificates, tokens, xfcc)?;
        let listen = self.listen.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 18000)));
        if self.insecure {
            return Ok(Doors::Insecure { listen });
        }
        if self.identities.is_empty() {
            bail!(
                "--identity is missing: pass --identity certificate, token or xfcc (docs/serve.md), or --insecure to serve every process of \
                 this machine and nobody else"
            );
        }
        let trust_domain = || self.trust_domain.clone().unwrap_or_else(|| "cluster.local".to_owned());
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
                let audience = || self.token_audience.clone().unwrap_or_else(|| "byname".to_owned());
                Some(DirectDoor {
                    listen,
                    tls,
                    trust_domain: certificates.then(trust_domain),
                    token_audience: tokens.then(audience),
                })
            }
            _ => {
                let proof = if certificates { "certificate" } else { "token" };
                bail!("--identity {proof}: needs TLS; add --tls-cert-file and --tls-private-key-file");
            }
        };
        let listen = self.xfcc_listen.unwrap_or(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 18001)));
        let mesh = xfcc.then(|| MeshDoor { listen, trust_domain: trust_domain() });
        Ok(Doors::Secure { direct, mesh })
    }

    /// Refuses options that have no effect.
    fn check_used(&self, certificates: bool, tokens: bool, xfcc: bool) -> anyhow::Result<()> {
        let is_direct = certificates || tokens;
        let options = [
            ("--tls-cert-file", self.tls_cert_file.is_some(), is_direct, "certificate or token"),
            ("--client-ca-file", self.client_ca_file.is_some(), certificates, "certificate"),
            ("--trust-domain", self.trust_domain.is_some(), certificates || xfcc, "certificate or xfcc"),
            ("--token-audience", self.token_audience.is_some(), tokens, "token"),
            ("--xfcc-listen", self.xfcc_listen.is_some(), xfcc, "xfcc"),
        ];
        let unused = options.into_iter().find(|(_, is_given, is_used, _)| *is_given && !is_used);
        match (unused, self.insecure) {
            (Some((option, _, _, proofs)), true) => {
                bail!("{option}: has no effect with --insecure; remove it, or pass --identity {proofs}")
            }
            (Some((option, _, _, proofs)), false) => {
                bail!("{option}: has no effect without --identity {proofs}; add it, or remove {option}")
            }
            (None, _) => {}
        }
        if self.listen.is_some() && xfcc && !is_direct {
            bail!("--listen: has no effect with --identity xfcc alone; use --xfcc-listen");
        }
        Ok(())
    }
}

fn parse_trust_domain(text: &str) -> Result<String, String> {
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    match !text.is_empty() && text.chars().all(is_allowed) {
        true => Ok(text.to_owned()),
        false => Err("use only the name, of a-z, 0-9, \".\", \"-\" and \"_\", such as cluster.local".to_owned()),
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
