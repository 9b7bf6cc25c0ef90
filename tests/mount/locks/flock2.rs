//! flock(2), call by call, and the order of those who wait.

use libtest_mimic::Trial;

use super::play::play;

pub fn tests() -> Vec<Trial> {
    trials![
        an_exclusive_flock_excludes("python3");
        a_flock_is_converted("python3");
        a_conversion_that_fails_loses_the_lock("python3");
        a_conversion_that_waits_lets_go_first("python3");
        a_flock_is_of_the_open_file("python3");
        a_flock_is_inherited("python3");
        a_flock_is_kept_over_exec("python3");
        the_death_of_all_frees("python3");
        waiters_are_served_in_order("python3");
        sharers_do_not_pass_a_waiter_on_the_mount("python3");
        who_has_it_does_not_wait_behind_those_who_wait("python3");
        a_lock_without_a_name_takes_it_back("python3");
    ]
}

fn an_exclusive_flock_excludes() {
    play(
        "
        a: fd = opened(); flock(fd, LOCK_EX) -> ok
        b: fd = opened(); flock(fd, LOCK_EX|LOCK_NB) -> EAGAIN
        b: flock(fd, LOCK_SH|LOCK_NB) -> EAGAIN
        b: flock(fd, LOCK_UN) -> ok
        a: flock(fd, LOCK_EX) -> ok
        a: flock(fd, LOCK_EX|LOCK_NB) -> ok
        b: flock(fd, LOCK_EX) -> blocked
        a: flock(fd, LOCK_UN) -> ok
        b -> ok
        a: flock(fd, LOCK_UN) -> ok
        a: flock(fd, LOCK_EX|LOCK_NB) -> EAGAIN
        a: flock(fd, LOCK_SH) -> blocked
        b: os.close(fd) -> ok
        a -> ok
        b: flock(fd, LOCK_EX) -> EBADF
        a: flock(fd, 0) -> EINVAL
        a: os.close(fd) -> ok
        ls -> board | -  # a free board has no file
        ",
    );
}

fn a_flock_is_converted() {
    play(
        "
        a: fd = opened(); flock(fd, LOCK_SH) -> ok
        a: flock(fd, LOCK_EX) -> ok
        b: fd = opened(); flock(fd, LOCK_SH|LOCK_NB) -> EAGAIN
        b: flock(fd, LOCK_SH) -> blocked
        a: flock(fd, LOCK_SH) -> ok
        b -> ok
        c: fd = opened('r'); flock(fd, LOCK_EX|LOCK_NB) -> EAGAIN
        c: flock(fd, LOCK_SH|LOCK_NB) -> ok
        c: flock(fd, LOCK_UN) -> ok
        a: flock(fd, LOCK_UN) -> ok
        b: flock(fd, LOCK_EX|LOCK_NB) -> ok
        c: flock(fd, LOCK_SH|LOCK_NB) -> EAGAIN
        ",
    );
}

fn a_conversion_that_fails_loses_the_lock() {
    // flock(2): "not guaranteed to be atomic: the existing lock is first removed".
    play(
        "
        a: fd = opened(); flock(fd, LOCK_SH) -> ok
        b: fd = opened(); flock(fd, LOCK_SH) -> ok
        a: flock(fd, LOCK_EX|LOCK_NB) -> EAGAIN
        b: flock(fd, LOCK_EX|LOCK_NB) -> ok
        a: flock(fd, LOCK_SH|LOCK_NB) -> EAGAIN
        b: flock(fd, LOCK_UN) -> ok
        a: flock(fd, LOCK_EX|LOCK_NB) -> ok
        ",
    );
}

fn a_conversion_that_waits_lets_go_first() {
    play(
        "
        a: fd = opened(); flock(fd, LOCK_SH) -> ok
        b: fd = opened(); flock(fd, LOCK_SH) -> ok
        c: fd = opened(); flock(fd, LOCK_SH) -> ok
        a: flock(fd, LOCK_EX) -> blocked
        b: flock(fd, LOCK_UN) -> ok
        a -> blocked
        c: flock(fd, LOCK_UN) -> ok
        a -> ok
        b: flock(fd, LOCK_SH|LOCK_NB) -> EAGAIN
        a: flock(fd, LOCK_UN) -> ok
        b: flock(fd, LOCK_SH|LOCK_NB) -> ok
        ",
    );
}

fn a_flock_is_of_the_open_file() {
    play(
        "
        a: fd = opened(); flock(fd, LOCK_EX) -> ok
        a: other = opened('r'); flock(other, LOCK_EX|LOCK_NB) -> EAGAIN
        a: flock(other, LOCK_SH|LOCK_NB) -> EAGAIN
        a: os.close(other) -> ok
        a: twin = os.dup(fd); flock(twin, LOCK_EX|LOCK_NB) -> ok
        a: os.close(fd) -> ok
        b: fd = opened(); flock(fd, LOCK_EX|LOCK_NB) -> EAGAIN
        a: flock(twin, LOCK_UN) -> ok
        b: flock(fd, LOCK_EX|LOCK_NB) -> ok
        b: flock(fd, LOCK_UN) -> ok
        a: fd = os.dup(twin); flock(twin, LOCK_EX) -> ok
        a: os.close(twin) -> ok
        b: flock(fd, LOCK_EX) -> blocked
        a: os.close(fd) -> ok
        b -> ok
        ",
    );
}

fn a_flock_is_inherited() {
    play(
        "
        a: fd = opened(); flock(fd, LOCK_EX) -> ok
        a: fork_idle() -> ok
        a: os.close(fd) -> ok
        b: fd = opened(); flock(fd, LOCK_EX|LOCK_NB) -> EAGAIN
        b: flock(fd, LOCK_EX) -> blocked
        a: kill_child() -> ok
        b -> ok
        b: in_child(lambda: flock(fd, LOCK_EX|LOCK_NB)) -> ok
        b: in_child(lambda: os.close(fd)) -> ok
        a: fd = opened(); flock(fd, LOCK_EX|LOCK_NB) -> EAGAIN
        b: in_child(lambda: flock(opened('r'), LOCK_EX|LOCK_NB)) -> EAGAIN
        b: in_child(lambda: flock(fd, LOCK_UN)) -> ok
        a: flock(fd, LOCK_EX|LOCK_NB) -> ok
        a: in_child(lambda: flock(fd, LOCK_SH)) -> ok
        b: flock(fd, LOCK_SH|LOCK_NB) -> ok
        ",
    );
}

fn a_flock_is_kept_over_exec() {
    play(
        "
        a: fd = opened(); flock(fd, LOCK_EX) -> ok
        a: start('sleep', '1000', pass_fds=[fd]) -> ok
        a: os.close(fd) -> ok
        b: fd = opened(); flock(fd, LOCK_EX|LOCK_NB) -> EAGAIN
        b: flock(fd, LOCK_SH) -> blocked
        a: kill_child() -> ok
        b -> ok
        b: start('sleep', '1000') -> ok
        b: os.close(fd) -> ok
        a: fd = opened(); flock(fd, LOCK_EX|LOCK_NB) -> ok
        ",
    );
}

fn the_death_of_all_frees() {
    play(
        "
        a: fd = opened(); flock(fd, LOCK_EX) -> ok
        b: fd = opened(); flock(fd, LOCK_EX) -> blocked
        kill a
        b -> ok
        c: fd = opened(); lockf(fd, LOCK_UN) -> ok
        c: flock(fd, LOCK_EX) -> blocked
        kill b
        c -> ok
        c: flock(fd, LOCK_UN) -> ok
        c: lockf(fd, LOCK_EX) -> ok
        d: fd = opened(); lockf(fd, LOCK_EX) -> blocked
        kill c
        d -> ok
        e: fd = opened(); posix(fd, F_WRLCK, ofd=True, wait=True) -> blocked
        kill d
        e -> ok
        f: fd = opened(); posix(fd, F_WRLCK, ofd=True, wait=True) -> blocked
        kill e
        f -> ok
        kill f
        ls -> board | -  # a free board has no file
        ",
    );
}

fn waiters_are_served_in_order() {
    play(
        "
        a: fd = opened(); flock(fd, LOCK_EX) -> ok
        b: fd = opened(); flock(fd, LOCK_EX) -> blocked
        c: fd = opened(); flock(fd, LOCK_EX) -> blocked
        d: fd = opened(); flock(fd, LOCK_SH) -> blocked
        e: fd = opened(); flock(fd, LOCK_SH) -> blocked
        a: flock(fd, LOCK_UN) -> ok
        b -> ok
        c -> blocked
        d -> blocked
        b: flock(fd, LOCK_UN) -> ok
        c -> ok
        d -> blocked
        kill c
        d -> ok
        e -> ok
        ",
    );
}

fn sharers_do_not_pass_a_waiter_on_the_mount() {
    play(
        "
        a: fd = opened(); flock(fd, LOCK_SH) -> ok
        b: fd = opened(); flock(fd, LOCK_EX) -> blocked
        c: fd = opened(); flock(fd, LOCK_SH) -> ok | blocked  # waiters are served in order
        a: flock(fd, LOCK_UN) -> ok
        c: flock(fd, LOCK_UN) -> ok | skip  # it waits
        b -> ok
        b: flock(fd, LOCK_UN) -> ok
        c -> skip | ok  # it waited
        ",
    );
}

fn who_has_it_does_not_wait_behind_those_who_wait() {
    play(
        "
        a: fd = opened(); flock(fd, LOCK_EX) -> ok
        b: fd = opened(); flock(fd, LOCK_EX) -> blocked
        a: flock(fd, LOCK_EX) -> ok
        a: flock(fd, LOCK_EX|LOCK_NB) -> ok
        a: lockf(fd, LOCK_EX|LOCK_NB) -> ok
        a: lockf(fd, LOCK_UN) -> ok
        a: lockf(fd, LOCK_EX) -> ok
        a: flock(fd, LOCK_SH|LOCK_NB) -> ok
        a: flock(fd, LOCK_UN); lockf(fd, LOCK_UN) -> ok
        b -> ok
        b: flock(fd, LOCK_UN) -> ok
        a: posix(fd, F_WRLCK, 0, 10) -> ok
        b: lockf(fd, LOCK_EX) -> blocked
        c: fd = opened(); lockf(fd, LOCK_EX) -> blocked
        a: posix(fd, F_WRLCK, 10, 10) -> ok
        a: posix(fd, F_WRLCK, 20, 10, wait=True) -> ok
        a: posix(fd, F_RDLCK, 0, 10, wait=True) -> ok
        a: flock(fd, LOCK_EX) -> ok
        a: posix(fd, F_UNLCK, 0, 10) -> ok
        b -> blocked
        a: posix(fd, F_UNLCK); flock(fd, LOCK_UN) -> ok
        b -> ok
        c -> blocked
        b: lockf(fd, LOCK_SH) -> ok
        b: lockf(fd, LOCK_UN) -> ok
        c -> ok
        ",
    );
}

fn a_lock_without_a_name_takes_it_back() {
    play(
        "
        a: fd = opened(); flock(fd, LOCK_EX) -> ok
        a: os.fstat(fd).st_nlink -> 1
        a: flock(fd, LOCK_UN) -> ok
        ls -> board | -  # a free board has no file
        a: os.fstat(fd).st_nlink -> 1 | 0  # the same
        a: flock(fd, LOCK_EX) -> ok
        a: os.fstat(fd).st_nlink -> 1
        ls -> board
        b: fd = opened(); os.fstat(fd).st_nlink -> 1
        b: flock(fd, LOCK_EX) -> blocked
        a: flock(fd, LOCK_UN) -> ok
        b -> ok
        b: os.unlink('board') -> ok
        b: os.fstat(fd).st_nlink -> 0
        a: fd2 = opened(); flock(fd2, LOCK_EX|LOCK_NB) -> ok
        ls -> board
        ",
    );
}
