//! "Opening a held board for writing": who gets an open file, what it may do,
//! and what it does not.

use libtest_mimic::Trial;

use crate::lab::{Lab, NOBODY};
use crate::trial::ROOT;

pub fn tests() -> Vec<Trial> {
    trials![
        while_the_claiming_file_is_open_others_are_busy("python3");
        one_that_does_not_wait_is_told_again("python3");
        an_appending_open_succeeds_and_holds_nothing("python3");
        truncation_by_who_holds_nothing_truncates_nothing("python3");
        the_holder_truncates("python3");
        writes_are_judged_by_the_open_file_whoever_calls("python3");
        a_subshell_opens_and_its_children_write;
        an_open_file_of_a_free_board_writes_nothing("python3");
        readers_are_never_refused("python3");
        readers_of_other_users_are_not_refused("python3", ROOT);
        a_reading_open_with_o_creat_holds_nothing("python3");
        a_detached_board_opens_for_writing_for_nobody("python3");
        two_redirections_of_a_script_are_one_holders("busybox", "dash", "zsh");
    ]
}

fn while_the_claiming_file_is_open_others_are_busy() {
    let lab = Lab::new(&[]);
    let (mut me, mut other) = (lab.python(), lab.python());
    other.ok("fd = os.open('b', os.O_CREAT|os.O_WRONLY)");
    me.refused("os.open('b', os.O_WRONLY)", "EBUSY");
    me.refused("os.open('b', os.O_CREAT|os.O_RDWR)", "EBUSY");
    other.ok("os.close(fd)");
    me.refused("os.open('b', os.O_CREAT|os.O_WRONLY)", "EBUSY");
    other.ok("os.unlink('b')");
    me.ok("fd = os.open('b', os.O_CREAT|os.O_WRONLY)");
    assert_eq!(lab.holder("b"), Some(me.pid()));
}

fn one_that_does_not_wait_is_told_again() {
    let lab = Lab::new(&[]);
    let (mut me, mut other) = (lab.python(), lab.python());
    other.ok("fd = os.open('b', os.O_CREAT|os.O_WRONLY)");
    for closed in [false, true] {
        if closed {
            other.ok("os.close(fd)");
        }
        for flags in [
            "os.O_WRONLY",
            "os.O_RDWR",
            "os.O_CREAT|os.O_WRONLY|os.O_TRUNC",
        ] {
            me.refused(&format!("os.open('b', {flags}|os.O_NONBLOCK)"), "EAGAIN");
        }
        me.ok("opened('b', os.O_RDONLY|os.O_NONBLOCK)");
    }
}

fn an_appending_open_succeeds_and_holds_nothing() {
    let lab = Lab::new(&[]);
    let (mut me, mut other) = (lab.python(), lab.python());
    other.ok("touch('b'); open('b', 'w').write('kept')");
    me.ok("fd = os.open('b', os.O_CREAT|os.O_RDWR|os.O_APPEND)");
    assert_eq!(lab.holder("b"), Some(other.pid()));
    me.refused("os.write(fd, b'x')", "EBUSY");
    me.refused("os.pwrite(fd, b'x', 0)", "EBUSY");
    me.refused("os.ftruncate(fd, 0)", "EBUSY");
    me.refused("os.unlink('b') if os.getuid() else os.utime('b')", "EBUSY");
    assert_eq!(me.ok("os.pread(fd, 100, 0).decode()"), "kept");
    // It does not hold the board open either.
    other.kill();
    assert_eq!(lab.holder("b"), None);
    me.refused("os.write(fd, b'x')", "EBUSY");
}

fn truncation_by_who_holds_nothing_truncates_nothing() {
    let lab = Lab::new(&[]);
    let (mut me, mut other) = (lab.python(), lab.python());
    other.ok("open('b', 'w').write('kept')");
    me.ok("opened('b', os.O_WRONLY|os.O_APPEND|os.O_TRUNC)");
    me.ok("opened('b', os.O_CREAT|os.O_RDWR|os.O_APPEND|os.O_TRUNC)");
    me.refused("os.open('b', os.O_RDONLY|os.O_TRUNC)", "EBUSY");
    me.refused("os.open('b', os.O_WRONLY|os.O_TRUNC)", "EBUSY");
    me.refused(
        "os.open('b', os.O_WRONLY|os.O_TRUNC|os.O_NONBLOCK)",
        "EAGAIN",
    );
    me.refused("os.truncate('b', 0)", "EBUSY");
    assert_eq!(other.ok("read('b')"), "kept");
    assert_eq!(lab.holder("b"), Some(other.pid()));
}

fn the_holder_truncates() {
    let lab = Lab::new(&[]);
    let mut me = lab.python();
    for truncate in [
        "opened('b', os.O_WRONLY|os.O_TRUNC)",
        "opened('b', os.O_CREAT|os.O_WRONLY|os.O_APPEND|os.O_TRUNC)",
        "os.truncate('b', 0)",
        "fd = os.open('b', os.O_WRONLY); os.ftruncate(fd, 0)",
    ] {
        me.ok("open('b', 'w').write('old')");
        assert_eq!(me.ok("os.stat('b').st_size"), "3");
        me.ok(truncate);
        assert_eq!(me.ok("os.stat('b').st_size"), "0", "{truncate}");
        // Nothing is written: the status stands there.
        assert!(lab.status("b").contains_key("token"), "{truncate}");
    }
    me.ok("open('b', 'w').write('some words'); os.truncate('b', 4)");
    assert_eq!(me.ok("read('b')"), "some");
    me.ok("os.truncate('b', 6)");
    assert_eq!(me.ok("repr(read('b'))"), r"'some\x00\x00'");
}

/// Hands an open file to another process.
const SEND: &str = "s = socket.socket(socket.AF_UNIX); s.connect('\\0' + NAME); \
                    socket.send_fds(s, [b'x'], [fd])";
const LISTEN: &str = "l = socket.socket(socket.AF_UNIX); l.bind('\\0' + NAME); l.listen()";
const RECEIVE: &str = "fd = socket.recv_fds(l.accept()[0], 1, 1)[1][0]";

fn writes_are_judged_by_the_open_file_whoever_calls() {
    let lab = Lab::new(&[]);
    let (mut me, mut other) = (lab.python(), lab.python());
    let name = format!("NAME = 'boardlock-{}'", lab.dir().display());
    me.ok(&name);
    other.ok(&name);
    // The holder's file, in another's hands.
    other.ok("fd = os.open('b', os.O_CREAT|os.O_RDWR)");
    me.ok(LISTEN);
    other.ok(SEND);
    me.ok(RECEIVE);
    me.ok("os.write(fd, b'from a stranger')");
    me.ok("os.ftruncate(fd, 11)");
    assert_eq!(other.ok("read('b')"), "from a stra");
    assert_eq!(lab.holder("b"), Some(other.pid()));
    // A stranger's file, in the holder's.
    me.ok("l.close(); fd = os.open('b', os.O_RDWR|os.O_APPEND)");
    other.ok(LISTEN);
    me.ok(SEND);
    other.ok(RECEIVE);
    other.refused("os.write(fd, b'x')", "EBUSY");
    other.refused("os.ftruncate(fd, 0)", "EBUSY");
    assert_eq!(other.ok("read('b')"), "from a stra");
}

fn a_subshell_opens_and_its_children_write() {
    let lab = Lab::new(&[]);
    let mut me = lab.shell();
    me.ok("( date; echo x; echo y | cat ) >b");
    assert_eq!(me.ok("wc -l <b"), "3");
    assert_eq!(lab.holder("b"), Some(me.pid()));
    me.ok("exec 9>>b; (echo more >&9); sh -c 'echo $PPID >&9'; exec 9>&-");
    assert_eq!(me.ok("wc -l <b"), "5");
    // A child of the holder's, whatever it runs, is on the holder's side.
    me.ok("sh -c 'sh -c \"echo deep >>b; :\"; :'");
    assert_eq!(me.ok("tail -n 1 b"), "deep");
    let mut other = lab.shell();
    other.refused("( date; echo x ) >b", "EBUSY");
    other.refused("( date; echo x ) >>b", "EBUSY");
    assert_eq!(me.ok("wc -l <b"), "6");
}

fn an_open_file_of_a_free_board_writes_nothing() {
    let lab = Lab::new(&[]);
    let (mut me, mut other) = (lab.python(), lab.python());
    other.ok("fd = os.open('b', os.O_CREAT|os.O_RDWR)");
    other.ok("os.write(fd, b'first')");
    assert_eq!(other.ok("os.fstat(fd).st_nlink"), "1");
    other.ok("os.unlink('b')");
    assert_eq!(other.ok("os.fstat(fd).st_nlink"), "0");
    other.refused("os.write(fd, b'x')", "EBUSY");
    other.refused("os.ftruncate(fd, 0)", "EBUSY");
    // The same name in other hands is none of its business.
    me.ok("open('b', 'w').write('mine')");
    other.refused("os.write(fd, b'x')", "EBUSY");
    assert_eq!(me.ok("read('b')"), "mine");
    // Nor is a hold of its own that came later.
    me.ok("os.unlink('b')");
    other.ok("touch('b')");
    other.refused("os.write(fd, b'x')", "EBUSY");
}

fn readers_are_never_refused() {
    let lab = Lab::new(&[]);
    let (mut me, mut other) = (lab.python(), lab.python());
    other.ok("fd = os.open('b', os.O_CREAT|os.O_WRONLY)");
    for read in [
        "read('b')",
        "opened('b', os.O_RDONLY|os.O_NONBLOCK)",
        "opened('b', os.O_RDONLY|os.O_APPEND)",
        "opened('b', os.O_RDONLY|os.O_CREAT|os.O_NONBLOCK)",
        "opened('b', os.O_RDONLY|os.O_DIRECT)",
        "opened('b', os.O_RDONLY|os.O_NOFOLLOW|os.O_CLOEXEC)",
    ] {
        me.ok(read);
    }
    let mut shell = lab.shell();
    shell.ok("cat b && head -n 1 <b && grep -c pid b && [ -r b ]");
    let first = format!("0 {}", other.pid());
    assert_eq!(lab.status("b")[""], first);
    // Open for reading all the while, and still no hold.
    me.ok("fd = os.open('b', os.O_RDONLY)");
    me.refused("os.write(fd, b'x')", "EBADF");
    other.kill();
    assert_eq!(lab.holder("b"), None);
    me.ok("os.read(fd, 1)");
}

fn readers_of_other_users_are_not_refused() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python_as(NOBODY);
    holder.ok("fd = os.open('b', os.O_CREAT|os.O_WRONLY, 0o600)");
    for mut reader in [lab.python(), lab.python_as(NOBODY), lab.python_as(1234)] {
        assert!(reader.ok("read('b')").starts_with("0 "));
        reader.refused("os.open('b', os.O_WRONLY)", "EBUSY");
        reader.ok("opened('b', os.O_WRONLY|os.O_APPEND)");
    }
}

fn a_reading_open_with_o_creat_holds_nothing() {
    let lab = Lab::new(&[]);
    let (mut me, mut other) = (lab.python(), lab.python());
    other.ok("touch('b')");
    me.ok("fd = os.open('b', os.O_RDONLY|os.O_CREAT)");
    assert_eq!(lab.holder("b"), Some(other.pid()));
    other.ok("os.unlink('b')");
    assert_eq!(lab.holder("b"), None);
    assert_eq!(me.ok("os.fstat(fd).st_nlink"), "0");
    other.ok("touch('b')");
    assert_eq!(lab.holder("b"), Some(other.pid()));
    // On a free board it claims, as any open with O_CREAT.
    me.ok("fd = os.open('c', os.O_RDONLY|os.O_CREAT)");
    assert_eq!(lab.holder("c"), Some(me.pid()));
}

fn a_detached_board_opens_for_writing_for_nobody() {
    let lab = Lab::new(&[]);
    let (mut me, mut other) = (lab.python(), lab.python());
    me.ok("fd = os.open('b', os.O_CREAT|os.O_WRONLY)");
    me.ok("os.write(fd, b'%d 0' % (time.time() + 3600))");
    me.ok("os.close(fd)");
    assert_eq!(lab.holder("b"), Some(0));
    for client in [&mut me, &mut other] {
        client.refused("os.open('b', os.O_CREAT|os.O_WRONLY)", "EBUSY");
        client.refused("os.open('b', os.O_WRONLY|os.O_TRUNC)", "EBUSY");
        client.refused("os.open('b', os.O_RDWR|os.O_NONBLOCK)", "EAGAIN");
        client.refused("os.open('b', os.O_CREAT|os.O_EXCL)", "EEXIST");
        client.refused("os.utime('b')", "EBUSY");
        client.refused("os.truncate('b', 0)", "EBUSY");
        client.refused("os.mkdir('b')", "EEXIST");
        client.ok("read('b')");
    }
    let mut shell = lab.shell();
    // It opens with O_NONBLOCK, and tells of that.
    shell.refused("touch b", "EAGAIN");
    for take in ["busybox touch b", ": >b", "tee b", "cp /etc/hostname b"] {
        shell.refused(take, "EBUSY");
    }
    assert_eq!(lab.holder("b"), Some(0));
    // Its user gives it another name, and gives it back.
    other.ok("os.link('b', 'c')");
    other.ok("os.rename('c', 'd')");
    other.ok("os.unlink('b')");
    assert_eq!(lab.boards(), ["d"]);
    other.ok("os.unlink('d')");
}

fn two_redirections_of_a_script_are_one_holders() {
    let lab = Lab::new(&[]);
    for shell in ["bash", "dash", "zsh", "busybox sh"] {
        let output = lab
            .sh(
                shell,
                "set -e; exec 9>b; echo one >b; echo two >>b; echo three >&9; exec 8>>b; \
                 echo four >&8; cat b; rm b",
            )
            .ok();
        // 9 writes where it stands, at the start, over one and two.
        assert_eq!(output.stdout, "three\no\nfour\n", "{shell}");
        assert_eq!(lab.holder("b"), None, "{shell}");
    }
}
