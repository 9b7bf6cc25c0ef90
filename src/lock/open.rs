//! Open files of boards (semantics.md, "Opening a held board for writing").
//!
//! Until file locks are served, an open that would have to wait is refused.

use super::caller::Caller;
use super::claim::ClaimId;
use super::ids::{Handle, Ino, ProcessId};
use super::node::Body;
use super::refusal::Refusal;
use super::table::Table;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct OpenMode {
    /// For writing.
    pub write: bool,
    /// O_APPEND.
    pub append: bool,
    /// O_TRUNC.
    pub truncate: bool,
    /// O_NONBLOCK.
    pub nonblock: bool,
}

/// An open file.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub ino: Ino,
    /// The process that opened it.
    pub opener: Option<ProcessId>,
    /// The hold on whose side it was opened: what is written through it counts
    /// while that hold lasts. None for one that holds nothing.
    pub side_of: Option<ClaimId>,
    /// Whether opening it made that hold.
    pub claiming: bool,
    pub append: bool,
    /// What its reads show.
    pub snapshot: Option<Vec<u8>>,
}

impl Table {
    /// Opens a board that is there.
    ///
    /// # Errors
    /// `Gone` for one that was freed since it was looked up. For writing, when
    /// another holds it: `Busy`, or `BusyNow` with O_NONBLOCK; O_APPEND opens,
    /// and holds nothing.
    pub fn open(&mut self, caller: &Caller, ino: Ino, mode: OpenMode) -> Result<Handle, Refusal> {
        let node = self.node(ino)?;
        if node.is_directory() {
            return Err(Refusal::IsDirectory);
        }
        let Some(claim) = node.claim.as_ref().filter(|_| !node.names.is_empty()) else {
            return Err(Refusal::Gone);
        };
        if !mode.write && !mode.truncate {
            return Ok(self.add_open(ino, caller, mode, false));
        }
        if claim.held_by(caller) {
            let handle = self.add_open(ino, caller, mode, false);
            if mode.truncate
                && let Body::File(content) = &mut self.node_mut(ino)?.body
            {
                content.clear();
            }
            return Ok(handle);
        }
        if mode.append {
            return Ok(self.add_open(ino, caller, mode, false));
        }
        Err(self.refuse(
            ino,
            caller,
            if mode.nonblock {
                Refusal::BusyNow
            } else {
                Refusal::Busy
            },
        ))
    }

    /// Opens a directory. One that is claimed only with `listing`
    /// (O_DIRECTORY) or on its holder's side: without it the opener is about
    /// to lock it, and the kernel would grant that without asking.
    ///
    /// # Errors
    /// `Busy` as said, `Gone`, `NotDirectory`.
    pub fn open_directory(
        &mut self,
        caller: &Caller,
        ino: Ino,
        listing: bool,
    ) -> Result<(), Refusal> {
        let node = self.node(ino)?;
        if !node.is_directory() {
            return Err(Refusal::NotDirectory);
        }
        match &node.claim {
            Some(claim) if !listing && !claim.on_side(caller) => {
                Err(self.refuse(ino, caller, Refusal::Busy))
            }
            _ => Ok(()),
        }
    }

    /// Adds an open file. It is on the holder's side if the caller is.
    pub(super) fn add_open(
        &mut self,
        ino: Ino,
        caller: &Caller,
        mode: OpenMode,
        claiming: bool,
    ) -> Handle {
        let handle = self.new_handle();
        let side_of = self
            .claim(ino)
            .filter(|claim| claiming || (mode.write && claim.on_side(caller)))
            .map(|claim| claim.id);
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.opens.push(handle);
        }
        self.opens.insert(
            handle,
            Open {
                ino,
                opener: caller.requester,
                side_of,
                claiming,
                append: mode.append,
                snapshot: None,
            },
        );
        handle
    }

    /// The last descriptor of an open file was closed.
    pub fn close(&mut self, handle: Handle) {
        let Some(open) = self.opens.remove(&handle) else {
            return;
        };
        if let Some(node) = self.nodes.get_mut(&open.ino) {
            node.opens.retain(|other| *other != handle);
        }
        self.forget_if_unused(open.ino);
    }

    /// Whether the caller's process is the one whose open made this hold, and
    /// still has it open: `touch` sets the times of what it has just made.
    pub(super) fn is_making(&self, ino: Ino, caller: &Caller) -> bool {
        let Some(node) = self.nodes.get(&ino) else {
            return false;
        };
        let Some(claim) = &node.claim else {
            return false;
        };
        caller.requester.is_some()
            && node
                .opens
                .iter()
                .filter_map(|handle| self.opens.get(handle))
                .any(|open| {
                    open.claiming
                        && open.side_of == Some(claim.id)
                        && open.opener == caller.requester
                })
    }

    /// Whether what is written through an open file counts.
    pub(super) fn may_write(&self, open: &Open) -> bool {
        self.claim(open.ino)
            .is_some_and(|claim| open.side_of == Some(claim.id))
    }
}
