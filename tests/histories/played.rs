//! Histories that are really played.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;

use super::fault::Faults;
use super::history::History;
use super::injector::{Disk, Done, Injector};
use super::judge::judge;
use super::lab::Lab;
use super::model::Rules;
use super::plan::{Kind, plan};
use super::pool::Pool;
use super::report;
use super::site::Site;
use super::small::Small;
use super::trial::ROOT;
use super::{line, stage};

pub fn tests() -> Vec<Trial> {
    trials![
        the_kernels_flock_is_right;
        the_kernels_fcntl_is_right;
        claims_and_locks_are_right;
        claims_and_locks_outlive_whoever_serves;
        claims_and_locks_outlive_a_full_disk(ROOT, "mount", "umount");
    ]
}

fn number(name: &str) -> Option<u64> {
    let set = std::env::var(name).ok()?;
    Some(set.parse().unwrap_or_else(|_| panic!("{name}: a number")))
}

/// Histories on a bare file system of each kind, where nothing else is set.
const BARE: u64 = 100;
/// Histories on a served directory.
const SERVED: u64 = 500;
/// Histories while whoever serves is killed and stopped, and its clock is set.
const KILLED: u64 = 200;
/// Times that one history is played again.
const AGAIN: u64 = 200;
/// Histories that one daemon serves; its log is kept.
const PER_DAEMON: usize = 250;

/// What the daemon says when it refuses somebody because it cannot find out in time
/// who that is.
const TOO_SLOW: &str = "could not be found out in time";

/// The numbers of the histories that are played.
fn seeds(count: u64) -> Vec<u64> {
    let set = number("BOARDLOCK_HISTORIES");
    match number("BOARDLOCK_SEED") {
        Some(seed) => vec![seed; usize::try_from(set.unwrap_or(AGAIN)).unwrap()],
        None => (0..set.unwrap_or(count)).collect(),
    }
}

/// How often each call ended in each way.
#[derive(Default)]
struct Tally {
    calls: BTreeMap<String, u64>,
    operations: u64,
    histories: u64,
    unknown: usize,
    /// Histories in which somebody was refused because the machine was too slow.
    refused: u64,
    ordered: usize,
    playing: Duration,
    judging: Duration,
}

impl Tally {
    fn add(&mut self, history: &History) {
        self.histories += 1;
        for trace in &history.traces {
            self.operations += trace.records.len() as u64;
            for record in &trace.records {
                let text = format!("{:?}", record.action);
                let text = text.split('(').next().unwrap_or_default();
                let end = match record.end {
                    None => "cut off".to_owned(),
                    Some((_, answer)) if answer.errno == 0 => "done".to_owned(),
                    Some((_, answer)) => {
                        format!("{:?}", nix::errno::Errno::from_raw(answer.errno))
                    }
                };
                *self.calls.entry(format!("{text} {end}")).or_default() += 1;
            }
            for sent in &trace.sent {
                let entry = self.calls.entry(format!("{:?}", sent.poke));
                *entry.or_default() += 1;
            }
        }
    }

    /// Says what was played, if that was asked for by a number.
    fn tell(&self) {
        if number("BOARDLOCK_HISTORIES").is_none() {
            return;
        }
        eprintln!(
            "{} histories, {} calls: {:.1} s of playing, {:.1} s of judging, {} calls in a known \
             order",
            self.histories,
            self.operations,
            self.playing.as_secs_f64(),
            self.judging.as_secs_f64(),
            self.ordered,
        );
        if self.unknown > 0 {
            eprintln!("{} boards with too much to look at", self.unknown);
        }
        if self.refused > 0 {
            eprintln!("{} of them on a machine that was too slow", self.refused);
        }
        for (call, count) in &self.calls {
            eprintln!("{count:>9} {call}");
        }
    }

    /// Histories in which these never happened would show nothing.
    fn covers(&self, calls: &[&str]) {
        for call in calls {
            assert!(self.calls.contains_key(*call), "{call}: {:?}", self.calls);
        }
    }
}

/// A line of the daemon's log without our clients' command lines.
fn brief(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once(" (/") {
        text.push_str(before);
        rest = after.split_once(')').map_or("", |(_, rest)| rest);
    }
    text + rest
}

/// Plays and judges the histories of these numbers.
fn run(
    tally: &mut Tally,
    rules: &Rules,
    seeds: &[u64],
    mut play: impl FnMut(u64) -> Result<History, String>,
    log: impl Fn() -> Vec<String>,
) {
    for &seed in seeds {
        let before = log().len();
        let fail = |history: Option<&History>, error: String| -> ! {
            let pids = history.map_or_else(String::new, report::pids);
            let log: Vec<String> = log()[before..].iter().map(|line| brief(line)).collect();
            let log = log.join("\n  ");
            panic!("BOARDLOCK_SEED={seed}: {error}\n{pids}\nThe daemon:\n  {log}");
        };
        let begin = Instant::now();
        let history = match play(seed) {
            Ok(history) => history,
            Err(error) => fail(None, error),
        };
        tally.playing += begin.elapsed();
        let begin = Instant::now();
        match judge(&history, rules) {
            Ok(judged) => {
                tally.unknown += judged.unknown;
                tally.ordered += judged.ordered;
            }
            // A refusal that the README tells of.
            Err(_) if log()[before..].iter().any(|line| line.contains(TOO_SLOW)) => {
                tally.refused += 1;
            }
            Err(error) => fail(Some(&history), error),
        }
        tally.judging += begin.elapsed();
        tally.add(&history);
    }
    // What a machine does that stands still for seconds can be in too many orders.
    let most = 1 + tally.histories / 500;
    assert!(
        tally.unknown as u64 <= most,
        "{} boards with too much to look at",
        tally.unknown
    );
}

fn bare(kind: Kind) {
    let temp = tempfile::tempdir().unwrap();
    let mut pool = Pool::new(temp.path(), None);
    let mut tally = Tally::default();
    run(
        &mut tally,
        &Rules::BARE,
        &seeds(BARE),
        |seed| stage::play(&plan(seed, kind), &mut pool),
        Vec::new,
    );
    tally.tell();
    if tally.histories >= BARE && number("BOARDLOCK_SEED").is_none() {
        tally.covers(&["Lock done", "Lock EAGAIN", "Lock EINTR", "Lock cut off"]);
    }
}

fn the_kernels_flock_is_right() {
    bare(Kind::Flock);
}

fn the_kernels_fcntl_is_right() {
    bare(Kind::Fcntl);
}

/// What is played by a number on a served directory.
fn served(seed: u64, pool: &mut Pool) -> Result<History, String> {
    match seed % 8 {
        3 => stage::play(&plan(seed, Kind::Claims), pool),
        6 => line::play(seed, pool),
        _ => stage::play(&plan(seed, Kind::Served), pool),
    }
}

fn claims_and_locks_outlive_whoever_serves() {
    let mut tally = Tally::default();
    let mut done = Done::new();
    for (round, seeds) in (1..).zip(seeds(KILLED).chunks(PER_DAEMON)) {
        let faults = Arc::new(Faults::new());
        let lab = Lab::faulty(&["--lease", "30min"], faults.dir());
        let injector = Injector::new(&lab, &faults, round, None);
        let mut pool = Pool::new(lab.dir(), Some(lab.supervisor_pid()));
        run(
            &mut tally,
            &Rules::SERVED,
            seeds,
            |seed| served(seed, &mut pool),
            || lab.log(),
        );
        for (what, count) in injector.stop(&lab) {
            *done.entry(what).or_default() += count;
        }
    }
    tally.tell();
    if number("BOARDLOCK_HISTORIES").is_some() {
        eprintln!("whoever served: {done:?}");
    }
    assert!(!done.is_empty());
}

/// What the daemon says when even what is given back cannot be recorded: it comes
/// back with the next one (README, "Over a restart").
const USED_UP: &str = "cannot record what is held";

fn claims_and_locks_outlive_a_full_disk() {
    let mut tally = Tally::default();
    let mut done = Done::new();
    for (round, seeds) in (1001..).zip(seeds(KILLED).chunks(PER_DAEMON)) {
        let place = Site::new();
        // Once it is empty there is room for all: also for what was half written anew.
        let small = Small::of(&place.path("small"), "4m");
        let faults = Arc::new(Faults::new());
        let state = small.0.join("state");
        let lab = Lab::faulty(&["--state", state.to_str().unwrap()], faults.dir());
        let disk = Disk::new(&small.0);
        let injector = Injector::new(&lab, &faults, round, Some(&disk));
        let mut pool = Pool::new(lab.dir(), Some(lab.supervisor_pid()));
        run(
            &mut tally,
            &Rules::SERVED,
            seeds,
            |seed| {
                // No lines: who comes to one on a full disk is not in it.
                let kind = match seed % 8 {
                    3 => Kind::Claims,
                    _ => Kind::Served,
                };
                let history = stage::play(&plan(seed, kind), &mut pool)?;
                Ok(History {
                    full: disk.full(),
                    ..history
                })
            },
            || lab.log(),
        );
        for (what, count) in injector.stop(&lab) {
            *done.entry(what).or_default() += count;
        }
        let log = lab.log();
        assert!(!log.iter().any(|line| line.contains(USED_UP)), "no room");
    }
    tally.tell();
    if number("BOARDLOCK_HISTORIES").is_some() {
        eprintln!("whoever served, and its disk: {done:?}");
    }
    assert!(done.contains_key("disk filled"), "{done:?}");
    if tally.histories >= KILLED && number("BOARDLOCK_SEED").is_none() {
        tally.covers(&["Open ENOSPC", "Lock ENOSPC", "Unlink done"]);
    }
}

fn claims_and_locks_are_right() {
    let mut tally = Tally::default();
    for seeds in seeds(SERVED).chunks(PER_DAEMON) {
        let lab = Lab::new(&[]);
        let mut pool = Pool::new(lab.dir(), Some(lab.daemon_pid()));
        run(
            &mut tally,
            &Rules::SERVED,
            seeds,
            |seed| served(seed, &mut pool),
            || lab.log(),
        );
    }
    tally.tell();
    if tally.histories >= SERVED && number("BOARDLOCK_SEED").is_none() {
        tally.covers(&[
            "Lock done",
            "Lock EAGAIN",
            "Lock EINTR",
            "Lock cut off",
            "Open EAGAIN",
            "Open EEXIST",
            "Open ENOENT",
            "Open cut off",
            "Unlink done",
        ]);
        assert!(tally.ordered > 0, "nobody was seen in the queue");
    }
}
