//! What was held when the last daemon ended.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::desk::Desk;
use super::{Service, State};
use crate::chronicle::file::{self, Recorder};
use crate::clock;
use crate::fault::{self, Point};
use crate::lock::attributes::Attributes;
use crate::lock::ids::{Handle, Ino, ProcessId, WaitId};
use crate::lock::restored::{Restored, Return};
use crate::lock::saved::SavedInode;
use crate::store::{Found, Store};

/// How long an end may wait for a slow disk.
const FLUSH: Duration = Duration::from_secs(1);

impl Service {
    /// Takes over what a state file held, and records in it from now on. The
    /// living have what they had; what the dead had is free. With `connected` the
    /// connection is the one that it is about.
    pub fn restore(&self, store: Store, found: Option<Found>, connected: bool) -> Restored {
        fault::point(Point::Restoring);
        self.record_history(file::beside(store.path()));
        let done = found.as_ref().map(|found| found.done.clone());
        let restored = self.act(|desk| {
            if connected {
                desk.pending.go_on(desk.now.boot);
            }
            let restored = found.map(|found| take_over(desk, found, connected));
            let mut restored = restored.unwrap_or_default();
            // Whoever is not watched has ended.
            let before = desk.table.boards();
            desk.carry_out();
            restored.held = desk.table.boards();
            restored.freed += before.saturating_sub(restored.held);
            restored
        });
        let mut state = self.state.lock();
        if connected {
            state.done_before = done.into_iter().flatten().collect();
        }
        state.table.track();
        let State {
            table, store: kept, ..
        } = &mut *state;
        kept.insert(store).taken_over(&table.whole(&clock::now()));
        fault::point(Point::Restored);
        restored
    }

    /// Goes on with the history in a file.
    fn record_history(&self, path: PathBuf) {
        let chronicle = &mut self.state.lock().chronicle;
        match Recorder::start(path, Arc::clone(&chronicle.history)) {
            Ok(recorder) => chronicle.recorder = Some(recorder),
            Err(error) => log::warn!("cannot record the history: {error}"),
        }
    }

    /// Has the history written, as far as that goes soon.
    pub fn flush_history(&self) {
        let recorder = self.state.lock().chronicle.recorder.clone();
        if let Some(recorder) = recorder {
            recorder.flush(FLUSH);
        }
    }

    /// The numbers of all who poll: they are to look anew.
    pub fn pollers(&self) -> Vec<u64> {
        self.state.lock().table.pollers()
    }

    /// Whether the daemon before did this request, and the open file that it made.
    pub fn was_done(&self, request: WaitId) -> Option<Option<Handle>> {
        self.state.lock().done_before.get(&request).copied()
    }

    /// What the inode of an open file shows.
    pub fn attributes_of(&self, handle: Handle) -> Option<Attributes> {
        self.act(|desk| {
            let ino = desk.table.opened(handle)?;
            desk.table.attributes(ino, &desk.now).ok()
        })
    }

    /// The inode of a name, whoever has it.
    pub fn number_of(&self, dir: Ino, name: &[u8]) -> Option<Ino> {
        self.act(|desk| desk.table.lookup(dir, name).ok())
    }
}

fn take_over(desk: &mut Desk<'_>, found: Found, connected: bool) -> Restored {
    let Found {
        mut saved,
        same_boot,
        ..
    } = found;
    let resolver = desk.resolver;
    let mut openers: Vec<ProcessId> = Vec::new();
    if same_boot {
        for process in saved.inodes().flat_map(SavedInode::lineage) {
            watch(desk, *process);
        }
    }
    if same_boot && !connected {
        for file in saved.inodes().flat_map(SavedInode::locked) {
            openers.extend(resolver.opener(file));
        }
        for process in &openers {
            watch(desk, *process);
        }
    }
    if connected && desk.table.inventory().is_some() {
        for caller in saved.callers_mut() {
            let groups = caller.thread.map(|thread| resolver.groups(thread));
            caller.groups.request = groups.unwrap_or_default();
        }
    }
    let (table, now) = (&mut *desk.table, desk.now);
    let how = match (same_boot, connected) {
        (true, true) => Return::Connected,
        (true, false) => Return::SameBoot,
        (false, _) => Return::OtherBoot,
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
            if let Err(error) = desk.watch.add(process, Arc::new(fd)) {
                log::error!("cannot watch process {}: {error}", process.pid);
            }
        }
        Ok(None) => {}
        Err(error) => log::error!("cannot look for process {}: {error}", process.pid),
    }
}
