//! Watches a cluster through its API: lists each kind, then watches it until the process ends.

use std::{collections::BTreeSet, path::PathBuf, pin::pin, sync::Arc, time::Duration};

use anyhow::Context;
use futures_util::StreamExt;
use kube::{
    Client, Config,
    client::ClientBuilder,
    config::{KubeConfigOptions, Kubeconfig},
    core::Status,
    runtime::watcher::{self, Event, watcher},
};
use tokio::{
    sync::mpsc,
    task::AbortHandle,
    time::{sleep, timeout},
};
use tower::limit::RateLimitLayer;

use super::{
    backoff::Backoff,
    metrics::Metrics,
    object::{ObjectKind, WatchedObject},
    store::{Failure, Feed, Store},
};
use crate::{
    input::InputError,
    kubernetes::{ClusterState, NamespacedName},
};

/// Read timeout. A server sends a bookmark about every minute, so a longer silence means that it is gone.
const SILENCE: Duration = Duration::from_secs(150);
/// Connect timeout.
const CONNECT: Duration = Duration::from_secs(5);
/// A restarted watch without an error for this long counts as recovered. It must exceed the time that a failure takes.
const QUIET: Duration = Duration::from_secs(8);
/// Objects in a page of a list, and capacity of the update channel. Both bound memory: queued objects are not trimmed yet.
const PAGE: u32 = 200;
const WAITING: usize = 16;
/// Maximum requests a second. kube restarts an ended watch at once, and a proxy may end every watch at once.
const REQUESTS: u64 = 50;
/// HTTP status 410: the resource version is too old.
const GONE: u16 = 410;
const FORBIDDEN: u16 = 403;

/// Options of the API source.
#[derive(Clone, Debug, Default)]
pub struct ApiOptions {
    /// The kubeconfig. Default: the one that kubectl uses, or the pod's service account.
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig. Default: the current context.
    pub context: Option<String>,
    /// Namespaces whose Services are watched; empty for all.
    pub namespaces: BTreeSet<String>,
    /// The caller's pod.
    pub pod: Option<NamespacedName>,
    /// Namespaces with subsets by pod labels, whose Pods are watched.
    pub namespaces_of_labels: BTreeSet<String>,
}

struct Update {
    feed: Feed,
    what: What,
}

enum What {
    Happened(Box<Event<WatchedObject>>),
    Failed(Failure),
    /// A restarted watch has been without errors for [`QUIET`].
    Quiet,
}

/// A cluster that is watched through its API.
pub(super) struct Api {
    client: Client,
    store: Store,
    sender: mpsc::Sender<Update>,
    updates: mpsc::Receiver<Update>,
    /// The watch of the node that the caller's pod runs on.
    node: Option<(Feed, AbortHandle)>,
    /// The watched kinds and the API's URL, as text for people.
    pub(super) called: String,
}

impl Api {
    pub(super) async fn connect(options: &ApiOptions, metrics: Arc<Metrics>) -> anyhow::Result<Self> {
        let config = config(options).await?;
        let url = config.cluster_url.clone();
        let client = ClientBuilder::try_from(config).context("cannot create a client from this kubeconfig")?;
        let client = client.with_layer(&RateLimitLayer::new(REQUESTS, Duration::from_secs(1))).build();
        let (sender, updates) = mpsc::channel(WAITING);
        let store = Store::new(options.pod.clone(), !options.namespaces_of_labels.is_empty(), metrics);
        let mut api = Self { client, store, sender, updates, node: None, called: String::new() };
        let feeds = feeds(options);
        let words: Vec<String> = feeds.iter().map(ToString::to_string).collect();
        api.called = format!("{} at {url}", words.join(", "));
        for feed in feeds {
            api.follow(feed);
        }
        Ok(api)
    }

    /// Waits for the next event. Returns whether it changes the cluster.
    pub(super) async fn changed(&mut self) -> bool {
        // Never `None`: `self` holds a sender.
        let Some(Update { feed, what }) = self.updates.recv().await else { return false };
        let changed = match what {
            What::Happened(event) => self.store.take(&feed, *event),
            What::Failed(failure) => {
                self.store.failed(&feed, failure);
                false
            }
            What::Quiet => {
                self.store.is_well(&feed);
                false
            }
        };
        if changed && feed.kind == ObjectKind::Pod {
            self.follow_node();
        }
        changed
    }

    /// The cluster, once every kind is listed.
    pub(super) fn cluster(&self) -> Option<&ClusterState> {
        self.store.cluster()
    }

    /// Objects that cannot be read, and are ignored.
    pub(super) fn unreadable(&self) -> impl Iterator<Item = &InputError> {
        self.store.unreadable()
    }

    fn follow(&mut self, feed: Feed) -> AbortHandle {
        self.store.expect(feed.clone());
        tokio::spawn(follow(self.client.clone(), feed, self.sender.clone())).abort_handle()
    }

    /// Watches the Node that the caller's pod runs on, once the Pod names it.
    fn follow_node(&mut self) {
        let Some(name) = self.store.node_of_pod() else { return };
        let feed = Feed { kind: ObjectKind::Node, namespace: None, name: Some(name.to_owned()) };
        if self.node.as_ref().is_some_and(|(followed, _)| *followed == feed) {
            return;
        }
        if let Some((old, task)) = self.node.take() {
            task.abort();
            self.store.forget(&old);
        }
        self.node = Some((feed.clone(), self.follow(feed)));
    }
}

async fn config(options: &ApiOptions) -> anyhow::Result<Config> {
    let ApiOptions { kubeconfig, context, .. } = options;
    let chosen = KubeConfigOptions { context: context.clone(), ..KubeConfigOptions::default() };
    let mut config = match (kubeconfig, context) {
        (Some(file), _) => {
            let read = async {
                anyhow::Ok(Config::from_custom_kubeconfig(Kubeconfig::read_from(file)?, &chosen).await?)
            };
            read.await.with_context(|| format!("{}: is not a usable kubeconfig", file.display()))?
        }
        (None, Some(_)) => Config::from_kubeconfig(&chosen).await.context("cannot use this context of the kubeconfig")?,
        (None, None) => Config::infer().await.context(
            "no cluster is configured; pass --kubeconfig, run in a pod with a service account token, or watch files with \
             --from-dir",
        )?,
    };
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(SILENCE);
    config.reset_reader_on_write = true;
    // `follow` retries, so that failures are counted.
    config.default_retry = false;
    Ok(config)
}

fn feeds(options: &ApiOptions) -> Vec<Feed> {
    let everywhere = |kind| match options.namespaces.len() {
        0 => vec![Feed { kind, namespace: None, name: None }],
        _ => in_each(kind, &options.namespaces),
    };
    let mut feeds = everywhere(ObjectKind::Service);
    feeds.extend(everywhere(ObjectKind::EndpointSlice));
    feeds.extend(in_each(ObjectKind::Pod, &options.namespaces_of_labels));
    if let Some(pod) = options.pod.as_ref().filter(|pod| !options.namespaces_of_labels.contains(&pod.namespace)) {
        let NamespacedName { namespace, name } = pod.clone();
        feeds.push(Feed { kind: ObjectKind::Pod, namespace: Some(namespace), name: Some(name) });
    }
    feeds
}

fn in_each(kind: ObjectKind, namespaces: &BTreeSet<String>) -> Vec<Feed> {
    namespaces.iter().map(|namespace| Feed { kind, namespace: Some(namespace.clone()), name: None }).collect()
}

/// Lists and watches `feed`, and sends every event to `updates`.
async fn follow(client: Client, feed: Feed, updates: mpsc::Sender<Update>) {
    let resource = feed.kind.resource();
    let api: kube::Api<WatchedObject> = match &feed.namespace {
        Some(namespace) => kube::Api::namespaced_with(client, namespace, &resource),
        None => kube::Api::all_with(client, &resource),
    };
    let field_selector = feed.name.as_ref().map(|name| format!("metadata.name={name}"));
    let options = watcher::Config { field_selector, page_size: Some(PAGE), ..watcher::Config::default() };
    let tell = async |what| updates.send(Update { feed: feed.clone(), what }).await.is_ok();
    let mut backoff = Backoff::default();
    'anew: loop {
        let mut events = pin!(watcher(api.clone(), options.clone()));
        // Whether the watch was restarted after an error, with no event since.
        let mut is_in_doubt = false;
        loop {
            let event = match is_in_doubt {
                true => timeout(QUIET, events.next()).await,
                false => Ok(events.next().await),
            };
            let (what, wait) = match event {
                Ok(None) => continue 'anew,
                Ok(Some(Ok(event))) => {
                    is_in_doubt = false;
                    // Other events may come from a list that fails halfway every time.
                    if matches!(event, Event::InitDone | Event::Apply(_) | Event::Delete(_)) {
                        backoff.reset();
                    }
                    (What::Happened(Box::new(event)), None)
                }
                Ok(Some(Err(error))) => {
                    is_in_doubt = true;
                    let status = status_of(&error);
                    let is_gone = status.is_some_and(|status| status.code == GONE);
                    let asked = status.and_then(|status| Some(status.details.as_ref()?.retry_after_seconds));
                    let wait = backoff.next().max(Duration::from_secs(asked.unwrap_or_default().into()));
                    let failure = Failure { text: words(&error), is_usual: is_gone };
                    (What::Failed(failure), Some((wait, is_gone)))
                }
                Err(_elapsed) => {
                    is_in_doubt = false;
                    backoff.reset();
                    (What::Quiet, None)
                }
            };
            if !tell(what).await {
                return;
            }
            if let Some((wait, is_gone)) = wait {
                sleep(wait).await;
                if is_gone {
                    continue 'anew;
                }
            }
        }
    }
}

fn status_of(error: &watcher::Error) -> Option<&Status> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status),
        _ => None,
    }
}

/// The error as text for people.
fn words(error: &watcher::Error) -> String {
    if let Some(status) = status_of(error) {
        let Status { code, reason, message, .. } = status;
        let advice =
            if *code == FORBIDDEN { "; examples/kubernetes/rbac.yaml grants the needed permissions" } else { "" };
        return format!("the API answers {code} {reason}: {message}{advice}");
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let why = cause.to_string();
        if !text.contains(&why) {
            text.push_str(": ");
            text.push_str(&why);
        }
        source = cause.source();
    }
    text
}
