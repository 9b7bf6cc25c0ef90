//! `boardlock status`: which boards are held, by whom, since when.

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ColorChoice};

use crate::client::{
    BOARD_COLUMNS, BoardColumn, Changes, Chosen, Clock, DirArgs, LockDirectory, Pattern, Screen,
    Trouble, Woken, choose, end_by, listed, put, select,
};
use crate::inventory::suggest;
use crate::schema::{Board, StatusFile};

/// What stands after the options in `--help`.
const STATUS_HELP: &str = "\
COLUMNS is a list as board,holder,since; with + in front they are added to the usual ones. There
are board, state, holder, uid, pid, command, via, since, expires, waiters, note, token, lock, kind
and, where there is an inventory, description, tags, pools. On a terminal, times get shorter,
commands are cut, and columns that were not asked for go where there is no room; in a pipe nothing
is cut. Times are those of your time zone (TZ=UTC for UTC).

States are held, overdue (held beyond its expiry), detached (a user's, with no process behind it),
free, and out (out of service).

Without an inventory only what is held is listed, and what is named and not held is free. With one,
its free boards are listed, too, and what is named and not in it is an error.

Exit codes:
  0  done; with -q: all of the boards are held
  1  it cannot be found out
  2  a wrong command line
  3  with -q: one of the boards is free, or none is held that a pattern matches

Examples:
  boardlock status -o +note 'rack1/*'
  boardlock status -q beagle || echo it is free
  boardlock status --json | jq -r '.boards[] | select(.waiters > 0).board'";

/// The arguments of `boardlock status`.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = STATUS_HELP)]
pub struct StatusArgs {
    /// Boards by name, by path, or by a pattern as in a shell ('rack1/*') [default: all]
    #[arg(value_name = "BOARD")]
    pub boards: Vec<OsString>,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub dir: DirArgs,

    /// Also names that lock tools make for a moment (.lk*, lock.XXXXXXXXXX)
    #[arg(short, long)]
    pub all: bool,

    /// Which columns; see below
    #[arg(short = 'o', long, value_name = "COLUMNS", conflicts_with = "json")]
    pub output: Option<String>,

    /// No line of headings
    #[arg(short, long, conflicts_with = "json")]
    pub no_headings: bool,

    /// JSON, as .boardlock/status.json has it
    #[arg(long)]
    pub json: bool,

    /// Show it anew whenever a board changes, until Ctrl-C
    ///
    /// On a terminal in place of what was there, in a pipe one table after the other, with
    /// --json a line for each change. It sleeps in between, and wakes once a minute for the
    /// times, and when a board's time is over.
    #[arg(short, long)]
    pub watch: bool,

    /// Say nothing: exit with 3 if one of the boards is free, with 0 if they are held
    #[arg(short, long, requires = "boards", conflicts_with_all = ["watch", "json", "output"])]
    pub quiet: bool,

    /// When to use colours
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,
}

/// The exit code that says that a board is free.
const FREE: u8 = 3;

/// Runs `boardlock status`.
pub fn run(args: &StatusArgs) -> ExitCode {
    let chosen = choose(args.output.as_deref(), BOARD_COLUMNS, BoardColumn::USUAL);
    let chosen = match chosen {
        Ok(chosen) => chosen,
        Err(reason) => {
            super::complain(&reason);
            return ExitCode::from(super::USAGE);
        }
    };
    super::code_of(status(args, &chosen))
}

fn status(args: &StatusArgs, chosen: &Chosen<BoardColumn>) -> Result<ExitCode, Trouble> {
    let dir = args.dir.find()?;
    let asked = Pattern::all(&dir, &args.boards)?;
    let view = View {
        args,
        chosen,
        dir: &dir,
        asked: &asked,
    };
    if args.watch {
        return view.watch();
    }
    let file = dir.status_looked_up()?;
    if let Some(trouble) = unlisted(&file.boards, &asked) {
        return Err(trouble);
    }
    let (file, clock) = view.look(file);
    if args.quiet {
        return Ok(quiet(&file.boards));
    }
    let screen = Screen::of_stdout(args.color);
    let lines = view.lines(&file, &clock, &screen)?;
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    if let Some(code) = written(put(&text))? {
        return Ok(code);
    }
    if file.boards.is_empty() && !args.json {
        super::complain(view.nothing());
    }
    Ok(ExitCode::SUCCESS)
}

/// What is to be said where there is an inventory and a board that was named is not in it:
/// it is not free, it cannot be had.
fn unlisted(boards: &[Board], asked: &[Pattern]) -> Option<Trouble> {
    let mut names = asked.iter().filter_map(Pattern::name);
    let name = names.find(|name| !listed::is_known(boards, name))?;
    let listed = boards.iter().map(|board| board.board.as_bytes());
    let meant = match suggest::nearest(name.as_bytes(), listed) {
        Some(nearest) => format!("; did you mean {}?", String::from_utf8_lossy(nearest)),
        None => "; all are listed by: boardlock status".to_owned(),
    };
    Some(Trouble::new(format!(
        "there is no board {name} in the inventory{meant}"
    )))
}

fn quiet(boards: &[Board]) -> ExitCode {
    if boards.is_empty() || boards.iter().any(Board::is_free) {
        ExitCode::from(FREE)
    } else {
        ExitCode::SUCCESS
    }
}

/// What writing came to: none to go on. Who has read enough ends it, which is no failure.
pub(super) fn written(done: io::Result<()>) -> Result<Option<ExitCode>, Trouble> {
    match done {
        Ok(()) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Some(ExitCode::SUCCESS)),
        Err(error) => Err(Trouble::new(format!("cannot write to stdout: {error}"))),
    }
}

/// How the boards are looked at.
struct View<'a> {
    args: &'a StatusArgs,
    chosen: &'a Chosen<BoardColumn>,
    dir: &'a LockDirectory,
    asked: &'a [Pattern],
}

/// What is on a screen stays so long at most: the times on it go on. In a pipe it is
/// looked again that often, for nothing unless whoever serves was killed, and who takes
/// over does not know who waits.
const MINUTE: Duration = Duration::from_secs(60);
/// However fast boards change, nobody reads faster.
const PACE: Duration = Duration::from_millis(100);

impl View<'_> {
    /// What of it is asked for, and the clock of whoever serves.
    fn look(&self, mut file: StatusFile) -> (StatusFile, Clock) {
        file.boards = select(file.boards, self.asked, self.args.all);
        let clock = Clock::here(file.now_unix);
        (file, clock)
    }

    fn lines(
        &self,
        file: &StatusFile,
        clock: &Clock,
        screen: &Screen,
    ) -> Result<Vec<String>, Trouble> {
        if self.args.json {
            // One line each where several follow.
            let text = if self.args.watch {
                serde_json::to_string(file)
            } else {
                serde_json::to_string_pretty(file)
            };
            let text = text.map_err(|error| Trouble::new(error.to_string()))?;
            return Ok(text.lines().map(str::to_owned).collect());
        }
        let table = self
            .chosen
            .table(&file.boards, !self.args.no_headings, clock);
        Ok(table.lines(screen.room(), screen.colors))
    }

    fn nothing(&self) -> &'static str {
        match self.asked {
            [] => "no board is held",
            _ => "no board that is held is named so",
        }
    }

    fn watch(&self) -> Result<ExitCode, Trouble> {
        let changes = Changes::of(self.dir)?;
        if let Some(trouble) = unlisted(&changes.status()?.boards, self.asked) {
            return Err(trouble);
        }
        let mut before: Option<(Vec<Board>, Option<Screen>)> = None;
        let mut timed = true;
        loop {
            let (file, mut clock) = self.look(changes.status()?);
            let screen = Screen::of_stdout(self.args.color);
            // Nothing reads JSON that is overwritten.
            let in_place = screen.size.is_some() && !self.args.json;
            clock.seconds = !in_place;
            let now = Some((stable(&file.boards), in_place.then_some(screen)));
            // What changed may be a board that is not shown.
            if timed || now != before {
                let mut lines = self.lines(&file, &clock, &screen)?;
                if file.boards.is_empty() && in_place {
                    lines.push(self.nothing().to_owned());
                }
                let text = if self.args.json {
                    lines.iter().map(|line| format!("{line}\n")).collect()
                } else {
                    screen.redraw(&lines)
                };
                if let Some(code) = written(put(&text))? {
                    return Ok(code);
                }
            }
            before = now;
            std::thread::sleep(PACE);
            let woken = changes.wait(patience(&file))?;
            timed = match woken {
                Woken::Changed => false,
                Woken::Time | Woken::Redraw => in_place,
                Woken::Unread => return Ok(ExitCode::SUCCESS),
                Woken::Stop(signal) => {
                    end_by(signal);
                    return Ok(ExitCode::FAILURE);
                }
            };
        }
    }
}

/// Boards without what goes on by itself.
fn stable(boards: &[Board]) -> Vec<Board> {
    let mut boards = boards.to_vec();
    for board in &mut boards {
        board.expires_in_seconds = None;
    }
    boards
}

/// How long it is waited for a change: until a board is overdue, a minute at most.
fn patience(file: &StatusFile) -> Duration {
    let ahead = file.boards.iter().filter_map(|board| {
        let left = board.expires_unix?.checked_sub(file.now_unix)?;
        u64::try_from(left).ok()
    });
    // Not before it is so by the daemon's clock.
    ahead.min().map_or(MINUTE, |left| {
        MINUTE.min(Duration::from_secs(left.saturating_add(1)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board(state: &str, expires_unix: Option<i64>) -> Board {
        Board {
            state: state.to_owned(),
            expires_unix,
            ..Board::default()
        }
    }

    fn code(states: &[&str]) -> String {
        let boards: Vec<Board> = states.iter().map(|state| board(state, None)).collect();
        format!("{:?}", quiet(&boards))
    }

    #[test]
    fn one_free_board_is_told_by_the_exit_code() {
        let (held, free) = (
            format!("{:?}", ExitCode::SUCCESS),
            format!("{:?}", ExitCode::from(FREE)),
        );
        assert_eq!(code(&["held", "overdue", "detached"]), held);
        assert_eq!(code(&["held", "free"]), free);
        assert_eq!(code(&[]), free);
    }

    #[test]
    fn what_no_inventory_lists_is_not_called_free() {
        let listed = Board {
            board: "beagle".to_owned(),
            inventory: Some(crate::schema::Listed::default()),
            ..board("free", None)
        };
        let named = |name: &str| [Pattern::exact(name.to_owned())];
        let said = |boards: &[Board], name| {
            unlisted(boards, &named(name)).map(|trouble| trouble.to_string())
        };
        let boards = [listed];
        assert_eq!(said(&boards, "beagle"), None);
        assert_eq!(
            said(&boards, "beagel").as_deref(),
            Some("there is no board beagel in the inventory; did you mean beagle?")
        );
        // Without an inventory every name is a board.
        assert_eq!(said(&[], "beagel"), None);
    }

    #[test]
    fn it_wakes_for_expiries() {
        let file = |expires: &[Option<i64>]| StatusFile {
            version: 1,
            boardlock: String::new(),
            directory: String::new(),
            now: String::new(),
            now_unix: 1000,
            boards: expires.iter().map(|at| board("held", *at)).collect(),
        };
        let seconds = Duration::from_secs;
        assert_eq!(patience(&file(&[])), MINUTE);
        assert_eq!(patience(&file(&[None, Some(1010), Some(900)])), seconds(11));
        assert_eq!(patience(&file(&[Some(5000)])), MINUTE);
        assert_eq!(patience(&file(&[Some(i64::MIN)])), MINUTE);
    }
}
