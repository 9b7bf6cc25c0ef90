//! Holds that ended as a table.

use anstyle::{AnsiColor, Style};

use super::boards::optional;
use super::columns::Shows;
use super::table::{Cell, Column, Step};
use super::times::{Clock, Told, brief, moment};
use crate::schema::Hold;

/// A column of the table of holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldColumn {
    /// When it began.
    Since,
    /// When it ended.
    Ended,
    /// The board.
    Board,
    /// The user who had it.
    Holder,
    /// His number.
    Uid,
    /// The process that held it.
    Pid,
    /// Its command line.
    Command,
    /// How it was found.
    Via,
    /// How long it lasted.
    Lasted,
    /// How it ended.
    How,
    /// Who ended it.
    By,
    /// The number of the acquisition.
    Token,
    /// Claim or lock.
    Kind,
}

use HoldColumn as C;

/// All columns and their names.
pub const HOLD_COLUMNS: &[(&str, HoldColumn)] = &[
    ("since", C::Since),
    ("ended", C::Ended),
    ("board", C::Board),
    ("holder", C::Holder),
    ("uid", C::Uid),
    ("pid", C::Pid),
    ("command", C::Command),
    ("via", C::Via),
    ("lasted", C::Lasted),
    ("how", C::How),
    ("by", C::By),
    ("token", C::Token),
    ("kind", C::Kind),
];

impl HoldColumn {
    /// Those that are shown where nothing else is asked for.
    pub const USUAL: &'static [HoldColumn] = &[
        C::Since,
        C::Board,
        C::Holder,
        C::Command,
        C::Lasted,
        C::How,
        C::By,
    ];
}

impl Shows<Hold> for HoldColumn {
    fn column(self) -> Column {
        let (heading, right, steps): (_, _, &'static [(u8, Step)]) = match self {
            C::Since => (
                "SINCE",
                false,
                &[(1, Step::Form(1)), (2, Step::Form(2)), (14, Step::Drop)],
            ),
            C::Ended => (
                "ENDED",
                false,
                &[(1, Step::Form(1)), (2, Step::Form(2)), (14, Step::Drop)],
            ),
            C::Board => ("BOARD", false, &[(20, Step::Cut(16))]),
            C::Holder => ("HOLDER", false, &[(21, Step::Cut(8))]),
            C::Uid => ("UID", true, &[(10, Step::Drop)]),
            C::Pid => ("PID", true, &[(10, Step::Drop)]),
            C::Command => ("COMMAND", false, &[(3, Step::Cut(10)), (11, Step::Drop)]),
            C::Via => ("VIA", false, &[(3, Step::Cut(10)), (11, Step::Drop)]),
            C::Lasted => ("LASTED", true, &[(13, Step::Drop)]),
            C::How => ("HOW", false, &[]),
            C::By => ("BY", false, &[(12, Step::Drop)]),
            C::Token => ("TOKEN", true, &[(10, Step::Drop)]),
            C::Kind => ("KIND", false, &[(10, Step::Drop)]),
        };
        Column {
            heading,
            right,
            steps,
        }
    }

    fn cell(self, hold: &Hold, clock: &Clock) -> Cell {
        let time = |text: &String| match moment(text) {
            Some(moment) => {
                let Told {
                    long,
                    middle,
                    short,
                } = clock.tell(moment);
                Cell::of(vec![long, middle, short])
            }
            None => Cell::new(text),
        };
        match self {
            C::Since => time(&hold.since),
            C::Ended => time(&hold.ended),
            C::Board => Cell::new(&hold.board),
            C::Holder => Cell::new(&hold.holder),
            C::Uid => Cell::new(hold.uid.to_string()),
            C::Pid => optional(hold.pid),
            C::Command => optional(hold.command.as_ref()),
            C::Via => optional(hold.via.as_ref()),
            C::Lasted => Cell::new(brief(hold.seconds)),
            C::How => Cell::new(&hold.how).styled(style(&hold.how)),
            C::By => optional(hold.by.as_ref()),
            C::Token => Cell::new(hold.token.to_string()),
            C::Kind => Cell::new(&hold.kind),
        }
    }
}

fn style(how: &str) -> Style {
    match how {
        "forced" => AnsiColor::Red.on_default(),
        "died" | "expired" => AnsiColor::Yellow.on_default(),
        _ => Style::new(),
    }
}

#[cfg(test)]
pub(super) mod samples {
    use crate::schema::Hold;

    /// alice's, who forgot to give it back.
    pub fn died() -> Hold {
        Hold {
            board: "beagle".to_owned(),
            holder: "alice".to_owned(),
            uid: 1001,
            pid: Some(13582),
            command: Some("bash /home/alice/flash-and-test.sh --all --twice".to_owned()),
            via: Some("touch < bash".to_owned()),
            since: "2026-11-28T10:00:00Z".to_owned(),
            ended: "2026-11-28T11:30:00Z".to_owned(),
            seconds: 5400,
            how: "died".to_owned(),
            by: None,
            token: 1,
            kind: "claim".to_owned(),
        }
    }

    /// Ended by root.
    pub fn forced() -> Hold {
        Hold {
            board: "rack1/imx8".to_owned(),
            holder: "bob".to_owned(),
            uid: 1002,
            pid: None,
            command: None,
            via: Some("touch < sshd".to_owned()),
            since: "2026-11-29T13:00:00Z".to_owned(),
            ended: "2026-11-29T13:00:45Z".to_owned(),
            seconds: 45,
            how: "forced".to_owned(),
            by: Some("root".to_owned()),
            token: 2,
            kind: "claim".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::samples::{died, forced};
    use super::*;
    use crate::client::boards::samples::clock;
    use crate::client::columns::choose;
    use crate::client::table::Room;

    fn shown(room: Room) -> String {
        let chosen = choose(None, HOLD_COLUMNS, HoldColumn::USUAL).unwrap();
        let table = chosen.table(&[died(), forced()], true, &clock());
        table.lines(room, false).join("\n")
    }

    #[test]
    fn in_a_pipe() {
        insta::assert_snapshot!(shown(Room::Any));
        assert_eq!(shown(Room::Columns(200)), shown(Room::Any));
    }

    #[test]
    fn on_a_terminal_of_80_columns() {
        insta::assert_snapshot!(shown(Room::Columns(80)));
    }

    #[test]
    fn on_a_terminal_of_40_columns() {
        let mut long = died();
        long.board = "rack-imx8-with-a-rather-long-name".to_owned();
        let table = |holds: &[Hold]| {
            let chosen = choose(None, HOLD_COLUMNS, HoldColumn::USUAL).unwrap();
            let table = chosen.table(holds, true, &clock());
            table.lines(Room::Columns(40), false)
        };
        assert_eq!(
            table(&[long, forced()]),
            [
                "BOARD                     HOLDER  HOW",
                "rack-imx8-with-a-rath...  alice   died",
                "rack1/imx8                bob     forced",
            ]
        );
        let lines = table(&[died(), forced()]);
        assert!(lines.iter().all(|line| line.len() <= 40), "{lines:#?}");
    }
}
