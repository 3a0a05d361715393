//! Certificates of a CA of its own, and clients that show them.

use std::{sync::Arc, time::SystemTime};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    },
};

/// A certificate authority.
pub struct TestCa(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
#[derive(Clone, Debug)]
pub struct TestCertificate {
    /// The certificate.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

/// What a client trusts and shows.
#[derive(Clone)]
pub struct ClientTls(Arc<ClientConfig>);

impl TestCa {
    /// Makes a new authority.
    ///
    /// # Panics
    /// If that fails.
    #[must_use]
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "test CA");
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate"))
    }

    /// The authority's certificate in PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Issues a certificate for these DNS names and these URIs.
    ///
    /// # Panics
    /// If a name is none.
    #[must_use]
    pub fn issue(&self, dns_names: &[&str], uris: &[&str]) -> TestCertificate {
        self.sign(Self::params(dns_names, uris))
    }

    /// Issues a certificate for these URIs that expires then.
    ///
    /// # Panics
    /// If a URI is none.
    #[must_use]
    pub fn issue_until(&self, end: SystemTime, uris: &[&str]) -> TestCertificate {
        let mut params = Self::params(&[], uris);
        params.not_after = end.into();
        self.sign(params)
    }

    fn params(dns_names: &[&str], uris: &[&str]) -> CertificateParams {
        let dns_names: Vec<String> = dns_names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(dns_names).expect("DNS names");
        let uris = uris.iter().map(|uri| SanType::URI((*uri).try_into().expect("ASCII")));
        params.subject_alt_names.extend(uris);
        params
    }

    fn sign(&self, params: CertificateParams) -> TestCertificate {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        TestCertificate { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// A client that trusts this authority and shows `shown`, if anything.
    ///
    /// # Panics
    /// If the certificate is none.
    #[must_use]
    pub fn client(&self, shown: Option<&TestCertificate>) -> ClientTls {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("a certificate");
        let builder = ClientConfig::builder().with_root_certificates(roots);
        let mut config = match shown {
            Some(TestCertificate { certificate, key }) => {
                let chain = CertificateDer::pem_slice_iter(certificate.as_bytes());
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
                builder.with_client_auth_cert(chain.collect::<Result<_, _>>().expect("PEM"), key).expect("they fit")
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        ClientTls(Arc::new(config))
    }
}

impl Default for TestCa {
    fn default() -> Self {
        Self::new()
    }
}

impl ClientTls {
    /// Begins TLS on a connection to `localhost`.
    ///
    /// # Errors
    /// If a side does not trust the other.
    ///
    /// # Panics
    /// Never.
    pub async fn connect(&self, connection: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(Arc::clone(&self.0)).connect(name, connection).await
    }
}
