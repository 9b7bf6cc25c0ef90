//! What an administrator says of the boards: which there are, in which directories, and
//! who may take them. Without it any name is a board.
//!
//! Plain data, by paths from the lock directory. `crate::inventory` makes it of a file.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use glob::Pattern;

use super::ids::{Gid, Uid, User};
use super::refusal::Refusal;
use crate::inventory::suggest::nearest;
use crate::inventory::temporary::is_temporary;
use crate::printable::printable;

/// The boards that there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Boards {
    boards: BTreeMap<Vec<u8>, Board>,
    directories: BTreeMap<Vec<u8>, Rack>,
    temporary: Vec<Pattern>,
}

/// What is said of a board.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Board {
    /// What it is, for people.
    pub description: Option<String>,
    /// The pools that it is in: boards of one are as good as each other.
    pub pools: Vec<String>,
    /// What it has, for people and scripts to choose by.
    pub tags: Vec<String>,
    /// No claim of it is good for longer without being renewed.
    pub longest_lease: Option<Duration>,
    /// Who may take it; none for everybody.
    pub may_take: Option<MayTake>,
    /// Why nobody may take it now, if that is so.
    pub out_of_service: Option<String>,
}

/// What is said of a directory that is laid out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rack {
    /// What it is, for people.
    pub description: Option<String>,
}

/// Who may take a board. Root and the user that the daemon runs as always may.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MayTake {
    /// These users, with the names by which they were given.
    pub users: BTreeMap<Uid, String>,
    /// Whoever is in one of these groups, the same.
    pub groups: BTreeMap<Gid, String>,
}

impl MayTake {
    /// Whether a process of this user, with these supplementary groups, may.
    pub fn admits(&self, user: User, groups: &[Gid]) -> bool {
        self.users.contains_key(&user.uid)
            || self.groups.contains_key(&user.gid)
            || groups.iter().any(|group| self.groups.contains_key(group))
    }
}

/// A process that wants a board: its user, and its supplementary groups.
pub(super) type Taker<'a> = (User, &'a [Gid]);

impl Boards {
    /// These boards, in these directories; `temporary` are patterns of further names that
    /// may be made though they are no board's.
    pub fn new(
        boards: BTreeMap<Vec<u8>, Board>,
        directories: BTreeMap<Vec<u8>, Rack>,
        temporary: Vec<Pattern>,
    ) -> Boards {
        Boards {
            boards,
            directories,
            temporary,
        }
    }

    /// What is said of the board with this path.
    pub fn get(&self, path: &[u8]) -> Option<&Board> {
        self.boards.get(path)
    }

    /// All boards by their paths, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Board)> {
        self.boards
            .iter()
            .map(|(path, board)| (path.as_slice(), board))
    }

    /// How many boards there are.
    pub fn len(&self) -> usize {
        self.boards.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.boards.is_empty()
    }

    /// The directories that are laid out, each before those in it.
    pub fn directories(&self) -> impl Iterator<Item = (&[u8], &Rack)> {
        self.directories
            .iter()
            .map(|(path, rack)| (path.as_slice(), rack))
    }

    /// Whether a directory is laid out at this path.
    pub fn is_directory(&self, path: &[u8]) -> bool {
        self.directories.contains_key(path)
    }

    /// The pools, and the boards in each.
    pub fn pools(&self) -> BTreeMap<&str, BTreeSet<&[u8]>> {
        let mut pools: BTreeMap<&str, BTreeSet<&[u8]>> = BTreeMap::new();
        for (path, board) in self.iter() {
            for pool in &board.pools {
                pools.entry(pool).or_default().insert(path);
            }
        }
        pools
    }

    /// Whether a path is one that tools make for a moment: by its last name, and whatever
    /// directory it is in.
    pub fn is_temporary(&self, path: &[u8]) -> bool {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
        is_temporary(name)
            || std::str::from_utf8(name)
                .is_ok_and(|name| self.temporary.iter().any(|pattern| pattern.matches(name)))
    }

    /// The board whose name is nearest to one that there is not; none if none is near.
    pub fn suggest(&self, path: &[u8]) -> Option<&[u8]> {
        nearest(path, self.boards.keys().map(Vec::as_slice))
    }

    /// Whether these may take the board at this path, all of them; those that `daemon`
    /// says, and root, may take all that can be taken.
    pub(super) fn may_take(
        &self,
        path: &[u8],
        takers: &[Taker<'_>],
        daemon: Uid,
    ) -> Result<(), Refusal> {
        let Some(board) = self.get(path) else {
            return match path {
                path if self.is_directory(path) => Err(Refusal::LaidOut),
                path if self.is_temporary(path) => Ok(()),
                _ => Err(Refusal::NoSuchBoard),
            };
        };
        if board.out_of_service.is_some() {
            return Err(Refusal::OutOfService);
        }
        let Some(may_take) = &board.may_take else {
            return Ok(());
        };
        let may = |(user, groups): &Taker<'_>| {
            [Uid::ROOT, daemon].contains(&user.uid) || may_take.admits(*user, groups)
        };
        match takers.iter().all(may) {
            true => Ok(()),
            false => Err(Refusal::NotAdmitted),
        }
    }

    /// What there is to say of a refusal beyond itself.
    pub(super) fn about(&self, path: &[u8], refusal: Refusal) -> Option<String> {
        let board = self.get(path);
        match refusal {
            Refusal::NoSuchBoard => {
                let nearest = self.suggest(path)?;
                Some(format!("the nearest is {}", printable(nearest)))
            }
            Refusal::OutOfService => board?.out_of_service.as_deref().map(printable),
            Refusal::NotAdmitted => {
                let may_take = board?.may_take.as_ref()?;
                let list = |names: Vec<&String>| {
                    let names: Vec<String> = names.into_iter().map(printable).collect();
                    names.join(", ")
                };
                let users = list(may_take.users.values().collect());
                let groups = list(may_take.groups.values().collect());
                Some(match (users.is_empty(), groups.is_empty()) {
                    (true, true) => "nobody may".to_owned(),
                    (false, true) => format!("{users} may"),
                    (true, false) => format!("those in {groups} may"),
                    _ => format!("{users} and those in {groups} may"),
                })
            }
            _ => None,
        }
    }
}
