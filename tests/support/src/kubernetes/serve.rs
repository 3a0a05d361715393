//! Responses of the API.

use std::{
    collections::VecDeque,
    io::Write,
    sync::{Arc, Mutex},
};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::{
    patch,
    request::ApiRequest,
    resources,
    state::{ApiState, ObjectKey, POLL, Plural, lock},
};

/// The path that says whose a token is.
const TOKEN_REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

pub(super) async fn accept(listener: TcpListener, state: Arc<Mutex<ApiState>>) {
    // Connections end with the server.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let state = Arc::clone(&state);
        // An error means that the client has closed the connection.
        connections.spawn(async move { drop(serve(stream, &state).await) });
    }
}

async fn serve(stream: TcpStream, state: &Mutex<ApiState>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(request) = ApiRequest::read(&mut stream).await? {
        let stream = stream.get_mut();
        if request.path == TOKEN_REVIEWS {
            let failure = {
                let mut state = lock(state);
                state.requests.push(request.target.clone());
                state.failures.get_mut("tokenreviews").and_then(VecDeque::pop_front)
            };
            let (code, body) = match failure {
                Some(code) => (code, status(code, "tokenreviews")),
                None => (201, token_review(&request.body, &lock(state))),
            };
            answer(stream, code, &body).await?;
            continue;
        }
        if request.resource.is_none() {
            let (code, body) =
                resources::discovery(&request.path).map_or((404, status(404, "")), |document| (200, document));
            answer(stream, code, &body).await?;
            continue;
        }
        let failure = {
            let mut state = lock(state);
            state.requests.push(request.target.clone());
            state.encodings.push(request.accept_encoding.clone());
            state.failures.get_mut(request.plural()).and_then(VecDeque::pop_front)
        };
        while lock(state).is_silent {
            tokio::time::sleep(POLL).await;
        }
        if let Some(code) = failure {
            answer(stream, code, &status(code, request.plural())).await?;
        } else if request.query.contains_key("sendInitialEvents") {
            // The answer of an API without streaming lists. Clients then use ordinary lists.
            answer(stream, 422, &refusal(422, "Invalid", "sendInitialEvents is not supported")).await?;
        } else if request.query.contains_key("watch") {
            return watch(stream, &request, state).await;
        } else if request.method != "GET" || request.name.is_some() {
            let (code, body) = one(&request, &mut lock(state));
            answer(stream, code, &body).await?;
        } else {
            // A list of one object is fast, however many there are.
            while request.number("limit") != Some(1) && lock(state).held.contains(request.plural()) {
                tokio::time::sleep(POLL).await;
            }
            let page = list(&request, &lock(state)).to_string();
            if request.accept_encoding.contains("gzip") {
                let mut body = GzEncoder::new(Vec::new(), Compression::fast());
                body.write_all(page.as_bytes())?;
                write(stream, 200, "content-encoding: gzip\r\n", &body.finish()?).await?;
            } else {
                write(stream, 200, "", page.as_bytes()).await?;
            }
        }
    }
    Ok(())
}

fn status(code: u16, plural: Plural) -> Value {
    let forbidden =
        format!("{plural} is forbidden: User \"system:serviceaccount:shop:web\" cannot list resource \"{plural}\"");
    let (reason, message) = match code {
        403 => ("Forbidden", &*forbidden),
        404 => ("NotFound", "there is no such thing"),
        410 => ("Expired", "too old resource version"),
        429 => ("TooManyRequests", "the server has received too many requests"),
        _ => ("InternalError", "something went wrong"),
    };
    refusal(code, reason, message)
}

fn refusal(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason,
        "code": code})
}

async fn answer(stream: &mut TcpStream, code: u16, body: &Value) -> std::io::Result<()> {
    // A server that is too busy says when to come back.
    let headers = if code == 429 { "retry-after: 1\r\n" } else { "" };
    write(stream, code, headers, body.to_string().as_bytes()).await
}

async fn write(stream: &mut TcpStream, code: u16, headers: &str, body: &[u8]) -> std::io::Result<()> {
    let length = body.len();
    let head =
        format!("HTTP/1.1 {code} X\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), body].concat()).await
}

/// What the API says of the token in a TokenReview.
fn token_review(body: &[u8], state: &ApiState) -> Value {
    let mut review: Value = serde_json::from_slice(body).unwrap_or_default();
    let audiences = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|one| one.as_str().map(str::to_owned)).collect()
    };
    let asked = audiences(&review["spec"]["audiences"]);
    let known = review["spec"]["token"].as_str().and_then(|token| state.tokens.get(token));
    review["status"] = match known {
        Some((username, audience)) if asked.contains(audience) => {
            json!({"authenticated": true, "user": {"username": username}, "audiences": [audience]})
        }
        _ => json!({"error": "the token is not known"}),
    };
    review
}

/// Reads or changes one object.
fn one(request: &ApiRequest, state: &mut ApiState) -> (u16, Value) {
    let Ok(body) = serde_json::from_slice::<Value>(if request.body.is_empty() { b"null" } else { &request.body })
    else {
        return (415, refusal(415, "UnsupportedMediaType", "JSON alone is read here: apply a file"));
    };
    let name = request.name.as_deref().or(body["metadata"]["name"].as_str()).unwrap_or_default();
    let key: ObjectKey = (request.plural(), request.namespace.clone().unwrap_or_default(), name.to_owned());
    let stored = state.objects.get(&key).cloned();
    let object = match (&*request.method, stored) {
        ("POST", Some(_)) => {
            return (409, refusal(409, "AlreadyExists", &format!("{} {name:?} already exists", key.0)));
        }
        ("POST", None) if !state.has_namespace(&key.1) => {
            return (404, refusal(404, "NotFound", &format!("namespaces {:?} not found", key.1)));
        }
        // Server-side apply creates an object that does not exist.
        ("POST", None) => body,
        ("PATCH", None) if request.content_type.starts_with("application/apply-patch") => body,
        (_, None) => return (404, refusal(404, "NotFound", &format!("{} {name:?} not found", key.0))),
        ("GET", Some(stored)) => return (200, stored),
        ("DELETE", Some(stored)) => {
            state.remove(&key);
            return (200, stored);
        }
        ("PATCH", Some(stored)) => patch::patched(&stored, &body, &request.content_type),
        ("PUT", Some(_)) => body,
        _ => return (405, refusal(405, "MethodNotAllowed", "that cannot be done")),
    };
    let code = if request.method == "POST" { 201 } else { 200 };
    if request.query.contains_key("dryRun") {
        return (code, object);
    }
    (code, state.put(key, object))
}

/// A page of a list. `continue` is the number of objects on earlier pages.
fn list(request: &ApiRequest, state: &ApiState) -> Value {
    let before = request.number("continue").unwrap_or_default() as usize;
    let page = state.page.min(request.number("limit").map_or(state.page, |limit| limit as usize));
    let wanted: Vec<&Value> =
        state.objects.iter().filter(|(key, _)| request.wants(key)).map(|(_, object)| object).collect();
    let items: Vec<Value> = wanted.iter().skip(before).take(page).map(|object| (*object).clone()).collect();
    let mut metadata = json!({"resourceVersion": state.version.to_string()});
    if before + page < wanted.len() {
        metadata["continue"] = (before + page).to_string().into();
        metadata["remainingItemCount"] = (wanted.len() - before - page).into();
    }
    json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items})
}

async fn watch(stream: &mut TcpStream, request: &ApiRequest, state: &Mutex<ApiState>) -> std::io::Result<()> {
    let since = request.number("resourceVersion").unwrap_or_default();
    let (oldest, cuts) = {
        let state = lock(state);
        (state.oldest, state.cuts)
    };
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    if since < oldest {
        let line = json!({"type": "ERROR", "object": status(410, "")});
        chunk(stream, &format!("{line}\n")).await?;
        return stream.write_all(b"0\r\n\r\n").await;
    }
    let mut next = 0;
    loop {
        let (lines, is_cut) = {
            let state = lock(state);
            let new = state.events.iter().skip(next);
            let wanted =
                new.filter(|(version, key, _)| *version > since && key.as_ref().is_none_or(|key| request.wants(key)));
            let lines: String = wanted.map(|(_, _, line)| format!("{line}\n")).collect();
            next = state.events.len();
            (lines, state.cuts != cuts)
        };
        if lock(state).ends_watches {
            return stream.write_all(b"0\r\n\r\n").await;
        }
        if !lines.is_empty() {
            chunk(stream, &lines).await?;
        }
        if is_cut {
            chunk(stream, "{\"type\":\"MODIFIED\",\"object\":{\"kind\":\"Serv").await?;
            return Ok(());
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn chunk(stream: &mut TcpStream, text: &str) -> std::io::Result<()> {
    stream.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes()).await
}
