//! How much is read from /proc at a time: what is read there may wait for others
//! (`crate::turn`), and nobody is to keep all threads busy by that.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::lock::ids::Uid;
use crate::process::beside::beside;
use crate::turn;

/// So many requests of a user are looked into by the threads that read them.
const DIRECT: usize = 3;

/// How long it may take to find who asks. Nothing is created meanwhile.
const LIMIT: Duration = Duration::from_secs(1);

/// The same once something is in the way of a user's request: not so short that a busy
/// machine refuses those with nothing in their way.
const SHORT: Duration = Duration::from_millis(500);

/// So many requests of a user may have something in their way.
const STUCK: usize = 2;

/// So many looks at processes of a user are left to themselves at most.
const LOOKS: usize = 8;

/// What is being read, and for whom.
#[derive(Debug, Default)]
pub(super) struct Walks {
    callers: Arc<Counts>,
    looks: Arc<Counts>,
}

/// When what is at work for each user was begun.
#[derive(Debug, Default)]
struct Counts(Mutex<HashMap<Uid, Vec<Instant>>>);

/// Counts as long as it lives.
#[derive(Debug)]
struct Counted {
    counts: Arc<Counts>,
    uid: Uid,
    begun: Instant,
}

impl Counts {
    /// Counts one more if, by those that are at work, that is `allowed`.
    fn add<T>(
        self: &Arc<Counts>,
        uid: Uid,
        allowed: impl FnOnce(&[Instant], Instant) -> Option<T>,
    ) -> Option<(Counted, T)> {
        let begun = Instant::now();
        let mut counts = self.0.lock();
        let allowed = allowed(counts.get(&uid).map_or(&[], Vec::as_slice), begun)?;
        counts.entry(uid).or_default().push(begun);
        let counts = Arc::clone(self);
        Some((Counted { counts, uid, begun }, allowed))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.counts.0.lock();
        if let Some(at_work) = counts.get_mut(&self.uid) {
            if let Some(at) = at_work.iter().position(|begun| *begun == self.begun) {
                at_work.swap_remove(at);
            }
            if at_work.is_empty() {
                counts.remove(&self.uid);
            }
        }
    }
}

/// How a request is looked into, and how long that may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Direct(Duration),
    Beside(Duration),
}

/// How the next one of a user is; none for not at all.
fn way(at_work: &[Instant], now: Instant) -> Option<Way> {
    let stuck = |begun: &&Instant| now.saturating_duration_since(**begun) > LIMIT;
    let limit = match at_work.iter().filter(stuck).count() {
        0 => LIMIT,
        STUCK.. => return None,
        _ => SHORT,
    };
    Some(if at_work.len() < DIRECT {
        Way::Direct(limit)
    } else {
        Way::Beside(limit)
    })
}

impl Walks {
    /// Finds out who is behind a request of this user. None when that takes too
    /// long.
    pub fn walk<T: Send + 'static>(
        &self,
        uid: Uid,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (counted, way) = self.callers.add(uid, way)?;
        let read = move || {
            let found = read();
            drop(counted);
            found
        };
        match way {
            Way::Direct(limit) => turn::may_wait(Some(limit), read),
            Way::Beside(limit) => turn::may_wait(None, || beside(limit, read))?,
        }
    }

    /// Looks at processes of this user, for whoever asks.
    pub fn look<T: Send + 'static>(
        &self,
        uid: Uid,
        limit: Duration,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let few = |at_work: &[Instant], _| (at_work.len() < LOOKS).then_some(());
        let (counted, ()) = self.looks.add(uid, few)?;
        let read = move || {
            let found = read();
            drop(counted);
            found
        };
        turn::may_wait(None, || beside(limit, read))?
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const USER: Uid = Uid(1);

    #[test]
    fn a_user_who_is_stuck_is_waited_for_less_and_then_no_more() {
        let now = Instant::now() + LIMIT * 2;
        let (fresh, stuck) = (now - LIMIT / 2, now - LIMIT * 2);
        assert_eq!(way(&[], now), Some(Way::Direct(LIMIT)));
        assert_eq!(way(&[stuck], now), Some(Way::Direct(SHORT)));
        assert_eq!(way(&[fresh; DIRECT], now), Some(Way::Beside(LIMIT)));
        let busy = [fresh, fresh, stuck];
        assert_eq!(way(&busy, now), Some(Way::Beside(SHORT)));
        assert_eq!(way(&[fresh, stuck, stuck], now), None);
    }

    #[test]
    fn what_is_done_counts_no_more() {
        let walks = Walks::default();
        for _ in 0..10 {
            assert_eq!(walks.walk(USER, || 1), Some(1));
            assert_eq!(walks.look(USER, LIMIT, || 1), Some(1));
        }
        assert!(walks.callers.0.lock().is_empty() && walks.looks.0.lock().is_empty());
    }

    #[test]
    fn processes_of_a_user_hold_up_nobody_who_looks_at_others() {
        let walks = Walks::default();
        let (go, waits) = mpsc::channel::<()>();
        let waits = Arc::new(Mutex::new(waits));
        for _ in 0..LOOKS {
            let waits = Arc::clone(&waits);
            let read = move || waits.lock().recv().is_ok();
            assert_eq!(walks.look(USER, Duration::from_millis(1), read), None);
        }
        // Not even begun.
        assert_eq!(walks.look(USER, LIMIT, || 1), None);
        assert_eq!(walks.look(Uid(2), LIMIT, || 1), Some(1));
        drop(go);
    }
}
