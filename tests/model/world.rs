//! The world around the table: processes that live and die, users, clocks.

use std::time::Duration;

use boardlock::lock::caller::{Caller, Candidate, Chain, Groups, Standing};
use boardlock::lock::ids::{Gid, Pid, ProcessId, StartTime, Uid, User};
use boardlock::lock::time::{BootTime, Now, Timestamp};

pub const SECOND: i128 = 1_000_000_000;

/// One place for a process: its parent's place, whether it is a forked
/// subshell of it, and its user. A script with two subshells, a program it
/// runs and one its first subshell runs; another script of the same account
/// with a subshell; another user's program; a root shell.
const SLOTS: [(Option<usize>, bool, u32); 9] = [
    (None, false, 1000),
    (Some(0), true, 1000),
    (Some(0), true, 1000),
    (Some(0), false, 1000),
    (Some(1), false, 1000),
    (None, false, 1000),
    (Some(5), true, 1000),
    (None, false, 1001),
    (None, false, 0),
];

pub const PLACES: usize = SLOTS.len();
pub const USERS: [u32; 3] = [1000, 1001, 0];
/// One-shot tools; the flag is sudo.
pub const TOOLS: [(&str, bool); 7] = [
    ("touch", false),
    ("rm", false),
    ("ln", false),
    ("mv", false),
    ("mktemp", false),
    ("touch", true),
    ("rm", true),
];

/// Who makes a call.
#[derive(Clone, Copy, Debug)]
pub enum Who {
    /// The process at a place, itself.
    Own(usize),
    /// A one-shot tool that the process at this place runs.
    Tool(usize, usize),
    Detached(usize),
    Orphan(usize),
    Unseen(usize),
    /// Who holds the board that the call is about; by a tool or not.
    Holder(bool),
}

/// A caller, as plain facts: what the reference model sees of it.
#[derive(Clone, Debug)]
pub struct Asks {
    pub kind: Kind,
    pub requester: Option<ProcessId>,
    /// The processes that hold for it, nearest first.
    pub lineage: Vec<ProcessId>,
    /// The user that the first of them runs as.
    pub holder_uid: u32,
    /// The requester and all above it.
    pub above: Vec<ProcessId>,
    pub uid: u32,
    pub program: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Process,
    Detached,
    Orphan,
    Unseen,
}

#[derive(Debug)]
struct Process {
    id: ProcessId,
    uid: u32,
    parent: Option<usize>,
    forked: bool,
    alive: bool,
}

#[derive(Debug)]
pub struct World {
    all: Vec<Process>,
    places: Vec<usize>,
    tools: u32,
    pub wall: i128,
    pub boot: i128,
}

pub fn user(uid: u32) -> User {
    User {
        uid: Uid(uid),
        gid: Gid(uid),
    }
}

pub fn timestamp(nanos: i128) -> Timestamp {
    Timestamp {
        secs: i64::try_from(nanos.div_euclid(SECOND)).unwrap(),
        nanos: u32::try_from(nanos.rem_euclid(SECOND)).unwrap(),
    }
}

pub fn nanos(moment: Timestamp) -> i128 {
    i128::from(moment.secs) * SECOND + i128::from(moment.nanos)
}

pub fn duration(nanos: i128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap())
}

fn id(pid: u32, start: u64) -> ProcessId {
    ProcessId {
        pid: Pid::new(pid).unwrap(),
        start: StartTime(start),
    }
}

impl World {
    pub fn new() -> World {
        let mut world = World {
            all: Vec::new(),
            places: vec![usize::MAX; PLACES],
            tools: 0,
            wall: 1_700_000_000 * SECOND + 250_000_000,
            boot: 5000 * SECOND + 750_000_000,
        };
        for place in 0..PLACES {
            world.spawn(place);
        }
        world
    }

    pub fn now(&self) -> Now {
        Now {
            wall: timestamp(self.wall),
            boot: BootTime(duration(self.boot)),
        }
    }

    /// A new process at this place, with the pid of the last one there.
    pub fn spawn(&mut self, place: usize) {
        let (parent, forked, uid) = SLOTS[place];
        let start = self.all.len() as u64;
        self.places[place] = self.all.len();
        self.all.push(Process {
            id: id(100 + place as u32, start),
            uid,
            parent: parent.map(|place| self.places[place]),
            forked,
            alive: true,
        });
    }

    pub fn living(&self, place: usize) -> Option<ProcessId> {
        let process = &self.all[self.places[place]];
        process.alive.then_some(process.id)
    }

    pub fn alive(&self, id: ProcessId) -> bool {
        self.all
            .iter()
            .any(|process| process.id == id && process.alive)
    }

    /// Ends the process at this place; none if there is none.
    pub fn kill(&mut self, place: usize) -> Option<ProcessId> {
        let process = &mut self.all[self.places[place]];
        std::mem::replace(&mut process.alive, false).then_some(process.id)
    }

    /// The living parent of a process: that of a dead one is pid 1, no holder.
    fn parent(&self, of: usize) -> Option<usize> {
        self.all[of].parent.filter(|above| self.all[*above].alive)
    }

    fn above(&self, place: usize) -> Vec<ProcessId> {
        let mut at = Some(self.places[place]);
        let mut above = Vec::new();
        while let Some(this) = at {
            above.push(self.all[this].id);
            at = self.parent(this);
        }
        above
    }

    fn lineage(&self, place: usize) -> Vec<ProcessId> {
        let mut this = self.places[place];
        let mut lineage = vec![self.all[this].id];
        while self.all[this].forked
            && let Some(parent) = self.parent(this)
        {
            this = parent;
            lineage.push(self.all[this].id);
        }
        lineage
    }

    /// The process at a place as a holder; none if it is dead.
    pub fn candidate(&self, place: usize) -> Option<(Vec<ProcessId>, u32)> {
        self.living(place)?;
        Some((self.lineage(place), self.all[self.places[place]].uid))
    }

    /// Whom a number means that the process at `writer` writes: itself, a
    /// process above it or one below it.
    pub fn numbered(&self, writer: usize, number: u64) -> Option<(Vec<ProcessId>, u32)> {
        let place = usize::try_from(number.checked_sub(100)?).ok()?;
        if place >= PLACES {
            return None;
        }
        let meant = self.living(place)?;
        let me = self.living(writer)?;
        if self.above(writer).contains(&meant) || self.above(place).contains(&me) {
            self.candidate(place)
        } else {
            None
        }
    }

    /// The caller; none if the process is dead.
    pub fn asks(&mut self, who: Who) -> Option<Asks> {
        let nobody = |kind, uid, requester: Option<ProcessId>| Asks {
            kind,
            requester,
            lineage: Vec::new(),
            holder_uid: uid,
            above: requester.into_iter().collect(),
            uid,
            program: "touch",
        };
        self.tools += 1;
        let tool = id(5000 + self.tools, 1_000_000);
        Some(match who {
            Who::Detached(of) => nobody(Kind::Detached, USERS[of], Some(tool)),
            Who::Orphan(of) => nobody(Kind::Orphan, USERS[of], Some(tool)),
            Who::Unseen(of) => nobody(Kind::Unseen, USERS[of], None),
            Who::Holder(_) => return None,
            Who::Own(place) => {
                let (lineage, uid) = self.candidate(place)?;
                Asks {
                    kind: Kind::Process,
                    requester: lineage.first().copied(),
                    lineage,
                    holder_uid: uid,
                    above: self.above(place),
                    uid,
                    program: "bash",
                }
            }
            Who::Tool(place, which) => {
                let (lineage, uid) = self.candidate(place)?;
                let (program, sudo) = TOOLS[which];
                let mut above = self.above(place);
                above.insert(0, tool);
                Asks {
                    kind: Kind::Process,
                    requester: Some(tool),
                    lineage,
                    holder_uid: uid,
                    above,
                    uid: if sudo { 0 } else { uid },
                    program,
                }
            }
        })
    }
}

impl Who {
    /// The place whose process keeps what this caller opens.
    pub fn place(self) -> Option<usize> {
        match self {
            Who::Own(place) | Who::Tool(place, _) => Some(place),
            _ => None,
        }
    }
}

impl Asks {
    /// The same for the table.
    pub fn caller(&self) -> Caller {
        let via = Chain(self.program.to_owned());
        Caller {
            thread: self.requester.map(|process| process.pid),
            requester: self.requester,
            program: self.program.to_owned(),
            user: user(self.uid),
            standing: match self.kind {
                Kind::Process => Standing::Process(candidate(&self.lineage, self.holder_uid)),
                Kind::Detached => Standing::Detached(via),
                Kind::Orphan => Standing::Orphan(via),
                Kind::Unseen => Standing::Unseen,
            },
            ancestors: self.above.clone(),
            job: 0,
            groups: Groups::default(),
            scripts: Vec::new(),
        }
    }
}

pub fn candidate(lineage: &[ProcessId], uid: u32) -> Candidate {
    Candidate {
        lineage: lineage.to_vec(),
        user: user(uid),
        command: "command".to_owned(),
        via: Chain("via".to_owned()),
    }
}
