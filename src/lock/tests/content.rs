//! "Metadata": what is written.

use super::cast::*;
use super::lab::*;
use crate::lock::Refusal;
use crate::lock::content::{CONTENT_MAX, Named};
use crate::lock::effect::Effect;
use crate::lock::record::{State, Written, judge};
use crate::lock::time::{Expiry, Timestamp};

fn script() -> Option<Named> {
    Some(Named::Process(candidate(ALICE, &[SCRIPT])))
}

fn child() -> Option<Named> {
    Some(Named::Process(candidate(ALICE, &[CHILD])))
}

#[test]
fn it_is_kept_and_read_back_unchanged() {
    let mut lab = Lab::new();
    let text = "any\x07thing\n\u{fc}\0";
    lab.echo(&alice(), "b", text, None);
    assert_eq!(lab.content("b"), text.as_bytes());
    assert_eq!(lab.stat("b").size, text.len() as u64);
}

#[test]
fn four_kib_are_kept_and_no_more() {
    let mut lab = Lab::new();
    let handle = lab.create(&alice(), "b", WRITE).unwrap();
    let full = vec![b'x'; CONTENT_MAX];
    assert!(lab.table.write(handle, 0, &full).is_ok());
    let too_large = Err(Refusal::TooLarge);
    assert_eq!(lab.table.write(handle, 4096, b"y"), too_large);
    assert_eq!(lab.table.write(handle, 1, &full), too_large);
    assert_eq!(lab.table.write(handle, u64::MAX, b"y"), too_large);
    assert_eq!(lab.truncate(&alice(), "b", 4097), Err(Refusal::TooLarge));
    let truncated = lab.ftruncate(&alice(), handle, u64::MAX);
    assert_eq!(truncated, Err(Refusal::TooLarge));
    assert_eq!(lab.content("b"), full);
    let append = lab.open(&alice(), "b", APPEND).unwrap();
    assert_eq!(lab.table.write(append, 0, b"y"), too_large);
    assert_eq!(lab.truncate(&alice(), "b", 4096), Ok(()));
}

#[test]
fn writes_may_leave_holes_and_overwrite() {
    let mut lab = Lab::new();
    let handle = lab.create(&alice(), "b", WRITE).unwrap();
    lab.table.write(handle, 2, b"cd").unwrap();
    assert_eq!(lab.content("b"), b"\0\0cd");
    lab.table.write(handle, 0, b"ab").unwrap();
    assert_eq!(lab.content("b"), b"abcd");
    lab.ftruncate(&alice(), handle, 1).unwrap();
    assert_eq!(lab.content("b"), b"a");
}

#[test]
fn it_is_judged_as_a_whole_after_each_write() {
    let mut lab = Lab::new();
    let handle = lab.create(&alice(), "b", WRITE).unwrap();
    let kept = lab.table.write(handle, 0, b"12").unwrap();
    assert_eq!(kept.written, Written::Pid(12));
    let kept = lab.table.write(handle, 2, b"34\n").unwrap();
    assert_eq!(kept.written, Written::Pid(1234));
    let kept = lab.table.write(handle, 5, b"job").unwrap();
    assert_eq!(kept.written, Written::Note);
}

#[test]
fn one_number_is_a_pid_two_are_expiry_and_pid_the_rest_a_note() {
    let both = |expiry, pid| Written::Both { expiry, pid };
    for (text, meaning) in [
        ("", Written::Nothing),
        ("1234", Written::Pid(1234)),
        ("      1234\n", Written::Pid(1234)),
        ("1234\r\n", Written::Pid(1234)),
        ("0", Written::Note),
        ("0\n", Written::Note),
        ("1700000000 1234", both(Some(1_700_000_000), Some(1234))),
        ("1700000000\n1234\n", both(Some(1_700_000_000), Some(1234))),
        ("0 1234", both(None, Some(1234))),
        ("1700000000 0", both(Some(1_700_000_000), None)),
        ("0 0\n", both(None, None)),
        ("253402300799 5", both(Some(253_402_300_799), Some(5))),
        ("253402300800 5", Written::Note),
        ("1 2 3", Written::Note),
        ("-5", Written::Note),
        ("+5", Written::Note),
        ("5.0", Written::Note),
        ("0x10", Written::Note),
        ("5\0", Written::Note),
        ("18446744073709551615", Written::Pid(u64::MAX)),
        ("18446744073709551616", Written::Note),
        ("5 18446744073709551616", Written::Note),
        ("lab42 1234", Written::Note),
        ("\u{661}", Written::Note),
        (" \n", Written::Note),
    ] {
        assert_eq!(judge(text.as_bytes()), meaning, "{text:?}");
    }
    assert_eq!(judge(b"\xff 5"), Written::Note);
}

#[test]
fn the_process_that_is_named_holds_from_then_on() {
    let mut lab = Lab::new();
    lab.echo(&alice(), "b", "120\n", None);
    let token = lab.token("b");
    lab.effects();
    lab.echo(&alice(), "b", "120\n", child());
    assert_eq!((lab.holder("b"), lab.token("b")), (CHILD, token));
    let effects = lab.effects();
    let passed = effects.iter().find_map(|effect| match effect {
        Effect::Passed(held) => Some(held),
        _ => None,
    });
    assert_eq!(passed.unwrap().via, "touch (written)");
    assert_eq!(lab.status("b").command, "/bin/sh ./job120");
    lab.died(SCRIPT);
    assert_eq!(lab.holder("b"), CHILD);
    lab.died(CHILD);
    assert!(lab.is_free("b"));
}

#[test]
fn the_one_who_passed_it_on_is_the_holder_no_more() {
    let mut lab = Lab::new();
    lab.echo(&alice(), "b", "120\n", child());
    assert_eq!(lab.touch(&alice(), "b"), Err(Refusal::Busy));
    assert!(lab.touch(&alices_child(), "b").is_ok());
}

#[test]
fn watches_follow_the_named_holder() {
    let mut lab = Lab::new();
    let handle = lab.create(&alice(), "b", WRITE).unwrap();
    assert_eq!(lab.watched(), (vec![SCRIPT], vec![]));
    let kept = lab.table.write(handle, 0, b"120").unwrap();
    lab.table.name(&lab.now, &kept, child().unwrap());
    assert_eq!(lab.watched(), (vec![CHILD], vec![SCRIPT]));
    // the same again: nothing to do, nothing to tell
    lab.table.name(&lab.now, &kept, child().unwrap());
    assert!(lab.effects().is_empty());
    let kept = lab.table.write(handle, 0, b"0 0").unwrap();
    lab.table.name(&lab.now, &kept, Named::Detached);
    assert_eq!(lab.watched(), (vec![], vec![CHILD]));
}

#[test]
fn an_expiry_is_written_with_the_pid_and_0_takes_it_back() {
    let mut lab = Lab::new();
    lab.echo(&alice(), "b", "1000000060 100", script());
    let until = Some(Timestamp::from_secs(START + 60));
    assert_eq!(lab.status("b").expires, until);
    // a pid alone says nothing about time
    lab.echo(&alice(), "b", "100", script());
    assert_eq!(lab.status("b").expires, until);
    lab.echo(&alice(), "b", "0 100", script());
    assert_eq!(lab.status("b").expires, None);
}

#[test]
fn a_written_0_leaves_the_administrators_lease() {
    let mut lab = Lab::with_lease(60);
    lab.echo(&alice(), "b", "0 100", script());
    let expiry = lab.table.claim(lab.ino("b")).unwrap().expiry;
    assert!(matches!(expiry, Some(Expiry::Lease { .. })));
}

#[test]
fn pid_0_makes_it_the_users() {
    let mut lab = Lab::new();
    lab.echo(&alice(), "b", "1000000060 0", Some(Named::Detached));
    let status = lab.status("b");
    assert_eq!((status.state, status.user), (State::Detached, Some(ALICE)));
    lab.died(SCRIPT);
    assert!(!lab.is_free("b"));
    assert_eq!(lab.touch(&alice(), "b"), Err(Refusal::Busy));
    lab.pass(60);
    assert!(lab.is_free("b"));
}

#[test]
fn what_was_written_in_an_earlier_hold_names_nobody() {
    let mut lab = Lab::new();
    let handle = lab.create(&alice(), "b", WRITE).unwrap();
    let kept = lab.table.write(handle, 0, b"120").unwrap();
    lab.rm(&alice(), "b").unwrap();
    lab.touch(&bob(), "b").unwrap();
    assert_eq!(lab.table.opened(handle), Some(lab.ino("b")));
    lab.table.name(&lab.now, &kept, child().unwrap());
    assert_eq!(lab.holder("b"), BOBS);
}

#[test]
fn what_was_written_over_meanwhile_names_nobody() {
    let mut lab = Lab::new();
    let handle = lab.create(&alice(), "b", WRITE).unwrap();
    let first = lab.table.write(handle, 0, b"120").unwrap();
    let second = lab.table.write(handle, 0, b"100").unwrap();
    lab.table.name(&lab.now, &second, script().unwrap());
    lab.table.name(&lab.now, &first, child().unwrap());
    assert_eq!(lab.holder("b"), SCRIPT);
}

#[test]
fn what_is_written_into_one_board_changes_nothing_told_of_another() {
    let mut lab = Lab::new();
    lab.touch(&alice(), "a").unwrap();
    lab.touch(&alice(), "b").unwrap();
    let before = lab.status("b");
    assert_eq!(lab.status("a").command, before.command);
    lab.echo(&alice(), "a", "120", child());
    assert_eq!(lab.holder("a"), CHILD);
    assert_ne!(lab.status("a").command, before.command);
    assert_eq!(lab.status("b"), before);
    lab.echo(&alices_child(), "a", "0 0", Some(Named::Detached));
    assert_eq!(lab.status("a").command, "");
    assert_eq!(lab.status("b"), before);
    lab.died(CHILD);
    lab.died(SCRIPT);
    assert!(lab.is_free("b"));
}

#[test]
fn a_link_or_rename_in_between_does_not_lose_what_was_written() {
    let mut lab = Lab::new();
    let handle = lab.create(&alice(), "tmp", WRITE).unwrap();
    let kept = lab.table.write(handle, 0, b"120").unwrap();
    lab.link(&alice(), "tmp", "b").unwrap();
    lab.rm(&alice(), "tmp").unwrap();
    lab.table.name(&lab.now, &kept, child().unwrap());
    assert_eq!(lab.holder("b"), CHILD);
}

#[test]
fn the_users_share_stays_charged_to_whom_made_it() {
    let mut lab = Lab::new();
    let bobs = Some(Named::Process(candidate(BOB, &[BOBS])));
    lab.echo(&alice(), "b", "300", bobs);
    let node = lab.table.node(lab.ino("b")).unwrap();
    let user = node.claim.as_ref().unwrap().user;
    assert_eq!((user, node.charged), (BOB, ALICE.uid));
    assert_eq!(lab.stat("b").user, BOB);
    lab.died(BOBS);
    assert!(lab.table.room_for(ALICE.uid).is_ok());
}

#[test]
fn it_ends_with_the_hold() {
    let mut lab = Lab::new();
    lab.echo(&alice(), "b", "secret", None);
    let reader = lab.open(&bob(), "b", READ).unwrap();
    lab.rm(&alice(), "b").unwrap();
    assert_eq!(lab.fstat(reader).size, 0);
    lab.touch(&bob(), "b").unwrap();
    assert_eq!(lab.content("b"), b"");
    assert_eq!(lab.table.note(lab.ino("b")), None);
}

#[test]
fn what_a_user_leaves_half_read_is_not_all_kept() {
    let mut lab = Lab::new();
    lab.touch(&alice(), "b").unwrap();
    let text = b"0 100\n".to_vec();
    let others = lab.open(&alices_child(), "b", READ).unwrap();
    lab.table.set_snapshot(others, text.clone());
    let handles: Vec<_> = (0..1000)
        .map(|_| {
            let handle = lab.open(&bob(), "b", READ).unwrap();
            lab.table.set_snapshot(handle, text.clone());
            handle
        })
        .collect();
    let kept = |lab: &Lab| {
        let kept = handles
            .iter()
            .filter(|handle| !lab.table.wants_snapshot(**handle, 2));
        kept.count()
    };
    assert_eq!(kept(&lab), 256);
    assert!(lab.table.wants_snapshot(handles[0], 2));
    assert!(!lab.table.wants_snapshot(handles[999], 2));
    // Another's are not touched.
    assert_eq!(lab.table.read(others, 2, 10), b"100\n");
    // One that is read on is kept again.
    lab.table.set_snapshot(handles[0], text.clone());
    assert_eq!(lab.table.read(handles[0], 2, 10), b"100\n");
    assert_eq!(kept(&lab), 256);
    for handle in handles {
        lab.close(handle);
    }
    lab.close(others);
    lab.rm(&alice(), "b").unwrap();
    assert_eq!(lab.table.residue(), 0);
}

#[test]
fn reads_of_one_open_are_one_snapshot() {
    let mut lab = Lab::new();
    lab.touch(&alice(), "b").unwrap();
    let handle = lab.open(&bob(), "b", READ).unwrap();
    assert!(lab.table.wants_snapshot(handle, 0));
    lab.table.set_snapshot(handle, b"0 100\nboard b\n".to_vec());
    assert_eq!(lab.table.read(handle, 0, 5), b"0 100");
    lab.echo(&alice(), "b", "changed", None);
    assert!(!lab.table.wants_snapshot(handle, 5));
    assert_eq!(lab.table.read(handle, 5, 4096), b"\nboard b\n");
    assert_eq!(lab.table.read(handle, 14, 10), b"");
    assert_eq!(lab.table.read(handle, u64::MAX, 10), b"");
}
