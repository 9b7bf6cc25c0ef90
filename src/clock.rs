//! The two clocks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::fault;
use crate::lock::time::{BootTime, Now, Timestamp};

/// Reads both clocks.
pub fn now() -> Now {
    let boot = clock_gettime(ClockId::Boottime);
    let secs = u64::try_from(boot.tv_sec).unwrap_or_default();
    let nanos = u32::try_from(boot.tv_nsec).unwrap_or_default();
    let mut wall = from_system(SystemTime::now());
    wall.secs = wall.secs.saturating_add(fault::clock_ahead());
    Now {
        wall,
        boot: BootTime(Duration::new(secs, nanos)),
    }
}

/// A moment as the table counts it.
pub fn from_system(time: SystemTime) -> Timestamp {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => Timestamp {
            secs: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            nanos: after.subsec_nanos(),
        },
        Err(before) => {
            let before = before.duration();
            let secs = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
            match before.subsec_nanos() {
                0 => Timestamp::from_secs(-secs),
                nanos => Timestamp {
                    secs: -secs - 1,
                    nanos: 1_000_000_000 - nanos,
                },
            }
        }
    }
}

/// The same moment for the standard library; the nearest one it can tell.
pub fn to_system(moment: Timestamp) -> SystemTime {
    let nanos = Duration::from_nanos(u64::from(moment.nanos));
    let whole = Duration::from_secs(moment.secs.unsigned_abs());
    let base = if moment.secs >= 0 {
        UNIX_EPOCH.checked_add(whole)
    } else {
        UNIX_EPOCH.checked_sub(whole)
    };
    base.and_then(|base| base.checked_add(nanos))
        .unwrap_or(UNIX_EPOCH)
}
