//! Moments and spans, as values: the table is told the time, it has no clock.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The last second of the year 9999, the last that RFC 3339 can write.
pub const LAST_SECOND: i64 = 253_402_300_799;

/// A moment of the wall clock (CLOCK_REALTIME), since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "(i64, u32)")]
pub struct Timestamp {
    /// Seconds since 1970, negative before.
    pub secs: i64,
    /// Nanoseconds within that second.
    pub nanos: u32,
}

impl TryFrom<(i64, u32)> for Timestamp {
    type Error = &'static str;

    fn try_from((secs, nanos): (i64, u32)) -> Result<Timestamp, &'static str> {
        match nanos {
            0..1_000_000_000 => Ok(Timestamp { secs, nanos }),
            _ => Err("more nanoseconds than a second has"),
        }
    }
}

impl Timestamp {
    /// A full second.
    pub const fn from_secs(secs: i64) -> Timestamp {
        Timestamp { secs, nanos: 0 }
    }

    /// The moment `span` later, or the last one that can be told.
    pub fn plus(self, span: Duration) -> Timestamp {
        let nanos = self.nanos + span.subsec_nanos();
        let carry = i64::from(nanos / 1_000_000_000);
        let secs = self.secs.saturating_add_unsigned(span.as_secs());
        Timestamp {
            secs: secs.saturating_add(carry),
            nanos: nanos % 1_000_000_000,
        }
    }

    /// How long after `earlier` it is; none if it is not.
    pub fn since(self, earlier: Timestamp) -> Option<Duration> {
        let nanos =
            |moment: Timestamp| i128::from(moment.secs) * 1_000_000_000 + i128::from(moment.nanos);
        let span = u128::try_from(nanos(self) - nanos(earlier)).ok()?;
        let secs = u64::try_from(span / 1_000_000_000).ok()?;
        let rest = u32::try_from(span % 1_000_000_000).ok()?;
        Some(Duration::new(secs, rest))
    }

    /// As RFC 3339 in UTC, to the second; the plain number of seconds where the
    /// year has no four digits.
    pub fn rfc3339(self) -> String {
        // jiff's own timestamps end a day before the last year does, so that
        // every time zone can show them.
        let moment = jiff::civil::date(1970, 1, 1)
            .at(0, 0, 0, 0)
            .checked_add(jiff::SignedDuration::from_secs(self.secs));
        match moment {
            Ok(moment) => format!("{moment}Z"),
            Err(_) => self.secs.to_string(),
        }
    }
}

/// A moment on the clock that no one sets and that counts suspend
/// (CLOCK_BOOTTIME).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct BootTime(pub Duration);

/// The two clocks, read together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now {
    /// The wall clock.
    pub wall: Timestamp,
    /// The boot clock.
    pub boot: BootTime,
}

/// Until when a claim is good (semantics.md, "Release").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// So long from the last renewal, on the boot clock.
    Lease {
        /// The length that a renewal starts again.
        length: Duration,
        /// When it runs out.
        ends: BootTime,
    },
    /// At a moment of the wall clock, which follows that clock when it is set.
    At(Timestamp),
}

impl Expiry {
    /// A lease of this length that begins now.
    pub fn lease(length: Duration, now: &Now) -> Expiry {
        Expiry::Lease {
            length,
            ends: BootTime(now.boot.0.saturating_add(length)),
        }
    }

    /// Whether it has passed.
    pub fn passed(&self, now: &Now) -> bool {
        match self {
            Expiry::Lease { ends, .. } => *ends <= now.boot,
            Expiry::At(moment) => *moment <= now.wall,
        }
    }

    /// The same moment by the wall clock as it stands now.
    pub fn wall(&self, now: &Now) -> Timestamp {
        match self {
            Expiry::At(moment) => *moment,
            Expiry::Lease { ends, .. } => match ends.0.checked_sub(now.boot.0) {
                Some(left) => now.wall.plus(left),
                None => {
                    let over = now.boot.0.saturating_sub(ends.0);
                    let secs = i64::try_from(over.as_secs()).unwrap_or(i64::MAX);
                    Timestamp {
                        secs: now.wall.secs.saturating_sub(secs),
                        nanos: now.wall.nanos,
                    }
                }
            },
        }
    }
}
