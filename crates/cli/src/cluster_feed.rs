//! The cluster as it changes: watched through the Kubernetes API or in files, with a brake for objects that vanish.

mod announcer;
mod api;
mod api_options;
mod brake;
mod client;
mod event;
mod feed;
mod files;
mod follow;
mod hold;
mod metrics;
mod namespaces;
mod object;
mod progress;
mod pulse;
mod recovery;
mod store;
mod token_reviewer;
mod touched;

use std::{borrow::Cow, collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

use tokio::time::Instant;

pub use self::api_options::ApiOptions;
use self::{api::Api, brake::Brake, files::Files, hold::Hold};
pub(crate) use self::{
    api::Change,
    brake::BrakeLever,
    metrics::FeedMetrics,
    token_reviewer::{Reviewed, TokenReviewer},
    touched::Touched,
};
use crate::{
    daemon::until,
    input::{InputError, InputErrors},
    kubernetes::ClusterState,
};

/// Where the cluster comes from.
#[derive(Clone, Debug)]
pub enum SourceOptions {
    /// The Kubernetes API.
    Api(ApiOptions),
    /// Files and directories.
    Files {
        /// The files and directories.
        paths: Vec<PathBuf>,
        /// The namespaces of `--visible`; all if empty.
        visible: BTreeSet<String>,
    },
}

/// The cluster as it changes.
pub(crate) struct ClusterFeed {
    source: Source,
    brake: Brake,
    lever: Arc<BrakeLever>,
    metrics: Arc<FeedMetrics>,
}

enum Source {
    Api(Box<Api>),
    Files(Box<Files>),
}

/// What reading the cluster gives.
pub(crate) enum Reading<'f> {
    /// What is in use stays: the brake holds it, or not everything is listed yet.
    Held,
    /// Files changed while they were read: read again.
    Disturbed,
    /// Files cannot be read.
    Failed(InputErrors),
    /// The whole cluster.
    Complete(Box<ClusterReading<'f>>),
}

/// The whole cluster.
pub(crate) struct ClusterReading<'f> {
    pub(crate) cluster: Cow<'f, ClusterState>,
    /// Objects that cannot be read, and are ignored.
    pub(crate) unreadable: Vec<&'f InputError>,
    /// What may have changed since the last reading.
    pub(crate) touched: Touched,
}

impl ClusterFeed {
    /// Begins to watch. `brake` is the time before a list that lacks many objects is listed again; zero to believe it at once.
    ///
    /// # Errors
    /// If the API or the files are not usable.
    pub(crate) async fn open(
        options: SourceOptions,
        brake: Duration,
        lever: Arc<BrakeLever>,
        metrics: Arc<FeedMetrics>,
    ) -> anyhow::Result<Self> {
        let source = match options {
            SourceOptions::Api(options) => Source::Api(Box::new(Api::connect(&options, Arc::clone(&metrics)).await?)),
            SourceOptions::Files { paths, visible } => Source::Files(Box::new(Files::open(paths, visible)?)),
        };
        Ok(Self { source, brake: Brake::new(brake, &metrics), lever, metrics })
    }

    /// What is watched, as text for people.
    pub(crate) fn called(&self) -> String {
        match &self.source {
            Source::Api(api) => api.called.clone(),
            Source::Files(files) => files.called(),
        }
    }

    /// Waits for the next event.
    pub(crate) async fn changed(&mut self) -> Change {
        let Self { source, brake, lever, .. } = self;
        tokio::select! {
            change = source.changed() => change,
            () = until(brake.confirm_at()) => source.list_again(&brake.asked()),
            () = lever.pulled() => {
                brake.release();
                Change::Cluster
            }
        }
    }

    /// When a change that is due may be read; `None` to wait for more. Nothing is read before every kind is listed, and no mix of
    /// old and new replaces what is in use.
    pub(crate) fn due(&self, due: Instant, is_in_use: bool) -> Option<Instant> {
        let Source::Api(api) = &self.source else { return Some(due) };
        api.cluster()?;
        match api.hold() {
            Hold::Until(until) if is_in_use => Some(due.max(until)),
            Hold::Shut if is_in_use => None,
            Hold::Open | Hold::Until(_) | Hold::Shut => Some(due),
        }
    }

    /// Reads the cluster, unless the brake holds.
    pub(crate) fn read(&mut self) -> Reading<'_> {
        let Self { source, brake, lever, metrics } = self;
        match source {
            Source::Api(api) => {
                api.excuse();
                let is_admitted = brake.admits(&api.losses(), metrics);
                lever.show(brake.is_held());
                if !is_admitted {
                    return Reading::Held;
                }
                api.accept_losses();
                let touched = api.take_touched();
                let unreadable: Vec<_> = api.unreadable().collect();
                let Some(cluster) = api.cluster() else { return Reading::Held };
                metrics.count(cluster, unreadable.len());
                Reading::Complete(Box::new(ClusterReading { cluster: Cow::Borrowed(cluster), unreadable, touched }))
            }
            Source::Files(files) => match files.read() {
                Some(Ok(cluster)) => {
                    let is_admitted = brake.admits(&files.losses(&cluster), metrics);
                    lever.show(brake.is_held());
                    if !is_admitted {
                        return Reading::Held;
                    }
                    files.accept(&cluster);
                    metrics.count(&cluster, 0);
                    let (cluster, touched) = (Cow::Owned(cluster), Touched::all());
                    Reading::Complete(Box::new(ClusterReading { cluster, unreadable: Vec::new(), touched }))
                }
                Some(Err(problems)) => {
                    metrics.read_failures.inc();
                    Reading::Failed(problems)
                }
                None => Reading::Disturbed,
            },
        }
    }

    /// Whether watches fail, so that the cluster may have changed since.
    pub(crate) fn is_failing(&self) -> bool {
        matches!(&self.source, Source::Api(api) if api.is_failing())
    }

    /// Who knows whose a token is; `None` where the cluster comes from files.
    pub(crate) fn token_reviewer(&self) -> Option<TokenReviewer> {
        match &self.source {
            Source::Api(api) => Some(api.token_reviewer()),
            Source::Files(_) => None,
        }
    }

    /// Whether the brake holds, so that what is in use is not what the cluster's lists say.
    pub(crate) fn is_held(&self) -> bool {
        self.brake.is_held()
    }

    /// Logs the news that waits for more of its like.
    pub(crate) fn announce(&mut self) {
        if let Source::Api(api) = &mut self.source {
            api.announce();
        }
    }
}

impl Source {
    async fn changed(&mut self) -> Change {
        match self {
            Self::Api(api) => api.changed().await,
            Self::Files(files) => {
                files.changed().await;
                Change::Cluster
            }
        }
    }

    /// Lists these kinds again. Of files, a reading does that.
    fn list_again(&self, kinds: &[&str]) -> Change {
        match self {
            Self::Api(api) => {
                api.list_again(kinds);
                Change::None
            }
            Self::Files(_) => Change::Cluster,
        }
    }
}
