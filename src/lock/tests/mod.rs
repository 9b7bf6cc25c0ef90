//! The contract, sentence by sentence: one file a section of semantics.md.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod acquire;
mod adopted;
mod callers;
mod calls;
mod cast;
mod content;
mod detached;
mod directories;
mod expiry;
mod forced;
mod inventory;
mod lab;
mod links;
mod lock_calls;
mod locks;
mod locks_never;
mod metadata;
mod names;
mod never;
mod release;
mod rename;
mod sent_back;
mod several_names;
mod sound;
mod status;
mod times;
mod writing;
