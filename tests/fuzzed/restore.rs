//! State files whose frames are whole and whose contents contradict each other: what
//! is restored is a table all the same, which gives no board to two, goes on, and
//! comes back once more as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use boardlock::lock::acquire::Make;
use boardlock::lock::caller::{Caller, Chain, Standing};
use boardlock::lock::claim::Holder;
use boardlock::lock::effect::Effect;
use boardlock::lock::file_lock::{Class, LockCall, LockKind, Range};
use boardlock::lock::ids::{Gid, Handle, Ino, LockOwner, ProcessId, Uid, User, WaitId};
use boardlock::lock::locking::Tried;
use boardlock::lock::node::{Body, Node};
use boardlock::lock::open::{OpenMode, Opened};
use boardlock::lock::options::Options;
use boardlock::lock::rename::RenameKind;
use boardlock::lock::restored::Return;
use boardlock::lock::saved::Key;
use boardlock::lock::time::{BootTime, Now, Timestamp};
use boardlock::lock::{Refusal, Table};
use boardlock::store::format::{MAGIC, Owner, enclose, push, read};

use super::bytes::Bytes;
use super::locks::{CAST, but_waiters, caller, openers, process};
use super::written::{FILES, INODES, NAMES, WAITS, frame};

const STEPS: usize = 12;

pub fn check(data: &[u8]) {
    let mut bytes = Bytes(data);
    let mut file = MAGIC.to_vec();
    let owner = Owner {
        dir: b"/locks".to_vec(),
        boot: "boot".to_owned(),
        pids: 1,
    };
    push(&mut file, &owner).unwrap();
    for _ in 0..=bytes.below(3) {
        enclose(&mut file, &frame(&mut bytes)).unwrap();
    }
    let content = read(&file).expect("frames that are whole are read");
    for how in [Return::Connected, Return::SameBoot, Return::OtherBoot] {
        let now = Now {
            wall: Timestamp::from_secs(1_000_000_000),
            boot: BootTime(Duration::from_secs(5000)),
        };
        let mut play = Play {
            table: Table::new(Options::default(), &now),
            now,
            watched: BTreeSet::new(),
            waits: BTreeSet::new(),
            last: 1000,
            seen: (1..=INODES as u64).map(Ino).collect(),
        };
        play.table.track();
        play.table
            .restore(&now, content.saved.clone(), how, openers);
        if how == Return::Connected {
            let waits = content.saved.values.keys().filter_map(|key| match key {
                Key::Wait(wait) => Some(*wait),
                _ => None,
            });
            play.waits.extend(waits);
        }
        play.look();
        let mut bytes = Bytes(bytes.0);
        for _ in 0..STEPS {
            if bytes.is_over() {
                break;
            }
            play.step(&mut bytes);
            play.look();
        }
        play.again();
        play.end();
    }
}

struct Play {
    table: Table,
    now: Now,
    watched: BTreeSet<ProcessId>,
    /// The requests that may wait.
    waits: BTreeSet<WaitId>,
    last: u64,
    /// All inodes that there ever were.
    seen: BTreeSet<Ino>,
}

impl Play {
    fn step(&mut self, bytes: &mut Bytes) {
        let what = bytes.below(10);
        let by = caller(bytes.below(CAST.len()));
        let dir = Ino(1 + bytes.below(INODES) as u64);
        let name = bytes.of(&NAMES);
        let now = self.now;
        match what {
            0 => {
                let mode = OpenMode {
                    write: bytes.flag(),
                    append: bytes.flag(),
                    again: bytes.flag(),
                    ..OpenMode::default()
                };
                if !mode.append {
                    let at = (Ino::ROOT, name);
                    self.table.walked(by.thread, by.uid(), at, dir);
                }
                let wait = self.wait();
                let opened = self.table.open(&now, &by, dir, mode, Some(wait));
                if opened != Ok(Opened::Waits) {
                    self.waits.remove(&wait);
                }
            }
            1 => {
                // An open file is made of a file alone.
                let (make, mode) = match bytes.below(3) {
                    0 => (Make::Directory, None),
                    1 => (Make::File, None),
                    _ => (Make::File, Some(OpenMode::default())),
                };
                let at = (dir, name);
                let _ = self.table.make(&now, &by, at, make, bytes.flag(), mode);
            }
            2 => {
                let _ = self.table.unlink(&now, &by, (dir, name), bytes.flag());
            }
            3 | 4 => self.lock(bytes, &by),
            5 => {
                // Nobody waits through a file any more once it is closed.
                self.leave();
                self.table.close(&now, Handle(bytes.below(FILES) as u64));
            }
            6 => {
                let other = Ino(1 + bytes.below(INODES) as u64);
                let to = (other, bytes.of(&NAMES));
                let _ = match bytes.flag() {
                    true => self
                        .table
                        .rename(&now, &by, (dir, name), to, RenameKind::Replace),
                    false => self.table.link(&now, &by, other, (dir, name)),
                };
            }
            7 => {
                let who = process(CAST[bytes.below(CAST.len())].1);
                self.table.died(who, &now);
            }
            8 => {
                let wait = WaitId(bytes.below(WAITS as usize) as u64);
                let refusal = bytes.of(&[Refusal::Interrupted, Refusal::NoLocks]);
                self.table.leave(wait, refusal, &now);
            }
            _ => {
                let span = Duration::from_millis(u64::from(bytes.byte()) * 100);
                self.now.boot.0 += span;
                self.now.wall = self.now.wall.plus(span);
                let now = self.now;
                self.table.expire(&now);
            }
        }
    }

    fn leave(&mut self) {
        for wait in self.waits.clone() {
            self.table.leave(wait, Refusal::NoLocks, &self.now);
        }
        self.look();
    }

    fn wait(&mut self) -> WaitId {
        self.last += 1;
        self.waits.insert(WaitId(self.last));
        WaitId(self.last)
    }

    fn lock(&mut self, bytes: &mut Bytes, by: &Caller) {
        let handle = Handle(bytes.below(FILES) as u64);
        let class = bytes.of(&[Class::Flock, Class::Fcntl]);
        let kind = bytes.of(&[LockKind::Shared, LockKind::Exclusive]);
        let call = LockCall {
            handle,
            class,
            owner: LockOwner(match class {
                Class::Flock => handle.0,
                Class::Fcntl => bytes.below(3) as u64,
            }),
            range: Range::ALL,
            pid: by.requester.map(|process| process.pid),
            started: Some(self.now.boot),
            user: by.user,
        };
        if bytes.below(4) == 0 {
            let _ = self.table.unlock(&self.now, &call);
            return;
        }
        let wait = self.wait();
        let tried = self
            .table
            .lock(&self.now, &call, kind, Some(wait), Some(by));
        if tried != Ok(Tried::Waits) {
            self.waits.remove(&wait);
        }
    }

    /// What must hold of each table.
    fn look(&mut self) {
        for effect in self.table.take_effects() {
            match effect {
                Effect::Watch(process) => assert!(self.watched.insert(process)),
                Effect::Unwatch(process) => assert!(self.watched.remove(&process)),
                Effect::Answer { wait, .. } => assert!(self.waits.remove(&wait), "{wait:?}"),
                _ => {}
            }
        }
        let mut names = BTreeMap::new();
        let mut dirs = vec![Ino::ROOT];
        while let Some(dir) = dirs.pop() {
            for (_, name, ino) in self.table.directory(dir).unwrap().after(0) {
                let before = names.insert((dir, name.clone()), ino);
                assert_eq!(before, None);
                if self.table.directory(ino).is_ok() {
                    dirs.push(ino);
                }
            }
            assert!(names.len() < 1000, "a directory within itself");
        }
        // Directories that were laid out are no boards.
        let boards = names.values().filter(|ino| !self.table.is_laid_out(**ino));
        assert_eq!(self.table.boards(), boards.count());
        self.seen.extend(self.table.numbers());
        let (mut hung_on, mut claims, mut queued) = (BTreeSet::new(), BTreeSet::new(), 0);
        for ino in self.seen.iter().copied() {
            let Ok(node) = self.table.node(ino) else {
                continue;
            };
            let named: BTreeSet<_> = node.names.iter().cloned().collect();
            assert_eq!(named.len(), node.names.len(), "{node:#?}");
            assert!(named.iter().all(|name| names.get(name) == Some(&ino)));
            assert_eq!(names.values().filter(|at| **at == ino).count(), named.len());
            self.look_at(ino, node);
            if let Some(claim) = &node.claim {
                assert!(claims.insert(claim.id), "two holds are one");
                hung_on.extend(claim.holder.lineage().iter().copied());
            }
            queued += node.queue.len();
        }
        assert_eq!(self.watched, hung_on, "watched is who holds");
        assert_eq!(self.table.waiters(), queued);
    }

    fn look_at(&self, ino: Ino, node: &Node) {
        let table = &self.table;
        let kept = ino == Ino::ROOT || !node.names.is_empty() || !node.opens.is_empty();
        assert!(kept, "forgotten when unused: {node:#?}");
        let held = node.claim.is_some() || node.laid_out;
        assert_eq!(held, !node.names.is_empty(), "{node:#?}");
        assert!(node.names.is_empty() || node.aside.former.is_empty());
        for handle in &node.opens {
            assert_eq!(table.opened(*handle), Some(ino));
            assert!(!node.is_directory(), "{node:#?}");
        }
        for (at, lock) in node.locks.iter().enumerate() {
            assert!(!lock.is_empty() && !node.names.is_empty());
            assert_eq!(table.opened(lock.handle), Some(ino));
            for other in &node.locks[..at] {
                let own = lock.class() != other.class()
                    && (lock.pid == other.pid || lock.handle == other.handle);
                let shared = lock.kind() == LockKind::Shared && other.kind() == LockKind::Shared;
                assert!(lock.key != other.key && (own || shared), "{node:#?}");
            }
        }
        if let Some(claim) = &node.claim {
            match &claim.holder {
                Holder::Process(lineage) => assert!(!lineage.is_empty(), "nobody holds it"),
                Holder::Gone => {
                    assert!(node.directory().is_some_and(|inside| !inside.is_empty()));
                }
                Holder::Files(_) => assert!(!node.locks.is_empty(), "nothing holds it"),
                Holder::Detached => {}
            }
            let status = table.status(ino, &self.now);
            assert!(status.render(|_| "user".to_owned()).ends_with('\n'));
        } else if let Body::File(content) = &node.body {
            assert!(content.is_empty(), "content ends with the hold");
        }
        assert!(!table.path(ino).is_empty() || ino == Ino::ROOT || node.names.is_empty());
        assert!(table.attributes(ino, &self.now).is_ok());
        for wait in &node.queue {
            assert!(self.waits.contains(wait), "nobody waits so");
            // One that the inventory has no longer stays until it is empty.
            let board = table.board_of(ino);
            let in_the_way = table.claim(board).is_some() || table.is_laid_out(board);
            assert!(in_the_way, "for nobody");
        }
        for wait in &node.aside.opening {
            assert!(self.waits.contains(wait), "nobody opens so");
        }
    }

    /// What is saved of it has no contradictions.
    fn again(&self) {
        let saved = self.table.saved(&self.now);
        let mut back = Table::new(*self.table.options(), &self.now);
        let restored = back.restore(&self.now, saved.clone(), Return::Connected, |_| Vec::new());
        assert_eq!((restored.lost, restored.freed), (0, 0));
        assert_eq!(
            but_waiters(back.saved(&self.now).unplaced()),
            but_waiters(saved.unplaced())
        );
    }

    fn open_file(&self) -> Option<Handle> {
        let numbers = self.table.numbers().into_iter();
        let mut nodes = numbers.filter_map(|ino| self.table.node(ino).ok());
        nodes.find_map(|node| node.opens.first().copied())
    }

    /// Nothing is left once everything was closed and given back.
    fn end(&mut self) {
        self.leave();
        // Who was sent back does not come again.
        self.now.boot.0 += Duration::from_secs(600);
        self.table.expire(&self.now);
        // Closing one may part others from its inode.
        while let Some(handle) = self.open_file() {
            self.table.close(&self.now, handle);
        }
        let kept = self.table.saved(&self.now);
        for key in kept.values.keys() {
            if let Key::Watcher(handle) = key {
                self.table.unwatched(*handle);
            }
        }
        for process in self.watched.clone() {
            self.table.died(process, &self.now);
        }
        self.look();
        for process in self.watched.clone() {
            self.table.died(process, &self.now);
        }
        let root = Caller {
            standing: Standing::Detached(Chain::default()),
            ..Caller::unknown(User {
                uid: Uid::ROOT,
                gid: Gid(0),
            })
        };
        for _ in 0..self.seen.len() {
            for dir in self.seen.iter().copied() {
                let Ok(directory) = self.table.directory(dir) else {
                    continue;
                };
                let names = directory.after(0).map(|(_, name, _)| name.clone());
                let names: Vec<_> = names.collect();
                for name in names {
                    for rmdir in [false, true] {
                        let _ = self.table.unlink(&self.now, &root, (dir, &name), rmdir);
                    }
                }
            }
        }
        self.look();
        assert_eq!((self.table.boards(), self.table.residue()), (0, 0));
    }
}
