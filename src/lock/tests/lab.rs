//! A table with its clocks, and what can be seen of it.

use std::collections::HashMap;
use std::time::Duration;

use super::cast::process;
use super::lock_calls::Outcome;
use crate::lock::attributes::Attributes;
use crate::lock::effect::{Effect, End};
use crate::lock::ids::{Handle, Ino, WaitId};
use crate::lock::open::OpenMode;
use crate::lock::options::{ExpireRule, Options};
use crate::lock::record::Status;
use crate::lock::time::{BootTime, Now, Timestamp};
use crate::lock::{Refusal, Table};

/// When each test begins: 2001-09-09T01:46:40Z.
pub const START: i64 = 1_000_000_000;

pub const READ: OpenMode = OpenMode {
    write: false,
    append: false,
    truncate: false,
    nonblock: false,
    again: false,
    brief: false,
};
pub const WRITE: OpenMode = OpenMode {
    write: true,
    ..READ
};
/// `: >board`.
pub const TRUNCATE: OpenMode = OpenMode {
    truncate: true,
    ..WRITE
};
/// `: >>board`.
pub const APPEND: OpenMode = OpenMode {
    append: true,
    ..WRITE
};
/// As GNU touch opens.
pub const NONBLOCK: OpenMode = OpenMode {
    nonblock: true,
    ..WRITE
};

pub struct Lab {
    pub table: Table,
    pub now: Now,
    /// The requests that waited, and what those were answered that were.
    pub waits: u64,
    pub answers: HashMap<WaitId, Outcome>,
}

impl Lab {
    pub fn new() -> Lab {
        Lab::with(Options::default())
    }

    pub fn with(options: Options) -> Lab {
        let now = Now {
            wall: Timestamp::from_secs(START),
            boot: BootTime(Duration::from_secs(5000)),
        };
        Lab {
            table: Table::new(options, &now),
            now,
            waits: 0,
            answers: HashMap::new(),
        }
    }

    pub fn with_lease(secs: u64) -> Lab {
        Lab::with(Options {
            lease: Some(Duration::from_secs(secs)),
            ..Options::default()
        })
    }

    pub fn with_hard_lease(secs: u64) -> Lab {
        Lab::with(Options {
            lease: Some(Duration::from_secs(secs)),
            expire: ExpireRule::Hard,
            ..Options::default()
        })
    }

    /// Both clocks go on; what is due expires.
    pub fn pass(&mut self, secs: u64) {
        let span = Duration::from_secs(secs);
        self.now.boot.0 += span;
        self.now.wall = self.now.wall.plus(span);
        self.table.expire(&self.now);
    }

    /// The wall clock is set.
    pub fn set_clock(&mut self, secs: i64) {
        self.now.wall = Timestamp::from_secs(secs);
        self.table.expire(&self.now);
    }

    /// The directory of a path and the name in it.
    pub fn at<'a>(&self, path: &'a str) -> Result<(Ino, &'a [u8]), Refusal> {
        match path.rsplit_once('/') {
            Some((dir, name)) => Ok((self.find(dir)?, name.as_bytes())),
            None => Ok((Ino::ROOT, path.as_bytes())),
        }
    }

    pub fn find(&self, path: &str) -> Result<Ino, Refusal> {
        let (dir, name) = self.at(path)?;
        self.table.lookup(dir, name)
    }

    pub fn ino(&self, path: &str) -> Ino {
        self.find(path).unwrap_or_else(|_| panic!("{path} is free"))
    }

    pub fn is_free(&self, path: &str) -> bool {
        self.find(path).is_err()
    }

    /// The pid that holds the board; 0 for nobody.
    pub fn holder(&self, path: &str) -> u32 {
        let holder = self.find(path).ok().and_then(|ino| self.table.holder(ino));
        holder.map_or(0, |holder| holder.pid.get())
    }

    pub fn token(&self, path: &str) -> u64 {
        self.table.claim(self.ino(path)).unwrap().token.0
    }

    pub fn died(&mut self, pid: u32) {
        self.table.died(process(pid), &self.now);
    }

    pub fn content(&self, path: &str) -> &[u8] {
        self.table.content(self.ino(path)).unwrap_or_default()
    }

    pub fn stat(&self, path: &str) -> Attributes {
        self.table.attributes(self.ino(path), &self.now).unwrap()
    }

    /// stat(2) of an open file.
    pub fn fstat(&self, handle: Handle) -> Attributes {
        let ino = self.table.opened(handle).unwrap();
        self.table.attributes(ino, &self.now).unwrap()
    }

    pub fn status(&self, path: &str) -> Status {
        self.table.status(self.ino(path), &self.now)
    }

    /// What happened since this was last asked.
    pub fn effects(&mut self) -> Vec<Effect> {
        self.table.take_effects()
    }

    /// The processes that are watched from now on, and no longer.
    pub fn watched(&mut self) -> (Vec<u32>, Vec<u32>) {
        let (mut from_now, mut no_longer) = (Vec::new(), Vec::new());
        for effect in self.effects() {
            match effect {
                Effect::Watch(process) => from_now.push(process.pid.get()),
                Effect::Unwatch(process) => no_longer.push(process.pid.get()),
                _ => {}
            }
        }
        (from_now, no_longer)
    }

    /// The boards that were released and why.
    pub fn released(&mut self) -> Vec<(String, End)> {
        let released = self
            .effects()
            .into_iter()
            .filter_map(|effect| match effect {
                Effect::Released { held, end, .. } => {
                    Some((String::from_utf8(held.path).unwrap(), end))
                }
                _ => None,
            });
        released.collect()
    }
}
