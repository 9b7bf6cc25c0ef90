//! The table at work: who asks is found, the dead are settled, the table
//! decides, and what it decided is carried out.

mod adopt;
mod changes;
mod content;
mod desk;
mod early;
mod lines;
mod locks;
mod opens;
pub mod request;
mod restore;
mod show;
mod upgrade;
pub mod view;
mod walks;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use crate::chronicle::Chronicle;
use crate::clock;
use crate::fault::{self, Point};
use crate::lock::Table;
use crate::lock::acquire::Make;
use crate::lock::attributes::Attributes;
use crate::lock::boards::Boards;
use crate::lock::caller::{Caller, Groups};
use crate::lock::ids::{Handle, Ino, ProcessId, WaitId};
use crate::lock::queue::Patience;
use crate::lock::refusal::Refusal;
use crate::lock::rename::RenameKind;
use crate::lock::time::Timestamp;
use crate::process::{Pin, Reach, Resolver};
use crate::store::Store;
use crate::supervise::Inherited;
use crate::watch::Watch;

use desk::Desk;
pub use desk::UserNames;
use locks::Pending;
pub use locks::{Answer, Closing, Created, Tell};
pub use request::{At, Failure, Listing, Sender, user};
use show::{Board, ROUNDS};
use view::{About, View};
use walks::Walks;

/// The lock directory, to those who serve it.
#[derive(Debug)]
pub struct Service {
    state: Mutex<State>,
    resolver: Arc<Resolver>,
    walks: Walks,
    watch: Watch,
    device: OnceLock<String>,
    keeper: OnceLock<Arc<Mutex<Inherited>>>,
    has_inventory: bool,
    about: OnceLock<About>,
    began: Timestamp,
}

#[derive(Debug)]
struct State {
    table: Table,
    names: UserNames,
    pending: Pending,
    store: Option<Store>,
    chronicle: Chronicle,
    view: View,
    /// What the daemon before did and may not have answered.
    done_before: HashMap<WaitId, Option<Handle>>,
}

impl Service {
    /// A service with this table, which knows an inventory now or never does.
    pub fn new(table: Table, resolver: Resolver, watch: Watch) -> Service {
        let has_inventory = table.inventory().is_some();
        let now = clock::now();
        let begun = u64::try_from(now.boot.0.as_micros()).unwrap_or_default();
        Service {
            has_inventory,
            state: Mutex::new(State {
                table,
                names: UserNames::default(),
                pending: Pending::default(),
                store: None,
                chronicle: Chronicle::default(),
                view: View::new(begun),
                done_before: HashMap::new(),
            }),
            resolver: Arc::new(resolver),
            walks: Walks::default(),
            watch,
            device: OnceLock::new(),
            keeper: OnceLock::new(),
            about: OnceLock::new(),
            began: now.wall,
        }
    }

    /// Tells on which device (`MAJOR:MINOR`) it is served: by that is known who
    /// has a board's file open.
    pub fn set_device(&self, device: &str) {
        let _ = self.device.set(device.to_owned());
    }

    /// Tells how long the kernel lets a request wait.
    pub fn set_patience(&self, patience: Option<Patience>) {
        self.act(|desk| desk.table.set_patience(patience));
    }

    /// What the daemon waits for.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Runs one event on the table and carries out what it decided.
    fn act<T>(&self, event: impl FnOnce(&mut Desk<'_>) -> T) -> T {
        let mut state = self.state.lock();
        let State {
            table,
            names,
            pending,
            store,
            chronicle,
            view,
            ..
        } = &mut *state;
        let now = clock::now();
        // Nor is anybody given what would be forgotten.
        let ready = |store: &mut Store| store.is_ready(|| table.whole(&now)).is_ok();
        let recordable = store.as_mut().is_none_or(ready);
        table.hold_back(!recordable, &now);
        table.expire(&now);
        let mut desk = Desk {
            table,
            names,
            pending,
            watch: &self.watch,
            store,
            chronicle,
            view,
            resolver: &self.resolver,
            device: self.device.get().map(String::as_str),
            now,
            done: Vec::new(),
        };
        let answer = event(&mut desk);
        desk.carry_out();
        answer
    }

    /// The same for an event by which a claim may come to hang on the
    /// processes of `pins`. They are watched before: no success is told for
    /// what nobody would see the end of.
    fn act_with<T>(
        &self,
        pins: Vec<Pin>,
        event: impl FnOnce(&mut Desk<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.act(|desk| desk.with(pins, event))
    }

    /// The same for a caller, who may be refused a board by it; to what happens
    /// it matters who has those of `boards` that file locks hold.
    fn act_for<T>(
        &self,
        sender: Sender,
        pins: Vec<Pin>,
        boards: &[Board<'_>],
        event: impl FnOnce(&mut Desk<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut defeat = None;
        let answer = self.act_shown(boards, |desk| {
            let answer = desk.with(pins, event);
            defeat = desk.table.take_defeat();
            answer
        });
        if let Some(ino) = defeat {
            // Only who was refused needs to be known with its scripts.
            let (caller, _) = self.caller(sender, Reach::Scripts)?;
            self.act(|desk| desk.table.remember_scripts(ino, &caller));
        }
        answer
    }

    /// Runs an event to which it matters who has those of `boards` that file locks
    /// hold.
    fn act_shown<T>(&self, boards: &[Board<'_>], event: impl FnOnce(&mut Desk<'_>) -> T) -> T {
        let mut event = event;
        let mut shown = Vec::new();
        let mut rounds = 0;
        loop {
            let done = self.act(|desk| {
                // They may have changed hands meanwhile.
                if rounds >= ROUNDS || desk.locked(boards) == shown {
                    Ok(event(desk))
                } else {
                    Err(event)
                }
            });
            match done {
                Ok(answer) => return answer,
                Err(again) => event = again,
            }
            shown = self.show(boards);
            rounds += 1;
        }
    }

    /// A watched process has ended.
    pub fn died(&self, process: ProcessId) {
        fault::point(Point::Ended);
        self.act(|desk| desk.table.died(process, &desk.now));
        self.watch.remove(process);
    }

    /// These are the boards of the inventory from now on.
    pub fn set_boards(&self, boards: Arc<Boards>) {
        self.act(|desk| {
            desk.table.know(Some(boards));
            desk.table.lay_out(&desk.now);
        });
    }

    /// Lays out the directories of the inventory, once what was saved is restored.
    pub fn lay_out(&self) {
        self.act(|desk| desk.table.lay_out(&desk.now));
    }

    /// A deadline has come: what `act` does at every event is all there is to
    /// do.
    pub fn time(&self) {
        self.act(|_| ());
    }

    fn caller(&self, sender: Sender, reach: Reach) -> io::Result<(Caller, Vec<Pin>)> {
        let Sender { thread, user } = sender;
        let resolver = Arc::clone(&self.resolver);
        let found = self
            .walks
            .walk(user.uid, move || resolver.caller(thread, user, reach))
            .unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()));
        match found {
            // They are kept with who waits.
            Ok((caller, pins)) if !self.has_inventory => Ok((
                Caller {
                    groups: Groups::default(),
                    ..caller
                },
                pins,
            )),
            found => found,
        }
    }

    /// How far up a caller's ancestors matter for a name in `dir`: in a claimed
    /// directory they decide who may make one.
    fn reach_in(&self, dir: Ino) -> Reach {
        let anyones = dir == Ino::ROOT || self.state.lock().table.is_laid_out(dir);
        if anyones { Reach::Holder } else { Reach::Root }
    }

    /// The inode of a name and what it shows.
    pub fn lookup(&self, sender: Sender, (dir, name): At<'_>) -> Result<Attributes, Failure> {
        if let Some(found) = self.view_at((dir, name)) {
            return found;
        }
        self.act(|desk| {
            let ino = desk.settled(dir, name)?.ok_or(Refusal::Missing)?;
            let uid = sender.user.uid;
            desk.table.walked(sender.thread, uid, (dir, name), ino);
            Ok(desk.table.attributes(ino, &desk.now)?)
        })
    }

    /// What an inode shows, or an open file of it. The number is the kernel's, as long
    /// as the file is open.
    pub fn attributes(&self, ino: Ino, handle: Option<Handle>) -> Result<Attributes, Failure> {
        if let Some(found) = self.view_of(ino) {
            return found;
        }
        self.act(|desk| {
            let meant = desk.table.meant(ino, handle);
            desk.settle(meant);
            let attributes = desk.table.attributes(meant, &desk.now)?;
            Ok(Attributes { ino, ..attributes })
        })
    }

    /// Claims a free board.
    pub fn make(
        &self,
        sender: Sender,
        (dir, name): At<'_>,
        make: Make,
    ) -> Result<Attributes, Failure> {
        self.spare_name(sender, (dir, name))?;
        // Wherever it is made, it may be moved beside it.
        if matches!(&make, Make::Link(target) if target == view::NAME) {
            return Err(self.spare(sender, view::NAME.to_vec()));
        }
        let (caller, pins) = self.caller(sender, self.reach_in(dir))?;
        self.act_for(sender, pins, &[], |desk| {
            desk.settle(dir);
            desk.settled(dir, name)?;
            desk.may_acquire()?;
            let (ino, _) = desk
                .table
                .make(&desk.now, &caller, (dir, name), make, true, None)?;
            desk.done(None);
            Ok(desk.table.attributes(ino, &desk.now)?)
        })
    }

    /// Opens a directory; `listing` with O_DIRECTORY.
    pub fn open_directory(&self, sender: Sender, ino: Ino, listing: bool) -> Result<(), Failure> {
        if let Some(opened) = self.view_open_directory(ino) {
            return opened;
        }
        let (caller, pins) = if listing || ino == Ino::ROOT {
            (reader(sender), Vec::new())
        } else {
            self.caller(sender, Reach::Root)?
        };
        self.act_for(sender, pins, &[], |desk| {
            desk.settle(ino);
            Ok(desk.table.open_directory(&caller, ino, listing)?)
        })
    }

    /// The entries of a directory from `place` on, at most `most`, and the
    /// inode above it.
    pub fn list(&self, dir: Ino, place: u64, most: usize) -> Result<(Ino, Listing), Failure> {
        if let Some(listing) = self.view_list(dir, place) {
            return listing;
        }
        self.act(|desk| {
            if place == 0 {
                for process in self.watch.ended_by_now() {
                    desk.table.died(process, &desk.now);
                }
            }
            let node = desk.table.node(dir)?;
            let above = node.names.first().map_or(Ino::ROOT, |(above, _)| *above);
            let listing = desk
                .table
                .directory(dir)?
                .after(place)
                .take(most)
                .filter_map(|(place, name, ino)| {
                    let attributes = desk.table.attributes(ino, &desk.now).ok()?;
                    Some((place, name.clone(), attributes))
                })
                .collect();
            Ok((above, listing))
        })
    }

    /// Gives a claim a second name.
    pub fn link(
        &self,
        sender: Sender,
        ino: Ino,
        (dir, name): At<'_>,
    ) -> Result<Attributes, Failure> {
        self.spare_inode(sender, ino)?;
        self.spare_name(sender, (dir, name))?;
        let (caller, pins) = self.caller(sender, self.reach_in(dir))?;
        self.act_for(sender, pins, &[], |desk| {
            desk.settle(ino);
            desk.settle(dir);
            desk.settled(dir, name)?;
            desk.may_acquire()?;
            desk.table.link(&desk.now, &caller, ino, (dir, name))?;
            desk.done(None);
            Ok(desk.table.attributes(ino, &desk.now)?)
        })
    }

    /// Renames a claim.
    pub fn rename(
        &self,
        sender: Sender,
        from: At<'_>,
        to: At<'_>,
        kind: RenameKind,
    ) -> Result<(), Failure> {
        self.spare_name(sender, from)?;
        self.spare_name(sender, to)?;
        let (caller, pins) = self.caller(sender, self.reach_in(to.0))?;
        let boards = [Board::Named(from), Board::Named(to)];
        self.act_for(sender, pins, &boards, |desk| {
            desk.settled(from.0, from.1)?;
            desk.settle(to.0);
            desk.settled(to.0, to.1)?;
            desk.may_acquire()?;
            desk.table.rename(&desk.now, &caller, from, to, kind)?;
            desk.done(None);
            Ok(())
        })
    }

    /// How many boards there are and how many there may be.
    pub fn room(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.table.boards(), state.table.options().max_boards)
    }
}

/// A caller that only reads: nothing hangs on who it is.
fn reader(sender: Sender) -> Caller {
    Caller {
        thread: sender.thread,
        ..Caller::unknown(sender.user)
    }
}
