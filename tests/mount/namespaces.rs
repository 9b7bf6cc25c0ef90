//! Callers in another pid namespace than the daemon's: those below it are seen
//! and hold; those beside or above it are told no, or hold detached.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use libtest_mimic::Trial;
use tempfile::TempDir;

use crate::lab::Lab;
use crate::process::{PATIENCE, Running, eventually};
use crate::shown::{becomes_free, free, held_by, only_child};
use crate::trial::ROOT;

pub fn tests() -> Vec<Trial> {
    trials![
        a_script_in_a_pid_namespace_of_its_own_holds(ROOT, "unshare");
        a_namespace_that_is_killed_frees(ROOT, "unshare");
        a_caller_that_cannot_be_seen_is_refused(ROOT, "unshare");
        a_caller_that_cannot_be_seen_holds_detached_with_a_lease(ROOT, "unshare", "busybox");
        a_daemon_whose_proc_is_not_its_own_does_not_serve(ROOT, "unshare");
    ]
}

fn a_script_in_a_pid_namespace_of_its_own_holds() {
    let lab = Lab::new(&[]);
    for take in [
        "touch b",
        "err=$(touch b 2>&1)",
        ": >b",
        "sh -c 'touch b || exit 1'",
        "( touch b; true )",
        "mkdir b",
    ] {
        // The script as the namespace's first process, and as its second.
        for first in [true, false] {
            let script = format!("{take}\necho have $?\nread line\n");
            let temp = tempfile::tempdir().unwrap();
            let file = temp.path().join("script");
            std::fs::write(&file, script).unwrap();
            let file = file.to_str().unwrap();
            let command = format!("bash {file}; true");
            let inner: &[&str] = if first {
                &["bash", file]
            } else {
                &["sh", "-c", &command]
            };
            let args = [&["-pf", "--mount-proc"], inner].concat();
            let mut outer = lab.program("unshare", &args);
            outer.expect("have 0");
            let mut holder = only_child(outer.pid());
            if !first {
                holder = only_child(holder);
            }
            held_by(&lab, "b", holder, take);
            lab.sh("sh", "touch b 2>/dev/null || mkdir b").fails(1);
            outer.say("go");
            outer.wait(PATIENCE).ok();
            free(&lab, "b", take);
        }
    }
}

fn a_namespace_that_is_killed_frees() {
    let lab = Lab::new(&[]);
    let mut outer = lab.program(
        "unshare",
        &[
            "-pf",
            "--kill-child",
            "sh",
            "-c",
            "bash -c 'touch b; echo have; read line'; true",
        ],
    );
    outer.expect("have");
    outer.kill();
    becomes_free(&lab, "b");
}

/// A daemon in a pid namespace of its own that serves a directory of ours.
struct Inside {
    daemon: Running,
    shared: TempDir,
}

impl Inside {
    /// With a /proc of its own, and these arguments.
    fn new(args: &[&str]) -> Inside {
        let shared = tempfile::tempdir().unwrap();
        let inside = Inside {
            // What is mounted below is seen on both sides, the new /proc is
            // not. The daemon is not the namespace's first process: that one
            // is exempt from signals.
            daemon: start(
                &shared,
                r#"mount --make-private /proc 2>/dev/null; mount -t proc proc /proc &&
                   { "$@"; true; }"#,
                args,
            ),
            shared,
        };
        eventually("the daemon is ready", PATIENCE, || {
            inside.daemon.stderr().contains("ready")
        });
        inside
    }

    fn locks(&self) -> PathBuf {
        self.shared.path().join("locks")
    }

    /// A script outside; its exit status and what it said on stderr.
    fn sh(&self, script: &str) -> (i32, String) {
        let mut command = Command::new("bash");
        command.args(["-c", script]).current_dir(self.locks());
        let output = Running::start(command).wait(PATIENCE);
        (output.status.code().unwrap(), output.stderr)
    }
}

/// Runs `setup` in new namespaces with the daemon's command line as "$@".
fn start(shared: &TempDir, setup: &str, args: &[&str]) -> Running {
    let status = Command::new("mount")
        .args(["--bind", "--make-shared"])
        .args([shared.path(), shared.path()])
        .status();
    assert!(status.unwrap().success());
    let mut command = Command::new("unshare");
    command
        .args(["-mpf", "--kill-child", "--propagation", "unchanged"])
        .args(["sh", "-c", setup, "sh"])
        .args([env!("CARGO_BIN_EXE_boardlock"), "mount", "--state", "none"])
        .args(args)
        .arg(shared.path().join("locks"))
        .env("NO_COLOR", "1")
        .current_dir("/");
    Running::start(command)
}

impl Drop for Inside {
    fn drop(&mut self) {
        stop(&mut self.daemon, self.shared.path());
    }
}

/// Ends the namespace with all that is in it, and takes the mounts away.
fn stop(daemon: &mut Running, shared: &Path) {
    daemon.kill();
    crate::site::unmount(shared);
}

fn a_caller_that_cannot_be_seen_is_refused() {
    let inside = Inside::new(&[]);
    for take in [
        "touch b",
        "mkdir b",
        "(set -C; : >b)",
        "ln -s x b",
        "true; : >b",
    ] {
        let (status, said) = inside.sh(take);
        assert_ne!(status, 0, "{take}");
        assert!(said.contains("Operation not permitted"), "{take}: {said}");
        assert!(!inside.locks().join("b").exists(), "{take}");
    }
    eventually("the log tells", PATIENCE, || {
        inside
            .daemon
            .stderr()
            .lines()
            .any(|line| line.contains("b: refused") && line.contains("pid namespace"))
    });
    // It may still look.
    let (status, _) = inside.sh("ls && test ! -e b");
    assert_eq!(status, 0);
}

fn a_caller_that_cannot_be_seen_holds_detached_with_a_lease() {
    let inside = Inside::new(&["--lease", "1h"]);
    // It cannot be told from others of its user, so the second step of touch,
    // setting the times, cannot be allowed to anyone.
    for take in ["(set -C; : >b)", "mkdir b", "true; : >b"] {
        let (status, said) = inside.sh(take);
        assert_eq!(status, 0, "{take}: {said}");
        // Nobody's for acquiring, its user's for releasing.
        for again in [take, "touch b", "busybox touch b"] {
            let (status, _) = inside.sh(again);
            assert_ne!(status, 0, "{again}");
        }
        if take != "mkdir b" {
            let (_, said) = inside.sh("read first <b; echo $first >&2");
            let words: Vec<&str> = said.split_whitespace().collect();
            assert!(words[0].parse::<i64>().unwrap() > 1_000_000_000, "{said}");
            assert_eq!(words[1], "0", "{said}");
        }
        let (status, said) = inside.sh("rm b 2>/dev/null || rmdir b");
        assert_eq!(status, 0, "{said}");
    }
}

fn a_daemon_whose_proc_is_not_its_own_does_not_serve() {
    // The numbers of its requests would name other processes than its /proc
    // does: locks would go to bystanders.
    let shared = tempfile::tempdir().unwrap();
    let mut daemon = start(&shared, "\"$@\"; exit $?", &[]);
    let says = |daemon: &Running, what: &str| daemon.stderr().contains(what);
    eventually("it serves or gives up", PATIENCE, || {
        says(&daemon, "ready") || daemon.ended(Duration::ZERO).is_some()
    });
    eventually("it has said why", PATIENCE, || {
        says(&daemon, "ready") || says(&daemon, "/proc")
    });
    let served = says(&daemon, "ready");
    stop(&mut daemon, shared.path());
    assert!(!served, "{}", daemon.stderr());
}
