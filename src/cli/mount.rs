//! `boardlock mount`: its arguments, and what they come to.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::options::{self, MountPlan};
use crate::background::{self, Started};
use crate::{daemon, journal, supervise};

/// What stands after the options in `--help`.
const OPTIONS_HELP: &str = "\
Options for -o, separated by commas; a list inside one is separated by colons:
  release=owner|holder  who may unlink a held board: the holder's side, the file's user and root
                        (owner, the default), or the holder's side alone (holder)
  expire=keep|hard      what becomes of a board whose time is up while its holder lives: kept and
                        shown as overdue (keep, the default), or freed (hard)
  open=wait|strict|shared  what opening a held board for writing does: it waits where the board may
                        yet turn out to be locked with flock(1), is refused where it is claimed, and
                        holds nothing where it is locked (wait, the default); the same, but refused
                        where it is locked (strict); always opens and holds nothing, so that flock(1)
                        alone decides (shared)
  allow_other           fail when the directory cannot be served to all users; without it, an
                        ordinary user falls back to serving only himself, with a warning
  no_allow_other        serve only the user who mounts
  boards=, lease=, open_wait=, one_shot=, wrapper=, session_manager=, max_boards=, max_per_user=,
  state=, log=, over    the same as the long options, which win over them; dashes do as well
Options of mount(8) and fstab(5) that change nothing here (rw, nosuid, nodev, noexec, noatime,
nofail, noauto, user, _netdev, defaults, x-systemd.*, comment= and the like) are accepted; it is
mounted nosuid, nodev and noexec whatever they say. ro and remount are refused.

DURATION is a number of seconds, or as 90s, 30m, 2h, 1d, 1h30m.

Environment:
  BOARDLOCK_LOG  what to log, as level or module=level, in place of -v and -q
  NO_COLOR       no colours, even on a terminal

Example:
  boardlock mount --lease 2h -o release=holder,wrapper=labrun:with-board /run/locks";

/// The arguments of `boardlock mount`.
#[derive(Args, Clone, Debug, Default)]
#[command(after_long_help = OPTIONS_HELP)]
pub struct MountArgs {
    /// The lock directory
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,

    /// Give every claim that names no expiry this long [default: no limit]
    ///
    /// A claim with a lease counts as overdue, and a detached one is freed,
    /// when it has not been renewed for this long; touching the file renews it.
    #[arg(long, value_name = "DURATION")]
    pub lease: Option<String>,

    /// How long opening a board for writing waits at most while it may yet turn out to be
    /// locked with flock(1); 0 to be refused at once [default: 2s]
    #[arg(long, value_name = "DURATION")]
    pub open_wait: Option<String>,

    /// Give out only the boards that are listed in FILE, a TOML file; it is read again on SIGHUP
    ///
    /// It says which boards and directories there are, what they are, who may take them
    /// and for how long, and which are out of service; see the README, "An inventory".
    /// A file that is broken keeps what was read before, and the log says where it is;
    /// `boardlock check-boards FILE` says it beforehand. SIGHUP does not unmount then.
    #[arg(long, value_name = "FILE")]
    pub boards: Option<PathBuf>,

    /// Record what is held in FILE, so that it outlives the daemon; `none` to forget it
    /// [default: a file in /run/boardlock, or in $XDG_RUNTIME_DIR/boardlock for a user]
    ///
    /// When the daemon is started again, whoever still lives has what he had, what the
    /// dead had is free, and tokens go on growing. A file in a place that outlives the
    /// machine's boots keeps detached claims over these as well.
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,

    /// Further tools that take a lock for their caller, as touch does
    #[arg(long, value_name = "NAME,..")]
    pub one_shot: Vec<String>,

    /// Further programs that only run another one, as sudo and timeout do
    #[arg(long, value_name = "NAME,..")]
    pub wrapper: Vec<String>,

    /// Further programs that start users' sessions, as sshd and cron do
    ///
    /// A claim made by a tool that one of them started itself belongs to the
    /// user alone, until it is unlinked or expires.
    #[arg(long, value_name = "NAME,..")]
    pub session_manager: Vec<String>,

    /// Serve DIR even though there are files in it
    ///
    /// They are hidden while the lock directory is served. Lock files of the
    /// form `EXPIRY PID` that still count are taken over as claims.
    #[arg(long)]
    pub over: bool,

    /// At most this many boards in all; then ENOSPC [default: 100000]
    #[arg(long, value_name = "N")]
    pub max_boards: Option<String>,

    /// At most this many boards of one user; then EDQUOT [default: 10000]
    #[arg(long, value_name = "N")]
    pub max_per_user: Option<String>,

    /// Mount options, as in fstab; see below
    #[arg(short = 'o', value_name = "OPT,..")]
    pub options: Vec<String>,

    /// Go on in the background once the directory is served
    ///
    /// It returns when the directory is served, or else says why not. It logs to syslog.
    #[arg(long)]
    pub daemon: bool,

    /// Log to a FILE, to `syslog` or to `stderr` [default: stderr; with --daemon syslog]
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,

    /// Log more; twice for everything
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,

    /// Log warnings and errors only
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
}

/// Runs `boardlock mount`.
pub fn run(args: &MountArgs) -> ExitCode {
    match options::plan(args) {
        Ok(plan) => ExitCode::from(serve(plan)),
        Err(error) => {
            super::complain(&error.to_string());
            ExitCode::from(super::USAGE)
        }
    }
}

/// Serves, in the background if so planned; the exit code.
pub(super) fn serve(mut plan: MountPlan) -> u8 {
    if plan.daemon && !background::is_this() {
        return match background::start() {
            Ok(Started::Ready) => 0,
            Ok(Started::Ended(status)) => background::code(status),
            Err(error) => {
                super::complain(&format!("cannot start in the background: {error}"));
                1
            }
        };
    }
    // Kept to the end: dropping it writes out what is still queued.
    let _journal = match journal::start(plan.verbosity, &plan.log) {
        Ok(journal) => journal,
        Err(error) => {
            super::complain(&format!("cannot start the log: {error}"));
            return 1;
        }
    };
    if background::is_this() && !supervise::was_started() {
        let left = std::path::absolute(&plan.dir).and_then(|dir| {
            plan.dir = dir;
            background::begin()
        });
        if let Err(error) = left {
            log::error!("cannot go on in the background: {error}");
            return 1;
        }
    }
    match daemon::serve(&plan) {
        Ok(()) => 0,
        Err(error) => {
            if let Some(reason) = error.reason {
                log::error!("{reason}");
            }
            error.code
        }
    }
}
