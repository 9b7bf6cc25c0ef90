//! What happens, a line of JSON for each.

use std::time::Duration;

use serde::Serialize;

use super::ring::Ring;
use super::{Asks, pid_of};
use crate::lock::effect::{Effect, End, Held};
use crate::lock::ids::Uid;
use crate::lock::time::{Now, Timestamp};
use crate::printable::printable;

/// The events of late.
#[derive(Debug, Default)]
pub struct Events {
    /// As a text.
    pub ring: Ring,
    /// When the last one was.
    pub last: Option<Timestamp>,
    /// How many were left out since.
    omitted: u64,
}

/// An event: an interface. What does not belong to its kind is not in it.
#[derive(Debug, Serialize)]
struct Event<'a> {
    time: String,
    event: &'static str,
    board: String,
    #[serde(flatten)]
    who: Who<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    how: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held_by: Option<Option<Who<'a>>>,
}

/// Who has a board, or asks for one.
#[derive(Debug, Serialize)]
struct Who<'a> {
    holder: String,
    uid: u32,
    pid: Option<u32>,
    command: Option<&'a str>,
    via: Option<&'a str>,
    token: Option<u64>,
}

/// So many could not be told.
#[derive(Debug, Serialize)]
struct Omitted {
    time: String,
    event: &'static str,
    count: u64,
}

impl Events {
    /// One that is not to be told: its user causes too many.
    pub fn omit(&mut self) {
        self.omitted = self.omitted.saturating_add(1);
    }

    /// Tells what the table decided; `name` names users.
    pub fn add(&mut self, effect: &Effect, now: &Now, name: &mut dyn FnMut(Uid) -> String) {
        let time = millis(now.wall);
        let event = match effect {
            Effect::Acquired(held) => hold(time, "acquired", held, name),
            Effect::Shared(held) => hold(time, "shared", held, name),
            Effect::Passed(held) => hold(time, "passed", held, name),
            Effect::Released {
                end: End::Locked, ..
            } => return,
            Effect::Released { held, end, after } => Event {
                how: Some(end.how()),
                by: Some(end.by().map(|user| name(user.uid))),
                seconds: Some(seconds(*after)),
                ..hold(time, "released", held, name)
            },
            Effect::Waits {
                path,
                caller,
                place,
            } => {
                let asks = Asks::of(caller);
                let event = Event {
                    place: Some(*place),
                    ..plain(time, "waits", path, asking(&asks, name))
                };
                return self.push(now.wall, &event);
            }
            Effect::Refused {
                path,
                caller,
                refusal,
                about,
                held,
            } => {
                let asks = Asks::of(caller);
                let event = Event {
                    reason: Some(super::refused::reason(*refusal, about.as_deref())),
                    code: Some(refusal.word()),
                    held_by: Some(held.as_ref().map(|held| holding(held, name))),
                    ..plain(time, "refused", path, asking(&asks, name))
                };
                return self.push(now.wall, &event);
            }
            Effect::Watch(_) | Effect::Unwatch(_) | Effect::Answer { .. } => return,
            Effect::SendBack(_) | Effect::Changed(_) | Effect::Cut { .. } => return,
        };
        self.push(now.wall, &event);
    }

    fn push(&mut self, now: Timestamp, event: &Event<'_>) {
        if self.omitted > 0 {
            let omitted = Omitted {
                time: millis(now),
                event: "omitted",
                count: std::mem::take(&mut self.omitted),
            };
            self.line(&omitted);
        }
        self.last = Some(now);
        self.line(event);
    }

    fn line(&mut self, event: &impl Serialize) {
        // Nothing in it can fail to be written so.
        if let Ok(line) = serde_json::to_string(event) {
            self.ring.push(&line);
        }
    }
}

fn plain<'a>(time: String, event: &'static str, path: &[u8], who: Who<'a>) -> Event<'a> {
    Event {
        time,
        event,
        board: printable(path),
        who,
        how: None,
        by: None,
        seconds: None,
        place: None,
        reason: None,
        code: None,
        held_by: None,
    }
}

fn hold<'a>(
    time: String,
    event: &'static str,
    held: &'a Held,
    name: &mut dyn FnMut(Uid) -> String,
) -> Event<'a> {
    plain(time, event, &held.path, holding(held, name))
}

fn holding<'a>(held: &'a Held, name: &mut dyn FnMut(Uid) -> String) -> Who<'a> {
    let locker = held.locker.filter(|_| held.by_locks);
    let holder = held.holder.map(|holder| holder.pid);
    Who {
        holder: name(held.user.uid),
        uid: held.user.uid.0,
        pid: pid_of(holder.or(locker)),
        command: filled(&held.command),
        via: filled(&held.via),
        token: Some(held.token.0),
    }
}

fn asking<'a>(asks: &'a Asks, name: &mut dyn FnMut(Uid) -> String) -> Who<'a> {
    Who {
        holder: name(asks.user.uid),
        uid: asks.user.uid.0,
        pid: pid_of(asks.pid),
        command: filled(&asks.command),
        via: filled(&asks.via),
        token: None,
    }
}

/// A span in seconds, to the millisecond.
fn seconds(span: Duration) -> f64 {
    Duration::from_millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)).as_secs_f64()
}

fn filled(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// As RFC 3339 in UTC, to the millisecond.
fn millis(moment: Timestamp) -> String {
    let whole = moment.rfc3339();
    match whole.strip_suffix('Z') {
        Some(whole) => format!("{whole}.{:03}Z", moment.nanos / 1_000_000),
        None => whole,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::lock::caller::{Caller, Chain, Standing};
    use crate::lock::ids::{Gid, Pid, ProcessId, StartTime, Token, User};
    use crate::lock::refusal::Refusal;
    use crate::lock::time::BootTime;

    const ALICE: User = User {
        uid: Uid(1001),
        gid: Gid(1001),
    };

    fn held() -> Held {
        Held {
            path: b"rack\"1\\/b\xff\n".to_vec(),
            user: ALICE,
            maker: ALICE.uid,
            holder: Some(ProcessId {
                pid: Pid::new(7).unwrap(),
                start: StartTime(1),
            }),
            by_locks: false,
            locker: None,
            command: "-bash \"x\"".to_owned(),
            via: "touch < bash".to_owned(),
            token: Token(3),
            since: Timestamp::from_secs(1_000_000_000),
        }
    }

    fn told(effects: &[Effect]) -> Vec<Value> {
        let mut events = Events::default();
        let now = Now {
            wall: Timestamp {
                secs: 1_000_000_060,
                nanos: 7_654_321,
            },
            boot: BootTime(Duration::from_secs(60)),
        };
        for effect in effects {
            events.add(effect, &now, &mut |uid| format!("user{}", uid.0));
        }
        let text = events.ring.read(0, usize::MAX);
        let text = String::from_utf8(text).unwrap();
        let line = |line: &str| serde_json::from_str(line).unwrap();
        text.lines().map(line).collect()
    }

    #[test]
    fn each_is_a_line_of_its_own_whatever_users_call_things() {
        let caller = Caller {
            standing: Standing::Detached(Chain("touch < sshd".to_owned())),
            program: "tou\nch".to_owned(),
            ..Caller::unknown(ALICE)
        };
        let lines = told(&[
            Effect::Acquired(held()),
            Effect::Refused {
                path: b"b".to_vec(),
                caller: caller.clone(),
                refusal: Refusal::Busy,
                about: None,
                held: Some(held()),
            },
            Effect::Waits {
                path: b"b".to_vec(),
                caller,
                place: 2,
            },
            Effect::Released {
                held: held(),
                end: End::Died,
                after: Duration::from_micros(1_234_567),
            },
            Effect::Released {
                held: held(),
                end: End::Locked,
                after: Duration::ZERO,
            },
        ]);
        let time = "2001-09-09T01:47:40.007Z";
        let board = "rack\"1\\\\/b\\xff\\n";
        let who = json!({
            "holder": "user1001", "uid": 1001, "pid": 7, "command": "-bash \"x\"",
            "via": "touch < bash", "token": 3,
        });
        let with = |more: Value| {
            let mut all = who.as_object().unwrap().clone();
            all.extend(more.as_object().unwrap().clone());
            Value::Object(all)
        };
        let asks = |more: Value| {
            let mut all = json!({
                "holder": "user1001", "uid": 1001, "pid": null, "command": "tou\\nch",
                "via": "touch < sshd", "token": null, "time": time, "board": "b",
            });
            all.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            all
        };
        assert_eq!(
            lines,
            [
                with(json!({"time": time, "event": "acquired", "board": board})),
                asks(json!({
                    "event": "refused", "reason": "held by another", "code": "busy",
                    "held_by": who,
                })),
                asks(json!({"event": "waits", "place": 2})),
                with(json!({
                    "time": time, "event": "released", "board": board, "how": "died",
                    "by": null, "seconds": 1.234,
                })),
            ]
        );
    }

    #[test]
    fn what_is_left_out_is_counted() {
        let mut events = Events::default();
        let now = crate::clock::now();
        events.omit();
        events.omit();
        events.add(&Effect::Acquired(held()), &now, &mut |_| String::new());
        let text = String::from_utf8(events.ring.read(0, usize::MAX)).unwrap();
        let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(
            (&first["event"], &first["count"]),
            (&json!("omitted"), &json!(2))
        );
        assert_eq!(text.lines().count(), 2);
    }
}
