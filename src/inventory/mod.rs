//! The inventory: a file in which an administrator lists the boards (README, "An
//! inventory"). `parse` reads it, `crate::lock::boards` is what it says.

pub mod accounts;
pub mod parse;
pub mod suggest;
pub mod temporary;

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::lock::boards::Boards;
use crate::printable::printable;
use accounts::{Accounts, Lenient, System};
use parse::Wrong;

/// A file is read no further: no lab has as many boards.
const LONGEST: u64 = 4 << 20;

/// Why there is no inventory in a file, and where it is broken.
#[derive(Debug)]
pub struct Broken {
    file: String,
    why: Why,
}

#[derive(Debug)]
enum Why {
    Unreadable(io::Error),
    Wrong(Wrong),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = &self.file;
        match &self.why {
            Why::Unreadable(error) => write!(f, "cannot read {file}: {error}"),
            Why::Wrong(Wrong { line, column, what }) => write!(f, "{file}:{line}:{column}: {what}"),
        }
    }
}

impl std::error::Error for Broken {}

/// Reads an inventory from a file, which may be a pipe.
///
/// # Errors
/// Where it is broken.
pub fn load(file: &Path) -> Result<Boards, Broken> {
    read(file, &System, 0).map(|(boards, _)| boards)
}

/// What opens a file that is to be read again and again.
const REGULAR: i32 = libc::O_NONBLOCK | libc::O_NOCTTY;

fn read(file: &Path, accounts: &dyn Accounts, flags: i32) -> Result<(Boards, Vec<u8>), Broken> {
    let broken = |why| Broken {
        file: printable(file.as_os_str().as_encoded_bytes()),
        why,
    };
    let bytes = read_bytes(file, flags).map_err(|error| broken(Why::Unreadable(error)))?;
    let boards = match std::str::from_utf8(&bytes) {
        Ok(text) => parse::parse(text, accounts),
        Err(error) => {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let before = str::from_utf8(before).unwrap_or_default();
            Err(parse::not_text(before))
        }
    };
    match boards {
        Ok(boards) => Ok((boards, bytes)),
        Err(wrong) => Err(broken(Why::Wrong(wrong))),
    }
}

fn read_bytes(file: &Path, flags: i32) -> io::Result<Vec<u8>> {
    let file = File::options().read(true).custom_flags(flags).open(file)?;
    let about = file.metadata()?;
    if about.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    // A pipe that nobody writes to would be waited for, or be an empty inventory.
    if flags == REGULAR && !about.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut text = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut text)?;
    if text.len() as u64 > LONGEST {
        return Err(io::Error::other("it has more than 4 MiB"));
    }
    Ok(text)
}

/// The file of a lock directory that is served, and a copy of it as it was when it was
/// good: who serves next may find it broken.
#[derive(Clone, Debug)]
pub struct Inventory {
    file: PathBuf,
    copy: Option<PathBuf>,
}

impl Inventory {
    /// In this file; the copy is kept beside the `state` file, if there is one.
    pub fn new(file: &Path, state: Option<&Path>) -> Inventory {
        let copy = state.map(|state| {
            let mut name = state.as_os_str().to_owned();
            name.push(".boards");
            PathBuf::from(name)
        });
        Inventory {
            file: file.to_owned(),
            copy,
        }
    }

    /// Reads the file, anew.
    ///
    /// # Errors
    /// Where it is broken.
    pub fn load(&self) -> Result<Boards, Broken> {
        let (boards, text) = read(&self.file, &System, REGULAR)?;
        if let Some(copy) = &self.copy
            && let Err(error) = keep(copy, &text)
        {
            log::warn!(
                "cannot keep a copy of the inventory in {}, for when it is broken: {error}",
                printable(copy.as_os_str().as_encoded_bytes())
            );
        }
        Ok(boards)
    }

    /// Reads the file for a lock directory in which boards may be held: if it is broken
    /// now, what it was when it was good. With neither no board is given out until it is
    /// good again, and what is held stays.
    pub fn load_or_last(&self) -> Boards {
        let broken = match self.load() {
            Ok(boards) => return boards,
            Err(broken) => broken,
        };
        let last = self.copy.as_ref().map(|copy| match is_ours(copy) {
            Ok(()) => read(copy, &Lenient, REGULAR).map_err(|broken| broken.to_string()),
            Err(error) => Err(error.to_string()),
        });
        match last {
            Some(Ok((boards, _))) => {
                log::error!("{broken}; the inventory is what it was when that was good");
                boards
            }
            Some(Err(error)) => {
                log::error!("{broken}; nor is there a copy: {error}. No board is given out");
                Boards::default()
            }
            None => {
                log::error!("{broken}. No board is given out");
                Boards::default()
            }
        }
    }
}

/// Whether a copy is this user's own.
fn is_ours(copy: &Path) -> io::Result<()> {
    let about = copy.symlink_metadata()?;
    match about.is_file() && about.uid() == nix::unistd::geteuid().as_raw() {
        true => Ok(()),
        false => Err(io::Error::other("it is another user's")),
    }
}

/// Writes a copy, as a whole, for nobody else to read: the file may be so. Others may be
/// able to make files beside it.
fn keep(copy: &Path, text: &[u8]) -> io::Result<()> {
    let mut name = copy.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = File::options();
    let options = options.write(true).create_new(true).mode(0o600);
    let written = options.open(&new).and_then(|mut file| file.write_all(text));
    let kept = written.and_then(|()| std::fs::rename(&new, copy));
    if kept.is_err() {
        let _ = std::fs::remove_file(&new);
    }
    kept
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use super::*;

    #[test]
    fn a_broken_file_leaves_what_was_good() {
        let temp = tempfile::tempdir().unwrap();
        let (file, state) = (temp.path().join("boards.toml"), temp.path().join("state"));
        let inventory = Inventory::new(&file, Some(&state));
        let error = inventory.load().unwrap_err().to_string();
        assert!(
            error.contains("cannot read") && error.contains("boards.toml"),
            "{error}"
        );
        assert!(inventory.load_or_last().is_empty());
        fs::write(&file, "[boards.beagle]\n").unwrap();
        assert!(inventory.load().unwrap().get(b"beagle").is_some());
        fs::write(&file, "\n[boards.beagle\n").unwrap();
        let error = inventory.load().unwrap_err().to_string();
        assert!(error.contains("boards.toml:2:15: "), "{error}");
        assert!(inventory.load_or_last().get(b"beagle").is_some());
        // Who may take it is not known any more.
        fs::write(
            temp.path().join("state.boards"),
            "[boards.imx8]\nusers = [\"a user that there is not\"]\n",
        )
        .unwrap();
        let last = inventory.load_or_last();
        assert_eq!(
            last.get(b"imx8").unwrap().may_take,
            Some(Default::default())
        );
        let link = temp.path().join("link.boards");
        std::os::unix::fs::symlink(temp.path().join("state.boards"), &link).unwrap();
        let linked = Inventory::new(&file, Some(&temp.path().join("link")));
        assert!(linked.load_or_last().is_empty(), "that may be anybody's");
        assert!(Inventory::new(&file, None).load_or_last().is_empty());
        assert!(load(temp.path()).is_err(), "a directory");
        fs::write(&file, b"[boards.a]\ndescription = \"\xc3\xa4\xff\"\n").unwrap();
        let error = load(&file).unwrap_err().to_string();
        assert!(
            error.ends_with("boards.toml:2:17: this is no UTF-8"),
            "{error}"
        );
    }

    #[test]
    fn what_is_read_again_and_again_is_a_regular_file() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("boards.toml");
        let mode = nix::sys::stat::Mode::S_IRWXU;
        nix::unistd::mkfifo(&file, mode).unwrap();
        let inventory = Inventory::new(&file, None);
        let error = inventory.load().unwrap_err().to_string();
        assert!(error.ends_with("it is no regular file"), "{error}");
        let mut writer = File::options().read(true).write(true).open(&file).unwrap();
        writer.write_all(b"[boards.beagle]\n").unwrap();
        assert!(inventory.load().is_err());
        assert!(Inventory::new(Path::new("/dev/zero"), None).load().is_err());
    }
}
