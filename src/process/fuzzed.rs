//! What fuzzers and the replay of their corpora reach here; an interface to
//! nobody else.

use super::command::only_claims;
use super::lists::Lists;
use super::proc::{parse_stat, parse_status};
use super::text;
use crate::lock::ids::{Pid, ProcessId, User};

/// Whether a shell that runs this string does nothing but claim.
pub fn claims(string: &[u8], fish: bool) -> bool {
    only_claims(string, fish, &Lists::default())
}

/// Of /proc/PID/stat: the command's name, the parent and the start, the last as
/// that of the process `pid`.
pub fn stat(pid: Pid, text: &[u8]) -> Option<(Vec<u8>, Option<Pid>, ProcessId)> {
    let stat = parse_stat(text)?;
    let id = ProcessId {
        pid,
        start: stat.start,
    };
    Some((stat.comm, stat.ppid, id))
}

/// Of /proc/PID/status: the process, its user, its numbers.
pub fn status(text: &[u8]) -> Option<(Pid, User, Vec<u32>)> {
    let status = parse_status(text)?;
    Some((status.tgid, status.user, status.nspid))
}

/// A command line as it is shown.
pub fn shown(bytes: &[u8]) -> String {
    text::printable(bytes)
}
