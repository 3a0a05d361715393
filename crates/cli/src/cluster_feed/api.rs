//! Watches a cluster through its API.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tokio::{
    sync::{Notify, mpsc, watch},
    task::AbortHandle,
    time::Instant,
};

use super::{
    announcer::{Announcer, Line},
    api_options::ApiOptions,
    brake::Losses,
    client::Clients,
    feed::{self, Feed},
    follow::{Follower, News, Update},
    hold::{Hold, MixHold},
    metrics::FeedMetrics,
    namespaces::Namespaces,
    object::{ObjectKind, Trim},
    pulse,
    recovery::Recovery,
    store::Store,
    token_reviewer::TokenReviewer,
    touched::Touched,
};
use crate::{
    daemon::{Debouncer, log, until},
    input::InputError,
    kubernetes::{self, ClusterState, NamespacedName},
};

/// Capacity of the update channel. It bounds memory, since a page of a list waits in it.
const WAITING: usize = 4;

/// What an event changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    None,
    /// The cluster.
    Cluster,
    /// All feeds are current again: what was held up may be written, once what they missed is there.
    Resumed,
}

impl Change {
    fn of_cluster(is_changed: bool) -> Self {
        if is_changed { Self::Cluster } else { Self::None }
    }

    /// Lets `debouncer` decide when to react to it.
    pub(crate) fn tell(self, debouncer: &mut Debouncer) {
        match self {
            Self::None => {}
            Self::Cluster => debouncer.changed(),
            Self::Resumed => debouncer.resumed(),
        }
    }
}

/// The task that follows a feed.
struct Task {
    abort: AbortHandle,
    relist: Arc<Notify>,
}

/// A cluster that is watched through its API.
pub(super) struct Api {
    clients: Arc<Clients>,
    recovery: Recovery,
    /// Changes when the API cannot be reached.
    lost: watch::Sender<()>,
    trim: Trim,
    store: Store,
    hold: MixHold,
    announcer: Announcer,
    namespaces: Namespaces,
    sender: mpsc::Sender<Update>,
    updates: mpsc::Receiver<Update>,
    tasks: BTreeMap<Feed, Task>,
    /// The Node that the caller's pod runs on.
    node: Option<Feed>,
    /// The watched kinds and the API's URL, as text for people.
    pub(super) called: String,
}

impl Api {
    pub(super) async fn connect(options: &ApiOptions, metrics: Arc<FeedMetrics>) -> anyhow::Result<Self> {
        let recovery = Recovery::new();
        let clients = Arc::new(Clients::new(options.access.clone(), recovery.clone()).await?);
        tokio::spawn({
            let clients = Arc::clone(&clients);
            async move { clients.watch_files().await }
        });
        let lost = watch::Sender::new(());
        tokio::spawn(pulse::watch_over(Arc::clone(&clients), lost.clone()));
        let (sender, updates) = mpsc::channel(WAITING);
        let has_pods = !options.namespaces_of_labels.is_empty();
        let trim = Trim { has_pods, pod: options.pod.clone(), place: kubernetes::from_api() };
        let feeds = feeds(options);
        let called = format!("{} at {}", feed::called(&feeds.iter().cloned().collect()), clients.url);
        let mut api = Self {
            namespaces: Namespaces::new(Arc::clone(&clients)),
            clients,
            recovery,
            lost,
            trim,
            store: Store::new(options.pod.clone(), metrics),
            hold: MixHold::new(Instant::now()),
            announcer: Announcer::default(),
            sender,
            updates,
            tasks: BTreeMap::new(),
            node: None,
            called,
        };
        for feed in feeds {
            api.follow(feed);
        }
        Ok(api)
    }

    /// Waits for the next event.
    pub(super) async fn changed(&mut self) -> Change {
        tokio::select! {
            // Never `None`: `self` holds a sender.
            Some(update) = self.updates.recv() => self.take(update),
            () = until(self.announcer.due()) => {
                self.announce();
                Change::None
            }
            () = self.namespaces.checked() => Change::None,
        }
    }

    /// Logs the news that waits for more of its like.
    pub(super) fn announce(&mut self) {
        for line in self.announcer.take() {
            match line {
                Line::Warning(text) => log::warn(&text),
                Line::Note(text) => log::note(&text),
            }
        }
    }

    /// The cluster, once every kind is listed.
    pub(super) fn cluster(&self) -> Option<&ClusterState> {
        self.store.cluster()
    }

    /// Whether the cluster may be written, or is a mix of old and new.
    pub(super) fn hold(&self) -> Hold {
        self.hold.state()
    }

    /// Gives up on feeds that alone have failed for long.
    pub(super) fn excuse(&mut self) {
        let excused = self.hold.excuse(Instant::now());
        if !excused.is_empty() {
            log::warn(&format!(
                "{}: still failing; from now on the others count alone, which may mix old and new objects",
                feed::called(&excused)
            ));
        }
    }

    /// The objects that lists no longer have.
    pub(super) fn losses(&self) -> Losses {
        self.store.losses()
    }

    /// Accepts that objects are missing.
    pub(super) fn accept_losses(&mut self) {
        self.store.accept_losses();
    }

    /// Lists the feeds of these kinds anew that lost objects.
    pub(super) fn list_again(&self, kinds: &[&str]) {
        for kind in ObjectKind::ALL.into_iter().filter(|kind| kinds.contains(&kind.name())) {
            for feed in self.store.feeds_that_lost(kind) {
                if let Some(task) = self.tasks.get(feed) {
                    task.relist.notify_one();
                }
            }
        }
    }

    /// Takes the Services that may have changed since the last call.
    pub(super) fn take_touched(&mut self) -> Touched {
        self.store.take_touched()
    }

    /// Whether a watch fails, so that the cluster may have changed since.
    pub(super) fn is_failing(&self) -> bool {
        self.store.is_failing()
    }

    /// Who knows whose a token is.
    pub(super) fn token_reviewer(&self) -> TokenReviewer {
        TokenReviewer::new(Arc::clone(&self.clients))
    }

    /// Objects that cannot be read, and are ignored.
    pub(super) fn unreadable(&self) -> impl Iterator<Item = &InputError> {
        self.store.unreadable()
    }

    fn take(&mut self, Update { feed, news }: Update) -> Change {
        let now = Instant::now();
        let changed = match news {
            News::ListBegan { is_scheduled } => {
                self.store.list_began(&feed);
                // The old objects are as current as the others until the list is complete.
                if !is_scheduled {
                    self.stale(&feed, now);
                }
                Change::None
            }
            News::Page(items) => {
                self.store.page(&feed, items);
                Change::None
            }
            News::Listed => {
                let changed = self.store.listed(&feed, now);
                if let (ObjectKind::Service, Some(namespace)) = (feed.kind, &feed.namespace) {
                    self.namespaces.listed(namespace, self.store.names(&feed).is_empty());
                }
                // A second list may agree with what the first one lacks.
                Change::of_cluster(changed || self.store.has_losses())
            }
            News::Watching => {
                if self.store.watching(&feed) {
                    self.announcer.recovered(&feed, now);
                }
                let was_open = self.hold.state() == Hold::Open;
                self.hold.current(&feed, now);
                if !was_open && self.hold.state() == Hold::Open { Change::Resumed } else { Change::None }
            }
            News::Changed(item) => {
                if let (ObjectKind::Service, Some(namespace)) = (feed.kind, &feed.namespace) {
                    self.namespaces.listed(namespace, false);
                }
                Change::of_cluster(self.store.changed(&feed, *item))
            }
            News::Deleted(name) => Change::of_cluster(self.store.deleted(&feed, &name)),
            News::WentBack(back) => {
                self.announcer.went_back(&feed, back, now);
                self.stale(&feed, now);
                Change::None
            }
            News::Failed { failure, is_routine } => {
                self.stale(&feed, now);
                if self.store.failed(&feed, &failure, is_routine) {
                    self.announcer.failed(&feed, failure, self.store.is_listed(&feed), now);
                }
                Change::None
            }
        };
        if changed == Change::Cluster && feed.kind == ObjectKind::Pod {
            self.follow_node();
        }
        changed
    }

    fn stale(&mut self, feed: &Feed, now: Instant) {
        if self.store.is_listed(feed) {
            self.hold.stale(feed, now);
        }
    }

    fn follow(&mut self, feed: Feed) {
        self.store.expect(feed.clone());
        let relist = Arc::new(Notify::new());
        let follower = Follower::new(
            feed.clone(),
            Arc::clone(&self.clients),
            self.trim.clone(),
            self.sender.clone(),
            self.recovery.clone(),
            self.lost.subscribe(),
            Arc::clone(&relist),
        );
        let abort = tokio::spawn(follower.run()).abort_handle();
        self.tasks.insert(feed, Task { abort, relist });
    }

    /// Watches the Node that the caller's pod runs on, once the Pod names it.
    fn follow_node(&mut self) {
        let Some(name) = self.store.node_of_pod() else { return };
        let feed = Feed { kind: ObjectKind::Node, namespace: None, name: Some(name.to_owned()) };
        if self.node.as_ref() == Some(&feed) {
            return;
        }
        if let Some(old) = self.node.replace(feed.clone()) {
            if let Some(task) = self.tasks.remove(&old) {
                task.abort.abort();
            }
            self.store.forget(&old);
        }
        self.follow(feed);
    }
}

fn feeds(options: &ApiOptions) -> Vec<Feed> {
    let everywhere = |kind| match options.namespaces.len() {
        0 => vec![Feed { kind, namespace: None, name: None }],
        _ => in_each(kind, &options.namespaces),
    };
    let mut feeds = everywhere(ObjectKind::Service);
    feeds.extend(everywhere(ObjectKind::EndpointSlice));
    feeds.extend(in_each(ObjectKind::Pod, &options.namespaces_of_labels));
    if options.has_exports {
        let one = |name| Feed { kind: ObjectKind::Namespace, namespace: None, name };
        match options.namespaces.len() {
            0 => feeds.push(one(None)),
            _ => feeds.extend(options.namespaces.iter().map(|name| one(Some(name.clone())))),
        }
    }
    if let Some(pod) = options.pod.as_ref().filter(|pod| !options.namespaces_of_labels.contains(&pod.namespace)) {
        let NamespacedName { namespace, name } = pod.clone();
        feeds.push(Feed { kind: ObjectKind::Pod, namespace: Some(namespace), name: Some(name) });
    }
    feeds
}

fn in_each(kind: ObjectKind, namespaces: &BTreeSet<String>) -> Vec<Feed> {
    namespaces.iter().map(|namespace| Feed { kind, namespace: Some(namespace.clone()), name: None }).collect()
}
