//! Inodes and names: what the lock directory is made of.

use std::collections::HashMap;
use std::sync::Arc;

use smallvec::SmallVec;

use super::claim::Claim;
use super::effect::Ended;
use super::few::Few;
use super::file_lock::FileLock;
use super::ids::{Handle, Ino, Uid, User, WaitId};
use super::rarely::{Rarely, Usual};
use super::refusal::Refusal;
use super::time::Timestamp;

/// The most bytes of a name, as on any Linux file system.
pub const NAME_MAX: usize = 255;

/// The most bytes of a path within the lock directory, as of any path that a
/// system call takes.
pub const PATH_MAX: usize = 4095;

/// The most directories in each other. Each one makes everything about the
/// boards below it slower, for everybody.
pub const DEPTH_MAX: usize = 32;

/// A board's name within its directory: one for all who know it.
pub type Name = Arc<[u8]>;

/// The names of an inode: one almost always, which takes no allocation.
pub type Names = SmallVec<[(Ino, Name); 1]>;

/// Checks the name of a board that is to be made.
///
/// # Errors
/// `LongName` over 255 bytes; `BadName` with control characters, which would
/// forge lines in logs and listings.
pub fn check_name(name: &[u8]) -> Result<(), Refusal> {
    if name.len() > NAME_MAX {
        return Err(Refusal::LongName);
    }
    let control = name
        .utf8_chunks()
        .any(|chunk| chunk.valid().chars().any(char::is_control));
    if control || name.is_empty() || name.contains(&b'/') {
        return Err(Refusal::BadName);
    }
    Ok(())
}

/// An inode.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it is.
    pub body: Body,
    /// Its names: directory and name in it. None for a free board that is kept
    /// because it is open, and for the lock directory itself.
    pub names: Names,
    /// Its open files.
    pub opens: Few<Handle>,
    /// Its file locks, in the order in which they were granted. None while it
    /// has no name.
    pub locks: Few<FileLock>,
    /// The locks that wait for it, in the order in which they came.
    pub queue: Few<WaitId>,
    /// Grows with each change of its state.
    pub version: u64,
    /// Whether a change is to be told through one of its open files.
    pub polled: bool,
    /// The user whose boards its names count among: whose request made them, so
    /// that nobody can use up another's share.
    pub charged: Uid,
    /// Who holds it. None for a free one and for directories that an
    /// administrator laid out.
    pub claim: Option<Claim>,
    /// Whether it is such a directory. It counts as no board.
    pub laid_out: bool,
    /// Whose it was last: what an open file of a free board shows.
    pub last: (User, Timestamp),
    /// What few inodes have.
    pub aside: Rarely<Aside>,
}

/// What few inodes have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Aside {
    /// The names it had when its last hold ended. While it is open, who makes
    /// one of them again gets this inode.
    pub former: Few<(Ino, Name)>,
    /// The opens that wait until it is decided what their board becomes.
    pub opening: Few<WaitId>,
    /// How its last hold ended, as far as this process knows; none while it is held.
    pub ended: Option<Ended>,
}

impl Usual for Aside {
    fn usual() -> &'static Aside {
        static NONE: Aside = Aside {
            former: Few::new(),
            opening: Few::new(),
            ended: None,
        };
        &NONE
    }
}

/// What an inode is.
#[derive(Clone, Debug)]
pub enum Body {
    /// A regular file with what was written.
    File(Vec<u8>),
    /// A directory.
    Directory(Box<Directory>),
    /// A symbolic link with its target.
    Link(Name),
}

/// The boards in a directory.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    entries: HashMap<Name, Entry>,
    /// By place, which only grows; none where a name was taken out. Half as large as a
    /// tree, which is left half full by what comes in order.
    order: Vec<(u64, Option<Name>)>,
    next: u64,
    /// How many symbolic links in it point to a name.
    targets: HashMap<Name, usize>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    ino: Ino,
    /// Its place in a listing: grows with each entry made, so that a listing
    /// that goes on after changes neither repeats nor skips one.
    place: u64,
}

/// So many names that were taken out may stay in the order of a directory, besides as
/// many as are there.
const GONE: usize = 64;

impl Directory {
    /// Makes a name that is here mean another inode, where it stands.
    pub(super) fn repoint(&mut self, name: &[u8], ino: Ino) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.ino = ino;
        }
    }

    /// The inode of a name.
    pub fn get(&self, name: &[u8]) -> Option<Ino> {
        self.entries.get(name).map(|entry| entry.ino)
    }

    /// The place of a name in listings.
    pub fn place(&self, name: &[u8]) -> Option<u64> {
        self.entries.get(name).map(|entry| entry.place)
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries whose place is after `place` (0: all), with their place.
    pub fn after(&self, place: u64) -> impl Iterator<Item = (u64, &Name, Ino)> {
        let from = self.order.partition_point(|(at, _)| *at <= place);
        let later = self.order.get(from..).unwrap_or_default();
        later.iter().filter_map(|(place, name)| {
            let name = name.as_ref()?;
            Some((*place, name, self.get(name)?))
        })
    }

    /// Puts a name in, over what it meant before.
    pub fn insert(&mut self, name: Name, ino: Ino) {
        self.remove(&name);
        self.next += 1;
        self.order.push((self.next, Some(Arc::clone(&name))));
        let place = self.next;
        self.entries.insert(name, Entry { ino, place });
    }

    /// Takes a name out.
    pub fn remove(&mut self, name: &[u8]) {
        let Some(entry) = self.entries.remove(name) else {
            return;
        };
        let found = self.order.binary_search_by_key(&entry.place, |(at, _)| *at);
        if let Ok(at) = found
            && let Some((_, name)) = self.order.get_mut(at)
        {
            *name = None;
        }
        // Looked through once for as many as were taken out.
        if self.order.len() > 2 * self.entries.len() + GONE {
            self.order.retain(|(_, name)| name.is_some());
            self.order.shrink_to(2 * self.order.len());
        }
    }

    /// Notes that a symbolic link here points to `target`.
    pub fn add_target(&mut self, target: &[u8]) {
        *self.targets.entry(target.into()).or_default() += 1;
    }

    /// Notes that one is gone.
    pub fn drop_target(&mut self, target: &[u8]) {
        if let Some(count) = self.targets.get_mut(target) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.targets.remove(target);
            }
        }
    }

    /// Whether a symbolic link here points to `name`.
    pub fn is_target(&self, name: &[u8]) -> bool {
        self.targets.contains_key(name)
    }
}

impl Node {
    /// An inode without names that nobody holds.
    pub fn new(body: Body, last: (User, Timestamp)) -> Node {
        Node {
            body,
            names: Names::new(),
            opens: Few::new(),
            locks: Few::new(),
            queue: Few::new(),
            version: 1,
            polled: false,
            charged: last.0.uid,
            claim: None,
            laid_out: false,
            last,
            aside: Rarely::default(),
        }
    }

    /// The directory that it is.
    pub fn directory(&self) -> Option<&Directory> {
        match &self.body {
            Body::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    /// The same, to change it.
    pub fn directory_mut(&mut self) -> Option<&mut Directory> {
        match &mut self.body {
            Body::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    /// Whether this is one of its names or, if it is free, was.
    pub(super) fn is_called(&self, at: &(Ino, Name)) -> bool {
        let names: &[(Ino, Name)] = if self.names.is_empty() {
            &self.aside.former
        } else {
            &self.names
        };
        names.contains(at)
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        matches!(self.body, Body::File(_))
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self.body, Body::Directory(_))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn listed(directory: &Directory, from: u64) -> Vec<(u64, Name, Ino)> {
        let entries = directory.after(from);
        entries
            .map(|(place, name, ino)| (place, Name::clone(name), ino))
            .collect()
    }

    #[test]
    fn a_listing_goes_on_where_it_was_whatever_was_taken_out() {
        let mut directory = Directory::default();
        let mut expected: BTreeMap<u64, (Name, Ino)> = BTreeMap::new();
        let mut place = 0;
        // Names come again, are put over what they meant, and go in no order.
        for step in 0..4000_u64 {
            let name = Name::from(format!("{}", step * 7919 % 701).as_bytes());
            expected.retain(|_, (other, _)| *other != name);
            if step % 3 == 0 || (step / 800) % 2 == 1 {
                directory.remove(&name);
            } else {
                place += 1;
                directory.insert(Name::clone(&name), Ino(step));
                expected.insert(place, (name, Ino(step)));
            }
            if step % 50 == 0 {
                for from in [0, 1, place / 3, place / 2, place] {
                    let there = expected.range(from + 1..);
                    let there = there.map(|(at, (name, ino))| (*at, Name::clone(name), *ino));
                    assert_eq!(listed(&directory, from), there.collect::<Vec<_>>());
                }
                assert!(directory.order.len() <= 2 * expected.len() + GONE);
            }
        }
        for (name, _) in expected.values() {
            assert!(directory.place(name).is_some());
            directory.remove(name);
        }
        assert!(directory.is_empty());
        assert!(directory.order.len() <= GONE);
    }
}
