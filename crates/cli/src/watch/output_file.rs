//! The file that is kept current.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use super::{changes::Summary, metrics::Metrics};
use crate::{
    compile::Compiled,
    daemon::{
        backoff::{self, Backoff},
        log,
    },
    envoy::{self, EcdsFilter},
    input::{self, InputError},
    kubernetes::ClusterState,
    output,
};

/// Compiles a cluster.
pub type Make = Box<dyn Fn(&ClusterState) -> anyhow::Result<Made>>;

/// A compiled cluster.
#[derive(Debug)]
pub struct Made {
    /// The configuration.
    pub compiled: Compiled,
    /// What is unknown about the caller, as text for people.
    pub notes: Vec<String>,
}

/// Format of the output file.
#[derive(Clone, Debug)]
pub enum OutputFileFormat {
    /// A resource for Envoy's extension config discovery (ECDS).
    EnvoyEcds(EcdsFilter),
    /// The filter's configuration, in JSON.
    Table,
}

/// The file, and how its content is made.
pub(super) struct OutputFile {
    file: PathBuf,
    make: Make,
    format: OutputFileFormat,
    metrics: Arc<Metrics>,
    /// Summary of the file; `None` before the first table.
    summary: Option<Summary>,
    /// Current warnings and notes that were printed.
    told: BTreeSet<String>,
    trouble: Option<Vec<String>>,
    backoff: Backoff,
}

impl OutputFile {
    pub(super) fn new(
        file: PathBuf,
        make: Make,
        format: OutputFileFormat,
        metrics: Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        if file.is_dir() {
            bail!("{}: is a directory; use a file in it", file.display());
        }
        // Fail at the start rather than at the first table.
        let directory = output::directory_of(&file);
        tempfile::Builder::new().prefix(".byname-").tempfile_in(directory).with_context(|| {
            format!("{}: cannot be written; its directory must exist and be writable", file.display())
        })?;
        let (told, backoff) = (BTreeSet::new(), Backoff::default());
        Ok(Self { file, make, format, metrics, summary: None, told, trouble: None, backoff })
    }

    /// Whether a table is in the file.
    pub(super) fn has_table(&self) -> bool {
        self.summary.is_some()
    }

    /// Brings the file up to date with `cluster`. Returns the time to wait before a retry, if it failed for a reason outside the
    /// cluster.
    pub(super) fn update(&mut self, cluster: &ClusterState, unreadable: &[&InputError]) -> Option<Duration> {
        let begun = Instant::now();
        let made = (self.make)(cluster);
        self.metrics.compiles.inc();
        self.metrics.compile_seconds.observe(begun.elapsed().as_secs_f64());
        let made = match made {
            Ok(made) => made,
            Err(error) => {
                self.metrics.compile_failures.inc();
                self.fail(input::messages(&error));
                return None;
            }
        };
        if let Some(text) = self.lost(cluster, &made.compiled.wire.table) {
            self.metrics.compile_failures.inc();
            self.fail(vec![text]);
            return None;
        }
        self.metrics.left_out.set(number(made.compiled.left_out.len()));
        let left_out = made.compiled.left_out.values().chain(unreadable.iter().copied());
        self.tell(&made.notes, left_out.map(|problem| format!("left out: {problem}")).collect());
        let text = match &self.format {
            OutputFileFormat::Table => made.compiled.text,
            OutputFileFormat::EnvoyEcds(filter) => envoy::ecds(&made.compiled.text, filter),
        };
        match output::replace(&self.file, text.as_bytes()) {
            Ok(is_written) => {
                self.backoff.reset();
                self.succeed(&made.compiled.wire.table, is_written);
                None
            }
            Err(error) => {
                self.metrics.write_failures.inc();
                // The error's own text names a new temporary file each time, so it would be printed again each time.
                let why = error.kind();
                let fix = "its directory must exist and be writable";
                self.fail(vec![format!("{}: cannot be written: {why}; {fix}", self.file.display())]);
                Some(self.backoff.next(backoff::LONG))
            }
        }
    }

    /// Why the table must not replace the last one: it lost all Services or EndpointSlices, as with a missing file or an empty
    /// list. If the cluster really has none left, the last table does no harm.
    fn lost(&self, cluster: &ClusterState, table: &byname_core::wire::Table) -> Option<String> {
        let before = self.summary.as_ref();
        if table.services.is_empty() && (!cluster.services.is_empty() || before.is_some_and(|old| old.services() > 0)) {
            return Some("the new table has no Service".to_owned());
        }
        let had_endpoints = before.is_some_and(|old| old.endpoints() > 0);
        let has_none = cluster.slices.is_empty() && cluster.endpoints.is_empty();
        (had_endpoints && has_none).then(|| "the cluster has no EndpointSlice any more".to_owned())
    }

    /// Reports that the file could not be brought up to date.
    pub(super) fn fail(&mut self, messages: Vec<String>) {
        if self.trouble.as_ref() == Some(&messages) {
            return;
        }
        messages.iter().for_each(|message| log::warn(message));
        let meanwhile =
            if self.summary.is_some() { "the last known good file stays in use" } else { "no file is written yet" };
        log::warn(&format!("{}: not up to date: {meanwhile}", self.file.display()));
        self.trouble = Some(messages);
    }

    fn succeed(&mut self, table: &byname_core::wire::Table, is_written: bool) {
        let summary = Summary::of(table);
        let (file, version) = (self.file.display(), table.version);
        match &self.summary {
            None if is_written => log::note(&format!("{file}: first table written: {summary}, version {version}")),
            None => log::note(&format!("{file}: already up to date: {summary}, version {version}")),
            Some(old) if is_written => {
                log::note(&format!("{file}: version {version} written: {}", summary.since(old)));
            }
            Some(_) if self.trouble.is_some() => log::note(&format!("{file}: up to date again")),
            Some(_) => {}
        }
        self.trouble = None;
        if is_written {
            self.metrics.writes.inc();
        }
        self.metrics.services.set(number(summary.services()));
        self.metrics.endpoints.set(number(summary.endpoints()));
        self.metrics.table_version.set(version);
        self.metrics.last_success.set_now();
        self.summary = Some(summary);
    }

    /// Prints each note and warning once for as long as it applies.
    fn tell(&mut self, notes: &[String], warnings: BTreeSet<String>) {
        notes.iter().filter(|text| !self.told.contains(*text)).for_each(|text| log::note(text));
        warnings.iter().filter(|text| !self.told.contains(*text)).for_each(|text| log::warn(text));
        self.told = warnings.into_iter().chain(notes.iter().cloned()).collect();
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
