//! Looking at all processes for who has a board's file open. Any one of them can
//! be such that its /proc waits for others (`crate::turn`), or for us: those are
//! left out.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

use super::open_files::has_open;
use super::proc::Proc;
use crate::lock::ids::{Ino, Pid, ProcessId};

/// The most processes that are told.
const MOST: usize = 16;

/// How long one process is waited for.
const LIMIT: Duration = Duration::from_millis(50);

/// So many threads at most wait for processes that are left out.
const STUCK: usize = 16;

/// The processes that threads of earlier searches still wait for.
static LEFT_OUT: Mutex<Option<HashSet<Pid>>> = Mutex::new(None);

/// Who has this inode of the mount with that device open, the oldest first, and
/// not too many. Takes long.
pub(super) fn search(proc: &Proc, device: &str, ino: Ino) -> Vec<ProcessId> {
    let pids = match proc.pids() {
        Ok(pids) => pids,
        Err(error) => {
            log::warn!("cannot look who has a board open: {error}");
            return Vec::new();
        }
    };
    let look = {
        let (proc, device) = (proc.clone(), device.to_owned());
        move |pid| {
            if !has_open(&proc, pid, &device, ino) {
                return None;
            }
            let start = proc.stat(pid).ok()??.start;
            Some(ProcessId { pid, start })
        }
    };
    let mut found = each(pids.collect(), LIMIT, look);
    found.sort_by_key(|process| (process.start, process.pid));
    found.truncate(MOST);
    found
}

/// What a searching thread is at; none once it was given up.
type At = Arc<Mutex<Option<Pid>>>;

/// What `look` finds of each process, without those that take longer than `limit`.
fn each(
    pids: VecDeque<Pid>,
    limit: Duration,
    look: impl Fn(Pid) -> Option<ProcessId> + Clone + Send + 'static,
) -> Vec<ProcessId> {
    let left = Arc::new(Mutex::new(pids));
    let mut all = Vec::new();
    loop {
        let (tell, told) = channel();
        let at: At = Arc::default();
        let started = {
            let (left, at, look) = (Arc::clone(&left), Arc::clone(&at), look.clone());
            let thread = thread::Builder::new().name("search".to_owned());
            thread.spawn(move || work(&left, &at, &look, &tell))
        };
        if let Err(error) = started {
            log::warn!("cannot start a thread to look who has a board open: {error}");
            return all;
        }
        if collect(&told, &at, limit, &mut all) {
            return all;
        }
    }
}

/// Takes in what a searching thread finds; false when it is stuck and another has
/// to go on.
fn collect(
    told: &Receiver<Option<ProcessId>>,
    at: &At,
    limit: Duration,
    all: &mut Vec<ProcessId>,
) -> bool {
    loop {
        match told.recv_timeout(limit) {
            Ok(found) => all.extend(found),
            Err(RecvTimeoutError::Disconnected) => return true,
            Err(RecvTimeoutError::Timeout) => {
                let mut left_out = LEFT_OUT.lock();
                let left_out = left_out.get_or_insert_default();
                let Some(stuck) = at.lock().take() else {
                    continue;
                };
                left_out.insert(stuck);
                return left_out.len() >= STUCK;
            }
        }
    }
}

fn work(
    left: &Mutex<VecDeque<Pid>>,
    at: &At,
    look: &impl Fn(Pid) -> Option<ProcessId>,
    tell: &Sender<Option<ProcessId>>,
) {
    loop {
        let Some(pid) = left.lock().pop_front() else {
            return;
        };
        let known = LEFT_OUT.lock();
        if known.as_ref().is_some_and(|pids| pids.contains(&pid)) {
            continue;
        }
        drop(known);
        *at.lock() = Some(pid);
        let found = look(pid);
        let mut left_out = LEFT_OUT.lock();
        if at.lock().take().is_none() {
            // It was given up meanwhile.
            if let Some(pids) = left_out.as_mut() {
                pids.remove(&pid);
            }
            return;
        }
        drop(left_out);
        if tell.send(found).is_err() {
            return;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::lock::ids::StartTime;

    #[test]
    fn processes_that_are_stuck_are_left_out() {
        let pid = |number| Pid::new(number).unwrap();
        let process = |pid| ProcessId {
            pid,
            start: StartTime(1),
        };
        let (go, waits) = channel::<()>();
        let waits = Arc::new(Mutex::new(waits));
        let look = move |pid: Pid| {
            if pid.get().is_multiple_of(10) {
                let _ = waits.lock().recv();
            }
            (pid.get() % 2 == 1).then(|| process(pid))
        };
        let all: VecDeque<Pid> = [1, 2, 10, 3, 4, 20, 5].map(pid).into();
        let expected = [1, 3, 5].map(pid).map(process);
        let found = each(all.clone(), Duration::from_millis(1), look.clone());
        assert_eq!(found, expected);
        // They are known now.
        let found = each(all, Duration::from_secs(30), look);
        assert_eq!(found, expected);
        drop(go);
        let is_empty = || LEFT_OUT.lock().as_ref().is_none_or(HashSet::is_empty);
        while !is_empty() {
            thread::yield_now();
        }
    }
}
