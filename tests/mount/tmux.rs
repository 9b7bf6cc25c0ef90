//! A terminal of some width, with a bash in it, as people have it.

use std::path::PathBuf;
use std::process::Command;

use crate::lab::{BOARDLOCK, Lab};
use crate::process::{PATIENCE, eventually};

/// A terminal in the lock directory of a lab; it ends with this.
pub struct Tmux {
    socket: PathBuf,
    // Removed at the end.
    _temp: tempfile::TempDir,
}

impl Tmux {
    /// One with so many columns, and a shell that is ready.
    #[track_caller]
    pub fn new(lab: &Lab, columns: usize) -> Tmux {
        let temp = tempfile::Builder::new()
            .prefix("boardlock-tmux-")
            .tempdir()
            .unwrap();
        let tmux = Tmux {
            socket: temp.path().join("socket"),
            _temp: temp,
        };
        let columns = columns.to_string();
        let mut command = tmux.command();
        command
            .args(["new-session", "-d", "-x", &columns, "-y", "24"])
            .args(["env", "PS1=% ", "TERM=tmux", "bash", "--norc", "--noprofile"])
            .env("BOARDLOCK", BOARDLOCK)
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC0")
            .env_remove("TMUX")
            .env_remove("BOARDLOCK_DIR")
            .current_dir(lab.dir());
        assert!(command.status().unwrap().success());
        tmux.shows("%");
        tmux
    }

    fn command(&self) -> Command {
        let mut command = Command::new("tmux");
        command.args(["-f", "/dev/null", "-S"]).arg(&self.socket);
        command
    }

    /// Types a line.
    pub fn say(&self, line: &str) {
        let typed = self
            .command()
            .args(["send-keys", "-l", "--", &format!("{line}\r")])
            .status();
        assert!(typed.unwrap().success());
    }

    /// Presses a key: `C-c`, `C-z`, `Enter`.
    pub fn press(&self, key: &str) {
        let typed = self.command().args(["send-keys", key]).status();
        assert!(typed.unwrap().success());
    }

    /// What stands on it.
    pub fn screen(&self) -> String {
        let output = self.command().args(["capture-pane", "-p"]).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    }

    /// Waits until it shows this; all that it shows then.
    #[track_caller]
    pub fn shows(&self, words: &str) -> String {
        self.shows_that(words, |screen| screen.contains(words))
    }

    /// Waits until it shows something.
    #[track_caller]
    pub fn shows_that(&self, what: &str, so: impl Fn(&str) -> bool) -> String {
        let mut screen = String::new();
        let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually(what, PATIENCE, || {
                screen = self.screen();
                so(&screen)
            });
        }));
        assert!(seen.is_ok(), "{what:?} is not on the screen:\n{screen}");
        screen
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = self.command().arg("kill-server").output();
    }
}
