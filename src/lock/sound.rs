//! What of a saved table makes sense. Nothing that is written here contradicts
//! itself; were it to, the table that comes of it must still give no board to two,
//! and the daemon must not break down over it whenever it is started.

use std::collections::{HashMap, HashSet, VecDeque};

use super::file_lock::{FileLock, Key as Owner, LockKind};
use super::ids::{Handle, Ino};
use super::node::check_name;
use super::restored::Return;
use super::saved::{Counters, Key, Saved, SavedBody, SavedHolder, SavedInode, Value};

/// No number gets as far by being given out.
const FAR: u64 = 1 << 62;

impl Saved {
    /// Without what contradicts the rest, and how much that was.
    pub(super) fn sound(mut self, how: Return) -> (Saved, usize) {
        let before = self.values.len();
        self.values.retain(|key, value| match (key, &*value) {
            (Key::Inode(ino), Value::Inode(_)) => *ino > Ino::ROOT && ino.0 < FAR,
            (Key::Inode(ino), Value::Free(free)) => {
                *ino > Ino::ROOT && ino.0 < FAR && are_names(&free.names)
            }
            (Key::Open(handle), Value::Open(_)) => handle.0 < FAR,
            (Key::Open(handle), Value::Named(_, name)) => {
                handle.0 < FAR
                    && name.known_as.is_none_or(|ino| ino.0 < FAR)
                    && name.through.as_ref().is_none_or(is_name)
            }
            (Key::Wait(_), Value::Wait(waiter)) => waiter.0.arrival < FAR,
            // Of what is no board: numbers that the table does not give out.
            (Key::Watcher(handle), Value::Watcher(_)) => handle.0 >= FAR,
            _ => false,
        });
        let mut lost = before - self.values.len();
        lost += self.keep_names();
        lost += self.keep_opens();
        lost += self.keep_claims(how);
        self.count();
        (self, lost)
    }

    fn inodes_mut(&mut self) -> impl Iterator<Item = (Ino, &mut SavedInode)> {
        self.values
            .iter_mut()
            .filter_map(|(key, value)| match (key, value) {
                (Key::Inode(ino), Value::Inode(inode)) => Some((*ino, inode)),
                _ => None,
            })
    }

    /// Names that lead down from the lock directory, each of one inode, and of a
    /// directory one only. What has a name is held, or a directory that was laid out,
    /// in nobody's.
    fn keep_names(&mut self) -> usize {
        let mut inside: HashMap<Ino, Vec<(u64, Ino, usize)>> = HashMap::new();
        let mut lost = 0;
        for (ino, inode) in self.inodes_mut() {
            for (at, (dir, name, place)) in inode.names.iter().enumerate() {
                let named = inode.claim.is_some() || inode.body == SavedBody::Directory;
                if named && check_name(name).is_ok() {
                    inside.entry(*dir).or_default().push((*place, ino, at));
                }
            }
            lost += usize::from(inode.claim.is_some() && inode.names.is_empty());
        }
        let mut kept: HashSet<(Ino, usize)> = HashSet::new();
        let mut entered = HashSet::new();
        let mut laid_out = HashSet::from([Ino::ROOT]);
        let mut dirs = VecDeque::from([Ino::ROOT]);
        while let Some(dir) = dirs.pop_front() {
            let mut names = inside.remove(&dir).unwrap_or_default();
            names.sort_unstable();
            let mut taken: HashSet<&[u8]> = HashSet::new();
            for (_, ino, at) in names {
                let Some(Value::Inode(inode)) = self.values.get(&Key::Inode(ino)) else {
                    continue;
                };
                let Some((_, name, _)) = inode.names.get(at) else {
                    continue;
                };
                let directory = inode.body == SavedBody::Directory;
                if taken.contains(&name[..])
                    || (inode.claim.is_none() && !laid_out.contains(&dir))
                    || (directory && !entered.insert(ino))
                {
                    continue;
                }
                if inode.claim.is_none() {
                    laid_out.insert(ino);
                }
                taken.insert(name);
                kept.insert((ino, at));
                if directory {
                    dirs.push_back(ino);
                }
            }
        }
        for (ino, inode) in self.inodes_mut() {
            let before = inode.names.len();
            let mut at = 0..before;
            inode
                .names
                .retain(|_| at.next().is_some_and(|at| kept.contains(&(ino, at))));
            lost += before - inode.names.len();
            if inode.names.is_empty() {
                inode.claim = None;
                inode.locks.clear();
                if let SavedBody::File(content) = &mut inode.body {
                    content.clear();
                }
            }
        }
        lost
    }

    /// Open files, but of directories, their locks and waiters; free inodes that are open.
    fn keep_opens(&mut self) -> usize {
        let before = self.values.len();
        let files: HashSet<Ino> = self
            .inodes_mut()
            .filter(|(_, inode)| inode.body != SavedBody::Directory)
            .map(|(ino, _)| ino)
            .collect();
        self.values.retain(|_, value| match value {
            Value::Open(open) | Value::Named(open, _) => files.contains(&open.0.ino),
            _ => true,
        });
        let opens: HashMap<Handle, Ino> = self
            .values
            .iter()
            .filter_map(|(key, value)| match (key, value) {
                (Key::Open(handle), Value::Open(open) | Value::Named(open, _)) => {
                    Some((*handle, open.0.ino))
                }
                _ => None,
            })
            .collect();
        let is_of = |handle: Handle, ino: Ino| opens.get(&handle) == Some(&ino);
        let open: HashSet<Ino> = opens.values().copied().collect();
        self.values.retain(|key, value| match (key, value) {
            (_, Value::Wait(waiter)) => is_of(waiter.0.call.handle, waiter.0.ino),
            (Key::Inode(ino), Value::Inode(inode)) => !inode.names.is_empty() || open.contains(ino),
            _ => true,
        });
        // A line is by number, so no two have one.
        let mut arrivals = HashSet::new();
        self.values.retain(|_, value| match value {
            Value::Wait(waiter) => arrivals.insert(waiter.0.arrival),
            _ => true,
        });
        let mut lost = before - self.values.len();
        for (ino, inode) in self.inodes_mut() {
            let before = inode.locks.len() + inode.former.len();
            let mut locks: Vec<FileLock> = Vec::new();
            for lock in inode.locks.drain(..) {
                let own = match lock.key {
                    Owner::File(handle) => handle == lock.handle,
                    Owner::Owner(_) => true,
                };
                let fits = !locks.iter().any(|other| contradicts(other, &lock));
                if own && fits && lock.is_sound() && is_of(lock.handle, ino) {
                    locks.push(lock);
                }
            }
            inode.locks = locks;
            let mut seen = HashSet::new();
            let free = inode.names.is_empty();
            inode.former.retain(|(dir, name)| {
                free && dir.0 < FAR && check_name(name).is_ok() && seen.insert((*dir, name.clone()))
            });
            lost += before - inode.locks.len() - inode.former.len();
        }
        lost
    }

    /// Holds that are one inode's each, of who can hold that.
    fn keep_claims(&mut self, how: Return) -> usize {
        let mut lost = 0;
        let mut seen = HashSet::new();
        for (_, inode) in self.inodes_mut() {
            let directory = inode.body == SavedBody::Directory;
            let Some(claim) = &mut inode.claim else {
                continue;
            };
            let can = match &mut claim.holder {
                SavedHolder::Process(lineage) => {
                    let mut before = HashSet::new();
                    lineage.retain(|process| before.insert(*process));
                    true
                }
                SavedHolder::Detached => true,
                SavedHolder::Gone => directory,
                // On another connection it is who opened the locked files.
                SavedHolder::Files => {
                    !directory && (how != Return::Connected || !inode.locks.is_empty())
                }
            };
            if !can {
                // With nobody left to hold it, it ends.
                claim.holder = SavedHolder::Process(Vec::new());
                lost += 1;
            }
            claim.token.0 = near(claim.token.0);
            if claim.id >= FAR || !seen.insert(claim.id) {
                lost += 1;
                claim.id = 0;
            }
        }
        let counted = near(self.counters.claim);
        let mut last = seen.into_iter().fold(counted, u64::max);
        for (_, inode) in self.inodes_mut() {
            if let Some(claim) = &mut inode.claim
                && claim.id == 0
            {
                last += 1;
                claim.id = last;
            }
        }
        lost
    }

    /// No number that is in use is given out again.
    fn count(&mut self) {
        let Counters {
            ino,
            handle,
            token,
            claim,
        } = &mut self.counters;
        for number in [&mut *ino, &mut *handle, &mut *token, &mut *claim] {
            *number = near(*number);
        }
        for (key, value) in &self.values {
            match (key, value) {
                (Key::Inode(of), Value::Inode(inode)) => {
                    let dirs = inode.former.iter().map(|(dir, _)| dir.0);
                    *ino = dirs.fold((*ino).max(of.0), u64::max);
                    if let Some(held) = &inode.claim {
                        *claim = (*claim).max(held.id);
                        *token = (*token).max(held.token.0);
                    }
                }
                (Key::Inode(of), Value::Free(free)) => {
                    let dirs = free.names.iter().map(|(dir, _)| dir.0);
                    *ino = dirs.fold((*ino).max(of.0), u64::max);
                }
                (Key::Open(of), Value::Named(_, name)) => {
                    *handle = (*handle).max(of.0);
                    let through = name.through.iter().map(|(dir, _)| dir.0);
                    let others = through.chain(name.known_as.map(|ino| ino.0));
                    *ino = others.fold(*ino, u64::max);
                }
                (Key::Open(of), _) => *handle = (*handle).max(of.0),
                _ => {}
            }
        }
    }
}

fn is_name((dir, name): &(Ino, Vec<u8>)) -> bool {
    dir.0 < FAR && check_name(name).is_ok()
}

fn are_names(names: &[(Ino, Vec<u8>)]) -> bool {
    let each: HashSet<&(Ino, Vec<u8>)> = names.iter().collect();
    !names.is_empty() && each.len() == names.len() && names.iter().all(is_name)
}

/// A number that can be gone on from.
fn near(number: u64) -> u64 {
    match number {
        FAR.. => FAR / 2,
        near => near,
    }
}

/// Whether two locks of one board cannot both be had.
fn contradicts(one: &FileLock, other: &FileLock) -> bool {
    let shared = one.kind() == LockKind::Shared && other.kind() == LockKind::Shared;
    // A process may have one by each call.
    let own = one.class() != other.class()
        && (one.handle == other.handle || (one.pid.is_some() && one.pid == other.pid));
    one.key == other.key || !(shared || own)
}
