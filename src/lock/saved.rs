//! What of the table outlives the daemon, and how it comes back.
//!
//! Where the connection outlives the daemon as well, all of it does. Else open files
//! are not connected any more: a board that file locks held is held by the processes
//! that opened the locked files from then on, since these believe that they have it
//! still.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::caller::Chain;
use super::claim::{Claim, ClaimId, Holder, Refused};
use super::effect::End;
use super::file_lock::FileLock;
use super::ids::{Handle, Ino, Pid, ProcessId, Token, Uid, User, WaitId};
use super::locking::BoardFile;
use super::node::{Body, Directory, Node};
use super::open::Open;
use super::queue::{AWAY, Asking, Waiter};
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
    user: User,
    command: String,
    via: String,
    pub(super) token: Token,
    since: (Timestamp, BootTime),
    expiry: Option<SavedExpiry>,
    mtime: Option<Timestamp>,
    atime: Option<Timestamp>,
    note: Option<Vec<u8>>,
    named: bool,
    refused: Refused,
    locker: Option<Pid>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum SavedHolder {
    Process(Vec<ProcessId>),
    Detached,
    Gone,
    Files,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum SavedExpiry {
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

/// How a saved table comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// On the same connection: with open files, file locks and waiters.
    Connected,
    /// On another one of the same boot.
    SameBoot,
    /// On another boot: no process is left, and boot times mean nothing.
    OtherBoot,
}

/// What came back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Boards that are held still.
    pub held: usize,
    /// Boards that nobody is left to hold.
    pub freed: usize,
    /// What contradicted the rest, and was left out.
    pub lost: usize,
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
    }

    /// What has changed since this was asked last.
    pub fn take_changes(&mut self, now: &Now) -> Changes {
        let inodes = self.nodes.take_touched().into_iter().map(Key::Inode);
        let opens = self.opens.take_touched().into_iter().map(Key::Open);
        let waiters = self.waiters.take_touched().into_iter().map(Key::Wait);
        let keys: Vec<Key> = inodes.chain(opens).chain(waiters).collect();
        Changes {
            counters: self.counters(),
            values: keys
                .into_iter()
                .map(|key| (key, self.value(key, now)))
                .collect(),
        }
    }

    /// All of it.
    pub fn saved(&self, now: &Now) -> Saved {
        let inodes = self.nodes.iter().map(|(ino, _)| Key::Inode(*ino));
        let opens = self.opens.iter().map(|(handle, _)| Key::Open(*handle));
        let waiters = self.waiters.iter().map(|(wait, _)| Key::Wait(*wait));
        let keys = inodes.chain(opens).chain(waiters);
        Saved {
            counters: self.counters(),
            values: keys
                .filter_map(|key| Some((key, self.value(key, now)?)))
                .collect(),
        }
    }

    fn value(&self, key: Key, now: &Now) -> Option<Value> {
        Some(match key {
            Key::Inode(ino) => Value::Inode(self.saved_inode(ino, now)?),
            Key::Open(handle) => {
                let mut open = self.opens.get(&handle)?.clone();
                // A read from the start makes a new one.
                open.snapshot = None;
                Value::Open(SavedOpen(open))
            }
            Key::Wait(wait) => Value::Wait(SavedWaiter(self.waiters.get(&wait)?.clone())),
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
            former: node
                .former
                .iter()
                .map(|(dir, name)| (*dir, name.to_vec()))
                .collect(),
            locks: node.locks.clone(),
        })
    }

    /// Takes a saved table over, into an empty one. `openers` finds the processes
    /// that opened locked files and live.
    pub fn restore(
        &mut self,
        now: &Now,
        saved: Saved,
        how: Return,
        openers: impl Fn(&[BoardFile]) -> Vec<ProcessId>,
    ) -> Restored {
        let (saved, lost) = saved.sound(how);
        let mut restored = Restored {
            lost,
            ..Restored::default()
        };
        self.advance(saved.counters);
        let mut names = Vec::new();
        let (mut ended, mut orders) = (Vec::new(), Vec::new());
        let (mut opens, mut waiters) = (Vec::new(), Vec::new());
        for (key, value) in saved.values {
            let (ino, inode) = match (key, value) {
                (Key::Inode(ino), Value::Inode(inode)) => (ino, inode),
                (Key::Open(handle), Value::Open(SavedOpen(open))) => {
                    opens.push((handle, open));
                    continue;
                }
                (Key::Wait(wait), Value::Wait(SavedWaiter(waiter))) => {
                    waiters.push((wait, waiter));
                    continue;
                }
                _ => {
                    restored.lost += 1;
                    continue;
                }
            };
            if how != Return::Connected && inode.names.is_empty() {
                continue;
            }
            let body = match inode.body {
                SavedBody::File(content) => Body::File(content),
                SavedBody::Directory => Body::Directory(Directory::default()),
                SavedBody::Link(target) => Body::Link(target.into()),
            };
            let mut node = Node::new(body, inode.last);
            node.charged = inode.charged;
            if let Some(claim) = inode.claim {
                let (mut claim, ends) = claim.restored(now, how, || openers(&inode.locked));
                claim.maker = inode.charged;
                if ends {
                    ended.push(ino);
                } else {
                    restored.held += 1;
                }
                node.claim = Some(claim);
            }
            if how == Return::Connected {
                node.locks = inode.locks;
                for (dir, name) in inode.former {
                    let key = (dir, name.into_boxed_slice());
                    node.former.push(key.clone());
                    self.former.entry(key).or_default().push(ino);
                }
            }
            self.nodes.insert(ino, node);
            if inode.names.len() > 1 {
                orders.push((ino, inode.names.clone()));
            }
            names.extend(inode.names.into_iter().map(|name| (name, ino)));
        }
        // As they stand in their directories.
        names.sort_by_key(|((_, _, place), _)| *place);
        for ((dir, name, _), ino) in names {
            match self.nodes.get(&dir).and_then(Node::directory) {
                Some(directory) if directory.get(&name).is_none() => {
                    self.add_name(dir, &name, ino);
                }
                _ => restored.lost += 1,
            }
        }
        // The first of its names is what it is called.
        for (ino, order) in orders {
            if let Some(node) = self.nodes.get_mut(&ino) {
                let place = |(dir, name): &(Ino, Box<[u8]>)| {
                    order
                        .iter()
                        .position(|(at, called, _)| at == dir && **called == **name)
                };
                node.names.sort_by_key(place);
            }
        }
        let all: Vec<Ino> = self.nodes.iter().map(|(ino, _)| *ino).collect();
        for ino in all.iter().copied() {
            let lineage = self.claim(ino).map(|claim| claim.holder.lineage().to_vec());
            if let Some(lineage) = lineage {
                self.hang_on(ino, &lineage);
                self.set_deadline(ino);
            }
        }
        if how == Return::Connected {
            self.connect(opens, waiters, now);
        }
        for ino in ended {
            restored.freed += 1;
            self.lose(ino, &End::Died, now);
        }
        // Nobody waits for what is free, and no directory that is over stays.
        for ino in all {
            self.settle_board(ino, now);
            self.sweep(ino, now);
        }
        restored
    }

    fn connect(
        &mut self,
        opens: Vec<(Handle, Open)>,
        mut waiters: Vec<(WaitId, Waiter)>,
        now: &Now,
    ) {
        for (handle, open) in opens {
            if let Some(node) = self.nodes.get_mut(&open.ino) {
                node.opens.push(handle);
                self.opens.insert(handle, open);
            }
        }
        waiters.sort_by_key(|(_, waiter)| waiter.arrival);
        for (wait, mut waiter) in waiters {
            // The kernel sends its request once more, unless a signal has ended it.
            waiter.asking = Asking::Away(BootTime(now.boot.0.saturating_add(AWAY)));
            self.last_arrival = self.last_arrival.max(waiter.arrival);
            if let Some(node) = self.nodes.get_mut(&waiter.ino) {
                node.queue.push(wait);
                self.put_waiter(wait, waiter);
            }
        }
    }
}

impl SavedClaim {
    fn of(claim: &Claim, now: &Now) -> SavedClaim {
        SavedClaim {
            id: claim.id.0,
            holder: match &claim.holder {
                Holder::Process(lineage) => SavedHolder::Process(lineage.clone()),
                Holder::Detached => SavedHolder::Detached,
                Holder::Gone => SavedHolder::Gone,
                Holder::Files(_) => SavedHolder::Files,
            },
            user: claim.user,
            command: claim.command.clone(),
            via: claim.via.0.clone(),
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
            mtime: claim.mtime,
            atime: claim.atime,
            note: claim.note.clone(),
            named: claim.named,
            refused: claim.refused.saved(),
            locker: claim.locker,
        }
    }

    /// The claim, and whether nobody is left to hold it.
    fn restored(
        self,
        now: &Now,
        how: Return,
        openers: impl FnOnce() -> Vec<ProcessId>,
    ) -> (Claim, bool) {
        let same_boot = how != Return::OtherBoot;
        let holder = match self.holder {
            SavedHolder::Process(lineage) if same_boot => Holder::Process(lineage),
            SavedHolder::Files if how == Return::Connected => Holder::Files(Vec::new()),
            SavedHolder::Files if same_boot => Holder::Process(openers()),
            SavedHolder::Process(_) | SavedHolder::Files => Holder::Process(Vec::new()),
            SavedHolder::Detached => Holder::Detached,
            SavedHolder::Gone => Holder::Gone,
        };
        let ends = matches!(&holder, Holder::Process(lineage) if lineage.is_empty());
        let since = match same_boot {
            true => Now {
                wall: self.since.0,
                boot: self.since.1,
            },
            // It is older than this boot.
            false => Now {
                wall: self.since.0,
                boot: BootTime::default(),
            },
        };
        let claim = Claim {
            id: ClaimId(self.id),
            holder,
            user: self.user,
            command: self.command,
            via: Chain(self.via),
            token: self.token,
            since,
            expiry: self.expiry.map(|expiry| expiry.restored(now, same_boot)),
            mtime: self.mtime,
            atime: self.atime,
            note: self.note,
            named: self.named,
            likely: None,
            ending: false,
            locker: self.locker,
            refused: if same_boot {
                self.refused
            } else {
                Refused::default()
            },
            maker: self.user.uid,
        };
        (claim, ends)
    }
}

impl SavedExpiry {
    fn restored(self, now: &Now, same_boot: bool) -> Expiry {
        match self {
            SavedExpiry::Lease { length, ends, .. } if same_boot => Expiry::Lease { length, ends },
            SavedExpiry::Lease { length, wall, .. } => {
                // The machine was off for a while; no clock has counted it but
                // the one on the wall, which never makes a lease longer.
                let left = wall.since(now.wall).unwrap_or_default().min(length);
                Expiry::Lease {
                    length,
                    ends: BootTime(now.boot.0.saturating_add(left)),
                }
            }
            SavedExpiry::At(moment) => Expiry::At(moment),
        }
    }
}
