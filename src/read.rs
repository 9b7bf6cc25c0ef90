//! read(2) as this program makes it: `build.rs` has the linker put this in its
//! place, in std and in all crates. Why is told in `boardlock::fuse::interrupt`.
//! Of a binary, not of the library: there it would change the programs of others.
//!
//! The only unsafe code of the project.

use std::os::fd::BorrowedFd;

use boardlock::fuse::{interrupt, linger, resume};
use boardlock::turn;
use libc::{c_int, c_void, size_t, ssize_t};
use nix::errno::Errno;

unsafe extern "C" {
    /// The C library's own.
    fn __real_read(fd: c_int, buffer: *mut c_void, size: size_t) -> ssize_t;
}

/// The kernel fails a request with EIO that it cannot copy to us, and that is so when
/// we are killed while a page is missing: where nobody is told, as for a close, a lock
/// would stay for ever. So the pages of any request of ours are there before.
const PRESENT: usize = 3 * PAGE;
const PAGE: usize = 4096;

/// No descriptor: reading it fails with EBADF.
const NONE: c_int = -1;

/// read(2); of the FUSE device by one thread at a time, and without those messages
/// that are not for fuser.
///
/// # Safety
/// As with read(2): `buffer` is valid for writes of `size` bytes, and nothing
/// else uses it meanwhile.
#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_read(fd: c_int, buffer: *mut c_void, size: size_t) -> ssize_t {
    loop {
        let is_device = interrupt::is_device(fd);
        if is_device
            && let Some(message) = resume::replayed(fd)
            && message.len() <= size
        {
            // SAFETY: the caller's promise is that `size` bytes can be written, and
            // those of a message of our own are not among them.
            unsafe {
                std::ptr::copy_nonoverlapping(message.as_ptr(), buffer.cast::<u8>(), message.len());
            }
            interrupt::filter(fd, &message);
            return ssize_t::try_from(message.len()).unwrap_or(ssize_t::MAX);
        }
        let from = if is_device && !turn::begin() {
            NONE
        } else {
            fd
        };
        if is_device {
            for at in (0..size.min(PRESENT)).step_by(PAGE) {
                // SAFETY: the caller's promise is that `size` bytes can be written.
                unsafe { buffer.cast::<u8>().add(at).write_volatile(0) };
            }
        }
        if is_device {
            // SAFETY: the caller reads from it, so it is open.
            linger::linger(unsafe { BorrowedFd::borrow_raw(fd) });
        }
        // SAFETY: the caller's promise is the one that is asked for.
        let count = unsafe { __real_read(from, buffer, size) };
        if !is_device {
            return count;
        }
        linger::came();
        let length = usize::try_from(count).unwrap_or(0);
        if length == 0 {
            // errno is the caller's to see.
            let errno = Errno::last_raw();
            turn::end();
            if errno == libc::ENODEV && count < 0 {
                interrupt::gone(fd);
            }
            Errno::set_raw(errno);
            return count;
        }
        // SAFETY: read(2) has written that many bytes there, no more than `size`,
        // and the caller leaves the buffer to this call.
        let message = unsafe { std::slice::from_raw_parts(buffer.cast::<u8>(), length) };
        if !interrupt::filter(fd, message) {
            return count;
        }
    }
}
