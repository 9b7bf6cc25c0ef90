//! A history: what clients did and what was done to them, put together into
//! the operations of each board.

use super::action::{Action, BOARDS, Board, Family, SLOTS, Wait};
use super::model::{Call, File, Process, Rules, Told};
use super::order::{Queue, Seen, Waiting};
use super::record::{Answer, Record, Time};
use super::search::Operation;

/// What is done to a client from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poke {
    /// SIGUSR1: its handler ends a wait.
    Interrupt,
    /// SIGUSR2: the wait goes on behind its handler (SA_RESTART).
    Restart,
    /// SIGSTOP.
    Stop,
    /// SIGCONT.
    Continue,
    /// SIGKILL.
    Kill,
}

/// A signal that was sent, at some time between these.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    pub poke: Poke,
    pub begin: Time,
    pub end: Time,
}

/// A process's end: it did not begin before, and was reaped at `to`.
#[derive(Clone, Copy, Debug)]
pub struct Death {
    pub from: Time,
    pub to: Time,
}

/// What one client did, and what was done to it.
#[derive(Clone, Debug)]
pub struct Trace {
    pub pid: u32,
    pub records: Vec<Record>,
    pub sent: Vec<Sent>,
    pub death: Option<Death>,
}

/// A history.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub traces: Vec<Trace>,
    /// When the disk may have been full: from when to when.
    pub full: Vec<(Time, Time)>,
}

/// Shown as a holder by a pid that no client has.
const STRANGER: Process = Process::MAX;

/// An open file of a client.
#[derive(Clone, Copy)]
struct Open {
    file: File,
    /// It may be claiming.
    claiming: bool,
    /// A flock(2) lock was tried through it.
    flocked: bool,
}

/// Builds the operations of one board.
struct Builder<'a> {
    history: &'a History,
    rules: &'a Rules,
    board: Board,
    operations: Vec<Operation>,
    queue: Queue,
    files: File,
}

impl History {
    /// The operations of a board, sorted by their ends, with what must have
    /// come before what.
    ///
    /// # Errors
    /// What is wrong without any search.
    pub fn operations(&self, rules: &Rules, board: Board) -> Result<Vec<Operation>, String> {
        let mut builder = Builder {
            history: self,
            rules,
            board,
            operations: Vec::new(),
            queue: Queue::default(),
            files: 0,
        };
        for process in 0..self.traces.len() {
            builder.trace(Process::try_from(process).unwrap())?;
        }
        builder.queue.settle(&mut builder.operations)?;
        Ok(sorted(builder.operations))
    }

    /// Whether the disk may have been full at some time between these.
    fn was_full(&self, begin: Time, end: Time) -> bool {
        let during = |&(from, to): &(Time, Time)| from <= end && begin <= to;
        self.full.iter().any(during)
    }

    /// How many boards it is about.
    pub fn boards(&self) -> u8 {
        let records = self.traces.iter().flat_map(|trace| &trace.records);
        let boards = records.filter_map(|record| record.action.board());
        boards.max().map_or(0, |last| last + 1)
    }

    /// The client with this pid; of those that had it, the last.
    fn process(&self, pid: i64) -> Option<Process> {
        let has = |trace: &Trace| i64::from(trace.pid) == pid;
        let at = self.traces.iter().rposition(has)?;
        Process::try_from(at).ok()
    }
}

/// The same, the earliest end first.
fn sorted(operations: Vec<Operation>) -> Vec<Operation> {
    let mut order: Vec<usize> = (0..operations.len()).collect();
    order.sort_by_key(|at| (operations[*at].end, operations[*at].begin));
    let mut places = vec![0; order.len()];
    for (place, at) in order.iter().enumerate() {
        places[*at] = place;
    }
    let place = |list: &mut Vec<usize>| list.iter_mut().for_each(|at| *at = places[*at]);
    let mut moved: Vec<Operation> = order.iter().map(|at| operations[*at].clone()).collect();
    for operation in &mut moved {
        place(&mut operation.after);
        place(&mut operation.before);
        place(&mut operation.behind);
    }
    moved
}

impl Builder<'_> {
    fn trace(&mut self, process: Process) -> Result<(), String> {
        let trace = &self.history.traces[usize::from(process)];
        let first = self.operations.len();
        let mut opens: [Option<Open>; SLOTS] = [None; SLOTS];
        let mut unended = Vec::new();
        let mut created = false;
        for record in &trace.records {
            if record.action.board() != Some(self.board) {
                continue;
            }
            created |= matches!(record.action, Action::Open(_, _, how) if how.creates());
            if record.end.is_none() {
                // What its end does comes after whatever it was at, and an
                // attempt that belongs to that.
                unended = (self.operations.len()..).take(2).collect();
            }
            self.record(process, record, &mut opens)?;
        }
        let Some(death) = trace.death else {
            return Ok(());
        };
        let done: Vec<usize> = (first..self.operations.len()).collect();
        unended.retain(|at| *at < self.operations.len());
        let (unended, done): (Vec<usize>, Vec<usize>) =
            done.into_iter().partition(|at| unended.contains(at));
        let done: Vec<usize> = done
            .into_iter()
            .filter(|at| !self.operations[*at].optional)
            .collect();
        let mut gone: Vec<Call> = opens
            .iter()
            .flatten()
            .map(|open| Call::GoneFile { file: open.file })
            .collect();
        if !gone.is_empty() {
            gone.push(Call::Flush);
        }
        if created && self.rules.claims {
            gone.push(Call::GoneClaim);
        }
        for call in gone {
            let end = self.operations.len();
            for at in &unended {
                self.operations[*at].before.push(end);
            }
            self.operations.push(Operation {
                process,
                call,
                begin: death.from,
                end: death.to,
                told: None,
                optional: false,
                after: done.clone(),
                before: Vec::new(),
                behind: Vec::new(),
                full: false,
            });
        }
        Ok(())
    }

    /// Adds what a client did.
    fn record(
        &mut self,
        process: Process,
        record: &Record,
        opens: &mut [Option<Open>; SLOTS],
    ) -> Result<(), String> {
        let trace = &self.history.traces[usize::from(process)];
        let answer = record.end.map(|(_, answer)| answer);
        let succeeded = answer.is_none_or(|answer| answer.errno == 0);
        let death = trace.death.map_or(Time::MAX, |death| death.to);
        let end = record.end.map_or(death, |(end, _)| end);
        // When a signal may have ended its wait, at the earliest.
        let mut left = None;
        if answer.is_some_and(|answer| answer.errno == libc::EINTR) {
            left = Some(interruption(trace, record, end).ok_or_else(|| {
                format!("p{process} was told EINTR and no signal ended its wait: {record:?}")
            })?);
        }
        let slot = |slot: u8| usize::from(slot);
        let opened = |slot: u8| {
            opens[usize::from(slot)].ok_or_else(|| format!("no open file: p{process} {record:?}"))
        };
        // What happens before the call has its effect as a whole.
        let mut first = None;
        let call = match record.action {
            Action::Open(_, place, how) => {
                let file = self.files;
                self.files += 1;
                if succeeded {
                    opens[slot(place)] = Some(Open {
                        file,
                        claiming: self.rules.claims && how.creates(),
                        flocked: false,
                    });
                }
                Call::Open { how, file }
            }
            Action::Lock(_, place, family, mode, wait) => {
                let open = opened(place)?;
                let converts = family == Family::Flock && open.flocked;
                if converts || (open.claiming && wait != Wait::No) {
                    first = Some(Call::Attempt {
                        file: open.file,
                        family,
                    });
                }
                // On a full disk nothing was tried.
                if answer.is_none_or(|answer| answer.errno != libc::ENOSPC) {
                    opens[slot(place)] = Some(Open {
                        claiming: false,
                        flocked: open.flocked || family == Family::Flock,
                        ..open
                    });
                }
                Call::Lock {
                    file: open.file,
                    family,
                    mode,
                    wait: wait != Wait::No,
                }
            }
            Action::Unlock(_, place, family) => Call::Unlock {
                file: opened(place)?.file,
                family,
            },
            Action::Close(_, place) => {
                let file = opened(place)?.file;
                if record.end.is_some() {
                    opens[slot(place)] = None;
                }
                first = Some(Call::Flush);
                Call::Close { file }
            }
            Action::Unlink(..) => Call::Unlink,
            Action::Stat(_) => Call::Stat,
            Action::Links(..) => Call::Links,
            Action::Status(_) => Call::Status,
            Action::Ask(_, place, family, mode) => Call::Ask {
                file: opened(place)?.file,
                family,
                mode,
            },
            Action::Pause(_) | Action::Finish | Action::Exit => return Ok(()),
        };
        let told = answer.map(|answer| self.told(call, answer, end));
        let at = self.operations.len();
        if let Call::Lock {
            mode, wait: true, ..
        } = call
        {
            self.queue.waits.push(Waiting {
                // In the queue until it is granted, or leaves.
                at: at + usize::from(left.is_some()),
                process,
                begin: record.begin,
                end,
                mode,
                killed: record.end.is_none().then(|| killed(trace)),
                moved: trace.sent.iter().any(|sent| {
                    !matches!(sent.poke, Poke::Interrupt | Poke::Kill)
                        && sent.end >= record.begin
                        && sent.begin <= end
                }),
            });
        }
        if let (Call::Status, Some(Told::Held(_)), Some(answer)) = (call, told, answer) {
            self.queue.seen.push(Seen {
                begin: record.begin,
                end,
                waiters: answer
                    .waiters
                    .iter()
                    .take_while(|pid| **pid != 0)
                    .map(|pid| self.history.process(i64::from(*pid)).unwrap_or(STRANGER))
                    .collect(),
            });
        }
        let full = self.history.was_full(record.begin, end);
        let operation = |call, told, optional, before| Operation {
            process,
            call,
            begin: record.begin,
            end,
            told,
            optional,
            after: Vec::new(),
            before,
            behind: Vec::new(),
            full,
        };
        let optional = record.end.is_none();
        self.operations
            .push(operation(call, told, optional, Vec::new()));
        if let Some(begin) = left {
            let mut leave = operation(Call::Leave, None, false, Vec::new());
            leave.begin = begin;
            leave.after.push(at);
            self.operations.push(leave);
        }
        if let Some(call) = first {
            self.operations.push(operation(call, None, true, vec![at]));
        }
        if call == Call::Status {
            // It opens the file, and closes it.
            let opened = answer.is_some_and(|answer| answer.errno == 0);
            let mut flush = operation(Call::Flush, None, !opened, Vec::new());
            flush.after.push(at);
            self.operations.push(flush);
        }
        Ok(())
    }

    /// What an answer says in the model's words.
    fn told(&self, call: Call, answer: Answer, end: Time) -> Told {
        match (call, answer.errno) {
            (Call::Links, 0) => Told::Free(answer.value == 0),
            (Call::Ask { .. }, 0) => Told::Free(answer.value != 0),
            (Call::Status, 0) if answer.value == 0 => {
                // Only of a board whose opener is gone nobody can be shown.
                let gone = |trace: &Trace| trace.death.is_some_and(|death| death.from <= end);
                let any = self.history.traces.iter().any(gone);
                Told::Held((!any).then_some(STRANGER))
            }
            (Call::Status, 0) => {
                let shown = self.history.process(answer.value);
                Told::Held(Some(shown.unwrap_or(STRANGER)))
            }
            (_, 0) => Told::Done,
            (_, errno) => Told::Failed(errno),
        }
    }
}

/// When a client began to be killed.
fn killed(trace: &Trace) -> Time {
    trace.death.map_or(Time::MAX, |death| death.from)
}

/// When a wait that a signal ended can have ended at the earliest: with the
/// first signal that came while it lasted. None if none came.
fn interruption(trace: &Trace, record: &Record, end: Time) -> Option<Time> {
    let (_, answer) = record.end?;
    if answer.handled == 0 {
        return None;
    }
    let sent = trace.sent.iter().filter(|sent| {
        sent.poke == Poke::Interrupt && sent.end >= record.begin && sent.begin <= end
    });
    let alarm = (record.alarm != 0 && record.alarm <= end).then_some(record.alarm);
    let first = sent.map(|sent| sent.begin).chain(alarm).min()?;
    Some(first.max(record.begin))
}

/// The names of the boards, for who tells of a history.
pub fn name(board: Board) -> &'static str {
    BOARDS[usize::from(board)]
}
