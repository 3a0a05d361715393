//! Installs Python models of Istio's CRDs, with which tests check Istio objects.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use crate::pypi;

pub(crate) fn install(root: &Path) -> Result<()> {
    let requirements = root.join("tests/istio/requirements.txt");
    let wanted = fs::read_to_string(&requirements).context("cannot read tests/istio/requirements.txt")?;
    let directory = root.join("target/istio-crds");
    let stamp = directory.join("requirements.txt");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    println!(
        "istio-crds: installing the packages of tests/istio/requirements.txt from PyPI into {}",
        directory.display()
    );
    pypi::install_packages(&requirements, &directory, "the check of Istio's CRDs needs Python 3.10 with pip")?;
    Ok(fs::write(stamp, wanted)?)
}
