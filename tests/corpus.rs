//! Replays what the fuzzers found worth keeping: `fuzz/corpus`, and in
//! `fuzz/regressions` what once broke something.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "fuzzed/mod.rs"]
mod fuzzed;

use std::path::Path;

/// Checks all inputs of a target.
fn replay(target: &str, check: fn(&[u8])) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let mut count = 0;
    for kind in ["corpus", "regressions"] {
        let Ok(inputs) = std::fs::read_dir(fuzz.join(kind).join(target)) else {
            assert_ne!(kind, "corpus", "{target} has no corpus");
            continue;
        };
        for input in inputs {
            let path = input.unwrap().path();
            let data = std::fs::read(&path).unwrap();
            if std::panic::catch_unwind(|| check(&data)).is_err() {
                panic!("{} breaks {target}", path.display());
            }
            count += 1;
        }
    }
    assert!(count > 10, "{target}: {count} inputs");
}

#[test]
fn metadata() {
    replay("metadata", fuzzed::metadata::check);
}

#[test]
fn state() {
    replay("state", fuzzed::state::check);
}

#[test]
fn restore() {
    replay("restore", fuzzed::restore::check);
}

#[test]
fn boards() {
    replay("boards", fuzzed::boards::check);
}

#[test]
fn options() {
    replay("options", fuzzed::options::check);
}

#[test]
fn strings() {
    replay("strings", fuzzed::strings::check);
}

#[test]
fn table() {
    replay("table", fuzzed::table::check);
}

#[test]
fn locks() {
    replay("locks", fuzzed::locks::check);
}
