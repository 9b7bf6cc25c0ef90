//! "Waiting": first come, first served, over claims and locks alike, and a
//! board that comes free goes to the first who waits.

use libtest_mimic::Trial;

use crate::client::Client;
use crate::lab::{Lab, NOBODY};
use crate::process::{PATIENCE, Running, eventually};
use crate::shown::{becomes_free, held_by};
use crate::trial::ROOT;
use crate::waiting::{
    CLOSE, FLOCK, LOCKF, LOCKF_SHARE, LOOK, OFD, SHARE, UNLOCK, inode, line_up, pids, queue,
    waiters,
};

pub fn tests() -> Vec<Trial> {
    trials![
        first_come_first_served("python3");
        the_status_names_who_waits("python3", "flock", ROOT);
        those_who_share_go_together("python3");
        who_shares_does_not_overtake_who_waits("python3");
        who_only_tries_does_not_stand_in_line("python3", "flock");
        a_freed_board_goes_to_who_waits_before_any_touch("python3", ROOT);
        a_dead_holders_board_goes_to_who_waits_whatever_it_was("python3");
        an_expired_board_goes_to_who_waits("python3");
        a_rename_takes_locks_and_waiters_along("python3");
        a_claim_that_is_renamed_takes_its_waiters_along("python3");
        who_removes_a_locked_board_gives_it_to_who_waits("python3");
        a_board_that_is_replaced_keeps_its_waiters("python3");
        what_a_holder_runs_locks_before_others("python3", "flock", "pkill");
        a_lock_that_outlives_its_claim_comes_before_those_who_wait("python3", "flock");
        a_claim_that_passes_to_its_shell_keeps_others_waiting("python3");
        locks_on_old_files_of_a_board_wait_in_the_same_line("python3");
        boards_in_directories_have_their_own_lines("python3");
        shells_are_served_in_order("flock");
    ]
}

/// Ways to hold `b` so that all others wait, and to give it back.
const HOLDS: [(&str, &str); 5] = [
    ("touch('b')", "os.unlink('b')"),
    (
        "fd = os.open('b', os.O_CREAT|os.O_RDWR); fcntl.flock(fd, fcntl.LOCK_EX)",
        UNLOCK,
    ),
    (
        "fd = os.open('b', os.O_CREAT|os.O_RDWR); fcntl.flock(fd, fcntl.LOCK_EX)",
        CLOSE,
    ),
    (
        "fd = os.open('b', os.O_CREAT|os.O_RDWR); fcntl.lockf(fd, fcntl.LOCK_EX)",
        UNLOCK,
    ),
    (
        "fd = os.open('b', os.O_CREAT|os.O_RDWR); fcntl.lockf(fd, fcntl.LOCK_EX)",
        "os.close(os.open('b', os.O_RDONLY))",
    ),
];

fn first_come_first_served() {
    let lab = Lab::new(&[]);
    for (take, give) in HOLDS {
        let mut holder = lab.python();
        holder.ok(take);
        let number = inode(&lab, "b");
        let mut waiting = waiters(&lab, &[FLOCK, LOCKF, OFD, SHARE, FLOCK, LOCKF_SHARE]);
        holder.ok(give);
        while !waiting.is_empty() {
            let mut next = waiting.remove(0);
            next.done(take);
            let left = pids(&waiting);
            line_up(&lab, "b", &left);
            held_by(&lab, "b", next.pid(), take);
            assert_eq!(inode(&lab, "b"), number, "{take}");
            assert_eq!(next.ok("os.fstat(fd).st_ino"), number.to_string());
            // Who comes now is the last.
            let mut late = lab.python();
            late.ok(LOOK);
            late.begin(FLOCK);
            line_up(&lab, "b", &[left.as_slice(), &[late.pid()]].concat());
            late.kill();
            line_up(&lab, "b", &left);
            next.ok(CLOSE);
        }
        assert_eq!(lab.boards(), [""; 0], "{take}");
    }
}

fn the_status_names_who_waits() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    holder.ok("touch('b')");
    assert_eq!(lab.status("b")["waiters"], "0");
    let mut one = lab.python_as(NOBODY);
    one.ok(LOOK);
    one.begin(LOCKF_SHARE);
    line_up(&lab, "b", &[one.pid()]);
    let two = lab.spawn("bash", "exec flock b true");
    line_up(&lab, "b", &[one.pid(), two.pid()]);
    let mut three = lab.spawn_as(1234, "bash", "echo $$; exec flock -s -w 600 b echo got it");
    three.expect(&three.pid().to_string());
    line_up(&lab, "b", &[one.pid(), two.pid(), three.pid()]);
    let lines = queue(&lab, "b");
    let told = |at: usize| {
        let line = &lines[at];
        let words = (line.user.as_str(), line.kind.as_str());
        (words, line.command.as_str())
    };
    assert_eq!(told(0).0, ("nobody", "shared"));
    assert!(told(0).1.contains("python"), "{lines:?}");
    assert_eq!(told(1), (("root", "exclusive"), "flock b true"));
    assert_eq!(
        told(2),
        (("1234", "shared"), "flock -s -w 600 b echo got it")
    );
    for line in &lines {
        assert_eq!(line.since.len(), "2026-11-23T18:58:57Z".len(), "{line:?}");
        assert!(line.since.ends_with('Z'), "{line:?}");
    }
    assert!(lines.is_sorted_by(|one, two| one.since <= two.since));
    // Behind all other keys, and of a claim no lock.
    let text = std::fs::read_to_string(lab.path("b")).unwrap();
    let keys: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    let behind = ["note", "lock", "waiter", "waiter", "waiter"];
    assert!(keys.ends_with(&behind), "{text}");
    assert!(text.contains("\nwaiters 3\nnote -\nlock -\nwaiter 1 nobody "));
    // In the log, too.
    for (pid, place) in [(one.pid(), 1), (two.pid(), 2), (three.pid(), 3)] {
        lab.wait_for_log(|line| {
            line.contains("b: waited for by ")
                && line.contains(&format!("pid {pid} "))
                && line.ends_with(&format!("place {place}"))
        });
    }
    holder.ok("os.unlink('b')");
    one.done(LOCKF_SHARE);
    let text = std::fs::read_to_string(lab.path("b")).unwrap();
    assert!(text.contains("\nlock shared\nwaiter 1 root "), "{text}");
    assert_eq!(lab.status("b")["holder"], "nobody");
}

fn those_who_share_go_together() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    holder.ok("touch('b')");
    let ways = [SHARE, LOCKF_SHARE, SHARE, FLOCK, SHARE, SHARE];
    let mut waiting = waiters(&lab, &ways);
    holder.ok("os.unlink('b')");
    let mut rest = waiting.split_off(3);
    for sharer in &mut waiting {
        sharer.done("share");
    }
    line_up(&lab, "b", &pids(&rest));
    assert_eq!(lab.status("b")["lock"], "shared 3");
    // The last of them lets the next one in.
    for (left, sharer) in (0..3).rev().zip(&mut waiting) {
        sharer.ok(UNLOCK);
        if left > 0 {
            assert!(lab.status("b")["lock"].starts_with("shared"));
            line_up(&lab, "b", &pids(&rest));
        }
    }
    let mut alone = rest.remove(0);
    alone.done(FLOCK);
    assert_eq!(lab.status("b")["lock"], "exclusive");
    line_up(&lab, "b", &pids(&rest));
    alone.kill();
    for sharer in &mut rest {
        sharer.done("share");
    }
    assert_eq!(lab.status("b")["lock"], "shared 2");
    // Who shares and wants it alone waits for the others: flock(2) gives up what
    // it had, which is no line to stand in.
    let (last, first) = rest.split_at_mut(1);
    let (one, two) = (&mut last[0], &mut first[0]);
    one.begin(FLOCK);
    line_up(&lab, "b", &[one.pid()]);
    assert_eq!(lab.status("b")["lock"], "shared");
    two.ok(CLOSE);
    one.done(FLOCK);
    assert_eq!(lab.status("b")["lock"], "exclusive");
    one.ok(SHARE);
    assert_eq!(lab.status("b")["lock"], "shared");
}

fn who_shares_does_not_overtake_who_waits() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    holder.ok("fd = os.open('b', os.O_CREAT|os.O_RDWR); fcntl.flock(fd, fcntl.LOCK_SH)");
    let mut waiting = waiters(&lab, &[FLOCK, SHARE, LOCKF_SHARE]);
    assert_eq!(lab.status("b")["lock"], "shared");
    // The one in their way goes, and they need wait no longer.
    waiting[0].kill();
    waiting.remove(0);
    for sharer in &mut waiting {
        sharer.done("share");
    }
    line_up(&lab, "b", &[]);
    assert_eq!(lab.status("b")["lock"], "shared 3");
}

fn who_only_tries_does_not_stand_in_line() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    holder.ok("fd = os.open('b', os.O_CREAT|os.O_RDWR); fcntl.flock(fd, fcntl.LOCK_SH)");
    let mut waiting = waiters(&lab, &[FLOCK]);
    let mut other = lab.shell();
    other.ok("flock -n -s b true");
    other.ok("! flock -n b true");
    line_up(&lab, "b", &pids(&waiting));
    holder.ok(CLOSE);
    waiting[0].done(FLOCK);
    other.ok("! flock -n -s b true");
    // Of a claim nobody gets anything by trying.
    waiting[0].ok(CLOSE);
    holder.ok("touch('b')");
    other.ok("! flock -n -s b true");
}

/// Tries to take `b` by touch, as fast as it can; tells when it has tried in vain,
/// and when it has it.
const TOUCHES: &str = "
import os, sys
tries = 0
while True:
    tries += 1
    if tries == 3:
        print('begins', flush=True)
    try:
        try:
            os.close(os.open('b', os.O_WRONLY|os.O_CREAT|os.O_NOCTTY|os.O_NONBLOCK, 0o666))
        finally:
            os.utime('b')
        break
    except OSError as error:
        pass
    try:
        os.close(os.open('b', os.O_WRONLY|os.O_CREAT|os.O_EXCL))
        break
    except OSError as error:
        pass
print('took it', tries > 2, flush=True)
sys.stdin.readline()
";

/// Looks for the name of `b`, as fast as it can; when told to stop, it tells
/// whether it looked and how often it was not there.
const LOOKS: &str = "
import os, sys, threading
looks = gaps = 0
def look():
    global looks, gaps
    while True:
        looks += 1
        try:
            os.lstat('b')
        except FileNotFoundError:
            gaps += 1
threading.Thread(target=look, daemon=True).start()
print('begins', flush=True)
sys.stdin.readline()
print('gaps', gaps, looks > 2, flush=True)
";

fn tries(lab: &Lab, script: &str) -> Running {
    let mut running = lab.spawn(crate::client::python(), script);
    running.expect("begins");
    running
}

/// Lets everybody who waits have `b` once it has been freed, and then nobody:
/// those who try to touch it all the while get it then, and not before.
#[track_caller]
fn handed_over(lab: &Lab, free: impl FnOnce(), mut waiting: Vec<Client>, what: &str) {
    let number = inode(lab, "b");
    let mut looks = tries(lab, LOOKS);
    let mut hogs = [tries(lab, TOUCHES), tries(lab, TOUCHES)];
    free();
    let mut left = waiting.len();
    for next in &mut waiting {
        next.done(what);
        held_by(lab, "b", next.pid(), what);
        assert_eq!(inode(lab, "b"), number, "{what}");
        assert_eq!(next.ok("os.stat('b').st_ino"), number.to_string());
        next.ok("time.sleep(0.02)");
        assert_eq!(next.ok("os.fstat(fd).st_nlink"), "1", "{what}");
        left -= 1;
        if left == 0 {
            looks.say("enough");
            looks.expect("gaps 0 True");
        }
        assert_eq!(hogs.each_ref().map(Running::said), [1, 1], "{what}");
        next.ok(CLOSE);
    }
    drop(waiting);
    // One of them at a time, both in the end.
    let winner = || hogs.iter().position(|hog| hog.said() > 1);
    eventually("one has taken it", PATIENCE, || winner().is_some());
    let winner = winner().unwrap();
    hogs[winner].expect("took it True");
    held_by(lab, "b", hogs[winner].pid(), what);
    assert_eq!(hogs[1 - winner].said(), 1, "{what}");
    hogs[winner].kill();
    hogs[1 - winner].expect("took it True");
    hogs[1 - winner].kill();
    becomes_free(lab, "b");
}

fn a_freed_board_goes_to_who_waits_before_any_touch() {
    let lab = Lab::new(&[]);
    for (take, give) in HOLDS {
        let mut holder = lab.python();
        holder.ok(take);
        let waiting = waiters(&lab, &[FLOCK, LOCKF]);
        handed_over(
            &lab,
            || {
                holder.ok(give);
            },
            waiting,
            &format!("{take}; {give}"),
        );
    }
    // By another: root, of what a user has.
    for take in [HOLDS[0].0, HOLDS[1].0] {
        let mut holder = lab.python_as(NOBODY);
        holder.ok(take);
        let waiting = waiters(&lab, &[FLOCK, LOCKF]);
        let rm = || {
            lab.sh("sh", "rm b").ok();
        };
        handed_over(&lab, rm, waiting, "rm by root");
    }
}

fn a_dead_holders_board_goes_to_who_waits_whatever_it_was() {
    let lab = Lab::new(&[]);
    for (take, _) in HOLDS {
        let mut holder = lab.python();
        holder.ok(take);
        let waiting = waiters(&lab, &[LOCKF, FLOCK]);
        handed_over(&lab, || holder.kill(), waiting, take);
    }
    // A lock is all of theirs who have the open file; it goes with the last.
    let mut holder = lab.shell();
    holder.ok("exec 9<>b; flock 9; sleep 1000 & echo $! >&2");
    let child = crate::shown::only_child(holder.pid());
    let waiting = waiters(&lab, &[LOCKF, FLOCK]);
    holder.kill();
    line_up(&lab, "b", &pids(&waiting));
    let last = || {
        let pid = rustix::process::Pid::from_raw(child.cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    };
    handed_over(&lab, last, waiting, "the last of those who had it open");
}

fn an_expired_board_goes_to_who_waits() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    holder.ok("touch('b'); file = open('b', 'w')");
    let waiting = waiters(&lab, &[FLOCK, LOCKF]);
    let detach = || {
        holder.ok("file.write('%d 0' % (time.time() + 2)); file.close()");
    };
    handed_over(&lab, detach, waiting, "detached, and expired");
    // A claim whose holder lives, where it is to end by time all the same.
    let lab = Lab::new(&["-o", "expire=hard"]);
    let mut holder = lab.python();
    holder.ok("touch('b')");
    let waiting = waiters(&lab, &[FLOCK, LOCKF]);
    let expires = || {
        holder.ok("os.setxattr('b', 'user.boardlock.expires', b'+1s')");
    };
    handed_over(&lab, expires, waiting, "expired");
    holder.ok("0");
}

fn a_rename_takes_locks_and_waiters_along() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    holder.ok("fd = os.open('b', os.O_CREAT|os.O_RDWR); fcntl.flock(fd, fcntl.LOCK_EX)");
    let number = inode(&lab, "b");
    let mut waiting = waiters(&lab, &[FLOCK, LOCKF]);
    holder.ok("os.rename('b', 'c')");
    assert_eq!(lab.boards(), ["c"]);
    assert_eq!(inode(&lab, "c"), number);
    line_up(&lab, "c", &pids(&waiting));
    // The old name is free, and what is made of it another board.
    let mut other = lab.python();
    other.ok("touch('b')");
    held_by(&lab, "b", other.pid(), "made anew");
    assert_eq!(queue(&lab, "b"), []);
    assert_ne!(inode(&lab, "b"), number);
    other.ok("os.unlink('b')");
    line_up(&lab, "c", &pids(&waiting));
    holder.ok(UNLOCK);
    for mut next in waiting.drain(..) {
        next.done("lock c");
        held_by(&lab, "c", next.pid(), "c");
        assert_eq!(inode(&lab, "c"), number);
        next.ok("os.rename('c', 'd'); os.rename('d', 'c')");
    }
    assert_eq!(lab.boards(), [""; 0]);
}

fn a_claim_that_is_renamed_takes_its_waiters_along() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    holder.ok("touch('b')");
    let number = inode(&lab, "b");
    let mut waiting = waiters(&lab, &[FLOCK, FLOCK]);
    holder.ok("os.rename('b', 'c')");
    line_up(&lab, "c", &pids(&waiting));
    assert_eq!(inode(&lab, "c"), number);
    // A second name is another board, which they do not wait for: they get their own.
    holder.ok("os.link('c', 'd'); os.unlink('c')");
    waiting[0].done("lock c");
    line_up(&lab, "c", &[waiting[1].pid()]);
    held_by(&lab, "d", holder.pid(), "linked");
    assert_eq!(inode(&lab, "d"), number);
    holder.ok("os.unlink('d')");
    assert_eq!(lab.boards(), ["c"]);
    waiting[0].ok(CLOSE);
    waiting[1].done("lock c");
}

fn a_board_that_is_replaced_keeps_its_waiters() {
    let lab = Lab::new(&[]);
    for (take, _) in HOLDS {
        let mut holder = lab.python();
        holder.ok(take);
        let mut waiting = waiters(&lab, &[FLOCK, LOCKF]);
        // rename(2) over it: a board of one's own, twice.
        for _ in 0..2 {
            holder.ok("touch('t'); os.rename('t', 'b')");
            line_up(&lab, "b", &pids(&waiting));
        }
        let mut late = lab.python();
        late.ok(LOOK);
        late.begin(FLOCK);
        waiting.push(late);
        line_up(&lab, "b", &pids(&waiting));
        holder.ok("os.unlink('b')");
        while !waiting.is_empty() {
            let mut next = waiting.remove(0);
            next.done(take);
            held_by(&lab, "b", next.pid(), take);
            assert_eq!(next.ok("os.fstat(fd).st_nlink"), "1");
            assert_eq!(next.ok("os.fstat(fd).st_ino"), inode(&lab, "b").to_string());
            line_up(&lab, "b", &pids(&waiting));
            next.ok(CLOSE);
        }
        assert_eq!(lab.boards(), [""; 0], "{take}");
    }
}

fn who_removes_a_locked_board_gives_it_to_who_waits() {
    let lab = Lab::new(&[]);
    for by_holder in [true, false] {
        let mut holder = lab.python();
        holder.ok("fd = os.open('b', os.O_CREAT|os.O_RDWR); fcntl.flock(fd, fcntl.LOCK_EX)");
        let number = inode(&lab, "b");
        let mut waiting = waiters(&lab, &[FLOCK, LOCKF]);
        if by_holder {
            holder.ok("os.unlink('b')");
        } else {
            lab.sh("sh", "rm b").ok();
        }
        waiting[0].done("lock");
        held_by(&lab, "b", waiting[0].pid(), "removed");
        assert_eq!(inode(&lab, "b"), number);
        // What its owner does with the lock that it believes to have harms nobody.
        line_up(&lab, "b", &[waiting[1].pid()]);
        holder.refused("os.write(fd, b'x')", "EBUSY");
        holder.ok("fcntl.flock(fd, fcntl.LOCK_UN)");
        held_by(&lab, "b", waiting[0].pid(), "unlocked by who had it");
        holder.refused("fcntl.flock(fd, fcntl.LOCK_EX|fcntl.LOCK_NB)", "EAGAIN");
        holder.ok(CLOSE);
        held_by(&lab, "b", waiting[0].pid(), "closed by who had it");
        line_up(&lab, "b", &[waiting[1].pid()]);
        // The next in line is not given what is removed under a shared lock of two.
        waiting[0].ok(CLOSE);
        waiting[1].done("lock");
        waiting[1].ok(CLOSE);
        assert_eq!(lab.boards(), [""; 0]);
    }
    // All who share have lost it.
    let mut sharers: Vec<Client> = (0..3).map(|_| lab.python()).collect();
    for sharer in &mut sharers {
        sharer.ok("fd = os.open('b', os.O_CREAT|os.O_RDWR); fcntl.flock(fd, fcntl.LOCK_SH)");
    }
    let mut waiting = waiters(&lab, &[FLOCK]);
    sharers[1].ok("os.unlink('b')");
    waiting[0].done("lock");
    assert_eq!(lab.status("b")["lock"], "exclusive");
}

fn what_a_holder_runs_locks_before_others() {
    let lab = Lab::new(&[]);
    let mut holder = lab.shell();
    holder.ok("touch b");
    let mut waiting = waiters(&lab, &[FLOCK]);
    let other = lab.program("flock", &["b", "true"]);
    line_up(&lab, "b", &[waiting[0].pid(), other.pid()]);
    holder.ok("timeout 10 flock b true");
    holder.ok("timeout 10 flock -n b true");
    held_by(&lab, "b", holder.pid(), "its claim stays");
    line_up(&lab, "b", &[waiting[0].pid(), other.pid()]);
    // Two of its own exclude each other, and wait in the same line.
    holder.ok("flock b sleep 1000 & child=$!");
    eventually("it is locked", PATIENCE, || {
        lab.status("b")["lock"] == "exclusive"
    });
    holder.ok("! flock -n b true");
    holder.ok("flock b sh -c 'echo in >&2' & second=$!");
    eventually("it waits, too", PATIENCE, || queue(&lab, "b").len() == 3);
    let second = queue(&lab, "b")[2].pid;
    line_up(&lab, "b", &[waiting[0].pid(), other.pid(), second]);
    holder.ok("pkill -P $child; wait $child; wait $second");
    line_up(&lab, "b", &[waiting[0].pid(), other.pid()]);
    held_by(&lab, "b", holder.pid(), "its claim stays");
    holder.ok("rm b");
    waiting[0].done("lock");
}

fn a_lock_that_outlives_its_claim_comes_before_those_who_wait() {
    let lab = Lab::new(&[]);
    let mut holder = lab.shell();
    holder.ok("touch b");
    let number = inode(&lab, "b");
    let mut waiting = waiters(&lab, &[FLOCK, LOCKF]);
    // With stdin and stderr of its own: nothing that ends with its script.
    holder.ok("flock b sleep 1000 2>/dev/null & ");
    eventually("it is locked", PATIENCE, || {
        lab.status("b")["lock"] == "exclusive"
    });
    let child = crate::shown::only_child(holder.pid());
    holder.kill();
    eventually("its lock holds it", PATIENCE, || {
        lab.status("b")["via"] == "flock(2)" && lab.status("b")["pid"] == child.to_string()
    });
    line_up(&lab, "b", &pids(&waiting));
    assert_eq!(inode(&lab, "b"), number);
    let sleep = crate::shown::only_child(child);
    for pid in [child, sleep] {
        let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
    for next in &mut waiting {
        next.done("lock");
        assert_eq!(inode(&lab, "b"), number);
        next.ok(CLOSE);
    }
}

fn a_claim_that_passes_to_its_shell_keeps_others_waiting() {
    let lab = Lab::new(&[]);
    let mut holder = lab.spawn(
        "bash",
        "(touch b; echo in; read x); echo out; read x; (rm b); echo free; read x",
    );
    holder.expect("in");
    let mut waiting = waiters(&lab, &[FLOCK]);
    let number = inode(&lab, "b");
    holder.say("on");
    holder.expect("out");
    held_by(&lab, "b", holder.pid(), "passed on");
    line_up(&lab, "b", &pids(&waiting));
    holder.say("on");
    waiting[0].done("lock");
    holder.expect("free");
    held_by(&lab, "b", waiting[0].pid(), "freed");
    assert_eq!(inode(&lab, "b"), number);
}

fn locks_on_old_files_of_a_board_wait_in_the_same_line() {
    let lab = Lab::new(&[]);
    let mut old = lab.python();
    old.ok("fd = os.open('b', os.O_CREAT|os.O_RDWR); fcntl.flock(fd, fcntl.LOCK_EX)");
    let first = inode(&lab, "b");
    old.ok("os.unlink('b')");
    // The name is another file's from now on.
    let mut holder = lab.python();
    holder.ok("touch('t'); os.rename('t', 'b')");
    let second = inode(&lab, "b");
    assert_ne!(first, second);
    let mut early = waiters(&lab, &[FLOCK]);
    old.begin(FLOCK);
    line_up(&lab, "b", &[early[0].pid(), old.pid()]);
    let mut late = lab.python();
    late.ok(LOOK);
    late.begin(LOCKF);
    let three = [early[0].pid(), old.pid(), late.pid()];
    line_up(&lab, "b", &three);
    holder.ok("os.unlink('b')");
    early[0].done("lock");
    assert_eq!(inode(&lab, "b"), second);
    line_up(&lab, "b", &three[1..]);
    early[0].ok(CLOSE);
    // The old file has its name again.
    old.done("lock");
    held_by(&lab, "b", old.pid(), "the old file");
    assert_eq!(inode(&lab, "b"), first);
    assert_eq!(old.ok("os.fstat(fd).st_nlink"), "1");
    assert_eq!(late.pid(), queue(&lab, "b")[0].pid);
    old.ok(CLOSE);
    late.done("lock");
    held_by(&lab, "b", late.pid(), "the second file");
    assert_eq!(inode(&lab, "b"), second);
    late.ok(CLOSE);
    assert_eq!(lab.boards(), [""; 0]);
    // One who leaves while another has the name leaves the line, too.
    old.ok("fd = os.open('b', os.O_CREAT|os.O_RDWR); fcntl.flock(fd, fcntl.LOCK_EX)");
    old.ok("os.unlink('b')");
    holder.ok("touch('t'); os.rename('t', 'b')");
    old.begin(FLOCK);
    line_up(&lab, "b", &[old.pid()]);
    old.kill();
    line_up(&lab, "b", &[]);
    held_by(&lab, "b", holder.pid(), "nobody waits any more");
}

fn boards_in_directories_have_their_own_lines() {
    let lab = Lab::new(&[]);
    let mut holder = lab.shell();
    holder.ok("mkdir rack && touch rack/b b && cd rack");
    let mut inner = lab.python();
    inner.ok("fd = os.open('rack/b', os.O_RDONLY)");
    inner.begin("fcntl.flock(fd, fcntl.LOCK_SH)");
    line_up(&lab, "rack/b", &[inner.pid()]);
    let mut outer = waiters(&lab, &[FLOCK]);
    line_up(&lab, "rack/b", &[inner.pid()]);
    holder.ok("rm ../b");
    outer[0].done("lock");
    line_up(&lab, "rack/b", &[inner.pid()]);
    // The directory is not the waiter's, but the board in it comes to it; it
    // stays for as long.
    holder.ok("rm b");
    inner.done("lock");
    held_by(&lab, "rack/b", inner.pid(), "in another's directory");
    holder.kill();
    assert_eq!(lab.boards(), ["b", "rack"]);
    inner.ok(CLOSE);
    becomes_free(&lab, "rack");
}

fn shells_are_served_in_order() {
    let lab = Lab::new(&[]);
    let mut holder = lab.spawn("bash", "exec 9>b; flock 9; echo have; read line");
    holder.expect("have");
    let ways = [
        "flock b sh -c 'echo got it'",
        "exec 9<b; flock 9; echo got it; flock -u 9",
        "exec 9>>b; flock -w 600 9; echo got it",
        "exec 9>b; flock 9; echo got it",
        "(flock 9; echo got it) 9>b",
        "flock -w 600 -F b sh -c 'echo got it'",
        "flock -o b -c 'echo got it'",
        "{ flock -x 9; echo got it; } 9<>b",
    ];
    let mut waiting: Vec<Running> = Vec::new();
    let line = tempfile::NamedTempFile::new().unwrap();
    let tell = |place: usize| format!("echo {place} >>{}", line.path().display());
    for (place, way) in ways.iter().enumerate() {
        let way = way.replace("echo got it", &tell(place));
        waiting.push(lab.spawn("bash", &way));
        eventually("it waits", PATIENCE, || queue(&lab, "b").len() == place + 1);
    }
    holder.say("go");
    for waiter in waiting {
        waiter.wait(PATIENCE).ok();
    }
    let order = std::fs::read_to_string(line.path()).unwrap();
    let wanted: Vec<String> = (0..ways.len()).map(|place| place.to_string()).collect();
    assert_eq!(order.lines().collect::<Vec<_>>(), wanted);
    assert_eq!(lab.boards(), [""; 0]);
}
