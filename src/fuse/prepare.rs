//! The directory before it is mounted over: made if it is missing, freed of a
//! dead mount, refused if someone serves it already, guarded against a second
//! daemon that starts at the same moment.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::mount::{self, DetachError};
use super::mountinfo;
use super::shut::Shut;
use crate::migrate::Found;
use crate::printable::printable;

/// How long a daemon that serves the directory may take to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// How long a daemon whose directory was unmounted may take to end.
const ENDING: Duration = Duration::from_secs(5);
/// What is read of a file for migration: one byte more than a board may hold.
const CONTENT: u64 = 4097;
/// Files looked at for migration.
const FILES: usize = 100_000;

/// Why a directory cannot be served, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountError {
    dir: PathBuf,
    reason: String,
    remedy: Option<String>,
}

impl MountError {
    pub(super) fn new(dir: &Path, reason: impl Into<String>) -> Self {
        MountError {
            dir: dir.to_owned(),
            reason: reason.into(),
            remedy: None,
        }
    }

    pub(super) fn io(dir: &Path, doing: &str, error: impl fmt::Display) -> Self {
        MountError::new(dir, format!("{doing}: {error}"))
    }

    pub(super) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

impl fmt::Display for MountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot serve {}: {}", shown(&self.dir), self.reason)?;
        match &self.remedy {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for MountError {}

/// A path for people.
pub(super) fn shown(path: &Path) -> String {
    printable(path.as_os_str().as_encoded_bytes())
}

/// A directory that can be mounted over.
#[derive(Debug)]
pub struct Prepared {
    /// Its canonical path.
    pub dir: PathBuf,
    /// The files that were in it, with `over`.
    pub found: Vec<Found>,
    /// How many entries it had.
    pub(super) entries: usize,
    /// The bare directory, locked by flock(2) while this lives.
    pub(super) bare: File,
    pub(super) shut: Shut,
}

/// Makes `dir` ready to be mounted over; with `over`, even if it has files.
pub fn prepare(dir: &Path, over: bool) -> Result<Prepared, MountError> {
    let dir = create(dir)?;
    clear_dead_mounts(&dir)?;
    let bare = claim(&dir)?;
    // From here on nothing more comes into it.
    let shut = Shut::new(&dir);
    let found = contents(&dir, over)?;
    let entries = count(&bare).map_err(|e| MountError::io(&dir, "listing it", e))?;
    let about = bare
        .metadata()
        .map_err(|e| MountError::io(&dir, "looking at it", e))?;
    if let Some(warning) = writable(&dir, &about) {
        log::warn!("{warning}");
    }
    Ok(Prepared {
        dir,
        found,
        entries,
        bare,
        shut,
    })
}

/// The canonical path of `dir`, made if it is missing.
fn create(dir: &Path) -> Result<PathBuf, MountError> {
    match fs::canonicalize(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(MountError::io(dir, "finding it", error)),
        Ok(path) => return Ok(path),
    }
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(|e| {
            MountError::io(dir, &format!("creating {}", shown(parent)), e)
                .remedy("create it as a user who may, or serve another directory")
        })?;
    }
    // Not writable, so that nothing can be locked in it while nobody serves it.
    match DirBuilder::new().mode(0o555).create(dir) {
        Ok(()) => log::info!("created {}", shown(dir)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(MountError::new(
                dir,
                "it is a symbolic link that leads nowhere",
            ));
        }
        Err(error) => {
            return Err(MountError::io(dir, "creating it", error)
                .remedy("create it as a user who may, or serve another directory"));
        }
    }
    fs::canonicalize(dir).map_err(|e| MountError::io(dir, "finding it", e))
}

/// Whether a daemon answers for a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Somebody does.
    Alive,
    /// There is none any more.
    Dead,
    /// Nobody did, for 5 s.
    Silent,
}

/// Asks whoever serves `dir`, in a thread: a daemon that hangs must not hang us.
pub fn ask(dir: &Path) -> Answer {
    let (tell, heard) = channel();
    let path = dir.to_owned();
    let asking = std::thread::Builder::new()
        .name("stat".to_owned())
        .spawn(move || tell.send(fs::metadata(path).err().and_then(|e| e.raw_os_error())));
    match asking.map(|_| heard.recv_timeout(ANSWER)) {
        Ok(Ok(Some(code))) if code == Errno::NOTCONN.raw_os_error() => Answer::Dead,
        Ok(Ok(_)) => Answer::Alive,
        Ok(Err(_)) | Err(_) => Answer::Silent,
    }
}

/// Detaches mounts of ours at `dir` whose daemon is gone; refuses living ones.
fn clear_dead_mounts(dir: &Path) -> Result<(), MountError> {
    // Each round takes one away; nobody stacks more.
    for _ in 0..16 {
        let top = mountinfo::top(dir)
            .map_err(|e| MountError::io(dir, "reading the table of mounts", e))?;
        let Some(top) = top.filter(mountinfo::Entry::ours) else {
            return Ok(());
        };
        match ask(dir) {
            Answer::Alive => return Err(served(dir)),
            Answer::Silent => {
                return Err(MountError::new(
                    dir,
                    "it is already served, by a boardlock that does not answer",
                )
                .remedy("look at that process (`pgrep -a boardlock`), then end it and try again"));
            }
            Answer::Dead => {}
        }
        match mount::detach(dir, &top) {
            Ok(()) => log::info!(
                "detached the mount of a boardlock that is gone from {}",
                shown(dir)
            ),
            Err(DetachError::Foreign) => {}
            Err(DetachError::Failed(error)) => {
                return Err(MountError::io(
                    dir,
                    "detaching the mount of a boardlock that is gone",
                    error,
                )
                .remedy(format!("run `umount -l {}` as root", shown(dir))));
            }
        }
    }
    Err(MountError::new(
        dir,
        "mounts of ended boardlocks keep turning up there",
    ))
}

fn served(dir: &Path) -> MountError {
    MountError::new(dir, "it is already served by a running boardlock")
        .remedy("use that one, or stop it first")
}

/// Opens and locks the bare directory. Two daemons that start at once both get
/// here; one goes on.
fn claim(dir: &Path) -> Result<File, MountError> {
    let bare = File::open(dir).map_err(|e| {
        MountError::io(dir, "opening it", e).remedy("serve it as a user who may read it")
    })?;
    let about = bare
        .metadata()
        .map_err(|e| MountError::io(dir, "looking at it", e))?;
    if !about.is_dir() {
        return Err(MountError::new(dir, "it is not a directory").remedy("give a directory"));
    }
    match lock(&bare, dir) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) if is_served(dir) => return Err(served(dir)),
        Err(Errno::WOULDBLOCK) => {
            return Err(MountError::new(
                dir,
                "another process has it locked, most likely a boardlock that is starting there",
            )
            .remedy(format!("`fuser -v {}` shows who", shown(dir))));
        }
        Err(error) => return Err(MountError::io(dir, "locking it", error)),
    }
    // The other one may have mounted between our look and our lock.
    let top =
        mountinfo::top(dir).map_err(|e| MountError::io(dir, "reading the table of mounts", e))?;
    if top.is_some_and(|top| top.ours()) {
        return Err(served(dir));
    }
    let now = fs::metadata(dir).map_err(|e| MountError::io(dir, "looking at it", e))?;
    if (now.dev(), now.ino()) != (about.dev(), about.ino()) {
        return Err(
            MountError::new(dir, "it was replaced while it was looked at").remedy("try again"),
        );
    }
    Ok(bare)
}

/// Locks the bare directory. One that has just been unmounted (`umount DIR; mount DIR`)
/// is locked until its daemon has ended, which is waited for.
fn lock(bare: &File, dir: &Path) -> Result<(), Errno> {
    let deadline = Instant::now() + ENDING;
    loop {
        let locked = rustix::fs::flock(bare, FlockOperation::NonBlockingLockExclusive);
        if locked != Err(Errno::WOULDBLOCK) || Instant::now() >= deadline || is_served(dir) {
            return locked;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn is_served(dir: &Path) -> bool {
    mountinfo::top(dir).is_ok_and(|top| top.is_some_and(|top| top.ours()))
}

/// What is in the directory: nothing, or with `over` the files.
fn contents(dir: &Path, over: bool) -> Result<Vec<Found>, MountError> {
    let failed = |e| MountError::io(dir, "listing it", e);
    let mut found = Vec::new();
    let mut names: Vec<OsString> = Vec::new();
    let mut more = 0;
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !over {
            if names.len() < 3 {
                names.push(entry.file_name());
            } else {
                more += 1;
            }
            continue;
        }
        if found.len() == FILES {
            log::warn!(
                "{} has more than {FILES} files; the rest is not looked at",
                shown(dir)
            );
            break;
        }
        match file(&entry.path(), entry.file_name()) {
            Ok(Some(file)) => found.push(file),
            Ok(None) => {}
            Err(error) => log::warn!("cannot read {}: {error}", shown(&entry.path())),
        }
    }
    if names.is_empty() {
        found.sort_by(|a, b| a.name.cmp(&b.name));
        return Ok(found);
    }
    names.sort();
    let mut listed: Vec<String> = names
        .iter()
        .map(|n| printable(n.as_encoded_bytes()))
        .collect();
    if more > 0 {
        listed.push(format!("and {more} more"));
    }
    Err(MountError::new(
        dir,
        format!(
            "it is not empty ({}), and these would be hidden",
            listed.join(", ")
        ),
    )
    .remedy("remove them, or give --over to take over lock files and hide the rest"))
}

/// How many entries a directory has, whatever is mounted over it.
pub(super) fn count(bare: &File) -> io::Result<usize> {
    let mut count = 0;
    for entry in rustix::fs::Dir::read_from(bare)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        count += usize::from(name != b"." && name != b"..");
    }
    Ok(count)
}

/// A regular file as it was found; none for anything else.
fn file(path: &Path, name: OsString) -> io::Result<Option<Found>> {
    // O_NONBLOCK for a FIFO, whose open would wait.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    if !fs::symlink_metadata(path)?.is_file() {
        return Ok(None);
    }
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    let about = file.metadata()?;
    if !about.is_file() {
        return Ok(None);
    }
    let mut content = Vec::new();
    file.take(CONTENT).read_to_end(&mut content)?;
    Ok(Some(Found {
        name,
        content,
        uid: about.uid(),
        gid: about.gid(),
        modified: about.mtime(),
    }))
}

/// A warning when files could be made in the bare directory: once it is not
/// served, `touch` there would succeed and lock nothing.
fn writable(dir: &Path, about: &Metadata) -> Option<String> {
    let mode = about.permissions().mode();
    // Root's own write bit changes nothing: no mode stops root.
    let of_interest = if about.uid() == 0 { 0o022 } else { 0o222 };
    (mode & of_interest != 0).then(|| {
        format!(
            "{dir} can be written to (mode {mode:04o}) when nobody serves it: a `touch` there would \
             succeed and lock nothing; run `chmod 0555 {dir}` while it is not served",
            dir = shown(dir),
            mode = mode & 0o7777,
        )
    })
}

#[cfg(test)]
#[path = "prepare_tests.rs"]
mod tests;
