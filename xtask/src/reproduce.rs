//! Whether the same sources give the same module wherever they lie.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, bail};

use crate::module::{self, SHIPPED};

/// Builds the module once more from a copy of the sources in another directory, and compares the bytes.
pub(crate) fn check(root: &Path) -> Result<()> {
    let here = fs::read(root.join(SHIPPED)).with_context(|| format!("cannot read {SHIPPED}: run `make build`"))?;
    let elsewhere = tempfile::Builder::new().prefix("byname-built-elsewhere-").tempdir()?;
    let copy = elsewhere.path().join("a/deeper/directory");
    copy_sources(root, &copy)?;
    module::ship(&copy)?;
    if fs::read(copy.join(SHIPPED))? != here {
        bail!("the module that was built in {} differs from {SHIPPED}: what of a path is in it?", copy.display());
    }
    println!("{SHIPPED} is the same, byte for byte, when it is built in another directory");
    Ok(())
}

/// Copies what git knows of, or would, and nothing that was built.
pub(crate) fn copy_sources(root: &Path, copy: &Path) -> Result<()> {
    let files = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("git cannot be run")?;
    for file in String::from_utf8(files.stdout)?.split_terminator('\0') {
        // One that was removed and not yet committed is still listed.
        if root.join(file).is_file() {
            let to = copy.join(file);
            fs::create_dir_all(to.parent().context("a file lies in a directory")?)?;
            fs::copy(root.join(file), &to).with_context(|| format!("cannot copy {file}"))?;
        }
    }
    Ok(())
}
