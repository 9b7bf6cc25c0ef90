//! fcntl(2) locks, of processes and of open files, and beside flock(2).

use libtest_mimic::Trial;

use super::play::play;

pub fn tests() -> Vec<Trial> {
    trials![
        a_posix_lock_excludes("python3");
        a_posix_lock_is_upgraded_without_losing_it("python3");
        any_close_drops_the_posix_locks_of_a_process("python3");
        a_posix_lock_through_what_made_the_file_goes_with_its_process("python3");
        a_posix_lock_is_not_inherited("python3");
        a_posix_lock_is_kept_over_exec("python3");
        two_who_upgrade_are_told_of_their_deadlock("python3");
        two_with_two_boards_are_told_of_their_deadlock("python3");
        posix_locks_need_the_right_mode("python3");
        ranges_are_the_board("python3");
        ranges_split_and_merge("python3");
        getlk_tells_who_has_it("python3");
        ofd_locks_are_of_the_open_file("python3");
        ofd_locks_wait_and_tell("python3");
        one_process_may_have_both_kinds("python3");
        flock_and_fcntl_exclude_each_other_on_the_mount("python3");
    ]
}

fn a_posix_lock_excludes() {
    play(
        "
        a: fd = opened(); lockf(fd, LOCK_EX) -> ok
        b: fd = opened(); lockf(fd, LOCK_EX|LOCK_NB) -> EAGAIN
        b: lockf(fd, LOCK_SH|LOCK_NB) -> EAGAIN
        a: lockf(fd, LOCK_EX|LOCK_NB) -> ok
        a: other = opened(); lockf(other, LOCK_EX|LOCK_NB) -> ok
        b: lockf(fd, LOCK_EX) -> blocked
        a: lockf(other, LOCK_UN) -> ok
        b -> ok
        a: lockf(fd, LOCK_UN) -> ok
        a: lockf(fd, LOCK_SH|LOCK_NB) -> EAGAIN
        b: lockf(fd, LOCK_SH|LOCK_NB) -> ok
        a: lockf(fd, LOCK_SH|LOCK_NB) -> ok
        c: fd = opened(); lockf(fd, LOCK_EX) -> blocked
        a: lockf(fd, LOCK_UN) -> ok
        c -> blocked
        b: lockf(fd, LOCK_UN) -> ok
        c -> ok
        c: os.close(fd) -> ok
        ls -> board | -  # a free board has no file
        ",
    );
}

fn a_posix_lock_is_upgraded_without_losing_it() {
    play(
        "
        a: fd = opened(); lockf(fd, LOCK_SH) -> ok
        b: fd = opened(); lockf(fd, LOCK_SH) -> ok
        a: lockf(fd, LOCK_EX|LOCK_NB) -> EAGAIN
        b: lockf(fd, LOCK_EX|LOCK_NB) -> EAGAIN
        a: lockf(fd, LOCK_EX) -> blocked
        b: lockf(fd, LOCK_UN) -> ok
        a -> ok
        b: lockf(fd, LOCK_SH|LOCK_NB) -> EAGAIN
        ",
    );
}

fn any_close_drops_the_posix_locks_of_a_process() {
    play(
        "
        a: fd = opened(); lockf(fd, LOCK_EX) -> ok
        b: fd = opened(); lockf(fd, LOCK_EX|LOCK_NB) -> EAGAIN
        a: os.close(opened('r')) -> ok
        b: lockf(fd, LOCK_EX|LOCK_NB) -> ok
        b: lockf(fd, LOCK_UN) -> ok
        a: lockf(fd, LOCK_EX) -> ok
        a: os.close(os.dup(fd)) -> ok
        b: lockf(fd, LOCK_EX|LOCK_NB) -> ok
        b: lockf(fd, LOCK_UN) -> ok
        a: lockf(fd, LOCK_EX); flock(fd, LOCK_EX) -> ok
        a: os.close(opened('r')) -> ok
        b: flock(fd, LOCK_EX|LOCK_NB) -> EAGAIN
        b: lockf(fd, LOCK_EX|LOCK_NB) -> ok | EAGAIN  # flock and fcntl exclude each other
        a: lockf(fd, LOCK_EX|LOCK_NB) -> EAGAIN | ok  # the same
        a: flock(fd, LOCK_UN); lockf(fd, LOCK_UN) -> ok
        b: lockf(fd, LOCK_EX|LOCK_NB) -> ok
        ",
    );
}

fn a_posix_lock_through_what_made_the_file_goes_with_its_process() {
    play(
        "
        a: fd = os.open('board', os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666) -> ok
        a: lockf(fd, LOCK_EX) -> ok
        b: fd = opened(); lockf(fd, LOCK_EX|LOCK_NB) -> EAGAIN
        a: os.close(os.dup(fd)) -> ok
        b: lockf(fd, LOCK_EX|LOCK_NB) -> ok
        b: lockf(fd, LOCK_UN) -> ok
        a: lockf(fd, LOCK_EX) -> ok
        a: fork_idle() -> ok
        b: lockf(fd, LOCK_EX) -> blocked
        kill a
        b -> ok
        ",
    );
}

fn a_posix_lock_is_not_inherited() {
    play(
        "
        a: fd = opened(); lockf(fd, LOCK_EX) -> ok
        a: in_child(lambda: lockf(fd, LOCK_EX|LOCK_NB)) -> EAGAIN
        a: in_child(lambda: lockf(fd, LOCK_UN)) -> ok
        a: in_child(lambda: os.close(fd)) -> ok
        b: fd = opened(); lockf(fd, LOCK_EX|LOCK_NB) -> EAGAIN
        a: fork_idle() -> ok
        a: kill_child() -> ok
        b: lockf(fd, LOCK_EX|LOCK_NB) -> EAGAIN
        a: fork_idle() -> ok
        a: os.close(fd) -> ok
        b: lockf(fd, LOCK_EX|LOCK_NB) -> ok
        a: kill_child() -> ok
        ",
    );
}

fn a_posix_lock_is_kept_over_exec() {
    play(
        "
        a: code = 'import os; from fcntl import *; fd = os.open(\"board\", os.O_RDWR | os.O_CREAT); \
           lockf(fd, LOCK_EX); os.set_inheritable(fd, True); os.execlp(\"sleep\", \"sleep\", \"1000\")' -> ok
        a: start(sys.executable, '-c', code, becomes='sleep') -> ok
        b: fd = opened(); lockf(fd, LOCK_EX|LOCK_NB) -> EAGAIN
        b: lockf(fd, LOCK_EX) -> blocked
        a: kill_child() -> ok
        b -> ok
        b: lockf(fd, LOCK_UN) -> ok
        a: start(sys.executable, '-c', code.replace('True', 'False'), becomes='sleep') -> ok
        b: lockf(fd, LOCK_EX|LOCK_NB) -> ok
        a: kill_child() -> ok
        ",
    );
}

fn two_who_upgrade_are_told_of_their_deadlock() {
    play(
        "
        a: fd = opened(); lockf(fd, LOCK_SH) -> ok
        b: fd = opened(); lockf(fd, LOCK_SH) -> ok
        a: lockf(fd, LOCK_EX) -> blocked
        b: lockf(fd, LOCK_EX) -> EDEADLK
        b: lockf(fd, LOCK_UN) -> ok
        a -> ok
        ",
    );
}

fn two_with_two_boards_are_told_of_their_deadlock() {
    play(
        "
        a: one = opened(name='one'); lockf(one, LOCK_EX) -> ok
        b: two = opened(name='two'); lockf(two, LOCK_EX) -> ok
        a: two = opened(name='two'); lockf(two, LOCK_EX) -> blocked
        b: one = opened(name='one'); lockf(one, LOCK_EX) -> EDEADLK
        b: lockf(two, LOCK_UN) -> ok
        a -> ok
        ",
    );
}

fn posix_locks_need_the_right_mode() {
    play(
        "
        a: fd = opened('r'); lockf(fd, LOCK_EX) -> EBADF
        a: lockf(fd, LOCK_SH) -> ok
        a: flock(fd, LOCK_EX) -> ok
        a: wr = os.open('board', os.O_WRONLY) -> ok
        a: lockf(wr, LOCK_SH) -> EBADF
        a: lockf(wr, LOCK_EX) -> ok
        a: posix(wr, 7) -> EINVAL
        ",
    );
}

fn ranges_are_the_board() {
    play(
        "
        a: fd = opened(); posix(fd, F_WRLCK, 0, 10) -> ok
        b: fd = opened(); posix(fd, F_WRLCK, 5, 10) -> EAGAIN
        b: posix(fd, F_RDLCK, 9, 1) -> EAGAIN
        b: posix(fd, F_WRLCK, 10, 10) -> ok | EAGAIN  # any range is the board
        b: posix(fd, F_UNLCK, 10, 10) -> ok
        b: posix(fd, F_WRLCK, 10, 10, wait=True) -> ok | blocked  # any range is the board
        a: posix(fd, F_UNLCK, 0, 10) -> ok
        b -> skip | ok  # the same
        a: posix(fd, F_RDLCK, 0, 1) -> ok | EAGAIN  # any range is the board
        b: posix(fd, F_RDLCK, 10, 10) -> ok
        a: posix(fd, F_RDLCK, 0, 1) -> ok
        a: posix(fd, F_RDLCK, 0, 100) -> ok
        ",
    );
}

fn ranges_split_and_merge() {
    play(
        "
        a: fd = opened(); posix(fd, F_WRLCK, 0, 100) -> ok
        a: posix(fd, F_UNLCK, 40, 20) -> ok
        b: fd = opened(); posix(fd, F_WRLCK, 0, 0) -> EAGAIN
        b: posix(fd, F_WRLCK, 40, 20) -> ok | EAGAIN  # any range is the board
        b: posix(fd, F_UNLCK) -> ok
        a: posix(fd, F_UNLCK, 0, 40) -> ok
        b: posix(fd, F_WRLCK, 60, 40) -> EAGAIN
        a: posix(fd, F_UNLCK, 61, 0) -> ok
        b: posix(fd, F_WRLCK, 60, 1) -> EAGAIN
        a: posix(fd, F_UNLCK, 60, 1) -> ok
        b: posix(fd, F_WRLCK, 0, 0) -> ok
        b: posix(fd, F_UNLCK) -> ok
        a: posix(fd, F_WRLCK, 0, 10); posix(fd, F_WRLCK, 10, 10) -> ok
        a: posix(fd, F_UNLCK, 0, 20) -> ok
        b: posix(fd, F_WRLCK) -> ok
        b: posix(fd, F_UNLCK) -> ok
        a: posix(fd, F_RDLCK, 0, 10); posix(fd, F_WRLCK, 10, 10) -> ok
        b: posix(fd, F_RDLCK, 10, 1) -> EAGAIN
        b: posix(fd, F_RDLCK, 0, 1) -> ok | EAGAIN  # any range is the board
        b: posix(fd, F_UNLCK) -> ok
        a: posix(fd, F_UNLCK, 10, 10) -> ok
        b: posix(fd, F_RDLCK, 0, 0) -> ok
        b: posix(fd, F_WRLCK, 0, 1) -> EAGAIN
        ",
    );
}

fn getlk_tells_who_has_it() {
    play(
        "
        a: fd = opened(); posix(fd, F_WRLCK, 5, 10) -> ok
        a: getlk(fd) -> UNLCK
        b: fd = opened(); getlk(fd) -> WRLCK 5 10 $a
        b: getlk(fd, F_RDLCK, 7, 1) -> WRLCK 5 10 $a
        b: getlk(fd, F_WRLCK, 20, 5) -> UNLCK | WRLCK 5 10 $a  # any range is the board
        a: posix(fd, F_RDLCK, 5, 10) -> ok
        b: getlk(fd, F_WRLCK, 5, 10) -> RDLCK 5 10 $a
        b: getlk(fd, F_RDLCK, 5, 10) -> UNLCK
        b: posix(fd, F_RDLCK, 5, 10) -> ok
        a: getlk(fd) -> RDLCK 5 10 $b
        a: posix(fd, F_UNLCK) -> ok
        b: posix(fd, F_UNLCK) -> ok
        b: getlk(fd) -> UNLCK
        a: getlk(fd) -> UNLCK
        ",
    );
}

fn ofd_locks_are_of_the_open_file() {
    play(
        "
        a: fd = opened(); posix(fd, F_WRLCK, ofd=True) -> ok
        a: posix(fd, F_WRLCK, ofd=True) -> ok
        b: fd = opened(); posix(fd, F_WRLCK, ofd=True) -> EAGAIN
        b: posix(fd, F_RDLCK, ofd=True) -> EAGAIN
        b: posix(fd, F_WRLCK) -> EAGAIN
        a: other = opened(); posix(other, F_WRLCK, ofd=True) -> EAGAIN
        a: os.close(other) -> ok
        a: os.close(os.dup(fd)) -> ok
        b: posix(fd, F_WRLCK, ofd=True) -> EAGAIN
        a: fork_idle() -> ok
        a: os.close(fd) -> ok
        b: posix(fd, F_WRLCK, ofd=True) -> EAGAIN
        a: kill_child() -> ok
        b: posix(fd, F_WRLCK, ofd=True, wait=True) -> ok
        b: in_child(lambda: posix(fd, F_RDLCK, ofd=True)) -> ok
        a: fd = opened(); posix(fd, F_RDLCK, ofd=True) -> ok
        a: posix(fd, F_WRLCK, ofd=True) -> EAGAIN
        b: in_child(lambda: posix(fd, F_UNLCK, ofd=True)) -> ok
        a: posix(fd, F_WRLCK, ofd=True) -> ok
        ",
    );
}

fn ofd_locks_wait_and_tell() {
    play(
        "
        a: fd = opened(); posix(fd, F_WRLCK, ofd=True) -> ok
        b: fd = opened(); getlk(fd, ofd=True) -> WRLCK 0 0 -1
        b: posix(fd, F_WRLCK, ofd=True, wait=True) -> blocked
        a: posix(fd, F_UNLCK, ofd=True) -> ok
        b -> ok
        a: posix(fd, F_WRLCK, wait=True) -> blocked
        b: os.close(fd) -> ok
        a -> ok
        b: fd = opened(); getlk(fd) -> WRLCK 0 0 $a
        b: posix(fd, F_RDLCK, ofd=True) -> EAGAIN
        ",
    );
}

fn one_process_may_have_both_kinds() {
    play(
        "
        a: fd = opened(); flock(fd, LOCK_EX) -> ok
        a: lockf(fd, LOCK_EX|LOCK_NB) -> ok
        a: other = opened(); lockf(other, LOCK_EX|LOCK_NB) -> ok
        a: lockf(fd, LOCK_UN) -> ok
        b: fd = opened(); flock(fd, LOCK_EX|LOCK_NB) -> EAGAIN
        a: lockf(fd, LOCK_EX) -> ok
        a: flock(fd, LOCK_UN) -> ok
        b: lockf(fd, LOCK_EX|LOCK_NB) -> EAGAIN
        a: flock(fd, LOCK_EX|LOCK_NB) -> ok
        a: flock(fd, LOCK_UN); lockf(fd, LOCK_UN) -> ok
        b: flock(fd, LOCK_EX|LOCK_NB) -> ok
        b: lockf(fd, LOCK_EX|LOCK_NB) -> ok
        ",
    );
}

fn flock_and_fcntl_exclude_each_other_on_the_mount() {
    play(
        "
        a: fd = opened(); flock(fd, LOCK_EX) -> ok
        b: fd = opened(); lockf(fd, LOCK_EX|LOCK_NB) -> ok | EAGAIN  # both kinds are the board's
        b: lockf(fd, LOCK_SH|LOCK_NB) -> ok | EAGAIN  # the same
        b: getlk(fd) -> UNLCK | WRLCK 0 0 $a  # the same
        b: lockf(fd, LOCK_EX) -> ok | blocked  # the same
        a: flock(fd, LOCK_UN) -> ok
        b -> skip | ok  # the same
        a: flock(fd, LOCK_EX|LOCK_NB) -> ok | EAGAIN  # the same
        a: flock(fd, LOCK_UN) -> ok
        a: flock(fd, LOCK_EX) -> ok | blocked  # the same
        b: lockf(fd, LOCK_UN) -> ok
        a -> skip | ok  # the same
        a: flock(fd, LOCK_SH) -> ok
        b: lockf(fd, LOCK_SH|LOCK_NB) -> ok
        ",
    );
}
