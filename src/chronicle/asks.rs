//! Who asked for something.

use crate::lock::caller::{Caller, Standing};
use crate::lock::ids::{Pid, User};
use crate::printable::printable;

/// Somebody who asked for a board, as is told of him.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asks {
    /// Whose request it was.
    pub user: User,
    /// The process that would hold, else the one that asked.
    pub pid: Option<Pid>,
    /// Its command line, printable, or its program.
    pub command: String,
    /// The chain by which it was found, printable.
    pub via: String,
}

impl Asks {
    /// The one who called.
    pub fn of(caller: &Caller) -> Asks {
        let requester = caller.requester.map(|process| process.pid);
        let (pid, command) = match &caller.standing {
            Standing::Process(candidate) => (
                candidate.holder().map(|holder| holder.pid).or(requester),
                candidate.command.clone(),
            ),
            _ => (requester, printable(&caller.program)),
        };
        Asks {
            user: caller.user,
            pid,
            command,
            via: caller.via().to_owned(),
        }
    }
}
