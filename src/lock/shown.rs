//! Who shows as the holder of a board that file locks hold: the open files by which it
//! is held, for who looks who has them, and what was found (semantics.md, "File locks").

use std::collections::HashSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::claim::Holder;
use super::ids::{Handle, Ino, Pid, ProcessId};
use super::table::Table;
use super::time::BootTime;

/// An open file of a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoardFile {
    /// The open file.
    pub handle: Handle,
    /// The process that opened it, where that was looked at then.
    pub opener: Option<ProcessId>,
    /// The thread that opened it.
    pub thread: Option<Pid>,
    /// When.
    pub opened: BootTime,
    /// The process that made its lock, if it has one.
    pub locker: Option<Pid>,
}

impl Table {
    /// The open files by which a board is held that no claim holds, at most
    /// `most`.
    pub fn locked_files(&self, ino: Ino, most: usize) -> Vec<BoardFile> {
        let Some(node) = self.nodes.get(&ino) else {
            return Vec::new();
        };
        if !self.is_by_locks(ino) {
            return Vec::new();
        }
        let files = node.locks.iter();
        files
            .filter_map(|lock| self.file(lock.handle, lock.pid))
            .take(most)
            .collect()
    }

    /// The open files of a board that have no lock, at most `most` and one more:
    /// whoever has one of them open need not have a locked one.
    pub fn other_files(&self, ino: Ino, most: usize) -> Vec<BoardFile> {
        let Some(node) = self.nodes.get(&ino) else {
            return Vec::new();
        };
        let locked: HashSet<Handle> = node.locks.iter().map(|lock| lock.handle).collect();
        let others = node.opens.iter().filter(|handle| !locked.contains(handle));
        others
            .filter_map(|handle| self.file(*handle, None))
            .take(most.saturating_add(1))
            .collect()
    }

    fn file(&self, handle: Handle, locker: Option<Pid>) -> Option<BoardFile> {
        let open = self.opens.get(&handle)?;
        Some(BoardFile {
            handle,
            opener: open.opener,
            thread: open.thread,
            opened: open.opened,
            locker,
        })
    }

    /// The processes that wait for a board.
    pub fn waiting_processes(&self, ino: Ino) -> Vec<Pid> {
        self.waiting(ino, usize::MAX)
            .iter()
            .filter_map(|waiter| waiter.pid)
            .collect()
    }

    /// These processes show as the holders of a board that file locks hold, which
    /// decides who may touch, write and unlink, never how long it lasts; if none
    /// surely has a locked file, one that probably does is only told of. With the
    /// command line of that which is shown first.
    pub fn show(
        &mut self,
        ino: Ino,
        shown: Vec<ProcessId>,
        likely: Option<ProcessId>,
        command: String,
    ) {
        if let Some(claim) = self.claim_mut(ino)
            && claim.is_by_locks()
        {
            claim.holder = Holder::Files(shown);
            claim.rare.change(|rare| rare.likely = likely);
            if claim.told.command != command {
                Arc::make_mut(&mut claim.told).command = command;
            }
        }
    }
}
