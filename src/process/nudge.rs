//! Having the kernel ask anew for a lock that a thread waits for, with the thread
//! none the wiser: the kernel ends the whole mount when a request is unanswered
//! for too long (`crate::fuse::timeout`).
//!
//! A wait answered by EINTR is begun again by the kernel, but only if the thread
//! has a signal to look at; else the program sees "Unknown error 512". SIGSTOP and
//! SIGCONT right after each other are such a signal that never was one: the first
//! marks the thread, the second takes the first back before the thread, which is
//! held in our request, can act on it. No stop happens and the parent is told of
//! none (tried with flock, fcntl and OFD locks, with threads, handlers and blocked
//! signals, thousands of times). ptrace(2), seizing and interrupting the thread for
//! a moment, does the same, but is refused under strace, by Yama, to a container
//! and by the usual system call filters, where kill(2) is not.
//!
//! What remains: a program that catches SIGCONT has its handler called, as if it
//! had been sent; without SA_RESTART its wait ends with EINTR. strace shows it. A
//! Ctrl-Z in the same fraction of a millisecond has to be pressed again.

use std::io;

use rustix::process::{Pid as RawPid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::lock::ids::Pid;

/// PIDFD_THREAD (Linux 6.9, before any kernel that has request timeouts): of one
/// thread, which is not in rustix.
const THREAD: PidfdFlags = PidfdFlags::from_bits_retain(libc::O_EXCL as u32);

/// Makes the kernel interrupt the request that a thread waits in. It says so
/// by FUSE_INTERRUPT as for any signal; once that is answered by EINTR, it asks
/// anew, as the same thread and lock owner, well below a millisecond later.
///
/// The request must be there and stay unanswered until this returns, so hold
/// the lock under which waits are answered: the thread can neither leave, nor its
/// number become another's, nor the stop take place.
///
/// # Errors
/// When the signals cannot be sent: EPERM (another user's process), ESRCH.
/// No FUSE_INTERRUPT comes then, nor to pid 1 of the daemon's own pid namespace.
pub fn nudge(thread: Pid) -> io::Result<()> {
    let thread = i32::try_from(thread.get())
        .ok()
        .and_then(RawPid::from_raw)
        .ok_or(io::ErrorKind::InvalidInput)?;
    let thread = pidfd_open(thread, THREAD)?;
    // Nothing to a running thread. A security module that allows the stop but
    // not its end would leave the process stopped: it is asked before.
    pidfd_send_signal(&thread, Signal::CONT)?;
    pidfd_send_signal(&thread, Signal::STOP)?;
    pidfd_send_signal(&thread, Signal::CONT)?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_is_gone_is_an_error() {
        let gone = std::thread::spawn(nix::unistd::gettid).join().unwrap();
        let gone = Pid::new(u32::try_from(gone.as_raw()).unwrap()).unwrap();
        let error = nudge(gone).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ESRCH), "{error}");
    }

    #[test]
    fn another_users_thread_is_an_error() {
        if nix::unistd::geteuid().is_root() {
            return;
        }
        let error = nudge(Pid::new(1).unwrap()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EPERM), "{error}");
    }
}
