//! The interrupt of a request that waits, whenever it is read: it ends the wait
//! (`src/service/early.rs`, and how `src/service/locks.rs` uses it).

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::{Arc, Mutex};
use shuttle::thread;

use super::early::Early;
use super::order::{Seat, Turns};
use super::{LONG, READERS, both};

/// What the kernel sends. It sends an interrupt only of what was read before.
#[derive(Clone, Copy, Debug)]
enum Request {
    /// To lock, which looks into /proc first and then has to wait.
    Lock(u64),
    Interrupt(u64),
    Other,
}

/// What the lock on the table guards.
#[derive(Debug, Default)]
struct State {
    waiting: BTreeSet<u64>,
    early: Early<u64>,
    interrupted: BTreeSet<u64>,
}

struct Stage {
    turns: Turns,
    device: Mutex<VecDeque<Request>>,
    state: Mutex<State>,
    gone: Mutex<usize>,
}

impl Stage {
    fn read(&self) {
        let seat = Seat::new();
        while self.turns.begin(&seat) {
            let request = self.device.lock().unwrap().pop_front();
            match request {
                Some(Request::Lock(request)) => self.lock(&seat, request),
                Some(Request::Interrupt(request)) => self.interrupt(request),
                Some(Request::Other) => thread::yield_now(),
                None => break,
            }
        }
        self.turns.end(&seat);
        *self.gone.lock().unwrap() += 1;
    }

    fn lock(&self, seat: &Seat, request: u64) {
        seat.request.set(Some(request));
        // As `Service::may_be_put_aside`.
        self.state.lock().unwrap().early.begin(request);
        let turn = self.turns.wait(seat, Instant::now(), LONG).unwrap();
        for _ in 0..thread_rng().gen_range(0..4) {
            thread::yield_now();
        }
        assert!(self.turns.waited(turn));
        // As `Desk::put_aside`.
        let mut state = self.state.lock().unwrap();
        state.waiting.insert(request);
        if state.early.take(&request) {
            state.end(request);
        }
        state.early.end(&request);
    }

    /// As `Service::interrupted`.
    fn interrupt(&self, request: u64) {
        let mut state = self.state.lock().unwrap();
        match state.waiting.contains(&request) {
            true => state.end(request),
            false => state.early.keep(&request),
        }
    }

    fn attend(&self) {
        while *self.gone.lock().unwrap() < READERS {
            self.turns.look(Instant::now() + Duration::from_secs(1000));
            thread::yield_now();
        }
    }
}

impl State {
    fn end(&mut self, request: u64) {
        assert!(self.waiting.remove(&request));
        assert!(self.interrupted.insert(request), "interrupted twice");
    }
}

#[test]
fn an_interrupt_ends_the_wait_whenever_it_is_read() {
    both(|| {
        let interrupted: u64 = thread_rng().gen_range(1..4);
        let mut requests = VecDeque::new();
        for request in 1..4 {
            requests.push_back(Request::Lock(request));
            if thread_rng().gen_bool(0.5) {
                requests.push_back(Request::Other);
            }
            // Another's, that does not wait any more, or waits already.
            if request > interrupted && thread_rng().gen_bool(0.3) {
                requests.push_back(Request::Interrupt(99));
            }
            if request == interrupted {
                requests.push_back(Request::Interrupt(request));
            }
        }
        let stage = Arc::new(Stage {
            turns: Turns::new(Box::new(|_| panic!("given up")), Box::new(|_| ())),
            device: Mutex::new(requests),
            state: Mutex::new(State::default()),
            gone: Mutex::new(0),
        });
        let reads = |stage: Arc<Stage>| move || stage.read();
        let mut threads: Vec<_> = (0..READERS)
            .map(|_| thread::spawn(reads(Arc::clone(&stage))))
            .collect();
        let attends = Arc::clone(&stage);
        threads.push(thread::spawn(move || attends.attend()));
        for thread in threads {
            thread.join().unwrap();
        }
        let state = stage.state.lock().unwrap();
        assert!(state.interrupted.iter().eq([&interrupted]));
        assert_eq!(state.waiting.len(), 2);
    });
}
