//! "Metadata": the status.

use super::cast::*;
use super::lab::*;
use crate::lock::attributes::SetTime;
use crate::lock::content::Named;
use crate::lock::ids::Ino;
use crate::lock::record::State;
use crate::lock::time::Timestamp;

const KEYS: [&str; 14] = [
    "board",
    "state",
    "holder",
    "uid",
    "pid",
    "command",
    "via",
    "since",
    "expires",
    "expires_in_seconds",
    "token",
    "waiters",
    "note",
    "lock",
];

fn keys(text: &str) -> Vec<&str> {
    text.lines()
        .skip(1)
        .map(|line| line.split(' ').next().unwrap())
        .collect()
}

fn value<'a>(text: &'a str, key: &str) -> &'a str {
    let line = text
        .lines()
        .skip(1)
        .find(|line| line.split(' ').next() == Some(key));
    line.unwrap().split_once(' ').unwrap().1
}

#[test]
fn of_a_held_board_it_reads_so() {
    let mut lab = Lab::new();
    lab.touch(&alice(), "b").unwrap();
    lab.pass(30);
    assert_eq!(
        lab.status("b").render(|_| "alice".to_owned()),
        "0 100\n\
         board b\n\
         state held\n\
         holder alice\n\
         uid 1000\n\
         pid 100\n\
         command /bin/sh ./job100\n\
         via touch\n\
         since 2001-09-09T01:46:40Z\n\
         expires -\n\
         expires_in_seconds -\n\
         token 1\n\
         waiters 0\n\
         note -\n\
         lock -\n"
    );
}

#[test]
fn of_a_leased_board_it_reads_so() {
    let mut lab = Lab::with_lease(90);
    lab.mkdir(&alice(), "rack1").unwrap();
    let ino = lab.touch(&alice(), "rack1/beagle").unwrap();
    lab.table
        .set_note(&alice(), ino, Some(b"hot\nfan".to_vec()), None)
        .unwrap();
    lab.pass(30);
    assert_eq!(
        lab.status("rack1/beagle").render(|_| "alice".to_owned()),
        "1000000090 100\n\
         board rack1/beagle\n\
         state held\n\
         holder alice\n\
         uid 1000\n\
         pid 100\n\
         command /bin/sh ./job100\n\
         via touch\n\
         since 2001-09-09T01:46:40Z\n\
         expires 2001-09-09T01:48:10Z\n\
         expires_in_seconds 60\n\
         token 2\n\
         waiters 0\n\
         note hot\\nfan\n\
         lock -\n"
    );
}

#[test]
fn once_overdue_the_first_line_says_0() {
    let mut lab = Lab::with_lease(90);
    lab.touch(&alice(), "b").unwrap();
    lab.pass(100);
    let text = lab.status("b").render(|_| "alice".to_owned());
    assert!(text.starts_with("0 100\n"));
    assert_eq!(value(&text, "state"), "overdue");
    assert_eq!(value(&text, "expires"), "2001-09-09T01:48:10Z");
    assert_eq!(value(&text, "expires_in_seconds"), "-10");
    assert_eq!(keys(&text), KEYS);
}

#[test]
fn of_a_detached_board_the_pid_is_0() {
    let mut lab = Lab::with_lease(90);
    lab.touch(&detached(ALICE), "b").unwrap();
    let text = lab.status("b").render(|_| "alice".to_owned());
    assert!(text.starts_with("1000000090 0\n"));
    assert_eq!(value(&text, "state"), "detached");
    assert_eq!(value(&text, "holder"), "alice");
    assert_eq!(value(&text, "pid"), "-");
    assert_eq!(value(&text, "command"), "-");
    assert_eq!(keys(&text), KEYS);
}

#[test]
fn of_a_board_that_is_free_again_every_key_is_there() {
    let mut lab = Lab::new();
    let handle = lab.create(&alice(), "b", READ).unwrap();
    lab.rm(&alice(), "b").unwrap();
    let ino = lab.table.opened(handle).unwrap();
    let status = lab.table.status(ino, &lab.now);
    assert_eq!(status.state, State::Free);
    let text = status.render(|_| "".to_owned());
    assert!(text.starts_with("0 0\nboard b\nstate free\nholder -\n"));
    assert_eq!(keys(&text), [&KEYS[..], &["ended"]].concat());
}

#[test]
fn of_an_inode_that_is_no_more_nothing_is_told() {
    let lab = Lab::new();
    let status = lab.table.status(Ino(999), &lab.now);
    assert_eq!((status.state, status.board), (State::Free, Vec::new()));
}

#[test]
fn no_value_can_forge_a_line() {
    let mut lab = Lab::new();
    let ino = lab.touch(&alice(), "b\\x\u{2028}y").unwrap();
    let note = b"a\nstate free\n\x1b[31m\xff".to_vec();
    lab.table.set_note(&alice(), ino, Some(note), None).unwrap();
    let text = lab
        .table
        .status(ino, &lab.now)
        .render(|_| "al\nice".to_owned());
    assert_eq!(keys(&text), KEYS);
    assert_eq!(value(&text, "board"), r"b\\x\u{2028}y");
    assert_eq!(value(&text, "holder"), r"al\nice");
    let note = value(&text, "note");
    assert_eq!(note, r"a\nstate free\n\x1b[31m\xff");
}

#[test]
fn its_size_is_0() {
    let mut lab = Lab::new();
    lab.touch(&alice(), "b").unwrap();
    assert_eq!(lab.stat("b").size, 0);
}

#[test]
fn what_names_nobody_is_shown_as_a_note_and_a_note_that_was_set_before_it() {
    let mut lab = Lab::new();
    lab.echo(&alice(), "b", "  flashing 3.4 \n", None);
    assert_eq!(lab.status("b").note, b"flashing 3.4");
    lab.echo(&alice(), "b", "0\n", None);
    assert_eq!(lab.status("b").note, b"0");
    let ino = lab.ino("b");
    let note = Some(b"set".to_vec());
    lab.table.set_note(&alice(), ino, note, None).unwrap();
    assert_eq!(lab.status("b").note, b"set");
    lab.table.set_note(&alice(), ino, None, None).unwrap();
    assert_eq!(lab.status("b").note, b"0");
    // a pid that does not count, and one that does
    lab.echo(&alice(), "b", "0 100", None);
    assert_eq!(lab.status("b").note, b"0 100");
    lab.echo(&alice(), "b", "0 0", Some(Named::Detached));
    assert_eq!(lab.status("b").note, b"");
}

#[test]
fn a_time_beyond_the_year_9999_is_no_expiry() {
    let mut lab = Lab::new();
    let far = Timestamp::from_secs(400_000_000_000);
    lab.touch_at(&alice(), "b", SetTime::To(far)).unwrap();
    let text = lab.status("b").render(|_| "alice".to_owned());
    assert!(text.starts_with("0 100\n"), "{text}");
    assert_eq!(lab.stat("b").mtime, far, "it reads back all the same");
}
