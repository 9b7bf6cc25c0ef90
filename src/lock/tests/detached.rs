//! "Detached claims".

use super::cast::*;
use super::lab::*;
use crate::lock::Refusal;
use crate::lock::attributes::SetTime;
use crate::lock::content::Named;
use crate::lock::effect::End;
use crate::lock::record::State;
use crate::lock::time::Timestamp;

fn held() -> Lab {
    let mut lab = Lab::new();
    lab.touch(&detached(ALICE), "b").unwrap();
    lab
}

#[test]
fn it_belongs_to_its_user_alone() {
    let mut lab = held();
    let status = lab.status("b");
    assert_eq!((status.state, status.pid), (State::Detached, None));
    assert_eq!(status.user, Some(ALICE));
    assert_eq!(status.via, "touch < sshd");
    assert_eq!(lab.watched(), (vec![], vec![]));
}

#[test]
fn nobody_opens_it_for_writing_touches_it_or_sets_its_times() {
    for who in [
        detached(ALICE),
        alice(),
        alices_child(),
        root(),
        bob(),
        unseen(ALICE),
    ] {
        let mut lab = held();
        assert_eq!(lab.open(&who, "b", WRITE), Err(Refusal::Busy));
        assert_eq!(lab.create(&who, "b", TRUNCATE), Err(Refusal::Busy));
        assert_eq!(lab.touch(&who, "b"), Err(Refusal::Busy));
        assert_eq!(lab.utimens(&who, "b", SetTime::Now), Err(Refusal::Busy));
        assert_eq!(lab.truncate(&who, "b", 0), Err(Refusal::Busy));
        assert_eq!(lab.exclusive(&who, "b"), Err(Refusal::Exists));
    }
}

#[test]
fn the_touch_that_makes_it_sets_its_times_and_its_expiry() {
    let mut lab = Lab::new();
    let until = Timestamp::from_secs(START + 7200);
    lab.touch_at(&detached(ALICE), "b", SetTime::To(until))
        .unwrap();
    assert_eq!(lab.stat("b").mtime, until);
    lab.pass(7199);
    assert!(!lab.is_free("b"));
    lab.pass(1);
    assert!(lab.is_free("b"));
}

#[test]
fn while_it_is_being_made_another_touch_loses() {
    let mut lab = Lab::new();
    let _making = lab.create(&detached(ALICE), "b", NONBLOCK).unwrap();
    assert_eq!(lab.touch(&detached(ALICE), "b"), Err(Refusal::Busy));
}

#[test]
fn the_tool_that_made_it_writes_and_no_other() {
    let mut lab = Lab::new();
    let making = lab.create(&detached(ALICE), "b", WRITE).unwrap();
    lab.table.write(making, 0, b"by hand").unwrap();
    assert_eq!(lab.content("b"), b"by hand");
    let other = lab.open(&detached(ALICE), "b", APPEND).unwrap();
    let written = lab.table.write(other, 0, b"x");
    assert_eq!(written, Err(Refusal::Busy));
}

#[test]
fn its_user_links_renames_and_unlinks_it() {
    for who in [detached(ALICE), alice(), unseen(ALICE)] {
        let mut lab = held();
        assert_eq!(lab.link(&who, "b", "c"), Ok(()));
        assert_eq!(lab.mv(&who, "b", "d"), Ok(()));
        assert_eq!(lab.rm(&who, "c"), Ok(()));
        assert_eq!(lab.rm(&who, "d"), Ok(()));
        assert_eq!(lab.table.boards(), 0);
    }
}

#[test]
fn others_do_not_link_or_rename_it() {
    for who in [bob(), root(), detached(BOB)] {
        let mut lab = held();
        assert_eq!(lab.link(&who, "b", "c"), Err(Refusal::NotHolder));
        assert_eq!(lab.mv(&who, "b", "c"), Err(Refusal::NotHolder));
    }
    assert_eq!(held().rm(&bob(), "b"), Err(Refusal::NotYours));
    assert_eq!(held().rm(&root(), "b"), Ok(()));
}

#[test]
fn nobody_renames_over_it() {
    let mut lab = held();
    lab.touch(&alice(), "mine").unwrap();
    assert_eq!(lab.mv(&alice(), "mine", "b"), Err(Refusal::Busy));
    lab.touch(&detached(ALICE), "c").unwrap();
    assert_eq!(lab.mv(&detached(ALICE), "c", "b"), Err(Refusal::Busy));
}

#[test]
fn of_the_exceptions_of_release_copying_over_it_alone_stays() {
    for tool in ["cp", "mv", "install", "ln", "rsync", "sed"] {
        let took = held().rm(&alices_other_job().by(tool), "b");
        assert_eq!(took, Err(Refusal::UnlinksToTake), "{tool}");
    }
    // Lock tools give back by the same name that they take by, and a user who
    // found it taken may be the one who has it.
    for tool in ["dotlockfile", "lockfile", "rm"] {
        let mut lab = held();
        let _ = lab.touch(&alices_other_job(), "b");
        assert_eq!(lab.rm(&alices_other_job().by(tool), "b"), Ok(()), "{tool}");
    }
}

#[test]
fn its_user_changes_expiry_and_note_by_attribute() {
    let mut lab = held();
    let ino = lab.ino("b");
    let at = Some(START + 60);
    let now = lab.now;
    assert_eq!(lab.table.set_expires(&now, &alice(), ino, at, None), Ok(()));
    let note = Some(b"rack is warm".to_vec());
    assert_eq!(
        lab.table.set_note(&alice(), ino, note.clone(), None),
        Ok(())
    );
    let status = lab.status("b");
    assert_eq!(status.expires, Some(Timestamp::from_secs(START + 60)));
    assert_eq!(Some(status.note), note);
    let refused = Err(Refusal::NotPermitted);
    assert_eq!(lab.table.set_expires(&now, &bob(), ino, at, None), refused);
    assert_eq!(lab.table.set_note(&bob(), ino, note, None), refused);
    lab.effects();
    lab.pass(60);
    assert_eq!(lab.released(), [("b".to_owned(), End::Expired)]);
}

#[test]
fn it_is_free_when_its_expiry_passes_and_not_with_any_process() {
    let mut lab = Lab::with_lease(60);
    lab.touch(&detached(ALICE), "b").unwrap();
    lab.died(SCRIPT);
    lab.pass(59);
    assert!(!lab.is_free("b"));
    lab.pass(1);
    assert!(lab.is_free("b"));
}

#[test]
fn an_expiry_in_the_past_ends_it_at_once() {
    let mut lab = held();
    let ino = lab.ino("b");
    lab.table
        .set_expires(&lab.now, &alice(), ino, Some(START), None)
        .unwrap();
    assert!(lab.is_free("b"));
}

#[test]
fn a_pid_written_into_it_makes_that_process_the_holder() {
    let mut lab = Lab::with_lease(60);
    let handle = lab.create(&detached(ALICE), "b", WRITE).unwrap();
    let kept = lab.table.write(handle, 0, b"100\n").unwrap();
    lab.effects();
    let script = Named::Process(candidate(ALICE, &[SCRIPT]));
    lab.table.name(&lab.now, &kept, script);
    assert_eq!(lab.holder("b"), SCRIPT);
    assert_eq!(lab.watched(), (vec![SCRIPT], vec![]));
    // a living holder keeps it past the lease
    lab.pass(61);
    assert_eq!(lab.status("b").state, State::Overdue);
    lab.died(SCRIPT);
    assert!(lab.is_free("b"));
}

#[test]
fn who_left_it_to_its_user_sets_its_times_no_more() {
    let mut lab = Lab::new();
    let program = alices_child();
    lab.touch(&program, "b").unwrap();
    let handle = lab.open(&program, "b", APPEND).unwrap();
    let kept = lab.table.write(handle, 0, b"0 0").unwrap();
    lab.table.name(&lab.now, &kept, Named::Detached);
    let set = lab.utimens(&program, "b", SetTime::Now);
    assert_eq!(set, Err(Refusal::Busy));
}

#[test]
fn its_user_has_its_lease_begin_anew() {
    let mut lab = Lab::with_lease(60);
    lab.touch(&detached(ALICE), "b").unwrap();
    let ino = lab.ino("b");
    lab.pass(50);
    let now = lab.now;
    assert_eq!(lab.table.renew(&now, &alice(), ino), Ok(()));
    assert_eq!(lab.status("b").expires_in, Some(60));
    assert_eq!(
        lab.table.renew(&now, &bob(), ino),
        Err(Refusal::NotPermitted)
    );
    // An expiry of its own gives way to a later one only.
    for (own, after) in [(30, 60), (90, 90)] {
        let at = Some(now.wall.secs + own);
        assert_eq!(lab.table.set_expires(&now, &alice(), ino, at, None), Ok(()));
        assert_eq!(lab.table.renew(&now, &alice(), ino), Ok(()));
        assert_eq!(lab.status("b").expires_in, Some(after));
    }
}

#[test]
fn without_a_lease_there_is_none_to_begin_anew() {
    let mut lab = held();
    let ino = lab.ino("b");
    let now = lab.now;
    assert_eq!(
        lab.table.renew(&now, &alice(), ino),
        Err(Refusal::NoAttribute)
    );
    assert_eq!(lab.status("b").expires, None);
}
