//! A disk that fills up: nobody is given what cannot be recorded, and nobody loses
//! what was.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};

use crate::lab::Lab;
use crate::process::{PATIENCE, eventually};
use crate::restart::Small;
use crate::site::Site;
use crate::trial::ROOT;

pub fn tests() -> Vec<Trial> {
    trials![nobody_is_handed_what_cannot_be_recorded(
        ROOT, "mount", "umount", "flock"
    )]
}

fn nobody_is_handed_what_cannot_be_recorded() {
    let place = Site::new();
    let small = Small::new(&place.path("small"));
    let file = small.0.join("state");
    let lab = Lab::new(&["--state", file.to_str().unwrap()]);
    let mut holder = lab.shell();
    holder.ok("exec 9>b; flock 9");
    let mut waiter = lab.spawn(
        "sh",
        "exec 8>>b; flock 8 && echo have; read line; flock -u 8",
    );
    eventually("it waits", PATIENCE, || lab.status("b")["waiters"] == "1");
    let mut full = OpenOptions::new();
    let mut full = full
        .append(true)
        .create(true)
        .open(small.0.join("full"))
        .unwrap();
    while full.write_all(&[0; 4096]).is_ok() {}
    // What is reserved is used up, by what is no giving back.
    let note = "x".repeat(4000);
    for _ in 0..60 {
        holder.ok(&format!("echo {note} >b"));
    }
    lab.wait_for_log(|line| line.contains("cannot record what is held"));
    holder.ok("flock -u 9");
    // As far as is recorded the holder has it. Whoever serves next knows no better.
    let from = lab.log().len();
    let serves = Pid::from_raw(lab.daemon_pid().cast_signed()).unwrap();
    kill_process(serves, Signal::KILL).unwrap();
    lab.wait_for_log_from(from, |line| line.contains("is served on"));
    let has = waiter.next_line(Duration::from_millis(500));
    drop(full);
    std::fs::remove_file(small.0.join("full")).unwrap();
    let mut again = holder.run("flock -n 9");
    eventually("there is room", PATIENCE, || {
        again = holder.run("flock -n 9");
        !again.said.join("").contains("No space left")
    });
    assert!(
        has.is_none() || again.outcome != "0",
        "both have it\n{}",
        lab.log().join("\n")
    );
    holder.ok("flock -u 9");
    waiter.expect("have");
    waiter.say("unlock");
    eventually("all are free", PATIENCE, || {
        lab.sh("sh", "flock -n b true").status.success()
    });
}
