//! Which request a signal wants ended, and which kind of lock one is about: what
//! the kernel says and fuser does not pass on.
//!
//! The kernel tells by FUSE_INTERRUPT that the process behind a request has a
//! signal. fuser 0.18 answers that with ENOSYS, the kernel then never sends one
//! again, and whoever waits for a board could not be ended by anything, SIGKILL
//! included. fuser also hides `lk_flags`, which tells flock(2) from fcntl(2). So
//! the binary reads through [`filter`] (`src/read.rs`): it takes interrupts out
//! before fuser sees them, and notes the flags of lock requests. The messages are
//! those of linux/fuse.h, in the machine's byte order.
//!
//! Of the ways that were tried this one costs nothing that can be measured; a
//! relay between the kernel and fuser took 1.3 to 3 times as long for a lock.
//! It can go when fuser has both.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use parking_lot::{Mutex, RwLock};

use super::{raw, resume};
use crate::fault::{self, Point};
use crate::turn;

const FUSE_INIT: u32 = 26;
const FUSE_GETLK: u32 = 31;
const FUSE_SETLKW: u32 = 33;
const FUSE_INTERRUPT: u32 = 36;

/// Where fields are, in bytes; what an operation has of its own follows the
/// header of 40 bytes (`struct fuse_in_header`).
const LENGTH: usize = 0;
const OPCODE: usize = 4;
const UNIQUE: usize = 8;
/// `fuse_interrupt_in.unique`
const TARGET: usize = 40;
/// `fuse_lk_in.lk_flags`
const LK_FLAGS: usize = 80;

/// Who is told of what is read.
pub trait Listener: Send + Sync {
    /// A signal wants the request with this `unique` ended.
    fn interrupted(&self, unique: u64);

    /// No more requests come. It may be told more than once.
    fn gone(&self) {}
}

impl<F: Fn(u64) + Send + Sync> Listener for F {
    fn interrupted(&self, unique: u64) {
        self(unique);
    }
}

/// The filter of one descriptor.
struct Filter {
    /// Of which descriptor; negative for none.
    device: AtomicI32,
    /// Whether its handshake was seen.
    handshake: AtomicBool,
    listener: RwLock<Option<Arc<dyn Listener>>>,
}

/// A process has one mount.
static FILTER: Filter = Filter::new();

thread_local! {
    /// `unique` and `lk_flags` of the lock request that this thread read last.
    /// A thread that reads a request is the one that is given it.
    static LOCK: Cell<Option<(u64, u32)>> = const { Cell::new(None) };
}

impl Filter {
    const fn new() -> Filter {
        Filter {
            device: AtomicI32::new(-1),
            handshake: AtomicBool::new(false),
            listener: RwLock::new(None),
        }
    }

    fn is_device(&self, fd: RawFd) -> bool {
        // Descriptors that others use are none of ours: no order is needed.
        self.device.load(Ordering::Relaxed) == fd
    }

    fn set(&self, device: RawFd, listener: Arc<dyn Listener>) {
        *self.listener.write() = Some(listener);
        self.handshake.store(false, Ordering::Relaxed);
        self.device.store(device, Ordering::Release);
    }

    fn unset(&self, device: RawFd) {
        let unset = self
            .device
            .compare_exchange(device, -1, Ordering::AcqRel, Ordering::Relaxed);
        if unset.is_ok() {
            *self.listener.write() = None;
        }
    }

    /// Whether to swallow what was read.
    fn take(&self, message: &[u8]) -> bool {
        // The kernel gives one whole message a read. Anything else is a file
        // that has got the number of a device that was just closed.
        if u32_at(message, LENGTH).map(|length| length as usize) != Some(message.len()) {
            return false;
        }
        let (opcode, unique) = (u32_at(message, OPCODE), u64_at(message, UNIQUE));
        if let Some(unique) = unique.filter(|_| opcode != Some(FUSE_INTERRUPT)) {
            turn::at(unique);
            fault::point(Point::Read);
        }
        match opcode {
            Some(FUSE_INTERRUPT) => {
                let Some(target) = u64_at(message, TARGET) else {
                    return false;
                };
                let listener = self.listener.read().clone();
                if let Some(listener) = listener {
                    listener.interrupted(target);
                }
                true
            }
            Some(FUSE_GETLK..=FUSE_SETLKW) => {
                LOCK.set(unique.zip(u32_at(message, LK_FLAGS)));
                false
            }
            Some(FUSE_INIT) => {
                resume::begins(message);
                self.handshake.store(true, Ordering::Relaxed);
                false
            }
            _ => false,
        }
    }
}

/// The device whose interrupts are taken out while this lives.
#[derive(Debug)]
#[must_use = "dropping it ends it"]
pub struct Registration {
    device: RawFd,
}

impl Registration {
    /// Whether fuser's handshake went through the filter. After it, a no means
    /// that no signal would end a wait.
    pub fn in_effect(&self) -> bool {
        FILTER.handshake.load(Ordering::Relaxed)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        FILTER.unset(self.device);
        raw::speak_to(None);
    }
}

/// Takes interrupts out of what is read from the device `fd` from now on. `listener` is
/// told of their targets, in the thread that reads, between requests: the request
/// is parked or answered by then, or was overtaken (`crate::turn`). To be called
/// before fuser's handshake, and for one device at a time.
pub fn register(fd: BorrowedFd<'_>, listener: Arc<dyn Listener>) -> Registration {
    let device = fd.as_raw_fd();
    raw::speak_to(Some(fd));
    FILTER.set(device, listener);
    Registration { device }
}

/// Whether a descriptor is the registered one; all that reads of others cost.
#[inline]
pub fn is_device(fd: RawFd) -> bool {
    FILTER.is_device(fd)
}

/// Looks at what was read from `fd`: whether to read on as if it had not come.
/// Does not panic.
pub fn filter(fd: RawFd, message: &[u8]) -> bool {
    if !is_device(fd) {
        return false;
    }
    // Read by C's rules, through which no panic may go. What panicked has said
    // so; nobody but an interrupt gets that far.
    catch_unwind(AssertUnwindSafe(|| FILTER.take(message))).unwrap_or(true)
}

/// The kernel says that no more comes from `fd`. Does not panic.
pub fn gone(fd: RawFd) {
    let listener = FILTER.listener.read().clone();
    if let Some(listener) = listener.filter(|_| is_device(fd)) {
        let _ = catch_unwind(AssertUnwindSafe(|| listener.gone()));
    }
}

/// The `lk_flags` of a lock request, for the thread that read it and as long as
/// it has read no other: FUSE_LK_FLOCK (1) is flock(2), 0 fcntl(2).
pub fn lock_flags(unique: u64) -> Option<u32> {
    LOCK.get()
        .filter(|&(read, _)| read == unique)
        .map(|(_, flags)| flags)
}

/// Why interrupts are not seen.
#[derive(Debug)]
pub enum NotSeen {
    /// read(2) does not go through the filter.
    NotWrapped,
    /// It does, but fuser reads by other means.
    NotByFuser,
    /// It could not be tried.
    System(io::Error),
}

impl fmt::Display for NotSeen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self {
            NotSeen::NotWrapped => {
                "reads do not go through the wrapper that build.rs asks the linker for \
                 (--wrap=read)"
            }
            NotSeen::NotByFuser => "fuser does not read by read(2)",
            NotSeen::System(error) => {
                return write!(f, "cannot try whether signals will end waits: {error}");
            }
        };
        write!(
            f,
            "no signal would end a wait for a board: {why}; this boardlock was built wrong"
        )
    }
}

impl std::error::Error for NotSeen {}

impl From<io::Error> for NotSeen {
    fn from(error: io::Error) -> NotSeen {
        NotSeen::System(error)
    }
}

/// Tries whether reads as fuser makes them go through the filter. To be called
/// while no device is registered.
///
/// # Errors
/// They do not, or it could not be tried.
pub fn check() -> Result<(), NotSeen> {
    const TRIED: u64 = 0x626f_6172_646c_6f63;
    let (reader, writer) = nix::unistd::pipe().map_err(io::Error::from)?;
    let seen = Arc::new(Mutex::new(None));
    let registered = register(reader.as_fd(), {
        let seen = Arc::clone(&seen);
        Arc::new(move |target| *seen.lock() = Some(target))
    });
    let message = interrupt_of(TRIED);
    nix::unistd::write(&writer, &message).map_err(io::Error::from)?;
    // What is read after the swallowed message is the end of the pipe.
    drop(writer);
    let mut buffer = [0_u8; 64];
    let read = nix::unistd::read(&reader, &mut buffer).map_err(io::Error::from)?;
    drop(registered);
    let seen = *seen.lock();
    if (read, seen) == (0, Some(TRIED)) {
        Ok(())
    } else {
        Err(NotSeen::NotWrapped)
    }
}

/// The kernel's message that a signal wants this request ended.
fn interrupt_of(target: u64) -> [u8; 48] {
    let mut message = [0_u8; 48];
    message[..4].copy_from_slice(&48_u32.to_ne_bytes());
    message[4..8].copy_from_slice(&FUSE_INTERRUPT.to_ne_bytes());
    // The kernel marks an interrupt's own number by its lowest bit.
    message[8..16].copy_from_slice(&(target | 1).to_ne_bytes());
    message[40..].copy_from_slice(&target.to_ne_bytes());
    message
}

fn u32_at(message: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*message.get(at..)?.first_chunk()?))
}

fn u64_at(message: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*message.get(at..)?.first_chunk()?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A filter, and the interrupts that it has told of.
    fn filter() -> (Filter, Arc<Mutex<Vec<u64>>>) {
        let filter = Filter::new();
        let told = Arc::new(Mutex::new(Vec::new()));
        filter.set(7, {
            let told = Arc::clone(&told);
            Arc::new(move |target| told.lock().push(target))
        });
        (filter, told)
    }

    /// A message of so many bytes whose header says so.
    fn message(opcode: u32, unique: u64, length: u32) -> Vec<u8> {
        let mut message = Vec::new();
        message.extend(length.to_ne_bytes());
        message.extend(opcode.to_ne_bytes());
        message.extend(unique.to_ne_bytes());
        message.resize(length as usize, 0);
        message
    }

    fn lock(opcode: u32, unique: u64, flags: u32) -> Vec<u8> {
        let mut message = message(opcode, unique, 88);
        message[80..84].copy_from_slice(&flags.to_ne_bytes());
        message
    }

    #[test]
    fn an_interrupt_is_swallowed_and_told_of() {
        let (filter, told) = filter();
        assert!(filter.take(&interrupt_of(40)));
        assert!(filter.take(&interrupt_of(1 << 63 | 42)));
        assert_eq!(*told.lock(), [40, 1 << 63 | 42]);
    }

    #[test]
    fn everything_else_goes_through() {
        let (filter, told) = filter();
        for opcode in (0..=60).filter(|&opcode| opcode != FUSE_INTERRUPT) {
            for length in [40, 41, 48, 88, 4096] {
                assert!(
                    !filter.take(&message(opcode, 4, length)),
                    "{opcode} {length}"
                );
            }
        }
        assert!(told.lock().is_empty());
    }

    #[test]
    fn what_is_no_whole_message_goes_through() {
        let (filter, told) = filter();
        let whole = interrupt_of(40);
        for length in 0..whole.len() {
            // Cut off, and with a header that says that it is that short.
            assert!(!filter.take(&whole[..length]), "{length}");
            let mut short = whole[..length].to_vec();
            if let Some(field) = short.first_chunk_mut() {
                *field = u32::try_from(length).unwrap().to_ne_bytes();
            }
            assert!(!filter.take(&short), "{length}");
        }
        let mut long = whole.to_vec();
        long.push(0);
        assert!(!filter.take(&long));
        assert!(told.lock().is_empty());
        for length in 0..88 {
            let mut short = lock(FUSE_SETLKW, 1000, 1);
            short.truncate(length);
            if let Some(field) = short.first_chunk_mut() {
                *field = u32::try_from(length).unwrap().to_ne_bytes();
            }
            assert!(!filter.take(&short), "{length}");
            let known = (length >= 84).then_some(1);
            assert_eq!(lock_flags(1000), known, "{length}");
        }
    }

    #[test]
    fn the_flags_of_a_lock_are_those_of_that_very_request() {
        let (filter, _) = filter();
        assert_eq!(lock_flags(2), None);
        for (opcode, unique, flags) in [(31, 2, 0), (32, 4, 1), (33, 6, 1), (33, 1 << 63 | 6, 0)] {
            assert!(!filter.take(&lock(opcode, unique, flags)));
            assert_eq!(lock_flags(unique), Some(flags));
            assert_eq!(lock_flags(unique + 2), None);
            assert_eq!(lock_flags(unique - 2), None);
        }
        // Another operation does not change it, another thread does not see it.
        assert!(!filter.take(&message(14, 8, 48)));
        assert_eq!(lock_flags(1 << 63 | 6), Some(0));
        let other = std::thread::spawn(|| lock_flags(1 << 63 | 6));
        assert_eq!(other.join().unwrap(), None);
    }

    #[test]
    fn a_handshake_is_remembered_for_its_device() {
        let (filter, _) = filter();
        assert!(!filter.handshake.load(Ordering::Relaxed));
        assert!(!filter.take(&message(FUSE_INIT, 2, 104)));
        assert!(filter.handshake.load(Ordering::Relaxed));
        filter.set(8, Arc::new(|_| {}));
        assert!(!filter.handshake.load(Ordering::Relaxed));
    }

    #[test]
    fn one_device_at_a_time_is_filtered() {
        let (filter, _) = filter();
        assert!(filter.is_device(7) && !filter.is_device(8));
        filter.set(8, Arc::new(|_| {}));
        // The end of the one before does not end it.
        filter.unset(7);
        assert!(filter.is_device(8) && !filter.is_device(7));
        filter.unset(8);
        assert!(!filter.is_device(8));
    }

    /// Nothing but the binary has the wrapper.
    #[test]
    fn a_program_without_the_wrapper_is_told_so() {
        let error = check().unwrap_err();
        assert!(matches!(error, NotSeen::NotWrapped), "{error}");
        let said = error.to_string();
        for words in ["no signal would end a wait", "--wrap=read", "build.rs"] {
            assert!(said.contains(words), "{said}");
        }
    }
}
