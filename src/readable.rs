//! Looking at a descriptor without waiting for it.

use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{self, retry_on_intr};

const AT_ONCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

/// Whether there is something to be read from a descriptor; of a pidfd, whether its
/// process has ended (pidfd_open(2)).
///
/// # Errors
/// Those of poll(2) but EINTR, which a signal makes of it even where it does not wait.
pub fn is_readable(fd: impl AsFd) -> io::Result<bool> {
    let mut look = [PollFd::new(&fd, PollFlags::IN)];
    let ready = retry_on_intr(|| poll(&mut look, Some(&AT_ONCE)))?;
    Ok(ready > 0)
}
