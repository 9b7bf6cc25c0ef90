//! The reference model, continued: what a call that went well changes.

use std::collections::BTreeSet;

use boardlock::lock::ids::ProcessId;
use boardlock::lock::options::ExpireRule;

use super::history::{LEASE, Mode};
use super::reference::{Hold, Holder, Model, Node, Open, Until, What, parent};
use super::world::{Asks, Kind as Caller, SECOND, World};

/// What content means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    Nothing,
    Pid(u64),
    /// Seconds, 0 for none; pid, 0 for detached.
    Both(i64, u64),
    Note,
}

/// Reads content as the contract has it: all words, all decimal.
pub fn meaning(content: &[u8]) -> Meaning {
    if content.is_empty() {
        return Meaning::Nothing;
    }
    let text = String::from_utf8_lossy(content);
    let numbers: Vec<Option<u64>> = text.split_ascii_whitespace().map(decimal).collect();
    match numbers[..] {
        [Some(pid)] if pid > 0 => Meaning::Pid(pid),
        [Some(expiry), Some(pid)] if expiry < 253_402_300_800 => {
            Meaning::Both(i64::try_from(expiry).unwrap(), pid)
        }
        _ => Meaning::Note,
    }
}

fn decimal(word: &str) -> Option<u64> {
    word.chars()
        .all(|c| c.is_ascii_digit())
        .then(|| word.parse().ok())?
}

impl Model {
    /// The free inode that a file made here must be, because it is open.
    pub fn kept_inode(&self, path: &str) -> Option<u64> {
        // One that is known by another name, too, stays what it is.
        let known = |node: &Node| node.former.len() == 1 && node.former.contains(path);
        let kept = self.nodes.iter().filter(|(_, node)| known(node));
        kept.max_by_key(|(_, node)| node.freed).map(|(ino, _)| *ino)
    }

    pub fn make(&mut self, world: &World, asks: &Asks, path: &str, what: What, ino: u64) {
        self.holds += 1;
        let hold = Hold {
            id: self.holds,
            holder: match asks.kind {
                Caller::Process => Holder::Process(asks.lineage.clone()),
                _ => Holder::Detached,
            },
            uid: asks.holder_uid,
            charged: asks.uid,
            since: world.wall,
            until: self.first_until(world.boot),
            mtime: None,
            atime: None,
            refused: Vec::new(),
        };
        let node = Node {
            what,
            content: Vec::new(),
            hold: Some(hold),
            former: BTreeSet::new(),
            freed: 0,
        };
        self.nodes.insert(ino, node);
        self.add_name(path, ino);
    }

    fn add_name(&mut self, path: &str, ino: u64) {
        self.names.insert(path.to_owned(), ino);
        self.fresh.insert(path.to_owned());
    }

    /// A claim got one more name: it is acquired now.
    fn acquired_again(&mut self, world: &World, path: &str) {
        if let Some(hold) = self.hold_mut(path) {
            hold.since = world.wall;
        }
    }

    pub fn link(&mut self, world: &World, from: &str, to: &str) {
        let ino = self.names[from];
        self.add_name(to, ino);
        self.acquired_again(world, to);
    }

    pub fn rename(&mut self, world: &World, from: &str, to: &str) {
        if self.names.get(from) == self.names.get(to) {
            return;
        }
        if self.names.contains_key(to) {
            self.unlink(to);
        }
        let mut moved = self.inside(from);
        moved.push(from.to_owned());
        let several = self.names_of(self.names[from]).len() > 1;
        if several {
            self.part(self.names[from], from);
        }
        for old in moved {
            let new = format!("{to}{}", &old[from.len()..]);
            let ino = self.names.remove(&old).unwrap();
            for open in self.opens.values_mut().filter(|open| open.node == ino) {
                if open.through.as_ref() == Some(&old) {
                    open.through = Some(new.clone());
                }
            }
            self.add_name(&new, ino);
            self.acquired_again(world, &new);
        }
        self.sweep(from);
    }

    /// Takes one name away; with the last one the hold ends.
    pub fn unlink(&mut self, path: &str) {
        let ino = self.names[path];
        if self.names_of(ino).len() > 1 {
            self.part(ino, path);
            self.names.remove(path);
            self.sweep(path);
        } else {
            self.end(ino);
        }
    }

    /// A directory without holder goes with its last board.
    fn sweep(&mut self, path: &str) {
        let Some(dir) = parent(path) else {
            return;
        };
        let gone = self.hold(dir).is_some_and(|h| h.holder == Holder::Gone);
        if gone && self.inside(dir).is_empty() {
            let ino = self.names[dir];
            self.end(ino);
        }
    }

    /// The hold ends: every name of it is free.
    pub fn end(&mut self, ino: u64) {
        let names = self.names_of(ino);
        if names.len() > 1 {
            self.know_all_names(ino);
            for name in &names {
                self.move_opens(ino, Some(name), std::slice::from_ref(name));
            }
            self.move_opens(ino, None, &names);
        }
        for name in &names {
            self.names.remove(name);
        }
        let open = self.opens.values().any(|open| open.node == ino);
        if open {
            self.holds += 1;
            let node = self.nodes.get_mut(&ino).unwrap();
            node.freed = self.holds;
            node.hold = None;
            node.content.clear();
            node.former = names.iter().cloned().collect();
        } else {
            self.nodes.remove(&ino);
        }
        for name in &names {
            self.sweep(name);
        }
    }

    /// Whoever opened an inode by a name that it is about to lose has an inode of its
    /// own; and so has whoever may know it by each of its names.
    fn part(&mut self, ino: u64, path: &str) {
        let names = self.names_of(ino);
        let own = self.know_all_names(ino);
        self.move_opens(ino, Some(path), &[path.to_owned()]);
        let away: Vec<u64> = own
            .iter()
            .copied()
            .filter(|handle| self.opens[handle].node == ino)
            .collect();
        for handle in &away {
            self.opens.get_mut(handle).unwrap().node = 0;
        }
        self.move_opens(ino, None, &names);
        for handle in &away {
            self.opens.get_mut(handle).unwrap().node = ino;
        }
    }

    /// What the holder's own side opened is each of its names'.
    fn know_all_names(&mut self, ino: u64) -> Vec<u64> {
        let Some(hold) = self.nodes.get(&ino).and_then(|node| node.hold.clone()) else {
            return Vec::new();
        };
        let lineage = match &hold.holder {
            Holder::Process(lineage) => lineage.clone(),
            _ => Vec::new(),
        };
        let mut own = Vec::new();
        for (handle, open) in &mut self.opens {
            let by = open.by.requester;
            let holds = by.is_some_and(|by| lineage.iter().any(|holder| holder.pid == by.pid));
            if open.node == ino && (holds || (open.side && open.hold == hold.id)) {
                open.through = None;
                own.push(*handle);
            }
        }
        own
    }

    /// The open files that came by a name, or by none, are another inode's, which is
    /// free and had these names.
    fn move_opens(&mut self, ino: u64, by: Option<&str>, names: &[String]) {
        let has = self.names_of(ino);
        let through = |open: &Open| {
            let through = open.through.clone();
            through.filter(|name| has.contains(name))
        };
        let moved: Vec<u64> = self
            .opens
            .iter()
            .filter(|(_, open)| open.node == ino && through(open).as_deref() == by)
            .map(|(handle, _)| *handle)
            .collect();
        if moved.is_empty() {
            return;
        }
        self.unnumbered -= 1;
        let new = self.unnumbered;
        for handle in moved {
            self.opens.get_mut(&handle).unwrap().node = new;
        }
        self.holds += 1;
        let node = Node {
            what: What::File,
            content: Vec::new(),
            hold: None,
            former: names.iter().cloned().collect(),
            freed: if names.len() > 1 { 0 } else { self.holds },
        };
        self.nodes.insert(new, node);
    }

    /// Gives an inode the number that the table has for it.
    pub fn number(&mut self, handle: u64, ino: u64) {
        let old = self.opens[&handle].node;
        if let Some(node) = self.nodes.remove(&old) {
            self.nodes.insert(ino, node);
        }
        for open in self.opens.values_mut().filter(|open| open.node == old) {
            open.node = ino;
        }
    }

    /// Nobody holds any more.
    fn lose(&mut self, ino: u64) {
        let names = self.names_of(ino);
        if names.iter().any(|name| !self.inside(name).is_empty()) {
            let hold = self.nodes.get_mut(&ino).and_then(|n| n.hold.as_mut());
            hold.unwrap().holder = Holder::Gone;
        } else {
            self.end(ino);
        }
    }

    pub fn died(&mut self, process: ProcessId) {
        for ino in self.held() {
            let Some(hold) = self.nodes.get_mut(&ino).and_then(|n| n.hold.as_mut()) else {
                continue;
            };
            if let Holder::Process(lineage) = &mut hold.holder {
                // Whose open files they are is asked once more at the end of the hold.
                if *lineage == [process] {
                    self.lose(ino);
                } else {
                    lineage.retain(|other| *other != process);
                }
            }
        }
    }

    pub fn held(&self) -> Vec<u64> {
        let held = self.nodes.iter().filter(|(_, node)| node.hold.is_some());
        held.map(|(ino, _)| *ino).collect()
    }

    /// Whether time ends this hold.
    pub fn ends_by_time(&self, hold: &Hold) -> bool {
        match hold.holder {
            Holder::Detached => true,
            Holder::Process(_) => self.expire == ExpireRule::Hard,
            Holder::Gone => false,
        }
    }

    pub fn pass_time(&mut self, wall: i128, boot: i128) {
        for ino in self.held() {
            let hold = self.nodes.get(&ino).and_then(|node| node.hold.as_ref());
            if hold.is_some_and(|hold| self.ends_by_time(hold) && hold.overdue(wall, boot)) {
                self.lose(ino);
            }
        }
    }

    pub fn open(&mut self, asks: &Asks, path: &str, mode: Mode, claiming: bool, handle: u64) {
        let ino = self.names[path];
        let several = self.names_of(ino).len() > 1;
        let node = self.nodes.get_mut(&ino).unwrap();
        let hold = node.hold.as_ref().unwrap();
        if mode.truncate && hold.held_by(asks) {
            node.content.clear();
        }
        let open = Open {
            node: ino,
            hold: hold.id,
            side: claiming || (mode.write && hold.on_side(asks)),
            claiming,
            by: asks.clone(),
            mode,
            // Who cannot be told apart is not known by what it looked up.
            through: (!several || asks.requester.is_some()).then(|| path.to_owned()),
        };
        self.opens.insert(handle, open);
    }

    pub fn close(&mut self, handle: u64) {
        let Some(open) = self.opens.remove(&handle) else {
            return;
        };
        let still = self.opens.values().any(|other| other.node == open.node);
        if !still && self.nodes.get(&open.node).is_some_and(|n| n.hold.is_none()) {
            self.nodes.remove(&open.node);
        }
    }

    /// The caller wanted this board and was refused it.
    pub fn refused(&mut self, asks: &Asks, path: &str) {
        let refusal = (path.to_owned(), asks.lineage.clone(), asks.uid);
        if let Some(hold) = self.hold_mut(path).filter(|hold| !hold.held_by(asks)) {
            hold.refused.push(refusal);
        }
    }

    /// Who opened this was refused a write. Whether that counts as a refusal
    /// of the board is not said: noted under no name.
    pub fn write_refused(&mut self, open: &Open) {
        let node = self.nodes.get_mut(&open.node);
        if let Some(hold) = node.and_then(|node| node.hold.as_mut()) {
            let refusal = (String::new(), open.by.lineage.clone(), open.by.uid);
            hold.refused.push(refusal);
        }
    }

    pub fn set_mtime(&mut self, world: &World, path: &str, set: Option<i128>) {
        let is_file = self.node(path).is_some_and(|node| node.what == What::File);
        let Some(hold) = self.hold_mut(path) else {
            return;
        };
        hold.mtime = set;
        match (set, hold.until) {
            (Some(moment), _) if is_file && moment > world.wall + 2 * SECOND => {
                hold.until = Some(Until::Wall(moment));
            }
            (None, Some(Until::Boot(_))) => {
                hold.until = Some(Until::Boot(world.boot + i128::from(LEASE) * SECOND));
            }
            _ => {}
        }
    }

    pub fn write(&mut self, ino: u64, start: Option<usize>, data: &[u8]) -> Meaning {
        let content = &mut self.nodes.get_mut(&ino).unwrap().content;
        let start = start.unwrap_or(content.len());
        while content.len() < start + data.len() {
            content.push(0);
        }
        content.splice(start..start + data.len(), data.iter().copied());
        meaning(content)
    }

    /// What the content of this hold means now.
    pub fn meaning_of(&self, hold: u64) -> Option<Meaning> {
        let of = |node: &&Node| node.hold.as_ref().is_some_and(|other| other.id == hold);
        Some(meaning(&self.nodes.values().find(of)?.content))
    }

    /// What was written during this hold names someone.
    pub fn name(
        &mut self,
        world: &World,
        hold: u64,
        meaning: Meaning,
        whom: Option<(Vec<ProcessId>, u32)>,
    ) {
        let lease = self.first_until(world.boot);
        let mut nodes = self.nodes.values_mut().filter_map(|n| n.hold.as_mut());
        let Some(hold) = nodes.find(|other| other.id == hold) else {
            return;
        };
        match whom {
            Some((lineage, uid)) => {
                hold.holder = Holder::Process(lineage);
                hold.uid = uid;
            }
            None => hold.holder = Holder::Detached,
        }
        let until = match (meaning, hold.until) {
            (Meaning::Both(expiry, _), _) if expiry > 0 => {
                Some(Until::Wall(i128::from(expiry) * SECOND))
            }
            (Meaning::Both(..), Some(Until::Wall(_))) => lease,
            (_, until) => until,
        };
        // The modification time is the expiry, and that is a new one.
        if until != hold.until {
            hold.mtime = None;
            hold.until = until;
        }
        self.pass_time(world.wall, world.boot);
    }
}
