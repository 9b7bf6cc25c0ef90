//! Attributes and times, there and back.

use std::time::{SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType, INodeNo, TimeOrNow};

use crate::clock;
use crate::lock::attributes::{Attributes, Kind, SetTime};
use crate::lock::time::Timestamp;
use crate::service::view;

/// What stat(2) shows. The mode is fixed: the daemon decides, not the kernel.
pub fn to_fuse(attributes: &Attributes) -> FileAttr {
    let ctime = clock::to_system(attributes.ctime);
    FileAttr {
        ino: INodeNo(attributes.ino.0),
        size: attributes.size,
        blocks: attributes.size.div_ceil(512),
        atime: clock::to_system(attributes.atime),
        mtime: clock::to_system(attributes.mtime),
        ctime,
        crtime: ctime,
        kind: kind(attributes.kind),
        perm: match attributes.kind {
            Kind::File if view::is_view(attributes.ino) => 0o444,
            Kind::Directory if view::is_view(attributes.ino) => 0o555,
            Kind::File => 0o666,
            Kind::Directory | Kind::Link => 0o777,
        },
        nlink: attributes.links,
        uid: attributes.user.uid.0,
        gid: attributes.user.gid.0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

/// The type of an inode.
pub fn kind(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Directory => FileType::Directory,
        Kind::Link => FileType::Symlink,
    }
}

/// A time to be set.
pub fn set_time(time: TimeOrNow) -> SetTime {
    match time {
        TimeOrNow::Now => SetTime::Now,
        TimeOrNow::SpecificTime(time) => SetTime::To(from_fuse(time)),
    }
}

/// A moment as the client set it. Before 1970 fuser takes the nanoseconds off
/// where the kernel means them to be added (time.rs of 0.18); that is undone
/// here, so that what was set reads back.
fn from_fuse(time: SystemTime) -> Timestamp {
    match UNIX_EPOCH.duration_since(time) {
        Ok(before) if !before.is_zero() => Timestamp {
            secs: i64::try_from(before.as_secs()).map_or(i64::MIN, |secs| -secs),
            nanos: before.subsec_nanos(),
        },
        _ => clock::from_system(time),
    }
}
