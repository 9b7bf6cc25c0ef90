//! "Never": many callers at random, and what must hold after each step.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::cast::*;
use super::lab::*;
use crate::lock::Table;
use crate::lock::attributes::SetTime;
use crate::lock::caller::Caller;
use crate::lock::content::Named;
use crate::lock::effect::Effect;
use crate::lock::ids::{Handle, Ino, Pid, ProcessId, StartTime};
use crate::lock::node::Body;
use crate::lock::options::{ExpireRule, Options};
use crate::lock::restored::Return;
use crate::lock::saved::Key;
use crate::lock::shown::BoardFile;
use crate::lock::time::Timestamp;

const NAMES: [&str; 7] = ["a", "b", "d", "e", "d/a", "d/b", "d/e"];

#[derive(Clone, Debug)]
struct Step {
    what: u8,
    who: usize,
    name: usize,
    other: usize,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0..20_u8, 0..9_usize, 0..NAMES.len(), 0..NAMES.len());
    let step = step.prop_map(|(what, who, name, other)| Step {
        what,
        who,
        name,
        other,
    });
    prop::collection::vec(step, 1..60)
}

fn cast() -> [Caller; 9] {
    [
        alice(),
        alices_subshell(),
        alices_other_subshell(),
        alices_child(),
        alices_other_job(),
        bob(),
        root(),
        detached(ALICE),
        detached(BOB),
    ]
}

/// What the world outside knows from the effects alone.
#[derive(Default)]
struct World {
    watched: BTreeSet<ProcessId>,
    /// Acquired and not released, with the token.
    boards: BTreeMap<Vec<u8>, u64>,
    last_token: u64,
}

impl World {
    fn follow(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Watch(process) => assert!(self.watched.insert(process)),
                Effect::Unwatch(process) => assert!(self.watched.remove(&process)),
                Effect::Acquired(held) => {
                    assert!(held.token.0 > self.last_token, "tokens only grow");
                    self.last_token = held.token.0;
                    let before = self.boards.insert(held.path, held.token.0);
                    assert_eq!(before, None, "acquired while held");
                }
                Effect::Released { held, .. } => {
                    let before = self.boards.remove(&held.path);
                    assert!(before.is_some(), "released while free");
                }
                Effect::Passed(_) | Effect::Refused { .. } | Effect::Cut { .. } => {}
                Effect::Shared(_) | Effect::Waits { .. } => {}
                Effect::Answer { .. } | Effect::Changed(_) | Effect::SendBack(_) => {}
            }
        }
    }
}

/// All names, by walking down.
fn walk(lab: &Lab, dir: Ino, found: &mut BTreeMap<Vec<u8>, Ino>) {
    for (_, name, ino) in lab.table.directory(dir).unwrap().after(0) {
        found.insert(lab.table.path_of(dir, name), ino);
        if lab.table.node(ino).unwrap().is_directory() {
            walk(lab, ino, found);
        }
    }
}

fn check(lab: &Lab, world: &World, handles: &[Handle]) {
    let mut names = BTreeMap::new();
    walk(lab, Ino::ROOT, &mut names);
    assert_eq!(lab.table.boards(), names.len());
    assert!(names.keys().eq(world.boards.keys()), "told and true");
    let mut hung_on = BTreeSet::new();
    for ino in names.values() {
        let claim = lab.table.claim(*ino).expect("what has a name is held");
        hung_on.extend(claim.holder.lineage().iter().copied());
        let shown = names.values().filter(|other| *other == ino).count();
        assert_eq!(lab.table.node(*ino).unwrap().names.len(), shown);
    }
    assert_eq!(world.watched, hung_on, "watched is who holds");
    for (ino, node) in lab.table.nodes.iter() {
        let kept = *ino == Ino::ROOT || !node.names.is_empty() || !node.opens.is_empty();
        assert!(kept, "forgotten when unused");
        assert_eq!(node.claim.is_some(), !node.names.is_empty());
        if let (Body::File(content), None) = (&node.body, &node.claim) {
            assert!(content.is_empty(), "content ends with the hold");
        }
    }
    for handle in handles {
        let ino = lab.table.opened(*handle).unwrap();
        assert!(lab.table.node(ino).is_ok(), "an open file has its inode");
    }
    check_saved(lab);
}

/// What is saved comes back as it was.
pub(super) fn check_saved(lab: &Lab) {
    // Now and then: it takes longer than all else.
    if !lab.table.counters().handle.is_multiple_of(8) {
        return;
    }
    let saved = lab.table.saved(&lab.now);
    let restore = |how| {
        let mut back = Table::new(*lab.table.options(), &lab.now);
        let openers = |_: &[BoardFile]| {
            let pid = Pid::new(7).unwrap();
            let start = StartTime(7);
            vec![ProcessId { pid, start }]
        };
        let restored = back.restore(&lab.now, saved.clone(), how, openers);
        assert_eq!((restored.freed, restored.lost), (0, 0));
        assert_eq!(back.boards(), lab.table.boards());
        back
    };
    restore(Return::SameBoot);
    let back = restore(Return::Connected);
    assert_eq!(back.deadlines.len(), lab.table.deadlines.len());
    // Places are counted from 1 in the new one, in the same order.
    let (found, saved) = (back.saved(&lab.now).unplaced(), saved.unplaced());
    assert_eq!(found.counters, saved.counters);
    assert!(found.values.keys().eq(saved.values.keys()));
    for (found, (key, saved)) in found.values.values().zip(&saved.values) {
        // Who waits is to come again.
        if !matches!(key, Key::Wait(_)) {
            assert_eq!(format!("{found:?}"), format!("{saved:?}"));
        }
    }
}

/// A success means that the caller has the board, or its user if nobody is
/// left to hold.
fn check_claim(lab: &Lab, who: &Caller, name: &str) {
    let claim = lab.table.claim(lab.ino(name)).unwrap();
    if claim.holder.process().is_some() {
        assert!(claim.held_by(who), "{name} for {who:?}: {claim:?}");
    } else {
        assert_eq!(claim.user.uid, who.uid());
    }
}

fn apply(lab: &mut Lab, step: &Step, handles: &mut Vec<Handle>) {
    let who = cast()[step.who].clone();
    let (name, other) = (NAMES[step.name], NAMES[step.other]);
    let claimed = match step.what {
        0 | 1 => lab.touch(&who, name).is_ok(),
        2 => lab.exclusive(&who, name).map(|h| handles.push(h)).is_ok(),
        3 | 4 => lab.mkdir(&who, name).is_ok(),
        5 => lab.symlink(&who, "t", name).is_ok(),
        6 => {
            // a directory moves all paths below it: told of itself alone
            let dir = lab
                .find(other)
                .is_ok_and(|ino| lab.table.node(ino).unwrap().is_directory());
            !dir && lab.mv(&who, other, name).is_ok()
        }
        7 => lab.link(&who, other, name).is_ok(),
        8 | 9 => {
            let opened = lab.create(&who, name, TRUNCATE);
            opened.map(|h| handles.push(h)).is_ok()
        }
        _ => false,
    };
    if claimed {
        check_claim(lab, &who, name);
        return;
    }
    match step.what {
        10 => drop(lab.open(&who, name, APPEND).map(|h| handles.push(h))),
        11 => drop(lab.rm(&who.by("rm"), name)),
        12 => drop(lab.rmdir(&who.by("rmdir"), name)),
        13 if !handles.is_empty() => {
            let handle = handles.swap_remove(step.other % handles.len());
            lab.table.close(&lab.now, handle);
        }
        14 => lab.died([SCRIPT, SUBSHELL, SUBSHELL2, CHILD, OTHER_JOB, BOBS, ROOTS][step.name]),
        15 if !handles.is_empty() => {
            let handle = handles[step.other % handles.len()];
            let texts = [
                "120",
                "1000000100 100",
                "0 0",
                "note",
                "1000000020 0",
                "5",
                "",
            ];
            let named = match step.name {
                0 => Some(Named::Process(candidate(ALICE, &[CHILD]))),
                1 => Some(Named::Process(candidate(ALICE, &[SCRIPT]))),
                2 | 4 => Some(Named::Detached),
                _ => None,
            };
            if let Ok(kept) = lab.table.write(handle, 0, texts[step.name].as_bytes())
                && let Some(named) = named
            {
                lab.table.name(&lab.now, &kept, named);
            }
        }
        16 => lab.pass(20),
        17 => lab.set_clock(START + 10 * i64::try_from(step.other).unwrap()),
        18 => {
            let moment = Timestamp::from_secs(START + 30);
            let _ = lab.utimens(&who, name, SetTime::To(moment));
        }
        _ => {
            let _ = lab.truncate(&who, name, 7);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn nothing_that_is_told_is_untrue(steps in steps(), hard: bool, lease: bool) {
        let mut lab = Lab::with(Options {
            lease: lease.then_some(std::time::Duration::from_secs(45)),
            expire: if hard { ExpireRule::Hard } else { ExpireRule::Keep },
            ..Options::default()
        });
        let (mut world, mut handles) = (World::default(), Vec::new());
        for step in &steps {
            apply(&mut lab, step, &mut handles);
            world.follow(lab.effects());
            check(&lab, &world, &handles);
        }
    }
}
