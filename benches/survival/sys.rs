//! System calls of clients, with what they fail with as a number.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of CLOCK_MONOTONIC.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let secs = u64::try_from(time.tv_sec).unwrap_or(0);
    secs * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

pub fn open(path: &Path, flags: OFlags) -> Result<OwnedFd, i32> {
    let mode = Mode::from_raw_mode(0o666);
    rustix::fs::open(path, flags | OFlags::CLOEXEC, mode).map_err(|e| e.raw_os_error())
}

/// Whose a lock is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Flock,
    Posix,
    Ofd,
}

/// What is done with a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    Exclusive,
    Shared,
    Nothing,
}

/// Locks or unlocks the whole file.
pub fn lock(fd: &OwnedFd, family: Family, want: Want, wait: bool) -> Result<(), i32> {
    if family == Family::Flock {
        let operation = match (want, wait) {
            (Want::Nothing, _) => FlockOperation::Unlock,
            (Want::Shared, true) => FlockOperation::LockShared,
            (Want::Shared, false) => FlockOperation::NonBlockingLockShared,
            (Want::Exclusive, true) => FlockOperation::LockExclusive,
            (Want::Exclusive, false) => FlockOperation::NonBlockingLockExclusive,
        };
        return rustix::fs::flock(fd, operation).map_err(|e| e.raw_os_error());
    }
    let range = range(want, 0, 0);
    let argument = match (family == Family::Ofd, wait) {
        (false, false) => FcntlArg::F_SETLK(&range),
        (false, true) => FcntlArg::F_SETLKW(&range),
        (true, false) => FcntlArg::F_OFD_SETLK(&range),
        (true, true) => FcntlArg::F_OFD_SETLKW(&range),
    };
    let done = fcntl(fd.as_fd(), argument);
    done.map(drop).map_err(|errno| errno as i32)
}

/// Locks one byte of a file of another file system for this process.
pub fn witness(file: &File, byte: u64, want: Want) -> Result<(), i32> {
    let range = range(want, i64::try_from(byte).unwrap(), 1);
    let done = fcntl(file.as_fd(), FcntlArg::F_SETLK(&range));
    done.map(drop).map_err(|errno| errno as i32)
}

/// Who has such a lock.
pub fn witnessed(file: &File, byte: u64) -> i32 {
    let mut range = range(Want::Exclusive, i64::try_from(byte).unwrap(), 1);
    let _ = fcntl(file.as_fd(), FcntlArg::F_GETLK(&mut range));
    range.l_pid
}

fn range(want: Want, start: i64, length: i64) -> libc::flock {
    let kind = match want {
        Want::Nothing => libc::F_UNLCK,
        Want::Shared => libc::F_RDLCK,
        Want::Exclusive => libc::F_WRLCK,
    };
    libc::flock {
        l_type: i16::try_from(kind).unwrap(),
        l_whence: i16::try_from(libc::SEEK_SET).unwrap(),
        l_start: start,
        l_len: length,
        l_pid: 0,
    }
}

static HANDLED: AtomicU32 = AtomicU32::new(0);

extern "C" fn handle(_: libc::c_int) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

/// Has SIGALRM end waits, and this process end with the one that started it.
pub fn prepare() {
    let action = SigAction::new(
        SigHandler::Handler(handle),
        SaFlags::empty(),
        SigSet::empty(),
    );
    // SAFETY: the handler does nothing but add to an atomic number.
    unsafe { sigaction(Signal::SIGALRM, &action) }.unwrap();
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
}

/// How often a signal has ended, or could have ended, a wait.
pub fn handled() -> u32 {
    HANDLED.load(Ordering::Relaxed)
}
