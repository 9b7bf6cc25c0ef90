//! Who stands in line. flock(2) waits with the whole thread, and a lock belongs to the open
//! file: so a process that shares it stands in line, and whoever started that can do other
//! things meanwhile, and end the wait by ending it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::fs::{FlockOperation, flock};
use rustix::process::{PidfdFlags, pidfd_open};

use super::signals::Signals;
use super::spawn::Program;

/// Has the pid of whoever started it in a process that is to stand in line.
const VARIABLE: &str = "BOARDLOCK_WAITS_FOR";

/// A process that stands in line; ended when this is dropped.
#[derive(Debug)]
pub struct Waiter {
    pid: Pid,
    pidfd: OwnedFd,
    is_reaped: bool,
}

/// How it ended.
#[derive(Debug)]
pub enum Ended {
    /// The open file has the lock.
    Locked,
    /// It will not come to that.
    Failed(io::Error),
    /// Somebody ended it.
    Killed(Signal),
}

impl Waiter {
    /// Has an open file wait for its lock.
    ///
    /// # Errors
    /// When no process can be started.
    pub fn start(file: &File, signals: &Signals) -> io::Result<Waiter> {
        // It shows the command line that was typed: so the status does, too.
        let args: Vec<OsString> = std::env::args_os().collect();
        let us = rustix::process::getpid().as_raw_nonzero().to_string();
        let pid = Program {
            name: OsStr::new("/proc/self/exe"),
            args: &args,
            environment: &[(VARIABLE, us.into())],
            stdin: Some(file.as_fd()),
            mask: signals.before(),
        }
        .start()?;
        // It is not reaped before, so the number is still its own.
        let opened = rustix::process::Pid::from_raw(pid.as_raw())
            .ok_or(rustix::io::Errno::SRCH)
            .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()));
        match opened {
            Ok(pidfd) => Ok(Waiter {
                pid,
                pidfd,
                is_reaped: false,
            }),
            Err(error) => {
                end(pid);
                Err(error.into())
            }
        }
    }

    /// Its pid, which the status shows.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw().unsigned_abs()
    }

    /// How it ended, once its [`AsFd`] is readable.
    pub fn ended(mut self) -> Ended {
        let status = reap(self.pid);
        self.is_reaped = true;
        match status {
            Ok(WaitStatus::Exited(_, 0)) => Ended::Locked,
            Ok(WaitStatus::Exited(_, errno)) => Ended::Failed(io::Error::from_raw_os_error(errno)),
            Ok(WaitStatus::Signaled(_, signal, _)) => Ended::Killed(signal),
            Ok(_) => Ended::Killed(Signal::SIGKILL),
            Err(error) => Ended::Failed(error.into()),
        }
    }
}

impl AsFd for Waiter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if !self.is_reaped {
            end(self.pid);
        }
    }
}

fn end(pid: Pid) {
    let _ = kill(pid, Signal::SIGKILL);
    let _ = reap(pid);
}

fn reap(pid: Pid) -> nix::Result<WaitStatus> {
    loop {
        match waitpid(pid, None) {
            Err(nix::errno::Errno::EINTR) => {}
            other => return other,
        }
    }
}

/// What a process does that was started to stand in line: its whole life. None in any other.
pub fn stand_in_line() -> Option<ExitCode> {
    let for_whom = std::env::var(VARIABLE).ok()?.parse::<i32>().ok()?;
    // Nobody is to wait for somebody who is gone.
    let tied =
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    if tied.is_err() || parent != Some(for_whom) {
        return Some(ExitCode::from(code(libc::ESRCH)));
    }
    loop {
        return Some(match flock(io::stdin(), FlockOperation::LockExclusive) {
            Ok(()) => ExitCode::SUCCESS,
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => ExitCode::from(code(error.raw_os_error())),
        });
    }
}

/// All of Linux fit into an exit code, and none is 0.
fn code(errno: i32) -> u8 {
    u8::try_from(errno).unwrap_or(u8::MAX)
}
