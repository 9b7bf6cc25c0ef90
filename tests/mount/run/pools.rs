//! `--any` with an inventory: patterns and pools.

use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};

use super::{run, waits};
use crate::lab::{BOARDLOCK, Lab, NOBODY, copy_program};
use crate::process::PATIENCE;
use crate::shown::{free, held_by};
use crate::trial::ROOT;
use crate::waiting::line_up;

pub fn tests() -> Vec<Trial> {
    trials![
        any_of_a_pool_or_a_pattern("python3");
        what_the_inventory_does_not_let_be_taken("python3", ROOT);
        a_board_that_is_for_others_is_passed_over("bash", ROOT);
        one_that_is_refused_while_it_waits_leaves_the_others("python3");
        a_typing_error_is_no_free_board("bash");
    ]
}

const BOARDS: &str = r#"
[directories.rack1]

[boards.rpi1]
pools = ["rpi"]

[boards.rpi2]
pools = ["rpi", "slow"]

[boards.rpi3]
pools = ["rpi"]
out_of_service = "no power"

[boards.beagle]
users = ["root"]
pools = ["slow"]

[boards."rack1/rpi9"]
"#;

/// A lab with these boards; the file ends with the second.
fn lab() -> (Lab, tempfile::TempDir) {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("boards.toml");
    std::fs::write(&file, BOARDS).unwrap();
    let lab = Lab::new(&["--boards", file.to_str().unwrap()]);
    (lab, temp)
}

fn any_of_a_pool_or_a_pattern() {
    let (lab, _temp) = lab();
    for (any, gets) in [
        ("@rpi", "rpi1"),
        ("'rpi*'", "rpi1"),
        ("'rpi[2-9]'", "rpi2"),
        ("'rack1/*'", "rack1/rpi9"),
        ("'x,rpi2'", "rpi2"),
        ("'@slow,rpi1'", "beagle"),
    ] {
        let output = lab.sh(
            "bash",
            &format!("$BOARDLOCK run --any {any} -- sh -c 'echo $BOARDLOCK_BOARD'"),
        );
        assert_eq!(output.ok().stdout, format!("{gets}\n"), "{any}");
    }
    // The one that is out of service is not waited for.
    let mut holder = lab.python();
    holder.ok("touch('rpi1')");
    let mut second = run(
        &lab,
        "--any @rpi -- sh -c 'echo $BOARDLOCK_BOARD; read line'",
    );
    second.expect("rpi2");
    let mut third = run(
        &lab,
        "--any '@rpi' -- sh -c 'echo $BOARDLOCK_BOARD; read line'",
    );
    waits(&lab, "rpi1", &third);
    waits(&lab, "rpi2", &third);
    free(&lab, "rpi3", "out of service");
    holder.ok("os.unlink('rpi1')");
    third.expect("rpi1");
    held_by(&lab, "rpi2", second.pid(), "as before");
    for running in [&mut second, &mut third] {
        running.say("");
    }
    second.wait(PATIENCE).ok();
    third.wait(PATIENCE).ok();
    lab.sh(
        "bash",
        "$BOARDLOCK run --any @rpi --any @rpi --any @rpi -- true",
    )
    .fails(66)
    .said("fewer are meant");
    for none in ["@nothing", "'x*'"] {
        lab.sh("bash", &format!("$BOARDLOCK run --any {none} -- true"))
            .fails(66)
            .said("of the inventory is called");
    }
}

fn what_the_inventory_does_not_let_be_taken() {
    let (lab, _temp) = lab();
    copy_program(
        BOARDLOCK.as_ref(),
        &lab.dir().parent().unwrap().join("boardlock"),
    );
    lab.sh("bash", "$BOARDLOCK run rpi3 -- true")
        .fails(66)
        .said("cannot take rpi3: it is out of service: no power");
    lab.sh("bash", "$BOARDLOCK run --any 'rpi3*' -- true")
        .fails(66)
        .said("out of service: rpi3 (no power)");
    lab.sh("bash", "$BOARDLOCK run nothing -- true")
        .fails(66)
        .said("no such board in the inventory")
        .said("to see what there is: boardlock status");
    lab.sh("bash", "$BOARDLOCK run rack1 -- true")
        .fails(66)
        .said("directory for boards");
    lab.sh_as(NOBODY, "bash", "../boardlock run beagle -- true")
        .fails(66)
        .said("cannot take beagle: it is for root");
}

fn a_board_that_is_for_others_is_passed_over() {
    let (lab, _temp) = lab();
    copy_program(
        BOARDLOCK.as_ref(),
        &lab.dir().parent().unwrap().join("boardlock"),
    );
    let take = "../boardlock run --any @slow -- sh -c 'echo $BOARDLOCK_BOARD'";
    assert_eq!(lab.sh_as(NOBODY, "bash", take).ok().stdout, "rpi2\n");
}

fn one_that_is_refused_while_it_waits_leaves_the_others() {
    let (lab, temp) = lab();
    let mut holder = lab.python();
    holder.ok("touch('rpi1'); touch('rpi2'); touch('rack1/rpi9')");
    let mut any = run(&lab, "--any rpi1,rpi2 -- sh -c 'echo $BOARDLOCK_BOARD'");
    let named = run(&lab, "rack1/rpi9 -- echo never");
    waits(&lab, "rpi1", &any);
    waits(&lab, "rpi2", &any);
    waits(&lab, "rack1/rpi9", &named);
    let out = "\nout_of_service = \"burnt\"\n";
    let boards = BOARDS
        .replace("[boards.rpi1]\n", &format!("[boards.rpi1]{out}"))
        .replace(
            "[boards.\"rack1/rpi9\"]\n",
            &format!("[boards.\"rack1/rpi9\"]{out}"),
        );
    std::fs::write(temp.path().join("boards.toml"), boards).unwrap();
    let pid = Pid::from_raw(lab.supervisor_pid().cast_signed()).unwrap();
    kill_process(pid, Signal::HUP).unwrap();
    named
        .wait(PATIENCE)
        .fails(66)
        .said("cannot take rack1/rpi9: it is out of service: burnt");
    line_up(&lab, "rpi1", &[]);
    waits(&lab, "rpi2", &any);
    holder.ok("os.unlink('rpi2')");
    any.expect("rpi2");
    any.wait(PATIENCE).ok();
}

fn a_typing_error_is_no_free_board() {
    let (lab, _temp) = lab();
    for command in [
        "run beagel -- true",
        "wait beagel",
        "renew beagel",
        "release -y beagel",
    ] {
        let code = if command.starts_with("run") { 66 } else { 1 };
        lab.sh("bash", &format!("$BOARDLOCK {command}"))
            .fails(code)
            .said("no such board in the inventory; did you mean beagle?");
    }
    for (board, why) in [("rack1", "a directory for boards"), ("rpi3", "no power")] {
        for command in ["wait", "renew --lease 1h", "release -y"] {
            lab.sh("bash", &format!("timeout 20 $BOARDLOCK {command} {board}"))
                .fails(1)
                .said(why);
        }
    }
    // Names of lock tools, and those in somebody's own directory.
    lab.sh("bash", "$BOARDLOCK wait lock.aB3dE5fG7h").ok();
    lab.sh("bash", "mkdir rpi1; $BOARDLOCK wait rpi1/pid").ok();
}
