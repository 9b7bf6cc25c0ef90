//! Mounting over a prepared directory, and taking the mount away again.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::MntFlags;

use super::device::{self, HelperError};
use super::mountinfo::{self, Entry};
use super::prepare;
use super::prepare::shown;
pub use super::prepare::{MountError, Prepared, prepare};
use super::shut;
use crate::migrate::Found;

/// A lock directory that is mounted. Dropping it leaves the mount.
#[derive(Debug)]
pub struct Mounted {
    /// Where.
    pub dir: PathBuf,
    /// Whether all users are served, or only the one who mounted.
    pub all_users: bool,
    /// The files that were there before, with `--over`.
    pub found: Vec<Found>,
    /// The mount, told from any other that comes over it.
    entry: Entry,
    /// The bare directory; its lock keeps other daemons off.
    _bare: Option<File>,
}

/// Mounts over the prepared directory. `allow_other` demands or forbids serving
/// all users; none: where it is allowed; `source` is shown in the table of mounts. The
/// descriptor is for
/// `fuser::Session::from_fd`, which must run before anyone gets an answer.
pub fn mount(
    prepared: Prepared,
    source: &str,
    allow_other: Option<bool>,
) -> Result<(Mounted, OwnedFd), MountError> {
    let Prepared {
        dir,
        found,
        entries,
        bare,
        shut,
    } = prepared;
    let mut all_users = allow_other.unwrap_or(true);
    let device = match device::mount_directly(&dir, source, all_users)? {
        Some(device) => device,
        None => {
            // fusermount3 wants a directory that its user can write to.
            let _writable = Writable::make(&bare);
            match device::mount_by_helper(&dir, source, all_users) {
                Ok(device) => device,
                Err(HelperError::Other(error)) => return Err(error),
                Err(HelperError::AllowOther) if allow_other == Some(true) => {
                    return Err(MountError::new(&dir, "allow_other is for root alone here")
                        .remedy(
                            "put user_allow_other into /etc/fuse.conf, or start boardlock as root",
                        ));
                }
                Err(HelperError::AllowOther) => {
                    all_users = false;
                    device::mount_by_helper(&dir, source, all_users).map_err(
                        |error| match error {
                            HelperError::Other(error) => error,
                            HelperError::AllowOther => MountError::new(&dir, "fusermount3 refused"),
                        },
                    )?
                }
            }
        }
    };
    if !all_users && allow_other.is_none() {
        log::warn!(
            "{} can be used by you alone, not even by root: /etc/fuse.conf has no user_allow_other",
            shown(&dir)
        );
    }
    let entry = mountinfo::top(&dir)
        .map_err(|e| MountError::io(&dir, "reading the table of mounts", e))?
        .filter(Entry::ours)
        .ok_or_else(|| {
            MountError::new(&dir, "another mount came over it at once").remedy("try again")
        })?;
    let mounted = Mounted {
        dir,
        all_users,
        found,
        entry,
        _bare: None,
    };
    // Its owner could write to it a moment ago: what was made there locks nothing, and
    // whoever made it believes otherwise.
    if prepare::count(&bare).ok() != Some(entries) {
        let _ = mounted.unmount();
        return Err(
            MountError::new(&mounted.dir, "something came into it while it was mounted")
                .remedy("look at what it is, remove it, and try again"),
        );
    }
    shut.stays();
    Ok((
        Mounted {
            _bare: Some(bare),
            ..mounted
        },
        device,
    ))
}

impl Mounted {
    /// The same in another process than the one that mounted; that keeps the bare
    /// directory.
    ///
    /// # Errors
    /// When it is not mounted any more.
    pub fn inherited(dir: PathBuf, all_users: bool, id: u32, device: &str) -> io::Result<Mounted> {
        let entry = mountinfo::read()?
            .into_iter()
            .find(|entry| entry.id == id && entry.device == device)
            .ok_or_else(|| io::Error::other("it is not mounted any more"))?;
        Ok(Mounted {
            dir,
            all_users,
            found: Vec::new(),
            entry,
            _bare: None,
        })
    }

    /// The number of the mount.
    pub fn id(&self) -> u32 {
        self.entry.id
    }

    /// Its device, `MAJOR:MINOR`.
    pub fn device(&self) -> &str {
        &self.entry.device
    }

    /// Whether it still is where it was; also when that cannot be found out.
    /// The numbers of one that is gone may be another's by now.
    pub fn is_mounted(&self) -> bool {
        mountinfo::read().map_or(true, |mounts| {
            mounts.iter().any(|e| {
                (e.id, &e.device, &e.point) == (self.entry.id, &self.entry.device, &self.dir)
            })
        })
    }

    /// Unmounts, as a signal of this name asks for, and says so.
    ///
    /// # Errors
    /// What could not be done.
    pub fn stop(&self, signal: &str) -> Result<(), String> {
        let dir = shown(&self.dir);
        log::info!("{signal}: no longer serving {dir}");
        self.unmount()
            .map_err(|e| format!("cannot unmount {dir}: {e}"))?;
        log::info!("{dir} is unmounted");
        if shut::is_shut(&self.dir) {
            log::info!(
                "nothing can be made in {dir} until it is served again; `umount {dir}` opens it"
            );
        }
        Ok(())
    }

    /// Unmounts: at once if nobody uses the directory, else so that it is gone
    /// from view and ends with its last user. Does nothing if it is unmounted
    /// already, and leaves alone what was mounted over it.
    pub fn unmount(&self) -> io::Result<()> {
        // Where it is by now: a directory above may have been renamed.
        let ours = |e: &Entry| (e.id, &e.device) == (self.entry.id, &self.entry.device);
        let Some(dir) = mountinfo::read()?.into_iter().find(ours).map(|e| e.point) else {
            return Ok(());
        };
        match unmount_top(&dir, &self.entry, false) {
            Ok(()) => Ok(()),
            Err(DetachError::Foreign) => Err(io::Error::other(format!(
                "something else is mounted over {}; unmount that, then this",
                shown(&dir)
            ))),
            Err(DetachError::Failed(plain)) => {
                log::debug!("unmounting {} lazily: {plain}", shown(&dir));
                match unmount_top(&dir, &self.entry, true) {
                    Ok(()) => Ok(()),
                    Err(DetachError::Failed(error)) => Err(error),
                    Err(DetachError::Foreign) => Err(plain),
                }
            }
        }
    }
}

/// Why a mount was not taken away.
pub(super) enum DetachError {
    /// It is not the one on top.
    Foreign,
    /// It could not be.
    Failed(io::Error),
}

/// Takes a mount whose daemon is gone out of view.
pub(super) fn detach(dir: &Path, entry: &Entry) -> Result<(), DetachError> {
    unmount_top(dir, entry, true)
}

/// Unmounts what is at `dir` if it is `entry`.
fn unmount_top(dir: &Path, entry: &Entry, lazily: bool) -> Result<(), DetachError> {
    let top = mountinfo::top(dir).map_err(DetachError::Failed)?;
    if top.is_none_or(|top| (top.id, top.device) != (entry.id, entry.device.clone())) {
        return Err(DetachError::Foreign);
    }
    let flags = if lazily {
        MntFlags::MNT_DETACH
    } else {
        MntFlags::empty()
    };
    match nix::mount::umount2(dir, flags | MntFlags::UMOUNT_NOFOLLOW) {
        Ok(()) => Ok(()),
        Err(Errno::EPERM) => device::unmount_by_helper(dir, lazily).map_err(DetachError::Failed),
        Err(error) => Err(DetachError::Failed(error.into())),
    }
}

/// Gives the owner of the bare directory the write bit that fusermount3 asks
/// for, and takes it away again.
struct Writable<'a>(Option<(&'a File, u32)>);

impl<'a> Writable<'a> {
    fn make(bare: &'a File) -> Self {
        let Ok(about) = bare.metadata() else {
            return Writable(None);
        };
        let mode = about.mode() & 0o7777;
        if mode & 0o200 != 0 || about.uid() != rustix::process::geteuid().as_raw() {
            return Writable(None);
        }
        // If it fails, fusermount3 tells why.
        match bare.set_permissions(PermissionsExt::from_mode(mode | 0o200)) {
            Ok(()) => Writable(Some((bare, mode))),
            Err(_) => Writable(None),
        }
    }
}

impl Drop for Writable<'_> {
    fn drop(&mut self) {
        if let Some((bare, mode)) = self.0
            && let Err(error) = bare.set_permissions(PermissionsExt::from_mode(mode))
        {
            log::warn!("the bare directory stays writable to its owner: {error}");
        }
    }
}

#[cfg(test)]
#[path = "mount_tests.rs"]
mod tests;
