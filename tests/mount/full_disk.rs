//! A disk that fills up: nobody is given what cannot be recorded, and nobody loses
//! what was.

use std::time::Duration;

use boardlock::fault::Point;
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};

use crate::fault::{CAN, Faults};
use crate::lab::Lab;
use crate::process::{PATIENCE, eventually};
use crate::site::Site;
use crate::small::Small;
use crate::trial::ROOT;

pub fn tests() -> Vec<Trial> {
    trials![
        nobody_is_handed_what_cannot_be_recorded(ROOT, "mount", "umount", "flock");
        who_was_granted_a_lock_is_told_so(ROOT, "mount", "umount", "flock");
        the_history_leaves_room_for_what_is_held(ROOT, "mount", "umount", "python3");
    ]
}

fn who_was_granted_a_lock_is_told_so() {
    if !CAN {
        eprintln!("this build has no faults on purpose");
        return;
    }
    let place = Site::new();
    let small = Small::new(&place.path("small"));
    let file = small.0.join("state");
    let faults = Faults::new();
    let lab = Lab::faulty(&["--state", file.to_str().unwrap()], faults.dir());
    let mut holder = lab.shell();
    holder.ok("exec 9>b; flock 9");
    let script = "exec 8>>b; flock 8; echo $?; read line";
    let mut waiter = lab.spawn("sh", script);
    eventually("it waits", PATIENCE, || lab.status("b")["waiters"] == "1");
    Small::fill(&small.0);
    // It is recorded that it has the lock, for which there is room, and whoever is to
    // tell it so dies. The next one cannot give out any more.
    let from = lab.log().len();
    faults.arm(Point::Recorded, 1, "kill");
    holder.ok("flock -u 9");
    lab.wait_for_log_from(from, |line| line.contains("is served on"));
    assert!(faults.is_done(Point::Recorded));
    waiter.expect("0");
    lab.sh("sh", "flock -n b true").fails(1);
    Small::empty(&small.0);
    waiter.kill();
    eventually("it is free", PATIENCE, || {
        lab.sh("sh", "flock -n b true").status.success()
    });
}

fn the_history_leaves_room_for_what_is_held() {
    let place = Site::new();
    let small = Small::of(&place.path("small"), "4m");
    let file = small.0.join("state");
    let lab = Lab::new(&["--state", file.to_str().unwrap()]);
    // More holds than there is room to tell of.
    lab.sh(
        "python3",
        "import os\n\
         for _ in range(6000):\n\
         \x20   os.close(os.open('b', os.O_CREAT | os.O_EXCL | os.O_WRONLY)); os.unlink('b')\n",
    )
    .ok();
    lab.wait_for_log(|line| line.contains("cannot record the history"));
    lab.sh("sh", "touch b && rm b").ok();
    assert!(
        !lab.log()
            .iter()
            .any(|line| line.contains("cannot record what"))
    );
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
    Small::fill(&small.0);
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
    Small::empty(&small.0);
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
