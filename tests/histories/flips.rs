//! Lies put into histories that were really played: one answer is turned into
//! its opposite, and the checker must object.

use libtest_mimic::Trial;

use super::action::{Action, Family, How, Mode, Slot, Sure, Wait};
use super::history::History;
use super::judge::judge;
use super::lab::Lab;
use super::model::Rules;
use super::pool::Pool;
use super::random::Random;
use super::record::Answer;
use super::report;
use super::stage::Stage;

pub fn tests() -> Vec<Trial> {
    trials![every_lie_is_found]
}

/// Histories, and calls of each.
const HISTORIES: u64 = 20;
const CALLS: u64 = 40;
/// Clients of a history.
const CLIENTS: u64 = 4;

/// Something that ends at once, whoever has the board.
fn action(random: &mut Random) -> Action {
    let slot = Slot::from(random.percent(30));
    let family = random.pick(&[Family::Flock, Family::Posix, Family::Ofd]);
    let mode = random.pick(&[Mode::Shared, Mode::Exclusive]);
    let hows = [
        How::Exclusive,
        How::Append,
        How::Read,
        How::Touch,
        How::Existing,
    ];
    match random.below(16) {
        0..5 => Action::Open(0, slot, random.pick(&hows)),
        5..8 => Action::Lock(0, slot, family, mode, Wait::No),
        8 => Action::Unlock(0, slot, family),
        9..11 => Action::Close(0, slot),
        11 => Action::Unlink(0, Sure::Believed),
        12 => Action::Stat(0),
        13 => Action::Links(0, slot),
        14 => Action::Status(0),
        _ => Action::Ask(0, slot, family, mode),
    }
}

/// One call after the other, so that each has one right answer.
fn play(seed: u64, pool: &mut Pool) -> Result<History, String> {
    let mut random = Random::new(seed);
    pool.prepare(usize::try_from(CLIENTS).unwrap());
    let mut stage = Stage::new(pool);
    for _ in 0..CLIENTS {
        stage.enter(&[]);
    }
    stage.until(None, |_| false)?;
    for _ in 0..CALLS {
        let client = usize::try_from(random.below(CLIENTS)).unwrap();
        let action = action(&mut random);
        stage.tell(client, &[action]);
        stage.until(None, |stage| stage.idle(client))?;
    }
    for client in 0..usize::try_from(CLIENTS).unwrap() {
        stage.tell(client, &[Action::Finish]);
        stage.until(None, |stage| stage.idle(client))?;
    }
    stage.end()
}

/// The opposite of an answer, if there is one that is wrong wherever this one
/// is right.
fn lie(action: Action, answer: Answer) -> Option<Answer> {
    let other = match action {
        Action::Open(_, _, How::Exclusive) => libc::EEXIST,
        Action::Open(_, _, How::Existing) | Action::Stat(_) => libc::ENOENT,
        Action::Status(_) | Action::Unlink(..) if answer.errno == 0 => libc::ENOENT,
        Action::Unlink(..) if answer.errno == libc::ENOENT => libc::ENOENT,
        Action::Open(_, _, How::Touch) | Action::Lock(..) => libc::EAGAIN,
        Action::Links(..) | Action::Ask(..) => {
            return Some(Answer {
                value: i64::from(answer.value == 0),
                ..answer
            });
        }
        _ => return None,
    };
    let errno = if answer.errno == 0 { other } else { 0 };
    Some(Answer { errno, ..answer })
}

fn every_lie_is_found() {
    let lab = Lab::new(&[]);
    let mut pool = Pool::new(lab.dir(), Some(lab.daemon_pid()));
    let mut lies = 0;
    for seed in 0..HISTORIES {
        let mut history = play(seed, &mut pool).unwrap();
        if let Err(error) = judge(&history, &Rules::SERVED) {
            panic!("without a lie: {error}");
        }
        for process in 0..history.traces.len() {
            for at in 0..history.traces[process].records.len() {
                let record = history.traces[process].records[at];
                let Some((end, answer)) = record.end else {
                    continue;
                };
                let Some(lie) = lie(record.action, answer) else {
                    continue;
                };
                history.traces[process].records[at].end = Some((end, lie));
                assert!(
                    judge(&history, &Rules::SERVED).is_err(),
                    "p{process}'s {record:?} can be turned into {lie:?}\n{}",
                    report::raw(&history)
                );
                history.traces[process].records[at].end = Some((end, answer));
                lies += 1;
            }
        }
    }
    assert!(lies > 200, "{lies}");
}
