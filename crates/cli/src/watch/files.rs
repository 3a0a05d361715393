//! A cluster that is followed by files.

use std::{
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
    time::{Interval, MissedTickBehavior, interval},
};

use crate::{
    input::{self, InputError, InputErrors, Source},
    kubernetes::ClusterState,
    output,
};

/// Notifications may be lost, and some file systems have none.
const POLL: Duration = Duration::from_secs(2);

/// What of files shows that they changed, without reading them.
/// So many times in a row files may change while they are read, before that is told.
const RESTLESS: u32 = 5;

type Fingerprint = Vec<(PathBuf, u64, Option<SystemTime>)>;

/// Files that are followed.
pub(super) struct Files {
    paths: Vec<PathBuf>,
    changes: Arc<Notify>,
    /// `None` where the system gives no notifications.
    watcher: Option<RecommendedWatcher>,
    poll: Interval,
    /// How often in a row they changed while they were read.
    restless: u32,
    /// As they were when they were read, and at the last poll.
    read: Fingerprint,
    polled: Fingerprint,
}

impl Files {
    pub(super) fn open(paths: Vec<PathBuf>) -> anyhow::Result<Self> {
        for path in &paths {
            fs::metadata(path).with_context(|| {
                format!("{}: cannot be read; name a directory with what kubectl get -o yaml prints", path.display())
            })?;
        }
        let mut poll = interval(POLL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let changes = Arc::new(Notify::new());
        let mut files = Self { paths, changes, watcher: None, poll, restless: 0, read: Vec::new(), polled: Vec::new() };
        files.watch();
        // Once at the start.
        files.changes.notify_one();
        Ok(files)
    }

    /// What is followed, for people.
    pub(super) fn called(&self) -> String {
        let paths: Vec<String> = self.paths.iter().map(|path| path.display().to_string()).collect();
        paths.join(", ")
    }

    /// Waits until something has changed.
    pub(super) async fn changed(&mut self) {
        loop {
            tokio::select! {
                () = self.changes.notified() => return,
                _ = self.poll.tick() => {}
            }
            let now = self.fingerprint();
            // Something that is still being written changes from poll to poll.
            let is_settled = mem::replace(&mut self.polled, now.clone()) == now;
            if is_settled && now != self.read {
                // A notification was lost, and so may be what it was to come from: a directory that was replaced.
                self.watch();
                return;
            }
        }
    }

    /// Reads them all; `None` where they change meanwhile, and a part may be missing.
    pub(super) fn read(&mut self) -> Option<Result<ClusterState, InputErrors>> {
        let sources: Vec<Source> = self.paths.iter().cloned().map(Source::Path).collect();
        let before = self.fingerprint();
        let cluster = ClusterState::read(&sources, &mut |_| {});
        if self.fingerprint() != before {
            self.restless += 1;
            return self.restless.is_multiple_of(RESTLESS).then(|| Err(self.always_changing()));
        }
        self.restless = 0;
        self.read = before;
        Some(cluster.and_then(|cluster| if cluster.services.is_empty() { Err(self.no_service()) } else { Ok(cluster) }))
    }

    fn always_changing(&self) -> InputErrors {
        let fix = "write less often, or exchange whole directories";
        InputError::new(&self.called(), "changes each time while it is read, and a part may be missing", fix).into()
    }

    fn no_service(&self) -> InputErrors {
        let fix = "put what kubectl get svc,endpointslices -o yaml prints there";
        InputError::new(&self.called(), "there is no Service", fix).into()
    }

    fn fingerprint(&self) -> Fingerprint {
        let files = self.paths.iter().flat_map(|path| input::files(path).unwrap_or_default());
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
                    // An editor replaces a file: what is watched is where it is.
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
                output::warn(&format!("the system notifies of no changes, looks every {seconds} s: {error}"));
                None
            }
        };
    }
}

fn or_here(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

/// Whether files are other ones now, and whole. Linux tells when one that was written is closed.
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
