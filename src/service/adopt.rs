//! Lock files that lay in the lock directory before it was mounted.

use super::Service;
use super::request::Failure;
use super::view;
use crate::clock;
use crate::lock::content::{CONTENT_MAX, Named};
use crate::lock::ids::{Ino, Pid, User};
use crate::lock::refusal::Refusal;

impl Service {
    /// Whether a process with this pid lives that can hold and that had started
    /// when a file was last written, in seconds since 1970: one that started
    /// later has another's pid.
    pub fn could_have_written(&self, pid: Pid, modified: i64) -> bool {
        let Ok(Some((candidate, _pins))) = self.resolver.standing(pid) else {
            return false;
        };
        let Some(holder) = candidate.holder() else {
            return false;
        };
        let now = clock::now();
        let ticks = rustix::param::clock_ticks_per_second().max(1);
        let started = i64::try_from(holder.start.0 / ticks).unwrap_or(i64::MAX);
        let running = i64::try_from(now.boot.0.as_secs())
            .unwrap_or(i64::MAX)
            .saturating_sub(started);
        // Both clocks are cut to seconds.
        now.wall.secs.saturating_sub(running) <= modified.saturating_add(2)
    }

    /// Takes over a lock file that was there before the mount: for the process
    /// that it names, while that lives, else for its user.
    ///
    /// # Errors
    /// As for making a board.
    pub fn adopt(
        &self,
        name: &[u8],
        content: &[u8],
        user: User,
        pid: Option<Pid>,
    ) -> Result<(), Failure> {
        if view::reserves((Ino::ROOT, name)) {
            return Err(Refusal::Reserved.into());
        }
        let (named, pins) = match pid {
            Some(pid) => match self.resolver.standing(pid)? {
                Some((candidate, pins)) => (Named::Process(candidate), pins),
                None => (Named::Detached, Vec::new()),
            },
            None => (Named::Detached, Vec::new()),
        };
        let content = content.get(..CONTENT_MAX).unwrap_or(content);
        self.act_with(pins, |desk| {
            Ok(desk.table.adopt(&desk.now, name, content, user, named)?)
        })
    }
}
