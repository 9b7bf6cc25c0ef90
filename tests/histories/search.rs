//! Linearizability: whether the calls of a history, each at some moment between
//! its begin and its end, can have happened in an order in which the model
//! gives the same answers (Wing and Gong's search, with Lowe's memory of the
//! configurations that lead nowhere).

use std::collections::HashSet;

use super::model::{Call, Caller, Process, Rules, State, Told};
use super::record::Time;

/// A call of a history, or what the end of a process does.
#[derive(Clone, Debug)]
pub struct Operation {
    pub process: Process,
    pub call: Call,
    /// It did not happen before.
    pub begin: Time,
    /// It did not happen later; `Time::MAX` if nobody knows.
    pub end: Time,
    /// How it ended, if anybody was told.
    pub told: Option<Told>,
    /// It may not have happened at all.
    pub optional: bool,
    /// It happened later than these.
    pub after: Vec<usize>,
    /// If it happened, then before any of these.
    pub before: Vec<usize>,
    /// It gets the board only when these have.
    pub behind: Vec<usize>,
    /// The disk was full for a time between its begin and its end.
    pub full: bool,
}

impl Operation {
    /// Whether it changes nothing at a point in the order, or nothing at any
    /// later point: then it need not be tried later.
    fn only_looks(&self) -> bool {
        !matches!(
            (self.call, self.told),
            (Call::Open { .. } | Call::Lock { .. }, Some(Told::Done))
                | (Call::Attempt { .. }, _)
                | (_, None)
        ) || matches!(
            self.call,
            Call::Leave | Call::Flush | Call::GoneFile { .. } | Call::GoneClaim
        )
    }
}

/// Why a history is wrong.
#[derive(Debug)]
pub struct Wrong {
    /// As far as an order could be found: operations by their index.
    pub order: Vec<usize>,
    /// The board after these.
    pub state: State,
    /// Those that had to follow, and none could.
    pub stuck: Vec<usize>,
}

/// What a search found.
#[derive(Debug)]
pub enum Verdict {
    Right,
    Wrong(Wrong),
    /// There were more configurations than are looked at.
    Unknown,
}

/// Configurations that are looked at before a search gives up.
const ENOUGH: usize = 1_000_000;

/// A set of operations.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Set(Box<[u64]>);

impl Set {
    /// The empty set, where there are so many.
    fn new(count: usize) -> Set {
        Set(vec![0; count.div_ceil(64)].into())
    }

    fn has(&self, at: usize) -> bool {
        self.0[at / 64] & (1 << (at % 64)) != 0
    }

    fn add(&mut self, at: usize) {
        self.0[at / 64] |= 1 << (at % 64);
    }
}

/// A point of the search: what has happened, and what has not been tried here.
struct Point {
    done: Set,
    state: State,
    /// The latest begin of what has happened.
    floor: Time,
    /// What can come next, with the state after it; the last is tried first.
    next: Vec<(usize, State)>,
    /// What came after this point.
    chosen: usize,
}

struct Search<'a> {
    rules: &'a Rules,
    operations: &'a [Operation],
    /// Operations that must happen before this one, if at all.
    early: Vec<Vec<usize>>,
}

/// Looks for an order in which the operations, sorted by their ends, can have
/// happened on a board that was free.
pub fn search(rules: &Rules, operations: &[Operation]) -> Verdict {
    let mut early = vec![Vec::new(); operations.len()];
    for (at, operation) in operations.iter().enumerate() {
        for &other in &operation.before {
            early[other].push(at);
        }
    }
    let search = Search {
        rules,
        operations,
        early,
    };
    search.run()
}

impl Search<'_> {
    fn run(&self) -> Verdict {
        let mut seen: HashSet<(Set, State)> = HashSet::new();
        let mut best: Option<Wrong> = None;
        let none = Set::new(self.operations.len());
        let mut path = vec![self.point(none, State::default(), 0)];
        while let Some(point) = path.last_mut() {
            if self.complete(&point.done) {
                return Verdict::Right;
            }
            if let Some((next, state)) = point.next.pop() {
                point.chosen = next;
                let mut done = point.done.clone();
                done.add(next);
                let floor = point.floor.max(self.operations[next].begin);
                if seen.insert((done.clone(), state.clone())) {
                    if seen.len() > ENOUGH {
                        return Verdict::Unknown;
                    }
                    path.push(self.point(done, state, floor));
                }
                continue;
            }
            let depth = path.len() - 1;
            if best.as_ref().is_none_or(|best| best.order.len() < depth) {
                best = Some(self.wrong(&path));
            }
            path.pop();
        }
        best.map_or(Verdict::Unknown, Verdict::Wrong)
    }

    fn complete(&self, done: &Set) -> bool {
        let left = |(at, operation): (usize, &Operation)| !operation.optional && !done.has(at);
        !self.operations.iter().enumerate().any(left)
    }

    /// The earliest end of what must still happen: nothing that begins later
    /// can come first.
    fn horizon(&self, done: &Set) -> Time {
        let all = self.operations.iter().enumerate();
        all.filter(|(at, operation)| !operation.optional && !done.has(*at))
            .map(|(_, operation)| operation.end)
            .min()
            .unwrap_or(Time::MAX)
    }

    fn can_come(&self, at: usize, done: &Set, horizon: Time, floor: Time) -> bool {
        let operation = &self.operations[at];
        !done.has(at)
            && operation.begin <= horizon
            && operation.end >= floor
            && operation.after.iter().all(|other| done.has(*other))
            && !operation.before.iter().any(|other| done.has(*other))
    }

    fn point(&self, done: Set, state: State, floor: Time) -> Point {
        let horizon = self.horizon(&done);
        let mut next = Vec::new();
        for (at, operation) in self.operations.iter().enumerate() {
            if !self.can_come(at, &done, horizon, floor) {
                continue;
            }
            let caller = Caller {
                process: operation.process,
                behind: operation.behind.iter().any(|other| !done.has(*other)),
                full: operation.full,
            };
            let after = state.after(self.rules, caller, &operation.call, operation.told);
            let idle = after.len() == 1 && after[0] == state;
            if operation.optional && idle {
                continue;
            }
            if idle && operation.only_looks() && self.harmless(at, &done, floor) {
                // It can as well come now as later.
                next = vec![(at, state.clone())];
                break;
            }
            next.extend(after.into_iter().map(|state| (at, state)));
        }
        // What ends first is tried first.
        next.reverse();
        Point {
            done,
            state,
            floor,
            next,
            chosen: 0,
        }
    }

    /// Whether nothing that may still happen becomes impossible by this
    /// coming first.
    fn harmless(&self, at: usize, done: &Set, floor: Time) -> bool {
        let begin = self.operations[at].begin;
        self.early[at].iter().all(|other| done.has(*other))
            && (begin <= floor
                || self
                    .operations
                    .iter()
                    .enumerate()
                    .all(|(other, operation)| {
                        !operation.optional || done.has(other) || operation.end >= begin
                    }))
    }

    fn wrong(&self, path: &[Point]) -> Wrong {
        let last = &path[path.len() - 1];
        let horizon = self.horizon(&last.done);
        let stuck = (0..self.operations.len()).filter(|at| {
            !self.operations[*at].optional && self.can_come(*at, &last.done, horizon, last.floor)
        });
        Wrong {
            order: path[..path.len() - 1].iter().map(|p| p.chosen).collect(),
            state: last.state.clone(),
            stuck: stuck.collect(),
        }
    }
}

/// What of a history had happened by a time: what had not ended then may have
/// happened or not.
pub fn until(operations: &[Operation], time: Time) -> Vec<Operation> {
    let mut places = vec![None; operations.len()];
    let mut kept = Vec::new();
    for (at, operation) in operations.iter().enumerate() {
        if operation.begin > time {
            continue;
        }
        places[at] = Some(kept.len());
        let mut operation = operation.clone();
        if operation.end > time {
            operation.end = Time::MAX;
            operation.optional = true;
            operation.told = None;
        }
        kept.push(operation);
    }
    // A wait that a signal ended later may have left the queue by then.
    let counts = |at: &&usize| {
        let operation = &operations[**at];
        operation.end <= time || operation.call != Call::Leave
    };
    let place = |list: &[usize]| list.iter().filter_map(|at| places[*at]).collect();
    for operation in &mut kept {
        operation.after = place(&operation.after);
        operation.before = place(&operation.before);
        let behind: Vec<usize> = operation.behind.iter().filter(counts).copied().collect();
        operation.behind = place(&behind);
    }
    // Sorted as before: those that have ended come first, by their ends.
    kept
}
