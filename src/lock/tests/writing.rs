//! "Opening a held board for writing". What would wait is refused until waits
//! are served.

use super::cast::*;
use super::lab::*;
use crate::lock::Refusal;
use crate::lock::ids::Handle;
use crate::lock::open::OpenMode;

/// A board `b` that alice's script holds, with `content`, and closed again.
fn held(content: &str) -> Lab {
    let mut lab = Lab::new();
    lab.echo(&alice(), "b", content, None);
    lab
}

fn write(lab: &mut Lab, handle: Handle, data: &[u8]) -> Result<(), Refusal> {
    lab.table.write(handle, 0, data).map(|_| ())
}

#[test]
fn a_claimed_board_that_no_claiming_file_has_open_is_busy_at_once() {
    for who in [bob(), alices_child(), alices_other_job(), detached(ALICE)] {
        let mut lab = held("note");
        for mode in [WRITE, TRUNCATE] {
            assert_eq!(lab.open(&who, "b", mode), Err(Refusal::Busy));
        }
        assert_eq!(lab.content("b"), b"note");
    }
}

#[test]
fn a_claimed_board_that_a_claiming_file_has_open_is_busy_too_as_yet() {
    let mut lab = Lab::new();
    let claiming = lab.create(&alice(), "b", TRUNCATE).unwrap();
    assert_eq!(lab.create(&bob(), "b", TRUNCATE), Err(Refusal::Busy));
    lab.table.close(&lab.now, claiming);
    assert_eq!(lab.create(&bob(), "b", TRUNCATE), Err(Refusal::Busy));
}

#[test]
fn with_o_nonblock_it_is_eagain() {
    let mut lab = held("note");
    let truncate = OpenMode {
        truncate: true,
        ..NONBLOCK
    };
    for mode in [NONBLOCK, truncate] {
        assert_eq!(lab.open(&bob(), "b", mode), Err(Refusal::BusyNow));
    }
    assert_eq!(lab.content("b"), b"note");
}

#[test]
fn o_append_always_opens_and_holds_nothing() {
    let nonblock = OpenMode {
        nonblock: true,
        ..APPEND
    };
    for who in [bob(), alices_other_job(), detached(ALICE), unseen(BOB)] {
        for mode in [APPEND, nonblock] {
            let mut lab = held("note");
            let handle = lab.create(&who, "b", mode).unwrap();
            assert_eq!(write(&mut lab, handle, b"x"), Err(Refusal::Busy));
            assert_eq!(lab.ftruncate(&who, handle, 0), Err(Refusal::Busy));
            assert_eq!(lab.content("b"), b"note");
            assert_eq!(lab.holder("b"), SCRIPT);
        }
    }
}

#[test]
fn o_trunc_of_an_open_that_holds_nothing_truncates_nothing() {
    let mut lab = held("note");
    let mode = OpenMode {
        truncate: true,
        ..APPEND
    };
    lab.open(&bob(), "b", mode).unwrap();
    assert_eq!(lab.content("b"), b"note");
}

#[test]
fn the_holders_o_trunc_truncates() {
    for mode in [
        TRUNCATE,
        OpenMode {
            truncate: true,
            ..APPEND
        },
    ] {
        let mut lab = held("note");
        lab.open(&alices_subshell(), "b", mode).unwrap();
        assert_eq!(lab.content("b"), b"");
        assert_eq!(lab.stat("b").size, 0);
    }
}

#[test]
fn writes_are_judged_by_the_open_file_whoever_calls() {
    let mut lab = held("");
    let handle = lab.open(&alice(), "b", WRITE).unwrap();
    // inherited by anybody: a daemon writes what a client hands it
    assert_eq!(lab.ftruncate(&bob(), handle, 3), Ok(()));
    assert_eq!(write(&mut lab, handle, b"abc"), Ok(()));
    assert_eq!(lab.content("b"), b"abc");
}

#[test]
fn what_the_holders_side_opened_writes() {
    let mut lab = held("");
    let handle = lab.open(&alices_child(), "b", APPEND).unwrap();
    assert_eq!(write(&mut lab, handle, b"from a child\n"), Ok(()));
    assert_eq!(lab.content("b"), b"from a child\n");
}

#[test]
fn an_open_file_writes_no_more_once_its_hold_has_ended() {
    let mut lab = Lab::new();
    let handle = lab.create(&alice(), "b", WRITE).unwrap();
    lab.rm(&alice(), "b").unwrap();
    assert_eq!(write(&mut lab, handle, b"x"), Err(Refusal::NotHeld));
    assert_eq!(lab.ftruncate(&alice(), handle, 0), Err(Refusal::NotHeld));
    // another's hold, of the same inode
    lab.touch(&bob(), "b").unwrap();
    assert_eq!(lab.table.opened(handle), Some(lab.ino("b")));
    assert_eq!(write(&mut lab, handle, b"x"), Err(Refusal::Busy));
    assert_eq!(lab.ftruncate(&alice(), handle, 0), Err(Refusal::Busy));
    // nor in a new hold of her own: it was opened in another
    lab.rm(&bob(), "b").unwrap();
    lab.touch(&alice(), "b").unwrap();
    assert_eq!(write(&mut lab, handle, b"x"), Err(Refusal::Busy));
}

#[test]
fn a_file_opened_before_the_claim_passed_on_still_writes() {
    let mut lab = Lab::new();
    let handle = lab.create(&alices_subshell(), "b", WRITE).unwrap();
    lab.died(SUBSHELL);
    assert_eq!(write(&mut lab, handle, b"x"), Ok(()));
}

#[test]
fn appending_goes_to_the_end_wherever_the_kernel_believes_it_to_be() {
    let mut lab = held("one\n");
    let handle = lab.open(&alice(), "b", APPEND).unwrap();
    write(&mut lab, handle, b"two\n").unwrap();
    assert_eq!(lab.content("b"), b"one\ntwo\n");
}

#[test]
fn a_directory_is_not_opened_as_a_file() {
    let mut lab = Lab::new();
    lab.mkdir(&alice(), "d").unwrap();
    for mode in [READ, WRITE, APPEND] {
        let opened = lab.open(&alice(), "d", mode);
        assert_eq!(opened, Err(Refusal::IsDirectory));
    }
}
