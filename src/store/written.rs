//! What was written last of each value, as far as it takes to know whether it is
//! written again.

use std::collections::HashMap;

use super::format::Digest;
use crate::lock::ids::{Handle, Ino, WaitId};
use crate::lock::saved::Key;

/// The checksum and length of each value in a file. A map for each kind of key: beside
/// a number its kind would take as much room again, and there is one for each board.
#[derive(Debug, Default)]
pub(super) struct Written {
    inodes: HashMap<Ino, Digest>,
    opens: HashMap<Handle, Digest>,
    waits: HashMap<WaitId, Digest>,
    watchers: HashMap<Handle, Digest>,
}

impl Written {
    pub fn get(&self, key: &Key) -> Option<Digest> {
        let digest = match key {
            Key::Inode(ino) => self.inodes.get(ino),
            Key::Open(handle) => self.opens.get(handle),
            Key::Wait(wait) => self.waits.get(wait),
            Key::Watcher(handle) => self.watchers.get(handle),
        };
        digest.copied()
    }

    /// Notes what is written from now on, none of what is no more; what was before.
    pub fn set(&mut self, key: Key, digest: Option<Digest>) -> Option<Digest> {
        fn set<K: Eq + std::hash::Hash>(
            map: &mut HashMap<K, Digest>,
            key: K,
            digest: Option<Digest>,
        ) -> Option<Digest> {
            match digest {
                Some(digest) => map.insert(key, digest),
                None => map.remove(&key),
            }
        }
        match key {
            Key::Inode(ino) => set(&mut self.inodes, ino, digest),
            Key::Open(handle) => set(&mut self.opens, handle, digest),
            Key::Wait(wait) => set(&mut self.waits, wait, digest),
            Key::Watcher(handle) => set(&mut self.watchers, handle, digest),
        }
    }

    pub fn keys(&self) -> impl Iterator<Item = Key> {
        let inodes = self.inodes.keys().copied().map(Key::Inode);
        let opens = self.opens.keys().copied().map(Key::Open);
        let waits = self.waits.keys().copied().map(Key::Wait);
        let watchers = self.watchers.keys().copied().map(Key::Watcher);
        inodes.chain(opens).chain(waits).chain(watchers)
    }
}
