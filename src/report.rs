//! The log in users' words: one line an acquisition, a release, a refusal.

use std::time::Duration;

use crate::lock::caller::{Caller, Standing};
use crate::lock::effect::{Effect, End, Held};
use crate::lock::ids::Uid;
use crate::lock::refusal::Refusal;
use crate::lock::time::BootTime;
use crate::printable::{printable, quoted};
use crate::service::{Sender, UserNames};

/// A holder that ends this soon after it acquired, without unlinking, was
/// perhaps only the carrier of somebody's command.
const SUSPICIOUS: Duration = Duration::from_secs(2);

/// Whose doing it is that something is told; none if it is not told.
fn causes(effect: &Effect) -> Option<Uid> {
    match effect {
        Effect::Acquired(held) | Effect::Shared(held) | Effect::Passed(held) => Some(held.maker),
        Effect::Released { held, .. } | Effect::Cut { held, .. } => Some(held.maker),
        Effect::Waits { caller, .. } | Effect::Refused { caller, .. } => Some(caller.uid()),
        Effect::Watch(_) | Effect::Unwatch(_) | Effect::Answer { .. } => None,
        Effect::Changed(_) | Effect::SendBack(_) => None,
    }
}

/// Tells what the table decided, of each user so much at a time; whether it did.
pub fn effect(effect: &Effect, names: &mut UserNames, now: BootTime) -> bool {
    if !causes(effect).is_some_and(|uid| names.may_log(uid, now)) {
        return false;
    }
    match effect {
        Effect::Watch(_) | Effect::Unwatch(_) => {}
        Effect::Answer { .. } | Effect::Changed(_) | Effect::SendBack(_) => {}
        Effect::Waits {
            path,
            caller,
            place,
        } => {
            let asks = asking(caller, names);
            log::info!("{}: waited for by {asks}, place {place}", board(path));
        }
        Effect::Acquired(held) => log::info!(
            "{}: acquired by {}, via {}, token {}",
            board(&held.path),
            who(held, names),
            held.via,
            held.token
        ),
        Effect::Shared(held) => log::info!(
            "{}: shared by {}, via {}, token {}",
            board(&held.path),
            who(held, names),
            held.via,
            held.token
        ),
        Effect::Passed(held) => log::info!(
            "{}: now held by {}, token {}",
            board(&held.path),
            who(held, names),
            held.token
        ),
        Effect::Released { held, end, after } => released(held, end, *after, names),
        Effect::Cut { held, longest } => log::info!(
            "{}: the expiry that was set lies too far ahead and is cut to the longest lease \
             of this board, {}: {}",
            board(&held.path),
            span(*longest),
            who(held, names)
        ),
        Effect::Refused {
            path,
            caller,
            refusal,
            about,
            held,
        } => {
            let path = board(path);
            let asks = asking(caller, names);
            let defeat = refusal.is_defeat() && !refusal.is_by_inventory();
            let refusal = match about {
                Some(about) => format!("{refusal}; {about}"),
                None => refusal.to_string(),
            };
            match held {
                Some(held) if defeat => {
                    log::info!("{path}: refused to {asks}: held by {}", who(held, names));
                }
                Some(held) => {
                    let holder = who(held, names);
                    log::info!("{path}: refused to {asks}: {refusal} (held by {holder})");
                }
                None => log::info!("{path}: refused to {asks}: {refusal}"),
            }
        }
    }
    true
}

fn released(held: &Held, end: &End, after: Duration, names: &mut UserNames) {
    let path = board(&held.path);
    let soon = after < SUSPICIOUS;
    let after = span(after);
    let who = who(held, names);
    match end {
        End::Unlinked { program, user } => {
            let by = printable(names.of(user.uid).as_bytes());
            let with = if program.is_empty() { "?" } else { program };
            log::info!("{path}: released after {after} with {with} by {by}; had been {who}");
        }
        End::Forced { by } => {
            let by = printable(names.of(by.uid).as_bytes());
            log::warn!("{path}: taken by force after {after} by {by}; had been {who}");
        }
        End::Replaced => log::info!("{path}: released after {after}, replaced; had been {who}"),
        End::Renamed => log::info!("{path}: given up after {after} for another name by {who}"),
        End::Expired => log::info!("{path}: released after {after}, expired; had been {who}"),
        End::Locked => log::debug!("{path}: no claim of {who} any more, but locked"),
        End::Unlocked => log::info!("{path}: unlocked after {after}; had been {who}"),
        End::Emptied => {
            log::info!("{path}: released after {after}, it was empty and nobody held it");
        }
        End::Died if soon => log::warn!(
            "{path}: its holder ended {after} after it acquired, without releasing: {who}, \
             found via {}. If it only ran a command for somebody else, see \"Who holds\" in \
             the README",
            held.via
        ),
        End::Died => log::info!("{path}: released after {after}, its holder has ended: {who}"),
    }
}

/// Tells of a written pid that does not name a holder.
pub fn written_pid_ignored(
    path: &[u8],
    sender: Sender,
    names: &mut UserNames,
    number: u64,
    now: BootTime,
) {
    if !names.may_log(sender.user.uid, now) {
        return;
    }
    log::info!(
        "{}: the pid {number} written by {} is neither its own nor above or below it, \
         or cannot hold: kept as a note",
        board(path),
        sending(sender, names)
    );
}

/// Tells of a written pid that does not hold, since the inventory does not let it.
pub fn written_pid_refused(
    path: &[u8],
    sender: Sender,
    names: &mut UserNames,
    refusal: Refusal,
    now: BootTime,
) {
    if !names.may_log(sender.user.uid, now) {
        return;
    }
    log::info!(
        "{}: the process whose pid {} has written may not hold it: {refusal}; kept as a note",
        board(path),
        sending(sender, names)
    );
}

/// A board as the log names it; the lock directory itself has no name.
fn board(path: &[u8]) -> String {
    match path {
        [] => ".".to_owned(),
        path => quoted(printable(path), |c| "._/@+-=,%\\{}".contains(c)),
    }
}

/// A command line, where it stands in parentheses.
fn command(text: &str) -> String {
    quoted(text.to_owned(), |c| !"()\"".contains(c))
}

fn sending(sender: Sender, names: &mut UserNames) -> String {
    let user = printable(names.of(sender.user.uid).as_bytes());
    match sender.thread {
        Some(thread) => format!("{user}, pid {thread}"),
        None => format!("{user}, a process that cannot be seen"),
    }
}

fn who(held: &Held, names: &mut UserNames) -> String {
    let user = printable(names.of(held.user.uid).as_bytes());
    match (held.holder, held.locker) {
        (Some(holder), _) => format!("{user}, pid {} ({})", holder.pid, command(&held.command)),
        // Who opened the file is looked at only where it matters.
        (None, Some(locker)) => format!("{user}, locked by pid {locker}"),
        (None, None) if held.by_locks => format!("{user}, locked"),
        (None, None) => format!("{user}, detached"),
    }
}

fn asking(caller: &Caller, names: &mut UserNames) -> String {
    let user = printable(names.of(caller.uid()).as_bytes());
    match (&caller.standing, caller.requester) {
        (Standing::Process(candidate), _) => match candidate.holder() {
            Some(holder) => format!(
                "{user}, pid {} ({}), via {}",
                holder.pid,
                command(&candidate.command),
                candidate.via
            ),
            None => user,
        },
        (_, Some(requester)) => format!("{user}, pid {}, via {}", requester.pid, caller.via()),
        (_, None) => format!("{user}, {}", caller.via()),
    }
}

/// A span as people read it: the two greatest units.
fn span(span: Duration) -> String {
    let secs = span.as_secs();
    match secs {
        0 => format!("{} ms", span.as_millis()),
        1..60 => format!("{}.{} s", secs, span.subsec_millis() / 100),
        60..3600 => format!("{} min {} s", secs / 60, secs % 60),
        3600..86400 => format!("{} h {} min", secs / 3600, secs % 3600 / 60),
        _ => format!("{} d {} h", secs / 86400, secs % 86400 / 3600),
    }
}
