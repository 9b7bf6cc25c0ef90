//! Requests that are sent for the second time: the daemon that read them first died
//! before it answered. What it did before that is not done again.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use fuser::{INodeNo, ReplyCreate, ReplyEmpty, ReplyEntry, ReplyOpen, Request};

use super::answer::{empty, entry, ino};
use super::locks;
use crate::lock::ids::{Handle, WaitId};
use crate::lock::refusal::Refusal;
use crate::service::{Closing, Service};

/// FUSE_UNIQUE_RESEND of linux/fuse.h.
const RESENT: u64 = 1 << 63;

/// Whether this request is done already, and the open file that it made.
fn was_done(service: &Service, request: &Request) -> Option<Option<Handle>> {
    let unique = request.unique().0;
    if unique & RESENT == 0 {
        return None;
    }
    service.was_done(WaitId::of_request(unique))
}

/// Answers one that has no more to say than that it is done.
pub(super) fn done(
    service: &Service,
    request: &Request,
    reply: ReplyEmpty,
) -> Result<(), ReplyEmpty> {
    if was_done(service, request).is_none() {
        return Err(reply);
    }
    empty(reply, "answer again", Ok(()));
    Ok(())
}

/// The same for one that made a name.
pub(super) fn made(
    service: &Service,
    request: &Request,
    (parent, name): (INodeNo, &OsStr),
    reply: ReplyEntry,
) -> Result<(), ReplyEntry> {
    if was_done(service, request).is_none() {
        return Err(reply);
    }
    let found = service
        .number_of(ino(parent), name.as_bytes())
        .ok_or(Refusal::Gone.into())
        .and_then(|number| service.attributes(number, None));
    entry(reply, "answer again", found);
    Ok(())
}

/// The same for one that opened a file.
pub(super) fn opened(
    service: &Service,
    request: &Request,
    reply: ReplyOpen,
) -> Result<(), ReplyOpen> {
    let Some(handle) = was_done(service, request) else {
        return Err(reply);
    };
    locks::opened(reply)(Ok(handle));
    Ok(())
}

/// The same for one that made a file and opened it.
pub(super) fn created(
    service: &Service,
    request: &Request,
    reply: ReplyCreate,
) -> Result<(), ReplyCreate> {
    let Some(Some(handle)) = was_done(service, request) else {
        return Err(reply);
    };
    let made = service
        .attributes_of(handle)
        .map(|attributes| (attributes, handle, Closing::Told))
        .ok_or(Refusal::Gone.into());
    locks::created(reply)(made);
    Ok(())
}
