//! The command line: clap's definitions, one file a command, and what the
//! options mean, checked apart from clap so that `-o` and `--long` agree.

pub mod complete;
pub mod doctor;
pub mod duration;
pub mod helper;
pub mod mount;
pub mod options;
pub mod upgrade;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A lock directory for shared boards: creating a board's file takes its lock.
#[derive(Debug, Parser)]
#[command(
    name = "boardlock",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve a lock directory, in the foreground, until SIGTERM or SIGINT
    ///
    /// Creating a file in DIR takes the board of that name for the process that
    /// made it (the script, where a tool such as touch did); removing the file
    /// or the death of that process releases it. Reading it shows who holds it.
    ///
    /// All users are served when root mounts, or where /etc/fuse.conf has
    /// user_allow_other. DIR is created if it is missing, not writable, so that
    /// nothing can be locked in it while nobody serves it.
    Mount(Box<mount::MountArgs>),

    /// Have this boardlock go on in place of the one that serves a directory
    ///
    /// Nothing is lost by it: boards, open files, locks and those who wait go on, and
    /// who asks something meanwhile waits for the moment that it takes. It keeps the
    /// options that the directory was mounted with. If it does not come to serve, the
    /// one before goes on. For root and the user who mounted; needs Linux 6.9.
    Upgrade(upgrade::UpgradeArgs),

    /// Look for what stands in the way of serving, and say how to mend it
    ///
    /// A line for each thing looked at: ok, warn or fail, what it is, and below it what to
    /// do. Nothing is changed. The exit code is 1 if something fails.
    Doctor(doctor::DoctorArgs),
}

/// Exit code for a command line that makes no sense, as clap's own errors have.
const USAGE: u8 = 2;

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let name = std::env::args_os().next().unwrap_or_default();
    if helper::is_called(name.as_ref()) {
        return helper::main();
    }
    complete::complete();
    let Cli { command } = Cli::parse();
    match command {
        Command::Mount(args) => mount::run(&args),
        Command::Upgrade(args) => upgrade::run(&args),
        Command::Doctor(args) => doctor::run(&args),
    }
}

/// Tells of an error before there is a log.
fn complain(text: &str) {
    use std::io::Write;
    // Nobody is left to tell when stderr is gone.
    let _ = writeln!(std::io::stderr(), "boardlock: {text}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn definitions_are_consistent() {
        super::Cli::command().debug_assert();
    }
}
