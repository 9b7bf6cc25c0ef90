//! A directory in which a test starts daemons of its own, also such as do not
//! come to serve.

use std::path::{Path, PathBuf};
use std::process::Command;

use boardlock::fuse::mountinfo;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::lab::BOARDLOCK;
use crate::process::{Output, PATIENCE, Running, eventually};

/// A directory of the test's own, and daemons in it.
pub struct Site {
    pub temp: TempDir,
}

impl Site {
    /// An empty one.
    pub fn new() -> Site {
        let temp = tempfile::Builder::new()
            .prefix("boardlock-site-")
            .tempdir()
            .unwrap();
        Site { temp }
    }

    /// Something in it.
    pub fn path(&self, name: &str) -> PathBuf {
        std::fs::canonicalize(self.temp.path()).unwrap().join(name)
    }

    /// Starts a daemon on a directory in it.
    pub fn start(&self, dir: &str, args: &[&str]) -> Running {
        self.start_with(None, dir, args)
    }

    /// The same with faults on purpose, waiting until it is ready.
    #[track_caller]
    pub fn serve_with(&self, faults: &Path, dir: &str) -> Running {
        let running = self.start_with(Some(faults), dir, &[]);
        eventually("it is ready", PATIENCE, || {
            running.stderr().contains("ready:")
        });
        running
    }

    fn start_with(&self, faults: Option<&Path>, dir: &str, args: &[&str]) -> Running {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig=TERM", BOARDLOCK, "mount"]);
        command.args(args);
        if !args.iter().any(|arg| arg.contains("state")) {
            command
                .arg("--state")
                .arg(self.path(&format!("{dir}.state")));
        }
        command.arg(self.path(dir));
        command.env("NO_COLOR", "1").env_remove("BOARDLOCK_LOG");
        if let Some(faults) = faults {
            command.env(crate::fault::VARIABLE, faults);
        }
        Running::start(command)
    }

    /// The same, waiting until it is ready.
    #[track_caller]
    pub fn serve(&self, dir: &str, args: &[&str]) -> Running {
        let running = self.start(dir, args);
        eventually("it is ready", PATIENCE, || {
            running.stderr().contains("ready:")
        });
        running
    }

    /// One that must not come to serve.
    #[track_caller]
    pub fn refused(&self, dir: &str, args: &[&str], code: i32, words: &[&str]) -> Output {
        let output = self.start(dir, args).wait(PATIENCE).fails(code);
        for word in words {
            assert!(output.stderr.contains(word), "{word:?}: {output}");
        }
        output
    }

    /// How many lock directories are mounted in it.
    pub fn mounts(&self) -> usize {
        mounts(self.temp.path())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // Daemons are gone by now; what they left is not walked into.
        unmount(self.temp.path());
    }
}

/// Takes away whatever is mounted in a directory.
pub fn unmount(below: &Path) {
    let below = std::fs::canonicalize(below).unwrap_or_else(|_| below.to_owned());
    while mountinfo::read().is_ok_and(|all| {
        all.iter().rev().any(|mount| {
            mount.point.starts_with(&below)
                && Command::new("umount")
                    .arg("-l")
                    .arg(&mount.point)
                    .status()
                    .is_ok_and(|status| status.success())
        })
    }) {}
}

/// How many lock directories are mounted in a directory.
pub fn mounts(below: &Path) -> usize {
    let below = std::fs::canonicalize(below).unwrap_or_else(|_| below.to_owned());
    let all = mountinfo::read().unwrap();
    all.iter()
        .filter(|mount| mount.ours() && mount.point.starts_with(&below))
        .count()
}

/// Ends a daemon by a signal; it must exit with 0.
#[track_caller]
pub fn end(mut daemon: Running, signal: Signal) {
    daemon.signal(signal);
    let status = daemon.ended(PATIENCE).expect("it does not end");
    assert_eq!(status.code(), Some(0), "{}", daemon.stderr());
}
