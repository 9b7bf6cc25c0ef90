//! Staying awake for a moment after a request: the next one of the same client mostly
//! comes within that, and to be woken for it takes longer than all else about it.
//!
//! Only who was lucky the last time tries again, so nobody stays awake for clients that
//! ask now and then; and between two looks others may run, on a machine with one
//! processor the client itself.

use std::cell::Cell;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use crate::readable::is_readable;

/// So long: a client that was answered is awake by then, and asks on.
const MOMENT: Duration = Duration::from_micros(100);

thread_local! {
    /// Since when this thread has waited for a request.
    static SINCE: Cell<Option<Instant>> = const { Cell::new(None) };
    /// Whether the last request came within a moment.
    static SOON: Cell<bool> = const { Cell::new(false) };
}

/// Before a request is read: returns once there is one, or when it is better to sleep
/// until then.
pub fn linger(device: BorrowedFd<'_>) {
    let since = Instant::now();
    SINCE.set(Some(since));
    if !SOON.get() {
        return;
    }
    loop {
        std::thread::yield_now();
        if is_readable(device) != Ok(false) || since.elapsed() >= MOMENT {
            return;
        }
    }
}

/// A request was read.
pub fn came() {
    let soon = |since: Instant| since.elapsed() < MOMENT;
    SOON.set(SINCE.take().is_some_and(soon));
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn who_was_lucky_looks_again_and_nobody_looks_for_long() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        // Nothing comes: it is not waited for.
        linger(reader.as_fd());
        nix::unistd::write(&writer, b"1").unwrap();
        linger(reader.as_fd());
        came();
        SOON.set(true);
        // What is there is seen at once, and is left to be read.
        linger(reader.as_fd());
        assert_eq!(nix::unistd::read(&reader, &mut [0; 2]).unwrap(), 1);
        came();
        SOON.set(true);
        let begun = Instant::now();
        linger(reader.as_fd());
        assert!(begun.elapsed() >= MOMENT);
        // That was in vain.
        came();
        assert!(!SOON.get());
    }
}
