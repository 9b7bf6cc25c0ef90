//! Pids that callers write into a board (semantics.md, "Metadata").

use std::io;

use super::node::Node;
use super::proc::Proc;
use super::resolve::{Pin, Resolver};
use super::walk::Above;
use crate::lock::caller::Candidate;
use crate::lock::ids::{Pid, ProcessId};

const TRIES: usize = 8;
/// No sane tree is deeper.
const DEPTH: usize = 4096;

/// What looking for a process among a writer's kin came to.
enum Kin {
    Found(Box<Node>),
    None,
    Changed,
}

impl Resolver {
    /// The holder that `number` names, as written by the thread `writer`: in
    /// the numbering of the writer's pid namespace it must be the writer's
    /// process, one above it or one below it, and is then put through the
    /// rules. None if it does not count.
    pub fn written(&self, writer: Pid, number: u64) -> io::Result<Option<(Candidate, Vec<Pin>)>> {
        let Some(number) = u32::try_from(number).ok().and_then(Pid::new) else {
            return Ok(None);
        };
        for _ in 0..TRIES {
            match self.kin(writer, number)? {
                Kin::None => return Ok(None),
                Kin::Changed => {}
                Kin::Found(node) => {
                    if let Some(result) = self.named(*node)? {
                        return Ok(result);
                    }
                }
            }
        }
        Ok(None)
    }

    fn kin(&self, writer: Pid, number: Pid) -> io::Result<Kin> {
        let walker = self.walker();
        let Some(status) = self.proc().status(writer)? else {
            return Ok(Kin::None);
        };
        let Some(own) = walker.find(status.tgid)? else {
            return Ok(Kin::None);
        };
        let Some(level) = level(self.proc(), &own)? else {
            return Ok(Kin::Changed);
        };

        // The writer and what is above it.
        let writer = own.id;
        let mut next = own;
        for _ in 0..DEPTH {
            if number_at(self.proc(), &next, level)? == Some(number.get()) {
                return Ok(Kin::Found(Box::new(next)));
            }
            match walker.above(&next, true)? {
                Above::Process(node) => next = *node,
                Above::Top => break,
                Above::Changed => return Ok(Kin::Changed),
            }
        }

        // What is below it. Only at the daemon's own level numbers are ours.
        if level == 0 {
            return self.below(writer, number);
        }
        for pid in self.proc().pids()? {
            let status = self.proc().status(pid)?;
            if status.is_some_and(|status| status.nspid.get(level) == Some(&number.get())) {
                match self.below(writer, pid)? {
                    Kin::None => {}
                    kin => return Ok(kin),
                }
            }
        }
        Ok(Kin::None)
    }

    /// The process `pid` if it descends from `ancestor`.
    fn below(&self, ancestor: ProcessId, pid: Pid) -> io::Result<Kin> {
        let walker = self.walker();
        let Some(node) = walker.find(pid)? else {
            return Ok(Kin::None);
        };
        let mut above: Option<Node> = None;
        for _ in 0..DEPTH {
            match walker.above(above.as_ref().unwrap_or(&node), false)? {
                Above::Process(parent) if parent.id == ancestor => {
                    return Ok(Kin::Found(Box::new(node)));
                }
                Above::Process(parent) => above = Some(*parent),
                Above::Top => break,
                Above::Changed => return Ok(Kin::Changed),
            }
        }
        Ok(Kin::None)
    }
}

/// How many pid namespaces below the daemon's a process lives.
fn level(proc: &Proc, node: &Node) -> io::Result<Option<usize>> {
    Ok(node
        .status(proc)?
        .map(|status| status.nspid.len().saturating_sub(1)))
}

/// The number of a process in the pid namespace `level` below the daemon's.
fn number_at(proc: &Proc, node: &Node, level: usize) -> io::Result<Option<u32>> {
    if level == 0 {
        return Ok(Some(node.id.pid.get()));
    }
    Ok(node
        .status(proc)?
        .and_then(|status| status.nspid.get(level).copied()))
}
