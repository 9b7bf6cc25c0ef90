//! Service through the death of whoever serves: this process keeps the connection
//! and starts another that serves it, again and again.
//!
//! It does as little as can be, so that nothing in it can go wrong: it mounts,
//! starts, waits, and passes signals on. What it hands over are two descriptors, in
//! place of stdin and stdout: the device, and a file in memory that says what it is.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use rustix::fs::MemfdFlags;
use serde::{Deserialize, Serialize};

use crate::fuse::mount::Mounted;
use crate::migrate::Found;

/// Says to a process that it is to serve what it has in place of stdin. Nothing is
/// believed because of it alone.
const SERVES: &str = "BOARDLOCK_SERVES";

/// Of a process that broke down and can be replaced (EX_SOFTWARE of sysexits.h).
pub const BROKE_DOWN: u8 = 70;

/// What Rust exits with after a panic.
const PANICKED: i32 = 101;

/// So many in a row that died so soon are too many.
const DEATHS: usize = 5;
const SOON: Duration = Duration::from_secs(1);

/// The major and minor number of /dev/fuse (devices.txt of the kernel).
const FUSE: (u32, u32) = (10, 229);

/// What a process needs to know to serve a connection.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Handover {
    dir: PathBuf,
    all_users: bool,
    mount: u32,
    device: String,
    /// The lock files that were there before, for the first one.
    pub found: Vec<Found>,
    /// The message that the connection began with; none before it has.
    pub init: Option<Vec<u8>>,
}

/// A connection that was handed over.
#[derive(Debug)]
pub struct Inherited {
    /// What there is to know.
    pub handover: Handover,
    /// The device.
    pub device: OwnedFd,
    memory: File,
}

impl Handover {
    fn read(memory: &mut File) -> io::Result<Handover> {
        let mut bytes = Vec::new();
        memory.seek(SeekFrom::Start(0))?;
        memory.read_to_end(&mut bytes)?;
        postcard::from_bytes(&bytes).map_err(io::Error::other)
    }

    fn write(&self, memory: &mut File) -> io::Result<()> {
        let bytes = postcard::to_stdvec(self).map_err(io::Error::other)?;
        memory.seek(SeekFrom::Start(0))?;
        memory.set_len(0)?;
        memory.write_all(&bytes)
    }

    /// The mount.
    ///
    /// # Errors
    /// When it is not there any more.
    pub fn mounted(&self) -> io::Result<Mounted> {
        Mounted::inherited(self.dir.clone(), self.all_users, self.mount, &self.device)
    }
}

impl Inherited {
    /// Tells whoever serves after this process how the connection began.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begun(&mut self, init: Vec<u8>) -> io::Result<()> {
        self.handover.init = Some(init);
        self.handover.found.clear();
        self.handover.write(&mut self.memory)
    }
}

/// The connection that this process is to serve, if it was started for that.
///
/// # Errors
/// When what it was given is not that.
pub fn inherited() -> io::Result<Option<Inherited>> {
    if std::env::var_os(SERVES).is_none() {
        return Ok(None);
    }
    let device = File::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    let about = device.metadata()?;
    let number = (
        rustix::fs::major(about.rdev()),
        rustix::fs::minor(about.rdev()),
    );
    if !about.file_type().is_char_device() || number != FUSE {
        return Err(io::Error::other(format!(
            "{SERVES} is set, and stdin is no FUSE device: it is for boardlock itself to set"
        )));
    }
    let mut memory = File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
    let handover = Handover::read(&mut memory)?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    // Not to serve on its own: nobody would notice its death.
    let parent = rustix::process::getppid();
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    if rustix::process::getppid() != parent || parent.is_none_or(|parent| parent.is_init()) {
        return Err(io::Error::other("whoever started it is gone"));
    }
    Ok(Some(Inherited {
        handover,
        device: device.into(),
        memory,
    }))
}

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

/// Has a connection served until the end.
///
/// # Errors
/// What could not be done.
pub fn run(mounted: &Mounted, device: &OwnedFd, found: Vec<Found>) -> io::Result<Ended> {
    let mut signals = SigSet::empty();
    for signal in [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGCHLD,
    ] {
        signals.add(signal);
    }
    signals.thread_block()?;
    let mut memory = File::from(rustix::fs::memfd_create(
        "boardlock-handover",
        MemfdFlags::CLOEXEC,
    )?);
    let handover = Handover {
        dir: mounted.dir.clone(),
        all_users: mounted.all_users,
        mount: mounted.id(),
        device: mounted.device().to_owned(),
        found,
        init: None,
    };
    handover.write(&mut memory)?;
    // Before it can be replaced by an upgrade.
    let program = std::env::current_exe()?;
    let mut deaths = 0;
    loop {
        let started = Instant::now();
        let mut child = start(&program, device, &memory)?;
        let (status, asked) = attend(&mut child, &signals)?;
        if asked || status.success() {
            return Ok(Ended::Well);
        }
        let broke = status.signal().is_some()
            || [Some(PANICKED), Some(i32::from(BROKE_DOWN))].contains(&status.code());
        if !broke {
            return Ok(Ended::Failed);
        }
        if Handover::read(&mut memory)?.init.is_none() {
            return Ok(Ended::GivenUp(format!(
                "it died ({status}) before it served, or on a kernel before Linux 6.9"
            )));
        }
        deaths = if started.elapsed() < SOON {
            deaths + 1
        } else {
            0
        };
        if deaths >= DEATHS {
            return Ok(Ended::GivenUp(format!(
                "it died {DEATHS} times in a row as soon as it served, the last time by {status}"
            )));
        }
        log::error!("whoever served died ({status}); another goes on");
    }
}

fn start(program: &PathBuf, device: &OwnedFd, memory: &File) -> io::Result<Child> {
    Command::new(program)
        .args(std::env::args_os().skip(1))
        .env(SERVES, "1")
        .stdin(device.try_clone()?)
        .stdout(memory.try_clone()?)
        .spawn()
}

/// Waits for the end of a process and passes signals on; whether it was asked for.
fn attend(child: &mut Child, signals: &SigSet) -> io::Result<(ExitStatus, bool)> {
    let mut asked = false;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok((status, asked));
        }
        let signal = signals.wait()?;
        if signal != Signal::SIGCHLD {
            asked = true;
            // It is not reaped: the number is its own.
            let pid = rustix::process::Pid::from_child(child);
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        }
    }
}
