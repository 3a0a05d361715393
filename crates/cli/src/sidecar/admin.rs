//! Envoy's admin interface: at an address, through the API's port-forward, or by `pilot-agent request` in the pod.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, header::HOST};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, api::AttachParams};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    net::TcpStream,
    time::timeout,
};

use super::pods::SidecarPod;
use crate::kube_api::Failure;

/// Time in which Envoy must answer. A large configuration takes seconds.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of an answer that are read.
const MAX_BYTES: usize = 256 << 20;

/// The admin interface of one Envoy, by the way to reach it.
#[derive(Clone)]
pub enum Admin {
    /// At this address and port.
    Address(String),
    /// Through the API's port-forward to the pod.
    PortForward(Client, SidecarPod),
    /// By `pilot-agent request` in the pod's container, through the API.
    Exec(Client, SidecarPod),
}

impl Admin {
    /// The answer to a GET of this path.
    ///
    /// # Errors
    /// If Envoy cannot be reached or refuses.
    pub async fn get(&self, path: &str) -> anyhow::Result<String> {
        let answer = match self {
            Self::Address(address) => timeout(PATIENCE, direct(address, path)).await,
            Self::PortForward(client, pod) => timeout(PATIENCE, forwarded(client, pod, path)).await,
            Self::Exec(client, pod) => timeout(PATIENCE, executed(client, pod, path)).await,
        };
        answer.unwrap_or_else(|_elapsed| Err(anyhow!("Envoy does not answer within {} s", PATIENCE.as_secs())))
    }
}

async fn direct(address: &str, path: &str) -> anyhow::Result<String> {
    let stream = TcpStream::connect(address).await.with_context(|| {
        format!("{address}: cannot be reached; pass the address and port where Envoy's admin interface listens")
    })?;
    asked(stream, path).await.with_context(|| address.to_owned())
}

async fn forwarded(client: &Client, pod: &SidecarPod, path: &str) -> anyhow::Result<String> {
    let api: Api<Pod> = Api::namespaced(client.clone(), &pod.name.namespace);
    let mut forward = api
        .portforward(&pod.name.name, &[pod.admin_port])
        .await
        .map_err(|error| refused("port-forward", "pods/portforward", &error))?;
    let stream = forward.take_stream(pod.admin_port).context("the API opened no stream")?;
    let trouble = forward.take_error(pod.admin_port);
    let answer = asked(stream, path).await;
    let answer = match (answer, trouble) {
        (Ok(answer), _) => Ok(answer),
        (Err(error), Some(trouble)) => match timeout(Duration::from_secs(1), trouble).await {
            Ok(Some(told)) => Err(anyhow!("{told}")),
            _ => Err(error),
        },
        (Err(error), None) => Err(error),
    };
    forward.abort();
    answer.with_context(|| {
        format!(
            "port {} does not answer as Envoy's admin interface; pass its port with --admin-port, or annotate the pod with \
             byname/admin-port",
            pod.admin_port
        )
    })
}

async fn executed(client: &Client, pod: &SidecarPod, path: &str) -> anyhow::Result<String> {
    let api: Api<Pod> = Api::namespaced(client.clone(), &pod.name.namespace);
    let params = AttachParams::default().container(&pod.container).stdin(false).stdout(true).stderr(true);
    let path = path.trim_start_matches('/');
    let mut process = api
        .exec(&pod.name.name, ["pilot-agent", "request", "GET", path], &params)
        .await
        .map_err(|error| refused("exec", "pods/exec", &error))?;
    let status = process.take_status();
    let (mut answer, mut said) = (String::new(), String::new());
    let (stdout, stderr) = (process.stdout(), process.stderr());
    let read_answer = async {
        if let Some(mut stdout) = stdout {
            stdout.read_to_string(&mut answer).await?;
        }
        anyhow::Ok(())
    };
    let read_errors = async {
        if let Some(mut stderr) = stderr {
            stderr.read_to_string(&mut said).await?;
        }
        anyhow::Ok(())
    };
    tokio::try_join!(read_answer, read_errors).context("pilot-agent's answer cannot be read")?;
    let is_fine = match status {
        Some(status) => status.await.is_none_or(|status| status.status.as_deref() != Some("Failure")),
        None => true,
    };
    if !is_fine || answer.is_empty() {
        bail!("pilot-agent in container {} fails: {}", pod.container, said.trim());
    }
    Ok(answer)
}

/// The error of an API that does not open a connection to the pod.
fn refused(what: &str, resource: &str, error: &kube::Error) -> anyhow::Error {
    let failure = match error {
        kube::Error::Api(status) => Failure::of_status(status, None),
        error => Failure::of_error(error),
    };
    let text = failure.text.as_str();
    // An upgrade that fails tells the status in words alone.
    match failure.is_forbidden() || text.contains("403") {
        true => anyhow!(
            "the API forbids to {what}: {text}; grant \"create\" and \"get\" on {resource}, or pass --admin HOST:PORT"
        ),
        false => anyhow!("the API cannot {what}: {text}; check that the pod runs, or pass --admin HOST:PORT"),
    }
}

/// Asks for `path` over a connection to the admin interface.
async fn asked(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, path: &str) -> anyhow::Result<String> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let request = Request::get(path).header(HOST, "localhost").body(Empty::<Bytes>::new())?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MAX_BYTES).collect().await.map_err(|error| anyhow!("{error}"))?;
    driver.abort();
    let body = String::from_utf8(body.to_bytes().to_vec()).context("the answer is not text")?;
    if !status.is_success() {
        bail!("{path}: Envoy answers {status}");
    }
    Ok(body)
}
