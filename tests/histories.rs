//! Random histories of many processes on shared boards, with random signals,
//! checked for linearizability against a model of the contract.
//!
//! `BOARDLOCK_HISTORIES` sets how many are played, `BOARDLOCK_SEED` plays the
//! one of that number again and again (who is faster differs each time). In one test
//! whoever serves is killed meanwhile, at random and at named points of its work
//! (`src/fault.rs`), and stopped, and its clock is set; in another the disk that its
//! state file is on fills up and empties as well.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// What is shared with the tests in tests/mount is not all used here.
#![allow(dead_code)]

#[path = "histories/action.rs"]
mod action;
#[path = "histories/client.rs"]
mod client;
#[path = "mount/fault.rs"]
mod fault;
#[path = "histories/history.rs"]
mod history;
#[path = "histories/injector.rs"]
mod injector;
#[path = "histories/judge.rs"]
mod judge;
#[path = "mount/lab.rs"]
mod lab;
#[path = "histories/model.rs"]
mod model;
#[path = "histories/order.rs"]
mod order;
#[path = "histories/plan.rs"]
mod plan;
#[path = "histories/pool.rs"]
mod pool;
#[path = "mount/process.rs"]
mod process;
#[path = "histories/random.rs"]
mod random;
#[path = "histories/record.rs"]
mod record;
#[path = "histories/report.rs"]
mod report;
#[path = "histories/search.rs"]
mod search;
#[path = "mount/site.rs"]
mod site;
#[path = "mount/small.rs"]
mod small;
#[path = "histories/stage.rs"]
mod stage;
#[path = "histories/sys.rs"]
mod sys;
#[path = "histories/timer.rs"]
mod timer;
#[macro_use]
#[path = "mount/trial.rs"]
mod trial;
#[path = "histories/checks.rs"]
mod checks;
#[path = "histories/flips.rs"]
mod flips;
#[path = "histories/line.rs"]
mod line;
#[path = "histories/played.rs"]
mod played;

use libtest_mimic::Arguments;

fn main() -> std::process::ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let Some((client::ARGUMENT, rest)) = words.split_first().map(|(w, r)| (w.as_str(), r)) {
        client::main(rest);
        return std::process::ExitCode::SUCCESS;
    }
    let mut args = Arguments::from_args();
    // Each takes the machine as it is.
    args.test_threads.get_or_insert(1);
    let tests = [checks::tests(), flips::tests(), played::tests()];
    libtest_mimic::run(&args, tests.into_iter().flatten().collect()).exit_code()
}
