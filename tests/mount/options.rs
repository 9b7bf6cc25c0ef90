//! The options of a mount, each as a long option and as `-o name=value`.

use std::process::Command;

use libtest_mimic::Trial;

use crate::lab::{BOARDLOCK, Lab, copy_program};
use crate::process::{PATIENCE, Running};
use crate::site::Site;
use crate::trial::which;

pub fn tests() -> Vec<Trial> {
    trials![
        each_option_works_as_o_too;
        names_of_programs_are_added("find", "truncate");
        an_unknown_option_is_named;
        a_made_up_session_manager_leaves_detached_claims("setsid");
        colours_are_for_terminals_and_no_color_is_respected("python3");
    ]
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
    copy_program(&which(program).unwrap(), &copy);
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
             os._exit(os.waitstatus_to_exitcode(pty.spawn([{BOARDLOCK:?}, 'mount', '--state', 'none', {:?}])))",
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
