//! What the options of a mount mean. Long options and `-o` come together here,
//! in one pure function, with clap out of the picture.

use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::duration;
use super::mount::MountArgs;
pub use crate::lock::options::{
    ExpireRule, MAX_BOARDS, MAX_PER_USER, OPEN_WAIT, OpenRule, ReleaseRule,
};
use crate::printable::printable;

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verbosity {
    /// Warnings and errors.
    Quiet,
    /// Each acquisition and release too.
    #[default]
    Normal,
    /// How each was decided (`-v`).
    Verbose,
    /// Everything (`-vv`).
    Trace,
}

/// A mount as asked for, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountPlan {
    /// The lock directory, as given.
    pub dir: PathBuf,
    /// Whether it may have files in it.
    pub over: bool,
    /// The file that lists the boards, if one does.
    pub boards: Option<PathBuf>,
    /// How long a claim lasts that names no expiry.
    pub lease: Option<Duration>,
    /// Additions to the list of one-shot tools.
    pub one_shot: Vec<String>,
    /// Additions to the list of wrappers.
    pub wrapper: Vec<String>,
    /// Additions to the list of session managers.
    pub session_manager: Vec<String>,
    /// Who may release.
    pub release: ReleaseRule,
    /// What an expiry does.
    pub expire: ExpireRule,
    /// What opening a held board for writing does.
    pub open: OpenRule,
    /// How long such an open waits at most; zero: never.
    pub open_wait: Duration,
    /// Limit on boards in all.
    pub max_boards: usize,
    /// Limit on boards of one user.
    pub max_per_user: usize,
    /// Where what is held is recorded.
    pub state: StatePlan,
    /// Whether all users are served: demanded, forbidden, or where possible.
    pub allow_other: Option<bool>,
    /// How much is logged.
    pub verbosity: Verbosity,
    /// Where it is logged.
    pub log: LogPlan,
    /// Whether to go on in the background once the directory is served.
    pub daemon: bool,
    /// What the table of mounts shows as the source.
    pub source: String,
}

/// Where what is held is recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StatePlan {
    /// In the runtime directory, if there is one.
    #[default]
    Default,
    /// In this file.
    File(PathBuf),
    /// Nowhere.
    None,
}

/// Where it is logged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LogPlan {
    /// On stderr.
    #[default]
    Stderr,
    /// In the system's log.
    System,
    /// In this file.
    File(PathBuf),
}

/// What the table of mounts shows as the source where nobody says anything else.
pub const SOURCE: &str = "boardlock";

/// An option that cannot be followed, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionError(String);

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for OptionError {}

fn refuse<T>(text: impl Into<String>) -> Result<T, OptionError> {
    Err(OptionError(text.into()))
}

/// Options of our own, for `-o` and for guessing what was meant.
pub const OWN: &[&str] = &[
    "release",
    "expire",
    "open",
    "open_wait",
    "boards",
    "lease",
    "one_shot",
    "wrapper",
    "session_manager",
    "max_boards",
    "max_per_user",
    "state",
    "log",
    "over",
    "allow_other",
    "no_allow_other",
];

/// Options of mount(8), fstab(5) and systemd that change nothing here. A lock directory is
/// always mounted nosuid, nodev and noexec; mount(8) passes their opposites on for a line with
/// `user=NAME`, or with `users,exec`.
const GENERIC: &[&str] = &[
    "rw",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "exec",
    "noexec",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "lazytime",
    "nolazytime",
    "iversion",
    "noiversion",
    "mand",
    "nomand",
    "symfollow",
    "nosymfollow",
    "async",
    "sync",
    "dirsync",
    "nofail",
    "auto",
    "noauto",
    "user",
    "nouser",
    "users",
    "nousers",
    "owner",
    "noowner",
    "group",
    "nogroup",
    "_netdev",
    "defaults",
    "silent",
    "loud",
];

/// Options that cannot be had, and the reason.
const REFUSED: &[(&str, &str)] = &[
    ("ro", "taking a lock is a write; remove it"),
    (
        "remount",
        "options are fixed while it is served; stop the daemon and start it with the new ones",
    ),
    (
        "allow_root",
        "it is for all users (allow_other) or for one (no_allow_other)",
    ),
    (
        "default_permissions",
        "the daemon decides who may do what, by who holds the board",
    ),
    (
        "auto_unmount",
        "the bare directory would look like a lock directory and lock nothing",
    ),
];

/// The raw settings, wherever they came from.
#[derive(Default)]
struct Settings {
    over: bool,
    boards: Option<PathBuf>,
    lease: Option<Duration>,
    one_shot: Vec<String>,
    wrapper: Vec<String>,
    session_manager: Vec<String>,
    release: ReleaseRule,
    expire: ExpireRule,
    open: OpenRule,
    open_wait: Option<Duration>,
    max_boards: Option<usize>,
    max_per_user: Option<usize>,
    state: Option<StatePlan>,
    log: Option<LogPlan>,
    allow_other: Option<bool>,
}

/// Turns arguments into a plan. A long option wins over the same one in `-o`;
/// within `-o` the last one wins; lists add up.
pub fn plan(args: &MountArgs) -> Result<MountPlan, OptionError> {
    if args.dir.as_os_str().is_empty() {
        return refuse("the lock directory's name is empty");
    }
    let mut s = Settings::default();
    for option in args.options.iter().flat_map(|list| list.split(',')) {
        if !option.is_empty() {
            apply(&mut s, option)?;
        }
    }
    s.over |= args.over;
    if let Some(file) = &args.boards {
        s.boards = Some(boards("--boards", file.as_os_str())?);
    }
    if let Some(text) = &args.lease {
        s.lease = Some(lease("--lease", text)?);
    }
    if let Some(text) = &args.open_wait {
        s.open_wait = Some(open_wait("--open-wait", text)?);
    }
    if let Some(text) = &args.max_boards {
        s.max_boards = Some(limit("--max-boards", text)?);
    }
    if let Some(text) = &args.max_per_user {
        s.max_per_user = Some(limit("--max-per-user", text)?);
    }
    if let Some(file) = &args.state {
        s.state = Some(state("--state", file.as_os_str())?);
    }
    if let Some(to) = &args.log {
        s.log = Some(log("--log", to.as_os_str())?);
    }
    if args.daemon {
        in_background(&s)?;
    }
    for (option, given, list) in [
        ("--one-shot", &args.one_shot, &mut s.one_shot),
        ("--wrapper", &args.wrapper, &mut s.wrapper),
        (
            "--session-manager",
            &args.session_manager,
            &mut s.session_manager,
        ),
    ] {
        for text in given {
            names(list, option, text, ',')?;
        }
    }
    let max_boards = s.max_boards.unwrap_or(MAX_BOARDS);
    Ok(MountPlan {
        dir: args.dir.clone(),
        over: s.over,
        boards: s.boards,
        lease: s.lease,
        one_shot: s.one_shot,
        wrapper: s.wrapper,
        session_manager: s.session_manager,
        release: s.release,
        expire: s.expire,
        open: s.open,
        open_wait: s.open_wait.unwrap_or(OPEN_WAIT),
        max_boards,
        max_per_user: s.max_per_user.unwrap_or(MAX_PER_USER).min(max_boards),
        state: s.state.unwrap_or_default(),
        allow_other: s.allow_other,
        verbosity: match (args.quiet, args.verbose) {
            (true, _) => Verbosity::Quiet,
            (false, 0) => Verbosity::Normal,
            (false, 1) => Verbosity::Verbose,
            (false, _) => Verbosity::Trace,
        },
        log: s.log.unwrap_or(if args.daemon {
            LogPlan::System
        } else {
            LogPlan::Stderr
        }),
        daemon: args.daemon,
        source: SOURCE.to_owned(),
    })
}

/// What cannot be had in the background, where nobody sees stderr and names of files
/// count from / on.
fn in_background(s: &Settings) -> Result<(), OptionError> {
    if s.log == Some(LogPlan::Stderr) {
        return refuse("nobody sees stderr in the background: log to syslog, or to a file");
    }
    let state = match &s.state {
        Some(StatePlan::File(path)) => Some(("state", path)),
        _ => None,
    };
    let log = match &s.log {
        Some(LogPlan::File(path)) => Some(("log", path)),
        _ => None,
    };
    let boards = s.boards.as_ref().map(|path| ("boards", path));
    for (option, path) in [state, log, boards].into_iter().flatten() {
        if !path.is_absolute() {
            return refuse(format!(
                "{option}: '{}' has to begin with / where it goes on in the background",
                printable(path.as_os_str().as_encoded_bytes())
            ));
        }
    }
    Ok(())
}

/// Applies one `-o` option.
fn apply(s: &mut Settings, option: &str) -> Result<(), OptionError> {
    let (name, value) = match option.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (option, None),
    };
    let shown = format!("-o {name}");
    match name.replace('-', "_").as_str() {
        "release" => {
            s.release = match needed(&shown, value)? {
                "owner" => ReleaseRule::Owner,
                "holder" => ReleaseRule::Holder,
                other => {
                    return refuse(format!(
                        "{shown}: '{}' is neither owner nor holder",
                        printable(other)
                    ));
                }
            }
        }
        "expire" => {
            s.expire = match needed(&shown, value)? {
                "keep" => ExpireRule::Keep,
                "hard" => ExpireRule::Hard,
                other => {
                    return refuse(format!(
                        "{shown}: '{}' is neither keep nor hard",
                        printable(other)
                    ));
                }
            }
        }
        "open" => {
            s.open = match needed(&shown, value)? {
                "wait" => OpenRule::Wait,
                "strict" => OpenRule::Strict,
                "shared" => OpenRule::Shared,
                other => {
                    return refuse(format!(
                        "{shown}: '{}' is neither wait, strict nor shared",
                        printable(other)
                    ));
                }
            }
        }
        "open_wait" => s.open_wait = Some(open_wait(&shown, needed(&shown, value)?)?),
        "boards" => s.boards = Some(boards(&shown, OsStr::new(needed(&shown, value)?))?),
        "lease" => s.lease = Some(lease(&shown, needed(&shown, value)?)?),
        "max_boards" => s.max_boards = Some(limit(&shown, needed(&shown, value)?)?),
        "max_per_user" => s.max_per_user = Some(limit(&shown, needed(&shown, value)?)?),
        "state" => s.state = Some(state(&shown, OsStr::new(needed(&shown, value)?))?),
        "log" => s.log = Some(log(&shown, OsStr::new(needed(&shown, value)?))?),
        "one_shot" => names(&mut s.one_shot, &shown, needed(&shown, value)?, ':')?,
        "wrapper" => names(&mut s.wrapper, &shown, needed(&shown, value)?, ':')?,
        "session_manager" => names(&mut s.session_manager, &shown, needed(&shown, value)?, ':')?,
        "over" => {
            none(&shown, value)?;
            s.over = true;
        }
        "allow_other" => {
            none(&shown, value)?;
            s.allow_other = Some(true);
        }
        "no_allow_other" => {
            none(&shown, value)?;
            s.allow_other = Some(false);
        }
        _ => return foreign(name, value),
    }
    Ok(())
}

/// The options in a list for `-o` that are known, be they possible or not.
pub fn known(list: &str) -> String {
    let is_known = |option: &&str| {
        let name = option.split_once('=').map_or(*option, |(name, _)| name);
        OWN.contains(&name.replace('-', "_").as_str())
            || REFUSED.iter().any(|(refused, _)| *refused == name)
            || foreign(name, option.split_once('=').map(|(_, value)| value)).is_ok()
    };
    let known: Vec<&str> = list.split(',').filter(is_known).collect();
    known.join(",")
}

/// An option that is not ours: harmless, refused or unknown.
fn foreign(name: &str, value: Option<&str>) -> Result<(), OptionError> {
    if name.starts_with("x-") || name.starts_with("X-") || name == "comment" {
        return Ok(());
    }
    // mount(8) tells its helpers who the user is.
    if GENERIC.contains(&name) && (value.is_none() || name == "user") {
        return Ok(());
    }
    if let Some((_, reason)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
        return refuse(format!("-o {name} is not possible: {reason}"));
    }
    let name = printable(name);
    let all = OWN.iter().chain(GENERIC);
    match all
        .map(|known| (distance(&name, known), *known))
        .min()
        .filter(|(distance, known)| *distance <= 3 && *distance < known.len())
    {
        Some((_, known)) => refuse(format!("-o {name}: no such option; is '{known}' meant?")),
        None => refuse(format!(
            "-o {name}: no such option; `boardlock mount --help` lists them"
        )),
    }
}

fn needed<'a>(option: &str, value: Option<&'a str>) -> Result<&'a str, OptionError> {
    match value {
        Some(value) if !value.is_empty() => Ok(value),
        _ => refuse(format!("{option} needs a value, as {}=...", bare(option))),
    }
}

fn none(option: &str, value: Option<&str>) -> Result<(), OptionError> {
    match value {
        None => Ok(()),
        Some(_) => refuse(format!("{option} takes no value")),
    }
}

fn bare(option: &str) -> &str {
    option.trim_start_matches("-o ")
}

fn lease(option: &str, text: &str) -> Result<Duration, OptionError> {
    duration::parse(text).map_err(|reason| OptionError(format!("{option}: {reason}")))
}

/// An open that waits holds up the program that opens, and nobody can tell that
/// from a hang: an hour is more than anybody can mean.
const OPEN_WAIT_MAX: Duration = Duration::from_secs(3600);

fn boards(option: &str, file: &OsStr) -> Result<PathBuf, OptionError> {
    match file.is_empty() {
        true => refuse(format!("{option} needs a file")),
        false => Ok(PathBuf::from(file)),
    }
}

fn state(option: &str, file: &OsStr) -> Result<StatePlan, OptionError> {
    if file.is_empty() {
        return refuse(format!("{option} needs a file, or none"));
    }
    Ok(match file.to_str() {
        Some("none") => StatePlan::None,
        _ => StatePlan::File(PathBuf::from(file)),
    })
}

fn log(option: &str, to: &OsStr) -> Result<LogPlan, OptionError> {
    if to.is_empty() {
        return refuse(format!("{option} needs a file, syslog or stderr"));
    }
    Ok(match to.to_str() {
        Some("stderr") => LogPlan::Stderr,
        Some("syslog") => LogPlan::System,
        _ => LogPlan::File(PathBuf::from(to)),
    })
}

fn open_wait(option: &str, text: &str) -> Result<Duration, OptionError> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let wait =
        duration::parse(text).map_err(|reason| OptionError(format!("{option}: {reason}")))?;
    if wait > OPEN_WAIT_MAX {
        return refuse(format!("{option}: an open waits an hour at most"));
    }
    Ok(wait)
}

fn limit(option: &str, text: &str) -> Result<usize, OptionError> {
    match text.parse::<u32>() {
        Ok(0) => refuse(format!(
            "{option}: nobody could lock anything with a limit of 0"
        )),
        Ok(n) => Ok(n as usize),
        Err(_) => refuse(format!(
            "{option}: '{}' is no number from 1 to {}",
            printable(text),
            u32::MAX
        )),
    }
}

/// Adds the names in `text` to `list`, each once.
fn names(
    list: &mut Vec<String>,
    option: &str,
    text: &str,
    separator: char,
) -> Result<(), OptionError> {
    for name in text.split(separator) {
        let shown = printable(name);
        if name.is_empty() {
            return refuse(format!(
                "{option}: there is an empty name in '{}'",
                printable(text)
            ));
        }
        if name.contains('/') {
            return refuse(format!(
                "{option}: '{shown}' is a path; give the program's name alone"
            ));
        }
        if name.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return refuse(format!("{option}: '{shown}' is no program's name"));
        }
        if !list.iter().any(|known| known == name) {
            list.push(name.to_owned());
        }
    }
    Ok(())
}

/// Levenshtein's distance, dashes and underscores being equal.
fn distance(a: &str, b: &str) -> usize {
    let letters = |s: &str| s.replace('-', "_").chars().take(40).collect::<Vec<_>>();
    let (a, b) = (letters(a), letters(b));
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let replaced = row[j] + usize::from(x != y);
            next.push(replaced.min(row[j + 1] + 1).min(next[j] + 1));
        }
        row = next;
    }
    row[b.len()]
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
