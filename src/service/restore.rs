//! What was held when the last daemon ended.

use super::Service;
use super::desk::Desk;
use crate::lock::ids::ProcessId;
use crate::lock::saved::{Restored, Return, SavedInode};
use crate::store::{Found, Store};

impl Service {
    /// Takes over what a state file held, and records in it from now on. The
    /// living have what they had; what the dead had is free.
    pub fn restore(&self, store: Store, found: Option<Found>) -> Restored {
        let restored = self.act(|desk| {
            let restored = found.map(|found| take_over(desk, found));
            desk.carry_out();
            restored.unwrap_or_default()
        });
        let mut state = self.state.lock();
        state.table.track();
        state.store = Some(store);
        restored
    }
}

fn take_over(desk: &mut Desk<'_>, found: Found) -> Restored {
    let Found {
        saved, same_boot, ..
    } = found;
    let resolver = desk.resolver;
    let mut openers: Vec<ProcessId> = Vec::new();
    if same_boot {
        for process in saved.inodes().flat_map(SavedInode::lineage) {
            watch(desk, *process);
        }
        for file in saved.inodes().flat_map(SavedInode::locked) {
            openers.extend(resolver.opener(file));
        }
        for process in &openers {
            watch(desk, *process);
        }
    }
    let (table, now) = (&mut *desk.table, desk.now);
    let how = if same_boot {
        Return::SameBoot
    } else {
        Return::OtherBoot
    };
    table.restore(&now, saved, how, |files| {
        let mut found: Vec<ProcessId> = Vec::new();
        for file in files {
            if let Some(process) = resolver.opener(file)
                && openers.contains(&process)
                && !found.contains(&process)
            {
                found.push(process);
            }
        }
        found
    })
}

/// Watches a process if it lives. What hangs on one that is not watched counts as
/// ended.
fn watch(desk: &Desk<'_>, process: ProcessId) {
    if desk.watch.is_watched(process) {
        return;
    }
    match desk.resolver.pin(process) {
        Ok(Some(fd)) => {
            if let Err(error) = desk.watch.add(process, fd) {
                log::error!("cannot watch process {}: {error}", process.pid);
            }
        }
        Ok(None) => {}
        Err(error) => log::error!("cannot look for process {}: {error}", process.pid),
    }
}
