//! Where the output goes: a terminal of some size, or a pipe.

use std::io::{self, IsTerminal, Write};

use clap::ColorChoice;
use unicode_width::UnicodeWidthChar;

use super::table::Room;

/// The terminal that says no size.
const USUAL: (usize, usize) = (80, 24);

/// What stdout is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Screen {
    /// Columns and lines of the terminal; none for a pipe or a file.
    pub size: Option<(usize, usize)>,
    /// Whether it gets colours.
    pub colors: bool,
}

impl Screen {
    /// What stdout is now.
    pub fn of_stdout(color: ColorChoice) -> Screen {
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        let size = is_terminal.then(|| match rustix::termios::tcgetwinsize(&stdout) {
            Ok(size) if size.ws_col > 0 => (
                usize::from(size.ws_col),
                match size.ws_row {
                    0 => USUAL.1,
                    rows => usize::from(rows),
                },
            ),
            _ => (from_environment("COLUMNS").unwrap_or(USUAL.0), USUAL.1),
        });
        let colors = match color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => is_terminal && wants_colors(),
        };
        Screen { size, colors }
    }

    /// How wide lines may be.
    pub fn room(&self) -> Room {
        match self.size {
            Some((columns, _)) => Room::Columns(columns),
            None => Room::Any,
        }
    }

    /// Lines in place of what the terminal shows, as many as there is room for; in a pipe
    /// one after the other, with an empty line behind.
    pub fn redraw(&self, lines: &[String]) -> String {
        let Some((columns, rows)) = self.size else {
            return format!("{}\n\n", lines.join("\n"));
        };
        // The last line stays empty, so that nothing scrolls.
        let most = rows.saturating_sub(1).max(1);
        // Before each line and not behind it: behind the last column xterm would clear that.
        let mut text = String::from(HOME);
        let shown = if lines.len() > most {
            most.saturating_sub(1)
        } else {
            lines.len()
        };
        for line in lines.iter().take(shown) {
            text.push_str(&format!("{CLEAR_LINE}{}\n", cut(line, columns)));
        }
        if shown < lines.len() {
            let more = lines.len() - shown;
            let more = cut(&format!("(and {more} more)"), columns);
            text.push_str(&format!("{CLEAR_LINE}{more}\n"));
        }
        text.push_str(CLEAR_BELOW);
        text
    }
}

/// ECMA-48: the cursor goes to the upper left, ...
const HOME: &str = "\x1b[H";
/// ... the rest of the line is cleared, ...
const CLEAR_LINE: &str = "\x1b[K";
/// ... all below is cleared.
const CLEAR_BELOW: &str = "\x1b[J";

/// As much of a line as takes one line of a terminal, with all of its colours.
fn cut(line: &str, columns: usize) -> String {
    let mut used = 0;
    let mut is_style = false;
    let fits = |c: &char| {
        if is_style || *c == '\x1b' {
            is_style = *c != 'm';
            return true;
        }
        used += c.width().unwrap_or(0);
        used <= columns
    };
    line.chars().filter(fits).collect()
}

/// no-color.org, and terminals that have none.
fn wants_colors() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

fn from_environment(name: &str) -> Option<usize> {
    let number = std::env::var(name).ok()?.parse().ok()?;
    (number > 0).then_some(number)
}

/// Writes to stdout at once.
///
/// # Errors
/// Where nobody reads any more (BrokenPipe), or it cannot be written.
pub fn put(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(count: usize) -> Vec<String> {
        (1..=count).map(|n| n.to_string()).collect()
    }

    #[test]
    fn a_terminal_is_drawn_over() {
        let screen = Screen {
            size: Some((80, 4)),
            colors: false,
        };
        assert_eq!(
            screen.redraw(&lines(3)),
            "\x1b[H\x1b[K1\n\x1b[K2\n\x1b[K3\n\x1b[J"
        );
        assert_eq!(
            screen.redraw(&lines(5)),
            "\x1b[H\x1b[K1\n\x1b[K2\n\x1b[K(and 3 more)\n\x1b[J"
        );
    }

    #[test]
    fn what_is_wider_takes_one_line() {
        assert_eq!(cut("held", 4), "held");
        assert_eq!(cut("held by", 4), "held");
        let style = "\x1b[1mBOARD\x1b[0m  \x1b[32mfree\x1b[0m";
        assert_eq!(cut(style, 11), style);
        assert_eq!(cut(style, 9), "\x1b[1mBOARD\x1b[0m  \x1b[32mfr\x1b[0m");
        assert_eq!(cut("\u{677f}\u{677f}", 3), "\u{677f}");
    }

    #[test]
    fn a_pipe_gets_one_after_the_other() {
        let screen = Screen {
            size: None,
            colors: false,
        };
        assert_eq!(screen.redraw(&lines(2)), "1\n2\n\n");
    }
}
