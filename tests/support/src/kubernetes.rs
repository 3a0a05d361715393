//! A small Kubernetes API: lists in pages, watches with bookmarks, and every way in which the real one lets one down; and
//! kubectl applies to it.
//!
//! It records what it is told, and that is all. Nothing is admitted, defaulted or validated but that a namespace must be
//! there, no controller acts, no kubelet runs anything. Of patches it knows what kubectl sends. It reads JSON alone:
//! `kubectl create namespace` and others of its short forms send Protobuf. A list comes in pages of three objects.

mod patch;
mod request;
mod resources;
mod serve;
mod state;

use std::{
    collections::VecDeque,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::AbortHandle};

pub use self::state::Snapshot;
use self::{
    serve::accept,
    state::{ApiState, ObjectKey, Plural, lock},
};

/// An API that runs until it is dropped or stopped.
pub struct KubernetesApi {
    state: Arc<Mutex<ApiState>>,
    address: SocketAddr,
    task: Option<AbortHandle>,
}

impl KubernetesApi {
    /// Starts it with nothing in it, on loopback.
    ///
    /// # Errors
    /// Where it cannot listen.
    pub async fn start() -> Result<Self> {
        Self::start_on(([127, 0, 0, 1], 0).into()).await
    }

    /// Starts it on another address.
    ///
    /// # Errors
    /// Where it cannot listen.
    pub async fn start_on(address: SocketAddr) -> Result<Self> {
        let state = Arc::new(Mutex::new(ApiState { version: 100, ..ApiState::default() }));
        let mut api = Self { state, address, task: None };
        api.listen().await?;
        Ok(api)
    }

    /// Listens, also once more on the port that it had.
    ///
    /// # Errors
    /// Where it cannot listen.
    pub async fn listen(&mut self) -> Result<()> {
        let listener = TcpListener::bind(self.address).await.context("the API cannot listen")?;
        self.address = listener.local_addr()?;
        self.task = Some(tokio::spawn(accept(listener, Arc::clone(&self.state))).abort_handle());
        Ok(())
    }

    /// Closes all connections and refuses new ones.
    pub fn stop(&mut self) {
        self.task.take().inspect(AbortHandle::abort);
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A kubeconfig for it in `directory`.
    #[must_use]
    pub fn kubeconfig(&self, directory: &Path) -> PathBuf {
        kubeconfig(directory, json!({"server": format!("http://{}", self.address)}))
    }

    /// Adds or changes an object.
    ///
    /// # Panics
    /// Where the API has no such kind.
    pub fn put(&self, object: Value) {
        lock(&self.state).put(key(&object), object);
    }

    /// Changes fields of an object, as a controller does with a status.
    ///
    /// # Panics
    /// Where there is none.
    pub fn merge(&self, kind: &str, namespace: &str, name: &str, fields: &Value) {
        let mut state = lock(&self.state);
        let resource = resources::of_kind(kind).expect("the API has that kind");
        let key = (resource.plural, namespace.to_owned(), name.to_owned());
        let mut object = state.objects.get(&key).expect("it is there").clone();
        patch::merge(&mut object, fields, false);
        state.put(key, object);
    }

    /// Deletes an object that is like `object`.
    ///
    /// # Panics
    /// Where there is none.
    pub fn delete(&self, object: &Value) {
        lock(&self.state).remove(&key(object)).expect("it is there");
    }

    /// An object goes, and all that happened until now is forgotten: who did not see it has to list anew.
    ///
    /// # Panics
    /// Where there is none.
    pub fn delete_unseen(&self, object: &Value) {
        let mut state = lock(&self.state);
        state.objects.remove(&key(object)).expect("it is there");
        state.version += 10;
        state.oldest = state.version;
    }

    /// All objects as they were applied or put: without what the API or kubectl wrote into their metadata.
    #[must_use]
    pub fn objects(&self) -> Vec<Value> {
        lock(&self.state).objects.values().map(bare).collect()
    }

    /// The object of this kind, namespace (none is "") and name, in the same form.
    #[must_use]
    pub fn object(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        let key = (resources::of_kind(kind)?.plural, namespace.to_owned(), name.to_owned());
        lock(&self.state).objects.get(&key).map(bare)
    }

    /// Something happened, of which nothing is to be seen here.
    pub fn bookmark(&self) -> u64 {
        let mut state = lock(&self.state);
        state.version += 10;
        let version = state.version;
        let metadata = json!({"resourceVersion": version.to_string()});
        let line = json!({"type": "BOOKMARK", "object": {"kind": "Service", "apiVersion": "v1", "metadata": metadata}});
        state.events.push((version, None, line.to_string()));
        version
    }

    /// Closes all watches in the middle of a line.
    pub fn cut(&self) {
        lock(&self.state).cuts += 1;
    }

    /// Watches are ended as soon as they begin, from now on or no more.
    pub fn end_watches(&self, at_once: bool) {
        lock(&self.state).ends_watches = at_once;
    }

    /// What etcd keeps, as a backup of it.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        lock(&self.state).snapshot()
    }

    /// Restores the backup, under the same address. Versions go back to what they were then.
    pub fn restore(&self, snapshot: Snapshot) {
        lock(&self.state).restore(snapshot);
    }

    /// Requests are accepted and not answered, from now on or no more.
    pub fn fall_silent(&self, is_silent: bool) {
        lock(&self.state).is_silent = is_silent;
    }

    /// The `Accept-Encoding` of each request whose path and query contain `part`.
    #[must_use]
    pub fn encodings(&self, part: &str) -> Vec<String> {
        let state = lock(&self.state);
        let all = state.requests.iter().zip(&state.encodings);
        all.filter(|(request, _)| request.contains(part)).map(|(_, encoding)| encoding.clone()).collect()
    }

    /// Lists of `plural` are not answered until [`KubernetesApi::release`].
    pub fn hold(&self, plural: Plural) {
        lock(&self.state).held.insert(plural);
    }

    /// Lists of `plural` are answered again.
    pub fn release(&self, plural: Plural) {
        lock(&self.state).held.remove(plural);
    }

    /// The next requests for `plural` are answered so.
    pub fn fail(&self, plural: Plural, statuses: &[u16]) {
        lock(&self.state).failures.entry(plural).or_default().extend(statuses);
    }

    /// Whether all failures were met.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        lock(&self.state).failures.values().all(VecDeque::is_empty)
    }

    /// All paths and queries that were asked for.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        lock(&self.state).requests.clone()
    }

    /// How many requests there were with each of `parts`.
    #[must_use]
    pub fn count(&self, parts: &[&str]) -> usize {
        self.requests().iter().filter(|request| parts.iter().all(|part| request.contains(part))).count()
    }
}

impl Drop for KubernetesApi {
    fn drop(&mut self) {
        self.task.take().inspect(AbortHandle::abort);
    }
}

/// A kubeconfig for `cluster`, as such a file says where it is.
///
/// # Panics
/// Where it cannot be written.
#[must_use]
pub fn kubeconfig(directory: &Path, cluster: Value) -> PathBuf {
    let file = directory.join("kubeconfig.json");
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": {"token": "secret"}}],
    });
    std::fs::write(&file, config.to_string()).expect("it can be written");
    file
}

/// `object` without what was written beside what its author wrote.
fn bare(object: &Value) -> Value {
    let mut object = object.clone();
    let Some(metadata) = object["metadata"].as_object_mut() else { return object };
    metadata.retain(|field, _| field != "resourceVersion" && field != "managedFields");
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.remove(patch::LAST_APPLIED);
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
    object
}

fn key(object: &Value) -> ObjectKey {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let kind = text(&object["kind"]);
    let resource = resources::of_kind(&kind).unwrap_or_else(|| panic!("the API has no kind {kind:?}"));
    (resource.plural, text(&object["metadata"]["namespace"]), text(&object["metadata"]["name"]))
}
