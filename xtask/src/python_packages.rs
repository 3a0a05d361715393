//! Installs the Python packages that tests use. A requirements file pins their versions.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use crate::pypi;

/// Packages that are installed together.
pub(crate) struct PythonPackages {
    /// The make target, and the directory in `target/`.
    name: &'static str,
    /// Path of the requirements file.
    requirements: &'static str,
    /// Advice for a failed installation.
    advice: &'static str,
}

/// Models of Istio's CRDs, with which tests check Istio objects.
pub(crate) const ISTIO_CRDS: PythonPackages = PythonPackages {
    name: "istio-crds",
    requirements: "tests/istio/requirements.txt",
    advice: "the check of Istio's CRDs needs Python 3.10 with pip",
};

/// gRPC's own client and server for Python.
pub(crate) const GRPC: PythonPackages = PythonPackages {
    name: "grpc",
    requirements: "tests/grpc/requirements.txt",
    advice: "the tests of gRPC need Python 3.10 with pip",
};

impl PythonPackages {
    /// Installs the packages into `target/NAME/packages`, unless these versions are there.
    pub(crate) fn install(&self, root: &Path) -> Result<()> {
        let Self { name, requirements, advice } = self;
        let file = root.join(requirements);
        let wanted = fs::read_to_string(&file).with_context(|| format!("cannot read {requirements}"))?;
        let directory = root.join("target").join(name);
        let stamp = directory.join("requirements.txt");
        if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
            return Ok(());
        }
        println!("{name}: installing the packages of {requirements} from PyPI into {}", directory.display());
        pypi::install_packages(&file, &directory, advice)?;
        Ok(fs::write(stamp, wanted)?)
    }
}
