//! What is true after every step.

use std::collections::{BTreeMap, BTreeSet};

use boardlock::lock::Table;
use boardlock::lock::attributes::{Attributes, Kind};
use boardlock::lock::claim::{Claim, Holder as Held};
use boardlock::lock::effect::Effect;
use boardlock::lock::ids::{Handle, Ino, ProcessId};
use boardlock::lock::time::{BootTime, Expiry};

use super::driver::{Lie, Run, Wrong};
use super::reference::{Hold, Holder, Until, What};
use super::world::{World, duration, nanos, timestamp};

/// All that callers can see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    pub boards: BTreeMap<String, Seen>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub lineage: Vec<ProcessId>,
    pub detached: bool,
    pub uid: u32,
    pub token: u64,
    pub expiry: Option<Expiry>,
    pub content: Vec<u8>,
    pub attributes: Attributes,
}

impl View {
    pub fn of(table: &Table, world: &World) -> View {
        let mut view = View::default();
        view.add(table, world, Ino::ROOT, "");
        view
    }

    fn add(&mut self, table: &Table, world: &World, dir: Ino, prefix: &str) {
        for (_, name, ino) in table.directory(dir).unwrap().after(0) {
            let path = format!("{prefix}{}", std::str::from_utf8(name).unwrap());
            let claim = table.claim(ino).expect("a board without a claim");
            self.boards
                .insert(path.clone(), Seen::of(table, world, ino, claim));
            if table.directory(ino).is_ok() {
                self.add(table, world, ino, &format!("{path}/"));
            }
        }
    }
}

impl Seen {
    fn of(table: &Table, world: &World, ino: Ino, claim: &Claim) -> Seen {
        let now = world.now();
        Seen {
            lineage: claim.holder.lineage().to_vec(),
            detached: claim.holder == Held::Detached,
            uid: claim.user.uid.0,
            token: claim.token.0,
            expiry: claim.expiry,
            content: table.content(ino).unwrap_or_default().to_vec(),
            attributes: table.attributes(ino, &now).unwrap(),
        }
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, is: &T, should: &T) -> Result<(), Wrong> {
    if is == should {
        Ok(())
    } else {
        Err(format!("{what} is {is:?}, should be {should:?}"))
    }
}

impl Run {
    /// Carries out what the table decided, and compares all that can be seen
    /// with the model.
    pub fn observe(&mut self) -> Result<(), Wrong> {
        self.carry_out()?;
        self.compare_opens()?;
        let view = View::of(&self.table, &self.world);
        self.only_the_living(&view)?;
        self.compare_names(&view)?;
        for (path, seen) in &view.boards {
            self.compare(path, seen)
                .map_err(|wrong| format!("{path}: {wrong}"))?;
        }
        self.compare_tokens(&view)?;
        self.compare_watched(&view)?;
        self.compare_deadlines()?;
        self.view = view;
        self.save()
    }

    /// Which open files are of one inode.
    fn compare_opens(&mut self) -> Result<(), Wrong> {
        let handles: Vec<u64> = self.model.opens.keys().copied().collect();
        for handle in handles.iter().copied() {
            let Some(ino) = self.table.opened(Handle(handle)) else {
                return Err(format!("open file {handle} is gone"));
            };
            self.last_ino = self.last_ino.max(ino.0);
            if self.model.opens[&handle].node > u64::MAX / 2 {
                self.model.number(handle, ino.0);
            }
        }
        for handle in handles {
            let (is, should) = (
                self.table.opened(Handle(handle)),
                self.model.opens[&handle].node,
            );
            if is != Some(Ino(should)) {
                return Err(format!("open file {handle} is of {is:?}, not of {should}"));
            }
        }
        Ok(())
    }

    /// A refusal changed nothing.
    pub fn unchanged(&mut self) -> Result<(), Wrong> {
        self.carry_out()?;
        let view = View::of(&self.table, &self.world);
        if view != self.view {
            return Err(format!("a refusal changed {:?} to {view:?}", self.view));
        }
        self.compare_watched(&view)?;
        self.compare_deadlines()
    }

    fn carry_out(&mut self) -> Result<(), Wrong> {
        loop {
            let effects = self.table.take_effects();
            if effects.is_empty() {
                return Ok(());
            }
            for effect in effects {
                match effect {
                    Effect::Watch(process) => {
                        if self.lie == Some(Lie::ForgetsWatch) {
                            self.lie = None;
                            continue;
                        }
                        if !self.watched.insert(process) {
                            return Err(format!("{process:?} is watched twice"));
                        }
                        if !self.world.alive(process) {
                            self.died(process)?;
                        }
                    }
                    Effect::Unwatch(process) => {
                        if !self.watched.remove(&process) {
                            return Err(format!("{process:?} was not watched"));
                        }
                    }
                    Effect::Acquired(held) => {
                        if !self.told.insert(held.path.clone()) {
                            return Err(format!("acquired twice: {held:?}"));
                        }
                    }
                    Effect::Released { held, .. } => {
                        if !self.told.remove(&held.path) {
                            return Err(format!("released, but nobody had it: {held:?}"));
                        }
                    }
                    Effect::Passed(held) => {
                        if !self.told.contains(&held.path) {
                            return Err(format!("passed on, but nobody had it: {held:?}"));
                        }
                    }
                    Effect::Refused { .. } => {}
                    // Of file locks, which this model does not have.
                    Effect::Shared(_)
                    | Effect::Waits { .. }
                    | Effect::Answer { .. }
                    | Effect::SendBack(_)
                    | Effect::Changed(_) => {}
                }
            }
        }
    }

    /// Nothing hangs on the dead.
    fn only_the_living(&self, view: &View) -> Result<(), Wrong> {
        for (path, seen) in &view.boards {
            if let Some(dead) = seen.lineage.iter().find(|one| !self.world.alive(**one)) {
                return Err(format!("{path}: hangs on a dead process: {dead:?}"));
            }
        }
        Ok(())
    }

    fn compare_names(&self, view: &View) -> Result<(), Wrong> {
        let is: Vec<(&String, u64)> = view
            .boards
            .iter()
            .map(|(path, seen)| (path, seen.attributes.ino.0))
            .collect();
        let should: Vec<(&String, u64)> = self
            .model
            .names
            .iter()
            .map(|(path, ino)| (path, *ino))
            .collect();
        same("the list of boards and inodes", &is, &should)?;
        same("the count", &self.table.boards(), &is.len())?;
        let told: Vec<&[u8]> = self.told.iter().map(Vec::as_slice).collect();
        let there: Vec<&[u8]> = view.boards.keys().map(|path| path.as_bytes()).collect();
        same("what the log says is held", &told, &there)
    }

    fn compare(&self, path: &str, seen: &Seen) -> Result<(), Wrong> {
        let (wall, boot) = (self.world.wall, self.world.boot);
        let ino = self.model.names[path];
        let node = &self.model.nodes[&ino];
        let hold: &Hold = node.hold.as_ref().unwrap();
        let (lineage, detached): (&[ProcessId], bool) = match &hold.holder {
            Holder::Process(lineage) => (lineage, false),
            Holder::Detached => (&[], true),
            Holder::Gone => (&[], false),
        };
        same("the lineage", &seen.lineage.as_slice(), &lineage)?;
        same("detached", &seen.detached, &detached)?;
        same("the user", &seen.uid, &hold.uid)?;
        let attributes = &seen.attributes;
        same("the shown user", &attributes.user.uid.0, &hold.uid)?;
        same("the content", &seen.content, &node.content)?;
        let until = seen.expiry.map(|expiry| match expiry {
            Expiry::Lease { ends, .. } => Until::Boot(ends.0.as_nanos() as i128),
            Expiry::At(moment) => Until::Wall(nanos(moment)),
        });
        same("the expiry", &until, &hold.until)?;
        same(
            "mtime",
            &nanos(attributes.mtime),
            &hold.shown_mtime(wall, boot),
        )?;
        same(
            "atime",
            &nanos(attributes.atime),
            &hold.atime.unwrap_or(wall),
        )?;
        same("ctime", &nanos(attributes.ctime), &hold.since)?;
        let (kind, size, links) = match &node.what {
            What::File => (
                Kind::File,
                node.content.len(),
                self.model.names_of(ino).len(),
            ),
            What::Directory => (Kind::Directory, 0, 1),
            What::Link(target) => (Kind::Link, target.len(), self.model.names_of(ino).len()),
        };
        same("the kind", &attributes.kind, &kind)?;
        same("the size", &attributes.size, &(size as u64))?;
        same("the link count", &(attributes.links as usize), &links)?;
        let expiry = hold
            .good_until(wall, boot)
            .map_or(0, |moment| timestamp(moment).secs);
        let pid = hold.process().map_or(0, |process| process.pid.get());
        let status = self.table.status(Ino(ino), &self.world.now());
        let status = status.render(|_| "someone".to_owned());
        let first = status.lines().next().unwrap_or_default();
        same("the status", &first.to_owned(), &format!("{expiry} {pid}"))
    }

    fn compare_tokens(&mut self, view: &View) -> Result<(), Wrong> {
        let mut of_token: BTreeMap<u64, Ino> = BTreeMap::new();
        for (path, seen) in &view.boards {
            let ino = seen.attributes.ino;
            let other = of_token.insert(seen.token, ino);
            if other.is_some_and(|other| other != ino) {
                return Err(format!(
                    "{path}: another board has its token {}",
                    seen.token
                ));
            }
            let last = self.tokens.insert(path.clone(), seen.token);
            let fresh = self.model.fresh.contains(path);
            let grew = last.is_none_or(|last| seen.token > last || (seen.token == last && !fresh));
            if !grew {
                return Err(format!("{path}: token {} after {last:?}", seen.token));
            }
        }
        self.model.fresh.clear();
        Ok(())
    }

    fn compare_watched(&self, view: &View) -> Result<(), Wrong> {
        let hang: BTreeSet<ProcessId> = view
            .boards
            .values()
            .flat_map(|seen| seen.lineage.iter().copied())
            .collect();
        same("the set of watched processes", &self.watched, &hang)?;
        match hang.iter().find(|process| !self.table.hangs_on(**process)) {
            Some(process) => Err(format!("nothing hangs on {process:?}")),
            None => Ok(()),
        }
    }

    fn compare_deadlines(&self) -> Result<(), Wrong> {
        let (mut boot, mut wall): (Option<i128>, Option<i128>) = (None, None);
        for ino in self.model.held() {
            let hold = self.model.nodes[&ino].hold.as_ref().unwrap();
            if !self.model.ends_by_time(hold) {
                continue;
            }
            match hold.until {
                Some(Until::Boot(ends)) => boot = Some(boot.map_or(ends, |b| b.min(ends))),
                Some(Until::Wall(ends)) => wall = Some(wall.map_or(ends, |w| w.min(ends))),
                None => {}
            }
        }
        let should = (boot.map(|b| BootTime(duration(b))), wall.map(timestamp));
        same("the next deadlines", &self.table.next_deadlines(), &should)
    }
}
