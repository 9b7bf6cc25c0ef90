//! Open files of boards (semantics.md, "Opening a held board for writing").

use serde::{Deserialize, Serialize};

use super::caller::Caller;
use super::claim::ClaimId;
use super::effect::Ended;
use super::ids::{Handle, Ino, Pid, ProcessId, User, WaitId};
use super::node::{Body, Name};
use super::options::OpenRule;
use super::refusal::Refusal;
use super::table::Table;
use super::time::{BootTime, Now};
use super::walked::Came;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct OpenMode {
    /// For writing.
    pub write: bool,
    /// O_APPEND.
    pub append: bool,
    /// O_TRUNC.
    pub truncate: bool,
    /// O_NONBLOCK.
    pub nonblock: bool,
    /// The kernel walks the path for it a second time, and the last: it was
    /// answered `Gone` before.
    pub again: bool,
    /// Nobody can make a file in its directory while it waits.
    pub brief: bool,
}

impl OpenMode {
    /// Whether an open like this is refused of a board that another holds. Others
    /// are to read, or to lock next.
    fn wants_board(self) -> bool {
        (self.write || self.truncate) && !self.append
    }
}

/// What became of an open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// There is an open file.
    Done(Handle),
    /// The caller waits; [`super::effect::Effect::Answer`] tells how it ends.
    Waits,
}

/// What an open comes to as things are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// An open file on the holder's side: O_TRUNC counts.
    Theirs,
    /// An open file, which may hold nothing.
    Opens,
    /// That is not decided.
    Waits,
}

/// An open file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Open {
    pub ino: Ino,
    /// The process that opened it, where that was looked at.
    pub opener: Option<ProcessId>,
    /// The thread that opened it, when, and for whom.
    pub thread: Option<Pid>,
    pub opened: BootTime,
    pub user: User,
    /// The hold on whose side it was opened: what is written through it counts
    /// while that hold lasts. None for one that holds nothing.
    pub side_of: Option<ClaimId>,
    /// Whether opening it made that hold.
    pub claiming: bool,
    pub append: bool,
    /// The name by which its opener knows the board; none where that is each that
    /// the inode has.
    #[serde(skip)]
    pub through: Option<(Ino, Name)>,
    /// The inode as which the kernel knows it, where that is another by now.
    #[serde(skip)]
    pub known_as: Option<Ino>,
    /// What its reads show.
    #[serde(skip)]
    pub snapshot: Option<Vec<u8>>,
    /// The version of its board that they show; 0 before the first.
    #[serde(skip)]
    pub seen: u64,
    /// Whether a change of the board is to be told.
    #[serde(skip)]
    pub polled: bool,
    /// The number by which the kernel knows who polls it.
    pub poller: Option<u64>,
    /// How the hold was ended by force on whose side it was.
    #[serde(skip)]
    pub ended: Option<Ended>,
}

impl Table {
    /// Opens a board that is there; without `wait` what would wait is refused.
    ///
    /// # Errors
    /// `Gone` for one that was freed, or lost the name, since it was looked up. For writing, when
    /// another holds it: `Busy`, or `BusyNow` with O_NONBLOCK; O_APPEND opens,
    /// and holds nothing.
    pub fn open(
        &mut self,
        now: &Now,
        caller: &Caller,
        ino: Ino,
        mode: OpenMode,
        wait: Option<WaitId>,
    ) -> Result<Opened, Refusal> {
        let gone = match self.nodes.contains_key(&ino) {
            true => self.came(caller.thread, ino) == Came::ByAnother,
            false => mode.again,
        };
        if !gone {
            return self.open_found(now, caller, ino, mode, wait);
        }
        if !mode.again {
            return Err(Refusal::Gone);
        }
        let free = self.revive(caller.thread, ino);
        let opened = self.open_found(now, caller, free, mode, wait);
        // It was refused, or what has the name by now was opened.
        self.forget_if_unused(free);
        opened
    }

    fn open_found(
        &mut self,
        now: &Now,
        caller: &Caller,
        ino: Ino,
        mode: OpenMode,
        wait: Option<WaitId>,
    ) -> Result<Opened, Refusal> {
        if mode.again
            && mode.wants_board()
            && let Some(handle) = self.claim_again(now, caller, ino, mode)?
        {
            return Ok(Opened::Done(handle));
        }
        // Another inode has its name by now: what is opened is that board.
        let board = self.in_the_way(ino);
        let came_by = match self.nodes.get(&board) {
            Some(node) => self
                .came_by(caller.thread, ino)
                .filter(|at| node.is_called(at)),
            None => None,
        };
        let ino = match self.nodes.get(&board) {
            Some(node) if mode.again && node.is_file() => board,
            _ => ino,
        };
        let through = self.came_by(caller.thread, ino).or(came_by);
        match (self.judge_open(caller, ino, mode), wait) {
            (Ok(Judged::Waits), Some(wait)) => {
                self.park(now, wait, ino, caller, mode, through);
                Ok(Opened::Waits)
            }
            (Ok(Judged::Waits), None) => Err(self.refuse(ino, caller, Refusal::Busy)),
            (Ok(_), _) => Ok(Opened::Done(
                self.opened_as_judged(now, ino, caller, mode, through),
            )),
            (Err(refusal @ (Refusal::Busy | Refusal::BusyNow)), _) => {
                Err(self.refuse(ino, caller, refusal))
            }
            (Err(refusal), _) => Err(refusal),
        }
    }

    /// Whether an open would wait to learn what a board is.
    pub fn open_waits(&self, caller: &Caller, ino: Ino, mode: OpenMode) -> bool {
        self.judge_open(caller, ino, mode) == Ok(Judged::Waits)
    }

    /// What an open comes to. Changes nothing.
    pub(super) fn judge_open(
        &self,
        caller: &Caller,
        ino: Ino,
        mode: OpenMode,
    ) -> Result<Judged, Refusal> {
        let node = self.node(ino)?;
        if node.is_directory() {
            return Err(Refusal::IsDirectory);
        }
        let Some(claim) = &node.claim else {
            // Held when it was looked up: what is answered then is no lie.
            return match mode {
                OpenMode { again: false, .. } => Err(Refusal::Gone),
                mode if !mode.wants_board() => Ok(Judged::Opens),
                OpenMode { nonblock: true, .. } => Err(Refusal::BusyNow),
                _ => Err(Refusal::Busy),
            };
        };
        if !mode.write && !mode.truncate {
            return Ok(Judged::Opens);
        }
        let rule = self.options.open;
        let theirs = claim.held_by(caller) || (claim.is_by_locks() && claim.on_side(caller));
        if theirs {
            return Ok(Judged::Theirs);
        }
        if mode.append
            || rule == OpenRule::Shared
            || (claim.is_by_locks() && rule != OpenRule::Strict)
        {
            return Ok(Judged::Opens);
        }
        if mode.nonblock {
            return Err(Refusal::BusyNow);
        }
        let undecided = || {
            claim.ending
                || node
                    .opens
                    .iter()
                    .filter_map(|handle| self.opens.get(handle))
                    .any(|open| open.claiming && open.side_of == Some(claim.id))
        };
        if !claim.is_by_locks() && !self.options.open_wait.is_zero() && undecided() {
            return Ok(Judged::Waits);
        }
        Err(Refusal::Busy)
    }

    /// The open file that an open was judged to get.
    pub(super) fn opened_as_judged(
        &mut self,
        now: &Now,
        ino: Ino,
        caller: &Caller,
        mode: OpenMode,
        through: Option<(Ino, Name)>,
    ) -> Handle {
        let theirs = self.judge_open(caller, ino, mode) == Ok(Judged::Theirs);
        let handle = self.add_open(now, ino, caller, mode, through);
        if theirs
            && mode.truncate
            && let Some(node) = self.nodes.get_mut(&ino)
            && let Body::File(content) = &mut node.body
        {
            content.clear();
            self.changed(ino);
        }
        handle
    }

    /// Opens a directory. One that is claimed only with `listing`
    /// (O_DIRECTORY) or on its holder's side: without it the opener is about
    /// to lock it, and the kernel would grant that without asking.
    ///
    /// # Errors
    /// `Busy` as said, `Gone`, `NotDirectory`.
    pub fn open_directory(
        &mut self,
        caller: &Caller,
        ino: Ino,
        listing: bool,
    ) -> Result<(), Refusal> {
        let node = self.node(ino)?;
        if !node.is_directory() {
            return Err(Refusal::NotDirectory);
        }
        match &node.claim {
            Some(claim) if !listing && !claim.on_side(caller) => {
                Err(self.refuse(ino, caller, Refusal::Busy))
            }
            _ => Ok(()),
        }
    }

    /// Adds an open file. It is on the holder's side if the caller is.
    pub(super) fn add_open(
        &mut self,
        now: &Now,
        ino: Ino,
        caller: &Caller,
        mode: OpenMode,
        through: Option<(Ino, Name)>,
    ) -> Handle {
        let handle = self.new_handle();
        let side_of = self
            .claim(ino)
            .filter(|claim| mode.write && claim.on_side(caller))
            .map(|claim| claim.id);
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.opens.push(handle);
        }
        self.opens.insert(
            handle,
            Open {
                ino,
                opener: caller.requester,
                thread: caller.thread,
                opened: now.boot,
                user: caller.user,
                side_of,
                claiming: false,
                append: mode.append,
                through,
                known_as: None,
                snapshot: None,
                seen: 0,
                polled: false,
                poller: None,
                ended: None,
            },
        );
        handle
    }

    /// How the hold was ended by force that an open file was on the side of, unless it
    /// is on that of another by now.
    pub(super) fn forced_out(&self, handle: Handle) -> Option<Ended> {
        let open = self.opens.get(&handle)?;
        open.ended.filter(|_| !self.may_write(handle, open))
    }

    /// Adds the open file by which a claim was made, of all names that it has.
    pub(super) fn add_claiming_open(
        &mut self,
        now: &Now,
        ino: Ino,
        caller: &Caller,
        mode: OpenMode,
    ) -> Handle {
        let through = self.nodes.get(&ino).and_then(|node| match &node.names[..] {
            [only] => Some(only.clone()),
            _ => None,
        });
        let handle = self.add_open(now, ino, caller, mode, through);
        let side_of = self.claim(ino).map(|claim| claim.id);
        if let Some(open) = self.opens.get_mut(&handle) {
            open.side_of = side_of;
            open.claiming = true;
        }
        handle
    }

    /// Whether it is by closing this file that opens which wait are decided.
    pub fn decides_opens(&self, handle: Handle) -> Option<Ino> {
        let open = self.opens.get(&handle).filter(|open| open.claiming)?;
        let node = self.nodes.get(&open.ino)?;
        (!node.aside.opening.is_empty()).then_some(open.ino)
    }

    /// The holder of a claim is about to end: its files are closed before.
    pub fn ending(&mut self, ino: Ino) {
        if let Some(claim) = self.claim_mut(ino) {
            claim.ending = true;
        }
    }

    /// The last descriptor of an open file was closed: its locks are gone.
    pub fn close(&mut self, now: &Now, handle: Handle) {
        let Some(open) = self.opens.remove(&handle) else {
            return;
        };
        self.drop_snapshot(handle, open.user.uid);
        if let Some(ino) = open.known_as
            && let Some(files) = self.elsewhere.get_mut(&ino)
        {
            files.remove(&handle);
            if files.is_empty() {
                self.elsewhere.remove(&ino);
            }
        }
        if let Some(node) = self.nodes.get_mut(&open.ino) {
            node.opens.retain(|other| *other != handle);
        }
        self.keeps_no_more(open.ino, |kept| kept.handle == handle);
        // OFD locks go by no other way: nothing tells them from POSIX locks,
        // which are gone by now.
        self.drop_locks(open.ino, now, |lock| lock.handle == handle);
        if open.claiming {
            self.decide_opens(open.ino, now);
        }
        self.forget_if_unused(open.ino);
    }

    /// Whether the caller's process is the one whose open made this hold, and
    /// still has it open: `touch` sets the times of what it has just made.
    pub(super) fn is_making(&self, ino: Ino, caller: &Caller) -> bool {
        let Some(node) = self.nodes.get(&ino) else {
            return false;
        };
        let Some(claim) = &node.claim else {
            return false;
        };
        caller.requester.is_some()
            && node
                .opens
                .iter()
                .filter_map(|handle| self.opens.get(handle))
                .any(|open| {
                    open.claiming
                        && open.side_of == Some(claim.id)
                        && open.opener == caller.requester
                })
    }

    /// Whether what is written through an open file counts: it was opened on
    /// the holder's side, or has a lock.
    pub(super) fn may_write(&self, handle: Handle, open: &Open) -> bool {
        let Some(node) = self.nodes.get(&open.ino) else {
            return false;
        };
        let side = node
            .claim
            .as_ref()
            .is_some_and(|claim| open.side_of == Some(claim.id));
        side || node.locks.iter().any(|lock| lock.handle == handle)
    }
}
