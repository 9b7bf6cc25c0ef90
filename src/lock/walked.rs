//! By which of its names a board is opened. The kernel tells an open by its inode
//! alone, but the same thread has looked up the name just before: nothing that was
//! looked up is kept by the kernel.
//!
//! Whoever opened a board by a name believes that it is that board which it locks.

use super::ids::{Ino, Pid, Uid, User};
use super::node::Name;
use super::table::Table;
use super::time::Timestamp;

/// The last lookups of so many threads of a user are remembered, and of so many in all.
pub(super) const WALKED: (usize, usize) = (256, 16 << 10);

/// What a thread looked up last.
#[derive(Clone, Debug)]
pub(super) struct Walked {
    pub ino: Ino,
    pub at: (Ino, Name),
    /// Whose it was then, and since when.
    pub last: (User, Timestamp),
}

/// What is known of how a thread came to an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// By a name that the inode has.
    By,
    /// By one that it has no more.
    ByAnother,
    /// That is not known.
    Somehow,
}

impl Table {
    /// A thread of this user has looked up a name, and was told this inode.
    pub fn walked(&mut self, thread: Option<Pid>, uid: Uid, (dir, name): (Ino, &[u8]), ino: Ino) {
        let (Some(thread), Some(node)) = (thread, self.nodes.get(&ino)) else {
            return;
        };
        if !node.is_file() {
            return;
        }
        let walked = Walked {
            ino,
            at: (dir, name.into()),
            last: node
                .claim
                .as_ref()
                .map_or(node.last, |claim| (claim.user, claim.since.wall)),
        };
        self.walks.insert(uid, thread, walked);
    }

    /// How a thread came to an inode.
    pub fn came(&self, thread: Option<Pid>, ino: Ino) -> Came {
        let Some(node) = self.nodes.get(&ino) else {
            return Came::Somehow;
        };
        match self.walk_of(thread, ino) {
            Some(walked) if node.is_called(&walked.at) => Came::By,
            Some(_) => Came::ByAnother,
            // It has but one, or the kernel would have asked.
            None if node.names.len() < 2 => Came::By,
            None => Came::Somehow,
        }
    }

    pub(super) fn walk_of(&self, thread: Option<Pid>, ino: Ino) -> Option<&Walked> {
        self.walks.get(&thread?).filter(|walked| walked.ino == ino)
    }

    /// The name by which a thread comes to an inode; none for all that it has.
    pub(super) fn came_by(&self, thread: Option<Pid>, ino: Ino) -> Option<(Ino, Name)> {
        let node = self.nodes.get(&ino)?;
        if let Some(walked) = self.walk_of(thread, ino)
            && node.is_called(&walked.at)
        {
            return Some(walked.at.clone());
        }
        match (&node.names[..], &node.aside.former[..]) {
            ([only], _) | ([], [only]) => Some(only.clone()),
            _ => None,
        }
    }
}
