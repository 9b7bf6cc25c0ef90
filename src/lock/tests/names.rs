//! "Refused": names and quotas.

use super::cast::*;
use super::lab::*;
use crate::lock::Refusal;
use crate::lock::acquire::Make;
use crate::lock::ids::Ino;
use crate::lock::options::Options;

fn make(lab: &mut Lab, name: &[u8]) -> Result<(), Refusal> {
    let at = (Ino::ROOT, name);
    let made = lab
        .table
        .make(&lab.now, &alice(), at, Make::File, true, None);
    made.map(|_| ())
}

#[test]
fn names_with_control_characters_are_refused() {
    for name in [
        &b"a\nb"[..],
        b"\x01",
        b"a\x1b[31m",
        b"a\x7f",
        b"tab\t",
        b"nul\0",
        "c1 \u{85}".as_bytes(),
        "c1 \u{9b}31m".as_bytes(),
        b"\xff\x1b",
        b"\xff\xc2\x9b31m",
    ] {
        assert_eq!(make(&mut Lab::new(), name), Err(Refusal::BadName));
        let mut lab = Lab::new();
        lab.touch(&alice(), "b").unwrap();
        let (ino, new) = (lab.ino("b"), (Ino::ROOT, name));
        let linked = lab.table.link(&lab.now, &alice(), ino, new);
        assert_eq!(linked, Err(Refusal::BadName));
        let old = (Ino::ROOT, &b"b"[..]);
        let kind = crate::lock::rename::RenameKind::Replace;
        let renamed = lab.table.rename(&lab.now, &alice(), old, new, kind);
        assert_eq!(renamed, Err(Refusal::BadName));
    }
}

#[test]
fn other_names_are_not() {
    for name in [
        &b"beagle-1.lock"[..],
        b" ",
        b"-rf",
        b"a b",
        b"\\",
        "br\u{fc}cke".as_bytes(),
        "\u{677f}".as_bytes(),
        b"latin1 \xfc",
        b"\xff\xfe",
        b"\xed\xa0\x80",
    ] {
        let mut lab = Lab::new();
        assert_eq!(make(&mut lab, name), Ok(()), "{name:?}");
        assert!(lab.table.lookup(Ino::ROOT, name).is_ok());
    }
}

#[test]
fn names_have_at_most_255_bytes() {
    let mut lab = Lab::new();
    let long = vec![b'x'; 256];
    assert_eq!(make(&mut lab, &long), Err(Refusal::LongName));
    assert_eq!(lab.table.lookup(Ino::ROOT, &long), Err(Refusal::LongName));
    let unlinked = lab
        .table
        .unlink(&lab.now, &alice(), (Ino::ROOT, &long), false);
    assert_eq!(unlinked, Err(Refusal::LongName));
    assert_eq!(make(&mut lab, &long[..255]), Ok(()));
    assert!(lab.table.lookup(Ino::ROOT, &long[..255]).is_ok());
}

#[test]
fn over_a_users_quota_it_is_the_user_who_is_full() {
    let mut lab = Lab::with(Options {
        max_per_user: 2,
        ..Options::default()
    });
    lab.touch(&alice(), "a").unwrap();
    lab.touch(&alices_other_job(), "b").unwrap();
    for who in [alice(), detached(ALICE), alices_child()] {
        assert_eq!(lab.touch(&who, "c"), Err(Refusal::UserFull));
        assert_eq!(lab.mkdir(&who, "c"), Err(Refusal::UserFull));
    }
    assert_eq!(lab.link(&alice(), "a", "c"), Err(Refusal::UserFull));
    // a rename needs no more room, others have their own, what is freed counts
    assert_eq!(lab.mv(&alice(), "a", "c"), Ok(()));
    assert!(lab.touch(&bob(), "x").is_ok());
    lab.died(OTHER_JOB);
    assert_eq!(lab.link(&alice(), "c", "a"), Ok(()));
    assert_eq!(lab.touch(&alice(), "b"), Err(Refusal::UserFull));
    lab.died(SCRIPT);
    assert!(lab.touch(&alices_other_job(), "b").is_ok());
}

#[test]
fn over_all_it_is_the_directory_that_is_full() {
    let mut lab = Lab::with(Options {
        max_boards: 2,
        ..Options::default()
    });
    lab.touch(&alice(), "a").unwrap();
    lab.touch(&bob(), "b").unwrap();
    assert_eq!(lab.touch(&root(), "c"), Err(Refusal::TableFull));
    assert_eq!(lab.link(&bob(), "b", "c"), Err(Refusal::TableFull));
    assert_eq!(lab.exclusive(&bob(), "a"), Err(Refusal::Exists));
    lab.rm(&alice(), "a").unwrap();
    assert!(lab.touch(&root(), "c").is_ok());
}

#[test]
fn a_replaced_board_gives_its_room_back() {
    let mut lab = Lab::with(Options {
        max_per_user: 2,
        ..Options::default()
    });
    lab.touch(&alice(), "a").unwrap();
    lab.touch(&alice(), "b").unwrap();
    lab.mv(&alice(), "a", "b").unwrap();
    assert!(lab.touch(&alice(), "c").is_ok());
    assert_eq!(lab.touch(&alice(), "d"), Err(Refusal::UserFull));
}

#[test]
fn nobody_uses_up_anothers_quota() {
    let mut lab = Lab::with(Options {
        max_per_user: 1,
        ..Options::default()
    });
    lab.touch(&alices_sudo(), "a").unwrap();
    assert!(lab.touch(&alice(), "b").is_ok());
}

#[test]
fn no_path_is_longer_than_a_call_can_name() {
    let mut lab = Lab::new();
    let mut path = "d".repeat(200);
    lab.mkdir(&alice(), &path).unwrap();
    while path.len() + 201 <= 4095 {
        path = format!("{path}/{}", "d".repeat(200));
        lab.mkdir(&alice(), &path).unwrap();
    }
    let left = 4095 - path.len() - 1;
    let last = format!("{path}/{}", "b".repeat(left));
    assert_eq!(
        lab.touch(&alice(), &format!("{last}b")),
        Err(Refusal::LongName)
    );
    assert!(lab.touch(&alice(), &last).is_ok());
    // Nor does one become so when what it is in moves.
    let top = "d".repeat(200);
    lab.mkdir(&alice(), "e").unwrap();
    assert_eq!(
        lab.mv(&alice(), &top, &format!("e/{top}")),
        Err(Refusal::LongName)
    );
    assert!(lab.mv(&alice(), &top, "f").is_ok());
}
