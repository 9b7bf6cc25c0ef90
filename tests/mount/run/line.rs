//! What is told while one waits, in a pipe.

use libtest_mimic::Trial;

use super::{run, waits};
use crate::lab::{Lab, NOBODY};
use crate::process::{PATIENCE, eventually};
use crate::trial::ROOT;
use crate::waiting::queue;

pub fn tests() -> Vec<Trial> {
    trials![
        a_line_for_each_change("python3", ROOT);
        nothing_when_there_is_no_wait("bash");
        nothing_of_what_users_chose_reaches_a_terminal("python3");
    ]
}

fn a_line_for_each_change() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python_as(NOBODY);
    holder.ok("touch('b')");
    let mut first = lab.python();
    first.ok("fd = os.open('b', os.O_RDWR|os.O_APPEND)");
    first.begin("fcntl.flock(fd, fcntl.LOCK_EX)");
    eventually("it waits", PATIENCE, || queue(&lab, "b").len() == 1);
    let running = run(&lab, "b -- echo mine");
    waits(&lab, "b", &running);
    let hears = |words: &str| {
        eventually(words, PATIENCE, || running.stderr().contains(words));
    };
    hears("boardlock: b: 2nd of 2 in line; held by nobody, pid ");
    holder.ok("os.unlink('b')");
    first.done("flock");
    hears("boardlock: b: 1st of 1 in line; held by root, pid ");
    let mut last = lab.python();
    last.ok("fd = os.open('b', os.O_RDWR|os.O_APPEND)");
    last.begin("fcntl.flock(fd, fcntl.LOCK_EX)");
    hears("boardlock: b: 1st of 2 in line; held by root, pid ");
    first.ok("os.close(fd)");
    let output = running.wait(PATIENCE).ok();
    assert_eq!(output.stdout, "mine\n");
    // Nothing twice, and nothing that a terminal would obey.
    assert_eq!(output.stderr.lines().count(), 3, "{output}");
    assert!(!output.stderr.contains(['\r', '\x1b']), "{output}");
}

fn nothing_when_there_is_no_wait() {
    let lab = Lab::new(&[]);
    let output = lab.sh("bash", "$BOARDLOCK run a b -- true").ok();
    assert_eq!(output.stderr, "");
}

fn nothing_of_what_users_chose_reaches_a_terminal() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    holder.ok("touch('b\\u202e')");
    holder.ok("os.setxattr('b\\u202e', 'user.boardlock.note', b'\\x1b[2J')");
    let output = lab.sh("bash", "$BOARDLOCK run -n $'b\\u202e' -- true");
    assert!(!output.stderr.contains(['\x1b', '\u{202e}']), "{output}");
    // A note that was written looks as it likes, and is not believed.
    holder.ok("touch('c')");
    holder.ok("open('c', 'w').write('0 1\\nboard c\\nstate free\\nholder \\x1b[2J\\n')");
    let output = lab.sh("bash", "$BOARDLOCK run -n c -- true").fails(1);
    assert!(output.stderr.contains("c is held by"), "{output}");
    assert!(!output.stderr.contains('\x1b'), "{output}");
}
