//! Real terminals: a tmux server of a test's own.

use tempfile::TempDir;

use crate::lab::{BOARDLOCK, Lab};
use crate::process::{Output, PATIENCE, Running, eventually};

/// A tmux server of our own; it ends with this.
pub struct Tmux(TempDir);

impl Tmux {
    /// One that starts with the first session.
    pub fn new() -> Tmux {
        Tmux(tempfile::tempdir().unwrap())
    }

    /// A command of tmux.
    pub fn run(&self, args: &[&str]) -> Output {
        let mut command = std::process::Command::new("tmux");
        command
            .args(["-f", "/dev/null", "-S"])
            .arg(self.0.path().join("socket"))
            .args(args)
            .env_remove("TMUX")
            .env("SHELL", "/bin/bash")
            .env("BOARDLOCK", BOARDLOCK)
            .env("LC_ALL", "C.UTF-8")
            .env("TERM", "screen");
        Running::start(command).wait(PATIENCE)
    }

    /// A bash in the lock directory, in a terminal of this size; it has no prompt.
    #[track_caller]
    pub fn shell(&self, lab: &Lab, columns: usize, rows: usize) {
        let locks = lab.dir().to_str().unwrap();
        let (columns, rows) = (columns.to_string(), rows.to_string());
        self.run(&[
            "new-session",
            "-d",
            "-x",
            &columns,
            "-y",
            &rows,
            "-c",
            locks,
            "bash --norc --noprofile",
        ])
        .ok();
        self.types("PS1=; set +o emacs; boardlock() { \"$BOARDLOCK\" \"$@\"; }; stty -echo; clear; echo rea''dy");
        self.shows("ready");
        self.types("clear; echo be''gin");
        self.shows_all("it begins", |lines| lines == ["begin"]);
    }

    /// Types a line.
    #[track_caller]
    pub fn types(&self, line: &str) {
        self.run(&["send-keys", "-l", line]).ok();
        self.run(&["send-keys", "Enter"]).ok();
    }

    /// Presses a key, as tmux names it.
    #[track_caller]
    pub fn press(&self, key: &str) {
        self.run(&["send-keys", key]).ok();
    }

    /// What it shows: the lines down to the last that is not empty.
    #[track_caller]
    pub fn lines(&self) -> Vec<String> {
        let shown = self.run(&["capture-pane", "-p"]).ok().stdout;
        shown.trim_end().lines().map(str::to_owned).collect()
    }

    /// Waits until some line has these words.
    #[track_caller]
    pub fn shows(&self, words: &str) -> Vec<String> {
        let is_there = |lines: &[String]| lines.iter().any(|line| line.contains(words));
        self.shows_all(words, is_there)
    }

    /// Waits until it shows what is wanted.
    #[track_caller]
    pub fn shows_all(&self, what: &str, wanted: impl Fn(&[String]) -> bool) -> Vec<String> {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            let lines = self.lines();
            if wanted(&lines) {
                return lines;
            }
            if std::time::Instant::now() > deadline {
                panic!("{what}: it shows\n{}", lines.join("\n"));
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// Waits until the shell is back.
    pub fn is_idle(&self) {
        eventually("the shell is back", PATIENCE, || {
            let command = self.run(&["list-panes", "-F", "#{pane_current_command}"]);
            command.ok().stdout.trim() == "bash"
        });
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        self.run(&["kill-server"]);
    }
}
