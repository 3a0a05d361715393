//! Entry point of the `byname` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    byname_cli::command::main()
}
