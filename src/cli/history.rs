//! `boardlock history`: who had which board, when, and how it ended.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, ColorChoice};
use jiff::tz::TimeZone;

use crate::client::{
    Chosen, Clock, DirArgs, HOLD_COLUMNS, HoldColumn, Pattern, Screen, Trouble, choose,
    is_temporary_name, moment, put,
};
use crate::printable::printable;
use crate::schema::Hold;

use super::{duration, status};

/// What stands after the options in `--help`.
const HISTORY_HELP: &str = "\
A hold ended by being released (rm and the like, by whom), its holder having died, its time having
expired, being forced (boardlock release --force, by whom), being unlocked, its file being replaced
or renamed, or a claimed directory being emptied. It is remembered over restarts, the oldest are
forgotten first.

COLUMNS is a list as board,holder,ended; with + in front they are added to the usual ones. There are
since, ended, board, holder, uid, pid, command, via, lasted, how, by, token, kind.

TIME is how long ago (2h, 3d) or a moment, as 2026-11-29, '2026-11-29 14:00' (of your time zone) or
2026-11-29T13:00:00Z.

Exit codes: 0 done, 1 it cannot be found out, 2 a wrong command line.";

/// The arguments of `boardlock history`.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = HISTORY_HELP)]
pub struct HistoryArgs {
    /// Boards by name, by path, or by a pattern as in a shell ('rack1/*') [default: all]
    #[arg(value_name = "BOARD")]
    pub boards: Vec<OsString>,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub dir: DirArgs,

    /// Also names that lock tools make for a moment (.lk*, lock.XXXXXXXXXX)
    #[arg(short, long)]
    pub all: bool,

    /// The last N only
    #[arg(short = 'n', long, value_name = "N")]
    pub lines: Option<usize>,

    /// What ended since TIME only
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,

    /// Which columns; see below
    #[arg(short = 'o', long, value_name = "COLUMNS", conflicts_with = "json")]
    pub output: Option<String>,

    /// No line of headings
    #[arg(long, conflicts_with = "json")]
    pub no_headings: bool,

    /// JSON, as .boardlock/history.json has it
    #[arg(long)]
    pub json: bool,

    /// When to use colours
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,
}

/// The options, validated.
struct Wanted {
    chosen: Chosen<HoldColumn>,
    /// In seconds since 1970.
    since: Option<i64>,
    now: i64,
}

/// Runs `boardlock history`.
pub fn run(args: &HistoryArgs) -> ExitCode {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    let wanted = match wanted(args, now, &TimeZone::system()) {
        Ok(wanted) => wanted,
        Err(reason) => {
            super::complain(&reason);
            return ExitCode::from(super::USAGE);
        }
    };
    super::code_of(history(args, &wanted))
}

fn wanted(args: &HistoryArgs, now: i64, zone: &TimeZone) -> Result<Wanted, String> {
    Ok(Wanted {
        chosen: choose(args.output.as_deref(), HOLD_COLUMNS, HoldColumn::USUAL)?,
        since: match &args.since {
            Some(text) => Some(begin(text, now, zone)?),
            None => None,
        },
        now,
    })
}

/// The moment that `--since` means.
fn begin(text: &str, now: i64, zone: &TimeZone) -> Result<i64, String> {
    let text = text.trim();
    if let Some(moment) = moment(text) {
        return Ok(moment);
    }
    if let Ok(civil) = text.parse::<jiff::civil::DateTime>() {
        let there = zone.to_zoned(civil).map_err(|error| error.to_string())?;
        return Ok(there.timestamp().as_second());
    }
    match duration::parse(text) {
        Ok(ago) => Ok(now.saturating_sub(i64::try_from(ago.as_secs()).unwrap_or(i64::MAX))),
        Err(_) => Err(format!(
            "'{}' is no time; write it as 2h or 3d (ago), 2026-11-29, '2026-11-29 14:00' or \
             2026-11-29T13:00:00Z",
            printable(text)
        )),
    }
}

fn history(args: &HistoryArgs, wanted: &Wanted) -> Result<ExitCode, Trouble> {
    let dir = args.dir.find()?;
    let asked = Pattern::all(&dir, &args.boards)?;
    let mut file = dir.history()?;
    file.holds
        .retain(|hold| is_wanted(hold, args.all, &asked, wanted.since));
    if let Some(most) = args.lines {
        file.holds.drain(..file.holds.len().saturating_sub(most));
    }
    let screen = Screen::of_stdout(args.color);
    let text = if args.json {
        let text = serde_json::to_string_pretty(&file);
        text.map_err(|error| Trouble::new(error.to_string()))? + "\n"
    } else {
        let clock = Clock::here(wanted.now);
        let table = wanted.chosen.table(&file.holds, !args.no_headings, &clock);
        let lines = table.lines(screen.room(), screen.colors);
        lines.iter().map(|line| format!("{line}\n")).collect()
    };
    if let Some(code) = status::written(put(&text))? {
        return Ok(code);
    }
    if file.holds.is_empty() && !args.json {
        super::complain("nothing is remembered of that");
    }
    Ok(ExitCode::SUCCESS)
}

fn is_wanted(hold: &Hold, all: bool, asked: &[Pattern], since: Option<i64>) -> bool {
    let named = asked.iter().any(|pattern| pattern.is(&hold.board));
    let hidden = !all && !named && is_temporary_name(&hold.board);
    let matches = asked.is_empty() || asked.iter().any(|pattern| pattern.matches(&hold.board));
    let late = since.is_none_or(|since| moment(&hold.ended).is_none_or(|ended| ended >= since));
    !hidden && matches && late
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn times_that_people_write() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let now = moment("2026-11-29T13:07:30Z").unwrap();
        let meant = |text| begin(text, now, &zone);
        let is = |text| Ok(moment(text).unwrap());
        assert_eq!(meant("2h"), is("2026-11-29T11:07:30Z"));
        assert_eq!(meant("2026-11-29"), is("2026-11-28T23:00:00Z"));
        assert_eq!(meant("2026-07-01 14:00"), is("2026-07-01T12:00:00Z"));
        assert_eq!(meant("2026-11-29T13:00:00Z"), is("2026-11-29T13:00:00Z"));
        for bad in ["", "yesterday\u{1b}", "-2h", "2026-13-01"] {
            let error = meant(bad).unwrap_err();
            assert!(
                error.contains("is no time") && !error.contains('\u{1b}'),
                "{error}"
            );
        }
    }
}
