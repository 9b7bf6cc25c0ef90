//! A disk that fills up.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system of its own with little room (needs root, mount and umount).
pub struct Small(pub PathBuf);

impl Small {
    /// On a new directory.
    pub fn new(dir: &Path) -> Small {
        Small::of(dir, "512k")
    }

    /// The same with so much room.
    pub fn of(dir: &Path, size: &str) -> Small {
        fs::create_dir(dir).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(dir)
            .status();
        assert!(mounted.unwrap().success());
        Small(dir.to_owned())
    }

    /// Fills it up.
    pub fn fill(dir: &Path) {
        let full = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(dir.join("full"));
        let mut full = full.unwrap();
        while full.write_all(&[0; 4096]).is_ok() {}
    }

    /// There is room again.
    pub fn empty(dir: &Path) {
        fs::remove_file(dir.join("full")).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
