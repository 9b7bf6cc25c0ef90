//! Who asks: what the table is told of the process behind a request.
//!
//! Found by `process`, judged by the table (semantics.md, "Who is the
//! caller"). Plain data: whatever holds a pidfd stays outside.

use serde::{Deserialize, Serialize};

use super::ids::{Gid, Pid, ProcessId, Uid, User};

/// The process that asks, and for whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// The thread whose system call this is, as the kernel numbers it; none
    /// when the daemon cannot see it.
    pub thread: Option<Pid>,
    /// The process whose system call this is; none when the daemon cannot see
    /// it (it lives in a pid namespace beside or above the daemon's).
    pub requester: Option<ProcessId>,
    /// The requester's program as the lists name it: its comm, or the applet
    /// of a multi-call binary. Empty when it cannot be seen.
    pub program: String,
    /// The credentials of the request.
    pub user: User,
    /// What the rules made of it.
    pub standing: Standing,
    /// The requester and its ancestors, nearest first, as far up as they were
    /// asked for; who is on the holder's side is read from it.
    pub ancestors: Vec<ProcessId>,
    /// How many of them, from the requester up, are one job: those below the
    /// leader of its session.
    pub job: usize,
    /// The scripts among the job, as far as that was asked for.
    pub scripts: Vec<ProcessId>,
    /// The supplementary groups, for an inventory. Not saved: they are read anew.
    #[serde(skip)]
    pub groups: Groups,
}

/// Supplementary groups, as the kernel has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    /// Those of the thread that asks.
    pub request: Vec<Gid>,
    /// Those of the process that would hold.
    pub holder: Vec<Gid>,
}

/// What the rules of "Who is the caller" lead to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// A process would hold.
    Process(Candidate),
    /// A session manager started the requester: nobody is left to hold, the
    /// claim belongs to the user alone.
    Detached(Chain),
    /// The script that the requester worked for has ended.
    Orphan(Chain),
    /// The requester lives in a pid namespace that the daemon cannot see.
    Unseen,
}

/// A process that can hold, and what is told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Never empty. The first holds; when it ends the next one does. More than
    /// one only for forked subshells: each is followed by the shell that it
    /// was forked from.
    pub lineage: Vec<ProcessId>,
    /// The user that the first of the lineage runs as.
    pub user: User,
    /// Its command line, made printable and cut to a readable length.
    pub command: String,
    /// How it was found.
    pub via: Chain,
}

impl Candidate {
    /// The process that holds first; none only for a lineage that breaks the
    /// promise above.
    pub fn holder(&self) -> Option<ProcessId> {
        self.lineage.first().copied()
    }
}

/// The programs from the requester up to the holder, with the shells that it
/// was forked from, or, for a detached claim, to the session manager, as `touch < sh -c < make`. Printable. For a
/// requester that holds itself: its own name.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Chain(pub String);

impl std::fmt::Display for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Caller {
    /// Somebody of whom nothing but the user is known.
    pub fn unknown(user: User) -> Caller {
        Caller {
            thread: None,
            requester: None,
            program: String::new(),
            user,
            standing: Standing::Unseen,
            ancestors: Vec::new(),
            job: 0,
            scripts: Vec::new(),
            groups: Groups::default(),
        }
    }

    /// Everybody to whom a board would go: whose request it is, and who would hold.
    pub(super) fn takers(&self) -> Vec<(User, &[Gid])> {
        let mut takers = vec![(self.user, self.groups.request.as_slice())];
        if let Standing::Process(candidate) = &self.standing {
            takers.push((candidate.user, self.groups.holder.as_slice()));
        }
        takers
    }

    /// The processes that may hold for this caller: itself and the shells it
    /// was forked from.
    pub fn lineage(&self) -> &[ProcessId] {
        match &self.standing {
            Standing::Process(candidate) => &candidate.lineage,
            _ => &[],
        }
    }

    /// Whether the request came from this process or from below it on the way
    /// to the caller; the way is not told of one that nobody stands behind.
    pub fn acts_in(&self, process: ProcessId) -> bool {
        match self.lineage().first() {
            Some(first) => self
                .ancestors
                .iter()
                .take_while(|passed| *passed != first)
                .any(|passed| *passed == process),
            None => self.requester == Some(process),
        }
    }

    /// The requester and what is above it in the same job.
    pub fn job(&self) -> &[ProcessId] {
        self.ancestors.get(..self.job).unwrap_or(&self.ancestors)
    }

    /// The chain by which the caller was found, for status and log.
    pub fn via(&self) -> &str {
        match &self.standing {
            Standing::Process(candidate) => &candidate.via.0,
            Standing::Detached(via) | Standing::Orphan(via) => &via.0,
            Standing::Unseen => "another pid namespace",
        }
    }

    /// Whether `process` is the requester or above it.
    pub fn descends_from(&self, process: ProcessId) -> bool {
        self.ancestors.contains(&process)
    }

    /// The user whose request this is.
    pub fn uid(&self) -> Uid {
        self.user.uid
    }
}
