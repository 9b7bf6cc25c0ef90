//! "Release".

use super::cast::*;
use super::lab::*;
use crate::lock::Refusal;
use crate::lock::caller::Caller;
use crate::lock::content::Named;
use crate::lock::effect::{Effect, End};
use crate::lock::open::OpenMode;
use crate::lock::options::{Options, ReleaseRule};

fn held(options: Options) -> Lab {
    let mut lab = Lab::with(options);
    lab.touch(&alice(), "b").unwrap();
    lab
}

fn rm(who: &Caller) -> Result<(), Refusal> {
    held(Options::default()).rm(who, "b")
}

const HOLDER_ALONE: Options = Options {
    lease: None,
    release: ReleaseRule::Holder,
    expire: crate::lock::options::ExpireRule::Keep,
    open: crate::lock::options::OpenRule::Wait,
    open_wait: crate::lock::options::OPEN_WAIT,
    max_boards: 100,
    max_per_user: 100,
    max_waiting: 100,
    daemon: DAEMON.uid,
};

#[test]
fn the_holders_side_always_may() {
    for who in [alice(), alices_subshell(), alices_child()] {
        assert_eq!(rm(&who), Ok(()));
    }
    // whoever asks for it
    let as_nobody = Caller {
        user: BOB,
        ..alices_child()
    };
    assert_eq!(rm(&as_nobody), Ok(()));
}

#[test]
fn the_files_user_root_and_the_daemons_user_may() {
    let options = Options {
        daemon: DAEMON.uid,
        ..Options::default()
    };
    let these = [
        alices_other_job(),
        detached(ALICE),
        unseen(ALICE),
        root(),
        daemons_user(),
    ];
    for who in these {
        let who = who.by("rm");
        assert_eq!(held(options).rm(&who, "b"), Ok(()), "{who:?}");
    }
}

#[test]
fn an_orphan_means_the_hold_that_ended_with_its_script() {
    for who in [orphan(ALICE), orphan(root().user)] {
        assert_eq!(rm(&who.by("rm")), Err(Refusal::Orphan));
    }
    // A detached claim has no script.
    let mut lab = Lab::new();
    lab.touch(&detached(ALICE), "b").unwrap();
    assert_eq!(lab.rm(&orphan(ALICE).by("rm"), "b"), Ok(()));
}

#[test]
fn others_may_not() {
    for who in [bob(), detached(BOB), orphan(BOB), unseen(BOB)] {
        assert_eq!(rm(&who), Err(Refusal::NotYours));
    }
    // the daemon's user is nobody special where the daemon is another's
    assert_eq!(rm(&daemons_user()), Err(Refusal::NotYours));
}

#[test]
fn a_free_board_cannot_be_released() {
    assert_eq!(Lab::new().rm(&alice(), "b"), Err(Refusal::Missing));
}

#[test]
fn programs_that_unlink_to_take_may_not_while_the_holder_lives() {
    let programs = [
        "cp",
        "mv",
        "install",
        "ln",
        "rsync",
        "sed",
        "mktemp",
        "dotlockfile",
        "lockfile",
        "lockfile-create",
        "shlock",
    ];
    for program in programs {
        for who in [alices_other_job(), root(), detached(ALICE)] {
            assert_eq!(rm(&who.by(program)), Err(Refusal::UnlinksToTake));
        }
        assert_eq!(rm(&alice().by(program)), Ok(()));
        assert_eq!(rm(&alices_child().by(program)), Ok(()));
    }
}

#[test]
fn a_loser_may_not_take_it_away_from_the_living_holder() {
    let mut lab = held(Options::default());
    assert_eq!(lab.touch(&alices_other_job(), "b"), Err(Refusal::Busy));
    let trap = alices_other_job().by("rm");
    assert_eq!(lab.rm(&trap, "b"), Err(Refusal::RefusedBefore));
    assert_eq!(lab.holder("b"), SCRIPT);
}

#[test]
fn a_flood_of_strangers_lets_no_loser_be_forgotten() {
    let mut lab = held(Options::default());
    assert_eq!(lab.touch(&alices_other_job(), "b"), Err(Refusal::Busy));
    for number in 0..5000 {
        assert_eq!(lab.touch(&bobs_job(number), "b"), Err(Refusal::Busy));
    }
    let trap = alices_other_job().by("rm");
    assert_eq!(lab.rm(&trap, "b"), Err(Refusal::RefusedBefore));
}

#[test]
fn whatever_way_it_lost() {
    type Try = fn(&mut Lab, &Caller);
    let ways: [Try; 8] = [
        |lab, who| assert!(lab.exclusive(who, "b").is_err()),
        |lab, who| assert!(lab.mknod(who, "b").is_err()),
        |lab, who| assert!(lab.mkdir(who, "b").is_err()),
        |lab, who| assert!(lab.symlink(who, "x", "b").is_err()),
        |lab, who| assert!(lab.open(who, "b", TRUNCATE).is_err()),
        |lab, who| assert!(lab.truncate(who, "b", 0).is_err()),
        |lab, who| {
            lab.touch(who, "mine").unwrap();
            assert_eq!(lab.link(who, "mine", "b"), Err(Refusal::Exists));
        },
        |lab, who| {
            lab.touch(who, "mine").unwrap();
            assert_eq!(lab.mv(who, "mine", "b"), Err(Refusal::Busy));
        },
    ];
    for (number, lose) in ways.iter().enumerate() {
        let mut lab = held(Options::default());
        lose(&mut lab, &alices_other_job());
        let trap = alices_other_job().by("rm");
        let kept = lab.rm(&trap, "b");
        assert_eq!(kept, Err(Refusal::RefusedBefore), "way {number}");
    }
}

#[test]
fn a_loser_in_a_subshell_is_known_by_its_script() {
    let mut lab = Lab::new();
    lab.touch(&alices_other_job(), "b").unwrap();
    assert_eq!(lab.touch(&alices_subshell(), "b"), Err(Refusal::Busy));
    for who in [alice(), alices_other_subshell()] {
        assert_eq!(lab.rm(&who.by("rm"), "b"), Err(Refusal::RefusedBefore));
    }
}

#[test]
fn a_loser_that_leaves_nobody_behind_is_known_by_its_user() {
    let mut lab = held(Options::default());
    assert_eq!(lab.touch(&detached(ALICE), "b"), Err(Refusal::Busy));
    let again = detached(ALICE).by("rm");
    assert_eq!(lab.rm(&again, "b"), Err(Refusal::RefusedBefore));
    assert_eq!(lab.rm(&alices_other_job().by("rm"), "b"), Ok(()));
}

#[test]
fn a_loser_may_again_in_another_hold() {
    let mut lab = held(Options::default());
    let _ = lab.touch(&alices_other_job(), "b");
    lab.rm(&alice(), "b").unwrap();
    lab.touch(&alice(), "b").unwrap();
    assert_eq!(lab.rm(&alices_other_job().by("rm"), "b"), Ok(()));
}

#[test]
fn reading_is_no_defeat() {
    let mut lab = held(Options::default());
    lab.open(&alices_other_job(), "b", READ).unwrap();
    lab.open(&alices_other_job(), "b", APPEND).unwrap();
    assert_eq!(lab.rm(&alices_other_job().by("rm"), "b"), Ok(()));
}

#[test]
fn under_release_holder_the_holders_side_alone_may() {
    let these = [
        alices_other_job(),
        detached(ALICE),
        bob(),
        root(),
        daemons_user(),
    ];
    for who in these {
        let who = who.by("rm");
        let kept = held(HOLDER_ALONE).rm(&who, "b");
        assert_eq!(kept, Err(Refusal::NotYours));
    }
    for who in [alice(), alices_subshell(), alices_child()] {
        assert_eq!(held(HOLDER_ALONE).rm(&who, "b"), Ok(()));
    }
}

#[test]
fn under_release_holder_a_detached_claim_is_still_its_users() {
    for (who, may) in [
        (detached(ALICE), Ok(())),
        (root(), Ok(())),
        (bob(), Err(Refusal::NotYours)),
    ] {
        let mut lab = Lab::with(HOLDER_ALONE);
        lab.touch(&detached(ALICE), "b").unwrap();
        assert_eq!(lab.rm(&who, "b"), may);
    }
}

#[test]
fn under_release_holder_no_expiry_set_by_others_ends_it() {
    let mut lab = held(Options {
        expire: crate::lock::options::ExpireRule::Hard,
        ..HOLDER_ALONE
    });
    let ino = lab.ino("b");
    for who in [alices_other_job(), root()] {
        let set = lab.table.set_expires(&lab.now, &who, ino, Some(1), None);
        assert_eq!(set, Err(Refusal::NotPermitted));
    }
    assert_eq!(lab.holder("b"), SCRIPT);
}

#[test]
fn a_claim_ends_with_its_process_whatever_children_still_run() {
    let mut lab = held(Options::default());
    let _inherited = lab.open(&alices_child(), "b", APPEND).unwrap();
    lab.effects();
    lab.pass(7);
    lab.died(SCRIPT);
    assert!(lab.is_free("b"));
    let effects = lab.effects();
    let [Effect::Released { held, end, after }, Effect::Unwatch(who)] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!((end, after.as_secs()), (&End::Died, 7));
    assert_eq!((&held.path[..], *who), (&b"b"[..], process(SCRIPT)));
    assert_eq!(lab.touch(&bob(), "b").map(|_| ()), Ok(()));
}

#[test]
fn all_that_a_process_held_ends_with_it_and_nothing_else() {
    let mut lab = Lab::new();
    for board in ["b", "c", "d"] {
        lab.touch(&alice(), board).unwrap();
    }
    lab.touch(&alices_child(), "child").unwrap();
    lab.touch(&bob(), "bob").unwrap();
    lab.died(SCRIPT);
    assert_eq!(lab.table.boards(), 2);
    assert_eq!((lab.holder("child"), lab.holder("bob")), (CHILD, BOBS));
}

#[test]
fn the_death_of_a_child_ends_nothing() {
    let mut lab = held(Options::default());
    lab.died(CHILD);
    assert_eq!(lab.holder("b"), SCRIPT);
}

#[test]
fn a_pid_that_is_used_again_is_another_process() {
    let mut lab = held(Options::default());
    let mut namesake = process(SCRIPT);
    namesake.start.0 += 1;
    lab.table.died(namesake, &lab.now);
    assert_eq!(lab.holder("b"), SCRIPT);
    let mut imposter = alice();
    imposter.ancestors = vec![namesake];
    if let crate::lock::caller::Standing::Process(candidate) = &mut imposter.standing {
        candidate.lineage = vec![namesake];
    }
    assert_eq!(lab.touch(&imposter, "b"), Err(Refusal::Busy));
}

#[test]
fn a_release_tells_by_whom() {
    let mut lab = held(Options::default());
    lab.effects();
    lab.rm(&root().by("rm"), "b").unwrap();
    let end = End::Unlinked {
        program: "rm".to_owned(),
        user: ROOT,
    };
    assert_eq!(lab.released(), [("b".to_owned(), end)]);
}

#[test]
fn a_refused_release_is_told_once_a_hold() {
    let mut lab = held(Options::default());
    lab.effects();
    for _ in 0..2 {
        let _ = lab.rm(&bob(), "b");
    }
    let told = lab.effects();
    assert_eq!(told.len(), 1);
    assert!(matches!(
        told[0],
        Effect::Refused {
            refusal: Refusal::NotYours,
            ..
        }
    ));
}

#[test]
fn a_holder_that_finds_its_own_board_taken_is_not_refused_it() {
    let mut lab = held(Options::default());
    assert_eq!(
        lab.exclusive(&alice(), "b").map(|_| ()),
        Err(Refusal::Exists)
    );
    lab.echo(
        &alice(),
        "b",
        "200",
        Some(Named::Process(candidate(ALICE, &[OTHER_JOB]))),
    );
    assert_eq!(lab.holder("b"), OTHER_JOB);
    assert_eq!(lab.rm(&alice(), "b"), Ok(()));
}

#[test]
fn who_was_refused_a_write_does_not_release() {
    let mut lab = held(Options::default());
    let append = OpenMode {
        write: true,
        append: true,
        ..OpenMode::default()
    };
    let handle = lab.open(&alices_other_job(), "b", append).unwrap();
    assert_eq!(
        lab.rm(&alices_other_job().by("true"), "c"),
        Err(Refusal::Missing)
    );
    let refused = lab.table.write(handle, 0, b"x").unwrap_err();
    lab.table.refuse_write(&alices_other_job(), handle, refused);
    assert_eq!(
        lab.rm(&alices_other_job(), "b"),
        Err(Refusal::RefusedBefore)
    );
}

#[test]
fn a_program_that_lost_and_the_script_around_it_are_one_loser() {
    let (script, child) = (alices_other_job(), alices_other_jobs_child());
    let lose = |lab: &mut Lab, who: &Caller| {
        assert_eq!(lab.touch(who, "b"), Err(Refusal::Busy));
        let ino = lab.table.take_defeat().unwrap();
        lab.table.remember_scripts(ino, who);
        assert_eq!(lab.table.take_defeat(), None);
    };
    for (loser, cleaner) in [(&child, &script), (&script, &child)] {
        let mut lab = held(Options::default());
        lose(&mut lab, loser);
        assert_eq!(lab.rm(cleaner, "b"), Err(Refusal::RefusedBefore));
    }
    // Two that only have a parent in common are strangers.
    let mut lab = held(Options::default());
    lose(&mut lab, &child);
    assert_eq!(lab.rm(&alices_other_jobs_second_child(), "b"), Ok(()));
}

#[test]
fn directories_are_nested_so_deep_and_no_deeper() {
    let mut lab = Lab::new();
    let mut path = "d".to_owned();
    for _ in 0..32 {
        lab.mkdir(&alice(), &path).unwrap();
        path.push_str("/d");
    }
    lab.touch(&alice(), &path).unwrap();
    lab.rm(&alice(), &path).unwrap();
    lab.mkdir(&alice(), &path).unwrap();
    let deeper = format!("{path}/b");
    assert_eq!(lab.touch(&alice(), &deeper), Err(Refusal::LongName));
    lab.mkdir(&alice(), "e").unwrap();
    assert_eq!(lab.mv(&alice(), "d", "e/d"), Err(Refusal::LongName));
}
