//! One event at work on the table, and what it decided carried out.

use std::collections::HashMap;
use std::io;

use super::lines::{Line, Lines};
use super::locks::Pending;
use super::request::Failure;
use super::view::View;
use crate::chronicle::Chronicle;
use crate::clock;
use crate::fault::{self, Point};
use crate::lock::Table;
use crate::lock::effect::Effect;
use crate::lock::ids::{Handle, Ino, ProcessId, Uid, WaitId};
use crate::lock::refusal::Refusal;
use crate::lock::time::{BootTime, Now};
use crate::printable::printable;
use crate::process::{Pin, Resolver};
use crate::report;
use crate::store::{Done, RETRY, Store};
use crate::turn;
use crate::watch::Watch;

/// What is told of users: their names, looked up once each, as a directory service
/// may be slow, and how much of what they do is logged.
#[derive(Debug, Default)]
pub struct UserNames {
    names: HashMap<Uid, String>,
    lines: Lines,
}

impl UserNames {
    /// Whether one more line of what a user does is to be logged. When it is not,
    /// or not any longer, that is.
    pub fn may_log(&mut self, uid: Uid, now: BootTime) -> bool {
        match self.lines.one_more(uid, now) {
            Line::Written => true,
            Line::After(count) => {
                let user = printable(self.of(uid));
                log::warn!("{user}: {count} lines of what this user did were left out");
                true
            }
            Line::FirstLeftOut => {
                let user = printable(self.of(uid));
                log::warn!(
                    "{user}: too many lines of what this user does; they are left out for a while"
                );
                false
            }
            Line::LeftOut => false,
        }
    }

    /// The user's name, or its number.
    pub fn of(&mut self, uid: Uid) -> &str {
        self.names.entry(uid).or_insert_with(|| {
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
    pub store: &'a mut Option<Store>,
    pub chronicle: &'a mut Chronicle,
    pub view: &'a mut View,
    pub resolver: &'a Resolver,
    /// The device of the mount, `MAJOR:MINOR`, once it is mounted.
    pub device: Option<&'a str>,
    pub now: Now,
    /// The requests that are done by this event.
    pub done: Vec<Done>,
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

    /// Whether one of these watched processes has ended.
    pub fn any_has_ended(&self, processes: &[ProcessId]) -> bool {
        processes
            .iter()
            .any(|process| self.watch.has_ended(*process))
    }

    /// Whether a process has ended or is about to.
    pub fn is_ending(&self, process: ProcessId) -> bool {
        self.watch.has_ended(process) || self.resolver.is_ending(process)
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

    /// The status of a board, as it reads through an open file.
    pub fn status_text(&mut self, handle: Handle, ino: Ino) -> String {
        let status = self.table.status_through(handle, ino, &self.now);
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

    /// Runs an event by which a claim may come to hang on the processes of
    /// `pins`.
    pub fn with<T>(
        &mut self,
        pins: Vec<Pin>,
        event: impl FnOnce(&mut Desk<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        // What time has ended is let go first, or a process that is let go and
        // taken up again by one event would end up unwatched.
        self.carry_out();
        let fresh = self.watch_all(pins)?;
        let answer = event(self);
        self.carry_out();
        for process in fresh {
            if !self.table.hangs_on(process) {
                self.watch.remove(process);
            }
        }
        answer
    }

    /// Records what has changed.
    fn record(&mut self) {
        let Desk {
            table,
            store,
            now,
            done,
            ..
        } = self;
        let done = std::mem::take(done);
        if let Some(store) = store {
            let changes = table.take_changes(now);
            if !changes.values.is_empty() || !done.is_empty() {
                store.record(&changes, &done, || table.whole(now));
            }
        }
    }

    /// The request that this thread is at is done, and would not be done again as
    /// it was; with the open file that it made.
    pub fn done(&mut self, handle: Option<Handle>) {
        let request = turn::request().map(WaitId::of_request);
        self.done.extend(request.map(|request| (request, handle)));
    }

    /// Whether a board that is acquired now can be recorded.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn may_acquire(&mut self) -> Result<(), Failure> {
        let Desk {
            table, store, now, ..
        } = self;
        match store {
            Some(store) => store
                .is_ready(|| table.whole(now))
                .map_err(Failure::Unrecorded),
            None => Ok(()),
        }
    }

    /// Does what the table decided, until it has nothing more to say: a
    /// process that is not watched counts as ended, which frees boards.
    pub fn carry_out(&mut self) {
        loop {
            let effects = self.table.take_effects();
            let (mut ended, mut granted) = (false, 0_u32);
            for effect in &effects {
                if let Effect::Answer {
                    wait,
                    outcome: Ok(handle),
                } = effect
                {
                    self.done.push((*wait, *handle));
                }
            }
            fault::point(Point::Decided);
            // Nobody hears of what would be forgotten.
            self.record();
            fault::point(Point::Recorded);
            if effects.is_empty() {
                break;
            }
            // Whoever waits goes on first: what is told of it can be told later.
            let is_answer = |effect: &Effect| matches!(effect, Effect::Answer { .. });
            let (answers, others): (Vec<_>, Vec<_>) = effects.into_iter().partition(is_answer);
            for effect in answers.into_iter().chain(others) {
                match effect {
                    Effect::Watch(process) if self.watch.is_watched(process) => {}
                    Effect::Watch(process) => {
                        log::error!("process {} is not watched and counts as ended", process.pid);
                        self.table.died(process, &self.now);
                    }
                    Effect::Unwatch(process) => self.watch.remove(process),
                    Effect::Answer { wait, outcome } => {
                        granted += u32::from(outcome == Ok(None));
                        self.pending.answer(wait, outcome, self.now.boot);
                    }
                    Effect::SendBack(wait) => {
                        if let Err(error) = self.pending.send_back(wait) {
                            log::warn!("cannot have a lock asked for anew: {error}");
                            self.table.leave(wait, Refusal::NoLocks, &self.now);
                        }
                    }
                    Effect::Changed(handle) => self.pending.tell(handle),
                    other => {
                        ended |= matches!(other, Effect::Released { .. });
                        let told = report::effect(&other, self.names, self.now.boot);
                        let mut name = |uid| printable(self.names.of(uid));
                        self.chronicle.take(&other, &self.now, told, &mut name);
                    }
                }
            }
            if ended && granted > 0 {
                let took = clock::now().boot.0.saturating_sub(self.now.boot.0);
                for _ in 0..granted {
                    self.chronicle.counts.handed_over(took);
                }
            }
        }
        self.tell_viewers();
        let (boot, wall) = self.table.next_deadlines();
        let retry = BootTime(self.now.boot.0.saturating_add(RETRY));
        let retry = self.table.holds_back().then_some(retry);
        self.watch
            .set_deadlines(boot.into_iter().chain(retry).min(), wall);
    }
}
