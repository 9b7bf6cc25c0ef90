//! Under a service manager: it is told what goes on, keeps the connection when the
//! process that kept it dies, and hands it to the next.

use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};

use crate::client::python;
use crate::lab::{BOARDLOCK, serving};
use crate::process::{PATIENCE, Running, eventually};
use crate::site::Site;

pub fn tests() -> Vec<Trial> {
    trials![
        the_connection_outlives_who_kept_it("python3", "flock");
        what_was_kept_of_another_directory_is_given_up("python3");
    ]
}

/// What systemd does of sd_notify(3) and sd_listen_fds(3), with Restart=on-failure.
/// Says what it is told, line by line.
const MANAGER: &str = r#"
import array, os, socket, subprocess, sys, threading
path = sys.argv[1]
notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notices.bind(path)
notices.settimeout(0.02)
stored = {}
def say(*words):
    print(*words, flush=True)
def hear():
    try:
        text, fds, _, _ = socket.recv_fds(notices, 65536, 16)
    except TimeoutError:
        return
    state = dict(line.split('=', 1) for line in text.decode().splitlines())
    name = state.get('FDNAME')
    if 'FDSTORE' in state:
        stored[name] = fds[0]
        say('stored', name)
    elif 'FDSTOREREMOVE' in state:
        if name in stored:
            os.close(stored.pop(name))
        say('removed', name)
    else:
        for fd in fds:
            os.close(fd)
    if 'READY' in state:
        say('ready')
    if 'STOPPING' in state:
        say('stopping')
def place():
    given = [os.dup(fd) for fd in stored.values()]
    for at, fd in enumerate(given):
        high = 100 + at
        os.dup2(fd, high)
    for at in range(len(given)):
        os.dup2(100 + at, 3 + at, inheritable=True)
while True:
    environment = dict(os.environ, NOTIFY_SOCKET=path, NO_COLOR='1')
    command = sys.argv[2:]
    if stored:
        environment.update(LISTEN_FDS=str(len(stored)), LISTEN_FDNAMES=':'.join(stored))
        command = ['sh', '-c', 'LISTEN_PID=$$ exec "$@"', 'sh'] + command
    service = subprocess.Popen(command, env=environment, close_fds=False, preexec_fn=place)
    say('started', service.pid)
    while service.poll() is None:
        hear()
    # What it had to say before it ended.
    for _ in range(8):
        hear()
    say('ended', service.returncode, len(stored))
    if service.returncode >= 0:
        break
"#;

/// A manager with a daemon on this directory.
fn manage(site: &Site, dir: &str) -> Running {
    let mut command = std::process::Command::new(python());
    command.args(["-c", MANAGER]).arg(site.path("notices"));
    command.args(["setpriv", "--pdeathsig=TERM", BOARDLOCK, "mount"]);
    command.arg("--state").arg(site.path("state"));
    command.arg(site.path(dir)).env_remove("BOARDLOCK_LOG");
    Running::start(command)
}

#[track_caller]
fn started(manager: &mut Running) -> u32 {
    let line = manager.line();
    let pid = line.strip_prefix("started ").map(str::parse);
    pid.unwrap_or_else(|| panic!("{line}: {}", manager.stderr()))
        .unwrap()
}

fn send(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal).unwrap();
}

fn the_connection_outlives_who_kept_it() {
    let site = Site::new();
    let scripts = crate::lab::Scripts::new(&site.path("locks"));
    let mut manager = manage(&site, "locks");
    let mut keeper = started(&mut manager);
    manager.expect("stored boardlock-device");
    manager.expect("stored boardlock-handover");
    manager.expect("ready");
    let mut holder = scripts.spawn(
        None,
        "sh",
        "touch a; exec 9>b; flock 9; echo have; read line",
    );
    holder.expect("have");
    let mut waits = scripts.spawn(None, "sh", "exec 9>b; flock 9; echo mine; read line");
    let waiters = || {
        let status = std::fs::read_to_string(site.path("locks/b")).unwrap();
        status.contains("\nwaiters 1\n")
    };
    eventually("it waits", PATIENCE, waiters);
    for _ in 0..2 {
        let served = serving(keeper);
        send(keeper, Signal::KILL);
        // It is asked while nobody serves, and waits.
        let asks = scripts.spawn(None, "sh", "touch a; echo $?; flock -n b true; echo $?");
        manager.expect("ended -9 2");
        keeper = started(&mut manager);
        // It has what it keeps, and takes no more (FileDescriptorStoreMax=2).
        manager.expect("ready");
        assert_eq!(asks.wait(PATIENCE).stdout, "1\n1\n");
        assert_ne!(serving(keeper), served);
        eventually("it waits still", PATIENCE, waiters);
        assert_eq!(site.mounts(), 1);
    }
    holder.kill();
    waits.expect("mine");
    // A death of whoever serves is none of the manager's.
    send(serving(keeper), Signal::KILL);
    eventually("it is served on", PATIENCE, || {
        std::fs::read_to_string(site.path("locks/b")).is_ok_and(|b| b.contains("\nstate held\n"))
    });
    waits.kill();
    send(keeper, Signal::TERM);
    manager.expect("stopping");
    manager.expect("removed boardlock-device");
    manager.expect("removed boardlock-handover");
    manager.expect("ended 0 0");
    manager.wait(PATIENCE).ok();
    assert_eq!(site.mounts(), 0);
}

fn what_was_kept_of_another_directory_is_given_up() {
    let site = Site::new();
    let mut manager = manage(&site, "locks");
    let keeper = started(&mut manager);
    manager.expect("stored boardlock-device");
    manager.expect("stored boardlock-handover");
    manager.expect("ready");
    // It is unmounted while nobody serves.
    send(keeper, Signal::STOP);
    let done = std::process::Command::new("umount")
        .arg("-l")
        .arg(site.path("locks"))
        .status();
    assert!(done.unwrap().success());
    send(keeper, Signal::KILL);
    manager.expect("ended -9 2");
    let keeper = started(&mut manager);
    manager.expect("removed boardlock-device");
    manager.expect("removed boardlock-handover");
    manager.expect("stored boardlock-device");
    manager.expect("stored boardlock-handover");
    manager.expect("ready");
    assert!(
        manager.stderr().contains("is given up"),
        "{}",
        manager.stderr()
    );
    std::fs::write(site.path("locks/b"), "").unwrap();
    send(keeper, Signal::TERM);
    manager.expect("stopping");
    manager.expect("removed boardlock-device");
    manager.expect("removed boardlock-handover");
    manager.expect("ended 0 0");
    manager.wait(PATIENCE).ok();
}
