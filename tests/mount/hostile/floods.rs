//! Users who mean harm by numbers: thousands of files, of waiters, of lines of the
//! log, of processes above them. Others are served meanwhile, and the daemon stays
//! what it was.

use std::time::{Duration, Instant};

use libtest_mimic::Trial;

use crate::client::Client;
use crate::hostile::{ALICE, BOB};
use crate::lab::Lab;
use crate::process::{PATIENCE, Running, eventually};
use crate::shown::held_by;
use crate::trial::ROOT;
use crate::waiting::FLOCK;

pub fn tests() -> Vec<Trial> {
    trials![
        thousands_of_waiters_hold_up_nobody_else(ROOT, "python3");
        a_board_that_thousands_wait_for_is_told_of_in_short(ROOT, "python3");
        what_is_left_half_read_fills_no_memory(ROOT, "python3");
        a_status_that_is_left_half_read_fills_no_memory(ROOT, "python3");
        whoever_reads_the_status_without_end_holds_up_nobody_else(ROOT, "python3");
        whoever_takes_and_frees_without_end_fills_no_log(ROOT, "python3");
        whoever_waits_without_end_fills_no_log(ROOT, "python3");
        a_deep_tree_of_processes_holds_up_nobody_else(ROOT, "python3");
        no_system_call_ends_the_daemon(ROOT, "python3");
    ]
}

/// How long one who means no harm may have to wait for what takes a millisecond.
const SOON: Duration = Duration::from_secs(15);

/// Takes a board and gives it back, by what scripts do; panics if it takes long.
#[track_caller]
fn is_served(client: &mut Client, what: &str) {
    let begin = Instant::now();
    client.ok("touch('hers'); read('hers'); os.utime('hers'); os.unlink('hers')");
    client.ok("fd = os.open('hers', os.O_CREAT|os.O_RDWR)");
    client.ok(FLOCK);
    client.ok("os.close(fd)");
    assert!(begin.elapsed() < SOON, "{what}: {:?}", begin.elapsed());
}

/// Many threads that wait for `b`.
const CROWD: &str = "
import fcntl, os, resource, sys, threading
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
threading.stack_size(64 * 1024)
def wait():
    fcntl.flock(os.open('b', os.O_RDONLY), fcntl.LOCK_EX)
for _ in range(1500):
    threading.Thread(target=wait, daemon=True).start()
print('all started', flush=True)
sys.stdin.readline()
";

fn crowd(lab: &Lab) -> Running {
    let mut crowd = lab.spawn_as(BOB, crate::client::python(), CROWD);
    crowd.expect("all started");
    eventually("all wait", PATIENCE, || {
        lab.status("b")["waiters"] == "1500"
    });
    crowd
}

fn thousands_of_waiters_hold_up_nobody_else() {
    let lab = Lab::new(&[]);
    let mut alice = lab.python_as(ALICE);
    alice.ok("touch('b')");
    let mut crowd = crowd(&lab);
    let mut other = lab.python_as(ALICE);
    is_served(&mut other, "while others wait");
    let begin = Instant::now();
    crowd.kill();
    alice.ok("os.unlink('b'); touch('b')");
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    held_by(&lab, "b", alice.pid(), "they are gone");
    is_served(&mut other, "once they are gone");
}

fn a_board_that_thousands_wait_for_is_told_of_in_short() {
    let lab = Lab::new(&[]);
    let mut alice = lab.python_as(ALICE);
    alice.ok("touch('b')");
    let _crowd = crowd(&lab);
    let text = std::fs::read_to_string(lab.path("b")).unwrap();
    assert!(text.contains("\nwaiters 1500\n"), "{text}");
    let named = text.lines().filter(|line| line.starts_with("waiter "));
    assert_eq!(named.count(), 100);
}

/// The memory that a process has, in KiB.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let words = line.unwrap().trim().split(' ').next();
    words.unwrap().parse().unwrap()
}

fn what_is_left_half_read_fills_no_memory() {
    let lab = Lab::new(&[]);
    let mut bob = lab.python_as(BOB);
    bob.ok("import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (5000, 5000))");
    bob.ok("open('b', 'w').write('x' * 4096); None");
    bob.ok("half = lambda: os.read(os.open('b', os.O_RDONLY), 1)");
    bob.ok("[half() for _ in range(100)]; None");
    let before = resident(lab.daemon_pid());
    bob.ok("[half() for _ in range(4000)]; None");
    let more = resident(lab.daemon_pid()).saturating_sub(before);
    // Four thousand times 4 KiB would be 16 MiB; what is known of an open file
    // has to be kept.
    assert!(more < 8 << 10, "{more} KiB");
    let mut alice = lab.python_as(ALICE);
    is_served(&mut alice, "beside open files");
    // Who reads them on reads the rest.
    assert_eq!(bob.ok("len(os.pread(20, 4096, 1))"), "4095");
}

/// Takes this many boards, with a note of this length each.
fn many(client: &mut Client, count: usize, note: usize) {
    client.ok(&format!(
        "[open('board-%05d' % n, 'w').write('x' * {note}) for n in range({count})]; None"
    ));
}

fn a_status_that_is_left_half_read_fills_no_memory() {
    let lab = Lab::new(&[]);
    let mut bob = lab.python_as(BOB);
    many(&mut bob, 500, 4000);
    bob.ok("half = lambda: os.read(os.open('.boardlock/status.json', os.O_RDONLY), 1)");
    assert_eq!(bob.ok("os.stat('.boardlock/status.json').st_size"), "0");
    bob.ok("first = os.open('.boardlock/status.json', os.O_RDONLY); os.read(first, 1) and None");
    // Each is another: none of them can be kept for several.
    bob.ok("[(half(), os.utime('board-00000')) for _ in range(20)]; None");
    let before = resident(lab.daemon_pid());
    bob.ok("[(half(), os.utime('board-00000')) for _ in range(80)]; None");
    let more = resident(lab.daemon_pid()).saturating_sub(before);
    // Eighty times 2 MB would be 160 MB.
    assert!(more < 64 << 10, "{more} KiB");
    // What is no more is not made up for by what is there now.
    let read_on = bob.run("os.pread(first, 100, 1)");
    assert_eq!(read_on.outcome, "ESTALE");
    bob.ok("import json");
    let whole = "len(json.loads(os.pread(first, 1 << 26, 0))['boards'])";
    assert_eq!(bob.ok(whole), "500");
}

fn whoever_reads_the_status_without_end_holds_up_nobody_else() {
    let lab = Lab::new(&[]);
    let mut bob = lab.python_as(BOB);
    many(&mut bob, 2000, 10);
    let mut readers: Vec<Client> = (0..20).map(|_| lab.python_as(BOB)).collect();
    for reader in &mut readers {
        reader.begin("[read('.boardlock/status.json') for _ in range(100_000)]");
    }
    let mut alice = lab.python_as(ALICE);
    for _ in 0..5 {
        is_served(&mut alice, "while others read");
    }
    // What she reads is no older than her asking for it.
    alice.ok("touch('hers')");
    alice.ok("import json");
    let told = "[b['uid'] for b in json.loads(read('.boardlock/status.json'))['boards'] if b['board'] == 'hers']";
    assert_eq!(alice.ok(told), format!("[{ALICE}]"));
}

fn lines_of(lab: &Lab, user: u32) -> usize {
    let by = format!("by {user}, ");
    let to = format!("to {user}, ");
    let had = format!("{user}, pid ");
    let of = |line: &&String| [&by, &to, &had].iter().any(|words| line.contains(*words));
    lab.log().iter().filter(of).count()
}

/// Waits until the log tells that bob's lines are left out, and that alice's are
/// not.
#[track_caller]
fn log_stays_short(lab: &Lab) {
    let mut alice = lab.python_as(ALICE);
    alice.ok("touch('hers')");
    lab.wait_for_log(|line| line.contains(" 4002: too many lines of what this user does"));
    lab.wait_for_log(|line| line.contains(" hers: acquired by 4001"));
    let lines = lines_of(lab, BOB);
    // Five thousand at once, and some while he goes on.
    assert!((4900..6500).contains(&lines), "{lines}");
}

fn whoever_takes_and_frees_without_end_fills_no_log() {
    let lab = Lab::new(&[]);
    let mut bob = lab.python_as(BOB);
    bob.ok("again = lambda: (touch('b'), os.unlink('b'))");
    bob.ok("[again() for _ in range(5000)]; None");
    log_stays_short(&lab);
    bob.ok("again(); None");
}

fn whoever_waits_without_end_fills_no_log() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python_as(ALICE);
    holder.ok("touch('b')");
    let mut bob = lab.python_as(BOB);
    // A wait that a signal ends at once, and a try that is refused as what has no
    // board at all.
    bob.ok("fd = os.open('b', os.O_RDONLY)");
    bob.ok(
        "exec('class Over(Exception): pass\\ndef over(*_): raise Over\\n\
         def wait():\\n try:\\n  signal.setitimer(signal.ITIMER_REAL, 0.0005)\\n  \
         fcntl.flock(fd, fcntl.LOCK_EX)\\n except Over: pass')",
    );
    bob.ok("signal.signal(signal.SIGALRM, over); None");
    bob.ok("[wait() for _ in range(300)]; None");
    bob.ok(
        "exec('def bad():\\n try: touch(chr(7))\\n except OSError: return\\n raise Exception(1)')",
    );
    bob.ok("[bad() for _ in range(8000)]; None");
    log_stays_short(&lab);
    held_by(&lab, "b", holder.pid(), "after all that");
}

/// A chain of processes, each the child of the one before, and at its end many
/// that try to remove `b`, over and over.
const DEEP: &str = "
import os, sys
out = os.dup(1)
for depth in range(600):
    if os.fork() != 0:
        os.wait()
        os._exit(0)
for _ in range(8):
    if os.fork() == 0:
        while True:
            try: os.unlink('b')
            except PermissionError: pass
            except BaseException: os._exit(1)
os.write(out, b'deep\\n')
os.wait()
";

fn a_deep_tree_of_processes_holds_up_nobody_else() {
    let lab = Lab::new(&[]);
    let mut alice = lab.python_as(ALICE);
    alice.ok("touch('b')");
    let mut deep = lab.spawn_as(BOB, crate::client::python(), DEEP);
    // Hundreds of forks take their time on a busy machine.
    let line = deep.next_line(4 * PATIENCE);
    assert_eq!(line.as_deref(), Some("deep"), "{}", deep.stderr());
    let mut other = lab.python_as(ALICE);
    for _ in 0..3 {
        is_served(&mut other, "beside a deep tree");
    }
    held_by(&lab, "b", alice.pid(), "hers");
}

/// What no sane program does, in python: each may fail, none may end the daemon.
const NONSENSE: &[&str] = &[
    "os.utime('mine', ns=(-2**63, 2**63 - 1))",
    "os.utime('mine', ns=(2**62, -2**62))",
    "os.utime(fd, (-2**40, 2**40))",
    "os.setxattr('mine', 'user.boardlock.expires', b'9' * 400)",
    "os.setxattr('mine', 'user.boardlock.expires', b'-99999999999999999999')",
    "os.setxattr('mine', 'user.boardlock.expires', b'+99999999999999999999h')",
    "os.setxattr('mine', 'user.boardlock.expires', b'+9223372036854775807s')",
    "os.setxattr('mine', 'user.boardlock.expires', bytes(range(256)))",
    "os.setxattr('mine', 'user.boardlock.expires', b'0000-00-00T00:00:00Z')",
    "os.setxattr('mine', 'user.boardlock.note', b'\\xff' * 65536)",
    "os.setxattr('mine', 'user.boardlock.note', b'')",
    "os.setxattr('mine', 'user.' + 'x' * 200, b'')",
    "os.setxattr('mine', 'security.capability', b'x')",
    "os.setxattr('mine', 'system.posix_acl_access', b'x' * 44)",
    "os.pwrite(fd, b'9223372036854775807 4294967295', 0)",
    "os.pwrite(fd, b'253402300799 0', 0)",
    "os.pwrite(fd, b'253402300800 1', 0)",
    "os.pwrite(fd, b'x', 2**63 - 2)",
    "os.pwrite(fd, b'x' * 2**20, 0)",
    "os.pread(fd, 2**20, 2**63 - 2**21)",
    "os.ftruncate(fd, 2**63 - 1)",
    "os.truncate('mine', 2**40)",
    "os.lseek(fd, 0, os.SEEK_HOLE)",
    "os.lseek(fd, 2**62, os.SEEK_DATA)",
    "os.posix_fallocate(fd, 0, 2**62)",
    "os.copy_file_range(fd, fd, 10)",
    "os.sendfile(fd, fd, 0, 10)",
    "fcntl.ioctl(fd, 0x40086602, b'x' * 64)",
    "fcntl.ioctl(fd, 0xC020660B, b'x' * 64)",
    "fcntl.lockf(fd, fcntl.LOCK_EX|fcntl.LOCK_NB, 1, 2**63 - 2)",
    "fcntl.lockf(fd, fcntl.LOCK_SH|fcntl.LOCK_NB, 0, 2**62)",
    "[fcntl.lockf(fd, fcntl.LOCK_EX|fcntl.LOCK_NB, 1, 2 * n) for n in range(1100)]",
    "fcntl.lockf(fd, fcntl.LOCK_UN, 2**62, 1)",
    "fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack('hhqqi4x', 7, 0, -1, -1, 9))",
    "fcntl.fcntl(fd, fcntl.F_GETLK, struct.pack('hhqqi4x', 0, 0, 0, 2**63 - 1, 0))",
    "fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)",
    "fcntl.fcntl(fd, fcntl.F_NOTIFY, 63)",
    "fcntl.flock(fd, fcntl.LOCK_UN|fcntl.LOCK_NB)",
    "os.mknod('n', 0o140644)",
    "os.mknod('n', 0o60644, os.makedev(255, 255))",
    "os.open('.', os.O_TMPFILE|os.O_RDWR)",
    "os.open('mine', os.O_DIRECTORY|os.O_CREAT)",
    "os.open('x' * 255, os.O_CREAT|os.O_EXCL|os.O_TRUNC|os.O_APPEND|os.O_SYNC|os.O_DIRECT)",
    "os.symlink('y' * 4095, 'l')",
    "os.symlink('', 'l')",
    "os.link('.', 'l')",
    "os.rename('.', 'mine')",
    "os.rename('mine', 'mine')",
    "renameat2('mine', 'x', 0xff)",
    "os.makedirs('/'.join(['d'] * 40))",
    "os.makedirs('/'.join(['e' * 250] * 20))",
    "os.removedirs('/'.join(['d'] * 32))",
    "os.rename('d', 'd/d')",
    "os.chmod('mine', 0o7777)",
    "os.statvfs(fd)",
    "os.fsync(fd)",
    "os.fsync(os.open('.', os.O_RDONLY))",
    "os.listxattr('mine')",
    "os.getxattr('mine', 'user.boardlock.' + 'z' * 200)",
    "os.execv('mine', ['mine'])",
    "os.posix_fadvise(fd, 0, 2**62, os.POSIX_FADV_DONTNEED)",
    "subprocess.run(['\\x1b[2J\\n' * 100] * 100, executable='/bin/true')",
    "subprocess.run(['touch', *['x' * 100000] * 20])",
];

fn no_system_call_ends_the_daemon() {
    let lab = Lab::new(&[]);
    let mut alice = lab.python_as(ALICE);
    for how in [
        "fd = os.open('mine', os.O_CREAT|os.O_RDWR, 0o666)",
        "fcntl.flock(fd, fcntl.LOCK_EX|fcntl.LOCK_NB)",
    ] {
        let mut bob = lab.python_as(BOB);
        bob.ok("fd = os.open('mine', os.O_CREAT|os.O_RDWR, 0o666)");
        bob.run(how);
        for call in NONSENSE {
            let reply = bob.run(call);
            let known = reply.outcome == "ok"
                || reply.outcome.starts_with('E')
                || reply.outcome.contains("Error");
            assert!(known, "{call}: {reply:?}");
        }
        is_served(&mut alice, how);
    }
    let log = lab.log().join("\n");
    assert!(!log.contains("panicked"), "{log}");
}
