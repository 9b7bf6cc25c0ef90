//! Who has a board, in words: what every refusal that a person sees tells.

use super::times::Clock;
use crate::schema::Board;

/// `held by alice, pid 123 (make test), since 14:02 (5 min ago)`, and until when.
pub fn holder(board: &Board, clock: &Clock) -> String {
    let moment = |moment: i64| clock.tell(moment).middle;
    let mut text = who(board);
    if let Some(since) = board.since_unix {
        text += &format!(", since {}", moment(since));
    }
    if let Some(expires) = board.expires_unix {
        let word = if board.state == "overdue" {
            "overdue since"
        } else {
            "until"
        };
        text += &format!(", {word} {}", moment(expires));
    }
    if let Some(note) = &board.note {
        text += &format!("; note: {note}");
    }
    text
}

/// The same without what changes while nothing happens.
pub fn holder_plainly(board: &Board, clock: &Clock) -> String {
    match board.since_unix {
        Some(since) => format!("{}, since {}", who(board), clock.time(since)),
        None => who(board),
    }
}

/// `held by alice, pid 123 (make test)`.
fn who(board: &Board) -> String {
    let user = board.holder.as_deref().unwrap_or("somebody");
    let how = match (board.lock.as_deref(), board.locks) {
        (Some("shared"), 2..) => format!("shared by {} and others", user),
        _ => format!("held by {user}"),
    };
    match (board.pid, &board.command) {
        (Some(pid), Some(command)) => format!("{how}, pid {pid} ({command})"),
        (Some(pid), None) => format!("{how}, pid {pid}"),
        (None, _) if board.state == "detached" => format!("{how}, detached (by no process)"),
        (None, _) => how,
    }
}

/// `1st`, `2nd`, `3rd`, `4th`.
pub fn ordinal(n: usize) -> String {
    let end = match (n % 10, n % 100) {
        (1, rest) if rest != 11 => "st",
        (2, rest) if rest != 12 => "nd",
        (3, rest) if rest != 13 => "rd",
        _ => "th",
    };
    format!("{n}{end}")
}

/// Names, one after the other: `a`, `a and b`, `a, b and c`.
pub fn list(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;

    fn clock() -> Clock {
        Clock {
            now: 1_000_000,
            zone: TimeZone::UTC,
            seconds: true,
        }
    }

    fn board() -> Board {
        Board {
            state: "held".to_owned(),
            holder: Some("alice".to_owned()),
            pid: Some(123),
            command: Some("make test".to_owned()),
            since_unix: Some(999_700),
            ..Board::default()
        }
    }

    #[test]
    fn who_since_when_and_until_when() {
        let mut board = board();
        assert_eq!(
            holder(&board, &clock()),
            "held by alice, pid 123 (make test), since 13:41 (5 min ago)"
        );
        board.expires_unix = Some(1_003_600);
        board.note = Some("long test".to_owned());
        assert_eq!(
            holder(&board, &clock()),
            "held by alice, pid 123 (make test), since 13:41 (5 min ago), \
             until 14:46 (in 1 h); note: long test"
        );
        board.state = "overdue".to_owned();
        board.expires_unix = Some(999_940);
        assert!(holder(&board, &clock()).contains("overdue since 13:45 (1 min ago)"));
        board.state = "detached".to_owned();
        board.pid = None;
        assert!(holder(&board, &clock()).starts_with("held by alice, detached (by no process)"));
    }

    #[test]
    fn one_that_is_shared() {
        let mut board = board();
        board.lock = Some("shared".to_owned());
        board.locks = 3;
        assert!(
            holder_plainly(&board, &clock()).starts_with("shared by alice and others, pid 123")
        );
    }

    #[test]
    fn places() {
        let told: Vec<String> = [1, 2, 3, 4, 11, 12, 13, 21, 102, 111]
            .into_iter()
            .map(ordinal)
            .collect();
        assert_eq!(
            told.join(" "),
            "1st 2nd 3rd 4th 11th 12th 13th 21st 102nd 111th"
        );
    }
}
