//! Small upstreams that report what they received.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use anyhow::Result;
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    task::{AbortHandle, JoinSet},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
};

/// A server for HTTP/1.1 and HTTP/2 on loopback. It answers every request with JSON: its own name and the request. It
/// answers the path `/status/503` with that status.
pub struct TestUpstream {
    port: u16,
    task: AbortHandle,
}

impl TestUpstream {
    /// Starts an upstream on a free port.
    ///
    /// # Errors
    /// If no port is free.
    pub async fn start(name: &str) -> Result<Self> {
        Self::listen(name, 0, None).await
    }

    /// Starts an upstream on the port of an earlier one, which was dropped.
    ///
    /// # Errors
    /// If the port is taken.
    pub async fn start_at(name: &str, port: u16) -> Result<Self> {
        Self::listen(name, port, None).await
    }

    /// Starts an upstream that speaks TLS as `host`, and returns its self-signed certificate as PEM.
    ///
    /// # Errors
    /// If no port is free or no certificate can be made.
    pub async fn start_tls(name: &str, host: &str) -> Result<(Self, String)> {
        let signing_key = KeyPair::generate()?;
        let mut parameters = CertificateParams::new([host.to_owned()])?;
        // Certificates of one subject would be confused if a client trusts several of them.
        parameters.distinguished_name.push(DnType::CommonName, name);
        let cert = parameters.self_signed(&signing_key)?;
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).map_err(anyhow::Error::msg)?;
        let config = ServerConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)?;
        Ok((Self::listen(name, 0, Some(TlsAcceptor::from(Arc::new(config)))).await?, cert.pem()))
    }

    async fn listen(name: &str, port: u16, tls: Option<TlsAcceptor>) -> Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port))).await?;
        let port = listener.local_addr()?.port();
        let task = tokio::spawn(accept(listener, name.to_owned(), tls)).abort_handle();
        Ok(Self { port, task })
    }

    /// The port on which it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for TestUpstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, name: String, tls: Option<TlsAcceptor>) {
    // Connections end with the upstream, like the connections of a killed process.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let (name, tls) = (name.clone(), tls.clone());
        connections.spawn(async move {
            match tls {
                None => serve(stream, name).await,
                Some(tls) => {
                    // A client that does not trust the certificate closes the connection and reports the error itself.
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, name).await;
                    }
                }
            }
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, name: String) {
    let answer = service_fn(|request| {
        let response = answer(&name, &request);
        async { Ok::<_, Infallible>(response) }
    });
    // A client may close the connection at any time.
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer).await;
}

fn answer(name: &str, request: &Request<Incoming>) -> Response<String> {
    let text = |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers: Vec<_> = request.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    let authority = request.uri().authority().map(ToString::to_string);
    let body = json!({
        "upstream": name,
        "authority": authority.or_else(|| request.headers().get("host").map(text)),
        "path": request.uri().path(),
        "version": format!("{:?}", request.version()),
        "headers": headers,
    });
    let mut response = Response::new(body.to_string() + "\n");
    let asked = request.uri().path().strip_prefix("/status/").and_then(|status| status.parse().ok());
    *response.status_mut() = asked.unwrap_or_default();
    response.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static("application/json"));
    response
}
