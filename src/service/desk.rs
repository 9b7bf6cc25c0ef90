//! One event at work on the table, and what it decided carried out.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::locks::Pending;
use crate::lock::Table;
use crate::lock::effect::Effect;
use crate::lock::ids::{Ino, ProcessId, Uid};
use crate::lock::refusal::Refusal;
use crate::lock::time::Now;
use crate::process::beside::beside;
use crate::process::{Files, Pin, Resolver, Shown};
use crate::report;
use crate::watch::Watch;

/// The names of users, looked up once each: a directory service may be slow.
#[derive(Debug, Default)]
pub struct UserNames(HashMap<Uid, String>);

impl UserNames {
    /// The user's name, or its number.
    pub fn of(&mut self, uid: Uid) -> &str {
        self.0.entry(uid).or_insert_with(|| {
            match nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid.0)) {
                Ok(Some(user)) => user.name,
                _ => uid.0.to_string(),
            }
        })
    }
}

/// How many open files of a board are looked at for who has them: each costs
/// reading /proc, and the lock directory stands still meanwhile.
const FILES: usize = 16;

/// How long it is waited to know who has a locked board: everybody waits along,
/// and it is not needed to decide who gets the board.
const SHOW_TIME: Duration = Duration::from_millis(200);

/// The table while one event is at work on it.
pub(super) struct Desk<'a> {
    pub table: &'a mut Table,
    pub names: &'a mut UserNames,
    pub pending: &'a mut Pending,
    pub watch: &'a Watch,
    pub resolver: &'a Arc<Resolver>,
    /// The device of the mount, `MAJOR:MINOR`, once it is mounted.
    pub device: Option<&'a str>,
    pub now: Now,
}

impl Desk<'_> {
    /// Looks once whether the holder of an inode lives: no refusal and no
    /// status is given for a dead one.
    pub fn settle(&mut self, ino: Ino) {
        while let Some(holder) = self.table.holder(ino)
            && self.watch.has_ended(holder)
        {
            self.table.died(holder, &self.now);
        }
    }

    /// The same, and finds out who shows as holder where file locks hold it: for
    /// whatever that decides, or tells.
    pub fn settle_and_show(&mut self, ino: Ino) {
        self.settle(ino);
        let locked = self.table.locked_files(ino, FILES);
        let Some(claim) = self.table.claim(ino).filter(|_| !locked.is_empty()) else {
            return;
        };
        let mut files = Files {
            ino,
            device: self.device.map(str::to_owned),
            uid: claim.user.uid,
            before: claim.holder.shown().to_vec(),
            likely: claim.likely,
            locked,
            others: self.table.other_files(ino, FILES),
            most: FILES,
            waiting: self.table.waiting_processes(ino),
            found: self.pending.found(ino),
        };
        // If that takes too long, who was shown before goes on being shown.
        let Some(mut shown) = self.who_has(&files) else {
            return;
        };
        if shown.wants_search
            && let Some(found) = self.search(ino)
        {
            files.found = found;
            shown = self.who_has(&files).unwrap_or(shown);
        }
        self.table
            .show(ino, shown.sure, shown.likely, shown.command);
    }

    fn who_has(&self, files: &Files) -> Option<Shown> {
        let (resolver, files) = (Arc::clone(self.resolver), files.clone());
        beside(SHOW_TIME, move || resolver.who_has(files))
    }

    /// Looks at all processes for who has a board open. What is not found at once
    /// is there for the next who asks.
    fn search(&mut self, ino: Ino) -> Option<Vec<ProcessId>> {
        let device = self.device?.to_owned();
        let keep = self.pending.begin_search(self.now.boot)?;
        let resolver = Arc::clone(self.resolver);
        beside(SHOW_TIME, move || {
            let found = resolver.search(&device, ino);
            *keep.lock() = Some((ino, found.clone()));
            found
        })
    }

    /// Whether a process is on its way out, as far as that can be told at once.
    pub fn is_ending(&self, process: ProcessId) -> bool {
        let resolver = Arc::clone(self.resolver);
        beside(SHOW_TIME, move || resolver.is_ending(process)).unwrap_or(false)
    }

    pub fn settled_and_shown(&mut self, dir: Ino, name: &[u8]) -> Result<(), Refusal> {
        if let Some(ino) = self.settled(dir, name)? {
            self.settle_and_show(ino);
        }
        Ok(())
    }

    /// The inode of a name once that was looked at; none if it is free.
    pub fn settled(&mut self, dir: Ino, name: &[u8]) -> Result<Option<Ino>, Refusal> {
        match self.table.lookup(dir, name) {
            Ok(ino) => self.settle(ino),
            Err(Refusal::Missing) => return Ok(None),
            Err(refusal) => return Err(refusal),
        }
        match self.table.lookup(dir, name) {
            Ok(ino) => Ok(Some(ino)),
            Err(Refusal::Missing) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    pub fn status_text(&mut self, ino: Ino) -> String {
        let status = self.table.status(ino, &self.now);
        status.render(|uid| self.names.of(uid).to_owned())
    }

    /// Watches the processes of `pins`; says which were not watched before.
    ///
    /// # Errors
    /// When one cannot be watched; then none is.
    pub fn watch_all(&mut self, pins: Vec<Pin>) -> io::Result<Vec<ProcessId>> {
        let mut fresh = Vec::new();
        for Pin { process, fd } in pins {
            if self.watch.is_watched(process) {
                // A pid that is used again within the clock tick in which its
                // last process started would be taken for that process.
                if !self.watch.has_ended(process) {
                    continue;
                }
                self.table.died(process, &self.now);
                self.carry_out();
                self.watch.remove(process);
            }
            let added = match fd {
                Some(pidfd) => self.watch.add(process, pidfd),
                None => Err(io::ErrorKind::NotFound.into()),
            };
            if let Err(error) = added {
                for process in fresh {
                    self.watch.remove(process);
                }
                return Err(error);
            }
            fresh.push(process);
        }
        Ok(fresh)
    }

    /// Does what the table decided, until it has nothing more to say: a
    /// process that is not watched counts as ended, which frees boards.
    pub fn carry_out(&mut self) {
        loop {
            let effects = self.table.take_effects();
            if effects.is_empty() {
                break;
            }
            for effect in effects {
                match effect {
                    Effect::Watch(process) if self.watch.is_watched(process) => {}
                    Effect::Watch(process) => {
                        log::error!("process {} is not watched and counts as ended", process.pid);
                        self.table.died(process, &self.now);
                    }
                    Effect::Unwatch(process) => self.watch.remove(process),
                    Effect::Answer { wait, outcome } => {
                        self.pending.answer(wait, outcome, self.now.boot);
                    }
                    Effect::SendBack(wait) => {
                        if let Err(error) = self.pending.send_back(wait) {
                            log::warn!("cannot have a lock asked for anew: {error}");
                            self.table.leave(wait, Refusal::NoLocks, &self.now);
                        }
                    }
                    Effect::Changed(handle) => self.pending.tell(handle),
                    other => report::effect(&other, self.names),
                }
            }
        }
        let (boot, wall) = self.table.next_deadlines();
        self.watch.set_deadlines(boot, wall);
    }
}
