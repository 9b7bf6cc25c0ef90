//! Boards as a table.

use anstyle::{AnsiColor, Style};

use super::columns::Shows;
use super::table::{Cell, Column, Step};
use super::times::{Clock, moment};
use crate::schema::Board;

/// A column of the table of boards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoardColumn {
    /// Its path in the lock directory.
    Board,
    /// Whether it is held.
    State,
    /// The user who has it.
    Holder,
    /// His number.
    Uid,
    /// The process that holds it.
    Pid,
    /// Its command line.
    Command,
    /// How it was found.
    Via,
    /// Since when.
    Since,
    /// Until when.
    Expires,
    /// How many wait.
    Waiters,
    /// The note.
    Note,
    /// The number of the acquisition.
    Token,
    /// How file locks hold it.
    Lock,
    /// File, directory or link.
    Kind,
    /// What the inventory says that it is.
    Description,
    /// Its tags there.
    Tags,
    /// The pools that it is in.
    Pools,
}

use BoardColumn as C;

/// All columns and their names.
pub const BOARD_COLUMNS: &[(&str, BoardColumn)] = &[
    ("board", C::Board),
    ("state", C::State),
    ("holder", C::Holder),
    ("uid", C::Uid),
    ("pid", C::Pid),
    ("command", C::Command),
    ("via", C::Via),
    ("since", C::Since),
    ("expires", C::Expires),
    ("waiters", C::Waiters),
    ("note", C::Note),
    ("token", C::Token),
    ("lock", C::Lock),
    ("kind", C::Kind),
    ("description", C::Description),
    ("tags", C::Tags),
    ("pools", C::Pools),
];

impl BoardColumn {
    /// Those that are shown where nothing else is asked for.
    pub const USUAL: &'static [BoardColumn] = &[
        C::Board,
        C::State,
        C::Holder,
        C::Pid,
        C::Command,
        C::Since,
        C::Expires,
        C::Waiters,
    ];
}

impl Shows<Board> for BoardColumn {
    /// What gives way first: the long forms of times, then the ends of command lines and
    /// notes; on narrow terminals whole columns, the pid first. Who has which board is
    /// always told.
    fn column(self) -> Column {
        let (heading, right, steps): (_, _, &'static [(u8, Step)]) = match self {
            C::Board => ("BOARD", false, &[(20, Step::Cut(16))]),
            C::State => ("STATE", false, &[]),
            C::Holder => ("HOLDER", false, &[(21, Step::Cut(8))]),
            C::Uid => ("UID", true, &[(10, Step::Drop)]),
            C::Pid => ("PID", true, &[(10, Step::Drop)]),
            C::Command => ("COMMAND", false, &[(3, Step::Cut(10)), (11, Step::Drop)]),
            C::Via => ("VIA", false, &[(3, Step::Cut(10)), (11, Step::Drop)]),
            C::Since => (
                "SINCE",
                false,
                &[(1, Step::Form(1)), (2, Step::Form(2)), (13, Step::Drop)],
            ),
            C::Expires => (
                "EXPIRES",
                false,
                &[(1, Step::Form(1)), (2, Step::Form(2)), (14, Step::Drop)],
            ),
            C::Waiters => ("WAITERS", true, &[(12, Step::Drop)]),
            C::Note => ("NOTE", false, &[(4, Step::Cut(10)), (11, Step::Drop)]),
            C::Token => ("TOKEN", true, &[(10, Step::Drop)]),
            C::Lock => ("LOCK", false, &[(10, Step::Drop)]),
            C::Kind => ("KIND", false, &[(10, Step::Drop)]),
            C::Description => ("DESCRIPTION", false, &[(4, Step::Cut(11))]),
            C::Tags => ("TAGS", false, &[(5, Step::Cut(8))]),
            C::Pools => ("POOLS", false, &[(5, Step::Cut(8))]),
        };
        Column {
            heading,
            right,
            steps,
        }
    }

    fn cell(self, board: &Board, clock: &Clock) -> Cell {
        let listed = board.inventory.as_ref();
        match self {
            C::Board => Cell::new(&board.board),
            C::State => {
                let state = shown_state(board);
                Cell::new(state).styled(style(state))
            }
            C::Holder => optional(board.holder.as_ref()),
            C::Uid => optional(board.uid),
            C::Pid => optional(board.pid),
            C::Command => optional(board.command.as_ref()),
            C::Via => optional(board.via.as_ref()),
            C::Since => match since(board) {
                Some(moment) => {
                    let told = clock.tell(moment);
                    Cell::of(vec![told.long, told.middle, told.short])
                }
                None => optional(board.since.as_ref()),
            },
            C::Expires => match expires(board) {
                Some(moment) => {
                    let told = clock.tell_end(moment);
                    Cell::of(vec![told.long, told.middle, told.short])
                }
                None => optional(board.expires.as_ref()),
            },
            C::Waiters => Cell::new(board.waiters.to_string()),
            C::Note => optional(board.note.as_ref()),
            C::Token => optional(board.token),
            C::Lock => match (&board.lock, board.locks) {
                (Some(lock), 2..) => Cell::new(format!("{lock} {}", board.locks)),
                (lock, _) => optional(lock.as_ref()),
            },
            C::Kind => optional(board.kind.as_ref()),
            C::Description => optional(listed.and_then(|listed| listed.description.as_ref())),
            C::Tags => several(listed.map(|listed| &listed.tags)),
            C::Pools => several(listed.map(|listed| &listed.pools)),
        }
    }
}

/// Since when a board is held, in seconds since 1970.
pub(super) fn since(board: &Board) -> Option<i64> {
    let told = || moment(board.since.as_deref()?);
    board.since_unix.or_else(told)
}

/// Until when, the same.
pub(super) fn expires(board: &Board) -> Option<i64> {
    let told = || moment(board.expires.as_deref()?);
    board.expires_unix.or_else(told)
}

impl Board {
    /// Whether nobody has it, and it could be taken.
    pub fn is_free(&self) -> bool {
        shown_state(self) == "free"
    }
}

/// The state of a board; a free one that cannot be taken is not called free.
fn shown_state(board: &Board) -> &str {
    let out = board
        .inventory
        .as_ref()
        .is_some_and(|listed| listed.out_of_service.is_some());
    match board.state.as_str() {
        "free" if out => "out",
        state => state,
    }
}

fn style(state: &str) -> Style {
    match state {
        "free" => AnsiColor::Green.on_default(),
        "overdue" => AnsiColor::Red.on_default(),
        "detached" => AnsiColor::Yellow.on_default(),
        "out" => AnsiColor::BrightBlack.on_default(),
        _ => Style::new(),
    }
}

pub(super) fn optional(value: Option<impl ToString>) -> Cell {
    Cell::new(match value {
        Some(value) => value.to_string(),
        None => "-".to_owned(),
    })
}

fn several(values: Option<&Vec<String>>) -> Cell {
    optional(
        values
            .filter(|values| !values.is_empty())
            .map(|values| values.join(",")),
    )
}

#[cfg(test)]
pub(super) mod samples {
    #![allow(clippy::unwrap_used)]

    use jiff::tz::TimeZone;

    use super::*;
    use crate::schema::{Listed, Refused, Waiting};

    /// 14:07:30 in Berlin.
    pub fn clock() -> Clock {
        Clock {
            now: moment("2026-11-29T13:07:30Z").unwrap(),
            zone: TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap(),
            seconds: true,
        }
    }

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    /// alice's, by a touch in her shell.
    pub fn held() -> Board {
        Board {
            board: "beagle".to_owned(),
            kind: text("file"),
            state: "held".to_owned(),
            holder: text("alice"),
            uid: Some(1001),
            pid: Some(13582),
            command: text("-bash"),
            via: text("touch < bash"),
            since: text("2026-11-29T13:02:07Z"),
            token: Some(1),
            ..Board::default()
        }
    }

    /// Locked and waited for.
    pub fn locked() -> Board {
        Board {
            board: "rack1/imx8".to_owned(),
            kind: text("file"),
            state: "held".to_owned(),
            holder: text("carol"),
            uid: Some(1003),
            pid: Some(4194301),
            command: text(
                "flock rack1/imx8 make -C /srv/lab/firmware BOARD=imx8 flash test report",
            ),
            via: text("flock"),
            since: text("2026-11-28T09:30:00Z"),
            token: Some(7),
            waiters: 2,
            lock: text("exclusive"),
            locks: 1,
            waiting: vec![Waiting {
                place: 1,
                holder: "bob".to_owned(),
                uid: 1002,
                pid: Some(13581),
                lock: "exclusive".to_owned(),
                since: "2026-11-29T13:00:00Z".to_owned(),
                command: "flock -w 600 rack1/imx8 make test".to_owned(),
            }],
            ..Board::default()
        }
    }

    /// Its time is over.
    pub fn overdue() -> Board {
        Board {
            board: "rack1/stm32".to_owned(),
            state: "overdue".to_owned(),
            holder: text("bob"),
            uid: Some(1002),
            pid: Some(900),
            command: text("python3 /usr/bin/tbot @lab"),
            via: text("touch < sh -c < tbot"),
            since: text("2026-11-29T10:00:00Z"),
            expires: text("2026-11-29T12:00:00Z"),
            expires_unix: moment("2026-11-29T12:00:00Z"),
            token: Some(5),
            note: text("nightly"),
            refused: vec![Refused {
                when: "2026-11-29T13:05:00Z".to_owned(),
                holder: "alice".to_owned(),
                uid: 1001,
                pid: Some(13582),
                command: text("-bash"),
                via: text("touch < bash"),
                reason: "held by another".to_owned(),
                code: "busy".to_owned(),
            }],
            ..Board::default()
        }
    }

    /// Made over ssh.
    pub fn detached() -> Board {
        Board {
            board: "zynq".to_owned(),
            state: "detached".to_owned(),
            holder: text("ci"),
            uid: Some(990),
            via: text("touch < sshd-session"),
            since: text("2026-11-29T13:07:00Z"),
            expires: text("2026-11-29T15:05:30Z"),
            token: Some(8),
            ..Board::default()
        }
    }

    /// Nobody's.
    pub fn free() -> Board {
        Board {
            board: "rpi4".to_owned(),
            state: "free".to_owned(),
            inventory: Some(Listed {
                description: text("Raspberry Pi 4, 8 GB"),
                tags: vec!["arm64".to_owned(), "hdmi".to_owned()],
                ..Listed::default()
            }),
            ..Board::default()
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::samples::{clock, detached, free, held, locked, overdue};
    use super::*;
    use crate::client::columns::choose;
    use crate::client::table::Room;
    use crate::schema::Listed;

    fn shown(list: Option<&str>, room: Room) -> String {
        let boards = [held(), locked(), overdue(), free(), detached()];
        let chosen = choose(list, BOARD_COLUMNS, BoardColumn::USUAL).unwrap();
        let table = chosen.table(&boards, true, &clock());
        table.lines(room, false).join("\n")
    }

    #[test]
    fn in_a_pipe() {
        insta::assert_snapshot!(shown(None, Room::Any));
    }

    #[test]
    fn on_a_terminal_of_80_columns() {
        insta::assert_snapshot!(shown(None, Room::Columns(80)));
    }

    #[test]
    fn on_a_terminal_of_200_columns() {
        insta::assert_snapshot!(shown(None, Room::Columns(200)));
    }

    #[test]
    fn on_a_terminal_of_40_columns() {
        insta::assert_snapshot!(shown(None, Room::Columns(40)));
    }

    #[test]
    fn other_columns() {
        insta::assert_snapshot!(shown(
            Some("board,description,tags,note,token,uid,lock"),
            Room::Any
        ));
    }

    #[test]
    fn what_is_out_of_service_is_not_free() {
        let mut board = free();
        assert!(board.is_free());
        board.inventory = Some(Listed {
            out_of_service: Some("fuse blown".to_owned()),
            ..Listed::default()
        });
        assert!(!board.is_free());
        assert_eq!(shown_state(&board), "out");
        let taken = Board {
            state: "held".to_owned(),
            ..board
        };
        assert_eq!(shown_state(&taken), "held");
    }
}
