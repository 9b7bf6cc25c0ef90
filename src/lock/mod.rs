//! The lock table: boards, claims, file locks, waiters, expiry. Pure: an event and a time
//! in, a decision and its effects out. No FUSE, no clock, no I/O.
//!
//! | rule of semantics.md | file |
//! | --- | --- |
//! | Acquire, by call | `acquire.rs`, `rename.rs` |
//! | Opening a held board for writing | `open.rs`, `parked.rs` |
//! | File locks | `locking.rs`, `file_lock.rs` |
//! | File locks: order, waiting | `queue.rs`, `recall.rs` |
//! | File locks: of several names | `parts.rs`, `walked.rs` |
//! | Release | `release.rs`, `holds.rs` |
//! | Detached claims, expiry | `claim.rs`, `expiry.rs` |
//! | Metadata: content | `content.rs`, `record.rs` |
//! | Metadata: times, mode, extended attributes | `attributes.rs` |
//! | What outlives the daemon | `saved.rs`, `sound.rs`, `tracked.rs` |
//! | Directories and links | `node.rs`, `acquire.rs` |
//! | Directories that an administrator lays out | `laid_out.rs` |
//! | Which boards there are and who may take them, where there is an inventory | `boards.rs`, `admission.rs` |

pub mod acquire;
mod admission;
pub mod attributes;
pub mod boards;
pub mod caller;
pub mod claim;
pub mod content;
pub mod effect;
pub mod expiry;
pub(crate) mod fair;
pub mod few;
pub mod file_lock;
mod holds;
pub mod ids;
mod laid_out;
pub mod locking;
pub mod node;
pub mod open;
pub mod options;
mod parked;
mod parts;
pub mod queue;
pub mod rarely;
mod recall;
pub mod record;
pub mod refusal;
pub mod release;
pub mod rename;
pub mod restored;
pub mod saved;
pub mod shown;
mod sound;
pub mod table;
pub mod time;
mod tracked;
pub mod walked;
mod watchers;

#[cfg(test)]
mod tests;

pub use refusal::Refusal;
pub use table::Table;
