//! How often callers wait for an answer: each time is a wake-up of whoever serves and
//! one of theirs, which costs more than all that is done about it.

use libtest_mimic::Trial;

use crate::lab::Lab;

pub fn tests() -> Vec<Trial> {
    trials![
        a_claim_and_its_end_take_five("python3");
        tools_close_without_asking("flock");
        a_file_that_may_be_locked_by_fcntl_tells_each_close("python3");
    ]
}

/// What is not waited for.
const ASIDE: [&str; 3] = ["RELEASE", "FORGET", "BATCHFORGET"];

/// What a script asks: the operations that it waits for, in order, each with the letter
/// that begins it.
#[track_caller]
fn asked(shell: &str, script: &str) -> Vec<String> {
    let lab = Lab::new(&["-vv"]);
    lab.sh(shell, script).ok();
    // All that it has asked is logged once this is.
    let _ = std::fs::symlink_metadata(lab.path("the-end"));
    lab.wait_for_log(|line| line.contains("\"the-end\""));
    let log = lab.log();
    let operation = |line: &String| {
        let (_, after) = line.split_once(" FUSE(")?;
        let mut words = after.split(") ").nth(1)?.split_whitespace();
        let operation = words.by_ref().nth(2)?;
        let aside = ASIDE.contains(&operation) || line.contains("\"the-end\"");
        (!aside).then(|| operation.to_owned())
    };
    let ours = log
        .iter()
        .skip_while(|line| !line.contains("LOOKUP name \"b\""));
    ours.filter_map(operation).collect()
}

/// From elsewhere: whoever is in the directory asks about that, too.
fn python(script: &str) -> String {
    format!(
        "cd /; exec python3 -c 'import os, fcntl\nb = os.environ[\"LOCKS\"] + \"/b\"\n{script}'"
    )
}

/// The close is told: nobody knows that it will not be locked by fcntl(2).
fn a_claim_and_its_end_take_five() {
    let script =
        python("fd = os.open(b, os.O_CREAT | os.O_EXCL | os.O_WRONLY)\nos.close(fd)\nos.unlink(b)");
    let asked = asked("sh", &script);
    assert_eq!(asked, ["LOOKUP", "CREATE", "FLUSH", "LOOKUP", "UNLINK"]);
}

fn tools_close_without_asking() {
    if !told_of_by_the_kernel() {
        return;
    }
    assert_eq!(
        asked("sh", "cd /; touch $LOCKS/b"),
        ["LOOKUP", "CREATE", "SETATTR"]
    );
    assert_eq!(
        asked("sh", "cd /; flock $LOCKS/b true"),
        ["LOOKUP", "CREATE", "SETLKW"]
    );
    // Nobody knows what a script does that bears its name.
    let script = "cd /; d=$(mktemp -d); printf '#!/bin/sh\\n: >$LOCKS/b\\nsleep 0\\n' >$d/flock; \
                  chmod +x $d/flock; $d/flock; rm -r $d";
    let asked = asked("sh", script);
    assert!(asked.contains(&"FLUSH".to_owned()), "{asked:?}");
}

fn a_file_that_may_be_locked_by_fcntl_tells_each_close() {
    let script = python(
        "fd = os.open(b, os.O_CREAT | os.O_RDWR)\nfcntl.lockf(fd, fcntl.LOCK_EX)\nos.close(fd)",
    );
    let asked = asked("sh", &script);
    assert_eq!(asked[..2], ["LOOKUP", "CREATE"], "{asked:?}");
    assert!(asked[2..].iter().any(|one| one == "FLUSH"), "{asked:?}");
}

/// Whether the kernel knows FOPEN_NOFLUSH: Linux 5.16 does.
fn told_of_by_the_kernel() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let numbers: Vec<u32> = release.split('.').flat_map(str::parse).take(2).collect();
    let known = numbers >= vec![5, 16];
    if !known {
        eprintln!("Linux {release} asks once more for each close");
    }
    known
}
