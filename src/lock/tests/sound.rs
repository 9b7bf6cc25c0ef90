//! Saved tables that contradict themselves.

use super::cast::*;
use super::lab::*;
use crate::lock::Table;
use crate::lock::file_lock::{Key as Owner, LockKind::Exclusive};
use crate::lock::ids::{Handle, Ino, WaitId};
use crate::lock::restored::{Restored, Return};
use crate::lock::saved::{Key, Saved, SavedInode, Value};

fn inode(saved: &mut Saved, ino: Ino) -> &mut SavedInode {
    match saved.values.get_mut(&Key::Inode(ino)) {
        Some(Value::Inode(inode)) => inode,
        other => panic!("{other:?}"),
    }
}

fn restored(lab: &Lab, saved: Saved) -> (Table, Restored) {
    let mut back = Table::new(*lab.table.options(), &lab.now);
    let restored = back.restore(&lab.now, saved, Return::Connected, |_| Vec::new());
    (back, restored)
}

#[test]
fn a_name_is_one_inodes() {
    let mut lab = Lab::new();
    lab.touch(&alice(), "a").unwrap();
    lab.touch(&bob(), "b").unwrap();
    let (a, b) = (lab.ino("a"), lab.ino("b"));
    let mut saved = lab.table.saved(&lab.now);
    inode(&mut saved, b).names = inode(&mut saved, a).names.clone();
    let (back, restored) = restored(&lab, saved);
    assert_eq!((restored.held, restored.lost), (1, 2));
    assert_eq!(back.lookup(Ino::ROOT, b"a"), Ok(a));
    assert!(back.node(b).is_err());
    assert_eq!(back.boards(), 1);
}

#[test]
fn no_directory_is_within_itself() {
    let mut lab = Lab::new();
    lab.mkdir(&alice(), "d").unwrap();
    lab.mkdir(&alice(), "d/e").unwrap();
    lab.touch(&alice(), "d/e/b").unwrap();
    let (d, e) = (lab.ino("d"), lab.ino("d/e"));
    let mut saved = lab.table.saved(&lab.now);
    inode(&mut saved, d).names = vec![(e, b"d".to_vec(), 2)];
    let (back, restored) = restored(&lab, saved);
    assert_eq!(restored.held, 0);
    assert_eq!((back.boards(), back.residue()), (0, 0));
}

#[test]
fn of_two_locks_that_exclude_each_other_the_first_stays() {
    let mut lab = Lab::new();
    let one = lab.create(&alice(), "b", WRITE).unwrap();
    lab.flock(&alice(), one, Exclusive).unwrap();
    let two = lab.open(&bob(), "b", READ).unwrap();
    let ino = lab.ino("b");
    let mut saved = lab.table.saved(&lab.now);
    let locks = &mut inode(&mut saved, ino).locks;
    let mut second = locks[0].clone();
    second.handle = two;
    second.key = Owner::File(two);
    locks.push(second);
    let (back, restored) = restored(&lab, saved);
    assert_eq!(restored.lost, 1);
    let locks = &back.node(ino).unwrap().locks;
    assert_eq!(locks.len(), 1);
    assert_eq!(locks[0].handle, one);
}

#[test]
fn what_nobody_is_left_to_hold_is_free() {
    let mut lab = Lab::new();
    let open = lab.create(&alice(), "b", WRITE).unwrap();
    lab.flock(&alice(), open, Exclusive).unwrap();
    let ino = lab.ino("b");
    let mut saved = lab.table.saved(&lab.now);
    inode(&mut saved, ino).locks.clear();
    let (back, restored) = restored(&lab, saved);
    assert_eq!((restored.held, restored.freed), (0, 1));
    assert!(back.lookup(Ino::ROOT, b"b").is_err());
}

#[test]
fn no_number_is_given_out_again_or_beyond_all_numbers() {
    let mut lab = Lab::new();
    lab.touch(&alice(), "b").unwrap();
    let mut saved = lab.table.saved(&lab.now);
    saved.counters.ino = 0;
    saved.counters.claim = 0;
    saved.counters.token = u64::MAX;
    let (mut back, restored) = restored(&lab, saved);
    assert_eq!((restored.held, restored.lost), (1, 0));
    let token = back.claim(lab.ino("b")).unwrap().token;
    std::mem::swap(&mut lab.table, &mut back);
    lab.touch(&bob(), "c").unwrap();
    assert_ne!(lab.ino("c"), lab.ino("b"));
    assert!(lab.token("c") > token.0);
}

#[test]
fn what_belongs_to_nothing_is_left_out() {
    let mut lab = Lab::new();
    let open = lab.create(&alice(), "b", WRITE).unwrap();
    lab.flock(&alice(), open, Exclusive).unwrap();
    let waits = lab.open(&bob(), "b", READ).unwrap();
    lab.wait_flock(&bob(), waits, Exclusive).unwrap();
    let mut saved = lab.table.saved(&lab.now);
    let wait = saved
        .values
        .keys()
        .copied()
        .find(|key| matches!(key, Key::Wait(_)));
    let (wait, inode) = (wait.unwrap(), Key::Inode(lab.ino("b")));
    let value = saved.values.remove(&inode).unwrap();
    let (back, all) = restored(&lab, saved.clone());
    assert_eq!((all.lost, back.residue()), (3, 0));
    // A value under the key of another kind.
    saved.values.insert(Key::Open(Handle(99)), value);
    saved
        .values
        .insert(Key::Wait(WaitId(98)), saved.values[&wait].clone());
    let (back, all) = restored(&lab, saved);
    assert_eq!((all.lost, back.residue()), (5, 0));
}

#[test]
fn of_two_that_wait_at_one_place_one_stays() {
    let mut lab = Lab::new();
    let open = lab.create(&alice(), "b", WRITE).unwrap();
    lab.flock(&alice(), open, Exclusive).unwrap();
    let waits = lab.open(&bob(), "b", READ).unwrap();
    let wait = lab.wait_flock(&bob(), waits, Exclusive).unwrap();
    let mut saved = lab.table.saved(&lab.now);
    let again = saved.values[&Key::Wait(wait)].clone();
    saved.values.insert(Key::Wait(WaitId(wait.0 + 1)), again);
    let (back, restored) = restored(&lab, saved);
    assert_eq!((restored.held, restored.lost), (1, 1));
    assert_eq!(back.waiters(), 1);
    assert_eq!(back.waiting(lab.ino("b"), 9).len(), 1);
}

#[test]
fn who_polls_what_is_no_board_is_remembered_on_the_same_connection() {
    let mut lab = Lab::new();
    lab.table.track();
    // The lock directory itself.
    lab.table.take_changes(&lab.now);
    let handle = Handle((1 << 62) + 5);
    lab.table.watched_as(handle, 17);
    let changes = lab.table.take_changes(&lab.now);
    assert_eq!(
        changes.values,
        [(Key::Watcher(handle), Some(Value::Watcher(17)))]
    );
    let mut saved = lab.table.saved(&lab.now);
    // Not one of the table's own.
    saved
        .values
        .insert(Key::Watcher(Handle(5)), Value::Watcher(18));
    for (how, pollers) in [(Return::Connected, vec![17]), (Return::SameBoot, vec![])] {
        let mut next = Lab::new();
        let restored = next
            .table
            .restore(&next.now, saved.clone(), how, |_| Vec::new());
        assert_eq!((restored.lost, next.table.pollers()), (1, pollers));
    }
    lab.table.unwatched(handle);
    let changes = lab.table.take_changes(&lab.now);
    assert_eq!(changes.values, [(Key::Watcher(handle), None)]);
    assert_eq!(lab.table.residue(), 0);
}
