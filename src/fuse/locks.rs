//! File locks, waiting opens and polling in fuser's words.

use fuser::{
    FileHandle, FopenFlags, LockOwner, PollEvents, ReplyCreate, ReplyEmpty, ReplyOpen, Request,
};

use super::answer::{GENERATION, NO_LIFETIME, handle, refused, sender};
use super::{attributes, interrupt};
use crate::fault::{self, Point};
use crate::lock::file_lock::{Class, LockCall, LockKind, Range};
use crate::lock::ids::{self, Handle, Pid, WaitId};
use crate::service::{Answer, Closing, Created, Failure, Sender};

/// flock(2) and not fcntl(2) (FUSE_LK_FLOCK of linux/fuse.h).
const LK_FLOCK: u32 = 1;

/// What a lock request asks for: none to unlock.
pub(super) type Wanted = Option<LockKind>;

/// The number by which a request that waits is known.
pub(super) fn wait_id(request: &Request) -> WaitId {
    WaitId::of_request(request.unique().0)
}

/// The call behind a lock request. fuser does not pass on which call it was;
/// what was read of the request tells. None where that was not seen: then it
/// cannot be granted.
pub(super) fn call(
    request: &Request,
    opened: FileHandle,
    owner: LockOwner,
    (start, end): (u64, u64),
    pid: u32,
) -> Option<LockCall> {
    let flags = interrupt::lock_flags(request.unique().0)?;
    let Sender { user, .. } = sender(request);
    Some(LockCall {
        handle: handle(opened),
        class: if flags & LK_FLOCK != 0 {
            Class::Flock
        } else {
            Class::Fcntl
        },
        owner: ids::LockOwner(owner.0),
        range: Range { start, end },
        pid: Pid::new(pid),
        started: None,
        user,
    })
}

/// The kind of a lock request, by the number that fcntl(2) has for it.
pub(super) fn wanted(kind: i32) -> Option<Wanted> {
    match kind {
        libc::F_RDLCK => Some(Some(LockKind::Shared)),
        libc::F_WRLCK => Some(Some(LockKind::Exclusive)),
        libc::F_UNLCK => Some(None),
        _ => None,
    }
}

/// The number of a kind.
pub(super) fn number(kind: LockKind) -> i32 {
    match kind {
        LockKind::Shared => libc::F_RDLCK,
        LockKind::Exclusive => libc::F_WRLCK,
    }
}

/// Answers a lock, now or later.
pub(super) fn locked(reply: ReplyEmpty) -> Answer {
    Box::new(move |outcome: Result<_, Failure>| {
        fault::point(Point::Replying);
        match outcome {
            Ok(_) => reply.ok(),
            Err(failure) => reply.error(refused("lock", failure)),
        }
    })
}

/// Answers an open, now or later.
pub(super) fn opened(reply: ReplyOpen) -> Answer {
    Box::new(move |outcome: Result<_, Failure>| {
        fault::point(Point::Replying);
        match outcome {
            Ok(Some(Handle(number))) => {
                reply.opened(FileHandle(number), FopenFlags::FOPEN_DIRECT_IO);
            }
            Ok(None) => reply.error(fuser::Errno::EIO),
            Err(failure) => reply.error(refused("open", failure)),
        }
    })
}

/// Answers the creation of a file, now or later.
pub(super) fn created(reply: ReplyCreate) -> Created {
    Box::new(move |outcome| {
        fault::point(Point::Replying);
        match outcome {
            Ok((made, Handle(number), closing)) => reply.created(
                &NO_LIFETIME,
                &attributes::to_fuse(&made),
                GENERATION,
                FileHandle(number),
                match closing {
                    Closing::Told => FopenFlags::FOPEN_DIRECT_IO,
                    // Linux 5.16; before, it is told.
                    Closing::Untold => FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_NOFLUSH,
                },
            ),
            Err(failure) => reply.error(refused("create", failure)),
        }
    })
}

/// What poll(2) says of an open file: like every regular file it can always be
/// written to; read only when there is something new.
pub(super) fn events(new: bool) -> PollEvents {
    let mut events = PollEvents::POLLOUT | PollEvents::POLLWRNORM;
    if new {
        events |= PollEvents::POLLIN | PollEvents::POLLRDNORM;
    }
    events
}
