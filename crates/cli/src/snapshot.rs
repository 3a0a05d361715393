//! A live cluster, read once through its API: only the kinds that a command needs, in pages.

mod kind;
mod list;
mod progress;
mod wanted;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, anyhow};
use futures_util::{StreamExt, stream};
use kube::Client;
use tokio::{runtime::Runtime, time::interval};

use self::list::Lister;
pub use self::{
    kind::ApiKind,
    progress::Progress,
    wanted::{Scope, Wanted},
};
use crate::{
    input::{InputError, InputErrors, LeftOut, RawObject},
    kube_api::{ApiAccess, Failure, build, config, request},
};

/// Lists that run at once.
const LISTS: usize = 6;
/// Time between two calls of `progress`.
const TICK: Duration = Duration::from_millis(100);

/// A cluster whose API can be asked.
pub struct LiveCluster {
    runtime: Runtime,
    client: Client,
    access: ApiAccess,
    /// The cluster, as text for people: `context dev`.
    pub called: String,
    /// The URL of its API.
    pub url: String,
    /// The namespace of the context, or of the pod that byname runs in.
    pub namespace: String,
}

/// A kind that could not be read in full.
#[derive(Debug)]
pub struct Gap {
    /// The kind.
    pub kind: &'static ApiKind,
    /// Why, what that costs and the way out, as text for people that does not name the cluster.
    pub text: String,
}

/// What reading a cluster gave, apart from the objects.
#[derive(Debug, Default)]
pub struct SnapshotReport {
    /// The kinds that could not be read in full, by their texts.
    pub gaps: Vec<Gap>,
    /// The kinds of which every object was read.
    pub complete: BTreeSet<&'static str>,
    /// Objects that do not fit their kind and are not needed, each with the reason.
    pub left_out: LeftOut,
}

impl LiveCluster {
    /// Finds the cluster and the user. Asks nothing yet.
    ///
    /// # Errors
    /// If there is no usable kubeconfig and no service account, or the kubeconfig lacks the context.
    pub fn open(access: ApiAccess) -> anyhow::Result<Self> {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().context("cannot start the async runtime")?;
        let (client, url, namespace) = runtime.block_on(async {
            let config = config(&access).await?;
            let (url, namespace) = (config.cluster_url.to_string(), config.default_namespace.clone());
            anyhow::Ok((build(config)?, url, namespace))
        })?;
        let url = url.trim_end_matches('/').to_owned();
        Ok(Self { runtime, client, called: access.called(), access, url, namespace })
    }

    /// The version of the API server, such as `v1.36.3`.
    ///
    /// # Errors
    /// If the API cannot be reached, or refuses the user.
    pub fn version(&self) -> anyhow::Result<String> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Version {
            git_version: String,
        }
        let asking = async { request::json::<Version>(request::version(self.client()).await?, "version").await };
        let version = self.run(asking).map_err(|failure| self.unusable(&failure))?;
        Ok(version.git_version)
    }

    /// The client of the API.
    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Runs something that asks the API to its end.
    pub(crate) fn run<T>(&self, asking: impl Future<Output = T>) -> T {
        self.runtime.block_on(asking)
    }

    /// Reads the objects of `wanted`, and passes each to `each`. Calls `progress` now and then.
    ///
    /// # Errors
    /// If the API cannot be reached or refuses the user; if it forbids a kind that is required; and for each object that is
    /// needed and does not fit its kind.
    pub fn read(
        &self,
        wanted: &[Wanted],
        progress: &mut dyn FnMut(Progress),
        each: &mut dyn FnMut(RawObject) -> Result<(), InputError>,
    ) -> anyhow::Result<SnapshotReport> {
        let file: Arc<str> = self.called.as_str().into();
        let state = Cell::new(Progress::default());
        let lister = Lister { client: &self.client, progress: &state };
        let report = RefCell::new(SnapshotReport::default());
        let mut problems = InputErrors::default();
        let read = async {
            let groups = lister.groups(wanted).await.map_err(|failure| self.unusable(&failure))?;
            let mut lists = stream::iter(wanted).map(|wanted| lister.kind(wanted, &groups)).buffer_unordered(LISTS);
            while let Some((wanted, listed)) = lists.next().await {
                let listed = listed.map_err(|failure| self.unusable(&failure))?;
                let mut report = report.borrow_mut();
                let ApiKind { kind, .. } = wanted.kind;
                match (listed.gap, wanted.kind.is_required) {
                    (None, _) if wanted.scope == Scope::All => drop(report.complete.insert(kind)),
                    (None, _) => {}
                    (Some(gap), true) if listed.objects.is_empty() || wanted.scope != Scope::All => {
                        return Err(anyhow!("{}: {gap}", self.called));
                    }
                    (Some(text), _) => report.gaps.push(Gap { kind: wanted.kind, text }),
                }
                for object in listed.objects {
                    match each(RawObject::of_api(object, &listed.api_version, kind, &file)) {
                        Err(problem) if !wanted.kind.decides_names() => report.left_out.unfit.push(problem),
                        passed => problems.collect(passed),
                    }
                }
            }
            anyhow::Ok(())
        };
        let ticks = async {
            let mut ticks = interval(TICK);
            loop {
                ticks.tick().await;
                progress(state.get());
            }
        };
        self.runtime.block_on(async {
            tokio::select! {
                done = read => done,
                never = ticks => never,
            }
        })?;
        problems.or(())?;
        let mut report = report.into_inner();
        report.gaps.sort_by(|one, other| one.text.cmp(&other.text));
        Ok(report)
    }

    /// The error of an API that answers nothing of use.
    fn unusable(&self, failure: &Failure) -> anyhow::Error {
        let Self { called, url, .. } = self;
        let others = match (self.access.other_contexts(), failure.code) {
            (_, Some(hyper::StatusCode::UNAUTHORIZED)) => ", or log in to the cluster again".to_owned(),
            (_, Some(_)) => String::new(),
            (none, None) if none.is_empty() => {
                "; check that the cluster runs and that this machine reaches it".to_owned()
            }
            (contexts, None) => {
                format!(
                    "; check that the cluster runs and that this machine reaches it, or choose another --context: {contexts}"
                )
            }
        };
        anyhow!("{called} at {url}: {}{others}", failure.text)
    }
}
