//! File locks at random, mixed with claims: what is believed outside, from the
//! answers alone, and what must hold of it after each step.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::cast::*;
use super::lab::*;
use crate::lock::Refusal;
use crate::lock::caller::Caller;
use crate::lock::effect::{Effect, End};
use crate::lock::file_lock::{Class, Key, LockCall, LockKind, Range};
use crate::lock::ids::{Handle, Ino, LockOwner, WaitId};
use crate::lock::locking::Tried;
use crate::lock::open::{OpenMode, Opened};

const NAMES: [&str; 3] = ["a", "b", "c"];
const FILES: usize = 8;

#[derive(Clone, Debug)]
struct Step {
    what: u8,
    who: usize,
    name: usize,
    file: usize,
    exclusive: bool,
    range: (u64, u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (
        0..20_u8,
        0..5_usize,
        0..NAMES.len(),
        0..FILES,
        any::<bool>(),
        (0..4_u64, 0..3_u64),
    );
    let step = step.prop_map(|(what, who, name, file, exclusive, (start, more))| Step {
        what,
        who,
        name,
        file,
        exclusive,
        range: (start, start + more),
    });
    prop::collection::vec(step, 1..80)
}

/// Each has a process, and so a table of open files, of its own.
fn cast() -> [Caller; 5] {
    [alice(), alices_child(), alices_other_job(), bob(), root()]
}

/// A request to lock that waits, as its caller knows it.
#[derive(Clone, Copy, Debug)]
struct Waits {
    call: LockCall,
    kind: LockKind,
    ino: Ino,
}

/// What is believed outside.
#[derive(Default)]
struct World {
    files: Vec<(Handle, usize)>,
    /// By inode and owner, byte by byte of the few that are used.
    locks: BTreeMap<(Ino, Key), BTreeMap<u64, LockKind>>,
    waits: BTreeMap<WaitId, Waits>,
    opens: BTreeMap<WaitId, usize>,
    /// The inode whose board is given back, or replaced.
    target: Option<Ino>,
}

impl World {
    fn granted(&mut self, waits: Waits) {
        let Waits { call, kind, ino } = waits;
        let bytes = self.locks.entry((ino, call.key())).or_default();
        if call.class == Class::Flock {
            bytes.clear();
        }
        for byte in bytes_of(&call) {
            bytes.insert(byte, kind);
        }
    }

    fn unlocked(&mut self, ino: Ino, call: &LockCall) {
        if let Some(bytes) = self.locks.get_mut(&(ino, call.key())) {
            for byte in bytes_of(call) {
                bytes.remove(&byte);
            }
        }
        self.locks.retain(|_, bytes| !bytes.is_empty());
    }

    fn kind(&self, ino: Ino, key: Key) -> Option<LockKind> {
        self.locks.get(&(ino, key))?.values().max().copied()
    }
}

/// The bytes that are looked at; a flock has all of them.
fn bytes_of(call: &LockCall) -> std::ops::RangeInclusive<u64> {
    match call.class {
        Class::Flock => 0..=9,
        Class::Fcntl => call.range.start..=call.range.end.min(9),
    }
}

struct Play {
    lab: Lab,
    world: World,
    last: u64,
}

impl Play {
    fn call(&self, step: &Step, class: Class) -> Option<(LockCall, Ino)> {
        let (handle, who) = *self.world.files.get(step.file)?;
        let ino = self.lab.table.opened(handle).unwrap();
        let range = match class {
            Class::Flock => Range::ALL,
            Class::Fcntl => Range {
                start: step.range.0,
                end: step.range.1,
            },
        };
        let call = LockCall {
            handle,
            class,
            owner: LockOwner(match class {
                Class::Flock => handle.0,
                Class::Fcntl => 1000 + who as u64,
            }),
            range,
            pid: cast()[who].lineage().first().map(|process| process.pid),
            started: Some(self.lab.now.boot),
            user: cast()[who].user,
        };
        Some((call, ino))
    }

    fn lock(&mut self, step: &Step, class: Class, wait: bool) {
        let Some((call, ino)) = self.call(step, class) else {
            return;
        };
        // A process that waits does nothing else with that file.
        let busy = |waits: &Waits| waits.call.key() == call.key();
        if self.world.waits.values().any(busy) {
            return;
        }
        let kind = if step.exclusive {
            LockKind::Exclusive
        } else {
            LockKind::Shared
        };
        self.last += 1;
        let wait = wait.then_some(WaitId(self.last));
        let (_, who) = self.world.files[step.file];
        let caller = &cast()[who];
        let now = self.lab.now;
        let mut tried = self.lab.table.lock(&now, &call, kind, wait, None);
        if tried == Ok(Tried::AskWho) {
            tried = self.lab.table.lock(&now, &call, kind, wait, Some(caller));
        }
        let waits = Waits { call, kind, ino };
        match tried {
            Ok(Tried::Granted) => {
                self.world.granted(waits);
                self.follow();
                let has = self.world.kind(ino, call.key());
                assert!(has.is_some(), "granted and lost at once");
            }
            Ok(Tried::Waits) => {
                self.give_up_converted(&waits);
                self.world.waits.insert(wait.unwrap(), waits);
            }
            Ok(Tried::AskWho) => panic!("asks who it is though it was told"),
            Err(_) => self.give_up_converted(&waits),
        }
    }

    /// A flock that is to be converted is lost before the new one is granted,
    /// unless what keeps it is no other lock.
    fn give_up_converted(&mut self, waits: &Waits) {
        if waits.call.class == Class::Flock {
            self.world.unlocked(waits.ino, &waits.call);
        }
    }

    fn open(&mut self, step: &Step, mode: OpenMode) {
        if self.world.files.len() >= FILES {
            return;
        }
        let who = &cast()[step.who];
        let opened = match self.lab.find(NAMES[step.name]) {
            Ok(ino) => {
                self.last += 1;
                let wait = WaitId(self.last);
                let now = self.lab.now;
                match self.lab.table.open(&now, who, ino, mode, Some(wait)) {
                    Ok(Opened::Done(handle)) => Some(handle),
                    Ok(Opened::Waits) => {
                        self.world.opens.insert(wait, step.who);
                        None
                    }
                    Err(_) => None,
                }
            }
            Err(_) => self.lab.create(who, NAMES[step.name], mode).ok(),
        };
        if let Some(handle) = opened {
            self.world.files.push((handle, step.who));
        }
    }

    fn close(&mut self, at: usize) {
        if at >= self.world.files.len() {
            return;
        }
        let (handle, who) = self.world.files[at];
        let waits = self.world.waits.values();
        if waits.clone().any(|waits| waits.call.handle == handle) {
            return;
        }
        self.world.files.remove(at);
        let owner = LockOwner(1000 + who as u64);
        let ino = self.lab.table.opened(handle).unwrap();
        self.lab.table.flush(&self.lab.now, handle, owner);
        self.world.locks.remove(&(ino, Key::Owner(owner)));
        self.lab.close(handle);
        self.world.locks.remove(&(ino, Key::File(handle)));
    }

    fn apply(&mut self, step: &Step) {
        let who = cast()[step.who].clone();
        let name = NAMES[step.name];
        match step.what {
            0 => drop(self.lab.touch(&who, name)),
            1 => self.open(step, TRUNCATE),
            2 | 3 => self.open(step, READ),
            4 => self.open(step, APPEND),
            5 | 6 => self.lock(step, Class::Flock, false),
            7..=9 => self.lock(step, Class::Flock, true),
            10 => self.lock(step, Class::Fcntl, false),
            11 => self.lock(step, Class::Fcntl, true),
            12 | 13 => {
                let class = if step.what == 12 {
                    Class::Flock
                } else {
                    Class::Fcntl
                };
                if let Some((call, ino)) = self.call(step, class) {
                    self.lab.table.unlock(&self.lab.now, &call).unwrap();
                    self.world.unlocked(ino, &call);
                }
            }
            14 | 15 => self.close(step.file),
            16 => {
                // Who has it open shows, as the daemon finds it.
                self.lab.show_openers(name);
                self.world.target = self.lab.find(name).ok();
                let _ = self.lab.rm(&who.by("rm"), name);
            }
            17 => {
                let new = NAMES[step.file % NAMES.len()];
                self.lab.show_openers(name);
                self.world.target = self.lab.find(new).ok();
                let _ = self.lab.mv(&who, name, new);
            }
            18 => {
                let first = self.world.waits.keys().nth(step.file).copied();
                if let Some(wait) = first {
                    let now = self.lab.now;
                    self.lab.table.leave(wait, Refusal::Interrupted, &now);
                }
            }
            _ => {
                self.lab
                    .died([SCRIPT, CHILD, OTHER_JOB, BOBS, ROOTS][step.who]);
                if step.exclusive {
                    self.lab.pass(1);
                }
            }
        }
        self.follow();
    }

    /// Believes what is told.
    fn follow(&mut self) {
        for effect in self.lab.effects() {
            match effect {
                Effect::Answer { wait, outcome } => {
                    if let Some(who) = self.world.opens.remove(&wait) {
                        if let Ok(handle) = outcome {
                            self.world.files.push((handle.unwrap(), who));
                        }
                        continue;
                    }
                    let waits = self.world.waits.remove(&wait);
                    let waits = waits.expect("answered once, and only who waits");
                    if outcome.is_ok() {
                        self.world.granted(waits);
                    }
                }
                // Given back or taken away: whoever has a lock has it no more.
                Effect::Released {
                    end: End::Unlinked { .. } | End::Replaced,
                    ..
                } => {
                    let target = self.world.target.take();
                    self.world.locks.retain(|(ino, _), _| Some(*ino) != target);
                }
                _ => {}
            }
        }
    }

    fn check(&mut self) {
        super::never::check_saved(&self.lab);
        let table = &self.lab.table;
        // What is believed is what is kept.
        let mut kept = BTreeMap::new();
        for (ino, node) in table.nodes.iter() {
            for lock in &node.locks {
                kept.insert((*ino, lock.key), lock.kind());
            }
        }
        let believed: BTreeMap<_, _> = self
            .world
            .locks
            .iter()
            .map(|(at, bytes)| (*at, *bytes.values().max().unwrap()))
            .collect();
        assert_eq!(kept, believed);
        for (ino, node) in table.nodes.iter() {
            // Who locks exclusively is alone, but for its own process.
            for lock in &node.locks {
                for other in &node.locks {
                    let own = lock.class() != other.class()
                        && (lock.pid == other.pid || lock.handle == other.handle);
                    let shared =
                        lock.kind() == LockKind::Shared && other.kind() == LockKind::Shared;
                    assert!(lock.key == other.key || own || shared, "{node:#?}");
                }
                assert!(!node.names.is_empty(), "a lock holds a board");
                let open = table.opens.get(&lock.handle);
                assert!(open.is_some_and(|open| open.ino == *ino));
            }
            if let Some(claim) = &node.claim {
                assert!(!claim.is_by_locks() || !node.locks.is_empty());
            }
            // Nobody waits for what is free.
            for wait in &node.queue {
                assert!(self.world.waits.contains_key(wait));
            }
            if !node.queue.is_empty() {
                let board = table.board_of(*ino);
                assert!(table.claim(board).is_some(), "they wait for nobody");
                if let Some(claim) = &node.claim
                    && claim.is_by_locks()
                {
                    let head = &self.world.waits[&node.queue[0]];
                    let after = node.lock_after(&head.call, head.kind, self.lab.now.boot);
                    assert!(
                        !node.has_room_for(&head.call, &after),
                        "the first could go on"
                    );
                }
            }
        }
        let queued: usize = table.nodes.iter().map(|(_, node)| node.queue.len()).sum();
        assert_eq!(queued, self.world.waits.len());
        assert_eq!(table.waiters(), queued);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 3000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn nobody_is_told_of_a_lock_that_he_has_not(steps in steps()) {
        let mut play = Play { lab: Lab::new(), world: World::default(), last: 0 };
        for step in &steps {
            play.apply(step);
            play.check();
        }
        // Nothing is left once everything was closed.
        while !play.world.waits.is_empty() || !play.world.opens.is_empty() {
            let waits: Vec<WaitId> = play.world.waits.keys().chain(play.world.opens.keys()).copied().collect();
            for wait in waits {
                let now = play.lab.now;
                play.lab.table.leave(wait, Refusal::NoLocks, &now);
                play.follow();
            }
        }
        while !play.world.files.is_empty() {
            play.close(0);
            play.follow();
            play.check();
        }
        for pid in [SCRIPT, CHILD, OTHER_JOB, BOBS, ROOTS] {
            play.lab.died(pid);
        }
        play.follow();
        prop_assert_eq!(play.lab.table.residue(), 0);
    }
}
