//! Reads what kubectl prints and reads, from files, directories and the standard input: objects and lists of them in YAML and
//! JSON, watch events, and the output of `kubectl cluster-info dump`.

mod documents;
mod encoding;
mod error;
mod field;
mod node;
mod object;
mod scalar;
mod scanner;
mod text;
mod token;
mod watched;

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

pub use error::{InputError, InputErrors, SourceLocation, messages};
pub use field::Field;
pub use node::{InputNode, InputValue, RepeatedField, Unreadable};
pub use object::RawObject;

use self::{documents::DocumentObject, text::Text, watched::Watched};

/// A source of objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The standard input.
    Stdin,
    /// A file, or a directory: every `.yaml`, `.yml` and `.json` below it.
    Path(PathBuf),
}

impl Source {
    /// The source that `text` names; `-` is the standard input.
    #[must_use]
    pub fn new(text: &str) -> Self {
        if text == "-" { Self::Stdin } else { Self::Path(text.into()) }
    }
}

/// Reads every object of `sources` in order, and passes each to `each`. Calls `progress` with the number of bytes of each
/// read.
///
/// # Errors
/// The first error of each file, and the errors that `each` returns.
pub fn read(
    sources: &[Source],
    progress: &mut dyn FnMut(u64),
    each: &mut dyn FnMut(RawObject) -> Result<(), InputError>,
) -> Result<(), InputErrors> {
    let mut problems = InputErrors::default();
    for source in sources {
        match source {
            Source::Stdin => {
                let input = BufReader::new(Counted { inner: io::stdin().lock(), progress });
                problems.collect(read_stream(input, "standard input", &mut *each));
            }
            Source::Path(path) => match files(path) {
                Ok(files) => {
                    for file in files {
                        problems.collect(read_file(&file, &mut *progress, &mut *each));
                    }
                }
                Err(problem) => problems.push(problem),
            },
        }
    }
    problems.or(())
}

/// The YAML and JSON files below `path`, sorted by name; `path` itself if it is a file.
///
/// # Errors
/// If a directory cannot be read, or has no such file.
pub fn files(path: &Path) -> Result<Vec<PathBuf>, InputError> {
    let unreadable = |path: &Path, error: &io::Error| {
        InputError::new(
            &shown(path),
            format!("cannot be read: {error}"),
            "pass a readable file or directory, or - for the standard input",
        )
    };
    let kind = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if !kind.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    let mut directories = vec![path.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).map_err(|error| unreadable(&directory, &error))? {
            let entry = entry.map_err(|error| unreadable(&directory, &error))?;
            let path = entry.path();
            // A mounted ConfigMap keeps its files in a hidden directory, with visible links to them; editors hide temporary files.
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            let has_objects = path.extension().is_some_and(|end| ["yaml", "yml", "json"].iter().any(|one| end == *one));
            let kind = entry.file_type().map_err(|error| unreadable(&path, &error))?;
            if kind.is_dir() {
                directories.push(path);
            } else if has_objects && fs::metadata(&path).map_err(|error| unreadable(&path, &error))?.is_file() {
                found.push(path);
            }
        }
    }
    if found.is_empty() {
        return Err(InputError::new(
            &shown(path),
            "has no .yaml, .yml or .json file",
            "pass a directory with Kubernetes objects",
        ));
    }
    found.sort();
    Ok(found)
}

/// Reads a file with one document that is not a Kubernetes object.
///
/// # Errors
/// If it cannot be read, or has no document or several.
pub fn read_document(path: &Path) -> Result<(InputNode, SourceLocation), InputError> {
    let name = shown(path);
    let mut documents = Vec::new();
    objects(open(path, &mut |_| {})?, &name, &mut |object| {
        documents.push(object?);
        Ok(())
    })?;
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

fn open<'p>(path: &Path, progress: &'p mut dyn FnMut(u64)) -> Result<impl BufRead + use<'p>, InputError> {
    let file = File::open(path)
        .map_err(|error| InputError::new(&shown(path), format!("cannot be opened: {error}"), "pass a readable file"))?;
    Ok(BufReader::with_capacity(1 << 16, Counted { inner: file, progress }))
}

fn read_file(
    path: &Path,
    progress: &mut dyn FnMut(u64),
    each: &mut dyn FnMut(RawObject) -> Result<(), InputError>,
) -> Result<(), InputError> {
    read_stream(open(path, progress)?, &shown(path), each)
}

/// Reads every object of `reader`, which errors call `name`.
///
/// # Errors
/// Those of [`read`].
pub fn read_stream(
    reader: impl BufRead,
    name: &str,
    each: &mut dyn FnMut(RawObject) -> Result<(), InputError>,
) -> Result<(), InputError> {
    let file: Arc<str> = name.into();
    let mut watched = Watched::default();
    let has_objects = objects(reader, &file, &mut |object| {
        let mut object = object?;
        match object.watch_event() {
            Some((event, node)) => watched.put(&event, RawObject::new(DocumentObject { node, ..object }, &file)?),
            None => each(RawObject::new(object, &file)?)?,
        }
        Ok(())
    })?;
    watched.into_objects().try_for_each(each)?;
    match has_objects {
        true => Ok(()),
        false => Err(InputError::new(&file, "has no object", "pass the output of kubectl get -o yaml or -o json")),
    }
}

fn objects(reader: impl BufRead, file: &Arc<str>, each: documents::Each<'_>) -> Result<bool, InputError> {
    let reader = encoding::as_utf8(reader)
        .map_err(|error| InputError::new(file, format!("cannot be read: {error}"), "pass a readable file"))?;
    documents::objects(Text::new(reader, 0), file, each)
}

fn shown(path: &Path) -> Arc<str> {
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
