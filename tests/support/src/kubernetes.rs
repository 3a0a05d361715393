//! A small Kubernetes API: lists in pages, watches with bookmarks, `kubectl apply`, and the failures of a real API.
//!
//! It only records objects. It checks that a namespace exists, but it admits, defaults and validates nothing else. No
//! controller and no kubelet runs. It knows the patches that kubectl sends. It reads only JSON, but `kubectl create
//! namespace` and other short forms of kubectl send Protobuf. A page of a list has three objects, unless a test wants more.

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

/// The maximum number of objects on a page: tests have few objects, and still several pages.
const PAGE: usize = 3;

/// An API that runs until it is dropped or stopped.
pub struct KubernetesApi {
    state: Arc<Mutex<ApiState>>,
    address: SocketAddr,
    task: Option<AbortHandle>,
}

impl KubernetesApi {
    /// Starts an empty API on loopback.
    ///
    /// # Errors
    /// If the API cannot listen.
    pub async fn start() -> Result<Self> {
        Self::start_on(([127, 0, 0, 1], 0).into()).await
    }

    /// Starts an empty API on another address.
    ///
    /// # Errors
    /// If the API cannot listen.
    pub async fn start_on(address: SocketAddr) -> Result<Self> {
        let state = Arc::new(Mutex::new(ApiState { version: 100, page: PAGE, ..ApiState::default() }));
        let mut api = Self { state, address, task: None };
        api.listen().await?;
        Ok(api)
    }

    /// Listens, again on the same port after a stop.
    ///
    /// # Errors
    /// If the API cannot listen.
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

    /// The address at which the API listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Writes a kubeconfig for the API to `directory`.
    #[must_use]
    pub fn kubeconfig(&self, directory: &Path) -> PathBuf {
        kubeconfig(directory, json!({"server": format!("http://{}", self.address)}))
    }

    /// Adds or changes an object.
    ///
    /// # Panics
    /// If the API has no such kind.
    pub fn put(&self, object: Value) {
        lock(&self.state).put(key(&object), object);
    }

    /// Changes fields of an object, as a controller does with a status.
    ///
    /// # Panics
    /// If the object does not exist.
    pub fn merge(&self, kind: &str, namespace: &str, name: &str, fields: &Value) {
        let mut state = lock(&self.state);
        let resource = resources::of_kind(kind).expect("the API has that kind");
        let key = (resource.plural, namespace.to_owned(), name.to_owned());
        let mut object = state.objects.get(&key).expect("it is there").clone();
        patch::merge(&mut object, fields, false);
        state.put(key, object);
    }

    /// Deletes the object with the name of `object`.
    ///
    /// # Panics
    /// If the object does not exist.
    pub fn delete(&self, object: &Value) {
        lock(&self.state).remove(&key(object)).expect("it is there");
    }

    /// Deletes an object and forgets all events, so that watches must list again.
    ///
    /// # Panics
    /// If the object does not exist.
    pub fn delete_unseen(&self, object: &Value) {
        let mut state = lock(&self.state);
        state.objects.remove(&key(object)).expect("it is there");
        state.version += 10;
        state.oldest = state.version;
    }

    /// All objects as they were applied or put, without the metadata that the API or kubectl added.
    #[must_use]
    pub fn objects(&self) -> Vec<Value> {
        lock(&self.state).objects.values().map(bare).collect()
    }

    /// The object of this kind, namespace ("" for none) and name, as in [`KubernetesApi::objects`].
    #[must_use]
    pub fn object(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        let key = (resources::of_kind(kind)?.plural, namespace.to_owned(), name.to_owned());
        lock(&self.state).objects.get(&key).map(bare)
    }

    /// Sends a bookmark with a new version to all watches, and returns the version.
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

    /// Sets whether watches end as soon as they begin.
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

    /// Answers lists in pages of so many objects. With many objects, pages of three take long.
    pub fn list_in_pages_of(&self, objects: usize) {
        lock(&self.state).page = objects;
    }

    /// Lets lists of `plural` wait until [`KubernetesApi::release`].
    pub fn hold(&self, plural: Plural) {
        lock(&self.state).held.insert(plural);
    }

    /// Answers the waiting lists of `plural`.
    pub fn release(&self, plural: Plural) {
        lock(&self.state).held.remove(plural);
    }

    /// Answers the next requests for `plural` with these statuses.
    pub fn fail(&self, plural: Plural, statuses: &[u16]) {
        lock(&self.state).failures.entry(plural).or_default().extend(statuses);
    }

    /// Knows a token from now on: it is this user's, for this audience.
    pub fn put_token(&self, token: &str, username: &str, audience: &str) {
        lock(&self.state).tokens.insert(token.to_owned(), (username.to_owned(), audience.to_owned()));
    }

    /// Forgets a token, as when its pod is gone.
    pub fn forget_token(&self, token: &str) {
        lock(&self.state).tokens.remove(token);
    }

    /// Whether all statuses of [`KubernetesApi::fail`] were sent.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        lock(&self.state).failures.values().all(VecDeque::is_empty)
    }

    /// The paths and queries of all requests.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        lock(&self.state).requests.clone()
    }

    /// The number of requests that contain all of `parts`.
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

/// Writes a kubeconfig for `cluster`, a cluster entry of such a file.
///
/// # Panics
/// If the file cannot be written.
#[must_use]
pub fn kubeconfig(directory: &Path, cluster: Value) -> PathBuf {
    kubeconfig_with(directory.join("kubeconfig.json"), cluster, "secret")
}

/// A kubeconfig in `file` for `cluster`, whose user has this token.
///
/// # Panics
/// If it cannot be written.
#[must_use]
pub fn kubeconfig_with(file: PathBuf, cluster: Value, token: &str) -> PathBuf {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": {"token": token}}],
    });
    std::fs::write(&file, config.to_string()).expect("it can be written");
    file
}

/// `object` with only the fields that its author wrote.
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
