//! When to give up.

use std::time::Duration;

/// So many in a row that died so soon are too many.
pub(super) const MANY: usize = 5;
/// So soon after it began to serve; the time that it took to begin does not count, as
/// the machine may be slow.
const SOON: Duration = Duration::from_secs(1);

/// The deaths in a row of those who served for a moment only.
#[derive(Debug, Default)]
pub(super) struct Deaths(usize);

impl Deaths {
    /// One more, of a process that served for so long, if it did at all; whether it
    /// is one too many.
    pub fn one(&mut self, served: Option<Duration>) -> bool {
        self.0 = match served {
            Some(served) if served >= SOON => 0,
            _ => self.0 + 1,
        };
        self.0 >= MANY
    }

    /// Whether the last one was soon.
    pub fn was_soon(&self) -> bool {
        self.0 > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: Option<Duration> = Some(Duration::from_millis(999));
    const LONG: Option<Duration> = Some(SOON);

    #[test]
    fn so_many_in_a_row_are_too_many() {
        let mut deaths = Deaths::default();
        for _ in 1..MANY {
            assert!(!deaths.one(MOMENT));
        }
        assert!(deaths.one(MOMENT));
    }

    #[test]
    fn one_that_did_not_come_to_serve_died_soon() {
        let mut deaths = Deaths::default();
        for _ in 1..MANY {
            assert!(!deaths.one(None));
        }
        assert!(deaths.one(None) && deaths.was_soon());
    }

    #[test]
    fn one_that_served_for_a_while_begins_anew() {
        let mut deaths = Deaths::default();
        for _ in 0..3 {
            for _ in 1..MANY {
                assert!(!deaths.one(MOMENT));
            }
            assert!(!deaths.one(LONG) && !deaths.was_soon());
        }
    }
}
