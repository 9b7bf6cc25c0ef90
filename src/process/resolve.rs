//! Who is behind a request.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::again::Again;
use super::lists::Lists;
use super::node::Node;
use super::proc::{Proc, is_ours};
use super::text::shortened;
use super::walk::{Above, End, Start, Walk, Walker};
use crate::lock::caller::{Caller, Candidate, Chain, Groups, Standing};
use crate::lock::ids::{Gid, Pid, ProcessId, User};

/// How often a walk starts again because a process ended under it.
const TRIES: usize = 8;
/// No sane tree is deeper; who is further below is not on the holder's side.
const DEPTH: usize = 4096;
/// How far above a caller the script around it is looked for.
const AROUND: usize = 3;
/// A chain is shown no longer.
const CHAIN: usize = 200;

/// A process of a lineage and the pidfd that surely belongs to it.
#[derive(Debug)]
pub struct Pin {
    /// The process.
    pub process: ProcessId,
    /// Readable once the process has ended. None only for [`Proc::at`].
    pub fd: Option<Arc<OwnedFd>>,
}

/// Who holds in the name of a named process, if anybody.
pub(super) type Named = Option<(Candidate, Vec<Pin>)>;

/// How far up the ancestors of a caller are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// As far as it takes to find the holder.
    Holder,
    /// Up to pid 1.
    Root,
    /// A few further than to the holder, and which of them all are scripts.
    Scripts,
}

/// Finds the process that holds.
#[derive(Debug)]
pub struct Resolver {
    proc: Proc,
    lists: Lists,
    again: Again,
    reads_groups: bool,
}

impl Resolver {
    /// Reads processes from `proc` and judges them by `lists`.
    pub fn new(proc: Proc, lists: Lists) -> Resolver {
        Resolver {
            proc,
            lists,
            again: Again::default(),
            reads_groups: true,
        }
    }

    /// The same where nobody asks for the groups of callers: they are not read.
    pub fn without_groups(self) -> Resolver {
        Resolver {
            reads_groups: false,
            ..self
        }
    }

    /// Whether who asks is a tool that gives no file that it makes a lock of its process
    /// by fcntl(2): one that exits once it has claimed, or flock(1), which knows OFD locks
    /// at most. A script that bears such a name is none, unless the administrator said so:
    /// no walk passes it, and the first word of its command line is its interpreter's.
    pub fn makes_no_process_locks(&self, caller: &Caller) -> bool {
        let name = caller.program.as_str();
        match &caller.standing {
            Standing::Process(candidate) if name == "flock" => {
                let first = candidate.command.split(' ').next().unwrap_or_default();
                first.rsplit('/').next() == Some(name)
            }
            _ => {
                let passed = caller.lineage().first() != caller.requester.as_ref();
                passed && self.lists.takes_only(name)
            }
        }
    }

    /// Where it reads processes.
    pub fn proc(&self) -> &Proc {
        &self.proc
    }

    pub(super) fn walker(&self) -> Walker<'_> {
        Walker {
            proc: &self.proc,
            lists: &self.lists,
        }
    }

    /// Who is behind a request of thread `tid`, made with the credentials
    /// `user`; None for a thread that the daemon's pid namespace does not show.
    /// There is a pin for each process of the lineage.
    ///
    /// An error is the daemon's plight (no file descriptors left), neither the
    /// caller's fault nor anyone's death.
    pub fn caller(
        &self,
        tid: Option<Pid>,
        user: User,
        reach: Reach,
    ) -> io::Result<(Caller, Vec<Pin>)> {
        let Some(tid) = tid else {
            return Ok((Caller::unknown(user), Vec::new()));
        };
        if reach == Reach::Holder
            && let Some(known) = self.known(tid, user)
        {
            return Ok(known);
        }
        let found = self.find_caller(tid, user, reach);
        match found {
            // What is kept for those who ask again is needed.
            Err(error) if is_ours(&error) && self.again.forget() => {
                self.find_caller(tid, user, reach)
            }
            found => found,
        }
    }

    /// Who was behind the request before, if nothing has changed.
    pub(super) fn known(&self, tid: Pid, user: User) -> Option<(Caller, Vec<Pin>)> {
        let (mut caller, process, pidfd) = self.again.known(tid)?;
        caller.user = user;
        if let Standing::Process(candidate) = &mut caller.standing {
            candidate.user = user;
        }
        if self.reads_groups {
            let groups = self.proc.status(tid).ok()??.groups;
            caller.groups = Groups {
                holder: groups.clone(),
                request: groups,
            };
        }
        let fd = Some(pidfd);
        Some((caller, vec![Pin { process, fd }]))
    }

    fn find_caller(&self, tid: Pid, user: User, reach: Reach) -> io::Result<(Caller, Vec<Pin>)> {
        let before = match reach {
            Reach::Holder => self.again.before(&self.proc, tid),
            Reach::Root | Reach::Scripts => None,
        };
        let mut caller = Caller {
            thread: Some(tid),
            ..Caller::unknown(user)
        };
        caller.standing = Standing::Orphan(Chain::default());
        for _ in 0..TRIES {
            let Some((start, groups)) = self.requester(tid)? else {
                break;
            };
            caller.requester = Some(start.id);
            caller.program = start.name(&self.proc, &self.lists)?;
            caller.ancestors = vec![start.id];
            let Some(mut walk) = self.walker().walk(start, Start::Request)? else {
                continue;
            };
            if !self.go_on(&mut walk, reach)? {
                continue;
            }
            let Some((standing, pins)) = self.standing_of(&mut walk, Some(user))? else {
                continue;
            };
            caller.groups = Groups {
                holder: self.holder_groups(&walk, &groups)?,
                request: groups,
            };
            caller.standing = standing;
            caller.ancestors = walk.path.iter().map(|node| node.id).collect();
            let in_job = |node: &&Node| !node.leads_session() && node.id.pid.get() != 1;
            caller.job = walk.path.iter().take_while(in_job).count();
            if reach == Reach::Scripts {
                for node in walk.path.iter().take(caller.job) {
                    if node.program(&self.proc, &self.lists)?.shell {
                        caller.scripts.push(node.id);
                    }
                }
            }
            match (before, &walk.path[..], &pins[..]) {
                (
                    Some(before),
                    [node],
                    [
                        Pin {
                            process,
                            fd: Some(fd),
                        },
                    ],
                ) if node.id == *process && process.pid == tid => {
                    self.again.keep(before, *process, &caller, Arc::clone(fd));
                }
                (Some(_), ..) => self.again.never(tid),
                (None, ..) => {}
            }
            return Ok((caller, pins));
        }
        Ok((caller, Vec::new()))
    }

    /// The holder that a pid names which stood in a lock file before the
    /// daemon had to do with it; None where that names nobody who could hold.
    pub fn standing(&self, pid: Pid) -> io::Result<Option<(Candidate, Vec<Pin>)>> {
        for _ in 0..TRIES {
            let Some(start) = self.walker().find(pid)? else {
                return Ok(None);
            };
            if let Some(result) = self.named(start)? {
                return Ok(result);
            }
        }
        Ok(None)
    }

    /// What the walk from a named process leads to. The outer None: try again.
    pub(super) fn named(&self, start: Node) -> io::Result<Option<Named>> {
        let Some(mut walk) = self.walker().walk(start, Start::Name)? else {
            return Ok(None);
        };
        let Some((standing, pins)) = self.standing_of(&mut walk, None)? else {
            return Ok(None);
        };
        Ok(Some(match standing {
            Standing::Process(candidate) => Some((candidate, pins)),
            _ => None,
        }))
    }

    /// The supplementary groups of the thread of a request, which waits for its answer;
    /// none of one that is gone.
    pub fn groups(&self, thread: Pid) -> Vec<Gid> {
        let status = self.proc.status(thread).ok().flatten();
        status.map(|status| status.groups).unwrap_or_default()
    }

    /// Those of the process that a walk leads to.
    fn holder_groups(&self, walk: &Walk, request: &[Gid]) -> io::Result<Vec<Gid>> {
        let End::Lineage { first, .. } = walk.end else {
            return Ok(Vec::new());
        };
        let holder = walk.path.get(first).filter(|_| first > 0);
        Ok(match holder {
            None => request.to_vec(),
            Some(node) => node
                .status(&self.proc)?
                .map(|status| status.groups.clone())
                .unwrap_or_default(),
        })
    }

    /// The process of a thread that waits for the daemon's answer, and so is
    /// there to be read, even killed; with the thread's groups.
    fn requester(&self, tid: Pid) -> io::Result<Option<(Node, Vec<Gid>)>> {
        // A pidfd is no thread's but the first one's, which is faster to learn.
        let held = match self.reads_groups {
            true => None,
            false => self.proc.hold_leader(tid)?,
        };
        let status = match held {
            Some(_) => None,
            None => self.proc.status(tid)?,
        };
        let pid = status.as_ref().map_or(tid, |status| status.tgid);
        let Some(stat) = self.proc.stat(pid)? else {
            // Hidden from us, or gone.
            let node = self.walker().find(pid)?;
            return Ok(node.map(|node| (node, Vec::new())));
        };
        let node = Node::new(pid, Some(stat), held);
        let groups = status.as_ref().map(|status| status.groups.clone());
        let node = match status {
            Some(status) if pid == tid => node.with_status(status),
            _ => node,
        };
        Ok(Some((node, groups.unwrap_or_default())))
    }

    /// Goes on as far as is wanted. False: try again.
    fn go_on(&self, walk: &mut Walk, reach: Reach) -> io::Result<bool> {
        let most = match reach {
            Reach::Holder => walk.path.len(),
            Reach::Scripts => walk.path.len() + AROUND,
            Reach::Root => DEPTH,
        };
        while let Some(last) = walk.path.last().filter(|_| walk.path.len() < most) {
            match self.walker().above(last, false)? {
                Above::Process(node) => walk.path.push(*node),
                Above::Changed => return Ok(false),
                _ => break,
            }
        }
        Ok(true)
    }

    /// What a walk's end means, and the pins. None: try again.
    fn standing_of(
        &self,
        walk: &mut Walk,
        user: Option<User>,
    ) -> io::Result<Option<(Standing, Vec<Pin>)>> {
        let via = Chain(shortened(walk.passed.join(" < "), CHAIN));
        let lineage = match walk.end {
            End::Manager { started: true } => {
                return Ok(Some((Standing::Detached(via), Vec::new())));
            }
            End::Manager { started: false } => {
                return Ok(Some((Standing::Orphan(via), Vec::new())));
            }
            End::Lineage { first, end } => (first, end),
        };
        let Some(candidate) = self.candidate(walk, lineage, via, user)? else {
            return Ok(None);
        };
        let mut pins = Vec::new();
        for process in &candidate.lineage {
            let Some(node) = walk.path.iter_mut().find(|node| node.id == *process) else {
                continue;
            };
            let held = match node.held.take() {
                Some(held) => held,
                // The requester: its number is its own while it waits.
                None => match self.proc.hold(process.pid)? {
                    Some(held) => held,
                    None => return Ok(None),
                },
            };
            pins.push(Pin {
                process: *process,
                fd: held.0.map(Arc::new),
            });
        }
        Ok(Some((Standing::Process(candidate), pins)))
    }

    fn candidate(
        &self,
        walk: &Walk,
        (first, end): (usize, usize),
        via: Chain,
        user: Option<User>,
    ) -> io::Result<Option<Candidate>> {
        let Some(lineage) = walk.path.get(first..end) else {
            return Ok(None);
        };
        let Some(holder) = lineage.first() else {
            return Ok(None);
        };
        let user = match user.filter(|_| first == 0) {
            Some(user) => user,
            None => match (holder.status(&self.proc)?, user) {
                (Some(status), _) => status.user,
                // Hidden from us.
                (None, Some(user)) if holder.stat.is_none() => user,
                (None, _) => return Ok(None),
            },
        };
        let via = match first {
            0 => Chain(holder.name(&self.proc, &self.lists)?),
            _ => {
                let mut chain = via.0;
                for (at, process) in lineage.iter().enumerate() {
                    chain.push_str(" < ");
                    chain.push_str(&self.walker().label(process, at + 1 < lineage.len())?);
                }
                Chain(shortened(chain, CHAIN))
            }
        };
        Ok(Some(Candidate {
            lineage: lineage.iter().map(|node| node.id).collect(),
            user,
            command: holder.command(&self.proc)?,
            via,
        }))
    }
}
