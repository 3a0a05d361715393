//! Checks how the workspace's source files import each other: no two files in a circle, folders only downwards, and no host call of the
//! SDK in the filter.
//!
//! A file in a circle cannot be read or tested without the others. A folder that imports a folder above it is no layer.
//! The compiler allows both.

mod circles;
mod folders;
mod for_tests;
mod host_calls;
mod imports;
mod modules;
mod source;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result, bail};

use folders::{CrateLayers, LAYERS};
use modules::{ModuleTree, Sources};

/// Checks all crates below `root`, including the fuzzing crate.
pub(crate) fn check(root: &Path) -> Result<()> {
    let mut sources = Sources::new();
    collect(root, "", &mut sources)?;
    let (files, errors) = check_sources(&sources, LAYERS)?;
    for error in &errors {
        eprintln!("{error}");
    }
    if !errors.is_empty() {
        bail!("{} errors in the imports of {} files; xtask/src/layers.rs has the rules", errors.len(), files.len());
    }
    println!("layers: {} files, no circle, folders go one way", files.len());
    Ok(())
}

/// The files of all crates, and the errors in their imports.
fn check_sources(sources: &Sources, layers: &[CrateLayers]) -> Result<(BTreeSet<String>, Vec<String>)> {
    let mut files = BTreeSet::new();
    let mut errors = host_calls::check(sources);
    let mut unused: BTreeSet<&str> = layers.iter().map(|layers| layers.crate_folder).collect();
    for crate_root in sources.keys().filter(|file| is_crate_root(file)) {
        let found = imports::find(&ModuleTree::read(crate_root, sources)?);
        errors.extend(circles::find(&found.imports));
        let folder = modules::directory_of(crate_root);
        if let Some(layers) = layers.iter().find(|layers| layers.crate_folder == folder) {
            unused.remove(layers.crate_folder);
            errors.extend(folders::check(layers, &found));
        }
        files.extend(found.files.into_iter().map(|file| file.path));
    }
    errors.extend(unused.into_iter().map(|folder| {
        format!("{folder}: there is no crate; correct its entry of LAYERS in xtask/src/layers/folders.rs")
    }));
    Ok((files, errors))
}

/// Whether Cargo takes the file for a crate root by its path.
fn is_crate_root(file: &str) -> bool {
    ["src/lib.rs", "src/main.rs"]
        .iter()
        .any(|root| file.strip_suffix(root).is_some_and(|before| before.is_empty() || before.ends_with('/')))
}

/// Reads every Rust source below `root`, except for build output.
fn collect(root: &Path, directory: &str, sources: &mut Sources) -> Result<()> {
    let path = root.join(directory);
    for entry in fs::read_dir(&path).with_context(|| format!("cannot read {}", path.display()))? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let file = if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") };
        if entry.file_type()?.is_dir() {
            if name != "target" && !name.starts_with('.') {
                collect(root, &file, sources)?;
            }
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(entry.path()).with_context(|| format!("cannot read {file}"))?;
            sources.insert(file, text);
        }
    }
    Ok(())
}
