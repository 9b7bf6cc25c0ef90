//! boardlock: a lock directory whose files are the locks of shared boards.
//!
//! A request of the kernel comes in at [`fuse`], [`process`] finds who is
//! behind it, the table in [`lock`] decides, and what it decided is carried out
//! by [`daemon`]. Data flows that one way; the table knows no FUSE, no clock
//! and no I/O.

pub mod cli;
pub mod daemon;
pub mod fuse;
pub mod journal;
pub mod lock;
pub mod migrate;
pub mod process;
