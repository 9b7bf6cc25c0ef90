//! Waiting for boards to change, without asking again and again: poll(2) on
//! `.boardlock/events`.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::directory::{LockDirectory, Trouble};

/// What cannot be told apart from what was there is asked for again this often: where
/// whoever serves has just changed, for a moment.
const AGAIN: Duration = Duration::from_millis(200);

/// Why a wait is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// A board has changed.
    Changed,
    /// The terminal has another size.
    Resized,
    /// The time is over.
    Time,
    /// It is to end, by this signal.
    Stop(Signal),
    /// Nobody reads what is written any more.
    Unread,
}

/// The changes of a lock directory, from now on, and the signals of a program that shows
/// them.
#[derive(Debug)]
pub struct Changes<'a> {
    dir: &'a LockDirectory,
    events: File,
    /// What of it was read.
    read: u64,
    signals: SignalFd,
}

impl<'a> Changes<'a> {
    /// Begins. SIGWINCH, SIGINT, SIGTERM and SIGHUP are for this from now on.
    ///
    /// # Errors
    /// When there are no events to be read, or no signals.
    pub fn of(dir: &'a LockDirectory) -> Result<Changes<'a>, Trouble> {
        let mut mask = SigSet::empty();
        for signal in [
            Signal::SIGWINCH,
            Signal::SIGINT,
            Signal::SIGTERM,
            Signal::SIGHUP,
        ] {
            mask.add(signal);
        }
        let signals = mask
            .thread_block()
            .and_then(|()| {
                SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            })
            .map_err(|error| Trouble(format!("cannot wait for signals: {error}")))?;
        let (events, read) = open(dir)?;
        Ok(Changes {
            dir,
            events,
            read,
            signals,
        })
    }

    /// Waits, for so long at most.
    ///
    /// # Errors
    /// When nobody serves the directory any more.
    pub fn wait(&mut self, limit: Duration) -> Result<Woken, Trouble> {
        let failed = |error: io::Error| Trouble(format!("cannot wait for changes: {error}"));
        let stdout = io::stdout();
        let limit =
            Timespec::try_from(limit).map_err(|_| failed(io::ErrorKind::InvalidInput.into()))?;
        let mut fds = [
            PollFd::new(&self.events, PollFlags::IN),
            PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
            // Only that its reader has gone is told.
            PollFd::new(&stdout, PollFlags::empty()),
        ];
        let woken = match poll(&mut fds, Some(&limit)) {
            Ok(woken) => woken,
            Err(rustix::io::Errno::INTR) => 0,
            Err(error) => return Err(failed(error.into())),
        };
        let [events, signals, out] = fds.map(|fd| fd.revents());
        if let Some(signal) = self.signal(signals)? {
            return Ok(signal);
        }
        if out.intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL) {
            return Ok(Woken::Unread);
        }
        if !events.is_empty() {
            self.drain()?;
            return Ok(Woken::Changed);
        }
        debug_assert!(woken == 0);
        Ok(Woken::Time)
    }

    fn signal(&self, events: PollFlags) -> Result<Option<Woken>, Trouble> {
        if !events.contains(PollFlags::IN) {
            return Ok(None);
        }
        let told = self
            .signals
            .read_signal()
            .map_err(|error| Trouble(format!("cannot read signals: {error}")))?;
        let signal = told.and_then(|told| i32::try_from(told.ssi_signo).ok());
        Ok(
            match signal.and_then(|number| Signal::try_from(number).ok()) {
                Some(Signal::SIGWINCH) => Some(Woken::Resized),
                Some(signal) => Some(Woken::Stop(signal)),
                None => None,
            },
        )
    }

    /// Reads what has come. Which lines these are does not matter: what is shown is
    /// looked at anew.
    fn drain(&mut self) -> Result<(), Trouble> {
        let mut buffer = [0; 64 * 1024];
        let begin = self.read;
        loop {
            match self.events.read_at(&mut buffer, self.read) {
                Ok(0) => break,
                Ok(count) => {
                    self.read = self.read.saturating_add(u64::try_from(count).unwrap_or(0))
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // An open file of before, which whoever serves now does not know.
                Err(_) => {
                    (self.events, self.read) = open(self.dir)?;
                    std::thread::sleep(AGAIN);
                    return Ok(());
                }
            }
        }
        if self.read == begin {
            // Readable, and nothing to read: not to be asked again at once.
            (self.events, self.read) = open(self.dir)?;
            std::thread::sleep(AGAIN);
        }
        Ok(())
    }
}

fn open(dir: &LockDirectory) -> Result<(File, u64), Trouble> {
    let unreadable = |error: io::Error| dir.unreadable("events", &error);
    let file = File::open(dir.told("events")).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    Ok((file, length))
}

/// Ends the program as the signal would have, had it not been waited for: who started it
/// sees that.
pub fn end_by(signal: Signal) {
    let mut mask = SigSet::empty();
    mask.add(signal);
    let _ = mask.thread_unblock();
    let _ = nix::sys::signal::raise(signal);
}
