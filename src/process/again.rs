//! A process that asks again and again: who is behind it is found once, and then known
//! for as long as what that was found from reads as it did.
//!
//! Its files of /proc stay open for that. They belong to that process and no other:
//! when it has ended they read as ESRCH, whoever has its number by then (proc(5)). That
//! it still runs the same program is told by its name, its words, and where its program,
//! stack and words lie, which execve(2) chooses anew.
//!
//! Only who holds for itself is known so: of a tool, or a subshell, the processes above
//! matter, and those that run it would have to be read as well.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use parking_lot::Mutex;

use super::proc::{Kept, Lasting, Proc};
use crate::lock::caller::Caller;
use crate::lock::ids::{Pid, ProcessId};

/// So many are known: each costs three descriptors.
const KNOWN: usize = 16;

/// So many that may ask again are remembered.
const ASKED: usize = 32;

/// Who asks so often is likely to ask again: a tool asks two or three times.
const OFTEN: u8 = 3;

/// Who asked that often and could not be known is not tried again.
const NEVER: u8 = u8::MAX;

/// Those who ask again.
#[derive(Debug, Default)]
pub(super) struct Again {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The one that asked last comes last.
    known: Vec<Arc<Known>>,
    /// By their numbers alone: it decides nothing but whether to keep files open.
    asked: Vec<(Pid, u8)>,
}

/// One who was found.
#[derive(Debug)]
struct Known {
    thread: Pid,
    files: Kept,
    read: Lasting,
    process: ProcessId,
    caller: Caller,
    pidfd: Arc<OwnedFd>,
}

/// What was read before one is looked for.
#[derive(Debug)]
pub(super) struct Before {
    files: Kept,
    read: Lasting,
}

impl Again {
    /// Who this thread was, if nothing has changed.
    pub fn known(&self, thread: Pid) -> Option<(Caller, ProcessId, Arc<OwnedFd>)> {
        let known = {
            let mut inner = self.inner.lock();
            let at = inner.known.iter().position(|one| one.thread == thread)?;
            let known = inner.known.remove(at);
            inner.known.push(Arc::clone(&known));
            known
        };
        // Read with nothing locked: it may wait for others.
        if known.files.read().as_ref() == Some(&known.read) {
            let pidfd = Arc::clone(&known.pidfd);
            return Some((known.caller.clone(), known.process, pidfd));
        }
        self.inner.lock().known.retain(|one| one.thread != thread);
        None
    }

    /// Before a thread is looked for that is not known: what tells later whether it
    /// changed, if it is worth that.
    pub fn before(&self, proc: &Proc, thread: Pid) -> Option<Before> {
        {
            let mut inner = self.inner.lock();
            let at = inner.asked.iter().position(|(one, _)| *one == thread);
            let before = at.map_or(0, |at| inner.asked.remove(at).1);
            if inner.asked.len() >= ASKED {
                inner.asked.remove(0);
            }
            let times = match before {
                NEVER => NEVER,
                before => before.saturating_add(1).min(OFTEN),
            };
            inner.asked.push((thread, times));
            if times != OFTEN {
                return None;
            }
        }
        let files = proc.keep(thread)?;
        let read = files.read()?;
        Some(Before { files, read })
    }

    /// This thread was found to be the process that holds.
    pub fn keep(&self, before: Before, process: ProcessId, caller: &Caller, pidfd: Arc<OwnedFd>) {
        let known = Known {
            thread: process.pid,
            files: before.files,
            read: before.read,
            process,
            caller: caller.clone(),
            pidfd,
        };
        let mut inner = self.inner.lock();
        inner.known.retain(|one| one.thread != process.pid);
        if inner.known.len() >= KNOWN {
            inner.known.remove(0);
        }
        inner.known.push(Arc::new(known));
    }

    /// This thread is none that can be known.
    pub fn never(&self, thread: Pid) {
        let mut inner = self.inner.lock();
        if let Some((_, times)) = inner.asked.iter_mut().find(|(one, _)| *one == thread) {
            *times = NEVER;
        }
    }

    /// Forgets all of them, for their descriptors; whether there were any.
    pub fn forget(&self) -> bool {
        let known = std::mem::take(&mut self.inner.lock().known);
        !known.is_empty()
    }
}
