//! Reads that may wait for others, in a thread of their own: waited for a short
//! while and then left to themselves.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// What `read` finds, if it does within `limit`. It may go on afterwards.
pub fn beside<T: Send + 'static>(
    limit: Duration,
    read: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (found, told) = mpsc::sync_channel(1);
    let reader = thread::Builder::new().name("reader".to_owned());
    let started = reader.spawn(move || {
        // Nobody may wait for it any more.
        let _ = found.send(read());
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
