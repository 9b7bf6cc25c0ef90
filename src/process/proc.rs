//! /proc as far as the rules need it. Nothing else here reads files.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::process::{PidfdFlags, pidfd_open};

use crate::lock::ids::{Gid, Pid, StartTime, Uid, User};
use crate::readable::is_readable;

/// A file of /proc is read no further.
const LIMIT: u64 = 128 << 10;

/// A command line has no more words for us: whoever stuffs one that much plays
/// with our memory.
const WORDS: usize = 4096;

/// No longer is what is read at once.
const PAGE: usize = 4096;

/// PF_FORKNOEXEC: forked and never exec'd.
pub(super) const FORKED: u32 = 0x40;

/// The fields of /proc/PID/stat that last, by their numbers in proc(5).
const STATE: u32 = 3;
const PPID: u32 = 4;
const SESSION: u32 = 6;
const FLAGS: u32 = 9;
const START: u32 = 22;
const START_CODE: u32 = 26;
const START_STACK: u32 = 28;
const ARG_START: u32 = 48;
const ENV_END: u32 = 51;

/// Where processes are read from.
#[derive(Clone, Debug)]
pub struct Proc {
    root: PathBuf,
    /// Whether the processes of `root` are this kernel's.
    real: bool,
}

/// What /proc/PID/stat tells.
#[derive(Clone, Debug)]
pub(super) struct Stat {
    pub comm: Vec<u8>,
    pub state: u8,
    /// None at the top of a pid namespace.
    pub ppid: Option<Pid>,
    pub session: u32,
    pub flags: u32,
    /// How many threads it has, its dead leader among them.
    pub threads: u32,
    pub start: StartTime,
}

impl Stat {
    pub fn is_zombie(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }

    /// Whether no thread of it is left: a process goes on without its leader.
    pub fn is_dead(&self) -> bool {
        self.is_zombie() && self.threads <= 1
    }
}

/// What /proc/PID/status tells.
#[derive(Clone, Debug)]
pub(super) struct Status {
    pub tgid: Pid,
    pub user: User,
    /// Its supplementary groups.
    pub groups: Vec<Gid>,
    /// Its number in each pid namespace, from the daemon's to its own.
    pub nspid: Vec<u32>,
}

/// A process held by a pidfd.
#[derive(Debug)]
pub(super) struct Held(pub Option<OwnedFd>);

/// Files of a process that stay open, and read as it is then.
#[derive(Debug)]
pub(super) struct Kept {
    stat: File,
    cmdline: File,
}

/// What of a process stays as it is as long as it runs the same program, is in the same
/// session, and its parent lives.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lasting {
    stat: Vec<u8>,
    cmdline: Vec<u8>,
}

impl Proc {
    /// This system's processes.
    pub fn system() -> Proc {
        Proc {
            root: PathBuf::from("/proc"),
            real: true,
        }
    }

    /// A made-up tree of the same form. Its processes have no pidfds.
    pub fn at(root: PathBuf) -> Proc {
        Proc { root, real: false }
    }

    /// Whether a process that cannot be read may be there all the same.
    pub(super) fn may_hide(&self) -> bool {
        self.real
    }

    /// None when there is no such process, or none that may be read.
    pub(super) fn stat(&self, pid: Pid) -> io::Result<Option<Stat>> {
        Ok(self
            .read(pid, "stat", 4096)?
            .and_then(|text| parse_stat(&text)))
    }

    /// None when there is no such process, or none that may be read.
    pub(super) fn status(&self, pid: Pid) -> io::Result<Option<Status>> {
        Ok(self
            .read(pid, "status", LIMIT)?
            .and_then(|text| parse_status(&text)))
    }

    /// /proc/PID/status; none when there is no such process.
    pub(super) fn status_text(&self, pid: Pid) -> io::Result<Option<Vec<u8>>> {
        self.read(pid, "status", LIMIT)
    }

    /// Which namespace of a kind it is in; none where that is not for us to see.
    pub(super) fn namespace(&self, pid: Pid, kind: &str) -> Option<PathBuf> {
        std::fs::read_link(self.root.join(format!("{pid}/ns/{kind}"))).ok()
    }

    /// Whether a process has given its memory back, for good; true of one that is
    /// not there.
    pub(super) fn has_no_memory(&self, pid: Pid) -> bool {
        let Ok(text) = self.read(pid, "status", LIMIT) else {
            return false;
        };
        let text = text.unwrap_or_default();
        let value = |key: &[u8]| {
            let mut lines = text.split(|&byte| byte == b'\n');
            let value = lines.find_map(|line| line.strip_prefix(key))?;
            std::str::from_utf8(value).ok().map(str::trim)
        };
        // A dead leader has none either, and its other threads may go on.
        let leads_others = value(b"State:").is_some_and(|state| state.starts_with('Z'))
            && value(b"Threads:").is_some_and(|count| count != "1");
        value(b"VmSize:").is_none() && !leads_others
    }

    /// Its words, the first of them; none for a kernel thread and a dead leader.
    pub(super) fn cmdline(&self, pid: Pid) -> io::Result<Vec<Vec<u8>>> {
        let text = self.read(pid, "cmdline", LIMIT)?.unwrap_or_default();
        let text = text.strip_suffix(b"\0").unwrap_or(&text);
        if text.is_empty() {
            return Ok(Vec::new());
        }
        Ok(text
            .split(|&byte| byte == 0)
            .take(WORDS)
            .map(<[u8]>::to_vec)
            .collect())
    }

    /// The path of its program; none where that is not for us to see.
    pub(super) fn exe(&self, pid: Pid) -> io::Result<Option<Vec<u8>>> {
        match std::fs::read_link(self.root.join(format!("{pid}/exe"))) {
            Ok(path) => {
                let path = path.as_os_str().as_bytes();
                Ok(Some(
                    path.strip_suffix(b" (deleted)").unwrap_or(path).to_vec(),
                ))
            }
            Err(error) if is_ours(&error) => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// The numbers of all processes.
    pub(super) fn pids(&self) -> io::Result<impl Iterator<Item = Pid>> {
        Ok(std::fs::read_dir(&self.root)?
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok().and_then(Pid::new)))
    }

    /// The same for a thread, if it is the first of its process; without /proc.
    pub(super) fn hold_leader(&self, thread: Pid) -> io::Result<Option<Held>> {
        let held = self.hold(thread)?;
        // A made-up process says nothing of its threads.
        Ok(held.filter(|_| self.real))
    }

    /// Takes hold of the process that has this number now; none when there is
    /// none. Says nothing of a process that was read before.
    pub(super) fn hold(&self, pid: Pid) -> io::Result<Option<Held>> {
        if !self.real {
            return Ok(Some(Held(None)));
        }
        let raw = i32::try_from(pid.get())
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        let Some(raw) = raw else { return Ok(None) };
        match pidfd_open(raw, PidfdFlags::empty()) {
            Ok(fd) => Ok(Some(Held(Some(fd)))),
            // Gone, or a thread's number by now.
            Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps files of a process open; none when there is no such process, or it is
    /// made up.
    pub(super) fn keep(&self, pid: Pid) -> Option<Kept> {
        let open = |name| File::open(self.path(pid, name)).ok();
        Some(Kept {
            stat: open("stat").filter(|_| self.real)?,
            cmdline: open("cmdline")?,
        })
    }

    /// The path of a file of a process.
    pub(super) fn path(&self, pid: Pid, name: &str) -> PathBuf {
        self.root.join(format!("{pid}/{name}"))
    }

    fn read(&self, pid: Pid, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let mut text = Vec::new();
        let read = File::open(self.path(pid, name)).and_then(|mut file| {
            let mut page = [0; PAGE];
            let length = file.read(&mut page)?;
            text.extend_from_slice(page.get(..length).unwrap_or_default());
            // What is shorter than was asked for comes whole (see `read_at_once`).
            match length {
                PAGE => file.take(limit).read_to_end(&mut text),
                length => Ok(length),
            }
        });
        match read {
            Ok(_) => Ok(Some(text)),
            Err(error) if is_ours(&error) => Err(error),
            Err(_) => Ok(None),
        }
    }
}

impl Kept {
    /// Reads them; none once the process has ended, and where it cannot be told
    /// whether it runs another program.
    pub fn read(&self) -> Option<Lasting> {
        Some(Lasting {
            stat: lasting(&read_at_once(&self.stat)?)?,
            cmdline: read_at_once(&self.cmdline)?,
        })
    }
}

/// A file of /proc that is no longer than a page; none if it is, or cannot be read.
/// What is shorter than was asked for comes whole (fs/seq_file.c; fs/proc/base.c for
/// cmdline).
fn read_at_once(file: &File) -> Option<Vec<u8>> {
    let mut text = vec![0; PAGE];
    let length = file.read_at(&mut text, 0).ok()?;
    if length >= text.len() {
        return None;
    }
    text.truncate(length);
    Some(text)
}

/// The comm in /proc/PID/stat, and the fields after it, of which the first is the third.
fn split_stat(text: &[u8]) -> Option<(&[u8], impl Iterator<Item = &[u8]>)> {
    // A comm may hold anything, ") R 1" too: only its end is sure.
    let open = text.iter().position(|&byte| byte == b'(')?;
    let close = text.iter().rposition(|&byte| byte == b')')?;
    let fields = text
        .get(close + 1..)?
        .split(|byte| byte.is_ascii_whitespace());
    let fields = fields.filter(|field| !field.is_empty());
    Some((text.get(open + 1..close)?, fields))
}

/// Of /proc/PID/stat what lasts ([`Lasting`]); the numbers are those of proc(5).
fn lasting(text: &[u8]) -> Option<Vec<u8>> {
    let (comm, fields) = split_stat(text)?;
    let mut lasting = [comm, b")"].concat();
    let mut last = 0;
    for (number, field) in (3..).zip(fields) {
        match number {
            // Its leader has ended.
            STATE if matches!(field, b"Z" | b"X" | b"x") => return None,
            FLAGS => {
                let flags: u32 = std::str::from_utf8(field).ok()?.parse().ok()?;
                lasting.extend((flags & FORKED).to_ne_bytes());
            }
            // Not for us to see, or no program.
            START_CODE if matches!(field, b"0" | b"1") => return None,
            PPID | SESSION | START | START_CODE..=START_STACK | ARG_START..=ENV_END => {
                lasting.push(b' ');
                lasting.extend(field);
            }
            _ => {}
        }
        last = number;
    }
    (last >= ENV_END).then_some(lasting)
}

impl Held {
    /// Whether the process has ended; a pidfd tells once all threads have.
    pub fn is_dead(&self) -> io::Result<bool> {
        let Some(fd) = &self.0 else { return Ok(false) };
        Ok(is_readable(fd)?)
    }
}

/// Whether an error is the daemon's own plight and tells nothing of a process.
pub(super) fn is_ours(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM)
    )
}

pub(super) fn parse_stat(text: &[u8]) -> Option<Stat> {
    let (comm, fields) = split_stat(text)?;
    let comm = comm.to_vec();
    let fields = fields.take(20).map(std::str::from_utf8);
    let fields: Vec<&str> = fields.collect::<Result<_, _>>().ok()?;
    let field = |number: usize| fields.get(number - 3).copied();
    Some(Stat {
        comm,
        state: *field(3)?.as_bytes().first()?,
        ppid: Pid::new(field(4)?.parse().ok()?),
        session: field(6)?.parse().ok()?,
        flags: field(9)?.parse().ok()?,
        threads: field(20)?.parse().ok()?,
        start: StartTime(field(22)?.parse().ok()?),
    })
}

pub(super) fn parse_status(text: &[u8]) -> Option<Status> {
    let (mut tgid, mut uid, mut gid, mut nspid) = (None, None, None, None);
    let mut groups = Vec::new();
    for line in text.split(|&byte| byte == b'\n') {
        let Ok(line) = std::str::from_utf8(line) else {
            continue;
        };
        let Some((key, values)) = line.split_once(':') else {
            continue;
        };
        let mut numbers = values.split_ascii_whitespace().map(str::parse::<u32>);
        match key {
            "Tgid" => tgid = numbers.next()?.ok(),
            // real, effective, saved, file system
            "Uid" => uid = numbers.nth(3)?.ok(),
            "Gid" => gid = numbers.nth(3)?.ok(),
            "Groups" => groups = numbers.map_while(Result::ok).map(Gid).collect(),
            "NSpid" => {
                nspid = numbers.collect::<Result<Vec<u32>, _>>().ok();
                break;
            }
            _ => {}
        }
    }
    let tgid = Pid::new(tgid?)?;
    Some(Status {
        tgid,
        user: User {
            uid: Uid(uid?),
            gid: Gid(gid?),
        },
        groups,
        // A kernel without pid namespaces.
        nspid: nspid
            .filter(|list| !list.is_empty())
            .unwrap_or_else(|| vec![tgid.get()]),
    })
}
