//! What is written into a board: pids and expiries that count, those that do
//! not, and notes.

use libtest_mimic::Trial;

use crate::client::Client;
use crate::lab::{Lab, NOBODY};
use crate::process::{PATIENCE, eventually};
use crate::trial::ROOT;

pub fn tests() -> Vec<Trial> {
    trials![
        ones_own_pid_however_it_is_written("busybox", "dash");
        the_pid_of_an_ancestor_takes_over("dash");
        the_pid_of_a_descendant_takes_over;
        a_pid_goes_through_the_rules_for_callers("dash");
        pids_that_are_nobodys_to_give_are_notes("python3");
        a_pid_of_another_user_below_is_that_users(ROOT);
        expiry_and_pid_in_tbots_form;
        an_expiry_without_a_process_is_detached;
        a_detached_claim_ends_with_its_expiry;
        what_is_no_pid_is_a_note("python3");
        it_is_judged_as_a_whole_after_each_write("python3");
        who_gave_a_board_away_sets_its_times_until_it_is_made("python3");
        more_than_it_keeps_is_refused_and_changes_nothing("python3");
        what_others_write_names_nobody("python3");
        a_note_that_is_set_wins_over_one_that_is_written("setfattr");
    ]
}

/// Asserts who holds a board and what its note is.
#[track_caller]
fn stands(lab: &Lab, board: &str, holder: u32, what: &str) {
    assert_eq!(lab.holder(board), Some(holder), "{what}");
}

fn ones_own_pid_however_it_is_written() {
    let lab = Lab::new(&[]);
    let mut me = lab.shell();
    for write in [
        "echo $$ >b",
        "echo $$ >>b",
        "printf $$ >b",
        "printf '  %s \\n\\n' $$ >b",
        "echo $$ | tee b",
        "echo $$ | busybox tee b",
        "exec 9>b; echo $$ >&9; exec 9>&-",
        "touch b; echo $$ >b",
        "(set -C; echo $$ >b)",
        "echo $$ >tmp; ln tmp b; rm tmp",
        "echo $$ >tmp; mv tmp b",
        "echo $$ >$LOCKS/../pid; cp $LOCKS/../pid b",
        "echo $$ | dd of=b status=none",
        "printf '%s' 0 >b; printf ' %s\\n' $$ >>b",
        "mkdir d; echo $$ >d/pid; mv d/pid b; rmdir d",
    ] {
        me.ok(write);
        stands(&lab, "b", me.pid(), write);
        let text = me.ok("cat b");
        assert!(text.contains(&me.pid().to_string()), "{write}: {text}");
        me.ok("rm b");
    }
    for shell in ["dash", "busybox sh"] {
        let output = lab.sh(
            shell,
            "echo $$ >b; getfattr --only-values -n user.boardlock.pid b; echo; echo $$",
        );
        let lines: Vec<&str> = output.stdout.lines().collect();
        assert_eq!(lines[0], lines[1], "{shell}");
    }
}

fn the_pid_of_an_ancestor_takes_over() {
    let lab = Lab::new(&[]);
    let mut me = lab.shell();
    // The child claims by itself, and gives it to what lasts.
    for write in [
        "bash -c 'sleep 0; echo $PPID >b; sleep 0'",
        "dash -c 'sleep 0; echo $PPID >b; sleep 0'",
        "bash -c ': >b; sleep 0; (echo $PPID >b); sleep 0'",
    ] {
        me.ok(write);
        stands(&lab, "b", me.pid(), write);
        me.ok("touch b; rm b");
    }
    lab.wait_for_log(|line| line.contains(" b: now held by"));
}

fn the_pid_of_a_descendant_takes_over() {
    let lab = Lab::new(&[]);
    let mut me = lab.shell();
    // Until it is another program it is a subshell, whose claim its shell
    // inherits.
    me.ok("sleep 1000 & until [ \"$(cat /proc/$!/comm)\" = sleep ]; do :; done; echo $! >b");
    let child: u32 = me.ok("echo $!").parse().unwrap();
    stands(&lab, "b", child, "a child's");
    assert_eq!(
        lab.status("b").get("").map(String::as_str),
        Some(child.to_string().as_str())
    );
    // It is the child's, then: its parent is another, but its file's user.
    me.refused("busybox touch b", "EBUSY");
    me.refused("touch x; ln x b", "EEXIST");
    me.ok("kill $!; wait $! || true");
    assert_eq!(lab.holder("b"), None);
    me.ok("touch b");
}

fn a_pid_goes_through_the_rules_for_callers() {
    let lab = Lab::new(&[]);
    let mut me = lab.shell();
    // A subshell's pid: when it ends its shell goes on.
    me.ok("( : >b; echo $BASHPID >b )");
    stands(&lab, "b", me.pid(), "after the subshell");
    me.ok("rm b");
    // A wrapper's pid is that of who waits for it.
    me.ok("timeout 60 bash -c 'sleep 0; echo $PPID >b; sleep 0'");
    stands(&lab, "b", me.pid(), "past a wrapper");
}

fn pids_that_are_nobodys_to_give_are_notes() {
    let lab = Lab::new(&[]);
    let mut me = lab.shell();
    let mut other = lab.shell();
    let dead = me.ok("bash -c 'echo $$'");
    let theirs = other.pid().to_string();
    let daemon = lab.daemon_pid().to_string();
    let test = std::process::id().to_string();
    for (number, what) in [
        (dead.as_str(), "a dead process's"),
        (theirs.as_str(), "another holder's"),
        (daemon.as_str(), "the daemon's"),
        ("1", "a session manager's"),
        (
            "4294967297",
            "one beyond any pid, that would be 1 if it were cut",
        ),
        ("2147483648", "one beyond any pid"),
        ("18446744073709551615", "the greatest number of 64 bits"),
        ("18446744073709551616", "one more"),
        ("99999999999999999999999999999", "a number of any length"),
        ("-1", "a negative one"),
        ("+1", "with a sign"),
        ("0", "a lone zero"),
        ("00", "two zeros"),
        ("0x10", "hexadecimal"),
        ("1.5", "a fraction"),
    ] {
        for text in [number.to_owned(), format!("0 {number}")] {
            if text == "0 0" || text == "0 00" {
                continue;
            }
            me.ok(&format!("echo '{text}' >b"));
            stands(&lab, "b", me.pid(), &format!("{what}: {text}"));
            assert_eq!(me.ok("cat b"), text, "kept and read back");
            other.refused("busybox touch b", "EBUSY");
            me.ok("rm b");
        }
    }
    // Above it, the test program itself is no session manager: it may be named.
    me.ok(&format!("echo {test} >b"));
    lab.wait_for_log(|line| {
        line.contains(&format!(" b: the pid {theirs} written by root, pid "))
            && line.contains("kept as a note")
    });
}

fn a_pid_of_another_user_below_is_that_users() {
    let lab = Lab::new(&[]);
    let mut me = lab.shell();
    me.ok("setpriv --reuid=65534 --regid=65534 --clear-groups sleep 1000 & echo");
    me.ok("echo $! >$LOCKS/../pid; until [ \"$(cat /proc/$!/comm)\" = sleep ]; do :; done; echo $! >b");
    let child: u32 = me.ok("echo $!").parse().unwrap();
    stands(&lab, "b", child, "a child of another user");
    assert_eq!(me.ok("stat -c %u b"), NOBODY.to_string());
    lab.shell_as(1234).refused("rm -f b", "EPERM");
    lab.shell_as(NOBODY).ok("rm b");
    me.ok("kill $!");
    // An ancestor of another user: the claim becomes root's.
    me.ok("setpriv --reuid=65534 --regid=65534 --clear-groups bash -c 'sleep 0; echo $PPID >b; sleep 0'");
    stands(&lab, "b", me.pid(), "an ancestor of another user");
    assert_eq!(me.ok("stat -c %u b"), "0");
}

fn expiry_and_pid_in_tbots_form() {
    let lab = Lab::new(&[]);
    let mut me = lab.shell();
    me.ok("until=$(( $(date +%s) + 3600 )); echo $until $$ >b");
    stands(&lab, "b", me.pid(), "ahead");
    let until = me.ok("echo $until");
    assert_eq!(me.ok("stat -c %Y b"), until);
    assert_eq!(me.ok("cat b"), format!("{until} {}", me.pid()));
    assert_eq!(
        me.ok("date -d \"$(getfattr --only-values -n user.boardlock.expires b)\" +%s"),
        until
    );
    // 0 takes it back.
    me.ok("echo 0 $$ >b");
    assert_eq!(lab.xattr("b", "expires"), None);
    // Past: overdue, but its holder lives.
    me.ok("echo 1 $$ >b");
    stands(&lab, "b", me.pid(), "past");
    assert_eq!(
        lab.xattr("b", "expires").as_deref(),
        Some("1970-01-01T00:00:01Z")
    );
    lab.shell().refused("busybox touch b", "EBUSY");
    // The last second that can be told, and one more.
    me.ok("echo 253402300799 $$ >b");
    assert_eq!(
        lab.xattr("b", "expires").as_deref(),
        Some("9999-12-31T23:59:59Z")
    );
    for note in ["253402300800", "99999999999999999999", "-1", "soon", "1e9"] {
        me.ok(&format!("rm b; echo {note} $$ >b"));
        stands(&lab, "b", me.pid(), note);
        assert_eq!(lab.xattr("b", "expires"), None, "{note}");
        assert_eq!(lab.xattr("b", "note"), Some(format!("{note} {}", me.pid())));
    }
    // With expire=hard, the past frees at once.
    let lab = Lab::new(&["-o", "expire=hard"]);
    lab.shell().ok("echo 1 $$ >b; [ ! -e b ]");
}

fn an_expiry_without_a_process_is_detached() {
    let lab = Lab::new(&[]);
    let mut me = lab.shell();
    for write in ["echo $(( $(date +%s) + 3600 )) 0 >b", "echo 0 0 >b"] {
        me.ok(write);
        stands(&lab, "b", 0, write);
        lab.shell().refused("busybox touch b", "EBUSY");
        me.refused("busybox touch b", "EBUSY");
        me.refused(": >b", "EBUSY");
        // The attributes are its user's to change, and the file to remove.
        me.ok("setfattr -n user.boardlock.note -v hello b");
        me.ok("rm b");
    }
    me.ok("echo 0 0 >b");
    me.kill();
    stands(&lab, "b", 0, "it outlives who made it");
    let mut other = lab.shell();
    other.ok("setfattr -n user.boardlock.expires -v 1 b");
    assert_eq!(lab.holder("b"), None);
}

fn a_detached_claim_ends_with_its_expiry() {
    let lab = Lab::new(&[]);
    let mut me = lab.shell();
    me.ok("echo $(( $(date +%s) + 2 )) 0 >b");
    stands(&lab, "b", 0, "ahead");
    eventually("it is free", PATIENCE, || lab.holder("b").is_none());
    me.ok("echo 1 0 >b; [ ! -e b ]");
    lab.wait_for_log(|line| line.contains(" b: released") && line.contains("expired"));
}

fn what_is_no_pid_is_a_note() {
    let lab = Lab::new(&[]);
    let mut me = lab.python();
    for (content, note) in [
        ("b'flashing'", "flashing"),
        ("b' two words\\n'", "two words"),
        ("b'1 2 3'", "1 2 3"),
        ("b'7 seven'", "7 seven"),
        ("b'pid: 7'", "pid: 7"),
        ("b'state free\\nholder me'", r"state free\nholder me"),
        ("b'\\xff\\x00\\x1b[2J'", r"\xff\x00\x1b[2J"),
    ] {
        me.ok(&format!("open('b', 'wb').write({content})"));
        stands(&lab, "b", me.pid(), content);
        me.ok(&format!("data = open('b', 'rb').read() == {content}"));
        assert_eq!(me.ok("data"), "True", "{content}");
        me.ok("raw = os.getxattr('b', 'user.boardlock.note')");
        assert_eq!(
            me.ok(&format!("raw == {content}.strip()")),
            "True",
            "{content}"
        );
        // In the status it cannot forge a line. Nothing must be written then.
        me.ok("os.setxattr('b', 'user.boardlock.note', raw); os.truncate('b', 0)");
        assert_eq!(lab.status("b")["note"], note);
        assert_eq!(me.ok("read('b').count('\\n')"), "15");
        me.ok("os.unlink('b')");
    }
    for blank in ["b' \\n'", "b'\\n'"] {
        me.ok(&format!("open('b', 'wb').write({blank})"));
        assert_eq!(lab.xattr("b", "note"), None, "{blank}");
        stands(&lab, "b", me.pid(), blank);
    }
}

fn it_is_judged_as_a_whole_after_each_write() {
    let lab = Lab::new(&[]);
    let mut me = lab.python();
    me.ok("child = subprocess.Popen(['sleep', '1000'])");
    let child: u32 = me.ok("child.pid").parse().unwrap();
    let own = me.pid();
    me.ok("fd = os.open('b', os.O_CREAT|os.O_RDWR)");
    // Byte by byte: no part of it names anyone else for good.
    me.ok("text = b'0 %d\\n' % child.pid");
    me.ok("for i in range(len(text)): os.write(fd, text[i:i+1])");
    stands(&lab, "b", child, "in many writes");
    assert_eq!(me.ok("os.pread(fd, 100, 0) == text"), "True");
    // What is written over it counts anew; through its file its opener may.
    me.ok("os.pwrite(fd, b'%d        ' % os.getpid(), 0); os.ftruncate(fd, len(str(os.getpid())))");
    stands(&lab, "b", own, "in its place");
    me.ok("child.kill(); child.wait()");
    stands(&lab, "b", own, "the other is gone");
    me.ok("os.ftruncate(fd, 0)");
    stands(&lab, "b", own, "nothing is written");
    assert!(lab.status("b").contains_key("token"));
}

fn who_gave_a_board_away_sets_its_times_until_it_is_made() {
    let lab = Lab::new(&[]);
    let mut me = lab.python();
    me.ok("child = subprocess.Popen(['sleep', '1000'])");
    let child: u32 = me.ok("child.pid").parse().unwrap();
    me.ok("fd = os.open('b', os.O_CREAT|os.O_EXCL|os.O_RDWR)");
    me.ok("os.utime(fd); os.utime('b')");
    me.ok("os.write(fd, b'%d' % child.pid)");
    stands(&lab, "b", child, "its child has it");
    // As long as it has the file by which it made it, it is still at that.
    me.ok("os.utime(fd); os.utime('b')");
    me.ok("os.close(fd)");
    me.refused("os.utime('b')", "EBUSY");
    me.ok("child.kill(); child.wait()");
}

fn more_than_it_keeps_is_refused_and_changes_nothing() {
    let lab = Lab::new(&[]);
    let mut me = lab.python();
    me.ok("fd = os.open('b', os.O_CREAT|os.O_RDWR); os.write(fd, b'kept')");
    for write in [
        "os.pwrite(fd, b'x' * 4097, 0)",
        "os.pwrite(fd, b'x', 4096)",
        "os.pwrite(fd, b'xx', 4095)",
        "os.pwrite(fd, b'x', 1 << 40)",
        "os.pwrite(fd, b'x' * 200000, 0)",
        "os.ftruncate(fd, 4097)",
        "os.ftruncate(fd, 1 << 40)",
        "os.truncate('b', 4097)",
    ] {
        me.refused(write, "EFBIG");
        assert_eq!(
            me.ok("read('b'), os.stat('b').st_size"),
            "('kept', 4)",
            "{write}"
        );
    }
    me.ok("os.pwrite(fd, b'x', 4095)");
    assert_eq!(me.ok("os.stat('b').st_size"), "4096");
    me.refused("open('b', 'ab', 0).write(b'y')", "EFBIG");
    me.ok("os.ftruncate(fd, 4090); open('b', 'ab', 0).write(b'y' * 6)");
    me.refused("open('b', 'ab', 0).write(b'y')", "EFBIG");
    let mut shell = lab.shell();
    shell.refused("head -c 5000 /dev/zero | tee c >/dev/null", "EFBIG");
    assert_eq!(lab.holder("c"), Some(shell.pid()));
    assert_eq!(lab.holder("b"), Some(me.pid()));
    me.ok("os.unlink('b'); touch('b')");
}

fn what_others_write_names_nobody() {
    let lab = Lab::new(&[]);
    let (mut me, mut other): (Client, Client) = (lab.python(), lab.python());
    other.ok("touch('b')");
    me.ok("fd = os.open('b', os.O_WRONLY|os.O_APPEND)");
    me.refused("os.write(fd, b'%d' % os.getpid())", "EBUSY");
    let mut shell = lab.shell();
    shell.refused("echo $$ >>b", "EBUSY");
    shell.refused("echo $$ >b", "EBUSY");
    shell.refused("echo $$ | tee -a b", "EBUSY");
    stands(&lab, "b", other.pid(), "after all that");
    let line = lab.wait_for_log(|line| {
        line.contains(" b: refused to root, pid ") && line.contains("via python")
    });
    assert!(line.contains("held"), "{line}");
}

fn a_note_that_is_set_wins_over_one_that_is_written() {
    let lab = Lab::new(&[]);
    let mut me = lab.shell();
    me.ok("echo written >b");
    assert_eq!(lab.xattr("b", "note").as_deref(), Some("written"));
    me.ok("setfattr -n user.boardlock.note -v set b");
    assert_eq!(lab.xattr("b", "note").as_deref(), Some("set"));
    assert_eq!(me.ok("cat b"), "written");
    me.ok("setfattr -x user.boardlock.note b");
    assert_eq!(lab.xattr("b", "note").as_deref(), Some("written"));
    // It ends with the hold.
    me.ok("setfattr -n user.boardlock.note -v set b; exec 9<b; rm b; touch b");
    assert_eq!(lab.xattr("b", "note"), None);
    assert_eq!(lab.status("b")["note"], "-");
}
