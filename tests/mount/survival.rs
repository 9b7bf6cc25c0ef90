//! The death of the process that serves: another goes on, and clients hardly
//! notice.

use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};

use crate::lab::{Lab, serving};
use crate::process::{PATIENCE, eventually};
use crate::shown::{becomes_free, free, held_by};
use crate::site::Site;
use crate::trial::ROOT;

pub fn tests() -> Vec<Trial> {
    trials![
        claims_and_open_files_survive();
        file_locks_survive("flock", "python3");
        who_waits_goes_on_waiting_in_order("flock");
        opens_that_wait_go_on_waiting("flock");
        a_signal_still_ends_a_wait("flock");
        a_board_that_polls_is_told("python3");
        nobody_is_told_an_error_while_it_dies("python3");
        what_was_done_is_not_done_again("python3");
        a_stop_after_a_death_is_a_stop();
        whoever_serves_has_few_powers(ROOT);
        too_many_deaths_are_an_end();
        without_a_state_file_a_death_is_the_end();
    ]
}

/// Kills the process that serves, and waits until another does.
#[track_caller]
fn dies(lab: &Lab) {
    let before = lab.daemon_pid();
    let from = lab.log().len();
    let pid = Pid::from_raw(before.cast_signed()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    lab.wait_for_log_from(from, |line| line.contains("is served on"));
    assert_ne!(lab.daemon_pid(), before);
}

fn claims_and_open_files_survive() {
    let lab = Lab::new(&[]);
    let mut one = lab.shell();
    one.ok("touch a; exec 8>b; mkdir d; echo in >d/x");
    for _ in 0..3 {
        dies(&lab);
        held_by(&lab, "a", one.pid(), "claimed");
        // The same file is open still: what is written through it counts.
        one.ok("echo note >&8; [ \"$(cat b)\" = note ]; cat d/x | grep -q in");
        lab.sh("sh", "touch a").fails(1);
        lab.sh("sh", "echo mine >b").fails(2);
    }
    one.ok("exec 8>&-; rm a b d/x; rmdir d");
    assert_eq!(lab.sh("sh", "ls").ok().stdout, "");
}

fn file_locks_survive() {
    let lab = Lab::new(&[]);
    let mut one = lab.shell();
    one.ok("exec 9>b; flock 9");
    let mut two = lab.shell();
    two.ok("exec 8>s; flock -s 8");
    let fcntl = "import fcntl, sys\nf = open('p', 'w')\nfcntl.lockf(f, fcntl.LOCK_EX)\n\
                 print('have', flush=True)\nsys.stdin.readline()\nfcntl.lockf(f, fcntl.LOCK_UN)\n\
                 print('gave', flush=True)\nsys.stdin.readline()\n";
    let mut three = lab.spawn(crate::client::python(), fcntl);
    three.expect("have");
    dies(&lab);
    for board in ["b", "s", "p"] {
        lab.sh("sh", &format!("flock -n {board} true")).fails(1);
    }
    lab.sh("sh", "flock -sn s true").ok();
    held_by(&lab, "b", one.pid(), "locked");
    // Unlocking, converting and closing work on the same open files.
    one.ok("flock -u 9");
    free(&lab, "b", "unlocked");
    two.ok("flock -n 8");
    lab.sh("sh", "flock -sn s true").fails(1);
    three.say("unlock");
    three.expect("gave");
    free(&lab, "p", "unlocked");
    dies(&lab);
    two.kill();
    becomes_free(&lab, "s");
}

fn who_waits_goes_on_waiting_in_order() {
    let lab = Lab::new(&[]);
    let mut holder = lab.shell();
    holder.ok("exec 9>b; flock 9");
    let mut waiters = Vec::new();
    for number in 1..=4 {
        let script = format!("exec 9>b; flock 9; echo have; read line; echo {number} >>/dev/null");
        waiters.push(lab.spawn("sh", &script));
        eventually("it waits", PATIENCE, || {
            lab.status("b")["waiters"] == number.to_string()
        });
    }
    dies(&lab);
    assert_eq!(lab.status("b")["waiters"], "4");
    holder.kill();
    for (at, mut waiter) in waiters.into_iter().enumerate() {
        waiter.expect("have");
        held_by(&lab, "b", waiter.pid(), "its turn");
        eventually("the others wait", PATIENCE, || {
            lab.status("b")["waiters"] == (3 - at).to_string()
        });
        // Not as often as it gives up at.
        if at < 2 {
            dies(&lab);
        }
        waiter.kill();
    }
    becomes_free(&lab, "b");
}

fn opens_that_wait_go_on_waiting() {
    let lab = Lab::new(&["--open-wait", "20s"]);
    let mut one = lab.shell();
    one.ok("exec 9>b");
    let mut two = lab.spawn("sh", "exec 9>b; echo open; flock 9; echo have; read line");
    eventually("it waits to open", PATIENCE, || {
        std::fs::read_to_string(format!("/proc/{}/wchan", two.pid()))
            .is_ok_and(|at| at.contains("fuse") || at.contains("request_wait"))
    });
    dies(&lab);
    one.ok("flock 9");
    two.expect("open");
    dies(&lab);
    one.kill();
    two.expect("have");
}

fn a_signal_still_ends_a_wait() {
    let lab = Lab::new(&[]);
    let mut holder = lab.shell();
    holder.ok("exec 9>b; flock 9");
    let mut waiter = lab.spawn("sh", "exec 9>b; echo go; flock -w 3 9; echo \"got $?\"");
    waiter.expect("go");
    eventually("it waits", PATIENCE, || lab.status("b")["waiters"] == "1");
    dies(&lab);
    waiter.expect("got 1");
    let mut killed = lab.spawn("sh", "exec 9>b; exec flock 9");
    eventually("it waits", PATIENCE, || lab.status("b")["waiters"] == "1");
    dies(&lab);
    killed.kill();
    eventually("it waits no more", PATIENCE, || {
        lab.status("b")["waiters"] == "0"
    });
}

fn a_board_that_polls_is_told() {
    let lab = Lab::new(&[]);
    let mut holder = lab.shell();
    holder.ok("touch b");
    let polls = "import os, select\nf = os.open('b', os.O_RDONLY)\np = select.poll()\n\
                 p.register(f, select.POLLIN)\nos.read(f, 9999)\nprint('ready', flush=True)\n\
                 while True:\n    p.poll()\n    os.lseek(f, 0, 0)\n    \
                 if b'held' not in os.read(f, 9999): break\nprint('free', flush=True)";
    let mut polls = lab.spawn(crate::client::python(), polls);
    polls.expect("ready");
    dies(&lab);
    holder.ok("rm b");
    polls.expect("free");
}

fn nobody_is_told_an_error_while_it_dies() {
    // Claims, locks and looks without a pause; any errno but those of the contract
    // is an end.
    const CLIENT: &str = "
import errno, fcntl, os, random, sys, time
chosen = random.Random(int(sys.stdin.readline()))
print('ready', flush=True)
mine = 0
until = time.monotonic() + 6
while time.monotonic() < until:
    name = 'b%d' % chosen.randrange(3)
    how = chosen.randrange(3)
    try:
        if how == 0:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            mine += 1
            assert open(name).read().split()[1] == str(os.getpid())
            os.unlink(name)
        elif how == 1:
            f = os.open(name, os.O_CREAT | os.O_RDWR | os.O_APPEND)
            fcntl.flock(f, fcntl.LOCK_EX)
            mine += 1
            assert open(name).read().split()[1] == str(os.getpid())
            os.close(f)
        else:
            os.listdir('.')
            open(name).read()
    except OSError as error:
        assert error.errno in (errno.EEXIST, errno.EBUSY, errno.ENOENT), error
print('done', mine, flush=True)
";
    let lab = Lab::new(&[]);
    let mut clients: Vec<_> = (0..4)
        .map(|seed| {
            let mut client = lab.spawn(crate::client::python(), CLIENT);
            client.say(&seed.to_string());
            client.expect("ready");
            client
        })
        .collect();
    // Not as often as it gives up at.
    for _ in 0..3 {
        dies(&lab);
    }
    for client in &mut clients {
        let line = client.line();
        assert!(line.starts_with("done "), "{line}: {}", client.stderr());
    }
    drop(clients);
    eventually("all are free", PATIENCE, || {
        lab.sh("sh", "ls").ok().stdout.is_empty()
    });
}

/// A client that makes and removes without a pause: what is not its own error is
/// the daemon's.
pub const MAKES_AND_REMOVES: &str = "
import os, time
print('ready', flush=True)
until = time.monotonic() + 6
while time.monotonic() < until:
    os.close(os.open('t', os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    os.link('t', 'l')
    os.rename('l', 'r')
    os.mkdir('d')
    os.rmdir('d')
    os.symlink('x', 's')
    os.unlink('s')
    os.unlink('r')
    os.unlink('t')
print('done', flush=True)
";

fn what_was_done_is_not_done_again() {
    let lab = Lab::new(&[]);
    let mut client = lab.spawn(crate::client::python(), MAKES_AND_REMOVES);
    client.expect("ready");
    for _ in 0..4 {
        dies(&lab);
    }
    let line = client.line();
    assert_eq!(line, "done", "{}", client.stderr());
}

fn whoever_serves_has_few_powers() {
    let lab = Lab::new(&[]);
    let powers = |pid: u32, key: &str| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let value = status.lines().find_map(|line| line.strip_prefix(key));
        u64::from_str_radix(value.unwrap().trim(), 16).unwrap()
    };
    // CAP_DAC_READ_SEARCH, CAP_KILL, CAP_SYS_PTRACE of linux/capability.h, as far as
    // there are any here.
    let needed = powers(std::process::id(), "CapEff:") & (1 << 2 | 1 << 5 | 1 << 19);
    assert_ne!(needed, 0);
    for _ in 0..2 {
        for key in ["CapEff:", "CapPrm:", "CapBnd:"] {
            assert_eq!(powers(lab.daemon_pid(), key), needed, "{key}");
        }
        assert_eq!(powers(lab.daemon_pid(), "CapInh:"), 0);
        dies(&lab);
    }
}

fn a_stop_after_a_death_is_a_stop() {
    let site = Site::new();
    std::fs::create_dir(site.path("locks")).unwrap();
    let daemon = site.serve("locks", &[]);
    let before = serving(daemon.pid());
    kill_process(Pid::from_raw(before.cast_signed()).unwrap(), Signal::KILL).unwrap();
    eventually("another serves", PATIENCE, || {
        daemon.stderr().contains("is served on")
    });
    let pid = Pid::from_raw(daemon.pid().cast_signed()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    daemon.wait(PATIENCE).ok();
    assert_eq!(site.mounts(), 0);
}

fn too_many_deaths_are_an_end() {
    let site = Site::new();
    std::fs::create_dir(site.path("locks")).unwrap();
    let daemon = site.serve("locks", &[]);
    let mut last = 0;
    // The first one may have served for longer, and any if this test is slow.
    eventually("it gives up", PATIENCE, || {
        let serves = serving(daemon.pid());
        if serves != last && serves != daemon.pid() {
            last = serves;
            kill_process(Pid::from_raw(last.cast_signed()).unwrap(), Signal::KILL).unwrap();
        }
        daemon.stderr().contains("gave up serving")
    });
    let output = daemon.wait(PATIENCE).fails(1);
    assert!(output.stderr.contains("gave up serving"), "{output}");
    assert!(output.stderr.contains("5 times in a row"), "{output}");
    // Closed: nothing can be acquired.
    assert!(std::fs::File::create(site.path("locks/b")).is_err());
}

fn without_a_state_file_a_death_is_the_end() {
    let lab = Lab::new(&["--state", "none"]);
    lab.shell().ok("touch b");
    let pid = Pid::from_raw(lab.daemon_pid().cast_signed()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    eventually("it is closed", PATIENCE, || {
        std::fs::File::create(lab.path("b"))
            .is_err_and(|error| error.raw_os_error() == Some(libc::ENOTCONN))
    });
}
