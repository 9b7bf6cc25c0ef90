//! Signals to whoever waits for a lock end or interrupt the wait as they do on a
//! local file system, and nobody is left behind.

use libtest_mimic::Trial;

use super::actor::{Actor, Answer};
use super::play::play;
use super::side::Side;
use super::terminal::Terminal;

pub fn tests() -> Vec<Trial> {
    trials![
        a_waiter_is_ended_by_signals("python3", "flock");
        a_waiter_of_fcntl_is_ended_by_signals("python3");
        a_killed_waiter_waits_no_more("python3");
        the_child_of_a_killed_shell_waits_on("flock");
        a_stopped_waiter_goes_on("python3", "flock");
        a_stopped_waiter_of_fcntl_goes_on("python3");
        a_waiter_stopped_in_a_terminal_goes_on("script", "flock");
        a_time_limit_ends_a_wait("flock");
        an_alarm_ends_a_wait("python3");
        an_alarm_ends_a_wait_in_perl("perl");
        a_restarted_call_waits_on("python3");
        a_signal_that_is_ignored_changes_nothing("python3");
        of_two_threads_the_signalled_one_returns("python3");
        a_thread_waits_while_the_main_one_is_signalled("python3");
        a_process_with_waiting_threads_ends("python3");
        many_signals_lose_nothing("python3");
    ]
}

fn a_waiter_is_ended_by_signals() {
    play(
        "
        a: fd = opened(); flock(fd, LOCK_EX) -> ok
        b: sh('exec flock board true') -> blocked
        b! TERM
        b -> -15
        b: sh('exec flock board true') -> blocked
        b! INT
        b -> -2
        b: sh('exec flock board true') -> blocked
        b! KILL
        b -> -9
        b: sh('exec flock -w 60 board true') -> blocked
        b! TERM
        b -> -15
        b: sh('exec flock -s board true') -> blocked
        b! HUP
        b -> -1
        b: sh('flock -n board true') -> 1
        a: flock(fd, LOCK_UN) -> ok
        b: sh('flock -n board true') -> 0
        ",
    );
}

fn a_waiter_of_fcntl_is_ended_by_signals() {
    play(
        "
        a: fd = opened(); lockf(fd, LOCK_EX) -> ok
        b: code = 'import os; from fcntl import *; \
           lockf(os.open(\"board\", os.O_RDWR | os.O_APPEND | os.O_CREAT), LOCK_EX)' -> ok
        b: subprocess.call([sys.executable, '-c', code]) -> blocked
        b! TERM
        b -> -15
        b: subprocess.call([sys.executable, '-c', code]) -> blocked
        b! KILL
        b -> -9
        a: lockf(fd, LOCK_UN) -> ok
        b: subprocess.call([sys.executable, '-c', code]) -> 0
        ",
    );
}

fn a_killed_waiter_waits_no_more() {
    play(
        "
        a: fd = opened(); flock(fd, LOCK_EX) -> ok
        b: fd = opened(); flock(fd, LOCK_EX) -> blocked
        c: fd = opened(); flock(fd, LOCK_EX) -> blocked
        d: fd = opened(); flock(fd, LOCK_EX) -> blocked
        kill b
        c -> blocked
        a: flock(fd, LOCK_UN) -> ok
        c -> ok
        kill d
        kill c
        a: flock(fd, LOCK_EX|LOCK_NB) -> ok
        ",
    );
}

fn the_child_of_a_killed_shell_waits_on() {
    play(
        "
        s: exec 9>board; flock 9 -> 0
        t: flock board sleep 0 -> blocked
        kill t
        u: flock board echo after -> blocked
        s: exec 9>&- -> 0
        u -> after; 0
        ls -> board | -  # a free board has no file
        ",
    );
}

fn a_stopped_waiter_goes_on() {
    play(
        "
        a: fd = opened(); flock(fd, LOCK_EX) -> ok
        b: sh('exec flock board true') -> blocked
        b! STOP
        b! CONT
        b -> blocked
        b! TSTP
        b! CONT
        b -> blocked
        b! STOP
        a: flock(fd, LOCK_UN) -> ok
        c: fd = opened(); flock(fd, LOCK_EX) -> ok
        b! CONT
        b -> blocked
        c: flock(fd, LOCK_UN) -> ok
        b -> 0
        a: flock(fd, LOCK_EX) -> ok
        b: sh('exec flock board true') -> blocked
        b! STOP
        b! KILL
        b -> -9
        b: sh('exec flock -w 60 board true') -> blocked
        b! STOP
        b! CONT
        b -> blocked
        a: flock(fd, LOCK_UN) -> ok
        b -> 0
        ",
    );
}

fn a_stopped_waiter_of_fcntl_goes_on() {
    play(
        "
        a: fd = opened(); lockf(fd, LOCK_EX) -> ok
        b: code = 'import os; from fcntl import *; \
           lockf(os.open(\"board\", os.O_RDWR | os.O_APPEND | os.O_CREAT), LOCK_EX)' -> ok
        b: subprocess.call([sys.executable, '-c', code]) -> blocked
        b! STOP
        a: lockf(fd, LOCK_UN); lockf(fd, LOCK_EX|LOCK_NB) -> ok
        b! CONT
        b -> blocked
        a: lockf(fd, LOCK_UN) -> ok
        b -> 0
        ",
    );
}

fn a_waiter_stopped_in_a_terminal_goes_on() {
    for side in [Side::local(), Side::mount(&[])] {
        let mut holder = Actor::new(&side, "s");
        let mut hold = |command: &str| {
            holder.tell("-", command);
            assert_eq!(holder.answer("-", false), Answer::Done("0".to_owned()));
        };
        let mut terminal = Terminal::new(&side);
        hold("exec 9>board; flock 9");
        terminal.say("flock board echo mi''ne; echo status $?");
        let waiter = terminal.waiter();
        terminal.press(b'Z');
        terminal.is_stopped(&waiter);
        terminal.hears("Stopped");
        // Whoever is stopped is not served.
        hold("flock -u 9; flock -n 9");
        terminal.say("fg");
        terminal.waiter();
        hold("flock -u 9");
        terminal.hears("mine");
        hold("flock 9");
        terminal.say("flock board echo mi''ne; echo interrupted $?");
        terminal.waiter();
        terminal.press(b'C');
        terminal.say("echo got $?");
        terminal.hears("got 130");
        terminal.say("flock -w 60 board echo mi''ne; echo left $?");
        let waiter = terminal.waiter();
        terminal.press(b'Z');
        terminal.is_stopped(&waiter);
        terminal.say("bg");
        terminal.waiter();
        hold("exec 9>&-");
        terminal.hears("mine");
    }
}

fn a_time_limit_ends_a_wait() {
    play(
        "
        s: exec 9>board; flock 9 -> 0
        t: flock -w 1 board true -> 1
        t: flock -w 0.2 -E 5 board true -> 5
        t: exec 8<board; flock -w 0.1 8 -> 1
        t: timeout 0.2 flock board true -> 124
        t: timeout -s INT 0.2 flock board true -> 124
        u: flock board echo mine -> blocked
        t: flock -w .1 board true -> 1
        s: exec 9>&- -> 0
        u -> mine; 0
        t: flock -w 60 board echo mine -> mine; 0
        ",
    );
}

fn an_alarm_ends_a_wait() {
    // Where the handler does not raise, it comes again until it finds the call.
    play(
        "
        a: fd = opened(); flock(fd, LOCK_EX) -> ok
        a: lockf(fd, LOCK_EX) -> ok
        b: fd = opened('a'); handle(signal.SIGALRM, alarmed) -> ok
        b: timer(0.1); flock(fd, LOCK_EX) -> Alarm
        b: timer(0.1); flock(fd, LOCK_SH) -> Alarm
        b: timer(0.1); lockf(fd, LOCK_EX) -> Alarm
        b: timer(0.1); \
           posix(fd, F_WRLCK, wait=True, ofd=True) -> Alarm
        b: handle(signal.SIGALRM, nothing) -> ok
        b: timer(0.1, 0.1) -> ok
        b: cflock(fd, LOCK_EX) -> EINTR
        b: cflock(fd, LOCK_SH) -> EINTR
        b: cposix(fd, F_WRLCK) -> EINTR
        b: cposix(fd, F_WRLCK, ofd=True) -> EINTR
        b: timer(0) -> ok
        b: flock(fd, LOCK_EX|LOCK_NB) -> EAGAIN
        a: flock(fd, LOCK_UN) -> ok
        a: lockf(fd, LOCK_UN) -> ok
        b: flock(fd, LOCK_EX|LOCK_NB) -> ok
        ",
    );
}

fn an_alarm_ends_a_wait_in_perl() {
    play(
        r#"
        s: exec 9>board; flock 9 -> 0
        p: open($fh, '>>', 'board') -> ok
        p: local $SIG{ALRM} = sub { die "Alarm" }; alarm 1; flock($fh, LOCK_EX); alarm 0 -> Alarm
        p: local $SIG{ALRM} = sub { die "Alarm" }; alarm 1; flock($fh, LOCK_SH); alarm 0 -> Alarm
        p: flock($fh, LOCK_EX|LOCK_NB) -> EAGAIN
        p: flock($fh, LOCK_EX) -> blocked
        s: exec 9>&- -> 0
        p -> ok
        "#,
    );
}

fn a_restarted_call_waits_on() {
    play(
        "
        a: fd = opened(); flock(fd, LOCK_EX) -> ok
        b: fd = opened(); handle(signal.SIGUSR1, nothing, restart=True) -> ok
        b: cflock(fd, LOCK_EX) -> blocked
        b! USR1
        b -> blocked
        b! USR1
        b! USR1
        b -> blocked
        a: flock(fd, LOCK_UN) -> ok
        b -> ok
        a: flock(fd, LOCK_EX) -> blocked
        b: lockf(fd, LOCK_EX); flock(fd, LOCK_UN); lockf(fd, LOCK_UN) -> ok
        a -> ok
        b: flock(fd, LOCK_EX) -> blocked
        b! USR1
        b -> blocked
        a: os.close(fd) -> ok
        b -> ok
        ",
    );
}

fn a_signal_that_is_ignored_changes_nothing() {
    play(
        "
        a: fd = opened(); flock(fd, LOCK_EX) -> ok
        b: fd = opened(); flock(fd, LOCK_EX) -> blocked
        b! WINCH
        b! CHLD
        b -> blocked
        a: flock(fd, LOCK_UN) -> ok
        b -> ok
        b: handle(signal.SIGUSR1, signal.SIG_IGN) -> ok
        a: flock(fd, LOCK_SH) -> blocked
        a! CHLD
        b: flock(fd, LOCK_SH) -> ok
        a -> ok
        b: flock(fd, LOCK_EX) -> blocked
        b! USR1
        b -> blocked
        a: flock(fd, LOCK_UN) -> ok
        b -> ok
        ",
    );
}

fn of_two_threads_the_signalled_one_returns() {
    play(
        "
        a: fd = opened(); flock(fd, LOCK_EX) -> ok
        b: one = opened(); two = opened(); handle(signal.SIGUSR1, nothing) -> ok
        b/1: cflock(one, LOCK_EX) -> blocked
        b/2: cflock(two, LOCK_EX) -> blocked
        b: signal.pthread_kill(idents['1'], signal.SIGUSR1) -> ok
        b/1 -> EINTR
        b/2 -> blocked
        b/1: cflock(one, LOCK_SH) -> blocked
        b: signal.pthread_kill(idents['2'], signal.SIGUSR1) -> ok
        b/2 -> EINTR
        b/1 -> blocked
        b/2: flock(two, LOCK_SH) -> blocked
        a: flock(fd, LOCK_UN) -> ok
        b/1 -> ok
        b/2 -> ok
        b: flock(one, LOCK_UN); flock(two, LOCK_EX|LOCK_NB) -> ok
        ",
    );
}

fn a_thread_waits_while_the_main_one_is_signalled() {
    play(
        "
        a: fd = opened(); flock(fd, LOCK_EX) -> ok
        b: fd = opened(); seen = []; handle(signal.SIGUSR1, lambda *_: seen.append(1)) -> ok
        b/1: cflock(fd, LOCK_EX) -> blocked
        b: [os.kill(os.getpid(), signal.SIGUSR1) for _ in range(100)]; len(seen) > 0 -> True
        b/1 -> blocked
        b: sh('exit 3') -> 3
        b/1 -> blocked
        a: flock(fd, LOCK_UN) -> ok
        b/1 -> ok
        ",
    );
}

fn a_process_with_waiting_threads_ends() {
    play(
        "
        a: fd = opened(); flock(fd, LOCK_EX) -> ok
        b: one = opened(); two = opened() -> ok
        b/1: flock(one, LOCK_EX) -> blocked
        b/2: flock(two, LOCK_EX) -> blocked
        kill b
        c: one = opened(); two = opened() -> ok
        c/1: flock(one, LOCK_EX) -> blocked
        c/2: lockf(two, LOCK_EX) -> ok | blocked  # flock and fcntl exclude each other
        c: os._exit(0) -> it has ended
        d: fd = opened(); flock(fd, LOCK_EX) -> blocked
        a: flock(fd, LOCK_UN) -> ok
        d -> ok
        ",
    );
}

fn many_signals_lose_nothing() {
    // A signal, and the lock's being granted, meet again and again.
    play(
        "
        a: fd = opened(); flock(fd, LOCK_EX) -> ok
        b: fd = opened(); handle(signal.SIGALRM, nothing) -> ok
        c: fd = opened(); handle(signal.SIGALRM, nothing) -> ok
        a: turns = lambda: [flock(fd, how) for how in [LOCK_EX, LOCK_UN] * 300] and None -> ok
        b: turns = lambda: [flock(fd, how) for how in [LOCK_EX, LOCK_UN] * 300] and None -> ok
        c: turns = lambda: [flock(fd, how) for how in [LOCK_EX, LOCK_UN] * 300] and None -> ok
        b: timer(0.001, 0.001); turns() -> told
        c: timer(0.0007, 0.0007); turns() -> told
        a: flock(fd, LOCK_UN); turns() -> ok
        b -> ok
        c -> ok
        b: timer(0) -> ok
        a: flock(fd, LOCK_EX|LOCK_NB) -> ok
        b: flock(fd, LOCK_EX|LOCK_NB) -> EAGAIN
        b: flock(fd, LOCK_SH) -> blocked
        a: flock(fd, LOCK_UN) -> ok
        b -> ok
        ls -> board
        ",
    );
}
