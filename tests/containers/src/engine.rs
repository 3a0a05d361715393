//! The Docker engine, by its command line.

use std::{
    env,
    fs::File,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

/// A running engine, with its version of Compose.
pub struct Engine {
    /// The command of Compose: `docker compose` (v2) or `docker-compose` (v1).
    compose: &'static [&'static str],
    /// A lock for the whole machine, because every run uses the same addresses and names.
    _alone: File,
}

const COMPOSES: [&[&str]; 2] = [&["docker", "compose"], &["docker-compose"]];

impl Engine {
    /// # Errors
    /// If there is no engine or no Compose. The error says what to do.
    pub fn find() -> Result<Self> {
        run("docker", &["info"]).context(
            "there is no Docker engine that answers: install and start one, or run `make test`, which needs none",
        )?;
        let answers = |words: &&&[&str]| {
            let [program, arguments @ ..] = **words else { return false };
            run(program, &[arguments, &["version"]].concat()).is_ok()
        };
        let compose = COMPOSES.iter().find(answers).context(
            "there is no Compose: install the plugin of `docker compose`, or `docker-compose` (Debian's package of that name)",
        )?;
        let alone = File::create(env::temp_dir().join("byname-containers.lock"))?;
        alone.lock()?;
        Ok(Self { compose, _alone: alone })
    }

    /// The command of Compose.
    #[must_use]
    pub fn compose(&self) -> String {
        self.compose.join(" ")
    }
}

/// A time limit for every command, so that none hangs.
const MOST_SECONDS: &str = "180";

/// Runs a program to its end and returns its output.
///
/// # Errors
/// If the program cannot be started or fails. The error has its output.
pub fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new("timeout")
        .args([MOST_SECONDS, program])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .context("timeout cannot be run: install coreutils")?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{program} {} failed ({}, 124 is more than {MOST_SECONDS} s):\n{printed}{said}",
            arguments.join(" "),
            output.status
        );
    }
    Ok(printed)
}
