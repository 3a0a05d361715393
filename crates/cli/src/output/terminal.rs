//! What people read at a terminal: answers on the standard output, all else on the standard error, and colour where it is seen.

use std::{
    fs,
    io::{self, IsTerminal, Write},
    time::Duration,
};

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
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
