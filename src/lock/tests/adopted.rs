//! Lock files that lay there before the mount.

use super::cast::*;
use super::lab::*;
use crate::lock::Refusal;
use crate::lock::content::Named;
use crate::lock::options::Options;
use crate::lock::record::State;
use crate::lock::time::Timestamp;

fn adopt(lab: &mut Lab, name: &[u8], content: &[u8], pid: Option<u32>) -> Result<(), Refusal> {
    let named = pid.map_or(Named::Detached, |pid| {
        Named::Process(candidate(ALICE, &[pid]))
    });
    lab.table.adopt(&lab.now, name, content, ALICE, named)
}

#[test]
fn one_that_names_a_process_is_held_by_it() {
    let mut lab = Lab::new();
    adopt(&mut lab, b"b", b"100\n", Some(SCRIPT)).unwrap();
    assert_eq!(lab.holder("b"), SCRIPT);
    assert_eq!(lab.watched(), (vec![SCRIPT], vec![]));
    assert!(lab.touch(&alice(), "b").is_ok());
    lab.died(SCRIPT);
    assert!(lab.is_free("b"));
}

#[test]
fn one_that_names_nobody_is_its_users() {
    let mut lab = Lab::new();
    adopt(&mut lab, b"b", b"by hand\n", None).unwrap();
    let status = lab.status("b");
    assert_eq!((status.state, status.user), (State::Detached, Some(ALICE)));
    assert_eq!(
        (&status.via[..], &status.note[..]),
        ("taken over", &b"by hand"[..])
    );
    assert_eq!(lab.touch(&alice(), "b"), Err(Refusal::Busy));
    assert_eq!(lab.rm(&detached(ALICE), "b"), Ok(()));
}

#[test]
fn its_expiry_counts() {
    let mut lab = Lab::new();
    adopt(&mut lab, b"b", b"1000000060 0", None).unwrap();
    adopt(&mut lab, b"c", b"1000000060 100", Some(SCRIPT)).unwrap();
    adopt(&mut lab, b"old", b"5 0", None).unwrap();
    assert_eq!(lab.stat("b").mtime, Timestamp::from_secs(START + 60));
    lab.pass(0);
    assert!(lab.is_free("old"));
    lab.pass(60);
    assert!(lab.is_free("b"));
    assert_eq!(lab.status("c").state, State::Overdue);
}

#[test]
fn its_content_reads_back_unchanged() {
    let mut lab = Lab::new();
    adopt(&mut lab, b"b", b"  100\n\n", Some(SCRIPT)).unwrap();
    assert_eq!(lab.content("b"), b"  100\n\n");
    assert_eq!(lab.stat("b").size, 7);
}

#[test]
fn it_has_a_token_and_counts_among_its_users() {
    let mut lab = Lab::with(Options {
        max_per_user: 1,
        ..Options::default()
    });
    adopt(&mut lab, b"b", b"", None).unwrap();
    assert_eq!(lab.token("b"), 1);
    assert_eq!(adopt(&mut lab, b"c", b"", None), Err(Refusal::UserFull));
    assert_eq!(lab.touch(&alice(), "c"), Err(Refusal::UserFull));
}

#[test]
fn one_that_cannot_be_a_board_is_refused() {
    let mut lab = Lab::new();
    adopt(&mut lab, b"b", b"", None).unwrap();
    assert_eq!(adopt(&mut lab, b"b", b"", None), Err(Refusal::Exists));
    assert_eq!(adopt(&mut lab, b"a\nb", b"", None), Err(Refusal::BadName));
    assert_eq!(
        adopt(&mut lab, &[b'x'; 256], b"", None),
        Err(Refusal::LongName)
    );
}
