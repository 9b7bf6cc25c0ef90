//! flock(1): every form and option of its manual page.

use libtest_mimic::Trial;

use super::play::play;

pub fn tests() -> Vec<Trial> {
    trials![
        a_command_runs_under_the_lock("flock");
        who_finds_it_locked_is_told_as_the_options_say("flock");
        who_waits_gets_it_when_it_is_free("flock");
        shared_locks_share("flock");
        any_way_to_open_a_descriptor_will_do("flock");
        a_child_in_the_background_has_the_lock("flock");
        close_keeps_the_lock_from_the_command("flock");
        no_fork_becomes_the_command("flock");
        verbose_tells("flock");
        mistakes_have_the_exit_codes_of_sysexits("flock");
        directories_lock("flock");
        a_script_locks_itself("flock");
        a_removed_file_is_another_lock("flock");
    ]
}

fn a_command_runs_under_the_lock() {
    play(
        "
        s: flock board echo hi -> hi; 0
        s: flock -x board echo 'a b c' -> a b c; 0
        s: flock board -c 'echo a b; exit 3' -> a b; 3
        s: flock board --command 'exit 4' -> 4
        s: flock board sh -c 'exit 7' -> 7
        s: flock board sh -c 'kill -TERM $$' -> 143
        s: flock board sh -c 'flock -n board true' -> 1
        s: flock board sh -c 'flock -n other true' -> 0
        s: flock -e board flock -n board true -> 1
        s: flock -s board flock -n -s board echo both -> both; 0
        s: flock board test -e board -> 0
        ls -> board other | -  # a free board has no file
        s: : >board; flock board echo hi -> hi; 0
        ls -> board other | board  # the same
        ",
    );
}

fn who_finds_it_locked_is_told_as_the_options_say() {
    play(
        "
        s: exec 9>board; flock 9 -> 0
        t: flock -n board echo no -> 1
        t: flock --nb board echo no -> 1
        t: flock --nonblock -x board -c 'echo no' -> 1
        t: flock -n -E 5 board echo no -> 5
        t: flock -n --conflict-exit-code 0 board echo no -> 0
        t: flock -w 0.05 board echo no -> 1
        t: flock -w 1 board echo no -> 1
        t: flock --timeout 0.05 -E 5 board echo no -> 5
        t: flock --wait .05 -E 255 board echo no -> 255
        t: flock -w 0 board echo no -> 1
        t: flock -s -n board echo no -> 1
        t: (flock -n 9 || exit 1; echo no) 9>board -> 1
        t: (flock -w .05 -E 6 9 || exit; echo no) 9>board -> 6
        s: flock -u 9 -> 0
        t: flock -n board echo yes -> yes; 0
        t: flock -w 1 board echo yes -> yes; 0
        t: (flock -n 9 || exit 1; echo yes) 9>board -> yes; 0
        s: flock -n 9 -> 0
        t: flock -n board echo no -> 1
        s: exec 9>&- -> 0
        t: flock -n board echo yes -> yes; 0
        ls -> board | -  # a free board has no file
        ",
    );
}

fn who_waits_gets_it_when_it_is_free() {
    play(
        "
        s: exec 9>board; flock 9 -> 0
        t: flock board echo mine -> blocked
        s: flock -n 9 -> 0
        t -> blocked
        s: flock -u 9 -> 0
        t -> mine; 0
        s: flock 9 -> 0
        t: flock -w 60 board echo mine -> blocked
        s: exec 9>&- -> 0
        t -> mine; 0
        s: exec 9>board; flock 9 -> 0
        t: (flock 9; echo mine) 9>board -> blocked
        kill s
        t -> mine; 0
        t: exec 8>board; flock 8 -> 0
        u: flock -s board echo shared -> blocked
        t: exec 8>&- -> 0
        u -> shared; 0
        ls -> board | -  # a free board has no file
        ",
    );
}

fn shared_locks_share() {
    play(
        "
        s: exec 9>board; flock -s 9 -> 0
        t: flock -s -n board echo shared -> shared; 0
        t: flock --shared -n board flock -s -n board echo three -> three; 0
        t: flock -n board echo no -> 1
        t: flock -n -x board echo no -> 1
        t: flock --exclusive -w .05 board echo no -> 1
        t: exec 9>board; flock -s 9 -> 0
        u: flock board echo alone -> blocked
        s: flock -u 9 -> 0
        u -> blocked
        t: exec 9>&- -> 0
        u -> alone; 0
        s: flock -x 9 -> 0
        t: flock -s -n board echo no -> 1
        s: flock -s 9 -> 0
        t: flock -s -n board echo shared -> shared; 0
        ",
    );
}

fn any_way_to_open_a_descriptor_will_do() {
    play(
        "
        s: exec 9<board -> board: No such file or directory; 1
        s: exec 9>>board; flock 9 -> 0
        t: (flock -n 9 || exit 1; echo no) 9<board -> 1
        t: (flock -n 9 || exit 1; echo no) 9>>board -> 1
        t: (flock -n 9 || exit 1; echo no) 9<>board -> 1
        t: (flock -n 9 || exit 1; echo no) 9>board -> 1
        t: (flock 9; echo yes) 9<board -> blocked
        s: flock -u 9 -> 0
        t -> yes; 0
        s: exec 9>&- -> 0
        s: exec 4<>board; flock -n 4 -> 0
        t: flock -n board echo no -> 1
        t: (flock 9; echo yes) 9>>board -> blocked
        s: exec 4>&- -> 0
        t -> yes; 0
        s: exec 3>board 9>&3; flock 9; exec 3>&- -> 0
        t: flock -n board echo no -> 1
        s: exec 9>&- -> 0
        t: flock -n board echo yes -> yes; 0
        ",
    );
}

fn a_child_in_the_background_has_the_lock() {
    play(
        "
        s: p=$(flock board sh -c 'sleep 1000 >/dev/null & echo $!') -> 0
        t: flock -n board echo no -> 1
        t: flock board echo yes -> blocked
        s: kill $p -> 0
        t -> yes; 0
        s: exec 9>board; flock 9; sleep 1000 >/dev/null & -> 0
        s: p=$!; exec 9>&- -> 0
        t: flock -n board echo no -> 1
        s: (flock -u 9) 9>board -> 0
        t: flock -n board echo no -> 1
        t: flock board echo yes -> blocked
        s: kill $p -> 0
        t -> yes; 0
        s: exec 9>board; flock 9; sleep 1000 >/dev/null & -> 0
        s: flock -u 9 -> 0
        t: flock -n board echo yes -> yes; 0
        s: kill $! -> 0
        ",
    );
}

fn close_keeps_the_lock_from_the_command() {
    play(
        "
        s: flock board sh -c 'ls -l /proc/$$/fd | grep -c /board' -> 1; 0
        s: flock -o board sh -c 'ls -l /proc/$$/fd | grep -c /board' -> 0; 1
        s: flock -o board flock -n board true -> 1
        s: p=$(flock --close board sh -c 'sleep 1000 >/dev/null & echo $!') -> 0
        t: flock -n board echo yes -> yes; 0
        s: kill $p -> 0
        ",
    );
}

fn no_fork_becomes_the_command() {
    play(
        "
        s: flock board sh -c 'echo $PPID' -> *
        s: flock -F board sh -c 'echo $PPID; exit 5' -> $s; 5
        s: flock --no-fork board sh -c 'flock -n board true' -> 1
        s: flock -n board echo yes -> yes; 0
        s: flock -F -o board true -> flock: the --no-fork and --close options are incompatible; 64
        ",
    );
}

fn verbose_tells() {
    play(
        "
        s: flock --verbose board true | sed 's/took [0-9.]* s/took N s/' -> \
           flock: getting lock took N seconds; flock: executing true; 0
        s: exec 9>board; flock --verbose 9 | sed 's/took [0-9.]* s/took N s/' -> \
           flock: getting lock took N seconds; 0
        t: flock --verbose -n board true -> flock: failed to get lock; 1
        t: flock --verbose -w .05 board true -> flock: timeout while waiting to get lock; 1
        ",
    );
}

fn mistakes_have_the_exit_codes_of_sysexits() {
    play(
        "
        s: flock 77 -> flock: 77: Bad file descriptor; 65
        s: flock -n none/board true -> \
           flock: cannot open lock file none/board: No such file or directory; 66
        s: flock board no-such-program -> \
           flock: failed to execute no-such-program: No such file or directory; 69
        s: flock -w never board true -> flock: invalid timeout value: 'never'; 64
        s: flock -E 256 board true -> flock: exit code out of range (expected 0 to 255); 64
        s: flock board -c -> flock: -c requires exactly one command argument; 64
        s: flock 2>&1 | grep -v Try -> flock: not enough arguments; 64
        s: flock board 2>&1 | grep -v Try -> flock: bad file descriptor: 'board'; 64
        ",
    );
}

fn directories_lock() {
    play(
        "
        s: mkdir board -> 0
        s: flock board echo in -> in; 0
        s: flock -n board flock -n board true -> 1
        s: exec 9<board; flock 9 -> 0
        t: flock -n board true -> 1 | \
           flock: cannot open lock file board: Device or resource busy; 66  \
           # another's directory does not open, the kernel would lock it without asking
        s: exec 9<&- -> 0
        t: flock board echo in -> in; 0 | \
           flock: cannot open lock file board: Device or resource busy; 66  # the same
        s: exec 9<.; flock 9 -> 0
        t: flock -n . true -> 1
        t: flock -w .007 . -c echo -> 1
        t: flock . echo in -> blocked
        s: exec 9<&- -> 0
        t -> in; 0
        s: flock -s . flock -s -w .007 . -c 'echo both' -> both; 0
        ",
    );
}

fn a_script_locks_itself() {
    // The manual's boilerplate; the script runs itself again while it runs.
    play(
        r#"
        s: boiler='[ "${FLOCKER}" != "$0" ] && exec env FLOCKER="$0" flock -en "$0" "$0" "$@" || :' -> 0
        s: body='echo "in $1"; [ "$1" = 2 ] || env -u FLOCKER "$0" 2' -> 0
        s: printf '%s\n' '#!/bin/bash' "$boiler" "$body" >self; chmod +x self -> 0
        s: ./self 1 -> in 1; 1 | ./self: Permission denied; 126  # no board can be run: its mode is 0666
        s: there=$(mktemp -d); me=$there/self; boiler=${boiler/-en \"\$0\"/-en board} -> 0
        s: printf '%s\n' '#!/bin/bash' "$boiler" "$body" >$me; chmod +x $me -> 0
        s: $me 1 -> in 1; 1
        s: rm -r $there -> 0
        "#,
    );
}

fn a_removed_file_is_another_lock() {
    play(
        "
        s: exec 9>board; flock 9; rm board -> 0
        ls -> -
        t: exec 9>board; flock -n 9 -> 0
        s: flock -n 9 -> 0 | 1  # the lock of an inode whose name is gone takes the name back
        t: exec 9>&- -> 0
        s: flock -n 9 -> 0
        t: flock -n board true -> 0 | 1  # the same
        ",
    );
}
