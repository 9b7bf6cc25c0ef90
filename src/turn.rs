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

mod order;

/// What threads lock and wait with.
mod sync {
    pub use parking_lot::{Condvar, Mutex};
}

use std::io;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use crate::fault::{self, Point};
use order::{GiveUp, Seat, Turns};

/// A process has one mount.
static TURNS: OnceLock<Turns> = OnceLock::new();

thread_local! {
    static SEAT: Seat = const { Seat::new() };
}

/// Turns, and the timer by which they are looked at.
fn timed(give_up: Box<GiveUp>) -> io::Result<(Turns, Arc<TimerFd>)> {
    let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC)?;
    let timer = Arc::new(timer);
    let alarm = Arc::clone(&timer);
    let alarm = Box::new(move |next| set(&alarm, next));
    Ok((Turns::new(give_up, alarm), timer))
}

fn set(timer: &TimerFd, next: Duration) {
    // A time of zero would unset it.
    let next = TimeSpec::from_duration(next.max(Duration::from_micros(1)));
    if let Err(error) = timer.set(Expiration::OneShot(next), TimerSetTimeFlags::empty()) {
        log::error!("cannot set the timer of requests that wait: {error}");
    }
}

fn attend(turns: &Turns, timer: &TimerFd) {
    loop {
        match timer.wait() {
            Ok(()) => turns.look(Instant::now()),
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => {
                log::error!("cannot wait for requests that wait: {error}");
                return;
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
    let (made, timer) = timed(Box::new(give_up))?;
    let turns = TURNS.get_or_init(|| made);
    thread::Builder::new()
        .name("turns".to_owned())
        .spawn(move || attend(turns, &timer))?;
    Ok(())
}

/// Before a thread reads a request: waits until it is its turn. The request that
/// it read before is done. False when nothing is to be served any more.
pub fn begin() -> bool {
    fault::point(Point::Replied);
    TURNS
        .get()
        .is_none_or(|turns| SEAT.with(|seat| turns.begin(seat)))
}

/// This thread is at a request that can be given up under this number.
pub fn at(request: u64) {
    SEAT.with(|seat| seat.request.set(Some(request)));
}

/// The request that this thread is at.
pub fn request() -> Option<u64> {
    SEAT.with(|seat| seat.request.get())
}

/// The thread that had its turn reads no more, for now at least.
pub fn end() {
    if let Some(turns) = TURNS.get() {
        SEAT.with(|seat| turns.end(seat));
    }
}

/// Nothing is served any more: who carries out requests broke down.
pub fn break_off() {
    if let Some(turns) = TURNS.get() {
        turns.break_off();
    }
}

/// Does what may have to wait for others. The caller has locked nothing that a
/// request needs. None if the request was given up, after `limit`: it is answered,
/// and nothing may be done for it any more.
pub fn may_wait<T>(limit: Option<Duration>, work: impl FnOnce() -> T) -> Option<T> {
    let wait = |turns: &Turns| SEAT.with(|seat| turns.wait(seat, Instant::now(), limit));
    let waits = TURNS.get().and_then(|turns| Some((turns, wait(turns)?)));
    let found = work();
    let wanted = waits.is_none_or(|(turns, turn)| turns.waited(turn));
    wanted.then_some(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::mpsc;

    use super::order::MOMENT;
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// A thread that waits for its turn, tells, and ends when it is told to.
    fn reader(turns: &'static Turns) -> (mpsc::Receiver<bool>, mpsc::Sender<()>) {
        let ((tell, told), (end, ends)) = (mpsc::channel(), mpsc::channel());
        thread::spawn(move || {
            let seat = Seat::new();
            let begun = turns.begin(&seat);
            tell.send(begun).unwrap();
            let _ = ends.recv();
            turns.end(&seat);
        });
        (told, end)
    }

    /// Turns that nobody looks at of himself.
    fn turns() -> (&'static Turns, mpsc::Receiver<u64>, Seat, Arc<TimerFd>) {
        let (give, given) = mpsc::channel();
        let give_up = Box::new(move |request| give.send(request).unwrap());
        let (turns, timer) = timed(give_up).unwrap();
        let turns: &'static Turns = Box::leak(Box::new(turns));
        (turns, given, Seat::new(), timer)
    }

    #[test]
    fn one_reads_at_a_time_and_the_next_when_it_is_done() {
        let (turns, _given, seat, _) = turns();
        assert!(turns.begin(&seat));
        // It is still its turn.
        assert!(turns.begin(&seat));
        let (told, end) = reader(turns);
        assert!(told.try_recv().is_err());
        turns.end(&seat);
        assert!(told.recv_timeout(PATIENCE).unwrap());
        drop(end);
        assert!(turns.begin(&seat));
    }

    #[test]
    fn who_waits_is_overtaken_until_it_comes_back() {
        let (turns, _given, seat, timer) = turns();
        thread::spawn(move || attend(turns, &timer));
        assert!(turns.begin(&seat));
        let (told, end) = reader(turns);
        let waits = turns.wait(&seat, Instant::now(), None).unwrap();
        assert!(told.recv_timeout(PATIENCE).unwrap());
        assert!(turns.is_overtaking());
        assert!(turns.waited(waits));
        // It goes on with its own request, and may have to wait once more.
        let waits = turns.wait(&seat, Instant::now(), None).unwrap();
        assert!(turns.waited(waits));
        assert!(turns.is_overtaking());
        drop(end);
        assert!(turns.begin(&seat));
        assert!(!turns.is_overtaking());
        turns.end(&seat);
    }

    #[test]
    fn who_waits_for_too_long_is_given_up_once() {
        let (turns, given, seat, timer) = turns();
        thread::spawn(move || attend(turns, &timer));
        assert!(turns.begin(&seat));
        seat.request.set(Some(42));
        let waits = turns.wait(&seat, Instant::now(), Some(MOMENT * 3)).unwrap();
        assert_eq!(given.recv_timeout(PATIENCE), Ok(42));
        turns.look(Instant::now() + PATIENCE);
        assert!(!turns.waited(waits));
        assert!(given.try_recv().is_err());
        // Nor is what is no request of its own.
        assert!(turns.begin(&seat));
        let waits = turns.wait(&seat, Instant::now(), Some(MOMENT)).unwrap();
        turns.look(Instant::now() + PATIENCE);
        assert!(turns.waited(waits));
        assert!(given.try_recv().is_err());
    }

    #[test]
    fn who_does_not_wait_for_long_keeps_its_turn() {
        let (turns, _given, seat, _) = turns();
        assert!(
            turns.wait(&seat, Instant::now(), None).is_none(),
            "it is not its turn"
        );
        assert!(turns.begin(&seat));
        let waits = turns.wait(&seat, Instant::now(), None).unwrap();
        assert!(turns.waited(waits));
        // The time was up just before.
        turns.look(Instant::now());
        assert!(!turns.is_overtaking());
    }

    #[test]
    fn nobody_has_a_turn_once_it_broke_down() {
        let (turns, _given, seat, _) = turns();
        assert!(turns.begin(&seat));
        let (told, _end) = reader(turns);
        turns.break_off();
        assert!(!told.recv_timeout(PATIENCE).unwrap());
        assert!(!turns.begin(&seat));
    }
}
