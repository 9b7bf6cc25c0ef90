//! What is done to the daemon while histories are played: it is killed at random and
//! at named points, stopped, its clock is set, and its disk fills up and empties.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use boardlock::fault::Point;
use rustix::process::{Pid, Signal, kill_process};

use super::fault::{CAN, Deaths, Faults, RETURNING, SERVING};
use super::lab::{Lab, serving};
use super::process::PATIENCE;
use super::random::Random;
use super::record::Time;
use super::small::Small;
use super::sys::now;

/// What is due at a point is not done if it does not get there for so long.
const IDLE: Duration = Duration::from_millis(300);

/// A day, an hour, and no time at all.
const STEPS: [i64; 5] = [-86_400, 86_400, -3600, 3600, 0];

/// How often what was done.
pub type Done = BTreeMap<String, u64>;

/// How long the disk is full at most: what is given back meanwhile must find room
/// in what is reserved.
const FULL: Duration = Duration::from_millis(60);

/// A disk that fills up and empties.
#[derive(Clone)]
pub struct Disk {
    dir: PathBuf,
    /// From when to when it may have been full; as long as it may be, for ever.
    full: Arc<Mutex<Vec<(Time, Time)>>>,
}

impl Disk {
    /// The one on which this directory is (`Small`).
    pub fn new(dir: &Path) -> Disk {
        Disk {
            dir: dir.to_owned(),
            full: Arc::default(),
        }
    }

    /// When it may have been full.
    pub fn full(&self) -> Vec<(Time, Time)> {
        self.full.lock().unwrap().clone()
    }

    fn fill(&self) {
        self.full.lock().unwrap().push((now(), Time::MAX));
        Small::fill(&self.dir);
    }

    /// Empties it, if it is full.
    fn empty(&self) {
        let mut all = self.full.lock().unwrap();
        if let Some((_, to)) = all.last_mut()
            && *to == Time::MAX
        {
            Small::empty(&self.dir);
            *to = now();
        }
    }
}

/// Does it as long as it lives.
pub struct Injector {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Done>>,
}

/// It at work.
struct Work {
    daemon: u32,
    faults: Arc<Faults>,
    deaths: Deaths,
    random: Random,
    stop: Arc<AtomicBool>,
    done: Done,
    disk: Option<Disk>,
    /// Since when the disk is full.
    full: Option<Instant>,
}

impl Injector {
    /// On the daemon of a lab that was made with these faults.
    pub fn new(lab: &Lab, faults: &Arc<Faults>, seed: u64, disk: Option<&Disk>) -> Injector {
        let stop = Arc::new(AtomicBool::new(false));
        let mut work = Work {
            daemon: lab.supervisor_pid(),
            faults: Arc::clone(faults),
            deaths: Deaths::of(lab.supervisor_pid()),
            random: Random::new(seed),
            stop: Arc::clone(&stop),
            done: Done::new(),
            disk: disk.cloned(),
            full: None,
        };
        let thread = std::thread::spawn(move || {
            while !work.stop.load(Ordering::Relaxed) {
                work.step();
            }
            work.disk.iter().for_each(Disk::empty);
            work.done
        });
        Injector {
            stop,
            thread: Some(thread),
        }
    }

    /// What it did.
    pub fn stop(mut self, lab: &Lab) -> Done {
        self.stop.store(true, Ordering::Relaxed);
        let done = self.thread.take().unwrap().join();
        done.unwrap_or_else(|_| {
            let mut log = lab.log();
            log.retain(|line| !line.contains(" info "));
            panic!("the log:\n{}", log.join("\n"))
        })
    }
}

impl Drop for Injector {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn send(pid: u32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
        let _ = kill_process(pid, signal);
    }
}

impl Work {
    fn did(&mut self, what: &str) {
        *self.done.entry(what.to_owned()).or_default() += 1;
    }

    fn pause(&mut self, most: u64) {
        let micros = self.random.below(most);
        std::thread::sleep(Duration::from_micros(micros));
    }

    /// Fills the disk, or empties it.
    fn disk(&mut self) {
        let Some(disk) = self.disk.clone() else {
            return;
        };
        match self.full {
            None if self.random.percent(40) => {
                disk.fill();
                self.full = Some(Instant::now());
                self.did("disk filled");
            }
            Some(since) if since.elapsed() > FULL || self.random.percent(30) => {
                disk.empty();
                self.full = None;
            }
            _ => {}
        }
    }

    fn step(&mut self) {
        self.pause(30_000);
        self.disk();
        let serves = self.deaths.serves();
        assert_eq!(
            serving(self.daemon),
            serves,
            "whoever served died by itself"
        );
        match self.random.below(10) {
            0..=4 if CAN => self.dies_at_a_point(),
            0..=5 if self.deaths.ready() => {
                self.did("killed");
                send(serves, Signal::KILL);
                self.deaths.died();
            }
            6 => {
                self.did("stopped");
                send(serves, Signal::STOP);
                self.pause(30_000);
                send(serves, Signal::CONT);
            }
            7 if self.deaths.ready() => {
                self.did("killed while nobody sees it");
                send(self.daemon, Signal::STOP);
                self.pause(10_000);
                send(serves, Signal::KILL);
                self.pause(20_000);
                send(self.daemon, Signal::CONT);
                self.deaths.died();
            }
            8 if CAN => {
                self.did("clock set");
                self.faults.clock(self.random.pick(&STEPS));
            }
            _ => {}
        }
    }

    fn dies_at_a_point(&mut self) {
        let twice = self.random.percent(15);
        if !self.deaths.ready() || (twice && !self.deaths.ready()) {
            return;
        }
        let point = self.random.pick(&SERVING);
        // On a full disk nothing is written anew.
        let passed = |next: &Point| {
            self.full.is_none() || !matches!(next, Point::Rewriting | Point::Rewritten)
        };
        let next = twice.then(|| self.random.pick(&RETURNING)).filter(passed);
        if let Some(next) = next {
            self.faults.arm(next, 1, "kill");
        }
        self.faults.arm(point, 1 + self.random.below(40), "kill");
        let end = Instant::now() + IDLE;
        while Instant::now() < end && !self.faults.is_done(point) {
            std::thread::sleep(Duration::from_micros(300));
        }
        if self.faults.disarm(point) {
            // A file that has grown long is written anew by who serves as well.
            if let Some(next) = next.filter(|next| !self.faults.disarm(*next)) {
                self.did(&format!("killed at {}", next.name()));
                self.deaths.all_died(&[self.faults.by(next)]);
            }
            return;
        }
        self.did(&format!("killed at {}", point.name()));
        let mut dead = vec![self.faults.by(point)];
        if let Some(next) = next {
            self.did(&format!("killed at {}", next.name()));
            let end = Instant::now() + PATIENCE;
            while !self.faults.is_done(next) {
                assert!(Instant::now() < end, "it does not get to {next:?}");
                std::thread::sleep(Duration::from_micros(300));
            }
            dead.push(self.faults.by(next));
        }
        self.deaths.all_died(&dead);
    }
}
