//! `boardlock renew`: until when a board is needed.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Args;
use rustix::fs::XattrFlags;
use rustix::io::Errno;

use super::duration;
use crate::client::{BoardName, Clock, DirArgs, LockDirectory, describe, glance, listed};
use crate::fuse::xattr::RENEW;

const MORE: &str = "\
For boards that you have: detached ones (ssh lab touch /locks/beagle), those of your scripts,
and inside of boardlock run. Without --lease the lease that the lock directory gives begins anew.

DUR is a number of seconds, or as 90s, 30m, 2h, 1d, 1h30m.

Exit status: 0, 1 one of them could not be renewed, 2 a command line that makes no sense.

Examples:
  boardlock renew beagle
  boardlock renew --lease 2h $BOARDLOCK_BOARD";

/// The arguments of `boardlock renew`.
#[derive(Args, Clone, Debug, Default)]
#[command(after_long_help = MORE)]
pub struct RenewArgs {
    /// The boards
    #[arg(value_name = "BOARD", required = true)]
    pub boards: Vec<OsString>,

    /// Where.
    #[command(flatten)]
    pub dir: DirArgs,

    /// Need them this long, from now on
    #[arg(long, value_name = "DUR")]
    pub lease: Option<String>,
}

/// Runs `boardlock renew`.
pub fn run(args: &RenewArgs) -> ExitCode {
    let lease = match args.lease.as_deref().map(duration::parse).transpose() {
        Ok(lease) => lease,
        Err(why) => {
            super::complain(&format!("--lease: {why}"));
            return ExitCode::from(super::USAGE);
        }
    };
    let value = match lease {
        Some(lease) => format!("+{}s", lease.as_secs()).into_bytes(),
        None => RENEW.to_vec(),
    };
    super::for_each_board(&args.dir, &args.boards, |dir, board| {
        renew(dir, board, &value)
    })
}

fn renew(dir: &LockDirectory, board: &BoardName, value: &[u8]) -> Result<String, String> {
    let path = dir.file(board);
    let set = rustix::fs::lsetxattr(&path, "user.boardlock.expires", value, XattrFlags::empty());
    let clock = Clock::here(jiff::Timestamp::now().as_second());
    let told = dir.told_of(board).ok().flatten();
    if let Err(error) = set {
        let free = format!("{board} is free; to take it: boardlock run {board} -- CMD");
        let Some(told) = told else {
            return Err(match (listed::in_the_way(dir, board), error) {
                (Some(why), _) => format!("cannot renew {board}: {why}"),
                (None, Errno::NOENT) => free,
                (None, error) => {
                    format!("cannot renew {board}: {}", std::io::Error::from(error))
                }
            });
        };
        let who = describe::holder(&told.board, &clock);
        return Err(match error {
            Errno::PERM if path.is_symlink() => {
                format!("cannot renew {board}: it is a symbolic link, which has no lease ({who})")
            }
            Errno::PERM => format!(
                "cannot renew {board}: it is not yours; it is {who}; to wait for it: \
                 boardlock run {board} -- CMD"
            ),
            Errno::NODATA => format!(
                "cannot renew {board}: no lease applies to it; it is {who}; say how long it is \
                 needed: boardlock renew --lease 2h {board}"
            ),
            Errno::NOENT => free,
            error => format!(
                "cannot renew {board}: {}; it is {who}",
                std::io::Error::from(error)
            ),
        });
    }
    let until = glance::attribute(&path, "expires").and_then(|text| text.parse().ok());
    let until = until.map(|until: jiff::Timestamp| clock.tell(until.as_second()).middle);
    // Root can renew what others have.
    let us = rustix::process::getuid().as_raw();
    let holder = told.and_then(|told| Some((told.board.uid?, told.board.holder?)));
    let whose = match holder {
        Some((uid, holder)) if uid != us => format!("held by {holder}"),
        _ => "yours".to_owned(),
    };
    Ok(match until {
        Some(until) => format!("{board} is {whose} until {until}"),
        None => format!("{board} is {whose} with no end"),
    })
}
