//! Histories of a queue: one has the board, others come one after the other,
//! and each is seen in the queue before the next one comes. So it is known who
//! was there first.

use std::time::Duration;

use super::action::{Action, Board, Family, How, Mode, Slot, Sure, Wait};
use super::history::{History, Poke};
use super::pool::{PATIENCE, Pool};
use super::random::Random;
use super::record::Record;
use super::stage::Stage;

/// The board that it is about, and the place of each client's open file.
const BOARD: Board = 0;
const SLOT: Slot = 0;
/// Looks at the queue until somebody must have been seen in it, with longer
/// and longer pauses.
const LOOKS: usize = 70;

/// Plays the queue with this number.
///
/// # Errors
/// What hangs, in words.
pub fn play(seed: u64, pool: &mut Pool) -> Result<History, String> {
    let mut random = Random::new(seed);
    let count = 2 + random.below(11);
    pool.prepare(usize::try_from(count).unwrap() + 4);
    let mut stage = Stage::new(pool);
    let begin = if random.percent(40) {
        vec![Action::Open(BOARD, SLOT, How::Exclusive)]
    } else {
        taking(&mut random, Wait::No)
    };
    let holder = stage.enter(&begin);
    stage.until(None, |stage| stage.idle(holder))?;
    let looker = stage.enter(&[]);
    let mut stopped = Vec::new();
    for _ in 0..count {
        if random.percent(15) {
            // Who does not wait must not get ahead, either.
            let script = trying(&mut random);
            stage.enter(&script);
            continue;
        }
        let mut script = taking(&mut random, WAITS);
        script.push(Action::Pause(u16::try_from(random.below(300)).unwrap()));
        script.extend(giving(&mut random));
        let waiter = stage.enter(&script);
        arrives(&mut stage, waiter, looker)?;
        if random.percent(35) {
            let poke = random.pick(&[Poke::Interrupt, Poke::Kill, Poke::Stop, Poke::Restart]);
            let victim = usize::try_from(random.below(waiter as u64 + 1)).unwrap();
            if victim != looker && victim != holder {
                stage.poke(victim, poke)?;
                stopped.push(victim);
            }
        }
        if random.percent(50) {
            for victim in stopped.drain(..) {
                stage.poke(victim, Poke::Continue)?;
            }
        }
    }
    if random.percent(30) {
        stage.enter(&trying(&mut random));
    }
    if random.percent(25) {
        stage.poke(holder, Poke::Kill)?;
    }
    stage.tell(holder, &giving(&mut random));
    if random.percent(30) {
        stage.enter(&trying(&mut random));
    }
    stage.end()
}

/// Without a limit, for who holds nothing.
const WAITS: Wait = Wait::Yes(200);

/// Takes the board by a lock.
fn taking(random: &mut Random, wait: Wait) -> Vec<Action> {
    let family = random.pick(&[Family::Flock, Family::Flock, Family::Posix, Family::Ofd]);
    let mode = random.pick(&[Mode::Exclusive, Mode::Exclusive, Mode::Shared]);
    let mut script = vec![
        Action::Open(BOARD, SLOT, How::Append),
        Action::Lock(BOARD, SLOT, family, mode, wait),
    ];
    if mode == Mode::Shared && random.percent(40) {
        // Who shares it wants it alone.
        let mode = Mode::Exclusive;
        script.push(Action::Lock(BOARD, SLOT, family, mode, wait));
    }
    script
}

/// Gives it up, in one of many ways.
fn giving(random: &mut Random) -> Vec<Action> {
    let mut script = match random.below(5) {
        0 => vec![Action::Unlink(BOARD, Sure::Believed)],
        1 => vec![Action::Close(BOARD, SLOT)],
        2 => return vec![Action::Exit],
        _ => Vec::new(),
    };
    script.push(Action::Finish);
    script
}

/// Tries for it, and does not wait.
fn trying(random: &mut Random) -> Vec<Action> {
    let mut script = Vec::new();
    for _ in 0..1 + random.below(5) {
        if random.percent(50) {
            script.push(Action::Open(BOARD, SLOT, How::Exclusive));
            script.push(Action::Unlink(BOARD, Sure::Believed));
        } else {
            script.extend(taking(random, Wait::No));
        }
        script.push(Action::Close(BOARD, SLOT));
    }
    script.push(Action::Finish);
    script
}

/// Waits until a client is seen in the queue, or does not wait.
fn arrives(stage: &mut Stage, waiter: usize, looker: usize) -> Result<(), String> {
    let mut pause = Duration::from_micros(50);
    for _ in 0..LOOKS {
        let trace = stage.trace(waiter);
        let lock = |record: &&Record| matches!(record.action, Action::Lock(..));
        let lock = trace.records.iter().find(lock).copied();
        if lock.is_some_and(|lock| lock.end.is_some()) || stage.gone(waiter) {
            return Ok(());
        }
        if lock.is_some() {
            stage.tell(looker, &[Action::Status(BOARD)]);
            stage.until(None, |stage| stage.idle(looker))?;
            let last = stage.trace(looker).records.last().copied();
            let shown = last.and_then(|last| last.end);
            let pid = stage.trace(waiter).pid;
            if shown.is_some_and(|(_, answer)| answer.waiters.contains(&pid)) {
                return Ok(());
            }
        }
        std::thread::sleep(pause);
        pause = (pause * 3 / 2).min(PATIENCE / 50);
    }
    Err(format!("client {waiter} is not seen in the queue"))
}
