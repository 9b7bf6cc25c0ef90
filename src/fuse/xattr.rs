//! Extended attributes `user.boardlock.*` (semantics.md, "Metadata").

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use jiff::SignedDuration;

use crate::lock::ids::{Ino, Token};
use crate::lock::record::Status;
use crate::lock::refusal::Refusal;
use crate::lock::time::{LAST_SECOND, Timestamp};
use crate::service::{Failure, Sender, Service, view};

/// Set on the lock directory itself it has the program of whoever sets it go on.
pub const UPGRADE: &str = "user.boardlock.upgrade";

/// Set on the lock directory itself it ends a hold ([`release`]).
pub const RELEASE: &str = "user.boardlock.release";

/// As an expiry: the lease that applies, from now on.
pub const RENEW: &[u8] = b"renew";

const PREFIX: &[u8] = b"user.boardlock.";

const NAMES: [&str; 6] = ["holder", "pid", "since", "expires", "token", "note"];

/// The value of an attribute.
///
/// # Errors
/// `NoAttribute` for names that are not ours and for what is not set.
pub fn get(service: &Service, ino: Ino, name: &OsStr) -> Result<Vec<u8>, Failure> {
    // Others are asked for at every turn (security.capability, POSIX ACLs):
    // they are answered without a look at the board.
    let key = ours(name)
        .filter(|_| !view::is_view(ino))
        .ok_or(Refusal::NoAttribute)?;
    let (status, holder) = service.status(ino)?;
    Ok(value(&status, &holder, key).ok_or(Refusal::NoAttribute)?)
}

/// The names of those that are set, each with a NUL behind it.
///
/// # Errors
/// As for the inode.
pub fn list(service: &Service, ino: Ino) -> Result<Vec<u8>, Failure> {
    if view::is_view(ino) {
        return Ok(Vec::new());
    }
    let (status, holder) = service.status(ino)?;
    let mut names = Vec::new();
    for key in NAMES {
        if value(&status, &holder, key).is_some() {
            names.extend_from_slice(PREFIX);
            names.extend_from_slice(key.as_bytes());
            names.push(0);
        }
    }
    Ok(names)
}

/// Ends a hold: `TOKEN PATH`, or `TOKEN force PATH`. The path may begin with `./`, and
/// has to where it would be taken for the other form.
///
/// # Errors
/// `BadValue` for anything else; those of the release.
pub fn release(service: &Service, sender: Sender, value: &[u8]) -> Result<(), Failure> {
    let (token, force, path) = wanted(value).ok_or(Refusal::BadValue)?;
    service.release(sender, path, token, force)
}

fn wanted(value: &[u8]) -> Option<(Token, bool, &[u8])> {
    let blank = value.iter().position(|byte| *byte == b' ')?;
    let (token, path) = (value.get(..blank)?, value.get(blank + 1..)?);
    let digits = token.iter().all(u8::is_ascii_digit);
    let token = std::str::from_utf8(token).ok().filter(|_| digits)?;
    let token = Token(token.parse().ok()?);
    Some(match path.strip_prefix(b"force ") {
        Some(path) => (token, true, path),
        None => (token, false, path),
    })
}

/// Sets an attribute; takes it away with no value.
///
/// # Errors
/// `UnknownAttribute` for names that are not ours, `NotPermitted` for those
/// that cannot be set, `BadValue`; `AttributeExists` and `NoAttribute` where
/// the flags of setxattr(2) want it otherwise.
pub fn set(
    service: &Service,
    sender: Sender,
    ino: Ino,
    name: &OsStr,
    value: Option<&[u8]>,
    flags: i32,
) -> Result<(), Failure> {
    let key = ours(name).ok_or(Refusal::UnknownAttribute)?;
    let there = match flags {
        _ if flags & libc::XATTR_CREATE != 0 => Some(false),
        _ if flags & libc::XATTR_REPLACE != 0 => Some(true),
        _ => None,
    };
    match key {
        "note" => {
            let note = value.filter(|note| !note.is_empty()).map(<[u8]>::to_vec);
            service.set_note(sender, ino, note, there)
        }
        "expires" if value.is_some_and(|value| value.trim_ascii() == RENEW) => {
            service.renew(sender, ino)
        }
        "expires" => service.set_expires(sender, ino, there, |now| match value {
            Some(value) => moment(value, now),
            None => Some(None),
        }),
        _ => Err(Refusal::NotPermitted.into()),
    }
}

fn ours(name: &OsStr) -> Option<&'static str> {
    let key = name.as_bytes().strip_prefix(PREFIX)?;
    NAMES.into_iter().find(|name| name.as_bytes() == key)
}

fn value(status: &Status, holder: &str, key: &str) -> Option<Vec<u8>> {
    let text = match key {
        "holder" => status.user.map(|_| holder.to_owned()),
        "pid" => status
            .user
            .map(|_| status.pid.map_or(0, |pid| pid.get()).to_string()),
        "since" => status.since.map(Timestamp::rfc3339),
        "expires" => status.expires.map(Timestamp::rfc3339),
        "token" => status.token.map(|token| token.to_string()),
        _ => return Some(status.note.clone()).filter(|note| !note.is_empty()),
    };
    text.map(String::into_bytes)
}

/// An expiry as people write one: seconds since 1970, RFC 3339, or `+2h` from
/// now; `0` or nothing for none. None if it is nothing of these.
#[doc(hidden)]
pub fn moment(value: &[u8], now: Timestamp) -> Option<Option<i64>> {
    let text = std::str::from_utf8(value).ok()?.trim();
    if text.is_empty() || text == "0" {
        return Some(None);
    }
    let secs = if let Some(span) = text.strip_prefix('+') {
        let span: SignedDuration = span.parse().ok().filter(SignedDuration::is_positive)?;
        // A part of a second counts as one: what is set lies ahead.
        let whole = span.as_secs() + i64::from(span.subsec_nanos() > 0);
        now.secs.checked_add(whole)?
    } else if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().ok()?
    } else {
        text.parse::<jiff::Timestamp>().ok()?.as_second()
    };
    (1..=LAST_SECOND).contains(&secs).then_some(Some(secs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_release_is_read() {
        let read = |text| wanted(text).map(|(token, force, path)| (token.0, force, path));
        assert_eq!(read(b"7 rack 1/b"), Some((7, false, &b"rack 1/b"[..])));
        assert_eq!(read(b"7 force b"), Some((7, true, &b"b"[..])));
        assert_eq!(read(b"7 ./force b"), Some((7, false, &b"./force b"[..])));
        assert_eq!(read(b"7 force"), Some((7, false, &b"force"[..])));
        for bad in ["", "7", "b", "+7 b", "x b", "99999999999999999999 b", " b"] {
            assert_eq!(read(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn an_expiry_is_read_as_people_write_it() {
        let now = Timestamp::from_secs(1_000_000);
        let read = |text: &str| moment(text.as_bytes(), now);
        assert_eq!(read("1999999999"), Some(Some(1_999_999_999)));
        assert_eq!(read("1970-01-12T13:46:41Z"), Some(Some(1_000_001)));
        assert_eq!(read("+2h"), Some(Some(1_007_200)));
        assert_eq!(read(" +90s\n"), Some(Some(1_000_090)));
        assert_eq!(read("0"), Some(None));
        assert_eq!(read(""), Some(None));
        assert_eq!(read("+1ms"), Some(Some(1_000_001)));
        for bad in [
            "+-2h",
            "+0s",
            "tomorrow",
            "-5",
            "+",
            "+2 parsecs",
            "253402300800",
            "99999999999999999999",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(moment(b"\xff\xfe", now), None);
    }
}
