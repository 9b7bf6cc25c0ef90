//! From a holder to who waits in flock(2) for the board.
//!
//! All clients are processes of this program: a holder, and one that waits and notes the
//! moment at which its flock(2) returns. Three ways: the holder's lock is let go as it is
//! killed, from right before kill(2); it unlocks, from right before its flock(2); and it
//! has the board by a claim, as touch(1) makes it, and is killed. Moments are
//! CLOCK_MONOTONIC's. Those of the tmpfs and of the mount in turn.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};
use rustix::time::{ClockId, clock_gettime};

use super::arg;
use super::places::{OURS, Places, TMPFS};
use super::report::{Report, at};
use super::roles::{Role, say};

const KILLED: &str = "hand-over, SIGKILL of a locker";
const CLAIMED: &str = "hand-over, SIGKILL of a claimer";
const UNLOCKED: &str = "hand-over, unlocking";

/// The figures that are told of all hand-overs of a round.
const PARTS: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("max", 1.0)];

pub fn measure(report: &mut Report, hand_overs: usize) {
    let mut places = Places::new();
    places.serve(OURS, &[]);
    let boards = [TMPFS, OURS].map(|place| places.board(place));
    for _ in 0..report.rounds {
        let mut killed = [Vec::new(), Vec::new()];
        let mut unlocked = [Vec::new(), Vec::new()];
        let mut claimed = Vec::new();
        let mut waiters = boards
            .each_ref()
            .map(|path| Role::start(&["wait", arg(path)]));
        for _ in 0..hand_overs {
            for (which, path) in boards.iter().enumerate() {
                let waiter = &mut waiters[which];
                let mut holder = Role::start(&["hold", arg(path)]);
                killed[which].push(waiter.after(&mut holder, path, kill));
                let mut holder = Role::start(&["hold", arg(path)]);
                let unlock = |holder: &mut Role| holder.told("unlock");
                unlocked[which].push(waiter.after(&mut holder, path, unlock));
            }
            let mut holder = Role::start(&["claim", arg(&boards[1])]);
            claimed.push(waiters[1].after(&mut holder, &boards[1], kill));
        }
        for (part, share) in PARTS {
            for (which, place) in [TMPFS, OURS].into_iter().enumerate() {
                let name = |what: &str| format!("{what}, {part}");
                report.add(&name(KILLED), place, "ms", at(&killed[which], share));
                report.add(&name(UNLOCKED), place, "ms", at(&unlocked[which], share));
            }
            let name = format!("{CLAIMED}, {part}");
            report.add(&name, OURS, "ms", at(&claimed, share));
        }
    }
    for (part, aim) in [("p50", None), ("p99", Some(1.5))] {
        let [killed, claimed, unlocked] =
            [KILLED, CLAIMED, UNLOCKED].map(|what| format!("{what}, {part}"));
        let title = |what: &str| format!("{what}: to a tmpfs");
        report.compare(&title(&killed), (&killed, OURS), (&killed, TMPFS), aim);
        let to = (killed.as_str(), TMPFS);
        report.compare(
            &format!("{claimed}: to a locker's"),
            (&claimed, OURS),
            to,
            aim,
        );
        report.compare(
            &title(&unlocked),
            (&unlocked, OURS),
            (&unlocked, TMPFS),
            None,
        );
    }
}

impl Role {
    /// Waits for what the holder has; how long after the holder was ended it was
    /// had, in ms.
    fn after(&mut self, holder: &mut Role, path: &Path, end: impl Fn(&mut Role) -> u64) -> f64 {
        self.say("lock");
        let begin = Instant::now();
        while !self.sleeps() {
            let waited = begin.elapsed();
            assert!(waited < Duration::from_secs(10), "it does not wait");
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

fn kill(holder: &mut Role) -> u64 {
    let before = now();
    kill_process(Pid::from_child(&holder.child), Signal::KILL).unwrap();
    before
}

fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
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

/// The role of a holder by flock(2).
pub fn hold(path: &Path) {
    let file = opened(path);
    flock(&file, FlockOperation::LockExclusive).unwrap();
    say("ready");
    obey(&file);
}

/// The role of who waits.
pub fn wait(path: &Path) {
    let file = opened(path);
    // A board that is only open is claimed; locking gives that up.
    flock(&file, FlockOperation::LockExclusive).unwrap();
    flock(&file, FlockOperation::Unlock).unwrap();
    say("ready");
    obey(&file);
}

/// The role of a holder by a claim.
pub fn claim(path: &Path) {
    let mut options = OpenOptions::new();
    drop(options.write(true).create_new(true).open(path).unwrap());
    say("ready");
    let _ = std::io::stdin().read(&mut [0]);
}
