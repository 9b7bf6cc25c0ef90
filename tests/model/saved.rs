//! What outlives the daemon: followed change by change, as the state file is
//! written, it comes to the table itself; and the table comes back from it.

use std::collections::BTreeMap;

use boardlock::lock::Table;
use boardlock::lock::ids::Ino;
use boardlock::lock::saved::{Saved, SavedInode};
use boardlock::store::format::{Frame, MAGIC, Owner, push, read};

use super::driver::{Run, Wrong};

/// A state file, and what it comes to.
pub struct Followed {
    file: Vec<u8>,
    inodes: BTreeMap<Ino, SavedInode>,
}

impl Followed {
    pub fn new() -> Followed {
        let mut file = MAGIC.to_vec();
        let owner = Owner {
            dir: b"/locks".to_vec(),
            boot: "boot".to_owned(),
            pids: 1,
        };
        push(&mut file, &owner).unwrap();
        Followed {
            file,
            inodes: BTreeMap::new(),
        }
    }
}

impl Run {
    /// Records what has changed, and begins anew with it.
    pub fn save(&mut self) -> Result<(), Wrong> {
        let now = self.world.now();
        let changes = self.table.take_changes(&now);
        push(&mut self.followed.file, &Frame::from(&changes)).map_err(|e| e.to_string())?;
        for (ino, inode) in changes.inodes {
            match inode {
                Some(inode) => self.followed.inodes.insert(ino, inode),
                None => self.followed.inodes.remove(&ino),
            };
        }
        let followed = Saved {
            counters: changes.counters,
            inodes: self.followed.inodes.clone().into_iter().collect(),
        };
        let mut back = Table::new(*self.table.options(), &now);
        let restored = back.restore(&now, followed, true, |_| Vec::new());
        if (restored.freed, restored.lost) != (0, 0) {
            return Err(format!("restored with losses: {restored:?}"));
        }
        let (is, should) = (
            back.saved(&now).unplaced(),
            self.table.saved(&now).unplaced(),
        );
        if is != should {
            return Err(format!("restored is {is:?}, should be {should:?}"));
        }
        if back.boards() != self.table.boards()
            || back.next_deadlines() != self.table.next_deadlines()
        {
            return Err("restored counts other boards or deadlines".to_owned());
        }
        Ok(())
    }

    /// The file that was written comes to the same.
    pub fn read_back(&self) -> Result<(), Wrong> {
        let content = read(&self.followed.file).map_err(|why| format!("{why:?}"))?;
        let inodes: BTreeMap<Ino, SavedInode> = content.saved.inodes.into_iter().collect();
        if inodes != self.followed.inodes || content.torn {
            return Err(format!(
                "read back {inodes:?}, wrote {:?}",
                self.followed.inodes
            ));
        }
        Ok(())
    }
}
