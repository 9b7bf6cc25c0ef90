//! The two texts of a lock file: what others write into one, and the status
//! that is read from one into which nothing was written.

use std::fmt::Write as _;

use super::claim::Holder;
use super::effect::Ended;
use super::file_lock::{FileLock, LockKind};
use super::ids::{Handle, Ino, Pid, Token, Uid, User};
use super::queue::Waiting;
use super::table::Table;
use super::time::{LAST_SECOND, Now, Timestamp};
use crate::printable::printable;

/// What written content may mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Nothing was written.
    Nothing,
    /// One number: a pid, in the writer's pid namespace.
    Pid(u64),
    /// Two numbers, `EXPIRY PID`, as tbot writes them.
    Both {
        /// Seconds since 1970; none for 0.
        expiry: Option<i64>,
        /// The pid; none for 0: detached.
        pid: Option<u64>,
    },
    /// Anything else.
    Note,
}

/// Judges content as a whole. An expiry beyond the year 9999 is no expiry, and
/// a number beyond 64 bits no number: the content is a note then.
pub fn judge(content: &[u8]) -> Written {
    if content.is_empty() {
        return Written::Nothing;
    }
    let Ok(text) = std::str::from_utf8(content) else {
        return Written::Note;
    };
    let mut words = text.split_ascii_whitespace();
    let words = (words.next(), words.next(), words.next());
    match words {
        (Some(pid), None, _) => match number(pid) {
            Some(pid) if pid > 0 => Written::Pid(pid),
            _ => Written::Note,
        },
        (Some(expiry), Some(pid), None) => match (number(expiry), number(pid)) {
            (Some(expiry), Some(pid)) => match i64::try_from(expiry) {
                Ok(expiry) if expiry <= LAST_SECOND => Written::Both {
                    expiry: Some(expiry).filter(|expiry| *expiry > 0),
                    pid: Some(pid).filter(|pid| *pid > 0),
                },
                _ => Written::Note,
            },
            _ => Written::Note,
        },
        _ => Written::Note,
    }
}

/// Decimal digits and nothing else: `str::parse` would take a sign too.
fn number(word: &str) -> Option<u64> {
    if word.bytes().all(|byte| byte.is_ascii_digit()) {
        word.parse().ok()
    } else {
        None
    }
}

/// The most waiters that are named.
const WAITERS_SHOWN: usize = 100;

/// What is told of a board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The board.
    pub board: Vec<u8>,
    /// Its state.
    pub state: State,
    /// The file's user.
    pub user: Option<User>,
    /// The holder.
    pub pid: Option<Pid>,
    /// Its command line.
    pub command: String,
    /// How it was found.
    pub via: String,
    /// Since when.
    pub since: Option<Timestamp>,
    /// Until when.
    pub expires: Option<Timestamp>,
    /// The same from now, negative when overdue.
    pub expires_in: Option<i64>,
    /// How file locks hold it, and how many; none for a claim.
    pub locks: Option<(LockKind, usize)>,
    /// How many wait for it.
    pub waiters: usize,
    /// Who waits for it, in order, the first of them.
    pub waiting: Vec<Waiting>,
    /// The acquisition.
    pub token: Option<Token>,
    /// The note.
    pub note: Vec<u8>,
    /// How the last hold ended, of a free board, or that on whose side it was looked
    /// at, if it was ended by force.
    pub ended: Option<Ended>,
}

/// The state of a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nobody has it.
    Free,
    /// A process has it.
    Held,
    /// A process has it, past its expiry; or had it, and it is a directory
    /// that stays for the boards in it.
    Overdue,
    /// A user has it.
    Detached,
}

impl State {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            State::Free => "free",
            State::Held => "held",
            State::Overdue => "overdue",
            State::Detached => "detached",
        }
    }
}

impl Table {
    /// What is to be told of an inode.
    pub fn status(&self, ino: Ino, now: &Now) -> Status {
        let mut status = Status {
            board: self.path(ino),
            state: State::Free,
            user: None,
            pid: None,
            command: String::new(),
            via: String::new(),
            since: None,
            expires: None,
            expires_in: None,
            locks: None,
            waiters: 0,
            waiting: Vec::new(),
            token: None,
            note: Vec::new(),
            ended: None,
        };
        let Some(claim) = self.claim(ino) else {
            status.ended = self.nodes.get(&ino).and_then(|node| node.aside.ended);
            return status;
        };
        status.state = match claim.holder {
            Holder::Process(_) | Holder::Files(_) | Holder::Gone if claim.overdue(now) => {
                State::Overdue
            }
            Holder::Process(_) | Holder::Files(_) => State::Held,
            Holder::Detached | Holder::Gone => State::Detached,
        };
        status.user = Some(claim.user);
        let shown = claim.holder.shown().first().copied().or(claim.rare.likely);
        status.pid = shown.map(|process| process.pid);
        status.command.clone_from(&claim.told.command);
        status.via.clone_from(&claim.told.via.0);
        status.since = Some(claim.since.wall);
        status.expires = claim.expiry.map(|expiry| expiry.wall(now));
        status.expires_in = status
            .expires
            .map(|moment| moment.secs.saturating_sub(now.wall.secs));
        status.locks = self.locks_of(ino);
        status.waiters = self.count_waiting(ino);
        status.waiting = self.waiting(ino, WAITERS_SHOWN);
        status.token = Some(claim.token);
        status.note = self.note(ino).unwrap_or_default();
        status
    }

    /// What is to be told of the inode of an open file through that.
    pub fn status_through(&self, handle: Handle, ino: Ino, now: &Now) -> Status {
        let status = self.status(ino, now);
        Status {
            ended: self.forced_out(handle).or(status.ended),
            ..status
        }
    }

    fn locks_of(&self, ino: Ino) -> Option<(LockKind, usize)> {
        let locks = &self.nodes.get(&ino)?.locks;
        let kind = locks.iter().map(FileLock::kind).max()?;
        Some((kind, locks.len()))
    }

    /// The note on a board: what was set as one, else what was written if it
    /// names nobody.
    pub fn note(&self, ino: Ino) -> Option<Vec<u8>> {
        let claim = self.claim(ino)?;
        if let Some(note) = &claim.rare.note {
            return Some(note.clone());
        }
        let text = self.content(ino)?.trim_ascii();
        (!claim.named && !text.is_empty()).then(|| text.to_vec())
    }
}

/// A user's name as one word of a line.
fn word(name: &str) -> String {
    let name: String = printable(name.as_bytes())
        .chars()
        .map(|c| if c.is_whitespace() { '_' } else { c })
        .collect();
    name
}

fn kind_word(kind: LockKind) -> &'static str {
    match kind {
        LockKind::Shared => "shared",
        LockKind::Exclusive => "exclusive",
    }
}

fn locked((kind, count): (LockKind, usize)) -> String {
    match count {
        1 => kind_word(kind).to_owned(),
        _ => format!("{} {count}", kind_word(kind)),
    }
}

impl Status {
    /// The text that `cat` shows; `name` names users. An interface: the first
    /// line as tbot reads it, then a key and its value a line, each key always
    /// there, `-` for a value that is not, and a line for each who waits.
    pub fn render(&self, mut name: impl FnMut(Uid) -> String) -> String {
        let expiry = match (self.state, self.expires) {
            (State::Overdue | State::Free, _) | (_, None) => 0,
            (_, Some(moment)) => moment.secs,
        };
        let mut text = format!("{expiry} {}\n", self.pid.map_or(0, Pid::get));
        let mut line = |key: &str, value: Option<String>| {
            let value = value.filter(|value| !value.is_empty());
            let value = value.as_deref().unwrap_or("-");
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{key} {value}");
        };
        line("board", Some(printable(&self.board)));
        line("state", Some(self.state.word().to_owned()));
        let holder = self.user.map(|user| word(&name(user.uid)));
        line("holder", holder);
        line("uid", self.user.map(|user| user.uid.0.to_string()));
        line("pid", self.pid.map(|pid| pid.to_string()));
        line("command", Some(self.command.clone()));
        line("via", Some(self.via.clone()));
        line("since", self.since.map(Timestamp::rfc3339));
        line("expires", self.expires.map(Timestamp::rfc3339));
        line(
            "expires_in_seconds",
            self.expires_in.map(|left| left.to_string()),
        );
        line("token", self.token.map(|token| token.to_string()));
        line("waiters", Some(self.waiters.to_string()));
        line("note", Some(printable(&self.note)));
        line("lock", self.locks.map(locked));
        for (place, waiter) in self.waiting.iter().enumerate() {
            let Waiting { user, pid, .. } = waiter;
            line(
                "waiter",
                Some(format!(
                    "{} {} {} {} {} {}",
                    place + 1,
                    word(&name(user.uid)),
                    pid.map_or(0, Pid::get),
                    kind_word(waiter.kind),
                    waiter.since.rfc3339(),
                    waiter.command,
                )),
            );
        }
        if let Some(Ended { how, by, at }) = self.ended {
            let by = by.map(|user| format!(" by {}", word(&name(user.uid))));
            let by = by.unwrap_or_default();
            line("ended", Some(format!("{how}{by} at {}", at.rfc3339())));
        }
        text
    }
}
