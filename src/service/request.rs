//! What a request carries, and how it can fail.

use std::io;

use crate::lock::attributes::Attributes;
use crate::lock::ids::{Gid, Ino, Pid, Uid, User};
use crate::lock::node::Name;
use crate::lock::refusal::Refusal;

/// Who sent a request, as the kernel says it.
#[derive(Clone, Copy, Debug)]
pub struct Sender {
    /// The thread; none when it cannot be seen from here.
    pub thread: Option<Pid>,
    /// Its user.
    pub user: User,
}

/// A request that failed: by the rules, or because finding out who asks did.
#[derive(Debug)]
pub enum Failure {
    /// The table said no.
    Refused(Refusal),
    /// The daemon could not find out who asks.
    System(io::Error),
    /// The daemon cannot record what is held.
    Unrecorded(io::Error),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Refused(refusal) => refusal.fmt(f),
            Failure::System(error) | Failure::Unrecorded(error) => error.fmt(f),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        Failure::Refused(refusal)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::System(error)
    }
}

/// A name in a directory.
pub type At<'a> = (Ino, &'a [u8]);

/// A listing: place, name and inode of each entry, and whether it is a
/// directory or a link.
pub type Listing = Vec<(u64, Name, Attributes)>;

/// A user from the numbers of a request.
pub fn user(uid: u32, gid: u32) -> User {
    User {
        uid: Uid(uid),
        gid: Gid(gid),
    }
}
