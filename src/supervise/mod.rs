//! Service through the death of whoever serves: this process keeps the connection
//! and starts another that serves it, again and again.
//!
//! It does as little as can be, so that nothing in it can go wrong: it mounts,
//! starts, waits, and unmounts.

mod deaths;
mod handover;
pub mod manager;
pub mod powers;
mod program;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};

use crate::clock;
use crate::fuse::mount::Mounted;
use crate::migrate::Found;
use crate::printable::printable;

use deaths::Deaths;
pub use handover::{Handover, Inherited, Upgrade, inherited};
use program::Program;

/// Says to a process that it is to serve what it has in place of stdin, and which
/// process started it for that. Nothing is believed because of it alone.
const SERVES: &str = "BOARDLOCK_SERVES";

/// Of a process that broke down and can be replaced (EX_SOFTWARE of sysexits.h).
pub const BROKE_DOWN: u8 = 70;

/// Of one that has come to terms with the kernel, for which it takes more powers than
/// to serve.
pub const BEGUN: u8 = 71;

/// What Rust exits with after a panic.
const PANICKED: i32 = 101;

/// How it ended.
#[derive(Debug)]
pub enum Ended {
    /// As it was asked to, or by unmounting.
    Well,
    /// Whoever served gave up, and said why.
    Failed,
    /// It was given up: with what reason.
    GivenUp(String),
}

/// A connection that is kept.
#[derive(Debug)]
pub struct Keeper {
    mounted: Mounted,
    device: OwnedFd,
    memory: File,
    /// As it was read last.
    handover: Handover,
    ready: bool,
    /// The service manager has it.
    kept: bool,
}

/// Why whoever served was waited for no more.
enum Attended {
    /// It ended by itself.
    Died(ExitStatus),
    /// It was ended, as all is to end.
    Stopped,
    /// It was ended, for another program to go on.
    Replaced(Upgrade),
}

impl Keeper {
    /// Of a new connection.
    ///
    /// # Errors
    /// When the handover cannot be written.
    pub fn new(mounted: Mounted, device: OwnedFd, found: Vec<Found>) -> io::Result<Keeper> {
        let handover = Handover::of(&mounted, found);
        let mut memory = Handover::file()?;
        handover.write(&mut memory)?;
        Ok(Keeper {
            mounted,
            device,
            memory,
            handover,
            ready: false,
            kept: false,
        })
    }

    /// Of one that the service manager has kept.
    ///
    /// # Errors
    /// When it is not mounted any more.
    pub fn again(inherited: Inherited) -> io::Result<Keeper> {
        Ok(Keeper {
            mounted: inherited.handover.mounted()?,
            device: inherited.device,
            memory: inherited.memory,
            handover: inherited.handover,
            ready: false,
            kept: true,
        })
    }

    /// Has it served until the end.
    ///
    /// # Errors
    /// What could not be done.
    pub fn run(mut self) -> io::Result<Ended> {
        let signals = block()?;
        // What it has passed on it has still, and is full with.
        if !self.kept {
            manager::keep(self.device.as_fd(), self.memory.as_fd());
        }
        let ended = self.serve(&signals);
        manager::forget();
        ended
    }

    fn serve(&mut self, signals: &SigSet) -> io::Result<Ended> {
        let mut program = Program::own()?;
        // To go back to when its successor does not last.
        let mut before: Option<Program> = None;
        let mut deaths = Deaths::default();
        loop {
            self.handover.serves = None;
            self.handover.write(&mut self.memory)?;
            if self.handover.init.is_some() {
                powers::leave_to_who_is_started();
            }
            let mut child = program.start(&self.device, &self.memory)?;
            let status = match self.attend(&mut child, signals)? {
                Attended::Stopped => return Ok(Ended::Well),
                Attended::Replaced(upgrade) => {
                    let next = Program::of(upgrade.by);
                    self.upgraded(upgrade, next.is_ok());
                    match next {
                        Ok(next) => before = Some(std::mem::replace(&mut program, next)),
                        Err(error) => {
                            log::error!(
                                "cannot upgrade to what process {} runs: {error}",
                                upgrade.by
                            );
                        }
                    }
                    continue;
                }
                Attended::Died(status) if status.success() => {
                    log::info!("{} is unmounted", self.dir());
                    return Ok(Ended::Well);
                }
                Attended::Died(status) => status,
            };
            self.look();
            if status.code() == Some(i32::from(BEGUN)) && self.handover.init.is_some() {
                continue;
            }
            let served = self
                .handover
                .serves
                .map(|since| now().saturating_sub(since));
            let too_many = deaths.one(served);
            if let Some(old) = before.take()
                && deaths.was_soon()
            {
                log::error!("the upgrade died ({status}) as soon as it served; back to the old");
                program = old;
                if let Some(upgrade) = self.handover.upgrade {
                    self.upgraded(upgrade, false);
                }
                continue;
            }
            let broke = status.signal().is_some()
                || [Some(PANICKED), Some(i32::from(BROKE_DOWN))].contains(&status.code());
            if !broke {
                if !self.handover.served {
                    // The bare directory is no worse than before.
                    let _ = self.mounted.unmount();
                }
                return Ok(Ended::Failed);
            }
            if self.handover.init.is_none() {
                return Ok(Ended::GivenUp(format!(
                    "it died ({status}) before it served, or on a kernel before Linux 6.9"
                )));
            }
            if too_many {
                return Ok(Ended::GivenUp(format!(
                    "it died {} times in a row as soon as it served, the last time by {status}",
                    deaths::MANY
                )));
            }
            log::error!("whoever served died ({status}); another goes on");
        }
    }

    /// Waits for the end of a process, or until it is to end.
    fn attend(&mut self, child: &mut Child, signals: &SigSet) -> io::Result<Attended> {
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(Attended::Died(status));
            }
            match signals.wait()? {
                Signal::SIGCHLD => {}
                Signal::SIGUSR1 => {
                    self.look();
                    if let Some(upgrade) = self.handover.upgrade
                        && upgrade.done.is_none()
                    {
                        end(child)?;
                        return Ok(Attended::Replaced(upgrade));
                    }
                    if self.handover.serves.is_some() && !self.ready {
                        self.ready = true;
                        manager::ready(&self.dir());
                    }
                }
                signal => {
                    manager::stopping();
                    // While it is served: who asks something at this moment is answered.
                    let stopped = self.mounted.stop(signal.as_str());
                    end(child)?;
                    return match stopped {
                        Ok(()) => Ok(Attended::Stopped),
                        Err(reason) => Err(io::Error::other(reason)),
                    };
                }
            }
        }
    }

    /// Looks at what whoever serves has to say. What it was writing when it died
    /// counts as never written.
    fn look(&mut self) {
        match Handover::read(&mut self.memory) {
            Ok(handover) => self.handover = handover,
            Err(error) => log::warn!("what whoever serves has to say: {error}"),
        }
    }

    fn upgraded(&mut self, upgrade: Upgrade, done: bool) {
        self.handover.upgrade = Some(Upgrade {
            done: Some(done),
            ..upgrade
        });
    }

    fn dir(&self) -> String {
        printable(self.mounted.dir.as_os_str().as_encoded_bytes())
    }
}

/// Has the signals that are waited for wait.
fn block() -> io::Result<SigSet> {
    let mut signals = SigSet::empty();
    for signal in [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGCHLD,
        Signal::SIGUSR1,
    ] {
        signals.add(signal);
    }
    signals.thread_block()?;
    Ok(signals)
}

/// Ends a process and waits until it has.
fn end(child: &mut Child) -> io::Result<ExitStatus> {
    // It is not reaped: the number is its own.
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
    child.wait()
}

fn now() -> Duration {
    clock::now().boot.0
}
