//! Calls that make, open and use files.

use boardlock::lock::acquire::Make;
use boardlock::lock::attributes::Change;
use boardlock::lock::content::Named;
use boardlock::lock::ids::{Handle, Ino};
use boardlock::lock::open::{OpenMode, Opened};
use boardlock::lock::record::Written;

use super::changes::Meaning;
use super::driver::{Answer, Pending, Run, Wrong, errno};
use super::history::Mode;
use super::reference::{Expect, What, parent};
use super::world::{Asks, candidate};

impl Run {
    /// Makes a board; says whether it went well, and with which open file.
    pub fn make(
        &mut self,
        asks: &Asks,
        path: &str,
        what: &What,
        open: Option<(Mode, Option<usize>)>,
        exclusive: bool,
    ) -> Result<Answer<Option<Handle>>, Wrong> {
        let Some((dir, name, path)) = self.walk(path, false) else {
            return Ok(Err(libc::ENOENT));
        };
        let mut expect = self.model.judge_make(asks, &path, what);
        if !exclusive && self.model.names.contains_key(&path) {
            // The kernel walks again and opens it.
            expect = Expect::No(vec![libc::ESTALE]);
        }
        let kept = self.model.kept_inode(&path).filter(|_| *what == What::File);
        let make = match what {
            What::File => Make::File,
            What::Directory => Make::Directory,
            What::Link(target) => Make::Link(target.clone().into_bytes()),
        };
        let mode = open.map(|(mode, _)| open_mode(mode));
        let made = errno(self.table.make(
            &self.world.now(),
            &asks.caller(),
            (dir, name.as_bytes()),
            make,
            exclusive,
            mode,
        ));
        if let Ok((ino, _)) = made {
            let new = ino.0 > self.last_ino;
            self.last_ino = self.last_ino.max(ino.0);
            match kept {
                Some(kept) if parent(&path).is_none() && kept != ino.0 => {
                    return Err(format!("{path}: inode {ino:?}, but {kept} is still open"));
                }
                kept if !new && kept != Some(ino.0) => {
                    return Err(format!("{path}: inode {ino:?} is another's"));
                }
                _ => {}
            }
        }
        let wins = Some((asks, path.as_str()));
        let call = match what {
            What::File if open.is_some() => "create",
            What::File => "mknod",
            What::Directory => "mkdir",
            What::Link(_) => "symlink",
        };
        let what = what.clone();
        let plain = made.as_ref().map(|_| ()).map_err(|errno| *errno);
        let files = &mut self.files;
        if let (Ok((_, Some(handle))), Some((_, place))) = (&made, open) {
            files.push((*handle, place));
        }
        let made_it = made;
        self.settle(call, plain, &expect, wins, |model, world| {
            let Ok((ino, handle)) = made_it else {
                return;
            };
            model.make(world, asks, &path, what, ino.0);
            if let (Some(handle), Some((mode, _))) = (handle, open) {
                model.open(asks, &path, mode, true, handle.0);
            }
        })?;
        Ok(made.map(|(_, handle)| handle))
    }

    /// open(2).
    pub fn open(
        &mut self,
        asks: &Asks,
        path: &str,
        mode: Mode,
        raced: bool,
        place: Option<usize>,
    ) -> Result<Answer<Handle>, Wrong> {
        let follow = !(mode.create && mode.exclusive);
        let Some((dir, name, path)) = self.walk(path, follow) else {
            return Ok(Err(libc::ENOENT));
        };
        let found = self.table.lookup(dir, name.as_bytes());
        if mode.create && (mode.exclusive || found.is_err() || raced) {
            let link = found.is_ok_and(|ino| self.table.target(ino).is_ok());
            let made = self.make(
                asks,
                &path,
                &What::File,
                Some((mode, place)),
                mode.exclusive,
            )?;
            match made {
                Ok(Some(handle)) => return Ok(Ok(handle)),
                Err(libc::ESTALE) if !link => {}
                Err(errno) => return Ok(Err(errno)),
                Ok(None) => return Err("an open without open file".to_owned()),
            }
        }
        let Ok(ino) = self.table.lookup(dir, name.as_bytes()) else {
            return Ok(Err(libc::ENOENT));
        };
        if self.table.directory(ino).is_ok() {
            return Ok(Err(libc::EISDIR));
        }
        let expect = self.model.judge_open(asks, &path, mode);
        let (thread, at) = (asks.caller().thread, (dir, name.as_bytes()));
        self.table.walked(thread, asks.caller().uid(), at, ino);
        let opened = self.open_inode(asks, ino, open_mode(mode));
        if let Ok(handle) = opened {
            self.files.push((handle, place));
        }
        let plain = opened.map(|_| ());
        let acquires = (mode.write || mode.truncate) && !mode.append;
        let wins = acquires.then_some((asks, path.as_str()));
        self.settle("open", plain, &expect, wins, |model, _| {
            if let Ok(handle) = opened {
                model.open(asks, &path, mode, false, handle.0);
            }
        })?;
        Ok(opened)
    }

    /// Opens the inode of an open file whose board is free meanwhile.
    pub fn stale(&mut self, asks: &Asks, handle: Handle) -> Result<(), Wrong> {
        let ino = self.model.opens[&handle.0].node;
        if !self.model.names_of(ino).is_empty() {
            return Ok(());
        }
        let mode = OpenMode {
            write: true,
            ..OpenMode::default()
        };
        let answer = self.open_inode(asks, Ino(ino), mode);
        let expect = Expect::No(vec![libc::ESTALE]);
        self.settle("stale open", answer.map(|_| ()), &expect, None, |_, _| {})?;
        Ok(())
    }

    /// OPEN as the kernel asks it, by one who does not wait.
    fn open_inode(&mut self, asks: &Asks, ino: Ino, mode: OpenMode) -> Result<Handle, i32> {
        let now = self.world.now();
        match errno(self.table.open(&now, &asks.caller(), ino, mode, None))? {
            Opened::Done(handle) => Ok(handle),
            Opened::Waits => panic!("an open without leave to wait waits"),
        }
    }

    /// ftruncate(2).
    pub fn cut(&mut self, handle: Handle, size: u64) -> Result<(), Wrong> {
        let open = self.model.opens[&handle.0].clone();
        if !open.mode.write {
            return Ok(());
        }
        let end = usize::try_from(size).unwrap();
        let expect = self.model.judge_write(&open, end);
        let change = Change {
            size: Some(size),
            ..Change::default()
        };
        let (now, caller) = (self.world.now(), open.by.caller());
        let ino = Ino(open.node);
        let answer = errno(self.table.change(&now, &caller, ino, Some(handle), &change));
        let went_well = self.settle("ftruncate", answer, &expect, None, |model, _| {
            let content = &mut model.nodes.get_mut(&open.node).unwrap().content;
            content.resize(end, 0);
        })?;
        if !went_well {
            self.model.write_refused(&open);
        }
        Ok(())
    }

    /// Writes; the meaning of what is there then is judged at once or later.
    pub fn write(
        &mut self,
        handle: Handle,
        writer: usize,
        offset: u64,
        data: &[u8],
        later: bool,
    ) -> Result<(), Wrong> {
        let open = self.model.opens[&handle.0].clone();
        if !open.mode.write {
            return Ok(());
        }
        let size = self.model.nodes[&open.node].content.len();
        let start = (!open.mode.append).then_some(usize::try_from(offset).unwrap());
        let expect = self
            .model
            .judge_write(&open, start.unwrap_or(size) + data.len());
        let kept = errno(self.table.write(handle, offset, data));
        let answer = kept.map(|_| ());
        let mut meaning = Meaning::Nothing;
        let went_well = self.settle("write", answer, &expect, None, |model, _| {
            meaning = model.write(open.node, start, data);
        })?;
        let (true, Ok(kept)) = (went_well, kept) else {
            self.model.write_refused(&open);
            return Ok(());
        };
        let same = match (kept.written, meaning) {
            (Written::Nothing, Meaning::Nothing) | (Written::Note, Meaning::Note) => true,
            (Written::Pid(pid), Meaning::Pid(meant)) => pid == meant,
            (Written::Both { expiry, pid }, Meaning::Both(until, meant)) => {
                expiry.unwrap_or(0) == until && pid.unwrap_or(0) == meant
            }
            _ => false,
        };
        if !same {
            return Err(format!("read {kept:?} from what is {meaning:?}"));
        }
        self.pending.push_back(Pending {
            kept,
            hold: self.model.nodes[&open.node].hold.as_ref().unwrap().id,
            meaning,
            writer,
        });
        if later { Ok(()) } else { self.judge_written() }
    }

    /// Judges what was written, as the service does in a second step.
    pub fn judge_written(&mut self) -> Result<(), Wrong> {
        while let Some(pending) = self.pending.pop_front() {
            let number = match pending.meaning {
                Meaning::Pid(pid) | Meaning::Both(_, pid) => pid,
                Meaning::Nothing | Meaning::Note => continue,
            };
            let whom = if number == 0 {
                None
            } else {
                match self.world.numbered(pending.writer, number) {
                    Some(found) => Some(found),
                    None => continue,
                }
            };
            let named = match &whom {
                Some((lineage, uid)) => Named::Process(candidate(lineage, *uid)),
                None => Named::Detached,
            };
            let now = self.world.now();
            self.table.name(&now, &pending.kept, named);
            // Written over meanwhile: the later content is judged, not this.
            if self.model.meaning_of(pending.hold) == Some(pending.meaning) {
                self.model
                    .name(&self.world, pending.hold, pending.meaning, whom);
            }
            self.observe()?;
        }
        Ok(())
    }

    pub fn close(&mut self, handle: Handle) -> Result<(), Wrong> {
        self.files.retain(|(other, _)| *other != handle);
        self.table.close(&self.world.now(), handle);
        self.model.close(handle.0);
        self.observe()
    }
}

fn open_mode(mode: Mode) -> OpenMode {
    OpenMode {
        write: mode.write,
        append: mode.append,
        truncate: mode.truncate,
        nonblock: mode.nonblock,
        again: false,
        brief: false,
    }
}
