//! poll(2), select(2) and epoll(7) on a board's open file: readable once the
//! board has changed since the file was read last.

use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::client::Client;
use crate::lab::{Lab, NOBODY};
use crate::process::{PATIENCE, eventually};
use crate::shown::{free, held_by};
use crate::trial::ROOT;
use crate::waiting::{CLOSE, FLOCK, LOCKF, SHARE, UNLOCK, line_up, waiters};

pub fn tests() -> Vec<Trial> {
    trials![
        it_is_readable_at_first_and_after_a_read_not("python3");
        every_change_is_told("python3", ROOT);
        what_is_no_change_is_not_told("python3");
        the_end_of_a_holder_wakes_who_polls("python3");
        expiry_wakes_who_polls("python3");
        it_can_always_be_written_to("python3");
        select_and_epoll_tell_the_same("python3");
        edge_triggered_epoll_tells_each_change("python3");
        many_that_poll_are_all_told("python3");
        each_open_file_has_its_own_view("python3");
        one_file_polled_by_many_processes("python3");
        who_dies_while_it_polls_leaves_nothing("python3");
        a_signal_ends_a_poll("python3");
        a_change_between_asking_and_sleeping_is_told("python3");
        a_program_watches_a_board_without_asking_again("python3");
        a_free_board_is_told_through_the_old_file("python3");
        a_poll_costs_nothing_while_nothing_changes("python3");
    ]
}

/// What a client that polls needs.
const POLLER: &str = "IN, OUT = select.POLLIN, select.POLLOUT; p = select.poll()";
/// Whether there is something new, now.
const NEW: &str = "bool(dict(p.poll(0)).get(fd, 0) & IN)";
/// What a wait without end comes to.
const POLL: &str = "p.poll(None) == [(fd, IN | select.POLLRDNORM)] or p.poll(0)";
/// Reads the status from the start.
const READ: &str = "os.pread(fd, 65536, 0) and None";

/// One that polls `b`, through a file that it only reads.
#[track_caller]
fn poller(lab: &Lab) -> Client {
    poller_of(lab.python())
}

#[track_caller]
fn poller_of(mut me: Client) -> Client {
    me.ok(POLLER);
    me.ok("fd = os.open('b', os.O_RDONLY); p.register(fd, IN | select.POLLRDNORM)");
    me
}

/// Waits until a process sleeps in poll(2) or its like.
#[track_caller]
fn sleeps(pid: u32) {
    eventually("it polls", PATIENCE, || {
        let at = std::fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
        at.contains("poll") || at.contains("select")
    });
}

fn it_is_readable_at_first_and_after_a_read_not() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    holder.ok("touch('b')");
    let mut me = poller(&lab);
    assert_eq!(me.ok(NEW), "True");
    assert_eq!(me.ok(NEW), "True", "until it is read");
    assert_eq!(me.ok(POLL), "True");
    me.ok(READ);
    assert_eq!(me.ok(NEW), "False");
    assert_eq!(me.ok("p.poll(20)"), "[]");
    holder.ok("open('b', 'w').write('note')");
    assert_eq!(me.ok(NEW), "True");
    // It is read from the start; reading on shows the same as before.
    assert!(me.ok("os.pread(fd, 100, 2)").contains("state held"));
    assert_eq!(me.ok(NEW), "True");
    assert_eq!(me.ok("os.pread(fd, 2, 0)"), "b'no'");
    assert_eq!(me.ok(NEW), "False");
    assert_eq!(me.ok("os.pread(fd, 100, 2)"), "b'te'");
}

/// Lets something happen while a client sleeps in a poll without end: it must
/// be told, and find nothing more once it has read.
#[track_caller]
fn told(me: &mut Client, what: &str, happens: impl FnOnce()) {
    me.ok(READ);
    assert_eq!(me.ok(NEW), "False", "before: {what}");
    me.begin(POLL);
    sleeps(me.pid());
    happens();
    assert_eq!(me.done(what), "True", "{what}");
    assert_eq!(me.ok(NEW), "True", "{what}");
}

fn every_change_is_told() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    let mut other = lab.python_as(NOBODY);
    holder.ok("touch('b')");
    let mut me = poller(&lab);
    for change in [
        "open('b', 'w').write('note')",
        "open('b', 'a').write('more')",
        "os.truncate('b', 0)",
        "os.utime('b', (0, time.time() + 3600))",
        "os.setxattr('b', 'user.boardlock.note', b'x')",
        "os.removexattr('b', 'user.boardlock.note')",
        "os.setxattr('b', 'user.boardlock.expires', b'+2h')",
        "os.setxattr('b', 'user.boardlock.expires', b'0')",
        "os.rename('b', 'c')",
        "os.rename('c', 'b')",
        "os.link('b', 'c')",
        "os.unlink('c')",
        "fd = os.open('b', os.O_RDWR); fcntl.flock(fd, fcntl.LOCK_SH)",
        "fcntl.flock(fd, fcntl.LOCK_EX)",
        "fcntl.flock(fd, fcntl.LOCK_UN)",
        LOCKF,
        CLOSE,
    ] {
        told(&mut me, change, || {
            holder.ok(change);
        });
    }
    // Who waits, gives up waiting, gets it, shares it and lets it go.
    other.ok("fd = os.open('b', os.O_RDWR|os.O_APPEND)");
    other.ok("signal.signal(signal.SIGUSR1, lambda *_: sys.exit()) and None");
    told(&mut me, "waits", || other.begin(SHARE));
    told(&mut me, "gives up", || {
        other.signal(Signal::USR1);
        assert!(other.reply().outcome.contains("SystemExit"));
    });
    told(&mut me, "waits again", || other.begin(SHARE));
    told(&mut me, "gets it", || {
        holder.ok("os.unlink('b')");
        other.done(SHARE);
    });
    holder.ok("fd = os.open('b', os.O_RDWR|os.O_APPEND)");
    told(&mut me, "shares", || {
        holder.ok(SHARE);
    });
    told(&mut me, "one less", || {
        other.ok(UNLOCK);
    });
    told(&mut me, "the last", || {
        holder.ok(CLOSE);
    });
    free(&lab, "b", "closed");
    assert_eq!(other.ok("os.fstat(fd).st_nlink"), "0");
    told(&mut me, "made anew", || {
        holder.ok("touch('b')");
    });
    told(&mut me, "freed", || {
        holder.ok("os.unlink('b')");
    });
    told(&mut me, "locked again", || {
        other.ok(FLOCK);
    });
    held_by(&lab, "b", other.pid(), "locked again");
}

fn what_is_no_change_is_not_told() {
    let lab = Lab::new(&[]);
    let (mut holder, mut other) = (lab.python(), lab.python());
    holder.ok("fd = os.open('b', os.O_CREAT|os.O_RDWR)");
    holder.ok(FLOCK);
    let mut me = poller(&lab);
    me.ok(READ);
    for nothing in [
        "opened('b', os.O_RDONLY); read('b') and None",
        "os.stat('b') and None",
        "os.getxattr('b', 'user.boardlock.pid') and None",
        "os.listdir() and None",
        "opened('b', os.O_RDWR|os.O_APPEND)",
        "opened('b', os.O_RDWR)",
        "touch('c'); os.unlink('c')",
        "os.chmod('b', 0o600) and None",
    ] {
        other.ok(nothing);
        assert_eq!(me.ok(NEW), "False", "{nothing}");
    }
    other.ok("fd = os.open('b', os.O_RDWR)");
    for refused in [
        "os.utime('b')",
        "os.write(fd, b'x')",
        "os.open('b', os.O_CREAT|os.O_EXCL)",
        "fcntl.flock(fd, fcntl.LOCK_EX|fcntl.LOCK_NB)",
    ] {
        assert_ne!(other.run(refused).outcome, "ok", "{refused}");
        assert_eq!(me.ok(NEW), "False", "{refused}");
    }
}

fn the_end_of_a_holder_wakes_who_polls() {
    let lab = Lab::new(&[]);
    for take in [
        "touch('b')",
        "fd = os.open('b', os.O_CREAT|os.O_RDWR); fcntl.flock(fd, fcntl.LOCK_EX)",
        "fd = os.open('b', os.O_CREAT|os.O_RDWR); fcntl.lockf(fd, fcntl.LOCK_EX)",
    ] {
        let mut holder = lab.python();
        holder.ok(take);
        let mut me = poller(&lab);
        // Nobody looks at the board but the daemon itself.
        told(&mut me, take, || holder.kill());
        assert!(
            me.ok("os.pread(fd, 65536, 0).decode()")
                .contains("state free")
        );
        free(&lab, "b", take);
    }
}

fn expiry_wakes_who_polls() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    holder.ok("touch('b'); file = open('b', 'w')");
    let mut me = poller(&lab);
    me.ok("look = lambda: (p.poll(None), os.pread(fd, 65536, 0))[1]");
    me.begin("while b'state free' not in look(): pass");
    holder.ok("file.write('%d 0' % (time.time() + 2)); file.close()");
    // Nobody else looks.
    me.done("expiry");
    free(&lab, "b", "expired");
}

fn it_can_always_be_written_to() {
    let lab = Lab::new(&[]);
    let mut me = lab.python();
    me.ok(POLLER);
    me.ok("fd = os.open('b', os.O_CREAT|os.O_RDWR); p.register(fd, OUT | select.POLLWRNORM)");
    let always = "p.poll(None) == [(fd, OUT | select.POLLWRNORM)]";
    assert_eq!(me.ok(always), "True");
    me.ok(READ);
    assert_eq!(me.ok(always), "True");
    me.ok(FLOCK);
    assert_eq!(me.ok(always), "True");
    let mut other = lab.python();
    other.ok("fd = os.open('b', os.O_RDONLY); p = select.poll(); p.register(fd)");
    assert_eq!(other.ok("p.poll(0)[0][1] & select.POLLOUT"), "4");
    me.ok("os.unlink('b')");
    assert_eq!(me.ok(always), "True");
    // Never an error, nor the end.
    assert_eq!(
        other.ok("p.poll(0)[0][1] & (select.POLLERR | select.POLLHUP | select.POLLNVAL)"),
        "0"
    );
}

fn select_and_epoll_tell_the_same() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    holder.ok("touch('b')");
    for (register, now, wait) in [
        (
            "0",
            "fd in select.select([fd], [], [], 0)[0]",
            "select.select([fd], [], []) == ([fd], [], [])",
        ),
        (
            "0",
            "fd in select.select([fd], [fd], [], 0)[0]",
            "select.select([fd], [], [fd])[0] == [fd]",
        ),
        (
            "e = select.epoll(); e.register(fd, select.EPOLLIN)",
            "e.poll(0) == [(fd, select.EPOLLIN)]",
            "e.poll() == [(fd, select.EPOLLIN)]",
        ),
    ] {
        let mut me = lab.python();
        me.ok("fd = os.open('b', os.O_RDONLY)");
        me.ok(register);
        for _ in 0..3 {
            assert_eq!(me.ok(now), "True");
            assert_eq!(me.ok(now), "True", "until it is read");
            me.ok(READ);
            assert_eq!(me.ok(now), "False");
            me.begin(wait);
            sleeps(me.pid());
            holder.ok("os.utime('b'); os.setxattr('b', 'user.boardlock.note', b'x')");
            assert_eq!(me.done(wait), "True");
        }
    }
}

fn edge_triggered_epoll_tells_each_change() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    holder.ok("touch('b')");
    let change = "os.setxattr('b', 'user.boardlock.note', b'x')";
    for flags in ["select.EPOLLET", "select.EPOLLONESHOT"] {
        let mut me = lab.python();
        me.ok("fd = os.open('b', os.O_RDONLY); e = select.epoll()");
        me.ok(&format!(
            "flags = select.EPOLLIN | {flags}; e.register(fd, flags)"
        ));
        for round in 0..4 {
            let ready = "e.poll() == [(fd, select.EPOLLIN)]";
            if round > 0 {
                me.begin(ready);
                sleeps(me.pid());
                holder.ok(change);
                me.done(ready);
            } else {
                assert_eq!(me.ok(ready), "True");
            }
            me.ok(READ);
            if flags == "select.EPOLLONESHOT" {
                me.ok("e.modify(fd, flags)");
            }
            assert_eq!(me.ok("e.poll(0)"), "[]");
            // A change that nobody waits for meanwhile is told the next time, once.
            holder.ok(change);
            assert_eq!(me.ok(ready), "True");
            if flags == "select.EPOLLONESHOT" {
                me.ok("e.modify(fd, flags)");
            }
            me.ok(READ);
        }
        // Many changes in a row are one, or as many.
        for _ in 0..20 {
            holder.ok(change);
        }
        assert_eq!(me.ok("e.poll() == [(fd, select.EPOLLIN)]"), "True");
    }
}

fn many_that_poll_are_all_told() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    holder.ok("touch('b')");
    let mut all: Vec<Client> = (0..12).map(|_| poller(&lab)).collect();
    // And two hundred files of one process.
    let mut many = lab.python();
    many.ok("fds = [os.open('b', os.O_RDONLY) for _ in range(200)]; p = select.poll()");
    many.ok("[p.register(fd, select.POLLIN) for fd in fds]; None");
    let read = "[os.pread(fd, 65536, 0) for fd in fds]; None";
    many.ok(read);
    assert_eq!(many.ok("p.poll(0)"), "[]");
    for change in [
        "os.setxattr('b', 'user.boardlock.note', b'x')",
        "os.utime('b', (0, 1000))",
        "os.unlink('b')",
    ] {
        for me in &mut all {
            me.ok(READ);
            me.begin(POLL);
        }
        many.ok(read);
        many.begin("len(p.poll(None)) > 0");
        for me in &all {
            sleeps(me.pid());
        }
        sleeps(many.pid());
        holder.ok(change);
        for me in &mut all {
            assert_eq!(me.done(change), "True");
        }
        assert_eq!(many.done(change), "True");
        assert_eq!(many.ok("len(p.poll(0))"), "200", "{change}");
    }
}

fn each_open_file_has_its_own_view() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    holder.ok("touch('b')");
    let (mut one, mut two) = (poller(&lab), poller(&lab));
    one.ok(READ);
    assert_eq!(
        (one.ok(NEW).as_str(), two.ok(NEW).as_str()),
        ("False", "True")
    );
    two.ok(READ);
    holder.ok("open('b', 'w').write('note')");
    two.ok(READ);
    assert_eq!(
        (one.ok(NEW).as_str(), two.ok(NEW).as_str()),
        ("True", "False")
    );
    // Another board's changes are none of this one's.
    one.ok(READ);
    holder.ok("touch('c'); os.utime('c', (0, 1)); os.unlink('c')");
    assert_eq!(
        (one.ok(NEW).as_str(), two.ok(NEW).as_str()),
        ("False", "False")
    );
}

fn one_file_polled_by_many_processes() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    holder.ok("touch('b')");
    let mut me = poller(&lab);
    me.ok(READ);
    // Children that poll the same open file, and tell by their end.
    me.ok("poll = lambda: os._exit(p.poll(None) != [(fd, IN | select.POLLRDNORM)])");
    me.ok("kids = [os.fork() or poll() for _ in range(5)]");
    let kids = me.ok("' '.join(map(str, kids))");
    let kids: Vec<u32> = kids.split(' ').map(|pid| pid.parse().unwrap()).collect();
    for kid in &kids {
        sleeps(*kid);
    }
    // Who only asks does not take the others' waking away.
    assert_eq!(me.ok(NEW), "False");
    me.ok(&format!("os.kill(kids.pop(), signal.SIGKILL); {NEW}"));
    holder.ok("os.unlink('b')");
    assert_eq!(
        me.ok("[os.waitpid(kid, 0)[1] for kid in kids]"),
        "[0, 0, 0, 0]"
    );
    assert_eq!(me.ok(NEW), "True");
}

fn who_dies_while_it_polls_leaves_nothing() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    holder.ok("touch('b')");
    for signal in [Signal::KILL, Signal::TERM] {
        let mut dying = poller(&lab);
        let mut me = poller(&lab);
        dying.ok(READ);
        dying.begin(POLL);
        sleeps(dying.pid());
        dying.signal(signal);
        assert!(dying.ended().is_some(), "{signal:?}");
        told(&mut me, "a change", || {
            holder.ok("os.setxattr('b', 'user.boardlock.note', b'x')");
        });
    }
    // At the moment at which it is told.
    for round in 0..30 {
        let mut dying = poller(&lab);
        dying.ok(READ);
        dying.begin(POLL);
        sleeps(dying.pid());
        if round % 2 == 0 {
            dying.signal(Signal::KILL);
            holder.ok("os.utime('b', (0, 1000))");
        } else {
            holder.begin("os.utime('b', (0, 1000))");
            dying.signal(Signal::KILL);
            holder.done("utime");
        }
    }
    let mut me = poller(&lab);
    told(&mut me, "the last change", || holder.kill());
}

fn a_signal_ends_a_poll() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    holder.ok("touch('b')");
    let mut me = poller(&lab);
    me.ok(READ);
    me.ok("up = lambda *_: (_ for _ in ()).throw(InterruptedError(errno.EINTR, ''))");
    me.ok("signal.signal(signal.SIGUSR1, up) and None");
    me.begin(POLL);
    sleeps(me.pid());
    me.signal(Signal::USR1);
    assert_eq!(me.reply().outcome, "EINTR");
    // One that is stopped goes on polling when it goes on.
    me.begin(POLL);
    sleeps(me.pid());
    me.signal(Signal::STOP);
    me.signal(Signal::CONT);
    sleeps(me.pid());
    holder.ok("os.unlink('b')");
    assert_eq!(me.done(POLL), "True");
}

fn a_change_between_asking_and_sleeping_is_told() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    let mut me = lab.python();
    holder.ok("touch('b')");
    me.ok("fd = os.open('b', os.O_RDONLY); p = select.poll(); p.register(fd, select.POLLIN)");
    // As fast as both can: a change that was missed would leave it sleeping.
    holder.ok(
        "write = lambda n: [os.setxattr('b', 'user.boardlock.note', b'%d' % i) for i in range(n)]",
    );
    me.ok("look = lambda: (p.poll(None), os.pread(fd, 65536, 0))[1]");
    me.begin("while b'note 1999\\n' not in look(): pass");
    holder.ok("write(2000) and None");
    me.done("the last change");
    assert_eq!(me.ok("p.poll(0)"), "[]");
}

/// What the README says: read, poll, seek to 0, read.
const WATCH: &str = "
import os, select, sys
fd = os.open('b', os.O_RDONLY)
p = select.poll()
p.register(fd, select.POLLIN)
while True:
    os.lseek(fd, 0, os.SEEK_SET)
    text = b''
    while more := os.read(fd, 64):
        text += more
    told = dict(line.split(' ', 1) for line in text.decode().splitlines()[1:])
    print(told['state'], told['pid'], told['waiters'], told['lock'], flush=True)
    p.poll()
";

fn a_program_watches_a_board_without_asking_again() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    holder.ok("touch('b')");
    let mut watch = lab.spawn(crate::client::python(), WATCH);
    watch.expect(&format!("held {} 0 -", holder.pid()));
    let mut waiting = waiters(&lab, &[FLOCK]);
    watch.expect(&format!("held {} 1 -", holder.pid()));
    holder.ok("os.unlink('b')");
    waiting[0].done(FLOCK);
    let locked = format!("held {} 0 exclusive", waiting[0].pid());
    // More than one change is told as one, or as several.
    while watch.line() != locked {}
    waiting[0].kill();
    while watch.line() != "free - 0 -" {}
    holder.ok("touch('b')");
    while watch.line() != format!("held {} 0 -", holder.pid()) {}
}

fn a_free_board_is_told_through_the_old_file() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    holder.ok("touch('b')");
    let mut me = poller(&lab);
    told(&mut me, "freed", || {
        holder.ok("os.unlink('b')");
    });
    assert!(
        me.ok("os.pread(fd, 65536, 0).decode()")
            .starts_with("0 0\n")
    );
    // Another file that gets the name: the old one is not told of what it is not.
    let mut other = lab.python();
    other.ok("os.mkdir('b')");
    assert_eq!(me.ok(NEW), "False");
    other.ok("os.rmdir('b')");
    told(&mut me, "its name is used again", || {
        other.ok("touch('b')");
    });
    // Who waits through it is told of as others are.
    let mut waiting = lab.python();
    waiting.ok("fd = os.open('b', os.O_RDONLY)");
    told(&mut me, "waited for", || {
        waiting.begin(SHARE);
        line_up(&lab, "b", &[waiting.pid()]);
    });
}

fn a_poll_costs_nothing_while_nothing_changes() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    holder.ok("touch('b')");
    let mut all: Vec<Client> = (0..5).map(|_| poller(&lab)).collect();
    for me in &mut all {
        me.ok(READ);
        me.begin(POLL);
        sleeps(me.pid());
    }
    crate::leaving::sleeps_on(&lab);
    holder.ok("os.unlink('b')");
    for me in &mut all {
        assert_eq!(me.done(POLL), "True");
    }
}
