//! Tables for people: columns as wide as what is in them, fitted to a terminal by what
//! each of them can do without. In a pipe nothing is cut.

use anstyle::Style;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Between columns.
const GAP: usize = 2;
/// Where text was cut.
const CUT: &str = "...";

/// How much room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// As much as it takes.
    Any,
    /// So many columns of a terminal.
    Columns(usize),
}

/// One cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// What it says, in ever shorter forms; never empty.
    forms: Vec<String>,
    style: Style,
}

impl Cell {
    /// One that says the same however little room there is.
    pub fn new(text: impl Into<String>) -> Cell {
        Cell::of(vec![text.into()])
    }

    /// One with these forms, the longest first.
    pub fn of(forms: Vec<String>) -> Cell {
        let style = Style::new();
        Cell { forms, style }
    }

    /// The same in a style.
    pub fn styled(mut self, style: Style) -> Cell {
        self.style = style;
        self
    }

    /// What it says at a length.
    fn at(&self, form: usize) -> &str {
        let form = self.forms.get(form).or(self.forms.last());
        form.map_or("-", String::as_str)
    }
}

/// Which way a column goes when there is too little room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The cells of these columns take this form.
    Form(usize),
    /// It is cut, to so many characters at least.
    Cut(usize),
    /// It goes.
    Drop,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its heading.
    pub heading: &'static str,
    /// Whether it is aligned to the right, as numbers are.
    pub right: bool,
    /// When it does what: by rising numbers among all columns. Steps of one number are
    /// taken together.
    pub steps: &'static [(u8, Step)],
}

/// A table.
#[derive(Clone, Debug)]
pub struct Table {
    /// The columns.
    pub columns: Vec<Column>,
    /// The rows, each with a cell for each column.
    pub rows: Vec<Vec<Cell>>,
    /// Whether there is a line of headings.
    pub headings: bool,
    /// Whether columns may go that there is no room for.
    pub may_drop: bool,
}

/// How a column is laid out.
#[derive(Clone, Copy, Debug)]
struct Layout {
    form: usize,
    width: usize,
    shown: bool,
}

impl Table {
    /// The lines of it.
    pub fn lines(&self, room: Room, colors: bool) -> Vec<String> {
        let layout = self.layout(room);
        let mut lines = Vec::with_capacity(self.rows.len() + 1);
        if self.headings {
            let style = Style::new().bold();
            let cells = self.columns.iter().map(|column| (column.heading, style));
            lines.push(self.line(&layout, cells, colors));
        }
        for row in &self.rows {
            let cells = row
                .iter()
                .zip(&layout)
                .map(|(cell, layout)| (cell.at(layout.form), cell.style));
            lines.push(self.line(&layout, cells, colors));
        }
        lines
    }

    fn layout(&self, room: Room) -> Vec<Layout> {
        let mut layout: Vec<Layout> = (0..self.columns.len())
            .map(|at| Layout {
                form: 0,
                width: self.natural(at, 0),
                shown: true,
            })
            .collect();
        let Room::Columns(most) = room else {
            return layout;
        };
        let mut order: Vec<u8> = self
            .columns
            .iter()
            .flat_map(|column| column.steps.iter().map(|(when, _)| *when))
            .collect();
        order.sort_unstable();
        order.dedup();
        for when in order {
            if total(&layout) <= most {
                break;
            }
            for (at, column) in self.columns.iter().enumerate() {
                let step = column.steps.iter().find(|(its, _)| *its == when);
                let excess = total(&layout).saturating_sub(most);
                let Some(layout) = layout.get_mut(at) else {
                    continue;
                };
                match step {
                    // Together, though one may be enough: a table with two ways to tell a
                    // time would be hard to read.
                    Some((_, Step::Form(form))) => {
                        layout.form = *form;
                        layout.width = self.natural(at, *form);
                    }
                    Some((_, Step::Cut(least))) if excess > 0 => {
                        let least = layout.width.min(*least);
                        layout.width = layout.width.saturating_sub(excess).max(least);
                    }
                    Some((_, Step::Drop)) if excess > 0 && self.may_drop => layout.shown = false,
                    _ => {}
                }
            }
        }
        self.spread(&mut layout, most);
        layout
    }

    /// Gives what is left over to columns that were cut before others went.
    fn spread(&self, layout: &mut [Layout], most: usize) {
        let mut left = most.saturating_sub(total(layout));
        for (at, layout) in layout.iter_mut().enumerate() {
            let missing = self
                .natural(at, layout.form)
                .saturating_sub(layout.width)
                .min(left);
            if layout.shown {
                layout.width += missing;
                left -= missing;
            }
        }
    }

    fn natural(&self, at: usize, form: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(at));
        let widest = cells.map(|cell| cell.at(form).width()).max().unwrap_or(0);
        let heading = self.columns.get(at).filter(|_| self.headings);
        widest.max(heading.map_or(0, |column| column.heading.width()))
    }

    fn line<'a>(
        &self,
        layout: &[Layout],
        cells: impl Iterator<Item = (&'a str, Style)>,
        colors: bool,
    ) -> String {
        let mut line = String::new();
        // Blanks that are owed before the next text: none stand at the end.
        let mut owed = 0;
        let shown = self.columns.iter().zip(layout).zip(cells);
        let shown = shown.filter(|((_, layout), _)| layout.shown);
        for (at, ((column, layout), (text, style))) in shown.enumerate() {
            if at > 0 {
                owed += GAP;
            }
            let text = cut(text, layout.width);
            let blank = layout.width.saturating_sub(text.width());
            if column.right {
                owed += blank;
            }
            if !text.is_empty() {
                line.extend(std::iter::repeat_n(' ', owed));
                owed = 0;
                if colors && style != Style::new() {
                    line.push_str(&format!("{style}{text}{style:#}"));
                } else {
                    line.push_str(&text);
                }
            }
            if !column.right {
                owed += blank;
            }
        }
        line
    }
}

fn total(layout: &[Layout]) -> usize {
    let shown = layout.iter().filter(|layout| layout.shown);
    let (count, width) = shown.fold((0, 0), |(count, width), layout| {
        (count + 1, width + layout.width)
    });
    width + GAP * usize::saturating_sub(count, 1)
}

/// Text at most so wide on a terminal, with dots where it was cut.
pub fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let room = width.saturating_sub(CUT.len());
    let mut used = 0;
    let mut cut = String::new();
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used > room {
            break;
        }
        cut.push(c);
    }
    let dots = width.min(CUT.len());
    cut.extend(CUT.chars().take(dots));
    cut
}

#[cfg(test)]
mod tests {
    use super::*;
    use anstyle::AnsiColor;

    const NAME: Column = Column {
        heading: "NAME",
        right: false,
        steps: &[],
    };
    const WHAT: Column = Column {
        heading: "WHAT",
        right: false,
        steps: &[(2, Step::Cut(6)), (3, Step::Drop)],
    };
    const WHEN: Column = Column {
        heading: "WHEN",
        right: false,
        steps: &[(1, Step::Form(1))],
    };
    const N: Column = Column {
        heading: "N",
        right: true,
        steps: &[],
    };

    fn table() -> Table {
        let row = |name: &str, what: &str, when: [&str; 2], n: &str| {
            let forms = when.map(str::to_owned).to_vec();
            vec![
                Cell::new(name),
                Cell::new(what),
                Cell::of(forms),
                Cell::new(n),
            ]
        };
        Table {
            columns: vec![NAME, WHAT, WHEN, N],
            rows: vec![
                row("a", "make -C /srv/lab flash", ["an hour ago", "1h"], "1"),
                row("beagle", "bash", ["a day ago", "1d"], "100"),
            ],
            headings: true,
            may_drop: true,
        }
    }

    fn lines(room: Room) -> Vec<String> {
        table().lines(room, false)
    }

    #[test]
    fn nothing_is_cut_in_a_pipe() {
        assert_eq!(
            lines(Room::Any),
            [
                "NAME    WHAT                    WHEN           N",
                "a       make -C /srv/lab flash  an hour ago    1",
                "beagle  bash                    a day ago    100",
            ]
        );
        assert_eq!(lines(Room::Columns(48)), lines(Room::Any));
    }

    #[test]
    fn columns_give_way_in_their_order() {
        assert_eq!(
            lines(Room::Columns(47)),
            [
                "NAME    WHAT                    WHEN    N",
                "a       make -C /srv/lab flash  1h      1",
                "beagle  bash                    1d    100",
            ]
        );
        assert_eq!(
            lines(Room::Columns(30)),
            [
                "NAME    WHAT         WHEN    N",
                "a       make -C ...  1h      1",
                "beagle  bash         1d    100",
            ]
        );
        assert_eq!(
            lines(Room::Columns(24)),
            [
                "NAME    WHEN    N",
                "a       1h      1",
                "beagle  1d    100",
            ]
        );
    }

    #[test]
    fn columns_that_were_asked_for_stay() {
        let mut table = table();
        table.may_drop = false;
        let lines = table.lines(Room::Columns(10), false);
        assert_eq!(
            lines.first().map(String::as_str),
            Some("NAME    WHAT    WHEN    N")
        );
    }

    #[test]
    fn headings_can_go_and_styles_cost_no_width() {
        let mut table = table();
        table.headings = false;
        for row in &mut table.rows {
            let cell = row.remove(0);
            row.insert(0, cell.styled(AnsiColor::Red.on_default()));
        }
        assert_eq!(
            table.lines(Room::Columns(30), true),
            [
                "\u{1b}[31ma\u{1b}[0m       make -C /s...  1h    1",
                "\u{1b}[31mbeagle\u{1b}[0m  bash           1d  100",
            ]
        );
    }

    #[test]
    fn wide_characters_count_twice() {
        assert_eq!(
            cut("\u{6f22}\u{5b57}\u{6f22}", 6),
            "\u{6f22}\u{5b57}\u{6f22}"
        );
        assert_eq!(cut("\u{6f22}\u{5b57}\u{6f22}", 5), "\u{6f22}...");
        assert_eq!(cut("abcd", 2), "..");
        assert_eq!(cut("e\u{301}t\u{e9}", 3), "e\u{301}t\u{e9}");
    }
}
