//! What of the table outlives the daemon. How it comes back is told in `restored`.
//!
//! Where the connection outlives the daemon as well, all of it does. Else open files
//! are not connected any more: a board that file locks held is held by the processes
//! that opened the locked files from then on, since these believe that they have it
//! still.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::caller::Caller;
use super::claim::{Claim, Holder, Refused};
use super::file_lock::FileLock;
use super::ids::{Handle, Ino, Pid, ProcessId, Token, Uid, User, WaitId};
use super::node::{Body, Name, Node};
use super::open::Open;
use super::queue::Waiter;
use super::shown::BoardFile;
use super::table::Table;
use super::time::{BootTime, Expiry, Now, Timestamp};

/// The numbers that are never given out twice, as far as they got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Of inodes.
    pub ino: u64,
    /// Of open files.
    pub handle: u64,
    /// Of acquisitions.
    pub token: u64,
    /// Of holds.
    pub claim: u64,
}

/// An inode that has a name, or the lock directory itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedInode {
    pub(super) body: SavedBody,
    /// Directory, name, place in that directory.
    pub(super) names: Vec<(Ino, Vec<u8>, u64)>,
    pub(super) charged: Uid,
    pub(super) last: (User, Timestamp),
    pub(super) claim: Option<SavedClaim>,
    /// The locked files, where file locks alone hold it.
    pub(super) locked: Vec<BoardFile>,
    /// What it was called when it was free last.
    pub(super) former: Vec<(Ino, Vec<u8>)>,
    pub(super) locks: Vec<FileLock>,
}

/// An open file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedOpen(pub(super) Open);

/// How an open file came to a board of several names, or one that was such.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedName {
    pub(super) through: Option<(Ino, Vec<u8>)>,
    pub(super) known_as: Option<Ino>,
}

/// A free inode that nobody has open, for an open that may be on its way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedFree {
    pub(super) names: Vec<(Ino, Vec<u8>)>,
    pub(super) last: (User, Timestamp),
}

/// A lock that waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedWaiter(pub(super) Waiter);

/// What is saved by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Key {
    /// An inode.
    Inode(Ino),
    /// An open file.
    Open(Handle),
    /// A lock that waits.
    Wait(WaitId),
    /// An open file of what is no board, and is polled; not in the first form.
    Watcher(Handle),
}

/// The same as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// An inode.
    Inode(SavedInode),
    /// An open file.
    Open(SavedOpen),
    /// A lock that waits.
    Wait(SavedWaiter),
    /// The number by which the kernel knows who polls it; not in the first form.
    Watcher(u64),
    /// An open file, and by which name it came; not in the first form.
    Named(SavedOpen, SavedName),
    /// Under an inode's key: it is free, and nobody has it open; not in the first form.
    Free(SavedFree),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum SavedBody {
    File(Vec<u8>),
    Directory,
    Link(Vec<u8>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SavedClaim {
    pub(super) id: u64,
    pub(super) holder: SavedHolder,
    pub(super) user: User,
    pub(super) command: String,
    pub(super) via: String,
    pub(super) token: Token,
    pub(super) since: (Timestamp, BootTime),
    pub(super) expiry: Option<SavedExpiry>,
    pub(super) mtime: Option<Timestamp>,
    pub(super) atime: Option<Timestamp>,
    pub(super) note: Option<Vec<u8>>,
    pub(super) named: bool,
    pub(super) refused: Refused,
    pub(super) locker: Option<Pid>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum SavedHolder {
    Process(Vec<ProcessId>),
    Detached,
    Gone,
    Files,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum SavedExpiry {
    Lease {
        length: std::time::Duration,
        ends: BootTime,
        /// The same by the wall clock as it stood: for another boot.
        wall: Timestamp,
    },
    At(Timestamp),
}

/// What has changed.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// As they are now.
    pub counters: Counters,
    /// What may be other now; none for what is no more.
    pub values: Vec<(Key, Option<Value>)>,
}

/// A saved table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Saved {
    /// As far as they got.
    pub counters: Counters,
    /// All of it.
    pub values: BTreeMap<Key, Value>,
}

/// All of a table, each value made when it is its turn: a table is large, and is written
/// while it is in use.
#[derive(Clone, Copy, Debug)]
pub struct Whole<'a> {
    table: &'a Table,
    now: &'a Now,
}

impl Whole<'_> {
    /// As far as they got.
    pub fn counters(&self) -> Counters {
        self.table.counters()
    }

    /// All of it, in order.
    pub fn values(&self) -> impl Iterator<Item = (Key, Value)> {
        let mut keys = self.table.keys();
        keys.sort_unstable();
        keys.into_iter()
            .filter_map(|key| Some((key, self.table.value(key, self.now)?)))
    }
}

impl SavedInode {
    /// The processes that it hangs on.
    pub fn lineage(&self) -> &[ProcessId] {
        match &self.claim {
            Some(SavedClaim {
                holder: SavedHolder::Process(lineage),
                ..
            }) => lineage,
            _ => &[],
        }
    }

    /// The locked files, where file locks alone held it.
    pub fn locked(&self) -> &[BoardFile] {
        &self.locked
    }
}

impl Saved {
    /// Its inodes.
    pub fn inodes(&self) -> impl Iterator<Item = &SavedInode> {
        self.values.values().filter_map(|value| match value {
            Value::Inode(inode) => Some(inode),
            _ => None,
        })
    }

    /// Those who wait.
    pub fn callers_mut(&mut self) -> impl Iterator<Item = &mut Caller> {
        self.values.values_mut().filter_map(|value| match value {
            Value::Wait(waiter) => Some(&mut waiter.0.caller),
            _ => None,
        })
    }

    /// The same with places counted anew, in their order.
    #[doc(hidden)]
    pub fn unplaced(mut self) -> Saved {
        let mut places: Vec<&mut (Ino, Vec<u8>, u64)> = self
            .values
            .values_mut()
            .filter_map(|value| match value {
                Value::Inode(inode) => Some(inode),
                _ => None,
            })
            .flat_map(|inode| &mut inode.names)
            .collect();
        places.sort_by_key(|(dir, _, place)| (*dir, *place));
        for (at, (_, _, place)) in (1..).zip(places) {
            *place = at;
        }
        self
    }
}

impl Table {
    /// Notes from now on what changes.
    pub fn track(&mut self) {
        self.nodes.track();
        self.opens.track();
        self.waiters.track();
        self.watchers.track();
    }

    /// What has changed since this was asked last.
    pub fn take_changes(&mut self, now: &Now) -> Changes {
        let inodes = self.nodes.take_touched().into_iter().map(Key::Inode);
        let opens = self.opens.take_touched().into_iter().map(Key::Open);
        let waiters = self.waiters.take_touched().into_iter().map(Key::Wait);
        let watchers = self.watchers.take_touched().into_iter().map(Key::Watcher);
        let keys = inodes.chain(opens).chain(waiters).chain(watchers);
        let keys: Vec<Key> = keys.collect();
        Changes {
            counters: self.counters(),
            values: keys
                .into_iter()
                .map(|key| (key, self.value(key, now)))
                .collect(),
        }
    }

    /// All of it, to be written.
    pub fn whole<'a>(&'a self, now: &'a Now) -> Whole<'a> {
        Whole { table: self, now }
    }

    /// All of it.
    pub fn saved(&self, now: &Now) -> Saved {
        let whole = self.whole(now);
        Saved {
            counters: whole.counters(),
            values: whole.values().collect(),
        }
    }

    /// What there may be something to be saved of.
    fn keys(&self) -> Vec<Key> {
        let inodes = self.nodes.iter().map(|(ino, _)| Key::Inode(*ino));
        let free = self.buried.keys().into_iter().map(Key::Inode);
        let opens = self.opens.iter().map(|(handle, _)| Key::Open(*handle));
        let waiters = self.waiters.iter().map(|(wait, _)| Key::Wait(*wait));
        let watchers = self.watchers.iter();
        let watchers = watchers.map(|(handle, _)| Key::Watcher(*handle));
        let keys = inodes.chain(free).chain(opens).chain(waiters);
        keys.chain(watchers).collect()
    }

    fn value(&self, key: Key, now: &Now) -> Option<Value> {
        Some(match key {
            Key::Inode(ino) => match self.buried.get(&ino) {
                Some(buried) => Value::Free(SavedFree {
                    names: unboxed(&buried.names),
                    last: buried.last,
                }),
                None => Value::Inode(self.saved_inode(ino, now)?),
            },
            Key::Open(handle) => {
                let mut open = self.opens.get(&handle)?.clone();
                // A read from the start makes a new one.
                open.snapshot = None;
                let name = SavedName {
                    through: open.through.take().map(|(dir, name)| (dir, name.to_vec())),
                    known_as: open.known_as.take(),
                };
                match name {
                    SavedName {
                        through: None,
                        known_as: None,
                    } => Value::Open(SavedOpen(open)),
                    name => Value::Named(SavedOpen(open), name),
                }
            }
            Key::Wait(wait) => Value::Wait(SavedWaiter(self.waiters.get(&wait)?.clone())),
            Key::Watcher(handle) => Value::Watcher(*self.watchers.get(&handle)?),
        })
    }

    fn saved_inode(&self, ino: Ino, now: &Now) -> Option<SavedInode> {
        let node = self.nodes.get(&ino)?;
        // The lock directory itself is made anew.
        if ino == Ino::ROOT || (node.names.is_empty() && node.opens.is_empty()) {
            return None;
        }
        let place = |dir: &Ino, name: &[u8]| {
            let directory = self.nodes.get(dir).and_then(Node::directory)?;
            directory.place(name)
        };
        Some(SavedInode {
            body: match &node.body {
                Body::File(content) => SavedBody::File(content.clone()),
                Body::Directory(_) => SavedBody::Directory,
                Body::Link(target) => SavedBody::Link(target.to_vec()),
            },
            names: node
                .names
                .iter()
                .map(|(dir, name)| (*dir, name.to_vec(), place(dir, name).unwrap_or(0)))
                .collect(),
            charged: node.charged,
            last: node.last,
            claim: node.claim.as_ref().map(|claim| SavedClaim::of(claim, now)),
            locked: self.locked_files(ino, usize::MAX),
            former: unboxed(&node.aside.former),
            locks: node.locks.to_vec(),
        })
    }
}

fn unboxed(names: &[(Ino, Name)]) -> Vec<(Ino, Vec<u8>)> {
    let names = names.iter();
    names.map(|(dir, name)| (*dir, name.to_vec())).collect()
}

impl SavedClaim {
    fn of(claim: &Claim, now: &Now) -> SavedClaim {
        SavedClaim {
            id: claim.id.0,
            holder: match &claim.holder {
                Holder::Process(lineage) => SavedHolder::Process(lineage.to_vec()),
                Holder::Detached => SavedHolder::Detached,
                Holder::Gone => SavedHolder::Gone,
                Holder::Files(_) => SavedHolder::Files,
            },
            user: claim.user,
            command: claim.told.command.clone(),
            via: claim.told.via.0.clone(),
            token: claim.token,
            since: (claim.since.wall, claim.since.boot),
            expiry: claim.expiry.map(|expiry| match expiry {
                Expiry::Lease { length, ends } => SavedExpiry::Lease {
                    length,
                    ends,
                    wall: expiry.wall(now),
                },
                Expiry::At(moment) => SavedExpiry::At(moment),
            }),
            mtime: claim.rare.mtime,
            atime: claim.rare.atime,
            note: claim.rare.note.clone(),
            named: claim.named,
            refused: claim.rare.refused.saved(),
            locker: claim.rare.locker,
        }
    }
}
