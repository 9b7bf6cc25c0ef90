//! `boardlock doctor`: what stands in the way, and how to mend it.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::doctor::{self, Finding, Level, Machine};

/// The arguments of `boardlock doctor`.
#[derive(Args, Clone, Debug)]
pub struct DoctorArgs {
    /// The lock directories [default: those that are mounted, that stand in /etc/fstab, and
    /// that a systemd unit serves at boot]
    #[arg(value_name = "DIR")]
    pub dirs: Vec<PathBuf>,

    /// Show only what is not as it should be
    #[arg(short, long)]
    pub quiet: bool,
}

/// Runs `boardlock doctor`.
pub fn run(args: &DoctorArgs) -> ExitCode {
    let machine = Machine::this();
    let dirs = if args.dirs.is_empty() {
        doctor::configured(&machine)
    } else {
        // As mounts are listed. What is above may not answer, so not by canonicalize.
        let absolute = args.dirs.iter().map(std::path::absolute);
        match absolute.collect::<io::Result<Vec<_>>>() {
            Ok(dirs) => dirs,
            Err(error) => {
                super::complain(&format!("cannot tell where that is: {error}"));
                return ExitCode::from(super::USAGE);
            }
        }
    };
    let findings = doctor::examine(&machine, &dirs);
    let worst = findings.iter().map(|finding| finding.level).max();
    let shown: String = findings
        .iter()
        .filter(|finding| !args.quiet || finding.level > Level::Ok)
        .map(lines)
        .collect();
    if let Err(error) = io::stdout().write_all(shown.as_bytes()) {
        super::complain(&format!("cannot write: {error}"));
        return ExitCode::FAILURE;
    }
    if dirs.is_empty() && !args.quiet {
        super::complain("no lock directory is mounted or configured here; name one");
    }
    ExitCode::from(u8::from(worst == Some(Level::Fail)))
}

fn lines(finding: &Finding) -> String {
    let mut lines = format!("{:<5} {}\n", finding.level, finding.what);
    if let Some(mend) = &finding.mend {
        lines.push_str(&format!("      {mend}\n"));
    }
    lines
}
