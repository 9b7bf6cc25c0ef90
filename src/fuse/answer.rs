//! What requests say in fuser's words, and how answers are said in them.

use std::time::Duration;

use fuser::{
    Errno, FileHandle, Generation, INodeNo, OpenAccMode, OpenFlags, ReplyAttr, ReplyData,
    ReplyEmpty, ReplyEntry, ReplyXattr, Request,
};

use super::{attributes, errno};
use crate::fault::{self, Point};
use crate::lock::attributes::Attributes;
use crate::lock::ids::{Handle, Ino, Pid};
use crate::lock::open::OpenMode;
use crate::service::view::Read;
use crate::service::{self, Failure, Sender};

/// Entries and attributes are asked for each time.
pub(super) const NO_LIFETIME: Duration = Duration::ZERO;

/// Inode numbers are never given out twice, so one generation does.
pub(super) const GENERATION: Generation = Generation(0);

pub(super) fn sender(request: &Request) -> Sender {
    Sender {
        thread: Pid::new(request.pid()),
        user: service::user(request.uid(), request.gid()),
    }
}

pub(super) fn ino(number: INodeNo) -> Ino {
    Ino(number.0)
}

pub(super) fn handle(number: FileHandle) -> Handle {
    Handle(number.0)
}

pub(super) fn mode(flags: i32) -> OpenMode {
    OpenMode {
        write: OpenFlags(flags).acc_mode() != OpenAccMode::O_RDONLY,
        append: flags & libc::O_APPEND != 0,
        truncate: flags & libc::O_TRUNC != 0,
        nonblock: flags & libc::O_NONBLOCK != 0,
        again: false,
        brief: false,
    }
}

pub(super) fn refused(what: &str, failure: impl Into<Failure>) -> Errno {
    let failure = failure.into();
    let errno = errno::of_failure(&failure, what);
    log::debug!("{what}: {errno:?} ({failure:?})");
    errno
}

pub(super) fn entry(reply: ReplyEntry, what: &str, made: Result<Attributes, Failure>) {
    fault::point(Point::Replying);
    match made {
        Ok(made) => reply.entry(&NO_LIFETIME, &attributes::to_fuse(&made), GENERATION),
        Err(failure) => reply.error(refused(what, failure)),
    }
}

pub(super) fn attr(reply: ReplyAttr, what: &str, found: Result<Attributes, Failure>) {
    fault::point(Point::Replying);
    match found {
        Ok(found) => reply.attr(&NO_LIFETIME, &attributes::to_fuse(&found)),
        Err(failure) => reply.error(refused(what, failure)),
    }
}

pub(super) fn empty(reply: ReplyEmpty, what: &str, done: Result<(), Failure>) {
    fault::point(Point::Replying);
    match done {
        Ok(()) => reply.ok(),
        Err(failure) => reply.error(refused(what, failure)),
    }
}

/// Answers a read, now or later.
pub(super) fn read_later(reply: ReplyData) -> Read {
    Box::new(move |read: Result<&[u8], Failure>| match read {
        Ok(data) => reply.data(data),
        Err(failure) => reply.error(refused("read", failure)),
    })
}

/// getxattr(2) and listxattr(2): a size of 0 asks how long the value is.
pub(super) fn xattr_value(
    reply: ReplyXattr,
    what: &str,
    size: u32,
    value: Result<Vec<u8>, Failure>,
) {
    match value {
        Ok(value) => match u32::try_from(value.len()) {
            Ok(length) if size == 0 => reply.size(length),
            Ok(length) if length <= size => reply.data(&value),
            _ => reply.error(Errno::ERANGE),
        },
        Err(failure) => reply.error(refused(what, failure)),
    }
}
