//! Acquiring a free board: by making a file, a directory, a symbolic link or a
//! second name (semantics.md, "Acquire, by call").

use std::sync::Arc;

use super::caller::{Caller, Chain, Standing};
use super::claim::{Claim, Holder, Told};
use super::content::Named;
use super::effect::{Effect, Held};
use super::ids::{Handle, Ino, Uid, User};
use super::node::{Body, check_name};
use super::open::OpenMode;
use super::rarely::Rarely;
use super::record::{self, Written};
use super::refusal::Refusal;
use super::table::Table;
use super::time::{Expiry, Now, Timestamp};

/// What a free board is claimed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Make {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link with this target.
    Link(Vec<u8>),
}

impl Table {
    /// Claims a free board by making it, for the caller; with `open`, also
    /// opens it (open(2) with O_CREAT).
    ///
    /// # Errors
    /// `Exists` when the name is taken; without `exclusive`, `Gone`: the kernel
    /// walks again, finds it and opens it. Else as the rules have it.
    pub fn make(
        &mut self,
        now: &Now,
        caller: &Caller,
        (dir, name): (Ino, &[u8]),
        make: Make,
        exclusive: bool,
        open: Option<OpenMode>,
    ) -> Result<(Ino, Option<Handle>), Refusal> {
        check_name(name).map_err(|refusal| self.deny(dir, name, caller, refusal))?;
        if let Some(ino) = self.directory(dir)?.get(name) {
            return Err(if exclusive {
                self.refuse(ino, caller, Refusal::Exists)
            } else {
                Refusal::Gone
            });
        }
        if let Make::Link(target) = &make
            && (target.contains(&b'/') || matches!(target.as_slice(), b"." | b".."))
        {
            return Err(self.deny(dir, name, caller, Refusal::TargetPath));
        }
        self.may_make(caller, dir, name)?;
        self.may_take(caller, dir, name)?;
        if let Make::Link(target) = &make {
            self.may_point(caller, (dir, name), target, None)?;
        }
        let (holder, user, told) = self
            .claimant(caller)
            .map_err(|refusal| self.deny(dir, name, caller, refusal))?;
        self.room_for(caller.uid())
            .map_err(|refusal| self.deny(dir, name, caller, refusal))?;

        let body = match make {
            Make::File => Body::File(Vec::new()),
            Make::Directory => Body::Directory(Box::default()),
            Make::Link(target) => Body::Link(target.into()),
        };
        let ino = self.inode_for(dir, name, body, now);
        let claim = self.new_hold(now, (holder, user, told), caller.uid());
        let held = Held::new(self.path_of(dir, name), &claim);
        self.charge(ino, caller.uid());
        self.begin_claim(ino, claim);
        self.add_name(dir, name, ino);
        self.limit(ino, now);
        self.effect(Effect::Acquired(held));
        let handle = open.map(|mode| self.add_claiming_open(now, ino, caller, mode));
        // Who waits for this inode may be on the side of whoever has it now.
        self.settle_board(ino, now);
        Ok((ino, handle))
    }

    /// Claims a board that was freed while it was opened for writing, twice: the
    /// kernel would not walk the path a third time. None where another has its
    /// name by now.
    ///
    /// # Errors
    /// As for making it.
    pub(super) fn claim_again(
        &mut self,
        now: &Now,
        caller: &Caller,
        ino: Ino,
        mode: OpenMode,
    ) -> Result<Option<Handle>, Refusal> {
        let free = self
            .nodes
            .get(&ino)
            .is_some_and(|node| node.is_file() && node.claim.is_none());
        if !free || !self.may_take_back(ino, caller.user, Some(caller))? {
            return Ok(None);
        }
        let names = self.node(ino)?.aside.former.clone();
        for (dir, name) in &names {
            self.may_take(caller, *dir, name)?;
        }
        let (holder, user, told) = self
            .claimant(caller)
            .map_err(|refusal| self.refuse(ino, caller, refusal))?;
        self.take_back(ino, caller.user);
        let claim = self.new_hold(now, (holder, user, told), caller.uid());
        let held = Held::new(self.path(ino), &claim);
        self.begin_claim(ino, claim);
        self.limit(ino, now);
        self.effect(Effect::Acquired(held));
        Ok(Some(self.add_claiming_open(now, ino, caller, mode)))
    }

    /// A claim that begins now.
    fn new_hold(
        &mut self,
        now: &Now,
        (holder, user, told): (Holder, User, Told),
        maker: Uid,
    ) -> Claim {
        Claim {
            id: self.new_claim(),
            holder,
            user,
            told: Arc::new(told),
            token: self.new_token(),
            since: *now,
            expiry: self.options.lease.map(|length| Expiry::lease(length, now)),
            rare: Rarely::default(),
            named: false,
            as_made: true,
            ending: false,
            maker,
        }
    }

    /// Takes over a lock file that lay in the lock directory before it was
    /// mounted: the board is claimed for whom its content names.
    ///
    /// # Errors
    /// As for making it.
    pub fn adopt(
        &mut self,
        now: &Now,
        name: &[u8],
        content: &[u8],
        user: User,
        named: Named,
    ) -> Result<(), Refusal> {
        check_name(name)?;
        if self.directory(Ino::ROOT)?.get(name).is_some() {
            return Err(Refusal::Exists);
        }
        self.room_for(user.uid)?;
        let (holder, user, command) = match named {
            Named::Process(found) => (
                Holder::Process(found.lineage.into()),
                found.user,
                found.command,
            ),
            Named::Detached => (Holder::Detached, user, String::new()),
        };
        let expiry = match record::judge(content) {
            Written::Both { expiry, .. } => {
                expiry.map(|moment| Expiry::At(Timestamp::from_secs(moment)))
            }
            _ => None,
        };
        let ino = self.inode_for(Ino::ROOT, name, Body::File(content.to_vec()), now);
        let claim = Claim {
            id: self.new_claim(),
            holder,
            user,
            told: Arc::new(Told {
                command,
                via: Chain("taken over".to_owned()),
            }),
            token: self.new_token(),
            since: *now,
            expiry,
            rare: Rarely::default(),
            named: !matches!(record::judge(content), Written::Note),
            as_made: false,
            ending: false,
            maker: user.uid,
        };
        let held = Held::new(name.to_vec(), &claim);
        self.charge(ino, user.uid);
        self.begin_claim(ino, claim);
        self.add_name(Ino::ROOT, name, ino);
        self.effect(Effect::Acquired(held));
        Ok(())
    }

    /// Gives a claim a second name, which is acquired with it (link(2)).
    ///
    /// # Errors
    /// `Exists` when the name is taken, before anything else: it is the one
    /// answer that link-style lockers know as "held". `Missing` for a free
    /// inode, `NotHolder` for another's, `NotPermitted` for a directory.
    pub fn link(
        &mut self,
        now: &Now,
        caller: &Caller,
        ino: Ino,
        (dir, name): (Ino, &[u8]),
    ) -> Result<(), Refusal> {
        check_name(name).map_err(|refusal| self.deny(dir, name, caller, refusal))?;
        if let Some(taken) = self.directory(dir)?.get(name) {
            return Err(self.refuse(taken, caller, Refusal::Exists));
        }
        let node = self.node(ino)?;
        if node.is_directory() {
            return Err(self.refuse(ino, caller, Refusal::NotPermitted));
        }
        let Some(claim) = &node.claim else {
            return Err(Refusal::Missing);
        };
        let charged = node.charged;
        // A lock on one name would be a lock on another that nobody asked for.
        if claim.is_by_locks() {
            return Err(self.refuse(ino, caller, Refusal::NotPermitted));
        }
        if !claim.movable_by(caller) {
            return Err(self.refuse(ino, caller, Refusal::NotHolder));
        }
        self.may_make(caller, dir, name)?;
        self.may_take(caller, dir, name)?;
        self.may_stand(caller, ino, (dir, name))?;
        self.room_for(charged)
            .map_err(|refusal| self.deny(dir, name, caller, refusal))?;
        self.add_name(dir, name, ino);
        self.acquired_again(now, ino, dir, name);
        Ok(())
    }

    /// A claim has a name that it did not have: that board is acquired now.
    pub(super) fn acquired_again(&mut self, now: &Now, ino: Ino, dir: Ino, name: &[u8]) {
        let token = self.new_token();
        let path = self.path_of(dir, name);
        let Some(claim) = self.claim_mut(ino) else {
            return;
        };
        claim.token = token;
        claim.since = *now;
        let held = Held::new(path, claim);
        self.effect(Effect::Acquired(held));
        self.limit(ino, now);
        self.changed(ino);
    }

    /// Whether the caller may put a new name into a directory: into a claimed
    /// one only its holder's side (`ln tmp board` into somebody's directory
    /// must not look like success), and nobody one that a symbolic link points
    /// to (`touch` follows links).
    pub(super) fn may_make(
        &mut self,
        caller: &Caller,
        dir: Ino,
        name: &[u8],
    ) -> Result<(), Refusal> {
        let node = self.node(dir)?;
        if dir != Ino::ROOT && node.names.is_empty() {
            return Err(Refusal::Gone);
        }
        if node
            .claim
            .as_ref()
            .is_some_and(|claim| !claim.on_side(caller))
        {
            return Err(self.refuse(dir, caller, Refusal::InsideAnothers));
        }
        self.may_be_called(dir, name)
            .map_err(|refusal| self.deny(dir, name, caller, refusal))?;
        if self.directory(dir)?.is_target(name) {
            return Err(self.deny(dir, name, caller, Refusal::LinkedTo));
        }
        Ok(())
    }

    /// Whether a symbolic link may have this name and target: one that led to
    /// another's board would let that other believe that it has both, as touch
    /// follows it. `link` is the link itself, if it is there already.
    fn may_point(
        &mut self,
        caller: &Caller,
        (dir, name): (Ino, &[u8]),
        target: &[u8],
        link: Option<Ino>,
    ) -> Result<(), Refusal> {
        let there = self
            .directory(dir)?
            .get(target)
            .filter(|there| target != name && Some(*there) != link);
        match there.map(|there| self.claim(there)) {
            None => Ok(()),
            Some(Some(claim)) if claim.held_by(caller) => Ok(()),
            Some(_) => Err(self.deny(dir, name, caller, Refusal::TargetTaken)),
        }
    }

    /// The same for an inode that gets a name, if it is a symbolic link.
    pub(super) fn may_stand(
        &mut self,
        caller: &Caller,
        ino: Ino,
        at: (Ino, &[u8]),
    ) -> Result<(), Refusal> {
        match self.node(ino)?.body.clone() {
            Body::Link(target) => self.may_point(caller, at, &target, Some(ino)),
            _ => Ok(()),
        }
    }

    /// Who holds a claim that this caller makes.
    fn claimant(&self, caller: &Caller) -> Result<(Holder, User, Told), Refusal> {
        let told = |command: String, via: Chain| Told { command, via };
        match &caller.standing {
            Standing::Process(candidate) if !candidate.lineage.is_empty() => Ok((
                Holder::Process(candidate.lineage.as_slice().into()),
                candidate.user,
                told(candidate.command.clone(), candidate.via.clone()),
            )),
            Standing::Process(_) | Standing::Orphan(_) => Err(Refusal::Orphan),
            Standing::Detached(via) => Ok((
                Holder::Detached,
                caller.user,
                told(String::new(), via.clone()),
            )),
            Standing::Unseen if self.options.lease.is_some() => Ok((
                Holder::Detached,
                caller.user,
                told(String::new(), Chain(caller.via().to_owned())),
            )),
            Standing::Unseen => Err(Refusal::Unseen),
        }
    }
}
