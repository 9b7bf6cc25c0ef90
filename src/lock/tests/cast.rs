//! Who appears in these tests.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::lock::caller::{Caller, Candidate, Chain, Groups, Standing};
use crate::lock::ids::{Gid, Pid, ProcessId, StartTime, Uid, User};

pub const ALICE: User = user(1000);
pub const BOB: User = user(1001);
pub const ROOT: User = user(0);
/// Whom the daemon runs as, in `Lab::with_daemon_user`.
pub const DAEMON: User = user(500);

/// Alice's script, two shells forked from it, and a program that it runs.
pub const SCRIPT: u32 = 100;
pub const SUBSHELL: u32 = 110;
pub const SUBSHELL2: u32 = 111;
pub const CHILD: u32 = 120;
/// Another job of alice's, and the scripts of bob, root and the daemon's user.
pub const OTHER_JOB: u32 = 200;
pub const BOBS: u32 = 300;
pub const ROOTS: u32 = 400;
pub const DAEMONS: u32 = 500;

const fn user(number: u32) -> User {
    User {
        uid: Uid(number),
        gid: Gid(number),
    }
}

/// The process with this pid; each pid has one start here.
pub fn process(pid: u32) -> ProcessId {
    ProcessId {
        pid: Pid::new(pid).unwrap(),
        start: StartTime(u64::from(pid) * 10),
    }
}

fn processes(pids: &[u32]) -> Vec<ProcessId> {
    pids.iter().copied().map(process).collect()
}

/// What the content of a board or a caller's walk may lead to.
pub fn candidate(user: User, lineage: &[u32]) -> Candidate {
    Candidate {
        lineage: processes(lineage),
        user,
        command: format!("/bin/sh ./job{}", lineage[0]),
        via: Chain("touch".to_owned()),
    }
}

/// A one-shot tool's process: never the same twice.
fn tool() -> ProcessId {
    static LAST: AtomicU32 = AtomicU32::new(10_000);
    process(LAST.fetch_add(1, Ordering::Relaxed))
}

/// A tool run by the first of `lineage`, below the processes in `above`.
fn at_work(user: User, lineage: &[u32], above: &[u32]) -> Caller {
    let requester = tool();
    let mut ancestors = vec![requester];
    ancestors.extend(processes(lineage));
    ancestors.extend(processes(above));
    Caller {
        thread: Some(requester.pid),
        requester: Some(requester),
        program: "touch".to_owned(),
        user,
        standing: Standing::Process(candidate(user, lineage)),
        // The last one leads the session.
        job: ancestors.len() - 1,
        scripts: processes(&[lineage, above].concat()[..lineage.len() + above.len() - 1]),
        groups: Groups::default(),
        ancestors,
    }
}

pub fn alice() -> Caller {
    at_work(ALICE, &[SCRIPT], &[90])
}

pub fn alices_subshell() -> Caller {
    at_work(ALICE, &[SUBSHELL, SCRIPT], &[90])
}

pub fn alices_other_subshell() -> Caller {
    at_work(ALICE, &[SUBSHELL2, SCRIPT], &[90])
}

/// A program below alice's script that holds for itself.
pub fn alices_child() -> Caller {
    at_work(ALICE, &[CHILD], &[SCRIPT, 90])
}

pub fn alices_other_job() -> Caller {
    at_work(ALICE, &[OTHER_JOB], &[91])
}

/// A program below that job that holds for itself.
pub fn alices_other_jobs_child() -> Caller {
    at_work(ALICE, &[OTHER_JOB + 10], &[OTHER_JOB, 91])
}

/// Another one below it.
pub fn alices_other_jobs_second_child() -> Caller {
    at_work(ALICE, &[OTHER_JOB + 11], &[OTHER_JOB, 91])
}

pub fn bob() -> Caller {
    at_work(BOB, &[BOBS], &[92])
}

/// One of many jobs of bob's.
pub fn bobs_job(number: u32) -> Caller {
    at_work(BOB, &[100_000 + number], &[92])
}

pub fn root() -> Caller {
    at_work(ROOT, &[ROOTS], &[1])
}

pub fn daemons_user() -> Caller {
    at_work(DAEMON, &[DAEMONS], &[1])
}

/// `sudo touch` in alice's script: root asks, her script would hold.
pub fn alices_sudo() -> Caller {
    Caller {
        user: ROOT,
        ..alice()
    }
}

fn nobody_left(user: User, standing: Standing) -> Caller {
    let requester = tool();
    Caller {
        thread: Some(requester.pid),
        requester: Some(requester),
        program: "touch".to_owned(),
        user,
        standing,
        ancestors: vec![requester, process(1)],
        job: 0,
        scripts: Vec::new(),
        groups: Groups::default(),
    }
}

/// `ssh lab touch ...`.
pub fn detached(user: User) -> Caller {
    nobody_left(user, Standing::Detached(Chain("touch < sshd".to_owned())))
}

/// A tool whose script has ended.
pub fn orphan(user: User) -> Caller {
    nobody_left(user, Standing::Orphan(Chain("touch".to_owned())))
}

/// A process in a pid namespace that the daemon cannot see.
pub fn unseen(user: User) -> Caller {
    Caller::unknown(user)
}

impl Caller {
    /// The same caller, by another program.
    pub fn by(mut self, program: &str) -> Caller {
        self.program = program.to_owned();
        self
    }
}
