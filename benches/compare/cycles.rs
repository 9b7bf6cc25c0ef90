//! System calls of one process on a board that nobody else wants.

use std::fs::OpenOptions;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use super::arg;
use super::places::{FLOOR, OURS, Places, TMPFS};
use super::report::Report;
use super::roles::{Role, say};

/// How long one turn counts.
const TURN: Duration = Duration::from_millis(500);

/// Taking and giving back, as lock programs do it.
pub const CLAIM: &str = "open(O_CREAT|O_EXCL), close, unlink";
/// Locking and unlocking an open file.
pub const LOCK: &str = "flock, unlock";

/// The name of a figure with client and server on one core: without what it takes to
/// wake up another.
fn on_one_core(what: &str) -> String {
    format!("{what}, one core")
}

pub fn measure(report: &mut Report) {
    let places = Places::all();
    let kinds = [(CLAIM, "claim"), (LOCK, "lock")];
    for one_core in [false, true] {
        if one_core {
            places.to_one_core();
        }
        for _ in 0..report.rounds {
            for (what, kind) in kinds {
                for place in [TMPFS, FLOOR, OURS] {
                    let took = cycle(one_core, kind, &places.board(place));
                    let what = match one_core {
                        true => on_one_core(what),
                        false => what.to_owned(),
                    };
                    report.add(&what, place, "us", took);
                }
            }
        }
    }
    for (what, aim) in [(CLAIM, 1.15), (LOCK, 1.05)] {
        let title = format!("{what}: to fuser's");
        report.compare(&title, (what, OURS), (what, FLOOR), Some(aim));
        let one = on_one_core(what);
        report.compare(
            &format!("{one}: to fuser's"),
            (&one, OURS),
            (&one, FLOOR),
            None,
        );
    }
}

/// What a cycle takes, in microseconds, done by a process of its own.
pub fn cycle(one_core: bool, kind: &str, path: &Path) -> f64 {
    let mut role = Role::start_on(one_core, &["cycle", kind, arg(path)]);
    role.line().parse().unwrap()
}

/// The role: counts and says what one took.
pub fn count(kind: &str, path: &Path) {
    let claim = |path: &Path| {
        let mut options = OpenOptions::new();
        drop(options.write(true).create_new(true).open(path).unwrap());
        std::fs::remove_file(path).unwrap();
    };
    let took = match kind {
        "claim" => timed(|| claim(path)),
        _ => {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            let file = options.open(path).unwrap();
            let took = timed(|| {
                flock(&file, FlockOperation::LockExclusive).unwrap();
                flock(&file, FlockOperation::Unlock).unwrap();
            });
            // A file of a tmpfs stays, and would be in the claims' way.
            let _ = std::fs::remove_file(path);
            took
        }
    };
    say("ready");
    say(took);
}

fn timed(cycle: impl Fn()) -> f64 {
    let cycles = |until: Duration| {
        let begin = Instant::now();
        let mut count = 0;
        while begin.elapsed() < until {
            for _ in 0..20 {
                cycle();
            }
            count += 20;
        }
        begin.elapsed().as_secs_f64() * 1e6 / f64::from(count)
    };
    cycles(TURN / 5);
    cycles(TURN)
}
