//! Holds: how a claim begins and ends, the names it has and the processes it
//! hangs on. Every way of acquiring and releasing comes down to these.

use std::collections::BTreeSet;

use super::claim::{Claim, Holder};
use super::effect::{Effect, End, Held};
use super::ids::{Gid, Ino, ProcessId, Uid, User};
use super::node::{Body, Directory, Node};
use super::refusal::Refusal;
use super::table::Table;
use super::time::Now;

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
    /// is still open, else a new one.
    pub(super) fn inode_for(&mut self, dir: Ino, name: &[u8], body: Body, now: &Now) -> Ino {
        if matches!(body, Body::File(_))
            && let Some(ino) = self.former.get(&(dir, name.into())).copied()
            && let Some(node) = self.nodes.get_mut(&ino)
        {
            node.body = body;
            for key in std::mem::take(&mut node.former) {
                self.former.remove(&key);
            }
            return ino;
        }
        self.last_ino += 1;
        let ino = Ino(self.last_ino);
        let nobody = User {
            uid: self.options.daemon,
            gid: Gid(0),
        };
        self.nodes.insert(
            ino,
            Node {
                body,
                names: Vec::new(),
                former: Vec::new(),
                opens: Vec::new(),
                claim: None,
                last: (nobody, now.wall),
            },
        );
        ino
    }

    /// Gives an inode a claim.
    pub(super) fn begin_claim(&mut self, ino: Ino, claim: Claim) {
        let lineage = claim.holder.lineage().to_vec();
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.last = (claim.user, claim.since.wall);
            node.claim = Some(claim);
        }
        self.hang_on(ino, &lineage);
        self.set_deadline(ino);
    }

    /// Gives a claimed inode a name, which counts among its user's.
    pub(super) fn add_name(&mut self, dir: Ino, name: &[u8], ino: Ino) {
        let Some(node) = self.nodes.get_mut(&ino) else {
            return;
        };
        node.names.push((dir, name.into()));
        let target = match &node.body {
            Body::Link(target) => Some(target.clone()),
            _ => None,
        };
        let charged = node.claim.as_ref().map(|claim| claim.charged);
        let key = (dir, name.into());
        if let Some(old) = self.former.remove(&key)
            && let Some(old) = self.nodes.get_mut(&old)
        {
            old.former.retain(|other| *other != key);
        }
        self.boards += 1;
        if let Some(uid) = charged {
            *self.per_user.entry(uid).or_default() += 1;
        }
        if let Some(directory) = self.nodes.get_mut(&dir).and_then(Node::directory_mut) {
            directory.insert(name.into(), ino);
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
        let charged = node.claim.as_ref().map(|claim| claim.charged);
        self.boards = self.boards.saturating_sub(1);
        if let Some(uid) = charged
            && let Some(count) = self.per_user.get_mut(&uid)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.per_user.remove(&uid);
            }
        }
        if let Some(directory) = self.nodes.get_mut(&dir).and_then(Node::directory_mut) {
            directory.remove(name);
            if let Some(target) = target {
                directory.drop_target(&target);
            }
        }
    }

    /// Ends a claim: all its names go, what was written goes, the board is
    /// free. The inode stays while it is open. Claimed directories without a
    /// holder that this empties go with it.
    pub(super) fn end_claim(&mut self, ino: Ino, end: &End, now: &Now) {
        let mut left = self.end_alone(ino, end, now);
        // Users nest directories as deep as they like: a loop, no recursion.
        while let Some(dir) = left.pop() {
            if self.is_over(dir) {
                left.extend(self.end_alone(dir, &End::Emptied, now));
            }
        }
    }

    /// Ends one claim and says which directories its names were in.
    fn end_alone(&mut self, ino: Ino, end: &End, now: &Now) -> Vec<Ino> {
        let Some(claim) = self.claim(ino).cloned() else {
            return Vec::new();
        };
        let names = self
            .nodes
            .get(&ino)
            .map(|node| node.names.clone())
            .unwrap_or_default();
        for (dir, name) in &names {
            let held = Held::new(self.path_of(*dir, name), &claim);
            self.tell_release(held, &claim, end, now);
            self.drop_name(*dir, name, ino);
        }
        self.let_go(ino, claim.holder.lineage());
        self.deadlines.set(ino, None);
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.last = (claim.user, claim.since.wall);
            node.claim = None;
            if let Body::File(content) = &mut node.body {
                content.clear();
            }
            if node.opens.is_empty() {
                self.nodes.remove(&ino);
            } else if node.is_file() {
                node.former = names.clone();
                for key in &names {
                    self.former.insert(key.clone(), ino);
                }
            }
        }
        names.into_iter().map(|(dir, _)| dir).collect()
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

    /// Whether this is a claimed directory without holder and boards.
    fn is_over(&self, dir: Ino) -> bool {
        self.nodes.get(&dir).is_some_and(|node| {
            node.directory().is_some_and(Directory::is_empty)
                && node
                    .claim
                    .as_ref()
                    .is_some_and(|claim| claim.holder == Holder::Gone)
        })
    }

    /// Forgets a free inode that nobody has open.
    pub(super) fn forget_if_unused(&mut self, ino: Ino) {
        let unused = self
            .nodes
            .get(&ino)
            .is_some_and(|node| ino != Ino::ROOT && node.names.is_empty() && node.opens.is_empty());
        if unused && let Some(node) = self.nodes.remove(&ino) {
            for key in node.former {
                self.former.remove(&key);
            }
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
