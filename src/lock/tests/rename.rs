//! link(2) and rename(2): "Acquire, by call", its last rows.

use super::cast::*;
use super::lab::*;
use crate::lock::Refusal;
use crate::lock::effect::{Effect, End};
use crate::lock::rename::RenameKind;

/// `mine` is alice's, `bobs` is bob's.
fn lab() -> Lab {
    let mut lab = Lab::new();
    lab.touch(&alice(), "mine").unwrap();
    lab.touch(&bob(), "bobs").unwrap();
    lab.effects();
    lab
}

#[test]
fn link_claims_a_free_board_with_what_the_other_has() {
    let mut lab = lab();
    lab.pass(5);
    lab.link(&alice(), "mine", "b").unwrap();
    assert_eq!(lab.ino("b"), lab.ino("mine"));
    assert_eq!(lab.holder("b"), SCRIPT);
    let effects = lab.effects();
    let [Effect::Acquired(held)] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(held.path, b"b");
}

#[test]
fn link_needs_the_holder_of_the_other() {
    for who in [bob(), alices_child(), alices_other_job(), root()] {
        let mut lab = lab();
        let linked = lab.link(&who, "mine", "b");
        assert_eq!(linked, Err(Refusal::NotHolder));
        assert!(lab.is_free("b"));
    }
    assert_eq!(lab().link(&alices_subshell(), "mine", "b"), Ok(()));
}

#[test]
fn link_to_a_held_board_fails_with_eexist_whoever_holds_it() {
    let mut lab = lab();
    lab.touch(&alice(), "b").unwrap();
    for (old, new) in [("mine", "b"), ("mine", "bobs"), ("mine", "mine")] {
        assert_eq!(lab.link(&alice(), old, new), Err(Refusal::Exists));
    }
    // before anything else is looked at: it is what lockers know as "held"
    assert_eq!(lab.link(&bob(), "mine", "b"), Err(Refusal::Exists));
}

#[test]
fn link_of_a_freed_board_finds_nothing() {
    let mut lab = lab();
    let _open = lab.open(&alice(), "mine", READ).unwrap();
    let ino = lab.ino("mine");
    lab.rm(&alice(), "mine").unwrap();
    let at = lab.at("b").unwrap();
    let linked = lab.table.link(&lab.now, &alice(), ino, at);
    assert_eq!(linked, Err(Refusal::Missing));
}

#[test]
fn a_directory_is_not_linked() {
    let mut lab = lab();
    lab.mkdir(&alice(), "d").unwrap();
    let linked = lab.link(&alice(), "d", "b");
    assert_eq!(linked, Err(Refusal::NotPermitted));
}

#[test]
fn rename_claims_a_free_board_and_frees_the_other() {
    for kind in [RenameKind::Replace, RenameKind::NoReplace] {
        let mut lab = lab();
        let ino = lab.ino("mine");
        lab.rename(&alice(), "mine", "b", kind).unwrap();
        assert!(lab.is_free("mine"));
        assert_eq!((lab.ino("b"), lab.holder("b")), (ino, SCRIPT));
        let effects = lab.effects();
        let [Effect::Released { held, end, .. }, Effect::Acquired(now)] = &effects[..] else {
            panic!("{effects:?}");
        };
        assert_eq!((&held.path[..], end), (&b"mine"[..], &End::Renamed));
        assert_eq!(now.path, b"b");
        lab.touch(&bob(), "mine").unwrap();
    }
}

#[test]
fn rename_needs_the_holder_of_the_other() {
    for who in [bob(), alices_other_job(), root()] {
        let mut lab = lab();
        assert_eq!(lab.mv(&who, "mine", "b"), Err(Refusal::NotHolder));
        assert_eq!(lab.holder("mine"), SCRIPT);
        assert!(lab.is_free("b"));
    }
}

#[test]
fn rename_of_a_free_board_finds_nothing() {
    assert_eq!(lab().mv(&alice(), "x", "b"), Err(Refusal::Missing));
}

#[test]
fn rename_over_a_board_of_the_callers_replaces_it() {
    let mut lab = lab();
    lab.touch(&alice(), "b").unwrap();
    let ino = lab.ino("mine");
    lab.effects();
    lab.mv(&alice(), "mine", "b").unwrap();
    assert_eq!((lab.ino("b"), lab.holder("b")), (ino, SCRIPT));
    assert!(lab.is_free("mine"));
    assert_eq!(lab.table.boards(), 2);
    let ends: Vec<End> = lab.released().into_iter().map(|(_, end)| end).collect();
    assert_eq!(ends, [End::Replaced, End::Renamed]);
}

#[test]
fn rename_over_one_name_of_a_board_leaves_it_the_other() {
    let mut lab = lab();
    lab.touch(&alice(), "b").unwrap();
    lab.link(&alice(), "b", "tmp").unwrap();
    lab.effects();
    lab.mv(&alice(), "mine", "tmp").unwrap();
    assert_eq!(lab.holder("b"), SCRIPT);
    assert_eq!(lab.stat("b").links, 1);
    assert_eq!(lab.holder("tmp"), SCRIPT);
    assert_ne!(lab.ino("b"), lab.ino("tmp"));
    let names: Vec<String> = lab.released().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["tmp", "mine"]);
    lab.died(SCRIPT);
    assert_eq!(lab.table.boards(), 1);
}

#[test]
fn rename_over_anothers_board_is_busy() {
    let mut lab = lab();
    assert_eq!(lab.mv(&alice(), "mine", "bobs"), Err(Refusal::Busy));
    lab.touch(&alices_child(), "childs").unwrap();
    assert_eq!(lab.mv(&alice(), "mine", "childs"), Err(Refusal::Busy));
    assert_eq!(lab.mv(&root(), "mine", "bobs"), Err(Refusal::NotHolder));
    assert_eq!((lab.holder("mine"), lab.holder("bobs")), (SCRIPT, BOBS));
}

#[test]
fn rename_without_replacing_fails_with_eexist() {
    let mut lab = lab();
    lab.touch(&alice(), "b").unwrap();
    for new in ["b", "bobs"] {
        let renamed = lab.rename(&alice(), "mine", new, RenameKind::NoReplace);
        assert_eq!(renamed, Err(Refusal::Exists));
    }
}

#[test]
fn exchanging_is_einval_whatever_is_there() {
    let mut lab = lab();
    for new in ["bobs", "mine", "free"] {
        let renamed = lab.rename(&alice(), "mine", new, RenameKind::Other);
        assert_eq!(renamed, Err(Refusal::RenameFlags));
    }
}

#[test]
fn rename_between_two_names_of_one_board_does_nothing() {
    let mut lab = lab();
    lab.link(&alice(), "mine", "b").unwrap();
    lab.mv(&alice(), "mine", "b").unwrap();
    assert_eq!(lab.stat("b").links, 2);
    // and is no success for one who does not hold it
    assert_eq!(lab.mv(&bob(), "mine", "b"), Err(Refusal::NotHolder));
}

#[test]
fn rename_of_one_of_two_names_keeps_the_other() {
    let mut lab = lab();
    lab.link(&alice(), "mine", "b").unwrap();
    lab.mv(&alice(), "mine", "c").unwrap();
    assert!(lab.is_free("mine"));
    assert_eq!(lab.ino("b"), lab.ino("c"));
    assert_eq!(lab.stat("b").links, 2);
}

#[test]
fn a_directory_replaces_only_an_empty_directory() {
    let mut lab = lab();
    for dir in ["d", "e", "e/x"] {
        lab.mkdir(&alice(), dir).unwrap();
    }
    assert_eq!(lab.mv(&alice(), "d", "mine"), Err(Refusal::NotDirectory));
    assert_eq!(lab.mv(&alice(), "mine", "d"), Err(Refusal::IsDirectory));
    assert_eq!(lab.mv(&alice(), "d", "e"), Err(Refusal::NotEmpty));
    assert_eq!(lab.mv(&alice(), "e", "d"), Ok(()));
    assert_eq!(lab.holder("d/x"), SCRIPT);
    assert!(lab.is_free("e"));
}

#[test]
fn a_directory_does_not_go_into_itself() {
    let mut lab = lab();
    lab.mkdir(&alice(), "d").unwrap();
    lab.mkdir(&alice(), "d/e").unwrap();
    for new in ["d/x", "d/e/x"] {
        assert_eq!(lab.mv(&alice(), "d", new), Err(Refusal::BadValue));
    }
    assert_eq!(lab.mv(&alice(), "d/e", "d/x"), Ok(()));
}

#[test]
fn each_new_name_is_an_acquisition_with_a_greater_token_and_a_time() {
    let mut lab = lab();
    let mut last = lab.token("bobs");
    for step in ["link", "rename", "touch"] {
        lab.pass(3);
        match step {
            "link" => lab.link(&alice(), "mine", "b").unwrap(),
            "rename" => lab.mv(&alice(), "b", "c").unwrap(),
            _ => drop(lab.touch(&alice(), "d").unwrap()),
        }
        let name = ["b", "c", "d"]
            .into_iter()
            .find(|name| !lab.is_free(name))
            .unwrap();
        let name = if step == "touch" { "d" } else { name };
        assert!(lab.token(name) > last, "{step}");
        assert_eq!(lab.stat(name).ctime, lab.now.wall, "{step}");
        last = lab.token(name);
    }
    lab.rm(&alice(), "d").unwrap();
    lab.touch(&alice(), "d").unwrap();
    assert!(lab.token("d") > last);
}

#[test]
fn a_link_takes_expiry_content_and_note_along() {
    let mut lab = Lab::with_lease(60);
    lab.echo(&alice(), "mine", "flashing", None);
    lab.pass(20);
    lab.link(&alice(), "mine", "b").unwrap();
    lab.rm(&alice(), "mine").unwrap();
    assert_eq!(lab.content("b"), b"flashing");
    assert_eq!(lab.status("b").expires_in, Some(40));
}
