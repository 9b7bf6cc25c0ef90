//! Wiring, readiness, shutdown.

mod begin;
mod serving;

use std::io;
use std::panic;
use std::path::Path;
use std::thread;

use crate::cli::options::MountPlan;
use crate::fuse::interrupt;
use crate::fuse::mount;
use crate::inventory::Inventory;
use crate::printable::printable;
use crate::supervise::{self, Ended, Keeper};
use crate::turn;

/// Serves a lock directory until SIGTERM, SIGINT or, without an inventory to read anew,
/// SIGHUP, or until somebody unmounts it.
///
/// # Errors
/// What could not be done, to what, and what to do about it. The mount is left
/// when serving breaks down: with nobody behind it every attempt to acquire
/// fails, which the bare directory below would not see to.
pub fn serve(plan: &MountPlan) -> Result<(), ServeError> {
    check_proc()?;
    break_off_on_panic();
    interrupt::check().map_err(|e| e.to_string())?;
    if let Some(inherited) = supervise::inherited().map_err(|e| e.to_string())? {
        return serving::inherited(plan, inherited);
    }
    let reloads = plan.boards.is_some();
    let kept = supervise::manager::kept(&plan.dir)
        .map_err(|e| format!("cannot use what the service manager passes: {e}"))?;
    if let Some(kept) = kept {
        return keep(Keeper::again(kept), &plan.dir, reloads);
    }
    // Whoever is to serve reads it anew; then it may be broken, not at the start.
    if let Some(file) = &plan.boards {
        Inventory::new(file, None)
            .load()
            .map_err(|e| e.to_string())?;
    }
    let mut prepared = mount::prepare(&plan.dir, plan.over).map_err(|e| e.to_string())?;
    let found = std::mem::take(&mut prepared.found);
    // Before anything is mounted: whoever is to serve opens it anew.
    let recorded = begin::state(plan, &prepared.dir)?.is_some();
    let (mounted, device) =
        mount::mount(prepared, &plan.source, plan.allow_other).map_err(|e| e.to_string())?;
    if !recorded {
        return serving::alone(plan, mounted, device, found);
    }
    let dir = mounted.dir.clone();
    keep(Keeper::new(mounted, device, found), &dir, reloads)
}

/// Keeps a connection, and has it served by another process, which may read an inventory
/// anew on SIGHUP.
fn keep(keeper: io::Result<Keeper>, dir: &Path, reloads: bool) -> Result<(), ServeError> {
    let dir = shown(dir);
    match keeper.and_then(|keeper| keeper.run(reloads)) {
        Ok(Ended::Well) => Ok(()),
        Ok(Ended::Failed) => Err(ServeError::told()),
        // The mount is left, dead: nobody gets anything from it.
        Ok(Ended::GivenUp(why)) => Err(format!("gave up serving {dir}: {why}").into()),
        Err(error) => Err(format!("cannot see to it that {dir} is served: {error}").into()),
    }
}

/// Why a lock directory is served no more.
#[derive(Debug)]
pub struct ServeError {
    /// The reason; none where it was told already, or there is none to tell.
    pub reason: Option<String>,
    /// The exit code.
    pub code: u8,
    /// Whether it was before anything was served.
    before: bool,
}

impl ServeError {
    /// Another process has told why.
    fn told() -> ServeError {
        ServeError {
            reason: None,
            code: 1,
            before: false,
        }
    }

    /// Another process is to go on, which needs fewer powers than to begin.
    fn begun() -> ServeError {
        ServeError {
            code: supervise::BEGUN,
            ..ServeError::told()
        }
    }

    /// When it was served already.
    fn after(reason: String) -> ServeError {
        ServeError {
            reason: Some(reason),
            ..ServeError::told()
        }
    }

    /// Another process can go on.
    fn broke(reason: String) -> ServeError {
        ServeError {
            code: supervise::BROKE_DOWN,
            ..ServeError::after(reason)
        }
    }
}

impl From<String> for ServeError {
    fn from(reason: String) -> ServeError {
        ServeError {
            before: true,
            ..ServeError::after(reason)
        }
    }
}

/// A panic in a thread that carries out requests ends the service: the table may
/// be half changed.
fn break_off_on_panic() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        report(info);
        let name = thread::current().name().unwrap_or_default().to_owned();
        if name.starts_with("fuser-") {
            turn::break_off();
        }
    }));
}

/// The numbers in requests are looked up in /proc: were it another pid
/// namespace's, boards would go to processes that have nothing to do with them.
fn check_proc() -> Result<(), String> {
    let own = std::process::id().to_string();
    match std::fs::read_link("/proc/self") {
        Ok(shown) if shown.as_os_str() == own.as_str() => Ok(()),
        Ok(_) => Err(
            "/proc shows the processes of another pid namespace than this; \
                      mount the right one there (unshare: --mount-proc)"
                .to_owned(),
        ),
        Err(error) => Err(format!(
            "cannot find this process in /proc: {error}; /proc must be mounted, \
             and from this pid namespace (unshare: --mount-proc)"
        )),
    }
}

fn shown(path: &Path) -> String {
    printable(path.as_os_str().as_encoded_bytes())
}
