//! What is written into a board and read from it.

use std::io;
use std::sync::Arc;

use super::Service;
use super::request::{Failure, Sender};
use super::show::Board;
use crate::lock::content::{Kept, Named};
use crate::lock::ids::{Handle, Ino, Token};
use crate::lock::record::{Status, Written};
use crate::lock::refusal::Refusal;
use crate::lock::time::Timestamp;
use crate::process::{Pin, Reach};
use crate::report;

impl Service {
    /// Writes through an open file. When it returns, what was written has been
    /// judged.
    pub fn write(
        &self,
        sender: Sender,
        handle: Handle,
        offset: u64,
        data: &[u8],
    ) -> Result<(), Failure> {
        let kept = self.act(|desk| {
            if let Some(ino) = desk.table.opened(handle) {
                desk.settle(ino);
            }
            desk.table.write(handle, offset, data)
        });
        let kept = match kept {
            Ok(kept) => kept,
            Err(refusal) => {
                // Only a refusal needs to know who writes.
                let (caller, pins) = self.caller(sender, Reach::Root)?;
                return self.act_for(sender, pins, &[], |desk| {
                    desk.table.refuse_write(&caller, handle, refusal);
                    Err(refusal.into())
                });
            }
        };
        let number = match kept.written {
            Written::Pid(pid) => Some(pid),
            Written::Both { pid, .. } => pid,
            Written::Nothing | Written::Note => return Ok(()),
        };
        let Some(number) = number else {
            return self.name(sender, &kept, Named::Detached, Vec::new());
        };
        let found = match sender.thread {
            Some(writer) => {
                let resolver = Arc::clone(&self.resolver);
                self.walks
                    .walk(sender.user.uid, move || resolver.written(writer, number))
                    .unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))?
            }
            None => None,
        };
        match found {
            Some((candidate, pins)) => self.name(sender, &kept, Named::Process(candidate), pins)?,
            None => self.act(|desk| {
                let path = desk.table.path(kept.ino);
                report::written_pid_ignored(&path, sender, desk.names, number, desk.now.boot);
            }),
        }
        Ok(())
    }

    fn name(
        &self,
        sender: Sender,
        kept: &Kept,
        named: Named,
        pins: Vec<Pin>,
    ) -> Result<(), Failure> {
        self.act_with(pins, |desk| {
            if let Err(refusal) = desk.table.may_name(kept, &named) {
                let path = desk.table.path(kept.ino);
                report::written_pid_refused(&path, sender, desk.names, refusal, desk.now.boot);
            }
            desk.table.name(&desk.now, kept, named);
            Ok(())
        })
    }

    /// Reads through an open file: what was written or, if nothing was, the
    /// status. A read from the start shows the state of that moment, those
    /// after it the same.
    pub fn read(&self, handle: Handle, offset: u64, size: usize) -> Vec<u8> {
        let board = self.act(|desk| {
            let wanted = desk.table.wants_snapshot(handle, offset);
            desk.table.opened(handle).filter(|_| wanted)
        });
        let boards: Vec<Board<'_>> = board.into_iter().map(Board::Of).collect();
        self.act_shown(&boards, |desk| {
            if let Some(ino) = board {
                desk.settle(ino);
                let text = match desk.table.content(ino) {
                    Some(content) => content.to_vec(),
                    None => desk.status_text(handle, ino).into_bytes(),
                };
                desk.table.set_snapshot(handle, text);
            }
            desk.table.read(handle, offset, size).to_vec()
        })
    }

    /// The target of a symbolic link.
    pub fn target(&self, ino: Ino) -> Result<Vec<u8>, Failure> {
        self.act(|desk| {
            desk.settle(ino);
            Ok(desk.table.target(ino)?.to_vec())
        })
    }

    /// What is to be told of a board, with the name of its user.
    pub fn status(&self, ino: Ino) -> Result<(Status, String), Failure> {
        self.act_shown(&[Board::Of(ino)], |desk| {
            desk.settle(ino);
            desk.table.node(ino)?;
            let status = desk.table.status(ino, &desk.now);
            let name = status
                .user
                .map(|user| desk.names.of(user.uid).to_owned())
                .unwrap_or_default();
            Ok((status, name))
        })
    }

    /// Sets or takes away the note; only if there is one, or none, with `there`.
    pub fn set_note(
        &self,
        sender: Sender,
        ino: Ino,
        note: Option<Vec<u8>>,
        there: Option<bool>,
    ) -> Result<(), Failure> {
        self.spare_inode(sender, ino)?;
        let (caller, pins) = self.caller(sender, Reach::Root)?;
        self.act_for(sender, pins, &[Board::Of(ino)], |desk| {
            desk.settle(ino);
            Ok(desk.table.set_note(&caller, ino, note, there)?)
        })
    }

    /// Has the lease of a board begin anew.
    ///
    /// # Errors
    /// As [`Table::renew`](crate::lock::Table::renew).
    pub fn renew(&self, sender: Sender, ino: Ino) -> Result<(), Failure> {
        let (caller, pins) = self.caller(sender, Reach::Root)?;
        self.act_for(sender, pins, &[Board::Of(ino)], |desk| {
            desk.settle(ino);
            Ok(desk.table.renew(&desk.now, &caller, ino)?)
        })
    }

    /// Sets or takes away the expiry: what `when` makes of the time that it is.
    pub fn set_expires(
        &self,
        sender: Sender,
        ino: Ino,
        there: Option<bool>,
        when: impl FnOnce(Timestamp) -> Option<Option<i64>>,
    ) -> Result<(), Failure> {
        self.spare_inode(sender, ino)?;
        let (caller, pins) = self.caller(sender, Reach::Root)?;
        self.act_for(sender, pins, &[Board::Of(ino)], |desk| {
            desk.settle(ino);
            let expires = when(desk.now.wall).ok_or(Refusal::BadValue)?;
            Ok(desk
                .table
                .set_expires(&desk.now, &caller, ino, expires, there)?)
        })
    }

    /// Ends the hold of the board at `path` that has this token.
    pub fn release(
        &self,
        sender: Sender,
        path: &[u8],
        token: Token,
        force: bool,
    ) -> Result<(), Failure> {
        let at = self.act(|desk| desk.table.find(path))?;
        self.spare_name(sender, at)?;
        let (caller, pins) = self.caller(sender, Reach::Root)?;
        self.act_for(sender, pins, &[Board::Named(at)], |desk| {
            // As for unlinking.
            if !force && desk.any_has_ended(caller.lineage()) {
                return Err(Refusal::Gone.into());
            }
            desk.settled(at.0, at.1)?;
            desk.table.release(&desk.now, &caller, at, token, force)?;
            desk.done(None);
            Ok(())
        })
    }
}
