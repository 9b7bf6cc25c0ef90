//! Who shows as the holder of a board that file locks hold: the process whose
//! open made the locked file, while it lives (semantics.md, "Words").

use std::io;
use std::os::fd::OwnedFd;

use super::resolve::Resolver;
use crate::lock::ids::{Pid, ProcessId, StartTime, Uid};
use crate::lock::shown::BoardFile;
use crate::lock::time::BootTime;

impl Resolver {
    /// The process that opened a file, if it lives.
    pub fn opener(&self, file: &BoardFile) -> Option<ProcessId> {
        if let Some(opener) = file.opener {
            return self.lives(opener).then_some(opener);
        }
        let thread = file.thread?;
        let pid = self.proc().status(thread).ok()??.tgid;
        let stat = self.proc().stat(pid).ok()??;
        // What started later has another's number: a process, or a thread of one
        // that is older.
        let same = |start| started_at(start) <= file.opened;
        let thread_start = self.proc().stat(thread).ok()??.start;
        let start = stat.start;
        (same(start) && same(thread_start) && !stat.is_dead()).then_some(ProcessId { pid, start })
    }

    /// A pidfd of a process; none if it has ended.
    pub fn pin(&self, process: ProcessId) -> io::Result<Option<OwnedFd>> {
        let node = self.walker().find(process.pid)?;
        let node = node.filter(|node| node.id == process);
        Ok(node.and_then(|node| node.held?.0))
    }

    /// The process of a thread that waits for its answer.
    pub fn process_of(&self, thread: Pid) -> Option<Pid> {
        Some(self.proc().status(thread).ok()??.tgid)
    }

    /// Whether a process runs as this user.
    pub fn is_of(&self, process: ProcessId, uid: Uid) -> bool {
        matches!(
            self.proc().status(process.pid),
            Ok(Some(status)) if status.user.uid == uid
        )
    }

    /// When the process that has this pid now started.
    pub fn started(&self, pid: Pid) -> Option<BootTime> {
        Some(started_at(self.proc().stat(pid).ok()??.start))
    }

    /// Whether the process that has this pid now is this one.
    pub fn is_there(&self, process: ProcessId) -> bool {
        let stat = self.proc().stat(process.pid).ok().flatten();
        stat.is_some_and(|stat| stat.start == process.start)
    }

    /// The command line of a process, printable; empty once it has ended.
    pub fn command(&self, process: ProcessId) -> String {
        let Ok(Some(node)) = self.walker().find(process.pid) else {
            return String::new();
        };
        if node.id != process {
            return String::new();
        }
        node.command(self.proc()).unwrap_or_default()
    }

    /// Whether a process that has not ended is on its way out: it has given its
    /// memory back, which it does before it closes its files (do_exit of
    /// kernel/exit.c). Waits for nobody.
    pub fn is_ending(&self, process: ProcessId) -> bool {
        self.proc().has_no_memory(process.pid)
    }

    pub(super) fn lives(&self, process: ProcessId) -> bool {
        super::open_files::lives(self.proc(), process)
    }
}

/// A start on the boot clock, to the tick: never later than it was.
fn started_at(start: StartTime) -> BootTime {
    let ticks = rustix::param::clock_ticks_per_second().max(1);
    let nanos = u128::from(start.0) * 1_000_000_000 / u128::from(ticks);
    BootTime(std::time::Duration::from_nanos(
        u64::try_from(nanos).unwrap_or(u64::MAX),
    ))
}
