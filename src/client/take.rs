//! Taking boards with flock(2), one or several, and waiting for them.
//!
//! Who wants several holds none while he waits for one, as C++'s std::lock: so there is no
//! deadlock with anybody, in whatever order others take theirs. What it waits for it has once
//! it was its turn, then it tries the others; if one of them is not to be had, it lets go of
//! all and waits for that one. It can be kept waiting for ever only by others who have one or
//! the other at each moment in which its turn comes.

use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, flock};

use super::candidates::Slot;
use super::directory::{BoardName, LockDirectory};
use super::glance::{Told, token};
use super::line::Line;
use super::refused::{self, Refused};
use super::signals::Signals;
use super::waiting::{Waited, Waits};
use nix::sys::signal::Signal;

/// A board that is locked; let go when this is dropped, whoever else has the open file.
#[derive(Debug)]
pub struct Taken {
    /// Which.
    pub board: BoardName,
    /// Its open file, which has the lock.
    pub file: File,
    /// The number of the acquisition.
    pub token: Option<u64>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        // Not by closing alone: what was started may have left something behind that has
        // the file open.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

/// How long one waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// As long as it takes.
    Endless,
    /// Until then.
    Until(Instant),
    /// Not at all.
    None,
}

/// How it went.
#[derive(Debug)]
pub enum Outcome {
    /// All are taken, in the order in which they were wanted.
    Taken(Vec<Taken>),
    /// It did not come to that in time: who has what was waited for last.
    Held(Vec<(BoardName, Option<Told>)>),
    /// A signal ended the wait.
    Signal(Signal),
}

/// What is wanted, and how it is told.
pub struct Want<'a> {
    /// Where.
    pub dir: &'a LockDirectory,
    /// The boards.
    pub slots: &'a [Slot],
    /// How long.
    pub patience: Patience,
    /// Signals that end it.
    pub signals: &'a Signals,
    /// Where it is told what is waited for.
    pub line: &'a mut Line,
}

/// How trying one board went.
pub(super) enum Tried {
    /// It is ours.
    Got(Taken),
    /// It is ours already, under this or another of its names.
    Ours,
    /// Another has it: its open file, to stand in line with.
    Held(BoardName, File),
    /// Another has it, as a directory or a link, for which one cannot stand in line.
    HeldOtherwise(BoardName),
}

/// How trying a slot went.
enum OfSlot {
    Got(Taken),
    /// One that was wanted by name is ours already.
    Ours,
    Held(Vec<Tried>),
}

/// In how many rounds in a row something is missed until a pause is made, so that two who
/// want the same do not miss it together for ever.
const ROUNDS: u32 = 3;

impl Want<'_> {
    /// Takes all of them.
    ///
    /// # Errors
    /// When one cannot be had whoever has it; says what to do.
    pub fn take(&mut self) -> Result<Outcome, Refused> {
        // Who wants the same meets at the same board, and stands in one line there.
        let slots = self.slots;
        let before = |slot: &usize| slots.get(*slot).map(|slot| (slot.is_any, &slot.boards));
        let mut first = (0..slots.len()).min_by_key(before).unwrap_or(0);
        let mut rounds: u32 = 0;
        loop {
            let mut taken: Vec<(usize, Taken)> = Vec::new();
            match self.try_slot(first, &[])? {
                OfSlot::Got(got) => taken.push((first, got)),
                OfSlot::Ours => {}
                OfSlot::Held(held) => match self.wait(first, held)? {
                    Waited::Got(got) => taken.push((first, got)),
                    Waited::Signal(signal) => return Ok(Outcome::Signal(signal)),
                    Waited::NotInTime(held) => return Ok(Outcome::Held(held)),
                },
            }
            let Some(missed) = self.try_others(first, &mut taken)? else {
                self.line.clear();
                taken.sort_by_key(|(slot, _)| *slot);
                return Ok(Outcome::Taken(
                    taken.into_iter().map(|(_, taken)| taken).collect(),
                ));
            };
            // Nothing is held while one waits.
            drop(taken);
            if self.is_over() {
                self.line.clear();
                return Ok(Outcome::Held(self.look_at(missed)));
            }
            first = missed;
            rounds += 1;
            if let Some(signal) = self.pause(rounds) {
                return Ok(Outcome::Signal(signal));
            }
        }
    }

    /// Tries all but the one that is had; which one is missed, if one is.
    fn try_others(
        &mut self,
        first: usize,
        taken: &mut Vec<(usize, Taken)>,
    ) -> Result<Option<usize>, Refused> {
        for slot in (0..self.slots.len()).filter(|slot| *slot != first) {
            let ours: Vec<&Taken> = taken.iter().map(|(_, taken)| taken).collect();
            match self.try_slot(slot, &ours)? {
                OfSlot::Got(got) => taken.push((slot, got)),
                OfSlot::Ours => {}
                OfSlot::Held(_) => return Ok(Some(slot)),
            }
        }
        Ok(None)
    }

    /// Tries each board of a slot until one is had.
    fn try_slot(&self, slot: usize, ours: &[&Taken]) -> Result<OfSlot, Refused> {
        let Some(slot) = self.slots.get(slot) else {
            return Ok(OfSlot::Held(Vec::new()));
        };
        let mut held = Vec::new();
        let mut refused = None;
        for board in &slot.boards {
            match attempt(self.dir, board, ours) {
                Ok(Tried::Got(got)) => return Ok(OfSlot::Got(got)),
                Ok(Tried::Ours) if !slot.is_any => return Ok(OfSlot::Ours),
                // One more is wanted.
                Ok(Tried::Ours) => {}
                Ok(other) => held.push(other),
                // Another of them may do.
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        match refused {
            Some(error) if held.is_empty() => Err(error),
            _ => Ok(OfSlot::Held(held)),
        }
    }

    fn wait(&mut self, slot: usize, held: Vec<Tried>) -> Result<Waited, Refused> {
        Waits {
            dir: self.dir,
            patience: self.patience,
            signals: self.signals,
            line: self.line,
            others: self.slots.len() - 1,
        }
        .wait(held, self.slots.get(slot).is_some_and(|slot| slot.is_any))
    }

    fn is_over(&self) -> bool {
        match self.patience {
            Patience::Endless => false,
            Patience::Until(deadline) => deadline <= Instant::now(),
            Patience::None => true,
        }
    }

    fn look_at(&self, slot: usize) -> Vec<(BoardName, Option<Told>)> {
        let boards = self.slots.get(slot).map(|slot| slot.boards.as_slice());
        let look = |board: &BoardName| (board.clone(), self.dir.told_of(board).ok().flatten());
        boards.unwrap_or_default().iter().map(look).collect()
    }

    /// Rests for a moment after many rounds; a signal that came meanwhile.
    fn pause(&mut self, rounds: u32) -> Option<Signal> {
        if rounds < ROUNDS {
            return None;
        }
        // Two that are in step have other pids, and are not in step for long.
        let spread = u64::from(
            rustix::process::getpid()
                .as_raw_nonzero()
                .get()
                .unsigned_abs(),
        );
        let now = u64::from(jiff::Timestamp::now().subsec_nanosecond().unsigned_abs());
        let most = 10 * u64::from(rounds.min(20));
        let rest = Duration::from_millis(1 + (spread ^ now) % most);
        let rest = Timespec::try_from(rest).ok();
        let _ = poll(
            &mut [PollFd::new(self.signals, PollFlags::IN)],
            rest.as_ref(),
        );
        self.line.hear(self.signals)
    }
}

/// What statfs(2) calls FUSE.
const FUSE: rustix::fs::FsWord = 0x6573_5546;

/// Tries to lock a board that one does not wait for.
pub(super) fn attempt(
    dir: &LockDirectory,
    board: &BoardName,
    ours: &[&Taken],
) -> Result<Tried, Refused> {
    let path = dir.file(board);
    let gone = || refused::opening(dir, board, &io::Error::from_raw_os_error(libc::ENOTCONN));
    loop {
        // The bare directory, where it lets one, makes files that are nobody's boards.
        if !dir.is_served() {
            return Err(gone());
        }
        // Read-only, which is never refused of a board that another has. It takes a free
        // one, and locking makes it the lock's.
        let opened = File::options()
            .read(true)
            .custom_flags(libc::O_CREAT | libc::O_NOFOLLOW | libc::O_NOCTTY)
            .mode(0o666)
            .open(&path);
        let file = match opened {
            Ok(file) => file,
            Err(error) => match error.raw_os_error() {
                Some(libc::EINTR | libc::ESTALE) => continue,
                Some(libc::ELOOP) => {
                    // One's own would be waited for for ever.
                    is_held(dir, board)?;
                    return Ok(Tried::HeldOtherwise(board.clone()));
                }
                Some(libc::EISDIR | libc::EBUSY) if is_held(dir, board)? => {
                    return Ok(Tried::HeldOtherwise(board.clone()));
                }
                // It was a directory, and is free by now.
                Some(libc::EISDIR) if std::fs::symlink_metadata(&path).is_err() => continue,
                _ => return Err(refused::opening(dir, board, &error)),
            },
        };
        if !rustix::fs::fstatfs(&file).is_ok_and(|about| about.f_type == FUSE) {
            return Err(gone());
        }
        let number = inode(&file).map_err(|error| refused::opening(dir, board, &error))?;
        if ours
            .iter()
            .any(|taken| inode(&taken.file).is_ok_and(|other| other == number))
        {
            return Ok(Tried::Ours);
        }
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                if let Some(taken) = confirmed(dir, board, file) {
                    return Ok(Tried::Got(taken));
                }
            }
            Err(rustix::io::Errno::AGAIN) => return Ok(Tried::Held(board.clone(), file)),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(refused::locking(dir, board, &error.into())),
        }
    }
}

/// A lock that was got, if it is that of the board of this name: a rename takes those who
/// wait along.
pub(super) fn confirmed(dir: &LockDirectory, board: &BoardName, file: File) -> Option<Taken> {
    let named = std::fs::symlink_metadata(dir.file(board));
    let taken = Taken {
        board: board.clone(),
        token: token(&file),
        file,
    };
    let is_it = match (named, inode(&taken.file)) {
        (Ok(named), Ok(number)) => (named.dev(), named.ino()) == number,
        _ => false,
    };
    is_it.then_some(taken)
}

fn inode(file: &File) -> io::Result<(u64, u64)> {
    let about = file.metadata()?;
    Ok((about.dev(), about.ino()))
}

/// Whether somebody has what is no file; an error if it is this very script.
fn is_held(dir: &LockDirectory, board: &BoardName) -> Result<bool, Refused> {
    let told = dir
        .told_of(board)
        .map_err(|error| refused::opening(dir, board, &error))?;
    let Some(told) = told else {
        return Ok(false);
    };
    match told.board.pid {
        Some(pid) if super::above::is_above(pid) => Err(refused::own(board, &told.board)),
        _ => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn nothing_is_taken_in_a_directory_that_nobody_serves() {
        // As after an unmount while it waited, where no read-only mount is below.
        let temp = tempfile::tempdir().unwrap();
        let path = std::fs::canonicalize(temp.path()).unwrap();
        let dir = LockDirectory { path: path.clone() };
        let board = dir.board("b".as_ref()).unwrap();
        let refused = attempt(&dir, &board, &[]).err().unwrap();
        assert_eq!(refused.code, refused::code::CANNOT_CREATE);
        assert!(refused.text.contains("nobody serves"), "{refused}");
        assert_eq!(std::fs::read_dir(path).unwrap().count(), 0);
    }
}
