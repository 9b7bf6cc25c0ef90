//! `boardlock wait`: until boards are free.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Args;

use super::run;
use crate::client::refused::{self, Refused};
use crate::client::{BoardName, DirArgs, ENDING, Freed, Line, REWRITING, Signals, Watch};

const MORE: &str = "\
It takes nothing and stands in no line: others can have the board before you do. To have it,
wait with: boardlock run BOARD -- CMD

DUR is a number of seconds, or as 90s, 30m, 2h, 1d, 1h30m.

Exit status: 0 they are free, 1 not in time or an error, 2 a command line that makes no sense.

Example:
  boardlock wait beagle && echo 'beagle is free' | mail -s beagle me";

/// The arguments of `boardlock wait`.
#[derive(Args, Clone, Debug, Default)]
#[command(after_long_help = MORE)]
pub struct WaitArgs {
    /// The boards; all of them are to be free at one time
    #[arg(value_name = "BOARD", required = true)]
    pub boards: Vec<OsString>,

    /// Where.
    #[command(flatten)]
    pub dir: DirArgs,

    /// Wait this long at most [default: as long as it takes]
    #[arg(short = 'w', long, value_name = "DUR")]
    pub wait: Option<String>,

    /// Say nothing of who has them
    #[arg(short, long)]
    pub quiet: bool,
}

/// Runs `boardlock wait`.
pub fn run(args: &WaitArgs) -> ExitCode {
    let limit = match run::limit(args.wait.as_deref()) {
        Ok(limit) => limit,
        Err(why) => {
            super::complain(&format!("--wait: {why}"));
            return ExitCode::from(super::USAGE);
        }
    };
    match wait(args, limit) {
        Ok(code) => code,
        Err(refused) => {
            super::complain(&refused.text);
            ExitCode::FAILURE
        }
    }
}

fn wait(args: &WaitArgs, limit: run::Limit) -> Result<ExitCode, Refused> {
    let trouble = |trouble: crate::client::Trouble| Refused::new(1, trouble.to_string());
    let dir = args.dir.find().map_err(trouble)?;
    let boards: Vec<BoardName> = args
        .boards
        .iter()
        .map(|board| dir.board(board))
        .collect::<Result<_, _>>()
        .map_err(trouble)?;
    let failed = |error: std::io::Error| Refused::new(1, format!("cannot wait: {error}"));
    let mut signals = Signals::take(&ENDING).map_err(failed)?;
    let mut line = Line::new(args.quiet);
    if line.is_live() {
        signals.take_also(&REWRITING).map_err(failed)?;
    }
    let freed = Watch {
        dir: &dir,
        boards: &boards,
        patience: limit.begin(),
        signals: &signals,
        line: &mut line,
    }
    .wait()?;
    match freed {
        Freed::All => Ok(ExitCode::SUCCESS),
        Freed::Signal(signal) => signals.die_of(signal),
        Freed::NotInTime(held) => {
            if !args.quiet {
                super::complain(&refused::held(&held));
                if let Some((board, _)) = held.first() {
                    super::complain(&format!("to have it in turn: boardlock run {board} -- CMD"));
                }
            }
            Ok(ExitCode::FAILURE)
        }
    }
}
