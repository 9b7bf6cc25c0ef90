//! `--any`: one of several boards, whichever is free first.

use std::collections::BTreeSet;

use libtest_mimic::Trial;

use super::{run, waits};
use crate::lab::Lab;
use crate::process::PATIENCE;
use crate::shown::{free, held_by};
use crate::waiting::line_up;

pub fn tests() -> Vec<Trial> {
    trials![
        three_want_one_of_two("bash");
        two_of_three_are_two("bash");
        a_board_and_any_of_others("python3");
        one_that_is_refused_does_not_keep_it_from_the_others("bash");
    ]
}

const HOLD: &str = "sh -c 'echo $BOARDLOCK_BOARD; read line'";

fn three_want_one_of_two() {
    let lab = Lab::new(&[]);
    let any = format!("--any p1,p2 -- {HOLD}");
    let (mut one, mut two) = (run(&lab, &any), run(&lab, &any));
    let has: BTreeSet<String> = [one.line(), two.line()].into();
    assert_eq!(has, ["p1".to_owned(), "p2".to_owned()].into());
    let mut three = run(&lab, &any);
    waits(&lab, "p1", &three);
    waits(&lab, "p2", &three);
    assert_eq!(three.said(), 0);
    lab.sh("bash", "$BOARDLOCK run -n --any p1,p2 -- true")
        .fails(1)
        .said("p1 is held by")
        .said("p2 is held by");
    let first = lab.status("p1")["pid"] == one.pid().to_string();
    let (first, second) = if first { (one, two) } else { (two, one) };
    // Which of them comes free first is its own.
    let mut second = second;
    second.say("");
    second.wait(PATIENCE).ok();
    three.expect("p2");
    held_by(&lab, "p2", three.pid(), "that which came free");
    held_by(&lab, "p1", first.pid(), "the other");
    line_up(&lab, "p1", &[]);
    let mut first = first;
    first.say("");
    first.wait(PATIENCE).ok();
    free(&lab, "p1", "nobody waits for it any more");
    three.say("");
    three.wait(PATIENCE).ok();
}

fn two_of_three_are_two() {
    let lab = Lab::new(&[]);
    let output = lab.sh(
        "bash",
        "$BOARDLOCK run --any p1,p2 --any p1,p2,p3 -- sh -c 'echo $BOARDLOCK_BOARD'",
    );
    assert_eq!(output.ok().stdout, "p1 p2\n");
    lab.sh("bash", "$BOARDLOCK run p1 --any p1 -- true")
        .fails(66)
        .said("fewer are meant");
}

fn a_board_and_any_of_others() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    holder.ok("touch('p1'); touch('p2')");
    let mut running = run(&lab, &format!("relay --any p1,p2 -- {HOLD}"));
    waits(&lab, "p1", &running);
    waits(&lab, "p2", &running);
    free(&lab, "relay", "not while it waits");
    holder.ok("os.unlink('p2')");
    running.expect("relay p2");
    running.say("");
    running.wait(PATIENCE).ok();
}

fn one_that_is_refused_does_not_keep_it_from_the_others() {
    let lab = Lab::new(&[]);
    let output = lab.sh(
        "bash",
        "$BOARDLOCK run --any no/dir,b -- sh -c 'echo $BOARDLOCK_BOARD'",
    );
    assert_eq!(output.ok().stdout, "b\n");
}
