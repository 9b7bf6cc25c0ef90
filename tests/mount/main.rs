//! Tests through a real mount: a daemon of its own for each, its clients real
//! programs. `tests/run` installs these first.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// Not every helper is used by a test in every state of the suite.
#![allow(dead_code)]

#[macro_use]
mod trial;
mod acquire;
mod callers;
mod client;
mod commands;
mod death;
mod directories;
mod doctor;
mod execs;
mod fault;
mod faults;
mod full_disk;
mod harness;
mod helper;
mod holders;
mod hostile;
mod inside;
mod inventory;
mod keeper;
mod lab;
mod leaving;
mod lockers;
mod locks;
mod manager;
mod metadata;
mod migrating;
mod mounting;
mod names;
mod namespaces;
mod nudge;
#[path = "../one_file/mod.rs"]
mod one_file;
mod open;
mod options;
mod parked;
mod patience;
mod polling;
mod process;
mod queue;
mod races;
#[path = "../histories/random.rs"]
mod random;
mod release;
mod restart;
mod round_trips;
mod run;
mod sessions;
mod several_names;
mod shown;
mod site;
mod small;
mod smoke;
mod status;
mod survival;
mod tbot;
mod terminals;
mod times;
mod tmux;
mod unmounted;
mod upgrade;
mod users;
mod waiting;
mod why;
mod written;

use libtest_mimic::Arguments;

/// Tests that run at a time: most of them wait, few compute.
const THREADS: usize = 4;

fn main() -> std::process::ExitCode {
    let mut args = Arguments::from_args();
    if args.test_threads.is_none() {
        let threads = std::env::var("RUST_TEST_THREADS")
            .ok()
            .and_then(|n| n.parse().ok());
        args.test_threads = Some(threads.unwrap_or(THREADS));
    }
    let tests = [
        acquire::tests(),
        callers::tests(),
        commands::tests(),
        death::tests(),
        directories::tests(),
        doctor::tests(),
        execs::tests(),
        faults::tests(),
        full_disk::tests(),
        harness::tests(),
        helper::tests(),
        holders::tests(),
        hostile::tests(),
        inventory::tests(),
        inside::tests(),
        keeper::tests(),
        leaving::tests(),
        lockers::tests(),
        locks::tests(),
        metadata::tests(),
        migrating::tests(),
        mounting::tests(),
        names::tests(),
        namespaces::tests(),
        nudge::tests(),
        open::tests(),
        options::tests(),
        parked::tests(),
        patience::tests(),
        polling::tests(),
        queue::tests(),
        races::tests(),
        round_trips::tests(),
        restart::tests(),
        release::tests(),
        run::tests(),
        sessions::tests(),
        several_names::tests(),
        smoke::tests(),
        status::tests(),
        survival::tests(),
        manager::tests(),
        upgrade::tests(),
        tbot::tests(),
        terminals::tests(),
        times::tests(),
        unmounted::tests(),
        users::tests(),
        why::tests(),
        written::tests(),
    ];
    libtest_mimic::run(&args, tests.into_iter().flatten().collect()).exit_code()
}
