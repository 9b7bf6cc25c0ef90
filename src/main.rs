//! The `boardlock` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    boardlock::cli::main()
}
