//! The table at work: who asks is found, the dead are settled, the table
//! decides, and what it decided is carried out.

use std::collections::HashMap;
use std::io;

use parking_lot::Mutex;

use crate::clock;
use crate::lock::Table;
use crate::lock::acquire::Make;
use crate::lock::attributes::{Attributes, Change};
use crate::lock::caller::{Caller, Standing};
use crate::lock::content::{CONTENT_MAX, Kept, Named};
use crate::lock::effect::Effect;
use crate::lock::ids::{Gid, Handle, Ino, Pid, ProcessId, Uid, User};
use crate::lock::open::OpenMode;
use crate::lock::record::{Status, Written};
use crate::lock::refusal::Refusal;
use crate::lock::rename::RenameKind;
use crate::lock::time::{Now, Timestamp};
use crate::process::{Pin, Reach, Resolver};
use crate::report;
use crate::watch::Watch;

/// Who sent a request, as the kernel says it.
#[derive(Clone, Copy, Debug)]
pub struct Sender {
    /// The thread; none when it cannot be seen from here.
    pub thread: Option<Pid>,
    /// Its user.
    pub user: User,
}

/// A request that failed: by the rules, or because finding out who asks did.
#[derive(Debug)]
pub enum Failure {
    /// The table said no.
    Refused(Refusal),
    /// The daemon could not find out who asks.
    System(io::Error),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Refused(refusal) => refusal.fmt(f),
            Failure::System(error) => error.fmt(f),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        Failure::Refused(refusal)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::System(error)
    }
}

/// A name in a directory.
pub type At<'a> = (Ino, &'a [u8]);

/// A listing: place, name and inode of each entry, and whether it is a
/// directory or a link.
pub type Listing = Vec<(u64, Box<[u8]>, Attributes)>;

/// The lock directory, to those who serve it.
#[derive(Debug)]
pub struct Service {
    state: Mutex<State>,
    resolver: Resolver,
    watch: Watch,
}

#[derive(Debug)]
struct State {
    table: Table,
    names: UserNames,
}

/// The names of users, looked up once each: a directory service may be slow.
#[derive(Debug, Default)]
pub struct UserNames(HashMap<Uid, String>);

impl UserNames {
    /// The user's name, or its number.
    pub fn of(&mut self, uid: Uid) -> &str {
        self.0.entry(uid).or_insert_with(|| {
            match nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid.0)) {
                Ok(Some(user)) => user.name,
                _ => uid.0.to_string(),
            }
        })
    }
}

impl Service {
    /// A service with this table.
    pub fn new(table: Table, resolver: Resolver, watch: Watch) -> Service {
        Service {
            state: Mutex::new(State {
                table,
                names: UserNames::default(),
            }),
            resolver,
            watch,
        }
    }

    /// What the daemon waits for.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Runs one event on the table and carries out what it decided. `pins`
    /// are the pidfds of the processes that a claim may come to hang on.
    fn act<T>(&self, pins: Vec<Pin>, event: impl FnOnce(&mut Desk<'_>) -> T) -> T {
        let mut state = self.state.lock();
        let State { table, names } = &mut *state;
        let now = clock::now();
        table.expire(&now);
        let mut desk = Desk {
            table,
            names,
            watch: &self.watch,
            now,
        };
        // A pid that is used again within the clock tick in which its last
        // process started would otherwise be taken for that process.
        for pin in &pins {
            if desk.table.hangs_on(pin.process) && self.watch.has_ended(pin.process) {
                desk.table.died(pin.process, &desk.now);
            }
        }
        let answer = event(&mut desk);
        desk.carry_out(pins);
        answer
    }

    /// A watched process has ended.
    pub fn died(&self, process: ProcessId) {
        self.act(Vec::new(), |desk| desk.table.died(process, &desk.now));
        self.watch.remove(process);
    }

    /// A deadline has come: what `act` does at every event is all there is to
    /// do.
    pub fn time(&self) {
        self.act(Vec::new(), |_| ());
    }

    fn caller(&self, sender: Sender, reach: Reach) -> io::Result<(Caller, Vec<Pin>)> {
        self.resolver.caller(sender.thread, sender.user, reach)
    }

    /// How far up a caller's ancestors matter for a name in `dir`: in a claimed
    /// directory they decide who may make one.
    fn reach_in(dir: Ino) -> Reach {
        if dir == Ino::ROOT {
            Reach::Holder
        } else {
            Reach::Root
        }
    }

    /// The inode of a name and what it shows.
    pub fn lookup(&self, (dir, name): At<'_>) -> Result<Attributes, Failure> {
        self.act(Vec::new(), |desk| {
            let ino = desk.settled(dir, name)?.ok_or(Refusal::Missing)?;
            Ok(desk.table.attributes(ino, &desk.now)?)
        })
    }

    /// What an inode shows.
    pub fn attributes(&self, ino: Ino) -> Result<Attributes, Failure> {
        self.act(Vec::new(), |desk| {
            desk.settle(ino);
            Ok(desk.table.attributes(ino, &desk.now)?)
        })
    }

    /// Claims a free board; with `open`, opens it too.
    pub fn make(
        &self,
        sender: Sender,
        (dir, name): At<'_>,
        make: Make,
        exclusive: bool,
        open: Option<OpenMode>,
    ) -> Result<(Attributes, Option<Handle>), Failure> {
        let (caller, pins) = self.caller(sender, Service::reach_in(dir))?;
        self.act(pins, |desk| {
            desk.settle(dir);
            desk.settled(dir, name)?;
            let (ino, handle) =
                desk.table
                    .make(&desk.now, &caller, (dir, name), make, exclusive, open)?;
            Ok((desk.table.attributes(ino, &desk.now)?, handle))
        })
    }

    /// Opens a board that is there.
    pub fn open(&self, sender: Sender, ino: Ino, mode: OpenMode) -> Result<Handle, Failure> {
        // Reading needs no reason: the walk through /proc is saved.
        let (caller, pins) = if mode.write || mode.truncate {
            let reach = if mode.append {
                Reach::Root
            } else {
                Reach::Holder
            };
            self.caller(sender, reach)?
        } else {
            (reader(sender.user), Vec::new())
        };
        self.act(pins, |desk| {
            desk.settle(ino);
            Ok(desk.table.open(&caller, ino, mode)?)
        })
    }

    /// Opens a directory; `listing` with O_DIRECTORY.
    pub fn open_directory(&self, sender: Sender, ino: Ino, listing: bool) -> Result<(), Failure> {
        let (caller, pins) = if listing || ino == Ino::ROOT {
            (reader(sender.user), Vec::new())
        } else {
            self.caller(sender, Reach::Root)?
        };
        self.act(pins, |desk| {
            desk.settle(ino);
            Ok(desk.table.open_directory(&caller, ino, listing)?)
        })
    }

    /// The last descriptor of an open file was closed.
    pub fn close(&self, handle: Handle) {
        self.act(Vec::new(), |desk| desk.table.close(handle));
    }

    /// The entries of a directory from `place` on, at most `most`, and the
    /// inode above it.
    pub fn list(&self, dir: Ino, place: u64, most: usize) -> Result<(Ino, Listing), Failure> {
        self.act(Vec::new(), |desk| {
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
        let (caller, pins) = self.caller(sender, Service::reach_in(dir))?;
        self.act(pins, |desk| {
            desk.settle(ino);
            desk.settle(dir);
            desk.settled(dir, name)?;
            desk.table.link(&desk.now, &caller, ino, (dir, name))?;
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
        let (caller, pins) = self.caller(sender, Service::reach_in(to.0))?;
        self.act(pins, |desk| {
            desk.settled(from.0, from.1)?;
            desk.settle(to.0);
            desk.settled(to.0, to.1)?;
            Ok(desk.table.rename(&desk.now, &caller, from, to, kind)?)
        })
    }

    /// Takes a name away; of a directory with `directory`.
    pub fn unlink(
        &self,
        sender: Sender,
        (dir, name): At<'_>,
        directory: bool,
    ) -> Result<(), Failure> {
        let (caller, pins) = self.caller(sender, Reach::Root)?;
        self.act(pins, |desk| {
            desk.settled(dir, name)?;
            Ok(desk
                .table
                .unlink(&desk.now, &caller, (dir, name), directory)?)
        })
    }

    /// Changes attributes.
    pub fn change(
        &self,
        sender: Sender,
        ino: Ino,
        handle: Option<Handle>,
        change: &Change,
    ) -> Result<Attributes, Failure> {
        let (caller, pins) = self.caller(sender, Reach::Holder)?;
        self.act(pins, |desk| {
            desk.settle(ino);
            desk.table.change(&desk.now, &caller, ino, handle, change)?;
            Ok(desk.table.attributes(ino, &desk.now)?)
        })
    }

    /// Writes through an open file. When it returns, what was written has been
    /// judged.
    pub fn write(
        &self,
        sender: Sender,
        handle: Handle,
        offset: u64,
        data: &[u8],
    ) -> Result<(), Failure> {
        let kept = self.act(Vec::new(), |desk| {
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
                self.act(pins, |desk| {
                    desk.table.refuse_write(&caller, handle, refusal);
                });
                return Err(refusal.into());
            }
        };
        let number = match kept.written {
            Written::Pid(pid) => Some(pid),
            Written::Both { pid, .. } => pid,
            Written::Nothing | Written::Note => return Ok(()),
        };
        let Some(number) = number else {
            self.name(&kept, Named::Detached, Vec::new());
            return Ok(());
        };
        let found = match sender.thread {
            Some(writer) => self.resolver.written(writer, number)?,
            None => None,
        };
        match found {
            Some((candidate, pins)) => self.name(&kept, Named::Process(candidate), pins),
            None => self.act(Vec::new(), |desk| {
                let path = desk.table.path(kept.ino);
                report::written_pid_ignored(&path, sender, desk.names, number);
            }),
        }
        Ok(())
    }

    fn name(&self, kept: &Kept, named: Named, pins: Vec<Pin>) {
        self.act(pins, |desk| desk.table.name(&desk.now, kept, named));
    }

    /// Reads through an open file: what was written or, if nothing was, the
    /// status. A read from the start shows the state of that moment, those
    /// after it the same.
    pub fn read(&self, handle: Handle, offset: u64, size: usize) -> Vec<u8> {
        self.act(Vec::new(), |desk| {
            if desk.table.wants_snapshot(handle, offset)
                && let Some(ino) = desk.table.opened(handle)
            {
                desk.settle(ino);
                let text = match desk.table.content(ino) {
                    Some(content) => content.to_vec(),
                    None => desk.status_text(ino).into_bytes(),
                };
                desk.table.set_snapshot(handle, text);
            }
            desk.table.read(handle, offset, size).to_vec()
        })
    }

    /// The target of a symbolic link.
    pub fn target(&self, ino: Ino) -> Result<Vec<u8>, Failure> {
        self.act(Vec::new(), |desk| {
            desk.settle(ino);
            Ok(desk.table.target(ino)?.to_vec())
        })
    }

    /// What is to be told of a board, with the name of its user.
    pub fn status(&self, ino: Ino) -> Result<(Status, String), Failure> {
        self.act(Vec::new(), |desk| {
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
        let (caller, pins) = self.caller(sender, Reach::Root)?;
        self.act(pins, |desk| {
            desk.settle(ino);
            Ok(desk.table.set_note(&caller, ino, note, there)?)
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
        let (caller, pins) = self.caller(sender, Reach::Root)?;
        self.act(pins, |desk| {
            desk.settle(ino);
            let expires = when(desk.now.wall).ok_or(Refusal::BadValue)?;
            Ok(desk
                .table
                .set_expires(&desk.now, &caller, ino, expires, there)?)
        })
    }

    /// How many boards there are and how many there may be.
    pub fn room(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.table.boards(), state.table.options().max_boards)
    }

    /// Whether a process with this pid lives that can hold and that had started
    /// when a file was last written, in seconds since 1970: one that started
    /// later has another's pid.
    pub fn could_have_written(&self, pid: Pid, modified: i64) -> bool {
        let Ok(Some((candidate, _pins))) = self.resolver.standing(pid) else {
            return false;
        };
        let Some(holder) = candidate.holder() else {
            return false;
        };
        let now = clock::now();
        let ticks = rustix::param::clock_ticks_per_second().max(1);
        let started = i64::try_from(holder.start.0 / ticks).unwrap_or(i64::MAX);
        let running = i64::try_from(now.boot.0.as_secs())
            .unwrap_or(i64::MAX)
            .saturating_sub(started);
        // Both clocks are cut to seconds.
        now.wall.secs.saturating_sub(running) <= modified.saturating_add(2)
    }

    /// Takes over a lock file that was there before the mount: for the process
    /// that it names, while that lives, else for its user.
    ///
    /// # Errors
    /// As for making a board.
    pub fn adopt(
        &self,
        name: &[u8],
        content: &[u8],
        user: User,
        pid: Option<Pid>,
    ) -> Result<(), Failure> {
        let (named, pins) = match pid {
            Some(pid) => match self.resolver.standing(pid)? {
                Some((candidate, pins)) => (Named::Process(candidate), pins),
                None => (Named::Detached, Vec::new()),
            },
            None => (Named::Detached, Vec::new()),
        };
        let content = content.get(..CONTENT_MAX).unwrap_or(content);
        self.act(pins, |desk| {
            Ok(desk.table.adopt(&desk.now, name, content, user, named)?)
        })
    }
}

/// A caller that only reads: nothing hangs on who it is.
fn reader(user: User) -> Caller {
    Caller {
        requester: None,
        program: String::new(),
        user,
        standing: Standing::Unseen,
        ancestors: Vec::new(),
    }
}

/// The table while one event is at work on it.
struct Desk<'a> {
    table: &'a mut Table,
    names: &'a mut UserNames,
    watch: &'a Watch,
    now: Now,
}

impl Desk<'_> {
    /// Looks once whether the holder of an inode lives: no refusal and no
    /// status is given for a dead one.
    fn settle(&mut self, ino: Ino) {
        while let Some(holder) = self.table.holder(ino)
            && self.watch.has_ended(holder)
        {
            self.table.died(holder, &self.now);
        }
    }

    /// The inode of a name once that was looked at; none if it is free.
    fn settled(&mut self, dir: Ino, name: &[u8]) -> Result<Option<Ino>, Refusal> {
        match self.table.lookup(dir, name) {
            Ok(ino) => self.settle(ino),
            Err(Refusal::Missing) => return Ok(None),
            Err(refusal) => return Err(refusal),
        }
        match self.table.lookup(dir, name) {
            Ok(ino) => Ok(Some(ino)),
            Err(Refusal::Missing) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    fn status_text(&mut self, ino: Ino) -> String {
        let status = self.table.status(ino, &self.now);
        let holder = match status.user {
            Some(user) => self.names.of(user.uid),
            None => "",
        };
        status.render(holder)
    }

    /// Does what the table decided, until it has nothing more to say: a
    /// process that cannot be watched counts as ended, which frees boards.
    fn carry_out(&mut self, pins: Vec<Pin>) {
        let mut pins: HashMap<ProcessId, Pin> =
            pins.into_iter().map(|pin| (pin.process, pin)).collect();
        loop {
            let effects = self.table.take_effects();
            if effects.is_empty() {
                break;
            }
            for effect in effects {
                match effect {
                    Effect::Watch(process) => {
                        let pidfd = pins.remove(&process).and_then(|pin| pin.fd);
                        let watched = match pidfd {
                            Some(pidfd) => self.watch.add(process, pidfd),
                            None => Err(io::ErrorKind::NotFound.into()),
                        };
                        if let Err(error) = watched {
                            log::error!("cannot watch process {}: {error}", process.pid);
                            self.table.died(process, &self.now);
                        }
                    }
                    Effect::Unwatch(process) => self.watch.remove(process),
                    other => report::effect(&other, self.names),
                }
            }
        }
        let (boot, wall) = self.table.next_deadlines();
        self.watch.set_deadlines(boot, wall);
    }
}

/// A user from the numbers of a request.
pub fn user(uid: u32, gid: u32) -> User {
    User {
        uid: Uid(uid),
        gid: Gid(gid),
    }
}
