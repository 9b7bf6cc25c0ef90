//! Which processes have a board's file open: read from /proc/PID/fd and
//! /proc/PID/fdinfo (proc_pid_fdinfo(5)). Nothing here follows a path into the
//! lock directory: a request to ourselves would never be answered.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::beside::beside;
use super::proc::Proc;
use super::resolve::Resolver;
use crate::lock::ids::{Ino, Pid, ProcessId};

/// The most processes that are told.
const MOST: usize = 16;

/// How long that is waited for.
const TIME: Duration = Duration::from_millis(100);

/// What /proc/PID/fdinfo/FD says.
#[derive(Debug, Default, PartialEq, Eq)]
struct About {
    mount: Option<u32>,
    /// Since Linux 5.14.
    ino: Option<u64>,
    /// Opened with O_PATH: such a file is none to read, to lock or to hold by,
    /// and nobody asks the daemon for it.
    is_path: bool,
}

impl Resolver {
    /// The processes that have this inode of the mount with that device
    /// (`MAJOR:MINOR`) open, the oldest first: those of `known` that still have,
    /// or, if none has and `search` is set, any; those of other users only with
    /// root's permission, and none before Linux 5.14. None if it takes too long.
    pub fn who_has_open(
        &self,
        device: &str,
        ino: Ino,
        known: Vec<ProcessId>,
        search: bool,
    ) -> Vec<ProcessId> {
        let (proc, device) = (self.proc().clone(), device.to_owned());
        let found = beside(TIME, move || {
            let mut found = known;
            found.retain(|process| {
                lives(&proc, *process) && has_open(&proc, process.pid, &device, ino)
            });
            if found.is_empty() && search {
                found = all(&proc, &device, ino)?;
            }
            Ok(found)
        });
        match found {
            Some(Ok(found)) => found,
            Some(Err(error)) => {
                let _: io::Error = error;
                log::warn!("cannot look who has a board open: {error}");
                Vec::new()
            }
            None => {
                log::debug!("who has a board open takes too long to find out");
                Vec::new()
            }
        }
    }

    /// Whether a process is one of `above`, or below one of them.
    pub fn is_below(&self, process: ProcessId, above: &[ProcessId]) -> bool {
        let mut at = Some(process.pid);
        // Nothing is deeper, and a pid that is used again makes no ring.
        for _ in 0..4096 {
            let Some(pid) = at else { return false };
            if above.iter().any(|process| process.pid == pid) {
                return true;
            }
            at = match self.proc().stat(pid) {
                Ok(Some(stat)) => stat.ppid,
                _ => return false,
            };
        }
        false
    }
}

/// Whether a process lives.
pub(super) fn lives(proc: &Proc, process: ProcessId) -> bool {
    matches!(
        proc.stat(process.pid),
        Ok(Some(stat)) if stat.start == process.start && !stat.is_dead()
    )
}

fn all(proc: &Proc, device: &str, ino: Ino) -> io::Result<Vec<ProcessId>> {
    let mut found = Vec::new();
    for pid in proc.pids()? {
        if has_open(proc, pid, device, ino)
            && let Some(stat) = proc.stat(pid)?
        {
            let start = stat.start;
            found.push(ProcessId { pid, start });
        }
    }
    found.sort_by_key(|process| (process.start, process.pid));
    found.truncate(MOST);
    Ok(found)
}

fn has_open(proc: &Proc, pid: Pid, device: &str, ino: Ino) -> bool {
    proc.open_paths(pid).into_iter().any(|fd| {
        let about = about(&proc.fdinfo(pid, fd).unwrap_or_default());
        about.ino == Some(ino.0)
            && !about.is_path
            && about
                .mount
                .is_some_and(|mount| device_of(&proc.mounts(pid), mount).as_deref() == Some(device))
    })
}

fn about(text: &str) -> About {
    let mut about = About::default();
    for line in text.lines() {
        match line.split_once(':') {
            Some(("mnt_id", value)) => about.mount = value.trim().parse().ok(),
            Some(("ino", value)) => about.ino = value.trim().parse().ok(),
            Some(("flags", value)) => {
                let flags = i32::from_str_radix(value.trim(), 8).unwrap_or_default();
                about.is_path = flags & libc::O_PATH != 0;
            }
            _ => {}
        }
    }
    about
}

/// The device of a mount, by its number in /proc/PID/mountinfo.
fn device_of(table: &str, mount: u32) -> Option<String> {
    let line = table
        .lines()
        .find(|line| line.split(' ').next().and_then(|id| id.parse().ok()) == Some(mount))?;
    line.split(' ').nth(2).map(str::to_owned)
}

impl Proc {
    /// The descriptors of a process that are files with a path.
    fn open_paths(&self, pid: Pid) -> Vec<u32> {
        let Ok(listed) = std::fs::read_dir(self.path(pid, "fd")) else {
            return Vec::new();
        };
        let is_path = |entry: &std::fs::DirEntry| {
            std::fs::read_link(entry.path()).is_ok_and(|path: PathBuf| path.is_absolute())
        };
        listed
            .flatten()
            .filter(is_path)
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect()
    }

    fn fdinfo(&self, pid: Pid, fd: u32) -> Option<String> {
        std::fs::read_to_string(self.path(pid, &format!("fdinfo/{fd}"))).ok()
    }

    fn mounts(&self, pid: Pid) -> String {
        std::fs::read_to_string(self.path(pid, "mountinfo")).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fdinfo_is_read() {
        let text = "pos:\t0\nflags:\t0100000\nmnt_id:\t91\nino:\t42\nlock:\t1: mnt_id: 7\n";
        let expected = About {
            mount: Some(91),
            ino: Some(42),
            is_path: false,
        };
        assert_eq!(about(text), expected);
        let path = "pos:\t0\nflags:\t012000000\nmnt_id:\t91\nino:\t42\n";
        assert!(about(path).is_path);
        // Before Linux 5.14.
        let old = about("pos:\t0\nflags:\t0100000\nmnt_id:\t91\n");
        assert_eq!((old.mount, old.ino), (Some(91), None));
    }

    #[test]
    fn a_mount_is_found_by_its_number() {
        let table = "9 1 8:1 / / rw - ext4 a rw\n91 24 0:45 / /l rw - fuse.boardlock b rw\n";
        assert_eq!(device_of(table, 91).as_deref(), Some("0:45"));
        assert_eq!(device_of(table, 1), None);
    }
}
