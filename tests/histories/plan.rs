//! Random plans of histories: what each client is to do, and what is done to
//! it meanwhile. The same number makes the same plan.

use super::action::{Action, BOARDS, Board, Family, How, Mode, Slot, Sure, Wait};
use super::history::Poke;
use super::random::Random;

/// Something done to a client, so many microseconds after the start.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    pub at: u64,
    pub client: usize,
    pub poke: Poke,
}

/// A plan of a history.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What each client does.
    pub scripts: Vec<Vec<Action>>,
    /// What is done, in order of time.
    pub events: Vec<Event>,
    /// What comes for a client that is gone, in order.
    pub heirs: Vec<Vec<Action>>,
}

/// What plans are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Everything that a served lock directory can do.
    Served,
    /// Claims alone: file locks are left out.
    Claims,
    /// flock(2) on a bare file.
    Flock,
    /// fcntl(2) on a bare file.
    Fcntl,
}

/// What one client does on one board.
struct Part<'a> {
    random: &'a mut Random,
    kind: Kind,
    board: Board,
    family: Family,
    actions: Vec<Action>,
}

/// The clients of a history, at most.
const CLIENTS: u64 = 16;

/// The plan with this number.
pub fn plan(seed: u64, kind: Kind) -> Plan {
    let mut random = Random::new(seed);
    let clients = 2 + random.below(CLIENTS - 1);
    let boards = if random.percent(60) { 1 } else { BOARDS.len() };
    let boards = u8::try_from(boards).unwrap();
    // Some histories are in a hurry.
    let pauses = random.pick(&[0, 20, 60]);
    let scripts: Vec<_> = (0..clients)
        .map(|_| {
            let length = 3 + random.below(8);
            script(&mut random, kind, boards, length, pauses)
        })
        .collect();
    let span = 1000 + clients * 600;
    let mut events = Vec::new();
    for _ in 0..random.below(clients + 2) {
        let at = random.below(span);
        let client = usize::try_from(random.below(clients)).unwrap();
        let poke = random.pick(&[
            Poke::Interrupt,
            Poke::Interrupt,
            Poke::Kill,
            Poke::Kill,
            Poke::Stop,
            Poke::Restart,
        ]);
        events.push(Event { at, client, poke });
        if poke == Poke::Stop {
            events.push(Event {
                at: at + random.below(2000),
                client,
                poke: Poke::Continue,
            });
        }
    }
    events.sort_by_key(|event| event.at);
    let heirs = (0..clients)
        .map(|_| {
            let length = random.below(4);
            script(&mut random, kind, boards, length, pauses)
        })
        .collect();
    Plan {
        scripts,
        events,
        heirs,
    }
}

fn script(random: &mut Random, kind: Kind, boards: u8, length: u64, pauses: u64) -> Vec<Action> {
    let families = match kind {
        Kind::Served => [Family::Flock, Family::Posix, Family::Flock, Family::Ofd],
        Kind::Claims | Kind::Flock => [Family::Flock; 4],
        Kind::Fcntl => [Family::Posix, Family::Ofd, Family::Posix, Family::Ofd],
    };
    let of: [Family; BOARDS.len()] = std::array::from_fn(|_| random.pick(&families));
    let mut actions: Vec<Action> = Vec::new();
    while (actions.len() as u64) < length {
        let board = u8::try_from(random.below(boards.into())).unwrap();
        let mut part = Part {
            family: of[usize::from(board)],
            random,
            kind,
            board,
            actions: Vec::new(),
        };
        part.episode();
        for action in part.actions {
            if random.percent(pauses) {
                let micros = random.below(400);
                actions.push(Action::Pause(u16::try_from(micros).unwrap()));
            }
            actions.push(action);
        }
    }
    // Some end with what they have.
    actions.push(if random.percent(8) {
        Action::Exit
    } else {
        Action::Finish
    });
    actions
}

impl Part<'_> {
    /// A few steps that go together, often enough to an end.
    fn episode(&mut self) {
        let slot = Slot::from(self.random.percent(25));
        let bare = matches!(self.kind, Kind::Flock | Kind::Fcntl);
        let choice = self.random.below(100);
        match self.kind {
            _ if bare => self.through(slot, How::Append),
            Kind::Claims if choice < 60 => self.claim(slot),
            Kind::Claims => self.look(slot),
            _ if choice < 3 => self.tangle(),
            _ if choice < 25 => self.claim(slot),
            _ if choice < 80 => {
                let how = self.opening();
                self.through(slot, how);
            }
            _ => self.look(slot),
        }
    }

    fn push(&mut self, action: Action) {
        self.actions.push(action);
    }

    fn opening(&mut self) -> How {
        let all = [
            How::Append,
            How::Append,
            How::Read,
            How::Touch,
            How::Existing,
        ];
        self.random.pick(&all)
    }

    /// Takes the board by making its file.
    fn claim(&mut self, slot: Slot) {
        let board = self.board;
        self.push(Action::Open(board, slot, How::Exclusive));
        if self.random.percent(30) {
            self.push(Action::Status(board));
        }
        if self.random.percent(60) {
            self.push(Action::Close(board, slot));
        }
        if self.kind == Kind::Served && self.random.percent(20) {
            let how = self.opening();
            self.through(slot ^ 1, how);
        }
        if self.random.percent(80) {
            self.push(Action::Unlink(board, Sure::Believed));
        }
    }

    /// Claims, and locks through another open file than the claiming one first.
    fn tangle(&mut self) {
        let board = self.board;
        self.push(Action::Open(board, 0, How::Exclusive));
        self.push(Action::Open(board, 1, How::Append));
        self.lock(1);
        self.lock(0);
        let first = Slot::from(self.random.percent(50));
        self.push(Action::Unlock(board, first, self.family));
        self.push(Action::Stat(board));
        self.push(Action::Close(board, 1 - first));
        self.push(Action::Stat(board));
    }

    fn lock(&mut self, slot: Slot) {
        let modes = [Mode::Exclusive, Mode::Exclusive, Mode::Shared];
        let mut mode = self.random.pick(&modes);
        let wait = if self.random.percent(60) {
            Wait::Yes(u8::try_from(1 + self.random.below(6)).unwrap())
        } else {
            Wait::No
        };
        if self.random.percent(20) {
            mode = Mode::Shared;
        }
        self.push(Action::Lock(self.board, slot, self.family, mode, wait));
        if self.random.percent(50) {
            // For others to come.
            let micros = self.random.below(1500);
            self.push(Action::Pause(u16::try_from(micros).unwrap()));
        }
    }

    /// Locks through an open file.
    fn through(&mut self, slot: Slot, how: How) {
        let board = self.board;
        if self.kind == Kind::Served && self.random.percent(10) {
            let all = [Family::Flock, Family::Posix, Family::Ofd];
            self.family = self.random.pick(&all);
        }
        self.push(Action::Open(board, slot, how));
        self.lock(slot);
        if self.random.percent(20) {
            self.look(slot);
        }
        if self.random.percent(15) {
            self.lock(slot);
        }
        let served = self.kind == Kind::Served;
        match self.random.below(100) {
            ..40 => self.push(Action::Unlock(board, slot, self.family)),
            40..75 => self.push(Action::Close(board, slot)),
            75..85 if served => self.push(Action::Unlink(board, Sure::Believed)),
            _ => {}
        }
        if self.random.percent(50) {
            self.push(Action::Close(board, slot));
        }
    }

    /// Changes nothing, mostly.
    fn look(&mut self, slot: Slot) {
        let board = self.board;
        if matches!(self.kind, Kind::Flock | Kind::Fcntl) {
            if self.kind == Kind::Fcntl {
                self.push(Action::Ask(board, slot, self.family, Mode::Exclusive));
            }
            return;
        }
        match self.random.below(100) {
            ..30 => self.push(Action::Stat(board)),
            30..60 => self.push(Action::Status(board)),
            60..75 => self.push(Action::Links(board, slot)),
            75..85 => self.push(Action::Unlink(board, Sure::Anyhow)),
            _ if self.kind == Kind::Claims => self.push(Action::Stat(board)),
            _ if self.family == Family::Flock => self.push(Action::Status(board)),
            _ => {
                let mode = self.random.pick(&[Mode::Shared, Mode::Exclusive]);
                self.push(Action::Ask(board, slot, self.family, mode));
            }
        }
    }
}
