//! What whoever is to serve gets from whoever keeps the connection: two
//! descriptors, in place of stdin and stdout. One is the device, the other a file in
//! memory that says what it is.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::MemfdFlags;
use serde::{Deserialize, Serialize};

use super::SERVES;
use crate::clock;
use crate::fuse::mount::Mounted;
use crate::migrate::Found;

/// Of what is handed over. A program that knows another one does not serve.
const VERSION: u32 = 1;

/// Version, length and checksum come first.
const HEAD: usize = 12;

/// The major and minor number of /dev/fuse (devices.txt of the kernel).
const FUSE: (u32, u32) = (10, 229);

/// What a process needs to know to serve a connection.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Handover {
    pub(super) dir: PathBuf,
    all_users: bool,
    mount: u32,
    device: String,
    /// The lock files that were there before, for the first one.
    pub found: Vec<Found>,
    /// The message that the connection began with; none before it has.
    pub init: Option<Vec<u8>>,
    /// Whether it was ever served.
    pub served: bool,
    /// Since when it is served by whoever was started last, by the clock that goes
    /// on in suspend; none before it is.
    pub(super) serves: Option<Duration>,
    /// The upgrade that was asked for last.
    pub upgrade: Option<Upgrade>,
}

/// Another program is to go on.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Upgrade {
    /// The request that asks for it, unanswered until it is done.
    pub request: u64,
    /// The process that asks: its program is to go on.
    pub by: u32,
    /// Whether it has; none while it is not known.
    pub done: Option<bool>,
}

/// A connection that was handed over.
#[derive(Debug)]
pub struct Inherited {
    /// What there is to know.
    pub handover: Handover,
    /// The device.
    pub device: OwnedFd,
    pub(super) memory: File,
    /// Whoever keeps the connection.
    keeper: Option<rustix::process::Pid>,
}

impl Handover {
    pub(super) fn of(mounted: &Mounted, found: Vec<Found>) -> Handover {
        Handover {
            dir: mounted.dir.clone(),
            all_users: mounted.all_users,
            mount: mounted.id(),
            device: mounted.device().to_owned(),
            found,
            ..Handover::default()
        }
    }

    /// A new file in memory for it.
    pub(super) fn file() -> io::Result<File> {
        let memory = rustix::fs::memfd_create("boardlock-handover", MemfdFlags::CLOEXEC)?;
        Ok(File::from(memory))
    }

    pub(super) fn read(memory: &mut File) -> io::Result<Handover> {
        let mut bytes = Vec::new();
        memory.seek(SeekFrom::Start(0))?;
        memory.read_to_end(&mut bytes)?;
        let word = |at: usize| {
            let word = bytes.get(at..).and_then(<[u8]>::first_chunk);
            word.map(|word| u32::from_ne_bytes(*word))
                .ok_or(io::ErrorKind::UnexpectedEof)
        };
        let version = word(0)?;
        if version != VERSION {
            return Err(io::Error::other(format!(
                "whoever keeps the connection speaks version {version}, this boardlock {VERSION}: \
                 stop the one that runs, then start this"
            )));
        }
        let (length, sum) = (word(4)? as usize, word(8)?);
        let body = bytes.get(HEAD..HEAD.saturating_add(length));
        match body {
            Some(body) if crc32fast::hash(body) == sum => {
                postcard::from_bytes(body).map_err(io::Error::other)
            }
            _ => Err(io::Error::other("what was handed over is torn")),
        }
    }

    pub(super) fn write(&self, memory: &mut File) -> io::Result<()> {
        let body = postcard::to_stdvec(self).map_err(io::Error::other)?;
        let length = u32::try_from(body.len()).map_err(io::Error::other)?;
        let mut bytes = Vec::with_capacity(HEAD + body.len());
        for word in [VERSION, length, crc32fast::hash(&body)] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(body);
        memory.seek(SeekFrom::Start(0))?;
        // At once: whoever writes may be killed. What was longer before is left.
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
    /// Takes a connection from these.
    pub(super) fn new(device: OwnedFd, memory: OwnedFd) -> io::Result<Inherited> {
        let device = File::from(device);
        let about = device.metadata()?;
        let number = (
            rustix::fs::major(about.rdev()),
            rustix::fs::minor(about.rdev()),
        );
        if !about.file_type().is_char_device() || number != FUSE {
            return Err(io::Error::other("it is no FUSE device"));
        }
        let mut memory = File::from(memory);
        Ok(Inherited {
            handover: Handover::read(&mut memory)?,
            device: device.into(),
            memory,
            keeper: None,
        })
    }

    /// Tells whoever serves after this process how the connection began.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begun(&mut self, init: Vec<u8>) -> io::Result<()> {
        self.handover.init = Some(init);
        self.handover.write(&mut self.memory)
    }

    /// Tells whoever keeps the connection that this process serves it.
    ///
    /// # Errors
    /// When it cannot.
    pub fn serves(&mut self) -> io::Result<()> {
        self.handover.found.clear();
        self.handover.served = true;
        self.handover.serves = Some(clock::now().boot.0);
        self.tell()
    }

    /// Asks whoever keeps the connection to have the program of the process `by` go
    /// on, which waits for an answer to this request meanwhile.
    ///
    /// # Errors
    /// When it cannot.
    pub fn upgrade(&mut self, request: u64, by: u32) -> io::Result<()> {
        self.handover.upgrade = Some(Upgrade {
            request,
            by,
            done: None,
        });
        self.tell()
    }

    fn tell(&mut self) -> io::Result<()> {
        self.handover.write(&mut self.memory)?;
        // This process does not outlive its keeper, whose number is therefore its own.
        if let Some(keeper) = self.keeper {
            rustix::process::kill_process(keeper, rustix::process::Signal::USR1)?;
        }
        Ok(())
    }
}

/// Whether this process was started by one that keeps the connection.
pub fn was_started() -> bool {
    std::env::var_os(SERVES).is_some()
}

/// The connection that this process is to serve, if it was started for that.
///
/// # Errors
/// When what it was given is not that.
pub fn inherited() -> io::Result<Option<Inherited>> {
    let Some(keeper) = std::env::var_os(SERVES) else {
        return Ok(None);
    };
    let device = io::stdin().as_fd().try_clone_to_owned()?;
    let memory = io::stdout().as_fd().try_clone_to_owned()?;
    let mut inherited = Inherited::new(device, memory).map_err(|e| {
        io::Error::other(format!(
            "{SERVES} is set, which is for boardlock itself to do, and what it was given \
             cannot be served: {e}"
        ))
    })?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    // It was started by a descriptor, and would have its number for a name.
    rustix::thread::set_name(c"boardlock")?;
    // Not to serve on its own: nobody would notice its death.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    inherited.keeper = rustix::process::getppid()
        .filter(|parent| keeper.as_os_str() == parent.as_raw_nonzero().to_string().as_str());
    if inherited.keeper.is_none() {
        return Err(io::Error::other("whoever started it is gone"));
    }
    Ok(Some(inherited))
}
