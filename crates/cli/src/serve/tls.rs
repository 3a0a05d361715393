//! TLS of the listener: certificates from files, which are read again when they change.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use sha2::{Digest, Sha256};
use tokio::{sync::watch, time::sleep};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        server::{NoServerSessionStorage, WebPkiClientVerifier},
    },
};

use crate::daemon::log;

/// Time between two looks at the files. Kubernetes changes mounted Secrets through a symbolic link, which their content shows.
const LOOK: Duration = Duration::from_secs(1);

/// The files of the server's own certificate, and of those that it trusts.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The server's certificate, and the chain to its CA.
    pub certificate: PathBuf,
    /// The key of the certificate.
    pub private_key: PathBuf,
    /// The CAs of clients. `None` to ask for no certificate.
    pub client_ca: Option<PathBuf>,
}

/// The newest usable content of the files.
pub(super) struct Tls {
    files: TlsFiles,
    current: RwLock<(TlsAcceptor, [u8; 32])>,
    replaced: watch::Sender<()>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// If one of them cannot be read or used.
    pub(super) fn read(files: TlsFiles) -> anyhow::Result<Self> {
        let contents = Contents::read(&files)?;
        let current = RwLock::new((contents.acceptor(&files)?, contents.hash()));
        Ok(Self { files, current, replaced: watch::Sender::new(()) })
    }

    /// What new connections are accepted with, and what tells when that is replaced.
    pub(super) fn acceptor(&self) -> (TlsAcceptor, watch::Receiver<()>) {
        let replaced = self.replaced.subscribe();
        (self.current.read().unwrap_or_else(PoisonError::into_inner).0.clone(), replaced)
    }

    /// Looks at the files now and then. Files that cannot be used leave what was read before.
    pub(super) async fn watch_files(&self) {
        let mut trouble = None;
        loop {
            sleep(LOOK).await;
            match self.refresh() {
                Ok(is_new) => {
                    trouble = None;
                    if is_new {
                        log::note("the certificate files changed: new connections use the new ones");
                    }
                }
                Err(error) => {
                    let text = format!("{error:#}");
                    if trouble.as_ref() != Some(&text) {
                        log::warn(&format!("{text}; the server goes on with the certificates that it read before"));
                        trouble = Some(text);
                    }
                }
            }
        }
    }

    /// Reads the files. Returns whether they are new.
    fn refresh(&self) -> anyhow::Result<bool> {
        let contents = Contents::read(&self.files)?;
        let hash = contents.hash();
        if hash == self.current.read().unwrap_or_else(PoisonError::into_inner).1 {
            return Ok(false);
        }
        let acceptor = contents.acceptor(&self.files)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = (acceptor, hash);
        self.replaced.send_replace(());
        Ok(true)
    }
}

/// The content of the files.
struct Contents {
    certificate: Vec<u8>,
    private_key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Contents {
    fn read(files: &TlsFiles) -> anyhow::Result<Self> {
        let read = |file: &Path| fs::read(file).with_context(|| format!("{}: cannot be read", file.display()));
        Ok(Self {
            certificate: read(&files.certificate)?,
            private_key: read(&files.private_key)?,
            client_ca: files.client_ca.as_deref().map(read).transpose()?,
        })
    }

    fn hash(&self) -> [u8; 32] {
        let parts = [&self.certificate, &self.private_key].into_iter().chain(&self.client_ca);
        parts.fold(Sha256::new(), |hasher, part| hasher.chain_update(Sha256::digest(part))).finalize().into()
    }

    fn acceptor(&self, files: &TlsFiles) -> anyhow::Result<TlsAcceptor> {
        let (file, key_file) = (files.certificate.display(), files.private_key.display());
        let chain =
            certificates(&self.certificate).with_context(|| format!("{file}: is not a PEM file of certificates"))?;
        let key = PrivateKeyDer::from_pem_slice(&self.private_key)
            .map_err(anyhow::Error::new)
            .with_context(|| format!("{key_file}: is not a PEM file with a private key"))?;
        let provider = Arc::new(ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
        let builder = match (&self.client_ca, &files.client_ca) {
            (Some(content), Some(file)) => {
                let file = file.display();
                let mut roots = RootCertStore::empty();
                for certificate in certificates(content).with_context(|| format!("{file}: is not a PEM file of CAs"))? {
                    roots
                        .add(certificate)
                        .with_context(|| format!("{file}: has a certificate that is not a CA certificate"))?;
                }
                // A client without a certificate is told so over gRPC, in words. It may have a token.
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).allow_unauthenticated();
                builder.with_client_cert_verifier(verifier.build().with_context(|| format!("{file}: cannot be used"))?)
            }
            _ => builder.with_no_client_auth(),
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .with_context(|| format!("{key_file}: does not match the certificate of {file}"))?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        // A resumed session would keep an identity whose CA is trusted no longer.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

fn certificates(pem: &[u8]) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>()?;
    if certificates.is_empty() {
        bail!("it has no certificate");
    }
    ensure!(certificates.len() <= 1_000, "it has more than 1,000 certificates");
    Ok(certificates)
}
