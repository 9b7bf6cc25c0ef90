//! What outlives the daemon: followed change by change, as the state file is
//! written, it comes to the table itself; and the table comes back from it.

use std::collections::BTreeMap;

use boardlock::lock::Table;
use boardlock::lock::restored::Return;
use boardlock::lock::saved::{Counters, Key, Saved, Value};
use boardlock::store::format::{Frame, MAGIC, Owner, push, read};

use super::driver::{Run, Wrong};

/// A state file, and what it comes to.
pub struct Followed {
    file: Vec<u8>,
    values: BTreeMap<Key, Value>,
    counters: Counters,
    changes: usize,
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
            values: BTreeMap::new(),
            counters: Counters::default(),
            changes: 0,
        }
    }
}

impl Run {
    /// Records what has changed, and now and then begins anew with it.
    pub fn save(&mut self) -> Result<(), Wrong> {
        self.follow()?;
        self.followed.changes += 1;
        // What it takes is long.
        match self.followed.changes % 16 {
            0 => self.begin_anew(),
            _ => Ok(()),
        }
    }

    fn follow(&mut self) -> Result<(), Wrong> {
        let now = self.world.now();
        let changes = self.table.take_changes(&now);
        let frame = Frame {
            counters: changes.counters,
            values: changes.values,
            done: Vec::new(),
        };
        push(&mut self.followed.file, &frame).map_err(|e| e.to_string())?;
        for (key, value) in frame.values {
            match value {
                Some(value) => self.followed.values.insert(key, value),
                None => self.followed.values.remove(&key),
            };
        }
        self.followed.counters = frame.counters;
        Ok(())
    }

    /// A table that begins with what was recorded is this one.
    fn begin_anew(&self) -> Result<(), Wrong> {
        let now = self.world.now();
        let followed = Saved {
            counters: self.followed.counters,
            values: self.followed.values.clone(),
        };
        for how in [Return::SameBoot, Return::Connected] {
            let mut back = Table::new(*self.table.options(), &now);
            let restored = back.restore(&now, followed.clone(), how, |_| Vec::new());
            if (restored.freed, restored.lost) != (0, 0) {
                return Err(format!("restored with losses: {restored:?}"));
            }
            if back.boards() != self.table.boards()
                || back.next_deadlines() != self.table.next_deadlines()
            {
                return Err("restored counts other boards or deadlines".to_owned());
            }
            let (is, should) = (
                back.saved(&now).unplaced(),
                self.table.saved(&now).unplaced(),
            );
            if how == Return::Connected && is != should {
                return Err(format!("restored is {is:?}, should be {should:?}"));
            }
        }
        Ok(())
    }

    /// The file that was written comes to the same.
    pub fn read_back(&mut self) -> Result<(), Wrong> {
        self.follow()?;
        self.begin_anew()?;
        let content = read(&self.followed.file).map_err(|why| format!("{why:?}"))?;
        if content.saved.values != self.followed.values || content.torn {
            return Err(format!(
                "read back {:?}, wrote {:?}",
                content.saved.values, self.followed.values
            ));
        }
        Ok(())
    }
}
