//! Waits that are sent back to the kernel, with a file system of the test's own
//! below that has nothing but a file to lock: who waits must not notice.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use boardlock::lock::ids::Pid;
use boardlock::process::nudge;
use fuser::{BackgroundSession, Errno, LockOwner, ReplyEmpty, Request};
use libtest_mimic::Trial;

use crate::one_file::{Does, OneFile};
use crate::process::{PATIENCE, Running, eventually};
use crate::site::Site;

pub fn tests() -> Vec<Trial> {
    trials![
        no_kind_of_lock_notices("python3");
        no_waiting_thread_notices("python3");
        handlers_and_blocked_signals_notice_nothing("python3");
        who_catches_sigcont_has_it_and_waits_on("python3");
        who_is_traced_waits_on("python3", "strace");
    ]
}

/// Who waits, and is not answered.
struct Waiting {
    thread: u32,
    owner: LockOwner,
    reply: ReplyEmpty,
}

#[derive(Clone, Default)]
struct Waits(Arc<Mutex<Vec<Waiting>>>);

impl Waits {
    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Waits until so many wait; who, by thread.
    #[track_caller]
    fn all(&self, count: usize) -> Vec<(u32, LockOwner)> {
        eventually("they wait", PATIENCE, || self.count() == count);
        let waits = self.0.lock().unwrap();
        let mut all: Vec<_> = waits.iter().map(|w| (w.thread, w.owner)).collect();
        all.sort_by_key(|(thread, _)| *thread);
        all
    }

    /// Sends all back to the kernel.
    fn send_back(&self) {
        for wait in self.0.lock().unwrap().drain(..) {
            nudge(Pid::new(wait.thread).unwrap()).unwrap();
            wait.reply.error(Errno::EINTR);
        }
    }

    fn grant(&self) {
        for wait in self.0.lock().unwrap().drain(..) {
            wait.reply.ok();
        }
    }
}

impl Does for Waits {
    fn locked(&self, request: &Request, owner: LockOwner, kind: i32, reply: ReplyEmpty) {
        if kind == libc::F_UNLCK {
            reply.ok();
            return;
        }
        self.0.lock().unwrap().push(Waiting {
            thread: request.pid(),
            owner,
            reply,
        });
    }
}

/// A script that locks the file, below a parent that tells of each change of
/// its state. It makes the bare system call: python's own tries again on EINTR.
const CLIENT: &str = r#"
import ctypes, os, signal, struct, sys, threading
kind, path, setup = sys.argv[1:]
def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\n").encode())
child = os.fork()
if child:
    while True:
        info = os.waitid(os.P_PID, child, os.WEXITED | os.WSTOPPED | os.WCONTINUED)
        how = {os.CLD_EXITED: "exited", os.CLD_STOPPED: "stopped", os.CLD_CONTINUED: "continued"}
        say(how.get(info.si_code, info.si_code), info.si_status)
        if info.si_code == os.CLD_EXITED:
            sys.exit()
def catch(number, restart):
    signal.signal(number, lambda number, frame: say("signal", number))
    signal.siginterrupt(number, not restart)
def lock():
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open(path, os.O_RDWR)
    if kind == "flock":
        got = libc.flock(fd, 2)
    else:
        # struct flock: type, whence, start, length, pid
        whole = ctypes.create_string_buffer(struct.pack("hhqqi4x", 1, 0, 0, 0, 0))
        got = libc.fcntl(fd, {"fcntl": 7, "ofd": 38}[kind], whole)
    say("lock", got, ctypes.get_errno())
exec(setup)
lock()
"#;

/// The file system and a client of it. The first goes first: a client that waits
/// in it cannot be ended.
struct Scene {
    mount: Option<BackgroundSession>,
    client: Running,
    waits: Waits,
    // Last: it is not removed while it is mounted.
    _site: Site,
}

impl Drop for Scene {
    fn drop(&mut self) {
        // None left, none new: with the mount gone answers are errors.
        drop(self.mount.take());
        self.waits.0.lock().unwrap().clear();
    }
}

impl Scene {
    /// Starts a client that sets itself up and then locks.
    #[track_caller]
    fn new(wrapper: &[&str], kind: &str, setup: &str) -> Scene {
        let site = Site::new();
        let dir = site.path("mount");
        std::fs::create_dir(&dir).unwrap();
        let waits = Waits::default();
        let mount = fuser::spawn_mount(OneFile(waits.clone()), &dir, &Default::default()).unwrap();
        Scene {
            mount: Some(mount),
            client: client(wrapper, &dir, kind, setup),
            waits,
            _site: site,
        }
    }

    /// Sends back whoever waits, some times; each asks anew, as before.
    #[track_caller]
    fn go_round(&self, threads: usize) {
        let before = self.waits.all(threads);
        for _ in 0..20 {
            self.waits.send_back();
            assert_eq!(self.waits.all(threads), before);
        }
    }

    /// Lets all have the lock; what is said then, in any order of threads.
    #[track_caller]
    fn ends_with(&mut self, lines: &[&str]) {
        self.waits.grant();
        for line in lines {
            self.client.expect(line);
        }
        let status = self.client.ended(PATIENCE);
        assert!(
            status.is_some_and(|status| status.success()),
            "{}",
            self.client.stderr()
        );
    }
}

fn client(wrapper: &[&str], dir: &Path, kind: &str, setup: &str) -> Running {
    let program = [wrapper, &["python3", "-c", CLIENT, kind]].concat();
    let mut command = Command::new(program[0]);
    command.args(&program[1..]).arg(dir.join("b")).arg(setup);
    Running::start(command)
}

fn no_kind_of_lock_notices() {
    for kind in ["flock", "fcntl", "ofd"] {
        let mut scene = Scene::new(&[], kind, "");
        scene.go_round(1);
        scene.ends_with(&["lock 0 0", "exited 0"]);
    }
}

fn no_waiting_thread_notices() {
    // Another thread reads from a pipe all the time.
    let setup = "
def read():
    try:
        ctypes.set_errno(0)
        got = ctypes.CDLL(None, use_errno=True).read(os.pipe()[0], ctypes.create_string_buffer(1), 1)
        say('read', got, ctypes.get_errno())
    finally:
        os._exit(1)
threading.Thread(target=read, daemon=True).start()
others = [threading.Thread(target=lock) for _ in range(2)]
for other in others: other.start()
def lock():
    for other in others: other.join()
";
    let mut scene = Scene::new(&[], "flock", setup);
    scene.go_round(2);
    scene.ends_with(&["lock 0 0", "lock 0 0", "exited 0"]);
}

fn handlers_and_blocked_signals_notice_nothing() {
    for setup in [
        "for n in set(range(1, 32)) - {9, 17, 18, 19}: catch(n, False)",
        "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))",
        "for n in set(range(1, 32)) - {9, 17, 19}: signal.signal(n, signal.SIG_IGN)",
    ] {
        let mut scene = Scene::new(&[], "fcntl", setup);
        scene.go_round(1);
        scene.ends_with(&["lock 0 0", "exited 0"]);
    }
}

fn who_catches_sigcont_has_it_and_waits_on() {
    let mut scene = Scene::new(&[], "flock", "catch(signal.SIGCONT, True)");
    let before = scene.waits.all(1);
    scene.waits.send_back();
    assert_eq!(scene.waits.all(1), before);
    // python gets to its handler after the call.
    scene.ends_with(&["signal 18", "lock 0 0", "exited 0"]);
}

fn who_is_traced_waits_on() {
    let mut scene = Scene::new(&["strace", "-f", "-o", "/dev/null"], "flock", "");
    scene.go_round(1);
    scene.ends_with(&["lock 0 0", "exited 0"]);
}
