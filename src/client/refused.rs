//! Why a command is refused what it asks for: who has it, since when, what to type next.

use std::fmt;
use std::io;

use super::describe;
use super::directory::{BoardName, LockDirectory};
use super::glance::Told;
use super::listed;
use super::times::Clock;
use crate::printable::printable;
use crate::schema::Board;

/// Exit codes of flock(1), which are those of sysexits.h.
pub mod code {
    /// A command line that makes no sense.
    pub const USAGE: u8 = 64;
    /// Locking failed for another reason than that it is held.
    pub const DATA: u8 = 65;
    /// A board that cannot be opened.
    pub const NO_INPUT: u8 = 66;
    /// A command that cannot be run.
    pub const UNAVAILABLE: u8 = 69;
    /// The system has no more of something.
    pub const OS: u8 = 71;
    /// A board that cannot be made.
    pub const CANNOT_CREATE: u8 = 73;
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The exit code.
    pub code: u8,
    /// The reason, and what to do.
    pub text: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Refused {}

impl Refused {
    /// With this exit code.
    pub fn new(code: u8, text: impl Into<String>) -> Refused {
        Refused {
            code,
            text: text.into(),
        }
    }
}

fn here() -> Clock {
    Clock::here(jiff::Timestamp::now().as_second())
}

/// A board that cannot be opened to be locked.
pub fn opening(dir: &LockDirectory, board: &BoardName, error: &io::Error) -> Refused {
    let path = printable(dir.path.as_os_str().as_encoded_bytes());
    let refused = |code, why: String| Refused::new(code, format!("cannot take {board}: {why}"));
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR) => refused(
            code::NO_INPUT,
            listed::in_the_way(dir, board).unwrap_or_else(|| match board.above() {
                Some(above) => format!(
                    "there is no directory {above} in {path}; to see what there is: \
                     boardlock status"
                ),
                None => error.to_string(),
            }),
        ),
        Some(libc::EISDIR) => refused(code::NO_INPUT, listed::directory(&dir.file(board))),
        Some(libc::EROFS | libc::ENOTCONN | libc::ECONNABORTED) => refused(
            code::CANNOT_CREATE,
            format!("nobody serves {path}; start it by: boardlock mount {path}"),
        ),
        Some(libc::EDQUOT) => refused(
            code::CANNOT_CREATE,
            "you have as many boards as one may have (--max-per-user); to give one back: \
             boardlock release BOARD"
                .to_owned(),
        ),
        Some(libc::ENOSPC) => refused(
            code::CANNOT_CREATE,
            "there are as many boards as there may be, or the disk is full; its log tells"
                .to_owned(),
        ),
        Some(libc::EBUSY) => refused(
            code::NO_INPUT,
            listed::whose(dir, board).unwrap_or_else(|| {
                "it, or the directory that it is in, was another's a moment ago; try again"
                    .to_owned()
            }),
        ),
        // The inventory has it for others, or as out of service.
        Some(libc::EPERM | libc::EACCES | libc::ENODEV) => {
            refused(code::NO_INPUT, listed::not_permitted(dir, board))
        }
        Some(libc::ENOMEM) => refused(code::OS, error.to_string()),
        _ => refused(code::NO_INPUT, error.to_string()),
    }
}

/// A lock that cannot be had, though nobody has it.
pub fn locking(dir: &LockDirectory, board: &BoardName, error: &io::Error) -> Refused {
    match error.raw_os_error() {
        // What the inventory has come to say while it waited.
        Some(libc::ENOENT | libc::EPERM | libc::EACCES | libc::ENODEV) => {
            opening(dir, board, error)
        }
        Some(libc::ENOLCK) => Refused::new(
            code::OS,
            format!("cannot lock {board}: too many wait already, or for too long; try again"),
        ),
        Some(libc::EIO | libc::ENOMEM) => {
            Refused::new(code::OS, format!("cannot lock {board}: {error}"))
        }
        Some(libc::ENOTCONN | libc::ECONNABORTED) => Refused::new(
            code::DATA,
            format!("cannot lock {board}: the boardlock that served it is gone; start it again"),
        ),
        _ => Refused::new(code::DATA, format!("cannot lock {board}: {error}")),
    }
}

/// A board that this script has itself, in a way that it cannot lock.
pub fn own(board: &BoardName, told: &Board) -> Refused {
    Refused::new(
        code::DATA,
        format!(
            "cannot lock {board}: this script has it already, as a directory or link ({}); \
             run the command without boardlock run, or give it back first: rmdir or rm",
            describe::holder(told, &here())
        ),
    )
}

/// Who has what is wanted.
pub fn held(boards: &[(BoardName, Option<Told>)]) -> String {
    let clock = here();
    let told = |(board, told): &(BoardName, Option<Told>)| match told {
        Some(told) => format!("{board} is {}", describe::holder(&told.board, &clock)),
        None => format!("{board} was held a moment ago"),
    };
    boards.iter().map(told).collect::<Vec<_>>().join("\n")
}
