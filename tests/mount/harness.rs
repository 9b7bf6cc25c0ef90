//! The harness itself: what it promises to the other tests.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;

use crate::lab::Lab;

pub fn tests() -> Vec<Trial> {
    trials![
        one_can_talk_to_a_script;
        a_script_that_hangs_is_ended_with_its_children;
        children_in_the_background_hold_up_nothing;
        a_stopped_daemon_is_cleaned_up;
    ]
}

fn one_can_talk_to_a_script() {
    let lab = Lab::new(&[]);
    let mut script = lab.spawn(
        "bash",
        "while read line; do echo \"got $line\"; done; pwd >&2; echo $LOCKS >&2; exit 3",
    );
    for line in ["x", "y z"] {
        script.say(line);
        script.expect(&format!("got {line}"));
    }
    script.close();
    let output = script.wait(Duration::from_secs(10)).fails(3);
    let dir = lab.dir().display();
    assert_eq!(output.stderr, format!("{dir}\n{dir}\n"));
}

fn a_script_that_hangs_is_ended_with_its_children() {
    let lab = Lab::new(&[]);
    let script = lab.spawn("sh", "sleep 1234567 & echo $!; sleep 1234567");
    let wait = catch_unwind(AssertUnwindSafe(|| script.wait(Duration::from_millis(300))));
    let said = *wait.unwrap_err().downcast::<String>().unwrap();
    let child = said
        .lines()
        .find_map(|line| line.parse::<u32>().ok())
        .unwrap();
    crate::process::eventually("the child is gone", Duration::from_secs(10), || {
        std::fs::read_to_string(format!("/proc/{child}/stat")).map_or(true, |stat| {
            !stat.contains("(sleep)") || stat.contains(") Z ")
        })
    });
}

fn children_in_the_background_hold_up_nothing() {
    let lab = Lab::new(&[]);
    let begin = Instant::now();
    lab.sh("sh", "cd /; sleep 1000 & echo hi").ok();
    assert!(begin.elapsed() < Duration::from_secs(10));
}

fn a_stopped_daemon_is_cleaned_up() {
    let lab = Lab::new(&[]);
    lab.sh("sh", &format!("cd /; kill -STOP {}", lab.daemon_pid()))
        .ok();
}
