//! What the files in `.boardlock` say: written by who serves, read by the commands.
//!
//! An interface: keys stay, new ones may come. What users chose (names, command lines,
//! notes) is printable already (`src/printable.rs`).

use serde::{Deserialize, Serialize};

/// The version of these files.
pub const VERSION: u32 = 1;

/// The directory in the root of a lock directory that has them.
pub const DIRECTORY: &str = ".boardlock";

/// `status.json`: the boards as they are at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusFile {
    /// [`VERSION`].
    pub version: u32,
    /// The version of the boardlock that serves.
    pub boardlock: String,
    /// The lock directory.
    pub directory: String,
    /// The moment, RFC 3339 in UTC.
    pub now: String,
    /// The same in seconds since 1970.
    pub now_unix: i64,
    /// The boards that are held and, with an inventory, the free ones; by name.
    pub boards: Vec<Board>,
}

/// One board.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Board {
    /// Its path in the lock directory.
    pub board: String,
    /// What it is: `file`, `directory`, `link`; none if it is free.
    pub kind: Option<String>,
    /// `held`, `overdue`, `detached` or `free`.
    pub state: String,
    /// The user's name.
    pub holder: Option<String>,
    /// The user's number.
    pub uid: Option<u32>,
    /// The holder's pid; none if it is detached or not known.
    pub pid: Option<u32>,
    /// The holder's command line.
    pub command: Option<String>,
    /// How the holder was found.
    pub via: Option<String>,
    /// When it was taken, RFC 3339.
    pub since: Option<String>,
    /// The same in seconds since 1970.
    pub since_unix: Option<i64>,
    /// Until when it is good, RFC 3339.
    pub expires: Option<String>,
    /// The same in seconds since 1970.
    pub expires_unix: Option<i64>,
    /// The same from now on; negative when overdue.
    pub expires_in_seconds: Option<i64>,
    /// The number of this acquisition.
    pub token: Option<u64>,
    /// How many wait for it.
    pub waiters: usize,
    /// The note.
    pub note: Option<String>,
    /// How file locks hold it: `exclusive` or `shared`.
    pub lock: Option<String>,
    /// How many file locks.
    pub locks: usize,
    /// The first of those who wait, in order.
    pub waiting: Vec<Waiting>,
    /// Who was refused it last during this hold, the oldest first.
    pub refused: Vec<Refused>,
    /// Whether it is a name that lock tools make for a moment.
    #[serde(default)]
    pub temporary: bool,
    /// What the inventory says of it, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory: Option<Listed>,
}

/// Who waits for a board.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    /// The place in the queue, from 1.
    pub place: usize,
    /// The user's name.
    pub holder: String,
    /// The user's number.
    pub uid: u32,
    /// The process.
    pub pid: Option<u32>,
    /// `exclusive` or `shared`.
    pub lock: String,
    /// Since when, RFC 3339.
    pub since: String,
    /// The command line.
    pub command: String,
}

/// Who was refused a board.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refused {
    /// When, RFC 3339.
    pub when: String,
    /// The user's name.
    pub holder: String,
    /// The user's number.
    pub uid: u32,
    /// The process that would have held it.
    pub pid: Option<u32>,
    /// Its command line.
    pub command: Option<String>,
    /// How it was found.
    pub via: Option<String>,
    /// Why, in words.
    pub reason: String,
    /// The same as a word for programs, which stays.
    #[serde(default)]
    pub code: String,
}

/// What an inventory says of a board.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Listed {
    /// What it is, in words.
    pub description: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// The pools that it is in.
    pub pools: Vec<String>,
    /// How long it may be had at a time.
    pub longest_lease_seconds: Option<u64>,
    /// Who may take it; none: everybody.
    pub may_take: Option<MayTake>,
    /// Why it cannot be taken now.
    pub out_of_service: Option<String>,
}

/// Who may take a board.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MayTake {
    /// These users.
    pub users: Vec<String>,
    /// Members of these groups.
    pub groups: Vec<String>,
}

/// `history.json`: holds that ended, the oldest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryFile {
    /// [`VERSION`].
    pub version: u32,
    /// The holds.
    pub holds: Vec<Hold>,
}

/// A hold that ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hold {
    /// The board.
    pub board: String,
    /// The user's name.
    pub holder: String,
    /// The user's number.
    pub uid: u32,
    /// The process.
    pub pid: Option<u32>,
    /// Its command line.
    pub command: Option<String>,
    /// How it was found.
    pub via: Option<String>,
    /// When it began, RFC 3339.
    pub since: String,
    /// When it ended, RFC 3339.
    pub ended: String,
    /// How long it lasted.
    pub seconds: u64,
    /// How it ended: `released`, `died`, `expired`, `forced`, `unlocked`, `replaced`,
    /// `renamed`, `emptied`.
    pub how: String,
    /// Who ended it, where that was not the holder's end.
    pub by: Option<String>,
    /// The number of the acquisition.
    pub token: u64,
    /// `claim` or `lock`.
    pub kind: String,
}
