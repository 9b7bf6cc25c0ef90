//! Another program is to go on: what the request that asks for it comes to.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Service;
use super::request::{Failure, Sender};
use crate::lock::ids::{Pid, WaitId};
use crate::lock::refusal::Refusal;
use crate::supervise::{Inherited, Upgrade};

impl Service {
    /// Tells who keeps the connection.
    pub fn set_keeper(&self, keeper: Arc<Mutex<Inherited>>) {
        let _ = self.keeper.set(keeper);
    }

    /// Has the sender's program go on in place of this one. True when it does, which
    /// only that program can tell; false when it has yet to, and the request is to
    /// be left unanswered, for the kernel to send it to whoever goes on.
    ///
    /// # Errors
    /// `UnknownAttribute` where nobody could go on, `NotPermitted` for who could not
    /// run a program as this user anyway, `NotUpgraded` when it did not come to serve.
    pub fn upgrade(&self, sender: Sender, request: WaitId) -> Result<bool, Failure> {
        let Some(keeper) = self.keeper.get() else {
            log::warn!("an upgrade is asked for, and nobody keeps the connection meanwhile");
            return Err(Refusal::UnknownAttribute.into());
        };
        let mut keeper = keeper.lock();
        if let Some(Upgrade {
            request: asked,
            done: Some(done),
            ..
        }) = keeper.handover.upgrade
            && asked == request.0
        {
            return match done {
                true => Ok(true),
                false => Err(Refusal::NotUpgraded.into()),
            };
        }
        let by = self.upgrader(sender)?;
        log::info!("process {by} asks for an upgrade: its program goes on");
        keeper.upgrade(request.0, by.get()).map_err(|error| {
            log::error!("cannot ask for an upgrade: {error}");
            Failure::Unrecorded(error)
        })?;
        Ok(false)
    }

    /// The process that asks for an upgrade, if it may.
    fn upgrader(&self, sender: Sender) -> Result<Pid, Failure> {
        let own = Pid::new(std::process::id())
            .ok_or_else(|| Failure::System(io::ErrorKind::NotFound.into()))?;
        let allowed = match sender.thread {
            Some(thread) => self.resolver.proc().is_equal(thread, own)?,
            None => false,
        };
        match sender.thread {
            Some(thread) if allowed => Ok(thread),
            _ => {
                log::warn!(
                    "an upgrade is refused to process {}, user {}: it has less than this process",
                    sender.thread.map_or(0, Pid::get),
                    sender.user.uid.0
                );
                Err(Refusal::NotPermitted.into())
            }
        }
    }
}
