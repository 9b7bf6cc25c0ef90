//! flock(2) and fcntl(2), and requests that wait, as the kernel makes requests
//! of them.

use super::cast::*;
use super::lab::*;
use crate::lock::Refusal;
use crate::lock::caller::Caller;
use crate::lock::content::Kept;
use crate::lock::effect::Effect;
use crate::lock::file_lock::{Class, LockCall, LockKind, Range};
use crate::lock::ids::{Handle, LockOwner, ProcessId, WaitId};
use crate::lock::locking::Tried;
use crate::lock::open::{OpenMode, Opened};

/// What a request that waited was answered.
pub type Outcome = Result<Option<Handle>, Refusal>;

impl Lab {
    fn next_wait(&mut self) -> WaitId {
        self.waits += 1;
        WaitId(self.waits)
    }

    /// What a call asks for, of the whole board.
    pub fn call(&self, who: &Caller, handle: Handle, class: Class, owner: u64) -> LockCall {
        LockCall {
            handle,
            class,
            owner: LockOwner(owner),
            range: Range::ALL,
            // The program that locks is the script here.
            pid: who.lineage().first().map(|process| process.pid),
            started: None,
            user: who.user,
        }
    }

    /// A call of flock(2).
    pub fn flock_call(&self, who: &Caller, handle: Handle) -> LockCall {
        self.call(who, handle, Class::Flock, handle.0)
    }

    /// A call of fcntl(2) for a range, the last byte included.
    pub fn fcntl_call(
        &self,
        who: &Caller,
        handle: Handle,
        owner: u64,
        (start, end): (u64, u64),
    ) -> LockCall {
        LockCall {
            range: Range { start, end },
            ..self.call(who, handle, Class::Fcntl, owner)
        }
    }

    /// A call that does not wait. Like the daemon, asks who it is only if that
    /// matters.
    pub fn try_call(
        &mut self,
        who: &Caller,
        call: &LockCall,
        kind: LockKind,
    ) -> Result<Tried, Refusal> {
        self.locks(who, call, kind, None)
    }

    fn locks(
        &mut self,
        who: &Caller,
        call: &LockCall,
        kind: LockKind,
        wait: Option<WaitId>,
    ) -> Result<Tried, Refusal> {
        match self.table.lock(&self.now, call, kind, wait, None)? {
            Tried::AskWho => self.table.lock(&self.now, call, kind, wait, Some(who)),
            tried => Ok(tried),
        }
    }

    fn waits(&mut self, who: &Caller, call: &LockCall, kind: LockKind) -> Result<WaitId, Refusal> {
        let wait = self.next_wait();
        match self.locks(who, call, kind, Some(wait))? {
            Tried::Waits => Ok(wait),
            tried => panic!("{tried:?} and not waiting"),
        }
    }

    /// `flock -n`.
    pub fn flock(
        &mut self,
        who: &Caller,
        handle: Handle,
        kind: LockKind,
    ) -> Result<Tried, Refusal> {
        let call = self.call(who, handle, Class::Flock, handle.0);
        self.locks(who, &call, kind, None)
    }

    /// `flock`, which has to wait.
    pub fn wait_flock(
        &mut self,
        who: &Caller,
        handle: Handle,
        kind: LockKind,
    ) -> Result<WaitId, Refusal> {
        let call = self.call(who, handle, Class::Flock, handle.0);
        self.waits(who, &call, kind)
    }

    /// `flock`, which may have to wait.
    pub fn lock_waiting(&mut self, who: &Caller, handle: Handle) -> Result<Tried, Refusal> {
        let wait = self.next_wait();
        let call = self.call(who, handle, Class::Flock, handle.0);
        self.locks(who, &call, LockKind::Exclusive, Some(wait))
    }

    /// `flock -u`.
    pub fn unflock(&mut self, who: &Caller, handle: Handle) {
        let call = self.call(who, handle, Class::Flock, handle.0);
        self.table.unlock(&self.now, &call).unwrap();
    }

    /// F_SETLK.
    pub fn fcntl(
        &mut self,
        who: &Caller,
        handle: Handle,
        owner: u64,
        range: (u64, u64),
        kind: LockKind,
    ) -> Result<Tried, Refusal> {
        let call = self.fcntl_call(who, handle, owner, range);
        self.locks(who, &call, kind, None)
    }

    /// F_SETLKW, which has to wait.
    pub fn wait_fcntl(
        &mut self,
        who: &Caller,
        handle: Handle,
        owner: u64,
        range: (u64, u64),
        kind: LockKind,
    ) -> Result<WaitId, Refusal> {
        let call = self.fcntl_call(who, handle, owner, range);
        self.waits(who, &call, kind)
    }

    /// F_SETLK with F_UNLCK.
    pub fn unfcntl(&mut self, who: &Caller, handle: Handle, owner: u64, range: (u64, u64)) {
        let call = self.fcntl_call(who, handle, owner, range);
        self.table.unlock(&self.now, &call).unwrap();
    }

    /// open(2) by one who waits; the error is what came of one that does not.
    pub fn wait_open(
        &mut self,
        who: &Caller,
        path: &str,
        mode: OpenMode,
    ) -> Result<WaitId, Result<Handle, Refusal>> {
        let ino = self.ino(path);
        self.walk(who, path);
        let wait = self.next_wait();
        match self.table.open(&self.now, who, ino, mode, Some(wait)) {
            Ok(Opened::Waits) => Ok(wait),
            Ok(Opened::Done(handle)) => Err(Ok(handle)),
            Err(refusal) => Err(Err(refusal)),
        }
    }

    /// What a request that waits was answered, if it was.
    pub fn answered(&mut self, wait: WaitId) -> Option<Outcome> {
        for effect in self.effects() {
            if let Effect::Answer { wait, outcome } = effect {
                let before = self.answers.insert(wait, outcome);
                assert_eq!(before, None, "answered twice");
            }
        }
        self.answers.get(&wait).copied()
    }

    /// The requests that are to be made anew.
    pub fn sent_back(&mut self) -> Vec<WaitId> {
        let effects = self.effects().into_iter();
        let sent = effects.filter_map(|effect| match effect {
            Effect::SendBack(wait) => Some(wait),
            _ => None,
        });
        sent.collect()
    }

    /// The open files whose polls were told of a change.
    pub fn told(&mut self) -> Vec<Handle> {
        let effects = self.effects().into_iter();
        let told = effects.filter_map(|effect| match effect {
            Effect::Changed(handle) => Some(handle),
            _ => None,
        });
        told.collect()
    }

    /// The processes that have the locked files open, as the daemon finds them.
    pub fn show(&mut self, path: &str, shown: &[u32]) {
        let shown: Vec<ProcessId> = shown.iter().copied().map(process).collect();
        let ino = self.ino(path);
        self.table.show(ino, shown, None, "flock".to_owned());
    }

    /// The same, those who opened the locked files.
    pub fn show_openers(&mut self, path: &str) {
        if let Ok(ino) = self.find(path) {
            let files = self.table.locked_files(ino, 100);
            let shown = files
                .iter()
                .filter_map(|file| file.locker)
                .collect::<Vec<_>>();
            let shown = shown.iter().map(|pid| process(pid.get())).collect();
            self.table.show(ino, shown, None, "flock".to_owned());
        }
    }

    pub fn close(&mut self, handle: Handle) {
        self.table.close(&self.now, handle);
    }

    /// write(2) at the start.
    pub fn write(&mut self, handle: Handle, data: &[u8]) -> Result<Kept, Refusal> {
        self.table.write(handle, 0, data)
    }
}

/// A script that has locked `b` as `exec 9>b; flock 9` does.
pub fn locked(lab: &mut Lab, who: &Caller) -> Handle {
    let file = lab.create(who, "b", TRUNCATE).unwrap();
    assert_eq!(
        lab.flock(who, file, LockKind::Exclusive),
        Ok(Tried::Granted)
    );
    file
}

/// A reader's open file of `b`, as flock(1) makes one.
pub fn opened(lab: &mut Lab, who: &Caller) -> Handle {
    lab.open(who, "b", READ).unwrap()
}
