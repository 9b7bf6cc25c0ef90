//! How many lines of the log a user may cause: whoever takes and gives back a
//! board as fast as can be is not to fill a disk by that, nor to drive out what
//! others did.

use std::collections::HashMap;
use std::time::Duration;

use crate::lock::ids::Uid;
use crate::lock::time::BootTime;

/// So many lines of a user are written however fast they come: more than a busy
/// day of a lab's jobs needs at a time.
const AT_ONCE: u32 = 5000;

/// Then one in this time, on average.
const EACH: Duration = Duration::from_millis(100);

/// Once there were too many, none is written until there is room for so many
/// again: not a line now and then without those around it.
const AGAIN: u32 = 600;

/// As many users are known at a time before those are forgotten who were quiet.
const USERS: usize = 256;

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// It is written.
    Written,
    /// It is written, and so many before it were not.
    After(u64),
    /// It is not, and it is the first that is not.
    FirstLeftOut,
    /// It is not.
    LeftOut,
}

/// The lines of each user.
#[derive(Debug, Default)]
pub(super) struct Lines(HashMap<Uid, Caused>);

/// The lines of a user.
#[derive(Clone, Copy, Debug, Default)]
struct Caused {
    /// When all of them are made up for.
    until: Duration,
    /// How many were left out, while they are.
    left_out: Option<u64>,
}

impl Lines {
    /// One more line of what a user does.
    pub fn one_more(&mut self, uid: Uid, now: BootTime) -> Line {
        let now = now.0;
        if self.0.len() >= USERS {
            self.0
                .retain(|_, caused| caused.until > now || caused.left_out.is_some());
        }
        let caused = self.0.entry(uid).or_default();
        let behind = caused.until.saturating_sub(now);
        let room = match caused.left_out {
            Some(_) => EACH * (AT_ONCE - AGAIN),
            None => EACH * (AT_ONCE - 1),
        };
        if behind > room {
            let before = caused.left_out;
            caused.left_out = Some(before.unwrap_or(0).saturating_add(1));
            return match before {
                Some(_) => Line::LeftOut,
                None => Line::FirstLeftOut,
            };
        }
        caused.until = caused.until.max(now).saturating_add(EACH);
        match caused.left_out.take() {
            Some(left_out) => Line::After(left_out),
            None => Line::Written,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: Uid = Uid(1);

    fn at(secs: u64) -> BootTime {
        BootTime(Duration::from_secs(secs))
    }

    #[test]
    fn a_user_who_causes_too_many_is_written_of_no_more_for_a_while() {
        let mut lines = Lines::default();
        for _ in 0..AT_ONCE {
            assert_eq!(lines.one_more(USER, at(1000)), Line::Written);
        }
        assert_eq!(lines.one_more(USER, at(1000)), Line::FirstLeftOut);
        assert_eq!(lines.one_more(USER, at(1000)), Line::LeftOut);
        // Of others, all.
        assert_eq!(lines.one_more(Uid(2), at(1000)), Line::Written);
        assert_eq!(lines.one_more(USER, at(1059)), Line::LeftOut);
        assert_eq!(lines.one_more(USER, at(1060)), Line::After(3));
        for _ in 1..AGAIN {
            assert_eq!(lines.one_more(USER, at(1060)), Line::Written);
        }
        assert_eq!(lines.one_more(USER, at(1060)), Line::FirstLeftOut);
    }

    #[test]
    fn who_causes_few_is_always_written_of() {
        let mut lines = Lines::default();
        for second in 1000..10_000 {
            for _ in 0..10 {
                assert_eq!(lines.one_more(USER, at(second)), Line::Written);
            }
        }
    }

    #[test]
    fn users_who_are_quiet_are_forgotten() {
        let mut lines = Lines::default();
        for uid in 0..10_000 {
            lines.one_more(Uid(uid), at(1000 + u64::from(uid)));
        }
        assert!(lines.0.len() <= USERS);
    }
}
