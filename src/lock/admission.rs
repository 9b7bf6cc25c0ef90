//! Who may take which board, and for how long, where there is an inventory. Every way by
//! which a hold begins asks here; what is held when the inventory changes stays.

use std::sync::Arc;
use std::time::Duration;

use super::boards::{Boards, Taker};
use super::caller::Caller;
use super::effect::{Effect, Held};
use super::file_lock::LockCall;
use super::ids::{Ino, User, WaitId};
use super::node::Name;
use super::refusal::Refusal;
use super::table::Table;
use super::time::{BootTime, Expiry, Now};

impl Table {
    /// These are the boards from now on; none: any name is one. To be followed by
    /// [`Table::lay_out`], and before that by restoring what was saved.
    pub fn know(&mut self, boards: Option<Arc<Boards>>) {
        self.inventory = boards;
    }

    /// What the inventory says, if there is one.
    pub fn inventory(&self) -> Option<&Arc<Boards>> {
        self.inventory.as_ref()
    }

    /// The boards of the inventory that nobody has, by path, in order.
    pub fn free_boards(&self) -> Vec<Vec<u8>> {
        let Some(boards) = &self.inventory else {
            return Vec::new();
        };
        let free = |path: &&[u8]| self.inode_of(path).is_none();
        let paths = boards.iter().map(|(path, _)| path);
        paths.filter(free).map(<[u8]>::to_vec).collect()
    }

    /// The inode of a path.
    pub fn inode_of(&self, path: &[u8]) -> Option<Ino> {
        let mut at = Ino::ROOT;
        for name in path.split(|byte| *byte == b'/') {
            at = self.directory(at).ok()?.get(name)?;
        }
        Some(at)
    }

    /// Whether names in this directory are for the inventory to judge; those in a
    /// claimed one are its holder's.
    fn is_listed(&self, dir: Ino) -> bool {
        dir == Ino::ROOT || self.nodes.get(&dir).is_some_and(|node| node.laid_out)
    }

    fn admits(&self, (dir, name): (Ino, &[u8]), takers: &[Taker<'_>]) -> Result<(), Refusal> {
        match &self.inventory {
            Some(boards) if self.is_listed(dir) => {
                boards.may_take(&self.path_of(dir, name), takers, self.options.daemon)
            }
            _ => Ok(()),
        }
    }

    /// Whether the caller may take a free name.
    ///
    /// # Errors
    /// `NoSuchBoard`, `OutOfService`, `NotAdmitted`, `LaidOut`, told already.
    pub(super) fn may_take(
        &mut self,
        caller: &Caller,
        dir: Ino,
        name: &[u8],
    ) -> Result<(), Refusal> {
        self.admits((dir, name), &caller.takers())
            .map_err(|refusal| self.deny(dir, name, caller, refusal))
    }

    /// Whether a lock may be given, or wait: whoever asks would come to have the board.
    /// Who has it may go on with it. `NotAdmitted` of a caller that is not known may turn
    /// out otherwise.
    pub(super) fn may_lock(
        &self,
        ino: Ino,
        call: &LockCall,
        caller: Option<&Caller>,
    ) -> Result<(), Refusal> {
        if self.inventory.is_none() {
            return Ok(());
        }
        let node = self.node(ino)?;
        let open = self.opens.get(&call.handle);
        let has_it = match &node.claim {
            _ if node.has_lock_of(call) => true,
            Some(claim) if !claim.is_by_locks() => {
                let sided = open.filter(|open| open.side_of == Some(claim.id));
                let on_side = || caller.is_some_and(|caller| claim.on_side(caller));
                // What runs on the holder's side for another may lock what he may.
                sided.is_some_and(|open| open.claiming)
                    || (claim.user.uid == call.user.uid && (sided.is_some() || on_side()))
            }
            _ => false,
        };
        if has_it {
            return Ok(());
        }
        let groups = caller.map_or(&[][..], |caller| &caller.groups.request);
        let mut takers = vec![(call.user, groups)];
        // The board would show as his. Of his groups no more is known than the first.
        let opener = open.map(|open| open.user);
        takers.extend(
            opener
                .filter(|opener| opener.uid != call.user.uid)
                .map(|opener| (opener, &[][..])),
        );
        let names: &[(Ino, Name)] = match node.names.is_empty() {
            true => &node.aside.former,
            false => &node.names,
        };
        names
            .iter()
            .try_for_each(|(dir, name)| self.admits((*dir, name), &takers))
    }

    /// Whether a hold of this board may go over to this user's process, which was
    /// written into it. Of its groups no more is known than the first.
    pub(super) fn may_have(&self, ino: Ino, user: User) -> Result<(), Refusal> {
        let Some(node) = self.nodes.get(&ino) else {
            return Ok(());
        };
        let same = |claim: &super::claim::Claim| claim.user.uid == user.uid;
        if node.claim.as_ref().is_some_and(same) {
            return Ok(());
        }
        node.names
            .iter()
            .try_for_each(|(dir, name)| self.admits((*dir, name), &[(user, &[])]))
    }

    /// Refuses those who wait for what they may not have any more.
    pub(super) fn turn_away(&mut self, now: &Now) {
        let mut waits: Vec<(u64, WaitId, Refusal)> = Vec::new();
        for (wait, waiter) in self.waiters.iter() {
            let may = self.may_lock(waiter.ino, &waiter.call, Some(&waiter.caller));
            if let Err(refusal) = may
                && refusal.is_by_inventory()
            {
                waits.push((waiter.arrival, *wait, refusal));
            }
        }
        waits.sort_unstable_by_key(|(arrival, ..)| *arrival);
        for (_, wait, refusal) in waits {
            if let Some(waiter) = self.waiters.get(&wait) {
                let (ino, caller) = (self.in_the_way(waiter.ino), waiter.caller.clone());
                self.refuse(ino, &caller, refusal);
            }
            self.leave(wait, refusal, now);
        }
    }

    /// What the inventory has to say about a refusal.
    pub(super) fn about(&self, path: &[u8], refusal: Refusal) -> Option<String> {
        self.inventory.as_ref()?.about(path, refusal)
    }

    /// The longest lease of the boards that an inode is.
    pub(super) fn longest_lease(&self, ino: Ino) -> Option<Duration> {
        let boards = self.inventory.as_ref()?;
        let names = &self.nodes.get(&ino)?.names;
        let listed = names.iter().filter(|(dir, _)| self.is_listed(*dir));
        listed
            .filter_map(|(dir, name)| boards.get(&self.path_of(*dir, name))?.longest_lease)
            .min()
    }

    /// An expiry as it may be: no later than the longest lease from now.
    pub(super) fn limited(&self, ino: Ino, expiry: Option<Expiry>, now: &Now) -> Option<Expiry> {
        let Some(longest) = self.longest_lease(ino) else {
            return expiry;
        };
        if expiry.is_none() && self.is_by_locks(ino) {
            return None;
        }
        Some(match expiry {
            None => Expiry::lease(longest, now),
            Some(Expiry::Lease { length, ends }) => Expiry::Lease {
                length: length.min(longest),
                ends: ends.min(BootTime(now.boot.0.saturating_add(longest))),
            },
            Some(Expiry::At(moment)) => Expiry::At(moment.min(now.wall.plus(longest))),
        })
    }

    /// A claim begins, or has another name: it is good for no longer than that allows.
    pub(super) fn limit(&mut self, ino: Ino, now: &Now) {
        let Some(claim) = self.claim(ino).filter(|claim| !claim.is_by_locks()) else {
            return;
        };
        let expiry = claim.expiry;
        if self.limited(ino, expiry, now) != expiry {
            self.set_expiry(ino, expiry, now);
        }
    }

    /// Tells of an expiry that somebody set and that was cut. It is not what the
    /// modification time was set to.
    pub(super) fn tell_cut(&mut self, ino: Ino, wanted: Option<Expiry>, limited: Option<Expiry>) {
        if !matches!(wanted, Some(Expiry::At(_))) || wanted == limited {
            return;
        }
        let Some(longest) = self.longest_lease(ino) else {
            return;
        };
        let path = self.path(ino);
        if let Some(claim) = self.claim_mut(ino) {
            claim.rare.change(|rare| rare.mtime = None);
            let held = Held::new(path, claim);
            self.effect(Effect::Cut { held, longest });
        }
    }
}
