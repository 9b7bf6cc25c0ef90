//! flock(2) and fcntl(2) on boards (semantics.md, "File locks").

use std::sync::Arc;

use super::caller::{Caller, Chain};
use super::claim::{Claim, Holder, Rare, Told};
use super::effect::{Effect, End, Held};
use super::file_lock::{Class, FileLock, Key, LockCall, LockKind, Range};
use super::ids::{Handle, Ino, LockOwner, Pid, User, WaitId};
use super::node::Node;
use super::refusal::Refusal;
use super::table::Table;
use super::time::{BootTime, Now};

/// The most ranges that one owner has of a board: more are only a way to use
/// up memory.
const RANGES_MAX: usize = 1024;

/// What became of an attempt to lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried {
    /// The caller has the lock.
    Granted,
    /// The caller waits; [`Effect::Answer`] tells how it ends.
    Waits,
    /// That depends on who asks: to be called again with the caller.
    AskWho,
}

/// A lock that is in the way of another, for F_GETLK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Which bytes.
    pub range: Range,
    /// How.
    pub kind: LockKind,
    /// By which process; none for what is no process's, as an OFD lock.
    pub pid: Option<Pid>,
}

impl Table {
    /// Locks a board through an open file, or tries to: without `wait` what
    /// would wait is refused. The caller is asked for only where it matters.
    ///
    /// # Errors
    /// `BusyNow` where another has it; `Deadlock`; `NoLocks` for too many
    /// ranges; for a board that is free, whatever keeps it from being taken
    /// again.
    pub fn lock(
        &mut self,
        now: &Now,
        call: &LockCall,
        kind: LockKind,
        wait: Option<WaitId>,
        caller: Option<&Caller>,
    ) -> Result<Tried, Refusal> {
        let open = self.opens.get(&call.handle).ok_or(Refusal::Gone)?;
        let (ino, claiming, side_of) = (open.ino, open.claiming, open.side_of);
        let node = self.node(ino)?;
        if node.is_directory() {
            return Err(Refusal::IsDirectory);
        }
        if let Some(wait) = wait
            && self.come_back(ino, call, kind, wait, now)
        {
            return Ok(Tried::Waits);
        }
        self.keeps_no_more(ino, |kept| kept.key() == call.key());
        let node = self.node(ino)?;
        let after = node.lock_after(call, kind, now.boot);
        if after.len() > RANGES_MAX {
            return self.turn_down(ino, caller, Refusal::NoLocks);
        }
        let fits = node.has_room_for(call, &after);
        let has = node.lock_of(call.key()).is_some();
        if let Err(refusal) = self.may_lock(ino, call, caller) {
            return self.turn_down(ino, caller, refusal);
        }
        let node = self.node(ino)?;
        match &node.claim {
            Some(claim) if claim.is_by_locks() => {
                // Who tries does not wait in line: nothing but a lock is in its
                // way, as with the kernel's own locks.
                let in_line = wait.is_some() && !node.has_lock_of(call) && !node.queue.is_empty();
                if fits && !in_line {
                    self.grant(ino, call, after, now);
                    return Ok(Tried::Granted);
                }
            }
            Some(claim) if claiming && side_of == Some(claim.id) => {
                if fits {
                    self.put_lock(ino, after.clone());
                }
                self.end_claim(ino, &End::Locked, now);
                if fits {
                    return Ok(Tried::Granted);
                }
            }
            Some(claim) => {
                let side = side_of == Some(claim.id)
                    || match caller {
                        Some(caller) => claim.on_side(caller),
                        None => return Ok(Tried::AskWho),
                    };
                if side && fits {
                    self.grant(ino, call, after, now);
                    return Ok(Tried::Granted);
                }
            }
            None => match self.may_take_back(ino, call.user, caller) {
                Ok(true) => {
                    self.take_back(ino, call.user);
                    self.grant(ino, call, after, now);
                    return Ok(Tried::Granted);
                }
                Ok(false) => {}
                Err(refusal) => return self.turn_down(ino, caller, refusal),
            },
        }
        // flock(2) is no atomic conversion: the old lock is gone before the new
        // one is waited for, or refused.
        if has && call.class == Class::Flock {
            self.drop_lock(ino, call.key(), now);
        }
        let Some(caller) = caller else {
            return Ok(Tried::AskWho);
        };
        // What it came by may be an inode of its own by now.
        let ino = self.opened(call.handle).ok_or(Refusal::Gone)?;
        let Some(wait) = wait else {
            return Err(self.refuse(self.in_the_way(ino), caller, Refusal::BusyNow));
        };
        if self.would_deadlock(ino, call, &after) {
            return Err(self.refuse(ino, caller, Refusal::Deadlock));
        }
        if !self.may_wait(call.user.uid) {
            return Err(self.refuse(ino, caller, Refusal::NoLocks));
        }
        self.line_up(ino, wait, call, kind, caller, now);
        // What it let go may have passed to its own process, which is not in its way.
        if self.has_room(ino, call, &after) {
            self.settle_board(ino, now);
        }
        Ok(Tried::Waits)
    }

    fn has_room(&self, ino: Ino, call: &LockCall, after: &FileLock) -> bool {
        let node = self.nodes.get(&ino);
        node.is_some_and(|node| node.claim.is_some() && node.has_room_for(call, after))
    }

    /// Refuses a lock once it is known who asks, for the log.
    fn turn_down(
        &mut self,
        ino: Ino,
        caller: Option<&Caller>,
        refusal: Refusal,
    ) -> Result<Tried, Refusal> {
        match caller {
            Some(caller) => Err(self.refuse(ino, caller, refusal)),
            None => Ok(Tried::AskWho),
        }
    }

    /// Whether the owner has just what this call asks for, so that it takes nothing:
    /// as one whom it was granted and who could not be told has when he asks anew.
    pub fn has_just(&self, call: &LockCall, kind: LockKind, now: &Now) -> bool {
        let open = self.opens.get(&call.handle);
        let node = open.and_then(|open| self.nodes.get(&open.ino));
        node.is_some_and(|node| {
            let after = node.lock_after(call, kind, now.boot);
            let lock = node.lock_of(call.key());
            lock.is_some_and(|lock| lock.locks_as(&after))
        })
    }

    /// Unlocks a range, or with flock(2) the file.
    ///
    /// # Errors
    /// `Gone` for an open file that is none.
    pub fn unlock(&mut self, now: &Now, call: &LockCall) -> Result<(), Refusal> {
        let ino = self.opened(call.handle).ok_or(Refusal::Gone)?;
        self.keeps_no_more(ino, |kept| kept.key() == call.key());
        let node = self.node(ino)?;
        let Some(lock) = node.lock_of(call.key()) else {
            return Ok(());
        };
        match (call.class, lock.less(call.range)) {
            (Class::Fcntl, Some(left)) if left.len() > RANGES_MAX => Err(Refusal::NoLocks),
            (Class::Fcntl, Some(left)) => {
                self.put_lock(ino, left);
                self.settle_board(ino, now);
                Ok(())
            }
            _ => {
                self.drop_lock(ino, call.key(), now);
                Ok(())
            }
        }
    }

    /// What is in the way of a lock, if anything is (F_GETLK). The outer None:
    /// that depends on who asks.
    ///
    /// # Errors
    /// `Gone` for an open file that is none.
    pub fn conflict(
        &self,
        call: &LockCall,
        kind: LockKind,
        caller: Option<&Caller>,
    ) -> Result<Option<Option<Conflict>>, Refusal> {
        let open = self.opens.get(&call.handle).ok_or(Refusal::Gone)?;
        let node = self.node(open.ino)?;
        let claim = match &node.claim {
            Some(claim) if !claim.is_by_locks() && open.side_of != Some(claim.id) => Some(claim),
            Some(_) => None,
            // Free: another inode may have its name.
            None => self.claim(self.in_the_way(open.ino)),
        };
        if let Some(claim) = claim {
            let Some(caller) = caller else {
                return Ok(None);
            };
            if !claim.on_side(caller) {
                return Ok(Some(Some(Conflict {
                    range: Range::ALL,
                    kind: LockKind::Exclusive,
                    pid: claim.holder.shown().first().map(|holder| holder.pid),
                })));
            }
        }
        let found = node
            .locks
            .iter()
            .find(|lock| excludes(lock, call, kind))
            .map(|lock| {
                let (range, kind) = lock.first(lock.kind());
                let pid = lock.pid;
                Conflict { range, kind, pid }
            });
        Ok(Some(found))
    }

    /// A process has closed a descriptor of an open file: its fcntl locks on
    /// that board are gone (fcntl(2), "Advisory record locking").
    pub fn flush(&mut self, now: &Now, handle: Handle, owner: LockOwner) {
        if let Some(ino) = self.opened(handle) {
            self.keeps_no_more(ino, |kept| kept.key() == Key::Owner(owner));
            self.drop_lock(ino, Key::Owner(owner), now);
        }
    }

    /// Whether this call and a lock that is in its way may be one process's: then
    /// it matters when that process started.
    pub fn may_be_own(&self, call: &LockCall) -> bool {
        call.pid.is_some()
            && self
                .opened(call.handle)
                .and_then(|ino| self.nodes.get(&ino))
                .is_some_and(|node| {
                    node.locks
                        .iter()
                        .any(|lock| lock.class() != call.class && lock.pid == call.pid)
                })
    }

    /// Whether file locks alone hold the board.
    pub fn is_by_locks(&self, ino: Ino) -> bool {
        self.claim(ino).is_some_and(Claim::is_by_locks)
    }

    /// Gives an owner its lock, and looks who can go on then.
    fn grant(&mut self, ino: Ino, call: &LockCall, after: FileLock, now: &Now) {
        self.give(ino, call, after, now);
        self.settle_board(ino, now);
    }

    /// Gives an owner its lock; with the first one, the board.
    pub(super) fn give(&mut self, ino: Ino, call: &LockCall, after: FileLock, now: &Now) {
        let first = self
            .nodes
            .get(&ino)
            .is_some_and(|node| node.lock_of(after.key).is_none());
        self.put_lock(ino, after);
        match self.claim(ino).map(Claim::is_by_locks) {
            None => self.hold_by_locks(ino, now),
            Some(true) if first => self.shared_with(ino, call),
            Some(_) => {}
        }
    }

    /// File locks alone hold the board from now on.
    pub(super) fn hold_by_locks(&mut self, ino: Ino, now: &Now) {
        let Some(node) = self.nodes.get(&ino) else {
            return;
        };
        let Some(lock) = node.locks.first() else {
            return;
        };
        let open = self.opens.get(&lock.handle);
        let user = open.map_or(node.last.0, |open| open.user);
        let (class, locker) = (lock.class(), lock.pid);
        let claim = Claim {
            id: self.new_claim(),
            holder: Holder::Files(Vec::new()),
            user,
            told: Arc::new(Told {
                command: String::new(),
                via: Chain(call_name(class).to_owned()),
            }),
            token: self.new_token(),
            since: *now,
            expiry: None,
            rare: Rare {
                locker,
                ..Rare::default()
            }
            .into(),
            named: false,
            as_made: false,
            ending: false,
            maker: user.uid,
        };
        self.charge(ino, user.uid);
        let names = self
            .nodes
            .get(&ino)
            .map(|node| node.names.to_vec())
            .unwrap_or_default();
        for (dir, name) in &names {
            let held = Held::new(self.path_of(*dir, name), &claim);
            self.effect(Effect::Acquired(held));
        }
        self.begin_claim(ino, claim);
    }

    /// One more shares the board.
    fn shared_with(&mut self, ino: Ino, call: &LockCall) {
        let token = self.new_token();
        let path = self.path(ino);
        let user: User = self
            .opens
            .get(&call.handle)
            .map_or(call.user, |open| open.user);
        let Some(claim) = self.claim_mut(ino) else {
            return;
        };
        claim.token = token;
        let mut held = Held::new(path, claim);
        held.user = user;
        held.maker = user.uid;
        held.holder = None;
        held.locker = call.pid;
        self.effect(Effect::Shared(held));
    }

    pub(super) fn put_lock(&mut self, ino: Ino, lock: FileLock) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            match node.locks.iter_mut().find(|old| old.key == lock.key) {
                Some(old) => *old = lock,
                None => node.locks.push(lock),
            }
        }
        self.changed(ino);
    }

    /// Takes an owner's lock away, if it has one.
    pub(super) fn drop_lock(&mut self, ino: Ino, key: Key, now: &Now) {
        self.drop_locks(ino, now, |lock| lock.key == key);
    }

    /// Takes locks away; with the last of them, where no claim holds the board,
    /// the board.
    pub(super) fn drop_locks(&mut self, ino: Ino, now: &Now, gone: impl Fn(&FileLock) -> bool) {
        let Some(node) = self.nodes.get_mut(&ino) else {
            return;
        };
        let before = node.locks.len();
        node.locks.retain(|lock| !gone(lock));
        if node.locks.len() == before {
            return;
        }
        self.changed(ino);
        if self.is_by_locks(ino) {
            self.locks_less(ino, now);
        } else {
            self.settle_board(ino, now);
        }
    }

    /// Whether the names of a free inode can be taken back: false while others
    /// have them.
    ///
    /// # Errors
    /// What keeps them from ever being taken, as the end of their directory.
    pub(super) fn may_take_back(
        &mut self,
        ino: Ino,
        user: User,
        caller: Option<&Caller>,
    ) -> Result<bool, Refusal> {
        let names = self.node(ino)?.aside.former.clone();
        if names.is_empty() {
            return Err(Refusal::Gone);
        }
        for (dir, name) in &names {
            if self.directory(*dir)?.get(name).is_some() {
                return Ok(false);
            }
        }
        for (dir, name) in &names {
            let above = self.node(*dir)?;
            if *dir != Ino::ROOT && above.names.is_empty() {
                return Err(Refusal::Gone);
            }
            let ours = |claim: &Claim| caller.is_some_and(|caller| claim.on_side(caller));
            if above.claim.as_ref().is_some_and(|claim| !ours(claim)) {
                return Err(Refusal::InsideAnothers);
            }
            if self.directory(*dir)?.is_target(name) {
                return Err(Refusal::LinkedTo);
            }
        }
        self.room_for(user.uid)?;
        Ok(true)
    }

    /// Takes the names of a free inode back.
    pub(super) fn take_back(&mut self, ino: Ino, user: User) {
        let names = self.forget_former(ino);
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.charged = user.uid;
        }
        for (dir, name) in names {
            self.add_name(dir, &name, ino);
        }
    }

    /// The inode that a lock on this one waits for.
    pub fn board_of(&self, ino: Ino) -> Ino {
        self.in_the_way(ino)
    }

    /// The inode whose hold keeps this one from being locked: that which has
    /// its name, if it is free.
    pub(super) fn in_the_way(&self, ino: Ino) -> Ino {
        let Some(node) = self.nodes.get(&ino).filter(|node| node.claim.is_none()) else {
            return ino;
        };
        node.aside
            .former
            .iter()
            .find_map(|(dir, name)| self.directory(*dir).ok()?.get(name))
            .unwrap_or(ino)
    }
}

impl Node {
    /// What this owner has of the board.
    pub(super) fn lock_of(&self, key: Key) -> Option<&FileLock> {
        self.locks.iter().find(|lock| lock.key == key)
    }

    /// Whether whoever calls has a lock already: he is not in line for the board,
    /// those who are wait for him.
    pub(super) fn has_lock_of(&self, call: &LockCall) -> bool {
        self.locks
            .iter()
            .any(|lock| lock.key == call.key() || is_own(lock, call))
    }

    /// What the owner will have once the call is granted.
    pub(super) fn lock_after(&self, call: &LockCall, kind: LockKind, made: BootTime) -> FileLock {
        match self.lock_of(call.key()) {
            Some(lock) if call.class == Class::Fcntl => lock.with(call, kind),
            _ => FileLock::new(call, kind, made),
        }
    }

    /// Whether no other lock excludes what the owner will have.
    pub(super) fn has_room_for(&self, call: &LockCall, after: &FileLock) -> bool {
        !self
            .locks
            .iter()
            .any(|lock| excludes(lock, call, after.kind()))
    }
}

/// Whether a lock is in the way of one of this kind. A process may have a flock
/// and an fcntl lock on the same board: its own is not.
pub(super) fn excludes(lock: &FileLock, call: &LockCall, kind: LockKind) -> bool {
    let exclusive = LockKind::Exclusive;
    let shares = kind != exclusive && lock.kind() != exclusive;
    lock.key != call.key() && !shares && !is_own(lock, call)
}

/// Whether a lock of the other call is of the same process, or of the same open
/// file.
fn is_own(lock: &FileLock, call: &LockCall) -> bool {
    let same_process = || {
        // A pid that is used again belongs to a process that started later.
        call.pid.is_some()
            && lock.pid == call.pid
            && call.started.is_some_and(|started| started <= lock.made)
    };
    lock.class() != call.class && (lock.handle == call.handle || same_process())
}

fn call_name(class: Class) -> &'static str {
    match class {
        Class::Flock => "flock(2)",
        Class::Fcntl => "fcntl(2)",
    }
}
