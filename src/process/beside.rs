//! Reads that may wait for us, in a thread of their own.
//!
//! readlink(2) of /proc/PID/exe and /proc/PID/fd/N takes the target's
//! exec_update_lock (seen with Linux 6.18). execve(2) has that lock while it
//! closes files, and closing a board's file waits for our answer to its FLUSH:
//! were the one thread that answers to wait for the lock, nothing would go on any
//! more, not even by SIGKILL. Also anybody can keep the lock of his own processes
//! for as long as he likes, by a file system that does not answer. So such a read
//! is waited for a short while and then left to itself; it ends once the FLUSH
//! that it waits for is answered.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// So many reads at most are left to themselves at a time.
const MOST: usize = 16;

/// How many are at work.
static AT_WORK: AtomicUsize = AtomicUsize::new(0);

/// Counts a read as long as it lives.
struct Counted;

impl Counted {
    fn new() -> Option<Counted> {
        let counted = Counted;
        // One too many is taken back as `counted` is dropped.
        (AT_WORK.fetch_add(1, Ordering::Relaxed) < MOST).then_some(counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        AT_WORK.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What `read` finds, if it does within `limit`. It may go on afterwards.
pub(super) fn beside<T: Send + 'static>(
    limit: Duration,
    read: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let counted = Counted::new()?;
    let (found, told) = mpsc::sync_channel(1);
    let reader = thread::Builder::new().name("reader".to_owned());
    let started = reader.spawn(move || {
        // Nobody may wait for it any more.
        let _ = found.send(read());
        drop(counted);
    });
    if let Err(error) = started {
        log::warn!("cannot start a thread to read /proc: {error}");
        return None;
    }
    told.recv_timeout(limit).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn a_read_that_waits_is_left_to_itself() {
        let lock = Arc::new(Mutex::new(()));
        let held = lock.lock();
        let read = {
            let lock = Arc::clone(&lock);
            move || drop(lock.lock())
        };
        assert_eq!(beside(Duration::from_millis(1), read), None);
        // It holds up no other.
        assert_eq!(beside(Duration::from_secs(30), || 42), Some(42));
        drop(held);
    }
}
