//! Who was in the queue before whom. That a call began earlier does not say so:
//! only a status that shows as many waiters as there can be proves that all of
//! them had arrived.

use super::action::Mode;
use super::model::{Call, Told};
use super::record::Time;
use super::search::Operation;

/// A call that waits for a lock.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    /// The operation.
    pub at: usize,
    pub begin: Time,
    pub end: Time,
    pub mode: Mode,
    /// When its process began to be killed, if it was, in the wait.
    pub killed: Option<Time>,
    /// A signal may have made it go to the end of the queue.
    pub moved: bool,
}

/// A number of waiters that was shown, at some time between these.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub begin: Time,
    pub end: Time,
    pub waiters: i64,
}

/// All of a board.
#[derive(Debug, Default)]
pub struct Queue {
    pub waits: Vec<Waiting>,
    pub seen: Vec<Seen>,
}

impl Queue {
    /// Puts everything that wants the board behind those that were surely
    /// waiting for it when it began.
    ///
    /// # Errors
    /// More waiters were shown than there can have been.
    pub fn settle(&self, operations: &mut [Operation]) -> Result<(), String> {
        let mut arrived = vec![Time::MAX; self.waits.len()];
        for seen in &self.seen {
            let can: Vec<usize> = (0..self.waits.len())
                .filter(|at| self.waits[*at].begin < seen.end && self.waits[*at].end > seen.begin)
                .collect();
            let count = i64::try_from(can.len()).unwrap_or(i64::MAX);
            if seen.waiters > count || seen.waiters < 0 {
                return Err(format!(
                    "{} waiters are shown where there are {count} at most",
                    seen.waiters
                ));
            }
            if seen.waiters == count {
                for at in can {
                    arrived[at] = arrived[at].min(seen.end);
                }
            }
        }
        for (wait, arrived) in self.waits.iter().zip(arrived) {
            if wait.moved {
                continue;
            }
            for (at, operation) in operations.iter_mut().enumerate() {
                let mode = match (operation.call, operation.told) {
                    (_, Some(Told::Failed(_))) => continue,
                    (Call::Lock { mode, .. }, _) => mode,
                    (Call::Open { how, .. }, _) if how.creates() => Mode::Exclusive,
                    _ => continue,
                };
                let later = at != wait.at && operation.begin > arrived;
                // A killed waiter counts until it began to be killed.
                let counts = wait.killed.is_none_or(|killed| operation.end < killed);
                if later && counts && mode.excludes(wait.mode) {
                    operation.behind.push(wait.at);
                }
            }
        }
        Ok(())
    }
}
