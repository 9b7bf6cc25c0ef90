//! `boardlock upgrade`: this program goes on in place of the one that serves.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::fuse::{mountinfo, xattr};
use crate::printable::printable;

/// The arguments of `boardlock upgrade`.
#[derive(Args, Clone, Debug)]
pub struct UpgradeArgs {
    /// The lock directory
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
}

/// Runs `boardlock upgrade`.
pub fn run(args: &UpgradeArgs) -> ExitCode {
    let dir = printable(args.dir.as_os_str().as_encoded_bytes());
    match upgrade(&args.dir) {
        Ok(()) => {
            use io::Write;
            let version = env!("CARGO_PKG_VERSION");
            let _ = writeln!(io::stdout(), "{dir} is served by this boardlock, {version}");
            ExitCode::SUCCESS
        }
        Err(reason) => {
            super::complain(&format!("cannot upgrade {dir}: {reason}"));
            ExitCode::FAILURE
        }
    }
}

fn upgrade(dir: &Path) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| error.to_string();
    let place = std::fs::canonicalize(dir).map_err(|error| failed(&error))?;
    // On any other file system the attribute would simply be set.
    let top = mountinfo::top(&place).map_err(|error| failed(&error))?;
    if !top.is_some_and(|top| top.ours()) {
        return Err("it is no directory that boardlock serves".to_owned());
    }
    let set = rustix::fs::setxattr(
        &place,
        xattr::UPGRADE,
        b"1",
        rustix::fs::XattrFlags::empty(),
    );
    set.map_err(|error| {
        let error = io::Error::from(error);
        match error.raw_os_error() {
            Some(libc::EPERM) => "that is for root and the user who serves it, in the daemon's \
                                  own pid namespace"
                .to_owned(),
            Some(libc::EOPNOTSUPP) => {
                "it is served without a state file (--state none), or on a kernel before \
                 Linux 6.9: stop that boardlock and start this"
                    .to_owned()
            }
            Some(libc::ENOEXEC) => "this program did not come to serve; the one before goes on, \
                                    and its log tells why"
                .to_owned(),
            Some(libc::ENOTCONN) => "nobody serves it; start boardlock there".to_owned(),
            _ => error.to_string(),
        }
    })
}
