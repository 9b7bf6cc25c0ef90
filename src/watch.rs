//! What the daemon waits for between requests: the end of holders, expiry,
//! signals, the end of the mount. One epoll, no polling: with nothing going on
//! it sleeps.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::fault;
use crate::lock::ids::ProcessId;
use crate::lock::time::{BootTime, Timestamp};
use crate::readable::is_readable;

const SIGNALS: u64 = 0;
const ENDED: u64 = 1;
const BOOT: u64 = 2;
const WALL: u64 = 3;
const FIRST_PROCESS: u64 = 4;

/// Descriptors that are not spent on holders: a walk up from a caller takes a
/// few, and who asks again and again is known by some.
const RESERVE: usize = 192;

/// How many events one wait takes.
const BATCH: usize = 64;

const AT_ONCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A watched process has ended.
    Died(ProcessId),
    /// A deadline has come, or the wall clock was set.
    Time,
    /// The daemon is asked to stop.
    Stop(Signal),
    /// The mount is gone.
    Unmounted,
}

/// The epoll and what is in it.
#[derive(Debug)]
pub struct Watch {
    epoll: Epoll,
    signals: SignalFd,
    ended: EventFd,
    boot: TimerFd,
    wall: TimerFd,
    /// How many processes are watched at most: some descriptors are left, so
    /// that a holder can always give back.
    most: usize,
    deadlines: Mutex<(Option<BootTime>, Option<Timestamp>)>,
    processes: Mutex<Processes>,
}

#[derive(Debug, Default)]
struct Processes {
    by_id: HashMap<ProcessId, (u64, Arc<OwnedFd>)>,
    by_key: HashMap<u64, ProcessId>,
    last: u64,
}

impl Watch {
    /// Makes it, for a process that can have so many descriptors. SIGTERM, SIGINT and SIGHUP are blocked in the calling thread
    /// and in those that it starts from now on, and arrive as events.
    ///
    /// # Errors
    /// When the kernel gives no epoll, signalfd, eventfd or timerfd.
    pub fn new(descriptors: usize) -> io::Result<Watch> {
        let mut stop = SigSet::empty();
        stop.add(Signal::SIGTERM);
        stop.add(Signal::SIGINT);
        stop.add(Signal::SIGHUP);
        stop.thread_block()?;
        let watch = Watch {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            signals: SignalFd::with_flags(&stop, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?,
            ended: EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?,
            boot: timer(ClockId::CLOCK_BOOTTIME)?,
            wall: timer(ClockId::CLOCK_REALTIME)?,
            most: descriptors.saturating_sub(RESERVE.min(descriptors / 4)),
            deadlines: Mutex::new((None, None)),
            processes: Mutex::new(Processes {
                last: FIRST_PROCESS,
                ..Processes::default()
            }),
        };
        watch.add_source(&watch.signals, SIGNALS)?;
        watch.add_source(&watch.ended, ENDED)?;
        watch.add_source(&watch.boot, BOOT)?;
        watch.add_source(&watch.wall, WALL)?;
        Ok(watch)
    }

    fn add_source(&self, fd: impl AsFd, key: u64) -> nix::Result<()> {
        self.epoll
            .add(fd, EpollEvent::new(EpollFlags::EPOLLIN, key))
    }

    /// Watches a process through its pidfd.
    ///
    /// # Errors
    /// When the kernel does not take it: the caller must not rely on it then.
    pub fn add(&self, process: ProcessId, pidfd: Arc<OwnedFd>) -> io::Result<()> {
        let mut processes = self.processes.lock();
        if processes.by_id.len() >= self.most {
            return Err(io::Error::from_raw_os_error(libc::EMFILE));
        }
        processes.last += 1;
        let key = processes.last;
        self.add_source(&pidfd, key)?;
        processes.by_key.insert(key, process);
        if let Some((old, pidfd)) = processes.by_id.insert(process, (key, pidfd)) {
            processes.by_key.remove(&old);
            self.forget(&pidfd);
        }
        Ok(())
    }

    /// Watches a process no more.
    pub fn remove(&self, process: ProcessId) {
        let mut processes = self.processes.lock();
        if let Some((key, pidfd)) = processes.by_id.remove(&process) {
            processes.by_key.remove(&key);
            self.forget(&pidfd);
        }
    }

    /// Takes a pidfd out of the epoll. Others may have it open, or closing it would do.
    fn forget(&self, pidfd: &OwnedFd) {
        if let Err(error) = self.epoll.delete(pidfd) {
            log::error!("cannot stop watching a process: {error}");
        }
    }

    /// Whether a process is watched.
    pub fn is_watched(&self, process: ProcessId) -> bool {
        self.processes.lock().by_id.contains_key(&process)
    }

    /// Looks once whether a watched process has ended. One that is not watched
    /// counts as ended: nothing would tell its end.
    pub fn has_ended(&self, process: ProcessId) -> bool {
        let processes = self.processes.lock();
        let Some((_, pidfd)) = processes.by_id.get(&process) else {
            return true;
        };
        is_readable(pidfd) == Ok(true)
    }

    /// Sets the next deadlines.
    pub fn set_deadlines(&self, boot: Option<BootTime>, wall: Option<Timestamp>) {
        let mut set = self.deadlines.lock();
        if *set == (boot, wall) {
            return;
        }
        *set = (boot, wall);
        let boot = boot.map(|moment| TimeSpec::from_duration(moment.0));
        arm(&self.boot, boot, TimerSetTimeFlags::TFD_TIMER_ABSTIME);
        let ahead = fault::clock_ahead();
        let wall = wall.map(|moment| {
            TimeSpec::new(moment.secs.saturating_sub(ahead), i64::from(moment.nanos))
        });
        let follow =
            TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET;
        arm(&self.wall, wall, follow);
    }

    /// Tells the waiting thread that the mount is gone.
    pub fn unmounted(&self) {
        if let Err(error) = self.ended.write(1) {
            log::error!("cannot tell that the mount is gone: {error}");
        }
    }

    /// Waits for what happens next.
    ///
    /// # Errors
    /// When the kernel does not wait.
    pub fn wait(&self) -> io::Result<Vec<Event>> {
        let mut batch = [EpollEvent::empty(); BATCH];
        let count = match self.epoll.wait(&mut batch, EpollTimeout::NONE) {
            Ok(count) => count,
            Err(nix::errno::Errno::EINTR) => 0,
            Err(error) => return Err(error.into()),
        };
        Ok(self.events(batch.get(..count).unwrap_or_default()))
    }

    /// The processes that have ended by now, without waiting.
    pub fn ended_by_now(&self) -> Vec<ProcessId> {
        let processes = self.processes.lock();
        let (ids, mut fds): (Vec<ProcessId>, Vec<PollFd<'_>>) = processes
            .by_id
            .iter()
            .map(|(process, (_, pidfd))| (*process, PollFd::new(pidfd, PollFlags::IN)))
            .unzip();
        match poll(&mut fds, Some(&AT_ONCE)) {
            Ok(ready) if ready > 0 => ids
                .into_iter()
                .zip(&fds)
                .filter(|(_, fd)| !fd.revents().is_empty())
                .map(|(process, _)| process)
                .collect(),
            _ => Vec::new(),
        }
    }

    fn events(&self, batch: &[EpollEvent]) -> Vec<Event> {
        let mut events = Vec::with_capacity(batch.len());
        for event in batch {
            match event.data() {
                SIGNALS => {
                    while let Ok(Some(info)) = self.signals.read_signal() {
                        let number = i32::try_from(info.ssi_signo).unwrap_or_default();
                        events.push(Event::Stop(
                            Signal::try_from(number).unwrap_or(Signal::SIGTERM),
                        ));
                    }
                }
                ENDED => {
                    let _ = self.ended.read();
                    events.push(Event::Unmounted);
                }
                // Reading says ECANCELED when the clock was set: a reason to
                // look at the time as good as any.
                BOOT => {
                    let _ = self.boot.wait();
                    self.deadlines.lock().0 = None;
                    events.push(Event::Time);
                }
                WALL => {
                    let _ = self.wall.wait();
                    self.deadlines.lock().1 = None;
                    events.push(Event::Time);
                }
                key => {
                    if let Some(process) = self.processes.lock().by_key.get(&key) {
                        events.push(Event::Died(*process));
                    }
                }
            }
        }
        events
    }
}

fn timer(clock: ClockId) -> nix::Result<TimerFd> {
    TimerFd::new(clock, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)
}

fn arm(timer: &TimerFd, moment: Option<TimeSpec>, flags: TimerSetTimeFlags) {
    let set = match moment {
        Some(moment) => timer.set(Expiration::OneShot(moment), flags),
        None => timer.unset(),
    };
    if let Err(error) = set {
        log::error!("cannot set the timer of the next expiry: {error}");
    }
}
