//! Options: a plan that holds together, or an error that names the option.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use boardlock::cli::duration;
use boardlock::cli::mount::MountArgs;
use boardlock::cli::options::{
    ExpireRule, LogPlan, MountPlan, OpenRule, ReleaseRule, StatePlan, plan,
};
use boardlock::cli::{Cli, Command};
use boardlock::printable::unprintable;
use clap::Parser;

pub fn check(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(rest);
    match kind % 4 {
        0 => judged(&MountArgs {
            dir: "/locks".into(),
            options: text.lines().map(str::to_owned).collect(),
            ..MountArgs::default()
        }),
        1 => long(&text),
        2 => command_line(rest),
        _ => span(&text),
    }
}

/// The long options, a line each, and `-o` behind them.
fn long(text: &str) {
    let mut lines = text.lines();
    let mut line = || lines.next().filter(|line| !line.is_empty());
    let words = |line: Option<&str>| {
        let words = line.unwrap_or_default().split(',');
        words
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect()
    };
    judged(&MountArgs {
        dir: "/locks".into(),
        lease: line().map(str::to_owned),
        open_wait: line().map(str::to_owned),
        max_boards: line().map(str::to_owned),
        max_per_user: line().map(str::to_owned),
        state: line().map(Into::into),
        one_shot: words(line()),
        wrapper: words(line()),
        session_manager: words(line()),
        options: lines.map(str::to_owned).collect(),
        ..MountArgs::default()
    });
}

/// Words as a shell, or mount(8) with a line of fstab, hands them over.
fn command_line(text: &[u8]) {
    let words = text.split(|byte| *byte == 0 || *byte == b'\n');
    let words = words.map(|word| OsString::from_vec(word.to_vec()));
    let line = ["boardlock", "mount"].map(OsString::from);
    if let Ok(Cli {
        command: Command::Mount(args),
    }) = Cli::try_parse_from(line.into_iter().chain(words))
    {
        judged(&args);
    }
}

fn span(text: &str) {
    match duration::parse(text) {
        Ok(span) => {
            assert!(span >= Duration::from_secs(1) && span <= Duration::from_secs(3650 * 86400));
        }
        Err(reason) => fit_to_show(&reason),
    }
}

fn fit_to_show(reason: &str) {
    assert!(!reason.chars().any(unprintable), "{reason:?}");
}

fn judged(args: &MountArgs) {
    match plan(args) {
        Ok(plan) => good(args, &plan),
        Err(error) => {
            let error = error.to_string();
            fit_to_show(&error);
            let named = error.starts_with("-o ")
                || error.starts_with("--")
                || error.contains("lock directory's name");
            assert!(named, "{error}");
            if let Some(about) = error.strip_prefix("-o ") {
                assert!(!args.options.is_empty(), "{error}");
                let word = about.split([' ', ':']).next().unwrap();
                let given = args.options.iter().flat_map(|list| list.split(','));
                let given: Vec<&str> = given.map(|one| one.split('=').next().unwrap()).collect();
                // What is escaped, or has blanks in it, is another word here.
                let plain = given
                    .iter()
                    .all(|name| !name.contains([' ', ':', '\\']) && !name.chars().any(unprintable));
                assert!(!plain || given.contains(&word), "{error}");
            }
        }
    }
}

fn good(args: &MountArgs, plan: &MountPlan) {
    assert!(plan.max_boards >= 1 && plan.max_per_user >= 1);
    assert!(plan.max_per_user <= plan.max_boards);
    if let Some(lease) = plan.lease {
        assert!(lease >= Duration::from_secs(1));
    }
    assert!(plan.open_wait <= Duration::from_secs(3600));
    for list in [&plan.one_shot, &plan.wrapper, &plan.session_manager] {
        for (at, name) in list.iter().enumerate() {
            assert!(!name.is_empty() && !name.contains('/'));
            assert!(!name.chars().any(|c| c.is_control() || c.is_whitespace()));
            assert!(!list[..at].contains(name), "twice: {name}");
        }
    }
    let again = same(args, plan);
    assert_eq!(again.as_ref(), Ok(plan));
}

/// The plan of a `-o` that says the same.
fn same(args: &MountArgs, plan: &MountPlan) -> Result<MountPlan, String> {
    let MountPlan {
        one_shot,
        wrapper,
        session_manager,
        ..
    } = plan;
    let mut text = vec![
        format!(
            "max_boards={},max-per-user={}",
            plan.max_boards, plan.max_per_user
        ),
        format!(
            "release={}",
            match plan.release {
                ReleaseRule::Owner => "owner",
                ReleaseRule::Holder => "holder",
            }
        ),
        format!(
            "expire={}",
            match plan.expire {
                ExpireRule::Keep => "keep",
                ExpireRule::Hard => "hard",
            }
        ),
        format!(
            "open={}",
            match plan.open {
                OpenRule::Wait => "wait",
                OpenRule::Strict => "strict",
                OpenRule::Shared => "shared",
            }
        ),
    ];
    if plan.over {
        text.push("over".to_owned());
    }
    match plan.allow_other {
        Some(true) => text.push("allow_other".to_owned()),
        Some(false) => text.push("no_allow_other".to_owned()),
        None => {}
    }
    let state = match &plan.state {
        StatePlan::Default => None,
        StatePlan::None => Some("none".into()),
        StatePlan::File(file) => Some(file.clone()),
    };
    // What has a comma or a colon in it cannot stand in -o.
    let args = MountArgs {
        dir: plan.dir.clone(),
        boards: plan.boards.clone(),
        lease: plan.lease.map(in_words),
        open_wait: Some(match plan.open_wait {
            Duration::ZERO => "0".to_owned(),
            wait => in_words(wait),
        }),
        state,
        one_shot: one_shot
            .iter()
            .filter(|name| !name.contains(','))
            .cloned()
            .collect(),
        wrapper: wrapper
            .iter()
            .filter(|name| !name.contains(','))
            .cloned()
            .collect(),
        session_manager: session_manager
            .iter()
            .filter(|name| !name.contains(','))
            .cloned()
            .collect(),
        log: Some(match &plan.log {
            LogPlan::Stderr => "stderr".into(),
            LogPlan::System => "syslog".into(),
            LogPlan::File(file) => file.clone(),
        }),
        daemon: plan.daemon,
        options: vec![text.join(",")],
        quiet: args.quiet,
        verbose: args.verbose,
        ..MountArgs::default()
    };
    boardlock::cli::options::plan(&args).map_err(|error| error.to_string())
}

fn in_words(span: Duration) -> String {
    let (whole, rest) = (span.as_secs(), span.subsec_nanos());
    match rest {
        0 => whole.to_string(),
        _ => format!("{whole}s {rest}ns"),
    }
}
