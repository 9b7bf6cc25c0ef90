//! Starting programs with the signals that they would have had without us.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use nix::errno::Errno;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::Pid;

/// Where programs are looked for without a PATH, as execvp(3) has it.
const PATH: &str = "/bin:/usr/bin";

/// A program to be started.
#[derive(Debug)]
pub struct Program<'a> {
    /// Its name, looked for in the PATH if it has no `/`.
    pub name: &'a OsStr,
    /// All its arguments, with that which it is called by as the first.
    pub args: &'a [OsString],
    /// What it has in its environment on top of ours.
    pub environment: &'a [(&'static str, OsString)],
    /// Its input, if not ours.
    pub stdin: Option<BorrowedFd<'a>>,
    /// The signals held back from it.
    pub mask: &'a SigSet,
}

impl Program<'_> {
    /// Starts it, in our process group.
    ///
    /// # Errors
    /// As of execve(2), and of clone(2).
    pub fn start(&self) -> io::Result<Pid> {
        let mut errno = Errno::ENOENT;
        for file in candidates(self.name) {
            match self.start_file(&file, self.args) {
                // As execvp(3): one that cannot be run may stand before one that can.
                Err(Errno::EACCES) => errno = Errno::EACCES,
                Err(Errno::ENOENT | Errno::ENOTDIR) => {}
                // A script with no first line that tells what runs it.
                Err(Errno::ENOEXEC) => {
                    let mut args = vec![OsString::from("sh"), file];
                    args.extend(self.args.iter().skip(1).cloned());
                    return Ok(self.start_file(OsStr::new("/bin/sh"), &args)?);
                }
                other => return Ok(other?),
            }
        }
        Err(errno.into())
    }

    fn start_file(&self, file: &OsStr, args: &[OsString]) -> nix::Result<Pid> {
        let mut actions = PosixSpawnFileActions::init()?;
        if let Some(stdin) = self.stdin {
            actions.add_dup2(stdin.as_raw_fd(), 0)?;
        }
        let mut attributes = PosixSpawnAttr::init()?;
        attributes.set_flags(
            PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF,
        )?;
        attributes.set_sigmask(self.mask)?;
        // What runs before main() has it ignored.
        attributes.set_sigdefault(&SigSet::from_iter([Signal::SIGPIPE]))?;
        let args: Vec<CString> = args
            .iter()
            .map(|arg| c_string(arg))
            .collect::<Result<_, _>>()?;
        posix_spawn(
            file,
            &actions,
            &attributes,
            &args,
            &self.whole_environment()?,
        )
    }

    fn whole_environment(&self) -> nix::Result<Vec<CString>> {
        let ours = |name: &OsStr| self.environment.iter().any(|(key, _)| name == *key);
        let inherited = std::env::vars_os().filter(|(name, _)| !ours(name));
        let added = self
            .environment
            .iter()
            .map(|(name, value)| (OsString::from(name), value.clone()));
        inherited
            .chain(added)
            .map(|(mut name, value)| {
                name.push("=");
                name.push(value);
                c_string(&name)
            })
            .collect()
    }
}

fn c_string(text: &OsStr) -> nix::Result<CString> {
    CString::new(text.as_bytes()).map_err(|_| Errno::EINVAL)
}

/// The files that a name may mean, in the order in which they are tried.
fn candidates(name: &OsStr) -> Vec<OsString> {
    if name.as_bytes().contains(&b'/') || name.is_empty() {
        return vec![name.to_owned()];
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| PATH.into());
    path.as_bytes()
        .split(|byte| *byte == b':')
        .map(|dir| {
            // An empty part is the current directory.
            let dir = if dir.is_empty() { b"." } else { dir };
            OsString::from_vec([dir, b"/", name.as_bytes()].concat())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use nix::sys::wait::{WaitStatus, waitpid};

    use super::*;

    fn status(args: &[&str], environment: &[(&'static str, OsString)]) -> io::Result<i32> {
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        let pid = Program {
            name: &args[0],
            args: &args,
            environment,
            stdin: None,
            mask: &SigSet::empty(),
        }
        .start()?;
        match waitpid(pid, None)? {
            WaitStatus::Exited(_, code) => Ok(code),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn it_has_what_it_is_given() {
        let environment = [("BOARDLOCK_BOARD", OsString::from("x y"))];
        let test = "test \"$BOARDLOCK_BOARD\" = 'x y' && exit 7";
        assert_eq!(status(&["sh", "-c", test], &environment).unwrap(), 7);
    }

    #[test]
    fn what_cannot_be_run_is_told() {
        let kind = |name| status(&[name], &[]).unwrap_err().kind();
        assert_eq!(kind("/nonexistent"), io::ErrorKind::NotFound);
        assert_eq!(kind("no-such-program-here"), io::ErrorKind::NotFound);
        assert_eq!(kind("/etc/passwd"), io::ErrorKind::PermissionDenied);
        assert_eq!(kind(""), io::ErrorKind::NotFound);
    }
}
