//! boardlock: a lock directory whose files are the locks of shared boards.
//!
//! A request of the kernel comes in at [`fuse`], [`process`] finds who is
//! behind it, the table in [`lock`] decides, and [`service`] carries out what
//! it decided. Data flows that one way; the table knows no FUSE, no clock and
//! no I/O.

#![forbid(unsafe_code)]

pub mod background;
pub mod chronicle;
pub mod cli;
pub mod client;
pub mod clock;
pub mod daemon;
pub mod doctor;
pub mod fault;
pub mod fuse;
pub mod inventory;
pub mod journal;
pub mod lock;
pub mod migrate;
pub mod printable;
pub mod process;
mod readable;
pub mod report;
pub mod schema;
pub mod service;
pub mod store;
pub mod supervise;
pub mod syslog;
pub mod turn;
pub mod watch;
