//! The timer whose SIGALRM ends waits.

use std::time::Duration;

/// Starts or, with none, stops the timer, which goes off again and again until
/// it is stopped: one that goes off before the wait begins does no harm.
pub fn set(limit: Option<Duration>) {
    let limit = limit.unwrap_or_default();
    let time = libc::timeval {
        tv_sec: limit.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_usec: libc::suseconds_t::from(limit.subsec_micros()),
    };
    let timer = libc::itimerval {
        it_interval: time,
        it_value: time,
    };
    // SAFETY: the new value is one, and the old one is not asked for.
    let set = unsafe { libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut()) };
    assert_eq!(set, 0, "setitimer");
}
