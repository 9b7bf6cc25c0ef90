//! File locks on the table (semantics.md, "File locks").

use super::cast::*;
use super::lab::*;
use super::lock_calls::{locked, opened};
use crate::lock::Refusal;
use crate::lock::caller::Caller;
use crate::lock::effect::End;
use crate::lock::file_lock::LockKind::{Exclusive, Shared};
use crate::lock::ids::Handle;
use crate::lock::locking::Tried;
use crate::lock::open::OpenMode;
use crate::lock::options::Options;

#[test]
fn a_lock_through_the_claiming_file_ends_the_claim() {
    let mut lab = Lab::new();
    let file = lab.create(&alice(), "b", TRUNCATE).unwrap();
    assert!(!lab.table.is_by_locks(lab.ino("b")));
    lab.flock(&alice(), file, Exclusive).unwrap();
    assert!(lab.table.is_by_locks(lab.ino("b")));
    // It goes with the file, not with the process.
    lab.died(SCRIPT);
    assert!(!lab.is_free("b"));
    lab.close(file);
    assert!(lab.is_free("b"));
}

#[test]
fn it_ends_the_claim_though_it_is_not_granted() {
    let mut lab = Lab::new();
    let file = lab.create(&alice(), "b", TRUNCATE).unwrap();
    let childs = lab.open(&alices_child(), "b", READ).unwrap();
    lab.flock(&alices_child(), childs, Exclusive).unwrap();
    assert_eq!(
        lab.flock(&alice(), file, Exclusive),
        Err(Refusal::BusyNow),
        "its locks exclude each other"
    );
    lab.died(SCRIPT);
    assert!(!lab.is_free("b"), "the child has it");
    lab.close(childs);
    assert!(lab.is_free("b"));
}

#[test]
fn a_free_boards_lock_goes_with_unlock_and_close() {
    let mut lab = Lab::new();
    let file = locked(&mut lab, &alice());
    lab.unflock(&alice(), file);
    assert!(lab.is_free("b"));
    assert_eq!(lab.fstat(file).links, 0);
    lab.close(file);
    assert_eq!(lab.table.residue(), 0);
}

#[test]
fn who_asks_for_what_he_has_takes_nothing() {
    let mut lab = Lab::new();
    let file = locked(&mut lab, &alice());
    let bobs = opened(&mut lab, &bob());
    let has = |lab: &Lab, who: &Caller, file, kind| {
        let call = lab.call(who, file, crate::lock::file_lock::Class::Flock, file.0);
        lab.table.has_just(&call, kind, &lab.now)
    };
    assert!(has(&lab, &alice(), file, Exclusive));
    assert!(!has(&lab, &alice(), file, Shared), "it would be another");
    assert!(!has(&lab, &bob(), bobs, Exclusive));
    lab.unflock(&alice(), file);
    assert!(!has(&lab, &alice(), file, Exclusive));
}

#[test]
fn others_are_refused_or_wait() {
    let mut lab = Lab::new();
    let file = locked(&mut lab, &alice());
    let bobs = opened(&mut lab, &bob());
    assert_eq!(lab.flock(&bob(), bobs, Shared), Err(Refusal::BusyNow));
    let wait = lab.wait_flock(&bob(), bobs, Exclusive).unwrap();
    assert_eq!(lab.answered(wait), None);
    lab.unflock(&alice(), file);
    assert_eq!(lab.answered(wait), Some(Ok(None)));
    assert_eq!(lab.stat("b").user, BOB);
}

#[test]
fn a_user_has_so_many_who_wait() {
    let mut lab = Lab::with(Options {
        max_waiting: 2,
        ..Options::default()
    });
    let file = locked(&mut lab, &alice());
    let wait = |lab: &mut Lab, who: &Caller| {
        let file = opened(lab, who);
        lab.wait_flock(who, file, Exclusive)
    };
    let first = wait(&mut lab, &bob()).unwrap();
    wait(&mut lab, &bob()).unwrap();
    assert_eq!(wait(&mut lab, &bob()), Err(Refusal::NoLocks));
    // Another's are his own; who has left, or got it, counts no more.
    let roots = wait(&mut lab, &root()).unwrap();
    lab.table.leave(roots, Refusal::Interrupted, &lab.now);
    lab.unflock(&alice(), file);
    assert_eq!(lab.answered(first), Some(Ok(None)));
    wait(&mut lab, &bob()).unwrap();
    assert_eq!(wait(&mut lab, &bob()), Err(Refusal::NoLocks));
}

#[test]
fn a_freed_board_goes_to_its_first_waiter_with_name_and_inode() {
    for how in ["unlock", "close", "unlink"] {
        let mut lab = Lab::new();
        let file = locked(&mut lab, &alice());
        let (ino, token) = (lab.ino("b"), lab.token("b"));
        let bobs = opened(&mut lab, &bob());
        let wait = lab.wait_flock(&bob(), bobs, Exclusive).unwrap();
        match how {
            "unlock" => lab.unflock(&alice(), file),
            "close" => lab.close(file),
            _ => {
                lab.show("b", &[SCRIPT]);
                lab.rm(&alice(), "b").unwrap();
            }
        }
        assert_eq!(lab.answered(wait), Some(Ok(None)), "{how}");
        assert_eq!(lab.ino("b"), ino);
        assert!(lab.token("b") > token);
        // Whoever released it has nothing any more.
        if how == "unlink" {
            lab.unflock(&alice(), file);
        }
        assert!(!lab.is_free("b"));
        lab.close(bobs);
        assert!(lab.is_free("b"));
    }
}

#[test]
fn under_a_claim_the_holders_side_locks_and_others_wait() {
    let mut lab = Lab::new();
    lab.touch(&alice(), "b").unwrap();
    let childs = lab.open(&alices_child(), "b", READ).unwrap();
    let bobs = opened(&mut lab, &bob());
    assert_eq!(
        lab.flock(&alices_child(), childs, Exclusive),
        Ok(Tried::Granted)
    );
    assert_eq!(lab.flock(&bob(), bobs, Shared), Err(Refusal::BusyNow));
    let wait = lab.wait_flock(&bob(), bobs, Shared).unwrap();
    lab.unflock(&alices_child(), childs);
    assert_eq!(lab.answered(wait), None, "the claim holds");
    assert_eq!(lab.holder("b"), SCRIPT);
    lab.rm(&alice(), "b").unwrap();
    assert_eq!(lab.answered(wait), Some(Ok(None)));
    assert!(!lab.is_free("b"));
}

#[test]
fn the_locks_of_its_side_outlive_a_claim() {
    let mut lab = Lab::new();
    lab.touch(&alice(), "b").unwrap();
    let childs = lab.open(&alices_child(), "b", READ).unwrap();
    lab.flock(&alices_child(), childs, Exclusive).unwrap();
    let bobs = opened(&mut lab, &bob());
    let wait = lab.wait_flock(&bob(), bobs, Exclusive).unwrap();
    lab.died(SCRIPT);
    assert_eq!(lab.answered(wait), None);
    assert!(lab.table.is_by_locks(lab.ino("b")));
    lab.close(childs);
    assert_eq!(lab.answered(wait), Some(Ok(None)));
}

#[test]
fn shared_locks_share_and_shared_waiters_go_together() {
    let mut lab = Lab::new();
    let file = locked(&mut lab, &alice());
    let files: Vec<Handle> = (0..4).map(|_| opened(&mut lab, &bob())).collect();
    let first = lab.wait_flock(&bob(), files[0], Shared).unwrap();
    let second = lab.wait_flock(&bob(), files[1], Shared).unwrap();
    let third = lab.wait_flock(&bob(), files[2], Exclusive).unwrap();
    let fourth = lab.wait_flock(&bob(), files[3], Shared).unwrap();
    lab.unflock(&alice(), file);
    let outcomes = [first, second, third, fourth].map(|wait| lab.answered(wait));
    assert_eq!(outcomes, [Some(Ok(None)), Some(Ok(None)), None, None]);
    // Who only tries is in nobody's way.
    assert_eq!(lab.flock(&alice(), file, Shared), Ok(Tried::Granted));
    for handle in [file, files[0], files[1]] {
        lab.unflock(&bob(), handle);
    }
    assert_eq!(lab.answered(third), Some(Ok(None)));
    assert_eq!(lab.answered(fourth), None);
    lab.close(files[2]);
    assert_eq!(lab.answered(fourth), Some(Ok(None)));
}

#[test]
fn the_queue_is_told_in_order() {
    let mut lab = Lab::new();
    let file = locked(&mut lab, &alice());
    let bobs = opened(&mut lab, &bob());
    let roots = opened(&mut lab, &root());
    lab.wait_flock(&bob(), bobs, Exclusive).unwrap();
    lab.pass(5);
    lab.wait_flock(&root(), roots, Shared).unwrap();
    let text = lab.status("b").render(|uid| format!("user{}", uid.0));
    let lines: Vec<&str> = text.lines().filter(|l| l.starts_with("wait")).collect();
    assert_eq!(
        lines,
        [
            "waiters 2",
            "waiter 1 user1001 300 exclusive 2001-09-09T01:46:40Z /bin/sh ./job300",
            "waiter 2 user0 400 shared 2001-09-09T01:46:45Z /bin/sh ./job400",
        ]
    );
    lab.close(file);
    assert_eq!(lab.status("b").waiting.len(), 1);
}

#[test]
fn of_many_who_wait_the_first_are_named() {
    let mut lab = Lab::new();
    lab.touch(&alice(), "b").unwrap();
    for _ in 0..300 {
        let file = opened(&mut lab, &bob());
        lab.wait_flock(&bob(), file, Exclusive).unwrap();
    }
    let text = lab.status("b").render(|uid| format!("user{}", uid.0));
    assert!(text.contains("\nwaiters 300\n"), "{text}");
    let named = text.lines().filter(|line| line.starts_with("waiter "));
    assert_eq!(named.count(), 100);
}

#[test]
fn an_interrupted_waiter_leaves_and_is_a_loser() {
    let mut lab = Lab::new();
    let file = lab.create(&alice(), "b", TRUNCATE).unwrap();
    lab.flock(&alice(), file, Exclusive).unwrap();
    lab.show("b", &[SCRIPT]);
    let other = alices_other_job();
    let handle = lab.open(&other, "b", READ).unwrap();
    let wait = lab.wait_flock(&other, handle, Exclusive).unwrap();
    lab.table.leave(wait, Refusal::Interrupted, &lab.now);
    assert_eq!(lab.answered(wait), Some(Err(Refusal::Interrupted)));
    assert_eq!(lab.table.waiters(), 0);
    // `flock -w 5 9 || exit 1` with `trap 'rm -f b' EXIT`
    assert_eq!(lab.rm(&other, "b"), Err(Refusal::RefusedBefore));
    lab.close(file);
    assert!(lab.is_free("b"));
}

#[test]
fn a_waiter_that_leaves_lets_those_behind_it_on() {
    let mut lab = Lab::new();
    let file = opened_shared(&mut lab);
    let (one, two) = (opened(&mut lab, &bob()), opened(&mut lab, &bob()));
    let exclusive = lab.wait_flock(&bob(), one, Exclusive).unwrap();
    let shared = lab.wait_flock(&bob(), two, Shared).unwrap();
    assert_eq!(lab.answered(shared), None, "first come, first served");
    lab.table.leave(exclusive, Refusal::Interrupted, &lab.now);
    assert_eq!(lab.answered(shared), Some(Ok(None)));
    lab.close(file);
    assert!(!lab.is_free("b"));
}

fn opened_shared(lab: &mut Lab) -> Handle {
    let file = lab.create(&alice(), "b", TRUNCATE).unwrap();
    lab.flock(&alice(), file, Shared).unwrap();
    file
}

#[test]
fn flock_is_converted_as_the_kernel_does() {
    let mut lab = Lab::new();
    let file = locked(&mut lab, &alice());
    let bobs = opened(&mut lab, &bob());
    let wait = lab.wait_flock(&bob(), bobs, Shared).unwrap();
    // Down: in place; whoever shares joins.
    assert_eq!(lab.flock(&alice(), file, Shared), Ok(Tried::Granted));
    assert_eq!(lab.answered(wait), Some(Ok(None)));
    // Up, with another's in the way: the old one is lost.
    assert_eq!(lab.flock(&alice(), file, Exclusive), Err(Refusal::BusyNow));
    lab.close(bobs);
    assert!(lab.is_free("b"));
    // Up, alone.
    let mut lab = Lab::new();
    let file = opened_shared(&mut lab);
    assert_eq!(lab.flock(&alice(), file, Exclusive), Ok(Tried::Granted));
}

#[test]
fn fcntl_locks_keep_what_they_have_while_they_wait_for_more() {
    let mut lab = Lab::new();
    let file = lab.create(&alice(), "b", WRITE).unwrap();
    lab.fcntl(&alice(), file, 1, (0, 9), Shared).unwrap();
    let bobs = lab.open(&bob(), "b", APPEND).unwrap();
    lab.fcntl(&bob(), bobs, 2, (20, 29), Shared).unwrap();
    assert_eq!(
        lab.fcntl(&alice(), file, 1, (0, 9), Exclusive),
        Err(Refusal::BusyNow),
        "any range counts as the board"
    );
    let wait = lab
        .wait_fcntl(&alice(), file, 1, (0, 0), Exclusive)
        .unwrap();
    // Two that wait for each other.
    assert_eq!(
        lab.wait_fcntl(&bob(), bobs, 2, (0, 0), Exclusive),
        Err(Refusal::Deadlock)
    );
    lab.table
        .flush(&lab.now, bobs, crate::lock::ids::LockOwner(2));
    assert_eq!(lab.answered(wait), Some(Ok(None)));
    lab.unfcntl(&alice(), file, 1, (0, 8));
    assert!(!lab.is_free("b"), "one byte is left");
    lab.unfcntl(&alice(), file, 1, (9, 9));
    assert!(lab.is_free("b"));
}

#[test]
fn a_deadlock_over_two_boards_is_seen() {
    let mut lab = Lab::new();
    let a = lab.create(&alice(), "a", WRITE).unwrap();
    let b = lab.create(&bob(), "b", WRITE).unwrap();
    lab.fcntl(&alice(), a, 1, (0, 0), Exclusive).unwrap();
    lab.fcntl(&bob(), b, 2, (0, 0), Exclusive).unwrap();
    let alices = lab.open(&alice(), "b", APPEND).unwrap();
    let bobs = lab.open(&bob(), "a", APPEND).unwrap();
    lab.wait_fcntl(&alice(), alices, 1, (0, 0), Exclusive)
        .unwrap();
    assert_eq!(
        lab.wait_fcntl(&bob(), bobs, 2, (0, 0), Exclusive),
        Err(Refusal::Deadlock)
    );
}

#[test]
fn one_process_may_have_both_kinds_of_lock() {
    let mut lab = Lab::new();
    let file = locked(&mut lab, &alice());
    // Through the same open file.
    assert_eq!(
        lab.fcntl(&alice(), file, 1, (0, 0), Exclusive),
        Ok(Tried::Granted)
    );
    // By the same process, through another: looked at only where it matters.
    let second = opened(&mut lab, &alice());
    lab.unfcntl(&alice(), file, 1, (0, 0));
    let call = lab.fcntl_call(&alice(), second, 1, (0, 0));
    assert!(lab.table.may_be_own(&call));
    let started = lab.now.boot;
    assert_eq!(
        lab.try_call(&alice(), &call, Exclusive),
        Err(Refusal::BusyNow)
    );
    let call = crate::lock::file_lock::LockCall {
        started: Some(started),
        ..call
    };
    assert_eq!(lab.try_call(&alice(), &call, Exclusive), Ok(Tried::Granted));
    // Another process with the same number.
    lab.pass(1);
    let third = opened(&mut lab, &alice());
    let call = crate::lock::file_lock::LockCall {
        started: Some(lab.now.boot),
        ..lab.fcntl_call(&alice(), third, 3, (0, 0))
    };
    assert_eq!(
        lab.try_call(&alice(), &call, Exclusive),
        Err(Refusal::BusyNow)
    );
}

#[test]
fn who_has_one_kind_does_not_wait_in_line_for_the_other() {
    let mut lab = Lab::new();
    let file = locked(&mut lab, &alice());
    let bobs = opened(&mut lab, &bob());
    let bobs_wait = lab.wait_flock(&bob(), bobs, Exclusive).unwrap();
    let call = lab.fcntl_call(&alice(), file, 1, (0, 0));
    let waits = Some(crate::lock::ids::WaitId(77));
    let tried = lab
        .table
        .lock(&lab.now, &call, Exclusive, waits, Some(&alice()));
    assert_eq!(tried, Ok(Tried::Granted));
    lab.unflock(&alice(), file);
    assert_eq!(lab.answered(bobs_wait), None);
    lab.unfcntl(&alice(), file, 1, (0, 0));
    assert_eq!(lab.answered(bobs_wait), Some(Ok(None)));
}

#[test]
fn both_kinds_exclude_each_other_across_processes() {
    let mut lab = Lab::new();
    let file = locked(&mut lab, &alice());
    let bobs = opened(&mut lab, &bob());
    assert_eq!(
        lab.fcntl(&bob(), bobs, 2, (0, 0), Shared),
        Err(Refusal::BusyNow)
    );
    let wait = lab.wait_fcntl(&bob(), bobs, 2, (0, 0), Exclusive).unwrap();
    lab.unflock(&alice(), file);
    assert_eq!(lab.answered(wait), Some(Ok(None)));
    assert_eq!(lab.flock(&alice(), file, Shared), Err(Refusal::BusyNow));
}

#[test]
fn an_ofd_lock_goes_with_its_open_file() {
    let mut lab = Lab::new();
    let file = lab.create(&alice(), "b", WRITE).unwrap();
    lab.fcntl(&alice(), file, 77, (0, 0), Exclusive).unwrap();
    // Closing a descriptor tells of the process's locks, which are others.
    lab.table
        .flush(&lab.now, file, crate::lock::ids::LockOwner(1));
    assert!(!lab.is_free("b"));
    lab.close(file);
    assert!(lab.is_free("b"));
    assert_eq!(lab.table.residue(), 0);
}

#[test]
fn a_nameless_inode_takes_its_name_back() {
    let mut lab = Lab::new();
    let file = locked(&mut lab, &alice());
    let ino = lab.ino("b");
    lab.unflock(&alice(), file);
    assert!(lab.is_free("b"));
    lab.flock(&alice(), file, Exclusive).unwrap();
    assert_eq!(lab.ino("b"), ino);
    lab.close(file);
    assert_eq!(lab.table.residue(), 0);
}

#[test]
fn it_waits_while_another_has_the_name() {
    let mut lab = Lab::new();
    let file = locked(&mut lab, &alice());
    lab.unflock(&alice(), file);
    // Another inode gets the name.
    lab.touch(&bob(), "tmp").unwrap();
    lab.mv(&bob(), "tmp", "b").unwrap();
    assert_ne!(lab.ino("b"), lab.table.opened(file).unwrap());
    assert_eq!(lab.flock(&alice(), file, Exclusive), Err(Refusal::BusyNow));
    let wait = lab.wait_flock(&alice(), file, Exclusive).unwrap();
    assert_eq!(lab.status("b").waiting.len(), 1, "it waits for that board");
    lab.rm(&bob(), "b").unwrap();
    assert_eq!(lab.answered(wait), Some(Ok(None)));
    assert_eq!(lab.ino("b"), lab.table.opened(file).unwrap());
    lab.close(file);
    assert!(lab.is_free("b"));
    assert_eq!(lab.table.residue(), 0);
}

#[test]
fn the_first_to_come_has_the_name_next_whichever_inode_it_waits_on() {
    for free_inode_first in [true, false] {
        let mut lab = Lab::new();
        let file = locked(&mut lab, &alice());
        lab.unflock(&alice(), file);
        lab.touch(&bob(), "tmp").unwrap();
        lab.mv(&bob(), "tmp", "b").unwrap();
        let roots = opened(&mut lab, &root());
        let mut waits = Vec::new();
        let order = if free_inode_first {
            [file, roots]
        } else {
            [roots, file]
        };
        for handle in order {
            waits.push(lab.wait_flock(&root(), handle, Exclusive).unwrap());
        }
        lab.rm(&bob(), "b").unwrap();
        assert_eq!(lab.answered(waits[0]), Some(Ok(None)));
        assert_eq!(lab.answered(waits[1]), None);
        assert_eq!(lab.ino("b"), lab.table.opened(order[0]).unwrap());
        lab.close(order[0]);
        assert_eq!(lab.answered(waits[1]), Some(Ok(None)));
        lab.close(order[1]);
        assert_eq!(lab.table.residue(), 0);
    }
}

#[test]
fn a_board_made_again_is_the_inode_that_waits_and_locks() {
    let mut lab = Lab::new();
    let file = locked(&mut lab, &alice());
    let ino = lab.ino("b");
    lab.unflock(&alice(), file);
    lab.touch(&bob(), "b").unwrap();
    assert_eq!(lab.ino("b"), ino);
    assert_eq!(lab.flock(&alice(), file, Shared), Err(Refusal::BusyNow));
}

#[test]
fn it_comes_back_neither_where_its_directory_is_gone_nor_into_anothers() {
    let mut lab = Lab::new();
    lab.mkdir(&alice(), "d").unwrap();
    let file = lab.create(&alice(), "d/b", TRUNCATE).unwrap();
    lab.flock(&alice(), file, Exclusive).unwrap();
    lab.unflock(&alice(), file);
    lab.rmdir(&alice(), "d").unwrap();
    assert_eq!(lab.flock(&alice(), file, Exclusive), Err(Refusal::Gone));
    let mut lab = Lab::new();
    lab.mkdir(&alice(), "d").unwrap();
    let file = lab.create(&alice(), "d/b", TRUNCATE).unwrap();
    lab.flock(&alice(), file, Exclusive).unwrap();
    lab.unflock(&alice(), file);
    assert_eq!(
        lab.flock(&bob(), file, Exclusive),
        Err(Refusal::InsideAnothers)
    );
    assert_eq!(lab.flock(&alice(), file, Exclusive), Ok(Tried::Granted));
}

#[test]
fn a_locked_board_cannot_be_linked_but_renamed_with_locks_and_waiters() {
    let mut lab = Lab::new();
    let file = locked(&mut lab, &alice());
    lab.show("b", &[SCRIPT]);
    assert_eq!(lab.link(&alice(), "b", "c"), Err(Refusal::NotPermitted));
    let bobs = opened(&mut lab, &bob());
    let wait = lab.wait_flock(&bob(), bobs, Exclusive).unwrap();
    assert_eq!(lab.mv(&bob(), "b", "c"), Err(Refusal::NotHolder));
    lab.mv(&alice(), "b", "c").unwrap();
    assert!(lab.is_free("b"));
    lab.close(file);
    assert_eq!(lab.answered(wait), Some(Ok(None)));
    assert!(!lab.is_free("c"));
}

#[test]
fn who_opened_it_shows_and_may_touch_write_and_unlink() {
    let mut lab = Lab::new();
    let file = locked(&mut lab, &alice());
    lab.show("b", &[SCRIPT]);
    assert_eq!(lab.status("b").pid.map(|pid| pid.get()), Some(SCRIPT));
    lab.touch(&alice(), "b").unwrap();
    assert_eq!(lab.touch(&bob(), "b").err(), Some(Refusal::Busy));
    assert_eq!(lab.rm(&bob(), "b"), Err(Refusal::NotYours));
    lab.write(file, b"note").unwrap();
    let bobs = lab.open(&bob(), "b", TRUNCATE).unwrap();
    assert_eq!(lab.content("b"), b"note", "it truncates nothing");
    assert_eq!(lab.write(bobs, b"x").unwrap_err(), Refusal::Busy);
    lab.rm(&alice(), "b").unwrap();
    assert!(lab.is_free("b"));
    assert_eq!(
        lab.flock(&bob(), bobs, Exclusive),
        Ok(Tried::Granted),
        "what was given back is held by no lock"
    );
    lab.write(bobs, b"mine").unwrap();
    assert_eq!(lab.content("b"), b"mine");
}

#[test]
fn nobody_shown_leaves_it_to_the_files_user() {
    let mut lab = Lab::new();
    locked(&mut lab, &alice());
    lab.show("b", &[]);
    assert_eq!(lab.status("b").pid, None);
    assert_eq!(lab.touch(&alice(), "b").err(), Some(Refusal::Busy));
    assert_eq!(lab.rm(&bob(), "b"), Err(Refusal::NotYours));
    lab.rm(&alice_by_hand(), "b").unwrap();
}

fn alice_by_hand() -> Caller {
    alices_other_job().by("rm")
}

#[test]
fn content_decides_nothing_under_locks_alone() {
    let mut lab = Lab::new();
    let file = locked(&mut lab, &alice());
    let kept = lab.write(file, b"0 300").unwrap();
    assert_eq!(kept.written, crate::lock::record::Written::Note);
    assert_eq!(lab.status("b").pid, None);
}

#[test]
fn opens_of_a_claimed_board_wait_until_it_is_decided() {
    let outcomes = |decide: &dyn Fn(&mut Lab, Handle)| {
        let mut lab = Lab::new();
        let file = lab.create(&alice(), "b", TRUNCATE).unwrap();
        let wait = lab.wait_open(&bob(), "b", TRUNCATE).unwrap();
        assert_eq!(lab.answered(wait), None);
        decide(&mut lab, file);
        lab.answered(wait)
            .map(|outcome| outcome.map(|handle| handle.is_some()))
    };
    let locked = outcomes(&|lab, file| {
        lab.flock(&alice(), file, Exclusive).unwrap();
    });
    assert_eq!(locked, Some(Ok(true)), "the caller goes on to flock(2)");
    let freed = outcomes(&|lab, _| lab.rm(&alice(), "b").unwrap());
    assert_eq!(freed, Some(Err(Refusal::Gone)), "it starts anew");
    let died = outcomes(&|lab, _| lab.died(SCRIPT));
    assert_eq!(died, Some(Err(Refusal::Gone)));
    let claimed = outcomes(&|lab, file| lab.close(file));
    assert_eq!(claimed, Some(Err(Refusal::Busy)));
    // Killed: its file is closed before it has ended.
    let killed = outcomes(&|lab, file| {
        let ino = lab.ino("b");
        assert_eq!(lab.table.decides_opens(file), Some(ino));
        lab.table.ending(ino);
        lab.close(file);
        lab.died(SCRIPT);
    });
    assert_eq!(killed, Some(Err(Refusal::Gone)));
    let too_long = outcomes(&|lab, _| lab.pass(2));
    assert_eq!(too_long, Some(Err(Refusal::Busy)));
    let not_yet = outcomes(&|lab, _| lab.pass(1));
    assert_eq!(not_yet, None);
}

#[test]
fn a_claim_that_passes_on_at_its_holders_end_is_decided() {
    let mut lab = Lab::new();
    let file = lab.create(&alices_subshell(), "b", TRUNCATE).unwrap();
    let wait = lab.wait_open(&bob(), "b", TRUNCATE).unwrap();
    let ino = lab.ino("b");
    lab.table.ending(ino);
    lab.close(file);
    assert_eq!(lab.answered(wait), None);
    lab.died(SUBSHELL);
    assert_eq!(lab.holder("b"), SCRIPT);
    assert_eq!(lab.answered(wait), Some(Err(Refusal::Busy)));
}

#[test]
fn opens_that_do_not_wait() {
    let mut lab = Lab::new();
    let file = lab.create(&alice(), "b", TRUNCATE).unwrap();
    let nonblock = lab.wait_open(&bob(), "b", NONBLOCK);
    assert_eq!(nonblock.err(), Some(Err(Refusal::BusyNow)));
    for mode in [READ, APPEND] {
        assert!(matches!(lab.wait_open(&bob(), "b", mode), Err(Ok(_))));
    }
    lab.close(file);
    let claimed = lab.wait_open(&bob(), "b", WRITE);
    assert_eq!(claimed.err(), Some(Err(Refusal::Busy)));
}

#[test]
fn of_a_locked_board_every_open_succeeds_unless_it_is_strict() {
    use crate::lock::options::{OpenRule, Options};
    let with = |open: OpenRule| {
        let mut lab = Lab::with(Options {
            open,
            ..Options::default()
        });
        locked(&mut lab, &alice());
        lab.show("b", &[SCRIPT]);
        lab
    };
    let opens = |lab: &mut Lab, mode: OpenMode| lab.open(&bob(), "b", mode).map(drop);
    for mode in [WRITE, TRUNCATE, NONBLOCK, APPEND] {
        assert_eq!(opens(&mut with(OpenRule::Wait), mode), Ok(()));
        assert_eq!(opens(&mut with(OpenRule::Shared), mode), Ok(()));
    }
    assert_eq!(
        opens(&mut with(OpenRule::Strict), WRITE),
        Err(Refusal::Busy)
    );
    assert_eq!(
        opens(&mut with(OpenRule::Strict), NONBLOCK),
        Err(Refusal::BusyNow)
    );
    assert_eq!(opens(&mut with(OpenRule::Strict), APPEND), Ok(()));
    let mut lab = with(OpenRule::Strict);
    assert!(lab.open(&alice(), "b", WRITE).is_ok());
    // Shared: claimed boards, too.
    let mut lab = with(OpenRule::Shared);
    lab.touch(&alice(), "c").unwrap();
    let file = lab.open(&bob(), "c", TRUNCATE).unwrap();
    assert_eq!(lab.write(file, b"x").unwrap_err(), Refusal::Busy);
    assert_eq!(lab.flock(&bob(), file, Shared), Err(Refusal::BusyNow));
}

#[test]
fn a_poll_is_told_once_of_what_is_new() {
    let mut lab = Lab::new();
    lab.touch(&alice(), "b").unwrap();
    let file = opened(&mut lab, &bob());
    assert!(lab.table.poll(file, true), "nothing was read yet");
    lab.table.set_snapshot(file, Vec::new());
    assert!(!lab.table.poll(file, true));
    lab.effects();
    lab.rm(&alice(), "b").unwrap();
    assert_eq!(lab.told(), [file]);
    lab.touch(&alice(), "b").unwrap();
    assert_eq!(lab.told(), [], "nobody polls");
    // Edge-triggered epoll asks when it has told, and not again.
    assert!(lab.table.poll(file, true));
    lab.table.set_snapshot(file, Vec::new());
    lab.rm(&alice(), "b").unwrap();
    assert_eq!(lab.told(), [file]);
    assert!(lab.table.poll(file, false));
}

#[test]
fn every_change_of_state_is_told() {
    let mut lab = Lab::new();
    let file = locked(&mut lab, &alice());
    let watcher = opened(&mut lab, &root());
    let bobs = opened(&mut lab, &bob());
    let mut wait = None;
    let tells = |lab: &mut Lab, what: &str, event: &mut dyn FnMut(&mut Lab)| {
        lab.table.set_snapshot(watcher, Vec::new());
        assert!(!lab.table.poll(watcher, true));
        lab.told();
        event(lab);
        assert_eq!(lab.told(), [watcher], "{what}");
    };
    tells(&mut lab, "a waiter comes", &mut |lab| {
        wait = Some(lab.wait_flock(&bob(), bobs, Exclusive).unwrap());
    });
    tells(&mut lab, "it leaves", &mut |lab| {
        lab.table
            .leave(wait.unwrap(), Refusal::Interrupted, &lab.now);
    });
    tells(&mut lab, "it is written", &mut |lab| {
        lab.write(file, b"x").unwrap();
    });
    tells(&mut lab, "it is converted", &mut |lab| {
        lab.flock(&alice(), file, Shared).unwrap();
    });
    tells(&mut lab, "it is shared", &mut |lab| {
        lab.flock(&bob(), bobs, Shared).unwrap();
    });
    tells(&mut lab, "it is released", &mut |lab| {
        lab.close(file);
        lab.close(bobs);
    });
}

#[test]
fn a_user_cannot_use_up_memory_with_ranges() {
    let mut lab = Lab::new();
    let file = lab.create(&alice(), "b", WRITE).unwrap();
    let refused = (0..2000).find(|n| {
        lab.fcntl(&alice(), file, 1, (n * 2, n * 2), Exclusive)
            .is_err()
    });
    assert_eq!(refused, Some(1024));
}

#[test]
fn released_by_end_of_lock_is_told() {
    let mut lab = Lab::new();
    let file = locked(&mut lab, &alice());
    lab.effects();
    lab.close(file);
    assert_eq!(lab.released(), [("b".to_owned(), End::Unlocked)]);
}

#[test]
fn the_share_is_charged_to_whoever_holds() {
    let mut lab = Lab::new();
    let file = locked(&mut lab, &alice());
    let bobs = opened(&mut lab, &bob());
    lab.wait_flock(&bob(), bobs, Exclusive).unwrap();
    lab.close(file);
    let node = lab.table.node(lab.ino("b")).unwrap();
    assert_eq!(node.charged, BOB.uid);
    lab.close(bobs);
    assert_eq!(lab.table.residue(), 0);
}
