//! Runs a history against the table and the model and compares answers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use boardlock::fuse::errno;
use boardlock::lock::content::Kept;
use boardlock::lock::ids::{Handle, Ino, ProcessId};
use boardlock::lock::options::Options;
use boardlock::lock::{Refusal, Table};

use super::changes::Meaning;
use super::check::View;
use super::history::{History, LEASE};
use super::reference::{Expect, Model, beside, parent};
use super::saved::Followed;
use super::world::{Asks, Kind as Caller, SECOND, World, duration, user};

/// What is wrong.
pub type Wrong = String;

/// How often a call had an errno, 0 for success.
pub type Tally = BTreeMap<(&'static str, i32), usize>;

/// How the table under test is made to lie, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// A refused caller is told that it has the board.
    LoserWins,
    /// The end of a holder is lost.
    KeepsDead,
    /// A living holder loses its board.
    LosesLiving,
    /// A process that claims hang on is not watched.
    ForgetsWatch,
}

/// What was written and is to be judged.
pub struct Pending {
    pub kept: Kept,
    pub hold: u64,
    pub meaning: Meaning,
    pub writer: usize,
}

pub struct Run {
    pub table: Table,
    pub world: World,
    pub model: Model,
    pub lie: Option<Lie>,
    /// What the effects say is to be watched.
    pub watched: BTreeSet<ProcessId>,
    /// The boards that are held, by the log.
    pub told: BTreeSet<Vec<u8>>,
    /// The token of each board's last acquisition.
    pub tokens: BTreeMap<String, u64>,
    pub last_ino: u64,
    /// What was seen last.
    pub view: View,
    /// How often each call was answered how.
    pub tally: Tally,
    /// Open files and the place of the process that has each.
    pub files: Vec<(Handle, Option<usize>)>,
    pub pending: VecDeque<Pending>,
    /// What a daemon would begin with after this one.
    pub followed: Followed,
}

/// An answer as the caller sees it.
pub type Answer<T> = Result<T, i32>;

pub fn errno<T>(result: Result<T, Refusal>) -> Answer<T> {
    result.map_err(|refusal| errno::of(refusal).code())
}

impl Run {
    pub fn new(history: &History, lie: Option<Lie>) -> Run {
        let world = World::new();
        let (most, most_per_user) = if history.narrow { (4, 2) } else { (100, 100) };
        let options = Options {
            lease: history.lease.then(|| duration(i128::from(LEASE) * SECOND)),
            release: history.release,
            expire: history.expire,
            max_boards: most,
            max_per_user: most_per_user,
            ..Options::default()
        };
        let mut table = Table::new(options, &world.now());
        table.track();
        Run {
            table,
            model: Model {
                lease: history.lease,
                release: history.release,
                expire: history.expire,
                most,
                most_per_user,
                nodes: BTreeMap::new(),
                names: BTreeMap::new(),
                opens: BTreeMap::new(),
                fresh: BTreeSet::new(),
                holds: 0,
                unnumbered: u64::MAX,
            },
            world,
            lie,
            watched: BTreeSet::new(),
            told: BTreeSet::new(),
            tokens: BTreeMap::new(),
            last_ino: Ino::ROOT.0,
            view: View::default(),
            tally: Tally::new(),
            files: Vec::new(),
            pending: VecDeque::new(),
            followed: Followed::new(),
        }
    }

    /// Walks to a name as the kernel does: the directory's inode, the last
    /// name, and the path by which the model knows it. None if it cannot be
    /// reached.
    pub fn walk(&self, path: &str, follow: bool) -> Option<(Ino, String, String)> {
        let mut dir = Ino::ROOT;
        if let Some(above) = parent(path) {
            for part in above.split('/') {
                dir = self.table.lookup(dir, part.as_bytes()).ok()?;
                self.table.directory(dir).ok()?;
            }
        }
        let mut path = path.to_owned();
        for _ in 0..8 {
            let name = path.rsplit('/').next()?.to_owned();
            let at = self.table.lookup(dir, name.as_bytes());
            match at.and_then(|ino| self.table.target(ino)) {
                Ok(target) if follow => {
                    path = beside(&path, std::str::from_utf8(target).ok()?);
                }
                _ => return Some((dir, name, path)),
            }
        }
        None
    }

    /// Compares an answer with what the contract says.
    pub fn judge(&mut self, expect: &Expect, answer: &mut Answer<()>) -> Result<(), Wrong> {
        if self.lie == Some(Lie::LoserWins) && *answer == Err(libc::EBUSY) {
            self.lie = None;
            *answer = Ok(());
        }
        if expect.allows(answer) {
            Ok(())
        } else {
            Err(format!("answered {answer:?}, expected {expect:?}"))
        }
    }

    /// Checks one call: its answer, that a refusal changed nothing, and that
    /// an acquiring success is a hold of this caller's.
    pub fn settle(
        &mut self,
        call: &'static str,
        mut answer: Answer<()>,
        expect: &Expect,
        wins: Option<(&Asks, &str)>,
        apply: impl FnOnce(&mut Model, &World),
    ) -> Result<bool, Wrong> {
        self.judge(expect, &mut answer)
            .map_err(|wrong| format!("{call}: {wrong}"))?;
        let errno = answer.err().unwrap_or(0);
        *self.tally.entry((call, errno)).or_default() += 1;
        let Run { model, world, .. } = self;
        match answer {
            Ok(()) => {
                apply(model, world);
                self.observe()?;
                if let Some((asks, path)) = wins {
                    self.really_holds(asks, path)?;
                }
            }
            Err(errno) => {
                if let Some((asks, path)) = wins
                    && [libc::EBUSY, libc::EEXIST, libc::EAGAIN].contains(&errno)
                {
                    self.model.refused(asks, path);
                }
                self.unchanged()?;
            }
        }
        Ok(answer.is_ok())
    }

    fn really_holds(&self, asks: &Asks, path: &str) -> Result<(), Wrong> {
        let seen = self.view.boards.get(path);
        let holds = seen.is_some_and(|seen| match (&seen.detached, seen.lineage.first()) {
            (_, Some(holder)) => asks.lineage.contains(holder),
            (true, None) => asks.uid == seen.uid,
            (false, None) => false,
        });
        if holds {
            Ok(())
        } else {
            Err(format!(
                "{path}: a success of {asks:?} that holds nothing: {seen:?}"
            ))
        }
    }

    /// The end of a process is told.
    pub fn died(&mut self, process: ProcessId) -> Result<(), Wrong> {
        if self.lie == Some(Lie::KeepsDead) && self.table.hangs_on(process) {
            self.lie = None;
        } else {
            self.table.died(process, &self.world.now());
        }
        self.model.died(process);
        Ok(())
    }

    pub fn pass_time(&mut self) -> Result<(), Wrong> {
        self.table.expire(&self.world.now());
        let World { wall, boot, .. } = self.world;
        self.model.pass_time(wall, boot);
        if self.lie == Some(Lie::LosesLiving)
            && let Some(process) = self.watched.first().copied()
        {
            self.lie = None;
            self.table.died(process, &self.world.now());
        }
        self.observe()
    }

    /// A root shell, for cleaning up.
    pub fn root() -> Asks {
        Asks {
            kind: Caller::Detached,
            requester: None,
            lineage: Vec::new(),
            holder_uid: 0,
            above: Vec::new(),
            uid: user(0).uid.0,
            program: "rm",
        }
    }
}
