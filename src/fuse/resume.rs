//! How a connection begins, for a process that goes on with one: fuser wants to
//! read the kernel's first message (FUSE_INIT), which the kernel sends once.

use std::os::fd::RawFd;

use parking_lot::Mutex;

use super::interrupt;

enum Init {
    None,
    /// The kernel's, as it was read.
    Read(Vec<u8>),
    /// One that was read by another process, which fuser is to read first.
    Replayed(Vec<u8>),
}

/// A process has one mount.
static INIT: Mutex<Init> = Mutex::new(Init::None);

/// Notes the message with which the connection begins.
pub(super) fn begins(message: &[u8]) {
    *INIT.lock() = Init::Read(message.to_vec());
}

/// The message with which the connection began.
pub fn init() -> Option<Vec<u8>> {
    match &*INIT.lock() {
        Init::Read(message) => Some(message.clone()),
        _ => None,
    }
}

/// Has the next read from the device give this message.
pub(super) fn replay(message: Vec<u8>) {
    *INIT.lock() = Init::Replayed(message);
}

/// What is to be read from `fd` before what the kernel has.
pub fn replayed(fd: RawFd) -> Option<Vec<u8>> {
    let mut init = INIT.lock();
    match std::mem::replace(&mut *init, Init::None) {
        Init::Replayed(message) if interrupt::is_device(fd) => Some(message),
        other => {
            *init = other;
            None
        }
    }
}
