//! Actors of a play: programs that do one thing at a time, and can be seen to
//! wait in it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::side::Side;
use super::waiting::{self, Asleep};
use crate::client::python;
use crate::process::{PATIENCE, Running, eventually};
use crate::trial::{libraries, which};

/// What an actor is; its first letter in a play tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `a` to `h`: makes system calls.
    Python,
    /// `s` to `w`: runs tools.
    Shell,
    /// `p` to `r`: perl's own calls.
    Perl,
    /// `j` to `m`: a FileChannel.
    Java,
}

impl Kind {
    fn of(name: &str) -> Kind {
        match name.chars().next() {
            Some('a'..='h') => Kind::Python,
            Some('s'..='w') => Kind::Shell,
            Some('p'..='r') => Kind::Perl,
            Some('j'..='m') => Kind::Java,
            _ => panic!("what is {name}?"),
        }
    }
}

/// The answer to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done, and went like this.
    Done(String),
    /// It waits for a lock.
    Blocked,
}

/// A command that is not done.
#[derive(Default)]
struct Pending {
    tid: Option<u32>,
    said: Vec<String>,
    done: Option<String>,
    waiter: Option<Asleep>,
}

/// A program that does what it is told.
pub struct Actor {
    running: Running,
    dir: PathBuf,
    pending: HashMap<String, Pending>,
}

impl Actor {
    /// Starts one, of the kind that its name tells.
    #[track_caller]
    pub fn new(side: &Side, name: &str) -> Actor {
        let running = match Kind::of(name) {
            Kind::Python => {
                let program = include_str!("actor.py")
                    .replace("@LIBRARIES@", &libraries().display().to_string());
                side.spawn(python(), &program)
            }
            Kind::Shell => side.spawn("bash", include_str!("actor.sh")),
            Kind::Perl => side.spawn("perl", include_str!("actor.pl")),
            Kind::Java => side.start(java()),
        };
        Actor {
            running,
            dir: side.dir().to_owned(),
            pending: HashMap::new(),
        }
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// Tells one of its threads to do something.
    #[track_caller]
    pub fn tell(&mut self, thread: &str, command: &str) {
        let before = self.pending.insert(thread.to_owned(), Pending::default());
        assert!(before.is_none(), "{thread} is at work still");
        self.running.say(&format!("{thread} {command}"));
    }

    /// How it went. Whether it waits is looked at only where that is expected:
    /// an answer can be late on a busy machine.
    pub fn answer(&mut self, thread: &str, may_wait: bool) -> Answer {
        let deadline = Instant::now() + PATIENCE;
        loop {
            while let Some(line) = self.running.next_line(Duration::ZERO) {
                self.hear(&line);
            }
            let Some(pending) = self.pending.get_mut(thread) else {
                return Answer::Done("it was told nothing".to_owned());
            };
            if pending.done.is_some() {
                let done = self.pending.remove(thread).and_then(|it| it.done);
                return Answer::Done(done.unwrap_or_default());
            }
            let late = Instant::now() > deadline;
            if may_wait || late {
                let (pid, tid) = (self.running.pid(), pending.tid);
                pending.waiter = waiting::waiter(pid, tid, &self.dir);
                if pending.waiter.is_some() {
                    return Answer::Blocked;
                }
            }
            if late {
                let said = pending.said.join("; ");
                return Answer::Done(format!("no answer; {said}"));
            }
            if self.running.ended(Duration::ZERO).is_some() {
                return Answer::Done("it has ended".to_owned());
            }
            if let Some(line) = self.running.next_line(Duration::from_millis(2)) {
                self.hear(&line);
            }
        }
    }

    fn hear(&mut self, line: &str) {
        let mut words = line.splitn(3, ' ');
        match (words.next(), words.next(), words.next()) {
            (Some("+"), Some(thread), Some(tid)) => {
                if let Some(pending) = self.pending.get_mut(thread) {
                    pending.tid = tid.parse().ok().filter(|tid| *tid != 0);
                }
            }
            (Some("="), Some(thread), Some(outcome)) => {
                if let Some(pending) = self.pending.get_mut(thread) {
                    // A shell's answer begins on a line of its own.
                    pending.said.pop_if(|last| last.is_empty());
                    pending.said.push(outcome.to_owned());
                    pending.done = Some(pending.said.join("; "));
                }
            }
            _ => {
                // The main thread's alone prints.
                if let Some(pending) = self.pending.get_mut("-") {
                    pending.said.push(without_place(line).to_owned());
                }
            }
        }
    }

    /// Signals the process that was seen to wait. After STOP and CONT it is
    /// waited until that is so.
    #[track_caller]
    pub fn signal_waiter(&mut self, thread: &str, signal: Signal) {
        let waiter = self
            .pending
            .get(thread)
            .and_then(|pending| pending.waiter.clone())
            .expect("it was not seen to wait");
        let pid = Pid::from_raw(waiter.pid.cast_signed()).unwrap();
        kill_process(pid, signal).unwrap();
        let stopped = || waiting::state(waiter.pid) == Some('T');
        if signal == Signal::STOP || signal == Signal::TSTP {
            eventually("it is stopped", PATIENCE, stopped);
        } else if signal == Signal::CONT {
            eventually("it goes on", PATIENCE, || !stopped());
        }
    }

    /// Kills it alone; its children go on.
    pub fn kill(&mut self) {
        self.running.kill();
    }
}

/// What a shell says without where it says so: `/x/script-0: line 7: `.
fn without_place(line: &str) -> &str {
    let Some((before, rest)) = line.split_once(": line ") else {
        return line;
    };
    match rest.split_once(": ") {
        Some((number, what)) if before.starts_with('/') && number.parse::<u32>().is_ok() => what,
        _ => line,
    }
}

/// The actor in Java, compiled once: a program in one source file would be
/// compiled by every start of it.
fn java() -> Command {
    static CLASSES: OnceLock<TempDir> = OnceLock::new();
    let classes = CLASSES.get_or_init(|| {
        let temp = tempfile::tempdir().unwrap();
        let source = temp.path().join("Actor.java");
        std::fs::write(&source, include_str!("Actor.java")).unwrap();
        let compiled = Command::new(which("javac").expect("javac"))
            .arg("-d")
            .arg(temp.path())
            .arg(&source)
            .status();
        assert!(compiled.unwrap().success(), "Actor.java");
        temp
    });
    let mut command = Command::new(which("java").expect("java"));
    // Nothing here is worth a second compiler, or much memory.
    command
        .args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx64m"])
        .arg("-cp")
        .arg(classes.path())
        .arg("Actor");
    command
}
