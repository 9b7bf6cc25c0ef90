//! Boards that are names of one inode (`ln a b`): who came by one of them waits for
//! that one, and gets no other.

use super::cast::*;
use super::lab::*;
use crate::lock::file_lock::LockKind::{Exclusive, Shared};
use crate::lock::ids::{Handle, WaitId};
use crate::lock::locking::Tried;
use crate::lock::restored::Return;
use crate::lock::saved::Saved;
use crate::lock::{Refusal, Table};

/// `a` and `b` are one board of alice's.
fn linked() -> Lab {
    let mut lab = Lab::new();
    lab.touch(&alice(), "a").unwrap();
    lab.link(&alice(), "a", "b").unwrap();
    lab
}

/// `flock PATH`, which waits.
fn waits(lab: &mut Lab, who: &crate::lock::caller::Caller, path: &str) -> (Handle, WaitId) {
    let file = lab.open(who, path, READ).unwrap();
    let wait = lab.wait_flock(who, file, Exclusive).unwrap();
    (file, wait)
}

/// Whether the board of a path is what this open file has locked.
fn has(lab: &Lab, path: &str, file: Handle) -> bool {
    lab.find(path).is_ok_and(|ino| {
        let locks = &lab.table.node(ino).unwrap().locks;
        lab.table.opened(file) == Some(ino) && locks.iter().any(|lock| lock.handle == file)
    })
}

/// Another daemon goes on from what was written.
fn come_back(lab: &mut Lab, held: usize) {
    let saved = lab.table.saved(&lab.now);
    let values = postcard::to_stdvec(&saved.values).unwrap();
    let written = Saved {
        values: postcard::from_bytes(&values).unwrap(),
        ..saved
    };
    assert_eq!(written.values, saved.values);
    let mut back = Table::new(*lab.table.options(), &lab.now);
    let restored = back.restore(&lab.now, written, Return::Connected, |_| Vec::new());
    assert_eq!((restored.held, restored.lost), (held, 0));
    lab.table = back;
}

/// Nothing is left once all is given back.
fn ends(lab: &mut Lab, files: &[Handle]) {
    for file in files {
        lab.close(*file);
    }
    for pid in [SCRIPT, OTHER_JOB, BOBS, ROOTS] {
        lab.died(pid);
    }
    lab.pass(10);
    assert_eq!((lab.table.boards(), lab.table.residue()), (0, 0));
}

#[test]
fn who_waits_for_a_name_that_is_removed_has_it_at_once() {
    for (gone, left) in [("a", "b"), ("b", "a")] {
        let mut lab = linked();
        let (file, wait) = waits(&mut lab, &bob(), gone);
        lab.rm(&alice(), gone).unwrap();
        assert_eq!(lab.answered(wait), Some(Ok(None)));
        assert!(has(&lab, gone, file), "{gone}");
        // Nobody else has it, and alice has the other.
        assert_eq!(
            lab.touch(&alices_other_job(), gone).map(|_| ()),
            Err(Refusal::Busy)
        );
        assert_eq!(lab.holder(left), SCRIPT);
        assert_eq!((lab.stat(gone).links, lab.stat(left).links), (1, 1));
        lab.close(file);
        assert!(lab.is_free(gone));
        assert_eq!(lab.holder(left), SCRIPT);
        ends(&mut lab, &[]);
    }
}

#[test]
fn who_waits_for_the_other_name_goes_on_waiting() {
    let mut lab = linked();
    let (by_b, wait_b) = waits(&mut lab, &bob(), "b");
    let (by_a, wait_a) = waits(&mut lab, &root(), "a");
    lab.rm(&alice(), "a").unwrap();
    assert_eq!(lab.answered(wait_a), Some(Ok(None)));
    assert_eq!(lab.answered(wait_b), None);
    assert!(has(&lab, "a", by_a));
    lab.died(SCRIPT);
    assert_eq!(lab.answered(wait_b), Some(Ok(None)));
    assert!(has(&lab, "b", by_b));
    ends(&mut lab, &[by_a, by_b]);
}

#[test]
fn when_the_holder_ends_each_name_goes_to_who_waits_for_it() {
    let mut lab = linked();
    let (first, wait) = waits(&mut lab, &bob(), "a");
    let (second, behind) = waits(&mut lab, &alices_other_job(), "a");
    let (other, waits_b) = waits(&mut lab, &root(), "b");
    lab.died(SCRIPT);
    assert_eq!(lab.answered(wait), Some(Ok(None)));
    assert_eq!(lab.answered(waits_b), Some(Ok(None)));
    assert_eq!(lab.answered(behind), None);
    assert!(has(&lab, "a", first) && has(&lab, "b", other));
    assert_ne!(lab.ino("a"), lab.ino("b"));
    lab.close(first);
    assert!(has(&lab, "a", second) && has(&lab, "b", other));
    ends(&mut lab, &[second, other]);
}

#[test]
fn a_name_that_nobody_waits_for_is_free_when_the_other_passes() {
    // A link locker that was killed before its `rm tmp`.
    let mut lab = linked();
    let (file, _) = waits(&mut lab, &bob(), "b");
    lab.died(SCRIPT);
    assert!(has(&lab, "b", file));
    assert!(lab.is_free("a"));
    assert_eq!(lab.stat("b").links, 1);
    lab.touch(&root(), "a").unwrap();
    // The new holder removes it, and who waits behind gets it under that name.
    let (behind, wait) = waits(&mut lab, &alices_other_job(), "b");
    lab.rm(&root(), "b").unwrap();
    assert_eq!(lab.answered(wait), Some(Ok(None)));
    assert!(has(&lab, "b", behind));
    assert_eq!(lab.holder("a"), ROOTS);
    ends(&mut lab, &[file, behind]);
}

#[test]
fn a_lock_under_the_claim_keeps_its_own_name_when_that_ends() {
    let mut lab = linked();
    let childs = lab.open(&alices_child(), "a", READ).unwrap();
    let locked = lab.flock(&alices_child(), childs, Exclusive);
    assert_eq!(locked, Ok(Tried::Granted));
    let (file, wait) = waits(&mut lab, &bob(), "b");
    lab.died(SCRIPT);
    assert_eq!(lab.answered(wait), Some(Ok(None)));
    assert!(has(&lab, "a", childs) && has(&lab, "b", file));
    ends(&mut lab, &[childs, file]);
}

#[test]
fn a_lock_that_went_with_its_name_is_in_nobodys_way() {
    let mut lab = linked();
    let childs = lab.open(&alices_child(), "a", READ).unwrap();
    lab.flock(&alices_child(), childs, Exclusive).unwrap();
    let (own, wait) = waits(&mut lab, &alice(), "b");
    assert_eq!(lab.answered(wait), None);
    lab.rm(&alice(), "a").unwrap();
    assert_eq!(lab.answered(wait), Some(Ok(None)));
    assert!(has(&lab, "b", own));
    ends(&mut lab, &[childs, own]);
}

#[test]
fn removing_a_name_gives_back_what_was_locked_by_it() {
    let mut lab = linked();
    let childs = lab.open(&alices_child(), "a", READ).unwrap();
    lab.flock(&alices_child(), childs, Exclusive).unwrap();
    lab.rm(&alice(), "a").unwrap();
    assert!(lab.is_free("a"));
    assert!(lab.table.node(lab.ino("b")).unwrap().locks.is_empty());
    lab.touch(&bob(), "a").unwrap();
    assert_eq!((lab.holder("a"), lab.holder("b")), (BOBS, SCRIPT));
    ends(&mut lab, &[childs]);
}

#[test]
fn the_holders_own_files_are_of_each_name() {
    // mktemp; ln tmp b; rm tmp; then writing and locking through the file.
    let mut lab = Lab::new();
    let own = lab.create(&alice(), "tmp", WRITE).unwrap();
    lab.link(&alice(), "tmp", "b").unwrap();
    let (file, wait) = waits(&mut lab, &bob(), "b");
    lab.rm(&alice(), "tmp").unwrap();
    assert!(lab.is_free("tmp"));
    lab.write(own, b"mine").unwrap();
    assert_eq!(lab.content("b"), b"mine");
    assert_eq!(lab.fstat(own).links, 1);
    assert_eq!(lab.flock(&alice(), own, Exclusive), Ok(Tried::Granted));
    assert!(has(&lab, "b", own));
    lab.died(SCRIPT);
    assert_eq!(lab.answered(wait), None);
    lab.close(own);
    assert!(has(&lab, "b", file));
    ends(&mut lab, &[file]);
}

#[test]
fn who_made_both_names_and_locks_them_has_both() {
    let mut lab = Lab::new();
    let own = lab.create(&alice(), "a", WRITE).unwrap();
    lab.link(&alice(), "a", "b").unwrap();
    let (by_b, wait_b) = waits(&mut lab, &bob(), "b");
    let (by_a, wait_a) = waits(&mut lab, &root(), "a");
    assert_eq!(lab.flock(&alice(), own, Exclusive), Ok(Tried::Granted));
    assert!(has(&lab, "a", own) && has(&lab, "b", own));
    lab.died(SCRIPT);
    assert_eq!((lab.answered(wait_a), lab.answered(wait_b)), (None, None));
    lab.unflock(&alice(), own);
    assert!(has(&lab, "a", by_a) && has(&lab, "b", by_b));
    // It would have both again, not one of them.
    let again = lab.wait_flock(&alice(), own, Exclusive).unwrap();
    lab.close(by_a);
    assert!(lab.is_free("a"));
    assert_eq!(lab.answered(again), None);
    lab.close(by_b);
    assert_eq!(lab.answered(again), Some(Ok(None)));
    assert!(has(&lab, "a", own) && has(&lab, "b", own));
    ends(&mut lab, &[own]);
}

#[test]
fn who_shares_one_name_keeps_that_alone() {
    let mut lab = Lab::new();
    let own = lab.create(&alice(), "a", WRITE).unwrap();
    lab.link(&alice(), "a", "b").unwrap();
    lab.flock(&alice(), own, Shared).unwrap();
    let by_a = lab.open(&bob(), "a", READ).unwrap();
    assert_eq!(lab.flock(&bob(), by_a, Shared), Ok(Tried::Granted));
    lab.close(own);
    assert!(has(&lab, "a", by_a));
    assert!(lab.is_free("b"), "bob has never asked for it");
    ends(&mut lab, &[by_a]);
}

#[test]
fn a_name_that_is_renamed_away_goes_to_who_waits_for_it() {
    let mut lab = linked();
    let (file, wait) = waits(&mut lab, &bob(), "a");
    lab.mv(&alice(), "a", "c").unwrap();
    assert_eq!(lab.answered(wait), Some(Ok(None)));
    assert!(has(&lab, "a", file));
    assert_eq!((lab.holder("b"), lab.holder("c")), (SCRIPT, SCRIPT));
    assert_eq!(lab.ino("b"), lab.ino("c"));
    ends(&mut lab, &[file]);
}

#[test]
fn a_name_that_is_replaced_is_waited_for_still() {
    let mut lab = linked();
    lab.touch(&alice(), "x").unwrap();
    let (file, wait) = waits(&mut lab, &bob(), "a");
    lab.mv(&alice(), "x", "a").unwrap();
    assert_eq!(lab.answered(wait), None);
    assert_eq!(lab.status("a").waiting.len(), 1);
    lab.rm(&alice(), "b").unwrap();
    assert_eq!(lab.answered(wait), None);
    lab.rm(&alice(), "a").unwrap();
    assert_eq!(lab.answered(wait), Some(Ok(None)));
    assert!(has(&lab, "a", file));
    ends(&mut lab, &[file]);
}

#[test]
fn an_open_that_waits_is_told_that_its_name_is_gone() {
    let mut lab = Lab::new();
    let own = lab.create(&alice(), "a", WRITE).unwrap();
    lab.link(&alice(), "a", "b").unwrap();
    let by_a = lab.wait_open(&bob(), "a", WRITE).unwrap();
    let by_b = lab.wait_open(&bob(), "b", WRITE).unwrap();
    lab.rm(&alice(), "a").unwrap();
    assert_eq!(lab.answered(by_a), Some(Err(Refusal::Gone)));
    assert_eq!(lab.answered(by_b), None);
    lab.close(own);
    assert_eq!(lab.answered(by_b), Some(Err(Refusal::Busy)));
    ends(&mut lab, &[]);
}

#[test]
fn an_open_of_a_name_that_is_gone_opens_no_other() {
    let mut lab = linked();
    let (who, ino) = (bob(), lab.ino("a"));
    lab.walk(&who, "a");
    lab.rm(&alice(), "a").unwrap();
    assert_eq!(lab.open_ino(&who, ino, READ), Err(Refusal::Gone));
    // The kernel walks no third time: it is that board, free, and to be locked.
    let again = crate::lock::open::OpenMode {
        again: true,
        ..READ
    };
    let file = lab.open_ino(&who, ino, again).unwrap();
    assert_eq!(lab.fstat(file).links, 0);
    assert_eq!(lab.flock(&who, file, Exclusive), Ok(Tried::Granted));
    assert!(has(&lab, "a", file));
    assert_eq!(lab.holder("b"), SCRIPT);
    ends(&mut lab, &[file]);
}

#[test]
fn who_may_know_each_name_gets_none_before_all_are_free() {
    let mut lab = linked();
    let file = lab.open_ino(&bob(), lab.ino("a"), READ).unwrap();
    let wait = lab.wait_flock(&bob(), file, Exclusive).unwrap();
    lab.rm(&alice(), "a").unwrap();
    assert_eq!(lab.answered(wait), None);
    lab.touch(&root(), "a").unwrap();
    lab.rm(&alice(), "b").unwrap();
    assert_eq!(lab.answered(wait), None, "root has a");
    lab.died(ROOTS);
    assert_eq!(lab.answered(wait), Some(Ok(None)));
    assert!(has(&lab, "a", file) && has(&lab, "b", file));
    ends(&mut lab, &[file]);
}

#[test]
fn fcntl_locks_of_a_process_that_has_both_names_open_are_of_both() {
    let mut lab = linked();
    let mut child = alices_child();
    child.thread = Some(process(CHILD).pid);
    let by_a = lab.open(&child, "a", READ).unwrap();
    let by_b = lab.open(&child, "b", READ).unwrap();
    lab.fcntl(&child, by_b, 1, (0, 9), Exclusive).unwrap();
    lab.fcntl(&child, by_a, 1, (5, 20), Exclusive).unwrap();
    let (file, wait) = waits(&mut lab, &bob(), "b");
    lab.died(SCRIPT);
    assert_eq!(lab.answered(wait), None);
    lab.close(by_a);
    lab.close(by_b);
    assert_eq!(lab.answered(wait), Some(Ok(None)));
    ends(&mut lab, &[file]);
}

#[test]
fn a_table_that_comes_back_knows_by_which_name_each_came() {
    let mut lab = linked();
    let (by_a, wait_a) = waits(&mut lab, &bob(), "a");
    let (by_b, wait_b) = waits(&mut lab, &root(), "b");
    come_back(&mut lab, 1);
    let who = bob();
    lab.rm(&alice(), "a").unwrap();
    assert!(has(&lab, "a", by_a), "{:?}", lab.answered(wait_a));
    assert_eq!(lab.holder("b"), SCRIPT);
    lab.died(SCRIPT);
    assert!(has(&lab, "b", by_b), "{:?}", lab.answered(wait_b));
    // And goes by it once more.
    come_back(&mut lab, 2);
    assert!(has(&lab, "a", by_a) && has(&lab, "b", by_b));
    assert_eq!(lab.flock(&who, by_a, Exclusive), Ok(Tried::Granted));
}

#[test]
fn who_waits_for_both_names_gets_none_by_the_making_of_one() {
    let mut lab = linked();
    let file = lab.open_ino(&alices_child(), lab.ino("a"), READ).unwrap();
    lab.died(SCRIPT);
    lab.touch(&bob(), "b").unwrap();
    let wait = lab.wait_flock(&alices_child(), file, Exclusive).unwrap();
    lab.touch(&alice(), "a").unwrap();
    assert_eq!(lab.answered(wait), None);
    // Nor by another daemon that goes on.
    come_back(&mut lab, 2);
    assert_eq!(lab.answered(wait), None);
    assert!(lab.table.node(lab.ino("a")).unwrap().locks.is_empty());
    lab.rm(&alice(), "a").unwrap();
    lab.rm(&bob(), "b").unwrap();
    assert!(has(&lab, "a", file) && has(&lab, "b", file));
}
