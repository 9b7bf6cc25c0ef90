//! Who watches a board with poll(2): its open file is readable once the board
//! has changed since it was read last.

use super::effect::Effect;
use super::ids::{Handle, Ino};
use super::table::Table;

impl Table {
    /// Whether there is something new to be read through an open file. With
    /// `tell`, [`Effect::Changed`] tells of the next change, once; though there
    /// is something new, as edge-triggered epoll(7) asks only then.
    pub fn poll(&mut self, handle: Handle, tell: bool) -> bool {
        let Some(open) = self.opens.get_mut(&handle) else {
            return true;
        };
        let version = self.nodes.get(&open.ino).map_or(0, |node| node.version);
        open.polled |= tell;
        let new = open.seen != version;
        let ino = open.ino;
        if tell && let Some(node) = self.nodes.get_mut(&ino) {
            node.polled = true;
        }
        new
    }

    /// Notes by which number the kernel knows who polls an open file.
    pub fn polled_as(&mut self, handle: Handle, number: u64) {
        if self
            .opens
            .get(&handle)
            .is_some_and(|open| open.poller != Some(number))
            && let Some(open) = self.opens.get_mut(&handle)
        {
            open.poller = Some(number);
        }
    }

    /// The same for one of what is no board, which is no open file of the table's: to
    /// be remembered with the rest.
    pub fn watched_as(&mut self, handle: Handle, number: u64) {
        if self.watchers.get(&handle) != Some(&number) {
            self.watchers.insert(handle, number);
        }
    }

    /// It is closed.
    pub fn unwatched(&mut self, handle: Handle) {
        if self.watchers.contains_key(&handle) {
            self.watchers.remove(&handle);
        }
    }

    /// The numbers of all who poll, or did.
    pub fn pollers(&self) -> Vec<u64> {
        let boards = self.opens.values().filter_map(|open| open.poller);
        boards.chain(self.watchers.values().copied()).collect()
    }

    /// What is told of a board is another from now on.
    pub(super) fn changed(&mut self, ino: Ino) {
        let Some(node) = self.nodes.get_mut(&ino) else {
            return;
        };
        node.version += 1;
        self.changes += 1;
        // Of many open files few are watched, and mostly none.
        if !std::mem::take(&mut node.polled) {
            return;
        }
        let polled: Vec<Handle> = node
            .opens
            .iter()
            .copied()
            .filter(|handle| {
                self.opens
                    .get_mut(handle)
                    .is_some_and(|open| std::mem::take(&mut open.polled))
            })
            .collect();
        for handle in polled {
            self.effect(Effect::Changed(handle));
        }
    }
}
