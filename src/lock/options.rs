//! What the administrator chose.

use std::time::Duration;

use super::ids::Uid;

/// Who may take a living holder's lock away (semantics.md, "Release").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ReleaseRule {
    /// The holder's side, the file's user, root and the daemon's user.
    #[default]
    Owner,
    /// The holder's side alone.
    Holder,
}

/// What the expiry of a claim does while its holder lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ExpireRule {
    /// The claim stays and is shown as overdue.
    #[default]
    Keep,
    /// The board is freed.
    Hard,
}

/// How many boards there can be, by default.
pub const MAX_BOARDS: usize = 100_000;

/// How many of them one user can have, by default.
pub const MAX_PER_USER: usize = 10_000;

/// The table's options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// What every new claim is good for, if it is limited.
    pub lease: Option<Duration>,
    /// Who may release.
    pub release: ReleaseRule,
    /// What expiry does.
    pub expire: ExpireRule,
    /// The most boards there can be; one more is ENOSPC.
    pub max_boards: usize,
    /// The most boards that one user can have; one more is EDQUOT.
    pub max_per_user: usize,
    /// Whom the daemon runs as: as good as root for releasing.
    pub daemon: Uid,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            lease: None,
            release: ReleaseRule::default(),
            expire: ExpireRule::default(),
            max_boards: MAX_BOARDS,
            max_per_user: MAX_PER_USER,
            daemon: Uid::ROOT,
        }
    }
}
