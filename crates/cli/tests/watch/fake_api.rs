//! A small Kubernetes API: lists in pages, watches with bookmarks, and every way in which the real one lets one down.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
};

const POLL: Duration = Duration::from_millis(3);

/// What of the API is asked for: `services`, `endpointslices`, `pods` or `nodes`.
type Plural = &'static str;
type Key = (Plural, String, String);

#[derive(Default)]
struct State {
    version: u64,
    objects: BTreeMap<Key, Value>,
    /// Of each event: its version, what it is of, and its line. Bookmarks are of nothing.
    events: Vec<(u64, Option<Key>, String)>,
    /// What is older was forgotten.
    oldest: u64,
    /// Lists of these are not answered.
    held: BTreeSet<Plural>,
    /// How requests for these are answered before all goes well again.
    failures: BTreeMap<Plural, VecDeque<u16>>,
    /// How often watches were cut in the middle of a line.
    cuts: u64,
    /// Watches are ended as soon as they begin.
    ends_watches: bool,
    requests: Vec<String>,
}

/// An API that runs until it is dropped or stopped.
pub(crate) struct FakeApi {
    state: Arc<Mutex<State>>,
    address: SocketAddr,
    task: Option<AbortHandle>,
}

/// The objects of a page, at most.
const PAGE: usize = 3;

impl FakeApi {
    pub(crate) async fn start() -> Self {
        let mut api = Self {
            state: Arc::new(Mutex::new(State { version: 100, ..State::default() })),
            address: ([127, 0, 0, 1], 0).into(),
            task: None,
        };
        api.listen().await;
        api
    }

    /// Listens, also once more on the port that it had.
    pub(crate) async fn listen(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.address = listener.local_addr().unwrap();
        self.task = Some(tokio::spawn(accept(listener, Arc::clone(&self.state))).abort_handle());
    }

    /// Closes all connections and refuses new ones.
    pub(crate) fn stop(&mut self) {
        self.task.take().unwrap().abort();
    }

    /// A kubeconfig for it in `directory`.
    pub(crate) fn kubeconfig(&self, directory: &Path) -> PathBuf {
        kubeconfig(directory, json!({"server": format!("http://{}", self.address)}))
    }

    /// Adds or changes an object.
    pub(crate) fn put(&self, object: Value) {
        let mut state = self.state.lock().unwrap();
        let key = key(&object);
        let kind = if state.objects.contains_key(&key) { "MODIFIED" } else { "ADDED" };
        state.tell(key.clone(), kind, object.clone());
        let version = state.version.to_string();
        state.objects.insert(key, versioned(object, &version));
    }

    /// Deletes an object that is like `object`.
    pub(crate) fn delete(&self, object: &Value) {
        let mut state = self.state.lock().unwrap();
        let key = key(object);
        let object = state.objects.remove(&key).unwrap();
        state.tell(key, "DELETED", object);
    }

    /// An object goes, and all that happened until now is forgotten: who did not see it has to list anew.
    pub(crate) fn delete_unseen(&self, object: &Value) {
        let mut state = self.state.lock().unwrap();
        state.objects.remove(&key(object)).unwrap();
        state.version += 10;
        state.oldest = state.version;
    }

    /// Something happened, of which nothing is to be seen here.
    pub(crate) fn bookmark(&self) -> u64 {
        let mut state = self.state.lock().unwrap();
        state.version += 10;
        let version = state.version;
        let metadata = json!({"resourceVersion": version.to_string()});
        let line = json!({"type": "BOOKMARK", "object": {"kind": "Service", "apiVersion": "v1", "metadata": metadata}});
        state.events.push((version, None, line.to_string()));
        version
    }

    /// Closes all watches in the middle of a line.
    pub(crate) fn cut(&self) {
        self.state.lock().unwrap().cuts += 1;
    }

    /// Watches are ended as soon as they begin, from now on or no more.
    pub(crate) fn end_watches(&self, at_once: bool) {
        self.state.lock().unwrap().ends_watches = at_once;
    }

    /// Lists of `plural` are not answered until [`FakeApi::release`].
    pub(crate) fn hold(&self, plural: Plural) {
        self.state.lock().unwrap().held.insert(plural);
    }

    pub(crate) fn release(&self, plural: Plural) {
        self.state.lock().unwrap().held.remove(plural);
    }

    /// The next requests for `plural` are answered so.
    pub(crate) fn fail(&self, plural: Plural, statuses: &[u16]) {
        self.state.lock().unwrap().failures.entry(plural).or_default().extend(statuses);
    }

    /// Whether all failures were met.
    pub(crate) fn has_failed(&self) -> bool {
        self.state.lock().unwrap().failures.values().all(VecDeque::is_empty)
    }

    /// All paths and queries that were asked for.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.state.lock().unwrap().requests.clone()
    }

    /// How many requests there were with each of `parts`.
    pub(crate) fn count(&self, parts: &[&str]) -> usize {
        self.requests().iter().filter(|request| parts.iter().all(|part| request.contains(part))).count()
    }
}

impl Drop for FakeApi {
    fn drop(&mut self) {
        self.task.take().inspect(AbortHandle::abort);
    }
}

impl State {
    fn tell(&mut self, key: Key, kind: &str, object: Value) {
        self.version += 1;
        let object = versioned(object, &self.version.to_string());
        let line = json!({"type": kind, "object": object}).to_string();
        self.events.push((self.version, Some(key), line));
    }
}

/// A kubeconfig for `cluster`.
pub(crate) fn kubeconfig(directory: &Path, cluster: Value) -> PathBuf {
    let file = directory.join("kubeconfig.json");
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": {"token": "secret"}}],
    });
    std::fs::write(&file, config.to_string()).unwrap();
    file
}

fn versioned(mut object: Value, version: &str) -> Value {
    object["metadata"]["resourceVersion"] = version.into();
    object["metadata"]["managedFields"] = json!([{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}]);
    object
}

fn key(object: &Value) -> Key {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let plural = match object["kind"].as_str().unwrap() {
        "Service" => "services",
        "EndpointSlice" => "endpointslices",
        "Pod" => "pods",
        "Node" => "nodes",
        other => panic!("{other} is not here"),
    };
    (plural, text(&object["metadata"]["namespace"]), text(&object["metadata"]["name"]))
}

async fn accept(listener: TcpListener, state: Arc<Mutex<State>>) {
    // They end with the server.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let state = Arc::clone(&state);
        // Whoever is not there any more has its reasons.
        connections.spawn(async move { drop(serve(stream, &state).await) });
    }
}

struct Request {
    plural: Plural,
    namespace: Option<String>,
    query: BTreeMap<String, String>,
}

impl Request {
    fn parse(target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let parts: Vec<&str> = path.split('/').collect();
        let all = ["services", "endpointslices", "pods", "nodes"];
        let plural = all.into_iter().find(|plural| parts.last() == Some(plural)).unwrap();
        let namespace = parts.iter().position(|part| *part == "namespaces").map(|at| parts[at + 1].to_owned());
        let decoded = |text: &str| text.replace("%3D", "=").replace("%2C", ",");
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let query = pairs.map(|(name, value)| (name.to_owned(), decoded(value))).collect();
        Self { plural, namespace, query }
    }

    fn wants(&self, (plural, namespace, name): &Key) -> bool {
        let selected = self.query.get("fieldSelector").and_then(|selector| selector.strip_prefix("metadata.name="));
        *plural == self.plural
            && self.namespace.as_ref().is_none_or(|own| own == namespace)
            && selected.is_none_or(|own| own == name)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.query.get(name)?.parse().ok()
    }
}

async fn serve(stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).await? == 0 {
                return Ok(());
            }
        }
        let target = head.split(' ').nth(1).unwrap().to_owned();
        assert!(head.contains("authorization: Bearer secret"), "{head}");
        let request = Request::parse(&target);
        let failure = {
            let mut state = state.lock().unwrap();
            state.requests.push(target);
            state.failures.get_mut(request.plural).and_then(VecDeque::pop_front)
        };
        if let Some(code) = failure {
            answer(stream.get_mut(), code, &status(code)).await?;
        } else if request.query.contains_key("watch") {
            return watch(stream.get_mut(), &request, state).await;
        } else {
            while state.lock().unwrap().held.contains(request.plural) {
                tokio::time::sleep(POLL).await;
            }
            let page = list(&request, &state.lock().unwrap());
            answer(stream.get_mut(), 200, &page).await?;
        }
    }
}

fn status(code: u16) -> Value {
    let (reason, message) = match code {
        403 => ("Forbidden", "services is forbidden: User \"system:serviceaccount:shop:web\" cannot list"),
        410 => ("Expired", "too old resource version"),
        429 => ("TooManyRequests", "the server has received too many requests"),
        _ => ("InternalError", "something went wrong"),
    };
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason,
        "code": code})
}

async fn answer(stream: &mut TcpStream, code: u16, body: &Value) -> std::io::Result<()> {
    let body = body.to_string();
    let length = body.len();
    let head = format!("HTTP/1.1 {code} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all((head + &body).as_bytes()).await
}

/// A page of a list; `continue` is how many objects were in the pages before.
fn list(request: &Request, state: &State) -> Value {
    let before = request.number("continue").unwrap_or_default() as usize;
    let page = PAGE.min(request.number("limit").map_or(PAGE, |limit| limit as usize));
    let wanted: Vec<&Value> =
        state.objects.iter().filter(|(key, _)| request.wants(key)).map(|(_, object)| object).collect();
    let items: Vec<Value> = wanted.iter().skip(before).take(page).map(|object| (*object).clone()).collect();
    let mut metadata = json!({"resourceVersion": state.version.to_string()});
    if before + page < wanted.len() {
        metadata["continue"] = (before + page).to_string().into();
    }
    json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items})
}

async fn watch(stream: &mut TcpStream, request: &Request, state: &Mutex<State>) -> std::io::Result<()> {
    let since = request.number("resourceVersion").unwrap();
    let (oldest, cuts) = {
        let state = state.lock().unwrap();
        (state.oldest, state.cuts)
    };
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    if since < oldest {
        let line = json!({"type": "ERROR", "object": status(410)});
        chunk(stream, &format!("{line}\n")).await?;
        return stream.write_all(b"0\r\n\r\n").await;
    }
    let mut next = 0;
    loop {
        let (lines, is_cut) = {
            let state = state.lock().unwrap();
            let new = state.events.iter().skip(next);
            let wanted =
                new.filter(|(version, key, _)| *version > since && key.as_ref().is_none_or(|key| request.wants(key)));
            let lines: String = wanted.map(|(_, _, line)| format!("{line}\n")).collect();
            next = state.events.len();
            (lines, state.cuts != cuts)
        };
        if state.lock().unwrap().ends_watches {
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
