//! A client: this program again, run as a process that does as it is told and
//! logs every call. It keeps beliefs of what it holds, for what only a holder
//! does; what is true is for the checker to say.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use super::action::{Action, BOARDS, Board, Family, How, Mode, SIZE, SLOTS, Slot, Sure, Wait};
use super::record::{Answer, Log};
use super::sys;

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
    locked: Option<Family>,
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
        call: impl FnOnce(&mut Client) -> (Result<T, i32>, i64, i64),
    ) -> Result<T, i32> {
        let handled = sys::handled();
        let mut alarm = 0;
        if let Some(limit) = limit {
            alarm = sys::now() + u64::try_from(limit.as_nanos()).unwrap_or(0);
            sys::timer(Some(limit));
        }
        let begin = sys::now();
        self.log.before(action, begin, alarm).unwrap();
        let (result, value, waiters) = call(self);
        let end = sys::now();
        if limit.is_some() {
            sys::timer(None);
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
                        .any(|open| open.locked.is_some());
                if holds || sure == Sure::Anyhow {
                    self.unlink(board, action);
                }
            }
            Action::Stat(board) => {
                let _ = self.logged(action, None, |client| {
                    let found = rustix::fs::stat(client.path(board));
                    (found.map_err(|e| e.raw_os_error()), 0, 0)
                });
            }
            Action::Links(board, slot) => {
                if self.file(board, slot).is_some() {
                    let _ = self.logged(action, None, |client| {
                        let open = client.file(board, slot).unwrap();
                        match rustix::fs::fstat(&open.fd) {
                            Ok(about) => (Ok(()), i64::try_from(about.st_nlink).unwrap(), 0),
                            Err(error) => (Err(error.raw_os_error()), 0, 0),
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
                            Ok(free) => (Ok(()), i64::from(free), 0),
                            Err(errno) => (Err(errno), 0, 0),
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
            (sys::open(&client.path(board), how), 0, 0)
        });
        let Ok(fd) = opened else {
            return;
        };
        let claiming = self.claims && how.creates();
        let belief = self.belief(board);
        belief.claim |= claiming;
        belief.sure |= claiming && how == How::Exclusive;
        belief.opens[usize::from(slot)] = Some(Open {
            fd,
            writable: how != How::Read,
            claiming,
            tried: false,
            locked: None,
        });
    }

    /// Whether it may hold anything besides what a lock through this open file
    /// would end.
    fn may_hold(&self, board: Board, slot: Slot) -> bool {
        let here = (usize::from(board), usize::from(slot));
        self.boards.iter().enumerate().any(|(at, belief)| {
            let claiming = (at == here.0)
                && belief.opens[here.1]
                    .as_ref()
                    .is_some_and(|open| open.claiming);
            (belief.claim && !claiming)
                || belief
                    .opens
                    .iter()
                    .flatten()
                    .any(|open| open.locked.is_some())
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
        let may_hold = self.may_hold(board, slot);
        let Some(open) = self.file(board, slot) else {
            return;
        };
        if family != Family::Flock && !open.writable {
            return;
        }
        let claiming = std::mem::take(&mut open.claiming);
        open.tried = true;
        if claiming {
            let belief = self.belief(board);
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
            (done, 0, 0)
        });
        if locked.is_ok() {
            self.file(board, slot).unwrap().locked = Some(family);
        }
    }

    fn unlock(&mut self, action: Action, (board, slot): (Board, Slot), family: Family) {
        let can = |open: &&mut Open| open.tried && (family == Family::Flock || open.writable);
        if self.file(board, slot).filter(can).is_none() {
            return;
        }
        let _ = self.logged(action, None, |client| {
            let open = client.file(board, slot).unwrap();
            (sys::lock(&open.fd, family, None, false), 0, 0)
        });
        self.lost(board, slot, family == Family::Posix);
    }

    fn close(&mut self, action: Action, (board, slot): (Board, Slot)) {
        if self.file(board, slot).is_none() {
            return;
        }
        let _ = self.logged(action, None, |client| {
            drop(client.belief(board).opens[usize::from(slot)].take());
            (Ok(()), 0, 0)
        });
        // With any of its files a process lets go what it locked by fcntl(2).
        for open in self.belief(board).opens.iter_mut().flatten() {
            if open.locked == Some(Family::Posix) {
                open.locked = None;
            }
        }
    }

    /// What was locked through an open file is given up; with `all`, what the
    /// process had on the board.
    fn lost(&mut self, board: Board, slot: Slot, all: bool) {
        for (at, open) in self.belief(board).opens.iter_mut().enumerate() {
            if let Some(open) = open
                && (all || at == usize::from(slot))
            {
                open.locked = None;
            }
        }
    }

    fn unlink(&mut self, board: Board, action: Action) {
        let done = self.logged(action, None, |client| {
            let done = rustix::fs::unlink(client.path(board));
            (done.map_err(|e| e.raw_os_error()), 0, 0)
        });
        if done.is_ok() {
            let belief = self.belief(board);
            belief.claim = false;
            belief.sure = false;
            for open in belief.opens.iter_mut().flatten() {
                open.locked = None;
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
                        return (Err(libc::ENOENT), 0, 0);
                    }
                    shown = value("pid ").parse().ok();
                    let waiters = value("waiters ").parse().unwrap_or(-1);
                    (Ok(()), shown.unwrap_or(0), waiters)
                }
                Err(errno) => (Err(errno), 0, 0),
            }
        });
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
