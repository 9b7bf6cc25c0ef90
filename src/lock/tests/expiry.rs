//! "Release": the expiry passes.

use std::time::Duration;

use super::cast::*;
use super::lab::*;
use crate::lock::Refusal;
use crate::lock::attributes::SetTime;
use crate::lock::content::Named;
use crate::lock::effect::End;
use crate::lock::options::{ExpireRule, Options};
use crate::lock::record::State;
use crate::lock::time::{BootTime, Timestamp};

fn until(secs: i64) -> SetTime {
    SetTime::To(Timestamp::from_secs(START + secs))
}

#[test]
fn one_whose_holder_lives_stays_and_is_overdue() {
    let mut lab = Lab::with_lease(60);
    lab.touch(&alice(), "b").unwrap();
    lab.pass(59);
    assert_eq!(lab.status("b").state, State::Held);
    lab.pass(1);
    let status = lab.status("b");
    assert_eq!((status.state, status.expires_in), (State::Overdue, Some(0)));
    lab.pass(10);
    assert_eq!(lab.status("b").expires_in, Some(-10));
    assert_eq!(lab.touch(&bob(), "b"), Err(Refusal::Busy));
    lab.died(SCRIPT);
    assert!(lab.is_free("b"));
}

#[test]
fn with_expire_hard_it_is_freed() {
    let mut lab = Lab::with_hard_lease(60);
    lab.touch(&alice(), "b").unwrap();
    lab.effects();
    lab.pass(60);
    assert!(lab.is_free("b"));
    assert_eq!(lab.released(), [("b".to_owned(), End::Expired)]);
    assert!(!lab.table.hangs_on(process(SCRIPT)));
}

#[test]
fn a_plain_touch_renews_a_lease() {
    let mut lab = Lab::with_hard_lease(60);
    lab.touch(&alice(), "b").unwrap();
    for _ in 0..3 {
        lab.pass(50);
        lab.touch(&alice(), "b").unwrap();
        assert_eq!(lab.status("b").expires_in, Some(60));
    }
    lab.pass(59);
    assert!(!lab.is_free("b"));
    lab.pass(1);
    assert!(lab.is_free("b"));
}

#[test]
fn a_plain_touch_renews_an_overdue_lease() {
    let mut lab = Lab::with_lease(60);
    lab.touch(&alice(), "b").unwrap();
    lab.pass(100);
    lab.touch(&alice(), "b").unwrap();
    assert_eq!(lab.status("b").state, State::Held);
}

#[test]
fn the_touch_of_another_renews_nothing() {
    let mut lab = Lab::with_lease(60);
    lab.touch(&alice(), "b").unwrap();
    lab.pass(50);
    assert_eq!(lab.touch(&alices_other_job(), "b"), Err(Refusal::Busy));
    assert_eq!(lab.status("b").expires_in, Some(10));
}

#[test]
fn reading_and_setting_another_time_renew_nothing() {
    let mut lab = Lab::with_lease(60);
    lab.touch(&alice(), "b").unwrap();
    lab.pass(50);
    lab.open(&alice(), "b", READ).unwrap();
    lab.utimens(&alice(), "b", until(-1000)).unwrap();
    assert_eq!(lab.status("b").expires_in, Some(10));
}

#[test]
fn a_lease_does_not_care_what_the_wall_clock_is_set_to() {
    let mut lab = Lab::with_hard_lease(60);
    lab.touch(&alice(), "b").unwrap();
    lab.set_clock(START + 100_000);
    assert_eq!(lab.status("b").expires_in, Some(60));
    lab.set_clock(START - 100_000);
    assert_eq!(lab.status("b").expires_in, Some(60));
    lab.pass(60);
    assert!(lab.is_free("b"));
}

#[test]
fn an_absolute_expiry_follows_the_wall_clock() {
    let mut lab = Lab::new();
    lab.touch_at(&detached(ALICE), "b", until(3600)).unwrap();
    lab.set_clock(START - 3600);
    assert_eq!(lab.status("b").expires_in, Some(7200));
    lab.pass(3600);
    assert!(!lab.is_free("b"));
    lab.set_clock(START + 3600);
    assert!(lab.is_free("b"));
}

#[test]
fn a_clock_set_back_takes_overdue_back() {
    let mut lab = Lab::new();
    lab.touch_at(&alice(), "b", until(10)).unwrap();
    lab.pass(11);
    assert_eq!(lab.status("b").state, State::Overdue);
    lab.set_clock(START);
    assert_eq!(lab.status("b").state, State::Held);
}

#[test]
fn the_next_deadlines_are_those_of_claims_that_time_ends() {
    let mut lab = Lab::with_lease(60);
    lab.touch(&alice(), "keeps").unwrap();
    assert_eq!(lab.table.next_deadlines(), (None, None));
    lab.touch(&detached(ALICE), "a").unwrap();
    lab.pass(5);
    lab.touch(&detached(ALICE), "b").unwrap();
    lab.touch_at(&detached(ALICE), "c", until(500)).unwrap();
    let (boot, wall) = lab.table.next_deadlines();
    assert_eq!(boot, Some(BootTime(Duration::from_secs(5060))));
    assert_eq!(wall, Some(Timestamp::from_secs(START + 500)));
    lab.rm(&detached(ALICE), "a").unwrap();
    let (boot, _) = lab.table.next_deadlines();
    assert_eq!(boot, Some(BootTime(Duration::from_secs(5065))));
    lab.rm(&detached(ALICE), "b").unwrap();
    lab.rm(&detached(ALICE), "c").unwrap();
    assert_eq!(lab.table.next_deadlines(), (None, None));
}

#[test]
fn claims_end_each_at_its_own_time() {
    let mut lab = Lab::new();
    for (name, secs) in [("a", 30), ("b", 10), ("c", 20)] {
        lab.touch_at(&detached(ALICE), name, until(secs)).unwrap();
    }
    lab.effects();
    lab.pass(20);
    let ended: Vec<String> = lab.released().into_iter().map(|(name, _)| name).collect();
    assert_eq!(ended, ["b", "c"]);
    assert!(!lab.is_free("a"));
}

#[test]
fn a_board_that_expired_and_was_made_again_has_a_new_expiry() {
    let mut lab = Lab::with_hard_lease(60);
    lab.create(&alice(), "b", WRITE).unwrap();
    lab.pass(60);
    lab.touch(&alice(), "b").unwrap();
    lab.pass(59);
    assert!(!lab.is_free("b"));
}

#[test]
fn a_claim_left_to_its_user_past_its_expiry_is_free_at_once() {
    let mut lab = Lab::with_lease(60);
    let handle = lab.create(&alice(), "b", WRITE).unwrap();
    lab.pass(61);
    let kept = lab.table.write(handle, 0, b"0 0").unwrap();
    lab.table.name(&lab.now, &kept, Named::Detached);
    assert!(lab.is_free("b"));
}

#[test]
fn an_expiry_in_the_past_overdues_or_frees_a_living_holders_board() {
    for (expire, free) in [(ExpireRule::Keep, false), (ExpireRule::Hard, true)] {
        let mut lab = Lab::with(Options {
            expire,
            ..Options::default()
        });
        let ino = lab.touch(&alice(), "b").unwrap();
        lab.table
            .set_expires(&lab.now, &alice(), ino, Some(1), None)
            .unwrap();
        assert_eq!(lab.is_free("b"), free);
    }
}

#[test]
fn an_expiry_that_cannot_be_is_refused() {
    let mut lab = Lab::new();
    let ino = lab.touch(&alice(), "b").unwrap();
    for bad in [0, -1, 253_402_300_800, i64::MAX] {
        let set = lab
            .table
            .set_expires(&lab.now, &alice(), ino, Some(bad), None);
        assert_eq!(set, Err(Refusal::BadValue), "{bad}");
    }
    assert_eq!(lab.status("b").expires, None);
}

#[test]
fn taking_the_expiry_away_makes_it_good_for_ever() {
    let mut lab = Lab::new();
    let ino = lab.touch_at(&detached(ALICE), "b", until(60)).unwrap();
    lab.table
        .set_expires(&lab.now, &alice(), ino, None, None)
        .unwrap();
    lab.pass(100_000);
    assert!(!lab.is_free("b"));
    assert_eq!(lab.stat("b").mtime, lab.now.wall);
}

#[test]
fn endless_leases_and_far_times_do_not_overflow() {
    let mut lab = Lab::with_hard_lease(u64::MAX);
    lab.touch(&alice(), "b").unwrap();
    let far = Timestamp {
        secs: i64::MAX,
        nanos: 999_999_999,
    };
    lab.touch_at(&alice(), "c", SetTime::To(far)).unwrap();
    let early = Timestamp::from_secs(i64::MIN);
    lab.touch_at(&alice(), "d", SetTime::To(early)).unwrap();
    lab.pass(1);
    for name in ["b", "c", "d"] {
        lab.status(name).render(|_| "alice".to_owned());
        lab.stat(name);
    }
    assert_eq!(lab.stat("c").mtime, far);
    assert_eq!(lab.stat("d").mtime, early);
}

#[test]
fn a_directory_outlives_its_expiry_with_boards_in_it() {
    let mut lab = Lab::with_hard_lease(60);
    lab.mkdir(&alice(), "d").unwrap();
    lab.pass(30);
    lab.touch(&alices_child(), "d/b").unwrap();
    lab.effects();
    lab.pass(30);
    assert!(!lab.is_free("d"));
    assert_eq!(lab.watched(), (vec![], vec![SCRIPT]));
    assert_eq!(lab.holder("d/b"), CHILD);
    lab.pass(30);
    assert!(lab.is_free("d"));
}

#[test]
fn an_expiry_that_is_taken_away_leaves_the_lease() {
    let mut lab = Lab::with_lease(60);
    lab.touch(&detached(ALICE), "b").unwrap();
    let ino = lab.ino("b");
    lab.table
        .set_expires(&lab.now, &alice(), ino, None, None)
        .unwrap();
    lab.pass(61);
    assert!(lab.is_free("b"), "nobody holds longer than a lease");
    lab.echo(&alice(), "c", "1999999999 0", Some(Named::Detached));
    let handle = lab.create(&alice(), "d", TRUNCATE).unwrap();
    let later = lab.table.write(handle, 0, b"1999999999 100").unwrap();
    let found = candidate(ALICE, &[SCRIPT]);
    lab.table
        .name(&lab.now, &later, Named::Process(found.clone()));
    assert_eq!(lab.status("d").expires_in, Some(1_999_999_999 - START - 61));
    let back = lab.table.write(handle, 0, b"0 100          ").unwrap();
    lab.table.name(&lab.now, &back, Named::Process(found));
    assert_eq!(lab.status("d").expires_in, Some(60));
}

#[test]
fn with_expire_hard_only_who_may_release_sets_an_expiry() {
    let mut lab = Lab::with_hard_lease(60);
    lab.touch(&alice(), "b").unwrap();
    assert_eq!(
        lab.touch(&alices_other_job(), "b"),
        Err(Refusal::Busy),
        "a loser"
    );
    let ino = lab.ino("b");
    let past = Some(1);
    let set = lab
        .table
        .set_expires(&lab.now, &alices_other_job(), ino, past, None);
    assert_eq!(set, Err(Refusal::NotPermitted));
    assert_eq!(lab.holder("b"), SCRIPT);
}
