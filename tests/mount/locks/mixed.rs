//! The mixed table: everything that acquires, against everything that holds.

use libtest_mimic::Trial;

use super::play::try_on_mount;
use crate::client::python;

pub fn tests() -> Vec<Trial> {
    trials![
        those_that_claim_try("busybox", "dotlockfile", "lockfile", "lockfile-create", "python3");
        those_that_open_try("python3");
        those_that_lock_try("setlock", "chpst", "lckdo", "with-lock-ex", "python3");
        those_that_wait("setlock", "chpst", "lckdo", "with-lock-ex", "perl", "python3");
    ]
}

/// How a board is held: the name of it here, what the holder does, and what it
/// does to let go. `s` is a shell, `a` a python.
struct Kind {
    name: &'static str,
    takes: &'static str,
    shown: &'static str,
    lets_go: &'static str,
}

const KINDS: [Kind; 7] = [
    Kind {
        name: "free",
        takes: "",
        shown: "-",
        lets_go: "",
    },
    Kind {
        name: "claimed",
        takes: "s: touch {b} -> 0",
        shown: "$s",
        lets_go: "s: rm {b} -> 0",
    },
    Kind {
        name: "opened",
        takes: "s: exec 9>{b} -> 0",
        shown: "$s",
        lets_go: "s: rm {b} -> 0",
    },
    Kind {
        name: "flocked",
        takes: "s: exec 9>{b}; flock 9 -> 0",
        shown: "$s",
        lets_go: "s: flock -u 9 -> 0",
    },
    Kind {
        name: "shared",
        takes: "s: exec 9>{b}; flock -s 9 -> 0",
        shown: "$s",
        lets_go: "s: exec 9>&- -> 0",
    },
    Kind {
        name: "fcntl",
        takes: "a: fd = opened('rw', '{b}'); lockf(fd, LOCK_EX) -> ok",
        shown: "$a",
        lets_go: "a: lockf(fd, LOCK_UN) -> ok",
    },
    Kind {
        name: "detached",
        takes: "a: fd = opened('rw', '{b}'); \
                os.write(fd, b'%d 0' % (time.time() + 3600)); os.close(fd) -> ok",
        shown: "0",
        lets_go: "a: os.unlink('{b}') -> ok",
    },
];

/// A command, and how it goes on a board of each kind:
/// - `mine`: it succeeds, and this shell holds the board then;
/// - `waits`: until the holder lets go, and then it succeeds;
/// - an errno: it fails and says so;
/// - anything else: what it says, if anything, and its exit status.
///
/// Unless it is `mine`, the board is held as before.
type Row = (&'static str, [&'static str; 7]);

/// A row for what fails on any held board in the same way.
const fn fails(command: &'static str, free: &'static str, held: &'static str) -> Row {
    (command, [free, held, held, held, held, held, held])
}

const CLAIMS: &[Row] = &[
    // With a file lock on the board its open succeeds, and setting times tells.
    (
        "touch {b}",
        [
            "mine", "EAGAIN", "EAGAIN", "EBUSY", "EBUSY", "EBUSY", "EAGAIN",
        ],
    ),
    fails("touch -d '+1 hour' {b}", "mine", "~touch"),
    fails("busybox touch {b}", "mine", "EBUSY"),
    fails(
        "(set -C; : >{b})",
        "mine",
        "~cannot overwrite existing file",
    ),
    fails(
        "(set -C; echo $$ >{b})",
        "mine",
        "~cannot overwrite existing file",
    ),
    fails("mkdir {b}", "mine", "EEXIST"),
    fails("ln -s somewhere {b}", "mine", "EEXIST"),
    fails("ln -sf somewhere {b}", "mine", "EBUSY"),
    fails("touch tmp.{b}; ln tmp.{b} {b}", "mine", "EEXIST"),
    fails("touch tmp.{b}; ln -f tmp.{b} {b}", "mine", "EBUSY"),
    fails("touch tmp.{b}; mv tmp.{b} {b}", "mine", "EBUSY"),
    fails("touch tmp.{b}; mv -f tmp.{b} {b}", "mine", "EBUSY"),
    fails("mkdir tmp.{b}; mv -T tmp.{b} {b} 2>&1", "mine", "~mv"),
    fails("dotlockfile -r 0 {b}", "mine", "~4"),
    // It takes the expiry for the pid of a dead process, and removes what it takes
    // for stale, which the file's user may.
    (
        "dotlockfile -p -r 0 {b}",
        ["mine", "~4", "~4", "~4", "~4", "~4", "mine"],
    ),
    fails("lockfile -r 0 {b}", "mine", "~giving up"),
    fails("lockfile-create -r 0 -l {b}", "mine", "~4"),
    fails(
        "dd of={b} conv=excl status=none </dev/null",
        "mine",
        "EEXIST",
    ),
    fails(
        "{python} -c 'import os; os.open(\"{b}\", os.O_CREAT | os.O_EXCL)'",
        "0",
        "EEXIST",
    ),
    fails("{python} -c 'import os; os.mknod(\"{b}\")'", "0", "EEXIST"),
    fails(
        "{python} -c 'import os; os.utime(\"{b}\")'",
        "ENOENT",
        "EBUSY",
    ),
    fails(
        "{python} -c 'import os; os.truncate(\"{b}\", 0)'",
        "ENOENT",
        "EBUSY",
    ),
];

/// An open that nothing is written through and that is not locked succeeds on a
/// board that is held by file locks, and holds nothing; so does any that appends.
const OPENS: &[Row] = &[
    (": >{b}", ["mine", "EBUSY", "EBUSY", "0", "0", "0", "EBUSY"]),
    (
        ": <>{b}",
        ["mine", "EBUSY", "EBUSY", "0", "0", "0", "EBUSY"],
    ),
    (
        "exec 8>{b} && exec 8>&-",
        ["mine", "EBUSY", "EBUSY", "0", "0", "0", "EBUSY"],
    ),
    fails(": >>{b}", "mine", "0"),
    fails("exec 8>>{b} && exec 8>&-", "mine", "0"),
    fails("tee -a {b} </dev/null", "mine", "0"),
    (
        "tee {b} </dev/null",
        ["mine", "EBUSY", "EBUSY", "0", "0", "0", "EBUSY"],
    ),
    (
        "cp /dev/null {b}",
        ["mine", "EBUSY", "EBUSY", "0", "0", "0", "EBUSY"],
    ),
    fails("echo x >{b}", "mine", "EBUSY"),
    fails("echo x >>{b}", "mine", "EBUSY"),
    fails("echo x | tee {b} >/dev/null", "mine", "EBUSY"),
    fails("echo x | tee -a {b} >/dev/null", "mine", "EBUSY"),
    fails("cp /etc/passwd {b}", "mine", "EBUSY"),
    // It unlinks what it cannot open.
    (
        "cp -f /etc/passwd {b}",
        ["mine", "EPERM", "EPERM", "EBUSY", "EBUSY", "EBUSY", "EPERM"],
    ),
    fails("cp --remove-destination /etc/passwd {b}", "mine", "EPERM"),
    fails("install /etc/passwd {b}", "mine", "EPERM"),
    fails("dd if=/etc/passwd of={b} status=none", "mine", "EBUSY"),
    (
        "truncate -s 0 {b}",
        [
            "mine", "EAGAIN", "EAGAIN", "EBUSY", "EBUSY", "EBUSY", "EAGAIN",
        ],
    ),
    fails("sort -o {b} /etc/passwd", "mine", "EBUSY"),
    fails("cat {b} >/dev/null", "ENOENT", "0"),
    fails("[ -e {b} ]", "1", "0"),
];

const LOCKS: &[Row] = &[
    fails("flock -n {b} true", "0", "1"),
    fails("flock -w 0.1 {b} true", "0", "1"),
    fails("flock -n -E 7 {b} -c true", "0", "7"),
    ("flock -n -s {b} true", ["0", "1", "1", "1", "0", "1", "1"]),
    (
        "flock -w 0.1 -s {b} true",
        ["0", "1", "1", "1", "0", "1", "1"],
    ),
    (
        "(flock -n 9) 9>{b}",
        ["0", "EBUSY", "EBUSY", "1", "1", "1", "EBUSY"],
    ),
    (
        "(flock -n 9) 9<>{b}",
        ["0", "EBUSY", "EBUSY", "1", "1", "1", "EBUSY"],
    ),
    fails("(flock -n 9) 9>>{b}", "0", "1"),
    fails("(flock -n 9) 9<{b}", "ENOENT", "1"),
    fails("setlock -n {b} true", "0", "~temporary failure; 111"),
    fails("setlock -n -x {b} true", "0", "0"),
    fails("chpst -L {b} true", "0", "~temporary failure; 111"),
    (
        "lckdo -q {b} true",
        ["0", "EBUSY", "EBUSY", "75", "75", "75", "EBUSY"],
    ),
    (
        "lckdo -q -s {b} true",
        ["0", "75", "75", "75", "0", "75", "75"],
    ),
    (
        "with-lock-ex -f {b} true",
        ["0", "EBUSY", "EBUSY", "EAGAIN", "EAGAIN", "EAGAIN", "EBUSY"],
    ),
    (
        "{python} -c 'from fcntl import *; lockf(open(\"{b}\", \"w\"), LOCK_EX|LOCK_NB)'",
        ["0", "EBUSY", "EBUSY", "EAGAIN", "EAGAIN", "EAGAIN", "EBUSY"],
    ),
    fails(
        "{python} -c 'from fcntl import *; lockf(open(\"{b}\", \"a\"), LOCK_EX|LOCK_NB)'",
        "0",
        "EAGAIN",
    ),
    (
        "{python} -c 'from fcntl import *; flock(open(\"{b}\", \"w\"), LOCK_EX|LOCK_NB)'",
        ["0", "EBUSY", "EBUSY", "EAGAIN", "EAGAIN", "EAGAIN", "EBUSY"],
    ),
    (
        "{python} -c 'from fcntl import *; flock(open(\"{b}\", \"a\"), LOCK_SH|LOCK_NB)'",
        ["0", "EAGAIN", "EAGAIN", "EAGAIN", "0", "EAGAIN", "EAGAIN"],
    ),
];

const WAITS: &[Row] = &[
    fails("flock {b} true", "0", "waits"),
    fails("flock -w 60 {b} true", "0", "waits"),
    (
        "flock -s {b} true",
        ["0", "waits", "waits", "waits", "0", "waits", "waits"],
    ),
    fails("(flock 9) 9<{b}", "ENOENT", "waits"),
    fails("(flock 9) 9>>{b}", "0", "waits"),
    (
        "(flock 9) 9>{b}",
        ["0", "EBUSY", "waits", "waits", "waits", "waits", "EBUSY"],
    ),
    (": >{b}", ["mine", "EBUSY", "waits", "0", "0", "0", "EBUSY"]),
    fails("setlock {b} true", "0", "waits"),
    fails("chpst -l {b} true", "0", "waits"),
    (
        "lckdo -w {b} true",
        ["0", "EBUSY", "waits", "waits", "waits", "waits", "EBUSY"],
    ),
    (
        "with-lock-ex -w {b} true",
        ["0", "EBUSY", "waits", "waits", "waits", "waits", "EBUSY"],
    ),
    fails(
        "{python} -c 'from fcntl import *; lockf(open(\"{b}\", \"a\"), LOCK_EX)'",
        "0",
        "waits",
    ),
    fails(
        "perl -e 'use Fcntl \":flock\"; open F, \">>\", \"{b}\"; exit !flock F, LOCK_EX'",
        "0",
        "waits",
    ),
    (
        "perl -e 'use Fcntl \":flock\"; open F, \">\", \"{b}\" or exit 9; exit !flock F, LOCK_EX'",
        ["0", "9", "waits", "waits", "waits", "waits", "9"],
    ),
];

fn words(errno: &str) -> Option<&'static str> {
    Some(match errno {
        "EAGAIN" => "~Resource temporarily unavailable",
        "EBUSY" => "~Device or resource busy",
        "EEXIST" => "~File exists",
        "ENOENT" => "~No such file or directory",
        "EPERM" => "~Operation not permitted",
        _ => return None,
    })
}

/// Plays a row, a board for each kind of holder. What is held is looked at by
/// `c`, another one.
fn row(row: &Row) -> String {
    let (command, cells) = row;
    let mut text = String::new();
    let mut line = |line: &str, board: &str| {
        if !line.is_empty() {
            text.push_str(&line.replace("{b}", board).replace("{python}", python()));
            text.push('\n');
        }
    };
    for (kind, cell) in KINDS.iter().zip(cells) {
        let board = format!("the.{}", kind.name);
        let board = board.as_str();
        line(kind.takes, board);
        let outcome = match *cell {
            "mine" => "0",
            "waits" => "blocked",
            other => words(other).unwrap_or(other),
        };
        line(&format!("t: {command} -> {outcome}"), board);
        let held = kind.name != "free";
        let shown = match *cell {
            "mine" => "$t",
            _ => kind.shown,
        };
        line(&format!("holder {{b}} -> {shown}"), board);
        if held {
            let look = "c: flock(opened('r', '{b}'), LOCK_EX|LOCK_NB) -> EAGAIN";
            line(look, board);
        }
        if *cell == "waits" {
            line(kind.lets_go, board);
            line("t -> 0", board);
        }
    }
    text
}

#[track_caller]
fn table(args: &[&str], rows: &[Row]) {
    let wrong: Vec<String> = rows
        .iter()
        .filter_map(|it| try_on_mount(args, &row(it)).err())
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn those_that_claim_try() {
    table(&["--open-wait", "0"], CLAIMS);
}

fn those_that_open_try() {
    table(&["--open-wait", "0"], OPENS);
}

fn those_that_lock_try() {
    table(&["--open-wait", "0"], LOCKS);
}

fn those_that_wait() {
    // An open that waits is not to be told that its time is up.
    table(&["--open-wait", "60s"], WAITS);
}
