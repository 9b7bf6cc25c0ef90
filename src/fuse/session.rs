//! The requests of one mount, from its device to the adapter.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use fuser::{Config, SessionACL};

use super::adapter::Adapter;
use super::interrupt::{self, NotSeen, Registration};
use super::{raw, resume, timeout};
use crate::fault::{self, Point};
use crate::lock::ids::WaitId;
use crate::lock::queue::Patience;
use crate::service::Service;
use crate::turn;

/// How many requests are at work at most: one, and those that were overtaken.
const THREADS: usize = 16;

/// A mount whose kernel and daemon have come to terms.
#[derive(Debug)]
pub struct Session {
    inner: fuser::Session<Adapter>,
    interrupts: Registration,
    can_be_resumed: bool,
}

impl Session {
    /// Comes to terms with the kernel; it answers no requests yet. `init`: on a
    /// connection that another daemon began with this message.
    ///
    /// # Errors
    /// When they do not come to terms, the device fails, or signals would not
    /// end waits. The device is closed then.
    pub fn begin(
        service: &Arc<Service>,
        device: OwnedFd,
        all_users: bool,
        init: Option<Vec<u8>>,
    ) -> io::Result<Session> {
        let acl = if all_users {
            SessionACL::All
        } else {
            SessionACL::Owner
        };
        let mut config = Config::default();
        config.acl = acl;
        config.n_threads = Some(THREADS);
        turn::start(raw::give_up)?;
        let listener = Arc::new(Heard(Arc::clone(service)));
        let interrupts = interrupt::register(device.as_fd(), listener);
        let resumes = init.is_some();
        let mut can_be_resumed = true;
        let inner = match init {
            None => fuser::Session::from_fd(Adapter(Arc::clone(service)), device, acl, config),
            Some(init) => {
                resume::replay(init);
                // The kernel has its answer already, and says so, which fuser tells.
                let level = log::max_level();
                log::set_max_level(log::LevelFilter::Off);
                let inner =
                    fuser::Session::from_fd(Adapter(Arc::clone(service)), device, acl, config);
                log::set_max_level(level);
                inner
            }
        };
        // The handshake was this thread's.
        turn::end();
        let inner = inner?;
        if resumes {
            service.pollers().into_iter().for_each(raw::wake);
        }
        // On a new connection there is nothing: it only tells whether it could.
        let can_resend = raw::resend();
        if resumes {
            fault::point(Point::Resumed);
            can_resend?;
        } else if let Err(error) = can_resend {
            log::info!(
                "the kernel does not send again what was not answered ({error}; Linux 6.9 does): \
                 the death of whoever serves ends the connection"
            );
            can_be_resumed = false;
        }
        if !interrupts.in_effect() {
            return Err(io::Error::other(NotSeen::NotByFuser));
        }
        let limits = timeout::limits()?;
        if let Some(limits) = limits {
            log::info!(
                "the kernel ends a mount that leaves a request unanswered for {} s; \
                 who waits longer for a board is made to ask anew",
                limits.allowed.as_secs()
            );
        }
        service.set_patience(limits.map(|limits| Patience {
            send_back: limits.send_back,
            give_up: limits.give_up,
        }));
        log::debug!("interrupts are seen: signals will end waits");
        Ok(Session {
            inner,
            interrupts,
            can_be_resumed,
        })
    }

    /// Whether another process can go on with it.
    pub fn can_be_resumed(&self) -> bool {
        self.can_be_resumed
    }

    /// Answers requests until the mount is gone.
    ///
    /// One at a time, on purpose: a RELEASE that was read before a later request
    /// is then also applied before it (semantics.md, "Release"). Only a request
    /// that may have to wait for other processes is overtaken.
    ///
    /// # Errors
    /// When the device fails.
    pub fn run(self) -> io::Result<()> {
        let ended = self.inner.run();
        // The number of the device may be another file's from now on.
        drop(self.interrupts);
        ended
    }
}

/// The service, as what hears of interrupts.
struct Heard(Arc<Service>);

impl interrupt::Listener for Heard {
    fn interrupted(&self, unique: u64) {
        self.0.interrupted(WaitId::of_request(unique));
    }

    fn gone(&self) {
        self.0.watch().unmounted();
    }
}
