//! How this program speaks: results on the standard output or into a file, all else on the standard error; colour where it is
//! seen.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use anstyle::{AnsiColor, Style};
use anyhow::Context;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use tempfile::TempPath;

use crate::{
    fill::ascii,
    input::{self, Source},
    kubernetes::ClusterState,
};

/// What is wrong.
pub const ERROR: Style = AnsiColor::Red.on_default().bold();
/// What may be wrong.
pub const WARNING: Style = AnsiColor::Yellow.on_default().bold();
/// What is well.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// What has a name.
pub const NAME: Style = AnsiColor::Cyan.on_default();
/// What stands aside.
pub const ASIDE: Style = Style::new().dimmed();

/// Input is large from here: reading it takes long enough to be watched.
const LARGE_BYTES: u64 = 8 << 20;

/// Writes `text` for people to the standard output. Colours in it are taken out where nobody would see them, and by `NO_COLOR`.
///
/// # Errors
/// Where it cannot be written.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = anstream::AutoStream::auto(io::stdout().lock());
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes `text` for programs: as it is, to the standard output or into `file`, all of it or nothing.
///
/// # Errors
/// Where it cannot be written.
pub fn write(file: Option<&Path>, text: &str) -> anyhow::Result<()> {
    match file {
        Some(file) => write_all(&[(file, text)]),
        None => {
            let mut out = io::stdout().lock();
            out.write_all(text.as_bytes())?;
            Ok(out.flush()?)
        }
    }
}

/// Writes `value` as JSON to the standard output, in ASCII: there may be anything in texts of somebody else's.
///
/// # Errors
/// Where it cannot be written.
pub fn write_json(value: &impl Serialize) -> anyhow::Result<()> {
    write(None, &(ascii(&serde_json::to_string_pretty(value)?) + "\n"))
}

/// Writes several files in this order, once all of them can be written.
///
/// # Errors
/// Where one cannot be written.
pub fn write_all(files: &[(&Path, &str)]) -> anyhow::Result<()> {
    let context = |file: &Path| format!("{}: cannot be written", file.display());
    let mut written = Vec::new();
    for (file, text) in files {
        written.push((file, Replacement::new(file, text.as_bytes()).with_context(|| context(file))?));
    }
    written.into_iter().try_for_each(|(file, replacement)| replacement.put().with_context(|| context(file)))
}

/// Replaces what is in `file`, and says whether that was something else: whoever reads it meanwhile sees the old content or the
/// new one, and never a part.
///
/// # Errors
/// Where it cannot be written; the old content is there still.
pub fn replace(file: &Path, content: &[u8]) -> io::Result<bool> {
    let replacement = Replacement::new(file, content)?;
    let is_other = !matches!(replacement, Replacement::Same);
    replacement.put()?;
    Ok(is_other)
}

/// The directory of a file, as one writes it.
#[must_use]
pub fn directory_of(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// What is written already, and not yet in its place.
enum Replacement<'c> {
    /// Closed already: there may be more of them than a program may have open.
    File(TempPath, PathBuf),
    /// It holds this already, and whoever watches it has nothing to see.
    Same,
    /// What has no place of its own to be exchanged in: a pipe, a terminal.
    Stream(File, &'c [u8]),
}

impl<'c> Replacement<'c> {
    fn new(file: &Path, content: &'c [u8]) -> io::Result<Self> {
        // A link stays one: what it leads to is replaced.
        let file = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
        let old = fs::metadata(&file).ok();
        if old.as_ref().is_some_and(|old| !old.is_file() && !old.is_dir()) {
            return Ok(Self::Stream(OpenOptions::new().write(true).open(&file)?, content));
        }
        if fs::read(&file).is_ok_and(|old| old == content) {
            return Ok(Self::Same);
        }
        let mut new = tempfile::Builder::new().prefix(".byname-").tempfile_in(directory_of(&file))?;
        new.write_all(content)?;
        new.as_file().set_permissions(old.map_or_else(readable_by_all, |old| old.permissions()))?;
        new.as_file().sync_all()?;
        Ok(Self::File(new.into_temp_path(), file))
    }

    fn put(self) -> io::Result<()> {
        match self {
            Self::File(new, file) => {
                new.persist(file)?;
                Ok(())
            }
            Self::Same => Ok(()),
            Self::Stream(mut stream, content) => stream.write_all(content),
        }
    }
}

/// A temporary file is its owner's alone, and the Envoy beside us may run as another user.
#[cfg(unix)]
fn readable_by_all() -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o644)
}

/// Whether a character steers a terminal, turns a line's direction or is not seen at all.
#[must_use]
pub fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Text of somebody else's as a terminal may have it: what is harmful is escaped.
#[must_use]
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if is_harmful(c) { plain.extend(c.escape_unicode()) } else { plain.push(c) }
    }
    plain
}

/// Says on the standard error what is wrong.
pub fn error(error: &anyhow::Error) {
    for line in format!("{error:#}").lines() {
        say(&format!("{ERROR}error{ERROR:#}: {}", plain(line)));
    }
}

/// Says on the standard error what may be wrong.
pub fn warn(text: &str) {
    say(&format!("{WARNING}warning{WARNING:#}: {}", plain(text)));
}

/// Says on the standard error what is good to know.
pub fn note(text: &str) {
    say(&format!("{ASIDE}note{ASIDE:#}: {}", plain(text)));
}

fn say(line: &str) {
    // Where nobody listens there is nobody to tell.
    drop(writeln!(anstream::AutoStream::auto(io::stderr().lock()), "{line}"));
}

/// Tells somebody at a terminal why nothing happens.
pub fn say_if_waiting(sources: &[Source]) {
    if sources.contains(&Source::Stdin) && io::stdin().is_terminal() {
        note("reading objects from the standard input; -f names a file");
    }
}

/// Says which kinds were passed over.
pub fn say_skipped(cluster: &ClusterState) {
    if cluster.skipped.is_empty() {
        return;
    }
    let count: usize = cluster.skipped.values().sum();
    let kinds: Vec<String> = cluster.skipped.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let objects = if count == 1 { "object" } else { "objects" };
    note(&format!("{count} {objects} of kinds that say nothing about names skipped: {}", kinds.join(", ")));
}

/// A bar on the standard error while a large input is read, where that is a terminal.
#[derive(Debug)]
pub struct ReadProgress(Option<ProgressBar>);

impl ReadProgress {
    /// One for all of `sources`.
    #[must_use]
    pub fn new(sources: &[Source]) -> Self {
        let sizes = sources.iter().map(|source| match source {
            Source::Stdin => 0,
            Source::Path(path) => {
                let files = input::files(path).unwrap_or_default();
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

    /// So many bytes more are read.
    pub fn add(&mut self, bytes: u64) {
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
