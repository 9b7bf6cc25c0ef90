//! Libraries for python that lock files: filelock, fasteners, portalocker.

use libtest_mimic::Trial;

use super::play::play;
use crate::trial::LIBRARIES;

pub fn tests() -> Vec<Trial> {
    trials![
        filelock_locks("python3", LIBRARIES);
        filelock_is_counted("python3", LIBRARIES);
        filelocks_soft_lock_locks("python3", LIBRARIES);
        fasteners_locks("python3", LIBRARIES);
        fasteners_readers_share("python3", LIBRARIES);
        portalocker_locks("python3", LIBRARIES);
        portalockers_calls_lock("python3", LIBRARIES);
        portalockers_temporary_file_locks("python3", LIBRARIES);
        portalockers_semaphore_counts("python3", LIBRARIES);
    ]
}

fn filelock_locks() {
    play(
        "
        a: from filelock import *; lock = FileLock('board') -> ok
        b: from filelock import *; lock = FileLock('board') -> ok
        a: lock.acquire(timeout=0); lock.is_locked -> True
        b: lock.acquire(timeout=0) -> Timeout
        b: lock.acquire(blocking=False) -> Timeout
        b: lock.acquire(timeout=0.2) -> Timeout
        b: lock.is_locked -> False
        b: lock.acquire(timeout=60); lock.is_locked -> told
        a: lock.release() -> ok
        b -> True
        a: lock.acquire(timeout=0.2) -> Timeout
        a: lock.acquire(); lock.is_locked -> told
        kill b
        a -> True
        s: flock -n board echo no -> 1
        a: lock.release() -> ok
        s: flock -n board echo yes -> yes; 0
        s: exec 9>board; flock 9 -> 0
        a: lock.acquire(timeout=0.2) -> Timeout
        kill s
        a: lock.acquire(timeout=60); lock.is_locked -> True
        a: lock.release() -> ok
        ls -> board | -  # a free board has no file
        ",
    );
}

fn filelock_is_counted() {
    play(
        "
        a: from filelock import *; lock = FileLock('board') -> ok
        b: from filelock import *; lock = FileLock('board') -> ok
        a: lock.acquire(); lock.acquire(); lock.lock_counter -> 2
        a: lock.release() -> ok
        b: lock.acquire(timeout=0) -> Timeout
        a: lock.release() -> ok
        b: lock.acquire(timeout=0); lock.is_locked -> True
        b: lock.release(force=True) -> ok
        a: lock.acquire(timeout=0); os._exit(0) -> it has ended
        b: lock.acquire(timeout=60); lock.is_locked -> True
        ",
    );
}

fn filelocks_soft_lock_locks() {
    play(
        "
        a: from filelock import *; lock = SoftFileLock('board') -> ok
        b: from filelock import *; lock = SoftFileLock('board') -> ok
        a: lock.acquire(timeout=0); lock.is_locked -> True
        b: lock.acquire(timeout=0) -> Timeout
        b: lock.acquire(timeout=0.2) -> Timeout
        b: lock.acquire(timeout=60); lock.is_locked -> told
        a: lock.release() -> ok
        b -> True
        ls -> board
        a: lock.acquire(timeout=0) -> Timeout
        kill b
        a: lock.acquire(timeout=60); lock.is_locked -> True
        a: lock.release() -> ok
        ls -> -
        ",
    );
}

fn fasteners_locks() {
    play(
        "
        a: import fasteners; lock = fasteners.InterProcessLock('board') -> ok
        b: import fasteners; lock = fasteners.InterProcessLock('board') -> ok
        a: lock.acquire(blocking=False) -> True
        b: lock.acquire(blocking=False) -> False
        b: lock.acquire(timeout=0.2) -> False
        b: lock.acquire(timeout=60) -> told
        a: lock.release() -> ok
        b -> True
        a: lock.acquire(blocking=False) -> False
        a: lock.acquire() -> told
        kill b
        a -> True
        a: lock.release() -> ok
        ls -> board | -  # a free board has no file
        ",
    );
}

fn fasteners_readers_share() {
    play(
        "
        a: import fasteners; lock = fasteners.InterProcessReaderWriterLock('board') -> ok
        b: import fasteners; lock = fasteners.InterProcessReaderWriterLock('board') -> ok
        c: import fasteners; lock = fasteners.InterProcessReaderWriterLock('board') -> ok
        a: lock.acquire_read_lock(blocking=False) -> True
        b: lock.acquire_read_lock(blocking=False) -> True
        c: lock.acquire_write_lock(blocking=False) -> False
        c: lock.acquire_write_lock(timeout=60) -> told
        a: lock.release_read_lock() -> ok
        b: lock.release_read_lock() -> ok
        c -> True
        a: lock.acquire_read_lock(blocking=False) -> False
        kill c
        a: lock.acquire_write_lock(timeout=60) -> True
        b: lock.acquire_write_lock(blocking=False) -> False
        a: lock.release_write_lock() -> ok
        ls -> board | -  # a free board has no file
        ",
    );
}

fn portalocker_locks() {
    play(
        "
        a: import portalocker; lock = portalocker.Lock('board', timeout=60) -> ok
        b: import portalocker; lock = portalocker.Lock('board', timeout=60) -> ok
        b: now = portalocker.Lock('board', timeout=0) -> ok
        a: lock.acquire() is not None -> True
        b: now.acquire() -> AlreadyLocked
        b: now.acquire(fail_when_locked=True) -> AlreadyLocked
        b: now.acquire(timeout=0.2, check_interval=0.05) -> AlreadyLocked
        b: lock.acquire() is not None -> told
        a: lock.release() -> ok
        b -> True
        a: lock.acquire(fail_when_locked=True) -> AlreadyLocked
        a: lock.acquire() is not None -> told
        kill b
        a -> True
        s: flock -n board echo no -> 1
        a: lock.release() -> ok
        s: flock -n board echo yes -> yes; 0
        a: lock = portalocker.RLock('board'); lock.acquire(); lock.acquire(); lock.release() -> ok
        s: flock -n board echo no -> 1
        a: lock.release() -> ok
        s: flock -n board echo yes -> yes; 0
        ls -> board | -  # a free board has no file
        ",
    );
}

fn portalockers_calls_lock() {
    play(
        "
        a: from portalocker import *; file = open('board', 'a+') -> ok
        a: lock(file, LockFlags.EXCLUSIVE) -> ok
        b: from portalocker import *; file = open('board', 'a+') -> ok
        b: lock(file, LockFlags.EXCLUSIVE|LockFlags.NON_BLOCKING) -> AlreadyLocked
        b: lock(file, LockFlags.SHARED) -> blocked
        a: unlock(file) -> ok
        b -> ok
        a: lock(file, LockFlags.SHARED|LockFlags.NON_BLOCKING) -> ok
        a: lock(file, LockFlags.EXCLUSIVE|LockFlags.NON_BLOCKING) -> AlreadyLocked
        b: file.close() -> ok
        a: lock(file, LockFlags.EXCLUSIVE|LockFlags.NON_BLOCKING) -> ok
        ",
    );
}

fn portalockers_temporary_file_locks() {
    play(
        "
        a: import portalocker; lock = portalocker.TemporaryFileLock('board', timeout=0) -> ok
        b: import portalocker; lock = portalocker.TemporaryFileLock('board', timeout=0) -> ok
        a: lock.acquire() is not None -> True
        b: lock.acquire() -> AlreadyLocked
        a: lock.release() -> ok
        ls -> -
        b: lock.acquire() is not None -> True
        a: lock.acquire() -> AlreadyLocked
        kill b
        ls -> board | -  # the dead hold nothing
        a: lock.acquire(timeout=60) is not None -> True
        a: lock.release() -> ok
        ls -> -
        ",
    );
}

fn portalockers_semaphore_counts() {
    play(
        "
        a: from portalocker import *; s = NamedBoundedSemaphore(2, 'sem', directory='.', timeout=0) -> ok
        b: from portalocker import *; s = NamedBoundedSemaphore(2, 'sem', directory='.', timeout=0) -> ok
        c: from portalocker import *; s = NamedBoundedSemaphore(2, 'sem', directory='.', timeout=0) -> ok
        a: s.acquire() is not None -> True
        b: s.acquire() is not None -> True
        c: s.acquire() -> AlreadyLocked
        a: s.release() -> ok
        c: s.acquire() is not None -> True
        a: s.acquire() -> AlreadyLocked
        kill b
        a: s.acquire() is not None -> True
        ",
    );
}
