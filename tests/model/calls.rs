//! Calls by path.

use boardlock::lock::attributes::{Change, SetTime as TableTime};
use boardlock::lock::rename::RenameKind;

use super::driver::{Run, Wrong, errno};
use super::reference::{Expect, Until};
use super::world::{Asks, SECOND, timestamp};

impl Run {
    pub fn open_directory(&mut self, asks: &Asks, path: &str, listing: bool) -> Result<(), Wrong> {
        let Some((dir, name, path)) = self.walk(path, false) else {
            return Ok(());
        };
        let Ok(ino) = self.table.lookup(dir, name.as_bytes()) else {
            return Ok(());
        };
        let expect = self.model.judge_open_directory(asks, &path, listing);
        let answer = errno(self.table.open_directory(&asks.caller(), ino, listing));
        if answer == Err(libc::EBUSY) {
            self.model.refused(asks, &path);
        }
        self.settle("open directory", answer, &expect, None, |_, _| {})?;
        Ok(())
    }

    pub fn link(&mut self, asks: &Asks, from: &str, to: &str) -> Result<(), Wrong> {
        let (Some(from), Some(to)) = (self.walk(from, false), self.walk(to, false)) else {
            return Ok(());
        };
        let Ok(ino) = self.table.lookup(from.0, from.1.as_bytes()) else {
            return Ok(());
        };
        let expect = self.model.judge_link(asks, &from.2, &to.2);
        let at = (to.0, to.1.as_bytes());
        let now = self.world.now();
        let answer = errno(self.table.link(&now, &asks.caller(), ino, at));
        let wins = Some((asks, to.2.as_str()));
        self.settle("link", answer, &expect, wins, |model, world| {
            model.link(world, &from.2, &to.2);
        })?;
        Ok(())
    }

    pub fn rename(&mut self, asks: &Asks, from: &str, to: &str, kind: u8) -> Result<(), Wrong> {
        let (Some(from), Some(to)) = (self.walk(from, false), self.walk(to, false)) else {
            return Ok(());
        };
        let under = |one: &str, other: &str| one == other || one.starts_with(&format!("{other}/"));
        if under(&from.2, &to.2) || under(&to.2, &from.2) {
            // The kernel answers these itself.
            return Ok(());
        }
        let (kind, expect) = match kind {
            0 => (RenameKind::Other, Expect::No(vec![libc::EINVAL])),
            1 | 2 => (
                RenameKind::NoReplace,
                self.model.judge_rename(asks, &from.2, &to.2, true),
            ),
            _ => (
                RenameKind::Replace,
                self.model.judge_rename(asks, &from.2, &to.2, false),
            ),
        };
        let answer = errno(self.table.rename(
            &self.world.now(),
            &asks.caller(),
            (from.0, from.1.as_bytes()),
            (to.0, to.1.as_bytes()),
            kind,
        ));
        let wins = Some((asks, to.2.as_str()));
        self.settle("rename", answer, &expect, wins, |model, world| {
            model.rename(world, &from.2, &to.2);
        })?;
        Ok(())
    }

    pub fn unlink(&mut self, asks: &Asks, path: &str, directory: bool) -> Result<bool, Wrong> {
        let Some((dir, name, path)) = self.walk(path, false) else {
            return Ok(false);
        };
        let expect = self.model.judge_unlink(asks, &path, directory);
        let now = self.world.now();
        let at = (dir, name.as_bytes());
        let call = if directory { "rmdir" } else { "unlink" };
        let answer = errno(self.table.unlink(&now, &asks.caller(), at, directory));
        self.settle(call, answer, &expect, None, |model, _| model.unlink(&path))
    }

    /// Sets times and size of what a path leads to.
    pub fn change(
        &mut self,
        asks: &Asks,
        path: &str,
        times: [Option<Option<i128>>; 2],
        size: Option<u64>,
    ) -> Result<bool, Wrong> {
        let Some((dir, name, path)) = self.walk(path, true) else {
            return Ok(false);
        };
        let Ok(ino) = self.table.lookup(dir, name.as_bytes()) else {
            return Ok(false);
        };
        if size.is_some() && self.table.directory(ino).is_ok() {
            return Ok(false);
        }
        let [mtime, atime] = times;
        let mut expect = self.model.judge_change(asks, &path, size);
        // Setting no time asks for nothing.
        if mtime.is_none() && atime.is_none() && size.is_none() {
            expect = Expect::Any;
        }
        let making = size.is_none() && self.model.is_making(asks, &path);
        if making {
            expect = Expect::Any;
        }
        let time = |set: Option<Option<i128>>| {
            set.map(|set| match set {
                None => TableTime::Now,
                Some(moment) => TableTime::To(timestamp(moment)),
            })
        };
        let change = Change {
            mtime: time(mtime),
            atime: time(atime),
            size,
            ..Change::default()
        };
        let now = self.world.now();
        let answer = errno(self.table.change(&now, &asks.caller(), ino, None, &change));
        let call = if size.is_some() {
            "truncate"
        } else {
            "utimens"
        };
        let wins = (expect != Expect::Any).then_some((asks, path.as_str()));
        if expect == Expect::Any && answer == Err(libc::EBUSY) {
            self.model.refused(asks, &path);
        }
        self.settle(call, answer, &expect, wins, |model, world| {
            if let Some(size) = size {
                let ino = model.names[&path];
                let content = &mut model.nodes.get_mut(&ino).unwrap().content;
                content.resize(usize::try_from(size).unwrap(), 0);
            }
            if let Some(mtime) = mtime {
                model.set_mtime(world, &path, mtime);
            }
            if let (Some(atime), Some(hold)) = (atime, model.hold_mut(&path)) {
                hold.atime = atime;
            }
        })
    }

    /// Expiry (in seconds since 1970) or note by extended attribute.
    pub fn annotate(
        &mut self,
        asks: &Asks,
        path: &str,
        expires: Option<Option<i64>>,
    ) -> Result<(), Wrong> {
        let Some((dir, name, path)) = self.walk(path, false) else {
            return Ok(());
        };
        let Ok(ino) = self.table.lookup(dir, name.as_bytes()) else {
            return Ok(());
        };
        let now = self.world.now();
        let past = expires
            .flatten()
            .is_some_and(|moment| moment <= now.wall.secs);
        let expect = self.model.judge_annotate(asks, &path, past);
        let caller = asks.caller();
        let answer = errno(match expires {
            Some(expires) => self.table.set_expires(&now, &caller, ino, expires, None),
            None => self
                .table
                .set_note(&caller, ino, Some(b"mine".to_vec()), None),
        });
        self.settle("setxattr", answer, &expect, None, |model, world| {
            let lease = model.first_until(world.boot);
            let (Some(expires), Some(hold)) = (expires, model.hold_mut(&path)) else {
                return;
            };
            hold.mtime = None;
            hold.until = match expires {
                Some(moment) => Some(Until::Wall(i128::from(moment) * SECOND)),
                None => lease,
            };
            model.pass_time(world.wall, world.boot);
        })?;
        Ok(())
    }

    /// chown(2), chmod(2).
    pub fn own(&mut self, asks: &Asks, path: &str, owner: bool) -> Result<(), Wrong> {
        let Some((dir, name, path)) = self.walk(path, false) else {
            return Ok(());
        };
        let Ok(ino) = self.table.lookup(dir, name.as_bytes()) else {
            return Ok(());
        };
        let uid = self.model.hold(&path).map(|hold| hold.uid);
        let expect = match (owner, uid) {
            (false, Some(uid)) if uid == asks.uid => Expect::Ok,
            (false, Some(_)) if asks.uid == 0 => Expect::Any,
            _ => Expect::No(vec![libc::EPERM]),
        };
        let change = Change {
            owner,
            mode: !owner,
            ..Change::default()
        };
        let now = self.world.now();
        let answer = errno(self.table.change(&now, &asks.caller(), ino, None, &change));
        self.settle("chown", answer, &expect, None, |_, _| {})?;
        Ok(())
    }
}
