//! A naive model of the contract: maps from whole paths, searched from end to
//! end at every step. Written from the rules, not from the table.

use std::collections::{BTreeMap, BTreeSet};

use boardlock::lock::ids::ProcessId;
use boardlock::lock::options::{ExpireRule, ReleaseRule};

use super::history::{LEASE, Mode};
use super::world::{Asks, SECOND};

/// What the contract says of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    Ok,
    /// Refused with one of these; with any, if there is none.
    No(Vec<i32>),
    /// Either would do.
    Any,
}

impl Expect {
    pub fn allows(&self, answer: &Result<(), i32>) -> bool {
        match (self, answer) {
            (Expect::Ok, answer) => answer.is_ok(),
            (Expect::No(errors), Err(error)) => errors.is_empty() || errors.contains(error),
            (Expect::No(_), Ok(())) => false,
            (Expect::Any, _) => true,
        }
    }

    pub fn of(errors: Vec<i32>) -> Expect {
        if errors.is_empty() {
            Expect::Ok
        } else {
            Expect::No(errors)
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    File,
    Directory,
    Link(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// The first holds, then the next.
    Process(Vec<ProcessId>),
    Detached,
    /// A directory whose holder is gone.
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    Boot(i128),
    Wall(i128),
}

#[derive(Clone, Debug)]
pub struct Hold {
    /// Never the same for two.
    pub id: u64,
    pub holder: Holder,
    pub uid: u32,
    pub charged: u32,
    /// When it was acquired, by the wall clock.
    pub since: i128,
    pub until: Option<Until>,
    pub mtime: Option<i128>,
    pub atime: Option<i128>,
    /// Who was refused it, and by which name.
    pub refused: Vec<(String, Vec<ProcessId>, u32)>,
}

/// An inode.
#[derive(Clone, Debug)]
pub struct Node {
    pub what: What,
    pub content: Vec<u8>,
    pub hold: Option<Hold>,
    /// The names it had when it was freed.
    pub former: BTreeSet<String>,
    /// Grows with each that was freed.
    pub freed: u64,
}

#[derive(Clone, Debug)]
pub struct Open {
    pub node: u64,
    pub hold: u64,
    /// Whether the holder's side opened it.
    pub side: bool,
    pub claiming: bool,
    pub by: Asks,
    pub mode: Mode,
    /// The name by which it was opened; none for each that the inode has.
    pub through: Option<String>,
}

#[derive(Debug)]
pub struct Model {
    pub lease: bool,
    pub release: ReleaseRule,
    pub expire: ExpireRule,
    pub most: usize,
    pub most_per_user: usize,
    pub nodes: BTreeMap<u64, Node>,
    pub names: BTreeMap<String, u64>,
    /// By the number that the table gave.
    pub opens: BTreeMap<u64, Open>,
    /// The boards that were acquired since this was last cleared.
    pub fresh: BTreeSet<String>,
    pub holds: u64,
    /// Inodes whose numbers are the table's to give: these count down.
    pub unnumbered: u64,
}

/// What is above a path; none for one in the lock directory itself.
pub fn parent(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(parent, _)| parent)
}

/// A path with another last name.
pub fn beside(path: &str, name: &str) -> String {
    match parent(path) {
        Some(parent) => format!("{parent}/{name}"),
        None => name.to_owned(),
    }
}

impl Hold {
    pub fn process(&self) -> Option<ProcessId> {
        match &self.holder {
            Holder::Process(lineage) => lineage.first().copied(),
            _ => None,
        }
    }

    /// "The caller is the holder."
    pub fn held_by(&self, asks: &Asks) -> bool {
        self.process()
            .is_some_and(|holder| asks.lineage.contains(&holder))
    }

    /// "The holder's side."
    pub fn on_side(&self, asks: &Asks) -> bool {
        self.held_by(asks)
            || self
                .process()
                .is_some_and(|holder| asks.above.contains(&holder))
    }

    pub fn movable_by(&self, asks: &Asks) -> bool {
        match self.holder {
            Holder::Process(_) => self.held_by(asks),
            Holder::Detached => self.uid == asks.uid,
            Holder::Gone => false,
        }
    }

    pub fn overdue(&self, wall: i128, boot: i128) -> bool {
        match self.until {
            Some(Until::Boot(ends)) => ends <= boot,
            Some(Until::Wall(ends)) => ends <= wall,
            None => false,
        }
    }

    /// The expiry by the wall clock, unless it has passed.
    pub fn good_until(&self, wall: i128, boot: i128) -> Option<i128> {
        if self.overdue(wall, boot) {
            return None;
        }
        self.until.map(|until| match until {
            Until::Boot(ends) => wall + ends - boot,
            Until::Wall(ends) => ends,
        })
    }

    pub fn shown_mtime(&self, wall: i128, boot: i128) -> i128 {
        match self.mtime {
            Some(set) if self.until == Some(Until::Wall(set)) && set <= wall => wall,
            Some(set) => set,
            None => self.good_until(wall, boot).unwrap_or(wall),
        }
    }
}

impl Model {
    pub fn node(&self, path: &str) -> Option<&Node> {
        self.nodes.get(self.names.get(path)?)
    }

    pub fn hold(&self, path: &str) -> Option<&Hold> {
        self.node(path)?.hold.as_ref()
    }

    pub fn hold_mut(&mut self, path: &str) -> Option<&mut Hold> {
        let ino = self.names.get(path)?;
        self.nodes.get_mut(ino)?.hold.as_mut()
    }

    pub fn names_of(&self, ino: u64) -> Vec<String> {
        let with = self.names.iter().filter(|(_, other)| **other == ino);
        with.map(|(path, _)| path.clone()).collect()
    }

    pub fn inside(&self, path: &str) -> Vec<String> {
        let prefix = format!("{path}/");
        let inside = self.names.keys().filter(|path| path.starts_with(&prefix));
        inside.cloned().collect()
    }

    pub fn occupied(&self, path: &str) -> bool {
        !self.inside(path).is_empty()
    }

    pub fn is_directory(&self, path: &str) -> bool {
        self.node(path)
            .is_some_and(|node| node.what == What::Directory)
    }

    /// The lease of a new claim.
    pub fn first_until(&self, boot: i128) -> Option<Until> {
        self.lease
            .then_some(Until::Boot(boot + i128::from(LEASE) * SECOND))
    }
}
