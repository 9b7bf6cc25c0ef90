//! A lock directory of its own for a test, its daemon, and scripts in it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use boardlock::fuse::mountinfo;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::process::{Lines, Output, PATIENCE, Running};
use crate::trial::which;

/// The program under test.
pub const BOARDLOCK: &str = env!("CARGO_BIN_EXE_boardlock");
/// How long the daemon may take to be ready, and to stop.
const STARTUP: Duration = Duration::from_secs(10);
/// How long a script may take.
const SCRIPT: Duration = Duration::from_secs(60);

/// An ordinary user that every system has: nobody.
pub const NOBODY: u32 = 65534;

/// A served lock directory. It is unmounted and removed at the end.
pub struct Lab {
    // Fields are dropped in this order.
    daemon: Daemon,
    scripts: Scripts,
    dir: PathBuf,
    temp: Option<TempDir>,
}

impl Lab {
    /// Serves a new directory with these arguments.
    #[track_caller]
    pub fn new(args: &[&str]) -> Lab {
        Lab::with(args, None, None, |_| {})
    }

    /// The same with faults on purpose.
    #[track_caller]
    pub fn faulty(args: &[&str], faults: &Path) -> Lab {
        Lab::with(args, None, Some(faults), |_| {})
    }

    /// The same as another user (needs root, and USER_MOUNTS).
    #[track_caller]
    pub fn of_user(uid: u32, args: &[&str]) -> Lab {
        Lab::with(args, Some(uid), None, |_| {})
    }

    /// The same after `fill` has put something into the bare directory.
    #[track_caller]
    pub fn over(args: &[&str], fill: impl FnOnce(&Path)) -> Lab {
        Lab::with(args, None, None, fill)
    }

    #[track_caller]
    fn with(
        args: &[&str],
        uid: Option<u32>,
        faults: Option<&Path>,
        fill: impl FnOnce(&Path),
    ) -> Lab {
        let temp = tempfile::Builder::new()
            .prefix("boardlock-lab-")
            .tempdir()
            .unwrap();
        // Other users are to get through to the mount.
        fs::set_permissions(temp.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let dir = fs::canonicalize(temp.path()).unwrap().join("locks");
        fs::create_dir(&dir).unwrap();
        fill(&dir);
        fs::set_permissions(&dir, PermissionsExt::from_mode(0o555)).unwrap();
        let program = match uid {
            None => PathBuf::from(BOARDLOCK),
            Some(uid) => {
                std::os::unix::fs::chown(&dir, Some(uid), Some(uid)).unwrap();
                // It may lie where that user cannot go.
                let copy = temp.path().join("boardlock");
                copy_program(Path::new(BOARDLOCK), &copy);
                copy
            }
        };
        let mut command = match uid {
            None => Command::new("setpriv"),
            Some(uid) => as_user(uid),
        };
        // A test program that is killed takes its daemons along; they unmount.
        command
            .arg("--pdeathsig=TERM")
            .arg(program)
            .arg("mount")
            .args(args);
        // What a lab had is nobody's afterwards.
        if !args.iter().any(|arg| arg.contains("state")) {
            command.arg("--state").arg(state_file(temp.path(), uid));
        }
        command.arg(&dir);
        command
            .env_remove("BOARDLOCK_LOG")
            .env("NO_COLOR", "1")
            .current_dir("/");
        match faults {
            Some(dir) => command.env("BOARDLOCK_FAULTS", dir),
            None => command.env_remove("BOARDLOCK_FAULTS"),
        };
        let daemon = Daemon::start(command, &dir);
        let scripts = Scripts::new(&dir);
        let lab = Lab {
            daemon,
            scripts,
            dir,
            temp: Some(temp),
        };
        let ready = lab
            .daemon
            .log
            .find(0, STARTUP, |line| line.contains("ready"));
        assert!(
            ready.is_some(),
            "the daemon is not ready; it says:\n{}",
            lab.daemon.log.text()
        );
        lab
    }

    /// The lock directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A board's file.
    pub fn path(&self, board: &str) -> PathBuf {
        self.dir.join(board)
    }

    /// The process that mounted.
    pub fn supervisor_pid(&self) -> u32 {
        self.daemon.child.id()
    }

    /// The process that serves.
    pub fn daemon_pid(&self) -> u32 {
        serving(self.daemon.child.id())
    }

    /// What the daemon has logged.
    pub fn log(&self) -> Vec<String> {
        self.daemon.log.all()
    }

    /// Waits for a line of the log, an old or a new one.
    #[track_caller]
    pub fn wait_for_log(&self, wanted: impl FnMut(&str) -> bool) -> String {
        self.wait_for_log_from(0, wanted)
    }

    /// Waits for a line of the log that comes after the first `from` (from
    /// `log().len()` at some time before).
    #[track_caller]
    pub fn wait_for_log_from(&self, from: usize, wanted: impl FnMut(&str) -> bool) -> String {
        match self.daemon.log.find(from, PATIENCE, wanted) {
            Some((_, line)) => line,
            None => panic!("no such line in the log:\n{}", self.daemon.log.text()),
        }
    }

    /// Runs a script to its end.
    #[track_caller]
    pub fn sh(&self, shell: &str, script: &str) -> Output {
        self.spawn(shell, script).wait(SCRIPT)
    }

    /// The same as another user.
    #[track_caller]
    pub fn sh_as(&self, uid: u32, shell: &str, script: &str) -> Output {
        self.spawn_as(uid, shell, script).wait(SCRIPT)
    }

    /// Starts a script. `shell` is a program and its arguments, as `busybox sh`.
    #[track_caller]
    pub fn spawn(&self, shell: &str, script: &str) -> Running {
        self.scripts.spawn(None, shell, script)
    }

    /// The same as another user.
    #[track_caller]
    pub fn spawn_as(&self, uid: u32, shell: &str, script: &str) -> Running {
        self.scripts.spawn(Some(uid), shell, script)
    }

    /// Starts a program in the lock directory, with no shell around it.
    #[track_caller]
    pub fn program(&self, program: &str, args: &[&str]) -> Running {
        let mut command = Command::new(which(program).unwrap_or_else(|| program.into()));
        command.args(args);
        self.start(command)
    }

    /// The same of a command that is made already.
    #[track_caller]
    pub fn start(&self, mut command: Command) -> Running {
        command.current_dir(&self.dir);
        self.scripts.start(command)
    }

    /// Stops the daemon; how it exited. The log can still be read.
    #[track_caller]
    pub fn stop(&mut self, signal: Signal) -> ExitStatus {
        self.daemon.signal(signal);
        let status = self.daemon.wait(STARTUP);
        status.unwrap_or_else(|| panic!("it does not stop:\n{}", self.daemon.log.text()))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.daemon.end();
        // Never walk into a mount to remove what is in it.
        let below = self.dir.parent().unwrap_or(&self.dir);
        let mounted = mountinfo::read().map_or(true, |mounts| {
            mounts.iter().any(|mount| mount.point.starts_with(below))
        });
        if mounted && let Some(temp) = self.temp.take() {
            eprintln!("still mounted, left alone: {}", temp.keep().display());
        }
        // Its owner alone can remove what is in a directory of mode 0555.
        let _ = fs::set_permissions(&self.dir, PermissionsExt::from_mode(0o755));
    }
}

/// The daemon under test.
struct Daemon {
    child: Child,
    log: Lines,
    dir: PathBuf,
    status: Option<ExitStatus>,
}

impl Daemon {
    #[track_caller]
    fn start(mut command: Command, dir: &Path) -> Daemon {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let log = Lines::of(child.stderr.take().unwrap());
        Daemon {
            child,
            log,
            dir: dir.to_owned(),
            status: None,
        }
    }

    fn signal(&mut self, signal: Signal) {
        if self.status.is_none() {
            let _ = kill_process(Pid::from_child(&self.child), signal);
        }
    }

    fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        while self.status.is_none() && Instant::now() < deadline {
            self.status = self.child.try_wait().ok()?;
            if self.status.is_none() {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        if self.status.is_some() {
            // Its last words are read before anyone asks for them.
            self.log.wait_end(Duration::from_millis(500));
        }
        self.status
    }

    /// Ends it by all means, and with it the mount.
    fn end(&mut self) {
        // One that a test has stopped cannot hear the other.
        self.signal(Signal::CONT);
        if self.status.is_none() {
            let serves = Pid::from_raw(serving(self.child.id()).cast_signed());
            let _ = serves.map(|serves| kill_process(serves, Signal::CONT));
        }
        self.signal(Signal::TERM);
        if self.wait(STARTUP).is_none() {
            eprintln!(
                "the daemon does not stop and is killed; its log:\n{}",
                self.log.text()
            );
        }
        let ours = |mount: mountinfo::Entry| mount.point == self.dir;
        while mountinfo::read().is_ok_and(|mounts| mounts.into_iter().any(ours)) {
            let done = if crate::trial::is_root() {
                Command::new("umount").arg("-l").arg(&self.dir).status()
            } else {
                Command::new("fusermount3")
                    .args(["-u", "-z"])
                    .arg(&self.dir)
                    .status()
            };
            if !done.is_ok_and(|status| status.success()) {
                break;
            }
        }
        if self.status.is_none() {
            self.signal(Signal::KILL);
            self.wait(STARTUP);
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Also when the lab around it was never finished.
        self.end();
    }
}

/// Scripts as files in a directory of their own, run in the lock directory.
pub struct Scripts {
    temp: TempDir,
    locks: PathBuf,
    count: AtomicU32,
}

impl Scripts {
    /// For scripts that run in this directory.
    pub fn new(locks: &Path) -> Scripts {
        let temp = tempfile::Builder::new()
            .prefix("boardlock-scripts-")
            .tempdir()
            .unwrap();
        fs::set_permissions(temp.path(), PermissionsExt::from_mode(0o755)).unwrap();
        Scripts {
            temp,
            locks: locks.to_owned(),
            count: AtomicU32::new(0),
        }
    }

    /// Starts one, as another user if `uid` is given.
    #[track_caller]
    pub fn spawn(&self, uid: Option<u32>, shell: &str, script: &str) -> Running {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let file = self.temp.path().join(format!("script-{number}"));
        fs::write(&file, script).unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
        let mut words = shell.split_whitespace();
        let shell = words.next().expect("which shell?");
        let shell = which(shell).unwrap_or_else(|| panic!("there is no {shell}"));
        let mut command = match uid {
            None => Command::new(shell),
            Some(uid) => {
                // Only that user may be able to enter the directory.
                let mut command = as_user(uid);
                command.arg("env").arg("-C").arg(&self.locks).arg(shell);
                command.current_dir("/");
                command
            }
        };
        if uid.is_none() {
            command.current_dir(&self.locks);
        }
        command.args(words).arg(file);
        self.start(command)
    }

    /// Starts any program with the environment that scripts have.
    #[track_caller]
    pub fn start(&self, mut command: Command) -> Running {
        command
            .env("LOCKS", &self.locks)
            .env("BOARDLOCK", BOARDLOCK)
            .env("LC_ALL", "C");
        command.env_remove("BASH_ENV").env_remove("ENV");
        Running::start(command)
    }
}

/// The process that serves for this daemon: the one that it started, if it did.
pub fn serving(daemon: u32) -> u32 {
    let children = fs::read_to_string(format!("/proc/{daemon}/task/{daemon}/children"));
    let children = children.unwrap_or_default();
    let first = children.split_whitespace().next();
    first.map_or(daemon, |child| child.parse().unwrap())
}

/// Where a lab's daemon, of this user, records what is held.
fn state_file(temp: &Path, uid: Option<u32>) -> PathBuf {
    let dir = temp.join("state");
    fs::create_dir(&dir).unwrap();
    std::os::unix::fs::chown(&dir, uid, uid).unwrap();
    dir.join("locks")
}

/// Copies a program. Not by ourselves: a child that another thread starts at
/// that moment would have the copy open for writing, and nobody could run it.
pub fn copy_program(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("--").arg(from).arg(to).status();
    assert!(copied.unwrap().success(), "cannot copy {}", from.display());
}

/// A command that becomes what its arguments say, as another user (needs root).
/// It is the same process: nothing stays in between.
pub fn as_user(uid: u32) -> Command {
    let mut command = Command::new("setpriv");
    command
        .arg(format!("--reuid={uid}"))
        .arg(format!("--regid={uid}"))
        .arg("--clear-groups");
    command
}
