//! The lock directory that a command is about, and the boards in it.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use clap::Args;

use crate::fuse::mountinfo::{self, Entry};
use crate::printable::printable;
use crate::schema;

/// Names the lock directory in the environment.
pub const VARIABLE: &str = "BOARDLOCK_DIR";

/// Which lock directory.
#[derive(Args, Clone, Debug, Default)]
pub struct DirArgs {
    /// The lock directory [default: $BOARDLOCK_DIR, that which this shell is in, or the
    /// only one that is served]
    #[arg(short = 'd', long = "dir", value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// A lock directory that is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockDirectory {
    /// Where it is, absolute.
    pub path: PathBuf,
}

/// A board in a lock directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BoardName(PathBuf);

/// Why it is not known which lock directory or board is meant; says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble(pub(super) String);

impl Trouble {
    /// With this text.
    pub fn new(text: impl Into<String>) -> Trouble {
        Trouble(text.into())
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Trouble {}

pub(super) fn shown(path: &Path) -> String {
    printable(path.as_os_str().as_bytes())
}

impl DirArgs {
    /// The lock directory that is meant.
    ///
    /// # Errors
    /// When none is, several could be, or what is named is none.
    pub fn find(&self) -> Result<LockDirectory, Trouble> {
        let table = mountinfo::read()
            .map_err(|error| Trouble(format!("cannot read the table of mounts: {error}")))?;
        let named = match &self.dir {
            Some(dir) => Some(dir.clone()),
            None => std::env::var_os(VARIABLE)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from),
        };
        match named {
            Some(dir) => {
                let place = absolute(&dir)
                    .map_err(|error| Trouble(format!("cannot find {}: {error}", shown(&dir))))?;
                find(&table, Some(&place), None)
            }
            // Of a directory that is gone nothing can be below.
            None => find(&table, None, std::env::current_dir().ok().as_deref()),
        }
    }
}

/// The path without links. The last part is not looked at where nobody serves it.
fn absolute(dir: &Path) -> io::Result<PathBuf> {
    match std::fs::canonicalize(dir) {
        Err(error) if error.raw_os_error() == Some(libc::ENOTCONN) => std::path::absolute(dir),
        found => found,
    }
}

/// Finds the lock directory in a table of mounts: that at `named`, else the one that
/// `below` lies in, else the only one.
fn find(
    table: &[Entry],
    named: Option<&Path>,
    below: Option<&Path>,
) -> Result<LockDirectory, Trouble> {
    let served =
        |point: &Path| mountinfo::topmost(table.to_vec(), point).is_some_and(|top| top.ours());
    if let Some(dir) = named {
        if served(dir) {
            return Ok(LockDirectory { path: dir.into() });
        }
        return Err(Trouble(format!(
            "{} is no directory that boardlock serves; start it there by: boardlock mount {}",
            shown(dir),
            shown(dir)
        )));
    }
    let above = below.and_then(|below| below.ancestors().find(|dir| served(dir)));
    if let Some(dir) = above {
        return Ok(LockDirectory { path: dir.into() });
    }
    let mut all: Vec<&Path> = table
        .iter()
        .map(|entry| entry.point.as_path())
        .filter(|point| served(point))
        .collect();
    all.sort_unstable();
    all.dedup();
    match all.as_slice() {
        [only] => Ok(LockDirectory {
            path: only.to_path_buf(),
        }),
        [] => Err(Trouble(
            "no lock directory is served here; start one by: boardlock mount DIR".to_owned(),
        )),
        several => {
            let names: Vec<String> = several.iter().map(|dir| shown(dir)).collect();
            Err(Trouble(format!(
                "several lock directories are served, {}; say which by -d DIR or {VARIABLE}",
                names.join(", ")
            )))
        }
    }
}

impl LockDirectory {
    /// The board that is meant: a name in the lock directory or, where it begins with `/`,
    /// `./` or `../`, a path that leads into it.
    ///
    /// # Errors
    /// When it lies elsewhere, or is no name.
    pub fn board(&self, text: &OsStr) -> Result<BoardName, Trouble> {
        let given = Path::new(text);
        let no_board = |why: &str| Trouble(format!("{}: {why}", shown(given)));
        let starts = |with: &[u8]| text.as_bytes().starts_with(with);
        let relative = if starts(b"/") || starts(b"./") || starts(b"../") {
            self.below(given)
                .ok_or_else(|| no_board(&format!("no board in {}", shown(&self.path))))?
        } else {
            given.to_path_buf()
        };
        let plain = |part: &Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
        if !relative.components().all(|part| plain(&part)) {
            return Err(no_board("no name of a board"));
        }
        let name: PathBuf = relative
            .components()
            .filter(|part| matches!(part, Component::Normal(_)))
            .collect();
        if name.as_os_str().is_empty() || name.starts_with(schema::DIRECTORY) {
            return Err(no_board("no name of a board"));
        }
        Ok(BoardName(name))
    }

    /// Where a path is below the lock directory.
    fn below(&self, given: &Path) -> Option<PathBuf> {
        let whole = std::path::absolute(given).ok()?;
        // The last part is the board, which may be a link.
        let (dir, name) = (whole.parent()?, whole.file_name()?);
        let dir = std::fs::canonicalize(dir).ok()?;
        Some(dir.strip_prefix(&self.path).ok()?.join(name))
    }

    /// Whether it is served now, as the table of mounts says; it asks nobody.
    pub fn is_served(&self) -> bool {
        let table = mountinfo::read().unwrap_or_default();
        mountinfo::topmost(table, &self.path).is_some_and(|top| top.ours())
    }

    /// The file of a board.
    pub fn file(&self, board: &BoardName) -> PathBuf {
        self.path.join(&board.0)
    }

    /// A file of those that tell of the lock directory as a whole.
    pub fn told(&self, name: &str) -> PathBuf {
        self.path.join(schema::DIRECTORY).join(name)
    }
}

impl BoardName {
    /// Its path in the lock directory.
    pub fn as_path(&self) -> &Path {
        &self.0
    }

    /// The directory that it is in, if that is not the lock directory.
    pub fn above(&self) -> Option<BoardName> {
        let above = self.0.parent()?;
        (!above.as_os_str().is_empty()).then(|| BoardName(above.into()))
    }
}

impl fmt::Display for BoardName {
    /// As the log and the status name it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.0))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const ONE: &[u8] = b"\
24 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
80 24 0:45 / /run/locks rw - tmpfs tmpfs ro\n\
81 80 0:46 / /run/locks rw - fuse.boardlock boardlock rw\n";

    const OTHER: &[u8] = b"82 24 0:47 / /srv/lab rw - fuse.boardlock boardlock rw\n";

    fn table(parts: &[&[u8]]) -> Vec<Entry> {
        mountinfo::parse(&parts.concat())
    }

    fn locks() -> LockDirectory {
        LockDirectory {
            path: "/run/locks".into(),
        }
    }

    #[test]
    fn the_directory_that_is_named_has_to_be_served() {
        let table = table(&[ONE, OTHER]);
        let named = find(&table, Some(Path::new("/srv/lab")), None).unwrap();
        assert_eq!(named.path, Path::new("/srv/lab"));
        let other = find(&table, Some(Path::new("/srv")), None).unwrap_err();
        assert!(
            other.to_string().contains("boardlock mount /srv"),
            "{other}"
        );
    }

    #[test]
    fn who_is_in_one_means_that() {
        let table = table(&[ONE, OTHER]);
        let below = Some(Path::new("/srv/lab/rack1"));
        assert_eq!(
            find(&table, None, below).unwrap().path,
            Path::new("/srv/lab")
        );
        let elsewhere = find(&table, None, Some(Path::new("/srv"))).unwrap_err();
        let text = elsewhere.to_string();
        assert!(
            text.contains("/run/locks, /srv/lab") && text.contains("-d DIR"),
            "{text}"
        );
    }

    #[test]
    fn the_only_one_is_meant() {
        assert_eq!(find(&table(&[ONE]), None, None).unwrap(), locks());
        let none = find(&[], None, Some(Path::new("/"))).unwrap_err();
        assert!(none.to_string().contains("boardlock mount DIR"), "{none}");
    }

    #[test]
    fn boards_are_names_in_it() {
        let board = |text: &str| locks().board(OsStr::new(text));
        assert_eq!(board("beagle").unwrap().as_path(), Path::new("beagle"));
        assert_eq!(board("rack1//x/.").unwrap().as_path(), Path::new("rack1/x"));
        for bad in [
            "",
            ".",
            "..",
            "a/../b",
            ".boardlock",
            ".boardlock/events",
            "/etc/x",
            "../x",
        ] {
            assert!(board(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_lead_into_it() {
        let temp = tempfile::tempdir().unwrap();
        let path = std::fs::canonicalize(temp.path()).unwrap();
        let dir = LockDirectory { path: path.clone() };
        std::fs::create_dir(path.join("rack")).unwrap();
        let board = dir.board(path.join("rack/x").as_os_str()).unwrap();
        assert_eq!(board.as_path(), Path::new("rack/x"));
        assert_eq!(dir.file(&board), path.join("rack/x"));
        assert!(dir.board(path.as_os_str()).is_err());
    }
}
