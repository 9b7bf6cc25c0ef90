//! Histories for people to read.

use std::fmt::Write;

use super::history::{History, name};
use super::model::{Call, Rules, Told};
use super::record::Time;
use super::search::{Operation, Wrong};

/// An operation in a line; `zero` is where time begins.
fn line(operation: &Operation, zero: Time) -> String {
    let millis = |time: Time| match time {
        Time::MAX => "      never".to_owned(),
        time => format!("{:8.3} ms", (time.saturating_sub(zero) as f64) / 1e6),
    };
    let call = match operation.call {
        Call::Open { how, file } => format!("open {how:?} as f{file}"),
        Call::Lock {
            file,
            family,
            mode,
            wait,
        } => {
            let wait = if wait { "wait" } else { "try" };
            format!("{wait} {family:?} {mode:?} through f{file}")
        }
        Call::Unlock { file, family } => format!("unlock {family:?} through f{file}"),
        Call::Close { file } => format!("close f{file}"),
        Call::Ask { file, family, mode } => format!("ask for {family:?} {mode:?} through f{file}"),
        Call::Attempt { file, .. } => format!("(attempt through f{file})"),
        Call::Leave => "(waits no more)".to_owned(),
        Call::Flush => "(flushed)".to_owned(),
        Call::GoneFile { file } => format!("(f{file} is gone with its process)"),
        Call::GoneClaim => "(its claim is gone with it)".to_owned(),
        call @ (Call::Unlink | Call::Stat | Call::Links | Call::Status) => {
            format!("{call:?}").to_lowercase()
        }
    };
    let told = match operation.told {
        None => String::new(),
        Some(Told::Done) => ": done".to_owned(),
        Some(Told::Failed(errno)) => format!(": {:?}", nix::errno::Errno::from_raw(errno)),
        Some(Told::Free(true)) => ": free".to_owned(),
        Some(Told::Free(false)) => ": held".to_owned(),
        Some(Told::Held(Some(process))) => format!(": held by p{process}"),
        Some(Told::Held(None)) => ": held by pid 0".to_owned(),
    };
    let may = if operation.optional { " (or not)" } else { "" };
    format!(
        "{} .. {}  p{:<2} {call}{told}{may}",
        millis(operation.begin),
        millis(operation.end),
        operation.process,
    )
}

/// The operations of a board, as they began.
pub fn operations(operations: &[Operation]) -> String {
    let zero = operations.iter().map(|operation| operation.begin).min();
    let mut order: Vec<usize> = (0..operations.len()).collect();
    order.sort_by_key(|at| operations[*at].begin);
    let mut text = String::new();
    for at in order {
        let operation = &operations[at];
        let mut behind = String::new();
        if !operation.behind.is_empty() {
            behind = format!("  [behind {:?}]", operation.behind);
        }
        let _ = writeln!(
            text,
            "  #{at:<3} {}{behind}",
            line(operation, zero.unwrap_or(0))
        );
    }
    text
}

/// Why these operations are wrong.
pub fn wrong(all: &[Operation], wrong: &Wrong) -> String {
    format!(
        "  In the order that comes furthest,\n  {:?}\n  the board is left as {:?},\n  \
         and none of these can follow: {:?}\n  All of it, as it began:\n{}",
        wrong.order,
        wrong.state,
        wrong.stuck,
        operations(all)
    )
}

/// Everything that was recorded, where nothing better can be said.
pub fn raw(history: &History) -> String {
    let mut text = String::new();
    for board in 0..history.boards() {
        let _ = writeln!(text, "board {}:", name(board));
        match history.operations(&Rules::SERVED, board) {
            Ok(all) => text.push_str(&operations(&all)),
            Err(error) => {
                let _ = writeln!(text, "  {error}");
            }
        }
    }
    text.push_str(&pids(history));
    text
}

/// Who is who, and what was done to them.
pub fn pids(history: &History) -> String {
    let zero = history.traces.iter().flat_map(|trace| &trace.records);
    let zero = zero.map(|record| record.begin).min().unwrap_or(0);
    let mut text = String::new();
    for (number, trace) in history.traces.iter().enumerate() {
        let _ = write!(text, "  p{number} is pid {}", trace.pid);
        for sent in &trace.sent {
            let at = (sent.begin.saturating_sub(zero) as f64) / 1e6;
            let _ = write!(text, ", {:?} at {at:.3} ms", sent.poke);
        }
        text.push('\n');
    }
    text
}
