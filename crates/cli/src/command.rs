//! What a person types: one file for each command, thin, with its arguments and its exit status.

mod args;
mod compile;
mod completions;
mod diff;
mod explain;
mod lint;
mod schema;
mod status;
mod watch;

use std::{ffi::OsString, io, path::Path, process::ExitCode};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use self::status::{FINE, WRONG};
use crate::output;

/// Turns Kubernetes objects into configuration for the byname filter, and explains, checks and compares what names mean.
///
/// It reads what `kubectl get -o yaml` or `-o json` prints, and asks the cluster for nothing unless `watch` is told to. What it
/// says of a name is what the filter does with it: both are built on the same core.
#[derive(Debug, Parser)]
#[command(
    name = "byname",
    version,
    max_term_width = 120,
    after_help = "\
Exit status: 0, all is well; 1, the answer is no (not reachable, findings, differences); 2, what was typed or read is wrong.
Called `kubectl-byname` and on the PATH, it is a plugin: `kubectl byname explain payments --from shop`."
)]
struct Byname {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Compile(compile::Compile),
    Watch(watch::Watch),
    Explain(explain::Explain),
    Diff(diff::Diff),
    Lint(lint::Lint),
    Schema(schema::Schema),
    Completions(completions::Completions),
}

/// Runs what was typed.
#[must_use]
pub fn main() -> ExitCode {
    let status = match parse(std::env::args_os().collect()) {
        Ok(byname) => match byname.command.run() {
            Ok(status) => status,
            Err(error) if is_broken_pipe(&error) => FINE,
            Err(error) => {
                output::error(&error);
                WRONG
            }
        },
        Err(error) => {
            // Help and version come this way too.
            let status = if error.use_stderr() { WRONG } else { FINE };
            drop(error.print());
            status
        }
    };
    ExitCode::from(status)
}

/// As a plugin of kubectl its help speaks of `kubectl byname`.
fn parse(args: Vec<OsString>) -> Result<Byname, clap::Error> {
    let called = args.first().map(Path::new).and_then(Path::file_stem).and_then(|name| name.to_str());
    let command = match called {
        Some(name) if name.starts_with("kubectl-") => Byname::command().bin_name("kubectl byname"),
        _ => Byname::command(),
    };
    Byname::from_arg_matches(&command.try_get_matches_from(args)?)
}

impl Command {
    fn run(self) -> anyhow::Result<u8> {
        match self {
            Self::Compile(compile) => compile.run(),
            Self::Watch(watch) => watch.run(),
            Self::Explain(explain) => explain.run(),
            Self::Diff(diff) => diff.run(),
            Self::Lint(lint) => lint.run(),
            Self::Schema(schema) => schema.run(),
            Self::Completions(completions) => completions.run(&mut Byname::command()),
        }
    }
}

/// Whoever read the output had enough of it, such as `head`: nothing is wrong.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe))
}
