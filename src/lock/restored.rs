//! How what was saved comes back.

use std::sync::Arc;

use super::caller::Chain;
use super::claim::{Claim, ClaimId, Holder, Rare, Refused, Told};
use super::effect::End;
use super::holds::Buried;
use super::ids::{Handle, Ino, ProcessId, WaitId};
use super::node::{Body, Name, Node};
use super::open::Open;
use super::queue::{AWAY, Asking, Waiter};
use super::saved::{
    Key, Saved, SavedBody, SavedClaim, SavedExpiry, SavedHolder, SavedOpen, SavedWaiter, Value,
};
use super::shown::BoardFile;
use super::table::Table;
use super::time::{BootTime, Expiry, Now};

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

impl Table {
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
        let (mut opens, mut waiters, mut buried) = (Vec::new(), Vec::new(), Vec::new());
        for (key, value) in saved.values {
            let (ino, inode) = match (key, value) {
                (Key::Inode(ino), Value::Inode(inode)) => (ino, inode),
                (Key::Open(handle), Value::Open(SavedOpen(open))) => {
                    opens.push((handle, open));
                    continue;
                }
                (Key::Open(handle), Value::Named(SavedOpen(mut open), name)) => {
                    open.through = name.through.map(|(dir, name)| (dir, name.into()));
                    open.known_as = name.known_as;
                    opens.push((handle, open));
                    continue;
                }
                (Key::Inode(ino), Value::Free(free)) => {
                    if how == Return::Connected {
                        let names = free.names.into_iter();
                        let names = names.map(|(dir, name)| (dir, name.into()));
                        buried.push((ino, names.collect(), free.last));
                    }
                    continue;
                }
                (Key::Wait(wait), Value::Wait(SavedWaiter(waiter))) => {
                    waiters.push((wait, waiter));
                    continue;
                }
                (Key::Watcher(handle), Value::Watcher(number)) => {
                    if how == Return::Connected {
                        self.watchers.insert(handle, number);
                    }
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
                SavedBody::Directory => Body::Directory(Box::default()),
                SavedBody::Link(target) => Body::Link(target.into()),
            };
            let mut node = Node::new(body, inode.last);
            node.laid_out = inode.claim.is_none() && node.is_directory();
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
                node.locks = inode.locks.into();
                for (dir, name) in inode.former {
                    let key = (dir, Name::from(name));
                    node.aside.change(|aside| aside.former.push(key.clone()));
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
                let place = |(dir, name): &(Ino, Name)| {
                    order
                        .iter()
                        .position(|(at, called, _)| at == dir && **called == **name)
                };
                node.names.sort_by_key(place);
            }
        }
        let all: Vec<Ino> = self.nodes.iter().map(|(ino, _)| *ino).collect();
        for ino in all.iter().copied() {
            if let Some(mut claim) = self.claim(ino).cloned() {
                self.share(&mut claim);
                let lineage = claim.holder.lineage().to_vec();
                if let Some(node) = self.nodes.get_mut(&ino) {
                    node.claim = Some(claim);
                }
                self.hang_on(ino, &lineage);
                self.set_deadline(ino);
            }
        }
        if how == Return::Connected {
            self.connect(opens, waiters, now);
        }
        // As they were freed, about.
        for (ino, names, last) in buried {
            self.put_buried(ino, Buried { names, last });
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
                if let Some(ino) = open.known_as {
                    self.elsewhere.entry(ino).or_default().insert(handle);
                }
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
    /// The claim, and whether nobody is left to hold it.
    fn restored(
        self,
        now: &Now,
        how: Return,
        openers: impl FnOnce() -> Vec<ProcessId>,
    ) -> (Claim, bool) {
        let same_boot = how != Return::OtherBoot;
        let holder = match self.holder {
            SavedHolder::Process(lineage) if same_boot => Holder::Process(lineage.into()),
            SavedHolder::Files if how == Return::Connected => Holder::Files(Vec::new()),
            SavedHolder::Files if same_boot => Holder::Process(openers().into()),
            SavedHolder::Process(_) | SavedHolder::Files => Holder::Process(Arc::default()),
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
            told: Arc::new(Told {
                command: self.command,
                via: Chain(self.via),
            }),
            token: self.token,
            since,
            expiry: self.expiry.map(|expiry| expiry.restored(now, same_boot)),
            rare: Rare {
                mtime: self.mtime,
                atime: self.atime,
                note: self.note,
                likely: None,
                locker: self.locker,
                refused: if same_boot {
                    self.refused
                } else {
                    Refused::default()
                },
            }
            .into(),
            named: self.named,
            as_made: false,
            ending: false,
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
