//! Holds: how one begins and ends, the names it has and the processes it
//! hangs on. Every way of acquiring and releasing comes down to these.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::claim::{Claim, Holder};
use super::effect::{Effect, End, Ended, Held};
use super::ids::{Gid, Handle, Ino, Pid, ProcessId, Uid, User};
use super::node::{Body, Directory, Name, Node};
use super::refusal::Refusal;
use super::table::Table;
use super::time::{Now, Timestamp};

/// How many free inodes of a user are remembered after they were closed, and how many
/// in all: about as many opens can be on their way at once.
pub(super) const BURIED: (usize, usize) = (64, 1024);

/// A free inode that nobody has open.
#[derive(Clone, Debug)]
pub(super) struct Buried {
    pub names: Vec<(Ino, Name)>,
    pub last: (User, Timestamp),
}

impl Table {
    /// Whether one more name fits, for this user.
    pub(super) fn room_for(&self, uid: Uid) -> Result<(), Refusal> {
        if self.boards >= self.options.max_boards {
            return Err(Refusal::TableFull);
        }
        match self.per_user.get(&uid) {
            Some(count) if *count >= self.options.max_per_user => Err(Refusal::UserFull),
            _ => Ok(()),
        }
    }

    /// The inode for a new board: that of the same name's last hold while it
    /// is still open, and known by no other name, else a new one.
    pub(super) fn inode_for(&mut self, dir: Ino, name: &[u8], body: Body, now: &Now) -> Ino {
        if matches!(body, Body::File(_))
            && let Some(rivals) = self.former.get(&(dir, name.into()))
            && let Some(ino) = rivals.iter().rev().copied().find(|ino| {
                let node = self.nodes.get(ino);
                node.is_some_and(|node| node.aside.former.len() == 1)
            })
        {
            self.forget_former(ino);
            if let Some(node) = self.nodes.get_mut(&ino) {
                node.body = body;
                return ino;
            }
        }
        let ino = self.new_ino();
        let nobody = User {
            uid: self.options.daemon,
            gid: Gid(0),
        };
        self.nodes.insert(ino, Node::new(body, (nobody, now.wall)));
        ino
    }

    /// A free inode is no longer what its names were last; those names.
    pub(super) fn forget_former(&mut self, ino: Ino) -> Vec<(Ino, Name)> {
        let names = self
            .nodes
            .get_mut(&ino)
            .map(|node| node.aside.change(|aside| aside.former.take()))
            .unwrap_or_default();
        for key in &names {
            if let Some(rivals) = self.former.get_mut(key) {
                rivals.retain(|rival| *rival != ino);
                if rivals.is_empty() {
                    self.former.remove(key);
                }
            }
        }
        names
    }

    /// Gives an inode a claim.
    pub(super) fn begin_claim(&mut self, ino: Ino, mut claim: Claim) {
        self.share(&mut claim);
        let lineage = claim.holder.lineage().to_vec();
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.last = (claim.user, claim.since.wall);
            node.claim = Some(claim);
            node.aside.change(|aside| aside.ended = None);
        }
        self.hang_on(ino, &lineage);
        self.set_deadline(ino);
        self.changed(ino);
    }

    /// What is the same for all claims of a process is kept once: a script that holds
    /// a thousand boards was found a thousand times in the same way.
    pub(super) fn share(&self, claim: &mut Claim) {
        let process = claim.holder.process();
        let Some(others) = process.and_then(|process| self.processes.get(&process)) else {
            return;
        };
        // The first and the last: that will do, and takes no time with thousands.
        for other in others.first().into_iter().chain(others.last()) {
            let Some(other) = self.claim(*other) else {
                continue;
            };
            if claim.told == other.told {
                claim.told = Arc::clone(&other.told);
            }
            if claim.holder == other.holder {
                claim.holder = other.holder.clone();
            }
        }
    }

    /// The names of an inode count among this user's from now on.
    pub(super) fn charge(&mut self, ino: Ino, uid: Uid) {
        let Some(node) = self.nodes.get_mut(&ino) else {
            return;
        };
        let (old, names) = (std::mem::replace(&mut node.charged, uid), node.names.len());
        self.count(old, 0, names);
        self.count(uid, names, 0);
    }

    fn count(&mut self, uid: Uid, more: usize, less: usize) {
        let count = self.per_user.entry(uid).or_default();
        *count = (*count + more).saturating_sub(less);
        if *count == 0 {
            self.per_user.remove(&uid);
        }
    }

    /// Gives an inode a name, which counts among its user's.
    pub(super) fn add_name(&mut self, dir: Ino, name: &[u8], ino: Ino) {
        let Some(node) = self.nodes.get_mut(&ino) else {
            return;
        };
        let called = Name::from(name);
        node.names.push((dir, Name::clone(&called)));
        let target = match &node.body {
            Body::Link(target) => Some(target.clone()),
            _ => None,
        };
        let charged = node.charged;
        if !node.laid_out {
            self.boards += 1;
            self.count(charged, 1, 0);
        }
        if let Some(directory) = self.nodes.get_mut(&dir).and_then(Node::directory_mut) {
            directory.insert(called, ino);
            if let Some(target) = target {
                directory.add_target(&target);
            }
        }
    }

    /// Takes a name from an inode. The claim is the caller's to end.
    pub(super) fn drop_name(&mut self, dir: Ino, name: &[u8], ino: Ino) {
        let Some(node) = self.nodes.get_mut(&ino) else {
            return;
        };
        node.names
            .retain(|(at, called)| !(*at == dir && **called == *name));
        let target = match &node.body {
            Body::Link(target) => Some(target.clone()),
            _ => None,
        };
        let charged = node.charged;
        if !node.laid_out {
            self.boards = self.boards.saturating_sub(1);
            self.count(charged, 0, 1);
        }
        if let Some(directory) = self.nodes.get_mut(&dir).and_then(Node::directory_mut) {
            directory.remove(name);
            if let Some(target) = target {
                directory.drop_target(&target);
            }
        }
    }

    /// Ends a hold. What holds the board next takes it over with its names: file
    /// locks that were made under the claim, or the first waiter. Else all its
    /// names go and the board is free; the inode stays while it is open.
    /// Claimed directories without a holder that this empties go with it.
    pub(super) fn end_claim(&mut self, ino: Ino, end: &End, now: &Now) {
        for part in self.part_names(ino) {
            self.end_part(part, end, now);
        }
    }

    /// The same for what is not to be parted any more.
    pub(super) fn end_part(&mut self, ino: Ino, end: &End, now: &Now) {
        let mut names = self.end_alone(ino, end, now);
        let mut freed = names.clone();
        // Users nest directories as deep as they like: a loop, no recursion.
        while let Some((dir, _)) = names.pop() {
            if self.is_over(dir) {
                let more = self.end_alone(dir, &End::Emptied, now);
                freed.extend(more.iter().cloned());
                names.extend(more);
            }
        }
        // The name that another inode replaces this one under is not free.
        if *end != End::Replaced {
            for (dir, name) in freed {
                self.name_is_free(dir, &name, now);
            }
        }
    }

    /// Ends one hold and says which names are free by that.
    fn end_alone(&mut self, ino: Ino, end: &End, now: &Now) -> Vec<(Ino, Name)> {
        let Some(claim) = self.claim(ino).cloned() else {
            return self.take_down(ino);
        };
        let names = self
            .nodes
            .get(&ino)
            .map(|node| node.names.to_vec())
            .unwrap_or_default();
        for (dir, name) in &names {
            let held = Held::new(self.path_of(*dir, name), &claim);
            self.tell_release(held, &claim, end, now);
        }
        self.let_go(ino, claim.holder.lineage());
        self.deadlines.set(ino, None);
        let Some(node) = self.nodes.get_mut(&ino) else {
            return Vec::new();
        };
        node.last = (claim.user, claim.since.wall);
        node.claim = None;
        let ended = Ended {
            how: end.how(),
            by: end.by(),
            at: now.wall,
        };
        node.aside.change(|aside| aside.ended = Some(ended));
        // Another may have this very inode next: who was forced out is told through his
        // own open files.
        if matches!(end, End::Forced { .. }) {
            let locked: Vec<Handle> = node.locks.iter().map(|lock| lock.handle).collect();
            for handle in &node.opens {
                if let Some(open) = self.opens.get_mut(handle)
                    && (open.side_of == Some(claim.id) || locked.contains(handle))
                {
                    open.ended = Some(ended);
                }
            }
        }
        // What was given back, or taken away, is not held by a lock either.
        if end.takes_locks() {
            node.locks.clear();
            self.keeps_no_more(ino, |_| true);
        }
        if *end != End::Locked
            && let Some(node) = self.nodes.get_mut(&ino)
            && let Body::File(content) = &mut node.body
        {
            content.clear();
        }
        self.changed(ino);
        if self.has_lock(ino) {
            self.hold_by_locks(ino, now);
            self.settle_board(ino, now);
            return Vec::new();
        }
        if *end != End::Replaced && !self.held_back && self.is_next(ino, &names) {
            self.settle_board(ino, now);
            return Vec::new();
        }
        for (dir, name) in &names {
            self.drop_name(*dir, name, ino);
        }
        self.decide_opens(ino, now);
        if let Some(node) = self.nodes.get_mut(&ino) {
            if node.opens.is_empty() {
                self.bury(ino, &names);
            } else if node.is_file() {
                node.aside
                    .change(|aside| aside.former = names.clone().into());
                for key in &names {
                    self.former.entry(key.clone()).or_default().push(ino);
                }
            }
        }
        names
    }

    /// Forgets a free inode, but for what [`Table::revive`] needs.
    fn bury(&mut self, ino: Ino, names: &[(Ino, Name)]) {
        if let Some(node) = self.nodes.remove(&ino)
            && node.is_file()
            && !names.is_empty()
        {
            let (names, last) = (names.to_vec(), node.last);
            self.put_buried(ino, Buried { names, last });
        }
    }

    pub(super) fn put_buried(&mut self, ino: Ino, buried: Buried) {
        if let Some(forgotten) = self.buried.insert(buried.last.0.uid, ino, buried) {
            // What is saved of it goes, too.
            self.nodes.remove(&forgotten);
        }
    }

    /// A file was freed between a process's looking it up and its opening it, for
    /// the second time: it is there again, free, for that open file. The kernel
    /// walks the path again only once, and a `flock b cmd` would fail because the
    /// board is free. The same for one that lost the name by which it was looked up,
    /// and has others: that has an inode of its own.
    pub(super) fn revive(&mut self, thread: Option<Pid>, ino: Ino) -> Ino {
        let walked = self.walk_of(thread, ino).cloned();
        let there = self.nodes.contains_key(&ino);
        let buried = match there {
            true => None,
            false => self.buried.remove(&ino),
        };
        let (names, last) = match (walked, buried) {
            (Some(walked), _) => (vec![walked.at], walked.last),
            (None, Some(buried)) => (buried.names, buried.last),
            (None, None) => return ino,
        };
        let free = if there { self.new_ino() } else { ino };
        self.nodes
            .insert(free, Node::new(Body::File(Vec::new()), last));
        self.was_called(free, names);
        free
    }

    /// A free inode had these names, and is not the last that had them: who makes one
    /// of them again gets another.
    pub(super) fn was_called(&mut self, ino: Ino, names: Vec<(Ino, Name)>) {
        for key in &names {
            self.former.entry(key.clone()).or_default().insert(0, ino);
        }
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.aside.change(|aside| aside.former = names.into());
        }
    }

    /// The number of a new inode.
    pub(super) fn new_ino(&mut self) -> Ino {
        self.last_ino += 1;
        Ino(self.last_ino)
    }

    fn has_lock(&self, ino: Ino) -> bool {
        self.nodes
            .get(&ino)
            .is_some_and(|node| !node.locks.is_empty())
    }

    /// Whether the first of those who wait for a board that was freed, under
    /// these names, waits for this inode.
    fn is_next(&self, ino: Ino, names: &[(Ino, Name)]) -> bool {
        let Some(first) = self.first_arrival(ino) else {
            return false;
        };
        !names
            .iter()
            .flat_map(|(dir, name)| self.rivals(*dir, name))
            .filter_map(|rival| self.first_arrival(rival))
            .any(|arrival| arrival < first)
    }

    pub(super) fn tell_release(&mut self, held: Held, claim: &Claim, end: &End, now: &Now) {
        self.effect(Effect::Released {
            held,
            end: end.clone(),
            after: now.boot.0.saturating_sub(claim.since.boot.0),
        });
    }

    /// A claimed directory whose holder is gone goes with its last board.
    pub(super) fn sweep(&mut self, dir: Ino, now: &Now) {
        if self.is_over(dir) {
            self.end_claim(dir, &End::Emptied, now);
        }
    }

    /// Whether this is a claimed directory without holder and boards, or one that the
    /// inventory has no longer, without boards.
    fn is_over(&self, dir: Ino) -> bool {
        self.nodes.get(&dir).is_some_and(|node| {
            node.directory().is_some_and(Directory::is_empty)
                && match &node.claim {
                    Some(claim) => claim.holder == Holder::Gone,
                    None => self.is_to_go(dir),
                }
        })
    }

    /// Forgets a free inode that nobody has open.
    pub(super) fn forget_if_unused(&mut self, ino: Ino) {
        let unused = self
            .nodes
            .get(&ino)
            .is_some_and(|node| ino != Ino::ROOT && node.names.is_empty() && node.opens.is_empty());
        if unused {
            let names = self.forget_former(ino);
            self.bury(ino, &names);
        }
    }

    /// Makes a claim hang on these processes.
    pub(super) fn hang_on(&mut self, ino: Ino, lineage: &[ProcessId]) {
        for process in lineage {
            if self.processes.entry(*process).or_default().insert(ino)
                && self.processes.get(process).map(BTreeSet::len) == Some(1)
            {
                self.effect(Effect::Watch(*process));
            }
        }
    }

    /// Makes a claim hang on these processes no more.
    pub(super) fn let_go(&mut self, ino: Ino, lineage: &[ProcessId]) {
        for process in lineage {
            let Some(claims) = self.processes.get_mut(process) else {
                continue;
            };
            claims.remove(&ino);
            if claims.is_empty() {
                self.processes.remove(process);
                self.effect(Effect::Unwatch(*process));
            }
        }
    }

    /// The claims that hang on a process.
    pub(super) fn claims_on(&self, process: ProcessId) -> Vec<Ino> {
        self.processes
            .get(&process)
            .map(|claims| claims.iter().copied().collect())
            .unwrap_or_default()
    }
}
