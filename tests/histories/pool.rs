//! Client processes, kept from one history to the next: started, told, killed
//! and reaped, with a bound on everything.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use tempfile::TempDir;

use super::action::Action;
use super::client::{ARGUMENT, READY, message};
use super::history::Poke;
use super::record::{self, Record, Time};
use super::sys::now;

/// How long anything may take that must come: far more than it does.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A client process.
pub struct Client {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    log: File,
    /// It is stopped by a signal.
    stopped: bool,
    /// Its pid may be somebody else's by now.
    reaped: bool,
}

/// Client processes for one directory.
pub struct Pool {
    dir: PathBuf,
    logs: TempDir,
    /// The daemon that serves it, if one does.
    daemon: Option<u32>,
    idle: Vec<Client>,
    started: u64,
}

impl Pool {
    /// Clients that are to play in `dir`, a bare one, or served by this process.
    pub fn new(dir: &Path, daemon: Option<u32>) -> Pool {
        let shared = Path::new("/dev/shm");
        let mut temp = tempfile::Builder::new();
        temp.prefix("boardlock-histories-");
        let logs = if shared.is_dir() {
            temp.tempdir_in(shared)
        } else {
            temp.tempdir()
        };
        Pool {
            dir: dir.to_owned(),
            logs: logs.unwrap(),
            daemon,
            idle: Vec::new(),
            started: 0,
        }
    }

    /// Sees to it that so many are ready.
    pub fn prepare(&mut self, count: usize) {
        let missing = count.saturating_sub(self.idle.len());
        let fresh: Vec<Client> = (0..missing).map(|_| self.start()).collect();
        for mut client in fresh {
            assert_eq!(
                client.hear(PATIENCE),
                Some(READY),
                "a client does not start"
            );
            self.idle.push(client);
        }
    }

    /// A client that is ready, its log empty.
    pub fn take(&mut self) -> Client {
        self.prepare(1);
        let client = self.idle.pop().unwrap();
        record::clear(&client.log).unwrap();
        client
    }

    /// Whether they play in a bare directory.
    pub fn bare(&self) -> bool {
        self.daemon.is_none()
    }

    /// What the kernel tells of the daemon.
    pub fn describe_daemon(&self) -> String {
        self.daemon.map_or_else(String::new, describe)
    }

    /// Takes back a client that has finished.
    pub fn give(&mut self, client: Client) {
        self.idle.push(client);
    }

    fn start(&mut self) -> Client {
        let path = self.logs.path().join(self.started.to_string());
        self.started += 1;
        let mut options = File::options();
        options.read(true).write(true).create_new(true);
        let log = options.open(&path).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg(ARGUMENT)
            .arg(&self.dir)
            .arg(&path)
            .arg(if self.bare() { "bare" } else { "served" })
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Client {
            input: child.stdin.take().unwrap(),
            output: child.stdout.take().unwrap(),
            child,
            log,
            stopped: false,
            reaped: false,
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for client in &self.idle {
            client.signal(Signal::KILL);
        }
    }
}

impl Client {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it can be waited for to be heard of.
    pub fn output(&self) -> &ChildStdout {
        &self.output
    }

    /// Tells it what to do; `restart` with a new log.
    pub fn tell(&mut self, restart: bool, actions: &[Action]) {
        // One that is gone is noticed by what it does not say.
        let _ = self.input.write_all(&message(restart, actions));
    }

    /// The next word that it says; none if it ends, or says nothing for so
    /// long.
    pub fn hear(&mut self, limit: Duration) -> Option<u8> {
        if !ready(&self.output, limit) {
            return None;
        }
        let mut word = [0];
        let read = self.output.read(&mut word).unwrap();
        (read == 1).then_some(word[0])
    }

    /// What it has logged.
    pub fn records(&self) -> Vec<Record> {
        record::read(&self.log).unwrap()
    }

    fn signal(&self, signal: Signal) {
        if !self.reaped {
            let _ = kill_process(Pid::from_child(&self.child), signal);
        }
    }

    /// Does something to it.
    pub fn poke(&mut self, poke: Poke) {
        self.stopped = match poke {
            Poke::Stop => true,
            Poke::Continue | Poke::Kill => false,
            Poke::Interrupt | Poke::Restart => self.stopped,
        };
        self.signal(match poke {
            Poke::Interrupt => Signal::USR1,
            Poke::Restart => Signal::USR2,
            Poke::Stop => Signal::STOP,
            Poke::Continue => Signal::CONT,
            Poke::Kill => Signal::KILL,
        });
    }

    /// Whether it is stopped by a signal.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// Waits for its end, and reaps it; when that was done. None if it does
    /// not end.
    pub fn reap(&mut self, limit: Duration) -> Option<Time> {
        // Nobody else reaps it: the pid is still its.
        let pidfd = pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty()).unwrap();
        if !ready(&pidfd, limit) {
            return None;
        }
        self.child.wait().unwrap();
        self.reaped = true;
        Some(now())
    }

    /// Reaps it, and how it ended, for who did not expect it.
    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.reap(PATIENCE)?;
        self.child.try_wait().ok().flatten()
    }

    /// What the kernel tells of it, for who finds it stuck.
    pub fn describe(&self) -> String {
        describe(self.pid())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if !self.reaped {
            self.signal(Signal::KILL);
            // One that hangs in the kernel ends with the mount.
            let _ = self.reap(Duration::from_secs(1));
        }
    }
}

/// What the kernel tells of all threads of a process.
fn describe(pid: u32) -> String {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return format!("pid {pid} is gone");
    };
    let mut text = String::new();
    for thread in threads.flatten() {
        let read = |name: &str| std::fs::read_to_string(thread.path().join(name));
        let status = read("status").unwrap_or_default();
        let of = ["State", "SigPnd", "ShdPnd"];
        let lines = status
            .lines()
            .filter(|line| of.iter().any(|key| line.starts_with(key)));
        let lines: Vec<&str> = lines.collect();
        text.push_str(&format!(
            "thread {:?}: {}; in {}; stack:\n{}",
            thread.file_name(),
            lines.join(", "),
            read("syscall").unwrap_or_default().trim(),
            read("stack").unwrap_or_default()
        ));
    }
    text
}

/// Waits until there is something to read, or the other end is closed.
fn ready(fd: &impl std::os::fd::AsFd, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).unwrap();
        match poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&left)) {
            Ok(count) => return count > 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("poll: {error}"),
        }
    }
}
