//! A root file system of programs of this machine, with the libraries that the dynamic loader loads for them.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::run;

/// The users of every image, Envoy's user among them.
const PASSWD: &str = "root:x:0:0::/root:/bin/sh\nenvoy:x:1337:1337::/:/bin/sh\nbyname:x:65532:65532::/:/bin/sh\n";

pub(crate) struct Rootfs(TempDir);

impl Rootfs {
    pub(crate) fn new() -> Result<Self> {
        let root = Self(tempfile::tempdir()?);
        for directory in ["dev", "etc", "proc", "sys", "tmp", "usr/local/bin"] {
            fs::create_dir_all(root.path().join(directory))?;
        }
        fs::set_permissions(root.path().join("tmp"), PermissionsExt::from_mode(0o1777))?;
        fs::set_permissions(root.path(), PermissionsExt::from_mode(0o755))?;
        fs::write(root.path().join("etc/passwd"), PASSWD)?;
        Ok(root)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// The path of an image's file on this machine. Creates the directories above it.
    fn place(&self, path: &Path) -> Result<PathBuf> {
        let place = self.path().join(path.strip_prefix("/").unwrap_or(path));
        if let Some(directory) = place.parent() {
            fs::create_dir_all(directory)?;
        }
        Ok(place)
    }

    /// Copies one file.
    pub(crate) fn file(&self, from: &Path, to: &Path) -> Result<()> {
        let place = self.place(to)?;
        // Several programs bring the same libraries.
        if place.symlink_metadata().is_ok() {
            return Ok(());
        }
        fs::copy(from, &place).with_context(|| format!("cannot copy {}", from.display()))?;
        Ok(())
    }

    /// Copies a program and its libraries to `to`.
    pub(crate) fn program(&self, from: &Path, to: &Path) -> Result<()> {
        self.file(from, to)?;
        self.libraries_of(from)
    }

    /// Copies the program of this name on the PATH to its own path and to /usr/local/bin.
    pub(crate) fn command(&self, name: &str) -> Result<()> {
        let found = which(name)?;
        self.program(&found, &Path::new("/usr/local/bin").join(name))?;
        // Scripts expect a shell at /bin/sh.
        if name == "sh" {
            self.link(Path::new("/usr/local/bin/sh"), Path::new("/bin/sh"))?;
        }
        Ok(())
    }

    /// Copies a directory except for entries named in `without`, and the libraries of its shared objects.
    pub(crate) fn directory(&self, from: &Path, without: &[&str]) -> Result<()> {
        let entries = fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))?;
        for entry in entries {
            let entry = entry?;
            let (path, name) = (entry.path(), entry.file_name());
            if without.iter().any(|other| name == *other) {
                continue;
            }
            if path.is_dir() {
                self.directory(&path, without)?;
            } else if path.extension().is_some_and(|extension| extension == "so") {
                self.program(&path, &path)?;
            } else if path.is_file() {
                self.file(&path, &path)?;
            }
        }
        Ok(())
    }

    pub(crate) fn link(&self, target: &Path, link: &Path) -> Result<()> {
        let place = self.place(link)?;
        match place.symlink_metadata() {
            Ok(_) => Ok(()),
            Err(_) => Ok(symlink(target, place)?),
        }
    }

    fn libraries_of(&self, program: &Path) -> Result<()> {
        let Ok(listed) = run("ldd", &[&program.to_string_lossy()]) else {
            // ldd fails for a program that is linked statically.
            return Ok(());
        };
        for line in listed.lines() {
            if line.contains("not found") {
                bail!("{} lacks a library on this machine: {}", program.display(), line.trim());
            }
            let library = line.split_whitespace().find(|word| word.starts_with('/'));
            if let Some(library) = library.map(Path::new) {
                self.file(library, library)?;
            }
        }
        Ok(())
    }
}

/// The path of the program of this name on the PATH.
fn which(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // The PATH of ordinary users may lack the sbin directories.
    let directories = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    directories
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
        .with_context(|| format!("a stand-in for an image needs the program `{name}` of this machine: install it"))
}
