//! A hold: who has a board, since when and for how long. Most are claims; where
//! file locks alone hold a board, the hold is kept in the same form.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::caller::{Caller, Chain};
use super::ids::{Pid, ProcessId, Token, Uid, User};
use super::rarely::{Rarely, Usual};
use super::refusal::Refusal;
use super::time::{Expiry, Now, Timestamp};

/// One hold of one inode, never the same for two. The token tells holds apart
/// for users and grows when a board is linked or renamed; this one stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClaimId(pub u64);

/// Whom a claim belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// The first of these processes; when it ends, the next one. Never empty:
    /// with the last one the claim ends.
    Process(Arc<[ProcessId]>),
    /// The user alone.
    Detached,
    /// Nobody: a claimed directory whose holder ended while there were boards
    /// in it. It goes with the last of them.
    Gone,
    /// File locks alone, for as long as there are any. These processes show as
    /// its holders, which decides nothing about how long it lasts.
    Files(Vec<ProcessId>),
}

impl Holder {
    /// The process that holds now, and with whose end it holds no more.
    pub fn process(&self) -> Option<ProcessId> {
        self.lineage().first().copied()
    }

    /// The processes that are the holder: one for a claim, of those that show
    /// as holders of file locks each.
    pub fn shown(&self) -> &[ProcessId] {
        match self {
            Holder::Process(lineage) => lineage.get(..1).unwrap_or_default(),
            Holder::Files(shown) => shown,
            Holder::Detached | Holder::Gone => &[],
        }
    }

    /// Every process that the claim hangs on.
    pub fn lineage(&self) -> &[ProcessId] {
        match self {
            Holder::Process(lineage) => lineage,
            Holder::Detached | Holder::Gone | Holder::Files(_) => &[],
        }
    }
}

/// A hold.
#[derive(Clone, Debug)]
pub struct Claim {
    /// This hold.
    pub id: ClaimId,
    /// Whom it belongs to.
    pub holder: Holder,
    /// The holder's user: the file's.
    pub user: User,
    /// What is told of the holder: one for all claims of a process of which the same is
    /// told ([`Table::begin_claim`](super::Table)).
    pub told: Arc<Told>,
    /// The number of the acquisition.
    pub token: Token,
    /// When it was acquired.
    pub since: Now,
    /// Until when it is good.
    pub expiry: Option<Expiry>,
    /// What few claims have.
    pub rare: Rarely<Rare>,
    /// Whether what was written last named who holds; else it is a note.
    pub named: bool,
    /// Whether no other holds it by now than who made it: who has the very file open
    /// that made it need not be asked who it is.
    pub as_made: bool,
    /// Whether its holder is about to end: whether it stays is not decided.
    pub ending: bool,
    /// Whose request made it: the holder may be another user's.
    pub maker: Uid,
}

/// What is told of who holds a claim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The holder's command line, printable.
    pub command: String,
    /// The chain by which the holder was found.
    pub via: Chain,
}

/// What few claims have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rare {
    /// The modification time that the holder set.
    pub mtime: Option<Timestamp>,
    /// The access time that the holder set.
    pub atime: Option<Timestamp>,
    /// The note that was set by extended attribute.
    pub note: Option<Vec<u8>>,
    /// Of a board that file locks hold: a process that probably has one of the
    /// locked files. It is told of, and decides nothing.
    pub likely: Option<ProcessId>,
    /// Who made the last file lock, for the log, where file locks hold it.
    pub locker: Option<Pid>,
    /// Who was refused something about the board during this hold.
    pub refused: Refused,
}

impl Usual for Rare {
    fn usual() -> &'static Rare {
        static NONE: Rare = Rare {
            mtime: None,
            atime: None,
            note: None,
            likely: None,
            locker: None,
            refused: Refused(None),
        };
        &NONE
    }
}

impl Claim {
    /// Whether the caller is the holder (semantics.md, "Words"): the claim's
    /// current holder is it or one of the shells it was forked from. So is a
    /// process that the way to the caller passed over: in `(touch a; mv a b)`
    /// bash's subshell holds, and then becomes mv.
    pub fn held_by(&self, caller: &Caller) -> bool {
        self.holder
            .shown()
            .iter()
            .any(|holder| caller.lineage().contains(holder) || caller.acts_in(*holder))
    }

    /// Whether the caller is on the holder's side: the holder or a descendant.
    pub fn on_side(&self, caller: &Caller) -> bool {
        self.held_by(caller)
            || self
                .holder
                .shown()
                .iter()
                .any(|holder| caller.descends_from(*holder))
    }

    /// Whether it is for this user to release, who need not be its holder; the
    /// daemon's is as good as root.
    pub fn is_for(&self, uid: Uid, daemon: Uid) -> bool {
        uid == self.user.uid || uid == Uid::ROOT || uid == daemon
    }

    /// Whether the caller may give the claim another name: its holder, or the
    /// user of a detached one.
    pub fn movable_by(&self, caller: &Caller) -> bool {
        match self.holder {
            Holder::Process(_) | Holder::Files(_) => self.held_by(caller),
            Holder::Detached => self.user.uid == caller.uid(),
            Holder::Gone => false,
        }
    }

    /// Whether file locks alone hold it, and it is no claim.
    pub fn is_by_locks(&self) -> bool {
        matches!(self.holder, Holder::Files(_))
    }

    /// Whether the expiry has passed.
    pub fn overdue(&self, now: &Now) -> bool {
        self.expiry.is_some_and(|expiry| expiry.passed(now))
    }

    /// The expiry by the wall clock, unless it has passed.
    pub fn good_until(&self, now: &Now) -> Option<Timestamp> {
        self.expiry
            .filter(|expiry| !expiry.passed(now))
            .map(|expiry| expiry.wall(now))
    }
}

/// Who was refused what about a board during one hold of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "VecDeque<WasRefused>", into = "VecDeque<WasRefused>")]
pub struct Refused(Option<Box<Remembered>>);

/// Who was refused, and what.
type WasRefused = (Refusee, Refusal);

/// The same, once there was anybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Remembered {
    /// Those who could release the board, were it not for this.
    able: VecDeque<WasRefused>,
    /// Others, by whose number those are not to be forgotten. They are remembered
    /// for the log alone.
    strangers: VecDeque<WasRefused>,
}

/// A caller as a refusal remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Refusee {
    Process(ProcessId),
    /// A script around a program that was refused.
    Above(ProcessId),
    User(Uid),
}

/// How many refused callers of each kind a hold remembers; the oldest are
/// forgotten first.
const REMEMBERED: usize = 1024;

impl Refused {
    /// What of it outlives the daemon: it decides something.
    pub(super) fn saved(&self) -> Refused {
        VecDeque::from(self.clone()).into()
    }

    /// Remembers that the caller, who is `able` to release or not, was refused;
    /// says whether for the first time.
    pub fn add(&mut self, caller: &Caller, refusal: Refusal, able: bool) -> bool {
        let mut first = false;
        for refusee in refusees(caller) {
            first |= self.push(refusee, refusal, able);
        }
        first
    }

    /// Whether this caller, or what it runs or is run by in its job, wanted the
    /// board and did not get it. Two that only have the same parent are
    /// strangers.
    pub fn has_defeated(&self, caller: &Caller) -> bool {
        let has = |refusee| self.has(refusee, Refusal::Busy);
        let above = |process: &ProcessId| has(Refusee::Above(*process));
        let below = |process: &ProcessId| has(Refusee::Process(*process));
        refusees(caller).any(has)
            || caller.lineage().iter().any(above)
            || caller.job().iter().any(below)
    }

    /// Remembers the scripts that ran a caller that was defeated. What is no
    /// script may well run the winner too, and look after what it left.
    pub fn add_scripts(&mut self, caller: &Caller, able: bool) {
        for process in &caller.scripts {
            self.push(Refusee::Above(*process), Refusal::Busy, able);
        }
    }

    fn push(&mut self, refusee: Refusee, refusal: Refusal, able: bool) -> bool {
        if self.has(refusee, refusal) {
            return false;
        }
        let all = self.0.get_or_insert_default();
        let remembered = match able {
            true => &mut all.able,
            false => &mut all.strangers,
        };
        if remembered.len() >= REMEMBERED {
            remembered.pop_front();
        }
        remembered.push_back((refusee, refusal));
        true
    }

    /// Whether this was refused before; all defeats are one, as touch(1) is
    /// refused opening first and then setting the times.
    fn has(&self, refusee: Refusee, refusal: Refusal) -> bool {
        self.0.as_ref().is_some_and(|all| {
            all.able.iter().chain(&all.strangers).any(|(who, what)| {
                *who == refusee && (*what == refusal || (what.is_defeat() && refusal.is_defeat()))
            })
        })
    }
}

impl From<VecDeque<WasRefused>> for Refused {
    fn from(able: VecDeque<WasRefused>) -> Refused {
        let all = Remembered {
            able,
            strangers: VecDeque::new(),
        };
        Refused((!all.able.is_empty()).then(|| Box::new(all)))
    }
}

impl From<Refused> for VecDeque<WasRefused> {
    fn from(refused: Refused) -> VecDeque<WasRefused> {
        refused.0.map(|all| all.able).unwrap_or_default()
    }
}

/// A caller that is a process is remembered with the shells it was forked
/// from, for the trap that runs in the script; one whose process does not last
/// or cannot be seen by its user.
fn refusees(caller: &Caller) -> impl Iterator<Item = Refusee> + '_ {
    let lineage = caller.lineage();
    let user = lineage.is_empty().then(|| Refusee::User(caller.uid()));
    lineage.iter().copied().map(Refusee::Process).chain(user)
}
