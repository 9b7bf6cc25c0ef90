//! The system calls that clients make, with what they fail with as a number.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use rustix::fs::{FlockOperation, OFlags};
use rustix::time::{ClockId, clock_gettime};

use super::action::{Family, How, Mode};
use super::record::Time;

/// How many handlers of signals that end waits have run.
static HANDLED: AtomicU32 = AtomicU32::new(0);

/// The time that all processes agree on.
pub fn now() -> Time {
    let time = clock_gettime(ClockId::Monotonic);
    let secs = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    secs * 1_000_000_000 + nanos
}

/// Opens a board's file.
pub fn open(path: &Path, how: How) -> Result<OwnedFd, i32> {
    let flags = match how {
        How::Exclusive => OFlags::RDWR | OFlags::CREATE | OFlags::EXCL,
        How::Append => OFlags::RDWR | OFlags::CREATE | OFlags::APPEND,
        How::Read => OFlags::RDONLY | OFlags::CREATE,
        How::Touch => OFlags::RDWR | OFlags::CREATE | OFlags::NONBLOCK,
        How::Existing => OFlags::RDWR | OFlags::APPEND,
    };
    let mode = rustix::fs::Mode::from_raw_mode(0o666);
    rustix::fs::open(path, flags | OFlags::CLOEXEC, mode).map_err(|e| e.raw_os_error())
}

/// What a board's file shows, in one read.
pub fn text(path: &Path) -> Result<String, i32> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, rustix::fs::Mode::empty());
    let file = file.map_err(|e| e.raw_os_error())?;
    let mut text = vec![0; 16384];
    let length = rustix::io::read(&file, &mut text).map_err(|e| e.raw_os_error())?;
    text.truncate(length);
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Locks, or with no mode unlocks, through an open file.
pub fn lock(fd: &OwnedFd, family: Family, mode: Option<Mode>, wait: bool) -> Result<(), i32> {
    if family == Family::Flock {
        let operation = match (mode, wait) {
            (None, _) => FlockOperation::Unlock,
            (Some(Mode::Shared), true) => FlockOperation::LockShared,
            (Some(Mode::Shared), false) => FlockOperation::NonBlockingLockShared,
            (Some(Mode::Exclusive), true) => FlockOperation::LockExclusive,
            (Some(Mode::Exclusive), false) => FlockOperation::NonBlockingLockExclusive,
        };
        return rustix::fs::flock(fd, operation).map_err(|e| e.raw_os_error());
    }
    let what = whole(mode);
    let argument = match (family == Family::Ofd, wait) {
        (false, false) => FcntlArg::F_SETLK(&what),
        (false, true) => FcntlArg::F_SETLKW(&what),
        (true, false) => FcntlArg::F_OFD_SETLK(&what),
        (true, true) => FcntlArg::F_OFD_SETLKW(&what),
    };
    let done = fcntl(fd.as_fd(), argument);
    done.map(drop).map_err(|errno| errno as i32)
}

/// Whether a lock would be granted.
pub fn ask(fd: &OwnedFd, family: Family, mode: Mode) -> Result<bool, i32> {
    let mut what = whole(Some(mode));
    let argument = match family {
        Family::Ofd => FcntlArg::F_OFD_GETLK(&mut what),
        _ => FcntlArg::F_GETLK(&mut what),
    };
    fcntl(fd.as_fd(), argument).map_err(|errno| errno as i32)?;
    Ok(i32::from(what.l_type) == libc::F_UNLCK)
}

/// The whole file, as fcntl(2) names it.
fn whole(mode: Option<Mode>) -> libc::flock {
    let kind = match mode {
        None => libc::F_UNLCK,
        Some(Mode::Shared) => libc::F_RDLCK,
        Some(Mode::Exclusive) => libc::F_WRLCK,
    };
    libc::flock {
        l_type: i16::try_from(kind).unwrap_or_default(),
        l_whence: i16::try_from(libc::SEEK_SET).unwrap_or_default(),
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

extern "C" fn ends_waits(_: libc::c_int) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

extern "C" fn restarts_waits(_: libc::c_int) {}

/// Handles SIGALRM and SIGUSR1, which end waits, and SIGUSR2, which does not
/// (SA_RESTART); ends with the thread that started the process.
pub fn prepare() {
    let all = [
        (Signal::SIGALRM, ends_waits as extern "C" fn(_), false),
        (Signal::SIGUSR1, ends_waits, false),
        (Signal::SIGUSR2, restarts_waits, true),
    ];
    for (signal, handler, restart) in all {
        let flags = if restart {
            SaFlags::SA_RESTART
        } else {
            SaFlags::empty()
        };
        let action = SigAction::new(SigHandler::Handler(handler), flags, SigSet::empty());
        // SAFETY: the handlers do nothing but add to an atomic number.
        unsafe { sigaction(signal, &action) }.expect("sigaction");
    }
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
}

/// How many handlers of signals that end waits have run so far.
pub fn handled() -> u32 {
    HANDLED.load(Ordering::Relaxed)
}
