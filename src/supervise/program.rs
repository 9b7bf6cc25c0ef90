//! The programs that serve, as files: what was replaced or removed since can still
//! be run.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use super::SERVES;

/// A program that can be started.
#[derive(Debug)]
pub(super) struct Program(File);

impl Program {
    /// The one that this process runs.
    pub fn own() -> io::Result<Program> {
        Ok(Program(File::open("/proc/self/exe")?))
    }

    /// The one that another process runs.
    pub fn of(pid: u32) -> io::Result<Program> {
        Ok(Program(File::open(format!("/proc/{pid}/exe"))?))
    }

    /// Starts it on a connection, with the arguments of this process.
    pub fn start(&self, device: &OwnedFd, memory: &File) -> io::Result<Child> {
        let mut arguments = std::env::args_os();
        let mut command = Command::new(format!("/proc/self/fd/{}", self.0.as_raw_fd()));
        if let Some(name) = arguments.next() {
            command.arg0(name);
        }
        command
            .args(arguments)
            .env(SERVES, std::process::id().to_string())
            .stdin(device.try_clone()?)
            .stdout(memory.try_clone()?)
            .spawn()
    }
}
