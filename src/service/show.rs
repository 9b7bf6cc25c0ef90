//! Who shows as the holder of a board that file locks hold. That is read from
//! /proc, which may wait for others: it is done before the event that it matters
//! to, with nothing locked.

use std::sync::Arc;
use std::time::Duration;

use super::Service;
use super::desk::Desk;
use super::request::At;
use crate::lock::ids::{Ino, ProcessId, Token};
use crate::process::{Files, Shown};

/// How many open files of a board are looked at for who has them: each costs
/// reading /proc.
const FILES: usize = 16;

/// How long it is waited to know who has a locked board: who gets it does not
/// depend on that.
const SHOW_TIME: Duration = Duration::from_millis(500);

/// How often it is looked again where a board has changed hands meanwhile.
pub(super) const ROUNDS: usize = 4;

/// A board whose holder matters to an event.
#[derive(Clone, Copy, Debug)]
pub(super) enum Board<'a> {
    Of(Ino),
    Named(At<'a>),
}

/// A hold by file locks, and who has it as far as that was looked at.
pub(super) type Look = (Ino, Token);

impl Service {
    /// Shows who has those of the boards that file locks hold. Says which those
    /// are.
    pub(super) fn show(&self, boards: &[Board<'_>]) -> Vec<Look> {
        let locked = self.act(|desk| desk.locked(boards));
        for &(ino, token) in &locked {
            let Some(files) = self.act(|desk| desk.files(ino)) else {
                continue;
            };
            // If that takes too long, who was shown before goes on being shown.
            let Some(shown) = self.who_has(files) else {
                continue;
            };
            self.act(|desk| {
                if desk.token(ino) == Some(token) {
                    let Shown {
                        sure,
                        likely,
                        command,
                        ..
                    } = shown;
                    desk.table.show(ino, sure, likely, command);
                }
            });
        }
        locked
    }

    fn who_has(&self, mut files: Files) -> Option<Shown> {
        let shown = self.look(&files)?;
        if shown.wants_search
            && let Some(found) = self.search(&files)
        {
            files.found = found;
            return Some(self.look(&files).unwrap_or(shown));
        }
        Some(shown)
    }

    fn look(&self, files: &Files) -> Option<Shown> {
        let (resolver, files) = (Arc::clone(&self.resolver), files.clone());
        self.walks
            .look(files.uid, SHOW_TIME, move || resolver.who_has(files))
    }

    /// Looks at all processes for who has a board open. What is not found at once
    /// is there for the next who asks.
    fn search(&self, files: &Files) -> Option<Vec<ProcessId>> {
        let device = files.device.clone()?;
        let (ino, uid) = (files.ino, files.uid);
        let keep = self.act(|desk| desk.pending.begin_search(uid, desk.now.boot))?;
        let resolver = Arc::clone(&self.resolver);
        self.walks.look(uid, SHOW_TIME, move || {
            let found = resolver.search(&device, ino);
            *keep.lock() = Some((ino, found.clone()));
            found
        })
    }
}

impl Desk<'_> {
    fn token(&self, ino: Ino) -> Option<Token> {
        let claim = self.table.claim(ino)?;
        claim.is_by_locks().then_some(claim.token)
    }

    /// Those of the boards that file locks hold.
    pub fn locked(&mut self, boards: &[Board<'_>]) -> Vec<Look> {
        let mut locked = Vec::new();
        for board in boards {
            let ino = match *board {
                Board::Of(ino) => {
                    self.settle(ino);
                    Some(ino)
                }
                // What is wrong with the name the event will say.
                Board::Named((dir, name)) => self.settled(dir, name).unwrap_or(None),
            };
            let look = ino.and_then(|ino| Some((ino, self.token(ino)?)));
            locked.extend(look);
        }
        locked
    }

    /// What tells who has a board that file locks hold.
    fn files(&self, ino: Ino) -> Option<Files> {
        let claim = self.table.claim(ino).filter(|claim| claim.is_by_locks())?;
        let known_as = self.table.known_as(ino);
        Some(Files {
            ino: known_as,
            device: self.device.map(str::to_owned),
            uid: claim.user.uid,
            before: claim.holder.shown().to_vec(),
            likely: claim.rare.likely,
            locked: self.table.locked_files(ino, FILES),
            others: self.table.other_files(ino, FILES),
            most: FILES,
            waiting: self.table.waiting_processes(ino),
            found: self.pending.found(claim.user.uid, known_as),
        })
    }
}
