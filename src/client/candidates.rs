//! Which boards a command asks for: some by name, and any of several.

use std::ffi::{OsStr, OsString};

use super::directory::{BoardName, LockDirectory, Trouble};
use super::pattern::Pattern;
use crate::printable::printable;
use crate::schema::{Board, StatusFile};

/// One of the boards that are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// What is asked for, in words: a board, or a pattern.
    pub called: String,
    /// Any of these will do; never empty.
    pub boards: Vec<BoardName>,
    /// Whether it was left open which.
    pub is_any: bool,
}

/// The boards named, each once, then one for each of `any`.
///
/// # Errors
/// When a name is none, nothing is called so, or there are not as many boards as are wanted.
pub fn slots(
    dir: &LockDirectory,
    names: &[impl AsRef<OsStr>],
    any: &[String],
) -> Result<Vec<Slot>, Trouble> {
    let mut slots: Vec<Slot> = Vec::new();
    for name in names {
        let board = dir.board(name.as_ref())?;
        if slots.iter().all(|slot| !slot.boards.contains(&board)) {
            slots.push(Slot {
                called: board.to_string(),
                boards: vec![board],
                is_any: false,
            });
        }
    }
    let mut known = Known { dir, status: None };
    for text in any {
        let mut boards = Vec::new();
        for part in text.split(',').map(str::trim) {
            for board in known.meant(part)? {
                if !boards.contains(&board) {
                    boards.push(board);
                }
            }
        }
        slots.push(Slot {
            called: format!("any of {}", printable(text)),
            boards,
            is_any: true,
        });
    }
    match enough(&slots) {
        true => Ok(slots),
        false => Err(Trouble(format!(
            "{} boards are wanted, and fewer are meant by {}",
            slots.len(),
            super::describe::list(
                &slots
                    .iter()
                    .map(|slot| slot.called.clone())
                    .collect::<Vec<_>>()
            )
        ))),
    }
}

/// The boards that are known to the lock directory, read when they are asked for.
struct Known<'a> {
    dir: &'a LockDirectory,
    status: Option<StatusFile>,
}

impl Known<'_> {
    /// What a name, a pattern or `@POOL` means.
    fn meant(&mut self, text: &str) -> Result<Vec<BoardName>, Trouble> {
        let pool = text.strip_prefix('@');
        let pattern = match pool {
            Some(_) => None,
            None => Some(Pattern::new(self.dir, &OsString::from(text))?),
        };
        if pattern
            .as_ref()
            .is_some_and(|pattern| pattern.name().is_some())
        {
            return Ok(vec![self.dir.board(OsStr::new(text))?]);
        }
        let dir = self.dir;
        let status = match &self.status {
            Some(status) => status,
            None => self.status.insert(dir.status()?),
        };
        let listed = || {
            status
                .boards
                .iter()
                .filter(|board| board.inventory.is_some())
        };
        if listed().next().is_none() {
            return Err(Trouble(format!(
                "'{}': without an inventory it is not known which boards are free; name them: \
                 --any NAME,NAME",
                printable(text)
            )));
        }
        let is_meant = |board: &&Board| match (&pattern, pool, &board.inventory) {
            (Some(pattern), ..) => pattern.matches(&board.board),
            (None, Some(pool), Some(listed)) => listed.pools.iter().any(|name| name == pool),
            _ => false,
        };
        let (out, fit): (Vec<&Board>, Vec<&Board>) = listed()
            .filter(is_meant)
            .partition(|board| reason(board).is_some());
        let boards: Vec<BoardName> = fit
            .iter()
            // A name is shown escaped that has what names of an inventory have not.
            .filter_map(|board| dir.board(OsStr::new(&board.board)).ok())
            .collect();
        if !boards.is_empty() {
            return Ok(boards);
        }
        if out.is_empty() {
            let what = if pool.is_some() { "pool" } else { "board" };
            return Err(Trouble(format!(
                "no {what} of the inventory is called '{}'; to see them: boardlock status",
                printable(text)
            )));
        }
        let why = |board: &&Board| format!("{} ({})", board.board, reason(board).unwrap_or("-"));
        let names: Vec<String> = out.iter().map(why).collect();
        Err(Trouble(format!(
            "'{}': out of service: {}",
            printable(text),
            names.join(", ")
        )))
    }
}

fn reason(board: &Board) -> Option<&str> {
    board.inventory.as_ref()?.out_of_service.as_deref()
}

/// Whether each can have a board of its own: an augmenting path for each (Kuhn).
fn enough(slots: &[Slot]) -> bool {
    fn place<'a>(
        slots: &'a [Slot],
        at: usize,
        seen: &mut Vec<&'a BoardName>,
        given: &mut Vec<(&'a BoardName, usize)>,
    ) -> bool {
        let Some(slot) = slots.get(at) else {
            return false;
        };
        for board in &slot.boards {
            if seen.contains(&board) {
                continue;
            }
            seen.push(board);
            let has = given.iter().position(|(name, _)| *name == board);
            let to = has.and_then(|has| given.get(has)).map(|(_, slot)| *slot);
            if to.is_none_or(|other| place(slots, other, seen, given)) {
                given.retain(|(name, _)| *name != board);
                given.push((board, at));
                return true;
            }
        }
        false
    }
    let mut given = Vec::new();
    (0..slots.len()).all(|at| place(slots, at, &mut Vec::new(), &mut given))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn dir() -> LockDirectory {
        LockDirectory {
            path: "/nowhere/locks".into(),
        }
    }

    fn wanted(names: &[&str], any: &[&str]) -> Result<String, String> {
        let any: Vec<String> = any.iter().map(|&text| text.to_owned()).collect();
        let slots = slots(&dir(), names, &any).map_err(|trouble| trouble.to_string())?;
        let told = |slot: &Slot| {
            let names: Vec<String> = slot.boards.iter().map(ToString::to_string).collect();
            names.join("|")
        };
        Ok(slots.iter().map(told).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn names_and_any_of_some() {
        assert_eq!(wanted(&["b", "a", "b"], &[]).unwrap(), "b a");
        assert_eq!(wanted(&["a"], &["b,c,b", "c, d"]).unwrap(), "a b|c c|d");
        assert!(wanted(&[".."], &[]).unwrap_err().contains("no name"));
        assert!(wanted(&[], &["a,,b"]).unwrap_err().contains("no name"));
    }

    #[test]
    fn each_can_have_one_of_its_own() {
        assert_eq!(wanted(&[], &["a,b", "a", "b,c"]).unwrap(), "a|b a b|c");
        for (names, any) in [(vec!["a"], vec!["a"]), (vec![], vec!["a,b", "a,b", "b,a"])] {
            let error = wanted(&names, &any).unwrap_err();
            assert!(error.contains("fewer are meant"), "{error}");
        }
    }

    #[test]
    fn patterns_need_to_know_what_is_free() {
        // Nothing is served there.
        assert!(wanted(&[], &["beagle*"]).is_err());
        assert!(wanted(&[], &["[a"]).unwrap_err().starts_with("[a: "));
    }
}
