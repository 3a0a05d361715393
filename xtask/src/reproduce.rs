//! Checks that the same sources give the same module in any directory.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, bail};

use crate::module::{self, SHIPPED};

/// Builds the module again from a copy of the sources in another directory, and compares the bytes.
pub(crate) fn check(root: &Path) -> Result<()> {
    let here = fs::read(root.join(SHIPPED)).with_context(|| format!("cannot read {SHIPPED}: run `make build`"))?;
    let elsewhere = tempfile::Builder::new().prefix("byname-built-elsewhere-").tempdir()?;
    let copy = elsewhere.path().join("a/deeper/directory");
    copy_sources(root, &copy)?;
    module::ship(&copy)?;
    if fs::read(copy.join(SHIPPED))? != here {
        bail!("the module built in {} differs from {SHIPPED}; it may contain a path", copy.display());
    }
    println!("{SHIPPED} is identical when built in another directory");
    Ok(())
}

/// Copies the files that git tracks or would add, without build output.
pub(crate) fn copy_sources(root: &Path, copy: &Path) -> Result<()> {
    let files = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("git cannot be run")?;
    for file in String::from_utf8(files.stdout)?.split_terminator('\0') {
        // git still lists a removed file until the removal is committed.
        if root.join(file).is_file() {
            let to = copy.join(file);
            fs::create_dir_all(to.parent().context("a file lies in a directory")?)?;
            fs::copy(root.join(file), &to).with_context(|| format!("cannot copy {file}"))?;
        }
    }
    Ok(())
}
