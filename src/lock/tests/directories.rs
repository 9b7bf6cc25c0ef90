//! "Directories and links": directories.

use super::cast::*;
use super::lab::*;
use crate::lock::Refusal;
use crate::lock::acquire::Make;
use crate::lock::effect::End;
use crate::lock::ids::Ino;

fn held() -> Lab {
    let mut lab = Lab::new();
    lab.mkdir(&alice(), "d").unwrap();
    lab
}

#[test]
fn a_claimed_directory_holds_boards_by_the_same_rules() {
    let mut lab = held();
    lab.echo(&alice(), "d/pid", "note", None);
    lab.symlink(&alice(), "x", "d/s").unwrap();
    lab.mkdir(&alice(), "d/e").unwrap();
    lab.touch(&alice(), "d/e/f").unwrap();
    assert_eq!(lab.holder("d/e/f"), SCRIPT);
    assert_eq!(lab.table.boards(), 5);
    assert_eq!(lab.exclusive(&alice(), "d/pid"), Err(Refusal::Exists));
    assert_eq!(lab.touch(&bob(), "d/pid"), Err(Refusal::Busy));
}

#[test]
fn boards_in_it_are_made_by_its_holders_side_only() {
    for who in [alice(), alices_subshell(), alices_child()] {
        assert!(held().touch(&who, "d/b").is_ok());
    }
    let busy = Refusal::InsideAnothers;
    for who in [bob(), alices_other_job(), root(), detached(ALICE)] {
        let mut lab = held();
        assert_eq!(lab.touch(&who, "d/b"), Err(busy));
        assert_eq!(lab.exclusive(&who, "d/b"), Err(busy));
        assert_eq!(lab.mkdir(&who, "d/b"), Err(busy));
        assert_eq!(lab.symlink(&who, "x", "d/b"), Err(busy));
        lab.touch(&who, "own").unwrap();
        assert_eq!(lab.link(&who, "own", "d/own"), Err(busy));
        assert_eq!(lab.mv(&who, "own", "d/own"), Err(busy));
        assert!(lab.table.directory(lab.ino("d")).unwrap().is_empty());
    }
}

#[test]
fn a_board_in_it_belongs_to_who_made_it() {
    let mut lab = held();
    lab.touch(&alices_child(), "d/b").unwrap();
    assert_eq!(lab.holder("d/b"), CHILD);
    assert_eq!(lab.touch(&alice(), "d/b"), Err(Refusal::Busy));
    lab.died(CHILD);
    assert!(lab.is_free("d/b"));
    assert_eq!(lab.holder("d"), SCRIPT);
}

#[test]
fn rmdir_of_one_with_boards_finds_it_not_empty() {
    let mut lab = held();
    lab.touch(&alice(), "d/b").unwrap();
    assert_eq!(lab.rmdir(&alice(), "d"), Err(Refusal::NotEmpty));
    lab.rm(&alice(), "d/b").unwrap();
    assert_eq!(lab.rmdir(&alice(), "d"), Ok(()));
    assert!(lab.is_free("d"));
}

#[test]
fn rmdir_follows_the_rules_of_release() {
    let mut lab = held();
    assert_eq!(lab.rmdir(&bob(), "d"), Err(Refusal::NotYours));
    assert_eq!(lab.mkdir(&alices_other_job(), "d"), Err(Refusal::Exists));
    let trap = alices_other_job().by("rmdir");
    assert_eq!(lab.rmdir(&trap, "d"), Err(Refusal::RefusedBefore));
    assert_eq!(lab.rmdir(&alices_child(), "d"), Ok(()));
}

#[test]
fn unlink_and_rmdir_take_what_they_are_for() {
    let mut lab = held();
    lab.touch(&alice(), "b").unwrap();
    assert_eq!(lab.rm(&alice(), "d"), Err(Refusal::IsDirectory));
    assert_eq!(lab.rmdir(&alice(), "b"), Err(Refusal::NotDirectory));
}

#[test]
fn its_holder_gone_it_goes_when_it_is_empty() {
    let mut lab = held();
    lab.touch(&alices_child(), "d/b").unwrap();
    lab.effects();
    lab.died(SCRIPT);
    assert_eq!(lab.watched(), (vec![], vec![SCRIPT]));
    assert!(!lab.is_free("d"));
    assert_eq!(lab.mkdir(&bob(), "d"), Err(Refusal::Exists));
    lab.died(CHILD);
    assert!(lab.is_free("d"));
    let released = lab.released();
    assert_eq!(released[0], ("d/b".to_owned(), End::Died));
    assert_eq!(released[1], ("d".to_owned(), End::Emptied));
    lab.mkdir(&bob(), "d").unwrap();
}

#[test]
fn without_a_holder_nobody_makes_boards_in_it() {
    let mut lab = held();
    lab.touch(&alices_child(), "d/b").unwrap();
    lab.died(SCRIPT);
    for who in [alices_child(), alice(), alices_other_job(), root()] {
        let made = lab.exclusive(&who, "d/c");
        assert_eq!(made, Err(Refusal::InsideAnothers));
    }
    // what is in it may still leave
    assert_eq!(lab.mv(&alices_child(), "d/b", "b"), Ok(()));
    assert!(lab.is_free("d"));
    assert_eq!(lab.holder("b"), CHILD);
}

#[test]
fn its_holder_and_all_in_it_gone_at_once_it_goes_at_once() {
    let mut lab = held();
    lab.mkdir(&alice(), "d/e").unwrap();
    lab.touch(&alice(), "b").unwrap();
    lab.mv(&alice(), "b", "d/e/b").unwrap();
    lab.died(SCRIPT);
    assert_eq!(lab.table.boards(), 0);
    assert!(lab.is_free("d"));
    assert!(!lab.table.hangs_on(process(SCRIPT)));
}

#[test]
fn a_board_older_than_its_directory_goes_with_it_too() {
    let mut lab = Lab::new();
    lab.touch(&alice(), "b").unwrap();
    lab.mkdir(&alice(), "d").unwrap();
    lab.mv(&alice(), "b", "d/b").unwrap();
    lab.died(SCRIPT);
    assert_eq!(lab.table.boards(), 0);
}

#[test]
fn a_name_in_a_directory_that_is_no_more_walks_again() {
    let mut lab = held();
    let dir = lab.ino("d");
    lab.rmdir(&alice(), "d").unwrap();
    assert_eq!(lab.table.lookup(dir, b"b"), Err(Refusal::Gone));
    let made = lab
        .table
        .make(&lab.now, &alice(), (dir, b"b"), Make::File, true, None);
    assert_eq!(made, Err(Refusal::Gone));
}

#[test]
fn a_file_is_no_directory() {
    let mut lab = Lab::new();
    lab.touch(&alice(), "b").unwrap();
    assert_eq!(lab.find("b/c"), Err(Refusal::NotDirectory));
    assert_eq!(lab.mkdir(&alice(), "b/c"), Err(Refusal::NotDirectory));
    let opened = lab.table.open_directory(&alice(), lab.ino("b"), true);
    assert_eq!(opened, Err(Refusal::NotDirectory));
}

#[test]
fn opening_it_to_lock_it_is_busy_for_others() {
    let mut lab = held();
    let ino = lab.ino("d");
    for who in [alice(), alices_subshell(), alices_child()] {
        assert_eq!(lab.table.open_directory(&who, ino, false), Ok(()));
    }
    for who in [bob(), alices_other_job(), root(), detached(ALICE)] {
        let opened = lab.table.open_directory(&who, ino, false);
        assert_eq!(opened, Err(Refusal::Busy));
        assert_eq!(lab.table.open_directory(&who, ino, true), Ok(()));
    }
    let lock_dir = lab.table.open_directory(&bob(), Ino::ROOT, false);
    assert_eq!(lock_dir, Ok(()));
}

#[test]
fn a_detached_directory_has_no_holders_side() {
    let mut lab = Lab::new();
    let ino = lab.mkdir(&detached(ALICE), "d").unwrap();
    for who in [detached(ALICE), alice(), root()] {
        let made = lab.exclusive(&who, "d/b");
        assert_eq!(made, Err(Refusal::InsideAnothers));
        let opened = lab.table.open_directory(&who, ino, false);
        assert_eq!(opened, Err(Refusal::Busy));
    }
    assert_eq!(lab.rmdir(&detached(ALICE), "d"), Ok(()));
}

#[test]
fn a_renamed_directory_takes_its_boards_along() {
    let mut lab = held();
    lab.touch(&alices_child(), "d/b").unwrap();
    lab.mv(&alice(), "d", "e").unwrap();
    assert_eq!(lab.holder("e/b"), CHILD);
    assert_eq!(lab.table.path(lab.ino("e/b")), b"e/b");
    assert!(lab.is_free("d"));
}

#[test]
fn a_listing_that_goes_on_after_changes_repeats_and_skips_nothing() {
    let mut lab = Lab::new();
    for name in ["c", "a", "b"] {
        lab.touch(&alice(), name).unwrap();
    }
    let list = |lab: &Lab, place| -> Vec<(u64, String)> {
        let root = lab.table.directory(Ino::ROOT).unwrap();
        let entries = root.after(place);
        entries
            .map(|(place, name, _)| (place, String::from_utf8_lossy(name).into_owned()))
            .collect()
    };
    let all = list(&lab, 0);
    let names: Vec<&str> = all.iter().map(|(_, name)| &name[..]).collect();
    assert_eq!(names, ["c", "a", "b"]);
    lab.rm(&alice(), "c").unwrap();
    lab.touch(&alice(), "d").unwrap();
    let rest = list(&lab, all[0].0);
    let names: Vec<&str> = rest.iter().map(|(_, name)| &name[..]).collect();
    assert_eq!(names, ["a", "b", "d"]);
    assert!(list(&lab, u64::MAX).is_empty());
}
