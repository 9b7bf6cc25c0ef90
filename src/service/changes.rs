//! Taking names away, and changing what boards show.

use std::io;
use std::sync::Arc;

use super::Service;
use super::request::{At, Failure, Sender};
use super::show::Board;
use crate::lock::attributes::{Attributes, Change};
use crate::lock::ids::{Handle, Ino};
use crate::lock::refusal::Refusal;
use crate::process::Reach;

impl Service {
    /// Takes a name away; of a directory with `directory`.
    pub fn unlink(
        &self,
        sender: Sender,
        (dir, name): At<'_>,
        directory: bool,
    ) -> Result<(), Failure> {
        self.spare_name(sender, (dir, name))?;
        // Who holds it itself, or by its script, may: nobody above matters then. Who has
        // what file locks hold is looked for once.
        let reaches = match self.is_by_locks((dir, name)) {
            true => &[Reach::Root][..],
            false => &[Reach::Holder, Reach::Root],
        };
        for reach in reaches.iter().copied() {
            let (caller, pins) = self.caller(sender, reach)?;
            let boards = [Board::Named((dir, name))];
            let decided = self.act_for(sender, pins, &boards, |desk| {
                // Who it removes for ended while that was found out: this is no longer
                // what it was to remove. The kernel walks the path again.
                if desk.any_has_ended(caller.lineage()) {
                    return Err(Refusal::Gone.into());
                }
                let board = desk.settled(dir, name)?;
                let claim = board.and_then(|board| desk.table.claim(board));
                let theirs = claim.is_some_and(|claim| claim.held_by(&caller));
                if reach == Reach::Holder && !theirs {
                    return Ok(false);
                }
                desk.table
                    .unlink(&desk.now, &caller, (dir, name), directory)?;
                desk.done(None);
                Ok(true)
            })?;
            if decided {
                break;
            }
        }
        Ok(())
    }

    fn is_by_locks(&self, (dir, name): At<'_>) -> bool {
        let table = &self.state.lock().table;
        let board = table.lookup(dir, name);
        board.is_ok_and(|board| table.is_by_locks(board))
    }

    /// Changes attributes.
    pub fn change(
        &self,
        sender: Sender,
        ino: Ino,
        handle: Option<Handle>,
        change: &Change,
    ) -> Result<Attributes, Failure> {
        self.spare_inode(sender, ino)?;
        if let Some(changed) = self.change_made(sender, ino, change) {
            return changed;
        }
        let (caller, pins) = self.caller(sender, Reach::Holder)?;
        self.act_for(sender, pins, &[Board::Of(ino)], |desk| {
            let meant = desk.table.meant(ino, handle);
            desk.settle(meant);
            desk.table
                .change(&desk.now, &caller, meant, handle, change)?;
            let attributes = desk.table.attributes(meant, &desk.now)?;
            Ok(Attributes { ino, ..attributes })
        })
    }

    /// The same for the times of a board that the caller has just made, as each `touch`
    /// sets them: that it is the same process still is all there is to find out.
    fn change_made(
        &self,
        sender: Sender,
        ino: Ino,
        change: &Change,
    ) -> Option<Result<Attributes, Failure>> {
        if !change.is_of_times() {
            return None;
        }
        let maker = self.state.lock().table.maker(ino, sender.thread?)?;
        let resolver = Arc::clone(&self.resolver);
        let same = self
            .walks
            .walk(sender.user.uid, move || resolver.is_there(maker));
        match same {
            Some(true) => {}
            Some(false) => return None,
            // It was given up: nothing is done for it any more.
            None => return Some(Err(io::Error::from(io::ErrorKind::TimedOut).into())),
        }
        self.act(|desk| {
            desk.settle(ino);
            let changed = desk.table.change_made(&desk.now, maker, ino, change);
            changed.then(|| Ok(desk.table.attributes(ino, &desk.now)?))
        })
    }
}
