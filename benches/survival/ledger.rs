//! What a client has done, in a file that outlives it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// What goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Quiet,
    Kills,
    End,
}

fn phase_file(shared: &Path) -> PathBuf {
    shared.join("phase")
}

/// Says what goes on from now on.
pub fn set_phase(shared: &Path, phase: Phase) {
    std::fs::write(phase_file(shared), [phase as u8]).unwrap();
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Open,
    Remove,
    Make,
    Look,
    Close,
    Lock,
    Unlock,
    /// A lock that is waited for.
    Wait,
    /// An open that may wait.
    OpenWait,
    /// A board was had.
    Hold,
    /// The same together with others.
    Share,
    /// It was refused.
    Refused,
    /// A signal ended a wait.
    Interrupted,
}

impl Kind {
    /// System calls come first.
    pub const ALL: [Kind; 13] = [
        Kind::Open,
        Kind::Remove,
        Kind::Make,
        Kind::Look,
        Kind::Close,
        Kind::Lock,
        Kind::Unlock,
        Kind::Wait,
        Kind::OpenWait,
        Kind::Hold,
        Kind::Share,
        Kind::Refused,
        Kind::Interrupted,
    ];

    /// Those that are system calls.
    pub const CALLS: &'static [Kind] = Kind::ALL.split_at(9).0;

    /// Whether it lasts as long as others have a board, or is no call.
    pub fn waits(self) -> bool {
        !Kind::CALLS.contains(&self) || matches!(self, Kind::Wait | Kind::OpenWait)
    }

    pub fn words(self) -> &'static str {
        match self {
            Kind::Open => "opens of files",
            Kind::Remove => "removals",
            Kind::Make => "mkdir, link, rename, utimensat",
            Kind::Look => "stat, getxattr, readdir, read, write",
            Kind::Close => "closes",
            Kind::Lock => "locks tried",
            Kind::Unlock => "unlocks",
            Kind::Wait => "locks waited for",
            Kind::OpenWait => "opens that may wait",
            Kind::Hold => "times a board was had alone",
            Kind::Share => "times a board was shared",
            Kind::Refused => "refusals",
            Kind::Interrupted => "waits ended by a signal",
        }
    }
}

/// Buckets of times, eight for each power of two of microseconds.
pub const BUCKETS: usize = 256;

fn bucket(nanos: u64) -> usize {
    let micros = (nanos as f64 / 1e3).max(1.0);
    ((micros.log2() * 8.0) as usize).min(BUCKETS - 1)
}

/// The time, in ms, below which such a part of them is.
pub fn quantile(times: &[u64], part: f64) -> f64 {
    let all: u64 = times.iter().sum();
    let mut left = (all as f64 * part) as u64;
    for (at, count) in times.iter().enumerate() {
        if *count > left {
            return 2_f64.powf((at as f64 + 0.5) / 8.0) / 1e3;
        }
        left -= count;
    }
    0.0
}

/// Words of a file: for each phase the counts, the times and the longest, then
/// what it is at.
const KINDS: usize = Kind::ALL.len();
const PER_PHASE: usize = KINDS + BUCKETS + 1;
const AT: usize = 2 * PER_PHASE;
const HEAD: usize = AT + 2;
/// Words of what took long.
const SLOW: usize = 3;

/// What takes less is not told of by itself.
const LONG: u64 = 4_000_000;

/// Something that took long.
#[derive(Clone, Copy, Debug)]
pub struct Slow {
    pub begin: u64,
    pub end: u64,
    pub kind: Kind,
}

pub fn path(shared: &Path, seed: u64) -> PathBuf {
    shared.join(format!("ledger-{seed}"))
}

/// A ledger that is read.
pub struct Ledger {
    words: Vec<u64>,
}

impl Ledger {
    /// None if its client has not begun.
    pub fn read(path: &Path) -> Option<Ledger> {
        let bytes = std::fs::read(path).ok()?;
        let words = bytes.chunks_exact(8);
        let words: Vec<u64> = words
            .map(|word| u64::from_le_bytes(word.try_into().unwrap()))
            .collect();
        (words.len() >= HEAD).then_some(Ledger { words })
    }

    pub fn count(&self, phase: Phase, kind: Kind) -> u64 {
        self.words[phase as usize * PER_PHASE + kind as usize]
    }

    pub fn calls(&self) -> u64 {
        let phases = [Phase::Quiet, Phase::Kills];
        let each = |phase| Kind::CALLS.iter().map(move |kind| self.count(phase, *kind));
        phases.into_iter().flat_map(each).sum()
    }

    /// What it is at, and since when.
    pub fn at(&self) -> (Option<Kind>, u64) {
        let kind = usize::try_from(self.words[AT]).unwrap_or(KINDS);
        (Kind::ALL.get(kind).copied(), self.words[AT + 1])
    }

    pub fn times(&self, phase: Phase) -> &[u64] {
        let from = phase as usize * PER_PHASE + KINDS;
        &self.words[from..from + BUCKETS]
    }

    pub fn longest(&self, phase: Phase) -> u64 {
        self.words[phase as usize * PER_PHASE + KINDS + BUCKETS]
    }

    pub fn slow(&self) -> impl Iterator<Item = Slow> {
        let words = self.words[HEAD..].chunks_exact(SLOW);
        words.map(|words| Slow {
            begin: words[0],
            end: words[1],
            kind: Kind::ALL[usize::try_from(words[2]).unwrap()],
        })
    }
}

/// A ledger that is written.
pub struct Writer {
    file: File,
    phase: File,
    words: Vec<u64>,
    slow: usize,
}

impl Writer {
    pub fn new(shared: &Path, seed: u64) -> Writer {
        let file = File::create_new(path(shared, seed)).unwrap();
        let words = vec![0; HEAD];
        file.set_len(8 * HEAD as u64).unwrap();
        let phase = File::open(phase_file(shared)).unwrap();
        Writer {
            file,
            phase,
            words,
            slow: 0,
        }
    }

    /// What goes on.
    pub fn phase(&self) -> Phase {
        let mut byte = [0];
        let _ = self.phase.read_at(&mut byte, 0).unwrap();
        match byte[0] {
            0 => Phase::Quiet,
            1 => Phase::Kills,
            _ => Phase::End,
        }
    }

    fn set(&mut self, word: usize, to: u64) {
        self.words[word] = to;
        self.file
            .write_all_at(&to.to_le_bytes(), 8 * word as u64)
            .unwrap();
    }

    /// The client is at this.
    pub fn at(&mut self, kind: Kind, begin: u64) {
        self.set(AT, kind as u64);
        self.set(AT + 1, begin);
    }

    /// It has done it; the end is counted with the kills.
    pub fn did(&mut self, kind: Kind, begin: u64, end: u64) {
        let phase = (self.phase() as usize).min(1) * PER_PHASE;
        let count = phase + kind as usize;
        self.set(count, self.words[count] + 1);
        let time = end - begin;
        if !kind.waits() {
            let at = phase + KINDS + bucket(time);
            self.set(at, self.words[at] + 1);
            let longest = phase + KINDS + BUCKETS;
            if time > self.words[longest] {
                self.set(longest, time);
            }
        }
        if time >= LONG {
            let words = [begin, end, kind as u64];
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            let at = 8 * (HEAD + SLOW * self.slow) as u64;
            self.file.write_all_at(&bytes, at).unwrap();
            self.slow += 1;
        }
    }
}
