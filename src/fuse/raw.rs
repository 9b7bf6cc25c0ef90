//! What is said to the kernel in fuser's place: messages of linux/fuse.h that it
//! cannot send, or sends too late. In the machine's byte order.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use parking_lot::RwLock;

/// The device; a process has one mount.
static DEVICE: RwLock<Option<OwnedFd>> = RwLock::new(None);

/// `struct fuse_out_header`: what has no error is a notice, with its code there.
const HEADER: usize = 16;
const NOTIFY_POLL: i32 = 1;
const NOTIFY_RESEND: i32 = 7;

/// Speaks to this device from now on; to none without.
pub(super) fn speak_to(device: Option<BorrowedFd<'_>>) {
    *DEVICE.write() = device.and_then(|device| device.try_clone_to_owned().ok());
}

/// Asks the kernel to send once more what was read and never answered
/// (FUSE_NOTIFY_RESEND, Linux 6.9).
///
/// # Errors
/// `EINVAL` where the kernel cannot.
pub(super) fn resend() -> io::Result<()> {
    say(&message(NOTIFY_RESEND, 0, &[]))
}

/// Has who polls an open file look anew (FUSE_NOTIFY_POLL): it may have changed.
pub(super) fn wake(poller: u64) {
    if let Err(error) = say(&message(NOTIFY_POLL, 0, &poller.to_ne_bytes())) {
        log::debug!("waking who polls: {error}");
    }
}

/// Answers a request that takes too long, whatever fuser answers later: with
/// ESTALE, upon which the kernel walks its path again, once.
pub(super) fn give_up(unique: u64) {
    match say(&message(-libc::ESTALE, unique, &[])) {
        Ok(()) => log::warn!(
            "who asks could not be found out in time: a process above it is in execve(2), \
             or the machine is overloaded; the request is refused"
        ),
        // Answered meanwhile.
        Err(error) => log::debug!("giving up a request: {error}"),
    }
}

/// A message with this code in place of an error.
fn message(code: i32, unique: u64, rest: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + rest.len()).unwrap_or(u32::MAX);
    let mut message = Vec::with_capacity(HEADER + rest.len());
    message.extend(length.to_ne_bytes());
    message.extend(code.to_ne_bytes());
    message.extend(unique.to_ne_bytes());
    message.extend(rest);
    message
}

fn say(message: &[u8]) -> io::Result<()> {
    match DEVICE.read().as_ref() {
        Some(device) => nix::unistd::write(device, message)
            .map(drop)
            .map_err(Into::into),
        None => Err(io::ErrorKind::NotConnected.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_laid_out_as_the_kernel_has_it() {
        let wake = message(NOTIFY_POLL, 0, &7_u64.to_ne_bytes());
        assert_eq!(wake.len(), 24);
        assert_eq!(wake[..4], 24_u32.to_ne_bytes());
        assert_eq!(wake[4..8], 1_i32.to_ne_bytes());
        assert_eq!(wake[8..16], [0; 8]);
        assert_eq!(wake[16..], 7_u64.to_ne_bytes());
        let refusal = message(-libc::ESTALE, 9, &[]);
        assert_eq!(refusal.len(), HEADER);
        assert_eq!(refusal[4..8], (-116_i32).to_ne_bytes());
        assert_eq!(refusal[8..], 9_u64.to_ne_bytes());
    }
}
