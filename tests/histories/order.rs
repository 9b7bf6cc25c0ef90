//! Who was in the queue before whom. That a call began earlier does not say so:
//! only a status that shows who waits proves that they had arrived, and in which
//! order.

use super::action::Mode;
use super::model::{Call, Process, Told};
use super::record::Time;
use super::search::Operation;

/// A call that waits for a lock.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    /// The operation.
    pub at: usize,
    pub process: Process,
    pub begin: Time,
    pub end: Time,
    pub mode: Mode,
    /// When its process began to be killed, if it was, in the wait.
    pub killed: Option<Time>,
    /// A signal may have made it go to the end of the queue.
    pub moved: bool,
}

/// The queue as it was shown, at some time between these.
#[derive(Clone, Debug)]
pub struct Seen {
    pub begin: Time,
    pub end: Time,
    pub waiters: Vec<Process>,
}

/// All of a board.
#[derive(Debug, Default)]
pub struct Queue {
    pub waits: Vec<Waiting>,
    pub seen: Vec<Seen>,
}

impl Queue {
    /// Puts everything that wants the board behind those that were surely
    /// waiting for it when it began, or were shown ahead of it.
    ///
    /// # Errors
    /// Somebody was shown to wait who did not.
    pub fn settle(&self, operations: &mut [Operation]) -> Result<(), String> {
        let mut arrived = vec![Time::MAX; self.waits.len()];
        for seen in &self.seen {
            let mut shown: Vec<usize> = Vec::new();
            for process in &seen.waiters {
                let can = self.waits.iter().enumerate().filter(|(_, wait)| {
                    wait.process == *process && wait.begin < seen.end && wait.end > seen.begin
                });
                let can: Vec<usize> = can.map(|(at, _)| at).collect();
                match can[..] {
                    [] => {
                        return Err(format!(
                            "p{process} is shown to wait and does not: {seen:?}"
                        ));
                    }
                    [at] => {
                        arrived[at] = arrived[at].min(seen.end);
                        shown.push(at);
                    }
                    // One of two waits, and it cannot be told which.
                    _ => {}
                }
            }
            for (place, later) in shown.iter().enumerate() {
                for earlier in &shown[..place] {
                    self.order(operations, *earlier, self.waits[*later].at);
                }
            }
        }
        for (earlier, arrived) in arrived.into_iter().enumerate() {
            for at in 0..operations.len() {
                if operations[at].begin > arrived {
                    self.order(operations, earlier, at);
                }
            }
        }
        Ok(())
    }

    /// An operation gets the board after this one, if it cannot share it.
    fn order(&self, operations: &mut [Operation], earlier: usize, at: usize) {
        let earlier = self.waits[earlier];
        let later = &mut operations[at];
        let mode = match (later.call, later.told) {
            (_, Some(Told::Failed(_))) => return,
            (Call::Lock { mode, .. }, _) => mode,
            (Call::Open { how, .. }, _) if how.creates() => Mode::Exclusive,
            _ => return,
        };
        // A killed waiter counts until it began to be killed.
        let counts = earlier.killed.is_none_or(|killed| later.end < killed);
        if counts
            && !earlier.moved
            && at != earlier.at
            && mode.excludes(earlier.mode)
            && !later.behind.contains(&earlier.at)
        {
            later.behind.push(earlier.at);
        }
    }
}
