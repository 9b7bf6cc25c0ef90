//! "Release": a hold that is ended by its number, by force or not.

use super::cast::*;
use super::lab::*;
use crate::lock::Refusal;
use crate::lock::caller::Caller;
use crate::lock::effect::{Effect, End};
use crate::lock::file_lock::LockKind::{Exclusive, Shared};
use crate::lock::ids::{Handle, Token};
use crate::lock::options::{Options, ReleaseRule};
use crate::lock::record::State;

impl Lab {
    /// Ends the hold of the board, as it is now.
    fn release(&mut self, who: &Caller, path: &str, force: bool) -> Result<(), Refusal> {
        let token = self.token(path);
        self.release_that(who, path, token, force)
    }

    fn release_that(
        &mut self,
        who: &Caller,
        path: &str,
        token: u64,
        force: bool,
    ) -> Result<(), Refusal> {
        let at = self.table.find(path.as_bytes())?;
        self.table.release(&self.now, who, at, Token(token), force)
    }

    fn force(&mut self, who: &Caller, path: &str) -> Result<(), Refusal> {
        self.release(who, path, true)
    }

    /// What the status says at its end, read through this file.
    fn ended(&self, handle: Handle) -> Option<String> {
        let ino = self.table.opened(handle).unwrap();
        let status = self.table.status_through(handle, ino, &self.now);
        let text = status.render(|uid| format!("user{}", uid.0));
        let last = text.lines().last().unwrap();
        last.strip_prefix("ended ").map(str::to_owned)
    }
}

const BY_ROOT: End = End::Forced { by: ROOT };

fn strict() -> Options {
    Options {
        daemon: DAEMON.uid,
        release: ReleaseRule::Holder,
        ..Options::default()
    }
}

#[test]
fn its_user_root_and_the_daemons_user_may_and_nobody_else() {
    for options in [
        Options {
            release: ReleaseRule::Owner,
            ..strict()
        },
        strict(),
    ] {
        for who in [alice(), alices_other_job(), root(), daemons_user()] {
            let mut lab = Lab::with(options);
            lab.touch(&alice(), "b").unwrap();
            lab.effects();
            assert_eq!(lab.force(&who, "b"), Ok(()), "{who:?}");
            assert!(lab.is_free("b"));
            let end = End::Forced { by: who.user };
            assert_eq!(lab.released(), [("b".to_owned(), end)]);
        }
        for who in [bob(), detached(BOB), unseen(BOB)] {
            let mut lab = Lab::with(options);
            lab.touch(&alice(), "b").unwrap();
            assert_eq!(lab.force(&who, "b"), Err(Refusal::NotYours), "{who:?}");
            assert_eq!(lab.holder("b"), SCRIPT);
        }
    }
}

#[test]
fn against_the_exceptions_it_may_and_without_force_not() {
    // By a program that unlinks to take.
    let mut lab = Lab::new();
    lab.touch(&alice(), "b").unwrap();
    let cp = root().by("cp");
    assert_eq!(lab.release(&cp, "b", false), Err(Refusal::UnlinksToTake));
    assert_eq!(lab.force(&cp, "b"), Ok(()));
    // By who was refused it.
    lab.touch(&alice(), "b").unwrap();
    let loser = alices_other_job();
    lab.touch(&loser, "b").unwrap_err();
    assert_eq!(lab.release(&loser, "b", false), Err(Refusal::RefusedBefore));
    assert_eq!(lab.force(&loser, "b"), Ok(()));
    // By who has no holder any more, where only that may.
    let mut lab = Lab::with(strict());
    lab.touch(&alice(), "b").unwrap();
    assert_eq!(lab.release(&root(), "b", false), Err(Refusal::NotYours));
    assert_eq!(lab.release(&alices_child(), "b", false), Ok(()));
}

#[test]
fn without_force_it_is_given_back() {
    let mut lab = Lab::new();
    lab.touch(&alice(), "b").unwrap();
    lab.effects();
    assert_eq!(lab.release(&alice(), "b", false), Ok(()));
    let released = lab.released();
    assert!(
        matches!(&released[..], [(_, End::Unlinked { user, .. })] if *user == ALICE),
        "{released:?}"
    );
    lab.mkdir(&alice(), "d").unwrap();
    lab.touch(&alice(), "d/b").unwrap();
    assert_eq!(lab.release(&alice(), "d", false), Err(Refusal::NotEmpty));
    assert_eq!(lab.release(&alice(), "d/b", false), Ok(()));
    assert_eq!(lab.release(&alice(), "d", false), Ok(()));
    assert!(lab.is_free("d"));
}

#[test]
fn another_hold_than_that_is_never_ended() {
    let mut lab = Lab::new();
    lab.touch(&alice(), "b").unwrap();
    let first = lab.token("b");
    lab.rm(&alice(), "b").unwrap();
    assert_eq!(
        lab.release_that(&root(), "b", first, true),
        Err(Refusal::Missing)
    );
    lab.touch(&alice(), "b").unwrap();
    for force in [false, true] {
        for token in [first, first + 17, 0] {
            assert_eq!(
                lab.release_that(&root(), "b", token, force),
                Err(Refusal::Gone)
            );
        }
    }
    assert_eq!(lab.holder("b"), SCRIPT);
}

#[test]
fn paths_lead_to_boards_or_nowhere() {
    let mut lab = Lab::new();
    lab.mkdir(&alice(), "d").unwrap();
    lab.touch(&alice(), "d/b").unwrap();
    let token = lab.token("d/b");
    for (path, refusal) in [
        ("", Refusal::BadValue),
        (".", Refusal::BadValue),
        ("x", Refusal::Missing),
        ("x/b", Refusal::Missing),
        ("d/b/c", Refusal::NotDirectory),
        ("..", Refusal::Missing),
    ] {
        let released = lab.release_that(&root(), path, token, true);
        assert_eq!(released, Err(refusal), "{path}");
    }
    assert_eq!(lab.release_that(&root(), "./d//b", token, true), Ok(()));
}

#[test]
fn of_a_locked_board_the_locks_are_gone_and_who_waits_has_it() {
    let mut lab = Lab::new();
    let alices = lab.create(&alice(), "b", TRUNCATE).unwrap();
    lab.flock(&alice(), alices, Exclusive).unwrap();
    let bobs = lab.open(&bob(), "b", READ).unwrap();
    let wait = lab.wait_flock(&bob(), bobs, Exclusive).unwrap();
    let token = lab.token("b");
    lab.effects();
    assert_eq!(lab.force(&root(), "b"), Ok(()));
    assert_eq!(lab.answered(wait), Some(Ok(None)));
    assert!(lab.token("b") > token);
    assert_eq!(lab.table.claim(lab.ino("b")).unwrap().user, BOB);
    // It is told who had it by his own file alone.
    let at = "2001-09-09T01:46:40Z";
    let forced = Some(format!("forced by user0 at {at}"));
    assert_eq!((lab.ended(alices), lab.ended(bobs)), (forced, None));
    assert_eq!(lab.write(alices, b"mine"), Err(Refusal::Busy));
    // Let go, it is not bob's.
    lab.unflock(&alice(), alices);
    lab.close(alices);
    assert!(!lab.is_free("b"));
    lab.unflock(&bob(), bobs);
    assert!(lab.is_free("b"));
}

#[test]
fn who_was_forced_out_and_locks_again_is_a_holder_again() {
    let mut lab = Lab::new();
    let file = lab.create(&alice(), "b", TRUNCATE).unwrap();
    lab.flock(&alice(), file, Shared).unwrap();
    lab.force(&root(), "b").unwrap();
    assert!(lab.is_free("b"));
    assert!(lab.ended(file).unwrap().starts_with("forced by user0 at "));
    lab.flock(&alice(), file, Exclusive).unwrap();
    assert_eq!(lab.ended(file), None);
    lab.unflock(&alice(), file);
    assert!(lab.ended(file).is_some());
}

#[test]
fn the_open_files_of_a_claim_tell_of_it_and_wake_who_polls() {
    let mut lab = Lab::new();
    let file = lab.create(&alice(), "b", WRITE).unwrap();
    let reader = lab.open(&bob(), "b", READ).unwrap();
    for handle in [file, reader] {
        lab.table.poll(handle, true);
    }
    lab.effects();
    lab.pass(60);
    lab.force(&alices_other_job(), "b").unwrap();
    let mut told = lab.told();
    told.sort();
    assert_eq!(told, [file, reader]);
    let ino = lab.table.opened(file).unwrap();
    assert_eq!(lab.table.status(ino, &lab.now).state, State::Free);
    let forced = Some("forced by user1000 at 2001-09-09T01:47:40Z".to_owned());
    assert_eq!(
        (lab.ended(file), lab.ended(reader)),
        (forced.clone(), forced.clone())
    );
    // Another makes it again, of the same inode: the one who reads is told of that.
    lab.create(&bob(), "b", WRITE).unwrap();
    assert_eq!((lab.ended(file), lab.ended(reader)), (forced, None));
}

#[test]
fn how_any_hold_ended_is_told_while_the_board_is_free() {
    let mut lab = Lab::new();
    let reads = |lab: &mut Lab| {
        lab.create(&alice(), "b", WRITE).unwrap();
        lab.open(&bob(), "b", READ).unwrap()
    };
    let file = reads(&mut lab);
    assert_eq!(lab.ended(file), None);
    lab.rm(&alice(), "b").unwrap();
    let at = "2001-09-09T01:46:40Z";
    assert_eq!(
        lab.ended(file),
        Some(format!("released by user1000 at {at}"))
    );
    let file = reads(&mut lab);
    lab.died(SCRIPT);
    assert_eq!(lab.ended(file), Some(format!("died at {at}")));
}

#[test]
fn all_names_of_a_claim_go() {
    let mut lab = Lab::new();
    lab.touch(&alice(), "tmp").unwrap();
    lab.link(&alice(), "tmp", "b").unwrap();
    lab.effects();
    assert_eq!(lab.force(&root(), "b"), Ok(()));
    assert!(lab.is_free("b") && lab.is_free("tmp"));
    let released = lab.released();
    assert_eq!(
        released,
        [("tmp".to_owned(), BY_ROOT), ("b".to_owned(), BY_ROOT)]
    );
}

#[test]
fn links_directories_and_detached_claims_too() {
    let mut lab = Lab::new();
    lab.symlink(&alice(), "nowhere", "l").unwrap();
    lab.mkdir(&alice(), "d").unwrap();
    lab.touch(&detached(ALICE), "x").unwrap();
    for board in ["l", "d", "x"] {
        assert_eq!(lab.force(&bob(), board), Err(Refusal::NotYours));
        assert_eq!(lab.force(&root(), board), Ok(()));
        assert!(lab.is_free(board), "{board}");
    }
    assert_eq!(lab.table.residue(), 0);
}

#[test]
fn what_is_in_a_directory_goes_with_it() {
    let mut lab = Lab::new();
    lab.mkdir(&alice(), "d").unwrap();
    lab.touch(&alice(), "d/pid").unwrap();
    lab.mkdir(&alices_child(), "d/e").unwrap();
    lab.touch(&alices_child(), "d/e/b").unwrap();
    lab.effects();
    assert_eq!(lab.force(&root(), "d"), Ok(()));
    let boards: Vec<String> = lab.released().into_iter().map(|(board, _)| board).collect();
    assert_eq!(boards.last().map(String::as_str), Some("d"));
    assert_eq!(boards.len(), 4, "{boards:?}");
    assert!(lab.is_free("d"));
    assert_eq!(lab.table.residue(), 0);
}

#[test]
fn a_directory_stays_for_who_waits_for_a_board_in_it() {
    let mut lab = Lab::new();
    lab.mkdir(&alice(), "d").unwrap();
    let file = lab.create(&alice(), "d/b", WRITE).unwrap();
    let childs = lab.open(&alices_child(), "d/b", READ).unwrap();
    lab.flock(&alice(), file, Exclusive).unwrap();
    let wait = lab.wait_flock(&alices_child(), childs, Exclusive).unwrap();
    assert_eq!(lab.force(&root(), "d"), Ok(()));
    assert_eq!(lab.answered(wait), Some(Ok(None)));
    assert!(!lab.is_free("d/b"));
    lab.close(childs);
    assert!(lab.is_free("d"));
    lab.close(file);
    assert_eq!(lab.table.residue(), 0);
}

#[test]
fn what_the_caller_may_not_force_in_a_directory_keeps_all_of_it() {
    let mut lab = Lab::new();
    lab.mkdir(&alice(), "d").unwrap();
    // `sudo -u bob touch d/b` in her script.
    let bobs = Caller {
        user: BOB,
        standing: crate::lock::caller::Standing::Process(candidate(BOB, &[BOBS])),
        ..alices_child()
    };
    lab.touch(&bobs, "d/b").unwrap();
    lab.touch(&alice(), "d/a").unwrap();
    lab.effects();
    assert_eq!(lab.force(&alices_other_job(), "d"), Err(Refusal::NotYours));
    assert!(lab.released().is_empty());
    assert!(!lab.is_free("d/a") && !lab.is_free("d/b"));
}

#[test]
fn who_may_not_is_told_in_the_log() {
    let mut lab = Lab::new();
    lab.touch(&alice(), "b").unwrap();
    lab.effects();
    lab.force(&bob(), "b").unwrap_err();
    let effects = lab.effects();
    assert!(
        matches!(
            &effects[..],
            [Effect::Refused {
                refusal: Refusal::NotYours,
                ..
            }]
        ),
        "{effects:?}"
    );
}
