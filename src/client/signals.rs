//! Signals, read as they come: those that end a wait, and those that are for the command.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, SigmaskHow, Signal, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// What people and systems end a program with.
pub const ENDING: [Signal; 4] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
];

/// Signals that come no other way than by being read here.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
    /// What was held back before.
    before: SigSet,
    taken: SigSet,
    ignored: SigSet,
}

/// One that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caught {
    /// Which.
    pub signal: Signal,
    /// Whether the terminal sent it, to the whole foreground.
    pub by_terminal: bool,
}

impl Signals {
    /// Takes these from now on, but for those that whoever started this has had ignored:
    /// `nohup` means what it runs, too.
    ///
    /// # Errors
    /// When the system has no more descriptors.
    pub fn take(signals: &[Signal]) -> io::Result<Signals> {
        let ignored = ignored();
        let taken = without(signals, &ignored);
        let before = taken.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let fd = SignalFd::with_flags(&taken, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Signals {
            fd,
            before,
            taken,
            ignored,
        })
    }

    /// Takes these as well.
    ///
    /// # Errors
    /// As of sigprocmask(2).
    pub fn take_also(&mut self, signals: &[Signal]) -> io::Result<()> {
        for signal in without(signals, &self.ignored).iter() {
            self.taken.add(signal);
        }
        self.taken.thread_block()?;
        Ok(self.fd.set_mask(&self.taken)?)
    }

    /// What is held back from programs that are started: what was before.
    pub fn before(&self) -> &SigSet {
        &self.before
    }

    /// One that has come.
    pub fn next(&self) -> Option<Caught> {
        let info = self.fd.read_signal().ok()??;
        let number = i32::try_from(info.ssi_signo).ok()?;
        Some(Caught {
            signal: Signal::try_from(number).ok()?,
            by_terminal: info.ssi_code == libc::SI_KERNEL,
        })
    }

    /// Ends this process by a signal, as if it had never been held back: whoever started it
    /// sees what ended it.
    pub fn die_of(&self, signal: Signal) -> ! {
        let mut mask = self.before;
        mask.remove(signal);
        let _ = raise(signal);
        let _ = mask.thread_set_mask();
        // One that does not end programs.
        std::process::exit(128 + signal as i32)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn without(signals: &[Signal], but: &SigSet) -> SigSet {
    signals
        .iter()
        .copied()
        .filter(|signal| !but.contains(*signal))
        .collect()
}

/// Whether whoever started this has had a signal ignored.
pub fn is_ignored(signal: Signal) -> bool {
    ignored().contains(signal)
}

/// The signals that are ignored, from proc_pid_status(5); none where it cannot be read.
fn ignored() -> SigSet {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = text
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0);
    Signal::iterator()
        .filter(|signal| mask >> (*signal as i32 - 1) & 1 == 1)
        .collect()
}
