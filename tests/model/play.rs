//! Plays a history, step by step.

use boardlock::lock::ids::Handle;

use super::driver::{Lie, Run, Tally, Wrong};
use super::history::{History, Mode, OFFSETS, Op, PATHS, SetTime, TARGETS, Text};
use super::reference::What;
use super::world::{Kind, PLACES, SECOND, USERS, Who};

/// Plays a history and cleans up; says how its calls were answered.
pub fn play(history: &History, lie: Option<Lie>) -> Result<Tally, Wrong> {
    let mut run = Run::new(history, lie);
    for (number, op) in history.ops.iter().enumerate() {
        run.step(op)
            .map_err(|wrong| format!("step {number}, {op:?}: {wrong}"))?;
    }
    run.clean_up()
        .map_err(|wrong| format!("at the end: {wrong}"))?;
    Ok(run.tally)
}

/// `touch` and `: >board`.
const TOUCH: Mode = Mode {
    create: true,
    exclusive: false,
    write: true,
    append: false,
    truncate: false,
    nonblock: true,
};
const REDIRECT: Mode = Mode {
    truncate: true,
    nonblock: false,
    ..TOUCH
};

impl Run {
    fn step(&mut self, op: &Op) -> Result<(), Wrong> {
        match op {
            Op::Touch(who, path) => self.touch(*who, PATHS[*path]),
            Op::Remake(who, path) => {
                let holder = self.who(Who::Holder(true), PATHS[*path]);
                if let Some(asks) = self.world.asks(holder) {
                    self.unlink(&asks, PATHS[*path], false)?;
                }
                self.touch(*who, PATHS[*path])
            }
            Op::Echo(who, path, text) => {
                let who = self.who(*who, PATHS[*path]);
                let (Some(asks), Some(place)) = (self.world.asks(who), who.place()) else {
                    return Ok(());
                };
                let opened = self.open(&asks, PATHS[*path], REDIRECT, false, Some(place))?;
                let Ok(handle) = opened else {
                    return Ok(());
                };
                let data = self.text(*text);
                self.write(handle, place, 0, &data, false)?;
                self.close(handle)
            }
            Op::Open {
                who,
                path,
                mode,
                raced,
                close,
            } => {
                let who = self.who(*who, PATHS[*path]);
                let Some(asks) = self.world.asks(who) else {
                    return Ok(());
                };
                match self.open(&asks, PATHS[*path], *mode, *raced, who.place())? {
                    Ok(handle) if *close => self.close(handle),
                    _ => Ok(()),
                }
            }
            Op::Write {
                handle,
                text,
                offset,
                later,
            } => {
                let Some((handle, Some(place))) = self.file(*handle) else {
                    return Ok(());
                };
                if self.world.living(place).is_none() {
                    return Ok(());
                }
                let data = self.text(*text);
                self.write(handle, place, *offset, &data, *later)
            }
            Op::Ftruncate(handle, size) => match self.file(*handle) {
                Some((handle, _)) => self.cut(handle, *size),
                None => Ok(()),
            },
            Op::Judge => self.judge_written(),
            Op::Close(handle) => match self.file(*handle) {
                Some((handle, _)) => self.close(handle),
                None => Ok(()),
            },
            Op::Die(places, inherit) => self.die(places, *inherit),
            Op::Spawn(place) => {
                let dead: Vec<usize> = (0..PLACES)
                    .filter(|place| self.world.living(*place).is_none())
                    .collect();
                if !dead.is_empty() {
                    self.world.spawn(dead[place % dead.len()]);
                }
                Ok(())
            }
            Op::Clock(passed, set) => {
                self.world.boot += i128::from(*passed) * SECOND;
                self.world.wall += (i128::from(*passed) + i128::from(*set)) * SECOND;
                self.pass_time()
            }
            other => self.call(other),
        }
    }

    /// The calls by path.
    fn call(&mut self, op: &Op) -> Result<(), Wrong> {
        let (Op::Stale(who, path)
        | Op::OpenDirectory(who, path, _)
        | Op::Mknod(who, path)
        | Op::Mkdir(who, path)
        | Op::Symlink(who, path, _)
        | Op::Link(who, path, _)
        | Op::Rename(who, path, ..)
        | Op::Unlink(who, path)
        | Op::Rmdir(who, path)
        | Op::Utimens(who, path, ..)
        | Op::Truncate(who, path, _)
        | Op::SetExpires(who, path, _)
        | Op::SetNote(who, path)
        | Op::Chown(who, path, _)) = op
        else {
            return Ok(());
        };
        let who = self.who(*who, &self.existing(*path));
        let Some(asks) = self.world.asks(who) else {
            return Ok(());
        };
        match op {
            Op::Stale(_, handle) => {
                if let Some((handle, _)) = self.file(*handle) {
                    self.stale(&asks, handle)?;
                }
            }
            Op::OpenDirectory(_, path, listing) => {
                self.open_directory(&asks, PATHS[*path], *listing)?;
            }
            Op::Mknod(_, path) => {
                let _ = self.make(&asks, PATHS[*path], &What::File, None, true)?;
            }
            Op::Mkdir(_, path) => {
                let _ = self.make(&asks, PATHS[*path], &What::Directory, None, true)?;
            }
            Op::Symlink(_, path, target) => {
                let link = What::Link(TARGETS[*target].to_owned());
                let _ = self.make(&asks, PATHS[*path], &link, None, true)?;
            }
            Op::Link(_, from, to) => {
                self.link(&asks, &self.existing(*from), PATHS[*to])?;
            }
            Op::Rename(_, from, to, kind) => {
                self.rename(&asks, &self.existing(*from), PATHS[*to], *kind)?;
            }
            Op::Unlink(_, path) => {
                self.unlink(&asks, &self.existing(*path), false)?;
            }
            Op::Rmdir(_, path) => {
                self.unlink(&asks, PATHS[*path], true)?;
            }
            Op::Utimens(_, path, mtime, atime) => {
                let times = [self.time(*mtime), self.time(*atime)];
                self.change(&asks, PATHS[*path], times, None)?;
            }
            Op::Truncate(_, path, size) => {
                self.change(&asks, PATHS[*path], [None, None], Some(*size))?;
            }
            Op::SetExpires(_, path, offset) => {
                let moment = offset.map(|offset| self.second(offset));
                self.annotate(&asks, PATHS[*path], Some(moment))?;
            }
            Op::SetNote(_, path) => self.annotate(&asks, PATHS[*path], None)?,
            Op::Chown(_, path, owner) => self.own(&asks, PATHS[*path], *owner)?,
            _ => {}
        }
        Ok(())
    }

    /// As GNU touch does it.
    fn touch(&mut self, who: Who, path: &str) -> Result<(), Wrong> {
        let who = self.who(who, path);
        let Some(asks) = self.world.asks(who) else {
            return Ok(());
        };
        let opened = self.open(&asks, path, TOUCH, false, who.place())?;
        let times = [Some(None), Some(None)];
        let set = self.change(&asks, path, times, None)?;
        if let Ok(handle) = opened {
            // One that cannot be seen cannot be told from another such either.
            if !set && asks.kind != Kind::Unseen {
                return Err("touch opened the board and could not set its times".to_owned());
            }
            self.close(handle)?;
        }
        Ok(())
    }

    /// Processes end together; the daemon hears of each in turn.
    fn die(&mut self, places: &[usize], inherit: bool) -> Result<(), Wrong> {
        let mut dead = Vec::new();
        for place in places {
            if let Some(process) = self.world.kill(*place) {
                dead.push(process);
                if !inherit {
                    let theirs = self.files.iter().filter(|(_, at)| *at == Some(*place));
                    for handle in theirs.map(|(handle, _)| *handle).collect::<Vec<_>>() {
                        self.files.retain(|(other, _)| *other != handle);
                        self.table.close(&self.world.now(), handle);
                        self.model.close(handle.0);
                    }
                }
            }
        }
        for process in dead {
            self.died(process)?;
        }
        self.observe()
    }

    /// After all was released and closed nothing is left.
    fn clean_up(&mut self) -> Result<(), Wrong> {
        self.judge_written()?;
        self.read_back()?;
        self.die(&(0..PLACES).collect::<Vec<_>>(), true)?;
        let root = Run::root();
        let mut paths: Vec<String> = self.model.names.keys().cloned().collect();
        paths.reverse();
        for path in paths {
            if self.model.names.contains_key(&path) {
                let directory = self.model.is_directory(&path);
                self.unlink(&root, &path, directory)?;
            }
        }
        while let Some((handle, _)) = self.files.first().copied() {
            self.close(handle)?;
        }
        if self.table.boards() != 0 || self.table.residue() != 0 {
            return Err(format!("something is left of it: {:?}", self.table));
        }
        Ok(())
    }

    fn file(&self, index: usize) -> Option<(Handle, Option<usize>)> {
        let count = self.files.len();
        (count > 0).then(|| self.files[index % count])
    }

    /// Who that is: the holder, or of a free board some script.
    fn who(&self, who: Who, path: &str) -> Who {
        let Who::Holder(tool) = who else {
            return who;
        };
        let hold = self.model.hold(path);
        let place = match hold.map(|hold| (hold.process(), hold.uid)) {
            Some((Some(process), _)) => process.pid.get() as usize - 100,
            Some((None, uid)) => {
                let user = USERS.iter().position(|user| *user == uid);
                return Who::Detached(user.unwrap_or(0));
            }
            None => 0,
        };
        if tool {
            Who::Tool(place, 2)
        } else {
            Who::Own(place)
        }
    }

    /// The path, or one that is there if there is any.
    fn existing(&self, path: usize) -> String {
        let names = &self.model.names;
        let there = names.keys().nth(path % names.len().max(1));
        match there {
            Some(there) if !names.contains_key(PATHS[path]) => there.clone(),
            _ => PATHS[path].to_owned(),
        }
    }

    fn second(&self, offset: usize) -> i64 {
        self.world.now().wall.secs + i64::try_from(OFFSETS[offset]).unwrap()
    }

    fn time(&self, set: Option<SetTime>) -> Option<Option<i128>> {
        Some(match set? {
            SetTime::Now => None,
            SetTime::To(offset) => Some(self.world.wall + OFFSETS[offset] * SECOND),
        })
    }

    fn text(&self, text: Text) -> Vec<u8> {
        let text = match text {
            Text::Pid(place) => format!("{}\n", 100 + place),
            Text::Both(expiry, place) => {
                let expiry = expiry.map_or(0, |offset| self.second(offset));
                format!("{expiry} {}\n", place.map_or(0, |place| 100 + place))
            }
            Text::Note => "flashing, back at 5\n".to_owned(),
            Text::Zero => "0\n".to_owned(),
            Text::Long => "7".repeat(4000),
        };
        text.into_bytes()
    }
}
