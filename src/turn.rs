//! Whose turn it is to read requests.
//!
//! One thread at a time reads requests and carries them out: what was read first
//! is applied first (a RELEASE before what its process asks next), and none is
//! handed from one processor to another. But some of what is read in /proc waits
//! for others. Linux 6.18 takes a lock there for stat, exe and fd/N of a process
//! (`exec_update_lock`) that execve(2) has while it closes files, and closing a
//! board's file waits for our answer to its FLUSH; anybody can keep the lock of
//! his own processes for as long as he likes, by a file system that does not
//! answer. So who may have to wait says so by [`may_wait`]. When that takes longer
//! than a moment it is another thread's turn; when it takes too long the request
//! is given up, as whoever creates a file keeps all others from it meanwhile.

use std::cell::Cell;
use std::io;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use parking_lot::{Condvar, Mutex};

use crate::fault::{self, Point};

/// A moment: what is read from /proc when nothing is in the way takes a fraction
/// of it.
const MOMENT: Duration = Duration::from_millis(10);

/// Gives a request up, known by its number, which is answered nevertheless.
type GiveUp = dyn Fn(u64) + Send + Sync;

/// Turns among the threads that read requests.
struct Turns {
    inner: Mutex<Inner>,
    free: Condvar,
    timer: TimerFd,
    give_up: Box<GiveUp>,
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

/// A process has one mount.
static TURNS: OnceLock<Turns> = OnceLock::new();

thread_local! {
    /// The turn that this thread was given last, if it is not done with it.
    static MINE: Cell<Option<u64>> = const { Cell::new(None) };
    /// The number of the request that this thread is at.
    static REQUEST: Cell<Option<u64>> = const { Cell::new(None) };
}

impl Turns {
    fn new(give_up: Box<GiveUp>) -> io::Result<Turns> {
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC)?;
        Ok(Turns {
            inner: Mutex::new(Inner::default()),
            free: Condvar::new(),
            timer,
            give_up,
        })
    }

    /// Takes the turn, which this thread may have already; false when nothing is
    /// to be served any more.
    fn begin(&self) -> bool {
        REQUEST.set(None);
        let mut inner = self.inner.lock();
        if MINE.get().is_none() || MINE.get() != inner.current {
            inner.behind -= usize::from(MINE.take().is_some());
            while inner.current.is_some() && !inner.broken {
                self.free.wait(&mut inner);
            }
            if !inner.broken {
                inner.last += 1;
                inner.current = Some(inner.last);
                MINE.set(inner.current);
            }
        }
        !inner.broken
    }

    /// This thread reads no more for now.
    fn end(&self) {
        let Some(mine) = MINE.take() else { return };
        let mut inner = self.inner.lock();
        if inner.current == Some(mine) {
            inner.current = None;
            self.free.notify_one();
        } else {
            inner.behind -= 1;
        }
    }

    /// This thread may be waiting from now on; none if it carries out no request.
    fn wait(&self, limit: Option<Duration>) -> Option<u64> {
        let turn = MINE.get()?;
        let wait = Wait {
            turn,
            request: REQUEST.get(),
            begun: Instant::now(),
            limit,
            given_up: false,
        };
        let mut inner = self.inner.lock();
        if inner.current == Some(turn) {
            inner.waits = Some(wait);
        } else {
            inner.overtaken.push(wait);
        }
        self.set(&inner, wait.begun);
        Some(turn)
    }

    /// It waits no more; whether it is still wanted.
    fn waited(&self, turn: u64) -> bool {
        let mut inner = self.inner.lock();
        if inner.current == Some(turn) {
            inner.waits = None;
            self.set(&inner, Instant::now());
            return true;
        }
        let at = inner.overtaken.iter().position(|wait| wait.turn == turn);
        at.is_none_or(|at| !inner.overtaken.swap_remove(at).given_up)
    }

    /// Has who has waited for long overtaken, and who has waited for too long
    /// given up.
    fn look(&self, now: Instant) {
        let mut inner = self.inner.lock();
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
        self.set(&inner, now);
        drop(inner);
        for request in given_up {
            (self.give_up)(request);
        }
    }

    /// Sets the timer to when there is something to look at next.
    fn set(&self, inner: &Inner, now: Instant) {
        let moment = inner.waits.and_then(|wait| wait.begun.checked_add(MOMENT));
        let ends = inner.overtaken.iter().filter_map(Wait::end);
        let set = match ends.chain(moment).min() {
            // A time of zero would unset it.
            Some(next) => self.timer.set(
                Expiration::OneShot(TimeSpec::from_duration(
                    next.saturating_duration_since(now)
                        .max(Duration::from_micros(1)),
                )),
                TimerSetTimeFlags::empty(),
            ),
            None => self.timer.unset(),
        };
        if let Err(error) = set {
            log::error!("cannot set the timer of requests that wait: {error}");
        }
    }

    fn attend(&self) {
        loop {
            match self.timer.wait() {
                Ok(()) => self.look(Instant::now()),
                Err(nix::errno::Errno::EINTR) => {}
                Err(error) => {
                    log::error!("cannot wait for requests that wait: {error}");
                    return;
                }
            }
        }
    }
}

/// Starts to watch over turns. What is given up goes to `give_up`.
///
/// # Errors
/// When the kernel gives no timer, or no thread.
pub fn start(give_up: impl Fn(u64) + Send + Sync + 'static) -> io::Result<()> {
    if TURNS.get().is_some() {
        return Ok(());
    }
    let made = Turns::new(Box::new(give_up))?;
    let turns = TURNS.get_or_init(|| made);
    thread::Builder::new()
        .name("turns".to_owned())
        .spawn(move || turns.attend())?;
    Ok(())
}

/// Before a thread reads a request: waits until it is its turn. The request that
/// it read before is done. False when nothing is to be served any more.
pub fn begin() -> bool {
    fault::point(Point::Replied);
    TURNS.get().is_none_or(Turns::begin)
}

/// This thread is at a request that can be given up under this number.
pub fn at(request: u64) {
    REQUEST.set(Some(request));
}

/// The request that this thread is at.
pub fn request() -> Option<u64> {
    REQUEST.get()
}

/// The thread that had its turn reads no more, for now at least.
pub fn end() {
    if let Some(turns) = TURNS.get() {
        turns.end();
    }
}

/// Nothing is served any more: who carries out requests broke down.
pub fn break_off() {
    if let Some(turns) = TURNS.get() {
        turns.inner.lock().broken = true;
        turns.free.notify_all();
    }
}

/// Whether there may be requests that were read before the one of this thread and
/// are not done yet.
pub fn is_overtaking() -> bool {
    TURNS
        .get()
        .is_some_and(|turns| turns.inner.lock().behind > 0)
}

/// Does what may have to wait for others. The caller has locked nothing that a
/// request needs. None if the request was given up, after `limit`: it is answered,
/// and nothing may be done for it any more.
pub fn may_wait<T>(limit: Option<Duration>, work: impl FnOnce() -> T) -> Option<T> {
    let waits = TURNS
        .get()
        .and_then(|turns| Some((turns, turns.wait(limit)?)));
    let found = work();
    let wanted = waits.is_none_or(|(turns, turn)| turns.waited(turn));
    wanted.then_some(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// A thread that waits for its turn, tells, and ends when it is told to.
    fn reader(turns: &'static Turns) -> (mpsc::Receiver<bool>, mpsc::Sender<()>) {
        let ((tell, told), (end, ends)) = (mpsc::channel(), mpsc::channel());
        thread::spawn(move || {
            let begun = turns.begin();
            tell.send(begun).unwrap();
            let _ = ends.recv();
            turns.end();
        });
        (told, end)
    }

    fn turns() -> (&'static Turns, mpsc::Receiver<u64>) {
        let (give, given) = mpsc::channel();
        let give_up = Box::new(move |request| give.send(request).unwrap());
        (Box::leak(Box::new(Turns::new(give_up).unwrap())), given)
    }

    #[test]
    fn one_reads_at_a_time_and_the_next_when_it_is_done() {
        let (turns, _) = turns();
        assert!(turns.begin());
        // It is still its turn.
        assert!(turns.begin());
        let (told, end) = reader(turns);
        assert!(told.try_recv().is_err());
        turns.end();
        assert!(told.recv_timeout(PATIENCE).unwrap());
        drop(end);
        assert!(turns.begin());
    }

    #[test]
    fn who_waits_is_overtaken_until_it_comes_back() {
        let (turns, _) = turns();
        thread::spawn(move || turns.attend());
        assert!(turns.begin());
        let (told, end) = reader(turns);
        let waits = turns.wait(None).unwrap();
        assert!(told.recv_timeout(PATIENCE).unwrap());
        assert_eq!(turns.inner.lock().behind, 1);
        assert!(turns.waited(waits));
        // It goes on with its own request, and may have to wait once more.
        let waits = turns.wait(None).unwrap();
        assert!(turns.waited(waits));
        assert_eq!(turns.inner.lock().behind, 1);
        drop(end);
        assert!(turns.begin());
        assert_eq!(turns.inner.lock().behind, 0);
        turns.end();
    }

    #[test]
    fn who_waits_for_too_long_is_given_up_once() {
        let (turns, given) = turns();
        thread::spawn(move || turns.attend());
        assert!(turns.begin());
        REQUEST.set(Some(42));
        let waits = turns.wait(Some(MOMENT * 3)).unwrap();
        assert_eq!(given.recv_timeout(PATIENCE), Ok(42));
        turns.look(Instant::now() + PATIENCE);
        assert!(!turns.waited(waits));
        assert!(given.try_recv().is_err());
        // Nor is what is no request of its own.
        assert!(turns.begin());
        let waits = turns.wait(Some(MOMENT)).unwrap();
        turns.look(Instant::now() + PATIENCE);
        assert!(turns.waited(waits));
        assert!(given.try_recv().is_err());
    }

    #[test]
    fn who_does_not_wait_for_long_keeps_its_turn() {
        let (turns, _) = turns();
        assert!(turns.wait(None).is_none(), "it is not its turn");
        assert!(turns.begin());
        let waits = turns.wait(None).unwrap();
        assert!(turns.waited(waits));
        // The time was up just before.
        turns.look(Instant::now());
        let inner = turns.inner.lock();
        assert_eq!((inner.current, inner.behind), (Some(1), 0));
    }

    #[test]
    fn nobody_has_a_turn_once_it_broke_down() {
        let (turns, _) = turns();
        assert!(turns.begin());
        let (told, _end) = reader(turns);
        turns.inner.lock().broken = true;
        turns.free.notify_all();
        assert!(!told.recv_timeout(PATIENCE).unwrap());
        assert!(!turns.begin());
    }
}
