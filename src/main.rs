//! The `boardlock` command.

mod read;

use std::process::ExitCode;

fn main() -> ExitCode {
    boardlock::cli::main()
}
