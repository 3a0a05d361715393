//! Clients of a proxy that ask for a tunnel with CONNECT, and speak through it.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use http_body_util::{BodyExt, Empty};
use hyper::{
    Method, Request, Response, Uri, Version,
    body::{Bytes, Incoming},
    client::conn::{http1, http2},
    header::{HOST, HeaderName, HeaderValue},
    upgrade::Upgraded,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

use crate::client::{Connection, Reply};

/// The protocol in which a client asks for a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelForm {
    /// HTTP/1.0, as old clients do.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
}

/// All forms.
pub const TUNNEL_FORMS: [TunnelForm; 3] = [TunnelForm::Http10, TunnelForm::Http11, TunnelForm::Http2];

/// What a proxy answers to CONNECT.
pub enum TunnelAnswer {
    /// The tunnel is open.
    Open(Tunnel),
    /// The proxy refused.
    Refused(Reply),
}

impl TunnelAnswer {
    /// Asks the proxy on a port of loopback for a tunnel to `authority`, with additional headers.
    ///
    /// # Errors
    /// If the proxy closes the connection without an answer.
    pub async fn ask(port: u16, form: TunnelForm, authority: &str, headers: &[(&str, &str)]) -> Result<Self> {
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.method_mut() = Method::CONNECT;
        *request.uri_mut() = Uri::builder().authority(authority).build()?;
        if form == TunnelForm::Http10 {
            *request.version_mut() = Version::HTTP_10;
        }
        if form != TunnelForm::Http2 {
            request.headers_mut().insert(HOST, HeaderValue::from_str(authority)?);
        }
        for (name, value) in headers {
            request.headers_mut().append(HeaderName::try_from(*name)?, HeaderValue::from_str(value)?);
        }
        let stream = TokioIo::new(TcpStream::connect(("127.0.0.1", port)).await?);
        // An error of the connection shows in the answer, or in the tunnel.
        let response = if form == TunnelForm::Http2 {
            let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
            tokio::spawn(async { drop(connection.await) });
            sender.send_request(request).await?
        } else {
            let (mut sender, connection) = http1::handshake(stream).await?;
            tokio::spawn(async { drop(connection.with_upgrades().await) });
            sender.send_request(request).await?
        };
        Self::read(response).await
    }

    async fn read(response: Response<Incoming>) -> Result<Self> {
        if response.status().is_success() {
            return Ok(Self::Open(Tunnel(TokioIo::new(hyper::upgrade::on(response).await?))));
        }
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Self::Refused(Reply {
            status: head.status.as_u16(),
            headers: head.headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        }))
    }

    /// The tunnel.
    ///
    /// # Errors
    /// If the proxy refused.
    pub fn open(self) -> Result<Tunnel> {
        match self {
            Self::Open(tunnel) => Ok(tunnel),
            Self::Refused(reply) => bail!("the proxy refused: {} {}", reply.status, reply.body),
        }
    }

    /// The refusal.
    ///
    /// # Errors
    /// If the tunnel is open.
    pub fn refused(self) -> Result<Reply> {
        match self {
            Self::Open(_) => bail!("the tunnel is open"),
            Self::Refused(reply) => Ok(reply),
        }
    }
}

/// An open tunnel.
pub struct Tunnel(TokioIo<Upgraded>);

impl Tunnel {
    /// The tunnel as a stream of bytes.
    #[must_use]
    pub fn into_stream(self) -> impl AsyncRead + AsyncWrite + Unpin + Send + 'static {
        self.0
    }

    /// Requests `/` of `authority` in plaintext, over HTTP/1.1.
    ///
    /// # Errors
    /// If the tunnel ends early.
    pub async fn get(self, authority: &str) -> Result<Reply> {
        Connection::over(self.0).await?.get(authority, &[]).await
    }

    /// Requests `/` of `host` over TLS, and trusts only this certificate.
    ///
    /// # Errors
    /// If the tunnel ends early, or leads to a server without the certificate.
    pub async fn get_over_tls(self, host: &str, certificate: &str) -> Result<Reply> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(certificate.as_bytes())?)?;
        let config = ClientConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(host.to_owned())?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, self.0).await.context("the client's TLS")?;
        Connection::over(stream).await?.get(host, &[]).await
    }
}
