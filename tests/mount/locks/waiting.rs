//! Which process waits for a lock: told by what the kernel says of it, not by
//! how long it takes.

use std::fs;
use std::path::Path;

use crate::shown::children;

/// A task that sleeps in a system call, and how often it has slept before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asleep {
    /// The process.
    pub pid: u32,
    tid: u32,
    call: i64,
    slept: String,
}

/// Looks that must show the same sleep, each with a round trip through the file
/// system in between: whoever is about to be answered has been by then.
const LOOKS: u32 = 10;

/// A waiter for a lock or an open, in `dir`: this task, or any of the process or
/// of its descendants. None if none sleeps for good, or not yet.
pub fn waiter(pid: u32, tid: Option<u32>, dir: &Path) -> Option<Asleep> {
    let found = find(pid, tid)?;
    for _ in 0..LOOKS {
        let _ = fs::symlink_metadata(dir.join("no-such-board"));
        if asleep(found.pid, found.tid).as_ref() != Some(&found) {
            return None;
        }
    }
    Some(found)
}

fn find(pid: u32, tid: Option<u32>) -> Option<Asleep> {
    if let Some(tid) = tid
        && let Some(found) = asleep(pid, tid)
    {
        return Some(found);
    }
    // A main thread may wait for a child that waits.
    let own = if tid.is_none() {
        tasks(pid)
    } else {
        Vec::new()
    };
    own.into_iter()
        .find_map(|tid| asleep(pid, tid))
        .or_else(|| {
            let children = children(pid);
            children.into_iter().find_map(|child| find(child, None))
        })
}

/// The threads of a process.
fn tasks(pid: u32) -> Vec<u32> {
    fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// The task, if it sleeps in a call that can wait for a lock.
fn asleep(pid: u32, tid: u32) -> Option<Asleep> {
    let about = format!("/proc/{pid}/task/{tid}");
    let call = fs::read_to_string(format!("{about}/syscall")).ok()?;
    let call = call.split_ascii_whitespace().next()?.parse().ok()?;
    let status = fs::read_to_string(format!("{about}/status")).ok()?;
    let slept = status
        .lines()
        .find(|line| line.starts_with("voluntary_ctxt_switches"))?
        .to_owned();
    waits(call).then_some(Asleep {
        pid,
        tid,
        call,
        slept,
    })
}

fn waits(call: i64) -> bool {
    #[cfg(target_arch = "x86_64")]
    if call == libc::SYS_open {
        return true;
    }
    [libc::SYS_flock, libc::SYS_fcntl, libc::SYS_openat].contains(&call)
}

/// The state of a process or of one of its threads, as /proc shows it.
pub fn state(tid: u32) -> Option<char> {
    crate::shown::stat(tid).map(|(state, _)| state)
}
