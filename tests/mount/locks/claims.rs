//! Claims and file locks together, and opens that wait until it is decided what
//! they find; on the mount alone.

use libtest_mimic::Trial;

use super::play::play_on_mount;

pub fn tests() -> Vec<Trial> {
    trials![
        an_open_waits_until_a_lock_is_tried("python3");
        an_open_that_may_not_wait_is_told_at_once("python3");
        an_open_that_waits_heeds_signals("python3");
        a_claim_covers_the_locks_of_its_side("python3");
        a_claim_and_its_file_lock_are_one_hold("python3");
    ]
}

fn an_open_waits_until_a_lock_is_tried() {
    play_on_mount(
        &["--open-wait", "60s"],
        "
        s: exec 9>board -> 0
        t: : >board -> blocked
        s: flock 9 -> 0
        t -> 0
        holder board -> $s
        s: exec 9>&-; exec 9>board -> 0
        t: (flock 9; echo mine) 9>board -> blocked
        s: flock 9 -> 0
        t -> blocked
        s: flock -u 9 -> 0
        t -> mine; 0
        s: exec 9>board -> 0
        t: exec 9>board; flock -n 9 -> blocked
        s: flock -n 9 -> 0
        t -> 1
        s: exec 9>&- -> 0
        t: flock -n 9 -> 0
        s: exec 9>board -> 0
        s: flock -n 9 -> 1
        t: exec 9>&- -> 0
        t: exec 9>board -> 0
        u: : >board -> blocked
        t: exec 9>&- -> 0
        u -> ~Device or resource busy
        t: rm board; exec 9>board -> 0
        u: : >board -> blocked
        kill t
        u -> 0
        holder board -> $u
        ",
    );
}

fn an_open_that_may_not_wait_is_told_at_once() {
    play_on_mount(
        &["--open-wait", "60s"],
        "
        s: exec 9>board -> 0
        a: os.open('board', os.O_WRONLY|os.O_NONBLOCK) -> EAGAIN
        a: os.open('board', os.O_RDWR|os.O_CREAT|os.O_NONBLOCK) -> EAGAIN
        a: fd = os.open('board', os.O_WRONLY|os.O_APPEND) -> ok
        a: flock(fd, LOCK_EX|LOCK_NB) -> EAGAIN
        t: cat board >/dev/null; flock -n board true -> 1
        t: flock board echo mine -> blocked
        s: exec 9>&- -> 0
        t -> blocked
        s: rm board -> 0
        t -> mine; 0
        ",
    );
}

fn an_open_that_waits_heeds_signals() {
    // The kernel begins a lock anew after a stop, but no open.
    play_on_mount(
        &["--open-wait", "60s"],
        "
        s: exec 9>board -> 0
        b: handle(signal.SIGALRM, alarmed); timer(0.1); os.open('board', os.O_WRONLY) -> Alarm
        b: timer(0.1); os.open('board', os.O_RDWR|os.O_CREAT|os.O_TRUNC) -> Alarm
        b: handle(signal.SIGALRM, nothing); timer(0.1, 0.1) -> ok
        b: libc.open(b'board', os.O_WRONLY); ctypes.get_errno() == errno.EINTR -> True
        b: timer(0) -> ok
        b: sh('exec tee board') -> blocked
        b! TERM
        b -> -15
        b: sh('exec tee board') -> blocked
        b! KILL
        b -> -9
        b: sh('exec tee board') -> blocked
        b! STOP
        b! CONT
        b -> tee: board: Interrupted system call; 1
        b: sh('exec tee board') -> blocked
        b/1: os.close(os.open('board', os.O_WRONLY)) -> blocked
        b/2: os.close(os.open('board', os.O_WRONLY)) -> blocked
        c: os.close(os.open('board', os.O_WRONLY)) -> blocked
        kill c
        s: flock 9 -> 0
        b/1 -> ok
        b/2 -> ok
        b -> 0
        holder board -> $s
        d: fd = os.open('board', os.O_WRONLY) -> ok
        s: exec 9>&- -> 0
        ls -> -
        ",
    );
}

fn a_claim_covers_the_locks_of_its_side() {
    play_on_mount(
        &[],
        "
        s: touch board -> 0
        s: flock board echo under -> under; 0
        s: flock -n board flock -n board echo no -> 1
        holder board -> $s
        t: flock -n board echo no -> 1
        t: flock board echo mine -> blocked
        s: exec 9<board; flock 9 -> 0
        s: rm board -> 0
        t -> mine; 0
        a: os.close(opened('w')) -> ok
        a: fd = opened(); lockf(fd, LOCK_EX|LOCK_NB) -> ok
        a: flock(fd, LOCK_EX|LOCK_NB) -> ok
        b: fd = opened('r'); flock(fd, LOCK_SH|LOCK_NB) -> EAGAIN
        b: lockf(fd, LOCK_SH|LOCK_NB) -> EAGAIN
        b: flock(fd, LOCK_SH) -> blocked
        a: flock(fd, LOCK_UN); lockf(fd, LOCK_UN) -> ok
        b -> blocked
        kill a
        b -> ok
        ",
    );
}

fn a_claim_and_its_file_lock_are_one_hold() {
    // What flock(1)'s scripts do, and the claim that their open makes.
    play_on_mount(
        &[],
        "
        s: exec 9>board -> 0
        holder board -> $s
        s: flock 9 -> 0
        holder board -> $s
        s: flock -u 9 -> 0
        ls -> -
        s: exec 9>&-; exec 9>board; flock -n 9 -> 0
        s: exec 9>&- -> 0
        ls -> -
        s: (flock -n 9 || exit 1; echo in) 9>board -> in; 0
        ls -> -
        s: flock board echo in -> in; 0
        ls -> -
        s: exec 9>board; exec 9>&- -> 0
        holder board -> $s
        t: flock -n board true -> 1
        s: rm board -> 0
        a: fd = opened(); lockf(fd, LOCK_EX); lockf(fd, LOCK_UN) -> ok
        ls -> -
        a: flock(fd, LOCK_SH) -> ok
        ls -> board
        holder board -> $a
        kill a
        ls -> -
        ",
    );
}
