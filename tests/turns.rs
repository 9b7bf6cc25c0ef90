//! Whose turn it is to read requests (`src/turn/order.rs`), in many orders in which
//! threads may come to it: the same code, with locks that hand the processor over
//! where shuttle says.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../src/turn/order.rs"]
#[allow(dead_code)]
mod order;

#[path = "../src/service/early.rs"]
mod early;
#[path = "turns/interrupts.rs"]
mod interrupts;
#[path = "turns/sync.rs"]
mod sync;

use std::time::{Duration, Instant};

use order::{Seat, Turns};
use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::{Arc, Mutex};
use shuttle::{check_pct, check_random, thread};

const READERS: usize = 3;

/// What a request comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// It is done at once.
    Plain,
    /// It may wait, for so long before it is given up.
    Waits(Option<Duration>),
    /// It waits until the one after it is done, as whoever is in execve(2) does.
    /// Given up or not.
    WaitsForNext(Option<Duration>),
    /// It waits until it is given up.
    WaitsForEnd,
}

/// So short that whoever looks finds it over, and so long that it never is.
const SHORT: Option<Duration> = Some(Duration::from_millis(1));
const LONG: Option<Duration> = Some(Duration::from_secs(1_000_000));

/// The device, the table, and what has become of the requests, by their numbers.
#[derive(Debug, Default)]
struct World {
    /// Those that are to be read, the last one first.
    unread: Vec<(u64, Kind)>,
    /// Whether a thread is between its turn's begin and what may have to wait.
    reading: bool,
    last_read: u64,
    /// Those that acted on the table, in that order.
    acted: Vec<u64>,
    given_up: Vec<u64>,
    /// Threads that are done.
    gone: usize,
    /// Whether it broke down, for sure.
    broken: bool,
}

struct Stage {
    turns: Turns,
    world: Arc<Mutex<World>>,
}

impl Stage {
    fn new(kinds: &[Kind]) -> Arc<Stage> {
        let mut unread: Vec<(u64, Kind)> = (1..).zip(kinds.iter().copied()).collect();
        unread.reverse();
        let world = Arc::new(Mutex::new(World {
            unread,
            ..World::default()
        }));
        let gives_up = Arc::clone(&world);
        let give_up = move |request| {
            let mut world = gives_up.lock().unwrap();
            assert!(!world.given_up.contains(&request), "given up twice");
            assert!(!world.acted.contains(&request), "given up when it was done");
            world.given_up.push(request);
        };
        Arc::new(Stage {
            turns: Turns::new(Box::new(give_up), Box::new(|_| ())),
            world,
        })
    }

    fn world<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        look(&mut self.world.lock().unwrap())
    }

    /// A thread of the session.
    fn read(&self) {
        let seat = Seat::new();
        loop {
            let was_broken = self.world(|world| world.broken);
            if !self.turns.begin(&seat) {
                break;
            }
            assert!(!was_broken, "a turn after it broke down");
            let read = self.world(|world| {
                assert!(!world.reading, "two read");
                world.reading = true;
                let read = world.unread.pop();
                if let Some((request, _)) = read {
                    assert_eq!(request, world.last_read + 1);
                    world.last_read = request;
                }
                read
            });
            let Some((request, kind)) = read else {
                self.world(|world| world.reading = false);
                break;
            };
            // What is answered without being a request has no number.
            seat.request.set(Some(request));
            self.carry_out(&seat, request, kind);
            if thread_rng().gen_bool(0.2) {
                self.turns.end(&seat);
            }
        }
        self.turns.end(&seat);
        self.world(|world| world.gone += 1);
    }

    fn carry_out(&self, seat: &Seat, request: u64, kind: Kind) {
        let (limit, until) = match kind {
            Kind::Plain => {
                thread::yield_now();
                self.world(|world| {
                    assert_eq!(world.last_read, request, "overtaken though it never waits");
                    world.acted.push(request);
                    world.reading = false;
                });
                return;
            }
            Kind::Waits(limit) => (limit, None),
            Kind::WaitsForNext(limit) => (limit, Some(request + 1)),
            Kind::WaitsForEnd => (SHORT, Some(request)),
        };
        // It may have to wait more than once.
        for _ in 0..thread_rng().gen_range(1..3) {
            self.world(|world| world.reading = false);
            let turn = self.turns.wait(seat, Instant::now(), limit).unwrap();
            while until.is_some_and(|other| !self.world(|world| world.is_over(other))) {
                thread::yield_now();
            }
            thread::yield_now();
            if !self.turns.waited(turn) {
                assert!(limit == SHORT, "given up without a limit");
                return;
            }
        }
        // Nobody begins meanwhile where nobody has overtaken it.
        let overtaken = self.turns.is_overtaking();
        self.world(|world| {
            assert!(!world.given_up.contains(&request), "acts though given up");
            assert!(
                overtaken || world.last_read == request,
                "nobody knows of it"
            );
            assert!(overtaken || !world.reading, "another reads");
            world.acted.push(request);
        });
    }

    /// Whoever looks at those who wait, until all are done.
    fn attend(&self) {
        while self.world(|world| world.gone) < READERS {
            self.turns.look(Instant::now() + Duration::from_secs(1000));
            thread::yield_now();
        }
    }

    /// Each was done, or given up, once.
    fn check(&self, count: usize) {
        self.world(|world| {
            let mut over = world.acted.clone();
            over.extend(&world.given_up);
            over.sort_unstable();
            let all: Vec<u64> = (1..=count as u64).collect();
            assert_eq!(over, all);
        });
        assert!(!self.turns.is_overtaking(), "somebody is behind for good");
    }
}

impl World {
    fn is_over(&self, request: u64) -> bool {
        self.broken || self.acted.contains(&request) || self.given_up.contains(&request)
    }
}

/// Plays these requests with a few threads; who looks at those who wait is there or
/// not.
fn play(kinds: &[Kind], attended: bool, then: impl FnOnce(&Stage)) -> Arc<Stage> {
    let stage = Stage::new(kinds);
    let mut threads: Vec<_> = (0..READERS)
        .map(|_| {
            let stage = Arc::clone(&stage);
            thread::spawn(move || stage.read())
        })
        .collect();
    if attended {
        let stage = Arc::clone(&stage);
        threads.push(thread::spawn(move || stage.attend()));
    }
    then(&stage);
    for thread in threads {
        thread.join().unwrap();
    }
    stage
}

fn some_kinds(last: Kind) -> Vec<Kind> {
    let all = [
        Kind::Plain,
        Kind::Waits(None),
        Kind::Waits(SHORT),
        Kind::Waits(LONG),
        Kind::WaitsForNext(None),
        Kind::WaitsForNext(SHORT),
        Kind::WaitsForEnd,
    ];
    let mut kinds = Vec::new();
    let mut in_a_row = 0;
    for _ in 0..thread_rng().gen_range(1..6) {
        let mut kind = all[thread_rng().gen_range(0..all.len())];
        in_a_row += 1;
        // One thread has to be left.
        if in_a_row == READERS || !matches!(kind, Kind::WaitsForNext(_)) {
            in_a_row = 0;
        }
        if in_a_row == 0 && matches!(kind, Kind::WaitsForNext(_)) {
            kind = Kind::Plain;
        }
        kinds.push(kind);
    }
    // One that waits for the next has one.
    kinds.push(last);
    kinds
}

fn both(check: fn()) {
    check_random(check, 400);
    check_pct(check, 400, 3);
}

#[test]
fn without_waits_requests_are_done_in_the_order_in_which_they_are_read() {
    both(|| {
        let stage = play(&[Kind::Plain; 5], true, |_| ());
        stage.check(5);
        stage.world(|world| assert_eq!(world.acted, [1, 2, 3, 4, 5]));
    });
}

#[test]
fn nobody_is_overtaken_but_by_whoever_looks() {
    both(|| {
        let kinds = [
            Kind::Waits(SHORT),
            Kind::Plain,
            Kind::Waits(None),
            Kind::Plain,
        ];
        let stage = play(&kinds, false, |_| ());
        stage.check(4);
        stage.world(|world| assert_eq!(world.acted, [1, 2, 3, 4]));
    });
}

#[test]
fn who_waits_is_overtaken_and_given_up_once_or_acts() {
    both(|| {
        let kinds = some_kinds(Kind::Plain);
        play(&kinds, true, |_| ()).check(kinds.len());
    });
}

#[test]
fn who_breaks_down_with_the_turn_leaves_nobody_waiting_for_it() {
    both(|| {
        let stage = Stage::new(&[]);
        let seat = Seat::new();
        assert!(stage.turns.begin(&seat));
        let waits = |stage: Arc<Stage>| move || assert!(!stage.turns.begin(&Seat::new()));
        let threads: Vec<_> = (0..READERS)
            .map(|_| thread::spawn(waits(Arc::clone(&stage))))
            .collect();
        thread::yield_now();
        stage.turns.break_off();
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn nobody_waits_for_a_turn_once_it_broke_down() {
    both(|| {
        let kinds = some_kinds(Kind::Waits(SHORT));
        play(&kinds, true, |stage| {
            thread::yield_now();
            stage.turns.break_off();
            stage.world(|world| world.broken = true);
        });
    });
}
