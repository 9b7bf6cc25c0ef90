//! What a client did, written by it before and after each call, so that a
//! client that is killed leaves what it was at.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::action::{Action, SIZE};

/// Nanoseconds of CLOCK_MONOTONIC, which all processes of a machine share.
pub type Time = u64;

/// Waiters of a board that are noted, at most.
pub const WAITERS: usize = 24;

/// Bytes of what is written before the call, and in all.
const HALF: usize = 32;
const RECORD: usize = HALF + 32 + 4 * WAITERS;

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// 0, or what it failed with.
    pub errno: i32,
    /// What it told, if it told anything: a link count, a pid, or whether a
    /// lock would be granted.
    pub value: i64,
    /// How many handlers of signals that end waits ran meanwhile.
    pub handled: u32,
    /// Who it said to be waiting, in order.
    pub waiters: Waiters,
}

/// The pids of waiters, in order; 0 behind the last.
pub type Waiters = [u32; WAITERS];

/// A call of a client.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    pub action: Action,
    /// Before the call.
    pub begin: Time,
    /// When its timer runs out for the first time; 0 for none.
    pub alarm: Time,
    /// After it, and how it ended. None if the client never told.
    pub end: Option<(Time, Answer)>,
}

/// A client's log.
#[derive(Debug)]
pub struct Log {
    file: File,
    next: u64,
}

impl Log {
    /// A log in this file, from its start.
    pub fn new(file: File) -> Log {
        Log { file, next: 0 }
    }

    /// Starts anew; what was written is overwritten.
    pub fn restart(&mut self) {
        self.next = 0;
    }

    /// Notes that a call is about to be made.
    pub fn before(&mut self, action: Action, begin: Time, alarm: Time) -> io::Result<()> {
        let mut bytes = [0; HALF];
        bytes[0] = 1;
        bytes[8..16].copy_from_slice(&action.to_bytes());
        bytes[16..24].copy_from_slice(&begin.to_le_bytes());
        bytes[24..32].copy_from_slice(&alarm.to_le_bytes());
        self.file.write_all_at(&bytes, self.next * RECORD as u64)
    }

    /// Notes how it ended.
    pub fn after(&mut self, end: Time, answer: Answer) -> io::Result<()> {
        let mut bytes = [0; RECORD - HALF];
        bytes[0..8].copy_from_slice(&end.to_le_bytes());
        bytes[8..12].copy_from_slice(&answer.errno.to_le_bytes());
        bytes[12..16].copy_from_slice(&answer.handled.to_le_bytes());
        bytes[16..24].copy_from_slice(&answer.value.to_le_bytes());
        for (at, pid) in answer.waiters.iter().enumerate() {
            bytes[32 + 4 * at..][..4].copy_from_slice(&pid.to_le_bytes());
        }
        let at = self.next * RECORD as u64 + HALF as u64;
        self.next += 1;
        self.file.write_all_at(&bytes, at)
    }
}

/// Empties a log; only while its client is idle.
pub fn clear(file: &File) -> io::Result<()> {
    file.set_len(0)
}

/// All that a client wrote.
pub fn read(file: &File) -> io::Result<Vec<Record>> {
    let mut bytes = vec![0; usize::try_from(file.metadata()?.len()).unwrap_or(0)];
    file.read_exact_at(&mut bytes, 0)?;
    let mut records = Vec::new();
    for chunk in bytes.chunks(RECORD) {
        let mut record = [0; RECORD];
        record[..chunk.len()].copy_from_slice(chunk);
        if record[0] != 1 {
            break;
        }
        let number = |at: usize| u64::from_le_bytes(array(&record, at));
        let small = |at: usize| u32::from_le_bytes(array(&record, at));
        let bytes: [u8; SIZE] = array(&record, 8);
        let action = Action::from_bytes(bytes).expect("a client wrote no action");
        let end = number(HALF);
        let answer = Answer {
            errno: small(HALF + 8).cast_signed(),
            handled: small(HALF + 12),
            value: number(HALF + 16).cast_signed(),
            waiters: std::array::from_fn(|at| small(HALF + 32 + 4 * at)),
        };
        records.push(Record {
            action,
            begin: number(16),
            alarm: number(24),
            end: (end != 0).then_some((end, answer)),
        });
    }
    Ok(records)
}

fn array<const N: usize>(record: &[u8; RECORD], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&record[at..at + N]);
    bytes
}
