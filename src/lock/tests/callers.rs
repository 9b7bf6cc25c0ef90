//! "Words" and "Who is the caller": lineages, and whose end is waited for.

use super::cast::*;
use super::lab::*;
use crate::lock::Refusal;
use crate::lock::content::Named;
use crate::lock::effect::Effect;

#[test]
fn a_subshell_and_its_tools_are_the_holder_while_it_lives() {
    let mut lab = Lab::new();
    lab.touch(&alices_subshell(), "b").unwrap();
    assert_eq!(lab.holder("b"), SUBSHELL);
    assert!(lab.touch(&alices_subshell(), "b").is_ok());
    // the script it was forked from is not, nor is another subshell of it
    for who in [alice(), alices_other_subshell(), alices_child()] {
        assert_eq!(lab.touch(&who, "b"), Err(Refusal::Busy));
    }
}

#[test]
fn when_it_ends_the_claim_passes_to_its_shell() {
    let mut lab = Lab::new();
    lab.touch(&alices_subshell(), "b").unwrap();
    let token = lab.token("b");
    lab.effects();
    lab.died(SUBSHELL);
    assert_eq!((lab.holder("b"), lab.token("b")), (SCRIPT, token));
    let effects = lab.effects();
    let [Effect::Unwatch(ended), Effect::Passed(held)] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(
        (*ended, held.holder),
        (process(SUBSHELL), Some(process(SCRIPT)))
    );
    assert!(lab.touch(&alice(), "b").is_ok());
    // what was forked from it is the holder now too
    assert!(lab.touch(&alices_other_subshell(), "b").is_ok());
    lab.died(SCRIPT);
    assert!(lab.is_free("b"));
}

#[test]
fn when_its_shell_ends_first_it_holds_to_its_own_end() {
    let mut lab = Lab::new();
    lab.touch(&alices_subshell(), "b").unwrap();
    lab.effects();
    lab.died(SCRIPT);
    assert_eq!(lab.holder("b"), SUBSHELL);
    assert_eq!(lab.watched(), (vec![], vec![SCRIPT]));
    lab.died(SUBSHELL);
    assert!(lab.is_free("b"));
}

#[test]
fn a_script_holds_for_the_shells_that_are_forked_from_it() {
    let mut lab = Lab::new();
    lab.touch(&alice(), "b").unwrap();
    for who in [alices_subshell(), alices_other_subshell()] {
        assert!(lab.touch(&who, "b").is_ok());
    }
    lab.died(SUBSHELL);
    assert_eq!(lab.holder("b"), SCRIPT);
}

#[test]
fn of_two_parallel_subshells_one_gets_it() {
    let mut lab = Lab::new();
    lab.touch(&alices_subshell(), "b").unwrap();
    let second = lab.touch(&alices_other_subshell(), "b");
    assert_eq!(second, Err(Refusal::Busy));
    // and the loser cannot take it away
    let trap = alices_other_subshell().by("rm");
    assert_eq!(lab.rm(&trap, "b"), Err(Refusal::RefusedBefore));
}

#[test]
fn each_process_of_a_lineage_is_watched_once_and_as_long_as_needed() {
    let mut lab = Lab::new();
    lab.touch(&alices_subshell(), "b").unwrap();
    assert_eq!(lab.watched(), (vec![SUBSHELL, SCRIPT], vec![]));
    lab.touch(&alices_subshell(), "c").unwrap();
    lab.touch(&alice(), "d").unwrap();
    assert_eq!(lab.watched(), (vec![], vec![]));
    lab.rm(&alices_subshell(), "b").unwrap();
    assert_eq!(lab.watched(), (vec![], vec![]));
    lab.rm(&alices_subshell(), "c").unwrap();
    assert_eq!(lab.watched(), (vec![], vec![SUBSHELL]));
    lab.rm(&alice(), "d").unwrap();
    assert_eq!(lab.watched(), (vec![], vec![SCRIPT]));
    assert!(!lab.table.hangs_on(process(SCRIPT)));
}

#[test]
fn refusals_readers_and_detached_claims_watch_nobody() {
    let mut lab = Lab::new();
    lab.touch(&alice(), "b").unwrap();
    lab.effects();
    let _ = lab.touch(&bob(), "b");
    let _ = lab.exclusive(&bob(), "b");
    lab.open(&bob(), "b", READ).unwrap();
    lab.open(&bob(), "b", APPEND).unwrap();
    lab.touch(&detached(BOB), "c").unwrap();
    assert_eq!(lab.watched(), (vec![], vec![]));
}

#[test]
fn links_and_renames_watch_nobody_anew() {
    let mut lab = Lab::new();
    lab.touch(&alice(), "b").unwrap();
    lab.effects();
    lab.link(&alice(), "b", "c").unwrap();
    lab.mv(&alice(), "b", "d").unwrap();
    lab.rm(&alice(), "c").unwrap();
    assert_eq!(lab.watched(), (vec![], vec![]));
    lab.rm(&alice(), "d").unwrap();
    assert_eq!(lab.watched(), (vec![], vec![SCRIPT]));
}

#[test]
fn a_script_named_in_its_subshells_board_holds_from_then_on() {
    let mut lab = Lab::new();
    let script = Some(Named::Process(candidate(ALICE, &[SCRIPT])));
    lab.touch(&alices_subshell(), "b").unwrap();
    lab.effects();
    lab.echo(&alices_subshell(), "b", "100", script);
    assert_eq!(lab.holder("b"), SCRIPT);
    // the script was watched already
    assert_eq!(lab.watched(), (vec![], vec![SUBSHELL]));
    lab.died(SUBSHELL);
    assert_eq!(lab.holder("b"), SCRIPT);
}

#[test]
fn the_death_of_a_stranger_changes_nothing() {
    let mut lab = Lab::new();
    lab.touch(&alice(), "b").unwrap();
    lab.effects();
    lab.died(4242);
    assert!(lab.effects().is_empty());
}
