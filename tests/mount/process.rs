//! Child processes with a bound on everything: a test fails, it never hangs,
//! and leaves nobody behind.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, kill_process_group, pidfd_open};

/// How long a test waits for what must come: far more than it takes.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `true`, looking often; panics with `what` after `limit`.
pub fn eventually(what: &str, limit: Duration, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !so() {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Lines that a thread reads from a pipe, for whoever waits for one.
#[derive(Clone, Default)]
pub struct Lines {
    shared: Arc<(Mutex<Heard>, Condvar)>,
}

#[derive(Default)]
struct Heard {
    lines: Vec<String>,
    ended: bool,
}

impl Lines {
    /// Starts to read.
    pub fn of(pipe: impl Read + Send + 'static) -> Lines {
        let lines = Lines::default();
        let to = lines.clone();
        std::thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while pipe.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                let text = String::from_utf8_lossy(&line);
                to.shared
                    .0
                    .lock()
                    .unwrap()
                    .lines
                    .push(text.trim_end_matches('\n').to_owned());
                to.shared.1.notify_all();
                line.clear();
            }
            to.shared.0.lock().unwrap().ended = true;
            to.shared.1.notify_all();
        });
        lines
    }

    /// All lines so far.
    pub fn all(&self) -> Vec<String> {
        self.shared.0.lock().unwrap().lines.clone()
    }

    /// All lines so far, as they were.
    pub fn text(&self) -> String {
        self.all().iter().map(|line| format!("{line}\n")).collect()
    }

    /// Waits until a line from the `from`th on is as wanted: its index and
    /// text. None when `limit` is over or no more lines can come.
    pub fn find(
        &self,
        from: usize,
        limit: Duration,
        mut wanted: impl FnMut(&str) -> bool,
    ) -> Option<(usize, String)> {
        let deadline = Instant::now() + limit;
        let mut seen = from;
        let mut read = self.shared.0.lock().unwrap();
        loop {
            while seen < read.lines.len() {
                if wanted(&read.lines[seen]) {
                    return Some((seen, read.lines[seen].clone()));
                }
                seen += 1;
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            if read.ended {
                return None;
            }
            read = self.shared.1.wait_timeout(read, left).unwrap().0;
        }
    }

    /// Waits until the other end is closed; whether it is.
    pub fn wait_end(&self, limit: Duration) -> bool {
        let read = self.shared.0.lock().unwrap();
        self.shared
            .1
            .wait_timeout_while(read, limit, |read| !read.ended)
            .unwrap()
            .0
            .ended
    }
}

/// What a program did.
#[derive(Debug, Clone)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// Panics unless it exited with 0.
    #[track_caller]
    pub fn ok(self) -> Output {
        assert!(self.status.success(), "{self}");
        self
    }

    /// Panics unless it exited with `code`.
    #[track_caller]
    pub fn fails(self, code: i32) -> Output {
        assert_eq!(self.status.code(), Some(code), "{self}");
        self
    }

    /// Panics unless it said this on stderr.
    #[track_caller]
    pub fn said(self, words: &str) -> Output {
        assert!(self.stderr.contains(words), "{words:?}: {self}");
        self
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}\nstdout:\n{}\nstderr:\n{}",
            self.status, self.stdout, self.stderr
        )
    }
}

/// A running program, leader of a process group that ends with it.
pub struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Lines,
    stderr: Lines,
    heard: usize,
    status: Option<ExitStatus>,
}

impl Running {
    /// Starts `command` with its input and output in our hands.
    pub fn start(mut command: Command) -> Running {
        command.process_group(0);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let stdin = child.stdin.take();
        let stdout = Lines::of(child.stdout.take().unwrap());
        let stderr = Lines::of(child.stderr.take().unwrap());
        Running {
            child,
            stdin,
            stdout,
            stderr,
            heard: 0,
            status: None,
        }
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn id(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Writes a line to its input.
    #[track_caller]
    pub fn say(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("its input is closed");
        stdin
            .write_all(format!("{line}\n").as_bytes())
            .and_then(|()| stdin.flush())
            .unwrap();
    }

    /// The same where it may have ended.
    pub fn try_say(&mut self, line: &str) -> bool {
        let stdin = self.stdin.as_mut().expect("its input is closed");
        stdin
            .write_all(format!("{line}\n").as_bytes())
            .and_then(|()| stdin.flush())
            .is_ok()
    }

    /// Closes its input.
    pub fn close(&mut self) {
        self.stdin = None;
    }

    /// The next line of its output, waited for.
    #[track_caller]
    pub fn line(&mut self) -> String {
        match self.stdout.find(self.heard, PATIENCE, |_| true) {
            Some((at, line)) => {
                self.heard = at + 1;
                line
            }
            None => panic!("no line came; stderr: {}", self.stderr.text()),
        }
    }

    /// The next line of its output if it comes in time.
    pub fn next_line(&mut self, limit: Duration) -> Option<String> {
        let (at, line) = self.stdout.find(self.heard, limit, |_| true)?;
        self.heard = at + 1;
        Some(line)
    }

    /// Waits for the next line of its output, which must be this one.
    #[track_caller]
    pub fn expect(&mut self, line: &str) {
        let heard = self.line();
        assert_eq!(heard, line, "stderr: {}", self.stderr.text());
    }

    /// How many lines it has put out by now.
    pub fn said(&self) -> usize {
        self.stdout.all().len()
    }

    /// What it has said on stderr.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Sends a signal to the program alone, not to its children.
    pub fn signal(&self, signal: Signal) {
        if self.status.is_none() {
            let _ = kill_process(self.id(), signal);
        }
    }

    /// Kills the program alone (its children go on) and waits for its death.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.ended(PATIENCE).expect("it is killed and does not die");
    }

    /// Waits for its end, which is not reaped: its pid stays its own.
    fn dead(&self, limit: Duration) -> bool {
        // Never reaped before, so the pid is still that of our child.
        let Ok(pidfd) = pidfd_open(self.id(), PidfdFlags::empty()) else {
            return true;
        };
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).unwrap();
            match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&left)) {
                Ok(n) => return n > 0,
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => panic!("poll: {e}"),
            }
        }
    }

    /// Waits for its end; none if it goes on.
    pub fn ended(&mut self, limit: Duration) -> Option<ExitStatus> {
        if self.status.is_none() && self.dead(limit) {
            self.status = Some(self.child.wait().unwrap());
        }
        self.status
    }

    /// Waits for its end, bounded, then ends what is left of its group.
    #[track_caller]
    pub fn wait(mut self, limit: Duration) -> Output {
        let ended = self.status.is_some() || self.dead(limit);
        if ended {
            // Its output is complete, unless a child in the background has it.
            self.stdout.wait_end(Duration::from_millis(200));
            self.stderr.wait_end(Duration::from_millis(200));
        }
        self.end_group();
        let (stdout, stderr) = (self.stdout.text(), self.stderr.text());
        assert!(
            ended,
            "it did not end within {limit:?}\nstdout:\n{stdout}\nstderr:\n{stderr}"
        );
        Output {
            status: self.status.expect("it was reaped"),
            stdout,
            stderr,
        }
    }

    /// Kills all of its group and reaps it.
    fn end_group(&mut self) {
        self.stdin = None;
        // After the leader was reaped its group's number may be someone else's
        // once the group is empty; there is none to be found safely then.
        if self.status.is_some() {
            return;
        }
        let over = self.dead(Duration::ZERO);
        let _ = kill_process_group(self.id(), Signal::KILL);
        if over || self.dead(Duration::from_secs(10)) {
            self.status = self.child.wait().ok();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end_group();
    }
}
