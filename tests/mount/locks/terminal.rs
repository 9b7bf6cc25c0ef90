//! An interactive bash in a terminal, with its job control.

use std::process::Command;
use std::time::{Duration, Instant};

use super::side::Side;
use super::waiting::{self, Asleep};
use crate::process::{PATIENCE, Running, eventually};
use crate::trial::which;

/// A terminal in the directory of a side.
pub struct Terminal {
    running: Running,
    dir: std::path::PathBuf,
}

impl Terminal {
    /// One with a bash that is ready.
    #[track_caller]
    pub fn new(side: &Side) -> Terminal {
        let mut command = Command::new(which("script").expect("script"));
        command.args(["-qefc", "exec bash --norc --noprofile -i", "/dev/null"]);
        let running = side.start(command);
        let dir = side.dir().to_owned();
        let mut terminal = Terminal { running, dir };
        terminal.say("stty -echo; PS1= PS2=; set +o emacs; echo rea''dy");
        terminal.hears("ready");
        terminal
    }

    /// Types a line.
    pub fn say(&mut self, line: &str) {
        self.running.say(line);
    }

    /// Types a key together with Ctrl, and Enter.
    pub fn press(&mut self, key: u8) {
        self.running.say(&char::from(key & 0x1f).to_string());
    }

    /// Waits for a line with these words.
    #[track_caller]
    pub fn hears(&mut self, words: &str) {
        let deadline = Instant::now() + PATIENCE;
        let mut heard = Vec::new();
        while Instant::now() < deadline {
            let Some(line) = self.running.next_line(Duration::from_millis(100)) else {
                continue;
            };
            if line.contains(words) {
                return;
            }
            heard.push(line);
        }
        panic!("{words:?} is not among {heard:?}");
    }

    /// Waits until one of its programs waits for a lock.
    #[track_caller]
    pub fn waiter(&self) -> Asleep {
        let mut found = None;
        eventually("it waits for a lock", PATIENCE, || {
            found = waiting::waiter(self.running.pid(), None, &self.dir);
            found.is_some()
        });
        found.unwrap()
    }

    /// Waits until that one is stopped.
    #[track_caller]
    pub fn is_stopped(&self, waiter: &Asleep) {
        eventually("it is stopped", PATIENCE, || {
            waiting::state(waiter.pid) == Some('T')
        });
    }
}
