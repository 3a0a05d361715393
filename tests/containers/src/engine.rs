//! The Docker engine, by its command line.

use std::{
    env,
    fs::File,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

/// An engine that answers, and the Compose that goes with it.
pub struct Engine {
    /// The words of Compose's command: `docker compose` (v2) or `docker-compose` (v1).
    compose: &'static [&'static str],
    /// Addresses and names are the same in every run, so there is one at a time on a machine.
    _alone: File,
}

const COMPOSES: [&[&str]; 2] = [&["docker", "compose"], &["docker-compose"]];

impl Engine {
    /// # Errors
    /// Where there is no engine or no Compose, with the way out.
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

    /// Compose's command as it is typed here.
    #[must_use]
    pub fn compose(&self) -> String {
        self.compose.join(" ")
    }
}

/// Nothing that is run takes longer, or it hangs.
const MOST_SECONDS: &str = "180";

/// Runs a program to its end and gives what it printed.
///
/// # Errors
/// Where it cannot be started or fails, with all that it said.
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
