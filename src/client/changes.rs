//! Waiting for boards to change, without asking again and again: poll(2) on
//! `.boardlock/status.json`, which says readable once something has changed since it was
//! read.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::directory::{LockDirectory, Trouble};
use super::signals::is_ignored;
use crate::schema::StatusFile;

/// The file.
const NAME: &str = "status.json";

/// Why a wait is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// Something may have changed.
    Changed,
    /// The terminal has another size, or was another program's meanwhile.
    Redraw,
    /// The time is over.
    Time,
    /// It is to end, by this signal.
    Stop(Signal),
    /// Nobody reads what is written any more.
    Unread,
}

/// The boards of a lock directory as they change, and the signals of a program that shows
/// them.
#[derive(Debug)]
pub struct Changes<'a> {
    dir: &'a LockDirectory,
    file: File,
    signals: SignalFd,
}

impl<'a> Changes<'a> {
    /// Begins. SIGWINCH, SIGCONT, and what ends programs are for this from now on, but for
    /// what whoever started it has had ignored (`nohup`).
    ///
    /// # Errors
    /// When there is nothing to be read, or no signals.
    pub fn of(dir: &'a LockDirectory) -> Result<Changes<'a>, Trouble> {
        let mut mask = SigSet::empty();
        for signal in [
            Signal::SIGWINCH,
            Signal::SIGCONT,
            Signal::SIGINT,
            Signal::SIGTERM,
            Signal::SIGHUP,
        ] {
            if !is_ignored(signal) {
                mask.add(signal);
            }
        }
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = mask
            .thread_block()
            .and_then(|()| SignalFd::with_flags(&mask, flags))
            .map_err(|error| Trouble(format!("cannot wait for signals: {error}")))?;
        let file = open(dir)?;
        Ok(Changes { dir, file, signals })
    }

    /// The boards as they are now, once it was looked who has those that file locks hold.
    /// What changes after that is waited for.
    ///
    /// # Errors
    /// When that cannot be read; says what to do.
    pub fn status(&self) -> Result<StatusFile, Trouble> {
        let status = self.read()?;
        match self.dir.look_up(&status) {
            true => self.read(),
            false => Ok(status),
        }
    }

    fn read(&self) -> Result<StatusFile, Trouble> {
        let text = self
            .dir
            .text(NAME, Some(&self.file))
            .map_err(|error| self.dir.unreadable(NAME, &error))?;
        self.dir.understand(NAME, &text)
    }

    /// Waits, for so long at most.
    ///
    /// # Errors
    /// When that cannot be done.
    pub fn wait(&self, limit: Duration) -> Result<Woken, Trouble> {
        let failed = |error: io::Error| Trouble(format!("cannot wait for changes: {error}"));
        let stdout = io::stdout();
        let limit = Timespec::try_from(limit).ok();
        let mut fds = [
            PollFd::new(&self.file, PollFlags::IN),
            PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
            // Only that its reader has gone is told.
            PollFd::new(&stdout, PollFlags::empty()),
        ];
        match poll(&mut fds, limit.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(failed(error.into())),
        }
        let [file, signals, out] = fds.map(|fd| fd.revents());
        if signals.contains(PollFlags::IN)
            && let Some(woken) = self.signal()?
        {
            return Ok(woken);
        }
        if out.intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL) {
            return Ok(Woken::Unread);
        }
        // An error is told by reading.
        Ok(if file.is_empty() {
            Woken::Time
        } else {
            Woken::Changed
        })
    }

    fn signal(&self) -> Result<Option<Woken>, Trouble> {
        let told = self
            .signals
            .read_signal()
            .map_err(|error| Trouble(format!("cannot read signals: {error}")))?;
        let number = told.and_then(|told| i32::try_from(told.ssi_signo).ok());
        let signal = number.and_then(|number| Signal::try_from(number).ok());
        Ok(signal.map(|signal| match signal {
            Signal::SIGWINCH | Signal::SIGCONT => Woken::Redraw,
            signal => Woken::Stop(signal),
        }))
    }
}

fn open(dir: &LockDirectory) -> Result<File, Trouble> {
    File::open(dir.told(NAME)).map_err(|error| dir.unreadable(NAME, &error))
}

/// Ends the program as the signal would have, had it not been waited for: who started it
/// sees that.
pub fn end_by(signal: Signal) {
    let mut mask = SigSet::empty();
    mask.add(signal);
    let _ = nix::sys::signal::raise(signal);
    let _ = mask.thread_unblock();
}
