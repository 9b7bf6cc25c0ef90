//! Kernels that end a mount which leaves a request unanswered: waits outlive
//! that (fs.fuse.max_request_timeout, Linux 6.15).

use std::path::Path;
use std::time::Duration;

use libtest_mimic::Trial;

use crate::lab::Lab;
use crate::process::{PATIENCE, eventually};
use crate::trial::ROOT;

pub fn tests() -> Vec<Trial> {
    trials![a_wait_outlives_the_kernels_patience(
        "flock", "strace", ROOT
    )]
}

const LIMIT: &str = "/proc/sys/fs/fuse/max_request_timeout";

/// The shortest limit, in seconds; the kernel looks as often.
const SHORTEST: u64 = 15;

/// Mounts with the limit in force, which is the whole machine's for that moment.
fn impatient_lab() -> Lab {
    struct Restore(String);
    impl Drop for Restore {
        fn drop(&mut self) {
            std::fs::write(LIMIT, &self.0).unwrap();
        }
    }
    let _restore = Restore(std::fs::read_to_string(LIMIT).unwrap());
    std::fs::write(LIMIT, SHORTEST.to_string()).unwrap();
    Lab::new(&["-v"])
}

fn a_wait_outlives_the_kernels_patience() {
    if !Path::new(LIMIT).exists() {
        eprintln!("this kernel has no such limit: nothing to see");
        return;
    }
    let lab = impatient_lab();
    let log = lab.log().join("\n");
    let said = "unanswered for 15 s; who waits longer for a board is made to ask anew";
    assert!(log.contains(said), "{log}");
    let mut holder = lab.spawn("bash", "exec 9>b; flock 9; echo have; read line");
    holder.expect("have");
    // In order: each must keep its place, one that is traced too.
    let clients = [
        "flock b echo got",
        "strace -o /dev/null flock b echo got",
        "perl -e 'open F, \"<b\"; flock F, 2 or die $!; print \"got\\n\"'",
    ];
    let mut waiters = Vec::new();
    for (place, client) in clients.into_iter().enumerate() {
        waiters.push(lab.spawn("bash", &format!("{client}; echo exit $?")));
        eventually("it waits", PATIENCE, || {
            lab.status("b")["waiters"] == (place + 1).to_string()
        });
    }
    let order = |lab: &Lab| {
        let text = std::fs::read_to_string(lab.path("b")).unwrap();
        let pids = text.lines().filter(|line| line.starts_with("waiter "));
        pids.map(|line| line.split(' ').nth(3).unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let before = order(&lab);
    // Two looks of the kernel at requests that are older than the limit.
    let twice = Duration::from_secs(2 * SHORTEST + SHORTEST + 2);
    let sent_back = || lab.log().join("\n").matches("lock: Errno(4)").count();
    eventually("each was sent back often enough", twice * 2, || {
        sent_back() >= waiters.len() * 4
    });
    assert_eq!(order(&lab), before, "each kept its place");
    holder.say("go");
    for mut waiter in waiters {
        waiter.expect("got");
        waiter.expect("exit 0");
    }
    lab.sh("sh", "test ! -e b").ok();
}
