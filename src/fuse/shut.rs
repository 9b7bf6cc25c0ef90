//! The bare directory shut for root as well, whom no mode stops: a read-only mount of
//! it on itself, below the lock directory. It stays when the lock directory is
//! unmounted, so that no `touch` ever succeeds where it would lock nothing.

use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::mountinfo;
use super::prepare::shown;

/// A directory that is shut. Dropping it opens it again, if it was open before.
#[derive(Debug)]
#[must_use = "dropping it opens the directory again"]
pub(super) struct Shut(Option<PathBuf>);

impl Shut {
    /// Shuts a directory, where that can be done: by root alone.
    pub fn new(dir: &Path) -> Shut {
        if !rustix::process::geteuid().is_root() || is_shut(dir) {
            return Shut(None);
        }
        let bound = mount(Some(dir), dir, None::<&str>, MsFlags::MS_BIND, None::<&str>);
        if let Err(error) = bound {
            open_to_root(dir, error);
            return Shut(None);
        }
        let shut = Shut(Some(dir.to_owned()));
        let flags = MsFlags::MS_BIND
            | MsFlags::MS_REMOUNT
            | MsFlags::MS_RDONLY
            | MsFlags::MS_NOSUID
            | MsFlags::MS_NODEV
            | MsFlags::MS_NOEXEC;
        if let Err(error) = mount(None::<&str>, dir, None::<&str>, flags, None::<&str>) {
            open_to_root(dir, error);
            drop(shut);
            return Shut(None);
        }
        shut
    }

    /// Leaves it shut.
    pub fn stays(mut self) {
        self.0 = None;
    }
}

impl Drop for Shut {
    fn drop(&mut self) {
        if let Some(dir) = &self.0
            && let Err(error) = umount2(dir, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)
        {
            log::warn!("{} stays read-only: {error}", shown(dir));
        }
    }
}

/// Whether nothing can be made in what is seen there, by nobody.
pub(super) fn is_shut(dir: &Path) -> bool {
    let top = mountinfo::top(dir).ok().flatten();
    top.is_some_and(|top| !top.ours() && top.options.split(',').any(|option| option == "ro"))
}

fn open_to_root(dir: &Path, error: nix::Error) {
    log::info!(
        "{} cannot be shut for root while nobody serves it: {error}",
        shown(dir)
    );
}

#[cfg(test)]
use {
    super::prepare::{MountError, Prepared, prepare},
    std::time::{Duration, Instant},
};

/// A directory for a test, in which nothing stays mounted.
#[cfg(test)]
pub(super) struct Site(tempfile::TempDir);

#[cfg(test)]
impl Site {
    pub fn new() -> std::io::Result<Site> {
        tempfile::tempdir().map(Site)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Prepares it though it was locked just now: a child that another test starts
    /// has the descriptors of this process until it runs its program.
    pub fn prepare_again(&self) -> Result<Prepared, MountError> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match prepare(self.path(), false) {
                Err(error)
                    if error.to_string().contains("has it locked") && Instant::now() < deadline =>
                {
                    std::thread::sleep(Duration::from_millis(1));
                }
                prepared => return prepared,
            }
        }
    }
}

#[cfg(test)]
impl Drop for Site {
    fn drop(&mut self) {
        let below = std::fs::canonicalize(self.path()).unwrap_or_else(|_| self.path().to_owned());
        let mounts = mountinfo::read().unwrap_or_default();
        for mount in mounts.iter().rev() {
            if mount.point.starts_with(&below) {
                let _ = umount2(&mount.point, MntFlags::MNT_DETACH);
            }
        }
    }
}
