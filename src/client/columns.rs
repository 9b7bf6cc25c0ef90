//! Which columns of a table were asked for: `board,pid`, or `+note` beside the usual ones.

use super::table::{Cell, Column, Table};
use super::times::Clock;

/// A column of a table that has a row for each `Of`.
pub trait Shows<Of>: Copy {
    /// Its heading, and how it is fitted.
    fn column(self) -> Column;

    /// What it shows of one.
    fn cell(self, of: &Of, clock: &Clock) -> Cell;
}

/// What a list of columns comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen<C> {
    /// The columns, in order.
    pub columns: Vec<C>,
    /// Whether they were named, so that none may be left out.
    pub named: bool,
}

impl<C> Chosen<C> {
    /// A table with these columns.
    pub fn table<Of>(&self, of: &[Of], headings: bool, clock: &Clock) -> Table
    where
        C: Shows<Of>,
    {
        let row = |of| {
            let cells = self.columns.iter();
            cells.map(|column| column.cell(of, clock)).collect()
        };
        Table {
            columns: self.columns.iter().map(|column| column.column()).collect(),
            rows: of.iter().map(row).collect(),
            headings,
            may_drop: !self.named,
        }
    }
}

/// Reads a list of columns. `all` names each, the `usual` are shown where nothing is
/// asked for.
///
/// # Errors
/// Text for the user: which names there are.
pub fn choose<C: Copy>(
    list: Option<&str>,
    all: &[(&str, C)],
    usual: &[C],
) -> Result<Chosen<C>, String> {
    let Some(list) = list else {
        return Ok(Chosen {
            columns: usual.to_vec(),
            named: false,
        });
    };
    let (mut columns, list) = match list.strip_prefix('+') {
        Some(more) => (usual.to_vec(), more),
        None => (Vec::new(), list),
    };
    for name in list.split(',').map(str::trim) {
        let found = all.iter().find(|(its, _)| its.eq_ignore_ascii_case(name));
        match found {
            Some((_, column)) => columns.push(*column),
            None => {
                let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
                return Err(format!(
                    "there is no column '{}'; there are {}",
                    crate::printable::printable(name),
                    names.join(", ")
                ));
            }
        }
    }
    Ok(Chosen {
        columns,
        named: true,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const ALL: &[(&str, u8)] = &[("board", 1), ("pid", 2), ("note", 3)];

    #[test]
    fn lists() {
        let chosen = |list| choose(list, ALL, &[1, 2]).map(|chosen| chosen.columns);
        assert_eq!(chosen(None), Ok(vec![1, 2]));
        assert_eq!(chosen(Some("note, BOARD")), Ok(vec![3, 1]));
        assert_eq!(chosen(Some("+note")), Ok(vec![1, 2, 3]));
        for bad in ["", "board,", "+", "x\u{1b}"] {
            let error = chosen(Some(bad)).unwrap_err();
            assert!(error.contains("board, pid, note"), "{bad}: {error}");
            assert!(!error.contains('\u{1b}'));
        }
        assert!(!choose(None, ALL, &[1]).unwrap().named);
        assert!(choose(Some("+pid"), ALL, &[1]).unwrap().named);
    }
}
