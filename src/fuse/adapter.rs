//! Requests in fuser's words to events in the table's, and answers back. It
//! decides nothing.
//!
//! Entries and attributes have no lifetime: the kernel asks each time, so no
//! process ever sees a stale answer. File content goes past the page cache
//! (FOPEN_DIRECT_IO) for the same reason.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, FopenFlags,
    INodeNo, InitFlags, IoctlFlags, KernelConfig, LockOwner, OpenFlags, PollEvents, PollFlags,
    PollNotifier, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty,
    ReplyEntry, ReplyIoctl, ReplyLock, ReplyLseek, ReplyOpen, ReplyPoll, ReplyStatfs, ReplyWrite,
    ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use super::answer::{
    attr, empty, entry, handle, ino, mode, read_later, refused, sender, xattr_value,
};
use super::{attributes, locks, resent, xattr};
use crate::lock::acquire::Make;
use crate::lock::attributes::{Change, Kind};
use crate::lock::ids::{self, Pid, WaitId};
use crate::lock::node::NAME_MAX;
use crate::lock::refusal::Refusal;
use crate::lock::rename::RenameKind;
use crate::service::{Failure, Service, Tell, view};

/// The entries that one READDIR asks the table for; the kernel's buffer holds
/// fewer.
const LISTING: usize = 1024;

/// The lock directory as fuser serves it.
#[derive(Debug)]
pub struct Adapter(pub Arc<Service>);

impl Filesystem for Adapter {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        // Without O_TRUNC in OPEN the kernel would truncate by a SETATTR of its
        // own, after an open that may hold nothing.
        if config
            .add_capabilities(InitFlags::FUSE_ATOMIC_O_TRUNC)
            .is_err()
        {
            return Err(std::io::Error::other(
                "the kernel does not pass O_TRUNC on (FUSE_ATOMIC_O_TRUNC)",
            ));
        }
        // Or file locks would be the kernel's own, and exclude no claim.
        if config
            .add_capabilities(InitFlags::FUSE_FLOCK_LOCKS | InitFlags::FUSE_POSIX_LOCKS)
            .is_err()
        {
            return Err(std::io::Error::other(
                "the kernel does not pass file locks on (FUSE_FLOCK_LOCKS, FUSE_POSIX_LOCKS)",
            ));
        }
        // A RELEASE is sent in the background: with few of them at a time one could
        // come long after what its process asks next.
        let _ = config.set_max_background(u16::MAX);
        // Lookups in one directory need not wait for each other.
        let _ = config.add_capabilities(InitFlags::FUSE_PARALLEL_DIROPS);
        Ok(())
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self
            .0
            .lookup(sender(request), (ino(parent), name.as_bytes()));
        entry(reply, "look up a name", found);
    }

    fn getattr(
        &self,
        _request: &Request,
        number: INodeNo,
        opened: Option<FileHandle>,
        reply: ReplyAttr,
    ) {
        let found = match self.0.attributes(ino(number), opened.map(handle)) {
            // Freed since it was looked up. The kernel would walk the path again,
            // but only once.
            Err(Failure::Refused(Refusal::Gone)) if opened.is_none() => {
                Err(Refusal::Missing.into())
            }
            found => found,
        };
        attr(reply, "stat", found);
    }

    fn setattr(
        &self,
        request: &Request,
        number: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        opened: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let change = Change {
            mode: mode.is_some(),
            owner: uid.is_some() || gid.is_some(),
            size,
            atime: atime.map(attributes::set_time),
            mtime: mtime.map(attributes::set_time),
        };
        let changed = self
            .0
            .change(sender(request), ino(number), opened.map(handle), &change);
        attr(reply, "set attributes", changed);
    }

    fn readlink(&self, _request: &Request, number: INodeNo, reply: ReplyData) {
        match self.0.target(ino(number)) {
            Ok(target) => reply.data(&target),
            Err(failure) => reply.error(refused("read a link", failure)),
        }
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        _rdev: u32,
        reply: ReplyEntry,
    ) {
        if mode & libc::S_IFMT != libc::S_IFREG {
            reply.error(refused("make a node", Refusal::WrongKind));
            return;
        }
        self.make(request, parent, name, Make::File, "make a file", reply);
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        self.make(request, parent, name, Make::Directory, "mkdir", reply);
    }

    fn symlink(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        let target = Make::Link(target.as_os_str().as_bytes().to_vec());
        self.make(request, parent, name, target, "symlink", reply);
    }

    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let Err(reply) = resent::done(&self.0, request, reply) else {
            return;
        };
        let at = (ino(parent), name.as_bytes());
        empty(reply, "unlink", self.0.unlink(sender(request), at, false));
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let Err(reply) = resent::done(&self.0, request, reply) else {
            return;
        };
        let at = (ino(parent), name.as_bytes());
        empty(reply, "rmdir", self.0.unlink(sender(request), at, true));
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let Err(reply) = resent::done(&self.0, request, reply) else {
            return;
        };
        let kind = if flags.is_empty() {
            RenameKind::Replace
        } else if flags == RenameFlags::RENAME_NOREPLACE {
            RenameKind::NoReplace
        } else {
            RenameKind::Other
        };
        let from = (ino(parent), name.as_bytes());
        let to = (ino(new_parent), new_name.as_bytes());
        empty(
            reply,
            "rename",
            self.0.rename(sender(request), from, to, kind),
        );
    }

    fn link(
        &self,
        request: &Request,
        number: INodeNo,
        new_parent: INodeNo,
        new_name: &OsStr,
        reply: ReplyEntry,
    ) {
        let Err(reply) = resent::made(&self.0, request, (new_parent, new_name), reply) else {
            return;
        };
        let at = (ino(new_parent), new_name.as_bytes());
        entry(reply, "link", self.0.link(sender(request), ino(number), at));
    }

    fn open(&self, request: &Request, number: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let Err(reply) = resent::opened(&self.0, request, reply) else {
            return;
        };
        self.0.open(
            sender(request),
            ino(number),
            mode(flags.0),
            locks::wait_id(request),
            locks::opened(reply),
        );
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let Err(reply) = resent::created(&self.0, request, reply) else {
            return;
        };
        self.0.create(
            sender(request),
            (ino(parent), name.as_bytes()),
            flags & libc::O_EXCL != 0,
            mode(flags),
            (locks::wait_id(request), locks::created(reply)),
        );
    }

    fn read(
        &self,
        request: &Request,
        number: INodeNo,
        opened: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if view::is_view(ino(number)) {
            let (file, part) = ((ino(number), handle(opened)), (offset, size));
            let answer = read_later(reply);
            self.0.view_read(sender(request), file, part, answer);
            return;
        }
        reply.data(&self.0.read(handle(opened), offset, size));
    }

    fn write(
        &self,
        request: &Request,
        _number: INodeNo,
        opened: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.0.write(sender(request), handle(opened), offset, data) {
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX)),
            Err(failure) => reply.error(refused("write", failure)),
        }
    }

    fn flush(
        &self,
        _request: &Request,
        _number: INodeNo,
        opened: FileHandle,
        lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        self.0.flush(handle(opened), ids::LockOwner(lock_owner.0));
        reply.ok();
    }

    fn getlk(
        &self,
        request: &Request,
        _number: INodeNo,
        opened: FileHandle,
        lock_owner: LockOwner,
        start: u64,
        end: u64,
        typ: i32,
        pid: u32,
        reply: ReplyLock,
    ) {
        let call = locks::call(request, opened, lock_owner, (start, end), pid);
        let (Some(call), Some(Some(kind))) = (call, locks::wanted(typ)) else {
            reply.error(Errno::EINVAL);
            return;
        };
        match self.0.conflict(sender(request), call, kind) {
            Ok(Some(found)) => {
                let pid = found.pid.map_or(0, Pid::get);
                let kind = locks::number(found.kind);
                reply.locked(found.range.start, found.range.end, kind, pid);
            }
            Ok(None) => reply.locked(start, end, libc::F_UNLCK, 0),
            Err(failure) => reply.error(refused("look for a lock", failure)),
        }
    }

    fn setlk(
        &self,
        request: &Request,
        _number: INodeNo,
        opened: FileHandle,
        lock_owner: LockOwner,
        start: u64,
        end: u64,
        typ: i32,
        pid: u32,
        sleep: bool,
        reply: ReplyEmpty,
    ) {
        let call = locks::call(request, opened, lock_owner, (start, end), pid);
        let (Some(call), Some(wanted)) = (call, locks::wanted(typ)) else {
            reply.error(Errno::EINVAL);
            return;
        };
        match wanted {
            // Unlocking comes as a request to wait, too.
            None => empty(reply, "unlock", self.0.unlock(&call)),
            Some(kind) => {
                let wait = sleep.then(|| locks::wait_id(request));
                self.0
                    .lock(sender(request), wait, call, kind, locks::locked(reply));
            }
        }
    }

    fn poll(
        &self,
        request: &Request,
        inode: INodeNo,
        opened: FileHandle,
        notifier: PollNotifier,
        _events: PollEvents,
        flags: PollFlags,
        reply: ReplyPoll,
    ) {
        let number = notifier.handle().0;
        let tell = flags
            .contains(PollFlags::FUSE_POLL_SCHEDULE_NOTIFY)
            .then(|| -> (u64, Tell) {
                let tell: Tell = Box::new(move || {
                    if let Err(error) = notifier.notify() {
                        log::debug!("telling of a change: {error}");
                    }
                });
                (number, tell)
            });
        let new = if view::is_view(ino(inode)) {
            let file = (ino(inode), handle(opened));
            self.0.view_poll(sender(request), file, tell)
        } else {
            self.0.poll(handle(opened), tell)
        };
        reply.poll(locks::events(new));
    }

    fn fsync(
        &self,
        _request: &Request,
        _number: INodeNo,
        _opened: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        reply.ok();
    }

    fn release(
        &self,
        _request: &Request,
        _number: INodeNo,
        opened: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.0.close(handle(opened));
        reply.ok();
    }

    fn opendir(&self, request: &Request, number: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        // tar opens with O_NOFOLLOW alone; flock(1) and shells with neither.
        let listing = flags.0 & (libc::O_DIRECTORY | libc::O_NOFOLLOW) != 0;
        match self.0.open_directory(sender(request), ino(number), listing) {
            Ok(()) => reply.opened(FileHandle(0), FopenFlags::empty()),
            Err(failure) => reply.error(refused("open a directory", failure)),
        }
    }

    fn readdir(
        &self,
        _request: &Request,
        number: INodeNo,
        _opened: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        // Offsets 1 and 2 are behind `.` and `..`; entries follow by place.
        let place = offset.saturating_sub(2);
        let (above, listing) = match self.0.list(ino(number), place, LISTING) {
            Ok(found) => found,
            Err(failure) => {
                reply.error(refused("list a directory", failure));
                return;
            }
        };
        let above = INodeNo(above.0);
        let dots = [(1, number, "."), (2, above, "..")];
        for (next, number, name) in dots {
            if offset < next && reply.add(number, next, attributes::kind(Kind::Directory), name) {
                reply.ok();
                return;
            }
        }
        for (place, name, found) in listing {
            let number = INodeNo(found.ino.0);
            let kind = attributes::kind(found.kind);
            if reply.add(number, place + 2, kind, OsStr::from_bytes(&name)) {
                break;
            }
        }
        reply.ok();
    }

    fn fsyncdir(
        &self,
        _request: &Request,
        _number: INodeNo,
        _opened: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        reply.ok();
    }

    fn statfs(&self, _request: &Request, _number: INodeNo, reply: ReplyStatfs) {
        let (used, most) = self.0.room();
        let free = most.saturating_sub(used) as u64;
        // A block a board: `df` shows how full it is with and without -i.
        reply.statfs(
            most as u64,
            free,
            free,
            most as u64,
            free,
            4096,
            NAME_MAX as u32,
            4096,
        );
    }

    fn setxattr(
        &self,
        request: &Request,
        number: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        if number == INodeNo::ROOT && name == xattr::UPGRADE {
            let request_id = WaitId::of_request(request.unique().0);
            match self.0.upgrade(sender(request), request_id) {
                Ok(true) => empty(reply, "upgrade", Ok(())),
                // Whoever goes on gets the same request, and answers it.
                Ok(false) => std::mem::forget(reply),
                Err(failure) => empty(reply, "upgrade", Err(failure)),
            }
            return;
        }
        if number == INodeNo::ROOT && name == xattr::RELEASE {
            let Err(reply) = resent::done(&self.0, request, reply) else {
                return;
            };
            let released = xattr::release(&self.0, sender(request), value);
            empty(reply, "release", released);
            return;
        }
        let value = Some(value);
        let set = xattr::set(&self.0, sender(request), ino(number), name, value, flags);
        empty(reply, "set an extended attribute", set);
    }

    fn getxattr(
        &self,
        _request: &Request,
        number: INodeNo,
        name: &OsStr,
        size: u32,
        reply: ReplyXattr,
    ) {
        let value = xattr::get(&self.0, ino(number), name);
        xattr_value(reply, "get an extended attribute", size, value);
    }

    fn listxattr(&self, _request: &Request, number: INodeNo, size: u32, reply: ReplyXattr) {
        let names = xattr::list(&self.0, ino(number));
        xattr_value(reply, "list extended attributes", size, names);
    }

    fn removexattr(&self, request: &Request, number: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let flags = libc::XATTR_REPLACE;
        let set = xattr::set(&self.0, sender(request), ino(number), name, None, flags);
        empty(reply, "remove an extended attribute", set);
    }

    fn access(&self, _request: &Request, number: INodeNo, mask: AccessFlags, reply: ReplyEmpty) {
        let run = mask.contains(AccessFlags::X_OK);
        let write = mask.contains(AccessFlags::W_OK);
        match self.0.attributes(ino(number), None) {
            Ok(found) if write && view::is_view(found.ino) => reply.error(Errno::EACCES),
            Ok(found) if run && found.kind == Kind::File => reply.error(Errno::EACCES),
            Ok(_) => reply.ok(),
            Err(failure) => reply.error(refused("check access", failure)),
        }
    }

    fn fallocate(
        &self,
        _request: &Request,
        _number: INodeNo,
        _opened: FileHandle,
        _offset: u64,
        _length: u64,
        _mode: i32,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::EOPNOTSUPP);
    }

    // What follows is refused as fuser does it, but not told of each time:
    // python asks of every file that it opens whether it is a terminal.

    fn ioctl(
        &self,
        _request: &Request,
        _number: INodeNo,
        _opened: FileHandle,
        _flags: IoctlFlags,
        _command: u32,
        _data: &[u8],
        _size: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(Errno::ENOTTY);
    }

    fn lseek(
        &self,
        _request: &Request,
        _number: INodeNo,
        _opened: FileHandle,
        _offset: i64,
        _whence: i32,
        reply: ReplyLseek,
    ) {
        // The kernel seeks by the size from then on.
        reply.error(Errno::ENOSYS);
    }

    fn copy_file_range(
        &self,
        _request: &Request,
        _from: INodeNo,
        _from_opened: FileHandle,
        _from_offset: u64,
        _to: INodeNo,
        _to_opened: FileHandle,
        _to_offset: u64,
        _length: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        // The kernel reads and writes from then on.
        reply.error(Errno::ENOSYS);
    }
}

impl Adapter {
    fn make(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        make: Make,
        what: &str,
        reply: ReplyEntry,
    ) {
        let Err(reply) = resent::made(&self.0, request, (parent, name), reply) else {
            return;
        };
        let at = (ino(parent), name.as_bytes());
        entry(reply, what, self.0.make(sender(request), at, make));
    }
}
