//! The command line: clap's definitions, one file a command, and what the
//! options mean, checked apart from clap so that `-o` and `--long` agree.

pub mod check_boards;
pub mod complete;
pub mod doctor;
pub mod duration;
pub mod helper;
pub mod history;
pub mod mount;
pub mod options;
pub mod release;
pub mod renew;
pub mod run;
pub mod status;
pub mod upgrade;
pub mod wait;
pub mod why;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::client::{BoardName, DirArgs, LockDirectory, Trouble, refused};

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

    /// Say whether a file can be read as an inventory, for --boards, and what is in it
    ///
    /// The exit code is 1 if it is broken, with FILE:LINE:COLUMN and what is wrong there.
    /// Users and groups are looked up on this machine.
    CheckBoards(check_boards::CheckBoardsArgs),

    /// Look for what stands in the way of serving, and say how to mend it
    ///
    /// A line for each thing looked at: ok, warn or fail, what it is, and below it what to
    /// do. Nothing is changed. The exit code is 1 if something fails.
    Doctor(doctor::DoctorArgs),

    /// Run a command that has boards while it runs
    ///
    /// It waits until all boards are its at once, holding none meanwhile, and shows who
    /// has them and the place in the line. The boards are given back when the command ends,
    /// whatever it leaves running; if boardlock run itself is killed, the command keeps them
    /// to its end. Signals are passed on to it.
    Run(Box<run::RunArgs>),

    /// Wait until boards are free
    Wait(wait::WaitArgs),

    /// Renew the lease of boards that you have
    Renew(renew::RenewArgs),

    /// Give a board back, or take it from another
    Release(release::ReleaseArgs),

    /// Show which boards are held, by whom, since when and until when
    Status(status::StatusArgs),

    /// Show who had which board, when, and how it ended
    History(history::HistoryArgs),

    /// Explain who has a board, how that was found, who was refused it, and what to do
    ///
    /// A `touch` that fails can only say that the board is in use. This says the rest. The
    /// same for programs: boardlock status --json BOARD, boardlock history --json BOARD.
    Why(why::WhyArgs),
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
    let Cli { command } = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() && is_run() => {
            let _ = error.print();
            return ExitCode::from(refused::code::USAGE);
        }
        Err(error) => error.exit(),
    };
    match command {
        Command::Mount(args) => mount::run(&args),
        Command::Upgrade(args) => upgrade::run(&args),
        Command::CheckBoards(args) => check_boards::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Wait(args) => wait::run(&args),
        Command::Renew(args) => renew::run(&args),
        Command::Release(args) => release::run(&args),
        Command::Status(args) => status::run(&args),
        Command::History(args) => history::run(&args),
        Command::Why(args) => why::run(&args),
    }
}

/// Whether it is `boardlock run`, whose exit codes are those of flock(1), for wrong command
/// lines too.
fn is_run() -> bool {
    std::env::args_os().nth(1).is_some_and(|word| word == "run")
}

/// Does something about each of these boards, and tells what came of it.
fn for_each_board(
    dir: &DirArgs,
    boards: &[OsString],
    act: impl Fn(&LockDirectory, &BoardName) -> Result<String, String>,
) -> ExitCode {
    use std::io::Write;
    let found = dir.find().and_then(|dir| dir.answers().map(|()| dir));
    let dir = match found {
        Ok(dir) => dir,
        Err(trouble) => {
            complain(&trouble.to_string());
            return ExitCode::FAILURE;
        }
    };
    let mut code = ExitCode::SUCCESS;
    for board in boards {
        let done = dir
            .board(board)
            .map_err(|trouble| trouble.to_string())
            .and_then(|board| act(&dir, &board));
        match done {
            Ok(text) => {
                let _ = writeln!(std::io::stdout(), "{text}");
            }
            Err(why) => {
                complain(&why);
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

/// The exit code of a command, once what was in its way is told.
fn code_of(done: Result<ExitCode, Trouble>) -> ExitCode {
    done.unwrap_or_else(|trouble| {
        complain(&trouble.to_string());
        ExitCode::FAILURE
    })
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
