//! Opening boards, and making them with an open file.

use super::Service;
use super::desk::Desk;
use super::locks::{Answer, Closing, Created};
use super::request::{At, Failure, Sender};
use super::show::Board;
use crate::lock::acquire::Make;
use crate::lock::attributes::Attributes;
use crate::lock::caller::Caller;
use crate::lock::ids::{Handle, Ino, WaitId};
use crate::lock::open::{OpenMode, Opened};
use crate::lock::refusal::Refusal;
use crate::lock::walked::Came;
use crate::process::Reach;

impl Service {
    /// Makes a board's file and opens it; one that is there by now is opened, unless
    /// `exclusive`.
    pub fn create(
        &self,
        sender: Sender,
        at: At<'_>,
        exclusive: bool,
        mode: OpenMode,
        (wait, answer): (WaitId, Created),
    ) {
        self.may_be_put_aside(wait, || {
            let mut answer = Some(answer);
            let made = self.try_create(sender, at, exclusive, mode, (wait, &mut answer));
            if let Some(answer) = answer {
                answer(made.and_then(|made| made.ok_or(Refusal::Gone.into())));
            }
        });
    }

    fn try_create(
        &self,
        sender: Sender,
        (dir, name): At<'_>,
        exclusive: bool,
        mode: OpenMode,
        later: (WaitId, &mut Option<Created>),
    ) -> Result<Option<(Attributes, Handle, Closing)>, Failure> {
        self.spare_name(sender, (dir, name))?;
        let (caller, pins) = self.caller(sender, self.reach_in(dir))?;
        let closing = self.closing(&caller);
        self.act_for(sender, pins, &[Board::Named((dir, name))], |desk| {
            desk.settle(dir);
            desk.settled(dir, name)?;
            desk.may_acquire()?;
            let (make, open) = (Make::File, Some(mode));
            let made = desk
                .table
                .make(&desk.now, &caller, (dir, name), make, exclusive, open);
            match made {
                Ok((ino, handle)) => {
                    desk.done(handle);
                    let attributes = desk.table.attributes(ino, &desk.now)?;
                    Ok(handle.map(|handle| (attributes, handle, closing)))
                }
                Err(Refusal::Gone) => {
                    Ok(desk.open_instead(sender, &caller, (dir, name), mode, later)?)
                }
                Err(refusal) => Err(refusal.into()),
            }
        })
    }

    /// What a lock tool makes, no process locks by fcntl(2) (`Closing`): that saves it
    /// a round trip at each close.
    fn closing(&self, caller: &Caller) -> Closing {
        match self.resolver.makes_no_process_locks(caller) {
            true => Closing::Untold,
            false => Closing::Told,
        }
    }

    /// Opens a board that is there, at once or once it is decided what it is.
    pub fn open(&self, sender: Sender, ino: Ino, mode: OpenMode, wait: WaitId, answer: Answer) {
        self.may_be_put_aside(wait, || {
            let mut answer = Some(answer);
            let opened = self.try_open(sender, ino, mode, wait, &mut answer);
            if let Some(answer) = answer {
                answer(opened);
            }
        });
    }

    fn try_open(
        &self,
        sender: Sender,
        ino: Ino,
        mode: OpenMode,
        wait: WaitId,
        answer: &mut Option<Answer>,
    ) -> Result<Option<Handle>, Failure> {
        if let Some(opened) = self.view_open(sender, ino, mode) {
            return opened.map(Some);
        }
        // Reading needs no reason: the walk through /proc is saved.
        let writes = mode.write || mode.truncate;
        let (caller, pins) = if writes {
            self.caller(sender, self.reach_to(ino, mode))?
        } else {
            (super::reader(sender), Vec::new())
        };
        let matters = [Board::Of(ino)];
        let boards = if writes { &matters[..] } else { &[] };
        self.act_for(sender, pins, boards, |desk| {
            desk.settle(ino);
            let mode = OpenMode {
                again: desk.pending.has_walked(sender.thread, desk.now.boot),
                ..mode
            };
            // By which of several names it comes was told to the daemon before, if to
            // anyone.
            if !mode.again
                && sender.thread.is_some()
                && desk.table.came(sender.thread, ino) == Came::Somehow
            {
                desk.pending.walks_again(sender, desk.now.boot);
                return Err(Refusal::Gone.into());
            }
            if mode.again && writes {
                desk.may_acquire()?;
            }
            let opened = desk.table.open(&desk.now, &caller, ino, mode, Some(wait));
            if opened == Err(Refusal::Gone) {
                desk.pending.walks_again(sender, desk.now.boot);
            }
            match opened? {
                Opened::Done(handle) => {
                    desk.done(Some(handle));
                    Ok(Some(handle))
                }
                Opened::Waits => {
                    if let Some(answer) = answer.take() {
                        desk.put_aside(wait, sender, answer);
                    }
                    Ok(None)
                }
            }
        })
    }

    /// How far up the ancestors of one who opens matter: whoever is not refused
    /// may be on the holder's side.
    fn reach_to(&self, ino: Ino, mode: OpenMode) -> Reach {
        if mode.append || self.state.lock().table.is_by_locks(ino) {
            Reach::Root
        } else {
            Reach::Holder
        }
    }
}

impl Desk<'_> {
    /// A file that was to be made was made by another meanwhile: it is opened. An
    /// open that waits would keep all others from making files: the kernel walks
    /// the path again, finds the file and opens it; after that it waits briefly.
    fn open_instead(
        &mut self,
        sender: Sender,
        caller: &Caller,
        (dir, name): At<'_>,
        mode: OpenMode,
        (wait, answer): (WaitId, &mut Option<Created>),
    ) -> Result<Option<(Attributes, Handle, Closing)>, Refusal> {
        let ino = self.table.lookup(dir, name)?;
        let mode = OpenMode {
            again: true,
            brief: true,
            ..mode
        };
        let has_walked = self.pending.has_walked(sender.thread, self.now.boot);
        if !has_walked && self.table.open_waits(caller, ino, mode) {
            self.pending.walks_again(sender, self.now.boot);
            return Err(Refusal::Gone);
        }
        let uid = sender.user.uid;
        self.table.walked(sender.thread, uid, (dir, name), ino);
        let attributes = self.table.attributes(ino, &self.now)?;
        match self.table.open(&self.now, caller, ino, mode, Some(wait))? {
            Opened::Done(handle) => {
                self.done(Some(handle));
                Ok(Some((attributes, handle, Closing::Told)))
            }
            Opened::Waits => {
                if let Some(answer) = answer.take() {
                    let answer: Answer = Box::new(move |outcome| {
                        let opened = outcome.and_then(|handle| handle.ok_or(Refusal::Gone.into()));
                        answer(opened.map(|handle| (attributes, handle, Closing::Told)));
                    });
                    self.put_aside(wait, sender, answer);
                }
                Ok(None)
            }
        }
    }
}
