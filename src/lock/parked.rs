//! Opens that wait: of a board that is claimed through a file that is still
//! open, so that it may yet turn out to be locked (semantics.md, "Opening a
//! held board for writing").
//!
//! They have no place in the queue. Who waits in it is to have the board; an
//! open only waits to learn what the board is.

use std::time::Duration;

use super::caller::Caller;
use super::ids::{Ino, WaitId};
use super::node::Name;
use super::open::{Judged, OpenMode};
use super::refusal::Refusal;
use super::table::Table;
use super::time::{BootTime, Now};

/// How long an open waits that keeps all others from making files.
const BRIEF: Duration = Duration::from_millis(500);

/// An open that waits.
#[derive(Clone, Debug)]
pub(super) struct Opening {
    pub ino: Ino,
    pub caller: Caller,
    pub mode: OpenMode,
    /// The name by which it comes; none for each that the inode has.
    pub through: Option<(Ino, Name)>,
    pub until: BootTime,
}

impl Table {
    /// Lets an open wait.
    pub(super) fn park(
        &mut self,
        now: &Now,
        wait: WaitId,
        ino: Ino,
        caller: &Caller,
        mode: OpenMode,
        through: Option<(Ino, Name)>,
    ) {
        let patience = self.patience.map(|patience| patience.send_back);
        let brief = mode.brief.then_some(BRIEF);
        let limits = [Some(self.options.open_wait), patience, brief];
        let most = limits.into_iter().flatten().min().unwrap_or_default();
        let until = BootTime(now.boot.0.saturating_add(most));
        self.open_until.insert((until, wait));
        self.openings.insert(
            wait,
            Opening {
                ino,
                caller: caller.clone(),
                mode,
                through,
                until,
            },
        );
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.aside.change(|aside| aside.opening.push(wait));
        }
    }

    pub(super) fn take_opening(&mut self, wait: WaitId) -> Option<Opening> {
        let opening = self.openings.remove(&wait)?;
        self.open_until.remove(&(opening.until, wait));
        if let Some(node) = self.nodes.get_mut(&opening.ino) {
            node.aside
                .change(|aside| aside.opening.retain(|other| *other != wait));
        }
        Some(opening)
    }

    /// A board has changed: the opens for which that decides it are answered.
    pub(super) fn decide_opens(&mut self, ino: Ino, now: &Now) {
        let waiting = match self.nodes.get(&ino) {
            Some(node) if !node.aside.opening.is_empty() => node.aside.opening.to_vec(),
            _ => return,
        };
        for wait in waiting {
            let Some(opening) = self.openings.get(&wait) else {
                continue;
            };
            let judged = self.judge_open(&opening.caller, ino, opening.mode);
            if judged == Ok(Judged::Waits) {
                continue;
            }
            let Some(opening) = self.take_opening(wait) else {
                continue;
            };
            let Opening {
                caller,
                mode,
                through,
                ..
            } = opening;
            let outcome = match judged {
                Ok(_) => Ok(Some(
                    self.opened_as_judged(now, ino, &caller, mode, through),
                )),
                Err(Refusal::Gone) => Err(Refusal::Gone),
                Err(refusal) => Err(self.refuse(ino, &caller, refusal)),
            };
            self.answer(wait, outcome);
        }
    }

    /// Refuses the opens that have waited long enough.
    pub(super) fn expire_opens(&mut self, now: &Now) {
        while let Some((until, wait)) = self.open_until.first().copied()
            && until <= now.boot
        {
            self.open_until.remove(&(until, wait));
            if let Some(opening) = self.take_opening(wait) {
                self.refuse(opening.ino, &opening.caller, Refusal::Busy);
                self.answer(wait, Err(Refusal::Busy));
            }
        }
    }
}
