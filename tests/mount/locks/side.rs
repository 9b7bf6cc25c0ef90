//! The two sides of a comparison: an empty lock directory of a mount, and an
//! empty directory on a tmpfs.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::lab::{Lab, Scripts};
use crate::process::Running;

/// A tmpfs that Linux systems have, for POSIX shared memory. Where it is
/// something else, another local file system does as well: the kernel's own
/// locks are the same on all.
const TMPFS: &str = "/dev/shm";

/// An empty directory to lock in. It is removed at the end.
pub enum Side {
    /// The kernel's own locks.
    Local {
        /// Its scripts.
        scripts: Scripts,
        /// The directory.
        dir: TempDir,
    },
    /// The daemon's.
    Mount(Lab),
}

impl Side {
    /// A directory on a local file system.
    pub fn local() -> Side {
        let mut builder = tempfile::Builder::new();
        builder.prefix("boardlock-local-");
        let dir = builder
            .tempdir_in(TMPFS)
            .or_else(|_| builder.tempdir())
            .unwrap();
        let scripts = Scripts::new(dir.path());
        Side::Local { scripts, dir }
    }

    /// A lock directory that is served with these arguments.
    #[track_caller]
    pub fn mount(args: &[&str]) -> Side {
        Side::Mount(Lab::new(args))
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        match self {
            Side::Local { dir, .. } => dir.path(),
            Side::Mount(lab) => lab.dir(),
        }
    }

    /// Runs a script in the directory.
    #[track_caller]
    pub fn spawn(&self, shell: &str, script: &str) -> Running {
        match self {
            Side::Local { scripts, .. } => scripts.spawn(None, shell, script),
            Side::Mount(lab) => lab.spawn(shell, script),
        }
    }

    /// Starts a program in the directory.
    #[track_caller]
    pub fn start(&self, mut command: Command) -> Running {
        command.current_dir(self.dir());
        match self {
            Side::Local { scripts, .. } => scripts.start(command),
            Side::Mount(lab) => lab.start(command),
        }
    }

    /// The daemon's log, of a mount.
    pub fn log(&self) -> Vec<String> {
        match self {
            Side::Local { .. } => Vec::new(),
            Side::Mount(lab) => lab.log(),
        }
    }

    /// The pid of who is shown to hold a board of a mount; `-` for nobody.
    pub fn holder(&self, board: &str) -> String {
        let holder = match self {
            Side::Local { .. } => None,
            Side::Mount(lab) => lab.holder_of_any(board),
        };
        holder.map_or("-".to_owned(), |pid| pid.to_string())
    }

    /// The names in the directory, sorted; `-` if there is none.
    pub fn names(&self) -> String {
        let mut names: Vec<String> = std::fs::read_dir(self.dir())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        if names.is_empty() {
            names.push("-".to_owned());
        }
        names.join(" ")
    }
}
