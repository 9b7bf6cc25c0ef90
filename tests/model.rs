//! Random histories of the lock table against a naive model of the contract:
//! the same answers, never two holders, nothing lost and nothing left.
//!
//! `PROPTEST_CASES` sets how many histories are played.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "model/calls.rs"]
mod calls;
#[path = "model/changes.rs"]
mod changes;
#[path = "model/check.rs"]
mod check;
#[path = "model/driver.rs"]
mod driver;
#[path = "model/files.rs"]
mod files;
#[path = "model/history.rs"]
mod history;
#[path = "model/play.rs"]
mod play;
#[path = "model/reference.rs"]
mod reference;
#[path = "model/rules.rs"]
mod rules;
#[path = "model/saved.rs"]
mod saved;
#[path = "model/world.rs"]
mod world;

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRunner};

use boardlock::lock::options::{ExpireRule, ReleaseRule};
use driver::{Lie, Tally};
use history::{History, history};

const CASES: u32 = 4000;
/// Where the number is not set, a busy machine plays fewer.
const ENOUGH: Duration = Duration::from_secs(20);

/// Plays random histories; says how their calls were answered.
fn run(cases: u32, lie: Option<Lie>) -> Result<Tally, TestError<History>> {
    let set = std::env::var("PROPTEST_CASES").ok();
    let set: Option<u32> = set.and_then(|set| set.parse().ok());
    let set = set.filter(|_| lie.is_none());
    let mut runner = TestRunner::new(Config {
        cases: set.unwrap_or(cases),
        failure_persistence: None,
        max_shrink_iters: 20_000,
        // Most of the time would be spent on better numbers.
        rng_algorithm: RngAlgorithm::XorShift,
        ..Config::default()
    });
    let start = Instant::now();
    let failed = Cell::new(false);
    let total = RefCell::new((0_usize, 0_usize, Tally::new()));
    runner.run(&history(80), |history| {
        if set.is_none() && !failed.get() && start.elapsed() > ENOUGH {
            return Ok(());
        }
        let tally = play::play(&history, lie).map_err(|wrong| {
            failed.set(true);
            TestCaseError::fail(wrong)
        })?;
        let mut total = total.borrow_mut();
        total.0 += 1;
        total.1 += history.ops.len();
        for (answer, times) in tally {
            *total.2.entry(answer).or_default() += times;
        }
        Ok(())
    })?;
    let (histories, steps, tally) = total.into_inner();
    let took = start.elapsed();
    println!("{histories} histories of {steps} steps in {took:?}: {tally:?}");
    Ok(tally)
}

#[test]
fn the_table_keeps_the_contract() {
    let tally = match run(CASES, None) {
        Ok(tally) => tally,
        Err(TestError::Fail(reason, history)) => {
            let steps = history.ops.iter().map(|op| format!("{op:?}\n"));
            let steps: String = steps.collect();
            let options = History {
                ops: Vec::new(),
                ..history
            };
            panic!("{reason}\n{options:?}\n{steps}");
        }
        Err(error) => panic!("{error}"),
    };
    // Histories in which a call never wins or never loses would show nothing.
    if tally.values().sum::<usize>() > 20_000 {
        for (call, errno) in MUST_HAPPEN {
            assert!(tally.contains_key(&(call, errno)), "{call}: never {errno}");
        }
    }
}

/// What happens in any good number of histories.
const MUST_HAPPEN: [(&str, i32); 32] = [
    ("create", 0),
    ("create", libc::EBUSY),
    ("create", libc::EEXIST),
    ("create", libc::EPERM),
    ("create", libc::ESTALE),
    ("create", libc::EDQUOT),
    ("open", 0),
    ("open", libc::EBUSY),
    ("open", libc::EAGAIN),
    ("mknod", 0),
    ("mkdir", 0),
    ("mkdir", libc::EBUSY),
    ("mkdir", libc::EEXIST),
    ("symlink", 0),
    ("symlink", libc::EEXIST),
    ("link", 0),
    ("link", libc::EBUSY),
    ("link", libc::EEXIST),
    ("rename", 0),
    ("rename", libc::EBUSY),
    ("rename", libc::EEXIST),
    ("unlink", 0),
    ("unlink", libc::EPERM),
    ("rmdir", 0),
    ("rmdir", libc::ENOTEMPTY),
    ("utimens", 0),
    ("utimens", libc::EBUSY),
    ("truncate", 0),
    ("truncate", libc::EBUSY),
    ("write", 0),
    ("write", libc::EBUSY),
    ("setxattr", 0),
];

/// Histories that once failed.
#[test]
fn what_failed_once_is_right() {
    use history::{Mode, Op};
    use world::Who;

    let open = |who| Op::Open {
        who,
        path: 1,
        mode: Mode::default(),
        raced: false,
        close: false,
    };
    // A board of two names, open by its holder and by another, whose holder ends.
    let ops = vec![
        Op::Touch(Who::Own(0), 1),
        Op::Link(Who::Own(0), 1, 0),
        open(Who::Own(0)),
        open(Who::Detached(0)),
        Op::Die(vec![0], true),
    ];
    let history = History {
        lease: false,
        release: ReleaseRule::Holder,
        expire: ExpireRule::Keep,
        narrow: false,
        ops,
    };
    if let Err(wrong) = play::play(&history, None) {
        panic!("{wrong}");
    }
}

/// The checker finds a table that lies once.
#[test]
fn lies_are_found() {
    for (lie, sign) in [
        (Lie::LoserWins, "answered Ok"),
        (Lie::KeepsDead, "dead process"),
        (Lie::LosesLiving, "list of boards"),
        (Lie::ForgetsWatch, "watched processes"),
    ] {
        match run(200, Some(lie)) {
            Err(TestError::Fail(reason, history)) => {
                assert!(reason.message().contains(sign), "{lie:?}: {reason}");
                assert!(history.ops.len() < 10, "{lie:?}: {history:?}");
            }
            other => panic!("{lie:?} was not found: {other:?}"),
        }
    }
}
