//! The same with many boards held, by one process and by many, and with many who wait;
//! what a board and a holder cost in memory; and how long it takes to start with all of
//! them in the state file.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::arg;
use super::cycles::{CLAIM, LOCK, cycle};
use super::places::{OURS, Places};
use super::report::Report;
use super::roles::{Role, say};

/// Boards held in each of the directories that take turns.
const BOARDS: [usize; 4] = [10, 1_000, 10_000, 100_000];
/// Processes that hold one board each.
const HOLDERS: [usize; 3] = [100, 1_000, 10_000];
/// Processes that wait for one board.
const WAITERS: usize = 1_000;
/// How long many processes may take to be where they are to be.
const PATIENCE: Duration = Duration::from_secs(300);

/// No limit is to be met.
const ROOMY: [&str; 5] = ["-q", "--max-boards", "200000", "--max-per-user", "200000"];

pub fn measure(report: &mut Report, boards: usize, holders: usize) {
    boards_held(report, boards);
    holders_and_waiters(report, holders);
}

fn boards_held(report: &mut Report, most: usize) {
    let mut places = Places::new();
    let counts: Vec<usize> = BOARDS.into_iter().filter(|count| *count <= most).collect();
    let mut holders = Vec::new();
    for count in &counts {
        let name = held(*count);
        places.serve(&name, &ROOMY);
        let each = memory_for_each(&places, &name, *count, || {
            let (dir, number) = (places.dir(&name), count.to_string());
            holders.push(Role::start(&["boards", arg(&dir), &number]));
        });
        if *count >= 10_000 {
            report.add("memory a board", &name, "bytes", each);
        }
    }
    for _ in 0..report.rounds {
        for count in &counts {
            let name = held(*count);
            let board = places.board(&name);
            report.add(CLAIM, &name, "us", cycle(false, "claim", &board));
            report.add(LOCK, &name, "us", cycle(false, "lock", &board));
            let begin = Instant::now();
            let mut list = Command::new("ls");
            list.arg("-l").arg(places.dir(&name)).stdout(Stdio::null());
            assert!(list.status().unwrap().success());
            let each = begin.elapsed().as_secs_f64() * 1e6 / *count as f64;
            report.add("ls -l, a board", &name, "us", each);
        }
    }
    let (few, many) = (held(counts[0]), held(*counts.last().unwrap()));
    for (what, aim) in [(CLAIM, Some(1.1)), (LOCK, None)] {
        let title = format!("{what}: {many} to {few}");
        report.compare(&title, (what, &many), (what, &few), aim);
    }
    if let Some(memory) = report.values("memory a board", &many) {
        let memory = memory[0];
        report.plain("memory a board, in bytes", memory, Some(512.0));
    }
    // With the holder alive, so that all of them come back.
    let size = std::fs::metadata(places.state(&many)).unwrap().len();
    report.add("state file", &many, "bytes", size as f64);
    for _ in 0..report.rounds {
        places.kill(&many);
        let took = places.serve(&many, &ROOMY);
        report.add("start", &many, "ms", took.as_secs_f64() * 1e3);
    }
}

fn held(count: usize) -> String {
    format!("{count} boards held")
}

fn holders_and_waiters(report: &mut Report, most: usize) {
    let counts: Vec<usize> = HOLDERS.into_iter().filter(|count| *count <= most).collect();
    let by = |count: usize| format!("{count} holders");
    let mut places = Places::new();
    let mut all = Vec::new();
    places.serve(OURS, &ROOMY);
    for count in &counts {
        let name = by(*count);
        places.serve(&name, &ROOMY);
        let each = memory_for_each(&places, &name, *count, || {
            all.push(Holders::start(&places.dir(&name), *count));
        });
        if *count >= 1_000 {
            report.add("memory a holder", &name, "bytes", each);
        }
    }
    let waited = format!("{WAITERS} waiters");
    places.serve(&waited, &ROOMY);
    let locker = Role::start(&["hold", arg(&places.dir(&waited).join("w"))]);
    let mut waiters = None;
    let each = memory_for_each(&places, &waited, WAITERS, || {
        waiters = Some(Waiters::start(&places.dir(&waited).join("w"), WAITERS));
    });
    report.add("memory a waiter", &waited, "bytes", each);
    let names: Vec<String> = counts
        .iter()
        .map(|count| by(*count))
        .chain([waited])
        .collect();
    for _ in 0..report.rounds {
        for name in [OURS].into_iter().chain(names.iter().map(String::as_str)) {
            let board = places.board(name);
            let name = if name == OURS { "1 holder" } else { name };
            report.add(CLAIM, name, "us", cycle(false, "claim", &board));
            report.add(LOCK, name, "us", cycle(false, "lock", &board));
        }
    }
    for name in &names {
        report.compare(
            &format!("{CLAIM}: {name} to 1"),
            (CLAIM, name),
            (CLAIM, "1 holder"),
            None,
        );
    }
    if let Some(last) = counts.last()
        && let Some(memory) = report.values("memory a holder", &by(*last))
    {
        let memory = memory[0];
        report.plain("memory a holder, in bytes", memory, Some(4096.0));
    }
    drop((waiters, locker, all));
}

/// How much who serves grows with each of so many that `start` brings, in bytes.
fn memory_for_each(places: &Places, name: &str, count: usize, start: impl FnOnce()) -> f64 {
    let empty = resident(places.server(name));
    start();
    resident(places.server(name)).saturating_sub(empty) as f64 / count as f64
}

/// What a process has in memory that is its own, in bytes.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib: u64 = line
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    kib * 1024
}

/// The role of one process that holds many boards.
pub fn hold(dir: &Path, count: usize) {
    for number in 0..count {
        std::fs::File::create_new(dir.join(number.to_string())).unwrap();
    }
    say("ready");
    let _ = std::io::stdin().read(&mut [0]);
}

/// Processes that are started together and end together.
struct Many(Child);

impl Many {
    /// Shells that `script` is for, `$i` the number of each; all have begun when
    /// `begun` says so.
    fn start(count: usize, script: &str, begun: impl Fn() -> bool) -> Many {
        let all = format!(
            "i=0; while [ $i -lt {count} ]; do {script} & i=$((i + 1)); done; exec sleep infinity"
        );
        let mut command = Command::new("setsid");
        command.args(["sh", "-c", &all]).stdin(Stdio::null());
        let child = command.spawn().unwrap();
        let many = Many(child);
        let begin = Instant::now();
        while !begun() {
            assert!(begin.elapsed() < PATIENCE, "they do not begin");
            std::thread::sleep(Duration::from_millis(20));
        }
        many
    }
}

impl Drop for Many {
    fn drop(&mut self) {
        // A session of their own is a group of their own.
        let group = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.0.wait();
    }
}

/// Processes that hold a board each.
struct Holders(#[expect(dead_code, reason = "they end with it")] Many);

impl Holders {
    fn start(dir: &Path, count: usize) -> Holders {
        let script = format!("(: >{}/$i; exec sleep infinity)", dir.display());
        let there = || std::fs::read_dir(dir).is_ok_and(|all| all.count() >= count);
        Holders(Many::start(count, &script, there))
    }
}

/// Processes that wait for a board.
pub struct Waiters(#[expect(dead_code, reason = "they end with it")] Many);

impl Waiters {
    pub fn start(board: &Path, count: usize) -> Waiters {
        let script = format!("flock {} true", board.display());
        let wait = || {
            let text = std::fs::read_to_string(board).unwrap_or_default();
            let waiters = text.lines().find_map(|line| line.strip_prefix("waiters "));
            waiters.and_then(|number| number.parse::<usize>().ok()) >= Some(count)
        };
        Waiters(Many::start(count, &script, wait))
    }
}
