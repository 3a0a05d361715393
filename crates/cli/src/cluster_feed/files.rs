//! Watches a cluster in files.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, mem,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context;
use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, CreateKind, ModifyKind},
};
use tokio::{
    sync::Notify,
    time::{Instant, Interval, MissedTickBehavior, interval},
};

use super::brake::{Loss, Losses};
use crate::{
    daemon::log,
    input::{self, Excluded, InputError, InputErrors, ReadOptions, Source},
    kubernetes::{self, ClusterState, NamespacedName},
};

/// Interval of polling: notifications may be lost, and some file systems have none.
const POLL: Duration = Duration::from_secs(2);

/// Number of consecutive reads that are disturbed by changes before a warning.
const RESTLESS: u32 = 5;

/// Path, size and modification time of each file: a change shows without reading.
type Fingerprint = Vec<(PathBuf, u64, Option<SystemTime>)>;

/// Watched files and directories.
pub(super) struct Files {
    paths: Vec<PathBuf>,
    /// The namespaces of `--visible`.
    visible: BTreeSet<String>,
    /// Those that have no Service, and were told of.
    empty: BTreeSet<String>,
    changes: Arc<Notify>,
    /// `None` if the system has no file notifications.
    watcher: Option<RecommendedWatcher>,
    poll: Interval,
    /// Number of consecutive reads that were disturbed by changes.
    restless: u32,
    /// Fingerprints at the last read and at the last poll.
    read: Fingerprint,
    polled: Fingerprint,
    /// The names of each kind in the last accepted cluster.
    accepted: BTreeMap<&'static str, BTreeSet<NamespacedName>>,
    /// The annotations of Namespaces that say who sees their Services, in the last accepted cluster.
    exports: BTreeMap<String, String>,
}

impl Files {
    pub(super) fn open(paths: Vec<PathBuf>, visible: BTreeSet<String>) -> anyhow::Result<Self> {
        for path in &paths {
            fs::metadata(path).with_context(|| {
                format!("{}: cannot be read; pass a directory with the output of kubectl get -o yaml", path.display())
            })?;
        }
        let mut poll = interval(POLL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let changes = Arc::new(Notify::new());
        let mut files = Self {
            paths,
            visible,
            empty: BTreeSet::new(),
            changes,
            watcher: None,
            poll,
            restless: 0,
            read: Vec::new(),
            polled: Vec::new(),
            accepted: BTreeMap::new(),
            exports: BTreeMap::new(),
        };
        files.watch();
        // The first read needs no change.
        files.changes.notify_one();
        Ok(files)
    }

    /// The watched paths, as text for people.
    pub(super) fn called(&self) -> String {
        let paths: Vec<String> = self.paths.iter().map(|path| path.display().to_string()).collect();
        paths.join(", ")
    }

    /// Waits until a file has changed.
    pub(super) async fn changed(&mut self) {
        loop {
            tokio::select! {
                () = self.changes.notified() => return,
                _ = self.poll.tick() => {}
            }
            let now = self.fingerprint();
            // A file that is still being written changes from poll to poll.
            let is_settled = mem::replace(&mut self.polled, now.clone()) == now;
            if is_settled && now != self.read {
                // A notification was lost, perhaps because a watched directory was replaced: watch anew.
                self.watch();
                return;
            }
        }
    }

    /// Reads all files. Returns `None` if they change during the read, because a part may be missing.
    pub(super) fn read(&mut self) -> Option<Result<ClusterState, InputErrors>> {
        let sources: Vec<Source> = self.paths.iter().cloned().map(Source::Path).collect();
        let before = self.fingerprint();
        let cluster = read_complete(&sources).map(|mut cluster| {
            cluster.keep_exports(&self.exports);
            cluster
        });
        if self.fingerprint() != before {
            self.restless += 1;
            return self.restless.is_multiple_of(RESTLESS).then(|| Err(self.always_changing()));
        }
        self.restless = 0;
        self.read = before;
        Some(cluster.and_then(|cluster| if cluster.services.is_empty() { Err(self.no_service()) } else { Ok(cluster) }))
    }

    /// The objects of the last accepted cluster that `cluster`, which was read just now, lacks.
    pub(super) fn losses(&self, cluster: &ClusterState) -> Losses {
        let now = names(cluster);
        let none = BTreeSet::new();
        let loss = |(kind, before): (&&'static str, &BTreeSet<NamespacedName>)| {
            let missing = before.difference(now.get(kind).unwrap_or(&none)).count();
            (*kind, Loss { missing, before: before.len(), listed: Instant::now() })
        };
        self.accepted.iter().map(loss).collect()
    }

    /// Accepts `cluster` with all that it lacks.
    pub(super) fn accept(&mut self, cluster: &ClusterState) {
        self.accepted = names(cluster);
        self.exports.clone_from(&cluster.namespace_exports);
        self.tell_of_empty(cluster);
    }

    /// Tells of the namespaces of `--visible` that have no Service, or have one again.
    fn tell_of_empty(&mut self, cluster: &ClusterState) {
        let there: BTreeSet<&str> = cluster.services.keys().map(|name| &*name.namespace).collect();
        let empty: BTreeSet<String> =
            self.visible.iter().filter(|name| !there.contains(name.as_str())).cloned().collect();
        for namespace in empty.difference(&self.empty) {
            log::warn(&format!("--visible {namespace}: no file has a Service in this namespace; correct --visible"));
        }
        for namespace in self.empty.difference(&empty) {
            log::note(&format!("namespace {namespace}: has Services now"));
        }
        self.empty = empty;
    }

    fn always_changing(&self) -> InputErrors {
        let fix = "write less often, or replace the whole directory";
        InputError::new(&self.called(), "changed during every read, so objects may be missing", fix).into()
    }

    fn no_service(&self) -> InputErrors {
        let fix = "add the output of kubectl get svc,endpointslices -o yaml";
        InputError::new(&self.called(), "has no Service", fix).into()
    }

    fn fingerprint(&self) -> Fingerprint {
        let of_path =
            |path: &PathBuf| input::files(path, &Excluded::default()).map(|found| found.files).unwrap_or_default();
        let files = self.paths.iter().flat_map(of_path);
        let of_file = |path: PathBuf| {
            let metadata = fs::metadata(&path).ok();
            let size = metadata.as_ref().map_or(0, fs::Metadata::len);
            (path, size, metadata.and_then(|metadata| metadata.modified().ok()))
        };
        files.map(of_file).collect()
    }

    fn watch(&mut self) {
        let changes = Arc::clone(&self.changes);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| event.need_rescan() || is_change(event.kind)) {
                changes.notify_one();
            }
        });
        let watched = watcher.and_then(|mut watcher| {
            for path in &self.paths {
                match path.parent() {
                    // Editors replace files, so the parent directory is watched.
                    Some(parent) if path.is_file() => watcher.watch(or_here(parent), RecursiveMode::NonRecursive)?,
                    _ => watcher.watch(path, RecursiveMode::Recursive)?,
                }
            }
            Ok(watcher)
        });
        self.watcher = match watched {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                let seconds = POLL.as_secs();
                log::warn(&format!("file notifications do not work, polling every {seconds} s: {error}"));
                None
            }
        };
    }
}

/// Reads a cluster. Files that hold other things than Kubernetes objects are skipped. Any other file has to be read completely: it
/// may be half written, and a Service that is left out would lose its name.
fn read_complete(sources: &[Source]) -> Result<ClusterState, InputErrors> {
    let options = ReadOptions { is_needed: kubernetes::decides_names, excluded: Excluded::default(), is_strict: false };
    let (cluster, left_out) = ClusterState::read_with(sources, &options, &mut |_| {})?;
    left_out.into_incomplete().or(cluster)
}

fn or_here(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

fn names(cluster: &ClusterState) -> BTreeMap<&'static str, BTreeSet<NamespacedName>> {
    let (services, slices, endpoints) = (cluster.services.keys(), cluster.slices.keys(), cluster.endpoints.keys());
    [
        ("Service", services.cloned().collect()),
        ("EndpointSlice", slices.cloned().collect()),
        ("Endpoints", endpoints.cloned().collect()),
    ]
    .into()
}

/// Whether the event means changed and completely written files. Linux reports when a written file is closed.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Create(CreateKind::Folder)
        | EventKind::Modify(ModifyKind::Name(_) | ModifyKind::Metadata(_))
        | EventKind::Remove(_)
        | EventKind::Any
        | EventKind::Other => true,
        EventKind::Create(_) | EventKind::Modify(_) => cfg!(not(target_os = "linux")),
        EventKind::Access(_) => false,
    }
}
