//! Expiry: which claims it ends, and when (semantics.md, "Release").

use std::collections::{BTreeSet, HashMap};

use super::claim::Holder;
use super::effect::End;
use super::ids::Ino;
use super::options::ExpireRule;
use super::table::Table;
use super::time::{BootTime, Expiry, Now, Timestamp};

/// The claims that time will end, earliest first, on each clock.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    of: HashMap<Ino, Expiry>,
    boot: BTreeSet<(BootTime, Ino)>,
    wall: BTreeSet<(Timestamp, Ino)>,
}

impl Deadlines {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.of.len()
    }

    /// Notes when time ends the claim on `ino`; never, with none.
    pub(super) fn set(&mut self, ino: Ino, expiry: Option<Expiry>) {
        match self.of.remove(&ino) {
            Some(Expiry::Lease { ends, .. }) => {
                self.boot.remove(&(ends, ino));
            }
            Some(Expiry::At(moment)) => {
                self.wall.remove(&(moment, ino));
            }
            None => {}
        }
        match expiry {
            Some(Expiry::Lease { ends, .. }) => {
                self.boot.insert((ends, ino));
            }
            Some(Expiry::At(moment)) => {
                self.wall.insert((moment, ino));
            }
            None => return,
        }
        if let Some(expiry) = expiry {
            self.of.insert(ino, expiry);
        }
    }
}

impl Table {
    /// When time next ends a claim, or an open's wait, on each clock.
    pub fn next_deadlines(&self) -> (Option<BootTime>, Option<Timestamp>) {
        let expiry = self.deadlines.boot.first().map(|(moment, _)| *moment);
        let recall = self.recall.first().map(|(moment, _)| *moment);
        let open = self.open_until.first().map(|(moment, _)| *moment);
        (
            expiry.into_iter().chain(open).chain(recall).min(),
            self.deadlines.wall.first().map(|(moment, _)| *moment),
        )
    }

    /// Ends the claims, and the waits of opens, whose time has come. What they stood in
    /// the place of is laid out.
    pub fn expire(&mut self, now: &Now) {
        if self.in_the_place {
            self.lay_out_missing(now);
        }
        while let Some((moment, ino)) = self.deadlines.boot.first().copied()
            && moment <= now.boot
        {
            self.deadlines.set(ino, None);
            self.lose(ino, &End::Expired, now);
        }
        self.expire_opens(now);
        self.recall(now);
        while let Some((moment, ino)) = self.deadlines.wall.first().copied()
            && moment <= now.wall
        {
            self.deadlines.set(ino, None);
            self.lose(ino, &End::Expired, now);
        }
    }

    /// Sets or takes away the expiry of a claim, as far as its board allows that.
    pub(super) fn set_expiry(&mut self, ino: Ino, expiry: Option<Expiry>, now: &Now) {
        let limited = self.limited(ino, expiry, now);
        if let Some(claim) = self.claim_mut(ino) {
            claim.expiry = limited;
        }
        self.tell_cut(ino, expiry, limited);
        self.changed(ino);
        self.set_deadline(ino);
    }

    /// Notes when time ends this claim: at its expiry if nobody lives to hold
    /// it, or if the administrator wants that for living holders too. A
    /// directory with boards in it stays as long as they do.
    pub(super) fn set_deadline(&mut self, ino: Ino) {
        let ends = self.nodes.get(&ino).and_then(|node| {
            let claim = node.claim.as_ref()?;
            let ends = match claim.holder {
                Holder::Detached => true,
                Holder::Process(_) => self.options.expire == ExpireRule::Hard,
                Holder::Gone | Holder::Files(_) => false,
            };
            claim.expiry.filter(|_| ends)
        });
        self.deadlines.set(ino, ends);
    }
}
