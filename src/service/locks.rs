//! File locks, and the requests that are answered later.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::Service;
use super::desk::Desk;
use super::early::Early;
use super::request::{Failure, Sender};
use super::view;
use crate::lock::attributes::Attributes;
use crate::lock::file_lock::{LockCall, LockKind};
use crate::lock::ids::{Handle, Ino, LockOwner, Pid, ProcessId, WaitId};
use crate::lock::locking::{Conflict, Tried};
use crate::lock::refusal::Refusal;
use crate::lock::time::BootTime;
use crate::process::{Reach, nudge};
use crate::turn;

/// How a request is answered, at once or later: an open with its open file.
pub type Answer = Box<dyn FnOnce(Result<Option<Handle>, Failure>) + Send>;

/// How a request is answered that makes a file and opens it.
pub type Created = Box<dyn FnOnce(Result<(Attributes, Handle), Failure>) + Send>;

/// Tells a process that polls an open file that there is something to read.
pub type Tell = Box<dyn FnOnce() + Send>;

/// What is still to be told to whom.
#[derive(Default)]
pub(super) struct Pending {
    answers: HashMap<WaitId, (Sender, Answer)>,
    polls: HashMap<Handle, Tell>,
    /// Interrupts that overtook their requests.
    early: Early<WaitId>,
    /// The threads whose opens were answered that the board is gone, and when:
    /// the kernel walks the path for them again, once.
    walking: VecDeque<(Pid, BootTime)>,
    /// Until when every open may be such a one: the daemon before knew whose.
    may_walk: Option<BootTime>,
    /// When all processes were looked at last.
    searched: Option<BootTime>,
    found: Arc<Mutex<Found>>,
}

/// A board, and who had it open.
pub(super) type Found = Option<(Ino, Vec<ProcessId>)>;

/// So often at most all processes are looked at.
const BETWEEN_SEARCHES: Duration = Duration::from_millis(500);

/// As many opens as can be walked again at a time; more are only forgotten.
const WALKING: usize = 256;

/// A path is walked in less, on a machine that has much else to do and through the
/// death of a daemon, too.
const WALK: Duration = Duration::from_secs(30);

/// Who was answered by the daemon before is back in less.
const BACK: Duration = Duration::from_secs(2);

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending")
            .field("answers", &self.answers.len())
            .field("polls", &self.polls.len())
            .finish()
    }
}

impl Pending {
    pub fn answer(
        &mut self,
        wait: WaitId,
        outcome: Result<Option<Handle>, Refusal>,
        now: BootTime,
    ) {
        if let Some((sender, answer)) = self.answers.remove(&wait) {
            if outcome == Err(Refusal::Gone) {
                self.walks_again(sender.thread, now);
            }
            answer(outcome.map_err(Failure::Refused));
        }
    }

    pub fn walks_again(&mut self, thread: Option<Pid>, now: BootTime) {
        if self.walking.len() >= WALKING {
            self.walking.pop_front();
        }
        self.walking.extend(thread.map(|thread| (thread, now)));
    }

    /// Begins to look at all processes, which takes long, if that was not done
    /// just before; where to keep what is found.
    pub fn begin_search(&mut self, now: BootTime) -> Option<Arc<Mutex<Found>>> {
        let recent = |last: BootTime| now.0.saturating_sub(last.0) < BETWEEN_SEARCHES;
        if self.searched.is_some_and(recent) {
            return None;
        }
        self.searched = Some(now);
        Some(Arc::clone(&self.found))
    }

    /// Who had this board open when all processes were looked at last.
    pub fn found(&self, ino: Ino) -> Vec<ProcessId> {
        match &*self.found.lock() {
            Some((searched, found)) if *searched == ino => found.clone(),
            _ => Vec::new(),
        }
    }

    /// Begins after another daemon, whose answers may be on their way.
    pub fn go_on(&mut self, now: BootTime) {
        self.may_walk = Some(BootTime(now.0.saturating_add(BACK)));
    }

    /// Whether an open of this thread is one for which the kernel has walked
    /// the path again, or may be.
    pub fn has_walked(&mut self, thread: Option<Pid>, now: BootTime) -> bool {
        let recent = |walked: &BootTime| now.0.saturating_sub(walked.0) < WALK;
        self.walking.retain(|(_, walked)| recent(walked));
        let found = self
            .walking
            .iter()
            .position(|(walking, _)| Some(*walking) == thread);
        found.and_then(|at| self.walking.remove(at)).is_some()
            || self.may_walk.is_some_and(|until| now < until)
    }

    /// Has a request made anew. To be called under the lock under which requests
    /// are answered, as all of this is.
    pub fn send_back(&self, wait: WaitId) -> io::Result<()> {
        let thread = self
            .answers
            .get(&wait)
            .and_then(|(sender, _)| sender.thread);
        nudge(thread.ok_or(io::ErrorKind::NotFound)?)
    }

    pub fn tell(&mut self, handle: Handle) {
        if let Some(tell) = self.polls.remove(&handle) {
            tell();
        }
    }
}

impl Service {
    /// Locks a board through an open file; without `wait` what would wait is
    /// refused.
    pub fn lock(
        &self,
        sender: Sender,
        wait: Option<WaitId>,
        mut call: LockCall,
        kind: LockKind,
        answer: Answer,
    ) {
        // Locked by the kernel's rules it would be for nobody.
        if view::is_view_handle(call.handle) {
            return answer(Err(Refusal::NoLocks.into()));
        }
        let mut answer = Some(answer);
        let tried = self.act(|desk| {
            if let Some(pid) = call.pid
                && desk.table.may_be_own(&call)
            {
                call.started = desk.resolver.started(pid);
            }
            settle_opened(desk, call.handle);
            match desk.may_acquire() {
                Err(failure) if !desk.table.comes_back(&call, kind) => return Err(failure),
                _ => {}
            }
            let tried = desk.table.lock(&desk.now, &call, kind, wait, None);
            desk.await_lock(&tried, wait, sender, &mut answer);
            Ok(tried?)
        });
        let Some(answer) = answer else { return };
        match tried {
            Ok(Tried::Granted) => return answer(Ok(None)),
            Ok(Tried::AskWho | Tried::Waits) => {}
            Err(failure) => return answer(Err(failure)),
        }
        let (caller, pins) = match self.caller(sender, Reach::Root) {
            Ok(found) => found,
            Err(error) => return answer(Err(error.into())),
        };
        drop(pins);
        let mut answer = Some(answer);
        let tried = self.act_for(sender, Vec::new(), &[], |desk| {
            settle_opened(desk, call.handle);
            let tried = desk.table.lock(&desk.now, &call, kind, wait, Some(&caller));
            desk.await_lock(&tried, wait, sender, &mut answer);
            tried?;
            Ok(())
        });
        if let Some(answer) = answer {
            answer(tried.map(|()| None));
        }
    }

    /// Unlocks what a call names.
    pub fn unlock(&self, call: &LockCall) -> Result<(), Failure> {
        if view::is_view_handle(call.handle) {
            return Ok(());
        }
        self.act(|desk| Ok(desk.table.unlock(&desk.now, call)?))
    }

    /// What is in the way of a lock.
    pub fn conflict(
        &self,
        sender: Sender,
        mut call: LockCall,
        kind: LockKind,
    ) -> Result<Option<Conflict>, Failure> {
        if view::is_view_handle(call.handle) {
            return Err(Refusal::NoLocks.into());
        }
        // The kernel does not say whose process asks.
        call.pid = call
            .pid
            .or_else(|| self.resolver.process_of(sender.thread?));
        let found = self.act(|desk| {
            if let Some(pid) = call.pid
                && desk.table.may_be_own(&call)
            {
                call.started = desk.resolver.started(pid);
            }
            settle_opened(desk, call.handle);
            desk.table.conflict(&call, kind, None)
        })?;
        if let Some(found) = found {
            return Ok(found);
        }
        let (caller, _) = self.caller(sender, Reach::Root)?;
        let found = self.act(|desk| desk.table.conflict(&call, kind, Some(&caller)))?;
        Ok(found.flatten())
    }

    /// A process has closed a descriptor of an open file.
    pub fn flush(&self, handle: Handle, owner: LockOwner) {
        self.act(|desk| desk.table.flush(&desk.now, handle, owner));
    }

    /// A signal has come to the caller of a request: it waits no more. Nothing
    /// for one that does not wait.
    pub fn interrupted(&self, wait: WaitId) {
        let (sender, comes_again) = {
            let mut state = self.state.lock();
            match state.pending.answers.get(&wait) {
                Some((sender, _)) => (*sender, state.table.is_sent_back(wait)),
                None => return state.pending.early.keep(wait, turn::is_overtaking()),
            }
        };
        // While it still waits for the answer, and can be read. Who comes again
        // is no loser to be remembered.
        let caller = match comes_again {
            true => Err(io::ErrorKind::NotFound.into()),
            false => self.caller(sender, Reach::Scripts),
        };
        self.act(|desk| {
            desk.table.leave(wait, Refusal::Interrupted, &desk.now);
            if let Some(ino) = desk.table.take_defeat()
                && let Ok((caller, _)) = &caller
            {
                desk.table.remember_scripts(ino, caller);
            }
        });
    }

    /// Whether there is something new to be read through an open file; `tell`
    /// is called at the next change; with the number by which the kernel knows who
    /// polls.
    pub fn poll(&self, handle: Handle, tell: Option<(u64, Tell)>) -> bool {
        self.act(|desk| {
            let new = desk.table.poll(handle, tell.is_some());
            if let Some((number, tell)) = tell {
                desk.table.polled_as(handle, number);
                desk.pending.polls.insert(handle, tell);
            }
            new
        })
    }

    /// The last descriptor of an open file was closed.
    pub fn close(&self, handle: Handle) {
        if self.view_close(handle) {
            return;
        }
        self.act(|desk| {
            // A process that is killed closes its files before it has ended: what
            // waits to learn what becomes of its board waits for that.
            if let Some(ino) = desk.table.decides_opens(handle)
                && let Some(holder) = desk.table.holder(ino)
                && desk.is_ending(holder)
            {
                desk.table.ending(ino);
            }
            desk.table.close(&desk.now, handle);
            desk.pending.polls.remove(&handle);
        });
    }
}

impl Desk<'_> {
    /// Keeps the answer of a lock that waits.
    fn await_lock(
        &mut self,
        tried: &Result<Tried, Refusal>,
        wait: Option<WaitId>,
        sender: Sender,
        answer: &mut Option<Answer>,
    ) {
        if *tried == Ok(Tried::Waits)
            && let Some(wait) = wait
            && let Some(answer) = answer.take()
        {
            self.put_aside(wait, sender, answer);
        }
    }

    /// Keeps the answer of a request that waits, unless a signal has ended it
    /// before.
    pub(super) fn put_aside(&mut self, wait: WaitId, sender: Sender, answer: Answer) {
        self.pending.answers.insert(wait, (sender, answer));
        if self.pending.early.take(&wait) {
            self.table.leave(wait, Refusal::Interrupted, &self.now);
        }
    }
}

/// No lock waits for a holder that has ended.
fn settle_opened(desk: &mut Desk<'_>, handle: Handle) {
    if let Some(ino) = desk.table.opened(handle) {
        let board = desk.table.board_of(ino);
        desk.settle(board);
    }
}
