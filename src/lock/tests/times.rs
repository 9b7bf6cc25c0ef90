//! "Metadata": times.

use std::time::Duration;

use super::cast::*;
use super::lab::*;
use crate::lock::attributes::{Change, SetTime};
use crate::lock::content::Named;
use crate::lock::time::{Expiry, Timestamp};

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(START + secs)
}

fn held() -> Lab {
    let mut lab = Lab::new();
    lab.touch(&alice(), "b").unwrap();
    lab
}

#[test]
fn without_an_expiry_mtime_is_now() {
    let mut lab = held();
    lab.pass(100_000);
    assert_eq!(lab.stat("b").mtime, lab.now.wall);
}

#[test]
fn with_an_expiry_mtime_is_that() {
    let mut lab = Lab::with_lease(60);
    lab.touch(&alice(), "b").unwrap();
    lab.pass(10);
    assert_eq!(lab.stat("b").mtime, at(60));
}

#[test]
fn past_its_expiry_mtime_is_now() {
    let mut lab = Lab::with_lease(60);
    lab.touch(&alice(), "b").unwrap();
    lab.touch_at(&alice(), "c", SetTime::To(at(60))).unwrap();
    lab.pass(100);
    for name in ["b", "c"] {
        assert_eq!(lab.stat(name).mtime, lab.now.wall);
    }
}

#[test]
fn the_change_time_is_the_acquisition() {
    let mut lab = held();
    lab.pass(50);
    lab.touch(&alice(), "b").unwrap();
    lab.echo(&alice(), "b", "note", None);
    assert_eq!(lab.stat("b").ctime, at(0));
}

#[test]
fn what_the_holder_sets_reads_back_exactly() {
    for moment in [
        at(-86_400),
        at(0),
        at(2),
        at(7200),
        Timestamp {
            secs: START + 500,
            nanos: 123_456_789,
        },
        Timestamp::from_secs(-1),
    ] {
        let mut lab = held();
        let times = Change {
            atime: Some(SetTime::To(at(-7))),
            mtime: Some(SetTime::To(moment)),
            ..Change::default()
        };
        lab.change(&alice(), "b", &times).unwrap();
        lab.pass(1);
        let shown = lab.stat("b");
        assert_eq!((shown.atime, shown.mtime), (at(-7), moment));
    }
}

#[test]
fn times_are_set_one_by_one() {
    let mut lab = held();
    let atime = Change {
        atime: Some(SetTime::To(at(-7))),
        ..Change::default()
    };
    lab.change(&alice(), "b", &atime).unwrap();
    lab.pass(5);
    let shown = lab.stat("b");
    assert_eq!((shown.atime, shown.mtime), (at(-7), lab.now.wall));
}

#[test]
fn more_than_two_seconds_ahead_it_is_the_expiry() {
    let just_more = Timestamp {
        secs: START + 2,
        nanos: 1,
    };
    for (moment, expires) in [
        (at(0), None),
        (at(2), None),
        (just_more, Some(just_more)),
        (at(7200), Some(at(7200))),
    ] {
        let mut lab = held();
        lab.utimens(&alice(), "b", SetTime::To(moment)).unwrap();
        let claim = lab.table.claim(lab.ino("b")).unwrap();
        assert_eq!(claim.expiry, expires.map(Expiry::At));
    }
}

#[test]
fn a_time_ahead_is_an_expiry_on_files_alone() {
    let mut lab = Lab::new();
    lab.mkdir(&alice(), "d").unwrap();
    lab.symlink(&alice(), "x", "s").unwrap();
    for name in ["d", "s"] {
        lab.utimens(&alice(), name, SetTime::To(at(7200))).unwrap();
        assert_eq!(lab.status(name).expires, None);
        assert_eq!(lab.stat(name).mtime, at(7200));
    }
}

#[test]
fn a_plain_touch_leaves_an_absolute_expiry_alone() {
    let mut lab = held();
    lab.utimens(&alice(), "b", SetTime::To(at(7200))).unwrap();
    lab.touch(&alice(), "b").unwrap();
    assert_eq!(lab.stat("b").mtime, at(7200));
}

#[test]
fn a_plain_touch_ends_a_time_that_was_set() {
    let mut lab = held();
    lab.utimens(&alice(), "b", SetTime::To(at(-100))).unwrap();
    lab.touch(&alice(), "b").unwrap();
    assert_eq!(lab.stat("b").mtime, lab.now.wall);
}

#[test]
fn a_later_expiry_shows_however_it_was_set() {
    let renew: [fn(&mut Lab); 2] = [
        |lab| {
            let ino = lab.ino("b");
            let until = Some(START + 5000);
            let set = lab.table.set_expires(&lab.now, &alice(), ino, until, None);
            set.unwrap();
        },
        |lab| {
            let script = Named::Process(candidate(ALICE, &[SCRIPT]));
            lab.echo(&alice(), "b", "1000005000 100", Some(script));
        },
    ];
    for renew in renew {
        let mut lab = held();
        lab.utimens(&alice(), "b", SetTime::To(at(60))).unwrap();
        renew(&mut lab);
        assert_eq!(lab.stat("b").mtime, at(5000));
        // the first time has passed: the lock must not look old
        lab.pass(100);
        assert_eq!(lab.stat("b").mtime, at(5000));
    }
}

#[test]
fn an_expiry_taken_back_shows_no_more() {
    let mut lab = held();
    lab.utimens(&alice(), "b", SetTime::To(at(60))).unwrap();
    let script = Named::Process(candidate(ALICE, &[SCRIPT]));
    lab.echo(&alice(), "b", "0 100", Some(script));
    assert_eq!(lab.status("b").expires, None);
    lab.pass(100);
    assert_eq!(lab.stat("b").mtime, lab.now.wall);
}

#[test]
fn times_end_with_the_hold() {
    let mut lab = held();
    let open = lab.open(&alice(), "b", READ).unwrap();
    lab.utimens(&alice(), "b", SetTime::To(at(-60))).unwrap();
    lab.rm(&alice(), "b").unwrap();
    lab.touch(&bob(), "b").unwrap();
    assert_eq!(lab.fstat(open).mtime, lab.now.wall);
    assert_eq!(lab.fstat(open).user, BOB);
}

#[test]
fn a_span_beyond_all_moments_comes_to_the_last_one() {
    let moment = Timestamp::from_secs(-1);
    let span = Duration::from_secs(u64::MAX);
    assert_eq!(moment.plus(span).secs, i64::MAX);
}
