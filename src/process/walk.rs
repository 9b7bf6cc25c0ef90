//! The walk up from a process to the one that holds: rules 2 to 7.

use std::io;

use super::command::only_claims;
use super::lists::Lists;
use super::node::Node;
use super::proc::{Held, Proc, Stat};
use crate::lock::ids::Pid;

/// More carriers in a row are a caller's game with us: what is there holds.
const CARRIERS: usize = 100;

/// What the walk starts from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// The process whose system call it is.
    Request,
    /// A process that a pid in a file names.
    Name,
}

/// Where a walk ended.
pub(super) enum End {
    /// Of `Walk::path` the process at `first` holds, then those after it up to
    /// `end`.
    Lineage { first: usize, end: usize },
    /// A session manager; whether it started what came before it.
    Manager { started: bool },
}

pub(super) struct Walk {
    /// The processes visited, the one it started from first.
    pub path: Vec<Node>,
    /// The names of those that were passed, for the chain.
    pub passed: Vec<String>,
    pub end: End,
}

/// The process above another.
pub(super) enum Above {
    Process(Box<Node>),
    /// The top of all processes, or of those that can be seen.
    Top,
    /// Something ended or moved meanwhile.
    Changed,
}

/// Where processes are read from and how they are judged.
pub(super) struct Walker<'a> {
    pub proc: &'a Proc,
    pub lists: &'a Lists,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    No,
    OneShot,
    Wrapper,
}

impl Walker<'_> {
    /// The process `pid` as it is now, held so that it cannot be mistaken.
    /// None when it has ended.
    pub fn find(&self, pid: Pid) -> io::Result<Option<Node>> {
        let Some(held) = self.proc.hold(pid)? else {
            return Ok(None);
        };
        let stat = self.proc.stat(pid)?;
        // A living pidfd now says that the number was its own all along. A
        // dead leader is alive as long as another of its threads is.
        let dead = self.is_dead(stat.as_ref(), &held)?;
        Ok((!dead).then(|| Node::new(pid, stat, Some(held))))
    }

    fn is_dead(&self, stat: Option<&Stat>, held: &Held) -> io::Result<bool> {
        if self.proc.may_hide() {
            return held.is_dead();
        }
        Ok(stat.is_none_or(Stat::is_zombie))
    }

    /// The process above `child`, held if `hold`.
    pub fn above(&self, child: &Node, hold: bool) -> io::Result<Above> {
        let Some(stat) = &child.stat else {
            return Ok(Above::Top);
        };
        let Some(pid) = stat.ppid else {
            return Ok(Above::Top);
        };
        let held = if hold {
            match self.proc.hold(pid)? {
                Some(held) => Some(held),
                None => return Ok(Above::Changed),
            }
        } else {
            None
        };
        let parent = self.proc.stat(pid)?;
        if parent.is_none() && !self.proc.may_hide() {
            return Ok(Above::Changed);
        }
        // One that started before its child was there all the time, so the
        // number was no other's. Clock ticks are long: equal ones do not tell.
        let older = parent
            .as_ref()
            .is_some_and(|parent| parent.start < stat.start);
        if !older {
            match self.proc.stat(child.id.pid)? {
                Some(again) if again.start == stat.start && again.ppid == stat.ppid => {}
                _ => return Ok(Above::Changed),
            }
        }
        // Nobody's parent is dead; a dead leader may have living threads.
        if let Some(held) = &held
            && parent.as_ref().is_none_or(Stat::is_zombie)
            && self.is_dead(parent.as_ref(), held)?
        {
            return Ok(Above::Changed);
        }
        Ok(Above::Process(Box::new(Node::new(pid, parent, held))))
    }

    /// Walks up. None when something changed on the way: start again.
    pub fn walk(&self, start: Node, from: Start) -> io::Result<Option<Walk>> {
        let (proc, lists) = (self.proc, self.lists);
        let mut path: Vec<Node> = Vec::new();
        let mut passed = Vec::new();
        let mut before = Pass::No;
        let mut next = start;
        loop {
            let child = path.last();
            if self.manages(&next, child)? {
                let started = child.is_none_or(Node::leads_session);
                passed.push(next.name(proc, lists)?);
                path.push(next);
                return Ok(Some(Walk {
                    path,
                    passed,
                    end: End::Manager { started },
                }));
            }
            let pass = match child {
                None => self.passes_first(&next, from)?,
                Some(child) => self.passes(&next, child, before)?,
            };
            let first = path.len();
            path.push(next);
            let mut carries = pass != Pass::No;
            if !carries {
                // Up to the shell that the forked ones belong to.
                let mut orphan = false;
                while let Some(last) = path.last().filter(|last| last.is_forked()) {
                    if !last.program(proc, lists)?.shell {
                        break;
                    }
                    match self.above(last, true)? {
                        Above::Changed => return Ok(None),
                        Above::Process(node)
                            if node.id.pid.get() != 1
                                && last.is_subshell_of(&node, proc, lists)? =>
                        {
                            path.push(*node);
                        }
                        Above::Process(node)
                            if first == 0
                                && path.len() == 1
                                && last.is_tool_within(&node, proc, lists)? =>
                        {
                            carries = true;
                            break;
                        }
                        // A subshell whose shell is gone holds alone.
                        _ => {
                            orphan = true;
                            break;
                        }
                    }
                    if path.len() > CARRIERS {
                        break;
                    }
                }
                if let Some(top) = path.last().filter(|_| !carries && !orphan) {
                    carries = match top.string(proc, lists)? {
                        Some((string, fish)) => only_claims(string, fish, lists),
                        None => false,
                    };
                }
            }
            if !carries || path.len() > CARRIERS {
                let end = End::Lineage {
                    first,
                    end: path.len(),
                };
                return Ok(Some(Walk { path, passed, end }));
            }
            let count = path.len();
            for (at, node) in path.iter().enumerate().skip(first) {
                passed.push(self.label(node, at + 1 < count)?);
            }
            before = pass;
            let Some(last) = path.last() else {
                return Ok(None);
            };
            match self.above(last, true)? {
                Above::Changed => return Ok(None),
                Above::Process(node) => next = *node,
                Above::Top => {
                    let started = last.leads_session();
                    return Ok(Some(Walk {
                        path,
                        passed,
                        end: End::Manager { started },
                    }));
                }
            }
        }
    }

    /// Rule 6.
    fn manages(&self, node: &Node, child: Option<&Node>) -> io::Result<bool> {
        if node.id.pid.get() == 1 || node.is_manager(self.proc, self.lists)? {
            return Ok(true);
        }
        // A container's first process; the session comes at no cost.
        if child.is_none_or(|child| child.session() == node.session()) {
            return Ok(false);
        }
        Ok(node
            .status(self.proc)?
            .is_some_and(|status| status.nspid.len() > 1 && status.nspid.last() == Some(&1)))
    }

    /// Rule 2, and rule 3 for a wrapper that was named.
    fn passes_first(&self, node: &Node, from: Start) -> io::Result<Pass> {
        if node.is_one_shot(self.proc, self.lists)? {
            Ok(Pass::OneShot)
        } else if from == Start::Name && node.is_wrapper(self.proc, self.lists)? {
            Ok(Pass::Wrapper)
        } else {
            Ok(Pass::No)
        }
    }

    /// Rules 2 and 3 for the parent of a process that passed as `before`.
    fn passes(&self, node: &Node, child: &Node, before: Pass) -> io::Result<Pass> {
        let (proc, lists) = (self.proc, self.lists);
        if node.is_wrapper(proc, lists)? || node.runs(child, proc, lists)? {
            return Ok(Pass::Wrapper);
        }
        // A fork of the same program: rsync's pair, a wrapper's monitor.
        if before != Pass::No
            && child.is_forked()
            && child.comm() == node.comm()
            && (before == Pass::OneShot || child.words(proc)? == node.words(proc)?)
        {
            return Ok(before);
        }
        Ok(Pass::No)
    }

    /// A process as chains name it.
    pub fn label(&self, node: &Node, subshell: bool) -> io::Result<String> {
        let name = node.name(self.proc, self.lists)?;
        Ok(if subshell {
            format!("{name} (subshell)")
        } else if node.string(self.proc, self.lists)?.is_some() {
            format!("{name} -c")
        } else {
            name
        })
    }
}
