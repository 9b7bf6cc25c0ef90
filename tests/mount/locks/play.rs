//! Plays: who does what, line by line, and how it goes on a tmpfs and on the
//! mount. A play is its own transcript:
//!
//! ```text
//! a: fd = opened() -> ok                     a does this; it says ok
//! b: flock(fd, LOCK_EX) -> blocked           b waits for a lock
//! b -> blocked                               it still does
//! a: flock(fd, LOCK_UN) -> ok
//! b -> ok                                    now b's command is done
//! b! TERM                                    a signal to the process that waits
//! kill b                                     the actor itself is killed
//! ls -> board | -            # why           the names, on a tmpfs | on the mount
//! c/1: ... -> blocked                        in another thread of c
//! holder board -> $a                         who is shown to hold it, on the mount
//! ```
//!
//! What an actor is, its first letter tells, see [`super::actor::Kind`]. An
//! outcome of a shell is what was said and the exit status, `held; 1`. A pid of
//! an actor is shown as its name, `$a`. `*` stands for any outcome, `told` for one
//! that is not waited for, `~words` for a failure that is told with these words, `skip`
//! for a step that one side goes without.

use std::collections::BTreeMap;

use rustix::process::Signal;

use super::actor::{Actor, Answer};
use super::side::Side;

/// Plays it on both sides.
#[track_caller]
pub fn play(text: &str) {
    let scenes = scenes(text);
    let wrong: Vec<String> = [
        act(Side::local(), &scenes, 0),
        act(Side::mount(&[]), &scenes, 1),
    ]
    .into_iter()
    .filter_map(Result::err)
    .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Plays it on the mount alone, served with these arguments.
#[track_caller]
pub fn play_on_mount(args: &[&str], text: &str) {
    if let Err(wrong) = try_on_mount(args, text) {
        panic!("{wrong}");
    }
}

/// Plays it on the mount alone; what went wrong.
pub fn try_on_mount(args: &[&str], text: &str) -> Result<(), String> {
    act(Side::mount(args), &scenes(text), 1)
}

/// A line of a play.
struct Scene<'a> {
    line: &'a str,
    what: What<'a>,
    /// On a tmpfs, and on the mount.
    outcomes: [&'a str; 2],
}

enum What<'a> {
    Do(&'a str, &'a str),
    Await(&'a str),
    Signal(&'a str, Signal),
    Kill(&'a str),
    List,
    Holder(&'a str),
}

fn scenes(text: &str) -> Vec<Scene<'_>> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(scene)
        .collect()
}

fn scene(line: &str) -> Scene<'_> {
    if let Some(who) = line.strip_prefix("kill ") {
        let what = What::Kill(who);
        return Scene {
            line,
            what,
            outcomes: [""; 2],
        };
    }
    if let Some((who, signal)) = line.split_once("! ")
        && !who.contains(' ')
    {
        let what = What::Signal(who, signal_named(signal));
        return Scene {
            line,
            what,
            outcomes: [""; 2],
        };
    }
    let (call, outcome) = line.rsplit_once(" -> ").expect(line);
    let (outcome, reason) = match outcome.split_once("  # ") {
        Some((outcome, reason)) => (outcome.trim(), Some(reason)),
        None => (outcome.trim(), None),
    };
    let outcomes = match outcome.split_once(" | ") {
        Some((local, mount)) => [local.trim(), mount.trim()],
        None => [outcome; 2],
    };
    assert_eq!(
        outcomes[0] != outcomes[1],
        reason.is_some(),
        "a difference, and that alone, has a reason: {line}"
    );
    let what = match call.split_once(": ") {
        Some((who, command)) if !who.contains(' ') => What::Do(who, command.trim()),
        _ => match call.trim().split_once(' ') {
            Some(("holder", board)) => What::Holder(board),
            _ if call.trim() == "ls" => What::List,
            _ => What::Await(call.trim()),
        },
    };
    Scene {
        line,
        what,
        outcomes,
    }
}

fn signal_named(name: &str) -> Signal {
    match name.trim() {
        "TERM" => Signal::TERM,
        "INT" => Signal::INT,
        "KILL" => Signal::KILL,
        "STOP" => Signal::STOP,
        "TSTP" => Signal::TSTP,
        "CONT" => Signal::CONT,
        "CHLD" => Signal::CHILD,
        "HUP" => Signal::HUP,
        "USR1" => Signal::USR1,
        "WINCH" => Signal::WINCH,
        other => panic!("what signal is {other}?"),
    }
}

/// The actor, started when it is first named, and which of its threads: `a/1`,
/// or `a` for its main one.
fn find<'a, 'b>(
    side: &Side,
    actors: &'a mut BTreeMap<String, Actor>,
    who: &'b str,
) -> (&'a mut Actor, &'b str) {
    let (name, thread) = who.split_once('/').unwrap_or((who, "-"));
    let actor = actors
        .entry(name.to_owned())
        .or_insert_with(|| Actor::new(side, name));
    (actor, thread)
}

fn act(side: Side, scenes: &[Scene], which: usize) -> Result<(), String> {
    // They are gone before the directory is.
    let mut actors = BTreeMap::new();
    let mut transcript = String::new();
    for scene in scenes {
        let wanted = scene.outcomes[which];
        if wanted == "skip" {
            continue;
        }
        let got = match &scene.what {
            // Not waited for, here.
            What::Do(who, command) if wanted == "told" => {
                let (actor, thread) = find(&side, &mut actors, who);
                actor.tell(thread, command);
                wanted.to_owned()
            }
            what => step(&side, &mut actors, what, wanted == "blocked"),
        };
        let shown = named(&got, &actors);
        if !is_as(&shown, wanted) {
            let where_ = ["a tmpfs", "the mount"][which];
            return Err(format!(
                "on {where_}:\n{transcript}{}\n--- but it says: {shown}\n{}",
                scene.line,
                side.log().join("\n"),
            ));
        }
        transcript.push_str(scene.line);
        transcript.push('\n');
    }
    Ok(())
}

fn is_as(shown: &str, wanted: &str) -> bool {
    match wanted.strip_prefix('~') {
        Some(words) => shown.contains(words) && shown != "0" && !shown.ends_with("; 0"),
        None => shown == wanted || wanted == "*",
    }
}

fn step(side: &Side, actors: &mut BTreeMap<String, Actor>, what: &What, may_wait: bool) -> String {
    let answer = match what {
        What::List => return side.names(),
        What::Holder(board) => return side.holder(board),
        What::Do(who, command) => {
            let (actor, thread) = find(side, actors, who);
            actor.tell(thread, command);
            actor.answer(thread, may_wait)
        }
        What::Await(who) => {
            let (actor, thread) = find(side, actors, who);
            actor.answer(thread, may_wait)
        }
        What::Signal(who, signal) => {
            let (actor, thread) = find(side, actors, who);
            actor.signal_waiter(thread, *signal);
            return String::new();
        }
        What::Kill(who) => {
            find(side, actors, who).0.kill();
            return String::new();
        }
    };
    match answer {
        Answer::Done(outcome) => outcome,
        Answer::Blocked => "blocked".to_owned(),
    }
}

/// With names in the place of pids, which are words of their own.
fn named(outcome: &str, actors: &BTreeMap<String, Actor>) -> String {
    outcome
        .split(' ')
        .map(|word| {
            let number = word.trim_end_matches(';');
            let whose = actors
                .iter()
                .find(|(_, actor)| actor.pid().to_string() == number);
            whose.map_or(word.to_owned(), |(name, _)| {
                word.replace(number, &format!("${name}"))
            })
        })
        .collect::<Vec<_>>()
        .join(" ")
}
