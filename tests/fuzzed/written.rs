//! Records of a state file as bytes choose them: few numbers, so that they meet. The
//! types are written as those of `lock::saved` are, whose fields are nobody's.

use std::time::Duration;

use boardlock::lock::Refusal;
use boardlock::lock::file_lock::{Class, LockCall, LockKind, Range};
use boardlock::lock::ids::{Gid, Handle, LockOwner, Pid, ProcessId, Uid, User};
use boardlock::lock::shown::BoardFile;
use boardlock::lock::time::{BootTime, Now, Timestamp};
use serde::Serialize;

use super::bytes::Bytes;
use super::locks::{CAST, caller, process};

/// Inodes count from 1, the lock directory, the others from 0.
pub const INODES: usize = 7;
pub const FILES: usize = 6;
pub const WAITS: u64 = 4;

pub const NAMES: [&[u8]; 4] = [b"a", b"b", b"c", b"d"];

/// What no name can be.
const BAD: [&[u8]; 3] = [b"", b"a/b", b"\n"];

#[derive(Serialize)]
enum Body {
    File(Vec<u8>),
    Directory,
    Link(Vec<u8>),
}

#[derive(Serialize)]
enum Holder {
    Process(Vec<ProcessId>),
    Detached,
    Gone,
    Files,
}

#[derive(Serialize)]
enum Expiry {
    Lease(Duration, BootTime, Timestamp),
    At(Timestamp),
}

#[derive(Serialize)]
#[allow(dead_code)]
enum Refusee {
    Process(ProcessId),
    Above(ProcessId),
    User(Uid),
}

#[derive(Serialize)]
struct Claim {
    id: u64,
    holder: Holder,
    user: User,
    command: String,
    via: String,
    token: u64,
    since: Now,
    expiry: Option<Expiry>,
    mtime: Option<Timestamp>,
    atime: Option<Timestamp>,
    note: Option<Vec<u8>>,
    named: bool,
    refused: Vec<(Refusee, Refusal)>,
    locker: Option<Pid>,
}

#[derive(Serialize)]
enum Owner {
    File(Handle),
    Owner(LockOwner),
}

#[derive(Serialize)]
struct Lock {
    key: Owner,
    handle: Handle,
    pid: Option<Pid>,
    made: BootTime,
    ranges: Vec<(Range, LockKind)>,
}

#[derive(Serialize)]
struct Inode {
    body: Body,
    names: Vec<(u64, Vec<u8>, u64)>,
    charged: Uid,
    last: (User, Timestamp),
    claim: Option<Claim>,
    locked: Vec<BoardFile>,
    former: Vec<(u64, Vec<u8>)>,
    locks: Vec<Lock>,
}

#[derive(Serialize)]
struct Open {
    ino: u64,
    opener: Option<ProcessId>,
    thread: Option<Pid>,
    opened: BootTime,
    user: User,
    side_of: Option<u64>,
    claiming: bool,
    append: bool,
    poller: Option<u64>,
}

#[derive(Serialize)]
enum Asking {
    Waits,
    SentBack,
    Away(BootTime),
}

#[derive(Serialize)]
struct Waiter {
    ino: u64,
    call: LockCall,
    kind: LockKind,
    caller: boardlock::lock::caller::Caller,
    since: Now,
    arrival: u64,
    asked: BootTime,
    asking: Asking,
}

#[derive(Serialize)]
enum Key {
    Inode(u64),
    Open(u64),
    Wait(u64),
    Watcher(u64),
}

#[derive(Serialize)]
struct Named {
    through: Option<(u64, Vec<u8>)>,
    known_as: Option<u64>,
}

#[derive(Serialize)]
struct Free {
    names: Vec<(u64, Vec<u8>)>,
    last: (User, Timestamp),
}

#[derive(Serialize)]
enum Value {
    Inode(Inode),
    Open(Open),
    Wait(Waiter),
    Watcher(u64),
    Named(Open, Named),
    Free(Free),
}

/// The content of a frame.
pub fn frame(bytes: &mut Bytes) -> Vec<u8> {
    let counters: [u64; 4] = std::array::from_fn(|_| far(bytes));
    let mut values = Vec::new();
    for _ in 0..bytes.below(12) {
        let value = match bytes.below(8) {
            0..=3 => Value::Inode(inode(bytes)),
            4 | 5 => Value::Open(open(bytes)),
            6 => Value::Wait(waiter(bytes)),
            _ => {
                values.push((any_key(bytes), None));
                continue;
            }
        };
        let how = bytes.below(16);
        let value = match value {
            Value::Open(open) if how < 6 => Value::Named(open, named(bytes)),
            Value::Inode(_) if how == 1 => Value::Free(free(bytes)),
            Value::Wait(_) if how == 2 => Value::Watcher(far(bytes)),
            value => value,
        };
        let key = match (&value, how) {
            (_, 0) => any_key(bytes),
            (Value::Inode(_) | Value::Free(_), _) => Key::Inode(ino(bytes)),
            (Value::Open(_) | Value::Named(..), _) => Key::Open(handle(bytes).0),
            (Value::Wait(_), _) => Key::Wait(bytes.below(4) as u64),
            // Those of what is no board are beyond all that the table gives out.
            (Value::Watcher(_), _) => Key::Watcher(far(bytes).saturating_add(1 << 62)),
        };
        values.push((key, Some(value)));
    }
    let done: Vec<(u64, Option<Handle>)> = Vec::new();
    // An array is written as so many values, and so are the fields of a type.
    postcard::to_stdvec(&(counters, values, done)).unwrap()
}

fn any_key(bytes: &mut Bytes) -> Key {
    match bytes.below(5) {
        0 => Key::Inode(far(bytes)),
        1 => Key::Open(far(bytes)),
        2 => Key::Wait(far(bytes)),
        3 => Key::Watcher(far(bytes)),
        _ => Key::Inode(ino(bytes)),
    }
}

/// Mostly a small number.
fn far(bytes: &mut Bytes) -> u64 {
    match bytes.byte() {
        255 => u64::MAX,
        254 => 1 << 61,
        small => u64::from(small % 8),
    }
}

fn ino(bytes: &mut Bytes) -> u64 {
    1 + bytes.below(INODES) as u64
}

fn handle(bytes: &mut Bytes) -> Handle {
    Handle(bytes.below(FILES) as u64)
}

fn name(bytes: &mut Bytes) -> Vec<u8> {
    match bytes.byte() {
        bad @ 250.. => BAD[usize::from(bad) % BAD.len()].to_vec(),
        good => NAMES[usize::from(good) % NAMES.len()].to_vec(),
    }
}

fn someone(bytes: &mut Bytes) -> ProcessId {
    process(CAST[bytes.below(CAST.len())].1)
}

fn user(bytes: &mut Bytes) -> User {
    let number = CAST[bytes.below(CAST.len())].0;
    User {
        uid: Uid(number),
        gid: Gid(number),
    }
}

fn timestamp(bytes: &mut Bytes) -> Timestamp {
    match bytes.below(4) {
        0 => Timestamp::from_secs(1_000_000_000 + i64::from(bytes.byte())),
        1 => Timestamp {
            secs: bytes.u64().cast_signed(),
            nanos: 999_999_999,
        },
        _ => Timestamp::from_secs(999_999_000),
    }
}

fn boot(bytes: &mut Bytes) -> BootTime {
    BootTime(match bytes.below(8) {
        0 => Duration::MAX,
        1 => Duration::from_secs(5000 + u64::from(bytes.byte())),
        _ => Duration::from_secs(4000),
    })
}

fn some<T>(bytes: &mut Bytes, make: impl FnOnce(&mut Bytes) -> T) -> Option<T> {
    let there = bytes.flag();
    there.then(|| make(bytes))
}

fn few<T>(bytes: &mut Bytes, limit: usize, mut make: impl FnMut(&mut Bytes) -> T) -> Vec<T> {
    (0..bytes.below(limit)).map(|_| make(bytes)).collect()
}

fn kind(bytes: &mut Bytes) -> LockKind {
    bytes.of(&[LockKind::Shared, LockKind::Exclusive])
}

fn inode(bytes: &mut Bytes) -> Inode {
    let named = bytes.below(8);
    Inode {
        body: match bytes.below(6) {
            0 | 1 => Body::Directory,
            2 => Body::Link(name(bytes)),
            _ => Body::File(bytes.piece().to_vec()),
        },
        names: match named {
            0 => Vec::new(),
            1 => few(bytes, 4, |bytes| (ino(bytes), name(bytes), far(bytes))),
            _ => vec![(
                if named < 5 { 1 } else { ino(bytes) },
                name(bytes),
                far(bytes),
            )],
        },
        charged: user(bytes).uid,
        last: (user(bytes), timestamp(bytes)),
        claim: match bytes.below(8) {
            0 => None,
            _ => Some(claim(bytes)),
        },
        locked: few(bytes, 3, |bytes| BoardFile {
            handle: handle(bytes),
            opener: some(bytes, someone),
            thread: None,
            opened: boot(bytes),
            locker: None,
        }),
        former: few(bytes, 3, |bytes| (ino(bytes), name(bytes))),
        locks: few(bytes, 4, lock),
    }
}

fn claim(bytes: &mut Bytes) -> Claim {
    Claim {
        id: far(bytes),
        holder: match bytes.below(6) {
            0 => Holder::Detached,
            1 => Holder::Gone,
            2 | 3 => Holder::Files,
            _ => Holder::Process(few(bytes, 4, someone)),
        },
        user: user(bytes),
        command: String::new(),
        via: String::new(),
        token: far(bytes),
        since: Now {
            wall: timestamp(bytes),
            boot: boot(bytes),
        },
        expiry: some(bytes, |bytes| match bytes.flag() {
            true => Expiry::At(timestamp(bytes)),
            false => Expiry::Lease(boot(bytes).0, boot(bytes), timestamp(bytes)),
        }),
        mtime: some(bytes, timestamp),
        atime: some(bytes, timestamp),
        note: some(bytes, |bytes| bytes.piece().to_vec()),
        named: bytes.flag(),
        refused: few(bytes, 2, |bytes| {
            (Refusee::Process(someone(bytes)), Refusal::Busy)
        }),
        locker: None,
    }
}

fn lock(bytes: &mut Bytes) -> Lock {
    let handle = handle(bytes);
    Lock {
        key: match bytes.below(8) {
            0 => Owner::File(self::handle(bytes)),
            1..5 => Owner::File(handle),
            _ => Owner::Owner(LockOwner(bytes.below(3) as u64)),
        },
        handle,
        pid: some(bytes, |bytes| someone(bytes).pid),
        made: boot(bytes),
        ranges: match bytes.below(4) {
            0 => few(bytes, 3, |bytes| {
                let (start, end) = (far(bytes), far(bytes));
                (Range { start, end }, kind(bytes))
            }),
            _ => vec![(Range::ALL, kind(bytes))],
        },
    }
}

fn open(bytes: &mut Bytes) -> Open {
    Open {
        ino: ino(bytes),
        opener: some(bytes, someone),
        thread: None,
        opened: boot(bytes),
        user: user(bytes),
        side_of: some(bytes, far),
        claiming: bytes.flag(),
        append: bytes.flag(),
        poller: None,
    }
}

fn named(bytes: &mut Bytes) -> Named {
    Named {
        through: some(bytes, |bytes| (ino(bytes), name(bytes))),
        known_as: some(bytes, ino),
    }
}

fn free(bytes: &mut Bytes) -> Free {
    Free {
        names: few(bytes, 3, |bytes| (ino(bytes), name(bytes))),
        last: (user(bytes), timestamp(bytes)),
    }
}

fn waiter(bytes: &mut Bytes) -> Waiter {
    let caller = caller(bytes.below(CAST.len()));
    let handle = handle(bytes);
    let class = bytes.of(&[Class::Flock, Class::Fcntl]);
    Waiter {
        ino: ino(bytes),
        call: LockCall {
            handle,
            class,
            owner: LockOwner(bytes.below(3) as u64),
            range: Range::ALL,
            pid: caller.requester.map(|process| process.pid),
            started: some(bytes, boot),
            user: caller.user,
        },
        kind: kind(bytes),
        caller,
        since: Now {
            wall: timestamp(bytes),
            boot: boot(bytes),
        },
        arrival: far(bytes),
        asked: boot(bytes),
        asking: match bytes.below(3) {
            0 => Asking::Waits,
            1 => Asking::SentBack,
            _ => Asking::Away(boot(bytes)),
        },
    }
}
