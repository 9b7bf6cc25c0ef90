//! Who holds a board, as the mount shows it to everyone.

use std::time::Duration;

use rustix::io::Errno;

use crate::lab::Lab;
use crate::process::{PATIENCE, eventually};

/// What is shown as the pid of a claim that no process holds.
pub const DETACHED: u32 = 0;

/// The pid of the holder; none for a free board.
#[track_caller]
pub fn holder(lab: &Lab, board: &str) -> Option<u32> {
    let mut value = [0; 32];
    match rustix::fs::getxattr(lab.path(board), c"user.boardlock.pid", &mut value[..]) {
        Ok(length) => {
            let text = std::str::from_utf8(&value[..length]).unwrap();
            Some(text.parse().unwrap())
        }
        // Or it was freed between looking it up and asking.
        Err(Errno::NOENT | Errno::NODATA) => None,
        Err(e) => panic!("{board}: {e}"),
    }
}

/// Panics unless this process holds the board now.
#[track_caller]
pub fn held_by(lab: &Lab, board: &str, pid: u32, what: &str) {
    let shown = holder(lab, board);
    assert_eq!(shown, Some(pid), "{what}\n{}", lab.log().join("\n"));
}

/// Panics unless the board is free now.
#[track_caller]
pub fn free(lab: &Lab, board: &str, what: &str) {
    let shown = holder(lab, board);
    assert_eq!(shown, None, "{what}\n{}", lab.log().join("\n"));
}

/// Waits until the board is free.
#[track_caller]
pub fn becomes_free(lab: &Lab, board: &str) {
    eventually("the board is free", PATIENCE, || {
        holder(lab, board).is_none()
    });
}

/// Waits until this process holds the board.
#[track_caller]
pub fn becomes_held_by(lab: &Lab, board: &str, pid: u32) {
    eventually("the board is held by the right one", PATIENCE, || {
        holder(lab, board) == Some(pid)
    });
}

/// What /proc tells of a living process: its state and its parent. Not its stat,
/// which is not to be had of one that is in execve(2).
pub fn stat(pid: u32) -> Option<(char, u32)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let value = |key| status.lines().find_map(|line| line.strip_prefix(key));
    let state = value("State:")?.trim_start().chars().next()?;
    Some((state, value("PPid:")?.trim().parse().ok()?))
}

/// The children of a process.
pub fn children(pid: u32) -> Vec<u32> {
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|child| stat(*child).is_some_and(|(_, parent)| parent == pid))
        .collect()
}

/// Waits for the only child of a process.
#[track_caller]
pub fn only_child(pid: u32) -> u32 {
    let mut found = Vec::new();
    eventually("it has one child", Duration::from_secs(10), || {
        found = children(pid);
        found.len() == 1
    });
    found[0]
}
