//! `boardlock run`: a command that has boards while it runs.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;

use super::duration;
use crate::client::refused::{self, Refused, code};
use crate::client::{
    DirArgs, ENDING, Line, LockDirectory, Outcome, Patience, REWRITING, Signals, Taken, Want,
    child, slots, stand_in_line,
};
use crate::printable::printable;

/// What stands after the options in `--help`.
const MORE: &str = "\
BOARD is a name in the lock directory (rack1/beagle), or a path into it. PATTERN is a name, or a
shell pattern (rpi*, rpi[1-4]) over the boards of the inventory; @POOL is a pool of it. Several
are separated by commas; --any can be given more than once, for one board each time.

DUR is a number of seconds, or as 90s, 30m, 2h, 1d, 1h30m.

Exit status, as of flock(1):
  that of CMD, or 128 and the number of the signal that ended it
  1 (or -E N)  a board is another's, and --no-wait, or --wait is over
  64           a command line that makes no sense
  65, 71       locking failed, the system has no more of something
  66           no such lock directory or board, or not permitted
  69           CMD cannot be run
  73           no more boards can be taken, nobody serves them
A signal that comes while it waits ends it as any program.

Environment of CMD:
  BOARDLOCK_BOARD  the boards, separated by blanks: as named, then one for each --any
  BOARDLOCK_TOKEN  the numbers of their acquisitions, in the same order; they only grow
  BOARDLOCK_DIR    the lock directory

Examples:
  boardlock run beagle -- ./flash image.bin
  boardlock run --wait 10m --note 'nightly test' beagle relay1 -- make test
  boardlock run --any @rpi4 -- sh -c './test.sh \"$BOARDLOCK_BOARD\"'
  boardlock run --any rpi1,rpi2 --no-wait -- make test || echo 'all busy'";

/// The arguments of `boardlock run`.
#[derive(Args, Clone, Debug, Default)]
#[command(after_long_help = MORE)]
pub struct RunArgs {
    /// The boards that it needs, all at once
    #[arg(value_name = "BOARD")]
    pub boards: Vec<OsString>,

    /// Where.
    #[command(flatten)]
    pub dir: DirArgs,

    /// And any free one of these: names, patterns, or @POOL
    #[arg(long, value_name = "PATTERN|@POOL,..")]
    pub any: Vec<String>,

    /// Wait this long at most [default: as long as it takes]
    #[arg(short = 'w', long, value_name = "DUR")]
    pub wait: Option<String>,

    /// Do not wait
    #[arg(short = 'n', long, conflicts_with = "wait")]
    pub no_wait: bool,

    /// Show others that the boards are needed this long
    ///
    /// After that they show as overdue, and where the lock directory is served with
    /// -o expire=hard they are taken away. CMD can say more by: boardlock renew
    #[arg(long, value_name = "DUR")]
    pub lease: Option<String>,

    /// Show others this text
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,

    /// The exit status when a board is another's [default: 1]
    #[arg(short = 'E', long, value_name = "N")]
    pub conflict_exit_code: Option<String>,

    /// Say nothing of who has a board and of the place in the line
    #[arg(short, long)]
    pub quiet: bool,

    /// The command, and its arguments
    #[arg(last = true, value_name = "CMD", required = true)]
    pub command: Vec<OsString>,
}

/// What the arguments come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    limit: Limit,
    lease: Option<Duration>,
    conflict: u8,
}

/// How long it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    Endless,
    For(Duration),
    NotAtAll,
}

impl Limit {
    /// From now on.
    pub(super) fn begin(self) -> Patience {
        match self {
            Limit::Endless => Patience::Endless,
            Limit::NotAtAll => Patience::None,
            // What is longer than the clock goes has no end.
            Limit::For(limit) => Instant::now()
                .checked_add(limit)
                .map_or(Patience::Endless, Patience::Until),
        }
    }
}

/// How long to wait: as flock(1) takes it, seconds with a fraction and 0 too, or a duration.
pub(super) fn limit(text: Option<&str>) -> Result<Limit, String> {
    let Some(text) = text else {
        return Ok(Limit::Endless);
    };
    let is_decimal = text.contains('.') && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if is_decimal && let Ok(seconds) = text.parse::<f64>() {
        let limit = Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?;
        return Ok(if limit.is_zero() {
            Limit::NotAtAll
        } else {
            Limit::For(limit)
        });
    }
    if !text.is_empty() && text.bytes().all(|byte| byte == b'0') {
        return Ok(Limit::NotAtAll);
    }
    duration::parse(text).map(Limit::For)
}

fn plan(args: &RunArgs) -> Result<Plan, String> {
    if args.boards.is_empty() && args.any.is_empty() {
        return Err("which board? boardlock run BOARD.. -- CMD, or --any PATTERN".to_owned());
    }
    let conflict = match args.conflict_exit_code.as_deref() {
        None => 1,
        Some(text) => text.parse().map_err(|_| {
            format!(
                "'{}' is no exit status; it is a number from 0 to 255",
                printable(text)
            )
        })?,
    };
    let limit = match args.no_wait {
        true => Limit::NotAtAll,
        false => limit(args.wait.as_deref()).map_err(|why| format!("--wait: {why}"))?,
    };
    let lease = args.lease.as_deref().map(duration::parse).transpose();
    Ok(Plan {
        limit,
        lease: lease.map_err(|why| format!("--lease: {why}"))?,
        conflict,
    })
}

/// Runs `boardlock run`.
pub fn run(args: &RunArgs) -> ExitCode {
    if let Some(code) = stand_in_line() {
        return code;
    }
    match run_with(args) {
        Ok(code) => ExitCode::from(code),
        Err(refused) => {
            super::complain(&refused.text);
            ExitCode::from(refused.code)
        }
    }
}

fn run_with(args: &RunArgs) -> Result<u8, Refused> {
    let plan = plan(args).map_err(|why| Refused::new(code::USAGE, why))?;
    let no_input =
        |trouble: crate::client::Trouble| Refused::new(code::NO_INPUT, trouble.to_string());
    let dir = args.dir.find().map_err(no_input)?;
    let slots = slots(&dir, &args.boards, &args.any).map_err(no_input)?;
    let failed = |error: std::io::Error| Refused::new(code::OS, format!("cannot wait: {error}"));
    child::hear_of_children().map_err(failed)?;
    let mut signals = Signals::take(&ENDING).map_err(failed)?;
    let mut line = Line::new(args.quiet);
    if line.is_live() {
        signals.take_also(&REWRITING).map_err(failed)?;
    }
    let outcome = Want {
        dir: &dir,
        slots: &slots,
        patience: plan.limit.begin(),
        signals: &signals,
        line: &mut line,
    }
    .take()?;
    let taken = match outcome {
        Outcome::Taken(taken) => taken,
        Outcome::Signal(signal) => signals.die_of(signal),
        Outcome::Held(held) => {
            if !args.quiet {
                super::complain(&refused::held(&held));
                super::complain(&next(&held, plan.limit));
            }
            return Ok(plan.conflict);
        }
    };
    for taken in &taken {
        annotate(taken, &plan, args)?;
    }
    let environment = environment(&dir, &taken);
    child::run(
        &dir,
        &args.command,
        &environment,
        &taken,
        &mut signals,
        !args.quiet,
    )
}

/// What to type next when a board is another's.
fn next(
    held: &[(
        crate::client::BoardName,
        Option<crate::client::glance::Told>,
    )],
    limit: Limit,
) -> String {
    let longer = match limit {
        Limit::NotAtAll => "to wait for it, leave out --no-wait",
        _ => "to wait for it longer, give --wait a longer time",
    };
    match held.first() {
        Some((board, _)) => format!("{longer}; to be told when it is free: boardlock wait {board}"),
        None => longer.to_owned(),
    }
}

fn annotate(taken: &Taken, plan: &Plan, args: &RunArgs) -> Result<(), Refused> {
    let set = |key: &str, value: &[u8]| {
        let none = rustix::fs::XattrFlags::empty();
        rustix::fs::fsetxattr(
            &taken.file,
            format!("user.boardlock.{key}").as_str(),
            value,
            none,
        )
    };
    let failed = |what: &str, error: rustix::io::Errno| {
        let board = &taken.board;
        let why = match error {
            rustix::io::Errno::FBIG => "it is longer than 4096 bytes".to_owned(),
            error => std::io::Error::from(error).to_string(),
        };
        Refused::new(
            code::DATA,
            format!("cannot set the {what} of {board}: {why}"),
        )
    };
    if let Some(lease) = plan.lease {
        let value = format!("+{}s", lease.as_secs());
        set("expires", value.as_bytes()).map_err(|error| failed("lease", error))?;
    }
    if let Some(note) = &args.note {
        set("note", note.as_bytes()).map_err(|error| failed("note", error))?;
    }
    Ok(())
}

fn environment(dir: &LockDirectory, taken: &[Taken]) -> [(&'static str, OsString); 3] {
    let mut boards = OsString::new();
    for taken in taken {
        if !boards.is_empty() {
            boards.push(" ");
        }
        boards.push(taken.board.as_path());
    }
    let tokens: Vec<String> = taken
        .iter()
        .map(|taken| taken.token.unwrap_or(0).to_string())
        .collect();
    [
        ("BOARDLOCK_BOARD", boards),
        ("BOARDLOCK_TOKEN", tokens.join(" ").into()),
        ("BOARDLOCK_DIR", dir.path.clone().into_os_string()),
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn args() -> RunArgs {
        RunArgs {
            boards: vec!["b".into()],
            command: vec!["true".into()],
            ..RunArgs::default()
        }
    }

    #[test]
    fn how_long_it_waits() {
        let read = |text| limit(Some(text)).unwrap();
        assert_eq!(limit(None), Ok(Limit::Endless));
        assert_eq!(read("0"), Limit::NotAtAll);
        assert_eq!(read("0.0"), Limit::NotAtAll);
        assert_eq!(read("5"), Limit::For(Duration::from_secs(5)));
        assert_eq!(read("0.2"), Limit::For(Duration::from_millis(200)));
        assert_eq!(read(".5"), Limit::For(Duration::from_millis(500)));
        assert_eq!(read("10m"), Limit::For(Duration::from_secs(600)));
        for bad in ["", "soon", "-1", "1.2.3", ".", "1e5.0"] {
            assert!(limit(Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_makes_no_sense() {
        let mut none = args();
        none.boards.clear();
        assert!(plan(&none).unwrap_err().contains("which board"));
        let refuses = |change: fn(&mut RunArgs), words: &str| {
            let mut args = args();
            change(&mut args);
            let error = plan(&args).unwrap_err();
            assert!(error.contains(words), "{error}");
        };
        refuses(
            |args| args.conflict_exit_code = Some("256".into()),
            "from 0 to 255",
        );
        refuses(|args| args.wait = Some("later".into()), "--wait: 'later'");
        refuses(|args| args.lease = Some("0".into()), "--lease: '0'");
    }
}
