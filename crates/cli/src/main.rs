//! The program `byname`.

use std::process::ExitCode;

fn main() -> ExitCode {
    byname_cli::command::main()
}
