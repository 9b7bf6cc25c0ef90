//! Which processes have a board's file open: read from /proc/PID/fd and
//! /proc/PID/fdinfo (proc_pid_fdinfo(5)). Nothing here follows a path into the
//! lock directory: a request to ourselves would never be answered.

use std::path::PathBuf;

use super::proc::Proc;
use super::resolve::Resolver;
use crate::lock::ids::{Ino, Pid, ProcessId, Uid};
use crate::lock::shown::BoardFile;

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

/// A board that file locks hold, and the open files by which it can be known
/// who has it.
#[derive(Clone, Debug)]
pub struct Files {
    /// Its inode.
    pub ino: Ino,
    /// The device of the mount, `MAJOR:MINOR`; without it nobody is searched.
    pub device: Option<String>,
    /// The user whose processes may have it.
    pub uid: Uid,
    /// Who surely had it before.
    pub before: Vec<ProcessId>,
    /// Who probably had.
    pub likely: Option<ProcessId>,
    /// The locked files.
    pub locked: Vec<BoardFile>,
    /// The other open files of the board, cut off after `most` and one.
    pub others: Vec<BoardFile>,
    /// Of how many others it can be plain whose they are.
    pub most: usize,
    /// Who waits for it.
    pub waiting: Vec<Pid>,
    /// Who had it open when all processes were looked at last.
    pub found: Vec<ProcessId>,
}

/// Who shows as holder of such a board.
#[derive(Debug, Default)]
pub struct Shown {
    /// Who surely has a locked file.
    pub sure: Vec<ProcessId>,
    /// Who probably has, if nobody surely does.
    pub likely: Option<ProcessId>,
    /// The command line of the first of them.
    pub command: String,
    /// Whether all processes have to be looked at to know more.
    pub wants_search: bool,
}

impl Resolver {
    /// All processes that have this inode of the mount with that device open,
    /// the oldest first, and not too many. Takes long.
    pub fn search(&self, device: &str, ino: Ino) -> Vec<ProcessId> {
        super::search::search(self.proc(), device, ino)
    }

    /// Finds out who has a board that file locks hold: the processes that opened
    /// the locked files or, where one of these has ended, its heirs.
    pub fn who_has(&self, files: Files) -> Shown {
        let mut shown = Shown::default();
        let mut orphaned = false;
        for file in &files.locked {
            match self.opener(file) {
                Some(process) if shown.sure.contains(&process) => {}
                Some(process) => shown.sure.push(process),
                None => orphaned = true,
            }
        }
        if orphaned && let Some(device) = &files.device {
            let (heirs, sure) = self.heirs(&files, device, &mut shown.wants_search);
            shown.likely = heirs.first().copied();
            if sure {
                shown.sure.extend(heirs);
            }
        }
        if let Some(first) = shown.sure.first().copied().or(shown.likely) {
            shown.command = self.command(first);
        }
        shown
    }

    /// The processes that have a locked file open whose opener has ended, and
    /// whether that is sure: where others have files of the board open, to wait
    /// for it, say, an orphan may have one of those. None that is another user's,
    /// waits, or has such a file for all that is known. Only with root's
    /// permission are those of other users seen, and none before Linux 5.14.
    fn heirs(&self, files: &Files, device: &str, wants: &mut bool) -> (Vec<ProcessId>, bool) {
        let (mut others, mut plain) = (Vec::new(), files.others.len() <= files.most);
        for file in files.others.iter().take(files.most) {
            match self.opener(file) {
                Some(process) => others.push(process),
                None => plain = false,
            }
        }
        // All processes are looked at only if those that were shown before have
        // closed it.
        let mut known = files.before.clone();
        known.extend(files.likely.into_iter().chain(files.found.iter().copied()));
        known.sort_by_key(|process| (process.start, process.pid));
        known.dedup();
        known.retain(|process| {
            self.lives(*process) && has_open(self.proc(), process.pid, device, files.ino)
        });
        *wants = plain && known.is_empty();
        known.retain(|process| self.is_of(*process, files.uid));
        // Who surely had it has it still, whoever looks at the board meanwhile.
        let still =
            |process: &&ProcessId| files.before.contains(process) && !others.contains(process);
        let kept: Vec<ProcessId> = known.iter().filter(still).copied().collect();
        if !kept.is_empty() {
            return (kept, true);
        }
        if !plain {
            return (Vec::new(), false);
        }
        known.retain(|process| {
            !files.waiting.contains(&process.pid) && !self.is_below(*process, &others)
        });
        // What its own side has open besides is no other's.
        let sure = others.iter().all(|process| self.is_below(*process, &known));
        (known, sure)
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

pub(super) fn has_open(proc: &Proc, pid: Pid, device: &str, ino: Ino) -> bool {
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
