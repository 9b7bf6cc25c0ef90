//! Clients that a test talks to: a shell or a python that does one thing at a
//! time, as a holder of its own, and tells how it went.

use std::collections::HashMap;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::lab::Lab;
use crate::process::{Output, PATIENCE, Running};

/// How long it takes at most until what a tool says is read.
const STDERR: Duration = Duration::from_secs(5);

/// Runs each line that it is given; tells its exit status.
const SHELL: &str =
    r#"while IFS= read -r line; do eval "$line" </dev/null; printf '\n= %s\n' $?; done"#;

/// The same with expressions and statements of python; tells `ok` or the errno.
const PYTHON: &str = r"
import ctypes, errno, fcntl, os, select, signal, socket, stat, struct, subprocess, sys, threading, time

errno.errorcode[errno.EOPNOTSUPP] = 'EOPNOTSUPP'  # the same as ENOTSUP
libc = ctypes.CDLL(None, use_errno=True)
NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4

def renameat2(old, new, flags):
    if libc.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), flags) != 0:
        raise OSError(ctypes.get_errno(), 'renameat2')

def fallocate(fd, length):
    if libc.fallocate(fd, 0, ctypes.c_long(0), ctypes.c_long(length)) != 0:
        raise OSError(ctypes.get_errno(), 'fallocate')

def touch(board):
    os.close(os.open(board, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))

def opened(board, flags):
    os.close(os.open(board, flags, 0o666))

def read(board):
    with open(board) as file:
        return file.read()

for line in iter(sys.stdin.readline, ''):
    try:
        try:
            code = compile(line.strip(), 'line', 'eval')
        except SyntaxError:
            exec(line, globals())
            value = None
        else:
            value = eval(code, globals())
        if value is not None:
            print(value)
        outcome = 'ok'
    except OSError as error:
        outcome = errno.errorcode[error.errno]
    except BaseException as error:
        outcome = repr(error)
    print('\n=', outcome, flush=True)
";

/// A python that every user can run: the first in the path may lie in root's
/// home.
pub fn python() -> &'static str {
    let of_the_system = "/usr/bin/python3";
    if std::path::Path::new(of_the_system).exists() {
        of_the_system
    } else {
        "python3"
    }
}

/// What a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A bash, whose commands are tools.
    Shell,
    /// A python, whose commands are system calls.
    Python,
}

/// How one command went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The exit status of a shell's command; of python `ok` or the errno.
    pub outcome: String,
    /// What it printed.
    pub said: Vec<String>,
}

/// A client; a holder of its own.
pub struct Client {
    kind: Kind,
    running: Running,
}

impl Client {
    fn start(lab: &Lab, kind: Kind, uid: Option<u32>) -> Client {
        let (shell, script) = match kind {
            Kind::Shell => ("bash", SHELL),
            Kind::Python => (python(), PYTHON),
        };
        let running = match uid {
            None => lab.spawn(shell, script),
            Some(uid) => lab.spawn_as(uid, shell, script),
        };
        Client { kind, running }
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its pid, and that of the holder of what it takes.
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// Lets it do something, to its end.
    #[track_caller]
    pub fn run(&mut self, command: &str) -> Reply {
        self.begin(command);
        self.reply()
    }

    /// Lets it do something that may take until others have done something.
    #[track_caller]
    pub fn begin(&mut self, command: &str) {
        self.running.say(command);
    }

    /// How what it has begun went, once it is done.
    #[track_caller]
    pub fn reply(&mut self) -> Reply {
        let mut said: Vec<String> = Vec::new();
        loop {
            let line = self.running.line();
            match line.strip_prefix("= ") {
                Some(outcome) => {
                    let outcome = outcome.to_owned();
                    // Its output may end without a newline: one comes before this.
                    said.pop_if(|last| last.is_empty());
                    return Reply { outcome, said };
                }
                None => said.push(line),
            }
        }
    }

    /// The same where it must succeed; what it printed.
    #[track_caller]
    pub fn ok(&mut self, command: &str) -> String {
        self.begin(command);
        self.done(command)
    }

    /// Waits until what it has begun has succeeded; what it printed.
    #[track_caller]
    pub fn done(&mut self, command: &str) -> String {
        let reply = self.reply();
        let fine = match self.kind {
            Kind::Shell => "0",
            Kind::Python => "ok",
        };
        assert_eq!(
            reply.outcome,
            fine,
            "{command}; {:?}; stderr: {}",
            reply.said,
            self.running.stderr()
        );
        reply.said.join("\n")
    }

    /// The same where it must fail: with this errno, or of a shell's command,
    /// for which the errno stands in what its tool says.
    #[track_caller]
    pub fn refused(&mut self, command: &str, errno: &str) {
        let heard = self.running.stderr().len();
        let reply = self.run(command);
        if self.kind == Kind::Python {
            assert_eq!(reply.outcome, errno, "{command}; {:?}", reply.said);
            return;
        }
        assert_ne!(reply.outcome, "0", "{command}; {:?}", reply.said);
        let words = words(errno);
        // What it says comes through a pipe of its own.
        let deadline = Instant::now() + STDERR;
        while !self.running.stderr()[heard..].contains(words) {
            let said = &self.running.stderr()[heard..];
            assert!(Instant::now() < deadline, "{command} says: {said}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Kills it alone; its children go on.
    pub fn kill(&mut self) {
        self.running.kill();
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.running.signal(signal);
    }

    /// Ends its input, and with it the client.
    #[track_caller]
    pub fn end(mut self) -> Output {
        self.running.close();
        self.running.wait(PATIENCE)
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.running.ended(PATIENCE)
    }
}

/// What tools say for an errno.
fn words(errno: &str) -> &'static str {
    match errno {
        "EBUSY" => "Device or resource busy",
        "EAGAIN" => "Resource temporarily unavailable",
        "EEXIST" => "File exists",
        "EPERM" => "Operation not permitted",
        "EINVAL" => "Invalid argument",
        "ENOENT" => "No such file or directory",
        "EFBIG" => "File too large",
        "EDQUOT" => "Disk quota exceeded",
        "ENOSPC" => "No space left on device",
        "ENOTEMPTY" => "Directory not empty",
        "ENAMETOOLONG" => "File name too long",
        "EOPNOTSUPP" => "Operation not supported",
        other => panic!("what do tools say for {other}?"),
    }
}

impl Lab {
    /// A client that runs tools.
    #[track_caller]
    pub fn shell(&self) -> Client {
        Client::start(self, Kind::Shell, None)
    }

    /// The same as another user.
    #[track_caller]
    pub fn shell_as(&self, uid: u32) -> Client {
        Client::start(self, Kind::Shell, Some(uid))
    }

    /// A client that makes system calls.
    #[track_caller]
    pub fn python(&self) -> Client {
        Client::start(self, Kind::Python, None)
    }

    /// The same as another user.
    #[track_caller]
    pub fn python_as(&self, uid: u32) -> Client {
        Client::start(self, Kind::Python, Some(uid))
    }

    /// An extended attribute of a board, by its name after `user.boardlock.`.
    pub fn xattr(&self, board: &str, key: &str) -> Option<String> {
        let mut value = vec![0; 8192];
        let name = format!("user.boardlock.{key}");
        let length =
            rustix::fs::lgetxattr(self.path(board), name.as_str(), value.as_mut_slice()).ok()?;
        value.truncate(length);
        Some(String::from_utf8(value).unwrap())
    }

    /// The holder's pid; 0 of a detached claim, none if the board is free.
    pub fn holder(&self, board: &str) -> Option<u32> {
        Some(self.xattr(board, "pid")?.parse().unwrap())
    }

    /// The same where the board may be a symbolic link, whose extended
    /// attributes nobody can read: the log tells who made it.
    #[track_caller]
    pub fn holder_of_any(&self, board: &str) -> Option<u32> {
        let about = std::fs::symlink_metadata(self.path(board)).ok()?;
        if !about.is_symlink() {
            return self.holder(board);
        }
        let told = format!("{board}: acquired by ");
        self.wait_for_log(|line| line.contains(&told));
        let log = self.log();
        let line = log.iter().rev().find(|line| line.contains(&told))?;
        let (_, rest) = line.split_once(", pid ")?;
        rest.split(' ').next()?.parse().ok()
    }

    /// The lines of the status, by key; the first one, `EXPIRY PID`, has none.
    #[track_caller]
    pub fn status(&self, board: &str) -> HashMap<String, String> {
        let text = std::fs::read_to_string(self.path(board)).unwrap();
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default().to_owned();
        lines
            .filter_map(|line| line.split_once(' '))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .chain([(String::new(), first)])
            .collect()
    }

    /// What is in the lock directory.
    pub fn boards(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.dir())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}
