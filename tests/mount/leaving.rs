//! "Waiting": a signal, a timeout or its death ends a wait at once, and those
//! behind move up; a thousand who wait cost nothing.

use std::time::Duration;

use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};

use crate::client::Client;
use crate::lab::Lab;
use crate::process::{PATIENCE, Running, eventually};
use crate::shown::held_by;
use crate::waiting::{CLOSE, FLOCK, LOCKF, LOOK, SHARE, UNLOCK, line_up, pids, queue, waiters};

pub fn tests() -> Vec<Trial> {
    trials![
        whoever_leaves_lets_those_behind_move_up("python3", "flock");
        who_shares_goes_on_when_the_one_before_leaves("python3", "flock");
        who_waits_for_a_time_leaves_after_it("python3", "flock");
        one_that_is_stopped_comes_back_at_the_end("python3");
        a_dying_waiter_never_keeps_what_is_freed("python3");
        a_dead_waiters_children_are_no_waiters("python3");
        one_that_waits_twice_leaves_twice("python3");
        a_thousand_wait_and_cost_nothing("python3");
        a_thousand_are_served_one_at_a_time("python3");
    ]
}

/// A program that waits for `b`, and how it is made to leave.
struct Leaver {
    what: &'static str,
    start: fn(&Lab) -> Running,
    leave: fn(&mut Running),
    /// Whether that ends it.
    ends: bool,
}

/// A python that locks `b` once it has done `before`.
fn python(lab: &Lab, before: &str, lock: &str) -> Running {
    let script =
        format!("import fcntl, os, signal, sys, threading, time\n{LOOK}\n{before}\n{lock}\n");
    lab.spawn(crate::client::python(), &script)
}

fn flock(lab: &Lab, args: &str) -> Running {
    lab.spawn("bash", &format!("exec flock {args} b true"))
}

const RAISES: &str = "
after = 0
def handler(signal, frame):
    raise KeyError
signal.signal(signal.SIGUSR1, handler)
";

const SURVIVES: &str = "
try:
    signal.alarm(after)
    fcntl.flock(fd, fcntl.LOCK_EX)
    print('has it', flush=True)
except KeyError:
    print('left', flush=True)
sys.stdin.readline()
";

/// The main thread does what it is told while another waits.
const THREADED: &str = "
wait = lambda: fcntl.flock(fd, fcntl.LOCK_EX)
threading.Thread(target=wait, daemon=True).start()
sys.stdin.readline()
";

const LEAVERS: &[Leaver] = &[
    Leaver {
        what: "SIGKILL",
        start: |lab| python(lab, "", FLOCK),
        leave: Running::kill,
        ends: true,
    },
    Leaver {
        what: "SIGKILL of one that locks with fcntl(2)",
        start: |lab| python(lab, "", LOCKF),
        leave: Running::kill,
        ends: true,
    },
    Leaver {
        what: "SIGINT",
        start: |lab| flock(lab, ""),
        leave: |waiter| waiter.signal(Signal::INT),
        ends: true,
    },
    Leaver {
        what: "SIGTERM",
        start: |lab| flock(lab, ""),
        leave: |waiter| waiter.signal(Signal::TERM),
        ends: true,
    },
    Leaver {
        what: "a handler that raises",
        start: |lab| python(lab, RAISES, SURVIVES),
        leave: |waiter| {
            waiter.signal(Signal::USR1);
            waiter.expect("left");
        },
        ends: false,
    },
    Leaver {
        what: "the exit of another thread",
        start: |lab| python(lab, "", &format!("{THREADED}os._exit(0)")),
        leave: |waiter| waiter.say("go"),
        ends: true,
    },
    Leaver {
        what: "an exec of another thread",
        start: |lab| {
            let exec = "os.execv('/bin/sh', ['sh', '-c', 'echo left; read x'])";
            python(lab, "", &format!("{THREADED}{exec}"))
        },
        leave: |waiter| {
            waiter.say("go");
            waiter.expect("left");
        },
        ends: false,
    },
];

fn starts(lab: &Lab, leaver: &Leaver) -> Running {
    let before = queue(lab, "b").len();
    let waiter = (leaver.start)(lab);
    eventually(leaver.what, PATIENCE, || {
        queue(lab, "b").len() == before + 1
    });
    assert_eq!(queue(lab, "b")[before].pid, waiter.pid());
    waiter
}

fn leaves(leaver: &Leaver, mut waiter: Running) -> Option<Running> {
    (leaver.leave)(&mut waiter);
    if leaver.ends {
        assert!(waiter.ended(PATIENCE).is_some(), "{}", leaver.what);
        return None;
    }
    Some(waiter)
}

fn whoever_leaves_lets_those_behind_move_up() {
    let lab = Lab::new(&[]);
    for leaver in LEAVERS {
        let mut holder = lab.python();
        holder.ok("touch('b')");
        let mut waiting = waiters(&lab, &[FLOCK]);
        let middle = starts(&lab, leaver);
        let mut late = lab.python();
        late.ok(LOOK);
        late.begin(LOCKF);
        waiting.push(late);
        line_up(
            &lab,
            "b",
            &[waiting[0].pid(), middle.pid(), waiting[1].pid()],
        );
        let _lives = leaves(leaver, middle);
        line_up(&lab, "b", &pids(&waiting));
        // The last and the first of the line.
        let last = starts(&lab, leaver);
        let _lives = leaves(leaver, last);
        line_up(&lab, "b", &pids(&waiting));
        drop(waiting);
        line_up(&lab, "b", &[]);
        let first = starts(&lab, leaver);
        let mut second = lab.python();
        second.ok(LOOK);
        second.begin(FLOCK);
        line_up(&lab, "b", &[first.pid(), second.pid()]);
        let _lives = leaves(leaver, first);
        line_up(&lab, "b", &[second.pid()]);
        held_by(&lab, "b", holder.pid(), leaver.what);
        holder.ok("os.unlink('b')");
        second.done(leaver.what);
        second.ok(CLOSE);
        assert_eq!(lab.boards(), [""; 0], "{}", leaver.what);
    }
}

fn who_shares_goes_on_when_the_one_before_leaves() {
    let lab = Lab::new(&[]);
    for leaver in LEAVERS {
        let mut holder = lab.python();
        holder.ok("fd = os.open('b', os.O_CREAT|os.O_RDWR); fcntl.flock(fd, fcntl.LOCK_SH)");
        let alone = starts(&lab, leaver);
        let mut sharer = lab.python();
        sharer.ok(LOOK);
        sharer.begin(SHARE);
        line_up(&lab, "b", &[alone.pid(), sharer.pid()]);
        let _lives = leaves(leaver, alone);
        sharer.done(leaver.what);
        assert_eq!(lab.status("b")["lock"], "shared 2", "{}", leaver.what);
        line_up(&lab, "b", &[]);
    }
}

fn who_waits_for_a_time_leaves_after_it() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    holder.ok("touch('b')");
    let mut waiting = waiters(&lab, &[FLOCK]);
    let from = lab.log().len();
    let timer = "signal.signal(signal.SIGALRM, handler); after = 2";
    let mut by_itself = python(&lab, &format!("{RAISES}\n{timer}"), SURVIVES);
    let by_flock = flock(&lab, "-w 2");
    let mut late = lab.python();
    late.ok(LOOK);
    late.begin(FLOCK);
    waiting.push(late);
    by_itself.expect("left");
    let pid = by_flock.pid();
    by_flock.wait(PATIENCE).fails(1);
    for pid in [pid, by_itself.pid()] {
        let waited = format!("pid {pid} ");
        lab.wait_for_log_from(from, |line| {
            line.contains("b: waited for by ") && line.contains(&waited)
        });
    }
    line_up(&lab, "b", &pids(&waiting));
    holder.ok("os.unlink('b')");
    for next in &mut waiting {
        next.done("lock");
        next.ok(CLOSE);
    }
}

fn one_that_is_stopped_comes_back_at_the_end() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    holder.ok("touch('b')");
    let mut waiting = waiters(&lab, &[FLOCK, FLOCK, LOCKF]);
    let all = pids(&waiting);
    waiting[1].signal(Signal::STOP);
    line_up(&lab, "b", &[all[0], all[2]]);
    waiting[1].signal(Signal::CONT);
    line_up(&lab, "b", &[all[0], all[2], all[1]]);
    // A stopped one is not given what is freed.
    waiting[0].signal(Signal::STOP);
    line_up(&lab, "b", &[all[2], all[1]]);
    holder.ok("os.unlink('b')");
    waiting[2].done("lock");
    waiting[2].ok(UNLOCK);
    waiting[1].done("lock");
    waiting[1].ok(CLOSE);
    // Nobody waits: it is free while the first is stopped, and not remembered.
    assert_eq!(lab.boards(), [""; 0]);
    waiting[0].signal(Signal::CONT);
    waiting[0].done("lock");
    held_by(&lab, "b", waiting[0].pid(), "continued");
}

fn a_dying_waiter_never_keeps_what_is_freed() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    let mut last = lab.python();
    for round in 0..60 {
        let way = if round % 3 == 0 { LOCKF } else { FLOCK };
        holder.ok("touch('b')");
        let mut dying = waiters(&lab, &[way]).pop().unwrap();
        last.ok(LOOK);
        last.begin(FLOCK);
        line_up(&lab, "b", &[dying.pid(), last.pid()]);
        // Both at the same time, one or the other first.
        if round % 2 == 0 {
            dying.signal(Signal::KILL);
            holder.ok("os.unlink('b')");
        } else {
            holder.begin("os.unlink('b')");
            dying.signal(Signal::KILL);
            holder.done("unlink");
        }
        last.done("lock");
        held_by(&lab, "b", last.pid(), "the one behind");
        line_up(&lab, "b", &[]);
        last.ok(CLOSE);
        assert_eq!(lab.boards(), [""; 0]);
        dying.ended().expect("it is killed and does not die");
    }
}

fn a_dead_waiters_children_are_no_waiters() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    holder.ok("touch('b')");
    // A child has its open file, and does not wait.
    let mut dying = lab.python();
    dying.ok(LOOK);
    dying.ok("child = subprocess.Popen(['sleep', '1000'], close_fds=False, pass_fds=[fd])");
    let child = dying.ok("child.pid");
    dying.begin(FLOCK);
    line_up(&lab, "b", &[dying.pid()]);
    let mut next = lab.python();
    next.ok(LOOK);
    next.begin(LOCKF);
    line_up(&lab, "b", &[dying.pid(), next.pid()]);
    dying.kill();
    line_up(&lab, "b", &[next.pid()]);
    holder.ok("os.unlink('b')");
    next.done("lock");
    next.ok(CLOSE);
    assert_eq!(lab.boards(), [""; 0]);
    let child = Pid::from_raw(child.parse().unwrap()).unwrap();
    kill_process(child, Signal::KILL).unwrap();
}

fn one_that_waits_twice_leaves_twice() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    holder.ok("touch('b')");
    let mut twice = lab.python();
    // Two threads, each with an open file, and two more with the same.
    twice.ok("fds = [os.open('b', os.O_RDWR|os.O_APPEND) for _ in range(2)]");
    twice.ok("wait = lambda fd: fcntl.flock(fd, fcntl.LOCK_EX)");
    twice.ok(
        "[threading.Thread(target=wait, args=[fd], daemon=True).start() for fd in fds + fds]; None",
    );
    eventually("all wait", PATIENCE, || queue(&lab, "b").len() == 4);
    let mut next = lab.python();
    next.ok(LOOK);
    next.begin(FLOCK);
    eventually("it waits", PATIENCE, || queue(&lab, "b").len() == 5);
    assert_eq!(queue(&lab, "b")[4].pid, next.pid());
    twice.kill();
    line_up(&lab, "b", &[next.pid()]);
    holder.ok("os.unlink('b')");
    next.done("lock");
}

/// A thousand threads that wait for `b`, each with an open file; those that get
/// it pass it on. Two at a time would be told.
const CROWD: &str = "
import fcntl, os, sys, threading
count = int(sys.stdin.readline())
threading.stack_size(64 * 1024)
inside = had = 0
told = threading.Lock()
def wait():
    global inside, had
    fd = os.open('b', os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    inside += 1
    if inside != 1:
        print('two at a time', flush=True)
    had += 1
    if had == count:
        print('all had it', flush=True)
    inside -= 1
    os.close(fd)
for _ in range(count):
    threading.Thread(target=wait, daemon=True).start()
print('all started', flush=True)
sys.stdin.readline()
";

const MANY: usize = 1000;

fn crowd(lab: &Lab) -> Running {
    let mut crowd = lab.spawn(crate::client::python(), CROWD);
    crowd.say(&MANY.to_string());
    crowd.expect("all started");
    // Each of them is a thread of its own, on a machine that may be busy.
    eventually("a thousand wait", PATIENCE, || {
        lab.status("b")["waiters"] == MANY.to_string()
    });
    crowd
}

/// What /proc tells of the daemon: its threads, the processor time that it has
/// used, in ticks, and how often its threads have gone to sleep.
fn at_work(lab: &Lab) -> (usize, u64, u64) {
    let proc = format!("/proc/{}", lab.daemon_pid());
    let stat = std::fs::read_to_string(format!("{proc}/stat")).unwrap();
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap()..].split(' ').collect();
    let ticks = fields[12].parse::<u64>().unwrap() + fields[13].parse::<u64>().unwrap();
    let mut threads = 0;
    let mut switches = 0;
    for thread in std::fs::read_dir(format!("{proc}/task")).unwrap() {
        threads += 1;
        let status = std::fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        let count = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        switches += count.unwrap().trim().parse::<u64>().unwrap();
    }
    (threads, ticks, switches)
}

/// Panics unless the daemon does nothing for a while.
#[track_caller]
pub fn sleeps_on(lab: &Lab) {
    // Another program on the machine may look at all mounts, so this may need a
    // second look.
    let mut seen = Vec::new();
    for _ in 0..5 {
        let before = at_work(lab);
        std::thread::sleep(Duration::from_millis(1500));
        let after = at_work(lab);
        if before == after {
            return;
        }
        seen.push((before, after));
    }
    panic!("it works while nobody asks: {seen:?}");
}

fn a_thousand_wait_and_cost_nothing() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    holder.ok("touch('b')");
    let (threads, ..) = at_work(&lab);
    let mut crowd = crowd(&lab);
    assert_eq!(at_work(&lab).0, threads, "a thread for a waiter?");
    sleeps_on(&lab);
    // Not all of them are named.
    assert_eq!(queue(&lab, "b").len(), 100);
    // They leave all at once; none is left behind, blocked in the kernel.
    crowd.kill();
    line_up(&lab, "b", &[]);
    assert_eq!(lab.status("b")["waiters"], "0");
    held_by(&lab, "b", holder.pid(), "a thousand have left");
    assert_eq!(at_work(&lab).0, threads);
    holder.ok("os.unlink('b')");
    lab.sh("sh", "touch b && rm b && timeout 10 flock b true")
        .ok();
    assert_eq!(lab.boards(), [""; 0]);
}

fn a_thousand_are_served_one_at_a_time() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    holder.ok("touch('b')");
    let mut crowd = crowd(&lab);
    let mut late: Client = waiters_behind(&lab);
    holder.kill();
    crowd.expect("all had it");
    late.done("lock");
    held_by(&lab, "b", late.pid(), "after a thousand");
    line_up(&lab, "b", &[]);
    late.ok(CLOSE);
    assert_eq!(lab.boards(), [""; 0]);
}

/// One more behind all others.
fn waiters_behind(lab: &Lab) -> Client {
    let before = lab.status("b")["waiters"].parse::<usize>().unwrap();
    let mut late = lab.python();
    late.ok(LOOK);
    late.begin(FLOCK);
    eventually("it waits", PATIENCE, || {
        lab.status("b")["waiters"] == (before + 1).to_string()
    });
    late
}
