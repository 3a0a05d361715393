//! Follows one feed: lists its objects, then watches them, until the process ends.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use hyper::{Request, Response};
use kube::{
    api::{ListParams, WatchParams},
    client::Body,
    core::{Request as ApiRequest, Status},
};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    client::Clients,
    event::{Event, EventKind},
    feed::Feed,
    object::{Kept, Trim, WatchedObject},
    progress::{Progress, Step, Wait, WentBack},
    recovery::Recovery,
};
use crate::{
    input::InputError,
    kube_api::{
        Cause, Failure,
        request::{self, HEADERS},
    },
    kubernetes::NamespacedName,
};

/// Longest silence of a watch. A server sends a bookmark about every minute, so a longer silence means that it is gone.
const SILENCE: Duration = Duration::from_secs(150);
/// Objects in a page of a list. It bounds memory.
const PAGE: u32 = 200;

/// An object, or why it cannot be read.
pub(super) type Item = (NamespacedName, Result<Kept, InputError>);

/// News of a feed.
#[derive(Debug)]
pub(super) enum News {
    ListBegan {
        /// Whether only the time asked for it: then nothing is known to be missed.
        is_scheduled: bool,
    },
    Page(Vec<Item>),
    Listed,
    /// The headers of a watch came.
    Watching,
    Changed(Box<Item>),
    Deleted(NamespacedName),
    WentBack(WentBack),
    Failed {
        failure: Failure,
        /// Whether it is routine: a resourceVersion that has expired.
        is_routine: bool,
    },
}

/// News, and the feed that it is of.
#[derive(Debug)]
pub(super) struct Update {
    pub(super) feed: Feed,
    pub(super) news: News,
}

/// Why a step ended early.
enum Stop {
    Failed(Failure),
    /// Nobody listens any more.
    Closed,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// One feed.
pub(super) struct Follower {
    feed: Feed,
    clients: Arc<Clients>,
    trim: Trim,
    updates: mpsc::Sender<Update>,
    recovery: Recovery,
    recovered: watch::Receiver<()>,
    /// Changes when the API cannot be reached.
    lost: watch::Receiver<()>,
    /// Asks for a list.
    relist: Arc<Notify>,
    /// Whether the API has not answered since the last failure.
    is_failing: bool,
    progress: Progress,
}

impl Follower {
    pub(super) fn new(
        feed: Feed,
        clients: Arc<Clients>,
        trim: Trim,
        updates: mpsc::Sender<Update>,
        recovery: Recovery,
        lost: watch::Receiver<()>,
        relist: Arc<Notify>,
    ) -> Self {
        let (recovered, progress) = (recovery.subscribe(), Progress::new(Instant::now()));
        Self { feed, clients, trim, updates, recovery, recovered, lost, relist, is_failing: false, progress }
    }

    /// Follows the feed until nobody listens any more.
    pub(super) async fn run(mut self) {
        loop {
            let done = match self.progress.step(Instant::now()) {
                Step::List => self.list().await,
                Step::Probe => self.probe().await,
                Step::Watch(version) => self.watch(&version).await,
            };
            let failure = match done {
                Ok(()) => continue,
                Err(Stop::Closed) => return,
                Err(Stop::Failed(failure)) => failure,
            };
            // An API that answers this feed and then fails it has nothing new to offer when it answers another.
            let may_be_woken = self.is_failing;
            match failure.cause {
                Cause::Expired => self.answered(),
                Cause::Unavailable | Cause::Denied => {
                    self.is_failing = true;
                    self.clients.refresh().await;
                }
            }
            let wait = self.progress.failed(&failure, Instant::now());
            let is_routine = wait == Wait::None;
            if self.tell(News::Failed { failure, is_routine }).await.is_err() {
                return;
            }
            self.rest(wait, may_be_woken).await;
        }
    }

    async fn list(&mut self) -> Result<(), Stop> {
        let is_scheduled = self.progress.is_scheduled();
        self.tell(News::ListBegan { is_scheduled }).await?;
        let mut params = ListParams { limit: Some(PAGE), field_selector: self.selector(), ..ListParams::default() };
        let version = loop {
            let answer = self.open(|url| url.list(&params)).await?;
            self.answered();
            let page = request::page::<WatchedObject>(answer).await?;
            let items = page.items.into_iter().map(|object| self.item(object)).collect();
            self.tell(News::Page(items)).await?;
            if page.metadata.token.is_empty() {
                break page.metadata.resource_version;
            }
            params.continue_token = Some(page.metadata.token);
        };
        if let Some(back) = self.progress.listed(version, Instant::now()) {
            self.tell(News::WentBack(back)).await?;
        }
        self.tell(News::Listed).await
    }

    async fn probe(&mut self) -> Result<(), Stop> {
        let params = ListParams { limit: Some(1), field_selector: self.selector(), ..ListParams::default() };
        let answer = self.open(|url| url.list(&params)).await?;
        self.answered();
        let version = request::page::<WatchedObject>(answer).await?.metadata.resource_version;
        match self.progress.probed(&version) {
            Some(back) => self.tell(News::WentBack(back)).await,
            None => Ok(()),
        }
    }

    async fn watch(&mut self, version: &str) -> Result<(), Stop> {
        let params = WatchParams { field_selector: self.selector(), ..WatchParams::default() };
        let answer = self.open(|url| url.watch(&params, version).map(request::uncompressed)).await?;
        self.answered();
        self.progress.answered();
        self.tell(News::Watching).await?;
        let mut lines = request::lines(answer);
        self.lost.mark_unchanged();
        let mut heard = Instant::now();
        loop {
            let line = tokio::select! {
                line = timeout(SILENCE, lines.next()) => line.map_err(|_elapsed| Failure::silent(SILENCE))?,
                _ = self.lost.changed() => match heard.elapsed() {
                    // An API that is too busy to say its version still tells of changes.
                    silence if silence < HEADERS => continue,
                    silence => return Err(Failure::silent(silence).into()),
                },
                // The next step is a list.
                () = sleep_until(self.progress.relist_at()) => return Ok(()),
                () = self.relist.notified() => {
                    self.progress.relist();
                    return Ok(());
                }
            };
            // A connection that breaks is no failure yet: the next request shows whether the API is away.
            let Some(Ok(line)) = line else { break };
            heard = Instant::now();
            let event = match serde_json::from_str::<Event>(&line) {
                Ok(event) => event,
                // The connection ended within a line.
                Err(error) if error.is_eof() => break,
                Err(error) => {
                    return Err(Failure::unavailable(format!("the API's event cannot be read: {error}")).into());
                }
            };
            self.take(event).await?;
            if self.progress.step(Instant::now()) == Step::List {
                return Ok(());
            }
        }
        self.progress.ended();
        Ok(())
    }

    async fn take(&mut self, Event { kind, object }: Event) -> Result<(), Stop> {
        if kind == EventKind::Error {
            let status = serde_json::from_value::<Status>(object.into_value());
            let status =
                status.map_err(|error| Failure::unavailable(format!("the API's error cannot be read: {error}")))?;
            return Err(Failure::of_status(&status, None).into());
        }
        if let Some(back) = object.version().and_then(|version| self.progress.heard(version.to_owned())) {
            // The list that follows has this object as it is.
            return self.tell(News::WentBack(back)).await;
        }
        match kind {
            EventKind::Added | EventKind::Modified => {
                let item = Box::new(self.item(object));
                self.tell(News::Changed(item)).await
            }
            EventKind::Deleted => self.tell(News::Deleted(object.called())).await,
            EventKind::Bookmark | EventKind::Error => Ok(()),
        }
    }

    /// Sends a request. While this feed fails, an answer to another feed begins it anew: this connection may be dead.
    async fn open(
        &mut self,
        request: impl Fn(&ApiRequest) -> Result<Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<Response<Body>, Failure> {
        let url = ApiRequest::new(self.feed.url());
        loop {
            let request = request(&url).map_err(|error| Failure::of_error(&error))?;
            tokio::select! {
                answer = request::send(self.clients.current(), request) => return answer,
                _ = self.recovered.changed(), if self.is_failing => {}
            }
        }
    }

    /// Records that the API answers.
    fn answered(&mut self) {
        if std::mem::take(&mut self.is_failing) {
            self.recovery.wake();
        }
        self.recovered.mark_unchanged();
    }

    async fn rest(&mut self, wait: Wait, may_be_woken: bool) {
        match wait {
            Wait::None => {}
            Wait::Asked(wait) => sleep(wait).await,
            Wait::Backoff(wait) => {
                tokio::select! {
                    () = sleep(wait) => {}
                    _ = self.recovered.changed(), if may_be_woken => {}
                    () = self.relist.notified() => self.progress.relist(),
                }
            }
        }
    }

    fn item(&self, object: WatchedObject) -> Item {
        (object.called(), object.keep(self.feed.kind, &self.trim))
    }

    fn selector(&self) -> Option<String> {
        self.feed.name.as_ref().map(|name| format!("metadata.name={name}"))
    }

    async fn tell(&self, news: News) -> Result<(), Stop> {
        let update = Update { feed: self.feed.clone(), news };
        self.updates.send(update).await.map_err(|_closed| Stop::Closed)
    }
}
