//! Judges histories: right, or wrong and why, in as few lines as that takes.

use super::history::{History, name};
use super::model::Rules;
use super::report;
use super::search::{Operation, Verdict, Wrong, search, until};

/// What is to be said of a history that is right.
#[derive(Clone, Copy, Debug, Default)]
pub struct Judged {
    /// Boards on which there was too much to look at.
    pub unknown: usize,
    /// Operations that were bound to come after others in the queue.
    pub ordered: usize,
}

/// Judges a history, board by board: they have nothing to do with each other.
///
/// # Errors
/// What is wrong, for people to read.
pub fn judge(history: &History, rules: &Rules) -> Result<Judged, String> {
    let mut judged = Judged::default();
    for board in 0..history.boards() {
        let found = |error| format!("board {}: {error}", name(board));
        let operations = history
            .operations(rules, board)
            .map_err(|error| found(format!("{error}\n{}", report::raw(history))))?;
        judged.ordered += operations.iter().filter(|op| !op.behind.is_empty()).count();
        match search(rules, &operations) {
            Verdict::Right => {}
            Verdict::Unknown => judged.unknown += 1,
            Verdict::Wrong(wrong) => return Err(found(explain(rules, operations, wrong))),
        }
    }
    Ok(judged)
}

/// The shortest part of the history, from its start, that is wrong already.
fn explain(rules: &Rules, all: Vec<Operation>, whole: Wrong) -> String {
    let mut least = (all.clone(), whole);
    let (mut low, mut high) = (0, all.len());
    // A part of what is right is right.
    while low < high {
        let middle = usize::midpoint(low, high);
        let part = until(&all, all[middle].end);
        match search(rules, &part) {
            Verdict::Wrong(wrong) => {
                least = (part, wrong);
                high = middle;
            }
            Verdict::Right | Verdict::Unknown => low = middle + 1,
        }
    }
    let mut unordered = least.0.clone();
    for operation in &mut unordered {
        operation.behind.clear();
    }
    let what = match search(rules, &unordered) {
        Verdict::Right => "somebody got ahead in the queue",
        _ => "no order of these calls gives these answers",
    };
    format!("{what}\n{}", report::wrong(&least.0, &least.1))
}
