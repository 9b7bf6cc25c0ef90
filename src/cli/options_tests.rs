#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use clap::Parser;

use super::*;
use crate::cli::{Cli, Command};

fn parsed(line: &[&str]) -> Result<MountPlan, OptionError> {
    let words = ["boardlock", "mount"].iter().chain(line).chain(&["/locks"]);
    let Command::Mount(args) = Cli::try_parse_from(words).unwrap().command else {
        panic!("{line:?}");
    };
    plan(&args)
}

fn error(line: &[&str]) -> String {
    match parsed(line) {
        Ok(plan) => panic!("{line:?} is {plan:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn defaults() {
    let plan = parsed(&[]).unwrap();
    assert_eq!(plan.dir, PathBuf::from("/locks"));
    assert_eq!((plan.max_boards, plan.max_per_user), (100_000, 10_000));
    assert_eq!(plan.release, ReleaseRule::Owner);
    assert_eq!(plan.expire, ExpireRule::Keep);
    assert_eq!(plan.verbosity, Verbosity::Normal);
    assert_eq!(
        (plan.lease, plan.over, plan.allow_other),
        (None, false, None)
    );
}

#[test]
fn long_options_and_mount_options_say_the_same() {
    let long = parsed(&[
        "--lease",
        "90m",
        "--one-shot",
        "a,b",
        "--one-shot",
        "c",
        "--wrapper",
        "w",
        "--session-manager",
        "s,t",
        "--max-boards",
        "5",
        "--max-per-user",
        "3",
        "--over",
    ]);
    assert_eq!(
        long,
        parsed(&[
            "-o",
            "lease=90m,one_shot=a:b,one-shot=c,wrapper=w",
            "-o",
            "session-manager=s:t,max_boards=5,max-per-user=3,over",
        ])
    );
    assert_eq!(long.unwrap().one_shot, ["a", "b", "c"]);
}

#[test]
fn later_and_long_ones_win_and_lists_add_up() {
    let plan = parsed(&[
        "-o",
        "lease=1h,lease=2h,release=holder,release=owner,wrapper=a:b",
        "--wrapper",
        "b,c",
        "--max-boards",
        "7",
        "-o",
        "max_boards=8",
    ])
    .unwrap();
    assert_eq!(plan.lease, Some(Duration::from_secs(7200)));
    assert_eq!(plan.release, ReleaseRule::Owner);
    assert_eq!(plan.wrapper, ["a", "b", "c"]);
    assert_eq!(plan.max_boards, 7);
    assert_eq!(
        plan.max_per_user, 7,
        "one user's limit is not above that for all"
    );
}

#[test]
fn rules() {
    let plan = parsed(&["-o", "release=holder,expire=hard,no_allow_other", "-vv"]).unwrap();
    assert_eq!(plan.release, ReleaseRule::Holder);
    assert_eq!(plan.expire, ExpireRule::Hard);
    assert_eq!(plan.allow_other, Some(false));
    assert_eq!(plan.verbosity, Verbosity::Trace);
    assert_eq!(parsed(&["-q"]).unwrap().verbosity, Verbosity::Quiet);
}

#[test]
fn errors_are_fit_for_a_terminal() {
    for option in [
        "release=\u{1b}[2J",
        "expire=\u{1b}[2J",
        "open=\u{1b}[2J",
        "lease=\u{1b}[2J",
        "open_wait=-5s\u{202e}",
        "max_boards=\u{7f}",
    ] {
        let error = parsed(&["-o", option]).unwrap_err().to_string();
        assert!(
            !error.chars().any(crate::printable::unprintable),
            "{error:?}"
        );
    }
}

#[test]
fn what_an_fstab_line_brings_is_accepted() {
    let fstab = "rw,nosuid,nodev,noexec,noatime,nofail,auto,noauto,user,users,_netdev,defaults,,\
                 x-systemd.requires=network.target,x-gvfs-hide,comment=the lab's locks";
    assert_eq!(parsed(&["-o", fstab]), parsed(&[]));
    // As mount(8) passes on `users,exec`, and whatever else stands in its page.
    for line in [
        "rw,users,exec,suid,dev",
        "rw,user=alice,exec,suid,dev",
        "atime,diratime,nodiratime,relatime,norelatime,strictatime,nostrictatime,lazytime,nolazytime",
        "async,sync,dirsync,iversion,noiversion,mand,nomand,symfollow,nosymfollow,silent,loud",
        "owner,noowner,group,nogroup,nouser,nousers,X-mount.mkdir=0755,x-systemd.idle-timeout=1min",
    ] {
        assert_eq!(parsed(&["-o", line]), parsed(&[]), "{line}");
    }
}

#[test]
fn refused_with_the_reason() {
    for (line, says) in [
        (
            &["-o", "rw,ro"][..],
            "-o ro is not possible: taking a lock is a write",
        ),
        (&["-o", "allow_root"], "no_allow_other"),
        (
            &["-o", "release"],
            "-o release needs a value, as release=...",
        ),
        (&["-o", "lease="], "-o lease needs a value"),
        (&["-o", "release=me"], "'me' is neither owner nor holder"),
        (&["-o", "expire=soft"], "'soft' is neither keep nor hard"),
        (&["-o", "over=yes"], "-o over takes no value"),
        (
            &["-o", "lease=1parsec"],
            "-o lease: '1parsec' is no duration",
        ),
        (&["--lease", "0"], "--lease: '0' is shorter than a second"),
        (
            &["--max-boards", "0"],
            "--max-boards: nobody could lock anything",
        ),
        (&["--max-per-user=-1"], "--max-per-user: '-1' is no number"),
        (
            &["-o", "max_boards=99999999999"],
            "-o max_boards: '99999999999' is no number",
        ),
        (
            &["--wrapper", "a,,b"],
            "--wrapper: there is an empty name in 'a,,b'",
        ),
        (&["--wrapper", "/usr/bin/a"], "'/usr/bin/a' is a path"),
        (&["--one-shot", "a b"], "'a b' is no program's name"),
    ] {
        let error = error(line);
        assert!(error.contains(says), "{line:?}: {error}");
    }
}

#[test]
fn an_unknown_option_is_named_with_the_nearest() {
    for (option, near) in [
        ("relase=holder", "release"),
        ("one_shots=x", "one_shot"),
        ("max-board=3", "max_boards"),
        ("nosuit", "nosuid"),
        ("session_managers=a", "session_manager"),
        ("allow_others", "allow_other"),
    ] {
        let error = error(&["-o", option]);
        let name = option.split('=').next().unwrap();
        assert!(
            error.starts_with(&format!("-o {name}: no such option")),
            "{error}"
        );
        assert!(error.contains(&format!("'{near}'")), "{error}");
    }
    assert!(error(&["-o", "frobnicate"]).contains("--help"));
    assert!(
        error(&["-o", "x\x1b[2J"]).contains(r"x\x1b[2J"),
        "no escapes reach the terminal"
    );
}

#[test]
fn the_help_names_every_option() {
    use clap::CommandFactory;
    let mut command = Cli::command();
    let mount = command.find_subcommand_mut("mount").unwrap();
    let help = mount.render_long_help().to_string();
    for option in OWN {
        assert!(help.contains(option), "{option}");
    }
}

#[test]
fn an_empty_directory_name_is_refused() {
    let args = crate::cli::mount::MountArgs::default();
    assert!(plan(&args).unwrap_err().to_string().contains("empty"));
}

#[test]
fn the_background_logs_where_it_is_heard() {
    let log = |line: &[&str]| parsed(line).map(|plan| plan.log);
    assert_eq!(log(&[]), Ok(LogPlan::Stderr));
    assert_eq!(log(&["--daemon"]), Ok(LogPlan::System));
    let file = Ok(LogPlan::File("/x/log".into()));
    assert_eq!(log(&["--daemon", "-o", "log=/x/log"]), file);
    assert_eq!(log(&["--log", "/x/log", "-o", "log=syslog"]), file);
    assert_eq!(log(&["--log", "log"]), Ok(LogPlan::File("log".into())));
    for (line, words) in [
        (&["--daemon", "--log", "stderr"][..], "nobody sees stderr"),
        (&["--daemon", "--log", "a"], "log: 'a' has to begin with /"),
        (
            &["--daemon", "--state", "a"],
            "state: 'a' has to begin with /",
        ),
        (
            &["--daemon", "--boards", "a"],
            "boards: 'a' has to begin with /",
        ),
        (&["-o", "log="], "needs a value"),
    ] {
        let said = error(line);
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn what_mount_tells_its_helpers_is_accepted() {
    parsed(&["-o", "rw,noexec,nosuid,nodev,user=alice,nofail"]).unwrap();
    assert!(error(&["-o", "noexec=alice"]).contains("no such option"));
    assert_eq!(
        known("lease=1h,vers=3,remount,x-a,rw=1"),
        "lease=1h,remount,x-a"
    );
}
