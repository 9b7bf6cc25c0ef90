//! A file system of fuser's that has one file to lock, and nothing else.

use std::ffi::OsStr;
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, OpenFlags, ReplyAttr, ReplyEmpty, ReplyEntry, ReplyOpen, Request,
};

/// What it does, unless it simply says yes.
pub trait Does: Send + Sync + 'static {
    /// A descriptor is closed.
    fn closed(&self, reply: ReplyEmpty) {
        reply.ok();
    }

    /// A lock is asked for; `kind` as in fcntl(2).
    fn locked(&self, _request: &Request, _owner: LockOwner, _kind: i32, reply: ReplyEmpty) {
        reply.ok();
    }
}

/// The file system.
pub struct OneFile<D>(pub D);

fn attributes(number: INodeNo) -> FileAttr {
    let (kind, perm) = match number {
        INodeNo::ROOT => (FileType::Directory, 0o777),
        _ => (FileType::RegularFile, 0o666),
    };
    FileAttr {
        ino: number,
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind,
        perm,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

impl<D: Does> Filesystem for OneFile<D> {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        config
            .add_capabilities(InitFlags::FUSE_FLOCK_LOCKS | InitFlags::FUSE_POSIX_LOCKS)
            .map_err(|_| std::io::Error::other("the kernel passes no locks on"))
    }

    fn lookup(&self, _request: &Request, _parent: INodeNo, _name: &OsStr, reply: ReplyEntry) {
        reply.entry(&Duration::ZERO, &attributes(INodeNo(2)), Generation(0));
    }

    fn getattr(
        &self,
        _request: &Request,
        number: INodeNo,
        _opened: Option<FileHandle>,
        reply: ReplyAttr,
    ) {
        reply.attr(&Duration::ZERO, &attributes(number));
    }

    fn open(&self, _request: &Request, _number: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::empty());
    }

    fn flush(
        &self,
        _request: &Request,
        _number: INodeNo,
        _opened: FileHandle,
        _owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        self.0.closed(reply);
    }

    fn setlk(
        &self,
        request: &Request,
        _number: INodeNo,
        _opened: FileHandle,
        owner: LockOwner,
        _start: u64,
        _end: u64,
        kind: i32,
        _pid: u32,
        _sleep: bool,
        reply: ReplyEmpty,
    ) {
        self.0.locked(request, owner, kind, reply);
    }
}
