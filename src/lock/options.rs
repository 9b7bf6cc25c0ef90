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

/// What becomes of an open for writing that meets a held board (semantics.md,
/// "Opening a held board for writing").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OpenRule {
    /// It waits where the board may yet be held by file locks, is refused where
    /// it is claimed, and holds nothing where file locks hold it.
    #[default]
    Wait,
    /// The same, but refused where file locks hold it, too.
    Strict,
    /// It always succeeds and holds nothing: flock(2) alone decides.
    Shared,
}

/// How long an open waits at most, by default.
pub const OPEN_WAIT: Duration = Duration::from_secs(2);

/// How many boards there can be, by default.
pub const MAX_BOARDS: usize = 100_000;

/// How many of them one user can have, by default.
pub const MAX_PER_USER: usize = 10_000;
/// The default of [`Options::max_waiting`]: each costs a kilobyte.
pub const MAX_WAITING: usize = 10_000;

/// The table's options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// What every new claim is good for, if it is limited.
    pub lease: Option<Duration>,
    /// Who may release.
    pub release: ReleaseRule,
    /// What expiry does.
    pub expire: ExpireRule,
    /// What opening a held board for writing does.
    pub open: OpenRule,
    /// How long such an open waits at most.
    pub open_wait: Duration,
    /// The most boards there can be; one more is ENOSPC.
    pub max_boards: usize,
    /// The most boards that one user can have; one more is EDQUOT.
    pub max_per_user: usize,
    /// The most locks of one user that can wait; one more is ENOLCK.
    pub max_waiting: usize,
    /// Whom the daemon runs as: as good as root for releasing.
    pub daemon: Uid,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            lease: None,
            release: ReleaseRule::default(),
            expire: ExpireRule::default(),
            open: OpenRule::default(),
            open_wait: OPEN_WAIT,
            max_boards: MAX_BOARDS,
            max_per_user: MAX_PER_USER,
            max_waiting: MAX_WAITING,
            daemon: Uid::ROOT,
        }
    }
}
