//! Commands as documents show them, run by a shell that finds the programs of the repository.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::envoy::repository;

/// The path of kubectl: the value of `KUBECTL`, or the kubectl that `make kubectl` installs.
///
/// # Errors
/// If there is no kubectl. A missing kubectl is an error, because skipped tests look like passing tests.
pub fn kubectl_binary() -> Result<PathBuf> {
    let (binary, advice) = match env::var_os("KUBECTL") {
        Some(path) => (PathBuf::from(path), "KUBECTL names it"),
        None => (repository().join("target/kubectl/kubectl"), "run `make kubectl`, or set KUBECTL=/path/to/kubectl"),
    };
    if !binary.is_file() {
        bail!("there is no kubectl at {}: {advice}", binary.display());
    }
    Ok(binary)
}

/// A shell in the root of the repository or in another directory. Its PATH has the given programs, and it knows no
/// cluster of this machine.
pub struct Shell {
    programs: TempDir,
    directory: PathBuf,
    kubeconfig: Option<PathBuf>,
}

impl Shell {
    /// Creates a shell that finds `programs`, given by name and path.
    ///
    /// # Errors
    /// If a program does not exist.
    pub fn new(programs: &[(&str, &Path)]) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("byname-programs-").tempdir()?;
        for (name, program) in programs {
            let program = program.canonicalize().with_context(|| format!("there is no {}", program.display()))?;
            symlink(program, directory.path().join(name))?;
        }
        Ok(Self { programs: directory, directory: repository(), kubeconfig: None })
    }

    /// Runs commands in `directory`, so that they write their files there.
    #[must_use]
    pub fn directory(mut self, directory: &Path) -> Self {
        self.directory = directory.to_owned();
        self
    }

    /// Lets kubectl use the cluster of this kubeconfig.
    #[must_use]
    pub fn kubeconfig(mut self, file: &Path) -> Self {
        self.kubeconfig = Some(file.to_owned());
        self
    }

    /// Puts a script on the PATH, in place of a program that cannot run here.
    ///
    /// # Errors
    /// If the script cannot be written.
    pub fn script(&self, name: &str, text: &str) -> Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let file = self.programs.path().join(name);
        fs::write(&file, text)?;
        Ok(fs::set_permissions(file, fs::Permissions::from_mode(0o755))?)
    }

    /// Runs `command` and returns its output, including standard error.
    ///
    /// # Errors
    /// If the command fails. The error has the output.
    pub fn run(&self, command: &str) -> Result<String> {
        let path = env::var("PATH").unwrap_or_default();
        // kubectl caches the API discovery below HOME.
        let home = self.programs.path();
        let output = Command::new("sh")
            .args(["-c", &format!("exec 2>&1\n{command}")])
            .current_dir(&self.directory)
            .env("PATH", format!("{}:{path}", home.display()))
            .env("HOME", home)
            .env("KUBECONFIG", self.kubeconfig.as_deref().unwrap_or(Path::new("/dev/null")))
            .output()
            .context("sh cannot be run")?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!("$ {command}\nends with {}:\n{printed}", output.status);
        }
        Ok(printed)
    }
}
