//! Wiring, readiness, shutdown.

use std::io;
use std::os::fd::OwnedFd;
use std::panic;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::geteuid;

use crate::cli::options::{MountPlan, StatePlan};
use crate::clock;
use crate::fuse::interrupt;
use crate::fuse::mount::{self, Mounted};
use crate::fuse::session::Session;
use crate::lock::Table;
use crate::lock::ids::{Pid, Uid};
use crate::lock::options::Options;
use crate::migrate::{self, Found};
use crate::printable::printable;
use crate::process::{Lists, Proc, Resolver};
use crate::service::{self, Service};
use crate::store::{self, Store};
use crate::supervise::{self, Ended};
use crate::turn;
use crate::watch::{Event, Watch};

/// How long requests that are still at work are waited for at the end.
const LAST_REQUESTS: Duration = Duration::from_secs(2);

/// Serves a lock directory until SIGTERM, SIGINT or SIGHUP, or until somebody
/// unmounts it.
///
/// # Errors
/// What could not be done, to what, and what to do about it. The mount is left
/// when serving breaks down: with nobody behind it every attempt to acquire
/// fails, which the bare directory below would not see to.
pub fn serve(plan: &MountPlan) -> Result<(), ServeError> {
    check_proc()?;
    break_off_on_panic();
    interrupt::check().map_err(|e| e.to_string())?;
    if let Some(mut inherited) = supervise::inherited().map_err(|e| e.to_string())? {
        let mounted = inherited.handover.mounted().map_err(|e| e.to_string())?;
        let device = inherited
            .device
            .try_clone()
            .map_err(|e| format!("cannot use the device: {e}"))?;
        let found = std::mem::take(&mut inherited.handover.found);
        let init = inherited.handover.init.take();
        return serve_mounted(plan, &mounted, device, &found, init, |init| {
            inherited.begun(init)
        });
    }
    let mut prepared = mount::prepare(&plan.dir, plan.over).map_err(|e| e.to_string())?;
    let found = std::mem::take(&mut prepared.found);
    // Before anything is mounted: whoever is to serve opens it anew.
    let recorded = state(plan, &prepared.dir)?.is_some();
    let (mounted, device) = mount::mount(prepared, plan.allow_other).map_err(|e| e.to_string())?;
    if !recorded {
        return serve_mounted(plan, &mounted, device, &found, None, |_| Ok(()));
    }
    let dir = shown(&mounted.dir);
    match supervise::run(&mounted, &device, found) {
        Ok(Ended::Well) => Ok(()),
        Ok(Ended::Failed) => Err(ServeError::told()),
        // The mount is left, dead: nobody gets anything from it.
        Ok(Ended::GivenUp(why)) => Err(format!("gave up serving {dir}: {why}").into()),
        Err(error) => Err(format!("cannot see to it that {dir} is served: {error}").into()),
    }
}

/// Serves what is mounted. `init`: the message that the connection began with, if
/// another process began it; else `begun` is told.
fn serve_mounted(
    plan: &MountPlan,
    mounted: &Mounted,
    device: OwnedFd,
    found: &[Found],
    init: Option<Vec<u8>>,
    begun: impl FnOnce(Vec<u8>) -> io::Result<()>,
) -> Result<(), ServeError> {
    let resumes = init.is_some();
    // Nothing was served yet: the bare directory is no worse than before.
    let give_up = |reason: String| {
        if !resumes {
            let _ = mounted.unmount();
        }
        reason
    };
    let descriptors = raise_descriptor_limit();
    // Before any other thread is started: they are to leave signals alone.
    let watch =
        Watch::new(descriptors).map_err(|e| give_up(format!("cannot set up waiting: {e}")))?;
    let service = Arc::new(Service::new(
        Table::new(options(plan), &clock::now()),
        Resolver::new(Proc::system(), lists(plan).map_err(give_up)?),
        watch,
    ));
    service.set_device(mounted.device());
    if let Some((store, recorded)) = state(plan, &mounted.dir).map_err(give_up)? {
        restore(&service, store, recorded, resumes);
    }
    // Requests wait in the kernel until the session begins: nobody gets a board
    // that is about to be taken over.
    take_over(&service, found);
    let session = Session::begin(&service, device, mounted.all_users, init)
        .map_err(|e| give_up(format!("cannot serve {}: {e}", shown(&mounted.dir))))?;
    if !resumes
        && session.can_be_resumed()
        && let Some(init) = interrupt::init()
    {
        begun(init).map_err(|e| give_up(format!("cannot hand over: {e}")))?;
    }
    let session = thread::Builder::new().name("session".to_owned()).spawn({
        let service = Arc::clone(&service);
        move || {
            let ended = session.run();
            service.watch().unmounted();
            ended
        }
    });
    let session = session.map_err(|e| give_up(format!("cannot start a thread: {e}")))?;
    if resumes {
        log::info!("{} is served on", shown(&mounted.dir));
    } else {
        announce(mounted);
    }
    match attend(&service, mounted)? {
        Ending::Asked => Ok(()),
        Ending::Session => {
            let dir = shown(&mounted.dir);
            // A request that waits for another process may go on doing so.
            let deadline = Instant::now() + LAST_REQUESTS;
            while !session.is_finished() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(1));
            }
            if !session.is_finished() {
                log::warn!("a last request of {dir} still waits for another process");
                return ended(mounted);
            }
            match session.join() {
                Ok(Ok(())) => ended(mounted),
                Ok(Err(error)) => Err(ServeError::broke(format!("serving {dir} failed: {error}"))),
                Err(_) => Err(ServeError::broke(format!("serving {dir} broke down"))),
            }
        }
    }
}

/// Why a lock directory is served no more.
#[derive(Debug)]
pub struct ServeError {
    /// The reason; none where it was told already.
    pub reason: Option<String>,
    /// The exit code.
    pub code: u8,
}

impl ServeError {
    /// Another process has told why.
    fn told() -> ServeError {
        ServeError {
            reason: None,
            code: 1,
        }
    }

    /// Another process can go on.
    fn broke(reason: String) -> ServeError {
        ServeError {
            reason: Some(reason),
            code: supervise::BROKE_DOWN,
        }
    }
}

impl From<String> for ServeError {
    fn from(reason: String) -> ServeError {
        ServeError {
            reason: Some(reason),
            code: 1,
        }
    }
}

/// How serving ended.
enum Ending {
    /// By a signal; it is unmounted.
    Asked,
    /// No request can come any more.
    Session,
}

/// What it means that no more requests come.
fn ended(mounted: &Mounted) -> Result<(), ServeError> {
    let dir = shown(&mounted.dir);
    if mounted.is_mounted() {
        return Err(format!("the connection of {dir} was aborted").into());
    }
    log::info!("{dir} is unmounted");
    Ok(())
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

/// Attends to what happens besides requests, until the end.
fn attend(service: &Service, mounted: &Mounted) -> Result<Ending, String> {
    loop {
        let events = service
            .watch()
            .wait()
            .map_err(|e| format!("cannot wait for what happens: {e}"))?;
        for event in events {
            match event {
                Event::Died(process) => service.died(process),
                Event::Time => service.time(),
                Event::Stop(signal) => {
                    log::info!("{signal}: no longer serving {}", shown(&mounted.dir));
                    mounted
                        .unmount()
                        .map_err(|e| format!("cannot unmount {}: {e}", shown(&mounted.dir)))?;
                    log::info!("{} is unmounted", shown(&mounted.dir));
                    return Ok(Ending::Asked);
                }
                Event::Unmounted => return Ok(Ending::Session),
            }
        }
    }
}

fn announce(mounted: &Mounted) {
    let dir = shown(&mounted.dir);
    let whom = if mounted.all_users {
        "all users"
    } else {
        "you alone"
    };
    log::info!("ready: {dir} is a lock directory, for {whom}");
    log::info!("try `touch {dir}/board` to take a board, `cat {dir}/board` to see who has it");
    log::info!("and `rm {dir}/board` to give it back, or just end the shell that took it");
}

fn options(plan: &MountPlan) -> Options {
    Options {
        lease: plan.lease,
        release: plan.release,
        expire: plan.expire,
        open: plan.open,
        open_wait: plan.open_wait,
        max_boards: plan.max_boards,
        max_per_user: plan.max_per_user,
        daemon: Uid(geteuid().as_raw()),
    }
}

/// The lists of callers.md with the administrator's additions.
fn lists(plan: &MountPlan) -> Result<Lists, String> {
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

/// Opens the state file.
fn state(plan: &MountPlan, dir: &Path) -> Result<Option<(Store, Option<store::Found>)>, String> {
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
fn restore(service: &Service, store: Store, found: Option<store::Found>, resumes: bool) {
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
fn take_over(service: &Service, found: &[Found]) {
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

/// Each process that holds a board costs a descriptor. How many there can be.
fn raise_descriptor_limit() -> usize {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        log::warn!("cannot raise the limit on descriptors, one for each holder: {error}");
    }
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
    usize::try_from(limit).unwrap_or(usize::MAX)
}

fn shown(path: &Path) -> String {
    printable(path.as_os_str().as_encoded_bytes())
}
