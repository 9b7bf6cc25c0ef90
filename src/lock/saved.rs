//! What of the table outlives the daemon, and how it comes back.
//!
//! Boards and claims do. Open files do not, as the connection to them ends with
//! the daemon: a board that file locks held is held by the processes that opened
//! the locked files from then on, since these believe that they have it still.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::caller::Chain;
use super::claim::{Claim, ClaimId, Holder, Refused};
use super::effect::End;
use super::ids::{Ino, Pid, ProcessId, Token, Uid, User};
use super::locking::BoardFile;
use super::node::{Body, Directory, Name, Node};
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
    body: SavedBody,
    /// Directory, name, place in that directory.
    names: Vec<(Ino, Vec<u8>, u64)>,
    charged: Uid,
    last: (User, Timestamp),
    claim: Option<SavedClaim>,
    /// The locked files, where file locks alone hold it.
    locked: Vec<BoardFile>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum SavedBody {
    File(Vec<u8>),
    Directory,
    Link(Vec<u8>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SavedClaim {
    id: u64,
    holder: SavedHolder,
    user: User,
    command: String,
    via: String,
    token: Token,
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
enum SavedHolder {
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
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// As they are now.
    pub counters: Counters,
    /// The inodes that may be others now; none for one that is no more.
    pub inodes: Vec<(Ino, Option<SavedInode>)>,
}

/// A saved table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Saved {
    /// As far as they got.
    pub counters: Counters,
    /// All inodes.
    pub inodes: Vec<(Ino, SavedInode)>,
}

/// What came back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Boards that are held still.
    pub held: usize,
    /// Boards that nobody is left to hold.
    pub freed: usize,
    /// Names that made no sense.
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
    /// The same with places counted anew, in their order.
    #[doc(hidden)]
    pub fn unplaced(mut self) -> Saved {
        let mut places: Vec<&mut (Ino, Vec<u8>, u64)> = self
            .inodes
            .iter_mut()
            .flat_map(|(_, inode)| &mut inode.names)
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
    }

    /// What has changed since this was asked last.
    pub fn take_changes(&mut self, now: &Now) -> Changes {
        let touched = self.nodes.take_touched();
        let saved = |ino| (ino, self.saved_inode(ino, now));
        Changes {
            counters: self.counters(),
            inodes: touched.into_iter().map(saved).collect(),
        }
    }

    /// All of it.
    pub fn saved(&self, now: &Now) -> Saved {
        let mut numbers: Vec<Ino> = self.nodes.iter().map(|(ino, _)| *ino).collect();
        numbers.sort_unstable();
        let inodes = numbers.into_iter();
        Saved {
            counters: self.counters(),
            inodes: inodes
                .filter_map(|ino| Some((ino, self.saved_inode(ino, now)?)))
                .collect(),
        }
    }

    fn saved_inode(&self, ino: Ino, now: &Now) -> Option<SavedInode> {
        let node = self.nodes.get(&ino)?;
        // The lock directory itself is made anew.
        if node.names.is_empty() {
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
        })
    }

    /// Takes a saved table over, into an empty one. On another boot no process is
    /// left, and boot times mean nothing. `openers` finds the processes that
    /// opened locked files and live.
    pub fn restore(
        &mut self,
        now: &Now,
        saved: Saved,
        same_boot: bool,
        openers: impl Fn(&[BoardFile]) -> Vec<ProcessId>,
    ) -> Restored {
        self.advance(saved.counters);
        let mut restored = Restored::default();
        let mut names = Vec::new();
        let mut ended = Vec::new();
        for (ino, inode) in saved.inodes {
            let body = match inode.body {
                SavedBody::File(content) => Body::File(content),
                SavedBody::Directory => Body::Directory(Directory::default()),
                SavedBody::Link(target) => Body::Link(target.into()),
            };
            let mut node = Node::new(body, inode.last);
            node.charged = inode.charged;
            if let Some(claim) = inode.claim {
                let (claim, ends) = claim.restored(now, same_boot, || openers(&inode.locked));
                if ends {
                    ended.push(ino);
                } else {
                    restored.held += 1;
                }
                node.claim = Some(claim);
            }
            self.nodes.insert(ino, node);
            let of_it = inode.names.into_iter().enumerate();
            names.extend(of_it.map(|(rank, name)| (name, ino, rank)));
        }
        // As they stand in their directories.
        names.sort_by_key(|((_, _, place), ..)| *place);
        let mut ranks = HashMap::new();
        for ((dir, name, _), ino, rank) in names {
            match self.nodes.get(&dir).and_then(Node::directory) {
                Some(directory) if directory.get(&name).is_none() => {
                    self.add_name(dir, &name, ino);
                    ranks.insert((dir, Name::from(name)), rank);
                }
                _ => restored.lost += 1,
            }
        }
        let all: Vec<Ino> = self.nodes.iter().map(|(ino, _)| *ino).collect();
        for ino in &all {
            // A board goes by its first name.
            if let Some(node) = self.nodes.get_mut(ino) {
                node.names.sort_by_key(|name| ranks.get(name).copied());
            }
        }
        for ino in all {
            let lineage = self.claim(ino).map(|claim| claim.holder.lineage().to_vec());
            if let Some(lineage) = lineage {
                self.hang_on(ino, &lineage);
                self.set_deadline(ino);
            }
        }
        for ino in ended {
            restored.freed += 1;
            self.lose(ino, &End::Died, now);
        }
        restored
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
            refused: claim.refused.clone(),
            locker: claim.locker,
        }
    }

    /// The claim, and whether nobody is left to hold it.
    fn restored(
        self,
        now: &Now,
        same_boot: bool,
        openers: impl FnOnce() -> Vec<ProcessId>,
    ) -> (Claim, bool) {
        let holder = match self.holder {
            SavedHolder::Process(lineage) if same_boot => Holder::Process(lineage),
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
