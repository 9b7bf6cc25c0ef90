//! What root's powers whoever serves can do without (capabilities(7)).
//!
//! A process that is started by root gets all capabilities that are left in its
//! bounding set. This process takes the others out of that, and keeps its own: it is
//! to unmount.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, capability_is_in_bounding_set, remove_capability_from_bounding_set,
};

/// To look at other users' processes and their open files, and to have the kernel
/// ask anew for a lock that one of them waits for (`crate::process::nudge`).
const NEEDED: CapabilitySet = CapabilitySet::SYS_PTRACE
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::KILL);

/// Whether this process has powers to leave.
pub fn has_any() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether who has no more than is needed can make files where this one is; true where
/// that cannot be found out.
pub fn may_write_beside(file: &Path) -> bool {
    let above = file.parent().filter(|above| !above.as_os_str().is_empty());
    let Ok(about) = above.unwrap_or(Path::new(".")).metadata() else {
        return true;
    };
    let mode = about.mode();
    !has_any()
        || match (about.uid(), about.gid()) {
            (0, _) => mode & 0o200 != 0,
            (_, 0) => mode & 0o020 != 0,
            _ => mode & 0o002 != 0,
        }
}

/// Takes what is not needed from all that are started from now on.
pub(super) fn leave_to_who_is_started() {
    if !has_any() {
        return;
    }
    for capability in CapabilitySet::all().difference(NEEDED).iter() {
        match capability_is_in_bounding_set(capability) {
            Ok(true) => {}
            // Gone already, or not of this kernel.
            Ok(false) | Err(Errno::INVAL) => continue,
            Err(error) => log::debug!("{capability:?}: {error}"),
        }
        if let Err(error) = remove_capability_from_bounding_set(capability) {
            log::debug!("{capability:?} cannot be left: {error}");
        }
    }
}
