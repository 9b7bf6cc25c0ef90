//! "Metadata": what stat(2) shows and who may change it.

use super::cast::*;
use super::lab::*;
use crate::lock::Refusal;
use crate::lock::attributes::{Change, Kind, SetTime};
use crate::lock::content::{CONTENT_MAX, Named};
use crate::lock::file_lock::LockKind;
use crate::lock::ids::Ino;
use crate::lock::time::Timestamp;

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(START + secs)
}

fn held() -> Lab {
    let mut lab = Lab::new();
    lab.touch(&alice(), "b").unwrap();
    lab
}

const CHMOD: Change = Change {
    mode: true,
    owner: false,
    size: None,
    atime: None,
    mtime: None,
};

const CHOWN: Change = Change {
    mode: false,
    owner: true,
    ..CHMOD
};

#[test]
fn user_and_group_are_the_holders() {
    assert_eq!(held().stat("b").user, ALICE);
    let mut lab = Lab::new();
    lab.touch(&alices_sudo(), "b").unwrap();
    assert_eq!(lab.stat("b").user, ALICE);
}

#[test]
fn chmod_is_accepted_from_the_files_user_without_effect() {
    for (who, answer) in [
        (alice(), Ok(())),
        (alices_other_job(), Ok(())),
        (detached(ALICE), Ok(())),
        (bob(), Err(Refusal::NotPermitted)),
    ] {
        let mut lab = held();
        let before = lab.stat("b");
        assert_eq!(lab.change(&who, "b", &CHMOD), answer);
        assert_eq!(lab.stat("b"), before);
    }
}

#[test]
fn chown_is_nobodys() {
    for who in [alice(), bob(), root()] {
        let changed = held().change(&who, "b", &CHOWN);
        assert_eq!(changed, Err(Refusal::NotPermitted));
    }
}

#[test]
fn a_change_is_made_as_a_whole_or_not_at_all() {
    let mut lab = held();
    let before = lab.stat("b");
    let mixed = Change {
        size: Some(4097),
        mtime: Some(SetTime::To(at(-50))),
        ..Change::default()
    };
    let changed = lab.change(&alice(), "b", &mixed);
    assert_eq!(changed, Err(Refusal::TooLarge));
    let mixed = Change {
        owner: true,
        size: Some(5),
        ..mixed
    };
    let changed = lab.change(&alice(), "b", &mixed);
    assert_eq!(changed, Err(Refusal::NotPermitted));
    assert_eq!(lab.stat("b"), before);
}

#[test]
fn every_acquisition_has_a_greater_token() {
    let mut lab = Lab::new();
    let mut last = 0;
    for name in ["a", "b", "a", "c"] {
        if !lab.is_free(name) {
            lab.rm(&alice(), name).unwrap();
        }
        lab.touch(&alice(), name).unwrap();
        assert!(lab.token(name) > last);
        last = lab.token(name);
    }
    lab.touch(&alice(), "c").unwrap();
    assert_eq!(lab.token("c"), last, "no acquisition");
}

#[test]
fn kinds_and_sizes_are_those_of_files() {
    let mut lab = held();
    lab.echo(&alice(), "b", "12345", None);
    lab.mkdir(&alice(), "d").unwrap();
    lab.symlink(&alice(), "alice@lab", "s").unwrap();
    let shown = |name| (lab.stat(name).kind, lab.stat(name).size);
    assert_eq!(shown("b"), (Kind::File, 5));
    assert_eq!(shown("d"), (Kind::Directory, 0));
    assert_eq!(shown("s"), (Kind::Link, 9));
}

#[test]
fn the_lock_directory_is_the_daemons() {
    let mut lab = Lab::new();
    let root_dir = Ino::ROOT;
    let now = lab.now;
    let times = Change {
        mtime: Some(SetTime::Now),
        ..Change::default()
    };
    for (who, change, answer) in [
        (bob(), &CHMOD, Err(Refusal::NotPermitted)),
        (bob(), &times, Err(Refusal::NotPermitted)),
        (root(), &CHMOD, Ok(())),
        (root(), &times, Ok(())),
        (root(), &CHOWN, Err(Refusal::NotPermitted)),
    ] {
        let changed = lab.table.change(&now, &who, root_dir, None, change);
        assert_eq!(changed, answer);
    }
}

#[test]
fn expiry_and_note_of_a_held_board_are_its_users_and_roots_to_set() {
    for (who, answer) in [
        (alice(), Ok(())),
        (alices_child(), Ok(())),
        (alices_other_job(), Ok(())),
        (root(), Ok(())),
        (bob(), Err(Refusal::NotPermitted)),
    ] {
        let mut lab = held();
        let ino = lab.ino("b");
        let until = Some(START + 60);
        let set = lab.table.set_expires(&lab.now, &who, ino, until, None);
        assert_eq!(set, answer);
        let noted = lab.table.set_note(&who, ino, Some(b"x".to_vec()), None);
        assert_eq!(noted, answer);
    }
}

#[test]
fn a_note_has_at_most_four_kib() {
    let mut lab = held();
    let ino = lab.ino("b");
    let mut note = vec![b'x'; CONTENT_MAX + 1];
    let set = lab.table.set_note(&alice(), ino, Some(note.clone()), None);
    assert_eq!(set, Err(Refusal::TooLarge));
    note.pop();
    assert_eq!(lab.table.set_note(&alice(), ino, Some(note), None), Ok(()));
}

#[test]
fn expiry_and_note_of_a_freed_board_are_not_set() {
    let mut lab = held();
    let handle = lab.open(&alice(), "b", READ).unwrap();
    let ino = lab.table.opened(handle).unwrap();
    lab.rm(&alice(), "b").unwrap();
    let set = lab.table.set_expires(&lab.now, &alice(), ino, None, None);
    assert_eq!(set, Err(Refusal::Gone));
    let set = lab.table.set_note(&alice(), ino, None, None);
    assert_eq!(set, Err(Refusal::Gone));
}

#[test]
fn who_made_it_sets_its_times_while_that_file_is_open() {
    let (mut lab, who) = (Lab::new(), alice());
    let (maker, other) = (who.requester.unwrap(), alice().requester.unwrap());
    let change = Change {
        mtime: Some(SetTime::To(at(60))),
        ..Change::default()
    };
    let handle = lab.create(&who, "b", NONBLOCK).unwrap();
    let ino = lab.ino("b");
    assert_eq!(lab.table.maker(ino, maker.pid), Some(maker));
    assert_eq!(lab.table.maker(ino, other.pid), None);
    assert!(!lab.table.change_made(&lab.now, other, ino, &change));
    assert!(!lab.table.change_made(&lab.now, maker, ino, &CHMOD));
    assert!(lab.table.change_made(&lab.now, maker, ino, &change));
    assert_eq!(lab.stat("b").mtime, at(60));
    lab.table.close(&lab.now, handle);
    assert_eq!(lab.table.maker(ino, maker.pid), None);
    assert!(!lab.table.change_made(&lab.now, maker, ino, &change));
}

#[test]
fn who_made_what_another_holds_by_now_does_not() {
    let mut lab = Lab::new();
    let who = alice();
    let maker = who.requester.unwrap();
    let handle = lab.create(&who, "b", WRITE).unwrap();
    let ino = lab.ino("b");
    let kept = lab.write(handle, b"200").unwrap();
    let named = Named::Process(candidate(ALICE, &[OTHER_JOB]));
    lab.table.name(&lab.now, &kept, named);
    assert_eq!(lab.table.holder(ino), Some(process(OTHER_JOB)));
    assert_eq!(lab.table.maker(ino, maker.pid), None);
    // A file that is open and made nothing says nothing.
    let other = lab.create(&who, "b", APPEND).unwrap();
    assert_eq!(lab.table.maker(ino, maker.pid), None);
    for handle in [handle, other] {
        lab.table.close(&lab.now, handle);
    }
    // Nor where file locks hold it.
    let handle = lab.create(&who, "c", WRITE).unwrap();
    let ino = lab.ino("c");
    assert_eq!(lab.table.maker(ino, maker.pid), Some(maker));
    let _ = lab.flock(&who, handle, LockKind::Exclusive);
    assert_eq!(lab.table.maker(ino, maker.pid), None);
}
