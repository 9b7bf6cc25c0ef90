//! A client: this program again, run as a process that does as it is told and
//! logs every call. It keeps beliefs of what it holds, for what only a holder
//! does; what is true is for the checker to say.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use super::action::{Action, BOARDS, Board, Family, How, Mode, SIZE, SLOTS, Slot, Sure, Wait};
use super::record::{Answer, Log, WAITERS, Waiters};
use super::sys;
use super::timer;

/// The argument by which this program becomes a client.
pub const ARGUMENT: &str = "--as-client";
/// What a client says when it is ready, and after each run.
pub const READY: u8 = b'r';
pub const DONE: u8 = b'd';

/// An open file.
struct Open {
    fd: OwnedFd,
    writable: bool,
    /// It may be the one by which the client claimed, no lock tried yet.
    claiming: bool,
    tried: bool,
    locked: BTreeSet<Family>,
}

/// What a client believes of a board.
#[derive(Default)]
struct Belief {
    opens: [Option<Open>; SLOTS],
    /// It may have a claim.
    claim: bool,
    /// It was told so.
    sure: bool,
}

/// Where nobody is told to be waiting.
const NOBODY: Waiters = [0; WAITERS];

/// A client process.
struct Client {
    dir: PathBuf,
    /// Whether claims exist: not on a bare file system.
    claims: bool,
    log: Log,
    boards: [Belief; BOARDS.len()],
}

/// Runs as a client: `DIR LOG served|bare`. Ends with its input.
pub fn main(args: &[String]) {
    let [dir, log, kind] = args else {
        panic!("{ARGUMENT} DIR LOG served|bare");
    };
    sys::prepare();
    let log = File::options().write(true).open(log).unwrap();
    let mut client = Client {
        dir: PathBuf::from(dir),
        claims: kind == "served",
        log: Log::new(log),
        boards: Default::default(),
    };
    let (mut input, mut output) = (std::io::stdin(), std::io::stdout());
    say(&mut output, READY);
    let mut head = [0; 5];
    while input.read_exact(&mut head).is_ok() {
        let [restart, count @ ..] = head;
        let count = u32::from_le_bytes(count) as usize;
        let mut actions = vec![0; count * SIZE];
        input.read_exact(&mut actions).unwrap();
        if restart == 1 {
            client.log.restart();
        }
        for bytes in actions.chunks_exact(SIZE) {
            let bytes: [u8; SIZE] = bytes.try_into().unwrap();
            client.run(Action::from_bytes(bytes).unwrap());
        }
        say(&mut output, DONE);
    }
}

fn say(output: &mut std::io::Stdout, word: u8) {
    output
        .write_all(&[word])
        .and_then(|()| output.flush())
        .unwrap();
}

/// What a run looks like on its way to a client; `restart` makes it start its
/// log anew.
pub fn message(restart: bool, actions: &[Action]) -> Vec<u8> {
    let mut bytes = vec![u8::from(restart)];
    let count = u32::try_from(actions.len()).unwrap_or(u32::MAX);
    bytes.extend(count.to_le_bytes());
    bytes.extend(actions.iter().flat_map(|action| action.to_bytes()));
    bytes
}

impl Client {
    fn path(&self, board: Board) -> PathBuf {
        self.dir.join(BOARDS[usize::from(board)])
    }

    fn belief(&mut self, board: Board) -> &mut Belief {
        &mut self.boards[usize::from(board)]
    }

    fn file(&mut self, board: Board, slot: Slot) -> Option<&mut Open> {
        self.belief(board).opens[usize::from(slot)].as_mut()
    }

    /// Makes a call and logs it. `call` says what it failed with, and what it
    /// told besides.
    fn logged<T>(
        &mut self,
        action: Action,
        limit: Option<Duration>,
        call: impl FnOnce(&mut Client) -> (Result<T, i32>, i64, Waiters),
    ) -> Result<T, i32> {
        let handled = sys::handled();
        let mut alarm = 0;
        if let Some(limit) = limit {
            alarm = sys::now() + u64::try_from(limit.as_nanos()).unwrap_or(0);
            timer::set(Some(limit));
        }
        let begin = sys::now();
        self.log.before(action, begin, alarm).unwrap();
        let (result, value, waiters) = call(self);
        let end = sys::now();
        if limit.is_some() {
            timer::set(None);
        }
        let answer = Answer {
            errno: result.as_ref().err().copied().unwrap_or(0),
            value,
            waiters,
            handled: sys::handled().wrapping_sub(handled),
        };
        self.log.after(end, answer).unwrap();
        result
    }

    /// Does one step, or nothing where it makes no sense.
    fn run(&mut self, action: Action) {
        match action {
            Action::Pause(micros) => {
                std::thread::sleep(Duration::from_micros(u64::from(micros)));
            }
            Action::Open(board, slot, how) => self.open(action, (board, slot), how),
            Action::Lock(board, slot, family, mode, wait) => {
                self.lock(action, (board, slot), family, mode, wait);
            }
            Action::Unlock(board, slot, family) => self.unlock(action, (board, slot), family),
            Action::Close(board, slot) => self.close(action, (board, slot)),
            Action::Unlink(board, sure) => {
                let belief = self.belief(board);
                let holds = belief.sure
                    || belief
                        .opens
                        .iter()
                        .flatten()
                        .any(|open| !open.locked.is_empty());
                if holds || sure == Sure::Anyhow {
                    self.unlink(board, action);
                }
            }
            Action::Stat(board) => {
                let _ = self.logged(action, None, |client| {
                    let found = rustix::fs::stat(client.path(board));
                    (found.map_err(|e| e.raw_os_error()), 0, NOBODY)
                });
            }
            Action::Links(board, slot) => {
                if self.file(board, slot).is_some() {
                    let _ = self.logged(action, None, |client| {
                        let open = client.file(board, slot).unwrap();
                        match rustix::fs::fstat(&open.fd) {
                            Ok(about) => (Ok(()), i64::try_from(about.st_nlink).unwrap(), NOBODY),
                            Err(error) => (Err(error.raw_os_error()), 0, NOBODY),
                        }
                    });
                }
            }
            Action::Status(board) => {
                self.status(board);
            }
            Action::Ask(board, slot, family, mode) => {
                // Before a lock was tried it is the claim that is asked about.
                let can = |open: &&mut Open| open.tried && open.writable;
                if self.file(board, slot).filter(can).is_some() {
                    let _ = self.logged(action, None, |client| {
                        let open = client.file(board, slot).unwrap();
                        match sys::ask(&open.fd, family, mode) {
                            Ok(free) => (Ok(()), i64::from(free), NOBODY),
                            Err(errno) => (Err(errno), 0, NOBODY),
                        }
                    });
                }
            }
            Action::Finish => self.finish(),
            Action::Exit => {
                self.log.before(action, sys::now(), 0).unwrap();
                std::process::exit(0);
            }
        }
    }

    fn open(&mut self, action: Action, (board, slot): (Board, Slot), how: How) {
        if self.file(board, slot).is_some() {
            return;
        }
        let opened = self.logged(action, None, |client| {
            (sys::open(&client.path(board), how), 0, NOBODY)
        });
        let Ok(fd) = opened else {
            return;
        };
        let may_claim = self.claims && how.creates();
        let belief = self.belief(board);
        // Where it is not plain which file claimed, the claim is believed to
        // stay whichever is locked.
        let claiming = may_claim && (how == How::Exclusive || !belief.claim);
        if may_claim {
            for open in belief.opens.iter_mut().flatten() {
                open.claiming = false;
            }
        }
        belief.claim |= may_claim;
        belief.sure |= may_claim && how == How::Exclusive;
        belief.opens[usize::from(slot)] = Some(Open {
            fd,
            writable: how != How::Read,
            claiming,
            tried: false,
            locked: BTreeSet::new(),
        });
    }

    /// Whether it may hold anything besides what a lock of this family through
    /// this open file would end or change. Of two that wait to change theirs,
    /// flock(2) lets the old ones go, and fcntl(2) refuses one (EDEADLK);
    /// Linux does so for locks of processes alone.
    fn may_hold(&self, board: Board, slot: Slot, family: Family) -> bool {
        let here = (usize::from(board), usize::from(slot));
        let changes = self.claims || family != Family::Ofd;
        self.boards.iter().enumerate().any(|(at, belief)| {
            let own = |place| (at, place) == here;
            let opens = belief.opens.iter().enumerate();
            let mut opens = opens.filter_map(|(place, open)| Some((place, open.as_ref()?)));
            let claiming = opens
                .clone()
                .any(|(place, open)| own(place) && open.claiming);
            let locked = opens.any(|(place, open)| {
                let mut locked = open.locked.iter();
                locked.any(|held| !(own(place) && *held == family && changes))
            });
            (belief.claim && !claiming) || locked
        })
    }

    fn lock(
        &mut self,
        action: Action,
        (board, slot): (Board, Slot),
        family: Family,
        mode: Mode,
        wait: Wait,
    ) {
        let may_hold = self.may_hold(board, slot, family);
        let Some(open) = self.file(board, slot) else {
            return;
        };
        if family != Family::Flock && !open.writable {
            return;
        }
        let claiming = std::mem::take(&mut open.claiming);
        let tried = std::mem::replace(&mut open.tried, true);
        let belief = self.belief(board);
        let (claim, sure) = (belief.claim, belief.sure);
        if claiming {
            belief.claim = false;
            belief.sure = false;
        }
        let limit = match wait {
            Wait::Yes(millis) if may_hold || millis % 2 == 1 => {
                Some(Duration::from_millis(u64::from(millis)))
            }
            _ => None,
        };
        let locked = self.logged(action, limit, |client| {
            let open = client.file(board, slot).unwrap();
            let done = sys::lock(&open.fd, family, Some(mode), wait != Wait::No);
            (done, 0, NOBODY)
        });
        if locked.is_ok() {
            self.file(board, slot).unwrap().locked.insert(family);
        }
        if locked == Err(libc::ENOSPC) {
            // Nothing was tried.
            let open = self.file(board, slot).unwrap();
            (open.claiming, open.tried) = (claiming, tried);
            let belief = self.belief(board);
            (belief.claim, belief.sure) = (claim, sure);
        }
    }

    fn unlock(&mut self, action: Action, (board, slot): (Board, Slot), family: Family) {
        let can = |open: &&mut Open| open.tried && (family == Family::Flock || open.writable);
        if self.file(board, slot).filter(can).is_none() {
            return;
        }
        let _ = self.logged(action, None, |client| {
            let open = client.file(board, slot).unwrap();
            (sys::lock(&open.fd, family, None, false), 0, NOBODY)
        });
        self.lost(board, slot, family);
    }

    fn close(&mut self, action: Action, (board, slot): (Board, Slot)) {
        if self.file(board, slot).is_none() {
            return;
        }
        let _ = self.logged(action, None, |client| {
            drop(client.belief(board).opens[usize::from(slot)].take());
            (Ok(()), 0, NOBODY)
        });
        self.closed_one(board);
    }

    /// With any of its files a process lets go what it locked by fcntl(2).
    fn closed_one(&mut self, board: Board) {
        for open in self.belief(board).opens.iter_mut().flatten() {
            open.locked.remove(&Family::Posix);
        }
    }

    /// What was locked through an open file is given up; of fcntl(2), what the
    /// process had on the board.
    fn lost(&mut self, board: Board, slot: Slot, family: Family) {
        for (at, open) in self.belief(board).opens.iter_mut().enumerate() {
            if let Some(open) = open
                && (family == Family::Posix || at == usize::from(slot))
            {
                open.locked.remove(&family);
            }
        }
    }

    fn unlink(&mut self, board: Board, action: Action) {
        let done = self.logged(action, None, |client| {
            let done = rustix::fs::unlink(client.path(board));
            (done.map_err(|e| e.raw_os_error()), 0, NOBODY)
        });
        if done.is_ok() {
            let belief = self.belief(board);
            belief.claim = false;
            belief.sure = false;
            for open in belief.opens.iter_mut().flatten() {
                open.locked.clear();
                open.claiming = false;
            }
        }
    }

    /// The pid that the status shows; none if the board is free.
    fn status(&mut self, board: Board) -> Option<i64> {
        let mut shown = None;
        let _ = self.logged(Action::Status(board), None, |client| {
            match sys::text(&client.path(board)) {
                Ok(text) => {
                    let value = |key: &str| {
                        let mut lines = text.lines();
                        let line = lines.find_map(|line| line.strip_prefix(key));
                        line.map(str::trim).unwrap_or_default().to_owned()
                    };
                    if value("state ") == "free" {
                        return (Err(libc::ENOENT), 0, NOBODY);
                    }
                    shown = value("pid ").parse().ok();
                    (Ok(()), shown.unwrap_or(0), waiters(&text))
                }
                Err(errno) => (Err(errno), 0, NOBODY),
            }
        });
        self.closed_one(board);
        shown
    }

    /// Gives all up.
    fn finish(&mut self) {
        for board in (0u8..).take(BOARDS.len()) {
            if self.belief(board).claim && self.status(board) == Some(i64::from(std::process::id()))
            {
                self.unlink(board, Action::Unlink(board, Sure::Anyhow));
            }
            let belief = self.belief(board);
            belief.claim = false;
            belief.sure = false;
            for slot in (0u8..).take(SLOTS) {
                self.close(Action::Close(board, slot), (board, slot));
            }
        }
    }
}

/// Who a status says to be waiting.
fn waiters(status: &str) -> Waiters {
    let mut pids = NOBODY;
    let lines = status.lines().filter(|line| line.starts_with("waiter "));
    for (pid, line) in pids.iter_mut().zip(lines) {
        let word = line.split(' ').nth(3).unwrap_or_default();
        // An unknown one is nobody's.
        *pid = word.parse().unwrap_or(u32::MAX);
    }
    pids
}
