//! Callers, and others, in the midst of execve(2): it closes files with a lock
//! held that some of /proc waits for, and waits itself for whoever serves them.

use std::sync::{Arc, Mutex};

use fuser::{BackgroundSession, ReplyEmpty};
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};

use crate::lab::Lab;
use crate::one_file::{Does, OneFile};
use crate::process::{PATIENCE, Running, eventually};
use crate::shown::{becomes_held_by, free, held_by};
use crate::site::Site;
use crate::trial::ROOT;

pub fn tests() -> Vec<Trial> {
    trials![
        who_execs_with_a_board_open_holds_up_nobody("python3");
        a_caller_below_one_in_execve_holds_up_nobody_else(ROOT, "python3");
        a_board_whose_opener_is_in_execve_is_shown_and_given_back(ROOT, "python3", "flock");
        somebody_in_execve_holds_up_no_search(ROOT, "python3", "flock");
        a_poller_that_is_asked_for_holds_up_no_search("python3", "flock");
    ]
}

/// A file system that has one file, which nobody gets closed.
#[derive(Clone, Default)]
struct NeverClosed(Arc<Mutex<Vec<ReplyEmpty>>>);

impl Does for NeverClosed {
    fn closed(&self, reply: ReplyEmpty) {
        self.0.lock().unwrap().push(reply);
    }
}

/// The file system, served. Its end lets go of who waits for it.
struct Stuck {
    mount: Option<BackgroundSession>,
    fs: NeverClosed,
    site: Site,
}

impl Stuck {
    fn new() -> Stuck {
        let site = Site::new();
        let dir = site.path("never");
        std::fs::create_dir(&dir).unwrap();
        let fs = NeverClosed::default();
        let mount = fuser::spawn_mount(OneFile(fs.clone()), &dir, &Default::default()).unwrap();
        Stuck {
            mount: Some(mount),
            fs,
            site,
        }
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        drop(self.mount.take());
        self.fs.0.lock().unwrap().clear();
    }
}

/// A python that does something, opens the file close-on-exec, and is in
/// execve(2) from then on.
fn in_execve(lab: &Lab, stuck: &Stuck, before: &str) -> Running {
    let file = stuck.site.path("never").join("f");
    let before_it = stuck.fs.0.lock().unwrap().len();
    let script = format!(
        "import fcntl, os, subprocess, sys\n{before}\nfd = os.open('{}', os.O_RDWR)\n\
         os.execv('/bin/sleep', ['sleep', '1000'])\n",
        file.display()
    );
    let mut running = lab.spawn(crate::client::python(), &script);
    running.expect("ready");
    eventually("it is in execve", PATIENCE, || {
        stuck.fs.0.lock().unwrap().len() > before_it
    });
    running
}

/// Others can do whatever they do: each a client of its own, that is waited for
/// with a bound. Nothing here asks the lock directory by itself.
#[track_caller]
fn others_go_on(lab: &Lab) {
    let mut other = lab.shell();
    other.ok("timeout 20 sh -c 'touch other && cat other >&2 && ls >&2 && rm other'");
    other.ok("timeout 20 flock other2 true && touch other3 && rm other3");
    other.end();
}

fn who_execs_with_a_board_open_holds_up_nobody() {
    // A lock that is let go by execve(2), as other languages than shells do it,
    // while others look who has it.
    const EXECS: &str = "
import fcntl, os, sys
left = int(os.environ.get('LEFT', '150'))
fd = os.open('b', os.O_CREAT|os.O_RDWR)
fcntl.flock(fd, fcntl.LOCK_EX)
if left:
    os.environ['LEFT'] = str(left - 1)
    os.execv(sys.executable, [sys.executable] + sys.argv)
print('done', flush=True)
";
    const LOOKS: &str = "
print('ready', flush=True)
while True:
    try:
        open('b').read()
    except OSError:
        pass
";
    let lab = Lab::new(&[]);
    let mut looks: Vec<Running> = (0..2)
        .map(|_| lab.spawn(crate::client::python(), LOOKS))
        .collect();
    for one in &mut looks {
        one.expect("ready");
    }
    let mut execs = lab.spawn(crate::client::python(), EXECS);
    execs.expect("done");
    others_go_on(&lab);
}

fn a_caller_below_one_in_execve_holds_up_nobody_else() {
    let lab = Lab::new(&[]);
    let stuck = Stuck::new();
    // A child of it takes a board, by a tool: for whom, its parent decides.
    let before = "
if os.fork() == 0:
    sys.stdin.readline()
    os.execvp('sh', ['sh', '-c', 'touch b; echo touched $?'])
print('ready', flush=True)";
    let mut caller = in_execve(&lab, &stuck, before);
    others_go_on(&lab);
    caller.say("go");
    others_go_on(&lab);
    // It is told nevertheless.
    assert!(caller.line().starts_with("touched "));
    others_go_on(&lab);
    drop(stuck);
    others_go_on(&lab);
}

fn a_board_whose_opener_is_in_execve_is_shown_and_given_back() {
    let lab = Lab::new(&[]);
    let stuck = Stuck::new();
    let before = "
b = os.open('b', os.O_CREAT|os.O_RDWR)
fcntl.flock(b, fcntl.LOCK_EX)
os.set_inheritable(b, True)
print('ready', flush=True)";
    let holder = in_execve(&lab, &stuck, before);
    let mut other = lab.shell();
    other.ok("timeout 20 cat b >&2; timeout 20 ls -l b >&2");
    other.ok("! timeout 20 touch b");
    other.ok("! timeout 20 flock -n b true");
    others_go_on(&lab);
    // Once it goes on, all is as ever.
    drop(stuck);
    eventually("it has gone on", PATIENCE, || {
        std::fs::read_to_string(format!("/proc/{}/comm", holder.pid()))
            .is_ok_and(|name| name == "sleep\n")
    });
    held_by(&lab, "b", holder.pid(), "it has gone on");
    drop(holder);
    free(&lab, "b", "it is gone");
}

fn somebody_in_execve_holds_up_no_search() {
    let lab = Lab::new(&[]);
    let stuck = Stuck::new();
    let _elsewhere = in_execve(&lab, &stuck, "print('ready', flush=True)");
    let mut script = lab.shell();
    let child: u32 = script
        .ok("exec 9>b; flock 9; sleep 1000 & echo $!")
        .parse()
        .unwrap();
    script.kill();
    // Who has it now is looked for among all processes.
    let mut other = lab.shell();
    other.ok("timeout 20 cat b >&2");
    others_go_on(&lab);
    becomes_held_by(&lab, "b", child);
    let child = Pid::from_raw(child.cast_signed()).unwrap();
    kill_process(child, Signal::KILL).unwrap();
}

fn a_poller_that_is_asked_for_holds_up_no_search() {
    let lab = Lab::new(&[]);
    let mut script = lab.shell();
    let child: u32 = script
        .ok("exec 9>b; flock 9; sleep 1000 & echo $!")
        .parse()
        .unwrap();
    // Adds and removes boards to an epoll, which asks us with that epoll locked.
    let polls = "
import os, select
fds = [os.open('b', os.O_RDONLY) for _ in range(20)]
print('ready', flush=True)
while True:
    e = select.epoll()
    for fd in fds:
        e.register(fd, select.EPOLLIN)
    e.poll(0)
    e.close()
";
    let mut polls: Vec<Running> = (0..2)
        .map(|_| lab.spawn(crate::client::python(), polls))
        .collect();
    for one in &mut polls {
        one.expect("ready");
    }
    script.kill();
    let mut other = lab.shell();
    for _ in 0..8 {
        // Searches are made so often at most.
        other.ok("timeout 20 cat b >&2; sleep 0.5");
    }
    drop(polls);
    becomes_held_by(&lab, "b", child);
    let child = Pid::from_raw(child.cast_signed()).unwrap();
    kill_process(child, Signal::KILL).unwrap();
}
