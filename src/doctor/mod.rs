//! What stands in the way of serving here, and how to mend it.
//!
//! All is read below one root, so that tests can make machines up.

mod directory;
mod machine;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::fuse::mountinfo::{self, Entry};
use crate::fuse::prepare::{self, Answer};
use crate::printable::printable;

pub use directory::configured;

/// How many links the kernel follows for one name.
const LINKS: usize = 40;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Ok,
    /// Something does not work for somebody, or could go wrong.
    Warn,
    /// It does not work, or a lock may be believed in that is none.
    Fail,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Fail => "fail",
        })
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What was looked at, and how it is.
    pub what: String,
    /// How to mend it.
    pub mend: Option<String>,
}

impl Finding {
    fn ok(what: impl Into<String>) -> Finding {
        Finding {
            level: Level::Ok,
            what: what.into(),
            mend: None,
        }
    }

    fn warn(what: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding {
            level: Level::Warn,
            what: what.into(),
            mend: Some(mend.into()),
        }
    }

    fn fail(what: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding {
            level: Level::Fail,
            ..Finding::warn(what, mend)
        }
    }
}

/// A machine to look at.
pub struct Machine {
    /// Its root directory.
    root: PathBuf,
    /// Who is to serve.
    uid: u32,
    /// Directories with programs.
    path: Vec<PathBuf>,
    /// His own directory.
    home: Option<PathBuf>,
    ask: fn(&Path) -> Answer,
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine").field("root", &self.root).finish()
    }
}

impl Machine {
    /// This one.
    pub fn this() -> Machine {
        let path = std::env::var_os("PATH").unwrap_or_default();
        Machine {
            root: PathBuf::from("/"),
            uid: rustix::process::geteuid().as_raw(),
            path: std::env::split_paths(&path).collect(),
            home: std::env::var_os("HOME").map(PathBuf::from),
            ask: prepare::ask,
        }
    }

    fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// Where something is that is called `path`.
    fn place(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// A directory as mounts are listed, without links. It is not looked into: whoever serves
    /// it may not answer.
    fn without_links(&self, dir: &Path) -> PathBuf {
        let mut place = self.place(dir);
        for _ in 0..LINKS {
            let Some((above, name)) = place.parent().zip(place.file_name()) else {
                break;
            };
            let Ok(above) = fs::canonicalize(above) else {
                break;
            };
            let found = above.join(name);
            place = match fs::read_link(&found) {
                Ok(target) => above.join(target),
                Err(_) => {
                    let below = fs::canonicalize(&self.root).ok();
                    let below = below.and_then(|root| found.strip_prefix(root).ok());
                    return below.map_or(found.clone(), |below| Path::new("/").join(below));
                }
            };
        }
        dir.to_owned()
    }

    fn read(&self, path: &str) -> io::Result<String> {
        fs::read(self.place(path)).map(|text| String::from_utf8_lossy(&text).into_owned())
    }

    fn mounts(&self) -> io::Result<Vec<Entry>> {
        fs::read(self.place("/proc/self/mountinfo")).map(|table| mountinfo::parse(&table))
    }
}

/// Looks at a machine and at these lock directories.
pub fn examine(machine: &Machine, dirs: &[PathBuf]) -> Vec<Finding> {
    let mut findings = machine::examine(machine);
    for dir in dirs {
        findings.extend(machine::apparmor(machine, dir));
        findings.extend(directory::examine(machine, dir));
    }
    findings
}

fn shown(path: &Path) -> String {
    printable(path.as_os_str().as_encoded_bytes())
}
