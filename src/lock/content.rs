//! What is written into a board and read from it (semantics.md, "Metadata").

use std::sync::Arc;

use super::caller::{Caller, Candidate, Chain};
use super::claim::{ClaimId, Holder, Told};
use super::effect::{Effect, Held};
use super::ids::{Handle, Ino, Uid};
use super::node::Body;
use super::record::{self, Written};
use super::refusal::Refusal;
use super::table::Table;
use super::time::{Expiry, Now, Timestamp};

/// The most bytes that a board keeps.
pub const CONTENT_MAX: usize = 4096;

/// Of so many open files of a user it is kept what their reads show, those that
/// were read last: a program may read the start of as many as it likes, and leave
/// them open. The others show the rest of what is there when they are read on.
const SNAPSHOTS: usize = 256;

/// A write that was kept, and what it may mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Where.
    pub ino: Ino,
    /// In which hold.
    pub claim: ClaimId,
    /// The whole content, judged.
    pub written: Written,
}

/// Whom written content names, once the number in it was looked at.
#[derive(Clone, Debug)]
pub enum Named {
    /// The process with the number in it, by the rules for callers.
    Process(Candidate),
    /// Nobody: the claim is the user's.
    Detached,
}

impl Table {
    /// Writes through an open file. Whether what was written names a holder is
    /// for the caller of this to find out and to tell with [`Table::name`].
    ///
    /// # Errors
    /// `Busy` through a file that holds nothing; `TooLarge` past 4 KiB, with
    /// nothing changed.
    pub fn write(&mut self, handle: Handle, offset: u64, data: &[u8]) -> Result<Kept, Refusal> {
        let open = self.opens.get(&handle).ok_or(Refusal::Gone)?;
        let (ino, append) = (open.ino, open.append);
        if self.claim(ino).is_none() {
            return Err(Refusal::NotHeld);
        }
        if !self.may_write(handle, open) {
            return Err(Refusal::Busy);
        }
        let node = self.node_mut(ino)?;
        let (Some(claim), Body::File(content)) = (&mut node.claim, &mut node.body) else {
            return Err(Refusal::NotHeld);
        };
        // The kernel's idea of the end of the file may be old.
        let start = if append {
            content.len()
        } else {
            usize::try_from(offset).map_err(|_| Refusal::TooLarge)?
        };
        let end = start.checked_add(data.len()).ok_or(Refusal::TooLarge)?;
        if end > CONTENT_MAX {
            return Err(Refusal::TooLarge);
        }
        if content.len() < end {
            content.resize(end, 0);
        }
        content[start..end].copy_from_slice(data);
        claim.named = false;
        let kept = Kept {
            ino,
            claim: claim.id,
            // Under file locks alone content decides nothing.
            written: match claim.holder {
                Holder::Files(_) => Written::Note,
                _ => record::judge(content),
            },
        };
        if let Some(open) = self.opens.get_mut(&handle) {
            open.snapshot = None;
        }
        self.changed(ino);
        Ok(kept)
    }

    /// Tells of a write that was refused. Who wrote to another's board was
    /// refused that board.
    pub fn refuse_write(&mut self, caller: &Caller, handle: Handle, refusal: Refusal) {
        if let Some(ino) = self.opened(handle) {
            self.refuse(ino, caller, refusal);
        }
    }

    /// Cuts or stretches what was written.
    pub(super) fn resize(&mut self, ino: Ino, size: u64) -> Result<(), Refusal> {
        let size = usize::try_from(size)
            .ok()
            .filter(|size| *size <= CONTENT_MAX)
            .ok_or(Refusal::TooLarge)?;
        if let Body::File(content) = &mut self.node_mut(ino)?.body {
            content.resize(size, 0);
        }
        self.changed(ino);
        Ok(())
    }

    /// Whether written content may name this holder.
    ///
    /// # Errors
    /// What the inventory says of its user.
    pub fn may_name(&self, kept: &Kept, named: &Named) -> Result<(), Refusal> {
        match named {
            Named::Process(candidate) => self.may_have(kept.ino, candidate.user),
            Named::Detached => Ok(()),
        }
    }

    /// Written content names a holder, and an expiry with `EXPIRY PID`: they
    /// hold from now on, if the hold that it was written in still lasts and it
    /// was not written over meanwhile.
    pub fn name(&mut self, now: &Now, kept: &Kept, named: Named) {
        let content = self.content(kept.ino).unwrap_or_default();
        if record::judge(content) != kept.written
            || self.is_by_locks(kept.ino)
            || self.may_name(kept, &named).is_err()
        {
            return;
        }
        let lease = self.options.lease;
        let Some(claim) = self
            .claim_mut(kept.ino)
            .filter(|claim| claim.id == kept.claim)
        else {
            return;
        };
        let old = claim.holder.clone();
        claim.named = true;
        claim.as_made = false;
        claim.ending = false;
        match named {
            Named::Process(candidate) => {
                let holder = Holder::Process(candidate.lineage.into());
                let mut told = Told::clone(&claim.told);
                told.command = candidate.command;
                if holder.process() != old.process() {
                    told.via = Chain(format!("{} (written)", candidate.via));
                }
                claim.user = candidate.user;
                // Most name who holds already, of whom all is kept that there is to know.
                if holder != old {
                    claim.holder = holder;
                }
                if told != *claim.told {
                    claim.told = Arc::new(told);
                }
            }
            Named::Detached => {
                claim.holder = Holder::Detached;
                Arc::make_mut(&mut claim.told).command.clear();
            }
        }
        let (new, user, since) = (claim.holder.clone(), claim.user, claim.since.wall);
        let expiry = match (kept.written, claim.expiry) {
            (
                Written::Both {
                    expiry: Some(moment),
                    ..
                },
                _,
            ) => Some(Expiry::At(Timestamp::from_secs(moment))),
            // 0 takes back an expiry that was written before, not the lease
            // that the administrator wants.
            (Written::Both { expiry: None, .. }, Some(Expiry::At(_))) => {
                lease.map(|length| Expiry::lease(length, now))
            }
            (_, expiry) => expiry,
        };
        // The modification time tells the expiry, and that is a new one.
        if expiry != claim.expiry {
            claim.rare.change(|rare| rare.mtime = None);
        }
        if let Ok(node) = self.node_mut(kept.ino) {
            node.last = (user, since);
        }
        self.hang_on(kept.ino, new.lineage());
        let gone: Vec<_> = old
            .lineage()
            .iter()
            .copied()
            .filter(|process| !new.lineage().contains(process))
            .collect();
        self.let_go(kept.ino, &gone);
        if let Some(claim) = self.claim_mut(kept.ino)
            && claim.expiry != expiry
        {
            // Else a time set as the expiry before would go on showing.
            claim.rare.change(|rare| rare.mtime = None);
        }
        self.set_expiry(kept.ino, expiry, now);
        if new != old
            && let Some(claim) = self.claim(kept.ino)
        {
            let held = Held::new(self.path(kept.ino), claim);
            self.effect(Effect::Passed(held));
        }
        self.settle_board(kept.ino, now);
        self.expire(now);
    }

    /// The inode of an open file.
    pub fn opened(&self, handle: Handle) -> Option<Ino> {
        self.opens.get(&handle).map(|open| open.ino)
    }

    /// Whether a read through this file at `offset` shows something new: its
    /// first one, or one from the start again.
    pub fn wants_snapshot(&self, handle: Handle, offset: u64) -> bool {
        self.opens
            .get(&handle)
            .is_some_and(|open| offset == 0 || open.snapshot.is_none())
    }

    /// What was written, if anything was.
    pub fn content(&self, ino: Ino) -> Option<&[u8]> {
        match &self.nodes.get(&ino)?.body {
            Body::File(content) if !content.is_empty() => Some(content),
            _ => None,
        }
    }

    /// Sets what the reads of this open file show. Of a user's only some are kept.
    pub fn set_snapshot(&mut self, handle: Handle, text: Vec<u8>) {
        let Some(open) = self.opens.get_mut(&handle) else {
            return;
        };
        open.snapshot = Some(text);
        open.seen = self.nodes.get(&open.ino).map_or(0, |node| node.version);
        let kept = self.snapshots.entry(open.user.uid).or_default();
        kept.retain(|other| *other != handle);
        kept.push_back(handle);
        if kept.len() > SNAPSHOTS
            && let Some(oldest) = kept.pop_front()
            && let Some(open) = self.opens.get_mut(&oldest)
        {
            open.snapshot = None;
        }
    }

    /// An open file of this user is closed: what its reads showed is gone.
    pub(super) fn drop_snapshot(&mut self, handle: Handle, uid: Uid) {
        if let Some(kept) = self.snapshots.get_mut(&uid) {
            kept.retain(|other| *other != handle);
            if kept.is_empty() {
                self.snapshots.remove(&uid);
            }
        }
    }

    /// Reads from what the open file shows.
    pub fn read(&self, handle: Handle, offset: u64, size: usize) -> &[u8] {
        let text = self
            .opens
            .get(&handle)
            .and_then(|open| open.snapshot.as_deref())
            .unwrap_or_default();
        let start = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(text.len());
        let end = start.saturating_add(size).min(text.len());
        text.get(start..end).unwrap_or_default()
    }
}
