//! Whose turn it is, as such: no clock, no timer and no threads of its own. What it
//! locks and waits with is `super::sync`'s, so that a test can try each order in which
//! threads may come to it (tests/turns.rs).

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::sync::{Condvar, Mutex};

/// A moment: what is read from /proc when nothing is in the way takes a fraction
/// of it.
pub const MOMENT: Duration = Duration::from_millis(10);

/// Gives a request up, known by its number, which is answered nevertheless.
pub type GiveUp = dyn Fn(u64) + Send + Sync;

/// Has [`Turns::look`] called after so long.
pub type Alarm = dyn Fn(Duration) + Send + Sync;

/// Turns among the threads that read requests.
pub struct Turns {
    inner: Mutex<Inner>,
    free: Condvar,
    give_up: Box<GiveUp>,
    alarm: Box<Alarm>,
}

/// What a thread knows of itself.
#[derive(Debug)]
pub struct Seat {
    /// The turn that it was given last, if it is not done with it.
    turn: Cell<Option<u64>>,
    /// The number of the request that it is at.
    pub request: Cell<Option<u64>>,
}

impl Seat {
    pub const fn new() -> Seat {
        Seat {
            turn: Cell::new(None),
            request: Cell::new(None),
        }
    }
}

#[derive(Debug, Default)]
struct Inner {
    /// The turn that is on; none while nobody has one.
    current: Option<u64>,
    last: u64,
    /// That which whose turn it is may be waiting in.
    waits: Option<Wait>,
    /// The same of those that were overtaken.
    overtaken: Vec<Wait>,
    /// When the alarm rings, as far as it is set.
    rings: Option<Instant>,
    /// How many threads have lost their turn and are not done yet.
    behind: usize,
    /// Whether nothing may be served any more.
    broken: bool,
}

#[derive(Clone, Copy, Debug)]
struct Wait {
    turn: u64,
    request: Option<u64>,
    begun: Instant,
    limit: Option<Duration>,
    given_up: bool,
}

impl Wait {
    /// When it is given up.
    fn end(&self) -> Option<Instant> {
        let limit = self.limit.filter(|_| !self.given_up)?;
        self.request?;
        self.begun.checked_add(limit)
    }
}

impl Turns {
    pub fn new(give_up: Box<GiveUp>, alarm: Box<Alarm>) -> Turns {
        Turns {
            inner: Mutex::new(Inner::default()),
            free: Condvar::new(),
            give_up,
            alarm,
        }
    }

    /// Takes the turn, which this thread may have already; false when nothing is
    /// to be served any more.
    pub fn begin(&self, seat: &Seat) -> bool {
        seat.request.set(None);
        let mut inner = self.inner.lock();
        if seat.turn.get().is_none() || seat.turn.get() != inner.current {
            inner.behind -= usize::from(seat.turn.take().is_some());
            while inner.current.is_some() && !inner.broken {
                self.free.wait(&mut inner);
            }
            if !inner.broken {
                inner.last += 1;
                inner.current = Some(inner.last);
                seat.turn.set(inner.current);
            }
        }
        !inner.broken
    }

    /// This thread reads no more for now.
    pub fn end(&self, seat: &Seat) {
        let Some(mine) = seat.turn.take() else { return };
        let mut inner = self.inner.lock();
        if inner.current == Some(mine) {
            inner.current = None;
            self.free.notify_one();
        } else {
            inner.behind -= 1;
        }
    }

    /// This thread may be waiting from now on; none if it carries out no request.
    pub fn wait(&self, seat: &Seat, now: Instant, limit: Option<Duration>) -> Option<u64> {
        let turn = seat.turn.get()?;
        let wait = Wait {
            turn,
            request: seat.request.get(),
            begun: now,
            limit,
            given_up: false,
        };
        let mut inner = self.inner.lock();
        if inner.current == Some(turn) {
            inner.waits = Some(wait);
        } else {
            inner.overtaken.push(wait);
        }
        self.set(&mut inner, now);
        Some(turn)
    }

    /// It waits no more; whether it is still wanted.
    pub fn waited(&self, turn: u64) -> bool {
        let mut inner = self.inner.lock();
        if inner.current == Some(turn) {
            inner.waits = None;
            return true;
        }
        let at = inner.overtaken.iter().position(|wait| wait.turn == turn);
        at.is_none_or(|at| !inner.overtaken.swap_remove(at).given_up)
    }

    /// Has who has waited for long overtaken, and who has waited for too long
    /// given up.
    pub fn look(&self, now: Instant) {
        let mut inner = self.inner.lock();
        inner.rings = None;
        let long = |wait: &Wait| now.saturating_duration_since(wait.begun) >= MOMENT;
        if let Some(wait) = inner.waits.take_if(|wait| long(wait)) {
            inner.overtaken.push(wait);
            inner.current = None;
            inner.behind += 1;
            self.free.notify_one();
        }
        let mut given_up = Vec::new();
        for wait in &mut inner.overtaken {
            if wait.end().is_some_and(|end| end <= now) {
                wait.given_up = true;
                given_up.extend(wait.request);
            }
        }
        self.set(&mut inner, now);
        drop(inner);
        for request in given_up {
            (self.give_up)(request);
        }
    }

    /// Sets the alarm to when there is something to look at next. One that rings before
    /// is left: what has waited is mostly done by then, and setting it costs more.
    fn set(&self, inner: &mut Inner, now: Instant) {
        let moment = inner.waits.and_then(|wait| wait.begun.checked_add(MOMENT));
        let ends = inner.overtaken.iter().filter_map(Wait::end);
        let Some(next) = ends.chain(moment).min() else {
            return;
        };
        if inner
            .rings
            .is_none_or(|rings| rings > next || rings + MOMENT < now)
        {
            inner.rings = Some(next);
            (self.alarm)(next.saturating_duration_since(now));
        }
    }

    /// Nothing is served any more.
    pub fn break_off(&self) {
        self.inner.lock().broken = true;
        self.free.notify_all();
    }

    /// Whether there may be requests that were read before that of who asks and are
    /// not done yet.
    #[cfg(test)]
    pub fn is_overtaking(&self) -> bool {
        self.inner.lock().behind > 0
    }
}
