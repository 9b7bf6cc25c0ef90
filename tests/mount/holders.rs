//! "Who is shown": of a locked board the process that opened the locked file,
//! then another that has it open; what it may do, and what others may not.

use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};

use crate::client::Client;
use crate::lab::{Lab, NOBODY};
use crate::process::{PATIENCE, Running, eventually};
use crate::shown::{becomes_free, becomes_held_by, free, held_by, only_child};
use crate::trial::ROOT;
use crate::waiting::{CLOSE, FLOCK, LOCKF, LOOK, OFD, SHARE, UNLOCK, line_up, waiters};

pub fn tests() -> Vec<Trial> {
    trials![
        flock_shows_itself("flock");
        a_script_that_locks_a_descriptor_shows_itself("flock", "dash", "zsh", "busybox");
        a_subshell_that_opens_shows_itself("flock");
        a_program_shows_itself_whoever_locks("python3", "flock");
        a_child_that_still_has_the_file_is_shown_next("flock", "python3");
        whoever_was_handed_the_file_is_shown_next("python3");
        who_only_waits_or_reads_is_never_shown("python3", "flock");
        it_is_nobody_where_that_is_not_plain("python3");
        those_who_share_are_shown_one_after_the_other("python3");
        the_user_is_the_openers(ROOT, "python3", "flock");
        who_is_shown_may_touch_write_and_remove("flock", "dash", "busybox");
        what_runs_under_the_lock_may_as_well("flock");
        a_child_that_is_shown_may_as_well("flock");
        others_may_not("python3", "flock", ROOT);
        its_user_may_remove_it("flock", ROOT);
        with_release_holder_its_side_alone_removes_it("flock", ROOT);
        a_locked_board_has_one_name("python3");
        a_loser_does_not_remove_what_another_has_locked("flock", "dash", "zsh", "busybox");
        a_program_that_lost_does_not_remove_it("python3");
        who_lost_before_removes_what_it_has_won("flock", "dash");
    ]
}

/// The holder that the first line of the status shows, and its command line.
#[track_caller]
fn shown(lab: &Lab, board: &str) -> (u32, String) {
    let mut status = lab.status(board);
    let pid = status[""].strip_prefix("0 ").unwrap().parse().unwrap();
    assert_eq!(lab.holder(board), Some(pid), "{status:?}");
    (pid, status.remove("command").unwrap())
}

#[track_caller]
fn kill(pid: u32) {
    let pid = Pid::from_raw(pid.cast_signed()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
}

fn flock_shows_itself() {
    let lab = Lab::new(&[]);
    for command in [
        "flock b sleep 1000",
        "flock -n -x b sleep 1000",
        "flock -s b sleep 1000",
        "flock -w 10 b -c 'exec sleep 1000'",
    ] {
        let mut running = lab.spawn("bash", &format!("exec {command}"));
        let child = only_child(running.pid());
        held_by(&lab, "b", running.pid(), command);
        let status = lab.status("b");
        let (pid, words) = shown(&lab, "b");
        assert_eq!((pid, words), (running.pid(), command.replace('\'', "")));
        assert_eq!(status["via"], "flock(2)");
        assert_eq!(status["state"], "held");
        // Its lock is the command's, too: that has the file as long as it lives.
        running.kill();
        becomes_held_by(&lab, "b", child);
        kill(child);
        becomes_free(&lab, "b");
    }
    // With -F there is one process, with -o the command has not the file.
    let mut running = lab.spawn("bash", "exec flock -F b sleep 1000");
    becomes_held_by(&lab, "b", running.pid());
    assert_eq!(lab.holder("b"), Some(running.pid()));
    running.kill();
    becomes_free(&lab, "b");
    let mut running = lab.spawn("bash", "exec flock -o b sleep 1000");
    only_child(running.pid());
    becomes_held_by(&lab, "b", running.pid());
    running.kill();
    becomes_free(&lab, "b");
}

fn a_script_that_locks_a_descriptor_shows_itself() {
    let lab = Lab::new(&[]);
    for shell in ["bash", "dash", "zsh", "busybox sh"] {
        for open in ["exec 9>b", "exec 9<>b", "exec 9>>b", "touch b; exec 9<b"] {
            let script =
                format!("{open}; flock 9; echo have; read x; exec 9>&-; echo gone; read x");
            let mut script = lab.spawn(shell, &script);
            script.expect("have");
            held_by(&lab, "b", script.pid(), open);
            if open == "touch b; exec 9<b" {
                // A claim that has been locked as well: it is the claim that holds.
                let name = shell.split(' ').next_back().unwrap();
                assert_eq!(lab.status("b")["via"], format!("touch < {name}"));
            } else {
                assert_eq!(lab.status("b")["via"], "flock(2)");
            }
            assert!(shown(&lab, "b").1.contains("script-"), "{shell}");
            script.say("on");
            script.expect("gone");
            if open == "touch b; exec 9<b" {
                held_by(&lab, "b", script.pid(), "the claim stays");
                script.kill();
            }
            free(&lab, "b", open);
        }
    }
}

fn a_subshell_that_opens_shows_itself() {
    let lab = Lab::new(&[]);
    let mut script = lab.spawn(
        "bash",
        "(flock 9; echo $BASHPID; read x) 9>b; echo out; read x",
    );
    let pid = script.line().parse().unwrap();
    assert_ne!(pid, script.pid());
    held_by(&lab, "b", pid, "the subshell");
    script.say("on");
    script.expect("out");
    // Closed with the subshell: nothing passes to its shell.
    free(&lab, "b", "the subshell has ended");
    // One that only runs under the lock is not who opened the file.
    let mut script = lab.spawn(
        "bash",
        "exec 9>b; (flock 9; echo in; read x); echo out; read x",
    );
    script.expect("in");
    held_by(&lab, "b", script.pid(), "the shell");
    script.say("on");
    script.expect("out");
    held_by(&lab, "b", script.pid(), "the shell still has it open");
}

fn a_program_shows_itself_whoever_locks() {
    let lab = Lab::new(&[]);
    for lock in [
        FLOCK,
        SHARE,
        LOCKF,
        OFD,
        "subprocess.run(['flock', str(fd)], pass_fds=[fd], check=True) and None",
    ] {
        let mut me = lab.python();
        me.ok("fd = os.open('b', os.O_CREAT|os.O_RDWR)");
        me.ok(lock);
        held_by(&lab, "b", me.pid(), lock);
        assert!(shown(&lab, "b").1.contains("python"), "{lock}");
        let class = if [LOCKF, OFD].contains(&lock) {
            "fcntl(2)"
        } else {
            "flock(2)"
        };
        assert_eq!(lab.status("b")["via"], class);
        // Another program in its place is the same process.
        me.ok("os.set_inheritable(fd, True)");
        me.begin("os.execvp('sleep', ['sleep', '1000'])");
        eventually("it is another program", PATIENCE, || {
            shown(&lab, "b") == (me.pid(), "sleep 1000".to_owned())
        });
        me.kill();
        free(&lab, "b", lock);
    }
}

fn a_child_that_still_has_the_file_is_shown_next() {
    let lab = Lab::new(&[]);
    let mut script = lab.shell();
    script.ok("exec 9>b; flock 9; sleep 1000 & :");
    let child = only_child(script.pid());
    held_by(&lab, "b", script.pid(), "who opened it");
    let token = lab.status("b")["token"].clone();
    script.kill();
    becomes_held_by(&lab, "b", child);
    assert_eq!(shown(&lab, "b"), (child, "sleep 1000".to_owned()));
    // It is the same lock, of the same acquisition.
    let status = lab.status("b");
    assert_eq!(
        (&status["token"], status["lock"].as_str()),
        (&token, "exclusive")
    );
    kill(child);
    becomes_free(&lab, "b");
    // Of several the oldest, and then the next.
    let mut script = lab.shell();
    script.ok("exec 9>b; flock 9; sleep 1001 & one=$!; sleep 0.1; sleep 1002 & two=$!");
    let pid = |words: String| words.parse::<u32>().unwrap();
    let (one, two) = (pid(script.ok("echo $one")), pid(script.ok("echo $two")));
    script.kill();
    becomes_held_by(&lab, "b", one);
    kill(one);
    becomes_held_by(&lab, "b", two);
    kill(two);
    becomes_free(&lab, "b");
    // Closing it is as good as ending.
    let mut child = lab.python();
    child.ok("fd = os.open('b', os.O_CREAT|os.O_RDWR)");
    child.ok(FLOCK);
    child.ok("pid = os.fork() or (time.sleep(1000), os._exit(0))");
    let last = pid(child.ok("pid"));
    held_by(&lab, "b", child.pid(), "who opened it");
    child.ok(CLOSE);
    held_by(&lab, "b", child.pid(), "who opened it lives");
    child.kill();
    becomes_held_by(&lab, "b", last);
    kill(last);
    becomes_free(&lab, "b");
}

/// Hands an open file over.
fn hand_over(lab: &Lab, from: &mut Client, to: &mut Client) {
    let name = format!("NAME = '\\0boardlock-{}'", lab.dir().display());
    from.ok(&name);
    to.ok(&name);
    to.ok("l = socket.socket(socket.AF_UNIX); l.bind(NAME); l.listen()");
    from.ok("s = socket.socket(socket.AF_UNIX); s.connect(NAME)");
    from.ok("socket.send_fds(s, [b'x'], [fd]) and None");
    to.ok("fd = socket.recv_fds(l.accept()[0], 1, 1)[1][0]");
}

fn whoever_was_handed_the_file_is_shown_next() {
    let lab = Lab::new(&[]);
    let (mut one, mut two) = (lab.python(), lab.python());
    one.ok("fd = os.open('b', os.O_CREAT|os.O_RDWR)");
    one.ok(FLOCK);
    hand_over(&lab, &mut one, &mut two);
    held_by(&lab, "b", one.pid(), "who opened it");
    two.refused("os.utime('b')", "EBUSY");
    one.kill();
    becomes_held_by(&lab, "b", two.pid());
    two.ok("os.utime('b')");
    two.ok("os.unlink('b')");
    free(&lab, "b", "unlinked");
}

fn who_only_waits_or_reads_is_never_shown() {
    let lab = Lab::new(&[]);
    let mut script = lab.shell();
    script.ok("exec 9>b; flock 9; sleep 1000 & :");
    let child = only_child(script.pid());
    let mut reader = lab.python();
    reader.ok("fd = os.open('b', os.O_RDONLY)");
    let mut waiting = waiters(&lab, &[FLOCK, LOCKF]);
    let shell = lab.spawn("bash", "exec 9<b; flock 9; read x");
    eventually("it waits", PATIENCE, || lab.status("b")["waiters"] == "3");
    script.kill();
    becomes_held_by(&lab, "b", child);
    // None of them is on its side.
    reader.refused("os.utime('b')", "EBUSY");
    reader.refused("os.rename('b', 'c')", "EPERM");
    kill(child);
    waiting[0].done(FLOCK);
    held_by(&lab, "b", waiting[0].pid(), "the first that waited");
    drop(shell);
}

fn it_is_nobody_where_that_is_not_plain() {
    let lab = Lab::new(&[]);
    // Two files, one locked, of openers that are gone: who has which?
    let orphan = |lock: &str| {
        let mut opener = lab.python();
        opener.ok("fd = os.open('b', os.O_CREAT|os.O_RDWR|os.O_APPEND)");
        opener.ok(lock);
        opener.ok("child = subprocess.Popen(['sleep', '1000'], pass_fds=[fd])");
        let child: u32 = opener.ok("child.pid").parse().unwrap();
        (opener, child)
    };
    let (mut one, locked) = orphan(FLOCK);
    let (mut two, other) = orphan("0");
    one.kill();
    two.kill();
    held_by(&lab, "b", 0, "that is not plain");
    let status = lab.status("b");
    assert_eq!(
        (status["pid"].as_str(), status["command"].as_str()),
        ("-", "-")
    );
    assert_eq!(status["state"], "held");
    let mut stranger = lab.python();
    stranger.refused("os.utime('b')", "EBUSY");
    // Once the other is gone it is.
    kill(other);
    becomes_held_by(&lab, "b", locked);
    kill(locked);
    becomes_free(&lab, "b");
}

fn those_who_share_are_shown_one_after_the_other() {
    let lab = Lab::new(&[]);
    let mut sharers: Vec<Client> = (0..3)
        .map(|_| {
            let mut sharer = lab.python();
            sharer.ok("fd = os.open('b', os.O_CREAT|os.O_RDWR|os.O_APPEND)");
            sharer.ok(SHARE);
            sharer
        })
        .collect();
    let mut tokens: Vec<u64> = Vec::new();
    while !sharers.is_empty() {
        held_by(&lab, "b", sharers[0].pid(), "the first of them");
        tokens.push(lab.status("b")["token"].parse().unwrap());
        // Each is on the holder's side.
        for sharer in &mut sharers {
            sharer.ok("os.utime('b'); os.write(fd, b'') and None");
        }
        sharers.remove(0).kill();
    }
    free(&lab, "b", "all have ended");
    assert!(tokens.is_sorted(), "{tokens:?}");
}

fn the_user_is_the_openers() {
    let lab = Lab::new(&[]);
    let mut theirs = lab.spawn_as(NOBODY, "bash", "exec 9>b; flock 9; echo have; read x");
    theirs.expect("have");
    let status = lab.status("b");
    assert_eq!(
        (status["holder"].as_str(), status["uid"].as_str()),
        ("nobody", "65534")
    );
    assert_eq!(lab.sh("sh", "stat -c %u:%a b").ok().stdout, "65534:666\n");
    // Who waited has its own once it has the board.
    let mut waiting = waiters(&lab, &[FLOCK]);
    theirs.kill();
    waiting[0].done(FLOCK);
    let status = lab.status("b");
    assert_eq!(
        (status["holder"].as_str(), status["uid"].as_str()),
        ("root", "0")
    );
    assert_eq!(lab.sh("sh", "stat -c %u b").ok().stdout, "0\n");
    // Whoever locks for a script does it for who opened the file.
    waiting[0].ok(CLOSE);
    let mut root = lab.shell();
    root.ok("exec 9>b; setpriv --reuid=65534 --clear-groups flock 9");
    assert_eq!(lab.status("b")["holder"], "root");
}

fn who_is_shown_may_touch_write_and_remove() {
    let lab = Lab::new(&["-o", "release=holder"]);
    for shell in ["bash", "dash", "busybox sh"] {
        let script = "set -e; exec 9>b; flock 9
            touch b; busybox touch b; touch -d '+1 hour' b; touch -d '+2 seconds' b
            echo a note >b; [ \"$(cat b)\" = 'a note' ]; echo more >&9; echo again >>b
            : >b; grep -q '^lock exclusive' b; truncate -s 0 b
            (touch b; echo x >b); sh -c 'touch b; echo y >b; :'; env touch b
            mv b c; touch c; mv c b
            rm b; [ ! -e b ]; flock -n 9; [ -e b ]; (rm b); [ ! -e b ]
            flock -n 9; sh -c 'rm b; :'; [ ! -e b ]
            touch b; rm b; echo fine";
        let output = lab.sh(shell, script).ok();
        assert_eq!(output.stdout, "fine\n", "{shell}: {output}");
        free(&lab, "b", shell);
    }
}

fn what_runs_under_the_lock_may_as_well() {
    let lab = Lab::new(&["-o", "release=holder"]);
    for command in [
        "flock b touch b",
        "flock b sh -c 'touch b'",
        "flock b sh -c 'touch b && echo a note >b && rm b'",
        "flock b -c 'echo a note >>b; cat b | grep note'",
        "flock b bash -c 'set -e; touch b; : >b; (rm b)'",
        "flock b env touch b",
        "flock -o b sh -c 'touch b; rm b'",
        "flock b flock -n c touch b c",
    ] {
        lab.sh("bash", command).ok();
        free(&lab, "b", command);
        lab.sh("bash", &format!("set -e; {command}; true")).ok();
        free(&lab, "b", command);
    }
}

fn a_child_that_is_shown_may_as_well() {
    let lab = Lab::new(&["-o", "release=holder"]);
    let script = "exec 9>b; flock 9; sleep 1000 & echo $!; wait";
    let mut script = lab.spawn("bash", script);
    let pid: u32 = script.line().parse().unwrap();
    script.kill();
    becomes_held_by(&lab, "b", pid);
    lab.sh("sh", "rm b").fails(1);
    held_by(&lab, "b", pid, "others may not");
    kill(pid);
    becomes_free(&lab, "b");
    // One that does something of itself.
    let work = "until [ \"$(head -n 1 b)\" = \"0 $$\" ]; do sleep 0.01; done
        touch b && echo mine >b && (rm b) && touch done";
    let mut script = lab.spawn(
        "bash",
        &format!("exec 9>b; flock 9; bash -c '{work}; sleep 1000' & echo $!; wait"),
    );
    let pid: u32 = script.line().parse().unwrap();
    script.kill();
    becomes_held_by(&lab, "done", pid);
    free(&lab, "b", "removed by the child");
    kill(pid);
}

fn others_may_not() {
    let lab = Lab::new(&[]);
    let mut holder = lab.spawn_as(
        NOBODY,
        "bash",
        "exec 9>b; flock 9; echo note >&9; echo have; read x",
    );
    holder.expect("have");
    for uid in [0, NOBODY, 1234] {
        let mut python = lab.python_as(uid);
        python.ok("fd = os.open('b', os.O_RDWR)");
        python.refused("os.utime('b')", "EBUSY");
        python.refused("os.truncate('b', 0)", "EBUSY");
        python.refused("os.write(fd, b'x')", "EBUSY");
        python.refused("os.ftruncate(fd, 0)", "EBUSY");
        python.refused("os.rename('b', 'c')", "EPERM");
        python.refused("os.link('b', 'c')", "EPERM");
        python.refused("os.open('b', os.O_CREAT|os.O_EXCL)", "EEXIST");
        python.refused("os.mkdir('b')", "EEXIST");
        python.refused("os.open('b/x', os.O_CREAT|os.O_RDWR)", "ENOTDIR");
        python.ok("touch('t')");
        python.refused("os.rename('t', 'b')", "EBUSY");
        python.ok("os.unlink('t')");
        let mut shell = lab.shell_as(uid);
        shell.refused("touch b", "EBUSY");
        shell.refused("busybox touch b", "EBUSY");
        shell.refused("echo x >b", "EBUSY");
        shell.refused("cp -f /etc/passwd b", "EBUSY");
        // Opening is no taking; README, "What commands do".
        shell.ok(": >b && : >>b && exec 9>b");
        if uid == 1234 {
            lab.shell_as(uid).refused("rm -f b", "EPERM");
        }
        assert_eq!(lab.sh("sh", "cat b").ok().stdout, "note\n");
        held_by(&lab, "b", holder.pid(), "others have tried");
    }
    assert_eq!(lab.boards(), ["b"]);
}

fn its_user_may_remove_it() {
    let lab = Lab::new(&[]);
    for uid in [NOBODY, 0] {
        let mut holder = lab.spawn_as(
            NOBODY,
            "bash",
            "exec 9>b; flock 9; echo have; read x; flock -n 9; echo $?; read x",
        );
        holder.expect("have");
        // Who had nothing to do with it before; not to take it at once.
        let mut shell = lab.shell_as(uid);
        for (take, errno) in [
            ("mv -f x b", "EBUSY"),
            ("ln -f x b", "EBUSY"),
            ("cp --remove-destination x b", "EPERM"),
        ] {
            shell.ok("touch x");
            shell.refused(take, errno);
            held_by(&lab, "b", holder.pid(), take);
        }
        lab.sh_as(uid, "sh", "rm b").ok();
        free(&lab, "b", "removed");
        // It is told by nothing; once it locks again it has the board again.
        holder.say("on");
        holder.expect("0");
        held_by(&lab, "b", holder.pid(), "locked again");
        holder.kill();
        shell.ok("rm -f x");
        becomes_free(&lab, "b");
    }
}

fn with_release_holder_its_side_alone_removes_it() {
    let lab = Lab::new(&["-o", "release=holder"]);
    let mut holder = lab.spawn_as(
        NOBODY,
        "bash",
        "exec 9>b; flock 9; echo have; read x; sh -c 'rm b; :'; echo $?; read x",
    );
    holder.expect("have");
    for uid in [0, NOBODY, 1234] {
        lab.shell_as(uid).refused("rm -f b", "EPERM");
    }
    held_by(&lab, "b", holder.pid(), "nobody else removed it");
    holder.say("on");
    holder.expect("0");
    free(&lab, "b", "it did");
}

fn a_locked_board_has_one_name() {
    let lab = Lab::new(&[]);
    let mut me = lab.python();
    me.ok("fd = os.open('b', os.O_CREAT|os.O_RDWR)");
    me.ok("os.link('b', 'c'); os.unlink('c')");
    me.ok(FLOCK);
    me.refused("os.link('b', 'c')", "EPERM");
    me.ok("touch('c')");
    me.refused("os.link('b', 'c')", "EEXIST");
    me.ok("os.unlink('c'); os.rename('b', 'c')");
    assert_eq!(lab.boards(), ["c"]);
    held_by(&lab, "c", me.pid(), "renamed");
    // Two names that were made before are both locked, and end together.
    me.ok(UNLOCK);
    me.ok("os.close(fd); fd = os.open('b', os.O_CREAT|os.O_RDWR); os.link('b', 'c')");
    me.ok(FLOCK);
    assert_eq!(lab.boards(), ["b", "c"]);
    let mut waiting = lab.python();
    waiting.ok("fd = os.open('c', os.O_RDWR)");
    waiting.begin(LOCKF);
    line_up(&lab, "b", &[waiting.pid()]);
    line_up(&lab, "c", &[waiting.pid()]);
    me.ok("os.unlink('b')");
    line_up(&lab, "c", &[waiting.pid()]);
    me.ok(UNLOCK);
    waiting.done(LOCKF);
    assert_eq!(lab.boards(), ["c"]);
    waiting.ok(CLOSE);
    assert_eq!(lab.boards(), [""; 0]);
}

const SHELLS: [&str; 4] = ["bash", "dash", "zsh", "busybox sh"];

fn a_loser_does_not_remove_what_another_has_locked() {
    let lab = Lab::new(&[]);
    let mut winner = lab.shell();
    winner.ok("exec 9>b; flock 9");
    let mut tried: Vec<Running> = Vec::new();
    for shell in SHELLS {
        for lose in [
            "exec 9>b; flock -n 9 || exit 1",
            "exec 9>b; flock -w 1 9 || exit 1",
            "exec 9<b; flock -n -s 9 || exit 1",
            "(flock -n 9 || exit 1; echo in) 9>b || exit 1",
            "flock -n b true || exit 1",
            "flock -w 1 b sh -c 'echo in' || exit 1",
            "timeout $T flock b true || exit 1",
            "exec 9>b; timeout $T flock 9 || exit 1",
            "exec 9>b; touch b || exit 1",
            "echo x >b || exit 1",
        ] {
            // Long enough for it to have begun to wait.
            let script = format!("T=3; trap 'rm -f b; exit 9' EXIT; {lose}; echo took it");
            tried.push(lab.spawn(shell, &script));
            // Not more at a time than the machine likes.
            if tried.len() == 10 {
                for script in tried.drain(..) {
                    let output = script.wait(PATIENCE);
                    let what = format!("{shell}: {lose}: {output}\n{}", lab.log().join("\n"));
                    assert_eq!(output.stdout, "", "{what}");
                    assert!(output.stderr.contains("Operation not permitted"), "{what}");
                }
            }
        }
        held_by(&lab, "b", winner.pid(), shell);
    }
    // One that is interrupted while it waits.
    for shell in SHELLS {
        let script = "trap 'rm -f b; exit 9' EXIT INT TERM; exec 9>b; flock 9; echo took it";
        let mut script = lab.spawn(shell, script);
        eventually("it waits", PATIENCE, || lab.status("b")["waiters"] == "1");
        let flock = only_child(script.pid());
        script.signal(Signal::INT);
        let pid = Pid::from_raw(flock.cast_signed()).unwrap();
        kill_process(pid, Signal::INT).unwrap();
        assert!(script.ended(PATIENCE).is_some());
        assert_eq!(script.said(), 0, "{shell}");
        held_by(&lab, "b", winner.pid(), shell);
    }
    // One that had nothing to do with it before is the user's own hand.
    lab.sh("sh", "rm b").ok();
}

fn a_program_that_lost_does_not_remove_it() {
    let lab = Lab::new(&[]);
    let mut winner = lab.python();
    winner.ok("fd = os.open('b', os.O_CREAT|os.O_RDWR)");
    winner.ok(FLOCK);
    for lose in [
        "fcntl.flock(fd, fcntl.LOCK_EX|fcntl.LOCK_NB)",
        "fcntl.lockf(fd, fcntl.LOCK_SH|fcntl.LOCK_NB)",
        "os.utime('b')",
        "os.write(fd, b'x')",
    ] {
        let mut loser = lab.python();
        loser.ok(LOOK);
        loser.run(lose);
        loser.ok(CLOSE);
        loser.refused("os.unlink('b')", "EPERM");
        loser.refused(
            "subprocess.run(['rm', 'b'], stderr=-3).returncode and os.unlink('b')",
            "EPERM",
        );
        held_by(&lab, "b", winner.pid(), lose);
    }
    // A signal that ends its wait is a defeat, too.
    let mut loser = lab.python();
    loser.ok(LOOK);
    loser.ok("up = lambda *_: (_ for _ in ()).throw(InterruptedError(errno.EINTR, ''))");
    loser.ok("signal.signal(signal.SIGUSR1, up) and None");
    loser.begin(FLOCK);
    line_up(&lab, "b", &[loser.pid()]);
    loser.signal(Signal::USR1);
    assert_eq!(loser.reply().outcome, "EINTR");
    loser.ok(CLOSE);
    loser.refused("os.unlink('b')", "EPERM");
    // In another hold it may.
    winner.ok("os.close(fd); touch('b')");
    loser.ok("os.unlink('b')");
}

fn who_lost_before_removes_what_it_has_won() {
    let lab = Lab::new(&["-o", "release=holder"]);
    for shell in ["bash", "dash"] {
        let mut winner = lab.shell();
        winner.ok("exec 9>b; flock 9");
        let mut script = lab.spawn(
            shell,
            "trap 'rm b' EXIT; exec 9>b; flock -n 9 && exit 1; echo lost; flock 9; echo won; read x",
        );
        script.expect("lost");
        eventually("it waits", PATIENCE, || lab.status("b")["waiters"] == "1");
        winner.ok("exec 9>&-");
        script.expect("won");
        script.say("on");
        script.wait(PATIENCE).ok();
        free(&lab, "b", shell);
    }
}
