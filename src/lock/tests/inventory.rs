//! Which boards there are and who may take them: the inventory, by every way in which a
//! hold begins.

use std::sync::Arc;
use std::time::Duration;

use super::cast::*;
use super::lab::*;
use crate::inventory::accounts::Accounts;
use crate::inventory::parse::parse;
use crate::lock::Refusal;
use crate::lock::attributes::SetTime;
use crate::lock::caller::{Caller, Groups};
use crate::lock::content::Named;
use crate::lock::effect::Effect;
use crate::lock::file_lock::LockKind::{Exclusive, Shared};
use crate::lock::ids::{Gid, Handle, Ino};
use crate::lock::options::{ExpireRule, Options};
use crate::lock::rename::RenameKind;
use crate::lock::restored::Return;
use crate::lock::table::Table;
use crate::lock::time::{Expiry, Timestamp};

struct Cast;

impl Accounts for Cast {
    fn user(&self, name: &str) -> Result<Option<u32>, String> {
        match name {
            "alice" => Ok(Some(ALICE.uid.0)),
            "bob" => Ok(Some(BOB.uid.0)),
            _ => Err(name.to_owned()),
        }
    }

    fn group(&self, name: &str) -> Result<Option<u32>, String> {
        match name {
            "lab" => Ok(Some(LAB.0)),
            _ => Err(name.to_owned()),
        }
    }
}

const LAB: Gid = Gid(50);
/// A name as mktemp makes them.
const TEMPORARY: &str = "tmp.aaaaaa";

const FILE: &str = r#"
temporary = ["*.mine"]
[directories.rack]
[directories."rack/shelf"]
[boards.open]
[boards.bobs]
users = ["bob"]
[boards.labs]
groups = ["lab"]
[boards.broken]
out_of_service = "no power"
[boards.short]
longest_lease = "1h"
[boards."rack/inside"]
[boards."rack/bobs"]
users = ["bob"]
[boards."rack/shelf/deep"]
"#;

fn with(options: Options, file: &str) -> Lab {
    let mut lab = Lab::with(options);
    lab.inventory(file);
    lab
}

fn lab() -> Lab {
    with(Options::default(), FILE)
}

impl Lab {
    /// These are the boards from now on.
    fn inventory(&mut self, file: &str) {
        self.table.know(Some(Arc::new(parse(file, &Cast).unwrap())));
        self.table.lay_out(&self.now);
    }

    /// What was refused, and what was said about that.
    fn refusals(&mut self) -> Vec<(String, Refusal, Option<String>)> {
        let effects = self.effects().into_iter();
        let refused = effects.filter_map(|effect| match effect {
            Effect::Refused {
                path,
                refusal,
                about,
                ..
            } => Some((String::from_utf8(path).unwrap(), refusal, about)),
            _ => None,
        });
        refused.collect()
    }
}

fn in_lab(mut caller: Caller) -> Caller {
    caller.groups = Groups {
        request: vec![Gid(4), LAB],
        holder: vec![LAB],
    };
    caller
}

type Making = fn(&mut Lab, &Caller, &str) -> Result<(), Refusal>;

/// Every way to make a free board, in one table each.
fn makings() -> [(&'static str, Making); 7] {
    [
        ("creat", |lab, caller, path| {
            lab.create(caller, path, TRUNCATE).map(|_| ())
        }),
        ("creat to read", |lab, caller, path| {
            lab.create(caller, path, READ).map(|_| ())
        }),
        ("mknod", |lab, caller, path| {
            lab.mknod(caller, path).map(|_| ())
        }),
        ("mkdir", |lab, caller, path| {
            lab.mkdir(caller, path).map(|_| ())
        }),
        ("symlink", |lab, caller, path| {
            lab.symlink(caller, "nothing", path).map(|_| ())
        }),
        ("link", |lab, caller, path| {
            lab.mknod(caller, TEMPORARY)?;
            lab.link(caller, TEMPORARY, path)
        }),
        ("rename", |lab, caller, path| {
            lab.mknod(caller, TEMPORARY)?;
            lab.mv(caller, TEMPORARY, path)
        }),
    ]
}

#[test]
fn each_way_of_making_a_board_asks_the_inventory() {
    let no_such = Err(Refusal::NoSuchBoard);
    let not_admitted = Err(Refusal::NotAdmitted);
    for (way, make) in makings() {
        for (caller, path, outcome) in [
            (alice(), "open", Ok(())),
            (alice(), "rack/inside", Ok(())),
            (alice(), "rack/shelf/deep", Ok(())),
            (alice(), "opne", no_such),
            (root(), "opne", no_such),
            (alice(), "inside", no_such),
            (alice(), "rack/open", no_such),
            (alice(), "rack/shelf/inside", no_such),
            (alice(), "open.lock", no_such),
            // Names that tools make, anywhere, and those that the file says.
            (alice(), "lock.abc", Ok(())),
            (alice(), "rack/lock.abc", Ok(())),
            (alice(), "lock-lock", Ok(())),
            (alice(), "x.mine", Ok(())),
            (alice(), "bobs", not_admitted),
            (alice(), "rack/bobs", not_admitted),
            (bob(), "bobs", Ok(())),
            (in_lab(alice()), "bobs", not_admitted),
            (bob(), "labs", not_admitted),
            (in_lab(bob()), "labs", Ok(())),
            (root(), "bobs", Ok(())),
            (root(), "labs", Ok(())),
            (alice(), "broken", Err(Refusal::OutOfService)),
            (root(), "broken", Err(Refusal::OutOfService)),
            (detached(BOB), "bobs", Ok(())),
            (detached(ALICE), "bobs", not_admitted),
            // In alice's script with root's powers: it would be hers.
            (alices_sudo(), "bobs", not_admitted),
        ] {
            let mut lab = lab();
            assert_eq!(make(&mut lab, &caller, path), outcome, "{way} {path}");
            assert_eq!(lab.is_free(path), outcome.is_err(), "{way} {path}");
        }
    }
}

#[test]
fn whom_the_group_is_of_matters_on_both_sides() {
    let mut lab = lab();
    let mut caller = alices_sudo();
    caller.groups.holder = vec![LAB];
    assert_eq!(lab.mknod(&caller, "labs").map(|_| ()), Ok(()));
    lab.rm(&caller, "labs").unwrap();
    // What asks is another user's program, by whom she is not to get it.
    let mut caller = alice();
    caller.user = BOB;
    caller.groups.holder = vec![LAB];
    assert_eq!(
        lab.mknod(&caller, "labs").map(|_| ()),
        Err(Refusal::NotAdmitted)
    );
    caller.user.gid = LAB;
    assert_eq!(
        lab.mknod(&caller, "labs").map(|_| ()),
        Ok(()),
        "its first group"
    );
}

#[test]
fn a_refusal_says_what_was_meant_and_why() {
    let mut lab = lab();
    for (caller, path, refusal, about) in [
        (
            alice(),
            "opne",
            Refusal::NoSuchBoard,
            Some("the nearest is open"),
        ),
        (
            alice(),
            "rack/insied",
            Refusal::NoSuchBoard,
            Some("the nearest is rack/inside"),
        ),
        (alice(), "raspberry", Refusal::NoSuchBoard, None),
        (alice(), "broken", Refusal::OutOfService, Some("no power")),
        (alice(), "bobs", Refusal::NotAdmitted, Some("bob may")),
        (
            alice(),
            "labs",
            Refusal::NotAdmitted,
            Some("those in lab may"),
        ),
    ] {
        assert_eq!(lab.mknod(&caller, path).map(|_| ()), Err(refusal));
        let told = (path.to_owned(), refusal, about.map(str::to_owned));
        assert_eq!(lab.refusals(), [told]);
    }
}

#[test]
fn without_an_inventory_any_name_is_a_board() {
    let mut lab = Lab::new();
    assert_eq!(lab.mknod(&alice(), "opne").map(|_| ()), Ok(()));
    assert!(lab.table.free_boards().is_empty());
}

#[test]
fn names_in_a_claimed_directory_are_its_holders() {
    let mut lab = lab();
    lab.mkdir(&alice(), "open").unwrap();
    assert_eq!(lab.mknod(&alice(), "open/pid").map(|_| ()), Ok(()));
    assert_eq!(
        lab.mknod(&bob(), "open/x").map(|_| ()),
        Err(Refusal::InsideAnothers)
    );
    assert_eq!(
        lab.mkdir(&alice(), "opne").map(|_| ()),
        Err(Refusal::NoSuchBoard)
    );
}

#[test]
fn who_has_a_board_may_replace_it_whatever_the_file_says_by_now() {
    let mut lab = lab();
    lab.mknod(&alice(), "open").unwrap();
    lab.inventory("[boards.open]\nout_of_service = \"x\"\n");
    let rename = makings()[6].1;
    assert_eq!(rename(&mut lab, &alice(), "open"), Ok(()));
    assert_eq!(lab.holder("open"), SCRIPT);
    lab.rm(&alice(), "open").unwrap();
    assert_eq!(
        rename(&mut lab, &alice(), "open"),
        Err(Refusal::OutOfService)
    );
}

// File locks.

/// An open file of alice's by which the board was locked, and is free again.
fn freed(lab: &mut Lab, path: &str, mut caller: Caller) -> Handle {
    lab.inventory(&format!("[boards.{path}]\n"));
    caller.groups = Groups::default();
    let handle = lab.create(&caller, path, WRITE).unwrap();
    lab.flock(&caller, handle, Exclusive).unwrap();
    lab.unflock(&caller, handle);
    assert!(lab.is_free(path));
    lab.effects();
    lab.inventory(FILE);
    handle
}

#[test]
fn a_lock_that_takes_a_name_back_asks_the_inventory() {
    for (path, caller, outcome) in [
        ("open", alice(), Ok(())),
        ("bobs", alice(), Err(Refusal::NotAdmitted)),
        ("bobs", bob(), Ok(())),
        ("labs", alice(), Err(Refusal::NotAdmitted)),
        ("labs", in_lab(alice()), Ok(())),
        ("broken", alice(), Err(Refusal::OutOfService)),
        ("broken", root(), Err(Refusal::OutOfService)),
        ("gone", alice(), Err(Refusal::NoSuchBoard)),
    ] {
        let mut lab = lab();
        let handle = freed(&mut lab, path, caller.clone());
        assert_eq!(
            lab.flock(&caller, handle, Exclusive).map(|_| ()),
            outcome,
            "{path}"
        );
        assert_eq!(lab.is_free(path), outcome.is_err(), "{path}");
        // Nor does it wait.
        let mut lab = super::inventory::lab();
        let handle = freed(&mut lab, path, caller.clone());
        let locked = lab.lock_waiting(&caller, handle);
        assert_eq!(locked.map(|_| ()), outcome, "{path}");
    }
}

#[test]
fn who_may_not_have_a_held_board_does_not_wait_for_it() {
    let mut lab = lab();
    let bobs = lab.create(&bob(), "bobs", WRITE).unwrap();
    lab.flock(&bob(), bobs, Shared).unwrap();
    let alices = lab.open(&alice(), "bobs", APPEND).unwrap();
    for kind in [Exclusive, Shared] {
        let waited = lab.wait_flock(&alice(), alices, kind);
        assert_eq!(waited, Err(Refusal::NotAdmitted), "{kind:?}");
        assert_eq!(
            lab.flock(&alice(), alices, kind).map(|_| ()),
            Err(Refusal::NotAdmitted)
        );
    }
    lab.unflock(&bob(), bobs);
    assert!(lab.is_free("bobs"));
    // Claimed, it is the same.
    lab.mknod(&bob(), "bobs").unwrap();
    let alices = lab.open(&alice(), "bobs", APPEND).unwrap();
    let waited = lab.wait_flock(&alice(), alices, Exclusive);
    assert_eq!(waited, Err(Refusal::NotAdmitted));
}

#[test]
fn an_open_file_of_one_who_may_not_gives_him_nothing_by_anothers_lock() {
    let mut lab = lab();
    let alices = freed(&mut lab, "bobs", alice());
    assert_eq!(
        lab.flock(&bob(), alices, Exclusive).map(|_| ()),
        Err(Refusal::NotAdmitted)
    );
    assert_eq!(
        lab.flock(&root(), alices, Exclusive).map(|_| ()),
        Err(Refusal::NotAdmitted)
    );
    let bobs = freed(&mut lab, "bobs", bob());
    assert_eq!(
        lab.flock(&alice(), bobs, Exclusive).map(|_| ()),
        Err(Refusal::NotAdmitted)
    );
    assert_eq!(lab.flock(&root(), bobs, Exclusive).map(|_| ()), Ok(()));
}

#[test]
fn who_has_a_board_goes_on_locking_it() {
    let mut lab = lab();
    // A claim that turns out to be a lock.
    let open = lab.create(&alice(), "open", WRITE).unwrap();
    lab.inventory("[boards.open]\nout_of_service = \"x\"\n");
    assert_eq!(lab.flock(&alice(), open, Exclusive).map(|_| ()), Ok(()));
    assert_eq!(
        lab.flock(&alice(), open, Shared).map(|_| ()),
        Ok(()),
        "converted"
    );
    lab.unflock(&alice(), open);
    assert!(lab.is_free("open"));
    assert_eq!(
        lab.flock(&alice(), open, Exclusive).map(|_| ()),
        Err(Refusal::OutOfService)
    );
    // A claim whose side locks it, too.
    let mut lab = super::inventory::lab();
    lab.mknod(&alice(), "open").unwrap();
    lab.inventory("[boards.open]\nusers = [\"bob\"]\n");
    let child = lab.open(&alices_child(), "open", WRITE);
    let child = child
        .or_else(|_| lab.open(&alices_child(), "open", APPEND))
        .unwrap();
    assert_eq!(
        lab.flock(&alices_child(), child, Exclusive).map(|_| ()),
        Ok(())
    );
}

#[test]
fn what_runs_below_a_holder_for_another_user_locks_what_he_may() {
    let mut lab = lab();
    lab.mknod(&bob(), "bobs").unwrap();
    // In bob's script, as alice.
    let mut alices = bob();
    alices.user = ALICE;
    let handle = lab.open(&alices, "bobs", APPEND).unwrap();
    assert_eq!(
        lab.flock(&alices, handle, Exclusive).map(|_| ()),
        Err(Refusal::NotAdmitted)
    );
    let handle = lab.open(&bob(), "bobs", APPEND).unwrap();
    assert_eq!(lab.flock(&bob(), handle, Exclusive).map(|_| ()), Ok(()));
}

#[test]
fn who_waits_when_the_file_changes_is_turned_away() {
    for file in [
        "[boards.open]\nout_of_service = \"x\"\n",
        "[boards.open]\nusers = [\"alice\"]\n",
        "[boards.other]\n",
    ] {
        let mut lab = lab();
        let first = lab.create(&alice(), "open", WRITE).unwrap();
        lab.flock(&alice(), first, Exclusive).unwrap();
        let bobs = lab.open(&bob(), "open", APPEND).unwrap();
        let waits = lab.wait_flock(&bob(), bobs, Exclusive).unwrap();
        assert_eq!(lab.answered(waits), None);
        lab.inventory(file);
        assert!(matches!(lab.answered(waits), Some(Err(_))), "{file}");
        assert_eq!(lab.table.waiters(), 0);
        // Who has it keeps it.
        assert!(!lab.is_free("open"));
        lab.unflock(&alice(), first);
        assert!(lab.is_free("open"));
    }
}

#[test]
fn who_may_still_have_it_keeps_his_place() {
    let mut lab = lab();
    let first = lab.create(&bob(), "labs", WRITE);
    assert_eq!(first.err(), Some(Refusal::NotAdmitted));
    let first = lab.create(&root(), "labs", WRITE).unwrap();
    lab.flock(&root(), first, Exclusive).unwrap();
    let (bobs, alices) = (in_lab(bob()), in_lab(alice()));
    let (one, two) = (
        lab.open(&bobs, "labs", APPEND).unwrap(),
        lab.open(&alices, "labs", APPEND).unwrap(),
    );
    let one = lab.wait_flock(&bobs, one, Exclusive).unwrap();
    let two = lab.wait_flock(&alices, two, Exclusive).unwrap();
    lab.inventory("[boards.labs]\ngroups = [\"lab\"]\ndescription = \"new\"\n");
    assert_eq!((lab.answered(one), lab.answered(two)), (None, None));
    lab.unflock(&root(), first);
    assert_eq!(lab.answered(one), Some(Ok(None)));
    assert_eq!(lab.answered(two), None);
}

#[test]
fn a_loser_by_the_file_releases_nothing_of_its_users() {
    let mut lab = lab();
    lab.mknod(&alice(), "open").unwrap();
    lab.inventory("[boards.open]\nout_of_service = \"x\"\n");
    let other = alices_other_job();
    let handle = lab.open(&other, "open", APPEND).unwrap();
    assert_eq!(
        lab.flock(&other, handle, Exclusive).map(|_| ()),
        Err(Refusal::OutOfService)
    );
    assert_eq!(lab.rm(&other, "open"), Err(Refusal::RefusedBefore));
    assert_eq!(lab.rm(&alice(), "open"), Ok(()));
}

#[test]
fn a_board_is_not_written_over_to_one_who_may_not_have_it() {
    let mut lab = lab();
    let handle = lab.create(&bob(), "bobs", WRITE).unwrap();
    let kept = lab.table.write(handle, 0, b"100\n").unwrap();
    let alices = Named::Process(candidate(ALICE, &[SCRIPT]));
    assert_eq!(
        lab.table.may_name(&kept, &alices),
        Err(Refusal::NotAdmitted)
    );
    lab.table.name(&lab.now, &kept, alices);
    assert_eq!(lab.holder("bobs"), BOBS);
    let roots = Named::Process(candidate(ROOT, &[ROOTS]));
    assert_eq!(lab.table.may_name(&kept, &roots), Ok(()));
    lab.table.name(&lab.now, &kept, roots);
    assert_eq!(lab.holder("bobs"), ROOTS);
}

// The longest lease.

fn ends(lab: &Lab, path: &str) -> Option<u64> {
    let expiry = lab.table.claim(lab.ino(path)).unwrap().expiry?;
    Some(match expiry {
        Expiry::Lease { ends, .. } => (ends.0 - lab.now.boot.0).as_secs(),
        Expiry::At(moment) => moment.since(lab.now.wall).unwrap().as_secs(),
    })
}

/// So many seconds after the start.
fn to(secs: i64) -> SetTime {
    SetTime::To(Timestamp::from_secs(START + secs))
}

fn cuts(lab: &mut Lab) -> usize {
    let effects = lab.effects().into_iter();
    effects
        .filter(|effect| matches!(effect, Effect::Cut { .. }))
        .count()
}

#[test]
fn each_claim_of_a_board_has_its_longest_lease_at_most() {
    for (way, make) in makings() {
        let mut lab = lab();
        make(&mut lab, &alice(), "short").unwrap();
        assert_eq!(ends(&lab, "short"), Some(3600), "{way}");
        assert_eq!(cuts(&mut lab), 0, "nobody wanted more");
        lab.pass(1000);
        assert_eq!(ends(&lab, "short"), Some(2600));
    }
}

#[test]
fn the_shorter_of_two_leases_counts() {
    for (lease, left) in [(60, 60), (7200, 3600)] {
        let options = Options {
            lease: Some(Duration::from_secs(lease)),
            ..Options::default()
        };
        let mut lab = with(options, FILE);
        lab.mknod(&alice(), "short").unwrap();
        lab.mknod(&alice(), "open").unwrap();
        assert_eq!(ends(&lab, "short"), Some(left));
        assert_eq!(ends(&lab, "open"), Some(lease));
        lab.pass(10);
        lab.touch(&alice(), "short").unwrap();
        assert_eq!(ends(&lab, "short"), Some(left), "renewed");
    }
}

#[test]
fn an_expiry_too_far_ahead_is_cut_and_told() {
    let mut lab = lab();
    let handle = lab.create(&alice(), "short", WRITE).unwrap();
    lab.touch_at(&alice(), "short", to(600)).unwrap();
    assert_eq!((ends(&lab, "short"), cuts(&mut lab)), (Some(600), 0));
    assert_eq!(lab.stat("short").mtime.secs, START + 600);
    lab.touch_at(&alice(), "short", to(7200)).unwrap();
    assert_eq!((ends(&lab, "short"), cuts(&mut lab)), (Some(3600), 1));
    assert_eq!(
        lab.stat("short").mtime.secs,
        START + 3600,
        "what it is good for"
    );
    let ino = lab.ino("short");
    let set = |lab: &mut Lab, to| lab.table.set_expires(&lab.now, &alice(), ino, to, None);
    set(&mut lab, Some(START + 9999)).unwrap();
    assert_eq!((ends(&lab, "short"), cuts(&mut lab)), (Some(3600), 1));
    lab.pass(100);
    set(&mut lab, None).unwrap();
    assert_eq!((ends(&lab, "short"), cuts(&mut lab)), (Some(3600), 0));
    let text = format!("{} {SCRIPT}\n", START + 9999);
    let kept = lab.table.write(handle, 0, text.as_bytes()).unwrap();
    lab.table
        .name(&lab.now, &kept, Named::Process(candidate(ALICE, &[SCRIPT])));
    assert_eq!((ends(&lab, "short"), cuts(&mut lab)), (Some(3600), 1));
    assert_eq!(lab.content("short"), text.as_bytes());
}

#[test]
fn a_cut_lease_frees_a_detached_claim_and_a_held_one_where_that_is_wanted() {
    let mut lab = lab();
    lab.mknod(&detached(ALICE), "short").unwrap();
    lab.pass(3599);
    assert!(!lab.is_free("short"));
    lab.pass(1);
    assert!(lab.is_free("short"));
    let hard = Options {
        expire: ExpireRule::Hard,
        ..Options::default()
    };
    let mut lab = with(hard, FILE);
    lab.mknod(&alice(), "short").unwrap();
    lab.pass(3600);
    assert!(lab.is_free("short"));
}

#[test]
fn what_is_held_when_the_file_changes_has_what_it_had() {
    let mut lab = lab();
    lab.mknod(&alice(), "open").unwrap();
    lab.touch_at(&alice(), "open", to(9999)).unwrap();
    lab.inventory("[boards.open]\nlongest_lease = \"1h\"\n");
    assert_eq!(ends(&lab, "open"), Some(9999));
    lab.touch_at(&alice(), "open", to(9000)).unwrap();
    assert_eq!(ends(&lab, "open"), Some(3600));
    for file in ["", "[boards.open]\nusers = [\"bob\"]\n"] {
        lab.inventory(file);
        assert_eq!(lab.holder("open"), SCRIPT);
    }
    lab.rm(&alice(), "open").unwrap();
    assert_eq!(
        lab.mknod(&alice(), "open").map(|_| ()),
        Err(Refusal::NotAdmitted)
    );
}

#[test]
fn file_locks_have_no_lease() {
    let mut lab = lab();
    let handle = lab.create(&alice(), "short", WRITE).unwrap();
    lab.flock(&alice(), handle, Exclusive).unwrap();
    assert_eq!(ends(&lab, "short"), None);
}

// Directories.

#[test]
fn directories_are_there_and_stay() {
    let mut lab = lab();
    for path in ["rack", "rack/shelf"] {
        let at = lab.at(path).unwrap();
        for caller in [alice(), root()] {
            let gone = lab.table.unlink(&lab.now, &caller, at, true);
            assert_eq!(gone, Err(Refusal::LaidOut), "{path}");
            let to = lab.at("open").unwrap();
            let moved = lab
                .table
                .rename(&lab.now, &caller, at, to, RenameKind::Replace);
            assert_eq!(moved, Err(Refusal::LaidOut), "{path}");
            assert_eq!(
                lab.touch(&caller, path).err(),
                Some(Refusal::LaidOut),
                "{path}"
            );
            assert_eq!(lab.mkdir(&caller, path).map(|_| ()), Err(Refusal::Exists));
            let ino = lab.ino(path);
            let annotated = lab.table.set_note(&caller, ino, None, None);
            assert_eq!(annotated, Err(Refusal::LaidOut));
        }
        lab.mkdir(&alice(), "tmp.aaaaaa").unwrap();
        let from = lab.at("tmp.aaaaaa").unwrap();
        let over = lab
            .table
            .rename(&lab.now, &alice(), from, at, RenameKind::Replace);
        assert_eq!(over, Err(Refusal::LaidOut), "{path}");
        lab.table.unlink(&lab.now, &alice(), from, true).unwrap();
        assert_eq!(lab.stat(path).user.uid, Options::default().daemon);
    }
    assert_eq!(lab.table.boards(), 0, "they are no boards");
    assert_eq!(
        lab.table
            .unlink(&lab.now, &root(), (Ino::ROOT, b"rack"), false),
        Err(Refusal::IsDirectory)
    );
}

#[test]
fn boards_in_them_are_anyones_and_come_and_go() {
    let mut lab = lab();
    lab.mknod(&alice(), "rack/inside").unwrap();
    lab.mknod(&bob(), "rack/bobs").unwrap();
    assert_eq!(
        lab.mknod(&bob(), "rack/inside").map(|_| ()),
        Err(Refusal::Exists)
    );
    assert_eq!(lab.table.boards(), 2);
    lab.died(SCRIPT);
    assert!(lab.is_free("rack/inside") && !lab.is_free("rack"));
    lab.rm(&bob(), "rack/bobs").unwrap();
    assert!(!lab.is_free("rack"));
    assert_eq!(lab.table.boards(), 0);
}

#[test]
fn free_boards_are_listed() {
    let mut lab = lab();
    let names = |lab: &Lab| -> Vec<String> {
        let free = lab.table.free_boards().into_iter();
        free.map(|path| String::from_utf8(path).unwrap()).collect()
    };
    let all = [
        "bobs",
        "broken",
        "labs",
        "open",
        "rack/bobs",
        "rack/inside",
        "rack/shelf/deep",
        "short",
    ];
    assert_eq!(names(&lab), all);
    lab.mknod(&alice(), "open").unwrap();
    lab.mknod(&alice(), "rack/shelf/deep").unwrap();
    let fewer: Vec<&str> = all
        .into_iter()
        .filter(|name| !["open", "rack/shelf/deep"].contains(name))
        .collect();
    assert_eq!(names(&lab), fewer);
}

#[test]
fn a_directory_that_is_listed_no_more_goes_once_it_is_empty() {
    let mut lab = lab();
    lab.mknod(&alice(), "rack/shelf/deep").unwrap();
    lab.inventory("[boards.open]\n");
    assert!(!lab.is_free("rack") && !lab.is_free("rack/shelf"));
    assert_eq!(
        lab.mknod(&bob(), "rack/inside").map(|_| ()),
        Err(Refusal::NoSuchBoard)
    );
    lab.rm(&alice(), "rack/shelf/deep").unwrap();
    assert!(lab.is_free("rack"), "both went");
    assert_eq!(lab.table.residue(), 0);
    lab.inventory(FILE);
    lab.inventory("");
    assert!(lab.is_free("rack"));
    assert_eq!(lab.table.residue(), 0);
}

#[test]
fn a_name_that_is_held_becomes_a_directory_once_it_is_free() {
    for (what, directory) in [("file", false), ("directory", true)] {
        let mut lab = with(Options::default(), "[boards.rack]\n");
        match directory {
            true => lab.mkdir(&alice(), "rack").unwrap(),
            false => lab.mknod(&alice(), "rack").unwrap(),
        };
        let before = lab.ino("rack");
        lab.inventory(FILE);
        assert_eq!(lab.ino("rack"), before, "{what}: a hold stays");
        assert!(lab.find("rack/shelf").is_err());
        assert_eq!(lab.holder("rack"), SCRIPT);
        let at = lab.at("rack").unwrap();
        lab.table.unlink(&lab.now, &alice(), at, directory).unwrap();
        // Nobody is faster.
        assert_eq!(lab.mknod(&bob(), "rack").map(|_| ()), Err(Refusal::LaidOut));
        lab.pass(0);
        assert!(lab.find("rack/shelf").is_ok());
        assert_eq!(lab.mknod(&bob(), "rack/inside").map(|_| ()), Ok(()));
        assert_eq!(lab.table.boards(), 1);
    }
}

// Over a restart.

fn restarted(lab: &Lab, how: Return, file: Option<&str>) -> Lab {
    let saved = lab.table.saved(&lab.now);
    let mut back = Lab::new();
    back.now = lab.now;
    back.table = Table::new(*lab.table.options(), &lab.now);
    back.table
        .know(file.map(|file| Arc::new(parse(file, &Cast).unwrap())));
    let restored = back.table.restore(&lab.now, saved, how, |_| Vec::new());
    assert_eq!(restored.lost, 0);
    back.table.lay_out(&back.now);
    back
}

#[test]
fn boards_in_directories_come_back_in_the_same_inodes() {
    for how in [Return::Connected, Return::SameBoot] {
        let mut lab = lab();
        lab.mknod(&alice(), "rack/inside").unwrap();
        lab.mknod(&alice(), "bobs").unwrap_err();
        let inodes = ["rack", "rack/shelf", "rack/inside"].map(|path| lab.ino(path));
        let mut back = restarted(&lab, how, Some(FILE));
        assert_eq!(
            inodes,
            ["rack", "rack/shelf", "rack/inside"].map(|path| back.ino(path))
        );
        assert_eq!(back.holder("rack/inside"), SCRIPT);
        assert_eq!(back.table.boards(), 1);
        let rack = back.at("rack").unwrap();
        let gone = back.table.unlink(&back.now, &root(), rack, true);
        assert_eq!(gone, Err(Refusal::LaidOut));
        // Again, and nothing has become of it.
        let again = restarted(&back, how, Some(FILE));
        assert_eq!(again.ino("rack/inside"), inodes[2]);
    }
}

#[test]
fn what_is_held_comes_back_whatever_the_file_says_by_then() {
    for file in [Some(""), Some("[boards.inside]\n"), None] {
        let mut lab = lab();
        lab.mknod(&alice(), "rack/inside").unwrap();
        lab.mknod(&alice(), "open").unwrap();
        let mut back = restarted(&lab, Return::SameBoot, file);
        assert_eq!(back.holder("rack/inside"), SCRIPT);
        assert_eq!(back.holder("open"), SCRIPT);
        assert!(back.is_free("rack/shelf"), "it was empty");
        back.died(SCRIPT);
        assert!(back.is_free("rack") && back.is_free("open"));
        assert_eq!(back.table.residue(), 0);
    }
}

#[test]
fn after_a_boot_the_directories_are_there_and_empty() {
    let mut lab = lab();
    lab.mknod(&alice(), "rack/inside").unwrap();
    let back = restarted(&lab, Return::OtherBoot, Some(FILE));
    assert!(back.is_free("rack/inside"));
    assert!(!back.is_free("rack/shelf"));
}

#[test]
fn who_waited_when_the_daemon_died_is_judged_by_the_file_as_it_is() {
    let mut lab = lab();
    let first = lab.create(&alice(), "open", WRITE).unwrap();
    lab.flock(&alice(), first, Exclusive).unwrap();
    let bobs = lab.open(&bob(), "open", APPEND).unwrap();
    lab.wait_flock(&bob(), bobs, Exclusive).unwrap();
    let back = restarted(&lab, Return::Connected, Some(FILE));
    assert_eq!(back.table.waiters(), 1);
    let back = restarted(
        &lab,
        Return::Connected,
        Some("[boards.open]\nusers = [\"alice\"]\n"),
    );
    assert_eq!(back.table.waiters(), 0);
    assert!(!back.is_free("open"));
}
