//! What is told of one board, read from its own file where that can be: it costs one
//! read however many boards there are, and poll(2) tells when it changes.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use super::directory::{BoardName, LockDirectory};
use super::times::moment;
use super::told::clean;
use crate::printable::printable;
use crate::schema::{Board, Waiting};

/// More than a status is long, with all waiters that it names.
const LONGEST: usize = 1 << 20;

/// A board, as one finds it without asking for it.
#[derive(Debug)]
pub enum Sight {
    /// There is no such file: nobody has it.
    Free,
    /// A file, opened to be read; it holds nothing.
    File(File),
    /// A directory or a symbolic link.
    Other,
}

/// What is told of a board that somebody has, or had.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// The board; its state is `free` through a file that was opened before.
    pub board: Board,
    /// How the hold that the open file belonged to ended, where others ended it.
    pub ended: Option<String>,
}

impl LockDirectory {
    /// Looks at a board.
    ///
    /// # Errors
    /// As of open(2).
    pub fn sight(&self, board: &BoardName) -> io::Result<Sight> {
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
        let opened = File::options()
            .read(true)
            .custom_flags(flags)
            .open(self.file(board));
        match opened {
            Ok(file) if file.metadata()?.is_dir() => Ok(Sight::Other),
            Ok(file) => Ok(Sight::File(file)),
            Err(error) => match error.raw_os_error() {
                Some(libc::ENOENT | libc::ESTALE) => Ok(Sight::Free),
                // A link; somebody's directory.
                Some(libc::ELOOP | libc::EBUSY) => Ok(Sight::Other),
                _ => Err(error),
            },
        }
    }

    /// What is told of a board; none if nobody has it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn told_of(&self, board: &BoardName) -> io::Result<Option<Told>> {
        match self.sight(board)? {
            Sight::Free => Ok(None),
            Sight::File(file) => self.told_by(board, &file),
            Sight::Other => self.told_elsewhere(board),
        }
    }

    /// The same through an open file of it, which counts as having read it for poll(2).
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn told_by(&self, board: &BoardName, file: &File) -> io::Result<Option<Told>> {
        // What is written into it could look like a status, but has a size.
        let text = read(file)?;
        if file.metadata()?.size() > 0 {
            return self.told_elsewhere(board);
        }
        match parse(&text) {
            Some(told) if told.board.state == "free" && told.ended.is_none() => Ok(None),
            Some(told) => Ok(Some(told)),
            None => self.told_elsewhere(board),
        }
    }

    /// The same of one whose file does not say it: a directory, a link, or a file with
    /// something else in it.
    fn told_elsewhere(&self, board: &BoardName) -> io::Result<Option<Told>> {
        let path = self.file(board);
        let name = board.to_string();
        if let Ok(status) = self.status() {
            let board = status.boards.into_iter().find(|told| told.board == name);
            return Ok(board
                .filter(|board| board.state != "free")
                .map(|board| Told { board, ended: None }));
        }
        if let Err(error) = std::fs::symlink_metadata(&path) {
            return match error.kind() {
                io::ErrorKind::NotFound => Ok(None),
                _ => Err(error),
            };
        }
        Ok(by_attributes(&path, name).map(|board| Told { board, ended: None }))
    }
}

/// The attribute of a board whose name begins with `user.boardlock.`, if it is set.
pub fn attribute(path: &Path, key: &str) -> Option<String> {
    let mut value = vec![0; 8192];
    let name = format!("user.boardlock.{key}");
    let length = rustix::fs::lgetxattr(path, name.as_str(), value.as_mut_slice()).ok()?;
    Some(printable(value.get(..length)?))
}

/// The number of the acquisition that an open file's board is of.
pub fn token(file: &File) -> Option<u64> {
    let mut value = [0; 32];
    let length = rustix::fs::fgetxattr(file, "user.boardlock.token", value.as_mut_slice()).ok()?;
    std::str::from_utf8(value.get(..length)?).ok()?.parse().ok()
}

fn by_attributes(path: &Path, board: String) -> Option<Board> {
    let holder = attribute(path, "holder")?;
    let pid = attribute(path, "pid").and_then(|pid| pid.parse().ok());
    let since = attribute(path, "since");
    let expires = attribute(path, "expires");
    Some(Board {
        board,
        state: if pid == Some(0) { "detached" } else { "held" }.to_owned(),
        holder: Some(holder),
        uid: std::fs::symlink_metadata(path)
            .ok()
            .map(|about| about.uid()),
        pid: pid.filter(|pid| *pid > 0),
        since_unix: since.as_deref().and_then(moment),
        since,
        expires_unix: expires.as_deref().and_then(moment),
        expires,
        token: attribute(path, "token").and_then(|token| token.parse().ok()),
        note: attribute(path, "note"),
        ..Board::default()
    })
}

fn read(file: &File) -> io::Result<String> {
    let mut text = Vec::new();
    let mut piece = vec![0; 16 * 1024];
    // At the start even if nothing is there: only that counts as having read it.
    loop {
        match file.read_at(&mut piece, text.len() as u64) {
            Ok(0) => break,
            Ok(n) => text.extend_from_slice(piece.get(..n).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if text.len() > LONGEST {
            break;
        }
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Takes a status apart; none if it is none.
#[doc(hidden)]
pub fn parse(text: &str) -> Option<Told> {
    let (first, rest) = text.split_once('\n')?;
    let (expiry, pid) = first.split_once(' ')?;
    let _: (u64, u64) = (expiry.parse().ok()?, pid.parse().ok()?);
    let mut told = Told::default();
    let board = &mut told.board;
    for line in rest.lines() {
        let Some((key, value)) = line.split_once(' ') else {
            continue;
        };
        let value = Some(clean(value)).filter(|value| value != "-");
        let number = || value.as_deref().and_then(|value| value.parse().ok());
        match key {
            "board" => board.board = value?,
            "state" => board.state = value?,
            "holder" => board.holder = value,
            "uid" => board.uid = number(),
            "pid" => board.pid = number(),
            "command" => board.command = value,
            "via" => board.via = value,
            "since" => {
                board.since_unix = value.as_deref().and_then(moment);
                board.since = value;
            }
            "expires" => {
                board.expires_unix = value.as_deref().and_then(moment);
                board.expires = value;
            }
            "expires_in_seconds" => {
                board.expires_in_seconds = value.and_then(|value| value.parse().ok());
            }
            "token" => board.token = value.and_then(|value| value.parse().ok()),
            "waiters" => board.waiters = value?.parse().ok()?,
            "note" => board.note = value,
            "lock" => {
                let value = value.unwrap_or_default();
                let mut words = value.split(' ');
                board.lock = words
                    .next()
                    .filter(|kind| !kind.is_empty())
                    .map(str::to_owned);
                let count = words.next().and_then(|count| count.parse().ok());
                board.locks = count.unwrap_or(usize::from(board.lock.is_some()));
            }
            "waiter" => board.waiting.extend(value.as_deref().and_then(waiter)),
            "ended" => told.ended = value,
            _ => {}
        }
    }
    (!told.board.board.is_empty() && !told.board.state.is_empty()).then_some(told)
}

fn waiter(line: &str) -> Option<Waiting> {
    let mut words = line.splitn(6, ' ');
    let place = words.next()?.parse().ok()?;
    let holder = words.next()?.to_owned();
    let pid = words.next()?.parse().ok().filter(|pid| *pid > 0);
    Some(Waiting {
        place,
        holder,
        uid: 0,
        pid,
        lock: words.next()?.to_owned(),
        since: words.next()?.to_owned(),
        command: words.next()?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const STATUS: &str = "0 13582\n\
        board rack1/beagle\nstate held\nholder alice\nuid 1001\npid 13582\ncommand -bash\n\
        via touch < bash\nsince 2026-11-23T18:58:57Z\nexpires -\nexpires_in_seconds -\n\
        token 7\nwaiters 2\nnote do not touch\nlock shared 3\n\
        waiter 1 bob 13581 exclusive 2026-11-23T18:58:57Z flock beagle ./flash\n\
        waiter 2 carol 0 exclusive 2026-11-23T18:59:03Z make\n";

    #[test]
    fn a_status_is_taken_apart() {
        let told = parse(STATUS).unwrap();
        let board = told.board;
        assert_eq!(board.board, "rack1/beagle");
        assert_eq!(
            (board.pid, board.uid, board.token),
            (Some(13582), Some(1001), Some(7))
        );
        assert_eq!(board.command.as_deref(), Some("-bash"));
        assert_eq!(board.since_unix, Some(1_795_460_337));
        assert_eq!((board.expires, board.expires_unix), (None, None));
        assert_eq!((board.lock.as_deref(), board.locks), (Some("shared"), 3));
        assert_eq!(board.note.as_deref(), Some("do not touch"));
        let places: Vec<_> = board.waiting.iter().map(|w| (w.place, w.pid)).collect();
        assert_eq!(places, [(1, Some(13581)), (2, None)]);
        assert_eq!(
            board.waiting.first().unwrap().command,
            "flock beagle ./flash"
        );
        assert_eq!(told.ended, None);
    }

    #[test]
    fn keys_that_are_new_are_left_out_and_how_it_ended_is_kept() {
        let told = parse("0 0\nboard b\nstate free\nsomething new\nended forced by root at x\n");
        assert_eq!(told.unwrap().ended.as_deref(), Some("forced by root at x"));
    }

    #[test]
    fn what_is_written_is_no_status() {
        for text in [
            "",
            "0\n",
            "12 34\n",
            "a note\nboard b\nstate held\n",
            "1 2\nboard b\n",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn nothing_of_it_reaches_a_terminal_raw() {
        let told = parse("0 1\nboard b\nstate held\ncommand \u{1b}[2J\n").unwrap();
        assert_eq!(told.board.command.as_deref(), Some("\\x1b[2J"));
    }
}
