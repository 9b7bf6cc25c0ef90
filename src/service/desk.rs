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

/// How many open files of a board are looked at for who has them: each costs
/// reading /proc, and the lock directory stands still meanwhile.
const FILES: usize = 16;

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
        let files = self.table.locked_files(ino, FILES);
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
        let mut likely = None;
        if orphaned {
            let (heirs, sure) = self.heirs(ino);
            likely = heirs.first().copied();
            if sure {
                shown.extend(heirs);
            }
        }
        let command = match shown.first().or(likely.as_ref()) {
            Some(process) => self.resolver.command(*process),
            None => String::new(),
        };
        self.table.show(ino, shown, likely, command);
    }

    /// The processes that have a locked file open whose opener has ended, and
    /// whether that is sure: where others have files of the board open, to wait
    /// for it, say, an orphan may have one of those. None that is another user's,
    /// waits, or has such a file for all that is known.
    fn heirs(&mut self, ino: Ino) -> (Vec<ProcessId>, bool) {
        let (Some(device), Some(claim)) = (self.device, self.table.claim(ino)) else {
            return (Vec::new(), false);
        };
        let uid = claim.user.uid;
        let before = claim.holder.shown().to_vec();
        let mut known = before.clone();
        known.extend(claim.likely);
        let other_files = self.table.other_files(ino, FILES);
        let mut others = Vec::new();
        let mut plain = other_files.len() <= FILES;
        for file in other_files.iter().take(FILES) {
            match self.resolver.opener(file) {
                Some(process) => others.push(process),
                None => plain = false,
            }
        }
        // All processes are looked at only if those that were shown before have
        // closed it.
        let search = plain && known.is_empty() && self.pending.may_search(self.now.boot);
        known = self.resolver.who_has_open(device, ino, known, search);
        known.retain(|process| self.resolver.is_of(*process, uid));
        // Who surely had it has it still, whoever looks at the board meanwhile.
        let still = |process: &&ProcessId| before.contains(process) && !others.contains(process);
        let kept: Vec<ProcessId> = known.iter().filter(still).copied().collect();
        if !kept.is_empty() {
            return (kept, true);
        }
        if !plain {
            return (Vec::new(), false);
        }
        let waiting = self.table.waiting_processes(ino);
        known.retain(|process| {
            !waiting.contains(&process.pid) && !self.resolver.is_below(*process, &others)
        });
        // What its own side has open besides is no other's.
        let sure = others
            .iter()
            .all(|process| self.resolver.is_below(*process, &known));
        (known, sure)
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
