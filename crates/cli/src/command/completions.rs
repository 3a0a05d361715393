//! `byname completions`.

use clap::{Args, Command};
use clap_complete::Shell;

use super::status::FINE;
use crate::output;

/// Print a completion script for a shell.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  source <(byname completions bash)
  byname completions zsh > \"${fpath[1]}/_byname\"")]
pub(super) struct Completions {
    /// Shell to print the script for.
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self, byname: &mut Command) -> anyhow::Result<u8> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, byname, "byname", &mut script);
        output::write(None, &String::from_utf8(script)?)?;
        Ok(FINE)
    }
}
