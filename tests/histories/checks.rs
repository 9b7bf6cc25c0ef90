//! The checker itself: histories that are right pass, and each kind of wrong
//! one is found.

use libtest_mimic::Trial;

use super::action::{Action, Family, How, Mode, Sure, Wait};
use super::history::{Death, History, Poke, Sent, Trace};
use super::judge::judge;
use super::model::Rules;
use super::record::{Answer, Record, Time, WAITERS};

pub fn tests() -> Vec<Trial> {
    trials![
        what_happens_in_turn_is_right;
        what_overlaps_may_have_come_in_any_order;
        what_was_cut_off_may_have_happened;
        the_ends_of_processes_are_in_time;
        the_queue_is_kept;
        the_kernel_may_do_more;
        two_holders_at_once_are_found;
        boards_of_nobody_are_found;
        what_outlives_its_holder_is_found;
        refusals_for_no_reason_are_found;
        waits_that_took_what_they_left_are_found;
        lost_unlocks_are_found;
        who_gets_ahead_is_found;
        queues_that_never_were_are_found;
    ]
}

/// A history that is told call by call. Each client's pid is its number and
/// 100, each call's times are given.
#[derive(Clone)]
struct Tale(History);

const EXCLUSIVE: Action = Action::Open(0, 0, How::Exclusive);
const APPEND: Action = Action::Open(0, 0, How::Append);
const EXISTING: Action = Action::Open(0, 0, How::Existing);
const CLOSE: Action = Action::Close(0, 0);
const UNLINK: Action = Action::Unlink(0, Sure::Anyhow);
const STAT: Action = Action::Stat(0);
const STATUS: Action = Action::Status(0);
const LINKS: Action = Action::Links(0, 0);
const UNLOCK: Action = Action::Unlock(0, 0, Family::Flock);
const TRY: Action = flock(Mode::Exclusive, Wait::No);
const SHARE: Action = flock(Mode::Shared, Wait::No);
const WAIT: Action = flock(Mode::Exclusive, Wait::Yes(2));
const WAIT_TO_SHARE: Action = flock(Mode::Shared, Wait::Yes(2));

const fn flock(mode: Mode, wait: Wait) -> Action {
    Action::Lock(0, 0, Family::Flock, mode, wait)
}

impl Tale {
    fn new() -> Tale {
        Tale(History::default())
    }

    fn trace(&mut self, client: usize) -> &mut Trace {
        while self.0.traces.len() <= client {
            self.0.traces.push(Trace {
                pid: 100 + u32::try_from(self.0.traces.len()).unwrap(),
                records: Vec::new(),
                sent: Vec::new(),
                death: None,
            });
        }
        &mut self.0.traces[client]
    }

    fn add(
        mut self,
        client: usize,
        action: Action,
        begin: Time,
        end: Option<(Time, Answer)>,
    ) -> Tale {
        self.trace(client).records.push(Record {
            action,
            begin,
            alarm: 0,
            end,
        });
        self
    }

    /// A client's call, its times, and its errno.
    fn did(self, client: usize, action: Action, (begin, end): (Time, Time), errno: i32) -> Tale {
        let value = i64::from(action == LINKS);
        let answer = answer(errno, value);
        self.add(client, action, begin, Some((end, answer)))
    }

    /// A link count of 0.
    fn unlinked(self, client: usize, (begin, end): (Time, Time)) -> Tale {
        self.add(client, LINKS, begin, Some((end, answer(0, 0))))
    }

    /// A status that shows this client as the holder, and these waiters.
    fn saw(self, client: usize, (begin, end): (Time, Time), holder: i64, queue: &[u32]) -> Tale {
        let mut answer = answer(0, 100 + holder);
        for (place, waiter) in answer.waiters.iter_mut().zip(queue) {
            *place = 100 + waiter;
        }
        self.add(client, STATUS, begin, Some((end, answer)))
    }

    /// A call that nobody was told the end of.
    fn cut(self, client: usize, action: Action, begin: Time) -> Tale {
        self.add(client, action, begin, None)
    }

    /// A client is killed, and reaped.
    fn killed(mut self, client: usize, from: Time, to: Time) -> Tale {
        self.trace(client).death = Some(Death { from, to });
        self
    }

    /// A wait that a signal ended.
    fn interrupted(
        mut self,
        client: usize,
        action: Action,
        (begin, end): (Time, Time),
        signal: Time,
    ) -> Tale {
        self.trace(client).sent.push(Sent {
            poke: Poke::Interrupt,
            begin: signal,
            end: signal,
        });
        let mut answer = answer(libc::EINTR, 0);
        answer.handled = 1;
        self.add(client, action, begin, Some((end, answer)))
    }

    #[track_caller]
    fn right(self) {
        if let Err(error) = judge(&self.0, &Rules::SERVED) {
            panic!("{error}");
        }
    }

    #[track_caller]
    fn wrong(self) {
        self.wrong_as("no order");
    }

    #[track_caller]
    fn wrong_as(self, words: &str) {
        match judge(&self.0, &Rules::SERVED) {
            Ok(_) => panic!("nothing was found wrong"),
            Err(error) => assert!(error.contains(words), "{error}"),
        }
    }
}

fn answer(errno: i32, value: i64) -> Answer {
    Answer {
        errno,
        value,
        handled: 0,
        waiters: [0; WAITERS],
    }
}

use libc::{EAGAIN, EEXIST, ENOENT, EPERM};

/// Client 0 has an exclusive flock from 3 on.
fn locked() -> Tale {
    Tale::new().did(0, APPEND, (0, 1), 0).did(0, TRY, (2, 3), 0)
}

fn what_happens_in_turn_is_right() {
    Tale::new()
        .did(0, EXCLUSIVE, (0, 1), 0)
        .did(1, EXCLUSIVE, (2, 3), EEXIST)
        .did(1, STAT, (4, 5), 0)
        .saw(1, (6, 7), 0, &[])
        .did(1, APPEND, (8, 9), 0)
        .did(1, TRY, (10, 11), EAGAIN)
        .did(1, UNLINK, (12, 13), EPERM)
        .did(0, UNLINK, (14, 15), 0)
        .did(1, STAT, (16, 17), ENOENT)
        .unlinked(1, (18, 19))
        .did(1, TRY, (20, 21), 0)
        .did(1, LINKS, (22, 23), 0)
        .did(0, EXCLUSIVE, (24, 25), EEXIST)
        .did(1, CLOSE, (26, 27), 0)
        .did(1, EXISTING, (28, 29), ENOENT)
        .right();
    // A lock ends the claim of the file that claimed, tried or granted.
    Tale::new()
        .did(0, EXCLUSIVE, (0, 1), 0)
        .did(0, TRY, (2, 3), 0)
        .did(0, UNLOCK, (4, 5), 0)
        .did(0, STAT, (6, 7), ENOENT)
        .right();
    // A claim is no open file's: it outlasts it.
    Tale::new()
        .did(0, EXCLUSIVE, (0, 1), 0)
        .did(0, CLOSE, (2, 3), 0)
        .did(1, EXCLUSIVE, (4, 5), EEXIST)
        .right();
    // Shared is shared; the status can show any of them.
    Tale::new()
        .did(0, APPEND, (0, 1), 0)
        .did(0, SHARE, (2, 3), 0)
        .did(1, APPEND, (4, 5), 0)
        .did(1, SHARE, (6, 7), 0)
        .did(1, TRY, (8, 9), EAGAIN)
        .saw(2, (10, 11), 0, &[])
        .right();
    // What a process locked by fcntl(2) goes when it closes any of its files.
    let posix = Action::Lock(0, 0, Family::Posix, Mode::Exclusive, Wait::No);
    Tale::new()
        .did(0, APPEND, (0, 1), 0)
        .did(0, posix, (2, 3), 0)
        .saw(0, (4, 5), 0, &[])
        .did(1, STAT, (6, 7), ENOENT)
        .right();
}

fn what_overlaps_may_have_come_in_any_order() {
    let race = |first, second| {
        Tale::new()
            .did(0, EXCLUSIVE, (0, 10), first)
            .did(1, EXCLUSIVE, (0, 10), second)
    };
    race(0, EEXIST).right();
    race(EEXIST, 0).right();
    race(0, 0).wrong();
    race(EEXIST, EEXIST).wrong();
    // Who waits is granted in the unlock, before it or the wait returns.
    locked()
        .did(1, EXISTING, (4, 5), 0)
        .did(1, WAIT, (6, 20), 0)
        .did(0, UNLOCK, (10, 22), 0)
        .did(2, EXCLUSIVE, (21, 23), EEXIST)
        .right();
}

fn what_was_cut_off_may_have_happened() {
    let cut = Tale::new().cut(0, EXCLUSIVE, 0).killed(0, 5, 10);
    cut.clone().did(1, EXCLUSIVE, (6, 7), EEXIST).right();
    cut.clone().did(1, EXCLUSIVE, (6, 7), 0).right();
    cut.clone().did(1, EXCLUSIVE, (11, 12), 0).right();
    cut.did(1, EXCLUSIVE, (11, 12), EEXIST).wrong();
    // It had the lock, or not, and has it no more.
    let waited = locked()
        .did(1, EXISTING, (4, 5), 0)
        .cut(1, WAIT, 6)
        .did(0, UNLOCK, (7, 8), 0)
        .killed(1, 10, 12)
        .did(0, EXISTING, (20, 21), ENOENT);
    waited.clone().did(2, EXCLUSIVE, (9, 10), EEXIST).right();
    waited
        .did(2, EXCLUSIVE, (9, 10), 0)
        .did(2, UNLINK, (13, 14), 0)
        .right();
}

fn the_ends_of_processes_are_in_time() {
    let held = Tale::new().did(0, EXCLUSIVE, (0, 1), 0).killed(0, 10, 20);
    held.clone().did(1, EXCLUSIVE, (12, 18), 0).right();
    held.clone().did(1, EXCLUSIVE, (12, 18), EEXIST).right();
    held.clone().did(1, EXCLUSIVE, (15, 25), EEXIST).right();
    held.clone().did(1, EXCLUSIVE, (21, 25), 0).right();
    // Not yet, and too late.
    held.clone().did(1, EXCLUSIVE, (2, 9), 0).wrong();
    held.did(1, EXCLUSIVE, (21, 25), EEXIST).wrong();
}

/// Client 0 has the board, and 1 and 2 are seen to wait, in this order.
fn queue(first: Action, second: Action) -> Tale {
    locked()
        .did(1, EXISTING, (4, 5), 0)
        .did(2, EXISTING, (4, 5), 0)
        .saw(3, (20, 21), 0, &[1, 2])
        .did(0, UNLOCK, (30, 31), 0)
        .did(1, first, (10, 40), 0)
        .did(2, second, (10, 35), 0)
}

fn the_queue_is_kept() {
    locked()
        .did(1, EXISTING, (4, 5), 0)
        .did(2, EXISTING, (4, 5), 0)
        .saw(3, (20, 21), 0, &[1, 2])
        .did(0, UNLOCK, (30, 31), 0)
        .did(1, WAIT, (10, 40), 0)
        .did(1, UNLOCK, (41, 42), 0)
        .did(2, WAIT, (10, 45), 0)
        .right();
    queue(WAIT_TO_SHARE, WAIT_TO_SHARE).right();
    // Nobody saw them: they may have come in the other order.
    locked()
        .did(1, EXISTING, (4, 5), 0)
        .did(2, EXISTING, (4, 5), 0)
        .did(0, UNLOCK, (30, 31), 0)
        .did(1, WAIT, (10, 50), 0)
        .did(2, WAIT, (10, 35), 0)
        .did(2, UNLOCK, (41, 42), 0)
        .right();
    // The first gave up, or was killed.
    let second = |tale: Tale| {
        tale.did(1, EXISTING, (4, 5), 0)
            .did(2, EXISTING, (4, 5), 0)
            .saw(3, (20, 21), 0, &[1, 2])
            .did(2, WAIT, (10, 35), 0)
    };
    let unlocked = || locked().did(0, UNLOCK, (30, 31), 0);
    second(unlocked())
        .interrupted(1, WAIT, (10, 33), 25)
        .right();
    second(unlocked())
        .cut(1, WAIT, 10)
        .killed(1, 32, 36)
        .right();
    // Who only tries to share may do so beside who waits.
    Tale::new()
        .did(0, APPEND, (0, 1), 0)
        .did(0, SHARE, (2, 3), 0)
        .did(1, EXISTING, (4, 5), 0)
        .did(2, EXISTING, (4, 5), 0)
        .saw(3, (20, 21), 0, &[1])
        .did(2, SHARE, (22, 23), 0)
        .did(0, UNLOCK, (30, 31), 0)
        .did(2, UNLOCK, (32, 33), 0)
        .did(1, WAIT, (10, 40), 0)
        .right();
}

fn the_kernel_may_do_more() {
    let tale = Tale::new()
        .did(0, APPEND, (0, 1), 0)
        .did(0, TRY, (2, 3), 0)
        .did(1, APPEND, (4, 5), 0)
        .did(
            1,
            Action::Lock(0, 0, Family::Posix, Mode::Exclusive, Wait::No),
            (6, 7),
            0,
        );
    assert!(judge(&tale.0, &Rules::BARE).is_ok());
    tale.wrong();
}

fn two_holders_at_once_are_found() {
    // Two claims, two locks, and one of each.
    Tale::new()
        .did(0, EXCLUSIVE, (0, 1), 0)
        .did(1, EXCLUSIVE, (2, 3), 0)
        .wrong();
    let other = || locked().did(1, EXISTING, (4, 5), 0);
    other().did(1, TRY, (6, 7), 0).wrong();
    other().did(1, SHARE, (6, 7), 0).wrong();
    other().did(1, WAIT, (6, 7), 0).wrong();
    other()
        .did(1, WAIT, (6, 20), 0)
        .did(0, UNLOCK, (21, 22), 0)
        .wrong();
    locked().did(1, EXCLUSIVE, (4, 5), 0).wrong();
    Tale::new()
        .did(0, EXCLUSIVE, (0, 1), 0)
        .did(1, EXISTING, (2, 3), 0)
        .did(1, TRY, (4, 5), 0)
        .wrong();
    // Locks of two kinds, of two processes.
    let posix = Action::Lock(0, 0, Family::Posix, Mode::Exclusive, Wait::No);
    other().did(1, posix, (6, 7), 0).wrong();
}

fn boards_of_nobody_are_found() {
    Tale::new().did(0, STAT, (0, 1), 0).wrong();
    Tale::new().did(0, EXCLUSIVE, (0, 1), EEXIST).wrong();
    Tale::new().did(0, EXISTING, (0, 1), 0).wrong();
    Tale::new().saw(0, (0, 1), 0, &[]).wrong();
    // Another is shown than has it, or one that nobody knows, or nobody.
    let held = || {
        Tale::new()
            .did(0, EXCLUSIVE, (0, 1), 0)
            .did(1, STAT, (0, 1), 0)
    };
    held().saw(2, (2, 3), 0, &[]).right();
    held().saw(2, (2, 3), 1, &[]).wrong();
    held().saw(2, (2, 3), 77, &[]).wrong();
    held().saw(2, (2, 3), -100, &[]).wrong();
    // An open file of a free board has no links, of a held one it has.
    locked().unlinked(0, (4, 5)).wrong();
    locked()
        .did(0, UNLOCK, (4, 5), 0)
        .did(0, LINKS, (6, 7), 0)
        .wrong();
    // A held board has a file.
    locked().did(1, STAT, (4, 5), ENOENT).wrong();
    locked().did(0, STATUS, (4, 5), ENOENT).wrong();
    locked().did(1, UNLINK, (4, 5), ENOENT).wrong();
}

fn what_outlives_its_holder_is_found() {
    let dead = || Tale::new().did(0, EXCLUSIVE, (0, 1), 0).killed(0, 10, 20);
    dead().did(1, STAT, (21, 22), 0).wrong();
    dead().did(1, EXCLUSIVE, (21, 22), EEXIST).wrong();
    let dead = || locked().did(1, EXISTING, (4, 5), 0).killed(0, 10, 20);
    dead().did(1, TRY, (21, 22), EAGAIN).wrong();
    dead().did(1, STAT, (21, 22), 0).wrong();
    // Or does not live as long as it.
    dead().did(1, TRY, (8, 9), 0).wrong();
    locked().did(1, EXCLUSIVE, (4, 5), 0).wrong();
}

fn refusals_for_no_reason_are_found() {
    Tale::new()
        .did(0, APPEND, (0, 1), 0)
        .did(0, TRY, (2, 3), EAGAIN)
        .wrong();
    Tale::new()
        .did(0, APPEND, (0, 1), 0)
        .did(0, SHARE, (2, 3), 0)
        .did(1, EXISTING, (4, 5), 0)
        .did(1, SHARE, (6, 7), EAGAIN)
        .wrong();
    // The holder may always unlink.
    Tale::new()
        .did(0, EXCLUSIVE, (0, 1), 0)
        .did(0, UNLINK, (2, 3), EPERM)
        .wrong();
    locked().did(0, UNLINK, (4, 5), EPERM).wrong();
    // An answer that there is none such.
    locked().did(1, EXISTING, (4, 5), libc::EBUSY).wrong();
}

fn waits_that_took_what_they_left_are_found() {
    let left = || {
        locked()
            .did(1, EXISTING, (4, 5), 0)
            .interrupted(1, WAIT, (6, 10), 8)
            .did(0, UNLOCK, (11, 12), 0)
    };
    left().did(2, STAT, (13, 14), ENOENT).right();
    left().did(2, STAT, (13, 14), 0).wrong();
    left().did(2, EXCLUSIVE, (13, 14), EEXIST).wrong();
    // Nobody was in its way.
    Tale::new()
        .did(0, APPEND, (0, 1), 0)
        .interrupted(0, WAIT, (2, 10), 8)
        .wrong();
    // No signal came.
    locked()
        .did(1, EXISTING, (4, 5), 0)
        .did(1, WAIT, (6, 10), libc::EINTR)
        .wrong_as("no signal");
}

fn lost_unlocks_are_found() {
    let after = |action| {
        locked()
            .did(1, EXISTING, (4, 5), 0)
            .did(0, action, (6, 7), 0)
    };
    for action in [UNLOCK, CLOSE, UNLINK] {
        after(action).did(1, STAT, (8, 9), ENOENT).right();
        after(action).did(1, TRY, (8, 9), EAGAIN).wrong();
        after(action).did(1, STAT, (8, 9), 0).wrong();
    }
    // What was not unlocked was not.
    let shared = locked().did(0, SHARE, (4, 5), 0).did(0, UNLOCK, (6, 7), 0);
    shared.did(1, EXCLUSIVE, (8, 9), EEXIST).wrong();
}

fn who_gets_ahead_is_found() {
    const AHEAD: &str = "got ahead in the queue";
    let unlocked = |tale: Tale| tale.did(2, UNLOCK, (36, 37), 0);
    unlocked(queue(WAIT, WAIT)).wrong_as(AHEAD);
    unlocked(queue(WAIT, WAIT_TO_SHARE)).wrong_as(AHEAD);
    unlocked(queue(WAIT_TO_SHARE, WAIT)).wrong_as(AHEAD);
    // Who came later, and who does not wait at all.
    let waits = || {
        locked()
            .did(1, EXISTING, (4, 5), 0)
            .did(2, EXISTING, (4, 5), 0)
            .saw(3, (20, 21), 0, &[1])
            .did(0, UNLOCK, (30, 31), 0)
            .did(1, WAIT, (10, 50), 0)
    };
    for action in [TRY, SHARE, WAIT, WAIT_TO_SHARE] {
        let ahead = waits()
            .did(2, action, (22, 40), 0)
            .did(2, UNLOCK, (41, 42), 0);
        ahead.wrong_as(AHEAD);
    }
    waits()
        .did(4, EXCLUSIVE, (22, 40), 0)
        .did(4, UNLINK, (41, 42), 0)
        .wrong_as(AHEAD);
    // A signal that came too late to explain it.
    locked()
        .did(1, EXISTING, (4, 5), 0)
        .did(2, EXISTING, (4, 5), 0)
        .saw(3, (20, 21), 0, &[1, 2])
        .did(0, UNLOCK, (30, 31), 0)
        .did(2, WAIT, (10, 35), 0)
        .interrupted(1, WAIT, (10, 40), 38)
        .wrong_as(AHEAD);
}

fn queues_that_never_were_are_found() {
    locked().saw(1, (4, 5), 0, &[2]).wrong_as("does not");
    locked()
        .did(1, EXISTING, (4, 5), 0)
        .did(1, WAIT, (20, 30), 0)
        .did(0, UNLOCK, (25, 26), 0)
        .saw(2, (10, 11), 0, &[1])
        .wrong_as("does not");
}
