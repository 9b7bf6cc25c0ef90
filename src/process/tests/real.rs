//! This system's processes.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::tree::USER;
use crate::lock::caller::{Caller, Standing};
use crate::lock::ids::{Pid, ProcessId, StartTime};
use crate::process::{Lists, Pin, Proc, Reach, Resolver};

/// A child that is killed in the end, and the pids it printed.
struct Spawned {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Spawned {
    fn new(command: &mut Command) -> Spawned {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Spawned { child, lines }
    }

    fn script(shell: &str, string: &str) -> Spawned {
        Spawned::new(Command::new(shell).args(["-c", string]))
    }

    fn pid(&self) -> Pid {
        Pid::new(self.child.id()).unwrap()
    }

    /// The pid on its next line; the wait for it is bounded.
    fn line(&mut self) -> Pid {
        if self.lines.buffer().is_empty() {
            assert!(ready(self.lines.get_ref().as_fd(), 10), "no line came");
        }
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        Pid::new(line.trim().parse().unwrap()).unwrap()
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        // Ends what reads from it, too.
        drop(self.child.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ready(fd: std::os::fd::BorrowedFd<'_>, seconds: i64) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    poll(&mut fds, Some(&time)).unwrap() > 0
}

fn resolver() -> Resolver {
    Resolver::new(Proc::system(), Lists::default())
}

fn caller(pid: Pid, reach: Reach) -> (Caller, Vec<Pin>) {
    resolver().caller(Some(pid), USER, reach).unwrap()
}

fn pids(list: &[ProcessId]) -> Vec<Pid> {
    list.iter().map(|process| process.pid).collect()
}

fn me() -> Pid {
    Pid::new(std::process::id()).unwrap()
}

#[test]
fn a_program_holds_and_its_pin_tells_its_end() {
    let mut cat = Spawned::new(&mut Command::new("cat"));
    // it answers, so it has been exec'd
    cat.child.stdin.as_mut().unwrap().write_all(b"1\n").unwrap();
    cat.line();
    let (caller, pins) = caller(cat.pid(), Reach::Root);
    assert_eq!(pids(caller.lineage()), [cat.pid()]);
    assert_eq!(caller.program, "cat");
    assert_eq!(caller.via(), "cat");
    assert!(pids(&caller.ancestors).contains(&me()));
    let fd = pins[0].fd.as_ref().unwrap();
    assert!(!ready(fd.as_fd(), 0));
    cat.child.kill().unwrap();
    assert!(ready(fd.as_fd(), 10));
    // dead and not yet waited for
    assert!(resolver().standing(cat.pid()).unwrap().is_none());
    cat.child.wait().unwrap();
    assert!(resolver().standing(cat.pid()).unwrap().is_none());
}

#[test]
fn whether_it_is_there_goes_by_its_start_and_its_end() {
    let mut cat = Spawned::new(&mut Command::new("cat"));
    let (caller, _pins) = caller(cat.pid(), Reach::Holder);
    let process = caller.lineage()[0];
    let resolver = resolver();
    assert!(resolver.is_there(process));
    let StartTime(start) = process.start;
    let before = ProcessId {
        start: StartTime(start - 1),
        ..process
    };
    assert!(!resolver.is_there(before));
    cat.child.kill().unwrap();
    cat.child.wait().unwrap();
    assert!(!resolver.is_there(process));
}

#[test]
fn subshells_come_before_their_shell() {
    for shell in ["dash", "bash"] {
        let string = "(sh -c 'echo $PPID'; read x; true); true";
        let mut spawned = Spawned::script(shell, string);
        let sub = spawned.line();
        assert_ne!(sub, spawned.pid());
        let (caller, pins) = caller(sub, Reach::Holder);
        assert_eq!(pids(caller.lineage()), [sub, spawned.pid()], "{shell}");
        assert_eq!(pins.len(), 2);
        assert!(pins.iter().all(|pin| pin.fd.is_some()));
        assert_eq!(pids(&caller.ancestors), [sub, spawned.pid()]);
    }
}

/// The only child of a process.
fn child(of: Pid) -> Pid {
    let list = std::fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap();
    Pid::new(list.trim().parse().unwrap()).unwrap()
}

#[test]
fn a_carrier_passes_on() {
    // cat stands for the tool: it stays to be looked at
    let mut lists = Lists::default();
    lists.add_one_shot("cat").unwrap();
    let resolver = Resolver::new(Proc::system(), lists);
    for (string, via, holder) in [
        ("cat || exit 1", "cat < dash -c < ", None),
        ("cat; work", "cat < dash -c", Some(())),
        (
            "(cat; true) 2>&1",
            "cat < dash (subshell) < dash -c < ",
            None,
        ),
    ] {
        let mut spawned = Spawned::script("dash", string);
        spawned
            .child
            .stdin
            .as_mut()
            .unwrap()
            .write_all(b"1\n")
            .unwrap();
        spawned.line();
        let mut tool = child(spawned.pid());
        if string.starts_with('(') {
            tool = child(tool);
        }
        let (caller, pins) = resolver.caller(Some(tool), USER, Reach::Holder).unwrap();
        assert!(caller.via().starts_with(via), "{}", caller.via());
        let holder = holder.map_or(me(), |()| spawned.pid());
        assert_eq!(pids(caller.lineage()), [holder], "{string}");
        assert_eq!(pins.len(), 1);
    }
}

#[test]
fn who_asks_again_and_again_is_known_until_it_is_another() {
    let resolver = resolver();
    let ask = |pid| resolver.caller(Some(pid), USER, Reach::Holder).unwrap();
    let known = |pid| resolver.known(pid, USER).is_some();
    let mut spawned = Spawned::script("dash", "echo $$; read x; exec cat");
    let pid = spawned.line();
    let found = caller(pid, Reach::Holder).0;
    for time in 0..5 {
        assert_eq!(known(pid), time > 2, "{time}");
        let (caller, pins) = ask(pid);
        assert_eq!(
            (caller.lineage(), &caller.program),
            (found.lineage(), &found.program)
        );
        assert_eq!(caller.via(), found.via());
        assert_eq!(pins[0].process.pid, pid);
    }
    // For whom it asks is told by each request.
    let other = crate::lock::ids::User {
        uid: crate::lock::ids::Uid(7),
        ..USER
    };
    let (asks, _) = resolver.caller(Some(pid), other, Reach::Holder).unwrap();
    let Standing::Process(candidate) = &asks.standing else {
        panic!("{asks:?}");
    };
    assert_eq!((asks.user, candidate.user), (other, other));
    // The same process runs another program.
    let stdin = spawned.child.stdin.as_mut().unwrap();
    stdin.write_all(b"\n1\n").unwrap();
    spawned.line();
    assert!(!known(pid));
    for _ in 0..5 {
        let (caller, pins) = ask(pid);
        assert_eq!(
            (caller.program.as_str(), pids(caller.lineage())),
            ("cat", vec![pid])
        );
        assert!(!ready(pins[0].fd.as_ref().unwrap().as_fd(), 0));
    }
    assert!(known(pid));
    spawned.child.kill().unwrap();
    spawned.child.wait().unwrap();
    assert!(!known(pid));
}

#[test]
fn a_tool_is_not_known_by_what_is_above_it() {
    let mut lists = Lists::default();
    lists.add_one_shot("cat").unwrap();
    let resolver = Resolver::new(Proc::system(), lists);
    let mut spawned = Spawned::script("dash", "cat; work");
    let stdin = spawned.child.stdin.as_mut().unwrap();
    stdin.write_all(b"1\n").unwrap();
    spawned.line();
    let tool = child(spawned.pid());
    for _ in 0..5 {
        let (caller, _) = resolver.caller(Some(tool), USER, Reach::Holder).unwrap();
        assert_eq!(pids(caller.lineage()), [spawned.pid()]);
    }
    assert!(resolver.known(tool, USER).is_none());
}

#[test]
fn a_parent_that_dies_is_not_taken() {
    let mut lists = Lists::default();
    lists.add_one_shot("cat").unwrap();
    let resolver = Resolver::new(Proc::system(), lists);
    for _ in 0..20 {
        let mut spawned = Spawned::script("dash", "cat; work");
        spawned
            .child
            .stdin
            .as_mut()
            .unwrap()
            .write_all(b"1\n")
            .unwrap();
        spawned.line();
        let tool = child(spawned.pid());
        let before = resolver.caller(Some(tool), USER, Reach::Root).unwrap();
        assert_eq!(pids(before.0.lineage()), [spawned.pid()]);
        spawned.child.kill().unwrap();
        // Dying, it is either found with a pin that fires or not found.
        for _ in 0..20 {
            let (caller, pins) = resolver.caller(Some(tool), USER, Reach::Root).unwrap();
            if pids(caller.lineage()) == [spawned.pid()] {
                assert!(ready(pins[0].fd.as_ref().unwrap().as_fd(), 10));
            }
        }
        spawned.child.wait().unwrap();
        let (caller, _) = resolver.caller(Some(tool), USER, Reach::Root).unwrap();
        assert_ne!(pids(caller.lineage()), [spawned.pid()]);
    }
}

#[test]
fn threads_and_numbers() {
    // This thread is none of the process's first.
    let tid = nix::unistd::gettid().as_raw() as u32;
    let tid = Pid::new(tid).unwrap();
    let (caller, pins) = caller(tid, Reach::Holder);
    assert_eq!(caller.requester.map(|process| process.pid), Some(me()));
    assert_eq!(pids(caller.lineage()), [me()]);
    assert_eq!(pins.len(), 1);

    let mut spawned = Spawned::script("dash", "sh -c 'echo $PPID; read x'; read x");
    let shell = spawned.line();
    let named = resolver().written(tid, u64::from(shell.get())).unwrap();
    let (candidate, _) = named.unwrap();
    assert_eq!(pids(&candidate.lineage), [shell]);
    let above = resolver().written(shell, u64::from(me().get())).unwrap();
    assert_eq!(pids(&above.unwrap().0.lineage), [me()]);
    for number in [1, 2, u64::from(u32::MAX)] {
        assert!(resolver().written(tid, number).unwrap().is_none());
    }
}

#[test]
fn an_unseen_thread_is_none() {
    let (caller, pins) = resolver().caller(None, USER, Reach::Root).unwrap();
    assert!(matches!(caller.standing, Standing::Unseen));
    assert!(pins.is_empty());
    // a number that no process has: pid_max is never above 4194304
    let (caller, _) = self::caller(Pid::new(i32::MAX as u32).unwrap(), Reach::Root);
    assert!(matches!(caller.standing, Standing::Orphan(_)));
}
