//! Other tools that run commands under a file lock.

use libtest_mimic::Trial;

use super::play::play;

pub fn tests() -> Vec<Trial> {
    trials![
        setlock_of_daemontools_locks("setlock");
        chpst_of_runit_locks("chpst");
        lckdo_of_moreutils_locks("lckdo", "python3");
        with_lock_ex_of_chiark_locks("with-lock-ex", "python3");
        perls_flock_locks("perl");
        perls_flock_and_the_shells_are_one("perl", "flock");
        javas_file_channel_locks("javac", "java");
        javas_shared_locks_share("javac", "java");
        javas_ranges_are_the_board("javac", "java");
        java_and_fcntl_are_one("javac", "java", "python3");
    ]
}

fn setlock_of_daemontools_locks() {
    play(
        "
        s: setlock board echo hi -> hi; 0
        s: setlock -n board sh -c 'exit 3' -> 3
        s: setlock board setlock -n board echo no -> \
           setlock: fatal: unable to lock board: temporary failure; 111
        s: setlock board setlock -nx board echo no -> 0
        s: setlock -x none/board echo no -> 0
        s: exec 9>board; flock 9 -> 0
        t: setlock -n board echo no -> \
           setlock: fatal: unable to lock board: temporary failure; 111
        t: setlock -nx board echo no -> 0
        t: setlock board echo mine -> blocked
        u: setlock -N board echo mine too -> blocked
        s: exec 9>&- -> 0
        t -> mine; 0
        u -> mine too; 0
        s: p=$(setlock board sh -c 'sleep 1000 >/dev/null & echo $!') -> 0
        t: setlock -nx board echo no -> 0
        s: kill $p -> 0
        t: setlock board echo yes -> yes; 0
        ls -> board | -  # a free board has no file
        ",
    );
}

fn chpst_of_runit_locks() {
    play(
        "
        s: chpst -l board echo hi -> hi; 0
        s: chpst -L board sh -c 'exit 3' -> 3
        s: chpst -L board chpst -L board echo no -> \
           chpst: fatal: unable to lock: board: temporary failure; 111
        s: exec 9>board; flock 9 -> 0
        t: chpst -L board echo no -> chpst: fatal: unable to lock: board: temporary failure; 111
        t: chpst -l board echo mine -> blocked
        s: exec 9>&- -> 0
        t -> mine; 0
        ls -> board | -  # a free board has no file
        ",
    );
}

fn lckdo_of_moreutils_locks() {
    // It uses fcntl.
    play(
        "
        s: lckdo board echo hi -> hi; 0
        s: lckdo board sh -c 'exit 3' -> 3
        s: lckdo board lckdo board echo no -> lckdo: lockfile `board' is already locked; 75
        s: lckdo -q board lckdo -q board echo no -> 75
        s: lckdo -s board lckdo -q -s board echo both -> both; 0
        s: lckdo -e board lckdo -q board echo its own -> its own; 0
        s: lckdo -n none true -> lckdo: unable to open `none': No such file or directory; 73
        a: fd = opened(); lockf(fd, LOCK_EX) -> ok
        t: lckdo -q board echo no -> 75
        t: lckdo -q -s board echo no -> 75
        t: lckdo -W 1 -q board echo no -> 75
        t: lckdo -w board echo mine -> blocked
        a: lockf(fd, LOCK_UN) -> ok
        t -> mine; 0
        s: exec 9>board; flock 9 -> 0
        t: lckdo -q board echo yes -> yes; 0 | 75  # flock and fcntl exclude each other
        s: exec 9>&- -> 0
        a: os.close(fd) -> ok
        ls -> board | -  # a free board has no file
        ",
    );
}

fn with_lock_ex_of_chiark_locks() {
    // It uses fcntl, on the first byte, and looks whether the file is still
    // the one of that name.
    play(
        "
        s: with-lock-ex -w board echo hi -> hi; 0
        s: with-lock-ex -f board sh -c 'exit 3' -> 3
        s: with-lock-ex -w board with-lock-ex -q board echo its own -> its own; 0
        a: fd = opened(); lockf(fd, LOCK_EX) -> ok
        t: with-lock-ex -q board echo no -> 0
        t: with-lock-ex -f board echo no -> \
           with-lock-ex echo: could not acquire lock: Resource temporarily unavailable; 255
        t: with-lock-ex -w board echo mine -> blocked
        a: lockf(fd, LOCK_UN) -> ok
        t -> mine; 0
        a: lockf(fd, LOCK_EX) -> ok
        t: with-lock-ex -w board echo mine -> blocked
        a: os.unlink('board') -> ok
        a: os.close(fd) -> ok
        t -> mine; 0
        ",
    );
}

fn perls_flock_locks() {
    play(
        "
        p: open($fh, '>', 'board') -> ok
        p: flock($fh, LOCK_EX) -> ok
        q: open($fh, '>', 'board') -> ok
        q: flock($fh, LOCK_EX|LOCK_NB) -> EAGAIN
        q: flock($fh, LOCK_SH|LOCK_NB) -> EAGAIN
        q: flock($fh, LOCK_EX) -> blocked
        p: flock($fh, LOCK_UN) -> ok
        q -> ok
        p: flock($fh, LOCK_SH) -> blocked
        q: close($fh) -> ok
        p -> ok
        q: sysopen($fh, 'board', O_RDWR|O_CREAT) -> ok
        q: flock($fh, LOCK_SH|LOCK_NB) -> ok
        q: flock($fh, LOCK_EX|LOCK_NB) -> EAGAIN
        p: flock($fh, LOCK_EX|LOCK_NB) -> ok
        p: open($other, '<', 'board') -> ok
        p: flock($other, LOCK_SH|LOCK_NB) -> EAGAIN
        p: close($fh) -> ok
        q: open($fh, '+>>', 'board') -> ok
        q: flock($fh, LOCK_EX) -> ok
        kill q
        p: flock($other, LOCK_EX|LOCK_NB) -> ok
        ",
    );
}

fn perls_flock_and_the_shells_are_one() {
    play(
        "
        p: open($fh, '>>', 'board') && flock($fh, LOCK_EX) -> ok
        s: flock -n board echo no -> 1
        s: flock board echo mine -> blocked
        p: close($fh) -> ok
        s -> mine; 0
        s: exec 9>board; flock 9 -> 0
        p: open($fh, '>>', 'board') && flock($fh, LOCK_EX|LOCK_NB) -> EAGAIN
        p: flock($fh, LOCK_EX) -> blocked
        kill s
        p -> ok
        ",
    );
}

fn javas_file_channel_locks() {
    play(
        "
        j: open -> ok
        j: lock -> ok
        j: valid -> true
        k: open -> ok
        k: tryLock -> null
        k: tryLock shared -> null
        j: open second -> ok
        j: tryLock second -> OverlappingFileLockException
        j: lock -> OverlappingFileLockException
        k: lock -> blocked
        j: release -> ok
        k -> ok
        j: tryLock -> null
        j: lock -> blocked
        kill k
        j -> ok
        j: close -> ok
        j: close second -> ok
        ls -> board | -  # a free board has no file
        ",
    );
}

fn javas_shared_locks_share() {
    play(
        "
        j: open -> ok
        j: lock shared -> ok
        k: open -> ok
        k: tryLock shared -> ok
        l: open -> ok
        l: tryLock -> null
        l: lock -> blocked
        j: release -> ok
        l -> blocked
        k: close -> ok
        l -> ok
        j: tryLock shared -> null
        l: close -> ok
        j: tryLock -> ok
        ",
    );
}

fn javas_ranges_are_the_board() {
    play(
        "
        j: open -> ok
        j: tryLock first ten -> ok
        j: open second -> ok
        k: open -> ok
        k: tryLock first ten -> null
        k: tryLock next ten -> ok | null  # any range is the board
        k: close -> ok
        j: tryLock next ten -> ok
        j: release -> ok
        k: open -> ok
        k: tryLock -> null
        j: close second -> ok
        k: tryLock -> ok
        ",
    );
}

fn java_and_fcntl_are_one() {
    play(
        "
        a: fd = opened(); lockf(fd, LOCK_EX) -> ok
        j: open -> ok
        j: tryLock -> null
        j: lock -> blocked
        a: lockf(fd, LOCK_UN) -> ok
        j -> ok
        a: lockf(fd, LOCK_EX|LOCK_NB) -> EAGAIN
        a: posix(fd, F_RDLCK, ofd=True) -> EAGAIN
        a: getlk(fd) -> WRLCK 0 0 $j
        a: lockf(fd, LOCK_SH) -> blocked
        j: close -> ok
        a -> ok
        j: open -> ok
        j: lock shared -> ok
        ",
    );
}
