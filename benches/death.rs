//! Measures how soon a board is free after its holder was killed.
//!
//! For each of N holders (500, or the first argument): a child process takes a
//! board by open(2) with O_CREAT and O_EXCL and waits. It is killed, and three
//! moments are noted by CLOCK_MONOTONIC: right before kill(2), when poll(2) on
//! the child's pidfd says that it has ended, and when the name is gone as
//! inotify-less clients see it: stat(2) of the board in a loop, which begins
//! at the kill and sees ENOENT.
//!
//! stat(2) makes the daemon look at the holder's pidfd itself, so this is the
//! time until a client can have the board. A second table leaves the daemon
//! alone: it waits for the line of its log that tells of the release, which
//! the event loop writes; the log's own way through a pipe is counted in.
//!
//! `cargo bench --bench death [-- N]`

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

/// What the holder runs. It becomes cat, which waits for ever; the same process.
const HOLDER: &str = "set -C; : >\"$0\"; echo have; exec cat";

fn main() {
    let kills = std::env::args()
        .skip(1)
        .find_map(|arg| arg.parse().ok())
        .unwrap_or(500);
    let temp = tempfile::tempdir().unwrap();
    let locks = temp.path().join("locks");
    let mut daemon = Command::new(env!("CARGO_BIN_EXE_boardlock"))
        .arg("mount")
        .arg("--state")
        .arg(temp.path().join("state"))
        .arg(&locks)
        .env("NO_COLOR", "1")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(daemon.stderr.take().unwrap());
    wait_for(&mut log, "ready");
    let board = locks.join("b");
    let looking: Vec<_> = (0..kills).map(|_| looked_for(&board, &mut log)).collect();
    let alone: Vec<_> = (0..kills)
        .map(|_| told_by_the_log(&board, &mut log))
        .collect();
    kill_process(Pid::from_child(&daemon), Signal::TERM).unwrap();
    daemon.wait().unwrap();
    // The bare directory stays shut, if there is a mount for that.
    let _ = nix::mount::umount2(&locks, nix::mount::MntFlags::MNT_DETACH);

    println!("death to freedom, {kills} holders each, in ms");
    println!("{:<52}{:>8}{:>8}{:>8}", "", "p50", "p99", "max");
    table(
        "kill(2) to ENOENT for a client that keeps looking",
        &looking,
        |t| t.0,
    );
    table(
        "the holder's pidfd readable to ENOENT for the same",
        &looking,
        |t| t.1,
    );
    table(
        "kill(2) to the release in the log, nobody looking",
        &alone,
        |t| t.0,
    );
    table("the holder's pidfd readable to the same", &alone, |t| t.1);
}

fn table(what: &str, times: &[(f64, f64)], which: impl Fn(&(f64, f64)) -> f64) {
    let mut times: Vec<f64> = times.iter().map(which).collect();
    times.sort_by(f64::total_cmp);
    let at = |part: f64| times[((times.len() - 1) as f64 * part).round() as usize];
    println!(
        "{what:<52}{:>8.3}{:>8.3}{:>8.3}",
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

fn wait_for(log: &mut BufReader<ChildStderr>, what: &str) {
    let mut line = String::new();
    while !line.contains(what) {
        line.clear();
        assert!(
            log.read_line(&mut line).unwrap() > 0,
            "the daemon has ended"
        );
    }
}

fn holder(board: &Path) -> Child {
    let mut holder = Command::new("sh")
        .args(["-c", HOLDER])
        .arg(board)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(holder.stdout.as_mut().unwrap())
        .read_line(&mut said)
        .unwrap();
    assert_eq!(said, "have\n");
    holder
}

/// From kill(2), and from the pidfd, to `free`. The pidfd is waited for by
/// another thread, so that neither has to wait for the other.
fn killed(mut holder: Child, free: impl FnOnce()) -> (f64, f64) {
    let pid = Pid::from_child(&holder);
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).unwrap();
    let ms = |span: Duration| span.as_secs_f64() * 1000.0;
    let times = std::thread::scope(|scope| {
        let (ready, waits) = std::sync::mpsc::channel();
        let ended = scope.spawn(move || {
            let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
            ready.send(()).unwrap();
            poll(&mut fds, None).unwrap();
            Instant::now()
        });
        waits.recv().unwrap();
        let kill = Instant::now();
        kill_process(pid, Signal::KILL).unwrap();
        free();
        let freed = Instant::now();
        let ended = ended.join().unwrap();
        // Whoever looks may see it before the waiting thread has a processor.
        (ms(freed - kill), ms(freed.saturating_duration_since(ended)))
    });
    holder.wait().unwrap();
    times
}

fn looked_for(board: &Path, log: &mut BufReader<ChildStderr>) -> (f64, f64) {
    let times = killed(
        holder(board),
        || {
            while fs::symlink_metadata(board).is_ok() {}
        },
    );
    wait_for(log, "its holder");
    times
}

fn told_by_the_log(board: &Path, log: &mut BufReader<ChildStderr>) -> (f64, f64) {
    killed(holder(board), || wait_for(log, "its holder"))
}
