//! One event at work on the table, and what it decided carried out.

use std::collections::HashMap;
use std::io;

use super::locks::Pending;
use crate::lock::Table;
use crate::lock::effect::Effect;
use crate::lock::ids::{Ino, ProcessId, Uid};
use crate::lock::refusal::Refusal;
use crate::lock::time::Now;
use crate::process::{Pin, Resolver};
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

/// The table while one event is at work on it.
pub(super) struct Desk<'a> {
    pub table: &'a mut Table,
    pub names: &'a mut UserNames,
    pub pending: &'a mut Pending,
    pub watch: &'a Watch,
    pub resolver: &'a Resolver,
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
        let files = self.table.locked_files(ino);
        if files.is_empty() {
            return;
        }
        let mut shown: Vec<ProcessId> = Vec::new();
        let mut orphaned = false;
        for file in files {
            match self.resolver.opener(&file) {
                Some(process) if shown.contains(&process) => {}
                Some(process) => shown.push(process),
                None => orphaned = true,
            }
        }
        if orphaned {
            for process in self.heirs(ino) {
                if !shown.contains(&process) {
                    shown.push(process);
                }
            }
        }
        let command = match shown.first() {
            Some(process) => self.resolver.command(*process),
            None => String::new(),
        };
        self.table.show(ino, shown, command);
    }

    /// The processes that have a locked file open whose opener has ended. None
    /// where it is not plain that it is this file: who may only wait for the
    /// board must not pass for one who has it.
    fn heirs(&mut self, ino: Ino) -> Vec<ProcessId> {
        let Some(device) = self.device else {
            return Vec::new();
        };
        let mut others = Vec::new();
        for file in self.table.other_files(ino) {
            match self.resolver.opener(&file) {
                Some(process) => others.push(process),
                None => return Vec::new(),
            }
        }
        let waiting = self.table.waiting_processes(ino);
        let plain = |process: &ProcessId| {
            !waiting.contains(&process.pid) && !self.resolver.is_below(*process, &others)
        };
        // All processes are looked at only if those that were shown before have
        // closed it.
        let mut known: Vec<ProcessId> = self
            .table
            .claim(ino)
            .map(|claim| claim.holder.shown().to_vec())
            .unwrap_or_default();
        known.retain(|process| self.resolver.still_has_open(*process, device, ino));
        if known.is_empty() && self.pending.may_search(self.now.boot) {
            known = self
                .resolver
                .who_has_open(device, ino)
                .unwrap_or_else(|error| {
                    log::warn!("cannot look who has a board open: {error}");
                    Vec::new()
                });
        }
        known.retain(plain);
        known
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
