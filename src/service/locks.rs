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
use crate::lock::fair::Fair;
use crate::lock::file_lock::{LockCall, LockKind};
use crate::lock::ids::{Handle, Ino, LockOwner, Pid, ProcessId, Uid, WaitId};
use crate::lock::locking::{Conflict, Tried};
use crate::lock::refusal::Refusal;
use crate::lock::time::BootTime;
use crate::process::{Reach, nudge};

/// How a request is answered, at once or later: an open with its open file.
pub type Answer = Box<dyn FnOnce(Result<Option<Handle>, Failure>) + Send>;

/// How a request is answered that makes a file and opens it.
pub type Created = Box<dyn FnOnce(Result<(Attributes, Handle, Closing), Failure>) + Send>;

/// Whether each close of a descriptor of an open file is to be told (FLUSH): with it go
/// the fcntl(2) locks that its process has of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// It is.
    Told,
    /// No process has such locks of this file: the last close is enough.
    Untold,
}

/// Tells a process that polls an open file that there is something to read.
pub type Tell = Box<dyn FnOnce() + Send>;

/// What is still to be told to whom.
pub(super) struct Pending {
    answers: HashMap<WaitId, (Sender, Answer)>,
    polls: HashMap<Handle, Tell>,
    /// Interrupts that overtook their requests.
    early: Early<WaitId>,
    /// The threads whose opens were answered that the board is gone, and when:
    /// the kernel walks the path for them again, once.
    walking: Fair<Pid, BootTime>,
    /// Until when every open may be such a one: the daemon before knew whose.
    may_walk: Option<BootTime>,
    /// When all processes were looked at last for each user's boards, and what was
    /// found.
    searches: Fair<Uid, (BootTime, Arc<Mutex<Found>>)>,
    /// When they were looked at last, for whomever.
    searched: VecDeque<BootTime>,
}

/// A board, and who had it open.
pub(super) type Found = Option<(Ino, Vec<ProcessId>)>;

/// So often at most all processes are looked at for a user's boards, and so many times
/// meanwhile for everybody's: nobody keeps others from it, and it does not become all
/// that is done.
const BETWEEN_SEARCHES: Duration = Duration::from_millis(500);
const SEARCHES: usize = 4;

/// Of so many users is it known what was found last.
const SEARCHED: usize = 1024;

/// As many opens of a user, and of all, as can be walked again at a time; more are only
/// forgotten.
const WALKING: (usize, usize) = (256, 16 << 10);

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

impl Default for Pending {
    fn default() -> Pending {
        Pending {
            answers: HashMap::new(),
            polls: HashMap::new(),
            early: Early::default(),
            walking: Fair::new(WALKING.0, WALKING.1),
            may_walk: None,
            searches: Fair::new(1, SEARCHED),
            searched: VecDeque::new(),
        }
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
                self.walks_again(sender, now);
            }
            answer(outcome.map_err(Failure::Refused));
        }
    }

    pub fn walks_again(&mut self, sender: Sender, now: BootTime) {
        if let Some(thread) = sender.thread {
            self.walking.insert(sender.user.uid, thread, now);
        }
    }

    /// Begins to look at all processes for a board of this user's, which takes long,
    /// if that was not done just before; where to keep what is found.
    pub fn begin_search(&mut self, uid: Uid, now: BootTime) -> Option<Arc<Mutex<Found>>> {
        let recent = |last: &BootTime| now.0.saturating_sub(last.0) < BETWEEN_SEARCHES;
        self.searched.retain(recent);
        let before = self.searches.get(&uid);
        if self.searched.len() >= SEARCHES || before.is_some_and(|(last, _)| recent(last)) {
            return None;
        }
        self.searched.push_back(now);
        let found = before.map(|(_, found)| Arc::clone(found));
        let found = found.unwrap_or_default();
        self.searches.insert(uid, uid, (now, Arc::clone(&found)));
        Some(found)
    }

    /// Who had this board of a user's open when all processes were looked at last.
    pub fn found(&self, uid: Uid, ino: Ino) -> Vec<ProcessId> {
        let found = self.searches.get(&uid).map(|(_, found)| found.lock());
        match found.as_deref() {
            Some(Some((searched, found))) if *searched == ino => found.clone(),
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
        let walked = thread.and_then(|thread| self.walking.remove(&thread));
        walked.is_some_and(|walked| now.0.saturating_sub(walked.0) < WALK)
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
        call: LockCall,
        kind: LockKind,
        answer: Answer,
    ) {
        let Some(wait) = wait else {
            return self.try_lock(sender, None, call, kind, answer);
        };
        self.may_be_put_aside(wait, || {
            self.try_lock(sender, Some(wait), call, kind, answer);
        });
    }

    /// A request is at work that may be put aside: a signal may end it before it is.
    pub(super) fn may_be_put_aside(&self, wait: WaitId, work: impl FnOnce()) {
        self.state.lock().pending.early.begin(wait);
        work();
        self.state.lock().pending.early.end(&wait);
    }

    fn try_lock(
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
                Err(failure)
                    if !desk.table.comes_back(&call, kind)
                        && !desk.table.has_just(&call, kind, &desk.now) =>
                {
                    return Err(failure);
                }
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
                None => return state.pending.early.keep(&wait),
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::lock::ids::{Gid, User};

    const ALICE: Uid = Uid(1);
    const MALLORY: Uid = Uid(2);

    fn sender(uid: Uid, thread: u32) -> Sender {
        Sender {
            thread: Pid::new(thread),
            user: User { uid, gid: Gid(0) },
        }
    }

    fn at(millis: u64) -> BootTime {
        BootTime(Duration::from_millis(millis))
    }

    #[test]
    fn nobodys_opens_make_anothers_second_walk_be_forgotten() {
        let mut pending = Pending::default();
        let alices = sender(ALICE, 1);
        pending.walks_again(alices, at(0));
        for thread in 2..100_000 {
            pending.walks_again(sender(MALLORY, thread), at(1));
        }
        assert!(pending.walking.keys().len() <= WALKING.0 + 1);
        assert!(pending.has_walked(alices.thread, at(2)));
        assert!(!pending.has_walked(alices.thread, at(2)), "once");
        let late = sender(ALICE, 2);
        pending.walks_again(late, at(0));
        assert!(!pending.has_walked(late.thread, BootTime(WALK)));
    }

    #[test]
    fn nobody_keeps_others_boards_from_being_looked_for() {
        let mut pending = Pending::default();
        for _ in 0..100 {
            pending.begin_search(MALLORY, at(0));
        }
        let process = ProcessId {
            pid: Pid::new(7).unwrap(),
            start: crate::lock::ids::StartTime(1),
        };
        let found = pending.begin_search(ALICE, at(0)).unwrap();
        *found.lock() = Some((Ino(3), vec![process]));
        assert!(pending.begin_search(ALICE, at(499)).is_none());
        let other = pending.begin_search(MALLORY, at(500)).unwrap();
        *other.lock() = Some((Ino(4), Vec::new()));
        assert_eq!(pending.found(ALICE, Ino(3)), [process]);
        assert_eq!(pending.found(ALICE, Ino(4)), []);
        // All together they are only so many.
        let begun = (10..100).filter(|uid| pending.begin_search(Uid(*uid), at(500)).is_some());
        assert_eq!(begun.count(), SEARCHES - 1);
    }
}
