//! The HTTP server for `/metrics`, `/healthz`, `/readyz` and `/debug/`.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode, Uri,
    body::{Bytes, Incoming},
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

const OPENMETRICS: HeaderValue = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// The path that releases the brake.
const RELEASE: &str = "/debug/brake/release";
/// The start of all paths that only clients on this machine or in this pod may use.
const DEBUG: &str = "/debug/";
/// Time that a client has to send its request headers.
const PATIENCE: Duration = Duration::from_secs(10);
/// Wait after a failed accept, which may be due to too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// What a program says of itself.
pub(crate) trait Monitored: Send + Sync + 'static {
    /// The metrics in OpenMetrics text format.
    fn metrics(&self) -> String;

    /// Why it cannot do its work yet.
    fn why_not_ready(&self) -> Option<&'static str>;

    /// Asks for the release of the brake. Returns whether the brake holds.
    fn release_brake(&self) -> bool;

    /// The answer to a path below `/debug/`; `None` if there is no such path.
    fn debug(&self, uri: &Uri) -> impl Future<Output = Option<String>> + Send;

    /// The paths that it answers, as text for people.
    fn paths(&self) -> &'static str;
}

/// Serves on `address` in the background. Returns the bound address.
pub(crate) async fn start(address: SocketAddr, monitored: Arc<impl Monitored>) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}; use a free address and port"))?;
    let address = listener.local_addr().unwrap_or(address);
    tokio::spawn(async move {
        loop {
            let Ok((stream, peer)) = listener.accept().await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let monitored = Arc::clone(&monitored);
            let answer = service_fn(move |request| {
                let monitored = Arc::clone(&monitored);
                async move { Ok::<_, Infallible>(answer(&request, peer.ip(), &*monitored).await) }
            });
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
            // A connection that a client closes early is no error.
            tokio::spawn(async move { drop(server.serve_connection(TokioIo::new(stream), answer).await) });
        }
    });
    Ok(address)
}

async fn answer(request: &Request<Incoming>, peer: IpAddr, monitored: &impl Monitored) -> Response<Full<Bytes>> {
    let (method, path) = (request.method(), request.uri().path());
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    let (status, content_type, text) = match path {
        RELEASE => {
            let (status, text) = release(method, peer, || monitored.release_brake());
            (status, PLAIN, text)
        }
        _ if !is_read => (StatusCode::METHOD_NOT_ALLOWED, PLAIN, "use GET or HEAD\n".to_owned()),
        "/metrics" => (StatusCode::OK, OPENMETRICS, monitored.metrics()),
        "/healthz" => (StatusCode::OK, PLAIN, "alive\n".to_owned()),
        "/readyz" => match monitored.why_not_ready() {
            None => (StatusCode::OK, PLAIN, "ready\n".to_owned()),
            Some(why) => (StatusCode::SERVICE_UNAVAILABLE, PLAIN, format!("{why}\n")),
        },
        _ if path.starts_with(DEBUG) && !is_local(peer) => (StatusCode::FORBIDDEN, PLAIN, elsewhere(peer)),
        _ => match monitored.debug(request.uri()).await {
            Some(text) => (StatusCode::OK, PLAIN, text),
            None => (StatusCode::NOT_FOUND, PLAIN, format!("not found; use {}\n", monitored.paths())),
        },
    };
    response(status, content_type, text)
}

/// Releases the brake for a client on this machine or in this pod.
fn release(method: &Method, peer: IpAddr, release: impl FnOnce() -> bool) -> (StatusCode, String) {
    if *method != Method::POST {
        (StatusCode::METHOD_NOT_ALLOWED, "use POST\n".to_owned())
    } else if !is_local(peer) {
        (StatusCode::FORBIDDEN, elsewhere(peer))
    } else if release() {
        (StatusCode::OK, "released\n".to_owned())
    } else {
        (StatusCode::OK, "the brake holds nothing\n".to_owned())
    }
}

/// Whether a client is on this machine or in this pod, and no proxy stands between.
///
/// Other addresses of loopback do not count: the inbound side of Istio's sidecars connects from 127.0.0.6 on behalf of the whole mesh.
fn is_local(peer: IpAddr) -> bool {
    [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)].contains(&peer.to_canonical())
}

fn elsewhere(peer: IpAddr) -> String {
    format!("{peer} may not use {DEBUG}; ask from inside the pod, through 127.0.0.1\n")
}

fn response(status: StatusCode, content_type: HeaderValue, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_post_of_this_machine_releases_the_brake() {
        let (local, mapped): (IpAddr, IpAddr) =
            (Ipv4Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.to_ipv6_mapped().into());
        let other: IpAddr = Ipv4Addr::new(10, 1, 0, 9).into();
        // Istio's sidecars connect to their own pod from these.
        let sidecar = Ipv4Addr::new(127, 0, 0, 6);
        let [sidecar, sidecar_mapped, sidecar_v6]: [IpAddr; 3] =
            [sidecar.into(), sidecar.to_ipv6_mapped().into(), Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6).into()];
        for (method, peer, status) in [
            (Method::GET, local, 405),
            (Method::PUT, other, 405),
            (Method::POST, other, 403),
            (Method::POST, sidecar, 403),
            (Method::POST, sidecar_mapped, 403),
            (Method::POST, sidecar_v6, 403),
            (Method::POST, Ipv4Addr::new(127, 0, 0, 2).into(), 403),
            (Method::POST, Ipv6Addr::LOCALHOST.into(), 200),
            (Method::POST, mapped, 200),
            (Method::POST, local, 200),
        ] {
            assert_eq!(release(&method, peer, || true).0.as_u16(), status, "{method} from {peer}");
        }
    }
}
