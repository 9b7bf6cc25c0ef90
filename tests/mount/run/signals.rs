//! Signals to `boardlock run`: they end a wait, and go to the command while it runs.

use std::os::unix::process::ExitStatusExt;

use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};

use super::{run, stander, waits};
use crate::lab::Lab;
use crate::process::{PATIENCE, eventually};
use crate::shown::{becomes_free, free, held_by, stat};
use crate::waiting::line_up;

pub fn tests() -> Vec<Trial> {
    trials![
        a_signal_ends_the_wait("python3");
        who_ends_what_the_status_shows_ends_it("python3");
        killed_while_it_waits_it_leaves_nobody_in_line("python3");
        what_is_ignored_ends_nothing("python3");
        a_signal_is_passed_on("bash");
        it_outlives_a_command_that_takes_its_time("bash");
        a_stopped_command_goes_on("bash");
    ]
}

fn a_signal_ends_the_wait() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    holder.ok("touch('b')");
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT] {
        let running = run(&lab, "b -- echo never");
        stander(&lab, "b", &running);
        running.signal(signal);
        let output = running.wait(PATIENCE);
        assert_eq!(output.status.signal(), Some(signal.as_raw()), "{output}");
        assert_eq!(output.stdout, "");
        line_up(&lab, "b", &[]);
    }
}

fn who_ends_what_the_status_shows_ends_it() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    holder.ok("touch('b')");
    let running = run(&lab, "b -- echo never");
    let shown = stander(&lab, "b", &running);
    kill_process(Pid::from_raw(shown.cast_signed()).unwrap(), Signal::TERM).unwrap();
    let output = running.wait(PATIENCE);
    assert_eq!(
        output.status.signal(),
        Some(Signal::TERM.as_raw()),
        "{output}"
    );
}

fn killed_while_it_waits_it_leaves_nobody_in_line() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    holder.ok("touch('a'); touch('b')");
    let mut running = run(&lab, "--any a,b -- echo never");
    waits(&lab, "a", &running);
    waits(&lab, "b", &running);
    running.kill();
    line_up(&lab, "a", &[]);
    line_up(&lab, "b", &[]);
    holder.ok("os.unlink('b')");
    free(&lab, "b", "nobody wants it");
}

fn what_is_ignored_ends_nothing() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    holder.ok("touch('b')");
    let running = lab.spawn("bash", "trap '' HUP; exec $BOARDLOCK run b -- echo mine");
    let shown = stander(&lab, "b", &running);
    running.signal(Signal::HUP);
    kill_process(Pid::from_raw(shown.cast_signed()).unwrap(), Signal::HUP).unwrap();
    line_up(&lab, "b", &[shown]);
    holder.ok("os.unlink('b')");
    assert_eq!(running.wait(PATIENCE).ok().stdout, "mine\n");
}

fn a_signal_is_passed_on() {
    let lab = Lab::new(&[]);
    for name in ["TERM", "HUP", "INT", "QUIT", "USR1", "USR2"] {
        let script = format!(
            "trap \"echo got {name}; exit 5\" {name}; echo in; while :; do read -t 1 line; done"
        );
        let mut running = run(&lab, &format!("b -- bash -c '{script}'"));
        running.expect("in");
        let signal = match name {
            "TERM" => Signal::TERM,
            "HUP" => Signal::HUP,
            "INT" => Signal::INT,
            "QUIT" => Signal::QUIT,
            "USR1" => Signal::USR1,
            _ => Signal::USR2,
        };
        running.signal(signal);
        running.expect(&format!("got {name}"));
        running.wait(PATIENCE).fails(5);
        free(&lab, "b", name);
    }
    // One that ends the command is told as flock(1) tells it.
    let mut running = run(&lab, "b -- sh -c 'echo in; exec sleep 1000'");
    running.expect("in");
    running.signal(Signal::TERM);
    running.wait(PATIENCE).fails(143);
}

fn it_outlives_a_command_that_takes_its_time() {
    let lab = Lab::new(&[]);
    let script = "trap \"echo tidying; read line; echo done; exit 0\" TERM; echo in; \
                  while :; do read -t 1 line; done";
    let mut running = run(&lab, &format!("b -- bash -c '{script}'"));
    running.expect("in");
    running.signal(Signal::TERM);
    running.expect("tidying");
    held_by(&lab, "b", running.pid(), "while it tidies up");
    running.say("");
    running.expect("done");
    running.wait(PATIENCE).ok();
    becomes_free(&lab, "b");
}

fn a_stopped_command_goes_on() {
    let lab = Lab::new(&[]);
    let mut running = run(&lab, "b -- bash -c 'echo $$; read line; echo got $line'");
    let command: u32 = running.line().parse().unwrap();
    let is = |pid: u32, state: char| {
        eventually("its state", PATIENCE, || {
            stat(pid).is_some_and(|(now, _)| (now == 'T') == (state == 'T'))
        });
    };
    // By job control: whoever started it is told.
    running.signal(Signal::TSTP);
    is(command, 'T');
    is(running.pid(), 'T');
    running.signal(Signal::CONT);
    is(command, 'S');
    is(running.pid(), 'S');
    // By somebody who continues it himself.
    let pid = Pid::from_raw(command.cast_signed()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    is(command, 'T');
    kill_process(pid, Signal::CONT).unwrap();
    is(command, 'S');
    running.say("x");
    running.expect("got x");
    running.wait(PATIENCE).ok();
}
