//! Boards of one inode: `ln tmp b` gives a claim two names, and who came by either
//! believes that it is that board which it waits for, or locks. What each waits for
//! must not be given to it under another name, nor be kept from it once it is free.
//!
//! So an inode is one for several names only while somebody has it who knows all of
//! them, as the side of a claim does. A name that it loses, and each name when that
//! ends, is an inode of its own from then on, with the open files that came by it:
//! their locks, those that wait, and the opens that do. The kernel goes on to number
//! these open files as before; the table goes by the open file.

use std::collections::HashSet;

use super::claim::Claim;
use super::effect::End;
use super::few::Few;
use super::file_lock::Class;
use super::ids::{Handle, Ino, WaitId};
use super::node::{Body, Name, Node};
use super::open::Open;
use super::table::Table;
use super::time::Now;

impl Table {
    /// A name that an inode is about to lose while it keeps others is another inode's
    /// from now on, with what came by it; but for the open files of the holder's own,
    /// which are those of the other names too, and with `keep_locked` for those that
    /// have a lock. The inode that has the name now: the same, if nothing came by it.
    pub(super) fn part_name(&mut self, ino: Ino, at: &(Ino, Name), keep_locked: bool) -> Ino {
        self.know_all_names(ino);
        let Some(node) = self.nodes.get(&ino) else {
            return ino;
        };
        let is_locked = |handle: &Handle| node.locks.iter().any(|lock| lock.handle == *handle);
        let came = self.files_by(ino, Some(at));
        let came: HashSet<Handle> = match keep_locked {
            true => came.into_iter().filter(|file| !is_locked(file)).collect(),
            false => came,
        };
        // Who may know it by each of its names gets none before all are free.
        let may_be = |handle: &Handle| {
            let own = self
                .opens
                .get(handle)
                .zip(node.claim.as_ref())
                .is_some_and(|(open, claim)| is_own(open, claim));
            !own && !is_locked(handle)
        };
        let vague: HashSet<Handle> = self.files_by(ino, None);
        let vague: HashSet<Handle> = vague.into_iter().filter(may_be).collect();
        let names = node.names.to_vec();
        let opens = self.opens_wait_by(ino, at);
        if !vague.is_empty() {
            let waits = self.part(ino, &vague, None);
            self.was_called(waits, names);
        }
        if came.is_empty() && !opens {
            return ino;
        }
        let part = self.part(ino, &came, Some(at));
        self.move_name(at, ino, part);
        part
    }

    /// What several names have been held by ends: each is another inode's from now on,
    /// with what came by it, and what is held by each is to be ended by itself. Those
    /// inodes; only the one itself where somebody knows all names and has it locked, or
    /// is the next to have it.
    pub(super) fn part_names(&mut self, ino: Ino) -> Vec<Ino> {
        let mut parts = vec![ino];
        let several = self.nodes.get(&ino).is_some_and(|node| {
            node.is_file()
                && node.names.len() > 1
                && !(node.opens.is_empty() && node.aside.opening.is_empty())
        });
        if !several {
            return parts;
        }
        self.know_all_names(ino);
        let Some(node) = self.nodes.get(&ino) else {
            return parts;
        };
        let by = |handle: Handle| self.by(node, handle);
        let locked: Vec<_> = node.locks.iter().map(|lock| by(lock.handle)).collect();
        let first = node.queue.first().and_then(|wait| self.waiters.get(wait));
        let next = first.map(|waiter| by(waiter.call.handle));
        if locked.contains(&None) || (locked.is_empty() && next == Some(None)) {
            return parts;
        }
        // Who has it, or is the next to have it, keeps the number that the kernel knows.
        let stays = locked.into_iter().next().or(next).flatten().cloned();
        let names = node.names.to_vec();
        let Some(stays) = stays.or(names.first().cloned()) else {
            return parts;
        };
        let vague = self.files_by(ino, None);
        for at in names.iter().filter(|at| **at != stays) {
            let came = self.files_by(ino, Some(at));
            let part = self.part(ino, &came, Some(at));
            self.move_name(at, ino, part);
            parts.push(part);
        }
        if !vague.is_empty() {
            let waits = self.part(ino, &vague, None);
            self.was_called(waits, names);
        }
        parts
    }

    /// Locks were let go, and no claim holds the board: each of its names is held by
    /// who came by it, or free.
    pub(super) fn locks_less(&mut self, ino: Ino, now: &Now) {
        let has_lock = |table: &Table, ino: Ino| {
            let node = table.nodes.get(&ino);
            node.is_some_and(|node| !node.locks.is_empty())
        };
        if !has_lock(self, ino) {
            self.end_claim(ino, &End::Unlocked, now);
            return;
        }
        for part in self.part_names(ino) {
            if has_lock(self, part) {
                self.settle_board(part, now);
            } else {
                self.end_part(part, &End::Unlocked, now);
            }
        }
    }

    /// An inode has another name in place of one that it had.
    pub(super) fn called_anew(&mut self, ino: Ino, old: &(Ino, Name), new: &(Ino, Name)) {
        let Some(node) = self.nodes.get(&ino) else {
            return;
        };
        let (files, waiting) = (node.opens.to_vec(), node.aside.opening.to_vec());
        let other = |through: &Option<(Ino, Name)>| through.as_ref() == Some(old);
        for handle in files {
            if self
                .opens
                .get(&handle)
                .is_some_and(|open| other(&open.through))
                && let Some(open) = self.opens.get_mut(&handle)
            {
                open.through = Some(new.clone());
            }
        }
        for wait in waiting {
            if let Some(opening) = self.openings.get_mut(&wait)
                && other(&opening.through)
            {
                opening.through = Some(new.clone());
            }
        }
    }

    /// The inode that a request means which the kernel makes of an inode or, if it
    /// says so, of an open file: what came by one of several names may be another's by
    /// now. Where it may be several that have no name in common, one without any.
    pub fn meant(&self, ino: Ino, handle: Option<Handle>) -> Ino {
        if let Some(board) = handle.and_then(|handle| self.opened(handle)) {
            return board;
        }
        let node = self.nodes.get(&ino);
        let Some(elsewhere) = self.elsewhere.get(&ino) else {
            return ino;
        };
        if node.is_some_and(|node| !node.names.is_empty()) {
            return ino;
        }
        let here = node.filter(|node| !node.opens.is_empty()).map(|_| ino);
        let others = elsewhere.iter().filter_map(|handle| self.opened(*handle));
        let named = |ino: &Ino| {
            let node = self.nodes.get(ino);
            node.is_some_and(|node| !node.names.is_empty())
        };
        here.into_iter()
            .chain(others)
            .min_by_key(named)
            .unwrap_or(ino)
    }

    /// As which inode the kernel knows the files by which a board is locked.
    pub fn known_as(&self, ino: Ino) -> Ino {
        let node = self.nodes.get(&ino);
        node.and_then(|node| self.opens.get(&node.locks.first()?.handle)?.known_as)
            .unwrap_or(ino)
    }

    /// By which of its names an open file is one of an inode's; none for all of them.
    fn by<'a>(&'a self, node: &'a Node, handle: Handle) -> Option<&'a (Ino, Name)> {
        let through = self.opens.get(&handle)?.through.as_ref()?;
        node.names.iter().find(|name| *name == through)
    }

    /// The open files of an inode that came by this of its names; with none, by all.
    fn files_by(&self, ino: Ino, at: Option<&(Ino, Name)>) -> HashSet<Handle> {
        let Some(node) = self.nodes.get(&ino) else {
            return HashSet::new();
        };
        let files = node.opens.iter().copied();
        files.filter(|file| self.by(node, *file) == at).collect()
    }

    /// Whether opens wait that came by this name.
    fn opens_wait_by(&self, ino: Ino, at: &(Ino, Name)) -> bool {
        self.nodes.get(&ino).is_some_and(|node| {
            node.aside
                .opening
                .iter()
                .filter_map(|wait| self.openings.get(wait))
                .any(|opening| opening.through.as_ref() == Some(at))
        })
    }

    /// The open files of a claim's own side are of all its names, and so is a lock of
    /// fcntl(2) of a process that has open files by several.
    fn know_all_names(&mut self, ino: Ino) {
        let Some(node) = self.nodes.get(&ino) else {
            return;
        };
        let by = |handle: Handle| self.by(node, handle);
        let mut knowing = Vec::new();
        for handle in node.opens.iter().copied() {
            if let Some(open) = self.opens.get(&handle)
                && let Some(claim) = &node.claim
                && is_own(open, claim)
            {
                knowing.push(handle);
            }
        }
        for lock in &node.locks {
            let Some(pid) = lock.pid.filter(|_| lock.class() == Class::Fcntl) else {
                continue;
            };
            let is_its = |open: &Open| {
                open.thread == Some(pid) || open.opener.is_some_and(|opener| opener.pid == pid)
            };
            let several = node.opens.iter().any(|other| {
                by(*other) != by(lock.handle) && self.opens.get(other).is_some_and(is_its)
            });
            if several {
                knowing.push(lock.handle);
            }
        }
        for handle in knowing {
            if self
                .opens
                .get(&handle)
                .is_some_and(|open| open.through.is_some())
                && let Some(open) = self.opens.get_mut(&handle)
            {
                open.through = None;
            }
        }
    }

    /// Gives these open files of an inode one of their own, with their locks and what
    /// waits for one through them, and the opens that wait and came by this name.
    fn part(&mut self, ino: Ino, files: &HashSet<Handle>, at: Option<&(Ino, Name)>) -> Ino {
        let part = self.new_ino();
        let Some(node) = self.nodes.get_mut(&ino) else {
            return part;
        };
        let mut new = Node::new(Body::File(Vec::new()), node.last);
        new.charged = node.charged;
        // What was read through them is out of date.
        new.version = node.version.saturating_add(1);
        new.polled = node.polled;
        let is_its = |file: &Handle| files.contains(file);
        (new.opens, node.opens) = parted(&mut node.opens, is_its);
        (new.locks, node.locks) = parted(&mut node.locks, |lock| is_its(&lock.handle));
        let waiters = &mut self.waiters;
        (new.queue, node.queue) = parted(&mut node.queue, |wait| {
            let waiter = waiters.get(wait);
            waiter.is_some_and(|waiter| is_its(&waiter.call.handle))
        });
        let openings = &mut self.openings;
        let came_by_it = |wait: &WaitId| {
            let opening = openings.get(wait);
            at.is_some() && opening.is_some_and(|opening| opening.through.as_ref() == at)
        };
        let opening = node.aside.change(|aside| {
            let (goes, stays) = parted(&mut aside.opening, came_by_it);
            aside.opening = stays;
            goes
        });
        new.aside.change(|aside| aside.opening = opening);
        for file in &new.opens {
            if let Some(open) = self.opens.get_mut(file) {
                open.ino = part;
                let known_as = *open.known_as.get_or_insert(ino);
                self.elsewhere.entry(known_as).or_default().insert(*file);
            }
        }
        for wait in &new.queue {
            if let Some(waiter) = waiters.get_mut(wait) {
                waiter.ino = part;
            }
        }
        for wait in &new.aside.opening {
            if let Some(opening) = openings.get_mut(wait) {
                opening.ino = part;
            }
        }
        self.keep_at(ino, part, is_its);
        self.nodes.insert(part, new);
        self.changed(part);
        part
    }

    /// Moves a name to another inode of the same hold.
    fn move_name(&mut self, at: &(Ino, Name), from: Ino, to: Ino) {
        let id = self.new_claim();
        let Some(node) = self.nodes.get_mut(&from) else {
            return;
        };
        node.names.retain(|name| *name != *at);
        let claim = node.claim.clone();
        if let Some(node) = self.nodes.get_mut(&to) {
            node.names.push(at.clone());
            node.claim = claim.map(|claim| Claim { id, ..claim });
        }
        if let Some(directory) = self.nodes.get_mut(&at.0).and_then(Node::directory_mut) {
            directory.repoint(&at.1, to);
        }
    }
}

/// Those of a list that go, and those that stay.
fn parted<T>(all: &mut Few<T>, goes: impl FnMut(&T) -> bool) -> (Few<T>, Few<T>) {
    let (gone, stay): (Vec<T>, Vec<T>) = all.take().into_iter().partition(goes);
    (gone.into(), stay.into())
}

/// Whether an open file is one of those who hold a claim: they know its names.
fn is_own(open: &Open, claim: &Claim) -> bool {
    let lineage = claim.holder.lineage();
    !claim.is_by_locks()
        && (open.side_of == Some(claim.id)
            || lineage.iter().any(|holder| open.thread == Some(holder.pid)))
}
