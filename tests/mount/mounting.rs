//! Mounting and unmounting, as root: the directory, and the end.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};

use crate::lab::{Lab, NOBODY, as_user};
use crate::process::{PATIENCE, Running, eventually};
use crate::site::{Site, end, mounts};
use crate::trial::ROOT;

pub fn tests() -> Vec<Trial> {
    trials![
        a_missing_directory_is_made_so_that_nobody_writes_there(ROOT);
        it_is_mounted_with_type_and_options(ROOT, "findmnt");
        it_says_that_it_is_ready_and_what_to_try;
        it_says_that_signals_will_end_waits;
        signals_end_it_and_the_mount;
        a_signal_ends_it_while_the_directory_is_in_use("python3");
        unmounting_from_outside_ends_it(ROOT, "umount", "fusermount3");
        while_no_daemon_serves_acquiring_fails(ROOT);
        the_bare_directory_is_shut_for_root_too(ROOT, "umount");
        there_is_no_moment_at_which_the_bare_directory_takes_a_file(ROOT, "umount");
        an_aborted_connection_is_a_failure(ROOT, "mount", "umount");
        a_stale_mount_is_replaced(ROOT);
        a_second_daemon_is_refused;
        of_many_daemons_one_serves(ROOT);
        a_directory_with_files_is_refused_without_over;
        what_cannot_be_served_is_named;
        a_plain_user_cannot_touch_the_bare_directory(ROOT);
    ]
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn a_missing_directory_is_made_so_that_nobody_writes_there() {
    let site = Site::new();
    for dir in ["locks", "a/b/locks"] {
        let daemon = site.serve(dir, &[]);
        assert!(daemon.stderr().contains("created"), "{}", daemon.stderr());
        std::fs::write(site.path(dir).join("b"), "").unwrap();
        end(daemon, Signal::TERM);
        assert_eq!(mode(&site.path(dir)), 0o555);
        assert_eq!(std::fs::read_dir(site.path(dir)).unwrap().count(), 0);
    }
    // One that others can write to is served, with a warning.
    let open = site.path("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o1777)).unwrap();
    let daemon = site.serve("open", &[]);
    assert!(
        daemon.stderr().contains("chmod 0555"),
        "{}",
        daemon.stderr()
    );
    end(daemon, Signal::TERM);
    assert_eq!(mode(&open), 0o1777, "it is the administrator's to change");
}

fn it_is_mounted_with_type_and_options() {
    let lab = Lab::new(&[]);
    let output = lab
        .sh(
            "sh",
            "findmnt -no FSTYPE,OPTIONS -t fuse.boardlock \"$LOCKS\"",
        )
        .ok();
    assert!(output.stdout.starts_with("fuse.boardlock "), "{output}");
    for option in ["rw", "nosuid", "nodev", "noexec", "allow_other"] {
        let all = output.stdout.trim().rsplit(' ').next().unwrap();
        assert!(
            all.split(',').any(|given| given == option),
            "{option}: {output}"
        );
    }
    assert!(!output.stdout.contains("default_permissions"), "{output}");
    let lab = Lab::new(&["-o", "no_allow_other"]);
    let output = lab
        .sh("sh", "findmnt -no OPTIONS -t fuse.boardlock \"$LOCKS\"")
        .ok();
    assert!(!output.stdout.contains("allow_other"), "{output}");
}

fn it_says_that_it_is_ready_and_what_to_try() {
    let lab = Lab::new(&[]);
    let dir = lab.dir().display();
    let log = lab.log();
    let ready = log
        .iter()
        .position(|line| line.contains("ready: "))
        .unwrap();
    assert!(
        log[ready].contains(&format!("{dir} is a lock directory, for all users")),
        "{log:?}"
    );
    lab.wait_for_log(|line| line.contains(&format!("`touch {dir}/board`")));
    lab.wait_for_log(|line| line.contains(&format!("`rm {dir}/board`")));
    // What it says is true at once.
    lab.sh(
        "sh",
        "touch $LOCKS/board && cat $LOCKS/board && rm $LOCKS/board",
    )
    .ok();
}

fn it_says_that_signals_will_end_waits() {
    let lab = Lab::new(&["-v"]);
    lab.wait_for_log(|line| line.contains("signals will end waits"));
}

fn signals_end_it_and_the_mount() {
    let site = Site::new();
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let daemon = site.serve("locks", &[]);
        std::fs::write(site.path("locks/b"), "").unwrap();
        assert_eq!(site.mounts(), 1);
        end(daemon, signal);
        assert_eq!(site.mounts(), 0, "{signal:?}");
    }
}

fn a_signal_ends_it_while_the_directory_is_in_use() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut lab = Lab::new(&[]);
        let mut user = lab.python();
        user.ok("fd = os.open('b', os.O_CREAT|os.O_RDWR); os.mkdir('d'); os.chdir('d')");
        user.ok("other = os.open(os.environ['LOCKS'], os.O_RDONLY)");
        assert_eq!(lab.stop(signal).code(), Some(0), "{:?}", lab.log());
        assert_eq!(mounts(lab.dir()), 0, "{signal:?}");
        // What is open still has nobody behind it, and says so.
        for call in [
            "os.write(fd, b'x')",
            "os.stat('.')",
            "os.listdir(other)",
            "os.fstat(fd)",
        ] {
            let reply = user.run(call);
            assert_ne!(reply.outcome, "ok", "{call}");
        }
        user.run("os.close(fd)");
        user.ok("os.chdir('/')");
    }
}

fn unmounting_from_outside_ends_it() {
    let site = Site::new();
    let dir = site.path("locks");
    for unmount in [
        &["umount"][..],
        &["umount", "-l"],
        &["fusermount3", "-u"],
        &["fusermount3", "-u", "-z"],
    ] {
        let daemon = site.serve("locks", &[]);
        let done = Command::new(unmount[0])
            .args(&unmount[1..])
            .arg(&dir)
            .status()
            .unwrap();
        assert!(done.success(), "{unmount:?}");
        daemon.wait(PATIENCE).ok().said("is unmounted");
    }
    // Out of view while a file is open: it serves that one to its end.
    let mut daemon = site.serve("locks", &[]);
    let file = std::fs::File::create(dir.join("b")).unwrap();
    let plain = Command::new("umount").arg(&dir).output().unwrap();
    assert!(!plain.status.success());
    assert!(
        Command::new("umount")
            .arg("-l")
            .arg(&dir)
            .status()
            .unwrap()
            .success()
    );
    assert!(daemon.ended(Duration::from_millis(100)).is_none());
    assert_eq!(file.metadata().unwrap().len(), 0);
    drop(file);
    assert_eq!(
        daemon.ended(PATIENCE).and_then(|status| status.code()),
        Some(0)
    );
}

fn while_no_daemon_serves_acquiring_fails() {
    let site = Site::new();
    let mut daemon = site.serve("locks", &[]);
    let board = site.path("locks/b");
    daemon.kill();
    eventually("its connection has ended", PATIENCE, || {
        let error = std::fs::File::create(&board).unwrap_err();
        error.raw_os_error() == Some(libc::ENOTCONN)
    });
    for _ in 0..2 {
        let error = std::fs::File::create(&board).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOTCONN));
        assert!(std::fs::create_dir(&board).is_err());
        assert!(std::os::unix::fs::symlink("x", &board).is_err());
    }
}

fn umount(site: &Site, dir: &str) {
    let done = Command::new("umount")
        .arg("-l")
        .arg(site.path(dir))
        .status();
    assert!(done.unwrap().success());
}

fn the_bare_directory_is_shut_for_root_too() {
    let site = Site::new();
    let board = site.path("locks/b");
    let refused = || {
        let error = std::fs::File::create(&board).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EROFS));
    };
    // Shut once, however often it is served.
    for _ in 0..2 {
        let daemon = site.serve("locks", &[]);
        drop(std::fs::File::create(&board).unwrap());
        let pid = Pid::from_raw(daemon.pid().cast_signed()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        daemon.wait(PATIENCE).ok().said("umount");
        refused();
    }
    // Unmounted by hand, too.
    let daemon = site.serve("locks", &[]);
    umount(&site, "locks");
    daemon.wait(PATIENCE).ok();
    refused();
    umount(&site, "locks");
    drop(std::fs::File::create(&board).unwrap());
    std::fs::remove_file(&board).unwrap();
    // What is refused to be served stays as it was.
    std::fs::write(site.path("locks/other"), "").unwrap();
    site.refused("locks", &[], 1, &["not empty"]);
    drop(std::fs::File::create(&board).unwrap());
}

fn there_is_no_moment_at_which_the_bare_directory_takes_a_file() {
    let site = Site::new();
    end(site.serve("locks", &[]), Signal::TERM);
    let mut tries = Command::new("sh");
    // Each name once: one that a daemon has taken is none of the bare directory's.
    tries.args([
        "-c",
        "n=0; while echo >\"$0/$n\"; n=$((n + 1)); do :; done 2>/dev/null",
    ]);
    tries.arg(site.path("locks"));
    let mut tries = Running::start(tries);
    for signal in [
        Signal::TERM,
        Signal::KILL,
        Signal::INT,
        Signal::KILL,
        Signal::HUP,
    ] {
        let mut daemon = site.serve("locks", &[]);
        if signal == Signal::KILL {
            daemon.kill();
        } else {
            end(daemon, signal);
        }
    }
    end(site.serve("locks", &[]), Signal::TERM);
    tries.kill();
    umount(&site, "locks");
    assert_eq!(std::fs::read_dir(site.path("locks")).unwrap().count(), 0);
}

fn an_aborted_connection_is_a_failure() {
    use std::os::unix::fs::MetadataExt;
    let site = Site::new();
    // Where all connections are; not mounted everywhere.
    let control = site.path("control");
    std::fs::create_dir(&control).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "fusectl", "fusectl"])
        .arg(&control)
        .status();
    assert!(mounted.unwrap().success());
    let daemon = site.serve("locks", &[]);
    let device = std::fs::metadata(site.path("locks")).unwrap().dev();
    let abort = control.join(format!("{}/abort", rustix::fs::minor(device)));
    let aborted = std::fs::write(abort, "1");
    let done = Command::new("umount").arg("-l").arg(&control).status();
    aborted.unwrap();
    assert!(done.unwrap().success());
    daemon.wait(PATIENCE).fails(1).said("aborted");
    // Nothing can be locked in what is left, and the next one serves it.
    std::fs::write(site.path("locks/b"), "").unwrap_err();
    let daemon = site.serve("locks", &[]);
    end(daemon, Signal::TERM);
    assert_eq!(site.mounts(), 0);
}

fn a_stale_mount_is_replaced() {
    let site = Site::new();
    for round in 0..3 {
        let mut daemon = site.serve("locks", &[]);
        let open = std::fs::File::create(site.path("locks/b")).unwrap();
        assert_eq!(site.mounts(), 1);
        if round > 0 {
            assert!(
                daemon.stderr().contains("detached the mount"),
                "{}",
                daemon.stderr()
            );
        }
        daemon.kill();
        assert!(std::fs::metadata(site.path("locks")).is_err());
        drop(open);
    }
    let daemon = site.serve("locks", &[]);
    std::fs::write(site.path("locks/b"), "").unwrap();
    end(daemon, Signal::TERM);
    assert_eq!(site.mounts(), 0);
}

fn a_second_daemon_is_refused() {
    let lab = Lab::new(&[]);
    lab.sh("sh", "cd /; exec \"$BOARDLOCK\" mount \"$LOCKS\"")
        .fails(1)
        .said("already served by a running boardlock; use that one, or stop it first");
    lab.sh("sh", "cd /; exec \"$BOARDLOCK\" mount --over \"$LOCKS/.\"")
        .fails(1);
    lab.sh(
        "sh",
        "cd /; ln -s \"$LOCKS\" \"$LOCKS-link\"; exec \"$BOARDLOCK\" mount \"$LOCKS-link\"",
    )
    .fails(1)
    .said("already served");
    // The first one has not noticed.
    lab.sh("sh", "touch b && rm b").ok();
    assert_eq!(mounts(lab.dir()), 1);
}

fn of_many_daemons_one_serves() {
    let site = Site::new();
    std::fs::create_dir(site.path("locks")).unwrap();
    let mut all: Vec<Running> = (0..6).map(|_| site.start("locks", &[])).collect();
    let mut serving = 0;
    eventually("each has decided", PATIENCE, || {
        serving = all
            .iter()
            .filter(|one| one.stderr().contains("ready:"))
            .count();
        let refused = all
            .iter()
            .filter(|one| one.stderr().contains("cannot serve"))
            .count();
        serving + refused == all.len()
    });
    assert_eq!((serving, site.mounts()), (1, 1));
    for daemon in &mut all {
        daemon.signal(Signal::TERM);
        let code = daemon.ended(PATIENCE).unwrap().code();
        let served = daemon.stderr().contains("ready:");
        assert_eq!(code, Some(i32::from(!served)), "{}", daemon.stderr());
    }
    assert_eq!(site.mounts(), 0);
}

fn a_directory_with_files_is_refused_without_over() {
    let site = Site::new();
    for (dir, names) in [
        ("one", &["b"][..]),
        ("hidden", &[".b"]),
        ("many", &["1", "2", "3", "4", "5"]),
    ] {
        std::fs::create_dir(site.path(dir)).unwrap();
        for name in names {
            std::fs::write(site.path(dir).join(name), "0 1\n").unwrap();
        }
        let output = site.refused(dir, &[], 1, &["not empty", names[0], "--over"]);
        assert_eq!(
            output.stderr.contains("and 2 more"),
            dir == "many",
            "{output}"
        );
    }
    assert_eq!(site.mounts(), 0);
    for over in [&["--over"][..], &["-o", "over"]] {
        let daemon = site.serve("many", over);
        assert_eq!(std::fs::read_dir(site.path("many")).unwrap().count(), 0);
        end(daemon, Signal::TERM);
        assert_eq!(std::fs::read_dir(site.path("many")).unwrap().count(), 5);
    }
}

fn what_cannot_be_served_is_named() {
    let site = Site::new();
    std::fs::write(site.path("file"), "").unwrap();
    std::os::unix::fs::symlink("nowhere", site.path("broken")).unwrap();
    std::os::unix::fs::symlink("loop", site.path("loop")).unwrap();
    for (dir, words) in [
        ("file", "it is not a directory"),
        ("file/below", ""),
        ("broken", "symbolic link that leads nowhere"),
        ("loop", ""),
        ("a\nb\u{1b}[31m/\u{7}", ""),
    ] {
        if dir.contains('\n') {
            continue;
        }
        let name = site.path(dir);
        site.refused(
            dir,
            &[],
            1,
            &["cannot serve", &name.display().to_string(), words],
        );
    }
    // A strange name does not break the line.
    std::fs::write(site.path("a\nb"), "").unwrap();
    let output = site.refused("a\nb", &[], 1, &[r"a\nb"]);
    assert_eq!(output.stderr.lines().count(), 1, "{output}");
    assert_eq!(site.mounts(), 0);
}

fn a_plain_user_cannot_touch_the_bare_directory() {
    let site = Site::new();
    std::fs::set_permissions(
        site.temp.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    end(site.serve("locks", &[]), Signal::TERM);
    for take in ["touch", "mkdir"] {
        let mut command = as_user(NOBODY);
        let output = command
            .arg(take)
            .arg(site.path("locks/b"))
            .output()
            .unwrap();
        assert!(!output.status.success(), "{take}");
    }
}
