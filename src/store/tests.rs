#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;

use super::*;
use crate::lock::Table;
use crate::lock::acquire::Make;
use crate::lock::caller::{Caller, Chain, Standing};
use crate::lock::ids::Ino;
use crate::lock::ids::{Gid, Token, Uid, User};
use crate::lock::options::Options;
use crate::lock::restored::Return;
use crate::lock::time::{BootTime, Now, Timestamp};

const USER: User = User {
    uid: Uid(1000),
    gid: Gid(1000),
};

struct Place {
    temp: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        Place {
            temp: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.temp.path().join("sub/locks.state")
    }

    fn open(&self) -> (Store, Option<Found>) {
        Store::open(&self.path(), owner_of("/locks", "boot")).unwrap()
    }

    fn refused(&self, owner: Owner) -> String {
        Store::open(&self.path(), owner).unwrap_err().to_string()
    }
}

fn owner_of(dir: &str, boot: &str) -> Owner {
    Owner {
        dir: dir.as_bytes().to_vec(),
        boot: boot.to_owned(),
        pids: 1,
    }
}

fn now() -> Now {
    crate::clock::now()
}

fn caller() -> Caller {
    Caller {
        standing: Standing::Detached(Chain::default()),
        ..Caller::unknown(USER)
    }
}

fn make(table: &mut Table, name: &str) {
    let at = (Ino::ROOT, name.as_bytes());
    table
        .make(&now(), &caller(), at, Make::File, true, None)
        .unwrap();
}

fn record(store: &mut Store, table: &mut Table) {
    let changes = table.take_changes(&now());
    store.record(&changes, &[], || table.saved(&now()));
}

/// A table with these boards, recorded.
fn recorded(place: &Place, names: &[&str]) -> (Store, Table) {
    let (mut store, found) = place.open();
    assert!(found.is_none());
    let mut table = Table::new(Options::default(), &now());
    table.track();
    for name in names {
        make(&mut table, name);
        record(&mut store, &mut table);
    }
    (store, table)
}

fn names(found: Option<Found>) -> (Vec<String>, Token) {
    let found = found.unwrap();
    let token = Token(found.saved.counters.token);
    let mut table = Table::new(Options::default(), &now());
    table.restore(&now(), found.saved, Return::SameBoot, |_| Vec::new());
    let root = table.directory(Ino::ROOT).unwrap();
    let names = root.after(0).map(|(_, name, _)| name);
    let names = names.map(|name| String::from_utf8(name.to_vec()).unwrap());
    (names.collect(), token)
}

#[test]
fn what_was_recorded_is_there_again() {
    let place = Place::new();
    let (mut store, mut table) = recorded(&place, &["b", "a", "c"]);
    let at = (Ino::ROOT, &b"a"[..]);
    table.unlink(&now(), &caller(), at, false).unwrap();
    record(&mut store, &mut table);
    drop(store);
    for _ in 0..3 {
        // In the order in which they were made; tokens grow.
        let (_, found) = place.open();
        assert_eq!(names(found), (vec!["b".into(), "c".into()], Token(3)));
    }
}

#[test]
fn what_was_not_written_whole_was_told_to_nobody() {
    let place = Place::new();
    let (store, mut table) = recorded(&place, &["a"]);
    let before = store.length;
    let mut store = store;
    make(&mut table, "b");
    record(&mut store, &mut table);
    let after = store.length;
    drop(store);
    let whole = std::fs::read(place.path()).unwrap();
    for length in before..after {
        let length = usize::try_from(length).unwrap();
        std::fs::write(place.path(), &whole[..length]).unwrap();
        assert_eq!(names(place.open().1).0, ["a"], "{length}");
        // Space was given and not written.
        let mut blank = whole[..length].to_vec();
        blank.resize(whole.len() + 100, 0);
        if blank.starts_with(&whole) {
            // It ends in zeros itself.
            continue;
        }
        std::fs::write(place.path(), &blank).unwrap();
        assert_eq!(names(place.open().1).0, ["a"], "{length}, blank");
    }
}

#[test]
fn what_was_not_written_whole_is_no_reason_to_end_on_a_full_disk() {
    let place = Place::new();
    let (mut store, mut table) = recorded(&place, &["a"]);
    let before = store.length;
    make(&mut table, "b");
    record(&mut store, &mut table);
    let after = store.length;
    drop(store);
    let whole = std::fs::read(place.path()).unwrap();
    // Nothing can be written beside it.
    let mut beside = place.path().into_os_string();
    beside.push(".new");
    std::fs::create_dir(beside).unwrap();
    for length in before + 1..after {
        let length = usize::try_from(length).unwrap();
        std::fs::write(place.path(), &whole[..length]).unwrap();
        let (mut store, found) = place.open();
        let found = found.unwrap();
        let mut table = Table::new(Options::default(), &now());
        table.restore(&now(), found.saved, Return::SameBoot, |_| Vec::new());
        table.track();
        // What is recorded next is shorter than what is there, or longer.
        let at = (Ino::ROOT, &b"a"[..]);
        table.unlink(&now(), &caller(), at, false).unwrap();
        record(&mut store, &mut table);
        drop(store);
        assert!(names(place.open().1).0.is_empty(), "{length}");
    }
}

#[test]
fn damage_is_refused_wherever_something_follows() {
    let place = Place::new();
    let (store, mut table) = recorded(&place, &["a", "b"]);
    let last = usize::try_from(store.length).unwrap();
    let mut store = store;
    make(&mut table, "c");
    record(&mut store, &mut table);
    drop(store);
    let whole = std::fs::read(place.path()).unwrap();
    for at in MAGIC.len()..last {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x41;
        std::fs::write(place.path(), &damaged).unwrap();
        let refused = place.refused(owner_of("/locks", "boot"));
        assert!(refused.contains("damaged at byte"), "{at}: {refused}");
        assert!(refused.contains("--state"), "{refused}");
        // Nothing of it was touched.
        assert_eq!(std::fs::read(place.path()).unwrap(), damaged);
    }
}

#[test]
fn what_is_not_ours_to_read_is_refused() {
    let place = Place::new();
    drop(recorded(&place, &["a"]));
    let refused = place.refused(owner_of("/other", "boot"));
    assert!(refused.contains("is that of /locks"), "{refused}");
    let elsewhere = Owner {
        pids: 2,
        ..owner_of("/locks", "boot")
    };
    assert!(place.refused(elsewhere).contains("pid namespace"));
    std::fs::write(place.path(), "boardlock state 3\nwhat do I know").unwrap();
    let refused = place.refused(owner_of("/locks", "boot"));
    assert!(refused.contains("a later boardlock"), "{refused}");
    for foreign in ["x", "boardlock", "root:x:0:0:root:/root:/bin/bash\n"] {
        std::fs::write(place.path(), foreign).unwrap();
        let refused = place.refused(owner_of("/locks", "boot"));
        assert!(refused.contains("is no state file"), "{refused}");
    }
}

#[test]
fn one_daemon_has_it() {
    let place = Place::new();
    let (store, _) = recorded(&place, &[]);
    let refused = place.refused(owner_of("/locks", "boot"));
    assert!(refused.contains("another running boardlock"), "{refused}");
    drop(store);
    place.open();
}

#[test]
fn another_boot_leaves_what_is_detached() {
    let place = Place::new();
    drop(recorded(&place, &["a"]));
    let (_, found) = Store::open(&place.path(), owner_of("/locks", "next")).unwrap();
    assert!(!found.as_ref().unwrap().same_boot);
    assert_eq!(names(found).0, ["a"]);
}

#[test]
fn it_is_written_anew_when_most_of_it_is_out_of_date() {
    let place = Place::new();
    let (mut store, mut table) = recorded(&place, &["kept"]);
    let at = (Ino::ROOT, &b"b"[..]);
    let mut most = 0;
    for _ in 0..30_000 {
        make(&mut table, "b");
        record(&mut store, &mut table);
        table.unlink(&now(), &caller(), at, false).unwrap();
        record(&mut store, &mut table);
        most = most.max(store.length);
    }
    assert!(most < 2 * SLACK, "{most}");
    drop(store);
    assert_eq!(names(place.open().1), (vec!["kept".into()], Token(30_001)));
}

#[test]
fn an_event_that_changes_nothing_writes_nothing() {
    let place = Place::new();
    let (mut store, mut table) = recorded(&place, &["a"]);
    let length = store.length;
    let at = (Ino::ROOT, &b"a"[..]);
    let made = table.make(&now(), &caller(), at, Make::File, true, None);
    assert!(made.is_err());
    record(&mut store, &mut table);
    record(&mut store, &mut table);
    // The refusal itself is remembered, once.
    let refused = store.length;
    assert!(refused > length);
    let made = table.make(&now(), &caller(), at, Make::File, true, None);
    assert!(made.is_err());
    record(&mut store, &mut table);
    assert_eq!(store.length, refused);
}

/// What the first form's boardlock wrote while a script had `a` and `b` (one file, open by
/// `b`), `d`, `d/x` and, by flock, `c`, and `flock a` and `flock c` waited.
const FIRST_FORM: &[u8] = include_bytes!("form-1.state");

#[test]
fn a_file_of_the_first_form_loses_nothing() {
    let place = Place::new();
    drop(place.open());
    std::fs::write(place.path(), FIRST_FORM).unwrap();
    let (store, found) = Store::open(&place.path(), owner_of("/locks", "boot")).unwrap();
    let found = found.unwrap();
    let file = std::fs::read(place.path()).unwrap();
    assert!(file.starts_with(MAGIC), "it is written anew");
    let now = Now {
        wall: Timestamp::from_secs(2_000_000_000),
        boot: BootTime(Duration::from_secs(50_000_000)),
    };
    let mut table = Table::new(Options::default(), &now);
    let restored = table.restore(&now, found.saved.clone(), Return::Connected, |_| Vec::new());
    let ino = |name: &[u8]| table.lookup(Ino::ROOT, name).unwrap();
    assert_eq!((restored.freed, restored.lost), (0, 0));
    assert_eq!((restored.held, table.boards()), (4, 5));
    assert_eq!(ino(b"a"), ino(b"b"));
    assert!(table.is_by_locks(ino(b"c")));
    assert_eq!(
        table.content(table.lookup(ino(b"d"), b"x").unwrap()),
        Some(&b"note\n"[..])
    );
    let counts = [b"a", b"c"].map(|name| table.count_waiting(ino(name)));
    assert_eq!(counts, [1, 1]);
    // By which name it waits is not known: it gets neither before both are free.
    let script = table.holder(ino(b"a")).unwrap();
    table.died(script, &now);
    let waited = table.lookup(Ino::ROOT, b"a").unwrap();
    assert!(table.is_by_locks(waited));
    assert_eq!(table.lookup(Ino::ROOT, b"b"), Ok(waited));
    drop(store);
    // And what has it now reads it again.
    let (_, again) = Store::open(&place.path(), owner_of("/locks", "boot")).unwrap();
    assert_eq!(again.unwrap().saved, found.saved);
}

#[test]
fn a_frame_that_is_written_value_by_value_is_that_frame() {
    let mut table = Table::new(Options::default(), &now());
    table.track();
    make(&mut table, "a");
    make(&mut table, "b");
    let at = (Ino::ROOT, &b"a"[..]);
    let mut changes = table.take_changes(&now());
    table.unlink(&now(), &caller(), at, false).unwrap();
    changes.values.extend(table.take_changes(&now()).values);
    assert!(changes.values.iter().any(|(_, value)| value.is_none()));
    let done = vec![(crate::lock::ids::WaitId::of_request(7), None)];
    let mut whole = Vec::new();
    let frame = Frame {
        counters: changes.counters,
        values: changes.values.clone(),
        done: done.clone(),
    };
    push(&mut whole, &frame).unwrap();
    let mut entries = Entries::default();
    for (key, value) in &changes.values {
        let expected = value.as_ref().map(|value| digest(value).unwrap());
        let add = |news| {
            move |digest| {
                assert_eq!(digest, expected);
                news
            }
        };
        entries.add(key, value.as_ref(), add(false)).unwrap();
        entries.add(key, value.as_ref(), add(true)).unwrap();
    }
    assert_eq!(entries.frame(&changes.counters, &done).unwrap(), whole);
}
