//! Random histories: what happens, step by step.

use boardlock::lock::options::{ExpireRule, ReleaseRule};
use proptest::prelude::*;

use super::world::{PLACES, TOOLS, USERS, Who};

/// The names that the histories fight over. `d`, and less often `c`, is made
/// as a directory.
pub const PATHS: [&str; 8] = ["a", "b", "c", "d", "d/x", "d/y", "c/x", "c/d/x"];
/// Where symbolic links point to, from beside them.
pub const TARGETS: [&str; 5] = ["a", "b", "x", "d", "up/a"];
/// Seconds from now, where a time is set: 2 s ahead is no expiry yet.
pub const OFFSETS: [i128; 7] = [-3600, 0, 1, 2, 3, 60, 3600];
pub const LEASE: u64 = 100;

type Path = usize;

#[derive(Clone, Copy, Debug, Default)]
pub struct Mode {
    pub create: bool,
    pub exclusive: bool,
    pub write: bool,
    pub append: bool,
    pub truncate: bool,
    pub nonblock: bool,
}

/// What is written.
#[derive(Clone, Copy, Debug)]
pub enum Text {
    /// The pid of the process at a place.
    Pid(usize),
    /// `EXPIRY PID`: an offset or 0, a place or 0.
    Both(Option<usize>, Option<usize>),
    Note,
    Zero,
    Long,
}

#[derive(Clone, Copy, Debug)]
pub enum SetTime {
    Now,
    /// An index of `OFFSETS`.
    To(usize),
}

#[derive(Clone, Debug)]
pub enum Op {
    /// As GNU touch: opens, and sets the times even if that failed.
    Touch(Who, Path),
    /// Released by its holder and at once taken.
    Remake(Who, Path),
    /// `echo TEXT >board`.
    Echo(Who, Path, Text),
    /// open(2) and close(2) at once with `close`. With `raced` the kernel
    /// looked it up before, and found it free.
    Open {
        who: Who,
        path: Path,
        mode: Mode,
        raced: bool,
        close: bool,
    },
    /// Opens an inode that was looked up before.
    Stale(Who, usize),
    OpenDirectory(Who, Path, bool),
    Mknod(Who, Path),
    Mkdir(Who, Path),
    Symlink(Who, Path, usize),
    Link(Who, Path, Path),
    Rename(Who, Path, Path, u8),
    Unlink(Who, Path),
    Rmdir(Who, Path),
    Utimens(Who, Path, Option<SetTime>, Option<SetTime>),
    Truncate(Who, Path, u64),
    Ftruncate(usize, u64),
    Write {
        handle: usize,
        text: Text,
        offset: u64,
        later: bool,
    },
    /// What was written before is judged only now.
    Judge,
    Close(usize),
    SetExpires(Who, Path, Option<usize>),
    SetNote(Who, Path),
    Chown(Who, Path, bool),
    /// Processes end, in this order; with `inherit` children keep their files.
    Die(Vec<usize>, bool),
    /// One of the places that are empty gets a new process.
    Spawn(usize),
    /// Seconds that pass, and by how much the wall clock is set besides.
    Clock(u8, i16),
}

#[derive(Clone, Debug)]
pub struct History {
    pub lease: bool,
    pub release: ReleaseRule,
    pub expire: ExpireRule,
    /// Few boards are allowed.
    pub narrow: bool,
    pub ops: Vec<Op>,
}

/// Mostly the same script.
fn place() -> impl Strategy<Value = usize> {
    (0_usize..20).prop_map(|n| [0, 1, 2, 3, 4, 5, 6, 7, 8].get(n).copied().unwrap_or(0))
}

fn who() -> impl Strategy<Value = Who> {
    prop_oneof![
        6 => place().prop_map(Who::Own),
        9 => (place(), 0..TOOLS.len()).prop_map(|(place, tool)| Who::Tool(place, tool)),
        6 => any::<bool>().prop_map(Who::Holder),
        2 => (0..USERS.len()).prop_map(Who::Detached),
        1 => (0..USERS.len()).prop_map(Who::Orphan),
        1 => (0..USERS.len()).prop_map(Who::Unseen),
    ]
}

/// Mostly the same two names.
fn path() -> impl Strategy<Value = Path> {
    (0_usize..16).prop_map(|n| [0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 4, 4, 5, 6, 7][n])
}

fn directory() -> impl Strategy<Value = Path> {
    (0_usize..8).prop_map(|n| [3, 3, 3, 3, 2, 2, 0, 4][n])
}

fn mode() -> impl Strategy<Value = Mode> {
    (0_u8..128).prop_map(|bits| Mode {
        create: bits & 3 != 0,
        write: bits & 12 != 0,
        exclusive: bits & 19 == 19,
        append: bits & 48 == 48,
        truncate: bits & 36 == 36,
        nonblock: bits & 64 != 0,
    })
}

fn text() -> impl Strategy<Value = Text> {
    let offset = proptest::option::of(0..OFFSETS.len());
    let place = proptest::option::weighted(0.8, 0..PLACES);
    prop_oneof![
        4 => (0..PLACES).prop_map(Text::Pid),
        4 => (offset, place).prop_map(|(offset, place)| Text::Both(offset, place)),
        2 => Just(Text::Note),
        1 => Just(Text::Zero),
        1 => Just(Text::Long),
    ]
}

fn set_time() -> impl Strategy<Value = Option<SetTime>> {
    prop_oneof![
        1 => Just(None),
        2 => Just(Some(SetTime::Now)),
        3 => (0..OFFSETS.len()).prop_map(|offset| Some(SetTime::To(offset))),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (who(), path()).prop_map(|(w, p)| Op::Touch(w, p)),
        2 => (who(), path()).prop_map(|(w, p)| Op::Remake(w, p)),
        4 => (who(), path(), text()).prop_map(|(w, p, t)| Op::Echo(w, p, t)),
        10 => (who(), path(), mode(), 0_u8..12).prop_map(|(who, path, mode, bits)| Op::Open {
            who,
            path,
            mode,
            raced: bits < 2,
            close: bits % 2 == 0,
        }),
        1 => (who(), 0_usize..8).prop_map(|(w, h)| Op::Stale(w, h)),
        1 => (who(), directory(), any::<bool>()).prop_map(|(w, p, l)| Op::OpenDirectory(w, p, l)),
        2 => (who(), path()).prop_map(|(w, p)| Op::Mknod(w, p)),
        5 => (who(), directory()).prop_map(|(w, p)| Op::Mkdir(w, p)),
        2 => (who(), path(), 0_usize..5).prop_map(|(w, p, t)| Op::Symlink(w, p, t)),
        5 => (who(), path(), 0..PATHS.len()).prop_map(|(w, p, q)| Op::Link(w, p, q)),
        5 => (who(), path(), 0..PATHS.len(), 0_u8..8).prop_map(|(w, p, q, k)| Op::Rename(w, p, q, k)),
        2 => (who(), directory(), directory(), 0_u8..8)
            .prop_map(|(w, p, q, k)| Op::Rename(w, p, q, k)),
        4 => (who(), path()).prop_map(|(w, p)| Op::Unlink(w, p)),
        2 => (who(), directory()).prop_map(|(w, p)| Op::Rmdir(w, p)),
        4 => (who(), path(), set_time(), set_time())
            .prop_map(|(w, p, m, a)| Op::Utimens(w, p, m, a)),
        1 => (who(), path(), prop_oneof![Just(0_u64), Just(3), Just(4096), Just(4097)])
            .prop_map(|(w, p, s)| Op::Truncate(w, p, s)),
        1 => (0_usize..8, prop_oneof![Just(0_u64), Just(5), Just(5000)])
            .prop_map(|(h, s)| Op::Ftruncate(h, s)),
        6 => (0_usize..8, text(), prop_oneof![4 => Just(0_u64), 1 => Just(4), 1 => Just(4094)], 0_u8..4)
            .prop_map(|(handle, text, offset, later)| Op::Write {
                handle,
                text,
                offset,
                later: later > 1,
            }),
        2 => Just(Op::Judge),
        4 => (0_usize..8).prop_map(Op::Close),
        3 => (who(), path(), proptest::option::of(0..OFFSETS.len()))
            .prop_map(|(w, p, e)| Op::SetExpires(w, p, e)),
        1 => (who(), path()).prop_map(|(w, p)| Op::SetNote(w, p)),
        1 => (who(), path(), any::<bool>()).prop_map(|(w, p, o)| Op::Chown(w, p, o)),
        3 => (proptest::collection::vec(0..PLACES, 1..4), any::<bool>())
            .prop_map(|(places, inherit)| Op::Die(places, inherit)),
        5 => (0..PLACES).prop_map(Op::Spawn),
        3 => (0_u8..200, prop_oneof![3 => Just(0_i16), 1 => -4000_i16..4000])
            .prop_map(|(passed, set)| Op::Clock(passed, set)),
    ]
}

pub fn history(most: usize) -> impl Strategy<Value = History> {
    (0_u8..32, proptest::collection::vec(op(), 1..most)).prop_map(|(bits, ops)| History {
        lease: bits & 1 != 0,
        release: if bits & 2 != 0 {
            ReleaseRule::Holder
        } else {
            ReleaseRule::Owner
        },
        expire: if bits & 4 != 0 {
            ExpireRule::Hard
        } else {
            ExpireRule::Keep
        },
        narrow: bits & 24 == 24,
        ops,
    })
}
