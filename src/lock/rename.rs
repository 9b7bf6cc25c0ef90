//! Renaming: one name is released, another acquired, at once.

use super::caller::Caller;
use super::effect::{End, Held};
use super::ids::Ino;
use super::node::{DEPTH_MAX, Directory, Name, PATH_MAX, check_name};
use super::refusal::Refusal;
use super::table::{Table, depth};
use super::time::Now;

/// The kinds of renameat2(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenameKind {
    /// Over what is there, if the caller may.
    Replace,
    /// RENAME_NOREPLACE.
    NoReplace,
    /// RENAME_EXCHANGE, RENAME_WHITEOUT.
    Other,
}

impl Table {
    /// Renames a claim. Its holder alone may (or the user of a detached one),
    /// to a free name or over a board that the caller holds.
    ///
    /// # Errors
    /// `RenameFlags` for kinds without meaning here; `NotHolder`; `Busy` when
    /// another has the new name, `Exists` for `NoReplace`.
    pub fn rename(
        &mut self,
        now: &Now,
        caller: &Caller,
        (old_dir, old_name): (Ino, &[u8]),
        (new_dir, new_name): (Ino, &[u8]),
        kind: RenameKind,
    ) -> Result<(), Refusal> {
        if kind == RenameKind::Other {
            return Err(Refusal::RenameFlags);
        }
        check_name(new_name).map_err(|refusal| self.deny(new_dir, new_name, caller, refusal))?;
        let ino = self.lookup(old_dir, old_name)?;
        let target = self.directory(new_dir)?.get(new_name);
        if let Some(target) = target
            && kind == RenameKind::NoReplace
        {
            return Err(self.refuse(target, caller, Refusal::Exists));
        }
        let Some(claim) = self.claim(ino).cloned() else {
            let refusal = self.of_the_claimless(ino, Refusal::NotHolder);
            return Err(self.refuse(ino, caller, refusal));
        };
        if !claim.movable_by(caller) {
            return Err(self.refuse(ino, caller, Refusal::NotHolder));
        }
        // rename(2): two names of one inode, nothing is done.
        if target == Some(ino) {
            return Ok(());
        }
        if self.is_within(new_dir, ino) {
            return Err(Refusal::BadValue);
        }
        // Before the directory is looked at: who is refused the board itself is
        // remembered for it.
        if let Some(target) = target {
            self.may_replace(caller, ino, target)?;
        }
        self.may_make(caller, new_dir, new_name)?;
        // Who has the board keeps it, whatever the inventory says by now.
        if target.is_none() {
            self.may_take(caller, new_dir, new_name)?;
        }
        self.may_stand(caller, ino, (new_dir, new_name))?;
        let inside = self.all_inside(ino);
        self.may_all_be_called(&inside, (old_dir, old_name), (new_dir, new_name))?;
        if let Some(target) = target {
            self.end_name(target, (new_dir, new_name), &End::Replaced, now);
        }
        for (dir, name, ino) in &inside {
            self.tell_renamed(now, *ino, *dir, name);
        }
        let (old, new) = (
            (old_dir, Name::from(old_name)),
            (new_dir, Name::from(new_name)),
        );
        let several = self.node(ino)?.names.len() > 1 && self.node(ino)?.is_file();
        // Of several names it loses one: who came by that goes on waiting for it.
        let part = match several {
            true => self.part_name(ino, &old, true),
            false => ino,
        };
        if part == ino {
            self.tell_renamed(now, ino, old_dir, old_name);
            self.drop_name(old_dir, old_name, ino);
        }
        self.add_name(new_dir, new_name, ino);
        self.called_anew(ino, &old, &new);
        self.acquired_again(now, ino, new_dir, new_name);
        // The boards in a directory have other names from now on, whose tokens
        // must grow too.
        for (dir, name, ino) in &inside {
            self.acquired_again(now, *ino, *dir, name);
        }
        if part == ino {
            self.name_is_free(old_dir, &old.1, now);
            self.sweep(old_dir, now);
        } else {
            self.end_part(part, &End::Renamed, now);
        }
        // Who was first in line may wait for the old name now, and not here.
        self.settle_board(ino, now);
        Ok(())
    }

    /// Whether the paths in a directory stay short enough when it moves.
    fn may_all_be_called(
        &self,
        inside: &[(Ino, Name, Ino)],
        (old_dir, old_name): (Ino, &[u8]),
        (new_dir, new_name): (Ino, &[u8]),
    ) -> Result<(), Refusal> {
        let old = self.path_of(old_dir, old_name);
        let new = self.path_of(new_dir, new_name);
        let too_long = |(dir, name, _): &(Ino, Name, Ino)| {
            let path = self.path_of(*dir, name);
            path.len().saturating_sub(old.len()) + new.len() > PATH_MAX
                || depth(&path).saturating_sub(depth(&old)) + depth(&new) > DEPTH_MAX
        };
        if inside.iter().any(too_long) {
            return Err(Refusal::LongName);
        }
        Ok(())
    }

    /// Whether `dir` is the directory `above` or below it.
    fn is_within(&self, dir: Ino, above: Ino) -> bool {
        let mut at = Some(dir);
        while let Some(here) = at {
            if here == above {
                return true;
            }
            let node = self.nodes.get(&here);
            at = node
                .and_then(|node| node.names.first())
                .map(|(dir, _)| *dir);
        }
        false
    }

    fn tell_renamed(&mut self, now: &Now, ino: Ino, dir: Ino, name: &[u8]) {
        if let Some(claim) = self.claim(ino).cloned() {
            let held = Held::new(self.path_of(dir, name), &claim);
            self.tell_release(held, &claim, &End::Renamed, now);
        }
    }

    /// The boards in a directory and in those in it; none in what is none.
    pub(super) fn all_inside(&self, top: Ino) -> Vec<(Ino, Name, Ino)> {
        let mut inside = Vec::new();
        let mut directories = vec![top];
        while let Some(dir) = directories.pop() {
            let Ok(directory) = self.directory(dir) else {
                continue;
            };
            for (_, name, ino) in directory.after(0) {
                inside.push((dir, name.clone(), ino));
                directories.push(ino);
            }
        }
        inside
    }

    fn may_replace(&mut self, caller: &Caller, ino: Ino, target: Ino) -> Result<(), Refusal> {
        let replaced = self.node(target)?;
        let ours = replaced
            .claim
            .as_ref()
            .is_some_and(|claim| claim.held_by(caller));
        let inside = replaced.directory();
        let directory = inside.is_some();
        let occupied = inside.is_some_and(|inside: &Directory| !inside.is_empty());
        if !ours {
            let refusal = self.of_the_claimless(target, Refusal::Busy);
            return Err(self.refuse(target, caller, refusal));
        }
        match (self.node(ino)?.is_directory(), directory) {
            (true, false) => Err(Refusal::NotDirectory),
            (false, true) => Err(Refusal::IsDirectory),
            _ if occupied => Err(Refusal::NotEmpty),
            _ => Ok(()),
        }
    }
}
