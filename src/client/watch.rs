//! Waiting until boards are free, without taking them.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::describe;
use super::directory::{BoardName, LockDirectory};
use super::glance::{Sight, Told};
use super::line::{Line, Text};
use super::listed::in_the_way;
use super::refused::{Refused, code, opening};
use super::signals::Signals;
use super::take::Patience;
use super::times::Clock;
use super::waiting::Changes;

/// How often a line that tells how time passes is rewritten.
const REWRITTEN: Duration = Duration::from_secs(60);

/// What is waited for.
pub struct Watch<'a> {
    /// Where.
    pub dir: &'a LockDirectory,
    /// All of these are to be free at one time.
    pub boards: &'a [BoardName],
    /// For how long.
    pub patience: Patience,
    /// Signals that end it.
    pub signals: &'a Signals,
    /// Where it is told who has them.
    pub line: &'a mut Line,
}

/// How that went.
#[derive(Debug)]
pub enum Freed {
    /// They were all free.
    All,
    /// Not in time: who has which.
    NotInTime(Vec<(BoardName, Option<Told>)>),
    /// A signal came.
    Signal(Signal),
}

impl Watch<'_> {
    /// Waits until all are free.
    ///
    /// # Errors
    /// When one cannot be looked at.
    pub fn wait(&mut self) -> Result<Freed, Refused> {
        let result = self.until_free();
        self.line.clear();
        result
    }

    fn until_free(&mut self) -> Result<Freed, Refused> {
        let mut changes: Option<Changes> = None;
        let mut is_first = true;
        loop {
            if let Some(changes) = &mut changes {
                changes.passed();
            }
            let mut held: Vec<(BoardName, Option<File>, Told)> = Vec::new();
            let mut free = Vec::new();
            for board in self.boards {
                match self.look(board)? {
                    Some(seen) => held.push(seen),
                    None => free.push(board),
                }
            }
            // A name that is no board's is not waited for, and not called free.
            if std::mem::take(&mut is_first) || held.is_empty() {
                self.can_be_had(&free)?;
            }
            if held.is_empty() {
                return Ok(Freed::All);
            }
            let other = held.iter().find(|(_, file, _)| file.is_none());
            if let (Some((board, ..)), None) = (other, &changes) {
                changes = Some(Changes::open(self.dir, board)?);
                // It may have changed before anybody watched.
                continue;
            }
            self.tell(&held);
            if !self.sleep(&held, changes.as_ref())? {
                let held = held.into_iter().map(|(board, _, told)| (board, Some(told)));
                return Ok(Freed::NotInTime(held.collect()));
            }
            if let Some(signal) = self.line.hear(self.signals) {
                return Ok(Freed::Signal(signal));
            }
        }
    }

    fn can_be_had(&self, free: &[&BoardName]) -> Result<(), Refused> {
        for board in free {
            if let Some(why) = in_the_way(self.dir, board) {
                let text = format!("cannot wait for {board}: {why}");
                return Err(Refused::new(code::NO_INPUT, text));
            }
        }
        Ok(())
    }

    /// A board that somebody has, and what tells when that changes.
    fn look(&self, board: &BoardName) -> Result<Option<(BoardName, Option<File>, Told)>, Refused> {
        let failed = |error: io::Error| opening(self.dir, board, &error);
        let (file, told) = match self.dir.sight(board).map_err(failed)? {
            Sight::Free => return Ok(None),
            Sight::File(file) => {
                let told = self.dir.told_by(board, &file).map_err(failed)?;
                (Some(file), told)
            }
            Sight::Other => (None, self.dir.told_of(board).map_err(failed)?),
        };
        let told = told.filter(|told| told.board.state != "free");
        Ok(told.map(|told| (board.clone(), file, told)))
    }

    /// Sleeps until something changes; whether there is time left.
    fn sleep(
        &self,
        held: &[(BoardName, Option<File>, Told)],
        changes: Option<&Changes>,
    ) -> Result<bool, Refused> {
        let now = Instant::now();
        let deadline = match self.patience {
            Patience::Until(deadline) => Some(deadline),
            Patience::Endless => None,
            Patience::None => return Ok(false),
        };
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Ok(false);
        }
        let mut fds = vec![PollFd::new(self.signals, PollFlags::IN)];
        fds.extend(changes.map(|changes| PollFd::from_borrowed_fd(changes.as_fd(), PollFlags::IN)));
        let files = held.iter().filter_map(|(_, file, _)| file.as_ref());
        fds.extend(files.map(|file| PollFd::new(file, PollFlags::IN)));
        let rewritten = self.line.is_live().then(|| now + REWRITTEN);
        let until = deadline.into_iter().chain(rewritten).min();
        let left = until.map(|until| until.saturating_duration_since(now));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut fds, left.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(true),
            Err(error) => {
                let error = io::Error::from(error);
                Err(Refused::new(code::OS, format!("cannot wait: {error}")))
            }
        }
    }

    fn tell(&mut self, held: &[(BoardName, Option<File>, Told)]) {
        let text = |clock: &Clock, live: bool| {
            let one = |(board, _, told): &(BoardName, Option<File>, Told)| {
                let who = if live {
                    describe::holder(&told.board, clock)
                } else {
                    describe::holder_plainly(&told.board, clock)
                };
                let wait = match told.board.waiters {
                    0 => String::new(),
                    1 => "; one waits for it".to_owned(),
                    n => format!("; {n} wait for it"),
                };
                format!("{board}: {who}{wait}")
            };
            held.iter().map(one).collect::<Vec<_>>().join("; ")
        };
        self.line.tell(&Text {
            live: &|clock| text(clock, true),
            plain: &|clock| text(clock, false),
        });
    }
}
