//! Where a state file is, and whose it is.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::format::Owner;

/// The directory of root's state files.
const RUN: &str = "/run/boardlock";

/// Where the state of a lock directory is if nobody says where: in the runtime
/// directory, which is emptied with each boot. None for a user who has none.
pub fn default_path(dir: &Path) -> Option<PathBuf> {
    let run = if rustix::process::geteuid().is_root() {
        PathBuf::from(RUN)
    } else {
        let user = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty())?;
        PathBuf::from(user).join("boardlock")
    };
    Some(run.join(file_name(dir)))
}

/// As systemd-escape(1) does it: no two directories have the same.
fn file_name(dir: &Path) -> String {
    let bytes = dir.as_os_str().as_bytes();
    let mut name = String::new();
    for &byte in bytes.strip_prefix(b"/").unwrap_or(bytes) {
        match byte {
            b'/' => name.push('-'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' | b':' => {
                name.push(char::from(byte));
            }
            other => name.push_str(&format!("\\x{other:02x}")),
        }
    }
    name.push_str(".state");
    name
}

/// Who a state file for this lock directory belongs to.
///
/// # Errors
/// When /proc does not tell.
pub fn owner(dir: &Path) -> io::Result<Owner> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(Owner {
        dir: dir.as_os_str().as_bytes().to_vec(),
        boot: boot.trim().to_owned(),
        pids: std::fs::metadata("/proc/self/ns/pid")?.ino(),
    })
}

/// Makes the directory of a state file, for its user alone.
pub(super) fn make_dir(dir: &Path) -> io::Result<()> {
    if dir.as_os_str().is_empty() || dir.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_directory_has_a_file_of_its_own() {
        let name = |dir: &str| file_name(Path::new(dir));
        assert_eq!(name("/var/lock/lab"), "var-lock-lab.state");
        assert_eq!(name("/a-b"), "a\\x2db.state");
        assert_ne!(name("/a/b"), name("/a-b"));
    }
}
