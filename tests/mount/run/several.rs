//! Several boards at once, wanted in other orders by others: no deadlock, and nobody has one
//! that another has.

use libtest_mimic::Trial;

use super::{run, waits};
use crate::lab::Lab;
use crate::process::{PATIENCE, Running};
use crate::shown::{free, held_by};
use crate::waiting::line_up;

pub fn tests() -> Vec<Trial> {
    trials![
        nothing_is_held_while_it_waits("python3");
        it_fails_as_a_whole("python3");
        crossing_orders_end("flock");
    ]
}

fn nothing_is_held_while_it_waits() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    holder.ok("touch('b')");
    let mut running = run(&lab, "a b c -- sh -c 'echo in; read line'");
    waits(&lab, "b", &running);
    free(&lab, "a", "not while it waits");
    free(&lab, "c", "not while it waits");
    // When its turn comes another is missing: it waits for that one, and lets go of this.
    holder.ok("touch('c')");
    holder.ok("os.unlink('b')");
    waits(&lab, "c", &running);
    free(&lab, "a", "not while it waits");
    free(&lab, "b", "not while it waits");
    holder.ok("os.unlink('c')");
    running.expect("in");
    for board in ["a", "b", "c"] {
        held_by(&lab, board, running.pid(), "all at once");
        line_up(&lab, board, &[]);
    }
    running.say("");
    running.wait(PATIENCE).ok();
}

fn it_fails_as_a_whole() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    holder.ok("touch('b')");
    for options in ["-n", "-w 0.3"] {
        for boards in ["a b", "b a", "b a c"] {
            lab.sh(
                "bash",
                &format!("$BOARDLOCK run {options} {boards} -- echo never"),
            )
            .fails(1)
            .said("b is held by");
            assert_eq!(lab.boards(), ["b"]);
        }
    }
}

/// Has the boards `x` and `y` to itself, or says that it has not.
const WITNESS: &str = "sh -c 'mkdir ../has-x && mkdir ../has-y && rmdir ../has-x ../has-y \
                       || { echo BROKEN; exit 99; }'";

fn crossing_orders_end() {
    let lab = Lab::new(&[]);
    let often = |command: &str| format!("for i in $(seq 15); do {command} || exit; done");
    let clients: Vec<Running> = [
        format!("$BOARDLOCK run -q x y -- {WITNESS}"),
        format!("$BOARDLOCK run -q y x -- {WITNESS}"),
        format!("$BOARDLOCK run -q x y z -- {WITNESS}"),
        // What scripts have always done, the other way round.
        format!("flock y flock x {WITNESS}"),
        format!("flock y flock x {WITNESS}"),
    ]
    .iter()
    .map(|command| lab.spawn("bash", &often(command)))
    .collect();
    for client in clients {
        let output = client.wait(4 * PATIENCE).ok();
        assert!(!output.stdout.contains("BROKEN"), "{output}");
    }
    assert_eq!(lab.boards(), [""; 0]);
}
