//! Reads what kubectl prints and reads, from files, directories and the standard input: objects and lists of them in YAML and
//! JSON, watch events, and the output of `kubectl cluster-info dump`.

mod bad_document;
mod directory;
mod documents;
mod encoding;
mod error;
mod field;
mod file;
mod node;
mod object;
mod reading;
mod scalar;
mod scanner;
mod text;
mod token;
mod watched;

use std::{
    io::{self, BufRead, BufReader},
    path::Path,
    sync::Arc,
};

pub use directory::{Excluded, files};
pub use encoding::{BYTE_ORDER_MARK, as_utf8, read_text};
pub use error::{InputError, InputErrors, SourceLocation, messages};
pub use field::{Field, Step};
pub use file::counted;
pub use node::{InputNode, InputValue, RepeatedField, Unreadable};
pub use object::RawObject;
pub use reading::{LeftOut, ReadOptions, Source};

use self::{
    documents::DocumentObject,
    file::{empty, objects, open, shown},
    reading::Reading,
    watched::Watched,
};

/// Reads every object of `sources` in order, and passes each to `each`. Calls `progress` with the number of bytes of each
/// read. Returns what was left out: see [`LeftOut`].
///
/// # Errors
/// The errors of the objects that byname reads, the files that cannot be read, and the errors that `each` returns.
pub fn read(
    sources: &[Source],
    options: &ReadOptions,
    progress: &mut dyn FnMut(u64),
    each: &mut dyn FnMut(RawObject) -> Result<(), InputError>,
) -> Result<LeftOut, InputErrors> {
    let mut reading = Reading::new(options);
    for source in reading.files_of(sources) {
        match &source {
            Source::Stdin => {
                let input = BufReader::new(counted(io::stdin().lock(), progress));
                reading.stream(input, "standard input", true, &mut *each);
            }
            Source::Path(file) => reading.file(file, false, &mut *progress, &mut *each),
            Source::Found(file) => reading.file(file, true, &mut *progress, &mut *each),
        }
    }
    reading.finish()
}

/// The files of `sources`: each directory is replaced by its files. Returns what was left out of them as well.
///
/// # Errors
/// If a source does not exist, or is a directory without files.
pub fn files_of(sources: &[Source], options: &ReadOptions) -> Result<(Vec<Source>, LeftOut), InputErrors> {
    let mut reading = Reading::new(options);
    let files = reading.files_of(sources);
    reading.finish().map(|left_out| (files, left_out))
}

/// Reads every object of `reader`, which errors call `name`, as [`read`] does.
///
/// # Errors
/// Those of [`read`].
pub fn read_from(
    reader: impl BufRead,
    name: &str,
    options: &ReadOptions,
    each: &mut dyn FnMut(RawObject) -> Result<(), InputError>,
) -> Result<LeftOut, InputErrors> {
    let mut reading = Reading::new(options);
    reading.stream(reader, name, true, each);
    reading.finish()
}

/// Reads a file with one document that is not a Kubernetes object.
///
/// # Errors
/// If it cannot be read, or has no document or several.
pub fn read_document(path: &Path) -> Result<(InputNode, SourceLocation), InputError> {
    let name = shown(path);
    let mut documents = Vec::new();
    let read = objects(open(path, &mut |_| {})?, &name, &mut |object| {
        documents.push(object.map_err(|bad| bad.problem.of_no_object())?);
        Ok(())
    })?;
    read.in_utf_8()?;
    match <[DocumentObject; 1]>::try_from(documents) {
        Ok([DocumentObject { document, item, repeated, node, .. }]) => {
            let place = SourceLocation { file: name, document, item, line: node.line };
            match repeated {
                Some(field) => Err(field.problem(&place)),
                None => Ok((node, place)),
            }
        }
        Err(other) => {
            let is_list = other.iter().any(|object| object.item.is_some());
            let found = if is_list { "a list of objects".to_owned() } else { format!("{} documents", other.len()) };
            Err(InputError::new(
                &name,
                format!("has {found} instead of one document"),
                "pass a file with one YAML or JSON document",
            ))
        }
    }
}

/// Reads every object of `reader`, which errors call `name`. Leaves nothing out.
///
/// # Errors
/// The first error.
pub fn read_stream(
    reader: impl BufRead,
    name: &str,
    each: &mut dyn FnMut(RawObject) -> Result<(), InputError>,
) -> Result<(), InputError> {
    let file: Arc<str> = name.into();
    let mut watched = Watched::default();
    let read = objects(reader, &file, &mut |object| {
        let mut object = object.map_err(|bad| bad.problem)?;
        match object.watch_event() {
            Some((event, node)) => {
                watched.put(&event, RawObject::new(DocumentObject { node, ..object }, &file).of_a_kind()?);
            }
            None => each(RawObject::new(object, &file).of_a_kind()?)?,
        }
        Ok(())
    })?;
    watched.into_objects().try_for_each(each)?;
    if read.in_utf_8()? { Ok(()) } else { Err(empty(&file)) }
}
