//! The directory `.boardlock` in the lock directory: what is held, what was and what
//! happens, as files that are read and never written. It is found by its name and not
//! listed, as ZFS's `.zfs`: whoever walks the lock directory sees boards alone.
//!
//! What takes long to make is made by a thread of its own, for all who ask meanwhile,
//! a few boards at a time: nobody's lock waits for it, nor does any other request.

mod make;
mod opened;
mod serve;
mod status;

pub use serve::{About, Read};

pub(super) use opened::View;

use super::request::At;
use crate::lock::ids::{Handle, Ino};
use crate::lock::refusal::Refusal;

/// What it is called.
pub const NAME: &[u8] = crate::schema::DIRECTORY.as_bytes();

/// Its inode and those of its files, and the numbers of their open files: the table
/// never gets as far.
const FIRST: u64 = 1 << 62;

/// A file in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum File {
    Status,
    History,
    Events,
    Metrics,
    Capabilities,
}

/// What an inode of it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Directory,
    File(File),
}

impl File {
    pub const ALL: [File; 5] = [
        File::Status,
        File::History,
        File::Events,
        File::Metrics,
        File::Capabilities,
    ];

    pub fn name(self) -> &'static [u8] {
        match self {
            File::Status => b"status.json",
            File::History => b"history.json",
            File::Events => b"events",
            File::Metrics => b"metrics",
            File::Capabilities => b"capabilities",
        }
    }
}

impl Place {
    fn ino(self) -> Ino {
        match self {
            Place::Directory => Ino(FIRST),
            Place::File(file) => Ino(FIRST + 1 + file as u64),
        }
    }

    /// Its path in the lock directory.
    pub fn path(self) -> Vec<u8> {
        match self {
            Place::Directory => NAME.to_vec(),
            Place::File(file) => [NAME, file.name()].join(&b'/'),
        }
    }
}

/// Whether an inode is of this directory.
pub fn is_view(ino: Ino) -> bool {
    ino.0 >= FIRST
}

/// Whether an open file is of this directory.
pub(super) fn is_view_handle(handle: Handle) -> bool {
    handle.0 >= FIRST
}

/// What an inode is; none for boards.
pub(super) fn place(ino: Ino) -> Option<Result<Place, Refusal>> {
    let files = || File::ALL.into_iter().map(Place::File);
    is_view(ino).then(|| {
        std::iter::once(Place::Directory)
            .chain(files())
            .find(|place| place.ino() == ino)
            .ok_or(Refusal::Gone)
    })
}

/// What a name is; none for boards.
pub(super) fn find((dir, name): At<'_>) -> Option<Result<Place, Refusal>> {
    if dir == Ino::ROOT {
        return (name == NAME).then_some(Ok(Place::Directory));
    }
    let found = match place(dir)? {
        Ok(Place::Directory) => File::ALL
            .into_iter()
            .find(|file| file.name() == name)
            .map(Place::File)
            .ok_or(Refusal::Missing),
        Ok(Place::File(_)) => Err(Refusal::NotDirectory),
        Err(refusal) => Err(refusal),
    };
    Some(found)
}

/// Whether nobody may make, move or remove this name.
pub(super) fn reserves((dir, name): At<'_>) -> bool {
    is_view(dir) || (dir == Ino::ROOT && name == NAME)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_found_and_is_its_own_inode() {
        let dir = find((Ino::ROOT, NAME)).unwrap().unwrap();
        assert_eq!(dir, Place::Directory);
        let mut seen = vec![dir.ino()];
        for file in File::ALL {
            let found = find((dir.ino(), file.name())).unwrap().unwrap();
            assert_eq!(found, Place::File(file));
            assert_eq!(place(found.ino()), Some(Ok(found)));
            assert!(!seen.contains(&found.ino()));
            seen.push(found.ino());
        }
        assert_eq!(find((dir.ino(), b"other")), Some(Err(Refusal::Missing)));
        assert_eq!(find((seen[1], b"x")), Some(Err(Refusal::NotDirectory)));
    }

    #[test]
    fn boards_are_none_of_it() {
        assert_eq!(find((Ino::ROOT, b"beagle")), None);
        // In a board's directory it is a name as any other.
        assert_eq!(find((Ino(7), NAME)), None);
        assert!(!reserves((Ino(7), NAME)) && reserves((Ino::ROOT, NAME)));
        assert_eq!(place(Ino(7)), None);
        assert_eq!(place(Ino(u64::MAX)), Some(Err(Refusal::Gone)));
    }
}
