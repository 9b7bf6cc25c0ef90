//! The names of things: processes, users, inodes, open files, tokens.
//!
//! Each is a type of its own, so that a thread id cannot be passed where a
//! process is meant and an inode number not where a token is.

use std::fmt;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

/// A process id as the daemon's pid namespace numbers it. Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32")]
pub struct Pid(NonZeroU32);

impl TryFrom<u32> for Pid {
    type Error = &'static str;

    fn try_from(number: u32) -> Result<Pid, &'static str> {
        Pid::new(number).ok_or("no pid")
    }
}

impl Pid {
    /// The pid with this number; none for 0 and for what no kernel hands out
    /// (above `i32::MAX`, pid_t being signed).
    pub fn new(number: u32) -> Option<Pid> {
        if number > i32::MAX as u32 {
            return None;
        }
        NonZeroU32::new(number).map(Pid)
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// When a process started, in clock ticks since boot (field 22 of
/// proc_pid_stat(5)). With the pid it names one process for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StartTime(pub u64);

/// One process: a pid that is used again belongs to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProcessId {
    /// Its pid.
    pub pid: Pid,
    /// Its start.
    pub start: StartTime,
}

/// A user's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Uid(pub u32);

impl Uid {
    /// The administrator.
    pub const ROOT: Uid = Uid(0);
}

/// A group's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Gid(pub u32);

/// A user as files show one: number and group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct User {
    /// User.
    pub uid: Uid,
    /// Group.
    pub gid: Gid,
}

/// An inode of the lock directory. Never given out twice in a mount's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ino(pub u64);

impl Ino {
    /// The lock directory itself.
    pub const ROOT: Ino = Ino(1);
}

/// An open file (what open(2) made, however many descriptors share it).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Handle(pub u64);

/// Whom the kernel counts a fcntl lock as: the table of open files of a process
/// (POSIX locks) or an open file (OFD locks), as a number that says no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LockOwner(pub u64);

/// A request that is answered later. Never used twice in a mount's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WaitId(pub u64);

impl WaitId {
    /// That of a request with this `unique`, which has its highest bit set when it
    /// is sent for the second time (FUSE_UNIQUE_RESEND of linux/fuse.h).
    pub fn of_request(unique: u64) -> WaitId {
        WaitId(unique & !(1 << 63))
    }
}

/// The number of an acquisition; it only grows (semantics.md, "Metadata").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Token(pub u64);

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
