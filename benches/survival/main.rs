//! Kills the process that serves again and again under a mixed load, and checks that
//! nothing is lost and nothing is doubled.
//!
//! Ten client processes, of this program, take and give back five boards and some of
//! their own, as scripts, lock tools and programs do (`load.rs`): claims by open(2),
//! touch, mkdir and link, flock(2) and both kinds of fcntl(2) locks, tried, waited for,
//! shared and interrupted, and opens that wait. Whoever has a board takes a lock of the
//! kernel's on a file elsewhere, that must not be another's; looks whether the board shows
//! it and a token that is greater than the last, and once more before it gives the board
//! back. Any answer that is not the contract's ends the run.
//!
//! Meanwhile clients are killed and stopped at random, and whoever serves is killed, N
//! times (1000, or the first argument), at most five times in two seconds: at random, and
//! in a build with debug assertions at named points of its work (`src/fault.rs`) as well.
//! Before that the same load goes on for as many seconds as the second argument says (30)
//! without. At the end everybody must come to an end, and all boards must be free.
//!
//! `cargo bench --bench survival [-- N [SECONDS]]`; with `--profile dev` at named points.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// What is shared with the tests in tests/mount is not all used here.
#![allow(dead_code)]

#[path = "../../tests/mount/fault.rs"]
mod fault;
#[path = "../../tests/mount/lab.rs"]
mod lab;
mod ledger;
mod load;
#[path = "../../tests/mount/process.rs"]
mod process;
#[path = "../../tests/histories/random.rs"]
mod random;
mod sys;
#[path = "../../tests/histories/timer.rs"]
mod timer;
#[allow(unused_macros)]
#[path = "../../tests/mount/trial.rs"]
mod trial;

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use fault::{CAN, Deaths, Faults, RETURNING, SERVING};
use lab::Lab;
use ledger::{Kind, Ledger, Phase};
use random::Random;

/// Clients at a time.
const CLIENTS: usize = 10;
/// How long nobody may take to come to an end, or to do anything.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| arg != "--bench")
        .collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    if let ["load", seed, locks, shared] = words[..] {
        return load::run(seed.parse().unwrap(), Path::new(locks), Path::new(shared));
    }
    let mut numbers = words
        .iter()
        .map(|arg| arg.parse::<u64>().expect("a number"));
    let kills = numbers.next().unwrap_or(1000);
    let quiet = Duration::from_secs(numbers.next().unwrap_or(30));
    let mut show = Show::new();
    show.go_on(quiet);
    println!("without kills, {:.0} s:", quiet.as_secs_f64());
    show.report(Phase::Quiet);
    let begin = Instant::now();
    show.kill(kills);
    println!("\n{kills} kills in {:.0} s:", begin.elapsed().as_secs_f64());
    show.report(Phase::Kills);
    show.end();
}

/// A client, and where it tells what it does.
struct Client {
    child: Child,
    ledger: PathBuf,
    /// What was seen of it last, and when.
    seen: (u64, Instant),
}

impl Drop for Client {
    fn drop(&mut self) {
        // Before the mount goes, where something went wrong.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All of it.
struct Show {
    clients: Vec<Client>,
    /// The ledgers of those that were killed.
    gone: Vec<PathBuf>,
    stopped: Option<usize>,
    kills: Vec<u64>,
    points: std::collections::BTreeMap<String, u64>,
    faults: Faults,
    random: Random,
    seeds: u64,
    shared: TempDir,
    lab: Lab,
}

impl Show {
    fn new() -> Show {
        let faults = Faults::new();
        let lab = Lab::faulty(&[], faults.dir());
        let mut temp = tempfile::Builder::new();
        temp.prefix("boardlock-survival-");
        let shared = Path::new("/dev/shm");
        let shared = if shared.is_dir() {
            temp.tempdir_in(shared)
        } else {
            temp.tempdir()
        };
        let shared = shared.unwrap();
        ledger::set_phase(shared.path(), Phase::Quiet);
        let mut show = Show {
            clients: Vec::new(),
            gone: Vec::new(),
            stopped: None,
            kills: Vec::new(),
            points: Default::default(),
            faults,
            random: Random::new(1),
            seeds: 0,
            shared,
            lab,
        };
        for _ in 0..CLIENTS {
            let client = show.start();
            show.clients.push(client);
        }
        show
    }

    fn start(&mut self) -> Client {
        self.seeds += 1;
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["load", &self.seeds.to_string()])
            .args([self.lab.dir(), self.shared.path()])
            .current_dir("/")
            .spawn()
            .unwrap();
        Client {
            child,
            ledger: ledger::path(self.shared.path(), self.seeds),
            seen: (0, Instant::now()),
        }
    }

    /// Something that is done to a client now and then, and looks whether all go on.
    fn step(&mut self) {
        std::thread::sleep(Duration::from_micros(self.random.below(20_000)));
        if let Some(at) = self.stopped.take() {
            send(self.clients[at].child.id(), Signal::CONT);
        }
        let at = usize::try_from(self.random.below(CLIENTS as u64)).unwrap();
        match self.random.below(30) {
            0 => {
                let fresh = self.start();
                let mut old = std::mem::replace(&mut self.clients[at], fresh);
                send(old.child.id(), Signal::KILL);
                let status = old.child.wait().unwrap();
                assert!(
                    status.code().is_none(),
                    "a client ended by itself: {status}"
                );
                self.gone.push(old.ledger.clone());
            }
            1 => {
                send(self.clients[at].child.id(), Signal::STOP);
                self.stopped = Some(at);
            }
            _ => {}
        }
        self.look();
    }

    /// Nobody is stuck, and nobody has found anything wrong.
    fn look(&mut self) {
        for client in &mut self.clients {
            if let Some(status) = client.child.try_wait().unwrap() {
                let log = self.lab.log();
                let last = &log[log.len().saturating_sub(50)..];
                panic!("a client ended: {status}\n{}", last.join("\n"));
            }
            let calls = Ledger::read(&client.ledger).map_or(0, |ledger| ledger.calls());
            if calls != client.seen.0 {
                client.seen = (calls, Instant::now());
            }
            if client.seen.1.elapsed() > PATIENCE {
                let at = Ledger::read(&client.ledger).map(|ledger| ledger.at());
                panic!("{} is stuck in {at:?}", client.child.id());
            }
        }
    }

    fn go_on(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.step();
        }
    }

    /// Kills whoever serves so many times.
    fn kill(&mut self, count: u64) {
        ledger::set_phase(self.shared.path(), Phase::Kills);
        let mut deaths = Deaths::of(self.lab.supervisor_pid());
        while (self.kills.len() as u64) < count {
            self.step();
            if !deaths.ready() {
                continue;
            }
            let how = if CAN { self.random.below(8) } else { 0 };
            if how < 3 {
                self.note("at random");
                self.kills.push(sys::now());
                send(deaths.serves(), Signal::KILL);
                deaths.died();
                continue;
            }
            let twice = how == 3 && deaths.ready();
            let next = twice.then(|| self.random.pick(&RETURNING));
            if let Some(next) = next {
                self.faults.arm(next, 1, "kill");
            }
            let point = self.random.pick(&SERVING);
            self.faults.arm(point, 1 + self.random.below(40), "kill");
            self.until(|faults| faults.is_done(point));
            self.note(point.name());
            let mut dead = vec![self.faults.by(point)];
            if let Some(next) = next {
                self.until(|faults| faults.is_done(next));
                self.note(next.name());
                // A file that has grown long is written anew by who serves as well.
                dead.push(self.faults.by(next));
            }
            deaths.all_died(&dead);
        }
        self.go_on(Duration::from_secs(2));
    }

    fn note(&mut self, what: &str) {
        *self.points.entry(what.to_owned()).or_default() += 1;
    }

    /// Waits for a death that is due.
    fn until(&mut self, done: impl Fn(&Faults) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !done(&self.faults) {
            assert!(Instant::now() < end, "nothing goes on");
            std::thread::sleep(Duration::from_micros(100));
        }
        self.kills.push(sys::now());
    }

    /// Everybody comes to an end, and all boards are free.
    fn end(mut self) {
        if let Some(at) = self.stopped.take() {
            send(self.clients[at].child.id(), Signal::CONT);
        }
        ledger::set_phase(self.shared.path(), Phase::End);
        let end = Instant::now() + PATIENCE;
        while !self.are_through() {
            assert!(Instant::now() < end, "stuck: {}", self.stuck());
            std::thread::sleep(Duration::from_millis(1));
        }
        let left: Vec<_> = std::fs::read_dir(self.lab.dir()).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
        let status = self.lab.stop(Signal::TERM);
        assert!(status.success(), "{status}");
        println!("\nall {CLIENTS} clients came to their ends, and all boards are free");
    }

    fn are_through(&mut self) -> bool {
        let mut through = true;
        for client in &mut self.clients {
            match client.child.try_wait().unwrap() {
                Some(status) => assert!(status.success(), "a client ended: {status}"),
                None => through = false,
            }
        }
        through
    }

    /// Who is at what, and what the daemon says of it.
    fn stuck(&self) -> String {
        let mut text = String::new();
        for client in &self.clients {
            let at = Ledger::read(&client.ledger).map(|ledger| ledger.at());
            text.push_str(&format!("{}: {at:?}\n", client.child.id()));
        }
        for entry in std::fs::read_dir(self.lab.dir()).unwrap() {
            let status = std::fs::read_to_string(entry.unwrap().path());
            text.push_str(&format!("{status:?}\n"));
        }
        let log = self.lab.log();
        text.push_str(&log[log.len().saturating_sub(100)..].join("\n"));
        text
    }

    fn ledgers(&self) -> Vec<Ledger> {
        let living = self.clients.iter().map(|client| &client.ledger);
        let all = self.gone.iter().chain(living);
        all.filter_map(|path| Ledger::read(path)).collect()
    }

    fn report(&self, phase: Phase) {
        let ledgers = self.ledgers();
        let sum = |kind: Kind| -> u64 { ledgers.iter().map(|l| l.count(phase, kind)).sum() };
        let calls: u64 = Kind::CALLS.iter().map(|kind| sum(*kind)).sum();
        println!("{calls:>9} calls, {} clients killed", self.gone.len());
        for kind in Kind::ALL {
            println!("{:>9} {}", sum(kind), kind.words());
        }
        let mut times: Vec<u64> = vec![0; ledger::BUCKETS];
        for ledger in &ledgers {
            for (all, some) in times.iter_mut().zip(ledger.times(phase)) {
                *all += some;
            }
        }
        let longest = ledgers.iter().map(|ledger| ledger.longest(phase)).max();
        println!(
            "calls that wait for nobody, in ms: p50 {:.2}, p99 {:.2}, max {:.2}",
            ledger::quantile(&times, 0.5),
            ledger::quantile(&times, 0.99),
            longest.unwrap_or(0) as f64 / 1e6,
        );
        if phase == Phase::Quiet {
            return;
        }
        println!("killed: {:?}", self.points);
        let slow: Vec<_> = ledgers.iter().flat_map(Ledger::slow).collect();
        let mut held: Vec<f64> = Vec::new();
        let (mut holds, mut waits) = (0, 0);
        for kill in &self.kills {
            let at = slow.iter().filter(|s| s.begin <= *kill && s.end > *kill);
            holds += at.clone().filter(|s| s.kind == Kind::Hold).count();
            waits += at.clone().filter(|s| s.kind == Kind::Wait).count();
            let calls = at.filter(|s| !s.kind.waits());
            let longest = calls.map(|s| s.end - s.begin).max().unwrap_or(0);
            held.push(longest as f64 / 1e6);
        }
        held.sort_by(f64::total_cmp);
        let at = |part: f64| held[((held.len() - 1) as f64 * part).round() as usize];
        println!(
            "the longest of those at each kill, in ms: p50 {:.2}, p99 {:.2}, max {:.2}",
            at(0.5),
            at(0.99),
            at(1.0)
        );
        println!("{holds} times a board was held over a kill, {waits} times a wait went on");
    }
}

fn send(pid: u32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
        let _ = kill_process(pid, signal);
    }
}
