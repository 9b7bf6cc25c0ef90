//! The first minute with a lock directory.

use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::lab::{Lab, NOBODY};
use crate::trial::{ROOT, USER_MOUNTS};

pub fn tests() -> Vec<Trial> {
    trials![
        a_board_is_taken_seen_and_released;
        a_killed_script_releases("bash");
        another_user_is_refused(ROOT);
        an_ordinary_user_serves(ROOT, USER_MOUNTS);
        a_signal_ends_the_daemon_and_the_mount;
    ]
}

fn a_board_is_taken_seen_and_released() {
    let lab = Lab::new(&[]);
    let output = lab
        .sh(
            "sh",
            "set -e; test ! -e b; touch b; echo $$; cat b; rm b; test ! -e b; ls | wc -l",
        )
        .ok();
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert_eq!(lines[1], format!("0 {}", lines[0]), "{output}");
    assert_eq!(lines.last(), Some(&"0"), "{output}");
}

fn a_killed_script_releases() {
    let lab = Lab::new(&[]);
    let mut holder = lab.spawn("bash", "touch b; echo have; read line");
    holder.expect("have");
    lab.sh("sh", "touch b").fails(1);
    assert!(lab.path("b").exists());
    holder.kill();
    lab.sh("sh", "touch b").ok();
}

fn another_user_is_refused() {
    let lab = Lab::new(&[]);
    let mut holder = lab.spawn(
        "sh",
        "touch b; echo have; read line; rm b; echo free; read line",
    );
    holder.expect("have");
    lab.sh_as(NOBODY, "sh", "touch b").fails(1);
    lab.sh_as(NOBODY, "sh", "rm -f b").fails(1);
    holder.say("go");
    holder.expect("free");
    let output = lab.sh_as(NOBODY, "sh", "touch b && stat -c %u b").ok();
    assert_eq!(output.stdout, format!("{NOBODY}\n"));
}

fn an_ordinary_user_serves() {
    let lab = Lab::of_user(NOBODY, &["-o", "no_allow_other"]);
    lab.sh_as(NOBODY, "sh", "touch b && test -e b && rm b").ok();
}

fn a_signal_ends_the_daemon_and_the_mount() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut lab = Lab::new(&[]);
        assert_eq!(lab.stop(signal).code(), Some(0), "{:?}", lab.log());
        assert!(
            !lab.sh("sh", "findmnt -t fuse.boardlock \"$LOCKS\"")
                .status
                .success()
        );
    }
}
