//! File locks as values: what flock(2) and fcntl(2) ask for and what an owner
//! has (semantics.md, "File locks").
//!
//! Any range counts as the board. Ranges are kept all the same, because an
//! owner lets the board go with the last of them.

use serde::{Deserialize, Serialize};

use super::ids::{Handle, LockOwner, Pid, User};
use super::time::BootTime;

/// Which call a lock is made by. The two do not know each other on a local
/// disk; here they exclude each other, but not within one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Class {
    /// flock(2): belongs to the open file.
    Flock,
    /// fcntl(2): belongs to the process (F_SETLK) or to the open file
    /// (F_OFD_SETLK); requests do not tell which.
    Fcntl,
}

/// What a lock lets others do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum LockKind {
    /// Others may share it.
    Shared,
    /// Nobody else has one.
    Exclusive,
}

/// Bytes, the last one included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Range {
    /// The first.
    pub start: u64,
    /// The last.
    pub end: u64,
}

impl Range {
    /// The whole file, as flock(2) locks it.
    pub const ALL: Range = Range {
        start: 0,
        end: i64::MAX as u64,
    };
}

/// Whose a lock is; two of the same key never exclude each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Key {
    /// An open file's, by flock(2).
    File(Handle),
    /// By fcntl(2), whoever that is.
    Owner(LockOwner),
}

/// A call of flock(2) or fcntl(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockCall {
    /// The open file that it is made through.
    pub handle: Handle,
    /// By which call.
    pub class: Class,
    /// Whom the kernel counts it as.
    pub owner: LockOwner,
    /// Which bytes.
    pub range: Range,
    /// The process that makes it, as the daemon numbers it.
    pub pid: Option<Pid>,
    /// When that process started, where that has been looked at
    /// ([`crate::lock::Table::may_be_own`]).
    pub started: Option<BootTime>,
    /// Its user.
    pub user: User,
}

impl LockCall {
    /// Whether this is the same call, made anew.
    pub fn is_again(&self, other: &LockCall) -> bool {
        let what = |call: &LockCall| (call.handle, call.class, call.owner, call.range, call.pid);
        what(self) == what(other)
    }

    /// Whose the lock will be.
    pub fn key(&self) -> Key {
        match self.class {
            Class::Flock => Key::File(self.handle),
            Class::Fcntl => Key::Owner(self.owner),
        }
    }
}

/// What one owner has of a board.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileLock {
    /// Whose it is.
    pub key: Key,
    /// The open file through which it was made, or changed last.
    pub handle: Handle,
    /// The process that did that.
    pub pid: Option<Pid>,
    /// When.
    pub made: BootTime,
    /// Which bytes and how, apart from each other and in order. Never empty.
    ranges: Vec<(Range, LockKind)>,
}

impl FileLock {
    /// What a call makes.
    pub fn new(call: &LockCall, kind: LockKind, made: BootTime) -> FileLock {
        FileLock {
            key: call.key(),
            handle: call.handle,
            pid: call.pid,
            made,
            ranges: vec![(call.range, kind)],
        }
    }

    /// Whether it is the same but for when it was made, and by whom.
    pub fn locks_as(&self, other: &FileLock) -> bool {
        (self.key, self.handle) == (other.key, other.handle) && self.ranges == other.ranges
    }

    /// Which call it was made by.
    pub fn class(&self) -> Class {
        match self.key {
            Key::File(_) => Class::Flock,
            Key::Owner(_) => Class::Fcntl,
        }
    }

    /// The most exclusive of its ranges: what others see of it.
    pub fn kind(&self) -> LockKind {
        strongest(&self.ranges).unwrap_or(LockKind::Shared)
    }

    /// The first of its ranges that is of this kind, else the first.
    pub fn first(&self, kind: LockKind) -> (Range, LockKind) {
        self.ranges
            .iter()
            .find(|(_, found)| *found == kind)
            .or(self.ranges.first())
            .copied()
            .unwrap_or((Range::ALL, kind))
    }

    /// How it would be once its owner has what this call asks for as well.
    pub fn with(&self, call: &LockCall, kind: LockKind) -> FileLock {
        let mut ranges = without(&self.ranges, call.range);
        ranges.push((call.range, kind));
        ranges.sort_unstable();
        FileLock {
            ranges: joined(ranges),
            handle: call.handle,
            pid: call.pid,
            ..self.clone()
        }
    }

    /// What is left once `range` is unlocked; none if nothing is.
    pub fn less(&self, range: Range) -> Option<FileLock> {
        let ranges = without(&self.ranges, range);
        (!ranges.is_empty()).then(|| FileLock {
            ranges,
            ..self.clone()
        })
    }

    /// How many ranges it has: a client can make as many as it likes.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether its ranges are as they are said to be.
    pub(super) fn is_sound(&self) -> bool {
        let ranges = &self.ranges;
        let apart = ranges
            .iter()
            .zip(ranges.iter().skip(1))
            .all(|((one, _), (next, _))| one.end < next.start);
        !ranges.is_empty() && apart && ranges.iter().all(|(range, _)| range.start <= range.end)
    }

    /// Whether it has none, which it never has.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }
}

fn strongest(ranges: &[(Range, LockKind)]) -> Option<LockKind> {
    ranges.iter().map(|(_, kind)| *kind).max()
}

fn without(ranges: &[(Range, LockKind)], gone: Range) -> Vec<(Range, LockKind)> {
    let mut left = Vec::with_capacity(ranges.len() + 1);
    for (range, kind) in ranges {
        if range.end < gone.start || range.start > gone.end {
            left.push((*range, *kind));
            continue;
        }
        if range.start < gone.start {
            let end = gone.start - 1;
            left.push((Range { end, ..*range }, *kind));
        }
        if range.end > gone.end {
            let start = gone.end + 1;
            left.push((Range { start, ..*range }, *kind));
        }
    }
    left
}

/// Neighbours of one kind are one range, as in the kernel.
fn joined(ranges: Vec<(Range, LockKind)>) -> Vec<(Range, LockKind)> {
    let mut out: Vec<(Range, LockKind)> = Vec::with_capacity(ranges.len());
    for (range, kind) in ranges {
        match out.last_mut() {
            Some((last, same)) if *same == kind && last.end.checked_add(1) == Some(range.start) => {
                last.end = range.end;
            }
            _ => out.push((range, kind)),
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::lock::ids::{Gid, Uid};
    use LockKind::{Exclusive, Shared};

    fn call(range: Range) -> LockCall {
        LockCall {
            handle: Handle(1),
            class: Class::Fcntl,
            owner: LockOwner(1),
            range,
            pid: None,
            started: None,
            user: User {
                uid: Uid(1),
                gid: Gid(1),
            },
        }
    }

    fn lock(ranges: &[(u64, u64, LockKind)]) -> FileLock {
        FileLock {
            ranges: ranges
                .iter()
                .map(|(start, end, kind)| {
                    let (start, end) = (*start, *end);
                    (Range { start, end }, *kind)
                })
                .collect(),
            ..FileLock::new(
                &call(Range::ALL),
                Shared,
                BootTime(std::time::Duration::ZERO),
            )
        }
    }

    fn range(start: u64, end: u64) -> Range {
        Range { start, end }
    }

    fn of(start: u64, end: u64) -> LockCall {
        call(range(start, end))
    }

    #[test]
    fn a_range_is_cut_out_of_another() {
        let whole = lock(&[(0, 9, Exclusive)]);
        let left = whole.less(range(3, 5)).unwrap();
        assert_eq!(left, lock(&[(0, 2, Exclusive), (6, 9, Exclusive)]));
        assert_eq!(left.less(range(0, 100)), None);
        assert_eq!(whole.less(range(10, 20)), Some(whole));
    }

    #[test]
    fn neighbours_of_one_kind_join() {
        let lock_ = lock(&[(0, 4, Shared)]).with(&of(5, 9), Shared);
        assert_eq!(lock_, lock(&[(0, 9, Shared)]));
        let mixed = lock_.with(&of(3, 6), Exclusive);
        assert_eq!(
            mixed,
            lock(&[(0, 2, Shared), (3, 6, Exclusive), (7, 9, Shared)])
        );
        assert_eq!(mixed.kind(), Exclusive);
        assert_eq!(mixed.with(&of(0, 9), Shared), lock(&[(0, 9, Shared)]));
    }

    #[test]
    fn the_end_of_the_world_is_no_overflow() {
        let all = lock(&[(0, u64::MAX, Exclusive)]);
        assert_eq!(
            all.less(range(u64::MAX, u64::MAX)),
            Some(lock(&[(0, u64::MAX - 1, Exclusive)]))
        );
        assert_eq!(all.with(&call(Range::ALL), Exclusive).kind(), Exclusive);
        assert_eq!(all.less(range(0, u64::MAX)), None);
    }
}
