//! Which errno each refusal is, and why that one.

use fuser::Errno;

use crate::lock::Refusal;
use crate::service::Failure;

/// The errno of a refusal.
pub fn of(refusal: Refusal) -> Errno {
    match refusal {
        // What a device in use says; no tool takes it for success or retries.
        Refusal::Busy
        | Refusal::NotHeld
        // `ln tmp board` into somebody's directory: not EEXIST, the name is free.
        | Refusal::InsideAnothers
        | Refusal::LinkedTo
        | Refusal::TargetTaken => Errno::EBUSY,
        // open(2) with O_NONBLOCK that would block.
        Refusal::BusyNow => Errno::EAGAIN,
        // fcntl(2), F_SETLKW.
        Refusal::Deadlock => Errno::EDEADLK,
        // A signal ended the wait; the kernel goes on waiting where the program
        // wants its calls restarted.
        Refusal::Interrupted => Errno::EINTR,
        // flock(2), fcntl(2): no room for the lock. Not EAGAIN: nobody may take
        // it for "held".
        Refusal::NoLocks => Errno::ENOLCK,
        // The one errno that O_EXCL and link lockers know as "held".
        Refusal::Exists
        // setxattr(2) with XATTR_CREATE.
        | Refusal::AttributeExists => Errno::EEXIST,
        Refusal::Missing
        // What making a file says where there is no such place: nothing retries it or
        // takes it for "held".
        | Refusal::NoSuchBoard => Errno::ENOENT,
        // What opening a device says that is not there to be used.
        Refusal::OutOfService => Errno::ENODEV,
        // What permissions of a file would say. Not EPERM, which is for what was done to
        // the wrong thing, and for giving back.
        Refusal::NotAdmitted => Errno::EACCES,
        // Makes the kernel walk the path again, once.
        Refusal::Gone => Errno::ESTALE,
        Refusal::NotHolder
        | Refusal::NotYours
        | Refusal::UnlinksToTake
        | Refusal::RefusedBefore
        | Refusal::Orphan
        | Refusal::Unseen
        | Refusal::TargetPath
        // Removing and renaming (rmdir(2): "the file system does not allow it").
        | Refusal::LaidOut
        // As on file systems that have no such files (mknod(2), symlink(2)).
        | Refusal::WrongKind
        | Refusal::NotPermitted
        // Root, too: EACCES would make him look at the mode.
        | Refusal::Reserved => Errno::EPERM,
        Refusal::BadName | Refusal::RenameFlags | Refusal::BadValue => Errno::EINVAL,
        Refusal::LongName => Errno::ENAMETOOLONG,
        Refusal::UserFull => Errno::EDQUOT,
        Refusal::TableFull => Errno::ENOSPC,
        Refusal::TooLarge => Errno::EFBIG,
        Refusal::NotEmpty => Errno::ENOTEMPTY,
        Refusal::IsDirectory => Errno::EISDIR,
        Refusal::NotDirectory => Errno::ENOTDIR,
        Refusal::NoAttribute => Errno::NO_XATTR,
        Refusal::UnknownAttribute => Errno::EOPNOTSUPP,
        // execve(2): what was to be run cannot be.
        Refusal::NotUpgraded => Errno::ENOEXEC,
    }
}

/// The errno of a failed request. One that the daemon itself failed at is told
/// in the log: `what` was being done.
pub fn of_failure(failure: &Failure, what: &str) -> Errno {
    match failure {
        Failure::Refused(refusal) => of(*refusal),
        // Reading /proc waited for a program that waits for us: it can go on now,
        // and the kernel walks the path again.
        Failure::System(error) if error.kind() == std::io::ErrorKind::TimedOut => {
            log::debug!("finding out who asks to {what} takes too long");
            Errno::ESTALE
        }
        // Told in the log when it began.
        Failure::Unrecorded(error) => match error.raw_os_error() {
            Some(libc::ENOSPC | libc::EDQUOT) => Errno::ENOSPC,
            _ => Errno::EIO,
        },
        Failure::System(error) => {
            log::error!("cannot find out who asks to {what}: {error}");
            match error.raw_os_error() {
                // Out of descriptors for pidfds: not the client's fault.
                Some(libc::EMFILE | libc::ENFILE) => Errno::ENFILE,
                Some(libc::ENOMEM) => Errno::ENOMEM,
                _ => Errno::EIO,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_is_the_errno_that_the_contract_names() {
        for (refusal, errno) in [
            (Refusal::Busy, Errno::EBUSY),
            (Refusal::BusyNow, Errno::EAGAIN),
            (Refusal::Deadlock, Errno::EDEADLK),
            (Refusal::Interrupted, Errno::EINTR),
            (Refusal::NoLocks, Errno::ENOLCK),
            (Refusal::Exists, Errno::EEXIST),
            (Refusal::Missing, Errno::ENOENT),
            (Refusal::Gone, Errno::ESTALE),
            (Refusal::NotHolder, Errno::EPERM),
            (Refusal::NotYours, Errno::EPERM),
            (Refusal::UnlinksToTake, Errno::EPERM),
            (Refusal::RefusedBefore, Errno::EPERM),
            (Refusal::Orphan, Errno::EPERM),
            (Refusal::Unseen, Errno::EPERM),
            (Refusal::InsideAnothers, Errno::EBUSY),
            (Refusal::LinkedTo, Errno::EBUSY),
            (Refusal::TargetPath, Errno::EPERM),
            (Refusal::BadName, Errno::EINVAL),
            (Refusal::NoSuchBoard, Errno::ENOENT),
            (Refusal::OutOfService, Errno::ENODEV),
            (Refusal::NotAdmitted, Errno::EACCES),
            (Refusal::LaidOut, Errno::EPERM),
            (Refusal::LongName, Errno::ENAMETOOLONG),
            (Refusal::UserFull, Errno::EDQUOT),
            (Refusal::TableFull, Errno::ENOSPC),
            (Refusal::TooLarge, Errno::EFBIG),
            (Refusal::NotEmpty, Errno::ENOTEMPTY),
            (Refusal::WrongKind, Errno::EPERM),
            (Refusal::NotPermitted, Errno::EPERM),
            (Refusal::RenameFlags, Errno::EINVAL),
            (Refusal::NotUpgraded, Errno::ENOEXEC),
            (Refusal::Reserved, Errno::EPERM),
        ] {
            assert_eq!(of(refusal).code(), errno.code(), "{refusal:?}");
        }
    }
}
