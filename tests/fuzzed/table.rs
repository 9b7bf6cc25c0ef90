//! Operations on the table, played against the naive model of `tests/model.rs`;
//! what is saved of it on the way comes back as it was.

#[path = "../model/calls.rs"]
mod calls;
#[path = "../model/changes.rs"]
mod changes;
#[path = "../model/check.rs"]
mod check;
#[path = "../model/driver.rs"]
mod driver;
#[path = "../model/files.rs"]
mod files;
#[path = "../model/history.rs"]
mod history;
#[path = "../model/play.rs"]
mod play;
#[path = "../model/reference.rs"]
mod reference;
#[path = "../model/rules.rs"]
mod rules;
#[path = "../model/saved.rs"]
mod saved;
#[path = "../model/world.rs"]
mod world;

use boardlock::lock::options::{ExpireRule, ReleaseRule};

use super::bytes::Bytes;
use history::{History, Mode, OFFSETS, Op, PATHS, SetTime, TARGETS, Text};
use world::{PLACES, TOOLS, USERS, Who};

/// Longer histories find nothing that shorter ones do not.
const MOST: usize = 120;

pub fn check(data: &[u8]) {
    let history = read(&mut Bytes(data));
    if let Err(wrong) = play::play(&history, None) {
        let options = History {
            ops: Vec::new(),
            ..history.clone()
        };
        let steps = history.ops.iter().map(|op| format!("{op:?}\n"));
        panic!("{wrong}\n{options:?}\n{}", steps.collect::<String>());
    }
}

fn read(bytes: &mut Bytes) -> History {
    let bits = bytes.byte();
    let mut history = History {
        lease: bits & 1 != 0,
        release: if bits & 2 != 0 {
            ReleaseRule::Holder
        } else {
            ReleaseRule::Owner
        },
        expire: if bits & 4 != 0 {
            ExpireRule::Hard
        } else {
            ExpireRule::Keep
        },
        narrow: bits & 24 == 24,
        ops: Vec::new(),
    };
    while !bytes.is_over() && history.ops.len() < MOST {
        history.ops.push(op(bytes));
    }
    history
}

fn who(bytes: &mut Bytes) -> Who {
    match bytes.below(8) {
        0 | 1 => Who::Own(bytes.below(PLACES)),
        2 | 3 => {
            let place = bytes.below(PLACES);
            Who::Tool(place, bytes.below(TOOLS.len()))
        }
        4 => Who::Holder(bytes.flag()),
        5 => Who::Detached(bytes.below(USERS.len())),
        6 => Who::Orphan(bytes.below(USERS.len())),
        _ => Who::Unseen(bytes.below(USERS.len())),
    }
}

fn path(bytes: &mut Bytes) -> usize {
    bytes.below(PATHS.len())
}

fn text(bytes: &mut Bytes) -> Text {
    match bytes.below(5) {
        0 => Text::Pid(bytes.below(PLACES)),
        1 => {
            let offset = bytes.maybe_below(OFFSETS.len());
            Text::Both(offset, bytes.maybe_below(PLACES))
        }
        2 => Text::Note,
        3 => Text::Zero,
        _ => Text::Long,
    }
}

fn set_time(bytes: &mut Bytes) -> Option<SetTime> {
    match bytes.below(OFFSETS.len() + 2) {
        0 => None,
        1 => Some(SetTime::Now),
        offset => Some(SetTime::To(offset - 2)),
    }
}

fn mode(bytes: &mut Bytes) -> Mode {
    let bits = bytes.byte();
    Mode {
        create: bits & 1 != 0,
        exclusive: bits & 3 == 3,
        write: bits & 4 != 0,
        append: bits & 8 != 0,
        truncate: bits & 16 != 0,
        nonblock: bits & 32 != 0,
    }
}

fn op(bytes: &mut Bytes) -> Op {
    match bytes.below(25) {
        0 => Op::Touch(who(bytes), path(bytes)),
        1 => Op::Remake(who(bytes), path(bytes)),
        2 => Op::Echo(who(bytes), path(bytes), text(bytes)),
        3 | 4 => {
            let bits = bytes.byte();
            Op::Open {
                who: who(bytes),
                path: path(bytes),
                mode: mode(bytes),
                raced: bits & 6 == 6,
                close: bits & 1 != 0,
            }
        }
        5 => Op::Stale(who(bytes), bytes.below(8)),
        6 => Op::OpenDirectory(who(bytes), path(bytes), bytes.flag()),
        7 => Op::Mknod(who(bytes), path(bytes)),
        8 => Op::Mkdir(who(bytes), path(bytes)),
        9 => Op::Symlink(who(bytes), path(bytes), bytes.below(TARGETS.len())),
        10 => Op::Link(who(bytes), path(bytes), path(bytes)),
        11 => Op::Rename(who(bytes), path(bytes), path(bytes), bytes.byte() % 8),
        12 => Op::Unlink(who(bytes), path(bytes)),
        13 => Op::Rmdir(who(bytes), path(bytes)),
        14 => Op::Utimens(who(bytes), path(bytes), set_time(bytes), set_time(bytes)),
        15 => Op::Truncate(who(bytes), path(bytes), bytes.of(&[0, 3, 4096, 4097])),
        16 => Op::Ftruncate(bytes.below(8), bytes.of(&[0, 5, 5000])),
        17 => Op::Write {
            handle: bytes.below(8),
            text: text(bytes),
            offset: bytes.of(&[0, 4, 4094]),
            later: bytes.flag(),
        },
        18 => Op::Judge,
        19 => Op::Close(bytes.below(8)),
        20 => {
            let (who, path) = (who(bytes), path(bytes));
            Op::SetExpires(who, path, bytes.maybe_below(OFFSETS.len()))
        }
        21 => match bytes.flag() {
            true => Op::SetNote(who(bytes), path(bytes)),
            false => Op::Chown(who(bytes), path(bytes), bytes.flag()),
        },
        22 => {
            let bits = bytes.byte();
            let places = 1 + usize::from(bits >> 1) % 3;
            Op::Die(
                (0..places).map(|_| bytes.below(PLACES)).collect(),
                bits & 1 != 0,
            )
        }
        23 => Op::Spawn(bytes.below(PLACES)),
        _ => {
            let passed = bytes.byte() % 200;
            let set = match bytes.flag() {
                true => i16::from(bytes.byte().cast_signed()) * 31,
                false => 0,
            };
            Op::Clock(passed, set)
        }
    }
}
