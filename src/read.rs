//! read(2) as this program makes it: `build.rs` has the linker put this in its
//! place, in std and in all crates. Why is told in `boardlock::fuse::interrupt`.
//! Of a binary, not of the library: there it would change the programs of others.
//!
//! The only unsafe code of the project.

use boardlock::fuse::interrupt;
use libc::{c_int, c_void, size_t, ssize_t};

unsafe extern "C" {
    /// The C library's own.
    fn __real_read(fd: c_int, buffer: *mut c_void, size: size_t) -> ssize_t;
}

/// read(2), without those messages of the FUSE device that are not for fuser.
///
/// # Safety
/// As with read(2): `buffer` is valid for writes of `size` bytes, and nothing
/// else uses it meanwhile.
#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_read(fd: c_int, buffer: *mut c_void, size: size_t) -> ssize_t {
    loop {
        // SAFETY: the caller's promise is the one that is asked for.
        let count = unsafe { __real_read(fd, buffer, size) };
        if !interrupt::is_device(fd) {
            return count;
        }
        // A failure goes out at once: errno is the caller's to see.
        let Ok(length) = usize::try_from(count) else {
            return count;
        };
        if length == 0 {
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
