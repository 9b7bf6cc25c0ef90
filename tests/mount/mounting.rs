//! Mounting and unmounting, as root: the directory, the options, the end.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use boardlock::fuse::mountinfo;
use libtest_mimic::Trial;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::lab::{BOARDLOCK, Lab, NOBODY, as_user};
use crate::process::{Output, PATIENCE, Running, eventually};
use crate::trial::{ROOT, which};

pub fn tests() -> Vec<Trial> {
    trials![
        a_missing_directory_is_made_so_that_nobody_writes_there(ROOT);
        it_is_mounted_with_type_and_options(ROOT, "findmnt");
        it_says_that_it_is_ready_and_what_to_try;
        signals_end_it_and_the_mount;
        a_signal_ends_it_while_the_directory_is_in_use("python3");
        unmounting_from_outside_ends_it(ROOT, "umount", "fusermount3");
        while_no_daemon_serves_acquiring_fails(ROOT);
        a_stale_mount_is_replaced(ROOT);
        a_second_daemon_is_refused;
        of_many_daemons_one_serves(ROOT);
        a_directory_with_files_is_refused_without_over;
        what_cannot_be_served_is_named;
        each_option_works_as_o_too;
        names_of_programs_are_added("find", "truncate");
        an_unknown_option_is_named;
        a_made_up_session_manager_leaves_detached_claims("setsid");
        colours_are_for_terminals_and_no_color_is_respected("python3");
        a_plain_user_cannot_touch_the_bare_directory(ROOT);
    ]
}

/// A directory of the test's own, and daemons in it.
struct Site {
    temp: TempDir,
}

impl Site {
    fn new() -> Site {
        let temp = tempfile::Builder::new()
            .prefix("boardlock-site-")
            .tempdir()
            .unwrap();
        Site { temp }
    }

    fn path(&self, name: &str) -> PathBuf {
        std::fs::canonicalize(self.temp.path()).unwrap().join(name)
    }

    /// Starts a daemon on a directory in it.
    fn start(&self, dir: &str, args: &[&str]) -> Running {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig=TERM", BOARDLOCK, "mount"]);
        command.args(args).arg(self.path(dir));
        command.env("NO_COLOR", "1").env_remove("BOARDLOCK_LOG");
        Running::start(command)
    }

    /// The same, waiting until it is ready.
    #[track_caller]
    fn serve(&self, dir: &str, args: &[&str]) -> Running {
        let running = self.start(dir, args);
        eventually("it is ready", PATIENCE, || {
            running.stderr().contains("ready:")
        });
        running
    }

    /// One that must not come to serve.
    #[track_caller]
    fn refused(&self, dir: &str, args: &[&str], code: i32, words: &[&str]) -> Output {
        let output = self.start(dir, args).wait(PATIENCE).fails(code);
        for word in words {
            assert!(output.stderr.contains(word), "{word:?}: {output}");
        }
        output
    }

    fn mounts(&self) -> usize {
        mounts(self.temp.path())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // Daemons are gone by now; what they left is not walked into.
        while mountinfo::read().is_ok_and(|all| {
            all.iter().rev().any(|mount| {
                mount.point.starts_with(self.temp.path())
                    && Command::new("umount")
                        .arg("-l")
                        .arg(&mount.point)
                        .status()
                        .is_ok_and(|status| status.success())
            })
        }) {}
    }
}

/// How many mounts there are in a directory.
fn mounts(below: &Path) -> usize {
    let below = std::fs::canonicalize(below).unwrap_or_else(|_| below.to_owned());
    let all = mountinfo::read().unwrap();
    all.iter()
        .filter(|mount| mount.point.starts_with(&below))
        .count()
}

/// Ends a daemon by a signal; it must exit with 0.
#[track_caller]
fn end(mut daemon: Running, signal: Signal) {
    daemon.signal(signal);
    let status = daemon.ended(PATIENCE).expect("it does not end");
    assert_eq!(status.code(), Some(0), "{}", daemon.stderr());
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
    let output = lab.sh("sh", "findmnt -no FSTYPE,OPTIONS \"$LOCKS\"").ok();
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
    let output = lab.sh("sh", "findmnt -no OPTIONS \"$LOCKS\"").ok();
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
        let mut daemon = site.serve("locks", &[]);
        let done = Command::new(unmount[0])
            .args(&unmount[1..])
            .arg(&dir)
            .status()
            .unwrap();
        assert!(done.success(), "{unmount:?}");
        let status = daemon.ended(PATIENCE).expect("it goes on");
        assert_eq!(status.code(), Some(0), "{unmount:?}: {}", daemon.stderr());
        assert!(
            daemon.stderr().contains("is unmounted"),
            "{}",
            daemon.stderr()
        );
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
    for _ in 0..2 {
        let error = std::fs::File::create(&board).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOTCONN));
        assert!(std::fs::create_dir(&board).is_err());
        assert!(std::os::unix::fs::symlink("x", &board).is_err());
    }
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

fn each_option_works_as_o_too() {
    for args in [
        &["--lease", "1h"][..],
        &["-o", "lease=1h"],
        &["-o", "rw,noatime,lease=3600,_netdev"],
    ] {
        let lab = Lab::new(args);
        let mut me = lab.shell();
        me.ok("touch b");
        let left: i64 = lab.status("b")["expires_in_seconds"].parse().unwrap();
        assert!((3590..=3600).contains(&left), "{args:?}: {left}");
    }
    for args in [
        &["--max-boards", "2"][..],
        &["-o", "max_boards=2"],
        &["-o", "max-boards=2"],
    ] {
        let lab = Lab::new(args);
        lab.shell().refused("touch a b c", "ENOSPC");
    }
    for args in [
        &["--max-per-user", "2"][..],
        &["-o", "max_per_user=2"],
        &["-omax_boards=9,max_per_user=2"],
    ] {
        let lab = Lab::new(args);
        lab.shell().refused("touch a b c", "EDQUOT");
    }
    for (args, may) in [
        (&[][..], "0"),
        (&["-o", "release=owner"], "0"),
        (&["-o", "release=holder"], "1"),
    ] {
        let lab = Lab::new(args);
        let mut holder = lab.shell();
        holder.ok("touch b");
        assert_eq!(lab.shell().run("rm -f b").outcome, may, "{args:?}");
    }
    for (args, stays) in [
        (&[][..], true),
        (&["-o", "expire=keep"], true),
        (&["-o", "expire=hard"], false),
    ] {
        let lab = Lab::new(args);
        let mut holder = lab.shell();
        holder.ok("echo 1 $$ >b");
        assert_eq!(lab.holder("b").is_some(), stays, "{args:?}");
    }
}

/// A copy of a program under a name that no list has.
fn copy(lab: &Lab, program: &str, name: &str) -> String {
    let copy = lab.dir().parent().unwrap().join(name);
    std::fs::copy(which(program).unwrap(), &copy).unwrap();
    copy.display().to_string()
}

fn names_of_programs_are_added() {
    // Those that the lists do not know hold for themselves, and end at once.
    let takes = |lab: &Lab| {
        let tool = copy(lab, "truncate", "labtake");
        let wrapper = copy(lab, "find", "labwrap");
        let mut me = lab.shell();
        let mut took = Vec::new();
        for take in [
            format!("{tool} -s 0 b"),
            format!("{wrapper} . -maxdepth 0 -exec touch b ';'"),
        ] {
            me.ok(&take);
            took.push(lab.holder("b") == Some(me.pid()));
            me.ok("rm -f b");
        }
        took
    };
    assert_eq!(takes(&Lab::new(&[])), [false, false]);
    for args in [
        &["--one-shot", "labtake", "--wrapper", "labwrap"][..],
        &[
            "--one-shot",
            "x,labtake",
            "--wrapper",
            "y",
            "--wrapper",
            "labwrap",
        ],
        &["-o", "one_shot=labtake,wrapper=labwrap"],
        &["-o", "one_shot=x:labtake", "-o", "wrapper=labwrap:y"],
    ] {
        assert_eq!(takes(&Lab::new(args)), [true, true], "{args:?}");
    }
}

fn an_unknown_option_is_named() {
    let site = Site::new();
    for (args, words) in [
        (&["-o", "relase=holder"][..], &["relase", "release"][..]),
        (&["-o", "frobnicate"], &["frobnicate", "--help"]),
        (
            &["-o", "release=nobody"],
            &["release", "nobody", "owner", "holder"],
        ),
        (&["-o", "expire"], &["expire", "value"]),
        (&["-o", "over=yes"], &["over", "no value"]),
        (&["-o", "ro"], &["ro", "write"]),
        (&["-o", "lease=soon"], &["lease", "soon"]),
        (&["--lease", "-1"], &["-1"]),
        (&["--max-boards", "0"], &["--max-boards", "0"]),
        (&["--max-per-user", "many"], &["--max-per-user", "many"]),
        (&["--wrapper", "/usr/bin/sudo"], &["--wrapper", "path"]),
        (&["--one-shot", ""], &["--one-shot"]),
        (&["--frobnicate"], &["--frobnicate"]),
    ] {
        site.refused("locks", args, 2, words);
        assert!(!site.path("locks").exists(), "{args:?}");
    }
}

fn a_made_up_session_manager_leaves_detached_claims() {
    // What the manager starts leads a session of its own, as sshd's do.
    let run = |lab: &Lab, command: &str| {
        let manager = copy(lab, "bash", "labmgr");
        let mut me = lab.shell();
        // With job control off a child of the manager is no group leader, so
        // setsid does not fork.
        me.ok(&format!("{manager} -c 'setsid {command}; sleep 0'"));
    };
    for args in [
        &["--session-manager", "labmgr"][..],
        &["-o", "session_manager=x:labmgr"],
    ] {
        let lab = Lab::new(args);
        for (board, command) in [
            ("a", "touch a"),
            ("b", "sh -c \"touch b || exit 1\""),
            ("c", "dash -c \": >c\""),
            ("d", "mkdir d"),
        ] {
            run(&lab, command);
            assert_eq!(lab.holder(board), Some(0), "{command}");
            lab.shell().refused(&format!("mkdir {board}"), "EEXIST");
        }
        lab.wait_for_log(|line| line.contains(" a: acquired by") && line.contains("detached"));
        assert_eq!(lab.status("a")["state"], "detached");
        assert_eq!(lab.status("a")["pid"], "-");
        // The same user's next session gives it back.
        run(&lab, "rm a");
        assert_eq!(lab.holder("a"), None);
        // One that works holds, and lets go at its end.
        run(
            &lab,
            "bash -c \"touch e; getfattr --only-values -n user.boardlock.pid e >$LOCKS/../e; sleep 0\"",
        );
        let held = std::fs::read_to_string(lab.dir().parent().unwrap().join("e")).unwrap();
        assert_ne!(held, "0");
        assert_eq!(lab.holder("e"), None);
    }
    // No manager, no detached claim: what setsid started was its own.
    let lab = Lab::new(&[]);
    run(&lab, "touch a");
    assert_eq!(lab.holder("a"), None);
}

fn colours_are_for_terminals_and_no_color_is_respected() {
    let site = Site::new();
    for (setting, coloured) in [("", true), ("NO_COLOR=1", false), ("TERM=dumb", false)] {
        // Its stderr is a terminal; it ends when the directory is unmounted.
        let script = format!(
            "import pty, os\nos.environ.pop('NO_COLOR', None)\nos.environ['TERM'] = 'xterm'\n\
             k, _, v = {setting:?}.partition('=')\nif k: os.environ[k] = v\n\
             os._exit(os.waitstatus_to_exitcode(pty.spawn([{BOARDLOCK:?}, 'mount', {:?}])))",
            site.path("locks").display().to_string()
        );
        let mut command = Command::new(which("python3").unwrap());
        command.args(["-c", &script]).env_remove("BOARDLOCK_LOG");
        let mut running = Running::start(command);
        let mut said = String::new();
        while !said.contains("ready:") {
            said = running.line();
        }
        let unmount = Command::new("umount")
            .arg(site.path("locks"))
            .status()
            .unwrap();
        assert!(unmount.success());
        let output = running.wait(PATIENCE).ok();
        assert_eq!(
            output.stdout.contains("\u{1b}["),
            coloured,
            "{setting}: {output}"
        );
    }
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
