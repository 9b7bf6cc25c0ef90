//! Who waits for a board: one queue for each, first come, first served
//! (semantics.md, "File locks", "Release").
//!
//! A waiter is a lock that could not be granted yet. It waits behind claims and
//! locks alike, and gets the board before anybody else once it is free.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::caller::{Caller, Standing};
use super::claim::Claim;
use super::effect::Effect;
use super::file_lock::{FileLock, Key, LockCall, LockKind};
use super::ids::{Handle, Ino, LockOwner, Pid, Uid, User, WaitId};
use super::locking::excludes;
use super::node::Name;
use super::refusal::Refusal;
use super::table::Table;
use super::time::{BootTime, Now, Timestamp};
use crate::printable::printable;

/// Locks that wait for each other are looked for no further: a chain this long
/// is no mistake that two programs make.
const CHAIN: usize = 64;

/// A lock that waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Waiter {
    pub(super) ino: Ino,
    pub(super) call: LockCall,
    pub(super) kind: LockKind,
    pub(super) caller: Caller,
    since: Now,
    /// Grows with each that comes.
    pub(super) arrival: u64,
    /// When the request was made that is unanswered now.
    pub(super) asked: BootTime,
    pub(super) asking: Asking,
}

/// How far a request that waits is sent back, where the kernel lets no request
/// wait for as long as a board may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Asking {
    /// It is not.
    Waits,
    /// Its thread is being made to ask anew.
    SentBack,
    /// It was answered and is to come back; until then its place is kept, and
    /// what it gets meanwhile.
    Away(BootTime),
}

/// How long the kernel lets a request wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// After how long a wait is sent back, to come again.
    pub send_back: Duration,
    /// After how long it is ended, since it has not gone back.
    pub give_up: Duration,
}

/// Who was sent back is back in less.
pub(super) const AWAY: Duration = Duration::from_secs(2);

/// A waiter, as told to people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Whose process it is.
    pub user: User,
    /// The process; none where that cannot be seen.
    pub pid: Option<Pid>,
    /// Its command line.
    pub command: String,
    /// How the board is wanted.
    pub kind: LockKind,
    /// Since when.
    pub since: Timestamp,
}

impl Table {
    /// Puts a lock at the end of the queue.
    pub(super) fn line_up(
        &mut self,
        ino: Ino,
        wait: WaitId,
        call: &LockCall,
        kind: LockKind,
        caller: &Caller,
        now: &Now,
    ) {
        self.last_arrival += 1;
        let waiter = Waiter {
            ino,
            call: *call,
            kind,
            caller: caller.clone(),
            since: *now,
            arrival: self.last_arrival,
            asked: now.boot,
            asking: Asking::Waits,
        };
        self.put_waiter(wait, waiter);
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.queue.push(wait);
        }
        let board = self.in_the_way(ino);
        self.effect(Effect::Waits {
            path: self.path(board),
            caller: caller.clone(),
            place: self.count_waiting(board),
        });
        self.changed(board);
    }

    /// How many wait, for whichever board.
    pub fn waiters(&self) -> usize {
        self.waiters.len()
    }

    /// Who waits for a board, in order, at most `most`.
    pub fn waiting(&self, ino: Ino, most: usize) -> Vec<Waiting> {
        let mut waits: Vec<&Waiter> = self
            .queues(ino)
            .flatten()
            .filter_map(|wait| self.waiters.get(wait))
            .collect();
        waits.sort_unstable_by_key(|waiter| waiter.arrival);
        waits.dedup_by_key(|waiter| waiter.arrival);
        waits.into_iter().take(most).map(Waiter::told).collect()
    }

    /// How many wait for a board.
    pub fn count_waiting(&self, ino: Ino) -> usize {
        let mut waits: Vec<&WaitId> = self.queues(ino).flatten().collect();
        // A free inode may have had several of the names.
        waits.sort_unstable();
        waits.dedup();
        waits.len()
    }

    /// The queue of an inode, and those of free ones that had its name.
    fn queues(&self, ino: Ino) -> impl Iterator<Item = &[WaitId]> {
        let names = self.nodes.get(&ino).map_or(&[][..], |node| &node.names);
        let rivals = names
            .iter()
            .filter_map(|key| self.former.get(key))
            .flatten();
        std::iter::once(ino)
            .chain(rivals.copied())
            .filter_map(|ino| self.nodes.get(&ino))
            .map(|node| &node.queue[..])
    }

    /// The request waits no more: its caller was interrupted, or waits too long.
    /// One that waited for a board and did not get it was defeated. Who was made
    /// to ask anew keeps the place. Does nothing for a request that is answered.
    pub fn leave(&mut self, wait: WaitId, refusal: Refusal, now: &Now) {
        if refusal == Refusal::Interrupted
            && let Some(waiter) = self.waiters.get_mut(&wait)
            && waiter.asking == Asking::SentBack
        {
            waiter.asking = Asking::Away(BootTime(now.boot.0.saturating_add(AWAY)));
            self.set_recall(wait);
            self.answer(wait, Err(refusal));
            return;
        }
        let matters = self.may_hold_up(wait);
        if let Some(waiter) = self.take_waiter(wait) {
            let board = self.in_the_way(waiter.ino);
            if refusal == Refusal::Interrupted {
                self.refuse(board, &waiter.caller, Refusal::Busy);
            }
            self.answer(wait, Err(refusal));
            self.changed(board);
            // Thousands who leave at a time do not each look at all others.
            if matters {
                self.settle_board(waiter.ino, now);
            }
        } else if self.take_opening(wait).is_some() {
            self.answer(wait, Err(refusal));
        }
    }

    /// Whether others may go on once this request waits no more: behind a claim
    /// those on its side, in their order, else those behind the first.
    fn may_hold_up(&self, wait: WaitId) -> bool {
        let Some(waiter) = self.waiters.get(&wait) else {
            return false;
        };
        let Some(node) = self.nodes.get(&waiter.ino) else {
            return false;
        };
        match &node.claim {
            Some(claim) if !claim.is_by_locks() => self.is_on_side(claim, waiter),
            _ => node.queue.first() == Some(&wait),
        }
    }

    /// Whether a request is being sent back, to come again.
    pub fn is_sent_back(&self, wait: WaitId) -> bool {
        self.waiters
            .get(&wait)
            .is_some_and(|waiter| waiter.asking == Asking::SentBack)
    }

    /// Who was sent back has not come again.
    pub(super) fn forget_waiter(&mut self, wait: WaitId, now: &Now) {
        if let Some(waiter) = self.take_waiter(wait) {
            self.changed(self.in_the_way(waiter.ino));
            self.settle_board(waiter.ino, now);
        }
    }

    /// Whether one more lock of a user may wait.
    pub(super) fn may_wait(&self, uid: Uid) -> bool {
        let count = self.waiting.get(&uid).copied().unwrap_or_default();
        count < self.options.max_waiting
    }

    pub(super) fn put_waiter(&mut self, wait: WaitId, waiter: Waiter) {
        *self.waiting.entry(waiter.call.user.uid).or_default() += 1;
        self.waiters.insert(wait, waiter);
        self.set_recall(wait);
    }

    pub(super) fn remove_waiter(&mut self, wait: WaitId) -> Option<Waiter> {
        let waiter = self.waiters.remove(&wait)?;
        self.recall.retain(|(_, other)| *other != wait);
        let uid = waiter.call.user.uid;
        if let Some(count) = self.waiting.get_mut(&uid) {
            *count -= 1;
            if *count == 0 {
                self.waiting.remove(&uid);
            }
        }
        Some(waiter)
    }

    fn take_waiter(&mut self, wait: WaitId) -> Option<Waiter> {
        let waiter = self.remove_waiter(wait)?;
        if let Some(node) = self.nodes.get_mut(&waiter.ino) {
            node.queue.retain(|other| *other != wait);
        }
        Some(waiter)
    }

    pub(super) fn answer(&mut self, wait: WaitId, outcome: Result<Option<Handle>, Refusal>) {
        self.effect(Effect::Answer { wait, outcome });
    }

    /// What comes free goes to nobody while it could not be recorded who has it: who
    /// waits goes on waiting.
    pub fn hold_back(&mut self, held_back: bool, now: &Now) {
        let held_back_before = std::mem::replace(&mut self.held_back, held_back);
        if !held_back_before || held_back {
            return;
        }
        let mut waiters: Vec<(u64, Ino)> = self
            .waiters
            .values()
            .map(|waiter| (waiter.arrival, waiter.ino))
            .collect();
        waiters.sort_unstable();
        for (_, ino) in waiters {
            self.settle_board(ino, now);
        }
    }

    /// Whether somebody waits and is held back.
    pub fn holds_back(&self) -> bool {
        self.held_back && self.waiters.len() > 0
    }

    /// A board has changed: whoever can go on now does.
    pub(super) fn settle_board(&mut self, ino: Ino, now: &Now) {
        if self.held_back {
            self.decide_opens(ino, now);
            return;
        }
        while let Some((wait, outcome)) = self.next_in(ino, now) {
            let Some(waiter) = self.take_waiter(wait) else {
                return;
            };
            let admitted = self.may_lock(ino, &waiter.call, Some(&waiter.caller));
            let after = match outcome.and_then(|after| admitted.map(|()| after)) {
                Ok(after) => after,
                Err(refusal) => {
                    if refusal.is_by_inventory() {
                        self.refuse(ino, &waiter.caller, refusal);
                    }
                    self.answer(wait, Err(refusal));
                    continue;
                }
            };
            if self
                .nodes
                .get(&ino)
                .is_some_and(|node| node.names.is_empty())
            {
                self.take_back(ino, waiter.call.user);
            }
            match waiter.asking {
                Asking::Away(until) => self.keep_for(wait, until, &waiter),
                _ => self.answer(wait, Ok(None)),
            }
            self.give(ino, &waiter.call, after, now);
        }
        self.decide_opens(ino, now);
    }

    /// The waiter that can go on, with what it will have, or with what keeps it
    /// from ever having it.
    fn next_in(&mut self, ino: Ino, now: &Now) -> Option<(WaitId, Result<FileLock, Refusal>)> {
        let node = self.nodes.get(&ino)?;
        let head = *node.queue.first()?;
        let fits = |wait: WaitId| {
            let waiter = self.waiters.get(&wait)?;
            let after = node.lock_after(&waiter.call, waiter.kind, now.boot);
            node.has_room_for(&waiter.call, &after)
                .then_some((wait, Ok(after)))
        };
        match &node.claim {
            Some(claim) if claim.is_by_locks() => {
                // Who has a lock already is not in line for the board.
                let has = |wait: &&WaitId| {
                    self.waiters
                        .get(*wait)
                        .is_some_and(|waiter| node.has_lock_of(&waiter.call))
                };
                node.queue
                    .iter()
                    .filter(has)
                    .find_map(|wait| fits(*wait))
                    .or_else(|| fits(head))
            }
            Some(claim) => {
                let first = node.queue.iter().find(|wait| {
                    self.waiters
                        .get(*wait)
                        .is_some_and(|waiter| self.is_on_side(claim, waiter))
                })?;
                fits(*first)
            }
            None if node.names.is_empty() => {
                let waiter = self.waiters.get(&head)?;
                let (user, caller) = (waiter.call.user, waiter.caller.clone());
                match self.may_take_back(ino, user, Some(&caller)) {
                    Ok(false) => None,
                    Ok(true) => {
                        let waiter = self.waiters.get(&head)?;
                        let node = self.nodes.get(&ino)?;
                        let after = node.lock_after(&waiter.call, waiter.kind, now.boot);
                        Some((head, Ok(after)))
                    }
                    Err(refusal) => Some((head, Err(refusal))),
                }
            }
            None => fits(head),
        }
    }

    fn is_on_side(&self, claim: &Claim, waiter: &Waiter) -> bool {
        let by_file = self
            .opens
            .get(&waiter.call.handle)
            .is_some_and(|open| open.side_of == Some(claim.id));
        by_file || claim.on_side(&waiter.caller)
    }

    /// Free inodes that had this name and are still open, in the order in which
    /// they had it.
    pub(super) fn rivals(&self, dir: Ino, name: &Name) -> Vec<Ino> {
        self.former
            .get(&(dir, name.clone()))
            .cloned()
            .unwrap_or_default()
    }

    /// When the first in an inode's queue came.
    pub(super) fn first_arrival(&self, ino: Ino) -> Option<u64> {
        let head = self.nodes.get(&ino)?.queue.first()?;
        self.waiters.get(head).map(|waiter| waiter.arrival)
    }

    /// A name is free: of those that had it and are waited for, the first come
    /// has it next.
    pub(super) fn name_is_free(&mut self, dir: Ino, name: &Name, now: &Now) {
        let mut rivals = self.rivals(dir, name);
        rivals.retain(|ino| self.first_arrival(*ino).is_some());
        rivals.sort_by_key(|ino| self.first_arrival(*ino));
        for ino in rivals {
            self.settle_board(ino, now);
        }
    }

    /// Whether a lock would wait for somebody who waits for this one's owner,
    /// or for one who does (fcntl(2), EDEADLK). flock(2) locks are an open
    /// file's, which waits for nobody.
    pub(super) fn would_deadlock(&self, ino: Ino, call: &LockCall, after: &FileLock) -> bool {
        let Key::Owner(me) = call.key() else {
            return false;
        };
        let mut next = self.owners_before(ino, call, after.kind());
        let mut seen: Vec<LockOwner> = Vec::new();
        while let Some(owner) = next.pop() {
            if owner == me {
                return true;
            }
            if seen.contains(&owner) || seen.len() >= CHAIN {
                continue;
            }
            seen.push(owner);
            for waiter in self.waiters.values() {
                if waiter.call.key() == Key::Owner(owner) {
                    next.extend(self.owners_before(waiter.ino, &waiter.call, waiter.kind));
                }
            }
        }
        false
    }

    /// The owners of fcntl locks that are in the way of this one.
    fn owners_before(&self, ino: Ino, call: &LockCall, kind: LockKind) -> Vec<LockOwner> {
        let locks = self.nodes.get(&ino).map_or(&[][..], |node| &node.locks);
        locks
            .iter()
            .filter(|lock| excludes(lock, call, kind))
            .filter_map(|lock| match lock.key {
                Key::Owner(owner) => Some(owner),
                Key::File(_) => None,
            })
            .collect()
    }
}

impl Waiter {
    /// Whether this call is the one that was sent back, made anew.
    pub(super) fn was_sent_back_with(&self, call: &LockCall, kind: LockKind) -> bool {
        matches!(self.asking, Asking::Away(_)) && self.kind == kind && self.call.is_again(call)
    }

    fn told(&self) -> Waiting {
        let (pid, command) = match &self.caller.standing {
            Standing::Process(candidate) => (
                candidate.holder().map(|holder| holder.pid),
                candidate.command.clone(),
            ),
            _ => (
                self.caller.requester.map(|process| process.pid),
                printable(&self.caller.program),
            ),
        };
        Waiting {
            user: self.call.user,
            pid: pid.or(self.call.pid),
            command,
            kind: self.kind,
            since: self.since.wall,
        }
    }
}
