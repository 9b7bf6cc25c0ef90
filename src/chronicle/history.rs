//! The holds that ended.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::lock::effect::{End, Held};
use crate::lock::ids::Uid;
use crate::lock::time::Now;
use crate::printable::printable;
use crate::schema::Hold;

use super::{pid_of, text};

/// So many are kept.
const HOLDS: usize = 10_000;

/// So many of a user.
const OF_A_USER: usize = 2_000;

/// And no more than so many bytes of what is told of them, of all and of a user.
const BYTES: usize = 8 << 20;
const BYTES_OF_A_USER: usize = 2 << 20;

/// Those that are read from a file come before those that end meanwhile.
const FIRST: u64 = 1 << 32;

/// A hold that ended now; `name` names users.
pub fn ended(
    held: &Held,
    end: &End,
    after: Duration,
    now: &Now,
    name: &mut dyn FnMut(Uid) -> String,
) -> Hold {
    let locker = held.locker.filter(|_| held.by_locks);
    let holder = held.holder.map(|holder| holder.pid);
    Hold {
        board: printable(&held.path),
        holder: name(held.user.uid),
        uid: held.user.uid.0,
        pid: pid_of(holder.or(locker)),
        command: text(&held.command),
        via: text(&held.via),
        since: held.since.rfc3339(),
        ended: now.wall.rfc3339(),
        seconds: after.as_secs(),
        how: end.how().to_owned(),
        by: end.by().map(|user| name(user.uid)),
        token: held.token.0,
        kind: if held.by_locks { "lock" } else { "claim" }.to_owned(),
    }
}

/// One as a line.
pub fn line(hold: &Hold) -> Arc<str> {
    // Nothing in it can fail to be written so.
    serde_json::to_string(hold).unwrap_or_default().into()
}

/// The holds that ended last, each as a line.
#[derive(Debug, Default)]
pub struct History {
    lines: BTreeMap<u64, (Uid, Arc<str>)>,
    users: HashMap<Uid, Kept>,
    bytes: usize,
    last: u64,
    /// The last of those that were read from a file.
    read: u64,
    /// Whether there are more to be read from one.
    reading: bool,
    /// How often it has changed.
    changes: u64,
}

/// What is kept of a user.
#[derive(Debug, Default)]
struct Kept {
    holds: VecDeque<u64>,
    bytes: usize,
}

impl History {
    /// One more has ended, by whose doing it was made.
    pub fn add(&mut self, uid: Uid, line: Arc<str>) {
        self.last += 1;
        let number = FIRST.saturating_add(self.last);
        self.put(number, uid, line);
    }

    /// One that had ended before all that were added, and after all that were read.
    pub(super) fn add_read(&mut self, uid: Uid, line: Arc<str>) {
        self.read += 1;
        self.put(self.read, uid, line);
    }

    fn put(&mut self, number: u64, uid: Uid, line: Arc<str>) {
        self.changes += 1;
        self.bytes += line.len();
        let kept = self.users.entry(uid).or_default();
        kept.bytes += line.len();
        // Only what is read from a file is not the last one.
        let at = kept.holds.partition_point(|other| *other < number);
        kept.holds.insert(at, number);
        self.lines.insert(number, (uid, line));
        let too_much = |kept: &Kept| kept.holds.len() > OF_A_USER || kept.bytes > BYTES_OF_A_USER;
        while self.users.get(&uid).is_some_and(too_much) {
            self.forget_one_of(uid);
        }
        while self.lines.len() > HOLDS {
            self.forget_one(|kept| kept.holds.len());
        }
        while self.bytes > BYTES {
            self.forget_one(|kept| kept.bytes);
        }
    }

    /// Forgets the oldest of whoever has most.
    fn forget_one(&mut self, of: impl Fn(&Kept) -> usize) {
        let most = self.users.iter().max_by_key(|(_, kept)| of(kept));
        if let Some(uid) = most.map(|(uid, _)| *uid) {
            self.forget_one_of(uid);
        }
    }

    fn forget_one_of(&mut self, uid: Uid) {
        let Some(kept) = self.users.get_mut(&uid) else {
            return;
        };
        let gone = kept.holds.pop_front();
        if let Some((_, line)) = gone.and_then(|gone| self.lines.remove(&gone)) {
            kept.bytes = kept.bytes.saturating_sub(line.len());
            self.bytes = self.bytes.saturating_sub(line.len());
        }
        if kept.holds.is_empty() {
            self.users.remove(&uid);
        }
    }

    /// All of it, the oldest first.
    pub fn lines(&self) -> Vec<Arc<str>> {
        self.lines.values().map(|(_, line)| line.clone()).collect()
    }

    /// How long it is, as lines.
    pub(super) fn length(&self) -> u64 {
        (self.bytes + self.lines.len()) as u64
    }

    /// Grows with each change.
    pub fn changes(&self) -> u64 {
        self.changes
    }
}

/// The history, for those who add to it and those who read and write files.
#[derive(Debug, Default)]
pub struct Shared {
    history: Mutex<History>,
    read: Condvar,
}

impl Shared {
    /// The history, locked.
    pub fn lock(&self) -> parking_lot::MutexGuard<'_, History> {
        self.history.lock()
    }

    /// There is a file to be read.
    pub(super) fn begin_reading(&self) {
        self.history.lock().reading = true;
    }

    /// The file is read.
    pub(super) fn end_reading(&self) {
        self.history.lock().reading = false;
        self.read.notify_all();
    }

    /// All of it once the file is read; what there is where that takes long.
    pub fn all(&self, patience: Duration) -> Vec<Arc<str>> {
        let mut history = self.history.lock();
        let reading = |history: &mut History| history.reading;
        self.read.wait_while_for(&mut history, reading, patience);
        history.lines()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: Uid = Uid(1);
    const BOB: Uid = Uid(2);

    fn count(history: &History, of: &str) -> usize {
        let lines = history.lines();
        lines.iter().filter(|line| line.starts_with(of)).count()
    }

    #[test]
    fn a_user_drives_out_only_what_he_did_himself() {
        let mut history = History::default();
        for number in 0..100 {
            history.add(ALICE, format!("alice {number}").into());
        }
        for number in 0..3 * HOLDS {
            history.add(BOB, format!("bob {number}").into());
        }
        assert_eq!(count(&history, "alice"), 100);
        assert_eq!(count(&history, "bob"), OF_A_USER);
        let last = format!("bob {}", 3 * HOLDS - 1);
        assert_eq!(history.lines().last().map(|line| &**line), Some(&*last));
    }

    #[test]
    fn many_users_share_it() {
        let mut history = History::default();
        history.add(ALICE, "alice".into());
        for uid in 10..20 {
            for _ in 0..OF_A_USER {
                history.add(Uid(uid), "other".into());
            }
        }
        assert_eq!(count(&history, "alice"), 1);
        assert_eq!(history.lines.len(), HOLDS);
    }

    #[test]
    fn it_is_bounded_in_bytes() {
        let mut history = History::default();
        history.add(ALICE, "alice".into());
        let long: Arc<str> = "x".repeat(BYTES_OF_A_USER / 10).into();
        for _ in 0..100 {
            history.add(BOB, Arc::clone(&long));
        }
        assert_eq!(count(&history, "x"), 10);
        for uid in 10..100 {
            for _ in 0..10 {
                history.add(Uid(uid), Arc::clone(&long));
            }
        }
        assert!(history.bytes <= BYTES);
        assert_eq!(count(&history, "alice"), 1);
    }

    #[test]
    fn what_is_read_is_older_than_what_is_added() {
        let mut history = History::default();
        history.add(ALICE, "third".into());
        history.add_read(ALICE, "first".into());
        history.add(ALICE, "fourth".into());
        history.add_read(ALICE, "second".into());
        let lines = history.lines().join(" ");
        assert_eq!(lines, "first second third fourth");
        for _ in 0..OF_A_USER {
            history.add(ALICE, "later".into());
        }
        assert_eq!(count(&history, "later"), history.lines.len());
    }
}
