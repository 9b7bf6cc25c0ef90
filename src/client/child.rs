//! The command that boards are taken for: it runs, gets the signals that are meant for it,
//! and is told when a board is taken from it.

use std::ffi::OsString;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{WaitOptions, waitpid};

use super::directory::LockDirectory;
use super::glance::token;
use super::refused::{Refused, code};
use super::signals::{self, Signals};
use super::spawn::Program;
use super::take::Taken;
use crate::printable::printable;

/// What is for the command, beside what ends a wait.
const FOR_IT: [Signal; 4] = [
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGTSTP,
    Signal::SIGCONT,
];

/// A command that runs.
struct Child<'a> {
    pid: Pid,
    is_stopped: bool,
    dir: &'a LockDirectory,
    /// The boards, and whether they are still its.
    boards: Vec<(&'a Taken, bool)>,
    tells: bool,
}

/// Has the end of children told, also where whoever started this ignores it: then the
/// system would not tell how they ended.
///
/// # Errors
/// As of sigaction(2).
pub fn hear_of_children() -> io::Result<()> {
    if signals::is_ignored(Signal::SIGCHLD) {
        // It is held back, so the handler never runs, and programs do not inherit it.
        signal_hook::flag::register(Signal::SIGCHLD as i32, Arc::new(AtomicBool::new(false)))?;
    }
    Ok(())
}

/// Runs a command to its end with these boards; its exit code, 128 and the signal if one
/// ended it. The boards are still locked afterwards.
///
/// # Errors
/// When it cannot be started.
pub fn run(
    dir: &LockDirectory,
    command: &[OsString],
    environment: &[(&'static str, OsString)],
    taken: &[Taken],
    signals: &mut Signals,
    tells: bool,
) -> Result<u8, Refused> {
    let failed = |error: io::Error| Refused::new(code::OS, format!("cannot run it: {error}"));
    signals.take_also(&FOR_IT).map_err(failed)?;
    signals.take_also(&[Signal::SIGCHLD]).map_err(failed)?;
    let Some(name) = command.first() else {
        return Err(Refused::new(code::USAGE, "which command?"));
    };
    for taken in taken {
        // Whatever becomes of this process, what runs has the board to its end.
        fcntl_setfd(&taken.file, FdFlags::empty()).map_err(|error| failed(error.into()))?;
    }
    let pid = Program {
        name,
        args: command,
        environment,
        stdin: None,
        mask: signals.before(),
    }
    .start()
    .map_err(|error| {
        let code = match error.raw_os_error() {
            Some(libc::ENOMEM | libc::EAGAIN) => code::OS,
            _ => code::UNAVAILABLE,
        };
        let name = printable(name.as_encoded_bytes());
        Refused::new(code, format!("cannot run {name}: {error}"))
    })?;
    let mut child = Child {
        pid,
        is_stopped: false,
        dir,
        boards: taken.iter().map(|taken| (taken, true)).collect(),
        tells,
    };
    child.look();
    child.until_it_ends(signals).map_err(failed)
}

impl Child<'_> {
    fn until_it_ends(&mut self, signals: &Signals) -> io::Result<u8> {
        loop {
            let mut fds = vec![PollFd::new(signals, PollFlags::IN)];
            let had = self.boards.iter().filter(|(_, has)| *has);
            fds.extend(had.map(|(taken, _)| PollFd::new(&taken.file, PollFlags::IN)));
            match poll(&mut fds, None) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            let has_changed = fds.iter().skip(1).any(|fd| !fd.revents().is_empty());
            while let Some(caught) = signals.next() {
                match caught.signal {
                    Signal::SIGCHLD => {
                        if let Some(code) = self.reap()? {
                            return Ok(code);
                        }
                    }
                    Signal::SIGTSTP if self.is_stopped => stop_too(),
                    // The terminal has told it, too.
                    _ if caught.by_terminal => {}
                    // Not after its end: it is not reaped before SIGCHLD is read.
                    signal => {
                        let _ = kill(self.pid, signal);
                    }
                }
            }
            if has_changed {
                self.look();
            }
        }
    }

    /// What became of it; its exit code once it has ended.
    fn reap(&mut self) -> io::Result<Option<u8>> {
        // By rustix, which knows of real-time signals, too.
        let flags = WaitOptions::NOHANG | WaitOptions::UNTRACED | WaitOptions::CONTINUED;
        let pid = rustix::process::Pid::from_raw(self.pid.as_raw());
        loop {
            let status = match waitpid(pid, flags) {
                Ok(Some((_, status))) => status,
                Ok(None) => return Ok(None),
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            if let Some(code) = status.exit_status() {
                return Ok(Some(u8::try_from(code).unwrap_or(u8::MAX)));
            }
            if let Some(signal) = status.terminating_signal() {
                return Ok(Some(u8::try_from(128 + signal).unwrap_or(u8::MAX)));
            }
            if let Some(signal) = status.stopping_signal() {
                self.is_stopped = true;
                // By job control: the shell that waits for us is to know. A SIGSTOP is
                // somebody's who continues it himself, and not us.
                if signal != libc::SIGSTOP {
                    stop_too();
                }
            } else if status.continued() {
                self.is_stopped = false;
            }
        }
    }

    /// Looks whether the boards are still had, and tells of those that are not.
    fn look(&mut self) {
        for (taken, has) in self.boards.iter_mut().filter(|(_, has)| *has) {
            // Read first: what changes after that wakes again.
            let told = self.dir.told_by(&taken.board, &taken.file);
            if told.is_ok() && taken.token.is_some() && token(&taken.file) == taken.token {
                continue;
            }
            *has = false;
            if !self.tells {
                continue;
            }
            let what = match told {
                Ok(told) => {
                    let ended = told.and_then(|told| told.ended);
                    let how = ended.map_or_else(String::new, |how| format!(": {how}"));
                    format!("is not yours any more{how}")
                }
                Err(error) => format!("may not be yours any more, nobody serves it: {error}"),
            };
            let board = &taken.board;
            let _ = writeln!(
                io::stderr(),
                "boardlock: {board} {what}; what you run goes on"
            );
        }
    }
}

/// Stops this process, as its command is, until somebody continues both.
fn stop_too() {
    let _ = nix::sys::signal::raise(Signal::SIGSTOP);
}
