//! The command line: one file for each command, with its arguments and its exit status. Where a command needs two of the folders that do not
//! use each other, such as `sidecar` and `explain`, it brings them together here.

mod args;
mod check;
mod compile;
mod completions;
mod diff;
mod explain;
mod explain_live;
mod kubectl_completion;
mod lint;
mod linted_input;
mod live;
mod name_args;
mod namespace_args;
mod proxy_config;
mod reading;
mod schema;
mod serve;
mod sidecar_status;
mod sidecars;
mod source;
mod status;
mod watch;

use std::{ffi::OsString, io, path::Path, process::ExitCode};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use self::status::{FINE, WRONG};
use crate::{input::messages, output};

/// Compile Kubernetes Services into the byname filter's configuration, and explain, lint and compare how names resolve.
///
/// Reads the live cluster that kubectl uses, or the output of `kubectl get -o yaml` or `-o json`. The filter and this command share one
/// core, so a name resolves here as it does in Envoy.
#[derive(Debug, Parser)]
#[command(
    name = "byname",
    version,
    max_term_width = 120,
    after_help = "\
Exit status: 0 on success; 1 if the answer is no (refused, findings, differences); 2 if an argument or the input is invalid.
Installed on the PATH as `kubectl-byname`, it is a kubectl plugin: `kubectl byname explain payments -n shop`."
)]
struct Byname {
    #[command(subcommand)]
    command: Command,
    /// Whether text for people has colours. auto: at a terminal, unless NO_COLOR is set.
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = Colour::Auto)]
    color: Colour,
    /// Print long text without a pager. Default: at a terminal, text longer than the screen goes through $PAGER, or else
    /// through the command less.
    #[arg(long, global = true)]
    no_pager: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Colour {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
enum Command {
    Compile(compile::Compile),
    Watch(watch::Watch),
    Serve(serve::Serve),
    Explain(explain::Explain),
    Diff(diff::Diff),
    Lint(lint::Lint),
    Status(sidecar_status::Status),
    ProxyConfig(proxy_config::ProxyConfig),
    Check(check::Check),
    Schema(schema::Schema),
    #[command(alias = "completion")]
    Completions(completions::Completions),
}

/// Parses the command line, runs the command and returns its exit status.
#[must_use]
pub fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    if called(&args) == Some(kubectl_completion::NAME) {
        let words = args.get(1..).unwrap_or_default();
        let printed = kubectl_completion::candidates(Byname::command(), words);
        return ExitCode::from(status_of(printed.and_then(|text| output::write(None, &text).map(|()| FINE))));
    }
    let status = match parse(args) {
        Ok(byname) => {
            byname.set_up_output();
            status_of(byname.command.run())
        }
        Err(error) => {
            // --help and --version are errors to clap, but go to the standard output.
            let status = if error.use_stderr() { WRONG } else { FINE };
            drop(error.print());
            status
        }
    };
    ExitCode::from(status)
}

/// The exit status of a command, whose error is printed.
fn status_of(result: anyhow::Result<u8>) -> u8 {
    match result {
        Ok(status) => status,
        Err(error) if is_broken_pipe(&error) => FINE,
        Err(error) => {
            messages(&error).iter().for_each(|message| output::error(message));
            WRONG
        }
    }
}

/// The name that the program was called by.
fn called(args: &[OsString]) -> Option<&str> {
    args.first().map(Path::new).and_then(Path::file_stem).and_then(|name| name.to_str())
}

impl Byname {
    fn set_up_output(&self) {
        match self.color {
            Colour::Auto => {}
            Colour::Always => anstream::ColorChoice::Always.write_global(),
            Colour::Never => anstream::ColorChoice::Never.write_global(),
        }
        if self.no_pager {
            output::turn_pager_off();
        }
    }
}

/// Parses `args`. The help says `kubectl byname` if byname was called as a kubectl plugin.
fn parse(args: Vec<OsString>) -> Result<Byname, clap::Error> {
    let command = match called(&args) {
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
            Self::Serve(serve) => serve.run(),
            Self::Explain(explain) => explain.run(),
            Self::Diff(diff) => diff.run(),
            Self::Lint(lint) => lint.run(),
            Self::Status(status) => status.run(),
            Self::ProxyConfig(proxy_config) => proxy_config.run(),
            Self::Check(check) => check.run(),
            Self::Schema(schema) => schema.run(),
            Self::Completions(completions) => completions.run(&mut Byname::command()),
        }
    }
}

/// Whether the reader of the output closed it early, as `head` does. That is no error.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe))
}
