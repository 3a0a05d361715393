//! Small upstreams that say who they are.

use std::{convert::Infallible, net::SocketAddr};

use anyhow::Result;
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use serde_json::json;
use tokio::{net::TcpListener, task::AbortHandle};

/// A server for HTTP/1.1 and HTTP/2 on loopback that answers every request with JSON: its own name, and what came.
pub struct Upstream {
    port: u16,
    task: AbortHandle,
}

impl Upstream {
    /// Starts one on a free port.
    ///
    /// # Errors
    /// Where no port is free.
    pub async fn start(name: &str) -> Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let port = listener.local_addr()?.port();
        let task = tokio::spawn(serve(listener, name.to_owned())).abort_handle();
        Ok(Self { port, task })
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, name: String) {
    while let Ok((stream, _)) = listener.accept().await {
        let name = name.clone();
        tokio::spawn(async move {
            let answer = service_fn(|request| {
                let response = answer(&name, &request);
                async { Ok::<_, Infallible>(response) }
            });
            // A client that goes away in the middle is no fault of the upstream's.
            let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

fn answer(name: &str, request: &Request<Incoming>) -> Response<String> {
    let text = |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers: Vec<_> = request.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    let authority = request.uri().authority().map(ToString::to_string);
    let body = json!({
        "upstream": name,
        "authority": authority.or_else(|| request.headers().get("host").map(text)),
        "path": request.uri().path(),
        "headers": headers,
    });
    let mut response = Response::new(body.to_string() + "\n");
    response.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static("application/json"));
    response
}
