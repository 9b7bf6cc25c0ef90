//! The service manager: systemd keeps the connection for the time that nobody else
//! does (sd_notify(3), FDSTORE=1; sd_listen_fds(3)), and is told what goes on.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::process::{PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use sd_notify::NotifyState;

use super::handover::Inherited;

const DEVICE: &str = "boardlock-device";
const MEMORY: &str = "boardlock-handover";

/// Gives it the connection to keep, if there is one that wants it.
pub(super) fn keep(device: BorrowedFd<'_>, memory: BorrowedFd<'_>) {
    for (name, fd) in [(DEVICE, device), (MEMORY, memory)] {
        let state = [NotifyState::FdStore, NotifyState::FdName(name)];
        if let Err(error) = sd_notify::notify_with_fds(&state, &[fd]) {
            log::warn!("cannot give the connection to the service manager: {error}");
        }
    }
}

/// Has it give up the connection.
pub(super) fn forget() {
    for name in [DEVICE, MEMORY] {
        tell(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)]);
    }
}

/// Tells it that the directory is served.
pub fn ready(dir: &str) {
    let status = format!("serving {dir}");
    tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// Tells it that the end has begun.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        log::warn!("cannot tell the service manager: {error}");
    }
}

/// The connection of this directory that was kept since an earlier supervisor ended.
/// What was kept and cannot be gone on with is given up.
///
/// # Errors
/// When what the service manager passes cannot be read.
pub fn kept(dir: &Path) -> io::Result<Option<Inherited>> {
    let passed: Vec<(i32, String)> = sd_notify::listen_fds_with_names()?.collect();
    let find = |wanted: &str| -> io::Result<Option<OwnedFd>> {
        match passed.iter().find(|(_, name)| name == wanted) {
            Some((number, _)) => own(*number).map(Some),
            None => Ok(None),
        }
    };
    let (Some(device), Some(memory)) = (find(DEVICE)?, find(MEMORY)?) else {
        return Ok(None);
    };
    let inherited = Inherited::new(device, memory).and_then(|inherited| {
        if inherited.handover.init.is_none() {
            return Err(io::Error::other("it was never served"));
        }
        let mounted = inherited.handover.mounted()?;
        if mounted.dir != place(dir) {
            return Err(io::Error::other("it is that of another directory"));
        }
        Ok(inherited)
    });
    match inherited {
        Ok(inherited) => Ok(Some(inherited)),
        Err(error) => {
            log::warn!("the connection that the service manager has kept is given up: {error}");
            forget();
            Ok(None)
        }
    }
}

/// A descriptor of this process as one that it owns.
fn own(number: i32) -> io::Result<OwnedFd> {
    let this = pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?;
    Ok(pidfd_getfd(this.as_fd(), number, PidfdGetfdFlags::empty())?)
}

/// The canonical path of a directory that may wait for an answer to any question.
fn place(dir: &Path) -> PathBuf {
    let (above, name) = (dir.parent(), dir.file_name());
    let above = above.filter(|above| !above.as_os_str().is_empty());
    let above = fs::canonicalize(above.unwrap_or(Path::new(".")));
    match (above, name) {
        (Ok(above), Some(name)) => above.join(name),
        _ => dir.to_owned(),
    }
}
