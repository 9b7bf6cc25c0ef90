//! What is to be said of one board: who has it, how that was found, who was refused it,
//! and what to type next.

use super::boards::{expires, since};
use super::chain::{End, links};
use super::times::{Clock, moment};
use crate::schema::{Board, Hold, Listed, Refused, Waiting};

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asking {
    /// The user's number.
    pub uid: u32,
    /// The board as he named it, fit for a shell.
    pub board: String,
    /// The name of a board that he may have meant.
    pub meant: Option<String>,
    /// Whether there is a list of boards, and this one is not in it.
    pub unknown: bool,
    /// Whether the inventory has it for others.
    pub for_others: bool,
}

/// The lines about a board. `before` are its holds that ended, the oldest first.
pub fn explain(board: &Board, before: &[Hold], clock: &Clock, asking: &Asking) -> Vec<String> {
    let mut lines = Vec::new();
    if board.state == "free" {
        free(board, asking, &mut lines);
    } else {
        held(board, clock, asking, &mut lines);
    }
    if let Some(hold) = before.last() {
        let free = board.state == "free";
        if !free {
            lines.push(String::new());
        }
        lines.push(last(hold, free, clock, asking));
    }
    lines.push(String::new());
    lines.push("What to do:".to_owned());
    lines.extend(advice(board, asking));
    lines
}

/// Why nobody can take it now, if that is so.
fn out_of_service(board: &Board) -> Option<&str> {
    board.inventory.as_ref()?.out_of_service.as_deref()
}

fn free(board: &Board, asking: &Asking, lines: &mut Vec<String>) {
    let name = &board.board;
    lines.push(match out_of_service(board) {
        Some(why) => format!("{name} is out of service: {why}"),
        None if asking.unknown => format!("There is no board {name} in the inventory."),
        None => format!("{name} is free."),
    });
    listed(board.inventory.as_ref(), lines);
}

fn listed(listed: Option<&Listed>, lines: &mut Vec<String>) {
    let Some(listed) = listed else {
        return;
    };
    lines.extend(listed.description.clone());
    if let Some(may) = &listed.may_take {
        let users = may.users.iter().cloned();
        let groups = may.groups.iter().map(|group| format!("group {group}"));
        let all: Vec<String> = users.chain(groups).collect();
        lines.push(match all.is_empty() {
            true => "It can be taken by root alone.".to_owned(),
            false => format!("It can be taken by: {}", all.join(", ")),
        });
    }
}

fn held(board: &Board, clock: &Clock, asking: &Asking, lines: &mut Vec<String>) {
    lines.push(whose(board, clock, asking));
    lines.extend(until(board, clock));
    if let Some(why) = out_of_service(board) {
        lines.push(format!(
            "It is out of service for whoever would be next: {why}"
        ));
    }
    if let Some(note) = &board.note {
        lines.push(format!("Note: {note}"));
    }
    listed(board.inventory.as_ref(), lines);
    if let Some(via) = &board.via {
        let end = match board.state.as_str() {
            "detached" => End::Manager,
            _ => End::Holder,
        };
        lines.push(String::new());
        lines.push(format!("How that was found: {via}"));
        lines.extend(chain(via, end));
    }
    if board.waiters > 0 {
        lines.push(String::new());
        lines.push(format!("Waiting: {}", board.waiters));
        lines.extend(board.waiting.iter().map(|who| waiting(who, clock, asking)));
        let more = board.waiters.saturating_sub(board.waiting.len());
        if more > 0 {
            lines.push(format!("  and {more} more"));
        }
    }
    if !board.refused.is_empty() {
        lines.push(String::new());
        lines.push("Refused since then:".to_owned());
        lines.extend(board.refused.iter().map(|who| refused(who, clock, asking)));
    }
}

/// A user, who may be the one that asks.
fn user(name: &str, uid: Option<u32>, asking: &Asking) -> String {
    if uid == Some(asking.uid) {
        format!("{name} (you)")
    } else {
        name.to_owned()
    }
}

fn process(pid: Option<u32>, command: Option<&str>) -> String {
    match (pid, command.filter(|command| !command.is_empty())) {
        (Some(pid), Some(command)) => format!(", pid {pid} ({command})"),
        (Some(pid), None) => format!(", pid {pid}"),
        (None, Some(command)) => format!(" ({command})"),
        (None, None) => String::new(),
    }
}

fn whose(board: &Board, clock: &Clock, asking: &Asking) -> String {
    let name = &board.board;
    let holder = board.holder.as_deref().unwrap_or("somebody unknown");
    let holder = user(holder, board.uid, asking);
    let process = process(board.pid, board.command.as_deref());
    let since = match since(board) {
        Some(since) => format!(", since {}", clock.tell(since).middle),
        None => String::new(),
    };
    let has = match (board.state.as_str(), board.lock.as_deref()) {
        ("detached", _) => {
            return format!("{name} belongs to {holder}, detached: no process holds it{since}.");
        }
        (_, Some("shared")) if board.locks > 1 => {
            format!(
                "is shared by {} file locks; it shows as that of",
                board.locks
            )
        }
        (_, Some("shared")) => "is locked (shared) by".to_owned(),
        (_, Some(_)) => "is locked by".to_owned(),
        (_, None) => "is held by".to_owned(),
    };
    format!("{name} {has} {holder}{process}{since}.")
}

fn until(board: &Board, clock: &Clock) -> Option<String> {
    let moment = expires(board)?;
    let told = clock.tell(moment).middle;
    Some(match board.state.as_str() {
        "overdue" => format!(
            "It was to be given back by {told}: overdue, but kept as long as its holder lives."
        ),
        "detached" => format!("It will be free by {told}."),
        _ => format!("It is to be given back by {told}."),
    })
}

fn chain(via: &str, end: End) -> Vec<String> {
    let links = links(via, end);
    let width = links
        .iter()
        .map(|link| link.name.chars().count())
        .max()
        .unwrap_or(0)
        .min(24);
    links
        .into_iter()
        .map(|link| format!("  {:width$}  {}", link.name, link.means))
        .collect()
}

fn waiting(who: &Waiting, clock: &Clock, asking: &Asking) -> String {
    let since = match moment(&who.since) {
        Some(since) => clock.tell(since).middle,
        None => who.since.clone(),
    };
    let shared = if who.lock == "shared" {
        ", to share"
    } else {
        ""
    };
    format!(
        "  {}  {}{}, since {since}{shared}",
        who.place,
        user(&who.holder, Some(who.uid), asking),
        process(who.pid, Some(&who.command)),
    )
}

fn refused(who: &Refused, clock: &Clock, asking: &Asking) -> String {
    let when = match moment(&who.when) {
        Some(when) => clock.time(when),
        None => who.when.clone(),
    };
    let via = match &who.via {
        Some(via) if !via.is_empty() => format!(", by {via}"),
        _ => String::new(),
    };
    format!(
        "  {when}  {}{}{via}: {}",
        user(&who.holder, Some(who.uid), asking),
        process(who.pid, who.command.as_deref()),
        who.reason
    )
}

/// Who had it last, and how that ended.
fn last(hold: &Hold, free: bool, clock: &Clock, asking: &Asking) -> String {
    let holder = user(&hold.holder, Some(hold.uid), asking);
    let command = process(hold.pid, hold.command.as_deref());
    let ended = match moment(&hold.ended) {
        Some(ended) => clock.tell(ended).middle,
        None => hold.ended.clone(),
    };
    let by = match &hold.by {
        Some(by) => format!(" by {by}"),
        None => String::new(),
    };
    let how = match hold.how.as_str() {
        "released" => format!("it was given back{by}"),
        "died" => "its process ended".to_owned(),
        "expired" => "its time was over".to_owned(),
        "forced" => format!("it was taken away{by}"),
        "unlocked" => "it was unlocked".to_owned(),
        "replaced" => "another file was moved over it".to_owned(),
        "renamed" => "it got another name".to_owned(),
        "emptied" => "the last board in it was given back".to_owned(),
        other => other.to_owned(),
    };
    let span = clock.span(hold.seconds);
    if free {
        format!("{holder}{command} had it last, for {span}: {how}, {ended}.")
    } else {
        format!("Before that {holder}{command} had it, for {span}: {how}, {ended}.")
    }
}

fn advice(board: &Board, asking: &Asking) -> Vec<String> {
    let name = &asking.board;
    let mine = board.uid == Some(asking.uid);
    let mut advice: Vec<(String, String)> = Vec::new();
    let mut add = |what: &str, how: String| advice.push((what.to_owned(), how));
    if let Some(meant) = &asking.meant {
        add("if you meant another", format!("boardlock why {meant}"));
    }
    let never = out_of_service(board).is_some() || asking.for_others;
    if board.state == "free" {
        if never || asking.unknown {
            add("see what there is", "boardlock status".to_owned());
        } else {
            add(
                "take it for a command",
                format!("boardlock run {name} -- COMMAND"),
            );
            add("take it for this shell", format!("touch {name}"));
        }
    } else {
        if mine {
            add("give it back", format!("boardlock release {name}"));
            add(
                "keep it for longer",
                format!("boardlock renew --lease 2h {name}"),
            );
        }
        if !never {
            add(
                "take it once it is free",
                format!("boardlock run {name} -- COMMAND"),
            );
        }
        if let Some(holder) = board.holder.as_deref().filter(|_| !mine) {
            add("ask who has it", holder.to_owned());
        }
        if asking.uid == 0 && !mine {
            add("take it away", format!("boardlock release --force {name}"));
        }
        add("see what is free", "boardlock status".to_owned());
    }
    add("see who had it", format!("boardlock history {name}"));
    let width = advice.iter().map(|(what, _)| what.len()).max().unwrap_or(0);
    advice
        .into_iter()
        .map(|(what, how)| format!("  {what:width$}  {how}"))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::client::boards::samples::{clock, detached, free, held, locked, overdue};
    use crate::client::holds::samples::{died, forced};

    fn said(board: &Board, before: &[Hold], uid: u32) -> String {
        let asking = Asking {
            uid,
            board: board.board.clone(),
            meant: None,
            unknown: false,
            for_others: false,
        };
        let lines = explain(board, before, &clock(), &asking);
        lines.join("\n")
    }

    #[test]
    fn held_by_another() {
        insta::assert_snapshot!(said(&held(), &[], 1002));
    }

    #[test]
    fn held_by_who_asks_and_overdue() {
        insta::assert_snapshot!(said(&overdue(), &[forced()], 1002));
    }

    #[test]
    fn locked_and_waited_for() {
        insta::assert_snapshot!(said(&locked(), &[], 0));
    }

    #[test]
    fn a_detached_one() {
        insta::assert_snapshot!(said(&detached(), &[], 1002));
    }

    #[test]
    fn a_free_one() {
        insta::assert_snapshot!(said(&free(), &[died()], 1002));
    }

    #[test]
    fn one_that_nobody_can_have_next() {
        let mut board = held();
        board.inventory = Some(Listed {
            out_of_service: Some("no power".to_owned()),
            ..Listed::default()
        });
        let text = said(&board, &[], 1002);
        assert!(
            text.contains("out of service for whoever would be next: no power")
                && !text.contains("boardlock run"),
            "{text}"
        );
    }

    #[test]
    fn one_that_is_for_nobody() {
        let mut board = free();
        board.inventory = Some(Listed {
            may_take: Some(crate::schema::MayTake::default()),
            ..Listed::default()
        });
        let text = said(&board, &[], 1002);
        assert!(text.contains("It can be taken by root alone."), "{text}");
    }

    #[test]
    fn one_that_is_not_there() {
        let asking = Asking {
            uid: 1002,
            board: "beagel".to_owned(),
            meant: Some("beagle".to_owned()),
            unknown: true,
            for_others: false,
        };
        let board = Board {
            board: "beagel".to_owned(),
            state: "free".to_owned(),
            ..Board::default()
        };
        let lines = explain(&board, &[], &clock(), &asking);
        insta::assert_snapshot!(lines.join("\n"));
    }
}
