//! File locks, opens that wait and claims, mixed: what is believed outside, from
//! the answers alone, and what must hold of it after each step.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use boardlock::lock::acquire::Make;
use boardlock::lock::caller::{Caller, Candidate, Chain, Groups, Standing};
use boardlock::lock::effect::{Effect, End};
use boardlock::lock::file_lock::{Class, Key, LockCall, LockKind, Range};
use boardlock::lock::ids::{
    Gid, Handle, Ino, LockOwner, Pid, ProcessId, StartTime, Uid, User, WaitId,
};
use boardlock::lock::locking::Tried;
use boardlock::lock::open::{OpenMode, Opened};
use boardlock::lock::options::{OpenRule, Options};
use boardlock::lock::rename::RenameKind;
use boardlock::lock::restored::Return;
use boardlock::lock::saved::{self, Saved};
use boardlock::lock::shown::BoardFile;
use boardlock::lock::time::{BootTime, Now, Timestamp};
use boardlock::lock::{Refusal, Table};

use super::bytes::Bytes;

const NAMES: [&[u8]; 3] = [b"a", b"b", b"c"];
const FILES: usize = 8;
const MOST: usize = 150;

const READ: OpenMode = OpenMode {
    write: false,
    append: false,
    truncate: false,
    nonblock: false,
    again: false,
    brief: false,
};
/// `: >board`, `: >>board`, touch(1).
const MODES: [OpenMode; 4] = [
    READ,
    OpenMode {
        write: true,
        truncate: true,
        ..READ
    },
    OpenMode {
        write: true,
        append: true,
        ..READ
    },
    OpenMode {
        write: true,
        nonblock: true,
        ..READ
    },
];

/// Two scripts of one user, a program that the first runs, another user's
/// script, and root's.
pub const CAST: [(u32, u32, &[u32]); 5] = [
    (1000, 100, &[90]),
    (1000, 120, &[100, 90]),
    (1000, 200, &[91]),
    (1001, 300, &[92]),
    (0, 400, &[1]),
];

pub fn process(pid: u32) -> ProcessId {
    ProcessId {
        pid: Pid::new(pid).unwrap(),
        start: StartTime(u64::from(pid) * 10),
    }
}

pub fn caller(who: usize) -> Caller {
    let (uid, pid, above) = CAST[who];
    let user = User {
        uid: Uid(uid),
        gid: Gid(uid),
    };
    let id = process(pid);
    let mut ancestors = vec![id];
    ancestors.extend(above.iter().copied().map(process));
    Caller {
        thread: Some(id.pid),
        requester: Some(id),
        program: "rm".to_owned(),
        user,
        standing: Standing::Process(Candidate {
            lineage: vec![id],
            user,
            command: format!("sh job{pid}"),
            via: Chain("rm".to_owned()),
        }),
        job: ancestors.len() - 1,
        groups: Groups::default(),
        scripts: vec![id],
        ancestors,
    }
}

/// A request to lock that waits, as its caller knows it.
#[derive(Clone, Copy, Debug)]
struct Waits {
    call: LockCall,
    kind: LockKind,
    ino: Ino,
}

struct Play {
    table: Table,
    now: Now,
    last: u64,
    /// All that there ever was.
    seen: BTreeSet<Ino>,
    files: Vec<(Handle, usize)>,
    /// By inode and owner, byte by byte of the few that are used.
    locks: BTreeMap<(Ino, Key), BTreeMap<u64, LockKind>>,
    waits: BTreeMap<WaitId, Waits>,
    opens: BTreeMap<WaitId, usize>,
    /// The open file by which each of these was made or changed last.
    by: BTreeMap<(Ino, Key), Handle>,
    /// The inode that loses a name, given back or replaced, and whether its last one.
    target: Option<(Ino, bool)>,
    watched: BTreeSet<ProcessId>,
}

/// The bytes that are looked at; a flock has all of them.
fn bytes_of(call: &LockCall) -> std::ops::RangeInclusive<u64> {
    match call.class {
        Class::Flock => 0..=9,
        Class::Fcntl => call.range.start..=call.range.end.min(9),
    }
}

/// Who opened these, as the daemon finds them.
pub fn openers(files: &[BoardFile]) -> Vec<ProcessId> {
    let openers: BTreeSet<ProcessId> = files.iter().filter_map(|file| file.opener).collect();
    openers.into_iter().collect()
}

/// Who waits is to come again.
pub fn but_waiters(mut saved: Saved) -> Saved {
    saved
        .values
        .retain(|key, _| !matches!(key, saved::Key::Wait(_)));
    saved
}

pub fn check(data: &[u8]) {
    let mut bytes = Bytes(data);
    let now = Now {
        wall: Timestamp::from_secs(1_000_000_000),
        boot: BootTime(Duration::from_secs(5000)),
    };
    let options = Options {
        open: bytes.of(&[OpenRule::Wait, OpenRule::Strict, OpenRule::Shared]),
        ..Options::default()
    };
    let mut play = Play {
        table: Table::new(options, &now),
        now,
        last: 0,
        seen: BTreeSet::new(),
        files: Vec::new(),
        locks: BTreeMap::new(),
        by: BTreeMap::new(),
        waits: BTreeMap::new(),
        opens: BTreeMap::new(),
        target: None,
        watched: BTreeSet::new(),
    };
    for step in 1..=MOST {
        if bytes.is_over() {
            break;
        }
        play.step(&mut bytes);
        play.follow();
        play.check();
        // What it takes is long, and whatever is in between stands at an end too.
        if step % 32 == 0 {
            play.saved();
        }
    }
    play.saved();
    play.end();
}

impl Play {
    fn find(&self, name: &[u8]) -> Option<Ino> {
        self.table.lookup(Ino::ROOT, name).ok()
    }

    /// The inode that has this name, and whether it has no other.
    fn only(&self, name: &[u8]) -> Option<(Ino, bool)> {
        let ino = self.find(name)?;
        let node = self.table.node(ino).ok()?;
        Some((ino, node.names.len() == 1))
    }

    /// What came by one of several names may be another inode's now.
    fn moved(&mut self) -> BTreeSet<(Ino, Key)> {
        let mut moved = BTreeSet::new();
        for (at, handle) in self.by.clone() {
            let is = self.table.opened(handle);
            if let Some(ino) = is.filter(|ino| *ino != at.0) {
                let new = (ino, at.1);
                self.by.remove(&at);
                if let Some(bytes) = self.locks.remove(&at) {
                    self.by.insert(new, handle);
                    self.locks.insert(new, bytes);
                    moved.insert(new);
                }
            }
        }
        for waits in self.waits.values_mut() {
            let ino = self.table.opened(waits.call.handle);
            waits.ino = ino.expect("an open file has its inode");
        }
        moved
    }

    fn step(&mut self, bytes: &mut Bytes) {
        let what = bytes.below(16);
        let who = bytes.below(CAST.len());
        let name = bytes.of(&NAMES);
        match what {
            0 | 1 => self.open(who, name, MODES[1]),
            2 => self.open(who, name, MODES[0]),
            3 => {
                let mode = bytes.of(&MODES);
                self.open(who, name, mode);
            }
            4..=7 => self.lock(bytes, what),
            8 => {
                if let Some((call, ino)) = self.call(bytes) {
                    self.table.unlock(&self.now, &call).unwrap();
                    self.unlocked(ino, &call);
                }
            }
            9 | 10 => self.close(bytes.below(FILES)),
            11 => {
                self.show(name, bytes.flag());
                self.target = self.only(name);
                let _ = self
                    .table
                    .unlink(&self.now, &caller(who), (Ino::ROOT, name), false);
            }
            12 => {
                let new = bytes.of(&NAMES);
                self.show(name, bytes.flag());
                self.target = self.only(new);
                let _ = self.table.rename(
                    &self.now,
                    &caller(who),
                    (Ino::ROOT, name),
                    (Ino::ROOT, new),
                    RenameKind::Replace,
                );
            }
            13 => {
                let waits: Vec<WaitId> = self
                    .waits
                    .keys()
                    .chain(self.opens.keys())
                    .copied()
                    .collect();
                if !waits.is_empty() {
                    let wait = bytes.of(&waits);
                    self.table.leave(wait, Refusal::Interrupted, &self.now);
                }
            }
            14 => self.table.died(process(CAST[who].1), &self.now),
            _ => {
                let new = bytes.of(&NAMES);
                match (bytes.below(3), self.find(name)) {
                    (0, _) => {
                        let at = (Ino::ROOT, name);
                        let _ =
                            self.table
                                .make(&self.now, &caller(who), at, Make::File, true, None);
                    }
                    (1, Some(ino)) => {
                        let _ = self
                            .table
                            .link(&self.now, &caller(who), ino, (Ino::ROOT, new));
                    }
                    _ => {
                        let span = Duration::from_millis(u64::from(bytes.byte()) * 20);
                        self.now.boot.0 += span;
                        self.now.wall = self.now.wall.plus(span);
                        self.table.expire(&self.now);
                    }
                }
            }
        }
    }

    fn call(&self, bytes: &mut Bytes) -> Option<(LockCall, Ino)> {
        let (handle, who) = *self.files.get(bytes.below(FILES))?;
        let bits = bytes.byte();
        let class = if bits & 3 == 3 {
            Class::Fcntl
        } else {
            Class::Flock
        };
        let start = u64::from(bits >> 2) % 4;
        let range = match class {
            Class::Flock => Range::ALL,
            Class::Fcntl => Range {
                start,
                end: start + u64::from(bits >> 4) % 3,
            },
        };
        let owner = LockOwner(match class {
            Class::Flock => handle.0,
            Class::Fcntl => 1_000_000 + who as u64,
        });
        let call = LockCall {
            handle,
            class,
            owner,
            range,
            pid: Pid::new(CAST[who].1),
            started: Some(self.now.boot),
            user: caller(who).user,
        };
        Some((
            call,
            self.table
                .opened(handle)
                .expect("an open file has its inode"),
        ))
    }

    fn lock(&mut self, bytes: &mut Bytes, what: usize) {
        let Some((call, ino)) = self.call(bytes) else {
            return;
        };
        // A process that waits does nothing else with that file.
        if self
            .waits
            .values()
            .any(|waits| waits.call.key() == call.key())
        {
            return;
        }
        let kind = match bytes.byte() % 3 {
            0 => LockKind::Shared,
            _ => LockKind::Exclusive,
        };
        self.last += 1;
        let wait = (what > 5).then_some(WaitId(self.last));
        let who = self.files.iter().find(|(handle, _)| *handle == call.handle);
        let who = caller(who.unwrap().1);
        let mut tried = self.table.lock(&self.now, &call, kind, wait, None);
        if tried == Ok(Tried::AskWho) {
            tried = self.table.lock(&self.now, &call, kind, wait, Some(&who));
        }
        let waits = Waits { call, kind, ino };
        match tried {
            Ok(Tried::Granted) => {
                self.granted(waits);
                self.follow();
                let ino = self.table.opened(call.handle).unwrap();
                let has = self.locks.contains_key(&(ino, call.key()));
                assert!(has, "granted and lost at once");
            }
            Ok(Tried::Waits) => {
                self.converted(&waits);
                self.waits.insert(wait.expect("it may wait"), waits);
            }
            Ok(Tried::AskWho) => panic!("asks who it is though it was told"),
            Err(_) => self.converted(&waits),
        }
    }

    /// A flock that is to be converted is lost before the new one is granted.
    fn converted(&mut self, waits: &Waits) {
        if waits.call.class == Class::Flock {
            self.unlocked(waits.ino, &waits.call);
        }
    }

    fn granted(&mut self, waits: Waits) {
        let Waits { call, kind, ino } = waits;
        self.by.insert((ino, call.key()), call.handle);
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

    fn open(&mut self, who: usize, name: &[u8], mode: OpenMode) {
        if self.files.len() >= FILES {
            return;
        }
        let by = caller(who);
        let opened = match self.find(name) {
            Some(ino) => {
                self.last += 1;
                let wait = WaitId(self.last);
                // Mostly it is known what was looked up.
                if !self.last.is_multiple_of(8) {
                    let at = (Ino::ROOT, name);
                    self.table.walked(by.thread, by.uid(), at, ino);
                }
                match self.table.open(&self.now, &by, ino, mode, Some(wait)) {
                    Ok(Opened::Done(handle)) => Some(handle),
                    Ok(Opened::Waits) => {
                        self.opens.insert(wait, who);
                        None
                    }
                    Err(_) => None,
                }
            }
            None => {
                let at = (Ino::ROOT, name);
                let made = self
                    .table
                    .make(&self.now, &by, at, Make::File, false, Some(mode));
                made.ok().and_then(|(_, handle)| handle)
            }
        };
        if let Some(handle) = opened {
            self.files.push((handle, who));
        }
    }

    fn close(&mut self, at: usize) {
        let Some((handle, who)) = self.files.get(at).copied() else {
            return;
        };
        if self.waits.values().any(|waits| waits.call.handle == handle) {
            return;
        }
        self.files.remove(at);
        let owner = LockOwner(1_000_000 + who as u64);
        let ino = self
            .table
            .opened(handle)
            .expect("an open file has its inode");
        self.table.flush(&self.now, handle, owner);
        self.locks.remove(&(ino, Key::Owner(owner)));
        self.table.close(&self.now, handle);
        self.locks.remove(&(ino, Key::File(handle)));
    }

    /// Who has it open shows, as the daemon finds it, or nobody does.
    fn show(&mut self, name: &[u8], found: bool) {
        if let Some(ino) = self.find(name) {
            let files = self.table.locked_files(ino, 100);
            let shown = files.iter().filter_map(|file| file.opener);
            let shown = if found { shown.collect() } else { Vec::new() };
            self.table.show(ino, shown, None, "flock".to_owned());
        }
    }

    /// Believes what is told.
    fn follow(&mut self) {
        let moved = self.moved();
        for effect in self.table.take_effects() {
            match effect {
                Effect::Answer { wait, outcome } => {
                    if let Some(who) = self.opens.remove(&wait) {
                        if let Ok(handle) = outcome {
                            self.files.push((handle.expect("an open file"), who));
                        }
                        continue;
                    }
                    let waits = self.waits.remove(&wait);
                    let waits = waits.expect("answered once, and only who waits");
                    if outcome.is_ok() {
                        self.granted(waits);
                    }
                }
                // Given back or taken away: whoever has a lock has it no more.
                Effect::Released {
                    end: End::Unlinked { .. } | End::Replaced,
                    ..
                } => {
                    match self.target.take() {
                        Some((target, true)) => self.locks.retain(|(ino, _), _| *ino != target),
                        // By that name, not by another.
                        Some((_, false)) => self.locks.retain(|at, _| !moved.contains(at)),
                        None => {}
                    }
                }
                Effect::Watch(process) => assert!(self.watched.insert(process)),
                Effect::Unwatch(process) => assert!(self.watched.remove(&process)),
                _ => {}
            }
        }
    }

    fn check(&mut self) {
        let table = &self.table;
        let named = table.directory(Ino::ROOT).unwrap().after(0);
        self.seen.extend(named.map(|(_, _, ino)| ino));
        self.seen.extend(
            self.files
                .iter()
                .filter_map(|(handle, _)| table.opened(*handle)),
        );
        for (handle, _) in &self.files {
            let ino = table.opened(*handle).expect("an open file has its inode");
            assert!(table.node(ino).is_ok());
        }
        let mut kept = BTreeMap::new();
        let (mut queued, mut opening) = (0, 0);
        let mut hung_on = BTreeSet::new();
        for ino in &self.seen {
            let Ok(node) = table.node(*ino) else {
                continue;
            };
            for lock in &node.locks {
                kept.insert((*ino, lock.key), lock.kind());
                assert_eq!(table.opened(lock.handle), Some(*ino));
                // Who locks exclusively is alone, but for its own process.
                for other in &node.locks {
                    let own = lock.class() != other.class()
                        && (lock.pid == other.pid || lock.handle == other.handle);
                    let shared =
                        lock.kind() == LockKind::Shared && other.kind() == LockKind::Shared;
                    assert!(lock.key == other.key || own || shared, "{node:#?}");
                }
            }
            assert!(
                node.locks.is_empty() || !node.names.is_empty(),
                "a lock holds a board"
            );
            assert_eq!(node.claim.is_some(), !node.names.is_empty());
            if let Some(claim) = &node.claim {
                assert!(!claim.is_by_locks() || !node.locks.is_empty());
                if !claim.is_by_locks() {
                    hung_on.extend(claim.holder.lineage().iter().copied());
                }
            }
            for wait in &node.queue {
                assert!(self.waits.contains_key(wait), "nobody waits so");
            }
            for wait in &node.aside.opening {
                assert!(self.opens.contains_key(wait), "nobody opens so");
            }
            if !node.queue.is_empty() {
                let board = table.board_of(*ino);
                assert!(table.claim(board).is_some(), "they wait for nobody");
            }
            queued += node.queue.len();
            opening += node.aside.opening.len();
        }
        let believed: BTreeMap<_, _> = self
            .locks
            .iter()
            .map(|(at, bytes)| (*at, *bytes.values().max().unwrap()))
            .collect();
        assert_eq!(kept, believed, "what is believed is what is kept");
        assert_eq!((queued, opening), (self.waits.len(), self.opens.len()));
        assert_eq!(table.waiters(), queued);
        assert_eq!(self.watched, hung_on, "watched is who holds");
    }

    /// What is saved comes back: all of it on the same connection, else with
    /// those who opened the locked files.
    fn saved(&self) {
        let now = &self.now;
        let saved = self.table.saved(now);
        let boards = self.table.boards();
        for how in [Return::Connected, Return::SameBoot, Return::OtherBoot] {
            let mut back = Table::new(*self.table.options(), now);
            let restored = back.restore(now, saved.clone(), how, openers);
            assert_eq!(restored.lost, 0);
            if how != Return::OtherBoot {
                assert_eq!((restored.freed, back.boards()), (0, boards));
            }
            if how == Return::Connected {
                assert_eq!(back.waiters(), self.table.waiters());
                assert_eq!(
                    but_waiters(back.saved(now).unplaced()),
                    but_waiters(saved.clone().unplaced())
                );
            }
            back.take_effects();
            let again = back.saved(now);
            let mut second = Table::new(*self.table.options(), now);
            second.restore(now, again.clone(), Return::Connected, |_| Vec::new());
            assert_eq!(second.saved(now).unplaced(), again.unplaced());
        }
    }

    /// Nothing is left once everything was closed.
    fn end(&mut self) {
        while !self.waits.is_empty() || !self.opens.is_empty() {
            let waits: Vec<WaitId> = self
                .waits
                .keys()
                .chain(self.opens.keys())
                .copied()
                .collect();
            for wait in waits {
                self.table.leave(wait, Refusal::NoLocks, &self.now);
                self.follow();
            }
        }
        while !self.files.is_empty() {
            self.close(0);
            self.follow();
            self.check();
        }
        for (_, pid, _) in CAST {
            self.table.died(process(pid), &self.now);
        }
        self.follow();
        self.check();
        assert_eq!((self.table.boards(), self.table.residue()), (0, 0));
    }
}
