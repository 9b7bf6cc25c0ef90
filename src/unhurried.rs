//! Threads whose work can wait: what they write is told after the fact.

/// So much nicer than the others (setpriority(2)).
const NICE: i32 = 10;

/// Has the calling thread run after those on which callers wait. On Linux each thread
/// has a nice value of its own (sched(7)).
pub fn unhurried() {
    let before = rustix::process::getpriority_process(None).unwrap_or(0);
    if let Err(error) = rustix::process::setpriority_process(None, before.saturating_add(NICE)) {
        log::debug!("cannot lower the priority of a thread: {error}");
    }
}
