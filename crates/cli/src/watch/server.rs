//! The HTTP server for `/metrics`, `/healthz` and `/readyz`, and for the release of the brake.

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

use super::{brake::BrakeLever, metrics::Metrics};

const OPENMETRICS: HeaderValue = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// The path that releases the brake.
const RELEASE: &str = "/debug/brake/release";
/// Time that a client has to send its request headers.
const PATIENCE: Duration = Duration::from_secs(10);
/// Wait after a failed accept, which may be due to too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// Binds `address`. Returns the bound address and the server's future.
pub(super) async fn listen(
    address: SocketAddr,
    metrics: Arc<Metrics>,
    lever: Arc<BrakeLever>,
) -> anyhow::Result<(SocketAddr, impl Future<Output = ()>)> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}; use a free address and port"))?;
    let address = listener.local_addr().unwrap_or(address);
    let server = async move {
        loop {
            let Ok((stream, peer)) = listener.accept().await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let (metrics, lever) = (Arc::clone(&metrics), Arc::clone(&lever));
            let answer = service_fn(move |request| {
                let response = match request.uri().path() {
                    RELEASE => release(request.method(), peer.ip(), &lever),
                    _ => answer(&request, &metrics),
                };
                async { Ok::<_, Infallible>(response) }
            });
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
            // A connection that a client closes early is no error.
            tokio::spawn(async move { drop(server.serve_connection(TokioIo::new(stream), answer).await) });
        }
    };
    Ok((address, server))
}

fn answer(request: &Request<Incoming>, metrics: &Metrics) -> Response<Full<Bytes>> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let (status, content_type, text) = match request.uri().path() {
        _ if !is_read => (StatusCode::METHOD_NOT_ALLOWED, PLAIN, "use GET or HEAD\n".to_owned()),
        "/metrics" => (StatusCode::OK, OPENMETRICS, metrics.text()),
        "/healthz" => (StatusCode::OK, PLAIN, "alive\n".to_owned()),
        "/readyz" if metrics.is_ready() => (StatusCode::OK, PLAIN, "ready\n".to_owned()),
        "/readyz" => (StatusCode::SERVICE_UNAVAILABLE, PLAIN, "no table written yet\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, PLAIN, "not found; use /metrics, /healthz or /readyz\n".to_owned()),
    };
    response(status, content_type, text)
}

/// Releases the brake for a client on this machine or in this pod.
fn release(method: &Method, peer: IpAddr, lever: &BrakeLever) -> Response<Full<Bytes>> {
    let (status, text) = if *method != Method::POST {
        (StatusCode::METHOD_NOT_ALLOWED, "use POST\n".to_owned())
    } else if !peer.to_canonical().is_loopback() {
        let text = format!("{peer} may not release the brake; ask from inside the pod, through 127.0.0.1\n");
        (StatusCode::FORBIDDEN, text)
    } else if lever.pull() {
        (StatusCode::OK, "released\n".to_owned())
    } else {
        (StatusCode::OK, "the brake holds nothing\n".to_owned())
    };
    response(status, PLAIN, text)
}

fn response(status: StatusCode, content_type: HeaderValue, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    #[test]
    fn only_a_post_from_loopback_releases_the_brake() {
        let lever = BrakeLever::default();
        lever.show(true);
        let (local, mapped): (IpAddr, IpAddr) =
            (Ipv4Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.to_ipv6_mapped().into());
        let other: IpAddr = Ipv4Addr::new(10, 1, 0, 9).into();
        for (method, peer, status) in [
            (Method::GET, local, 405),
            (Method::PUT, other, 405),
            (Method::POST, other, 403),
            (Method::POST, Ipv6Addr::LOCALHOST.into(), 200),
            (Method::POST, mapped, 200),
            (Method::POST, local, 200),
        ] {
            assert_eq!(release(&method, peer, &lever).status().as_u16(), status, "{method} from {peer}");
        }
    }
}
