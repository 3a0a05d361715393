//! One file or stream: its bytes, and the objects in them.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
    sync::Arc,
};

use super::{
    documents::{self, Each, ReadFile},
    encoding,
    error::InputError,
    text::Text,
};

pub(super) fn open<'p>(path: &Path, progress: &'p mut dyn FnMut(u64)) -> Result<impl BufRead + use<'p>, InputError> {
    let file = File::open(path)
        .map_err(|error| InputError::new(&shown(path), format!("cannot be opened: {error}"), "pass a readable file"))?;
    Ok(BufReader::with_capacity(1 << 16, Counted { inner: file, progress }))
}

pub(super) fn empty(file: &str) -> InputError {
    InputError::new(file, "has no object", "pass the output of kubectl get -o yaml or -o json")
}

/// The error of a pipe without an object.
pub(super) fn no_input(file: &str) -> InputError {
    let fix = "pass the output of kubectl get -o yaml or -o json, or --from-cluster to read the live cluster";
    InputError::new(file, "has no object", fix)
}

pub(super) fn objects(reader: impl BufRead, file: &Arc<str>, each: Each<'_>) -> Result<ReadFile, InputError> {
    let reader = encoding::as_utf8(reader)
        .map_err(|error| InputError::new(file, format!("cannot be read: {error}"), "pass a readable file"))?;
    documents::objects(Text::new(reader, 0), file, each)
}

pub(super) fn shown(path: &Path) -> Arc<str> {
    path.to_string_lossy().into()
}

/// Wraps `inner` to call `progress` with the number of bytes of each read.
pub fn counted<R: Read>(inner: R, progress: &mut dyn FnMut(u64)) -> impl Read {
    Counted { inner, progress }
}

/// A reader that reports the number of bytes of each read.
struct Counted<'p, R> {
    inner: R,
    progress: &'p mut dyn FnMut(u64),
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.inner.read(buffer)?;
        (self.progress)(u64::try_from(bytes).unwrap_or(u64::MAX));
        Ok(bytes)
    }
}
