//! Who was refused a board that is held, and why, as long as it is.

use std::collections::{HashMap, VecDeque};

use super::Asks;
use crate::lock::ids::Uid;
use crate::lock::refusal::Refusal;
use crate::lock::time::Timestamp;

/// So many are kept of a board, the last ones.
const OF_A_BOARD: usize = 16;

/// So many of a user, at all boards.
const OF_A_USER: usize = 2048;

/// So many in all.
const IN_ALL: usize = 16_384;

/// One who was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// When.
    pub when: Timestamp,
    /// Who.
    pub asks: Asks,
    /// Why.
    pub refusal: Refusal,
}

/// The reason as people are told it, with what the inventory has to say about it.
pub fn reason(refusal: Refusal, about: Option<&str>) -> String {
    match about {
        _ if refusal.is_defeat() && !refusal.is_by_inventory() => "held by another".to_owned(),
        Some(about) => format!("{refusal}; {about}"),
        None => refusal.to_string(),
    }
}

/// Those who were refused, by boards.
#[derive(Debug, Default)]
pub struct Refusals {
    boards: HashMap<Vec<u8>, VecDeque<Refused>>,
    users: HashMap<Uid, usize>,
    count: usize,
    /// How many ever were.
    changes: u64,
}

impl Refusals {
    /// One more was refused the board at `path`. What is too much of a user's is not
    /// kept; of a board's, the oldest of whoever has most is forgotten.
    pub fn add(&mut self, path: &[u8], asks: Asks, refusal: Refusal, when: Timestamp) {
        let uid = asks.user.uid;
        let too_many = |count: usize| count >= OF_A_USER;
        if self.count >= IN_ALL || self.users.get(&uid).copied().is_some_and(too_many) {
            return;
        }
        let refused = self.boards.entry(path.to_vec()).or_default();
        refused.push_back(Refused {
            when,
            asks,
            refusal,
        });
        *self.users.entry(uid).or_default() += 1;
        self.count += 1;
        self.changes += 1;
        if refused.len() > OF_A_BOARD
            && let Some(at) = oldest_of_most(refused)
            && let Some(gone) = refused.remove(at)
        {
            self.forgotten(gone.asks.user.uid);
        }
    }

    fn forgotten(&mut self, uid: Uid) {
        self.count = self.count.saturating_sub(1);
        if let Some(count) = self.users.get_mut(&uid) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.users.remove(&uid);
            }
        }
    }

    /// Grows with each one that is kept.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// The hold of the board at `path` is over.
    pub fn forget(&mut self, path: &[u8]) {
        // Mostly nobody was refused anything.
        if self.boards.is_empty() {
            return;
        }
        for refused in self.boards.remove(path).into_iter().flatten() {
            self.forgotten(refused.asks.user.uid);
        }
    }

    /// Who was refused the board at `path` during its hold, the last one last.
    pub fn of(&self, path: &[u8]) -> impl Iterator<Item = &Refused> {
        self.boards.get(path).into_iter().flatten()
    }
}

/// Where the oldest is of the user who has most.
fn oldest_of_most(refused: &VecDeque<Refused>) -> Option<usize> {
    let of = |uid: Uid| refused.iter().filter(move |r| r.asks.user.uid == uid);
    let most = refused
        .iter()
        .map(|refused| refused.asks.user.uid)
        .max_by_key(|uid| of(*uid).count())?;
    refused
        .iter()
        .position(|refused| refused.asks.user.uid == most)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::lock::ids::{Gid, Pid, User};

    fn asks(uid: u32, pid: u32) -> Asks {
        Asks {
            user: User {
                uid: Uid(uid),
                gid: Gid(uid),
            },
            pid: Pid::new(pid),
            command: String::new(),
            via: String::new(),
        }
    }

    fn refuse(refusals: &mut Refusals, board: &str, uid: u32, pid: u32) {
        let when = Timestamp::from_secs(i64::from(pid));
        refusals.add(board.as_bytes(), asks(uid, pid), Refusal::Busy, when);
    }

    fn pids(refusals: &Refusals, board: &str) -> Vec<u32> {
        let refused = refusals.of(board.as_bytes());
        refused
            .map(|refused| refused.asks.pid.unwrap().get())
            .collect()
    }

    #[test]
    fn the_last_ones_are_kept_and_nobody_drives_out_others() {
        let mut refusals = Refusals::default();
        refuse(&mut refusals, "b", 1, 10);
        for pid in 100..200 {
            refuse(&mut refusals, "b", 2, pid);
        }
        let kept = pids(&refusals, "b");
        assert_eq!(kept.len(), OF_A_BOARD);
        assert_eq!((kept[0], kept[OF_A_BOARD - 1]), (10, 199));
    }

    #[test]
    fn they_are_bounded_for_each_user_and_in_all() {
        let mut refusals = Refusals::default();
        for board in 0..(OF_A_USER as u32 + 100) {
            refuse(&mut refusals, &board.to_string(), 1, 10);
        }
        assert_eq!(refusals.count, OF_A_USER);
        refuse(&mut refusals, "b", 2, 11);
        assert_eq!(pids(&refusals, "b"), [11]);
        for uid in 3..100 {
            for board in 0..1000 {
                refuse(&mut refusals, &format!("{uid}/{board}"), uid, 10);
            }
        }
        assert_eq!(refusals.count, IN_ALL);
    }

    #[test]
    fn they_end_with_the_hold() {
        let mut refusals = Refusals::default();
        refuse(&mut refusals, "b", 1, 10);
        refuse(&mut refusals, "c", 1, 11);
        refusals.forget(b"b");
        assert_eq!(
            (pids(&refusals, "b"), pids(&refusals, "c")),
            (vec![], vec![11])
        );
        refusals.forget(b"c");
        assert!(refusals.users.is_empty() && refusals.boards.is_empty());
        assert_eq!(refusals.count, 0);
    }
}
