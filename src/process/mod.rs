//! Who is the caller: /proc read by the rules of semantics.md, "Who is the
//! caller".
//!
//! The facts and the name lists behind the rules are data in `lists` and
//! `names`; `command` reads the string of a `sh -c`, `resolve` walks up,
//! `written` follows the pids that callers write. `proc` alone reads files.

mod again;
pub mod beside;
mod command;
mod equal;
#[doc(hidden)]
pub mod fuzzed;
mod lists;
mod names;
mod node;
mod nudge;
mod open_files;
mod opener;
mod proc;
mod resolve;
mod search;
mod text;
mod walk;
mod words;
mod written;

#[cfg(test)]
mod tests;

pub use lists::{BadName, Lists};
pub use nudge::nudge;
pub use open_files::{Files, Shown};
pub use proc::Proc;
pub use resolve::{Pin, Reach, Resolver};
