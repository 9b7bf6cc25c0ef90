//! Many processes with one board, its lock handed on to children, and deaths.

use std::process::Command;
use std::time::Duration;

use libtest_mimic::Trial;

use super::side::Side;
use crate::process::PATIENCE;

pub fn tests() -> Vec<Trial> {
    trials![
        one_family_has_a_flock_at_a_time("python3");
        one_process_has_a_posix_lock_at_a_time("python3");
        one_family_has_an_ofd_lock_at_a_time("python3");
        one_has_a_lock_of_any_kind_on_the_mount("python3");
        signals_take_nothing_away_and_give_nothing("python3");
    ]
}

/// How often the lock is got, by all together. BOARDLOCK_RACES=8 makes it eight
/// times as often.
const TURNS: u32 = 400;

fn stress(side: &Side, kinds: &str, how: &[&str]) {
    let times = std::env::var("BOARDLOCK_RACES").ok();
    let times: u32 = times.map_or(1, |times| times.parse().expect("BOARDLOCK_RACES: a number"));
    let turns = TURNS * times;
    let mut command = Command::new("python3");
    command.args(["-c", include_str!("stress.py"), kinds, &turns.to_string()]);
    command.args(how);
    // A hang is what this is for.
    let limit = PATIENCE + Duration::from_millis(150) * turns;
    let output = side.start(command).wait(limit).ok();
    assert_eq!(output.stdout, "over\n", "{output}");
    assert_eq!(output.stderr, "");
    if let Side::Mount(_) = side {
        assert_eq!(side.names(), "-");
    }
}

fn both(kinds: &str, how: &[&str]) {
    for side in [Side::local(), Side::mount(&[])] {
        stress(&side, kinds, how);
    }
}

fn one_family_has_a_flock_at_a_time() {
    both("flock", &[]);
}

fn one_process_has_a_posix_lock_at_a_time() {
    both("fcntl", &[]);
}

fn one_family_has_an_ofd_lock_at_a_time() {
    both("ofd", &[]);
}

fn one_has_a_lock_of_any_kind_on_the_mount() {
    stress(&Side::mount(&[]), "flock,fcntl,ofd", &[]);
}

fn signals_take_nothing_away_and_give_nothing() {
    both("flock", &["disturbed"]);
    stress(&Side::mount(&[]), "flock,fcntl,ofd", &["disturbed"]);
}
