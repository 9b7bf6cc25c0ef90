//! "Acquire, by call": each row, each column.

use super::cast::*;
use super::lab::*;
use crate::lock::Refusal;
use crate::lock::acquire::Make;
use crate::lock::attributes::SetTime;
use crate::lock::effect::Effect;
use crate::lock::file_lock::LockKind::Exclusive;
use crate::lock::ids::Ino;
use crate::lock::locking::Tried;
use crate::lock::open::OpenMode;

/// A board `b` that alice's script holds, and closed again.
fn held() -> Lab {
    let mut lab = Lab::new();
    lab.touch(&alice(), "b").unwrap();
    lab
}

#[test]
fn open_with_o_creat_in_any_mode_claims_a_free_board() {
    for mode in [READ, WRITE, TRUNCATE, APPEND, NONBLOCK] {
        let mut lab = Lab::new();
        lab.create(&alice(), "b", mode).unwrap();
        assert_eq!(lab.holder("b"), SCRIPT, "{mode:?}");
    }
}

#[test]
fn open_with_o_creat_gives_the_holder_an_open_file() {
    for mode in [READ, WRITE, TRUNCATE, APPEND, NONBLOCK] {
        let mut lab = held();
        let token = lab.token("b");
        let handle = lab.create(&alice(), "b", mode).unwrap();
        if mode.write {
            lab.table.write(handle, 0, b"mine").unwrap();
        }
        assert_eq!(lab.token("b"), token, "{mode:?}");
    }
}

#[test]
fn open_with_o_creat_for_reading_gives_others_a_file_that_holds_nothing() {
    let mut lab = held();
    lab.create(&bob(), "b", READ).unwrap();
    lab.rm(&alice(), "b").unwrap();
    assert!(lab.is_free("b"));
    assert!(!lab.table.hangs_on(process(BOBS)));
}

#[test]
fn a_create_that_finds_the_board_held_meanwhile_makes_the_kernel_walk_again() {
    let mut lab = held();
    let make = lab.table.make(
        &lab.now,
        &bob(),
        (Ino::ROOT, b"b"),
        Make::File,
        false,
        Some(WRITE),
    );
    assert_eq!(make, Err(Refusal::Gone));
    assert_eq!(lab.holder("b"), SCRIPT);
}

#[test]
fn o_excl_and_mknod_claim_a_free_board() {
    let mut lab = Lab::new();
    lab.exclusive(&alice(), "b").unwrap();
    lab.mknod(&bob(), "c").unwrap();
    assert_eq!((lab.holder("b"), lab.holder("c")), (SCRIPT, BOBS));
}

#[test]
fn o_excl_and_mknod_of_a_held_board_fail_with_eexist_for_the_holder_too() {
    for who in [alice(), alices_subshell(), alices_child(), bob(), root()] {
        let mut lab = held();
        assert_eq!(lab.exclusive(&who, "b"), Err(Refusal::Exists));
        assert_eq!(lab.mknod(&who, "b"), Err(Refusal::Exists));
    }
}

#[test]
fn open_without_o_creat_of_a_free_board_finds_nothing() {
    let mut lab = Lab::new();
    assert_eq!(lab.open(&alice(), "b", READ), Err(Refusal::Missing));
    assert_eq!(lab.open(&alice(), "b", WRITE), Err(Refusal::Missing));
}

#[test]
fn open_without_o_creat_lets_anyone_read_and_the_holder_write() {
    let mut lab = held();
    for who in [alice(), bob(), unseen(BOB), orphan(BOB)] {
        lab.open(&who, "b", READ).unwrap();
    }
    let handle = lab.open(&alice(), "b", WRITE).unwrap();
    lab.table.write(handle, 0, b"mine").unwrap();
    assert_eq!(lab.open(&bob(), "b", WRITE), Err(Refusal::Busy));
}

#[test]
fn an_open_of_a_board_that_was_freed_since_its_lookup_walks_again() {
    let mut lab = held();
    let ino = lab.ino("b");
    lab.rm(&alice(), "b").unwrap();
    for mode in [READ, WRITE] {
        assert_eq!(lab.open_ino(&bob(), ino, mode), Err(Refusal::Gone));
    }
}

#[test]
fn an_open_of_a_freed_board_that_somebody_still_has_open_walks_again() {
    let mut lab = held();
    lab.open(&bob(), "b", READ).unwrap();
    let ino = lab.ino("b");
    lab.rm(&alice(), "b").unwrap();
    for mode in [READ, WRITE, APPEND] {
        assert_eq!(lab.open_ino(&bob(), ino, mode), Err(Refusal::Gone));
    }
}

#[test]
fn mkdir_and_symlink_claim_a_free_board() {
    let mut lab = Lab::new();
    lab.mkdir(&alice(), "d").unwrap();
    lab.symlink(&bob(), "bob@lab.42", "s").unwrap();
    assert_eq!((lab.holder("d"), lab.holder("s")), (SCRIPT, BOBS));
}

#[test]
fn mkdir_and_symlink_on_a_held_board_fail_with_eexist_for_everyone() {
    for who in [alice(), alices_child(), bob()] {
        let mut lab = held();
        assert_eq!(lab.mkdir(&who, "b"), Err(Refusal::Exists));
        assert_eq!(lab.symlink(&who, "x", "b"), Err(Refusal::Exists));
    }
}

#[test]
fn times_and_size_by_path_are_the_holders() {
    for who in [alice(), alices_subshell()] {
        let mut lab = held();
        assert_eq!(lab.utimens(&who, "b", SetTime::Now), Ok(()));
        assert_eq!(lab.truncate(&who, "b", 10), Ok(()));
        assert_eq!(lab.stat("b").size, 10);
    }
}

#[test]
fn times_and_size_by_path_are_ebusy_for_others_the_owner_and_root_included() {
    let others = [
        alices_child(),
        alices_other_job(),
        bob(),
        root(),
        detached(ALICE),
        orphan(ALICE),
        unseen(ALICE),
    ];
    for who in others {
        let mut lab = held();
        let before = lab.stat("b");
        for time in [SetTime::Now, SetTime::To(before.ctime)] {
            assert_eq!(lab.utimens(&who, "b", time), Err(Refusal::Busy));
        }
        assert_eq!(lab.truncate(&who, "b", 10), Err(Refusal::Busy));
        assert_eq!(lab.stat("b"), before);
    }
}

#[test]
fn times_and_size_of_a_free_board_find_nothing() {
    let mut lab = Lab::new();
    let missing = Err(Refusal::Missing);
    assert_eq!(lab.utimens(&alice(), "b", SetTime::Now), missing);
    assert_eq!(lab.truncate(&alice(), "b", 0), missing);
}

#[test]
fn touch_fails_when_it_loses_and_succeeds_again_for_the_holder() {
    let mut lab = held();
    assert!(lab.touch(&alice(), "b").is_ok());
    assert!(lab.touch(&alices_subshell(), "b").is_ok());
    for who in [alices_child(), alices_other_job(), bob(), root()] {
        assert_eq!(lab.touch(&who, "b"), Err(Refusal::Busy));
    }
}

#[test]
fn a_claim_is_complete_at_once() {
    let mut lab = Lab::with_lease(60);
    lab.exclusive(&alice(), "b").unwrap();
    let claim = lab.table.claim(lab.ino("b")).unwrap();
    assert_eq!(claim.holder.process(), Some(process(SCRIPT)));
    assert_eq!(claim.user, ALICE);
    assert_eq!(claim.since, lab.now);
    assert_eq!(claim.token.0, 1);
    assert!(claim.expiry.is_some());
}

#[test]
fn of_two_that_race_the_first_gets_it() {
    let mut lab = Lab::new();
    assert!(lab.exclusive(&alice(), "b").is_ok());
    assert_eq!(lab.exclusive(&bob(), "b"), Err(Refusal::Exists));
    assert_eq!(lab.mkdir(&bob(), "b"), Err(Refusal::Exists));
    assert_eq!(lab.holder("b"), SCRIPT);
}

#[test]
fn a_freed_board_goes_to_whoever_comes_next() {
    let mut lab = held();
    lab.rm(&alice(), "b").unwrap();
    lab.touch(&bob(), "b").unwrap();
    assert_eq!(lab.holder("b"), BOBS);
}

#[test]
fn sudo_claims_for_the_script_and_its_user_and_counts_as_roots() {
    let mut lab = Lab::new();
    lab.exclusive(&alices_sudo(), "b").unwrap();
    let node = lab.table.node(lab.ino("b")).unwrap();
    let user = node.claim.as_ref().unwrap().user;
    assert_eq!((user, node.charged), (ALICE, ROOT.uid));
    assert_eq!(lab.holder("b"), SCRIPT);
}

#[test]
fn an_orphan_claims_nothing_by_any_call() {
    let mut lab = Lab::new();
    let who = orphan(ALICE);
    assert_eq!(lab.create(&who, "b", WRITE), Err(Refusal::Orphan));
    assert_eq!(lab.exclusive(&who, "b"), Err(Refusal::Orphan));
    assert_eq!(lab.mknod(&who, "b"), Err(Refusal::Orphan));
    assert_eq!(lab.mkdir(&who, "b"), Err(Refusal::Orphan));
    assert_eq!(lab.symlink(&who, "x", "b"), Err(Refusal::Orphan));
    assert!(lab.is_free("b"));
}

#[test]
fn a_process_that_cannot_be_seen_claims_only_under_a_lease_and_for_its_user() {
    let mut lab = Lab::new();
    assert_eq!(lab.exclusive(&unseen(ALICE), "b"), Err(Refusal::Unseen));
    let mut lab = Lab::with_lease(60);
    lab.exclusive(&unseen(ALICE), "b").unwrap();
    assert_eq!(lab.holder("b"), 0);
    assert_eq!(lab.status("b").user, Some(ALICE));
    lab.pass(60);
    assert!(lab.is_free("b"));
}

#[test]
fn a_refused_claim_changes_nothing() {
    let mut lab = held();
    let _ = lab.exclusive(&bob(), "b");
    let _ = lab.mkdir(&orphan(BOB), "c");
    assert_eq!(lab.table.boards(), 1);
    assert_eq!(lab.token("b"), 1);
    lab.touch(&alice(), "c").unwrap();
    assert_eq!(lab.token("c"), 2);
}

#[test]
fn a_loser_is_told_of_once_a_hold() {
    let mut lab = held();
    lab.effects();
    let loser = bob();
    for _ in 0..3 {
        assert_eq!(lab.exclusive(&loser, "b"), Err(Refusal::Exists));
        // opening, then setting the times
        assert_eq!(lab.touch(&loser, "b"), Err(Refusal::Busy));
    }
    let told = lab.effects();
    let [Effect::Refused { path, held, .. }] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!(path, b"b");
    let held = held.as_ref().unwrap();
    assert_eq!(held.holder, Some(process(SCRIPT)));
    lab.rm(&alice(), "b").unwrap();
    lab.touch(&alice(), "b").unwrap();
    lab.effects();
    let _ = lab.exclusive(&loser, "b");
    assert_eq!(lab.effects().len(), 1);
}

#[test]
fn o_rdonly_with_o_trunc_counts_as_writing() {
    let mut lab = held();
    let mode = OpenMode {
        truncate: true,
        ..READ
    };
    assert_eq!(lab.open(&bob(), "b", mode), Err(Refusal::Busy));
}

#[test]
fn an_open_that_has_walked_again_opens_what_has_the_name_by_now() {
    let again = OpenMode {
        again: true,
        ..WRITE
    };
    let mut lab = held();
    let ino = lab.ino("b");
    lab.open(&bob(), "b", READ).unwrap();
    lab.rm(&alice(), "b").unwrap();
    let handle = lab.create(&alice(), "c", WRITE).unwrap();
    lab.mv(&alice(), "c", "b").unwrap();
    assert_ne!(lab.ino("b"), ino);
    // It is claimed: whoever opens it cannot have it.
    assert_eq!(lab.open_ino(&bob(), ino, again), Err(Refusal::Busy));
    // It is locked: whoever opens it may want to wait for it.
    assert_eq!(lab.flock(&alice(), handle, Exclusive), Ok(Tried::Granted));
    let opened = lab.open_ino(&bob(), ino, again).unwrap();
    let wait = lab.wait_flock(&bob(), opened, Exclusive).unwrap();
    lab.close(handle);
    assert_eq!(lab.answered(wait), Some(Ok(None)));
}

#[test]
fn an_open_that_has_walked_again_is_answered_as_while_the_board_was_held() {
    let again = |mode| OpenMode {
        again: true,
        ..mode
    };
    for still_open in [true, false] {
        let mut lab = held();
        let ino = lab.ino("b");
        let other = lab.open(&bob(), "b", READ).unwrap();
        lab.rm(&alice(), "b").unwrap();
        if !still_open {
            lab.close(other);
        }
        // To take it: it is taken.
        let handle = lab.open_ino(&bob(), ino, again(TRUNCATE)).unwrap();
        assert_eq!((lab.ino("b"), lab.holder("b")), (ino, BOBS));
        for (mode, refusal) in [(WRITE, Refusal::Busy), (NONBLOCK, Refusal::BusyNow)] {
            assert_eq!(lab.open_ino(&alice(), ino, again(mode)), Err(refusal));
        }
        lab.rm(&bob(), "b").unwrap();
        lab.close(handle);
        // Another inode has the name.
        lab.mkdir(&alice(), "b").unwrap();
        for (mode, refusal) in [(WRITE, Refusal::Busy), (NONBLOCK, Refusal::BusyNow)] {
            assert_eq!(lab.open_ino(&bob(), ino, again(mode)), Err(refusal));
        }
        lab.rmdir(&alice(), "b").unwrap();
        // To lock next: the lock takes the name back.
        let handle = lab.open_ino(&bob(), ino, again(READ)).unwrap();
        assert!(lab.is_free("b"));
        assert_eq!(lab.flock(&bob(), handle, Exclusive), Ok(Tried::Granted));
        assert_eq!(lab.ino("b"), ino);
        lab.close(handle);
        lab.close(other);
        assert_eq!(lab.table.residue(), 0);
    }
}

#[test]
fn what_was_not_opened_in_the_end_is_not_kept() {
    let again = |mode| OpenMode {
        again: true,
        ..mode
    };
    let mut lab = held();
    let ino = lab.ino("b");
    lab.rm(&alice(), "b").unwrap();
    let handle = lab.create(&alice(), "b", WRITE).unwrap();
    assert_ne!(lab.ino("b"), ino);
    let refused = lab.open_ino(&bob(), ino, again(NONBLOCK));
    assert_eq!(refused, Err(Refusal::BusyNow));
    // What has the name by now is opened.
    let other = lab.open_ino(&bob(), ino, again(READ)).unwrap();
    assert_eq!(lab.table.opened(other), Some(lab.ino("b")));
    lab.rm(&alice(), "b").unwrap();
    lab.close(handle);
    lab.close(other);
    assert_eq!(lab.table.residue(), 0);
}
