//! The name lists: one-shot tools, wrappers, session managers.

use std::collections::HashSet;
use std::fmt;

/// What the kernel keeps of a program's name (comm).
const COMM: usize = 15;

#[rustfmt::skip]
const ONE_SHOT: &[&str] = &[
    "touch", "mktemp", "ln", "link", "mkdir", "rmdir", "cp", "mv", "install", "tee", "sponge",
    "dd", "truncate", "mknod", "mkfifo", "rm", "unlink", "chmod", "sed", "awk", "gawk", "mawk",
    "sort", "split", "scp", "rsync", "dotlockfile", "lockfile", "lockfile-create",
    "lockfile-touch", "lockfile-remove", "shlock", "symlink", "symlinks",
];

#[rustfmt::skip]
const WRAPPER: &[&str] = &[
    "sudo", "sudo-rs", "doas", "su", "runuser", "pkexec", "env", "timeout", "nice", "ionice",
    "chrt", "taskset", "stdbuf", "nohup", "setsid", "setarch", "setpriv", "chroot", "time",
    "strace", "ltrace", "xargs", "find", "parallel", "parallel.moreut", "flock", "setlock",
    "chpst", "softlimit", "setuidgid", "envdir", "s6-setlock", "s6-setuidgid", "logsave", "watch",
    "script", "unbuffer", "chronic", "unshare", "nsenter", "bwrap", "firejail", "tini",
    "dumb-init", "catatonit", "systemd-inhibit",
];

#[rustfmt::skip]
const MANAGER: &[&str] = &[
    "systemd", "systemd-executor", "init", "sshd", "sshd-session", "sshd-auth", "sftp-server",
    "dropbear", "mosh-server", "login", "tmux: server", "screen", "cron", "crond", "anacron",
    "atd", "containerd-shim", "conmon", "runsv", "s6-supervise", "supervisord", "inetd", "xinetd",
    "gitlab-runner",
];

/// Programs of the lists that are themselves run by an interpreter.
#[rustfmt::skip]
const SCRIPTS: &[&str] = &[
    "parallel", "parallel.moreut", "chronic", "supervisord", "unbuffer",
];

/// Words of a `-c` string that are no work. Beyond the table of callers.md the
/// builtins that only change the shell itself.
#[rustfmt::skip]
const NEUTRAL: &[&str] = &[
    ":", "true", "false", "exit", "return", "echo", "printf", "test", "[", "[[", "set", "cd",
    "export", "logger", "date", "hostname", "id", "break", "continue", "umask", "unset",
    "readonly", "shopt", "pwd",
];

/// The names that the rules know. The default is the built-in lists; names can
/// be added, never taken away.
///
/// A name is compared with comm, so only its first 15 bytes count. Built-in
/// names do not apply to scripts that happen to bear them; a name that was
/// added does, for whoever names a script means it.
#[derive(Clone, Debug)]
pub struct Lists {
    one_shot: HashSet<Vec<u8>>,
    wrapper: HashSet<Vec<u8>>,
    manager: HashSet<Vec<u8>>,
    scripts: HashSet<Vec<u8>>,
    neutral: HashSet<Vec<u8>>,
}

/// A name that no program can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadName {
    /// Nothing at all.
    Empty,
    /// It holds a slash or a control character.
    Character,
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadName::Empty => "a program name cannot be empty",
            BadName::Character => "a program name holds no '/' and no control character",
        })
    }
}

impl std::error::Error for BadName {}

impl Default for Lists {
    fn default() -> Lists {
        let set = |names: &[&str]| {
            names
                .iter()
                .map(|name| cut(name.as_bytes()).to_vec())
                .collect()
        };
        Lists {
            one_shot: set(ONE_SHOT),
            wrapper: set(WRAPPER),
            manager: set(MANAGER),
            scripts: set(SCRIPTS),
            neutral: set(NEUTRAL),
        }
    }
}

impl Lists {
    /// Adds a tool that exits once it has claimed.
    pub fn add_one_shot(&mut self, name: &str) -> Result<(), BadName> {
        add(&mut self.one_shot, &mut self.scripts, name)
    }

    /// Adds a program that only runs another.
    pub fn add_wrapper(&mut self, name: &str) -> Result<(), BadName> {
        add(&mut self.wrapper, &mut self.scripts, name)
    }

    /// Adds a program below which nobody is left to hold.
    pub fn add_session_manager(&mut self, name: &str) -> Result<(), BadName> {
        add(&mut self.manager, &mut self.scripts, name)
    }

    /// Whether this names a tool that exits once it has claimed.
    pub fn takes_only(&self, name: &str) -> bool {
        self.is_one_shot(name.as_bytes())
    }

    /// Whether this names a program that only runs another.
    pub fn only_runs(&self, name: &str) -> bool {
        self.is_wrapper(name.as_bytes())
    }

    pub(super) fn is_one_shot(&self, name: &[u8]) -> bool {
        self.one_shot.contains(cut(name))
    }

    pub(super) fn is_wrapper(&self, name: &[u8]) -> bool {
        self.wrapper.contains(cut(name))
    }

    pub(super) fn is_manager(&self, name: &[u8]) -> bool {
        self.manager.contains(cut(name))
    }

    pub(super) fn is_neutral(&self, name: &[u8]) -> bool {
        self.neutral.contains(cut(name))
    }

    /// Whether the lists know this name even for a script.
    pub(super) fn is_script(&self, name: &[u8]) -> bool {
        self.scripts.contains(cut(name))
    }
}

fn add(
    list: &mut HashSet<Vec<u8>>,
    scripts: &mut HashSet<Vec<u8>>,
    name: &str,
) -> Result<(), BadName> {
    if name.is_empty() {
        return Err(BadName::Empty);
    }
    if name.chars().any(|c| c == '/' || c.is_control()) {
        return Err(BadName::Character);
    }
    let name = cut(name.as_bytes()).to_vec();
    scripts.insert(name.clone());
    list.insert(name);
    Ok(())
}

fn cut(name: &[u8]) -> &[u8] {
    name.get(..COMM).unwrap_or(name)
}
