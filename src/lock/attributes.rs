//! What a board shows as a file and what of it can be set (semantics.md,
//! "Metadata").

use std::time::Duration;

use super::caller::Caller;
use super::claim::Holder;
use super::ids::{Handle, Ino, Pid, ProcessId, Uid, User};
use super::node::Body;
use super::options::{ExpireRule, ReleaseRule};
use super::refusal::Refusal;
use super::table::Table;
use super::time::{Expiry, LAST_SECOND, Now, Timestamp};

/// A modification time further ahead than this is an expiry.
const AHEAD: Duration = Duration::from_secs(2);

/// What stat(2) shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Its number.
    pub ino: Ino,
    /// What it is.
    pub kind: Kind,
    /// Bytes that were written; 0 while the content is the status.
    pub size: u64,
    /// The access time.
    pub atime: Timestamp,
    /// Until when the lock is good.
    pub mtime: Timestamp,
    /// When it was acquired.
    pub ctime: Timestamp,
    /// How many names it has: 0 for an open file of a free board.
    pub links: u32,
    /// Whose it is.
    pub user: User,
}

/// What an inode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
}

/// A time to be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    /// To now, as a plain `touch` does.
    Now,
    /// To a given moment.
    To(Timestamp),
}

/// What of a file is to be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Change {
    /// chmod(2).
    pub mode: bool,
    /// chown(2).
    pub owner: bool,
    /// truncate(2).
    pub size: Option<u64>,
    /// The access time.
    pub atime: Option<SetTime>,
    /// The modification time.
    pub mtime: Option<SetTime>,
}

impl Change {
    /// Whether it changes times, and nothing else.
    pub fn is_of_times(&self) -> bool {
        let others = self.mode || self.owner || self.size.is_some();
        !others && (self.atime.is_some() || self.mtime.is_some())
    }
}

impl Body {
    /// What this is.
    pub fn kind(&self) -> Kind {
        match self {
            Body::File(_) => Kind::File,
            Body::Directory(_) => Kind::Directory,
            Body::Link(_) => Kind::Link,
        }
    }
}

impl Table {
    /// What stat(2) shows of an inode.
    ///
    /// # Errors
    /// `Gone` when there is none.
    pub fn attributes(&self, ino: Ino, now: &Now) -> Result<Attributes, Refusal> {
        let node = self.node(ino)?;
        let claim = node.claim.as_ref();
        let good_until = claim.and_then(|claim| claim.good_until(now));
        let mtime = match claim.and_then(|claim| claim.rare.mtime) {
            // Set as an expiry that has passed: to tools that steal by age a
            // living holder's lock must look fresh.
            Some(set) if claim.is_some_and(|c| c.overdue(now) && is_expiry(c.expiry, set)) => {
                now.wall
            }
            Some(set) => set,
            None => good_until.unwrap_or(now.wall),
        };
        let size = match &node.body {
            Body::File(content) => content.len(),
            Body::Directory(_) => 0,
            Body::Link(target) => target.len(),
        };
        Ok(Attributes {
            ino,
            kind: node.body.kind(),
            size: size as u64,
            atime: claim.and_then(|claim| claim.rare.atime).unwrap_or(now.wall),
            mtime,
            ctime: self.acquired_at(node),
            links: match &node.body {
                // Directories do not count what is in them, as on btrfs.
                Body::Directory(_) if ino == Ino::ROOT => 1,
                _ => u32::try_from(node.names.len()).unwrap_or(u32::MAX),
            },
            user: claim.map_or(node.last.0, |claim| claim.user),
        })
    }

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// `Gone`, or `BadValue` for what is no link.
    pub fn target(&self, ino: Ino) -> Result<&[u8], Refusal> {
        match &self.node(ino)?.body {
            Body::Link(target) => Ok(target),
            _ => Err(Refusal::BadValue),
        }
    }

    /// Changes attributes, all of them or none. `handle` is the open file for
    /// ftruncate(2).
    ///
    /// # Errors
    /// `NotPermitted` for owner and for another's mode; `Busy` for time and
    /// size of another's board; `TooLarge`.
    pub fn change(
        &mut self,
        now: &Now,
        caller: &Caller,
        ino: Ino,
        handle: Option<Handle>,
        change: &Change,
    ) -> Result<(), Refusal> {
        let node = self.node(ino)?;
        let user = node.claim.as_ref().map_or(node.last.0, |claim| claim.user);
        if change.owner || (change.mode && !self.is_file_user(user.uid, caller)) {
            return Err(self.refuse(ino, caller, Refusal::NotPermitted));
        }
        let times = change.atime.is_some() || change.mtime.is_some();
        if !times && change.size.is_none() {
            return Ok(());
        }
        let Some(claim) = &node.claim else {
            return match () {
                // Judged by the open file, which holds nothing any more.
                () if change.size.is_some() && handle.is_some() => Err(Refusal::NotHeld),
                // Nobody is to believe that `touch` took it.
                () if node.laid_out => Err(self.refuse(ino, caller, Refusal::LaidOut)),
                () if ino != Ino::ROOT => Err(Refusal::Gone),
                () if self.is_file_user(user.uid, caller) => Ok(()),
                () => Err(Refusal::NotPermitted),
            };
        };
        let held = claim.held_by(caller);
        if times && !held && !self.is_making(ino, caller) {
            return Err(self.refuse(ino, caller, Refusal::Busy));
        }
        if let Some(size) = change.size {
            let opened = handle.and_then(|handle| Some((handle, self.opens.get(&handle)?)));
            let allowed = match opened {
                Some((handle, open)) => self.may_write(handle, open),
                None => held,
            };
            if !allowed {
                return Err(self.refuse(ino, caller, Refusal::Busy));
            }
            self.resize(ino, size)?;
        }
        self.set_times(now, ino, change);
        Ok(())
    }

    /// The process whose thread this is, if it made the hold of this inode by a file
    /// that it has still open, and holds as it did then: it may set its times.
    pub fn maker(&self, ino: Ino, thread: Pid) -> Option<ProcessId> {
        let node = self.nodes.get(&ino)?;
        let claim = node.claim.as_ref()?;
        claim.holder.process().filter(|_| claim.as_made)?;
        let files = node.opens.iter().filter_map(|file| self.opens.get(file));
        let mut made = files.filter(|open| open.claiming && open.side_of == Some(claim.id));
        let opener = made.find(|open| open.thread == Some(thread))?.opener?;
        // Of another thread of a process nothing tells that it is the same still.
        (opener.pid == thread).then_some(opener)
    }

    /// Sets the times of a hold, for the process that made it ([`Table::maker`]). False:
    /// it is no more what it was.
    pub fn change_made(&mut self, now: &Now, maker: ProcessId, ino: Ino, change: &Change) -> bool {
        if !change.is_of_times() || self.maker(ino, maker.pid) != Some(maker) {
            return false;
        }
        self.set_times(now, ino, change);
        true
    }

    fn set_times(&mut self, now: &Now, ino: Ino, change: &Change) {
        if let Some(mtime) = change.mtime {
            self.set_mtime(now, ino, mtime);
        }
        if let Some(atime) = change.atime
            && let Some(claim) = self.claim_mut(ino)
        {
            let atime = match atime {
                SetTime::Now => None,
                SetTime::To(moment) => Some(moment),
            };
            claim.rare.change(|rare| rare.atime = atime);
        }
    }

    fn set_mtime(&mut self, now: &Now, ino: Ino, mtime: SetTime) {
        let is_file = self.nodes.get(&ino).is_some_and(|node| node.is_file());
        let Some(claim) = self.claim_mut(ino) else {
            return;
        };
        let expiry = match (mtime, claim.expiry) {
            (SetTime::To(moment), _)
                if is_file && moment > now.wall.plus(AHEAD) && moment.secs <= LAST_SECOND =>
            {
                Some(Expiry::At(moment))
            }
            (SetTime::Now, Some(Expiry::Lease { length, .. })) => Some(Expiry::lease(length, now)),
            (_, expiry) => expiry,
        };
        let mtime = match mtime {
            SetTime::Now => None,
            SetTime::To(moment) => Some(moment),
        };
        claim.rare.change(|rare| rare.mtime = mtime);
        self.set_expiry(ino, expiry, now);
    }

    fn is_file_user(&self, uid: Uid, caller: &Caller) -> bool {
        let asks = caller.uid();
        asks == uid || asks == Uid::ROOT || asks == self.options.daemon
    }

    /// Sets or takes away the expiry by extended attribute; with `there` only
    /// if there is one, or none.
    ///
    /// # Errors
    /// `NotPermitted`, `Gone` for a free board, `BadValue` beyond the year
    /// 9999, `AttributeExists` and `NoAttribute` by `there`.
    pub fn set_expires(
        &mut self,
        now: &Now,
        caller: &Caller,
        ino: Ino,
        expires: Option<i64>,
        there: Option<bool>,
    ) -> Result<(), Refusal> {
        self.may_annotate(caller, ino)?;
        // With expire=hard an expiry that has passed releases.
        if self.options.expire == ExpireRule::Hard
            && let Some(claim) = self.claim(ino)
            && claim.holder.process().is_some()
            && self.may_release(claim, caller).is_err()
        {
            return Err(self.refuse(ino, caller, Refusal::NotPermitted));
        }
        let is_there = self.claim(ino).is_some_and(|claim| claim.expiry.is_some());
        as_wanted(is_there, there)?;
        if expires.is_some_and(|moment| !(1..=LAST_SECOND).contains(&moment)) {
            return Err(Refusal::BadValue);
        }
        if let Some(claim) = self.claim_mut(ino) {
            claim.rare.change(|rare| rare.mtime = None);
        }
        let expiry = match expires {
            Some(moment) => Some(Expiry::At(Timestamp::from_secs(moment))),
            // Without one of its own a claim has the administrator's lease.
            None => self.options.lease.map(|length| Expiry::lease(length, now)),
        };
        self.set_expiry(ino, expiry, now);
        self.expire(now);
        Ok(())
    }

    /// Has the lease begin anew, as a holder's `touch` does: for detached claims, which
    /// nobody touches. An expiry of its own that is later stays.
    ///
    /// # Errors
    /// `NotPermitted`, `Gone` for a free board, `NoAttribute` where no lease applies.
    pub fn renew(&mut self, now: &Now, caller: &Caller, ino: Ino) -> Result<(), Refusal> {
        self.may_annotate(caller, ino)?;
        let lease = self.options.lease.or(self.longest_lease(ino));
        let claim = self.claim_mut(ino).ok_or(Refusal::Gone)?;
        let length = match claim.expiry {
            Some(Expiry::Lease { length, .. }) => length,
            _ => lease.ok_or(Refusal::NoAttribute)?,
        };
        let renewed = Expiry::lease(length, now);
        let expiry = match claim.expiry {
            Some(own @ Expiry::At(moment)) if moment > renewed.wall(now) => own,
            _ => renewed,
        };
        claim.rare.change(|rare| rare.mtime = None);
        self.set_expiry(ino, Some(expiry), now);
        Ok(())
    }

    /// Sets or takes away the note by extended attribute; with `there` only if
    /// there is one, or none.
    ///
    /// # Errors
    /// `NotPermitted`, `Gone` for a free board, `TooLarge` past 4 KiB,
    /// `AttributeExists` and `NoAttribute` by `there`.
    pub fn set_note(
        &mut self,
        caller: &Caller,
        ino: Ino,
        note: Option<Vec<u8>>,
        there: Option<bool>,
    ) -> Result<(), Refusal> {
        self.may_annotate(caller, ino)?;
        let is_there = self
            .claim(ino)
            .is_some_and(|claim| claim.rare.note.is_some());
        as_wanted(is_there, there)?;
        if note
            .as_ref()
            .is_some_and(|note| note.len() > super::content::CONTENT_MAX)
        {
            return Err(Refusal::TooLarge);
        }
        if let Some(claim) = self.claim_mut(ino) {
            claim.rare.change(|rare| rare.note = note);
        }
        self.changed(ino);
        Ok(())
    }

    /// Expiry and note are the file's user's to set. Where only the holder's
    /// side releases, only it sets them while it lives: an expiry in the past
    /// would release.
    fn may_annotate(&mut self, caller: &Caller, ino: Ino) -> Result<(), Refusal> {
        let Some(claim) = self.node(ino)?.claim.as_ref() else {
            return Err(self.of_the_claimless(ino, Refusal::Gone));
        };
        let side_only = matches!(claim.holder, Holder::Process(_) | Holder::Files(_))
            && self.options.release == ReleaseRule::Holder;
        let allowed =
            claim.on_side(caller) || (!side_only && self.is_file_user(claim.user.uid, caller));
        if allowed {
            Ok(())
        } else {
            Err(self.refuse(ino, caller, Refusal::NotPermitted))
        }
    }
}

/// Whether something is there as the caller wants it: XATTR_CREATE that it is
/// not, XATTR_REPLACE that it is.
fn as_wanted(is_there: bool, wanted: Option<bool>) -> Result<(), Refusal> {
    match wanted {
        Some(true) if !is_there => Err(Refusal::NoAttribute),
        Some(false) if is_there => Err(Refusal::AttributeExists),
        _ => Ok(()),
    }
}

fn is_expiry(expiry: Option<Expiry>, moment: Timestamp) -> bool {
    expiry == Some(Expiry::At(moment))
}
