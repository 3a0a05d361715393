//! Completion of `kubectl byname`: kubectl runs `kubectl_complete-byname` with the words so far, the last one incomplete.

use std::{env, ffi::OsString};

use clap::Command;
use clap_complete::engine::complete;

/// The name under which kubectl looks for the completion of the plugin `kubectl-byname`.
pub(super) const NAME: &str = "kubectl_complete-byname";

/// The line that ends the candidates: whether the shell adds names of files. The numbers are those of the library cobra.
const OTHERS: &str = ":0";
const NO_FILES: &str = ":4";

/// The candidates for the last of `args`, one a line with its description, and how the shell goes on.
pub(super) fn candidates(byname: Command, args: &[OsString]) -> anyhow::Result<String> {
    let words: Vec<OsString> = [OsString::from("byname")].into_iter().chain(args.iter().cloned()).collect();
    let last = words.len() - 1;
    let current = env::current_dir().ok();
    let mut byname = byname.bin_name("kubectl byname");
    let candidates = complete(&mut byname, words, last, current.as_deref())?;
    let mut lines: Vec<String> = candidates
        .iter()
        .filter(|candidate| !candidate.is_hide_set())
        .map(|candidate| {
            let value = candidate.get_value().to_string_lossy();
            let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
            // Zsh and fish show the description beside the value.
            format!("{value}\t{}", help.lines().next().unwrap_or_default()).trim_end().to_owned()
        })
        .collect();
    lines.push(if lines.is_empty() { OTHERS } else { NO_FILES }.to_owned());
    Ok(lines.join("\n") + "\n")
}
