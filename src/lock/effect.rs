//! What the table decided beyond its answer: what to watch, what to tell.

use std::time::Duration;

use super::caller::Caller;
use super::claim::Claim;
use super::ids::{Handle, Pid, ProcessId, Token, Uid, User, WaitId};
use super::refusal::Refusal;
use super::time::Timestamp;

/// Something to be done outside the table.
#[derive(Clone, Debug)]
pub enum Effect {
    /// A claim hangs on this process: its end must be told.
    Watch(ProcessId),
    /// No claim hangs on this process any more.
    Unwatch(ProcessId),
    /// A board was acquired.
    Acquired(Held),
    /// A board changed hands: its holder ended and a shell it was forked from
    /// holds on, or a pid was written into it.
    Passed(Held),
    /// One more shares a board that is locked.
    Shared(Held),
    /// A board was released.
    Released {
        /// The hold that ended.
        held: Held,
        /// Why.
        end: End,
        /// How long it lasted.
        after: Duration,
    },
    /// A request that waited is to be answered: an open with its open file.
    Answer {
        /// The request.
        wait: WaitId,
        /// What becomes of it.
        outcome: Result<Option<Handle>, Refusal>,
    },
    /// A request has waited so long that it has to be made anew, or the kernel
    /// would lose patience. Its thread is to be interrupted.
    SendBack(WaitId),
    /// The board of an open file that is polled has changed.
    Changed(Handle),
    /// An expiry that was set lies too far ahead: it is cut to the longest lease.
    Cut {
        /// The hold.
        held: Held,
        /// The longest lease of its board.
        longest: Duration,
    },
    /// Somebody waits for a board.
    Waits {
        /// The board.
        path: Vec<u8>,
        /// Who.
        caller: Caller,
        /// The place in the queue, from 1.
        place: usize,
    },
    /// Somebody was refused a board, for the first time during this hold.
    Refused {
        /// The board.
        path: Vec<u8>,
        /// Who asked.
        caller: Caller,
        /// Why not.
        refusal: Refusal,
        /// What the inventory has to say about that: which board may have been meant,
        /// why this one is out of service, who may take it. Printable.
        about: Option<String>,
        /// Who has it.
        held: Option<Held>,
    },
}

/// A hold as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The board, from the lock directory.
    pub path: Vec<u8>,
    /// The file's user.
    pub user: User,
    /// Whose request made it.
    pub maker: Uid,
    /// The holder; none for a detached claim.
    pub holder: Option<ProcessId>,
    /// Whether file locks hold it, and it is no claim.
    pub by_locks: bool,
    /// Who made the last of these locks.
    pub locker: Option<Pid>,
    /// Its command line.
    pub command: String,
    /// How it was found.
    pub via: String,
    /// The acquisition's number.
    pub token: Token,
    /// When it began.
    pub since: Timestamp,
}

impl Held {
    /// The claim on the board at `path`.
    pub fn new(path: Vec<u8>, claim: &Claim) -> Held {
        Held {
            path,
            user: claim.user,
            maker: claim.maker,
            holder: claim.holder.shown().first().copied(),
            by_locks: claim.is_by_locks(),
            locker: claim.rare.locker,
            command: claim.told.command.clone(),
            via: claim.told.via.0.clone(),
            token: claim.token,
            since: claim.since.wall,
        }
    }
}

/// Why a hold ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The file was unlinked, by this program.
    Unlinked {
        /// The program that did it.
        program: String,
        /// For whom.
        user: User,
    },
    /// The holder renamed another of its files to this name.
    Replaced,
    /// The file was given another name.
    Renamed,
    /// The holder's process ended.
    Died,
    /// The expiry passed.
    Expired,
    /// A claimed directory without a holder lost its last board.
    Emptied,
    /// A lock was tried through the file that claimed it: file locks alone hold
    /// it from then on.
    Locked,
    /// The last file lock was let go.
    Unlocked,
    /// Somebody who may took it from its holder.
    Forced {
        /// Who.
        by: User,
    },
}

impl End {
    /// All words for how.
    pub const HOW: [&str; 9] = [
        "released", "replaced", "renamed", "died", "expired", "emptied", "locked", "unlocked",
        "forced",
    ];

    /// A word for how, for programs: it stays.
    pub fn how(&self) -> &'static str {
        match self {
            End::Unlinked { .. } => "released",
            End::Replaced => "replaced",
            End::Renamed => "renamed",
            End::Died => "died",
            End::Expired => "expired",
            End::Emptied => "emptied",
            End::Locked => "locked",
            End::Unlocked => "unlocked",
            End::Forced { .. } => "forced",
        }
    }

    /// Who ended it, where that was somebody.
    pub fn by(&self) -> Option<User> {
        match self {
            End::Unlinked { user, .. } => Some(*user),
            End::Forced { by } => Some(*by),
            _ => None,
        }
    }

    /// Whether the locks of the hold go with it, though their owners may not know.
    pub(super) fn takes_locks(&self) -> bool {
        matches!(
            self,
            End::Unlinked { .. } | End::Replaced | End::Forced { .. }
        )
    }
}

/// How a hold ended, as its open files tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// How ([`End::how`]).
    pub how: &'static str,
    /// Who ended it, where that was somebody.
    pub by: Option<User>,
    /// When.
    pub at: Timestamp,
}
