//! What is there before the first request: what is held still, what was in the
//! directory, and what the administrator wants.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread;

use nix::unistd::geteuid;

use super::shown;
use crate::cli::options::{MountPlan, StatePlan};
use crate::clock;
use crate::inventory::Inventory;
use crate::lock::ids::{Pid, Uid};
use crate::lock::options::{MAX_WAITING, Options};
use crate::migrate::{self, Found};
use crate::printable::printable;
use crate::process::Lists;
use crate::service::{self, Service};
use crate::store::{self, Store};
use crate::supervise::powers;

pub(super) fn options(plan: &MountPlan) -> Options {
    Options {
        lease: plan.lease,
        release: plan.release,
        expire: plan.expire,
        open: plan.open,
        open_wait: plan.open_wait,
        max_boards: plan.max_boards,
        max_per_user: plan.max_per_user,
        max_waiting: MAX_WAITING,
        daemon: Uid(geteuid().as_raw()),
    }
}

/// The lists of callers.md with the administrator's additions.
pub(super) fn lists(plan: &MountPlan) -> Result<Lists, String> {
    let mut lists = Lists::default();
    for name in &plan.one_shot {
        lists.add_one_shot(name).map_err(|e| e.to_string())?;
    }
    for name in &plan.wrapper {
        lists.add_wrapper(name).map_err(|e| e.to_string())?;
    }
    for name in &plan.session_manager {
        lists.add_session_manager(name).map_err(|e| e.to_string())?;
    }
    Ok(lists)
}

/// The inventory of a lock directory, if it has one. A copy is kept beside the state file.
pub(super) fn inventory(plan: &MountPlan, dir: &Path) -> Option<Inventory> {
    let file = plan.boards.as_ref()?;
    let state = match &plan.state {
        StatePlan::None => None,
        StatePlan::File(path) => Some(path.clone()),
        StatePlan::Default => store::default_path(dir),
    };
    Some(Inventory::new(file, state.as_deref()))
}

/// What reads the inventory anew. It has a thread of its own, from when it is asked first:
/// a file on another machine, or a directory service that users are looked up in, may take
/// long, and holders end meanwhile.
pub(super) struct Reloads {
    service: Arc<Service>,
    inventory: Inventory,
    wanted: Option<SyncSender<()>>,
}

impl Reloads {
    pub(super) fn new(service: &Arc<Service>, inventory: Inventory) -> Reloads {
        Reloads {
            service: Arc::clone(service),
            inventory,
            wanted: None,
        }
    }

    /// Has it read as it is now, or a little later: however often it is asked, the last
    /// time counts.
    pub(super) fn ask(&mut self) {
        let wanted = match &self.wanted {
            Some(wanted) => wanted,
            None => match self.start() {
                Ok(wanted) => self.wanted.insert(wanted),
                Err(error) => {
                    log::warn!("cannot start a thread: {error}");
                    return reload(&self.service, &self.inventory);
                }
            },
        };
        match wanted.try_send(()) {
            // It is to be read once more as it is.
            Ok(()) | Err(TrySendError::Full(())) => {}
            Err(TrySendError::Disconnected(())) => self.wanted = None,
        }
    }

    fn start(&self) -> io::Result<SyncSender<()>> {
        let (wanted, asked) = sync_channel(1);
        let (service, inventory) = (Arc::clone(&self.service), self.inventory.clone());
        thread::Builder::new()
            .name("inventory".to_owned())
            .spawn(move || {
                while asked.recv().is_ok() {
                    reload(&service, &inventory);
                }
            })?;
        Ok(wanted)
    }
}

/// Reads the inventory anew. One that is broken changes nothing.
fn reload(service: &Service, inventory: &Inventory) {
    match inventory.load() {
        Ok(boards) => {
            let (count, directories) = (boards.len(), boards.directories().count());
            service.set_boards(Arc::new(boards));
            log::info!("the inventory was read: {count} boards, {directories} directories");
        }
        Err(broken) => log::error!("{broken}; the inventory stays what it was"),
    }
}

/// Opens the state file.
pub(super) fn state(
    plan: &MountPlan,
    dir: &Path,
) -> Result<Option<(Store, Option<store::Found>)>, String> {
    let (path, demanded) = match &plan.state {
        StatePlan::None => return Ok(None),
        StatePlan::File(path) => (path.clone(), true),
        StatePlan::Default => match store::default_path(dir) {
            Some(path) => (path, false),
            None => {
                log::warn!(
                    "there is no runtime directory ($XDG_RUNTIME_DIR): what is held is \
                     forgotten when the daemon ends; name a file by --state"
                );
                return Ok(None);
            }
        },
    };
    if !powers::may_write_beside(&path) {
        return Err(format!(
            "whoever serves could not write to {} anew: put it into a directory of root's own",
            shown(&path)
        ));
    }
    let owner = store::owner(dir).map_err(|e| format!("cannot tell which boot this is: {e}"))?;
    match Store::open(&path, owner) {
        Ok(opened) => Ok(Some(opened)),
        // Nothing was ever recorded there.
        Err(error) if !demanded && !path.exists() => {
            log::warn!("{error}; what is held is forgotten when the daemon ends");
            Ok(None)
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Takes over what was held when the last daemon ended.
pub(super) fn restore(service: &Service, store: Store, found: Option<store::Found>, resumes: bool) {
    let file = shown(store.path());
    let recorded = found.is_some();
    let restored = service.restore(store, found, resumes);
    if recorded && (restored.held, restored.freed) != (0, 0) {
        log::info!(
            "{file}: {} held still, {} whose holders ended meanwhile",
            restored.held,
            restored.freed
        );
    } else {
        log::info!("what is held is recorded in {file}");
    }
    if restored.lost > 0 {
        log::error!(
            "{file}: {} parts of it contradict others and were left out",
            restored.lost
        );
    }
}

/// Takes over the lock files that were there before, where they still count.
pub(super) fn take_over(service: &Service, found: &[Found]) {
    let now = clock::now().wall.secs;
    for file in found {
        let name = printable(file.name.as_encoded_bytes());
        let import = migrate::import(file, now, |pid| {
            Pid::new(pid).is_some_and(|pid| service.could_have_written(pid, file.modified))
        });
        let import = match import {
            Ok(import) => import,
            Err(reason) => {
                log::info!("{name}: not taken over, {reason}");
                continue;
            }
        };
        let user = service::user(import.uid, import.gid);
        let pid = import.pid.and_then(Pid::new);
        if let Err(failure) = service.adopt(file.name.as_encoded_bytes(), &file.content, user, pid)
        {
            log::warn!("{name}: not taken over: {failure}");
        }
    }
}
