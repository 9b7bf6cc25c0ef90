//! `boardlock release`: giving a board back, one's own or, after a question, another's.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::process::ExitCode;

use clap::Args;
use rustix::fs::XattrFlags;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal, test_kill_process};

use crate::client::{BoardName, Clock, DirArgs, LockDirectory, describe, is_above, listed};
use crate::printable::printable;
use crate::schema::Board;

const MORE: &str = "\
It releases the hold that it has shown and no later one: if the board changes hands while it
asks, nothing is done. What your script or a shell above it has, and your own detached boards,
are released without a question; for another process's there has to be a terminal to ask on, or
--yes or --force.

Without --force it is what rm would do, by the same rules. --force is for the file's user, root
and the daemon's user where these refuse it (-o release=holder). Who had the board reads so in
its file, and it is in the history; what runs there goes on, unless --signal ends it.

Exit status: 0 released, or free already; 1 not released; 2 a command line that makes no sense.

Examples:
  boardlock release beagle
  boardlock release --force --signal TERM beagle";

/// The arguments of `boardlock release`.
#[derive(Args, Clone, Debug, Default)]
#[command(after_long_help = MORE)]
pub struct ReleaseArgs {
    /// The boards
    #[arg(value_name = "BOARD", required = true)]
    pub boards: Vec<OsString>,

    /// Where.
    #[command(flatten)]
    pub dir: DirArgs,

    /// Release it where rm may not, too
    #[arg(short, long)]
    pub force: bool,

    /// Send the holder's process this signal afterwards: TERM, INT, HUP, ...
    #[arg(short, long, value_name = "SIGNAL")]
    pub signal: Option<String>,

    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// Set on the lock directory it releases the board that it names.
const ATTRIBUTE: &str = "user.boardlock.release";

/// Runs `boardlock release`.
pub fn run(args: &ReleaseArgs) -> ExitCode {
    let signal = match args.signal.as_deref().map(signal).transpose() {
        Ok(signal) => signal,
        Err(why) => {
            super::complain(&format!("--signal: {why}"));
            return ExitCode::from(super::USAGE);
        }
    };
    super::for_each_board(&args.dir, &args.boards, |dir, board| {
        release(dir, board, args, signal)
    })
}

/// A signal by its name or number: `TERM`, `SIGTERM`, `15`.
fn signal(text: &str) -> Result<Signal, String> {
    let name = text.to_ascii_uppercase();
    let number = match name.parse() {
        Ok(number) => Some(number),
        Err(_) => {
            let full = if name.starts_with("SIG") {
                name
            } else {
                format!("SIG{name}")
            };
            full.parse::<nix::sys::signal::Signal>()
                .ok()
                .map(|signal| signal as i32)
        }
    };
    number.and_then(Signal::from_named_raw).ok_or_else(|| {
        format!(
            "'{}' is no signal; kill -l has their names",
            printable(text)
        )
    })
}

fn release(
    dir: &LockDirectory,
    board: &BoardName,
    args: &ReleaseArgs,
    signal: Option<Signal>,
) -> Result<String, String> {
    let clock = Clock::here(jiff::Timestamp::now().as_second());
    let told = dir
        .told_of(board)
        .map_err(|error| format!("cannot look at {board}: {error}"))?;
    let Some(told) = told.filter(|told| told.board.state != "free") else {
        return match listed::in_the_way(dir, board) {
            Some(why) => Err(format!("cannot release {board}: {why}")),
            None => Ok(format!("{board} is free")),
        };
    };
    let who = describe::holder(&told.board, &clock);
    let Some(token) = told.board.token else {
        return Err(format!(
            "cannot release {board}: it is not told which hold it is; it is {who}"
        ));
    };
    let target = match signal {
        None => None,
        Some(signal) => Some((signal, target(dir, board, &told.board, &who)?)),
    };
    if !is_own(&told.board) && !args.yes {
        // There is no use in asking who may not.
        if !may_release(dir, &told.board) {
            return Err(not_yours(board, &who));
        }
        let answer = ask(board, &who)?;
        match answer {
            Some(true) => {}
            Some(false) => return Err(format!("{board} is left as it is")),
            None if args.force => {}
            None => {
                return Err(format!(
                    "{board} is not yours: {who}; to release it all the same: \
                     boardlock release --yes {board}"
                ));
            }
        }
    }
    let force = if args.force { "force " } else { "" };
    // What a path can begin with is no word of this then.
    let mut value = format!("{token} {force}./").into_bytes();
    value.extend_from_slice(board.as_path().as_os_str().as_bytes());
    rustix::fs::setxattr(&dir.path, ATTRIBUTE, &value, XattrFlags::empty())
        .map_err(|error| refusal(dir, board, args.force, &who, error))?;
    let mut text = format!("{board} is released; it was {who}");
    if let Some((signal, (pid, pidfd))) = target {
        match pidfd_send_signal(&pidfd, signal) {
            Ok(()) => text += &format!("; pid {pid} was sent {}", name(signal)),
            Err(Errno::SRCH) => text += &format!("; pid {pid} has ended"),
            Err(error) => {
                return Err(format!(
                    "{text}, but pid {pid} cannot be sent {}: {}",
                    name(signal),
                    io::Error::from(error)
                ));
            }
        }
    }
    Ok(text)
}

fn name(signal: Signal) -> String {
    nix::sys::signal::Signal::try_from(signal.as_raw())
        .map_or_else(|_| signal.as_raw().to_string(), |signal| signal.to_string())
}

/// Whether nobody else is in the way of releasing a board.
fn is_own(board: &Board) -> bool {
    match board.pid {
        Some(pid) => is_above(pid),
        None => board.state == "detached" && board.uid == Some(rustix::process::getuid().as_raw()),
    }
}

/// The process that has the board. A pid that was read may be another's once its process has
/// ended: but not if the same hold is still its when the process is in our hands.
fn target(
    dir: &LockDirectory,
    board: &BoardName,
    told: &Board,
    who: &str,
) -> Result<(u32, OwnedFd), String> {
    let failed = |why: &str| {
        format!(
            "cannot signal the holder of {board}: {why}; it is {who}; nothing was done; \
             without --signal: boardlock release {board}"
        )
    };
    let number = told.pid.ok_or_else(|| failed("it is no process's"))?;
    let pid = i32::try_from(number)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| failed("it is no process's"))?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty())
        .map_err(|error| failed(&io::Error::from(error).to_string()))?;
    test_kill_process(pid).map_err(|error| match error {
        Errno::PERM => failed("that is for its user and root"),
        error => failed(&io::Error::from(error).to_string()),
    })?;
    let still = dir.told_of(board).ok().flatten();
    let is_still = |now: &Board| now.pid == told.pid && now.token == told.token;
    match still {
        Some(now) if is_still(&now.board) => Ok((number, pidfd)),
        _ => Err(failed("it has changed hands meanwhile")),
    }
}

/// Asks on the terminal; none if there is none.
fn ask(board: &BoardName, who: &str) -> Result<Option<bool>, String> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(None);
    }
    let _ = write!(io::stderr(), "{board} is {who}\nRelease it? [y/N] ");
    let mut answer = String::new();
    io::stdin()
        .read_line(&mut answer)
        .map_err(|error| format!("cannot read the answer: {error}"))?;
    if !answer.ends_with('\n') {
        let _ = writeln!(io::stderr());
    }
    let answer = answer.trim().to_ascii_lowercase();
    Ok(Some(answer == "y" || answer == "yes"))
}

/// Whether it is for this user at all to release a board that another process has.
fn may_release(dir: &LockDirectory, board: &Board) -> bool {
    let us = rustix::process::getuid().as_raw();
    let serves = std::fs::metadata(&dir.path).is_ok_and(|about| about.uid() == us);
    us == 0 || serves || board.uid.is_none_or(|uid| uid == us)
}

fn not_yours(board: &BoardName, who: &str) -> String {
    format!(
        "cannot release {board}: that is for its user, root and the user who serves it; \
         it is {who}; to wait for it: boardlock run {board} -- CMD"
    )
}

fn refusal(dir: &LockDirectory, board: &BoardName, force: bool, who: &str, error: Errno) -> String {
    let clock = Clock::here(jiff::Timestamp::now().as_second());
    match error {
        Errno::STALE | Errno::NOENT => match dir.told_of(board).ok().flatten() {
            Some(now) => format!(
                "{board} has changed hands meanwhile, nothing was done; it is {} now",
                describe::holder(&now.board, &clock)
            ),
            None => format!("{board} was given back meanwhile, and is free"),
        },
        Errno::PERM | Errno::ACCESS if force => not_yours(board, who),
        Errno::PERM | Errno::ACCESS => format!(
            "cannot release {board}: it is {who}; its user and root can: \
             boardlock release --force {board}; to wait for it: boardlock run {board} -- CMD"
        ),
        Errno::NOTEMPTY => {
            format!("cannot release {board}: there are boards in it; release those first")
        }
        Errno::OPNOTSUPP => format!(
            "cannot release {board}: the boardlock that serves it is older than this one; \
             it is {who}; remove it by: rm {}/{board}",
            printable(dir.path.as_os_str().as_bytes())
        ),
        error => format!(
            "cannot release {board}: {}; it is {who}",
            io::Error::from(error)
        ),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn signals_by_name_and_number() {
        for text in ["TERM", "term", "SIGTERM", "15"] {
            assert_eq!(signal(text), Ok(Signal::TERM), "{text}");
        }
        for text in ["", "SIG", "0", "-1", "1000", "NOPE"] {
            assert!(signal(text).is_err(), "{text}");
        }
    }
}
