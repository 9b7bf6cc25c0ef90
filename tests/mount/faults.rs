//! The death of the daemon at each point between a request and its answer: nothing
//! is lost, nothing is done twice.

use std::process::Command;
use std::time::Duration;

use boardlock::fault::Point;
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};

use crate::fault::{CAN, Deaths, Faults, RETURNING, SERVING};
use crate::lab::Lab;
use crate::process::{PATIENCE, Running, eventually};
use crate::shown::held_by;
use crate::site::Site;

pub fn tests() -> Vec<Trial> {
    if !CAN {
        return Vec::new();
    }
    trials![
        whoever_serves_dies_at_any_point("python3");
        whoever_is_to_go_on_dies_as_well("python3");
        who_was_given_a_board_by_a_return_waits_no_more("flock");
        a_clock_that_is_set_ends_what_follows_it_and_no_more("bash");
        the_whole_daemon_dies_at_any_point("python3");
        an_open_that_walks_slowly_ends_well("python3");
        an_open_that_walks_through_a_death_ends_well("python3");
    ]
}

/// How often it dies in a test, unless `BOARDLOCK_DEATHS` says so.
const DEATHS: usize = 24;

fn count() -> usize {
    let set = std::env::var("BOARDLOCK_DEATHS").ok();
    set.map_or(DEATHS, |set| {
        set.parse().expect("BOARDLOCK_DEATHS: a number")
    })
}

/// Does everything once, over and over: each call has one right answer.
const CLIENT: &str = "
import errno, fcntl, os, sys, time

def fails(number, call, *args):
    try:
        call(*args)
    except OSError as error:
        assert error.errno == number, (number, error, args)
    else:
        assert False, ('no error', number, args)

def value(name, key):
    return int(os.getxattr(name, 'user.boardlock.' + key))

def told(name, key):
    f = os.open(name, os.O_RDONLY)
    text = os.read(f, 9999).decode()
    os.close(f)
    return dict(line.split(' ', 1) for line in text.splitlines()[1:])[key]

def helper(orders, answers):
    for line in os.fdopen(orders):
        what, name = line.split()
        if what == 'try':
            f = os.open(name, os.O_RDWR)
            fails(errno.EAGAIN, fcntl.flock, f, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fails(errno.EAGAIN, fcntl.lockf, f, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.close(f)
        elif what == 'wait':
            f = os.open(name, os.O_RDWR)
            fcntl.flock(f, fcntl.LOCK_EX)
        elif what == 'give':
            os.close(f)
        os.write(answers, b'.')
    os._exit(0)

orders, answers = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    os.close(orders[1])
    helper(orders[0], answers[1])
os.close(answers[1])

def order(what, name):
    os.write(orders[1], (what + ' ' + name + '\\n').encode())

def answered():
    assert os.read(answers[0], 1) == b'.'

last = 0

def cycle():
    global last
    me = os.getpid()
    f = os.open('t', os.O_CREAT | os.O_EXCL | os.O_RDWR)
    token = value('t', 'token')
    assert token > last, (token, last)
    last = token
    os.write(f, b'note')
    os.close(f)
    assert open('t').read() == 'note'
    fails(errno.EEXIST, os.open, 't', os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    os.link('t', 'l')
    assert os.stat('t').st_nlink == 2
    os.rename('l', 'r')
    assert value('t', 'token') > token
    token = value('t', 'token')
    last = token
    os.utime('r', (1000000000, 1000000000))
    assert os.stat('t').st_mtime == 1000000000
    os.mkdir('d')
    os.close(os.open('d/x', os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    os.unlink('d/x')
    os.rmdir('d')
    os.symlink('x', 's')
    assert sorted(os.listdir('.')) == ['r', 's', 't']
    assert os.readlink('s') == 'x'
    os.unlink('s')
    os.mknod('n')
    os.rename('n', 'm')
    os.unlink('m')
    os.setxattr('t', 'user.boardlock.note', b'mine')
    assert (value('t', 'pid'), value('t', 'token')) == (me, token)
    os.unlink('r')
    os.unlink('t')
    fails(errno.ENOENT, os.unlink, 't')
    g = os.open('g', os.O_CREAT | os.O_RDWR | os.O_APPEND)
    token = value('g', 'token')
    assert token > last, (token, last)
    fcntl.flock(g, fcntl.LOCK_EX)
    last = value('g', 'token')
    assert last >= token
    order('try', 'g')
    answered()
    order('wait', 'g')
    while told('g', 'waiters') != '1':
        time.sleep(0.001)
    assert told('g', 'pid') == str(me)
    fcntl.flock(g, fcntl.LOCK_UN)
    answered()
    assert told('g', 'pid') == str(child)
    assert value('g', 'token') > last
    fails(errno.EAGAIN, fcntl.flock, g, fcntl.LOCK_SH | fcntl.LOCK_NB)
    order('give', 'g')
    answered()
    fcntl.flock(g, fcntl.LOCK_SH)
    os.close(g)
    h = os.open('g', os.O_CREAT | os.O_RDWR)
    fcntl.lockf(h, fcntl.LOCK_EX)
    order('try', 'g')
    answered()
    fcntl.lockf(h, fcntl.LOCK_UN)
    fails(errno.ENOENT, os.stat, 'g')
    os.close(h)
    assert os.listdir('.') == []

print('ready', flush=True)
for line in sys.stdin:
    cycle()
    print('done', flush=True)
";

/// About as often everything that the client does comes by a point.
const PASSAGES: u64 = 150;

/// Points and their passages, all of them in turn, in no order that anything else
/// has.
fn shots(points: &[Point], count: usize) -> impl Iterator<Item = (Point, u64)> {
    (0..count).map(|number| {
        let (round, at) = (number / points.len(), number % points.len());
        (points[at], 1 + round as u64 * 61 % PASSAGES)
    })
}

fn whoever_serves_dies_at_any_point() {
    let faults = Faults::new();
    let lab = Lab::faulty(&[], faults.dir());
    let mut deaths = Deaths::of(lab.supervisor_pid());
    let mut client = lab.spawn(crate::client::python(), CLIENT);
    client.expect("ready");
    for (point, passage) in shots(&SERVING, count()) {
        deaths.pace(1);
        faults.arm(point, passage, "kill");
        while !faults.is_done(point) {
            client.say("go");
            let line = client.line();
            assert_eq!(line, "done", "{point:?} {passage}: {}", client.stderr());
        }
        deaths.all_died(&[faults.by(point)]);
    }
    client.say("go");
    client.expect("done");
}

fn whoever_is_to_go_on_dies_as_well() {
    let faults = Faults::new();
    let lab = Lab::faulty(&[], faults.dir());
    let mut deaths = Deaths::of(lab.supervisor_pid());
    let mut client = lab.spawn(crate::client::python(), CLIENT);
    client.expect("ready");
    for ((point, passage), next) in shots(&SERVING, count() / 2).zip(RETURNING.iter().cycle()) {
        deaths.pace(2);
        faults.arm(*next, 1, "kill");
        // What is due when it begins would end it before another can go on.
        faults.arm(point, passage, "kill");
        while !faults.is_done(point) || !faults.is_done(*next) {
            client.say("go");
            let line = client.line();
            assert_eq!(
                line,
                "done",
                "{point:?} {passage}, {next:?}: {}",
                client.stderr()
            );
        }
        deaths.all_died(&[faults.by(point), faults.by(*next)]);
    }
}

fn who_was_given_a_board_by_a_return_waits_no_more() {
    let faults = Faults::new();
    let lab = Lab::faulty(&[], faults.dir());
    let mut deaths = Deaths::of(lab.supervisor_pid());
    let kill = |pid: u32| kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL);
    let mut holder = lab.shell();
    holder.ok("touch b");
    let script = "exec 9>>b; flock 9; echo have; read line; flock -u 9; echo gave; read line";
    let mut waiter = lab.spawn("sh", script);
    eventually("it waits", PATIENCE, || lab.status("b")["waiters"] == "1");
    // The holder ends while nobody serves.
    faults.arm(Point::Restoring, 1, "stop");
    kill(deaths.serves()).unwrap();
    let serves = stopped(&lab, &faults, Point::Restoring);
    holder.kill();
    kill_process(serves, Signal::CONT).unwrap();
    waiter.expect("have");
    deaths.died();
    kill(deaths.serves()).unwrap();
    deaths.died();
    assert_eq!(lab.status("b")["waiters"], "0");
    waiter.say("unlock");
    waiter.expect("gave");
    lab.sh("sh", "flock -n b true").ok();
}

fn a_clock_that_is_set_ends_what_follows_it_and_no_more() {
    let faults = Faults::new();
    let lab = Lab::faulty(&["--lease", "1h"], faults.dir());
    let mut deaths = Deaths::of(lab.supervisor_pid());
    let mut holder = lab.shell();
    holder.ok("touch leased; date -d '+1 hour' +'%s 0' >detached");
    let left = |board: &str| -> i64 { lab.status(board)["expires_in_seconds"].parse().unwrap() };
    let before = left("leased");
    let token = lab.status("leased")["token"].clone();
    // Back and forth: a lease counts on a clock that nobody sets.
    for ahead in [-86_400, 1800, 0, -7200, 3000] {
        faults.clock(ahead);
        assert_eq!(lab.boards(), ["detached", "leased"], "{ahead}");
        assert!((before - left("leased")).abs() < 60, "{ahead}");
        kill_process(
            Pid::from_raw(deaths.serves().cast_signed()).unwrap(),
            Signal::KILL,
        )
        .unwrap();
        deaths.died();
        deaths.pace(1);
        assert!(
            (before - left("leased")).abs() < 60,
            "{ahead}, after a death"
        );
    }
    faults.clock(4000);
    assert_eq!(lab.boards(), ["leased"]);
    assert_eq!(lab.status("leased")["state"], "held");
    assert_eq!(lab.status("leased")["token"], token);
    faults.clock(0);
    assert_eq!(lab.boards(), ["leased"], "what has expired has expired");
}

/// Takes boards until the daemon is gone, and tells which it has, with their tokens.
const TAKER: &str = "
import os, sys
locks, names = sys.argv[1], ['b%d' % n for n in range(40)]
token = lambda name: int(os.getxattr(locks + '/' + name, 'user.boardlock.token'))
print('ready', flush=True)
last, has = 0, {}
for line in sys.stdin:
    if line == 'take\\n':
        try:
            for name in names + names[::-1]:
                if name in has:
                    del has[name]
                    os.unlink(locks + '/' + name)
                    continue
                os.close(os.open(locks + '/' + name, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
                has[name] = 0
                has[name] = token(name)
                assert has[name] > last, (has, last)
                last = has[name]
        except OSError as error:
            print('gone', error, flush=True)
        else:
            print('all', flush=True)
    else:
        # What was told is there as it was; of one at most nobody was told.
        there = {name: token(name) for name in os.listdir(locks)}
        for name in has:
            assert name in there and has[name] in (0, there[name]), (has, there)
        assert len(there) <= len(has) + 1, (has, there)
        for name in there:
            os.unlink(locks + '/' + name)
        has = {}
        print('right', flush=True)
";

fn the_whole_daemon_dies_at_any_point() {
    let faults = Faults::new();
    let site = Site::new();
    std::fs::create_dir(site.path("locks")).unwrap();
    let serve = || site.serve_with(faults.dir(), "locks");
    let mut daemon = serve();
    let mut command = Command::new(crate::client::python());
    command.args(["-c", TAKER]).arg(site.path("locks"));
    command.current_dir("/");
    let mut client = Running::start(command);
    client.expect("ready");
    for (point, passage) in shots(&SERVING, count() / 4) {
        faults.arm(point, passage, "kill-both");
        while !faults.is_done(point) {
            client.say("take");
            let line = client.line();
            assert!(line.starts_with("gone") || line == "all", "{line}");
        }
        daemon.ended(PATIENCE).expect("it is dead");
        eventually("nobody serves", PATIENCE, || {
            !std::path::Path::new(&format!("/proc/{}", faults.by(point))).exists()
        });
        daemon = serve();
        client.say("look");
        let line = client.line();
        assert_eq!(line, "right", "{point:?} {passage}: {}", client.stderr());
    }
}

/// Takes or opens a board when it is told to.
const TAKES: &str = "
import os, sys
print('ready', flush=True)
try:
    exec(sys.stdin.readline())
    print('done', flush=True)
except OSError as error:
    print(error, flush=True)
sys.stdin.readline()
";

/// Waits until whoever serves has stopped itself.
fn stopped(lab: &Lab, faults: &Faults, point: Point) -> Pid {
    eventually("it stops", PATIENCE, || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", lab.daemon_pid()));
        faults.is_done(point) && stat.is_ok_and(|stat| stat.contains(") T "))
    });
    Pid::from_raw(lab.daemon_pid().cast_signed()).unwrap()
}

/// The board of one that opens it is freed between its being looked up and its being
/// opened, and again when the kernel has walked the path again.
fn freed_twice(meanwhile: impl FnOnce(&Lab, &Faults, &mut Running)) {
    let faults = Faults::new();
    let lab = Lab::faulty(&[], faults.dir());
    let [mut first, mut second, mut opens] = [(); 3].map(|()| {
        let mut client = lab.spawn(crate::client::python(), TAKES);
        client.expect("ready");
        client
    });
    first.say("os.mknod('b')");
    first.expect("done");
    faults.arm(Point::Replying, 1, "stop");
    opens.say("f = os.open('b', os.O_RDWR)");
    let serves = stopped(&lab, &faults, Point::Replying);
    first.kill();
    second.say("os.mknod('b')");
    waits(second.pid());
    // Answer by answer, until it is made again, and was looked up by the second walk.
    loop {
        faults.arm(Point::Replying, 1, "stop");
        kill_process(serves, Signal::CONT).unwrap();
        stopped(&lab, &faults, Point::Replying);
        if let Some(line) = second.next_line(Duration::from_millis(200)) {
            assert_eq!(line, "done");
            break;
        }
    }
    meanwhile(&lab, &faults, &mut second);
    kill_process(stopped(&lab, &faults, Point::Replying), Signal::CONT).unwrap();
    opens.expect("done");
    held_by(&lab, "b", opens.pid(), "opened");
}

/// Waits until a process that was told to waits for the lock directory.
fn waits(pid: u32) {
    eventually("it waits", PATIENCE, || {
        std::fs::read_to_string(format!("/proc/{pid}/wchan"))
            .is_ok_and(|at| at != "0" && !at.contains("pipe"))
    });
}

fn an_open_that_walks_slowly_ends_well() {
    freed_twice(|_, _, second| {
        second.kill();
        std::thread::sleep(Duration::from_millis(1500));
    });
}

fn an_open_that_walks_through_a_death_ends_well() {
    freed_twice(|lab, faults, second| {
        faults.arm(Point::Read, 1, "kill");
        faults.arm(Point::Restoring, 1, "stop");
        kill_process(stopped(lab, faults, Point::Replying), Signal::CONT).unwrap();
        stopped(lab, faults, Point::Restoring);
        second.kill();
    });
}
