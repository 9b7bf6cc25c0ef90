//! The requests of one mount, from its device to the adapter.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use fuser::{Config, Session, SessionACL};

use super::adapter::Adapter;
use crate::service::Service;

/// Answers requests until the mount is gone.
///
/// In one thread, on purpose: a RELEASE that was read before a later request is
/// then also applied before it (semantics.md, "Release").
///
/// # Errors
/// When the kernel and fuser do not come to terms, or the device fails.
pub fn run(service: &Arc<Service>, device: OwnedFd, all_users: bool) -> io::Result<()> {
    let acl = if all_users {
        SessionACL::All
    } else {
        SessionACL::Owner
    };
    let mut config = Config::default();
    config.acl = acl;
    config.n_threads = Some(1);
    Session::from_fd(Adapter(Arc::clone(service)), device, acl, config)?.run()
}
