//! Serving in the background: whoever starts it waits until the directory is served,
//! and hears on stderr why it is not.
//!
//! fork(2) is no safe Rust. The program starts itself anew instead, with the same
//! command line, and waits for a byte from it.

use std::env;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

/// Says to a process that another waits for its readiness, with a pipe in place of its
/// stdout.
const VARIABLE: &str = "BOARDLOCK_BACKGROUND";

/// Whether this process has let go of where it was started from.
static ALONE: AtomicBool = AtomicBool::new(false);

/// How starting in the background went.
#[derive(Debug)]
pub enum Started {
    /// The directory is served.
    Ready,
    /// It ended before, and has said why.
    Ended(ExitStatus),
}

/// Whether this process is the one in the background.
pub fn is_this() -> bool {
    env::var_os(VARIABLE).is_some()
}

/// Whether somebody still hears what goes to stderr.
pub fn is_heard() -> bool {
    is_this() && !ALONE.load(Ordering::Relaxed)
}

/// Starts this command line anew in the background, and waits until it serves.
///
/// # Errors
/// When it cannot be started.
pub fn start() -> io::Result<Started> {
    close_inherited();
    let (mut ready, tell) = io::pipe()?;
    let mut arguments = env::args_os();
    let mut command = Command::new("/proc/self/exe");
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    command
        .args(arguments)
        .env(VARIABLE, "1")
        .stdin(Stdio::null())
        .stdout(tell);
    let mut child = command.spawn()?;
    // This process is to have no end to write to.
    drop(command);
    let mut byte = [0];
    match ready.read_exact(&mut byte) {
        Ok(()) => Ok(Started::Ready),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => child.wait().map(Started::Ended),
        Err(error) => Err(error),
    }
}

/// The exit code of one that ended, as a shell tells it.
pub fn code(status: ExitStatus) -> u8 {
    let signal = status.signal().map(|signal| signal.saturating_add(128));
    let code = status.code().or(signal);
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

/// Leaves the session and the directory in which it was started, which may be unmounted
/// meanwhile.
///
/// # Errors
/// When that cannot be done.
pub fn begin() -> io::Result<()> {
    rustix::process::setsid()?;
    rustix::process::chdir("/")?;
    Ok(())
}

/// Tells whoever waits that the directory is served, and lets go of its stdout and
/// stderr. Does nothing in the foreground.
///
/// # Errors
/// When nobody waits any more: it was given up.
pub fn ready() -> io::Result<()> {
    if !is_this() || ALONE.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    let told = io::stdout()
        .write_all(b"\n")
        .and_then(|()| io::stdout().flush());
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    told
}

/// Closes what whoever started this left open: a daemon that keeps a lock file of the
/// shell that mounted would keep the lock.
fn close_inherited() {
    let Ok(open) = fs::read_dir("/proc/self/fd") else {
        return;
    };
    let open: Vec<i32> = open
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    // Nothing of its own is open yet; that of the listing is closed by now.
    for number in open.into_iter().filter(|number| *number > 2) {
        let _ = nix::unistd::close(number);
    }
}
