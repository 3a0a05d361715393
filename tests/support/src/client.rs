//! A client that sends exactly what it is told, on one connection that stays open.

use anyhow::{Context, Result};
use http_body_util::{BodyExt, Empty};
use hyper::{
    HeaderMap, Method, Request, Uri,
    body::Bytes,
    client::conn::{http1, http2},
    header::{HOST, HeaderName, HeaderValue},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

/// The form in which the authority is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestForm {
    /// HTTP/1.1, in a host header.
    Host,
    /// HTTP/1.1, in the request line, as sent to an explicit proxy.
    Proxy,
    /// HTTP/2, in `:authority`.
    Http2,
}

/// All forms.
pub const FORMS: [RequestForm; 3] = [RequestForm::Host, RequestForm::Proxy, RequestForm::Http2];

/// A reply.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as text.
    pub body: String,
}

impl Reply {
    /// The value of a header; empty if the header is missing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// A field of the test upstream's JSON; empty if no test upstream answered.
    #[must_use]
    pub fn said(&self, field: &str) -> String {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        body.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// The values of a header that the upstream received.
    #[must_use]
    pub fn sent_on(&self, header: &str) -> Vec<String> {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        let headers = body.get("headers").and_then(Value::as_array).cloned().unwrap_or_default();
        let pairs = headers.iter().filter_map(|pair| Some((pair.get(0)?.as_str()?, pair.get(1)?.as_str()?)));
        pairs.filter(|(name, _)| *name == header).map(|(_, value)| value.to_owned()).collect()
    }
}

/// A connection to loopback.
pub struct Connection {
    form: RequestForm,
    sender: Sender,
}

enum Sender {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

impl Connection {
    /// Opens a connection.
    ///
    /// # Errors
    /// If nothing listens on the port.
    pub async fn open(port: u16, form: RequestForm) -> Result<Self> {
        let stream =
            TcpStream::connect(("127.0.0.1", port)).await.with_context(|| format!("nothing listens on port {port}"))?;
        Self::on(stream, form).await
    }

    /// Speaks HTTP/1.1 over any stream, with the authority in a host header.
    ///
    /// # Errors
    /// If the stream is closed.
    pub async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Self> {
        Self::on(stream, RequestForm::Host).await
    }

    async fn on(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, form: RequestForm) -> Result<Self> {
        let stream = TokioIo::new(stream);
        // An error of the connection shows in the next request.
        let sender = match form {
            RequestForm::Host | RequestForm::Proxy => {
                let (sender, connection) = http1::Builder::new().title_case_headers(false).handshake(stream).await?;
                tokio::spawn(async { drop(connection.await) });
                Sender::Http1(sender)
            }
            RequestForm::Http2 => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
                tokio::spawn(async { drop(connection.await) });
                Sender::Http2(sender)
            }
        };
        Ok(Self { form, sender })
    }

    /// Requests `/` of `authority`, with additional headers.
    ///
    /// # Errors
    /// If the connection is closed or the authority cannot be sent in this form.
    pub async fn get(&mut self, authority: &str, headers: &[(&str, &str)]) -> Result<Reply> {
        self.get_path(authority, "/", headers).await
    }

    /// Requests a path.
    ///
    /// # Errors
    /// As [`Connection::get`].
    pub async fn get_path(&mut self, authority: &str, path: &str, headers: &[(&str, &str)]) -> Result<Reply> {
        let uri = match self.form {
            RequestForm::Host => path.parse::<Uri>(),
            RequestForm::Proxy | RequestForm::Http2 => format!("http://{authority}{path}").parse(),
        };
        let mut request = Request::new(Empty::new());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = uri.with_context(|| format!("{authority:?} cannot be sent as {:?}", self.form))?;
        if self.form != RequestForm::Http2 {
            request.headers_mut().insert(HOST, HeaderValue::from_str(authority)?);
        }
        for (name, value) in headers {
            request.headers_mut().append(HeaderName::try_from(*name)?, HeaderValue::from_str(value)?);
        }
        let response = match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Sender::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
        };
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Reply {
            status: head.status.as_u16(),
            headers: head.headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    }
}
