//! Measures how soon a board is handed over to who waits for it, and what a lock
//! costs that nobody contends for, beside the kernel's own flock(2) on a tmpfs.
//!
//! All clients are processes of this program: a holder, and one that waits in
//! flock(2) and notes the moment at which it returns. Three ways to hand over:
//! the holder's lock is let go as it is killed, from right before kill(2); it
//! unlocks, from right before its flock(2); and it has the board by a claim, as
//! touch(1) makes it, and is killed. Moments are CLOCK_MONOTONIC's. N hand-overs
//! of each (500, or the first argument), those of the tmpfs and of the mount in
//! turn.
//!
//! The second table counts cycles of flock(2) and unlocking by one process on
//! one open file, per second: on the tmpfs, on a file system by fuser that grants
//! every lock at once and does nothing else (one thread, a process of its own,
//! mounted directly), and on boardlock, where each cycle takes a free board and
//! gives it back, or locks one that the same process has claimed. Medians of
//! rounds in which all take their turn; each with client and server where the
//! kernel puts them, which makes most of the difference, and both on one core.
//!
//! `cargo bench --bench handover [-- N [ROUNDS]]`, as root, for the mounts.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use fuser::Config;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};
use rustix::time::{ClockId, clock_gettime};

#[path = "../tests/one_file/mod.rs"]
mod one_file;

use one_file::{Does, OneFile};

/// How long one turn counts cycles.
const TURN: Duration = Duration::from_millis(500);

fn main() {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| arg != "--bench")
        .collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["hold", path] => hold(Path::new(path)),
        ["claim", path] => claim(Path::new(path)),
        ["wait", path] => wait(Path::new(path)),
        ["cycle", how, path] => cycle(how == "claimed", Path::new(path)),
        ["grant", dir] => grant(Path::new(dir)),
        ref counts => {
            let mut counts = counts.iter().map(|arg| arg.parse().unwrap());
            measure(counts.next().unwrap_or(500), counts.next().unwrap_or(7));
        }
    }
}

fn measure(hand_overs: usize, rounds: usize) {
    if !rustix::process::geteuid().is_root() {
        println!("handover: needs root, for a tmpfs and a direct mount");
        return;
    }
    let lab = Lab::new();
    let (tmpfs, mount) = (lab.dir("tmpfs").join("b"), lab.dir("locks").join("b"));

    let mut killed = [Vec::new(), Vec::new()];
    let mut unlocked = [Vec::new(), Vec::new()];
    let mut claimed = Vec::new();
    let mut waiters = [&tmpfs, &mount].map(|path| Role::start(&["wait", arg(path)]));
    for _ in 0..hand_overs {
        for (at, path) in [&tmpfs, &mount].into_iter().enumerate() {
            let waiter = &mut waiters[at];
            killed[at].push(waiter.after(&mut Role::start(&["hold", arg(path)]), path, kill));
            let unlock = |holder: &mut Role| holder.told("unlock");
            let mut holder = Role::start(&["hold", arg(path)]);
            unlocked[at].push(waiter.after(&mut holder, path, unlock));
            drop(holder);
        }
        let mut holder = Role::start(&["claim", arg(&mount)]);
        claimed.push(waiters[1].after(&mut holder, &mount, kill));
    }
    drop(waiters);

    println!("from a holder to who waits in flock(2), {hand_overs} hand-overs each, in ms");
    println!("{:<44}{:>8}{:>8}{:>8}", "", "p50", "p99", "max");
    let [kernel, ours] = killed.map(sorted);
    row("the holder's SIGKILL: tmpfs", &kernel);
    row("                      boardlock", &ours);
    ratio(&ours, &kernel);
    let claimed = sorted(claimed);
    row("SIGKILL of one that had claimed: boardlock", &claimed);
    ratio(&claimed, &kernel);
    let [kernel, ours] = unlocked.map(sorted);
    row("unlocking: tmpfs", &kernel);
    row("           boardlock", &ours);
    ratio(&ours, &kernel);

    let bare = lab.dir("bare").join("b");
    let quiet = lab.dir("quiet").join("b");
    let claimed = lab.dir("quiet").join("claimed");
    let cases = [
        ("tmpfs", "free", &tmpfs),
        ("fuser that grants every lock", "free", &bare),
        ("boardlock, logging to /dev/null", "free", &mount),
        ("boardlock -q", "free", &quiet),
        ("boardlock -q, claimed by the same", "claimed", &claimed),
    ];
    let counted = [false, true].map(|one_core| {
        if one_core {
            lab.to_one_core();
        }
        let mut counted: Vec<Vec<f64>> = vec![Vec::new(); cases.len()];
        for _ in 0..rounds {
            for (which, (_, how, path)) in cases.iter().enumerate() {
                let mut role = Role::start_on(one_core, &["cycle", how, arg(path)]);
                counted[which].push(role.line().parse().unwrap());
            }
        }
        counted
    });
    println!("\nflock(2) and unlocking that nobody contends for, cycles a second");
    println!("(medians of {rounds} rounds; beside them what part of bare fuser's)");
    println!("{:<44}{:>16}{:>22}", "", "any core", "one core");
    for (which, (name, ..)) in cases.iter().enumerate() {
        print!("{name:<44}");
        for counted in &counted {
            let rate = at(&sorted(counted[which].clone()), 0.5);
            // In the same round, which is the same state of the machine.
            let of_bare = counted[which].iter().zip(&counted[1]).map(|(a, b)| a / b);
            let of_bare = at(&sorted(of_bare.collect()), 0.5);
            print!("{rate:>13.0}{of_bare:>7.2}x");
        }
        println!();
    }
}

fn arg(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn sorted(mut times: Vec<f64>) -> Vec<f64> {
    times.sort_by(f64::total_cmp);
    times
}

fn at(sorted: &[f64], part: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * part).round() as usize]
}

fn row(what: &str, times: &[f64]) {
    let [p50, p99, max] = [0.5, 0.99, 1.0].map(|part| at(times, part));
    println!("{what:<44}{p50:>8.3}{p99:>8.3}{max:>8.3}");
}

fn ratio(ours: &[f64], kernel: &[f64]) {
    let [p50, p99, max] = [0.5, 0.99, 1.0].map(|part| at(ours, part) / at(kernel, part));
    println!(
        "{:<44}{p50:>7.2}x{p99:>7.2}x{max:>7.2}x",
        "    to the tmpfs's"
    );
}

/// The file systems, each in a directory of its own; unmounted at the end.
struct Lab {
    temp: tempfile::TempDir,
    servers: Vec<Child>,
}

impl Lab {
    fn new() -> Lab {
        let mut lab = Lab {
            temp: tempfile::tempdir().unwrap(),
            servers: Vec::new(),
        };
        for name in ["tmpfs", "bare", "locks", "quiet"] {
            std::fs::create_dir(lab.dir(name)).unwrap();
        }
        let nothing: Option<&str> = None;
        let tmpfs = Some("tmpfs");
        mount(tmpfs, &lab.dir("tmpfs"), tmpfs, MsFlags::empty(), nothing).unwrap();
        let mut bare = Command::new(std::env::current_exe().unwrap());
        bare.arg("grant").arg(lab.dir("bare"));
        lab.serve(bare, "bare");
        for (name, args) in [("locks", &[][..]), ("quiet", &["-q"])] {
            let mut daemon = Command::new(env!("CARGO_BIN_EXE_boardlock"));
            // The default is on a tmpfs, too.
            let state = lab.dir("tmpfs").join(format!("{name}.state"));
            daemon.arg("mount").args(args).arg("--state").arg(state);
            daemon.arg(lab.dir(name));
            lab.serve(daemon, name);
        }
        lab
    }

    /// Puts all servers on the first core, with the processes that they have started.
    fn to_one_core(&self) {
        for server in &self.servers {
            let pid = server.id();
            let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
            let children = children.unwrap_or_default();
            let children = children.split_whitespace().map(str::to_owned);
            for pid in children.chain([pid.to_string()]) {
                let mut taskset = Command::new("taskset");
                taskset
                    .args(["-a", "-c", "-p", "0", &pid])
                    .stdout(Stdio::null());
                assert!(taskset.status().unwrap().success());
            }
        }
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    fn serve(&mut self, mut command: Command, name: &str) {
        let outside = std::fs::metadata(self.temp.path()).unwrap();
        command.stdin(Stdio::null()).stderr(Stdio::null());
        self.servers.push(command.spawn().unwrap());
        let begin = Instant::now();
        let device = |about: std::fs::Metadata| std::os::unix::fs::MetadataExt::dev(&about);
        while std::fs::metadata(self.dir(name)).map(device).ok() == Some(device(outside.clone())) {
            assert!(
                begin.elapsed() < Duration::from_secs(10),
                "{name}: not served"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for name in ["tmpfs", "bare", "locks", "quiet"] {
            // The bare directory below stays shut by a second one.
            while umount2(&self.dir(name), MntFlags::MNT_DETACH).is_ok() {}
        }
        for server in &mut self.servers {
            let _ = server.wait();
        }
    }
}

/// This program as a client; it is killed at the end.
struct Role {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Role {
    fn start(args: &[&str]) -> Role {
        Role::start_on(false, args)
    }

    fn start_on(first_core: bool, args: &[&str]) -> Role {
        let program = std::env::current_exe().unwrap();
        let mut command = if first_core {
            let mut taskset = Command::new("taskset");
            taskset.args(["-c", "0"]).arg(program);
            taskset
        } else {
            Command::new(program)
        };
        let mut child = command
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut role = Role {
            child,
            stdin,
            stdout,
        };
        assert_eq!(role.line(), "ready");
        role
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(
            self.stdout.read_line(&mut line).unwrap() > 0,
            "it has ended"
        );
        line.trim_end().to_owned()
    }

    fn say(&mut self, word: &str) {
        writeln!(self.stdin, "{word}").unwrap();
    }

    /// Does what it is told; the moment that it names.
    fn told(&mut self, word: &str) -> u64 {
        self.say(word);
        self.line().parse().unwrap()
    }

    /// Waits for what the holder has; how long after the holder was ended it was
    /// had, in ms.
    fn after(&mut self, holder: &mut Role, path: &Path, end: impl Fn(&mut Role) -> u64) -> f64 {
        self.say("lock");
        let begin = Instant::now();
        while !self.sleeps() {
            assert!(
                begin.elapsed() < Duration::from_secs(10),
                "it does not wait"
            );
        }
        // A daemon has read the request once it has answered a later one.
        let _ = std::fs::symlink_metadata(path);
        std::thread::sleep(Duration::from_millis(1));
        let ended = end(holder);
        let had: u64 = self.line().parse().unwrap();
        self.told("unlock");
        had.saturating_sub(ended) as f64 / 1e6
    }

    /// Whether it is asleep, and not for want of a word from us.
    fn sleeps(&self) -> bool {
        let proc = format!("/proc/{}", self.child.id());
        let stat = std::fs::read_to_string(format!("{proc}/stat")).unwrap();
        let at = std::fs::read_to_string(format!("{proc}/wchan")).unwrap();
        stat.contains(") S ") && at != "0" && !at.contains("pipe")
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn kill(holder: &mut Role) -> u64 {
    let before = now();
    kill_process(Pid::from_child(&holder.child), Signal::KILL).unwrap();
    before
}

fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// A line to who started us.
fn say(what: impl std::fmt::Display) {
    println!("{what}");
    std::io::stdout().flush().unwrap();
}

fn opened(path: &Path) -> File {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path).unwrap()
}

/// Does words until there are no more.
fn obey(file: &File) {
    for word in std::io::stdin().lines() {
        match word.unwrap().as_str() {
            "lock" => {
                flock(file, FlockOperation::LockExclusive).unwrap();
                say(now());
            }
            _ => {
                let before = now();
                flock(file, FlockOperation::Unlock).unwrap();
                say(before);
            }
        }
    }
}

fn hold(path: &Path) {
    let file = opened(path);
    flock(&file, FlockOperation::LockExclusive).unwrap();
    say("ready");
    obey(&file);
}

fn wait(path: &Path) {
    let file = opened(path);
    // A board that is only open is claimed; locking gives that up.
    flock(&file, FlockOperation::LockExclusive).unwrap();
    flock(&file, FlockOperation::Unlock).unwrap();
    say("ready");
    obey(&file);
}

fn claim(path: &Path) {
    let mut options = OpenOptions::new();
    drop(options.write(true).create_new(true).open(path).unwrap());
    say("ready");
    let _ = std::io::stdin().read(&mut [0]);
}

fn cycle(claimed: bool, path: &Path) {
    if claimed {
        drop(opened(path));
    }
    let file = opened(path);
    let cycles = |until: Duration| {
        let begin = Instant::now();
        let mut count = 0;
        while begin.elapsed() < until {
            for _ in 0..20 {
                flock(&file, FlockOperation::LockExclusive).unwrap();
                flock(&file, FlockOperation::Unlock).unwrap();
            }
            count += 20;
        }
        f64::from(count) / begin.elapsed().as_secs_f64()
    };
    cycles(TURN / 5);
    let rate = cycles(TURN);
    say("ready");
    say(rate);
}

/// Serves one file, every lock on which is granted at once.
fn grant(dir: &Path) {
    let mut config = Config::default();
    config.n_threads = Some(1);
    fuser::mount(OneFile(Grants), dir, &config).unwrap();
}

/// Grants every lock.
struct Grants;

impl Does for Grants {}
