//! What fuzzers look for, one file a target: each has a `check` that takes any
//! bytes and panics where a promise is broken. `tests/corpus.rs` replays what
//! they have found worth keeping.

// A fuzzer has use for one target of these alone.
#![allow(dead_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod boards;
mod bytes;
pub mod locks;
pub mod metadata;
pub mod options;
pub mod restore;
pub mod state;
pub mod strings;
pub mod table;
mod written;
