//! Directories that an administrator laid out (semantics.md, "Directories and links"):
//! nobody claims them, anyone may make boards in them, they stay. They come from the
//! inventory; an inode of each is saved like any, so that it is the same inode again.

use super::ids::{Gid, Ino, User};
use super::node::{Body, Name, Node};
use super::refusal::Refusal;
use super::table::Table;
use super::time::Now;

impl Table {
    /// Brings the directories in line with the inventory: lays out those that are
    /// missing, takes away those that it has no longer, once they are empty. Those who
    /// wait for what they may not have any more are refused.
    pub fn lay_out(&mut self, now: &Now) {
        // What is told of free boards may be other by now.
        self.changes += 1;
        let laid_out = self.nodes.iter().filter(|(_, node)| node.laid_out);
        let mut directories: Vec<(usize, Ino)> = laid_out
            .map(|(ino, _)| (self.path(*ino).len(), *ino))
            .collect();
        // What is inside comes first.
        directories.sort_unstable_by(|one, other| other.cmp(one));
        for (_, ino) in directories {
            self.sweep(ino, now);
        }
        self.lay_out_missing(now);
        self.turn_away(now);
    }

    /// Lays out what is missing, unless its name is held: then it is looked at again with
    /// each event, and nobody else gets that name meanwhile.
    pub(super) fn lay_out_missing(&mut self, now: &Now) {
        self.in_the_place = false;
        let Some(boards) = self.inventory.clone() else {
            return;
        };
        for (path, _) in boards.directories() {
            let (above, name) = match path.iter().rposition(|byte| *byte == b'/') {
                Some(at) => (path.get(..at), path.get(at + 1..).unwrap_or_default()),
                None => (None, path),
            };
            let dir = above.map_or(Some(Ino::ROOT), |above| self.inode_of(above));
            let dir = dir.filter(|dir| *dir == Ino::ROOT || self.is_laid_out(*dir));
            let there = dir.and_then(|dir| self.directory(dir).ok()?.get(name));
            match (dir, there) {
                (Some(dir), None) => self.lay_out_one(dir, name, now),
                (Some(_), Some(there)) if self.is_laid_out(there) => {}
                _ => self.in_the_place = true,
            }
        }
    }

    fn lay_out_one(&mut self, dir: Ino, name: &[u8], now: &Now) {
        self.last_ino += 1;
        let ino = Ino(self.last_ino);
        let daemon = User {
            uid: self.options.daemon,
            gid: Gid(0),
        };
        let mut node = Node::new(Body::Directory(Box::default()), (daemon, now.wall));
        node.laid_out = true;
        self.nodes.insert(ino, node);
        self.add_name(dir, name, ino);
    }

    /// Whether an inode is a directory that was laid out.
    pub fn is_laid_out(&self, ino: Ino) -> bool {
        self.nodes.get(&ino).is_some_and(|node| node.laid_out)
    }

    /// Whether it was laid out, and the inventory has it no longer.
    pub(super) fn is_to_go(&self, ino: Ino) -> bool {
        let listed = |path: &[u8]| {
            let boards = self.inventory.as_ref();
            boards.is_some_and(|boards| boards.is_directory(path))
        };
        self.is_laid_out(ino) && !listed(&self.path(ino))
    }

    /// Takes away a directory that was laid out; the names that are free by that.
    pub(super) fn take_down(&mut self, ino: Ino) -> Vec<(Ino, Name)> {
        if !self.is_to_go(ino) {
            return Vec::new();
        }
        let names = self.nodes.get(&ino).map(|node| node.names.to_vec());
        let names = names.unwrap_or_default();
        for (dir, name) in &names {
            self.drop_name(*dir, name, ino);
        }
        self.nodes.remove(&ino);
        names
    }

    /// Why nobody may do something with what nobody holds: `other`, unless it was laid
    /// out.
    pub(super) fn of_the_claimless(&self, ino: Ino, other: Refusal) -> Refusal {
        match self.is_laid_out(ino) {
            true => Refusal::LaidOut,
            false => other,
        }
    }
}
