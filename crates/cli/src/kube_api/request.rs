//! Requests to the Kubernetes API: a page of a list, the lines of a watch, one object.

use std::{error::Error, iter, time::Duration};

use futures_util::{AsyncBufReadExt, Stream, TryStreamExt};
use http_body_util::{BodyExt, Limited};
use hyper::{
    Request, Response, StatusCode,
    header::{ACCEPT_ENCODING, HeaderMap, HeaderValue, RETRY_AFTER},
};
use kube::{Client, client::Body, core::Status};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::timeout;
use tower::timeout::error::Elapsed;

use super::failure::Failure;

/// Time in which the headers of an answer must come.
pub(crate) const HEADERS: Duration = Duration::from_secs(10);
/// Time in which the body of an answer must come: a page of a list, or an error.
const BODY: Duration = Duration::from_secs(60);
/// Bytes of an error's body that are read.
const ERROR_BYTES: usize = 64 << 10;
/// Characters of an error that is no Status, such as a proxy's page.
const ERROR_CHARS: usize = 200;

/// A page of a list.
#[derive(Debug, Deserialize)]
pub(crate) struct Page<T> {
    pub(crate) metadata: PageMetadata,
    pub(crate) items: Vec<T>,
}

/// Where a list goes on.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PageMetadata {
    pub(crate) resource_version: String,
    #[serde(default, rename = "continue")]
    pub(crate) token: String,
    /// The number of objects on the pages that follow, if the API tells it.
    #[serde(default)]
    pub(crate) remaining_item_count: u64,
}

/// Sends a request. Returns the answer once its headers came.
pub(crate) async fn send(client: Client, request: Request<Vec<u8>>) -> Result<Response<Body>, Failure> {
    let answer = client.send(request.map(Body::from)).await.map_err(|error| failure_of(&error))?;
    if answer.status().is_success() { Ok(answer) } else { Err(refusal(answer).await) }
}

/// Asks for the version of the API server, as whoever only wants to know that it is there does too.
pub(crate) async fn version(client: Client) -> Result<Response<Body>, Failure> {
    let request = Request::get("/version").body(Vec::new()).map_err(|error| Failure::of_error(&error))?;
    send(client, request).await
}

/// Reads a page of a list.
pub(crate) async fn page<T: DeserializeOwned>(answer: Response<Body>) -> Result<Page<T>, Failure> {
    json(answer, "list").await
}

/// Reads an answer in JSON, which errors call `what`.
pub(crate) async fn json<T: DeserializeOwned>(answer: Response<Body>, what: &str) -> Result<T, Failure> {
    let body = match timeout(BODY, answer.into_body().collect()).await {
        Ok(body) => body.map_err(|error| failure_of(&error))?.to_bytes(),
        Err(_elapsed) => return Err(Failure::silent(BODY)),
    };
    serde_json::from_slice(&body)
        .map_err(|error| Failure::unavailable(format!("the API's {what} cannot be read: {error}")))
}

/// Forbids to compress the answer: only the first of several compressed members would be read.
pub(crate) fn uncompressed(mut request: Request<Vec<u8>>) -> Request<Vec<u8>> {
    request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    request
}

/// The lines of a watch.
pub(crate) fn lines(answer: Response<Body>) -> impl Stream<Item = std::io::Result<String>> + Unpin {
    answer.into_body().into_data_stream().map_err(std::io::Error::other).into_async_read().lines()
}

async fn refusal(answer: Response<Body>) -> Failure {
    let (parts, body) = answer.into_parts();
    let retry_after = retry_after(&parts.headers);
    let body = timeout(HEADERS, Limited::new(body, ERROR_BYTES).collect()).await;
    let body = body.ok().and_then(Result::ok).map(|body| body.to_bytes()).unwrap_or_default();
    let status = match serde_json::from_slice::<Status>(&body) {
        Ok(status) if status.code != 0 => status,
        _ => plain_status(parts.status, &body),
    };
    Failure::of_status(&status, retry_after)
}

fn plain_status(status: StatusCode, body: &[u8]) -> Status {
    Status {
        code: status.as_u16(),
        reason: status.canonical_reason().unwrap_or_default().to_owned(),
        message: String::from_utf8_lossy(body).trim().chars().take(ERROR_CHARS).collect(),
        ..Status::default()
    }
}

/// The wait in seconds. Kubernetes sends no dates.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

fn failure_of(error: &(dyn Error + 'static)) -> Failure {
    let mut causes = iter::successors(Some(error), |error| (*error).source());
    if causes.any(|cause| cause.is::<Elapsed>()) { Failure::silent(HEADERS) } else { Failure::of_error(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_that_is_asked_for_is_in_seconds() {
        for (text, wait) in [("7", Some(7)), ("soon", None), ("Wed, 21 Oct 2026 07:28:00 GMT", None)] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(text))]);
            assert_eq!(retry_after(&headers), wait.map(Duration::from_secs), "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[test]
    fn an_error_of_a_proxy_is_shown_in_part() {
        let status = plain_status(StatusCode::BAD_GATEWAY, "<html>".repeat(1000).as_bytes());
        assert_eq!((status.code, status.reason.as_str(), status.message.len()), (502, "Bad Gateway", ERROR_CHARS));
    }
}
