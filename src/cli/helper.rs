//! `mount.boardlock`: what mount(8) runs for `-t boardlock` and for fstab, by that name
//! (mount(8), "External helpers").

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ArgAction, Parser};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::mount::{self, MountArgs};
use super::options;
use crate::background;

/// The name that it goes by; also `mount.fuse.boardlock`, for `-t fuse.boardlock`.
const NAME: &str = "mount.boardlock";

/// The file system types that it is called for.
const TYPES: [&str; 2] = ["boardlock", "fuse.boardlock"];

/// Exit codes of mount(8): wrong usage, an error of the system, a failed mount.
const USAGE: u8 = 1;
const SYSTEM: u8 = 2;
const FAILED: u8 = 32;

/// Serve a lock directory, for mount(8) and fstab(5)
///
/// It is called by mount(8), and returns when the directory is served, or says why not.
/// It goes on in the background and logs to syslog, or where -o log=FILE says. umount(8)
/// ends it.
#[derive(Clone, Debug, Parser)]
#[command(
    name = NAME,
    version,
    max_term_width = 100,
    after_long_help = HELP
)]
pub struct Helper {
    /// What the table of mounts shows as the source: `boardlock`, by custom
    #[arg(value_name = "SOURCE")]
    pub source: String,

    /// The lock directory
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,

    /// Options, separated by commas: those of boardlock-mount(1), and those of mount(8) and
    /// fstab(5), which change nothing
    #[arg(short = 'o', value_name = "OPT,..")]
    pub options: Vec<String>,

    /// Say what happens until the directory is served
    #[arg(short, action = ArgAction::SetTrue)]
    pub verbose: bool,

    /// Check the options, and mount nothing
    #[arg(short, action = ArgAction::SetTrue)]
    pub fake: bool,

    /// Leave out options that are unknown, in place of failing
    #[arg(short, action = ArgAction::SetTrue)]
    pub sloppy: bool,

    /// Accepted, without effect: there is no file of mounts to be written
    #[arg(short, action = ArgAction::SetTrue)]
    pub no_mtab: bool,

    /// Mount in the mount namespace of this process, or that of this file
    #[arg(short = 'N', value_name = "PID|FILE")]
    pub namespace: Option<PathBuf>,

    /// The type: boardlock or fuse.boardlock
    #[arg(short = 't', value_name = "TYPE")]
    pub fstype: Option<String>,
}

const HELP: &str = "\
Exit codes, as those of mount(8):
  0   the directory is served
  1   wrong usage: an option that cannot be followed
  2   an error of the system: it cannot be started
  32  the directory cannot be served

Examples:
  mount -t boardlock boardlock /run/locks
  boardlock /run/locks boardlock lease=2h,nofail,x-systemd.automount 0 0";

/// Whether this process goes by the name of the helper.
pub fn is_called(name: &Path) -> bool {
    let name = name.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| {
        let fstype = name.strip_prefix("mount.");
        fstype.is_some_and(|fstype| TYPES.contains(&fstype))
    })
}

/// Runs the helper.
pub fn main() -> ExitCode {
    let helper = match Helper::try_parse() {
        Ok(helper) => helper,
        Err(error) => {
            // To stdout for --help, which is no error.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    ExitCode::from(run(helper))
}

fn run(helper: Helper) -> u8 {
    let plan = match plan(&helper) {
        Ok(plan) => plan,
        Err(reason) => {
            super::complain(&reason);
            return USAGE;
        }
    };
    if helper.fake {
        return 0;
    }
    // The one in the background is there already.
    if let Some(namespace) = helper
        .namespace
        .as_deref()
        .filter(|_| !background::is_this())
        && let Err(error) = enter(namespace)
    {
        let name = crate::printable::printable(namespace.as_os_str().as_encoded_bytes());
        super::complain(&format!(
            "cannot enter the mount namespace of {name}: {error}"
        ));
        return SYSTEM;
    }
    let first = !background::is_this();
    match mount::serve(plan) {
        0 => 0,
        // Of processes of its own it is to be known how they ended.
        code if !first => code,
        super::USAGE => USAGE,
        _ => FAILED,
    }
}

/// What is asked for.
fn plan(helper: &Helper) -> Result<options::MountPlan, String> {
    if let Some(fstype) = &helper.fstype
        && !TYPES.contains(&fstype.as_str())
    {
        let fstype = crate::printable::printable(fstype);
        return Err(format!("-t {fstype}: this mounts boardlock alone"));
    }
    let plain = |c: char| c.is_ascii_graphic() && c != ',' && c != '\\';
    if helper.source.is_empty() || !helper.source.chars().all(plain) {
        let source = crate::printable::printable(&helper.source);
        return Err(format!(
            "'{source}' cannot be shown as a source; say boardlock"
        ));
    }
    let mut args = MountArgs {
        dir: helper.dir.clone(),
        options: helper.options.clone(),
        daemon: true,
        verbose: u8::from(helper.verbose),
        ..MountArgs::default()
    };
    if helper.sloppy {
        for list in &mut args.options {
            *list = options::known(list);
        }
    }
    let mut plan = options::plan(&args).map_err(|error| error.to_string())?;
    plan.source.clone_from(&helper.source);
    Ok(plan)
}

/// Goes into a mount namespace, as mount -N has it.
fn enter(namespace: &Path) -> std::io::Result<()> {
    let number = namespace.to_str().map(str::parse::<u32>);
    let file = match number {
        Some(Ok(pid)) => File::open(format!("/proc/{pid}/ns/mnt"))?,
        _ => File::open(namespace)?,
    };
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Mount))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::cli::options::LogPlan;

    fn planned(words: &[&str]) -> Result<options::MountPlan, String> {
        plan(&Helper::try_parse_from([&[NAME], words].concat()).unwrap())
    }

    #[test]
    fn it_goes_by_these_names() {
        for name in [
            "mount.boardlock",
            "/sbin/mount.boardlock",
            "/usr/sbin/mount.fuse.boardlock",
        ] {
            assert!(is_called(Path::new(name)), "{name}");
        }
        for name in [
            "boardlock",
            "mount",
            "mount.",
            "mount.fuse",
            "x.boardlock",
            "",
        ] {
            assert!(!is_called(Path::new(name)), "{name}");
        }
    }

    #[test]
    fn mounts_words_are_understood() {
        // As mount(8) of util-linux has them, for `mount /dir`, for a user, for -N and -t.
        let plan = planned(&["boardlock", "/locks", "-o", "rw,lease=2h"]).unwrap();
        assert_eq!(plan.dir, Path::new("/locks"));
        assert_eq!(plan.lease.unwrap().as_secs(), 7200);
        assert!(plan.daemon);
        assert_eq!(
            (plan.log, plan.source.as_str()),
            (LogPlan::System, "boardlock")
        );
        let words =
            "none /locks -n -v -s -o rw,noexec,nosuid,nodev,user=alice,vers=4 -t fuse.boardlock";
        let plan = planned(&words.split(' ').collect::<Vec<_>>()).unwrap();
        assert_eq!(plan.source, "none");
        assert!(planned(&["a", "/b", "-t", "ext4"]).is_err());
        for source in ["", "a,b", "a b", "a\\b", "\u{e9}"] {
            assert!(planned(&[source, "/locks"]).is_err(), "{source}");
        }
        assert!(planned(&["a", "/b", "-o", "vers=4"]).is_err(), "not sloppy");
        let refused = planned(&["a", "/b", "-s", "-o", "remount,rw"]).unwrap_err();
        assert!(refused.contains("stop the daemon"), "{refused}");
        for relative in ["log=x", "state=x", "boards=x"] {
            let refused = planned(&["a", "/b", "-o", relative]).unwrap_err();
            assert!(refused.contains("begin with /"), "{refused}");
        }
    }
}
