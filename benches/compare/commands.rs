//! Whole commands, as scripts run them: in a loop of one shell, whose own start does not
//! count. What other lock tools do stands beside them.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::places::{OURS, Places, TMPFS};
use super::report::Report;

/// How often a turn runs each.
const TIMES: u32 = 40;

/// A command, `$d` the directory; where, and what it needs.
struct Case {
    what: &'static str,
    needs: &'static [&'static str],
    places: &'static [&'static str],
    script: &'static str,
}

const TOUCH: &str = "touch b && rm b";
const FLOCK: &str = "flock -n b true";
const TBOT: &str = "tbot's protocol";

const CASES: [Case; 6] = [
    Case {
        what: TOUCH,
        needs: &[],
        places: &[TMPFS, OURS],
        script: "touch $d/b && rm $d/b",
    },
    Case {
        what: FLOCK,
        needs: &["flock"],
        places: &[TMPFS, OURS],
        // The file stays on a tmpfs: one that the others do not use.
        script: "flock -n $d/f true",
    },
    Case {
        what: TBOT,
        needs: &[],
        places: &[TMPFS, OURS],
        // Its commands, taking and giving back, without the way to the lab host.
        script: "t=$(mktemp -p $d lock.XXX) && chmod 0666 $t &&
            echo \"0 $$\" | tee $t >/dev/null && ln $t $d/b && rm $t && rm $d/b",
    },
    Case {
        what: "dotlockfile b, dotlockfile -u b",
        needs: &["dotlockfile"],
        places: &[TMPFS],
        script: "dotlockfile $d/b && dotlockfile -u $d/b",
    },
    Case {
        what: "lockfile b, rm -f b",
        needs: &["lockfile"],
        places: &[TMPFS],
        script: "lockfile $d/b && rm -f $d/b",
    },
    Case {
        what: "mkdir b, rmdir b",
        needs: &[],
        places: &[TMPFS],
        script: "mkdir $d/b && rmdir $d/b",
    },
];

pub fn measure(report: &mut Report) {
    let mut places = Places::new();
    places.serve(OURS, &[]);
    let cases: Vec<&Case> = CASES.iter().filter(|case| is_there(case)).collect();
    for _ in 0..report.rounds {
        for case in &cases {
            for place in case.places {
                let took = run(case, &places.dir(place));
                report.add(case.what, place, "ms", took);
            }
        }
    }
    let times = Some(3.0);
    report.faster(
        "tbot's protocol on a tmpfs to `touch b && rm b` on boardlock",
        (TBOT, TMPFS),
        (TOUCH, OURS),
        times,
    );
    report.compare(
        "`flock -n b true`: to a tmpfs",
        (FLOCK, OURS),
        (FLOCK, TMPFS),
        Some(1.2),
    );
    report.compare(
        "`touch b && rm b`: to a tmpfs",
        (TOUCH, OURS),
        (TOUCH, TMPFS),
        None,
    );
}

fn is_there(case: &Case) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let has = |program: &&&str| std::env::split_paths(&path).any(|dir| dir.join(program).exists());
    let missing: Vec<&&str> = case.needs.iter().filter(|need| !has(need)).collect();
    if !missing.is_empty() {
        println!("left out: {} (no {missing:?} here)", case.what);
    }
    missing.is_empty()
}

/// What it takes once, in milliseconds.
fn run(case: &Case, dir: &Path) -> f64 {
    let script = format!(
        "d={}; i=0; while [ $i -lt {TIMES} ]; do {} || exit; i=$((i + 1)); done",
        dir.display(),
        case.script
    );
    let begin = Instant::now();
    let ended = Command::new("sh")
        .args(["-c", &script])
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert!(ended.success(), "{}: {ended}", case.what);
    begin.elapsed().as_secs_f64() * 1e3 / f64::from(TIMES)
}
