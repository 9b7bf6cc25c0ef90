//! "Directories and links": second names, symbolic links, inodes.

use super::cast::*;
use super::lab::*;
use crate::lock::effect::End;
use crate::lock::restored::Return;
use crate::lock::{Refusal, Table};

/// `tmp` and `b` are one board of alice's, as link-style lockers make it.
fn linked() -> Lab {
    let mut lab = Lab::new();
    lab.touch(&alice(), "tmp").unwrap();
    lab.link(&alice(), "tmp", "b").unwrap();
    lab.effects();
    lab
}

#[test]
fn both_names_show_one_inode_and_two_links() {
    let lab = linked();
    assert_eq!(lab.stat("tmp"), lab.stat("b"));
    assert_eq!(lab.stat("b").links, 2);
}

#[test]
fn unlink_ends_one_of_them() {
    for (gone, left) in [("tmp", "b"), ("b", "tmp")] {
        let mut lab = linked();
        lab.rm(&alice(), gone).unwrap();
        assert!(lab.is_free(gone));
        assert_eq!((lab.holder(left), lab.stat(left).links), (SCRIPT, 1));
        assert_eq!(lab.table.path(lab.ino(left)), left.as_bytes());
        let names: Vec<String> = lab.released().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, [gone]);
        lab.touch(&bob(), gone).unwrap();
        assert_ne!(lab.ino(gone), lab.ino(left));
    }
}

#[test]
fn otherwise_they_end_together() {
    let mut lab = linked();
    lab.died(SCRIPT);
    assert!(lab.is_free("tmp") && lab.is_free("b"));
    let released = lab.released();
    assert_eq!(released.len(), 2);
    assert!(released.iter().all(|(_, end)| *end == End::Died));
}

#[test]
fn a_second_name_in_a_directory_counts_there() {
    let mut lab = Lab::new();
    lab.mkdir(&alice(), "d").unwrap();
    lab.touch(&alices_child(), "d/b").unwrap();
    lab.link(&alices_child(), "d/b", "d/c").unwrap();
    lab.link(&alices_child(), "d/b", "out").unwrap();
    lab.died(SCRIPT);
    lab.rm(&alices_child(), "d/b").unwrap();
    assert!(!lab.is_free("d"));
    lab.rm(&alices_child(), "d/c").unwrap();
    assert!(lab.is_free("d"));
    assert_eq!(lab.holder("out"), CHILD);
}

#[test]
fn an_open_file_whose_board_is_free_shows_no_link() {
    let mut lab = Lab::new();
    let handle = lab.create(&alice(), "b", WRITE).unwrap();
    lab.pass(5);
    lab.rm(&alice(), "b").unwrap();
    let shown = lab.fstat(handle);
    assert_eq!((shown.links, shown.user, shown.size), (0, ALICE, 0));
    assert_eq!(shown.ctime.secs, START);
}

#[test]
fn a_board_made_again_while_it_is_open_has_that_inode() {
    let mut lab = Lab::new();
    let handle = lab.create(&alice(), "b", WRITE).unwrap();
    let ino = lab.ino("b");
    lab.rm(&alice(), "b").unwrap();
    lab.touch(&bob(), "b").unwrap();
    assert_eq!(lab.ino("b"), ino);
    assert_eq!(lab.fstat(handle).links, 1);
    lab.rm(&bob(), "b").unwrap();
    lab.table.close(&lab.now, handle);
    lab.touch(&bob(), "b").unwrap();
    assert_ne!(lab.ino("b"), ino, "never given out twice");
}

#[test]
fn made_again_as_something_else_it_has_another() {
    let mut lab = Lab::new();
    let handle = lab.create(&alice(), "b", WRITE).unwrap();
    let ino = lab.ino("b");
    lab.rm(&alice(), "b").unwrap();
    lab.mkdir(&alice(), "b").unwrap();
    assert_ne!(lab.ino("b"), ino);
    lab.rmdir(&alice(), "b").unwrap();
    lab.touch(&alice(), "x").unwrap();
    lab.mv(&alice(), "x", "b").unwrap();
    assert_ne!(lab.ino("b"), ino);
    assert_eq!(lab.fstat(handle).links, 0);
}

#[test]
fn an_inode_comes_back_under_the_name_by_which_it_was_opened() {
    let mut lab = linked();
    let handle = lab.open(&bob(), "b", READ).unwrap();
    lab.died(SCRIPT);
    let ino = lab.table.opened(handle).unwrap();
    lab.touch(&bob(), "tmp").unwrap();
    assert_ne!(lab.ino("tmp"), ino);
    assert_eq!(lab.fstat(handle).links, 0);
    lab.touch(&alices_other_job(), "b").unwrap();
    assert_eq!(lab.ino("b"), ino);
    assert_eq!(lab.fstat(handle).links, 1);
}

#[test]
fn one_that_may_be_known_by_each_of_its_names_comes_back_under_none() {
    let mut lab = linked();
    // Nothing was looked up before.
    let handle = lab.open_ino(&bob(), lab.ino("b"), READ).unwrap();
    lab.died(SCRIPT);
    let ino = lab.table.opened(handle).unwrap();
    for name in ["tmp", "b"] {
        lab.touch(&alices_other_job(), name).unwrap();
        assert_ne!(lab.ino(name), ino);
    }
    assert_eq!(lab.fstat(handle).links, 0);
}

#[test]
fn a_symlinks_target_names_no_path() {
    let mut lab = Lab::new();
    for target in ["/", "a/b", "../b", "./b", "b/", ".", ".."] {
        let made = lab.symlink(&alice(), target, "s");
        assert_eq!(made, Err(Refusal::TargetPath), "{target}");
    }
    let ino = lab.symlink(&alice(), "alice@lab.42:1700", "s").unwrap();
    assert_eq!(lab.table.target(ino), Ok(&b"alice@lab.42:1700"[..]));
}

#[test]
fn only_a_link_has_a_target() {
    let mut lab = Lab::new();
    let ino = lab.touch(&alice(), "b").unwrap();
    assert_eq!(lab.table.target(ino), Err(Refusal::BadValue));
}

#[test]
fn no_board_of_the_targets_name_is_made_while_the_link_stands() {
    let mut lab = Lab::new();
    lab.symlink(&alice(), "t", "s").unwrap();
    for who in [alice(), bob()] {
        assert_eq!(lab.touch(&who, "t"), Err(Refusal::LinkedTo));
        assert_eq!(lab.mkdir(&who, "t"), Err(Refusal::LinkedTo));
        lab.touch(&who, "own").unwrap();
        assert_eq!(lab.link(&who, "own", "t"), Err(Refusal::LinkedTo));
        assert_eq!(lab.mv(&who, "own", "t"), Err(Refusal::LinkedTo));
        lab.rm(&who, "own").unwrap();
    }
    lab.rm(&alice(), "s").unwrap();
    assert!(lab.touch(&bob(), "t").is_ok());
}

#[test]
fn of_two_links_to_one_name_both_must_go() {
    let mut lab = Lab::new();
    lab.symlink(&alice(), "t", "s").unwrap();
    lab.link(&alice(), "s", "s2").unwrap();
    lab.rm(&alice(), "s").unwrap();
    assert_eq!(lab.touch(&bob(), "t"), Err(Refusal::LinkedTo));
    lab.died(SCRIPT);
    assert!(lab.touch(&bob(), "t").is_ok());
}

#[test]
fn a_renamed_link_points_where_it_stands() {
    let mut lab = Lab::new();
    lab.mkdir(&alice(), "d").unwrap();
    lab.symlink(&alice(), "t", "s").unwrap();
    lab.mv(&alice(), "s", "d/s").unwrap();
    assert!(lab.touch(&bob(), "t").is_ok());
    assert_eq!(lab.touch(&alice(), "d/t"), Err(Refusal::LinkedTo));
}

#[test]
fn no_link_is_made_to_a_board_of_anothers() {
    // touch by its holder would follow the link and succeed
    let mut lab = Lab::new();
    lab.touch(&bob(), "t").unwrap();
    let busy = Err(Refusal::TargetTaken);
    assert_eq!(lab.symlink(&alice(), "t", "s").map(|_| ()), busy);
    lab.mkdir(&alice(), "d").unwrap();
    lab.symlink(&alice(), "t", "d/s").unwrap();
    assert_eq!(lab.mv(&alice(), "d/s", "s"), busy);
    assert_eq!(lab.link(&alice(), "d/s", "s"), busy);
    assert!(lab.is_free("s"));
    // to one's own it may: whoever opens either is judged by the same holder
    lab.touch(&alice(), "own").unwrap();
    assert!(lab.symlink(&alice(), "own", "s").is_ok());
}

#[test]
fn a_link_to_itself_is_just_a_claim() {
    let mut lab = Lab::new();
    lab.symlink(&alice(), "s", "s").unwrap();
    lab.rm(&alice(), "s").unwrap();
    assert!(lab.touch(&bob(), "s").is_ok());
}

#[test]
fn of_two_open_inodes_that_had_a_name_the_last_comes_back() {
    let mut lab = Lab::new();
    let first = lab.create(&alice(), "b", WRITE).unwrap();
    lab.rm(&alice(), "b").unwrap();
    let last = lab.create(&alice(), "x", WRITE).unwrap();
    lab.mv(&alice(), "x", "b").unwrap();
    lab.rm(&alice(), "b").unwrap();
    lab.table.close(&lab.now, first);
    lab.touch(&bob(), "b").unwrap();
    assert_eq!(lab.table.opened(last), Some(lab.ino("b")));
}

#[test]
fn a_restored_board_goes_by_the_name_that_it_went_by() {
    let mut lab = Lab::new();
    lab.mkdir(&alice(), "d").unwrap();
    lab.mkdir(&alice(), "e").unwrap();
    lab.touch(&alice(), "a").unwrap();
    lab.link(&alice(), "a", "d/b").unwrap();
    let ino = lab.ino("a");
    assert_eq!(lab.table.path(ino), b"a");
    let mut back = Table::new(*lab.table.options(), &lab.now);
    let saved = lab.table.saved(&lab.now);
    back.restore(&lab.now, saved, Return::SameBoot, |_| Vec::new());
    assert_eq!(back.path(ino), b"a");
}
