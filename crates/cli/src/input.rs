//! Kubernetes objects as `kubectl get -o yaml|json` prints them: from files, directories and the standard input.

mod error;
mod json;
mod node;
mod text;
mod yaml;

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

pub use error::{InputError, InputErrors, SourceLocation};
pub use node::{InputNode, InputValue, Unreadable};

/// One object as it was read, of any kind.
#[derive(Debug)]
pub struct RawObject {
    /// Where it stands.
    pub place: SourceLocation,
    /// Its `apiVersion`, empty where it has none.
    pub api_version: String,
    /// Its `kind`, empty where it has none.
    pub kind: String,
    /// All of it.
    pub node: InputNode,
}

/// Where objects come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The standard input.
    Stdin,
    /// A file, or a directory: every `.yaml`, `.yml` and `.json` below it.
    Path(PathBuf),
}

impl Source {
    /// `-` is the standard input.
    #[must_use]
    pub fn new(text: &str) -> Self {
        if text == "-" { Self::Stdin } else { Self::Path(text.into()) }
    }
}

/// Reads every object of `sources` in order, and hands each to `each`. `progress` is told of every file's bytes as they are
/// read.
///
/// # Errors
/// The first thing that cannot be read of each file, and what `each` finds wrong.
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

/// The files below `path` that hold objects, sorted by name; `path` itself where it is a file.
///
/// # Errors
/// Where a directory cannot be read, or holds no such file.
pub fn files(path: &Path) -> Result<Vec<PathBuf>, InputError> {
    let unreadable = |path: &Path, error: &io::Error| {
        InputError::new(
            &shown(path),
            format!("cannot be read: {error}"),
            "name a file or directory that may be read, or - for the standard input",
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
            // A ConfigMap's mount has its files as links into a hidden directory; editors hide what they work with.
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
            "holds no file with objects",
            "put .yaml, .yml or .json files into it",
        ));
    }
    found.sort();
    Ok(found)
}

/// Reads the one document of a file that is no Kubernetes object.
///
/// # Errors
/// Where it cannot be read, or holds none or several.
pub fn read_document(path: &Path) -> Result<(InputNode, SourceLocation), InputError> {
    let name = shown(path);
    let mut documents = Vec::new();
    yaml::objects(open(path, &mut |_| {})?, &name, &mut |object| {
        documents.push(object);
        Ok(())
    })?;
    match <[yaml::DocumentObject; 1]>::try_from(documents) {
        Ok([yaml::DocumentObject { document, item, node, .. }]) => {
            let place = SourceLocation { file: name, document, item, line: node.line };
            Ok((node, place))
        }
        Err(other) => {
            let is_list = other.iter().any(|object| object.item.is_some());
            let found = if is_list { "a list of objects".to_owned() } else { format!("{} documents", other.len()) };
            Err(InputError::new(
                &name,
                format!("holds {found}, and not one document"),
                "give one object in YAML or JSON",
            ))
        }
    }
}

fn open<'p>(path: &Path, progress: &'p mut dyn FnMut(u64)) -> Result<impl BufRead + use<'p>, InputError> {
    let file = File::open(path).map_err(|error| {
        InputError::new(&shown(path), format!("cannot be opened: {error}"), "name a file that may be read")
    })?;
    Ok(BufReader::with_capacity(1 << 16, Counted { inner: file, progress }))
}

fn read_file(
    path: &Path,
    progress: &mut dyn FnMut(u64),
    each: &mut dyn FnMut(RawObject) -> Result<(), InputError>,
) -> Result<(), InputError> {
    read_stream(open(path, progress)?, &shown(path), each)
}

/// Reads every object of `reader`, which is called `name` in errors.
///
/// # Errors
/// Those of [`read`].
pub fn read_stream(
    reader: impl BufRead,
    name: &str,
    each: &mut dyn FnMut(RawObject) -> Result<(), InputError>,
) -> Result<(), InputError> {
    let file: Arc<str> = name.into();
    match yaml::objects(reader, &file, &mut |object| each(raw(object, &file)?))? {
        true => Ok(()),
        false => Err(InputError::new(&file, "holds no object", "give what kubectl get -o yaml or -o json prints")),
    }
}

fn raw(object: yaml::DocumentObject, file: &Arc<str>) -> Result<RawObject, InputError> {
    let yaml::DocumentObject { document, item, list, node } = object;
    let own = |field: &str| node.get(field).and_then(InputNode::text).unwrap_or_default().to_owned();
    let (mut api_version, mut kind) = (own("apiVersion"), own("kind"));
    if let (true, Some(list)) = (kind.is_empty(), list) {
        api_version = list.api_version;
        kind = list.kind.strip_suffix("List").unwrap_or_default().to_owned();
    }
    let place = SourceLocation { file: Arc::clone(file), document, item, line: node.line };
    if kind.is_empty() {
        let problem =
            InputError::at(&place, "has no kind", "give objects with apiVersion and kind, as kubectl prints them");
        return Err(problem.with_field("kind"));
    }
    Ok(RawObject { place, api_version, kind, node })
}

fn shown(path: &Path) -> Arc<str> {
    path.to_string_lossy().into()
}

/// `inner`, of whose every byte `progress` is told.
pub fn counted<R: Read>(inner: R, progress: &mut dyn FnMut(u64)) -> impl Read {
    Counted { inner, progress }
}

/// Tells of every byte that is read.
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
