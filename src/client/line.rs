//! What is told while somebody waits: one line that is rewritten on a terminal, a line
//! for each change elsewhere.

use std::io::{IsTerminal, Write, stderr};

use nix::sys::signal::Signal;
use unicode_width::UnicodeWidthChar;

use super::signals::Signals;
use super::times::Clock;

/// After these a line that is rewritten is not what it was.
pub const REWRITING: [Signal; 2] = [Signal::SIGCONT, Signal::SIGWINCH];

/// Room for the `^C` that the terminal puts behind the line, so that it goes with it.
const CARET: usize = 2;

/// How wide a terminal is that does not tell.
const WIDTH: usize = 80;

/// Where it is told.
#[derive(Debug)]
pub struct Line {
    how: How,
    last: String,
    /// Whether the cursor stands behind something of ours.
    is_shown: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Not,
    Lines,
    Terminal,
}

/// What is to be told.
pub struct Text<'a> {
    /// With the time that has passed, for a line that is rewritten.
    pub live: &'a dyn Fn(&Clock) -> String,
    /// With nothing that changes while nothing happens.
    pub plain: &'a dyn Fn(&Clock) -> String,
}

impl Line {
    /// On stderr, or not at all.
    pub fn new(quiet: bool) -> Line {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb" || term.is_empty());
        let how = if quiet {
            How::Not
        } else if stderr().is_terminal() && !dumb {
            How::Terminal
        } else {
            How::Lines
        };
        Line {
            how,
            last: String::new(),
            is_shown: false,
        }
    }

    /// Whether anything is told at all.
    pub fn is_told(&self) -> bool {
        self.how != How::Not
    }

    /// Whether it tells how time passes.
    pub fn is_live(&self) -> bool {
        self.how == How::Terminal
    }

    /// Tells how things are; nothing if they are as they were.
    pub fn tell(&mut self, text: &Text<'_>) {
        let mut clock = Clock::here(jiff::Timestamp::now().as_second());
        // A job in the background would write into what is typed.
        let live = self.how == How::Terminal && in_foreground();
        if self.how == How::Not {
            return;
        }
        // It stays for a minute.
        clock.seconds = false;
        let text = if live {
            (text.live)(&clock)
        } else {
            (text.plain)(&clock)
        };
        if text == self.last && self.is_shown == live {
            return;
        }
        let shown = format!("boardlock: {text}");
        // Nobody is left to tell when stderr is gone.
        let _ = if live {
            let fitting = cut(&shown, width().saturating_sub(1 + CARET));
            write!(stderr(), "\r{fitting}\x1b[K").and_then(|()| stderr().flush())
        } else {
            writeln!(stderr(), "{shown}")
        };
        self.is_shown = live;
        self.last = text;
    }

    /// A signal that has come and ends the wait. Others have it tell anew: the terminal has
    /// another width, or another program had it meanwhile.
    pub fn hear(&mut self, signals: &Signals) -> Option<Signal> {
        loop {
            let signal = signals.next()?.signal;
            if !REWRITING.contains(&signal) {
                return Some(signal);
            }
            self.last.clear();
        }
    }

    /// Takes away what would be overwritten: the line of a terminal is ours no longer.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            let _ = write!(stderr(), "\r\x1b[K").and_then(|()| stderr().flush());
        }
        self.last.clear();
    }
}

fn in_foreground() -> bool {
    rustix::termios::tcgetpgrp(stderr()).is_ok_and(|group| group == rustix::process::getpgrp())
}

fn width() -> usize {
    match rustix::termios::tcgetwinsize(stderr()) {
        Ok(size) if size.ws_col > 0 => usize::from(size.ws_col),
        _ => WIDTH,
    }
}

/// As much of a line as fits into so many columns, with `...` if that is not all.
fn cut(text: &str, columns: usize) -> String {
    let wide = |c: char| c.width().unwrap_or(0);
    if text.chars().map(wide).sum::<usize>() <= columns {
        return text.to_owned();
    }
    let mut left = columns.saturating_sub(3);
    let mut fitting: String = text
        .chars()
        .take_while(|c| {
            let fits = wide(*c) <= left;
            left = left.saturating_sub(wide(*c));
            fits
        })
        .collect();
    fitting.push_str(&"..."[..columns.min(3)]);
    fitting
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn a_line_fits() {
        assert_eq!(cut("held by alice", 13), "held by alice");
        assert_eq!(cut("held by alice", 12), "held by a...");
        assert_eq!(
            cut("\u{677f}\u{677f}\u{677f}", 6),
            "\u{677f}\u{677f}\u{677f}"
        );
        assert_eq!(cut("\u{677f}\u{677f}\u{677f}", 5), "\u{677f}...");
        assert_eq!(cut("\u{677f}\u{677f}\u{677f}", 4), "...");
        assert_eq!(cut("abc", 2), "..");
        assert_eq!(cut("abc", 0), "");
    }
}
