//! The system calls, as the kernel makes requests of them.

use super::lab::*;
use crate::lock::Refusal;
use crate::lock::acquire::Make;
use crate::lock::attributes::{Change, SetTime};
use crate::lock::caller::Caller;
use crate::lock::content::{Kept, Named};
use crate::lock::ids::{Handle, Ino};
use crate::lock::open::{OpenMode, Opened};
use crate::lock::rename::RenameKind;

impl Lab {
    fn make(
        &mut self,
        who: &Caller,
        path: &str,
        make: Make,
        exclusive: bool,
        open: Option<OpenMode>,
    ) -> Result<(Ino, Option<Handle>), Refusal> {
        let at = self.at(path)?;
        self.table.make(&self.now, who, at, make, exclusive, open)
    }

    /// open(2) with O_CREAT.
    pub fn create(&mut self, who: &Caller, path: &str, mode: OpenMode) -> Result<Handle, Refusal> {
        match self.find(path) {
            Ok(ino) => {
                self.walk(who, path);
                self.open_ino(who, ino, mode)
            }
            Err(Refusal::Missing) => {
                let made = self.make(who, path, Make::File, false, Some(mode))?;
                Ok(made.1.unwrap())
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// open(2) with O_CREAT and O_EXCL.
    pub fn exclusive(&mut self, who: &Caller, path: &str) -> Result<Handle, Refusal> {
        let made = self.make(who, path, Make::File, true, Some(WRITE))?;
        Ok(made.1.unwrap())
    }

    pub fn mknod(&mut self, who: &Caller, path: &str) -> Result<Ino, Refusal> {
        Ok(self.make(who, path, Make::File, true, None)?.0)
    }

    pub fn mkdir(&mut self, who: &Caller, path: &str) -> Result<Ino, Refusal> {
        Ok(self.make(who, path, Make::Directory, true, None)?.0)
    }

    pub fn symlink(&mut self, who: &Caller, target: &str, path: &str) -> Result<Ino, Refusal> {
        let make = Make::Link(target.as_bytes().to_vec());
        Ok(self.make(who, path, make, true, None)?.0)
    }

    /// open(2) without O_CREAT.
    pub fn open(&mut self, who: &Caller, path: &str, mode: OpenMode) -> Result<Handle, Refusal> {
        let ino = self.find(path)?;
        self.walk(who, path);
        self.open_ino(who, ino, mode)
    }

    /// LOOKUP, which comes before an OPEN.
    pub fn walk(&mut self, who: &Caller, path: &str) {
        if let (Ok(at), Ok(ino)) = (self.at(path), self.find(path)) {
            self.table.walked(who.thread, who.uid(), at, ino);
        }
    }

    /// OPEN as the kernel asks it, by one who does not wait.
    pub fn open_ino(&mut self, who: &Caller, ino: Ino, mode: OpenMode) -> Result<Handle, Refusal> {
        match self.table.open(&self.now, who, ino, mode, None)? {
            Opened::Done(handle) => Ok(handle),
            Opened::Waits => panic!("an open without leave to wait waits"),
        }
    }

    /// What touch(1) does: opens, then sets the times, by path if it has to,
    /// and succeeds if that does.
    pub fn touch(&mut self, who: &Caller, path: &str) -> Result<Ino, Refusal> {
        self.touch_at(who, path, SetTime::Now)
    }

    /// `touch -d`.
    pub fn touch_at(&mut self, who: &Caller, path: &str, time: SetTime) -> Result<Ino, Refusal> {
        let opened = self.create(who, path, NONBLOCK);
        let ino = match self.find(path) {
            Ok(ino) => ino,
            Err(refusal) => return Err(opened.err().unwrap_or(refusal)),
        };
        let change = Change {
            atime: Some(time),
            mtime: Some(time),
            ..Change::default()
        };
        let set = self.table.change(&self.now, who, ino, None, &change);
        if let Ok(handle) = opened {
            self.table.close(&self.now, handle);
        }
        set.map(|()| ino)
    }

    /// utimensat(2) by path.
    pub fn utimens(&mut self, who: &Caller, path: &str, time: SetTime) -> Result<(), Refusal> {
        let change = Change {
            atime: Some(time),
            mtime: Some(time),
            ..Change::default()
        };
        self.change(who, path, &change)
    }

    /// truncate(2) by path.
    pub fn truncate(&mut self, who: &Caller, path: &str, size: u64) -> Result<(), Refusal> {
        let change = Change {
            size: Some(size),
            ..Change::default()
        };
        self.change(who, path, &change)
    }

    pub fn change(&mut self, who: &Caller, path: &str, change: &Change) -> Result<(), Refusal> {
        let ino = self.find(path)?;
        self.table.change(&self.now, who, ino, None, change)
    }

    /// ftruncate(2).
    pub fn ftruncate(&mut self, who: &Caller, handle: Handle, size: u64) -> Result<(), Refusal> {
        let change = Change {
            size: Some(size),
            ..Change::default()
        };
        let ino = self.table.opened(handle).unwrap();
        self.table
            .change(&self.now, who, ino, Some(handle), &change)
    }

    pub fn link(&mut self, who: &Caller, old: &str, new: &str) -> Result<(), Refusal> {
        let (ino, at) = (self.find(old)?, self.at(new)?);
        self.table.link(&self.now, who, ino, at)
    }

    pub fn mv(&mut self, who: &Caller, old: &str, new: &str) -> Result<(), Refusal> {
        self.rename(who, old, new, RenameKind::Replace)
    }

    pub fn rename(
        &mut self,
        who: &Caller,
        old: &str,
        new: &str,
        kind: RenameKind,
    ) -> Result<(), Refusal> {
        let (old, new) = (self.at(old)?, self.at(new)?);
        self.table.rename(&self.now, who, old, new, kind)
    }

    pub fn rm(&mut self, who: &Caller, path: &str) -> Result<(), Refusal> {
        let at = self.at(path)?;
        self.table.unlink(&self.now, who, at, false)
    }

    pub fn rmdir(&mut self, who: &Caller, path: &str) -> Result<(), Refusal> {
        let at = self.at(path)?;
        self.table.unlink(&self.now, who, at, true)
    }

    /// `echo TEXT >board`, with what the rules make of a number in it.
    pub fn echo(&mut self, who: &Caller, path: &str, text: &str, named: Option<Named>) -> Kept {
        let handle = self.create(who, path, TRUNCATE).unwrap();
        let kept = self.table.write(handle, 0, text.as_bytes()).unwrap();
        if let Some(named) = named {
            self.table.name(&self.now, &kept, named);
        }
        self.table.close(&self.now, handle);
        kept
    }
}
