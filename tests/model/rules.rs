//! The reference model, continued: what the contract says of each call.

use boardlock::lock::options::{ExpireRule, ReleaseRule};

use super::history::Mode;
use super::reference::{Expect, Hold, Holder, Model, Open, What, beside, parent};
use super::world::{Asks, Kind as Caller};

impl Model {
    /// Why a name cannot be made in its directory.
    fn place_refuses(&self, asks: &Asks, path: &str) -> Vec<i32> {
        let mut errors = Vec::new();
        if let Some(hold) = parent(path).and_then(|dir| self.hold(dir))
            && !hold.on_side(asks)
        {
            errors.push(libc::EBUSY);
        }
        let points_here = |(at, ino): (&String, &u64)| match &self.nodes[ino].what {
            What::Link(target) => beside(at, target) == path,
            _ => false,
        };
        if self.names.iter().any(points_here) {
            errors.push(libc::EBUSY);
        }
        errors
    }

    /// Why a symbolic link cannot stand here: touch of it would reach another's
    /// board, and succeed for its holder.
    /// `link` is a name that it has already, if it has one.
    fn link_refuses(&self, asks: &Asks, path: &str, what: &What, link: Option<&str>) -> Vec<i32> {
        let What::Link(target) = what else {
            return Vec::new();
        };
        let target = beside(path, target);
        let itself = target == path
            || link.is_some_and(|link| self.names.get(link) == self.names.get(&target));
        match self.hold(&target) {
            Some(hold) if !itself && !hold.held_by(asks) => vec![libc::EBUSY],
            _ => Vec::new(),
        }
    }

    fn quota_refuses(&self, uid: u32) -> Vec<i32> {
        let mut errors = Vec::new();
        if self.names.len() >= self.most {
            errors.push(libc::ENOSPC);
        }
        let hold_of = |ino: &u64| self.nodes[ino].hold.as_ref();
        let charged = |ino: &&u64| hold_of(ino).is_some_and(|hold| hold.charged == uid);
        if self.names.values().filter(charged).count() >= self.most_per_user {
            errors.push(libc::EDQUOT);
        }
        errors
    }

    /// Claiming a name by making it, whatever it becomes; the name is taken:
    /// EEXIST.
    pub fn judge_make(&self, asks: &Asks, path: &str, what: &What) -> Expect {
        if self.names.contains_key(path) {
            return Expect::No(vec![libc::EEXIST]);
        }
        let mut errors = self.place_refuses(asks, path);
        errors.extend(self.quota_refuses(asks.uid));
        errors.extend(self.link_refuses(asks, path, what, None));
        match asks.kind {
            Caller::Orphan => errors.push(libc::EPERM),
            Caller::Unseen if !self.lease => errors.push(libc::EPERM),
            _ => {}
        }
        if matches!(what, What::Link(target) if target.contains('/')) {
            errors.push(libc::EPERM);
        }
        Expect::of(errors)
    }

    /// Opening what is there.
    pub fn judge_open(&self, asks: &Asks, path: &str, mode: Mode) -> Expect {
        let Some(hold) = self.hold(path) else {
            return Expect::No(vec![libc::ENOENT]);
        };
        if !(mode.write || mode.truncate) || mode.append || hold.held_by(asks) {
            return Expect::Ok;
        }
        // What would wait is refused too, as long as nothing waits.
        Expect::No(vec![if mode.nonblock {
            libc::EAGAIN
        } else {
            libc::EBUSY
        }])
    }

    pub fn judge_open_directory(&self, asks: &Asks, path: &str, listing: bool) -> Expect {
        match self.hold(path) {
            None => Expect::No(vec![libc::ENOENT]),
            Some(_) if !self.is_directory(path) => Expect::No(vec![libc::ENOTDIR]),
            Some(hold) if !listing && !hold.on_side(asks) => Expect::No(vec![libc::EBUSY]),
            Some(_) => Expect::Ok,
        }
    }

    pub fn judge_link(&self, asks: &Asks, from: &str, to: &str) -> Expect {
        let Some(hold) = self.hold(from) else {
            return Expect::No(vec![libc::ENOENT]);
        };
        if self.names.contains_key(to) {
            return Expect::No(vec![libc::EEXIST]);
        }
        if self.is_directory(from) {
            return Expect::No(vec![libc::EPERM]);
        }
        let mut errors = self.place_refuses(asks, to);
        errors.extend(self.quota_refuses(hold.charged));
        errors.extend(self.link_refuses(asks, to, &self.nodes[&self.names[from]].what, Some(from)));
        if !hold.movable_by(asks) {
            errors.extend([libc::EPERM, libc::EBUSY]);
        }
        match Expect::of(errors) {
            // "Its user may link"; "an orphan claims nothing".
            Expect::Ok if asks.kind == Caller::Orphan => Expect::Any,
            expect => expect,
        }
    }

    pub fn judge_rename(&self, asks: &Asks, from: &str, to: &str, no_replace: bool) -> Expect {
        let Some(hold) = self.hold(from) else {
            return Expect::No(vec![libc::ENOENT]);
        };
        let mut errors = Vec::new();
        if !hold.movable_by(asks) {
            errors.extend([libc::EPERM, libc::EBUSY]);
        }
        if self.names.contains_key(to) && no_replace {
            return Expect::No(vec![libc::EEXIST]);
        }
        // rename(2): two names of one file, nothing is done.
        if self.names.get(from) == self.names.get(to) {
            return Expect::of(errors);
        }
        errors.extend(self.place_refuses(asks, to));
        errors.extend(self.link_refuses(asks, to, &self.nodes[&self.names[from]].what, Some(from)));
        if let Some(over) = self.hold(to) {
            if !over.held_by(asks) {
                errors.push(libc::EBUSY);
            }
            match (self.is_directory(from), self.is_directory(to)) {
                (true, false) => errors.push(libc::ENOTDIR),
                (false, true) => errors.push(libc::EISDIR),
                _ if self.occupied(to) => errors.push(libc::ENOTEMPTY),
                _ => {}
            }
        }
        match Expect::of(errors) {
            Expect::Ok if asks.kind == Caller::Orphan => Expect::Any,
            expect => expect,
        }
    }

    pub fn judge_unlink(&self, asks: &Asks, path: &str, directory: bool) -> Expect {
        let Some(hold) = self.hold(path) else {
            return Expect::No(vec![libc::ENOENT]);
        };
        match (self.is_directory(path), directory) {
            (true, false) => return Expect::No(vec![libc::EISDIR]),
            (false, true) => return Expect::No(vec![libc::ENOTDIR]),
            _ => {}
        }
        let (mut errors, sure) = self.release_refuses(hold, asks, path);
        if self.occupied(path) {
            errors.push(libc::ENOTEMPTY);
            if !sure {
                errors.push(libc::EPERM);
            }
        }
        match Expect::of(errors) {
            Expect::Ok if !sure => Expect::Any,
            expect => expect,
        }
    }

    /// Why the caller may not release; the flag says whether it is sure that
    /// the caller may, if there is no reason.
    fn release_refuses(&self, hold: &Hold, asks: &Asks, path: &str) -> (Vec<i32>, bool) {
        const STEALS: [&str; 3] = ["ln", "mv", "mktemp"];
        if hold.on_side(asks) {
            return (Vec::new(), true);
        }
        let lives = hold.process().is_some();
        let by_user = asks.uid == hold.uid || asks.uid == 0;
        if !by_user || (lives && self.release == ReleaseRule::Holder) {
            return (vec![libc::EPERM], true);
        }
        if !lives {
            // Copying over it is no way of giving back.
            let copies = hold.holder == Holder::Detached && ["ln", "mv"].contains(&asks.program);
            let errors = if copies {
                vec![libc::EPERM]
            } else {
                Vec::new()
            };
            return (errors, true);
        }
        if asks.kind == Caller::Orphan {
            return (vec![libc::EPERM], true);
        }
        let mut sure = true;
        for (board, processes, uid) in &hold.refused {
            let same = match asks.lineage.first() {
                Some(me) => processes.contains(me),
                None => false,
            };
            if same && board == path {
                return (vec![libc::EPERM], true);
            }
            // Another name of the claim, a sibling subshell, or a user that
            // was refused as such: the contract does not say.
            let akin = asks.lineage.iter().any(|one| processes.contains(one));
            let by_name = asks.lineage.is_empty() && processes.is_empty() && *uid == asks.uid;
            sure &= !(akin || by_name);
        }
        if STEALS.contains(&asks.program) {
            return (vec![libc::EPERM], true);
        }
        (Vec::new(), sure)
    }

    /// Times and size of the file at a path.
    pub fn judge_change(&self, asks: &Asks, path: &str, size: Option<u64>) -> Expect {
        let Some(hold) = self.hold(path) else {
            return Expect::No(vec![libc::ENOENT]);
        };
        match size {
            _ if !hold.held_by(asks) => Expect::No(vec![libc::EBUSY]),
            Some(size) if size > 4096 => Expect::No(vec![libc::EFBIG]),
            _ => Expect::Ok,
        }
    }

    /// Whether the requester itself made this hold by an open file that it
    /// still has: `touch` goes on to set the times of what it made.
    pub fn is_making(&self, asks: &Asks, path: &str) -> bool {
        let Some(hold) = self.hold(path) else {
            return false;
        };
        self.opens.values().any(|open| {
            open.claiming
                && open.hold == hold.id
                && asks.requester.is_some()
                && open.by.requester == asks.requester
        })
    }

    /// Writing (or truncating) through an open file.
    pub fn judge_write(&self, open: &Open, end: usize) -> Expect {
        let Some(hold) = self.nodes.get(&open.node).and_then(|n| n.hold.as_ref()) else {
            return Expect::No(Vec::new());
        };
        if open.side && open.hold == hold.id {
            return if end > 4096 {
                Expect::No(vec![libc::EFBIG])
            } else {
                Expect::Ok
            };
        }
        // Opened by who is on the side of a later holder: not said.
        if hold.on_side(&open.by) {
            return Expect::Any;
        }
        Expect::No(vec![libc::EBUSY])
    }

    /// Expiry and note by extended attribute.
    pub fn judge_annotate(&self, asks: &Asks, path: &str, past: bool) -> Expect {
        let Some(hold) = self.hold(path) else {
            return Expect::No(vec![libc::ENOENT]);
        };
        let by_user = asks.uid == hold.uid || asks.uid == 0;
        if hold.on_side(asks) {
            return Expect::Ok;
        }
        if !by_user {
            return Expect::No(vec![libc::EPERM]);
        }
        let frees = past && self.expire == ExpireRule::Hard;
        match hold.holder {
            Holder::Detached => Expect::Ok,
            Holder::Process(_) if frees && self.release == ReleaseRule::Holder => {
                Expect::No(vec![libc::EPERM])
            }
            _ => Expect::Any,
        }
    }
}
