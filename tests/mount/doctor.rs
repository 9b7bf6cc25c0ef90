//! `boardlock doctor` on this machine.

use std::path::Path;
use std::process::Command;

use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::lab::BOARDLOCK;
use crate::process::{Output, PATIENCE, Running, eventually};
use crate::site::{Site, end};
use crate::trial::ROOT;

pub fn tests() -> Vec<Trial> {
    trials![
        it_tells_a_served_directory_from_a_stale_and_an_exposed_one(ROOT, "umount");
    ]
}

fn doctor(args: &[&Path]) -> Output {
    let mut command = Command::new(BOARDLOCK);
    command.arg("doctor").args(args).env("NO_COLOR", "1");
    Running::start(command).wait(PATIENCE)
}

#[track_caller]
fn says(output: &Output, level: &str, what: &str) {
    let found = output
        .stdout
        .lines()
        .any(|line| line.starts_with(level) && line.contains(what));
    assert!(found, "{level} {what}: {output}");
}

fn it_tells_a_served_directory_from_a_stale_and_an_exposed_one() {
    let site = Site::new();
    let dir = site.path("locks");
    let mut daemon = site.serve("locks", &[]);
    let served = format!("{}: it is served", dir.display());
    says(&doctor(&[&dir]).ok(), "ok ", &served);
    // It finds those that are mounted by itself.
    says(&doctor(&[]), "ok ", &served);
    // By whatever name.
    std::os::unix::fs::symlink("locks", site.path("link")).unwrap();
    std::os::unix::fs::symlink(site.path("link"), site.path("links")).unwrap();
    for name in ["link", "links/", "locks/../locks", "locks/../links"] {
        says(&doctor(&[&site.path(name)]).ok(), "ok ", &served);
    }
    daemon.kill();
    // The process that serves ends with it, a moment later.
    eventually("nobody serves it", PATIENCE, || {
        std::fs::metadata(&dir).is_err_and(|error| error.raw_os_error() == Some(libc::ENOTCONN))
    });
    let stale = doctor(&[&dir]).fails(1);
    says(&stale, "fail ", "a stale mount");
    says(&stale, "      ", "umount -l");
    assert!(!doctor(&["-q".as_ref(), &dir]).stdout.contains("ok "));
    end(site.serve("locks", &[]), Signal::TERM);
    says(&doctor(&[&dir]).ok(), "warn ", "nothing can be made in it");
    let opened = Command::new("umount").arg(&dir).status();
    assert!(opened.unwrap().success());
    says(
        &doctor(&[&dir]).ok(),
        "warn ",
        "its owner and root can make files",
    );
    std::fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o1777)).unwrap();
    says(
        &doctor(&[&dir]).fails(1),
        "fail ",
        "a `touch` succeeds and locks nothing",
    );
}
