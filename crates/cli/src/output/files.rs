//! Results: to the standard output or into files, whole or not at all.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::Serialize;
use tempfile::TempPath;

use super::json::ascii;

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
