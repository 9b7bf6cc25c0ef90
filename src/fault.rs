//! Faults on purpose, for tests: the process that serves kills or stops itself at a
//! named point, and the wall clock is shifted.
//!
//! Only builds with debug assertions have this; in others nothing is looked for and
//! the functions are empty. The directory that `BOARDLOCK_FAULTS` names is where a
//! test says what is to happen:
//!
//! - a file with the name of a [`Point`], `N ACTION`: at its Nth passage from then on,
//!   `kill` (this process, by SIGKILL), `stop` (it, by SIGSTOP) or `kill-both` (the one
//!   that started it, too). Before that is done it becomes `POINT.done`, with the pid
//!   in it, so it is done once, whoever serves next;
//! - a file `clock`: so many seconds the wall clock is ahead, or behind if negative.

/// Where something can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// A request was read; nobody has looked at it.
    Read,
    /// The table has decided; nothing is recorded.
    Decided,
    /// Half of what is recorded is written.
    Recording,
    /// It is recorded; nobody has heard of it.
    Recorded,
    /// The file is written anew, beside the one that counts.
    Rewriting,
    /// The new one counts.
    Rewritten,
    /// The answer is about to be given.
    Replying,
    /// It was given.
    Replied,
    /// A holder has ended; the table does not know.
    Ended,
    /// What is recorded was read; nothing is taken over.
    Restoring,
    /// It was taken over; no request is read.
    Restored,
    /// The kernel was asked to send again what was not answered.
    Resumed,
}

impl Point {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Point::Read => "read",
            Point::Decided => "decided",
            Point::Recording => "recording",
            Point::Recorded => "recorded",
            Point::Rewriting => "rewriting",
            Point::Rewritten => "rewritten",
            Point::Replying => "replying",
            Point::Replied => "replied",
            Point::Ended => "ended",
            Point::Restoring => "restoring",
            Point::Restored => "restored",
            Point::Resumed => "resumed",
        }
    }
}

/// This process is at a point.
#[inline]
pub fn point(at: Point) {
    within(at, || ());
}

/// The same with something to do last, if this is the end.
#[inline]
pub fn within(at: Point, last: impl FnOnce()) {
    #[cfg(debug_assertions)]
    on_purpose::within(at, last);
    #[cfg(not(debug_assertions))]
    let _ = (at, last);
}

/// How many seconds the wall clock is ahead.
#[inline]
pub fn clock_ahead() -> i64 {
    #[cfg(debug_assertions)]
    return on_purpose::clock_ahead();
    #[cfg(not(debug_assertions))]
    0
}

#[cfg(debug_assertions)]
mod on_purpose {
    use std::path::PathBuf;
    use std::sync::OnceLock;
    use std::time::Duration;

    use parking_lot::Mutex;
    use rustix::process::{Signal, getpid, getppid, kill_process};

    use super::Point;

    /// A process stops in less.
    const STOPS: Duration = Duration::from_millis(50);

    fn dir() -> Option<&'static PathBuf> {
        static DIR: OnceLock<Option<PathBuf>> = OnceLock::new();
        let named = || std::env::var_os("BOARDLOCK_FAULTS").map(PathBuf::from);
        DIR.get_or_init(named).as_ref()
    }

    pub(super) fn within(at: Point, last: impl FnOnce()) {
        let Some(dir) = dir() else { return };
        let Some(action) = due(&dir.join(at.name())) else {
            return;
        };
        last();
        let (stops, both) = (action == "stop", action == "kill-both");
        if both && let Some(parent) = getppid() {
            let _ = kill_process(parent, Signal::KILL);
        }
        let signal = if stops { Signal::STOP } else { Signal::KILL };
        let _ = kill_process(getpid(), signal);
        // Another thread may be the first to stop.
        std::thread::sleep(STOPS);
    }

    /// What is to be done at this passage.
    fn due(armed: &PathBuf) -> Option<String> {
        // Passages are counted one at a time.
        static COUNTING: Mutex<()> = Mutex::new(());
        let _counting = COUNTING.lock();
        let mine = armed.with_extension(getpid().to_string());
        std::fs::rename(armed, &mine).ok()?;
        let text = std::fs::read_to_string(&mine).ok()?;
        let (left, action) = text.trim().split_once(' ')?;
        let left: u64 = left.parse().ok()?;
        if left > 1 {
            std::fs::write(&mine, format!("{} {action}", left - 1)).ok()?;
            let _ = std::fs::rename(&mine, armed);
            return None;
        }
        std::fs::write(&mine, getpid().to_string()).ok()?;
        std::fs::rename(&mine, armed.with_extension("done")).ok()?;
        Some(action.to_owned())
    }

    pub(super) fn clock_ahead() -> i64 {
        let text = dir().and_then(|dir| std::fs::read_to_string(dir.join("clock")).ok());
        text.and_then(|text| text.trim().parse().ok())
            .unwrap_or_default()
    }
}
