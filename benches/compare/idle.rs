//! How often who serves wakes up with boards held, waiters waiting, and nothing to do.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::arg;
use super::growth::Waiters;
use super::places::{OURS, Places};
use super::report::Report;
use super::roles::Role;

const BOARDS: usize = 10_000;
const WAITERS: usize = 1_000;

pub fn measure(report: &mut Report, secs: u64) {
    let mut places = Places::new();
    places.serve(
        OURS,
        &["--max-per-user", "200000", "--max-boards", "200000"],
    );
    let dir = places.dir(OURS);
    let holder = Role::start(&["boards", arg(&dir), &BOARDS.to_string()]);
    let waiters = Waiters::start(&dir.join("0"), WAITERS);
    let server = places.server(OURS);
    // Requests that the last of them made are done.
    let _ = Command::new("stat")
        .arg(dir.join("0"))
        .stdout(Stdio::null())
        .status();
    std::thread::sleep(Duration::from_secs(1));
    let before = switches(server);
    std::thread::sleep(Duration::from_secs(secs));
    let woken = switches(server) - before;
    drop((waiters, holder));
    report.plain(
        &format!("wake-ups in {secs} s, {BOARDS} boards held, {WAITERS} waiters"),
        woken as f64,
        Some(0.0),
    );
}

/// How often the threads of a process have gone to sleep or were made to.
fn switches(pid: u32) -> u64 {
    let mut count = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let status = std::fs::read_to_string(thread.unwrap().path().join("status"));
        let status = status.unwrap_or_default();
        let numbers = status.lines().filter_map(|line| {
            let (key, number) = line.split_once(':')?;
            let counts = key.ends_with("ctxt_switches");
            counts.then(|| number.trim().parse::<u64>().ok()).flatten()
        });
        count += numbers.sum::<u64>();
    }
    count
}
