//! What a client process is told to do, and how that crosses a pipe.

/// A board of a history: `a` or `b`.
pub type Board = u8;
/// One of the two places in which a client keeps an open file of a board.
pub type Slot = u8;

/// Boards that a history may have.
pub const BOARDS: [&str; 2] = ["a", "b"];
/// Open files that a client has of one board at a time, at most.
pub const SLOTS: usize = 2;

/// How a board's file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum How {
    /// O_RDWR, O_CREAT and O_EXCL: claims a free board, or fails.
    Exclusive,
    /// O_RDWR, O_CREAT and O_APPEND: opens always, claims a free board.
    Append,
    /// O_RDONLY and O_CREAT, as flock(1): opens always, claims a free board.
    Read,
    /// O_RDWR, O_CREAT and O_NONBLOCK, as touch(1) and filelock: claims a free
    /// board, is refused one that another claims.
    Touch,
    /// O_RDWR and O_APPEND: opens what is there.
    Existing,
}

impl How {
    /// Whether it claims a free board.
    pub fn creates(self) -> bool {
        self != How::Existing
    }
}

/// The kind of a file lock, which says whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// flock(2): the open file's.
    Flock,
    /// fcntl(2): the process's.
    Posix,
    /// fcntl(2) with F_OFD_*: the open file's.
    Ofd,
}

/// How a file lock excludes others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mode {
    Shared,
    Exclusive,
}

impl Mode {
    /// Whether two locks of these modes cannot both be held.
    pub fn excludes(self, other: Mode) -> bool {
        self == Mode::Exclusive || other == Mode::Exclusive
    }
}

/// One step of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing, for so many microseconds.
    Pause(u16),
    /// Opens the board's file.
    Open(Board, Slot, How),
    /// Locks through an open file: tries, or waits. A client that holds
    /// anything else waits so many milliseconds at most, by an interval timer
    /// as `flock -w` does, so that no two wait for each other for ever; one
    /// that holds nothing does so only if that number is odd.
    Lock(Board, Slot, Family, Mode, Wait),
    /// Gives up what was locked through an open file.
    Unlock(Board, Slot, Family),
    /// Closes it.
    Close(Board, Slot),
    /// Removes the board's file: if the client has reason to believe that it
    /// holds the board, or in any case.
    Unlink(Board, Sure),
    /// Whether there is a file.
    Stat(Board),
    /// Whether an open file's board is held: its link count.
    Links(Board, Slot),
    /// Who is shown as its holder, and how many wait.
    Status(Board),
    /// Whether a lock would be granted (F_GETLK).
    Ask(Board, Slot, Family, Mode),
    /// Gives up all that is held and closes all that is open.
    Finish,
    /// Ends the process with whatever it holds.
    Exit,
}

/// Whether a lock is waited for; at most how many milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    No,
    Yes(u8),
}

/// Whether only a believed holder unlinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sure {
    Believed,
    Anyhow,
}

/// Bytes of an action.
pub const SIZE: usize = 8;

impl Action {
    /// The board that it is about.
    pub fn board(self) -> Option<Board> {
        match self {
            Action::Pause(_) | Action::Finish | Action::Exit => None,
            Action::Open(board, ..)
            | Action::Lock(board, ..)
            | Action::Unlock(board, ..)
            | Action::Close(board, _)
            | Action::Unlink(board, _)
            | Action::Stat(board)
            | Action::Links(board, _)
            | Action::Status(board)
            | Action::Ask(board, ..) => Some(board),
        }
    }

    /// The same, as bytes.
    pub fn to_bytes(self) -> [u8; SIZE] {
        let five = match self {
            Action::Pause(micros) => {
                let [low, high] = micros.to_le_bytes();
                [0, low, high, 0, 0, 0]
            }
            Action::Open(board, slot, how) => [1, board, slot, how as u8, 0, 0],
            Action::Lock(board, slot, family, mode, wait) => {
                let wait = match wait {
                    Wait::No => 0,
                    Wait::Yes(limit) => limit.max(1),
                };
                [2, board, slot, family as u8, mode as u8, wait]
            }
            Action::Unlock(board, slot, family) => [3, board, slot, family as u8, 0, 0],
            Action::Close(board, slot) => [4, board, slot, 0, 0, 0],
            Action::Unlink(board, sure) => [5, board, 0, sure as u8, 0, 0],
            Action::Stat(board) => [6, board, 0, 0, 0, 0],
            Action::Links(board, slot) => [7, board, slot, 0, 0, 0],
            Action::Status(board) => [8, board, 0, 0, 0, 0],
            Action::Ask(board, slot, family, mode) => [9, board, slot, family as u8, mode as u8, 0],
            Action::Finish => [10, 0, 0, 0, 0, 0],
            Action::Exit => [11, 0, 0, 0, 0, 0],
        };
        let mut bytes = [0; SIZE];
        bytes[..five.len()].copy_from_slice(&five);
        bytes
    }

    /// The action that these bytes are, if they are one.
    pub fn from_bytes(bytes: [u8; SIZE]) -> Option<Action> {
        let [kind, board, slot, first, second, third, ..] = bytes;
        let family = |byte| match byte {
            0 => Some(Family::Flock),
            1 => Some(Family::Posix),
            2 => Some(Family::Ofd),
            _ => None,
        };
        let mode = |byte| match byte {
            0 => Some(Mode::Shared),
            1 => Some(Mode::Exclusive),
            _ => None,
        };
        Some(match kind {
            0 => Action::Pause(u16::from_le_bytes([board, slot])),
            1 => {
                let all = [
                    How::Exclusive,
                    How::Append,
                    How::Read,
                    How::Touch,
                    How::Existing,
                ];
                Action::Open(board, slot, *all.get(usize::from(first))?)
            }
            2 => {
                let wait = match third {
                    0 => Wait::No,
                    limit => Wait::Yes(limit),
                };
                Action::Lock(board, slot, family(first)?, mode(second)?, wait)
            }
            3 => Action::Unlock(board, slot, family(first)?),
            4 => Action::Close(board, slot),
            5 if first == 0 => Action::Unlink(board, Sure::Believed),
            5 => Action::Unlink(board, Sure::Anyhow),
            6 => Action::Stat(board),
            7 => Action::Links(board, slot),
            8 => Action::Status(board),
            9 => Action::Ask(board, slot, family(first)?, mode(second)?),
            10 => Action::Finish,
            11 => Action::Exit,
            _ => return None,
        })
    }
}
