//! Boards that were asked for, by name or by shell pattern.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use super::directory::{LockDirectory, Trouble};
use crate::inventory::temporary;
use crate::printable::printable;
use crate::schema::Board;

/// A board that was asked for, or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// As the files in `.boardlock` name boards.
    name: String,
    pattern: Option<glob::Pattern>,
}

/// `*` does not reach into directories, and a name with a dot in front is hidden, as in
/// a shell.
const LIKE_A_SHELL: glob::MatchOptions = glob::MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

impl Pattern {
    /// Reads it: a name in the lock directory, a path that leads into it, or either with
    /// `*`, `?` and `[...]` in it.
    ///
    /// # Errors
    /// When it leads elsewhere, or is no pattern.
    pub fn new(dir: &LockDirectory, text: &OsString) -> Result<Pattern, Trouble> {
        let name = dir.board(text)?.to_string();
        let pattern = if text.as_bytes().iter().any(|byte| b"*?[".contains(byte)) {
            let pattern = glob::Pattern::new(&name);
            Some(pattern.map_err(|error| {
                Trouble(format!("{}: {}", printable(text.as_bytes()), error.msg))
            })?)
        } else {
            None
        };
        Ok(Pattern { name, pattern })
    }

    /// Of one board, by the name that the files in `.boardlock` have for it.
    pub fn exact(name: String) -> Pattern {
        Pattern {
            name,
            pattern: None,
        }
    }

    /// The patterns of a command line.
    ///
    /// # Errors
    /// That of the first that is none.
    pub fn all(dir: &LockDirectory, texts: &[OsString]) -> Result<Vec<Pattern>, Trouble> {
        texts.iter().map(|text| Pattern::new(dir, text)).collect()
    }

    /// The name, where it is one alone.
    pub fn name(&self) -> Option<&str> {
        self.pattern.is_none().then_some(self.name.as_str())
    }

    /// Whether it is this board's own name.
    pub fn is(&self, board: &str) -> bool {
        self.name == board
    }

    /// Whether a board is asked for.
    pub fn matches(&self, board: &str) -> bool {
        let like = |pattern: &glob::Pattern| pattern.matches_with(board, LIKE_A_SHELL);
        self.is(board) || self.pattern.as_ref().is_some_and(like)
    }
}

/// The boards that were asked for, all where none was named, by name. What lock tools
/// make for a moment is left out unless `temporary`, or asked for by its name. Of what is
/// named and not there it is said that it is free.
pub fn select(boards: Vec<Board>, asked: &[Pattern], temporary: bool) -> Vec<Board> {
    let wanted = |board: &Board| {
        let hidden = is_temporary(board) && !temporary;
        if asked.is_empty() {
            return !hidden;
        }
        asked
            .iter()
            .any(|pattern| pattern.is(&board.board) || !hidden && pattern.matches(&board.board))
    };
    let mut found: Vec<Board> = boards.into_iter().filter(wanted).collect();
    for pattern in asked {
        if let Some(name) = pattern.name()
            && !found.iter().any(|board| board.board == name)
        {
            found.push(Board {
                board: name.to_owned(),
                state: "free".to_owned(),
                ..Board::default()
            });
        }
    }
    found.sort_by(|one, other| one.board.cmp(&other.board));
    found
}

/// Whether it is a name that lock tools make for a moment, and no board of the inventory.
fn is_temporary(board: &Board) -> bool {
    board.temporary || (board.inventory.is_none() && is_temporary_name(&board.board))
}

/// Whether the last part of a path is such a name.
pub fn is_temporary_name(board: &str) -> bool {
    let last = board.rsplit('/').next().unwrap_or(board);
    temporary::is_temporary(last.as_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn chosen(asked: &[&str], temporary: bool) -> Vec<String> {
        let dir = LockDirectory {
            path: "/run/locks".into(),
        };
        let asked: Vec<OsString> = asked.iter().map(OsString::from).collect();
        let board = |name: &str| Board {
            board: name.to_owned(),
            state: "held".to_owned(),
            temporary: name.contains(".lk"),
            ..Board::default()
        };
        let names = [
            ".lk1",
            "lock.aB3dE5fG7h",
            "a1",
            "a2",
            "b",
            "rack/.lk2",
            "rack/a3",
            "w[1]",
            "w1",
        ];
        let boards = names.iter().map(|name| board(name)).collect();
        let asked = Pattern::all(&dir, &asked).unwrap();
        let found = select(boards, &asked, temporary);
        let name = |board: Board| match board.state.as_str() {
            "held" => board.board,
            state => format!("{} {state}", board.board),
        };
        found.into_iter().map(name).collect()
    }

    #[test]
    fn all_but_what_is_temporary() {
        let all = ["a1", "a2", "b", "rack/a3", "w1", "w[1]"];
        assert_eq!(chosen(&[], false), all);
        assert_eq!(chosen(&[], true).len(), 9);
        assert_eq!(chosen(&[".lk1"], false), [".lk1"]);
    }

    #[test]
    fn names_and_patterns() {
        assert_eq!(chosen(&["b", "a1", "b"], false), ["a1", "b"]);
        assert_eq!(chosen(&["a*"], false), ["a1", "a2"]);
        assert_eq!(chosen(&["rack/*"], false), ["rack/a3"]);
        assert_eq!(chosen(&["rack/.lk*"], true), ["rack/.lk2"]);
        assert_eq!(chosen(&["*/a?"], false), ["rack/a3"]);
        // A name that looks like a pattern is itself, too.
        assert_eq!(chosen(&["w[1]"], false), ["w1", "w[1]"]);
    }

    #[test]
    fn what_is_named_and_not_there_is_free() {
        assert_eq!(chosen(&["c", "a1"], false), ["a1", "c free"]);
        assert!(chosen(&["c*"], false).is_empty());
    }

    #[test]
    fn what_is_no_pattern_is_told() {
        let dir = LockDirectory {
            path: "/run/locks".into(),
        };
        for bad in ["a[", "../b", "/etc/*"] {
            assert!(Pattern::new(&dir, &bad.into()).is_err(), "{bad}");
        }
    }
}
