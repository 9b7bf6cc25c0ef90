//! The process that serves.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use parking_lot::Mutex;

use super::{ServeError, begin, shown};
use crate::background;
use crate::cli::options::{MountPlan, StatePlan};
use crate::clock;
use crate::fuse::mount::Mounted;
use crate::fuse::resume;
use crate::fuse::session::Session;
use crate::lock::Table;
use crate::migrate::Found;
use crate::process::{Proc, Resolver};
use crate::service::Service;
use crate::service::view::About;
use crate::store;
use crate::supervise::{self, Inherited, powers};
use crate::watch::{Event, Watch};

/// How long requests that are still at work are waited for at the end.
const LAST_REQUESTS: Duration = Duration::from_secs(2);

/// What is served, and how it came here.
struct Connection {
    mounted: Mounted,
    device: OwnedFd,
    /// The lock files that were there before.
    found: Vec<Found>,
    /// From whoever keeps it.
    inherited: Option<Arc<Mutex<Inherited>>>,
    /// The message that it began with, if another process began it.
    init: Option<Vec<u8>>,
    /// Whether another process served it before.
    served: bool,
}

/// How serving ended.
enum Ending {
    /// By a signal.
    Asked,
    /// No request can come any more.
    Session,
}

/// Serves what nobody keeps.
pub(super) fn alone(
    plan: &MountPlan,
    mounted: Mounted,
    device: OwnedFd,
    found: Vec<Found>,
) -> Result<(), ServeError> {
    let connection = Connection {
        mounted,
        device,
        found,
        inherited: None,
        init: None,
        served: false,
    };
    connection.serve(plan).inspect_err(|error| {
        // The bare directory is no worse than before.
        if error.before {
            let _ = connection.mounted.unmount();
        }
    })
}

/// Serves a connection that another process keeps.
pub(super) fn inherited(plan: &MountPlan, inherited: Inherited) -> Result<(), ServeError> {
    let connection = Connection {
        mounted: inherited.handover.mounted().map_err(|e| e.to_string())?,
        device: inherited
            .device
            .try_clone()
            .map_err(|e| format!("cannot use the device: {e}"))?,
        found: inherited.handover.found.clone(),
        init: inherited.handover.init.clone(),
        served: inherited.handover.served,
        inherited: Some(Arc::new(Mutex::new(inherited))),
    };
    connection.serve(plan)
}

impl Connection {
    fn serve(&self, plan: &MountPlan) -> Result<(), ServeError> {
        let dir = shown(&self.mounted.dir);
        let descriptors = raise_descriptor_limit();
        // Before any other thread is started: they are to leave signals alone.
        let watch = Watch::new(descriptors).map_err(|e| format!("cannot set up waiting: {e}"))?;
        let inventory = begin::inventory(plan, &self.mounted.dir);
        let mut table = Table::new(begin::options(plan), &clock::now());
        if let Some(inventory) = &inventory {
            let boards = match self.served {
                true => inventory.load_or_last(),
                false => inventory.load().map_err(|e| e.to_string())?,
            };
            table.know(Some(Arc::new(boards)));
        }
        let mut resolver = Resolver::new(Proc::system(), begin::lists(plan)?);
        if inventory.is_none() {
            resolver = resolver.without_groups();
        }
        let service = Arc::new(Service::new(table, resolver, watch));
        service.set_device(self.mounted.device());
        if self.served {
            self.restore(&service, plan)?;
        }
        let device = self
            .device
            .try_clone()
            .map_err(|e| format!("cannot use the device: {e}"))?;
        let session = Session::begin(&service, device, self.mounted.all_users, self.init.clone())
            .map_err(|e| format!("cannot serve {dir}: {e}"))?;
        if let Some(inherited) = &self.inherited
            && session.can_be_resumed()
        {
            if self.init.is_none()
                && let Some(init) = resume::init()
            {
                let begun = inherited.lock().begun(init);
                begun.map_err(|e| format!("cannot hand over: {e}"))?;
                if powers::has_any() {
                    return Err(ServeError::begun());
                }
            }
            service.set_keeper(Arc::clone(inherited));
        }
        let kept = self.inherited.is_some() && session.can_be_resumed();
        service.set_about(About {
            directory: self.mounted.dir.as_os_str().as_encoded_bytes().to_vec(),
            state: (plan.state != StatePlan::None).then_some(store::FORM),
            resend: session.can_be_resumed(),
            upgrade: kept,
            resumed: self.served,
        });
        // Requests wait in the kernel until the session runs: nobody gets a board
        // that is about to be taken over.
        if !self.served {
            self.restore(&service, plan)?;
        }
        service.lay_out();
        begin::take_over(&service, &self.found);
        if let Some(inherited) = &self.inherited {
            let told = inherited.lock().serves();
            told.map_err(|e| format!("cannot tell that {dir} is served: {e}"))?;
        }
        let reloads = inventory.map(|inventory| begin::Reloads::new(&service, inventory));
        self.run(&service, session, reloads)
    }

    fn restore(&self, service: &Service, plan: &MountPlan) -> Result<(), ServeError> {
        if let Some((store, recorded)) = begin::state(plan, &self.mounted.dir)? {
            begin::restore(service, store, recorded, self.served);
        }
        Ok(())
    }

    fn run(
        &self,
        service: &Arc<Service>,
        session: Session,
        reloads: Option<begin::Reloads>,
    ) -> Result<(), ServeError> {
        let dir = shown(&self.mounted.dir);
        let session = thread::Builder::new().name("session".to_owned()).spawn({
            let service = Arc::clone(service);
            move || {
                let ended = session.run();
                service.watch().unmounted();
                ended
            }
        });
        let session = session.map_err(|e| format!("cannot start a thread: {e}"))?;
        if self.served {
            log::info!("{dir} is served on");
        } else {
            announce(&self.mounted);
        }
        if self.inherited.is_none() {
            supervise::manager::ready(&dir);
        }
        if background::ready().is_err() {
            log::warn!("nobody waits for {dir} to be served any more");
            self.mounted.stop("given up").map_err(ServeError::after)?;
        }
        let ending = self.attend(service, reloads);
        service.flush_history();
        match ending.map_err(ServeError::after)? {
            Ending::Asked => Ok(()),
            Ending::Session => {
                // A request that waits for another process may go on doing so.
                let deadline = Instant::now() + LAST_REQUESTS;
                while !session.is_finished() && Instant::now() < deadline {
                    thread::sleep(Duration::from_millis(1));
                }
                if !session.is_finished() {
                    log::warn!("a last request of {dir} still waits for another process");
                    return self.ended();
                }
                match session.join() {
                    Ok(Ok(())) => self.ended(),
                    Ok(Err(error)) => {
                        Err(ServeError::broke(format!("serving {dir} failed: {error}")))
                    }
                    Err(_) => Err(ServeError::broke(format!("serving {dir} broke down"))),
                }
            }
        }
    }

    /// What it means that no more requests come.
    fn ended(&self) -> Result<(), ServeError> {
        let dir = shown(&self.mounted.dir);
        if self.mounted.is_mounted() {
            let reason = format!("the connection of {dir} was aborted");
            return Err(ServeError::after(reason));
        }
        // Else whoever keeps it says so.
        if self.inherited.is_none() {
            log::info!("{dir} is unmounted");
        }
        Ok(())
    }

    /// Attends to what happens besides requests, until the end.
    fn attend(
        &self,
        service: &Service,
        mut reloads: Option<begin::Reloads>,
    ) -> Result<Ending, String> {
        loop {
            let events = service
                .watch()
                .wait()
                .map_err(|e| format!("cannot wait for what happens: {e}"))?;
            for event in events {
                match event {
                    Event::Died(process) => service.died(process),
                    Event::Time => service.time(),
                    Event::Stop(signal) => match &mut reloads {
                        Some(reloads) if signal == Signal::SIGHUP => reloads.ask(),
                        // Whoever keeps the connection unmounts.
                        _ if self.inherited.is_some() => return Ok(Ending::Asked),
                        _ => {
                            self.mounted.stop(signal.as_str())?;
                            return Ok(Ending::Asked);
                        }
                    },
                    Event::Unmounted => return Ok(Ending::Session),
                }
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
