//! Faults on purpose: what a test has the daemon do to itself (`boardlock::fault`),
//! and how often it can die without giving up.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use boardlock::fault::Point;
use tempfile::TempDir;

use crate::lab::serving;
use crate::process::{PATIENCE, eventually};

/// Says to a daemon where it finds this.
pub const VARIABLE: &str = "BOARDLOCK_FAULTS";

/// Whether the daemon that is tested has faults on purpose.
pub const CAN: bool = cfg!(debug_assertions);

/// Where the one that serves can die between reading a request and reading the next.
pub const SERVING: [Point; 6] = [
    Point::Read,
    Point::Decided,
    Point::Recording,
    Point::Recorded,
    Point::Replying,
    Point::Replied,
];

/// Where the next one can die before it serves.
pub const RETURNING: [Point; 5] = [
    Point::Rewriting,
    Point::Rewritten,
    Point::Restoring,
    Point::Restored,
    Point::Resumed,
];

/// The faults of one daemon.
pub struct Faults {
    dir: TempDir,
}

impl Faults {
    /// None yet.
    pub fn new() -> Faults {
        let mut temp = tempfile::Builder::new();
        let dir = temp.prefix("boardlock-faults-").tempdir().unwrap();
        Faults { dir }
    }

    /// For the daemon's environment.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn done(&self, point: Point) -> PathBuf {
        self.dir.path().join(point.name()).with_extension("done")
    }

    /// Has the daemon do something at a point, the so manieth time it gets there.
    pub fn arm(&self, point: Point, passage: u64, action: &str) {
        let _ = fs::remove_file(self.done(point));
        let new = self.dir.path().join(".new");
        fs::write(&new, format!("{passage} {action}")).unwrap();
        fs::rename(new, self.dir.path().join(point.name())).unwrap();
    }

    /// It is not to do it any more; whether it has not done it.
    pub fn disarm(&self, point: Point) -> bool {
        let end = Instant::now() + PATIENCE;
        // It may be looking at it.
        while fs::remove_file(self.dir.path().join(point.name())).is_err() {
            if self.is_done(point) {
                return false;
            }
            assert!(Instant::now() < end, "{point:?} is neither due nor done");
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }

    /// Whether it has done it, or is about to.
    pub fn is_done(&self, point: Point) -> bool {
        self.done(point).exists()
    }

    /// Who has done it.
    pub fn by(&self, point: Point) -> u32 {
        fs::read_to_string(self.done(point))
            .unwrap()
            .parse()
            .unwrap()
    }

    /// The wall clock is so many seconds ahead from now on.
    pub fn clock(&self, ahead: i64) {
        let new = self.dir.path().join(".new");
        fs::write(&new, ahead.to_string()).unwrap();
        fs::rename(new, self.dir.path().join("clock")).unwrap();
    }
}

/// So many deaths in a row within a second are no reason to give up, and a few
/// less.
const QUICK: u32 = 3;
/// Who lived for longer does not count as one of them: a second from when it serves,
/// which on a busy machine it does some time after it was started.
const LONG: Duration = Duration::from_millis(1500);

/// Who serves for a daemon, and how many of them may die.
pub struct Deaths {
    daemon: u32,
    serves: u32,
    since: Instant,
    quick: u32,
}

impl Deaths {
    /// Of the daemon with this pid.
    pub fn of(daemon: u32) -> Deaths {
        let mut deaths = Deaths {
            daemon,
            serves: daemon,
            since: Instant::now(),
            quick: QUICK,
        };
        deaths.serves = deaths.after(&[]);
        deaths
    }

    /// Waits for one who serves and is none of these.
    fn after(&self, dead: &[u32]) -> u32 {
        let mut serves = self.daemon;
        eventually("another serves", PATIENCE, || {
            serves = serving(self.daemon);
            serves != self.daemon && !dead.contains(&serves)
        });
        serves
    }

    /// Whoever serves.
    pub fn serves(&self) -> u32 {
        self.serves
    }

    /// Waits until so many can die, each as soon as it serves.
    pub fn pace(&mut self, many: u32) {
        if self.quick + many <= QUICK {
            self.quick += many;
            return;
        }
        let long = self.since + LONG;
        std::thread::sleep(long.saturating_duration_since(Instant::now()));
        self.quick = many - 1;
    }

    /// When another can die, none if it can now.
    pub fn ready(&mut self) -> bool {
        if self.quick < QUICK {
            self.quick += 1;
            return true;
        }
        let ready = self.since.elapsed() >= LONG;
        if ready {
            self.quick = 0;
        }
        ready
    }

    /// Whoever serves dies, of what is not in the faults.
    pub fn died(&mut self) {
        self.all_died(&[self.serves]);
    }

    /// All of these die, and then nobody else does.
    pub fn all_died(&mut self, dead: &[u32]) {
        self.serves = self.after(dead);
        self.since = Instant::now();
    }
}
