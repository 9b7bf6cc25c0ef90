//! Releasing a board (semantics.md, "Release").

use super::caller::{Caller, Standing};
use super::claim::{Claim, Holder};
use super::effect::{Effect, End, Held};
use super::ids::{Ino, ProcessId, Token};
use super::node::{Directory, Name};
use super::options::ReleaseRule;
use super::refusal::Refusal;
use super::table::Table;
use super::time::Now;

/// Programs that unlink a lock in order to take it: from anybody but the
/// holder's side that is theft, not release.
const UNLINK_TO_TAKE: [&str; 11] = [
    "cp",
    "mv",
    "install",
    "ln",
    "rsync",
    "sed",
    "mktemp",
    "dotlockfile",
    "lockfile",
    "lockfile-create",
    "shlock",
];

/// Those of them that never release. Of a detached claim its user's lock tools
/// take away what they made and give it back, the same programs for both.
const NEVER_RELEASE: [&str; 6] = ["cp", "mv", "install", "ln", "rsync", "sed"];

impl Table {
    /// Takes a name away (unlink(2); rmdir(2) with `directory`). With the last
    /// one the hold ends.
    ///
    /// # Errors
    /// `Missing`; `NotYours`, `UnlinksToTake`, `RefusedBefore`, `Orphan` by the
    /// rules of release; `NotEmpty`, `IsDirectory`, `NotDirectory`.
    pub fn unlink(
        &mut self,
        now: &Now,
        caller: &Caller,
        (dir, name): (Ino, &[u8]),
        directory: bool,
    ) -> Result<(), Refusal> {
        let ino = self.lookup(dir, name)?;
        let node = self.node(ino)?;
        match (node.directory(), directory) {
            (None, true) => return Err(Refusal::NotDirectory),
            (Some(_), false) => return Err(Refusal::IsDirectory),
            _ => {}
        }
        let Some(claim) = node.claim.clone() else {
            let refusal = self.of_the_claimless(ino, Refusal::NotYours);
            return Err(self.refuse(ino, caller, refusal));
        };
        if let Err(refusal) = self.may_release(&claim, caller) {
            return Err(self.refuse(ino, caller, refusal));
        }
        if node.directory().is_some_and(|inside| !inside.is_empty()) {
            return Err(Refusal::NotEmpty);
        }
        let end = End::Unlinked {
            program: caller.program.clone(),
            user: caller.user,
        };
        self.end_name(ino, (dir, name), &end, now);
        Ok(())
    }

    /// Ends the hold of this acquisition, wherever its board is by now; of an earlier
    /// or a later one nothing. Without `force` as [`Table::unlink`] does; with it also
    /// against what keeps its user, root and the daemon's user from that, with all
    /// its names, its locks, and the boards in it.
    ///
    /// # Errors
    /// `Missing` for a free board, `Gone` where another acquisition has it; `NotYours`;
    /// those of `unlink`.
    pub fn release(
        &mut self,
        now: &Now,
        caller: &Caller,
        at: (Ino, &[u8]),
        token: Token,
        force: bool,
    ) -> Result<(), Refusal> {
        let ino = self.lookup(at.0, at.1)?;
        let node = self.node(ino)?;
        let Some(claim) = node.claim.clone() else {
            return Err(self.refuse(ino, caller, Refusal::NotYours));
        };
        if claim.token != token {
            return Err(Refusal::Gone);
        }
        if !force {
            let directory = node.is_directory();
            return self.unlink(now, caller, at, directory);
        }
        self.may_force(ino, &claim, caller)?;
        let inside: Vec<Ino> = self
            .all_inside(ino)
            .into_iter()
            .map(|(.., ino)| ino)
            .collect();
        for board in &inside {
            if let Some(claim) = self.claim(*board).cloned() {
                self.may_force(*board, &claim, caller)?;
            }
        }
        let end = End::Forced { by: caller.user };
        // Directories after what is in them. One that has somebody waiting for a board
        // in it, who has that now, ends with the last of them.
        for board in inside.into_iter().rev().chain([ino]) {
            self.lose(board, &end, now);
        }
        Ok(())
    }

    fn may_force(&mut self, ino: Ino, claim: &Claim, caller: &Caller) -> Result<(), Refusal> {
        if claim.on_side(caller) || claim.is_for(caller.uid(), self.options.daemon) {
            Ok(())
        } else {
            Err(self.refuse(ino, caller, Refusal::NotYours))
        }
    }

    /// The directory and name that a path in the lock directory leads to.
    ///
    /// # Errors
    /// `Missing` where it leads nowhere, `NotDirectory`, `BadValue` for none.
    pub fn find<'a>(&self, path: &'a [u8]) -> Result<(Ino, &'a [u8]), Refusal> {
        let plain = |part: &&[u8]| !part.is_empty() && *part != b".";
        let mut parts = path.split(|byte| *byte == b'/').filter(plain).peekable();
        let mut dir = Ino::ROOT;
        while let Some(name) = parts.next() {
            if parts.peek().is_none() {
                return Ok((dir, name));
            }
            dir = self.lookup(dir, name)?;
        }
        Err(Refusal::BadValue)
    }

    /// Ends one name of a claim, and with the last one the claim.
    pub(super) fn end_name(&mut self, ino: Ino, (dir, name): (Ino, &[u8]), end: &End, now: &Now) {
        let Some(node) = self.nodes.get(&ino) else {
            return;
        };
        let Some(claim) = node.claim.clone().filter(|_| node.names.len() > 1) else {
            self.end_claim(ino, end, now);
            return;
        };
        let at = (dir, Name::from(name));
        let part = match node.is_file() {
            true => self.part_name(ino, &at, false),
            false => ino,
        };
        self.changed(ino);
        if part != ino {
            self.end_part(part, end, now);
            if self.is_by_locks(ino) {
                self.locks_less(ino, now);
            } else {
                // A lock that went with the name is in nobody's way here any more.
                self.settle_board(ino, now);
            }
            return;
        }
        let held = Held::new(self.path_of(dir, name), &claim);
        self.tell_release(held, &claim, end, now);
        self.drop_name(dir, name, ino);
        if *end != End::Replaced {
            self.name_is_free(dir, &at.1, now);
        }
        // Who was first in line may wait for the free name now, and not here.
        self.settle_board(ino, now);
        self.sweep(dir, now);
    }

    /// Whether the caller may release this claim.
    pub(super) fn may_release(&self, claim: &Claim, caller: &Caller) -> Result<(), Refusal> {
        if claim.on_side(caller) {
            return Ok(());
        }
        if !claim.is_for(caller.uid(), self.options.daemon) {
            return Err(Refusal::NotYours);
        }
        match claim.holder {
            Holder::Detached if NEVER_RELEASE.contains(&caller.program.as_str()) => {
                Err(Refusal::UnlinksToTake)
            }
            Holder::Detached | Holder::Gone => Ok(()),
            _ if self.options.release == ReleaseRule::Holder => Err(Refusal::NotYours),
            _ if UNLINK_TO_TAKE.contains(&caller.program.as_str()) => Err(Refusal::UnlinksToTake),
            // The `rm` of a script that was killed: it means the hold of that one,
            // which ended with it.
            _ if matches!(caller.standing, Standing::Orphan(_)) => Err(Refusal::Orphan),
            _ if claim.rare.refused.has_defeated(caller) => Err(Refusal::RefusedBefore),
            Holder::Process(_) | Holder::Files(_) => Ok(()),
        }
    }

    /// A process has ended: what hung on it alone is free.
    pub fn died(&mut self, process: ProcessId, now: &Now) {
        for ino in self.claims_on(process) {
            let Some(claim) = self.claim_mut(ino) else {
                continue;
            };
            let was_holder = claim.holder.process() == Some(process);
            let left: Vec<ProcessId> = claim
                .holder
                .lineage()
                .iter()
                .copied()
                .filter(|other| *other != process)
                .collect();
            if left.is_empty() {
                self.lose(ino, &End::Died, now);
                continue;
            }
            claim.holder = Holder::Process(left.into());
            claim.ending = false;
            let claim = claim.clone();
            self.let_go(ino, &[process]);
            // Whoever is on the new holder's side may go on.
            self.settle_board(ino, now);
            if was_holder {
                self.changed(ino);
                let held = Held::new(self.path(ino), &claim);
                self.effect(Effect::Passed(held));
            }
        }
    }

    /// Nobody is left to hold a claim: it ends, or, for a directory with
    /// boards in it, ends with the last of them.
    pub(super) fn lose(&mut self, ino: Ino, end: &End, now: &Now) {
        let occupied = self
            .nodes
            .get(&ino)
            .and_then(|node| node.directory())
            .is_some_and(|inside: &Directory| !inside.is_empty());
        if !occupied {
            self.end_claim(ino, end, now);
            return;
        }
        let Some(claim) = self.claim_mut(ino) else {
            return;
        };
        let holder = std::mem::replace(&mut claim.holder, Holder::Gone);
        self.let_go(ino, holder.lineage());
        self.set_deadline(ino);
    }
}
