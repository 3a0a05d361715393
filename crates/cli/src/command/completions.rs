//! `byname completions`.

use clap::{Args, Command};
use clap_complete::Shell;

use super::status::FINE;
use crate::output;

/// Print a completion script for a shell.
///
/// For `kubectl byname`, link the program as kubectl_complete-byname on the PATH; kubectl's own completion then asks it.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  source <(byname completions bash)
  byname completions zsh > \"${fpath[1]}/_byname\"
  byname completions fish > ~/.config/fish/completions/byname.fish
  # For kubectl byname
  ln -s \"$(command -v byname)\" ~/.local/bin/kubectl_complete-byname")]
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
