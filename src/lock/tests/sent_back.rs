//! Who is sent back to ask anew (semantics.md, "File locks"), and who does not come.

use super::cast::*;
use super::lab::*;
use super::lock_calls::{locked, opened};
use crate::lock::Refusal;
use crate::lock::caller::Caller;
use crate::lock::file_lock::LockKind::{Exclusive, Shared};
use crate::lock::ids::Handle;
use crate::lock::locking::Tried;

/// A kernel that lets requests wait for 20 s.
fn impatient() -> (Lab, Handle, Handle) {
    use crate::lock::queue::Patience;
    let mut lab = Lab::new();
    lab.table.set_patience(Some(Patience {
        send_back: std::time::Duration::from_secs(10),
        give_up: std::time::Duration::from_secs(15),
    }));
    let file = locked(&mut lab, &alice());
    let bobs = opened(&mut lab, &bob());
    (lab, file, bobs)
}

/// Bob, who shared the board with alice, has been sent back from waiting for it alone, and
/// it comes to him while he is away.
fn away_with_a_shared_lock() -> (Lab, Handle) {
    let (mut lab, file, bobs) = impatient();
    lab.unflock(&alice(), file);
    lab.fcntl(&alice(), file, 1, (0, 9), Shared).unwrap();
    lab.fcntl(&bob(), bobs, 2, (0, 9), Shared).unwrap();
    let wait = lab.wait_fcntl(&bob(), bobs, 2, (0, 9), Exclusive).unwrap();
    lab.pass(10);
    lab.table.leave(wait, Refusal::Interrupted, &lab.now);
    lab.unfcntl(&alice(), file, 1, (0, 9));
    (lab, file)
}

#[test]
fn a_wait_that_is_sent_back_keeps_its_place() {
    let (mut lab, file, bobs) = impatient();
    let roots = opened(&mut lab, &root());
    let first = lab.wait_flock(&bob(), bobs, Exclusive).unwrap();
    lab.pass(5);
    let second = lab.wait_flock(&root(), roots, Exclusive).unwrap();
    lab.pass(5);
    assert_eq!(lab.sent_back(), [first]);
    // The kernel interrupts it for that.
    lab.table.leave(first, Refusal::Interrupted, &lab.now);
    assert_eq!(lab.answered(first), Some(Err(Refusal::Interrupted)));
    // It waits on where it stood.
    let first = lab.wait_flock(&bob(), bobs, Exclusive).unwrap();
    lab.pass(9);
    assert_eq!(lab.sent_back(), [second]);
    lab.table.leave(second, Refusal::Interrupted, &lab.now);
    lab.pass(1);
    assert_eq!(lab.sent_back(), [first]);
    lab.table.leave(first, Refusal::Interrupted, &lab.now);
    // Its turn comes while it is away: it has the board, and learns of it.
    lab.unflock(&alice(), file);
    assert_eq!(lab.status("b").user, Some(BOB));
    assert_eq!(lab.status("b").waiting.len(), 1);
    assert_eq!(lab.lock_waiting(&bob(), bobs), Ok(Tried::Granted));
    let second = lab.wait_flock(&root(), roots, Exclusive).unwrap();
    assert_eq!(lab.status("b").waiting.len(), 1);
    lab.pass(5);
    assert_eq!(lab.status("b").user, Some(BOB));
    lab.close(bobs);
    assert_eq!(lab.answered(second), Some(Ok(None)));
    // It is no loser: nobody refused it.
    lab.close(roots);
    lab.close(file);
    assert_eq!(lab.table.residue(), 0);
}

#[test]
fn who_does_not_come_back_loses_the_place() {
    let (mut lab, file, bobs) = impatient();
    let roots = opened(&mut lab, &root());
    let first = lab.wait_flock(&bob(), bobs, Exclusive).unwrap();
    let second = lab.wait_flock(&root(), roots, Exclusive).unwrap();
    lab.pass(10);
    lab.table.leave(first, Refusal::Interrupted, &lab.now);
    lab.close(file);
    assert_eq!(lab.status("b").user, Some(BOB));
    lab.table.leave(second, Refusal::Interrupted, &lab.now);
    let second = lab.wait_flock(&root(), roots, Exclusive).unwrap();
    assert_eq!(lab.answered(second), None);
    lab.pass(2);
    assert_eq!(lab.answered(second), Some(Ok(None)));
    lab.close(bobs);
    lab.close(roots);
    assert_eq!(lab.table.residue(), 0);
}

#[test]
fn who_does_not_come_back_keeps_what_it_had() {
    let (mut lab, file) = away_with_a_shared_lock();
    assert_eq!(
        lab.fcntl(&alice(), file, 1, (0, 9), Shared),
        Err(Refusal::BusyNow)
    );
    lab.pass(2);
    assert_eq!(
        lab.fcntl(&alice(), file, 1, (0, 9), Shared),
        Ok(Tried::Granted)
    );
}

#[test]
fn who_does_not_go_back_is_given_up() {
    let (mut lab, file, bobs) = impatient();
    let wait = lab.wait_flock(&bob(), bobs, Exclusive).unwrap();
    lab.pass(10);
    assert_eq!(lab.sent_back(), [wait]);
    lab.pass(4);
    assert_eq!(lab.answered(wait), None);
    lab.pass(1);
    assert_eq!(lab.answered(wait), Some(Err(Refusal::NoLocks)));
    lab.close(file);
    lab.close(bobs);
    assert_eq!(lab.table.residue(), 0);
}

#[test]
fn who_is_away_for_good_leaves_no_board_without_holder() {
    let (mut lab, file, bobs) = impatient();
    let first = lab.wait_flock(&bob(), bobs, Exclusive).unwrap();
    lab.pass(10);
    lab.table.leave(first, Refusal::Interrupted, &lab.now);
    // Let go while the only waiter is away; it is killed and never comes back.
    lab.close(file);
    lab.pass(2);
    lab.close(bobs);
    assert!(lab.is_free("b"), "a name that nobody holds");
    assert_eq!(lab.table.residue(), 0);
}

#[test]
fn who_comes_while_the_first_is_away_waits() {
    let (mut lab, file, bobs) = impatient();
    let roots = opened(&mut lab, &root());
    let first = lab.wait_flock(&bob(), bobs, Exclusive).unwrap();
    lab.pass(10);
    lab.table.leave(first, Refusal::Interrupted, &lab.now);
    lab.close(file);
    // ESTALE to a program that locks.
    assert!(lab.wait_flock(&root(), roots, Exclusive).is_ok());
}

#[test]
fn two_of_an_open_file_that_do_not_come_back_leave_no_lock() {
    for order in [[Shared, Exclusive], [Exclusive, Shared]] {
        let (mut lab, file, bobs) = impatient();
        for kind in order {
            let wait = lab.wait_flock(&bob(), bobs, kind).unwrap();
            lab.pass(10);
            lab.table.leave(wait, Refusal::Interrupted, &lab.now);
        }
        lab.unflock(&alice(), file);
        lab.pass(2);
        assert!(lab.is_free("b"));
        let ino = lab.table.opened(bobs).unwrap();
        assert!(lab.table.node(ino).unwrap().locks.is_empty());
        // It is anyone's.
        assert_eq!(lab.flock(&alice(), file, Exclusive), Ok(Tried::Granted));
        lab.pass(20);
        assert_eq!(
            lab.flock(&bob(), bobs, Exclusive),
            Err(Refusal::BusyNow),
            "alice has it"
        );
        lab.close(bobs);
        lab.close(file);
        assert_eq!(lab.table.residue(), 0);
    }
}

#[test]
fn who_does_not_come_back_gets_nothing_of_a_board_that_was_removed() {
    let (mut lab, file) = away_with_a_shared_lock();
    // Bob has it, and his user gives it back by `rm`.
    lab.rm(&root(), "b").unwrap();
    assert!(lab.is_free("b"));
    assert_eq!(lab.flock(&alice(), file, Exclusive), Ok(Tried::Granted));
    lab.pass(2);
    let node = lab.table.node(lab.ino("b")).unwrap();
    assert_eq!(node.locks.len(), 1, "alice's");
}

#[test]
fn what_a_converted_lock_gives_way_to_is_not_waited_for_by_its_own_process() {
    // Two processes that share their table of open files (clone(2), CLONE_FILES): of
    // fcntl(2) they are one owner.
    let mut lab = Lab::new();
    let file = locked(&mut lab, &alice());
    lab.flock(&alice(), file, Shared).unwrap();
    let other = opened(&mut lab, &alice());
    let exclusive = |lab: &Lab, who: &Caller| crate::lock::file_lock::LockCall {
        started: Some(lab.now.boot),
        ..lab.fcntl_call(who, other, 1, (0, 9))
    };
    let call = exclusive(&lab, &alice());
    assert_eq!(lab.try_call(&alice(), &call, Exclusive), Ok(Tried::Granted));
    let call = exclusive(&lab, &bob());
    let [first, second] = [1000, 1001].map(crate::lock::ids::WaitId);
    let tried = lab
        .table
        .lock(&lab.now, &call, Exclusive, Some(first), Some(&bob()));
    assert_eq!(tried, Ok(Tried::Waits), "for alice's flock");
    // That is let go, to be made anew by bob's process, which gets the other then.
    let call = crate::lock::file_lock::LockCall {
        pid: Some(process(BOBS).pid),
        started: Some(lab.now.boot),
        ..lab.flock_call(&alice(), file)
    };
    let tried = lab
        .table
        .lock(&lab.now, &call, Shared, Some(second), Some(&bob()));
    assert_eq!(tried, Ok(Tried::Waits));
    let answers = [first, second].map(|wait| lab.answered(wait));
    assert_eq!(answers, [Some(Ok(None)); 2]);
}

#[test]
fn who_does_not_come_back_has_no_lock_by_a_file_that_is_closed() {
    let (mut lab, file, bobs) = impatient();
    lab.unflock(&alice(), file);
    lab.fcntl(&alice(), file, 1, (0, 9), Shared).unwrap();
    let other = opened(&mut lab, &bob());
    lab.fcntl(&bob(), other, 2, (0, 9), Shared).unwrap();
    let wait = lab.wait_fcntl(&bob(), bobs, 2, (0, 9), Exclusive).unwrap();
    lab.pass(10);
    lab.table.leave(wait, Refusal::Interrupted, &lab.now);
    lab.unfcntl(&alice(), file, 1, (0, 9));
    lab.close(other);
    lab.pass(2);
    let node = lab.table.node(lab.ino("b")).unwrap();
    assert_eq!(node.locks.first().map(|lock| lock.handle), Some(bobs));
    lab.close(bobs);
    assert!(lab.is_free("b"), "nobody has it");
    lab.close(file);
    assert_eq!(lab.table.residue(), 0);
}
