//! Clients that wait for a board, and how a test sees that they do.

use crate::client::Client;
use crate::lab::Lab;
use crate::process::{PATIENCE, eventually};

/// Opens `b` in whatever state it is, and holds nothing by it.
pub const LOOK: &str = "fd = os.open('b', os.O_RDWR|os.O_APPEND)";
/// Locks it, with flock(2).
pub const FLOCK: &str = "fcntl.flock(fd, fcntl.LOCK_EX)";
/// The same, shared.
pub const SHARE: &str = "fcntl.flock(fd, fcntl.LOCK_SH)";
/// Locks it with fcntl(2).
pub const LOCKF: &str = "fcntl.lockf(fd, fcntl.LOCK_EX)";
/// The same, shared.
pub const LOCKF_SHARE: &str = "fcntl.lockf(fd, fcntl.LOCK_SH)";
/// Locks it for the open file, with fcntl(2).
pub const OFD: &str =
    "fcntl.fcntl(fd, fcntl.F_OFD_SETLKW, struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, 0, 0, 0))";
/// Unlocks what the other ways have locked.
pub const UNLOCK: &str = "fcntl.flock(fd, fcntl.LOCK_UN); fcntl.lockf(fd, fcntl.LOCK_UN)";
/// The last close.
pub const CLOSE: &str = "os.close(fd)";

/// One who waits, as the status has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiter {
    pub place: usize,
    pub user: String,
    pub pid: u32,
    pub kind: String,
    pub since: String,
    pub command: String,
}

/// Who waits for a board, the first hundred, as `cat` shows it; nobody for a free
/// one.
#[track_caller]
pub fn queue(lab: &Lab, board: &str) -> Vec<Waiter> {
    let text = match std::fs::read_to_string(lab.path(board)) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => panic!("{board}: {error}"),
    };
    let count = text.lines().find_map(|line| line.strip_prefix("waiters "));
    let count: usize = count.unwrap().parse().unwrap();
    let waiters: Vec<Waiter> = text
        .lines()
        .filter_map(|line| line.strip_prefix("waiter "))
        .map(|line| {
            let mut words = line.splitn(6, ' ');
            let mut word = || words.next().unwrap().to_owned();
            Waiter {
                place: word().parse().unwrap(),
                user: word(),
                pid: word().parse().unwrap(),
                kind: word(),
                since: word(),
                command: word(),
            }
        })
        .collect();
    assert_eq!(count.min(100), waiters.len(), "{text}");
    for (before, waiter) in waiters.iter().enumerate() {
        assert_eq!(waiter.place, before + 1, "{text}");
    }
    waiters
}

/// Waits until these processes, in this order, wait for the board, and nobody
/// else.
#[track_caller]
pub fn line_up(lab: &Lab, board: &str, pids: &[u32]) {
    let mut last = Vec::new();
    let deadline = std::time::Instant::now() + PATIENCE;
    while std::time::Instant::now() < deadline {
        last = queue(lab, board).iter().map(|waiter| waiter.pid).collect();
        if last == pids {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    panic!(
        "{last:?} wait for {board}, not {pids:?}\n{}",
        lab.log().join("\n")
    );
}

/// Clients that wait for `b`, each in its way, in this order.
#[track_caller]
pub fn waiters(lab: &Lab, ways: &[&str]) -> Vec<Client> {
    let mut waiting: Vec<Client> = Vec::new();
    for way in ways {
        let mut client = lab.python();
        client.ok(LOOK);
        client.begin(way);
        waiting.push(client);
        line_up(lab, "b", &pids(&waiting));
    }
    waiting
}

/// Their pids.
pub fn pids(clients: &[Client]) -> Vec<u32> {
    clients.iter().map(Client::pid).collect()
}

/// The inode number of a board.
#[track_caller]
pub fn inode(lab: &Lab, board: &str) -> u64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::symlink_metadata(lab.path(board)).unwrap().ino()
}

/// Waits until a process is blocked in the kernel by a request that the daemon
/// has read and does not answer.
#[track_caller]
pub fn blocks(lab: &Lab, pid: u32) {
    let blocked = || {
        let at = std::fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
        // The name of the function that waits, or of one that it was made a part of.
        at.contains("request_wait_answer") || at.contains("fuse")
    };
    eventually("it waits for the daemon's answer", PATIENCE, || {
        // The daemon answers in order: whoever still waits after it has answered
        // us waits for something else. An open is two requests, one or the
        // other of which might be meant each time.
        (0..6).all(|_| {
            let still = blocked();
            let _ = std::fs::symlink_metadata(lab.path("nobody has this"));
            still
        }) && blocked()
    });
}
