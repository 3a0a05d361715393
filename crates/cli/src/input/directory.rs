//! The files with objects below a directory.

use std::{
    fs::{self, FileType},
    io,
    path::{Path, PathBuf},
};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::{error::InputError, file::shown};

/// The ends of the names of files that may have objects.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// The files that a path stands for.
#[derive(Debug, Default)]
pub struct Files {
    /// The files, sorted by name.
    pub files: Vec<PathBuf>,
    /// The errors of entries that cannot be read.
    pub unreadable: Vec<InputError>,
    /// Entries that are neither file nor directory, such as FIFOs, each with the reason.
    pub special: Vec<InputError>,
    /// Whether the path is a directory. Otherwise it is the only file.
    pub is_directory: bool,
}

/// The files and directories to leave out below a directory, by glob patterns.
#[derive(Clone, Debug, Default)]
pub struct Excluded(GlobSet);

impl Excluded {
    /// The files and directories that match one of `patterns`: by their path below the directory that is read, or by their name.
    ///
    /// # Errors
    /// If a pattern is no glob.
    pub fn new(patterns: &[String]) -> Result<Self, String> {
        let mut set = GlobSetBuilder::new();
        for pattern in patterns {
            // A directory may be given as the shell completes it: templates/.
            let trimmed = pattern.strip_prefix("./").unwrap_or(pattern).trim_end_matches('/');
            let glob = GlobBuilder::new(trimmed).literal_separator(true).build();
            set.add(glob.map_err(|error| format!("{pattern}: {}", error.kind()))?);
        }
        set.build().map(Self).map_err(|error| error.to_string())
    }

    fn has(&self, path: &Path, root: &Path) -> bool {
        let below = path.strip_prefix(root).unwrap_or(path);
        self.0.is_match(below) || path.file_name().is_some_and(|name| self.0.is_match(name))
    }
}

/// The YAML and JSON files below `path`, without those that are `excluded`; `path` itself if it is a file.
///
/// # Errors
/// If `path` cannot be read, or is a directory without such a file.
pub fn files(path: &Path, excluded: &Excluded) -> Result<Files, InputError> {
    let kind = fs::metadata(path).map_err(|error| {
        let fix = "pass a readable file or directory, or - for the standard input";
        InputError::new(&shown(path), format!("cannot be read: {error}"), fix)
    })?;
    if !kind.is_dir() {
        return Ok(Files { files: vec![path.to_owned()], ..Files::default() });
    }
    let mut found = Files { is_directory: true, ..Files::default() };
    let mut has_excluded = false;
    let mut directories = vec![path.to_owned()];
    while let Some(directory) = directories.pop() {
        let entries = match entries(&directory) {
            Ok(entries) => entries,
            Err(error) if directory == path => return Err(unreadable(path, &error)),
            Err(error) => {
                found.unreadable.push(unreadable(&directory, &error));
                continue;
            }
        };
        for (entry, kind) in entries {
            let has_objects = entry.extension().is_some_and(|end| EXTENSIONS.iter().any(|one| end == *one));
            if excluded.has(&entry, path) {
                has_excluded |= has_objects || kind.is_dir();
            } else if kind.is_dir() {
                directories.push(entry);
            } else if has_objects {
                match fs::metadata(&entry) {
                    // Opening a FIFO would wait for a writer.
                    Ok(target) if !target.is_file() => found.special.push(not_a_file(&entry, target.file_type())),
                    Ok(_) => found.files.push(entry),
                    Err(error) => found.unreadable.push(unreadable(&entry, &error)),
                }
            }
        }
    }
    if found.files.is_empty() && found.unreadable.is_empty() && !has_excluded {
        return Err(InputError::new(
            &shown(path),
            "has no .yaml, .yml or .json file",
            "pass a directory with Kubernetes objects",
        ));
    }
    found.files.sort();
    found.unreadable.sort_by_cached_key(ToString::to_string);
    found.special.sort_by_cached_key(ToString::to_string);
    Ok(found)
}

/// The visible entries of a directory. A mounted ConfigMap keeps its files in a hidden directory, with visible links to them;
/// editors hide temporary files.
fn entries(directory: &Path) -> io::Result<Vec<(PathBuf, FileType)>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            entries.push((entry.path(), entry.file_type()?));
        }
    }
    Ok(entries)
}

fn unreadable(path: &Path, error: &io::Error) -> InputError {
    let fix = "make it readable, or leave it out with --exclude";
    InputError::new(&shown(path), format!("cannot be read: {error}"), fix)
}

fn not_a_file(path: &Path, kind: FileType) -> InputError {
    let reason = if kind.is_dir() { "is a link to a directory" } else { "is not a regular file" };
    InputError::new(&shown(path), reason, "pass it with -f, or leave it out with --exclude")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_names_and_paths_below_the_directory() {
        for (pattern, path, expected) in [
            ("values.yaml", "a/values.yaml", true),
            ("*.json", "a/b/c.json", true),
            ("templates", "chart/templates", true),
            ("./chart/templates/", "chart/templates", true),
            ("chart/*", "chart/a/b.yaml", false),
            ("chart/**", "chart/a/b.yaml", true),
            ("root/*", "x.yaml", false),
            ("{a,b}.yaml", "b.yaml", true),
            ("*.yaml", "x.yml", false),
        ] {
            let excluded = Excluded::new(&[pattern.to_owned()]).unwrap_or_default();
            assert_eq!(excluded.has(&Path::new("root").join(path), Path::new("root")), expected, "{pattern} {path}");
        }
        assert!(Excluded::new(&["[".to_owned()]).is_err());
    }
}
