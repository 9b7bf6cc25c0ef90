//! `boardlock run` in a terminal.

use libtest_mimic::Trial;

use crate::lab::Lab;
use crate::process::{PATIENCE, eventually};
use crate::shown::becomes_free;
use crate::tmux::Tmux;
use crate::waiting::{line_up, queue};

pub fn tests() -> Vec<Trial> {
    trials![
        one_line_that_is_rewritten("tmux", "python3");
        ctrl_c_ends_the_wait("tmux", "python3");
        ctrl_z_and_fg_while_it_waits("tmux", "python3");
        ctrl_c_reaches_the_command_once("tmux", "python3");
        ctrl_z_and_fg_while_it_runs("tmux");
        a_shell_with_jobs_of_its_own("tmux");
    ]
}

/// A terminal with a bash in it.
pub struct Terminal(Tmux);

impl Terminal {
    /// One in the lock directory, with so many columns.
    #[track_caller]
    pub fn new(lab: &Lab, columns: usize) -> Terminal {
        let tmux = Tmux::new();
        tmux.shell(lab, columns, 24);
        Terminal(tmux)
    }

    /// Types a line.
    #[track_caller]
    pub fn say(&self, line: &str) {
        self.0.types(line);
    }

    /// Presses a key.
    #[track_caller]
    pub fn press(&self, key: &str) {
        self.0.press(key);
    }

    /// Waits until it shows this; all that it shows then.
    #[track_caller]
    pub fn shows(&self, words: &str) -> String {
        self.0.shows(words).join("\n")
    }

    /// Waits until this program has the terminal.
    pub fn runs(&self, program: &str) {
        eventually("it has the terminal", PATIENCE, || {
            let told = self.0.run(&["list-panes", "-F", "#{pane_current_command}"]);
            told.ok().stdout.trim() == program
        });
    }
}

fn told(screen: &str) -> Vec<&str> {
    screen
        .lines()
        .filter(|line| line.starts_with("boardlock: "))
        .collect()
}

fn one_line_that_is_rewritten() {
    for columns in [80, 200] {
        let lab = Lab::new(&[]);
        let mut holder = lab.python();
        holder.ok("touch('b')");
        holder.ok("os.setxattr('b', 'user.boardlock.note', b'a note that makes it a long line')");
        let mut first = lab.python();
        first.ok("fd = os.open('b', os.O_RDWR|os.O_APPEND)");
        first.begin("fcntl.flock(fd, fcntl.LOCK_EX)");
        eventually("it waits", PATIENCE, || queue(&lab, "b").len() == 1);
        let terminal = Terminal::new(&lab, columns);
        terminal.say("clear; $BOARDLOCK run b -- echo mi''ne");
        let screen = terminal.shows("2nd of 2 in line");
        assert_eq!(told(&screen).len(), 1, "{screen}");
        assert!(told(&screen)[0].len() < columns, "{screen}");
        assert_eq!(
            screen.contains("that makes it a long line"),
            columns == 200,
            "{screen}"
        );
        assert_eq!(screen.contains("..."), columns == 80, "{screen}");
        // What comes after it starts where it did.
        first.kill();
        let screen = terminal.shows("1st of 1 in line");
        assert_eq!(told(&screen).len(), 1, "{screen}");
        holder.ok("os.unlink('b')");
        let screen = terminal.shows("mine");
        assert_eq!(told(&screen).len(), 0, "{screen}");
        becomes_free(&lab, "b");
    }
}

fn ctrl_c_ends_the_wait() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    holder.ok("touch('b')");
    let terminal = Terminal::new(&lab, 80);
    // A line that fills the terminal.
    holder.ok("os.setxattr('b', 'user.boardlock.note', b'n' * 100)");
    terminal.say("clear; $BOARDLOCK run b -- echo nev''er");
    terminal.shows("1st of 1");
    terminal.press("C-c");
    line_up(&lab, "b", &[]);
    terminal.say("echo got $?");
    let screen = terminal.shows("got 130");
    assert!(!screen.contains("never"), "{screen}");
    assert_eq!(told(&screen).len(), 0, "the line is gone: {screen}");
}

fn ctrl_z_and_fg_while_it_waits() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    holder.ok("touch('b')");
    let terminal = Terminal::new(&lab, 80);
    terminal.say("$BOARDLOCK run b -- echo mi''ne");
    terminal.shows("1st of 1");
    terminal.press("C-z");
    terminal.shows("Stopped");
    // Whoever is stopped is not served.
    line_up(&lab, "b", &[]);
    holder.ok("os.unlink('b'); touch('b')");
    terminal.say("clear");
    terminal.say("fg");
    eventually("it waits again", PATIENCE, || queue(&lab, "b").len() == 1);
    // Whoever has come back sees what he waits for.
    terminal.shows("1st of 1");
    holder.ok("os.unlink('b')");
    terminal.shows("mine");
    terminal.say("echo got $?");
    terminal.shows("got 0");
}

fn ctrl_c_reaches_the_command_once() {
    let lab = Lab::new(&[]);
    let counter = lab.dir().parent().unwrap().join("counter.py");
    std::fs::write(
        &counter,
        "import signal, time\n\
         count = [0]\n\
         def told(*_):\n\
         \x20   count[0] += 1\n\
         signal.signal(signal.SIGINT, told)\n\
         print('be' + 'gun', flush=True)\n\
         while count[0] == 0:\n\
         \x20   signal.sigtimedwait([], 0.05)\n\
         # A second one would follow at once.\n\
         end = time.monotonic() + 0.5\n\
         while time.monotonic() < end:\n\
         \x20   signal.sigtimedwait([], 0.05)\n\
         print('told', count[0], 'times', flush=True)\n\
         raise SystemExit(8)\n",
    )
    .unwrap();
    let terminal = Terminal::new(&lab, 200);
    terminal.say(&format!(
        "$BOARDLOCK run b -- python3 {}",
        counter.display()
    ));
    terminal.shows("begun");
    terminal.press("C-c");
    terminal.shows("told 1 times");
    terminal.say("echo got $?");
    terminal.shows("got 8");
    becomes_free(&lab, "b");
}

fn ctrl_z_and_fg_while_it_runs() {
    let lab = Lab::new(&[]);
    let terminal = Terminal::new(&lab, 80);
    terminal.say("$BOARDLOCK run b -- bash -c 'echo be''gun; read line; echo got $line'");
    terminal.shows("begun");
    terminal.press("C-z");
    terminal.shows("Stopped");
    // It has the board all the same.
    assert!(crate::shown::holder(&lab, "b").is_some());
    terminal.say("fg");
    terminal.say("words");
    terminal.shows("got words");
    becomes_free(&lab, "b");
    terminal.say("echo status $?");
    terminal.shows("status 0");
}

fn a_shell_with_jobs_of_its_own() {
    let lab = Lab::new(&[]);
    let terminal = Terminal::new(&lab, 80);
    terminal.say("$BOARDLOCK run b -- env PS1='inner> ' bash --norc --noprofile");
    terminal.shows("inner>");
    terminal.say("sleep 1000");
    terminal.runs("sleep");
    terminal.press("C-z");
    terminal.shows("Stopped");
    terminal.say("kill %1; echo fi''ne");
    terminal.shows("fine");
    // Ctrl-C is for the job in the foreground alone.
    terminal.say("sleep 2000");
    terminal.runs("sleep");
    terminal.press("C-c");
    terminal.runs("bash");
    terminal.say("echo af''ter");
    terminal.shows("after");
    terminal.say("exit 7");
    eventually("it has ended", PATIENCE, || {
        crate::shown::holder(&lab, "b").is_none()
    });
    terminal.say("echo got $?");
    terminal.shows("got 7");
    becomes_free(&lab, "b");
}
