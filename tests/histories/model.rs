//! What a board does, one call at a time: the contract as a sequential
//! specification. A history is right if its calls can be put into an order in
//! which this gives the same answers.

use super::action::{Family, How, Mode};

/// A client of a history, by its number.
pub type Process = u8;
/// An open file, by the number of the call that opened it.
pub type File = u16;

/// What the model takes for granted of the file system.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// A board without a holder has no file, and making one claims it. Else
    /// there is one file, and only locks.
    pub claims: bool,
    /// Locks of flock(2) and of fcntl(2) exclude each other, but not within one
    /// process.
    pub families_exclude: bool,
}

impl Rules {
    /// Those of a served lock directory.
    pub const SERVED: Rules = Rules {
        claims: true,
        families_exclude: true,
    };
    /// Those of a local file system of Linux.
    pub const BARE: Rules = Rules {
        claims: false,
        families_exclude: false,
    };
}

/// What happens to a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Open {
        how: How,
        file: File,
    },
    Lock {
        file: File,
        family: Family,
        mode: Mode,
        wait: bool,
    },
    Unlock {
        file: File,
        family: Family,
    },
    Close {
        file: File,
    },
    Unlink,
    Stat,
    Links,
    /// What the status shows.
    Status,
    Ask {
        file: File,
        family: Family,
        mode: Mode,
    },
    /// A lock is asked for and is not granted yet: this ends the claim that
    /// the open file made, and lets go a lock that is to be changed.
    Attempt {
        file: File,
        family: Family,
    },
    /// A wait has been ended by a signal: nothing waits any more.
    Leave,
    /// The first half of a close: what the process locked by fcntl(2) goes.
    Flush,
    /// The process is gone, and with it this open file of its.
    GoneFile {
        file: File,
    },
    /// The process is gone, and with it its claim.
    GoneClaim,
}

/// How a call ended, in the model's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It succeeded, and told nothing else.
    Done,
    /// It failed.
    Failed(i32),
    /// Whether the board is free, or a lock would be granted.
    Free(bool),
    /// Who is shown as the holder; none for pid 0.
    Held(Option<Process>),
}

/// A file lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lock {
    pub family: Family,
    /// The open file, or the process, whose it is.
    pub owner: u16,
    pub process: Process,
    pub mode: Mode,
}

/// A claim; it may have come by an open file through which no lock was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    pub process: Process,
    pub file: Option<File>,
}

/// A board.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    pub claim: Option<Claim>,
    /// In order, for comparison.
    pub locks: Vec<Lock>,
}

/// Who makes a call.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    pub process: Process,
    /// Whether the call must not get ahead of somebody in the queue.
    pub behind: bool,
    /// Whether there was a time during the call in which nothing could be recorded:
    /// nothing is given out then, and who waits goes on waiting.
    pub full: bool,
}

/// Whose a lock is.
fn owner(family: Family, file: File, process: Process) -> u16 {
    match family {
        Family::Posix => process.into(),
        Family::Flock | Family::Ofd => file,
    }
}

impl State {
    /// Whether the board has no file.
    pub fn free(&self) -> bool {
        self.claim.is_none() && self.locks.is_empty()
    }

    fn claimed_by_another(&self, process: Process) -> bool {
        self.claim.is_some_and(|claim| claim.process != process)
    }

    fn own(&self, family: Family, owner: u16) -> Option<&Lock> {
        let own = |lock: &&Lock| lock.family == family && lock.owner == owner;
        self.locks.iter().find(own)
    }

    fn conflicts(&self, rules: &Rules, process: Process, wanted: (Family, u16, Mode)) -> bool {
        let (family, owner, mode) = wanted;
        let same_kind = |a, b| (a == Family::Flock) == (b == Family::Flock);
        self.claimed_by_another(process)
            || self.locks.iter().any(|lock| {
                (lock.family, lock.owner) != (family, owner)
                    && (same_kind(lock.family, family)
                        || (rules.families_exclude && lock.process != process))
                    && lock.mode.excludes(mode)
            })
    }

    fn without(&self, gone: impl Fn(&Lock) -> bool) -> State {
        let locks = self.locks.iter().copied().filter(|lock| !gone(lock));
        State {
            claim: self.claim,
            locks: locks.collect(),
        }
    }

    fn without_lock(&self, family: Family, owner: u16) -> State {
        self.without(|lock| lock.family == family && lock.owner == owner)
    }

    fn flushed(&self, process: Process) -> State {
        self.without(|lock| lock.family == Family::Posix && lock.process == process)
    }

    /// What is left when an open file is closed: with any of them a process
    /// lets go all that it locked by fcntl(2).
    fn closed(&self, file: File, process: Process) -> State {
        let mut left = self.without(|lock| match lock.family {
            Family::Posix => lock.process == process,
            Family::Flock | Family::Ofd => lock.owner == file,
        });
        if let Some(claim) = &mut left.claim
            && claim.file == Some(file)
        {
            claim.file = None;
        }
        left
    }

    fn claimed(&self, process: Process, file: File) -> State {
        State {
            claim: Some(Claim {
                process,
                file: Some(file),
            }),
            locks: Vec::new(),
        }
    }

    /// What is left after the first half of asking for a lock: a claim by that
    /// open file ends, and flock(2) lets the old lock go before it waits for the
    /// new one, or is refused it.
    fn attempted(
        &self,
        process: Process,
        file: File,
        (family, mode): (Family, Option<Mode>),
    ) -> State {
        let mut left = self.clone();
        if left.claim.is_some_and(|claim| claim.file == Some(file)) {
            left.claim = None;
        }
        let owner = owner(family, file, process);
        let converts = |lock: &Lock| Some(lock.mode) != mode;
        if family == Family::Flock && left.own(family, owner).is_some_and(converts) {
            left = left.without_lock(family, owner);
        }
        left
    }

    fn unlinkable_by(&self, process: Process) -> bool {
        let own = |lock: &Lock| lock.process == process && lock.mode == Mode::Exclusive;
        self.claim.is_some_and(|claim| claim.process == process) || self.locks.iter().any(own)
    }

    /// The states in which the board can be after a call that was told so; of
    /// one whose caller was killed (`told` is none), those in which it had an
    /// effect. None if the call cannot have come at this point.
    pub fn after(
        &self,
        rules: &Rules,
        caller: Caller,
        call: &Call,
        told: Option<Told>,
    ) -> Vec<State> {
        let process = caller.process;
        let if_so = |so: bool| if so { vec![self.clone()] } else { Vec::new() };
        match (*call, told) {
            (Call::Open { how, file }, told) => self.opened(rules, caller, (how, file), told),
            (
                Call::Lock {
                    file,
                    family,
                    mode,
                    wait,
                },
                told,
            ) => self.locked(rules, caller, file, (family, mode, wait), told),
            (Call::Attempt { file, family }, _) => {
                vec![self.attempted(process, file, (family, None))]
            }
            (Call::Leave, _) => vec![self.clone()],
            (Call::Flush, _) => vec![self.flushed(process)],
            (Call::Unlock { file, family }, Some(Told::Done) | None) => {
                vec![self.without_lock(family, owner(family, file, process))]
            }
            (Call::Close { file }, Some(Told::Done) | None) | (Call::GoneFile { file }, _) => {
                vec![self.closed(file, process)]
            }
            (Call::GoneClaim, _) => {
                let mut left = self.clone();
                left.claim = left.claim.filter(|claim| claim.process != process);
                vec![left]
            }
            (Call::Unlink, Some(Told::Done)) => {
                if self.free() {
                    Vec::new()
                } else {
                    vec![State::default()]
                }
            }
            (Call::Unlink, None) => vec![State::default()],
            (Call::Unlink, Some(Told::Failed(libc::ENOENT))) => if_so(self.free()),
            // Anybody else of the same user may, if it was not refused before.
            (Call::Unlink, Some(Told::Failed(libc::EPERM))) => {
                if_so(!self.free() && !self.unlinkable_by(process))
            }
            (Call::Stat, Some(Told::Done)) => if_so(!rules.claims || !self.free()),
            (Call::Stat, Some(Told::Failed(libc::ENOENT))) => if_so(rules.claims && self.free()),
            (Call::Links, Some(Told::Free(free))) => if_so((rules.claims && self.free()) == free),
            (Call::Status, Some(Told::Failed(libc::ENOENT))) => if_so(self.free()),
            (Call::Status, Some(Told::Held(shown))) => if_so(self.shows(shown)),
            (Call::Ask { file, family, mode }, Some(Told::Free(free))) => {
                let owner = owner(family, file, process);
                if_so(self.conflicts(rules, process, (family, owner, mode)) != free)
            }
            (Call::Stat | Call::Links | Call::Status | Call::Ask { .. }, None) => {
                vec![self.clone()]
            }
            _ => Vec::new(),
        }
    }

    fn opened(
        &self,
        rules: &Rules,
        caller: Caller,
        (how, file): (How, File),
        told: Option<Told>,
    ) -> Vec<State> {
        let process = caller.process;
        let same = || vec![self.clone()];
        if !rules.claims {
            return match told {
                Some(Told::Done) | None => same(),
                _ => Vec::new(),
            };
        }
        match told {
            Some(Told::Done) | None if self.free() => {
                // Who waits in the queue gets a free board before anyone else.
                if how.creates() && !caller.behind {
                    vec![self.claimed(process, file)]
                } else {
                    Vec::new()
                }
            }
            Some(Told::Done) | None => match how {
                How::Exclusive => Vec::new(),
                How::Touch if self.claimed_by_another(process) => Vec::new(),
                _ => same(),
            },
            Some(Told::Failed(libc::ENOSPC)) if caller.full => same(),
            Some(Told::Failed(libc::EEXIST)) if how == How::Exclusive && !self.free() => same(),
            Some(Told::Failed(libc::ENOENT)) if how == How::Existing && self.free() => same(),
            Some(Told::Failed(libc::EAGAIN))
                if how == How::Touch && self.claimed_by_another(process) =>
            {
                same()
            }
            _ => Vec::new(),
        }
    }

    fn locked(
        &self,
        rules: &Rules,
        caller: Caller,
        file: File,
        (family, mode, wait): (Family, Mode, bool),
        told: Option<Told>,
    ) -> Vec<State> {
        let process = caller.process;
        let owner = owner(family, file, process);
        let tried = self.attempted(process, file, (family, Some(mode)));
        let refused = tried.conflicts(rules, process, (family, owner, mode));
        match told {
            // Nothing was tried.
            Some(Told::Failed(libc::ENOSPC)) if caller.full => vec![self.clone()],
            // What waited had something in its way. That it may have ended a
            // claim is an attempt of its own.
            Some(Told::Failed(libc::EINTR)) if wait => {
                let granted = rules.claims
                    && !caller.full
                    && !refused
                    && (self.free() || self.has(process, file, (family, owner)));
                if granted {
                    Vec::new()
                } else {
                    vec![self.clone()]
                }
            }
            // fcntl(2) notices processes that wait for each other.
            Some(Told::Failed(libc::EDEADLK)) if wait && family != Family::Flock && refused => {
                vec![tried]
            }
            Some(Told::Failed(libc::EAGAIN | libc::EACCES)) if !wait && refused => vec![tried],
            Some(Told::Done) | None => {
                if caller.behind && self.overtakes(process, file, (family, owner, mode), wait) {
                    return Vec::new();
                }
                if refused {
                    return Vec::new();
                }
                let mut granted = tried.without_lock(family, owner);
                granted.locks.push(Lock {
                    family,
                    owner,
                    process,
                    mode,
                });
                granted.locks.sort_unstable();
                vec![granted]
            }
            _ => Vec::new(),
        }
    }

    /// Whether granting this, which came after somebody in the queue, would be
    /// getting ahead: not for who has the board anyway, and not for a try that
    /// shares it with those who have it.
    fn overtakes(
        &self,
        process: Process,
        file: File,
        (family, owner, mode): (Family, u16, Mode),
        wait: bool,
    ) -> bool {
        let has_it = self.has(process, file, (family, owner));
        let shares = !wait && mode == Mode::Shared && !self.locks.is_empty();
        !has_it && !shares
    }

    /// Whether somebody who wants a lock has the board anyway, and does not
    /// stand in line for it.
    fn has(&self, process: Process, file: File, (family, owner): (Family, u16)) -> bool {
        self.claim
            .is_some_and(|claim| claim.process == process || claim.file == Some(file))
            || self.own(family, owner).is_some()
            || self.has_other_kind(process, family)
    }

    /// Whether a process has a lock of flock(2) where this is one of fcntl(2),
    /// or the other way round.
    fn has_other_kind(&self, process: Process, family: Family) -> bool {
        let flock = family == Family::Flock;
        let other =
            |lock: &Lock| lock.process == process && (lock.family == Family::Flock) != flock;
        self.locks.iter().any(other)
    }

    /// Whether the status can show this holder.
    fn shows(&self, shown: Option<Process>) -> bool {
        if let Some(claim) = self.claim {
            return shown == Some(claim.process);
        }
        match shown {
            Some(process) => self.locks.iter().any(|lock| lock.process == process),
            // Whoever opened it may be about to be gone.
            None => !self.locks.is_empty(),
        }
    }
}
