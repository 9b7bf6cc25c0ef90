//! `--any` with an inventory: patterns and pools.

use libtest_mimic::Trial;

use super::{run, waits};
use crate::lab::{BOARDLOCK, Lab, NOBODY, copy_program};
use crate::process::PATIENCE;
use crate::shown::{free, held_by};
use crate::trial::ROOT;

pub fn tests() -> Vec<Trial> {
    trials![
        any_of_a_pool_or_a_pattern("python3");
        what_the_inventory_does_not_let_be_taken("python3", ROOT);
        a_board_that_is_for_others_is_passed_over("bash", ROOT);
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
        .said("no such board in the inventory");
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
