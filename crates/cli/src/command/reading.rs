//! Messages while the input is read: a hint at a terminal, a progress bar, and the kinds that were skipped.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, IsTerminal},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    input::{self, Excluded, LeftOut, Source},
    output::{count, note, some, warn},
    snapshot::Progress,
};

/// Input from this size on gets a progress bar.
const LARGE_BYTES: u64 = 8 << 20;
/// A cluster that takes longer to read than this gets a progress bar.
const LONG: Duration = Duration::from_millis(500);

/// Notes at a terminal that byname waits for its standard input.
pub(super) fn say_if_waiting(sources: &[Source]) {
    if sources.contains(&Source::Stdin) && io::stdin().is_terminal() {
        note("reading objects from the standard input; pass -f FILE to read a file");
    }
}

/// Notes the kinds and numbers of skipped objects.
pub(super) fn say_skipped(skipped: &BTreeMap<String, usize>) {
    if skipped.is_empty() {
        return;
    }
    let kinds: Vec<String> = skipped.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let objects = count(skipped.values().sum(), "object", "objects");
    note(&format!("skipped {objects} of kinds that byname does not read: {}", kinds.join(", ")));
}

/// Warns of every document that cannot be read and every object that does not fit its kind, and notes the files that are not
/// meant for Kubernetes.
pub(super) fn say_left_out(left_out: &LeftOut) {
    let LeftOut { problems, unfit, garbled, special, foreign, empty } = left_out;
    garbled.messages().for_each(|problem| warn(&problem));
    problems.messages().chain(unfit.messages()).for_each(|problem| warn(&format!("left out: {problem}")));
    let left_out = problems.count() + unfit.count();
    if left_out > 1 {
        note(&format!("left out {left_out} documents and files; --strict makes this an error"));
    }
    special.messages().for_each(|reason| note(&format!("skipped: {reason}")));
    let files: Vec<&str> = foreign.iter().chain(empty).map(|file| &**file).collect();
    if !files.is_empty() {
        let are = count(files.len(), "file that is", "files that are");
        note(&format!("skipped {are} not for Kubernetes: {}", some(files)));
    }
}

/// A progress bar on the standard error while a large input is read, if that is a terminal.
#[derive(Debug)]
pub(super) struct ReadProgress(Option<ProgressBar>);

impl ReadProgress {
    /// A bar for all of `sources`.
    pub(super) fn new(sources: &[Source], excluded: &Excluded) -> Self {
        let sizes = sources.iter().map(|source| match source {
            Source::Stdin => 0,
            Source::Path(path) | Source::Found(path) => {
                let files = input::files(path, excluded).unwrap_or_default().files;
                files.iter().filter_map(|file| Some(fs::metadata(file).ok()?.len())).sum()
            }
        });
        let bytes: u64 = sizes.sum();
        if bytes < LARGE_BYTES || !io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("reading {bar:40} {bytes} of {total_bytes}, {eta} left") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(Some(bar))
    }

    /// Advances the bar by `bytes`.
    pub(super) fn add(&mut self, bytes: u64) {
        if let Some(bar) = &self.0 {
            bar.inc(bytes);
        }
    }
}

impl Drop for ReadProgress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// A progress bar on the standard error while a live cluster is read, if that is a terminal and takes long.
#[derive(Debug)]
pub(super) struct LiveProgress {
    bar: Option<ProgressBar>,
    since: Instant,
}

impl LiveProgress {
    /// A bar for the cluster that is called `called`.
    pub(super) fn new(called: &str) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
            let style = ProgressStyle::with_template("{spinner} reading {prefix}: {pos} of {len} objects");
            style.into_iter().for_each(|style| bar.set_style(style));
            bar.with_prefix(called.to_owned())
        });
        Self { bar, since: Instant::now() }
    }

    /// Shows how far reading is. Called several times a second, also while the API is silent.
    pub(super) fn show(&mut self, Progress { read, known }: Progress) {
        let Some(bar) = self.bar.as_ref().filter(|_| self.since.elapsed() >= LONG) else { return };
        if bar.is_hidden() {
            bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        bar.set_length(known);
        bar.set_position(read);
        bar.tick();
    }
}

impl Drop for LiveProgress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
