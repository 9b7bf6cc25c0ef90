//! Waits that are sent back to the kernel before it loses patience, and come
//! again: their place in the queue is kept (`crate::fuse::timeout`).

use super::effect::Effect;
use super::file_lock::{FileLock, Key, LockCall, LockKind};
use super::ids::{Handle, Ino, WaitId};
use super::queue::{Asking, Patience, Waiter};
use super::refusal::Refusal;
use super::table::Table;
use super::time::{BootTime, Now};

/// A lock that was granted to one who had been sent back.
#[derive(Debug)]
pub(super) struct Kept {
    ino: Ino,
    call: LockCall,
    kind: LockKind,
    /// What the owner had before; of several locks of one owner, before the first.
    before: Option<FileLock>,
}

impl Kept {
    fn is_of(&self, ino: Ino, key: Key) -> bool {
        self.ino == ino && self.call.key() == key
    }
}

impl Table {
    /// Keeps what is granted to one who was sent back, until he asks again.
    pub(super) fn keep_for(&mut self, wait: WaitId, until: BootTime, waiter: &Waiter) {
        let Waiter {
            ino, call, kind, ..
        } = *waiter;
        let earlier = self.kept.values().find(|kept| kept.is_of(ino, call.key()));
        let before = match earlier {
            Some(kept) => kept.before.clone(),
            None => {
                let node = self.nodes.get(&ino);
                node.and_then(|node| node.lock_of(call.key()).cloned())
            }
        };
        self.recall.insert((until, wait));
        self.kept.insert(
            wait,
            Kept {
                ino,
                call,
                kind,
                before,
            },
        );
    }

    /// What an owner does now it does knowing what it has.
    pub(super) fn keeps_no_more(&mut self, ino: Ino, of: impl Fn(&LockCall) -> bool) {
        self.kept
            .retain(|_, kept| kept.ino != ino || !of(&kept.call));
    }

    /// What was granted to the owners of these open files is another inode's.
    pub(super) fn keep_at(&mut self, from: Ino, to: Ino, of: impl Fn(&Handle) -> bool) {
        for kept in self.kept.values_mut() {
            if kept.ino == from && of(&kept.call.handle) {
                kept.ino = to;
            }
        }
    }

    /// Who was sent back does not ask again: he waits no more, and knows of no
    /// lock. Of an owner all that was granted so goes at once: who of them does
    /// come asks as if for the first time.
    fn take_from_absent(&mut self, wait: WaitId, now: &Now) {
        let Some(Kept {
            ino, call, before, ..
        }) = self.kept.remove(&wait)
        else {
            return;
        };
        let key = call.key();
        self.keeps_no_more(ino, |other| other.key() == key);
        let node = self.nodes.get(&ino);
        let Some(has) = node.and_then(|node| node.lock_of(key)) else {
            return;
        };
        match before {
            // What became less of it others may share by now.
            Some(lock) if lock.kind() > has.kind() => {}
            Some(mut lock) => {
                // That by which it had it may be closed by now; and what was granted since
                // then was so beside a lock of this process.
                lock.handle = has.handle;
                lock.pid = has.pid;
                self.put_lock(ino, lock);
                self.settle_board(ino, now);
            }
            None => self.drop_lock(ino, key, now),
        }
    }

    /// How long the kernel lets a request wait; none: as long as it takes. Holds
    /// for those that come from now on.
    pub fn set_patience(&mut self, patience: Option<Patience>) {
        self.patience = patience;
    }

    /// Notes when something has to be done about a request that waits.
    pub(super) fn set_recall(&mut self, wait: WaitId) {
        let Some(waiter) = self.waiters.get(&wait) else {
            return;
        };
        let after = |span| BootTime(waiter.asked.0.saturating_add(span));
        let due = match (waiter.asking, self.patience) {
            (Asking::Waits, Some(patience)) => after(patience.send_back),
            (Asking::SentBack, Some(patience)) => after(patience.give_up),
            (Asking::Away(until), _) => until,
            (_, None) => return,
        };
        self.recall.retain(|(_, other)| *other != wait);
        self.recall.insert((due, wait));
    }

    /// Sends back the requests whose time it is, and gives up those that were
    /// and have not gone, or have not come again.
    pub(super) fn recall(&mut self, now: &Now) {
        while let Some((due, wait)) = self.recall.first().copied()
            && due <= now.boot
        {
            self.recall.remove(&(due, wait));
            let Some(waiter) = self.waiters.get_mut(&wait) else {
                self.take_from_absent(wait, now);
                continue;
            };
            match waiter.asking {
                Asking::Waits => {
                    waiter.asking = Asking::SentBack;
                    self.set_recall(wait);
                    self.effect(Effect::SendBack(wait));
                }
                Asking::SentBack => self.leave(wait, Refusal::NoLocks, now),
                Asking::Away(_) => self.forget_waiter(wait, now),
            }
        }
    }

    /// Whether this lock is asked for by one who was sent back: it is no new one.
    pub fn comes_back(&self, call: &LockCall, kind: LockKind) -> bool {
        let mut kept = self.kept.values();
        kept.any(|kept| kept.call.is_again(call) && kept.kind == kind)
            || self
                .waiters
                .values()
                .any(|waiter| waiter.was_sent_back_with(call, kind))
    }

    /// Whether a lock is asked for by one who was sent back: he waits on where
    /// he stood.
    pub(super) fn come_back(
        &mut self,
        ino: Ino,
        call: &LockCall,
        kind: LockKind,
        wait: WaitId,
        now: &Now,
    ) -> bool {
        if self.recall.is_empty() && self.kept.is_empty() {
            return false;
        }
        // Its turn has come meanwhile: it has the lock, and will be told so.
        let kept = self
            .kept
            .iter()
            .find(|(_, kept)| kept.call.is_again(call) && kept.kind == kind);
        if let Some(old) = kept.map(|(wait, _)| *wait) {
            self.kept.remove(&old);
            self.recall.retain(|(_, other)| *other != old);
            return false;
        }
        let Some(node) = self.nodes.get_mut(&ino) else {
            return false;
        };
        let is_it = |other: &&mut WaitId| {
            self.waiters
                .get(*other)
                .is_some_and(|waiter| waiter.was_sent_back_with(call, kind))
        };
        let Some(place) = node.queue.iter_mut().find(is_it) else {
            return false;
        };
        let old = std::mem::replace(place, wait);
        if let Some(mut waiter) = self.remove_waiter(old) {
            waiter.asked = now.boot;
            waiter.asking = Asking::Waits;
            self.put_waiter(wait, waiter);
        }
        self.settle_board(ino, now);
        true
    }
}
