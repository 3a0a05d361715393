//! Writes results to the standard output or to files, completely or not at all.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow};
use serde::Serialize;
use tempfile::TempPath;

use super::json::ascii;

/// Writes `text` unchanged to the standard output or to `file`, completely or not at all.
///
/// # Errors
/// If the output cannot be written.
pub fn write(file: Option<&Path>, text: &str) -> anyhow::Result<()> {
    match file {
        Some(file) => write_all(&[(file, text)]),
        None => {
            let mut out = io::stdout().lock();
            let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
            written.context("the standard output cannot be written")
        }
    }
}

/// Writes `value` as JSON to the standard output, in ASCII, because strings from the input may hold any character.
///
/// # Errors
/// If the output cannot be written.
pub fn write_json(value: &impl Serialize) -> anyhow::Result<()> {
    write(None, &(ascii(&serde_json::to_string_pretty(value)?) + "\n"))
}

/// Replaces several files, in this order, after all new contents are on disk.
///
/// # Errors
/// If a file cannot be written.
pub fn write_all(files: &[(&Path, &str)]) -> anyhow::Result<()> {
    let mut written = Vec::new();
    for (file, text) in files {
        let new = Replacement::new(file, text.as_bytes()).map_err(|error| unwritable(file, &error))?;
        written.push((file, new));
    }
    written.into_iter().try_for_each(|(file, new)| new.put().map_err(|error| unwritable(file, &error)))
}

/// The error of a file that cannot be written. The error's own text may name a temporary file.
fn unwritable(file: &Path, error: &io::Error) -> anyhow::Error {
    let (file, directory) = (file.display(), directory_of(file));
    match error.kind() {
        _ if !directory.exists() => {
            anyhow!("{file}: cannot be written: the directory {} does not exist; create it", directory.display())
        }
        io::ErrorKind::IsADirectory => anyhow!("{file}: is a directory; use a file in it"),
        kind => anyhow!("{file}: cannot be written: {kind}; use a directory that you may write to"),
    }
}

/// Replaces the content of `file` atomically, and returns whether the content changed. A concurrent reader sees the old content or
/// the new content, never a part.
///
/// # Errors
/// If the file cannot be written. It then keeps its old content.
pub fn replace(file: &Path, content: &[u8]) -> io::Result<bool> {
    let replacement = Replacement::new(file, content)?;
    let is_other = !matches!(replacement, Replacement::Same);
    replacement.put()?;
    Ok(is_other)
}

/// The directory of a file; `.` for a bare file name.
#[must_use]
pub fn directory_of(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// New content that is not yet in its place.
enum Replacement<'c> {
    /// A closed temporary file: there may be more files than the limit on open files.
    File(TempPath, PathBuf),
    /// The file already has this content. Writing it would only wake its watchers.
    Same,
    /// A pipe or a terminal, which cannot be replaced by renaming.
    Stream(File, &'c [u8]),
}

impl<'c> Replacement<'c> {
    fn new(file: &Path, content: &'c [u8]) -> io::Result<Self> {
        // A symbolic link stays: its target is replaced.
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

/// Permissions to read for all: only its owner may read a temporary file, and Envoy may run as another user.
#[cfg(unix)]
fn readable_by_all() -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o644)
}
