//! `boardlock run`: a command that has boards while it runs, as flock(1) does it, and more.

mod any;
mod line;
mod pools;
mod several;
mod signals;
pub mod terminal;

use std::path::Path;

use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::lab::{BOARDLOCK, Lab, NOBODY, copy_program};
use crate::process::{PATIENCE, Running, eventually};
use crate::shown::{becomes_free, becomes_held_by, free, held_by, only_child};
use crate::trial::ROOT;
use crate::waiting::{line_up, queue};

pub fn tests() -> Vec<Trial> {
    let own = trials![
        exit_codes_are_those_of_flock("python3", "flock");
        the_command_knows_what_it_has("flock");
        it_is_had_while_the_command_runs("flock");
        what_the_command_leaves_behind_keeps_nothing("flock");
        killed_alone_it_leaves_the_board_to_its_command("flock");
        whatever_holds_a_board_is_waited_for("python3");
        it_stands_in_one_line_with_flock("flock");
        a_rename_does_not_give_it_another_board("python3");
        what_the_script_has_it_may_lock("bash");
        a_directory_of_the_script_is_refused("bash");
        what_is_in_the_way_of_a_name_is_told("python3", ROOT);
        lease_and_note_show_while_it_runs("bash");
        a_lock_that_is_taken_away_is_told("bash");
        what_it_has_goes_with_who_serves("flock");
        old_scripts_run_in_it("flock");
        ignored_children_are_heard_of("python3");
        the_lock_directory_is_found("bash");
        refusals_tell_what_to_do("python3", ROOT);
    ];
    [
        own,
        any::tests(),
        line::tests(),
        pools::tests(),
        several::tests(),
        signals::tests(),
        terminal::tests(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Starts a `boardlock run` with these arguments, in the lock directory.
#[track_caller]
pub fn run(lab: &Lab, arguments: &str) -> Running {
    lab.spawn("bash", &format!("exec $BOARDLOCK run {arguments}"))
}

/// Waits until this `boardlock run` alone waits for a board, through a process of its own.
#[track_caller]
pub fn waits(lab: &Lab, board: &str, run: &Running) {
    eventually("it waits", PATIENCE, || {
        let waiters = queue(lab, board);
        let ours = crate::shown::children(run.pid());
        waiters.iter().any(|waiter| ours.contains(&waiter.pid))
    });
}

fn exit_codes_are_those_of_flock() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    holder.ok("touch('held')");
    let script = lab.dir().parent().unwrap().join("no-first-line");
    std::fs::write(&script, "exit 9\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, mode).unwrap();
    let script = script.to_str().unwrap();
    let cases: [(&str, &str, &str, i32); 17] = [
        ("", "b", "true", 0),
        ("", "b", "sh -c 'exit 7'", 7),
        ("", "b", "sh -c 'exit 255'", 255),
        ("", "b", "sh -c 'kill -9 $$'", 137),
        ("", "b", "sh -c 'kill -TERM $$'", 143),
        // A real-time signal.
        ("", "b", "bash -c 'kill -64 $$'", 192),
        ("", "b", "/nonexistent", 69),
        ("", "b", "no-such-program", 69),
        ("", "b", "/etc/passwd", 69),
        ("", "b", script, 9),
        ("", "no/such", "true", 66),
        ("-n", "held", "true", 1),
        ("-n -E 5", "held", "true", 5),
        ("-w 0.2", "held", "true", 1),
        ("-w 0.2 -E 0", "held", "true", 0),
        ("-E 256", "b", "true", 64),
        ("-w never", "b", "true", 64),
    ];
    for (options, board, command, code) in cases {
        let flock = lab.sh("bash", &format!("flock {options} {board} {command}"));
        let run = lab.sh(
            "bash",
            &format!("$BOARDLOCK run {options} {board} -- {command}"),
        );
        assert_eq!(flock.status.code(), Some(code), "{command}: {flock}");
        assert_eq!(run.status.code(), Some(code), "{command}: {run}");
    }
    for wrong in ["", "b", "b true", "-- true", "--no-such-option b -- true"] {
        lab.sh("bash", &format!("$BOARDLOCK run {wrong}")).fails(64);
    }
    free(&lab, "b", "nothing is left");
}

fn the_command_knows_what_it_has() {
    let lab = Lab::new(&[]);
    let seen = lab.sh(
        "bash",
        "$BOARDLOCK run z a z -- sh -c 'echo $BOARDLOCK_BOARD; echo $BOARDLOCK_TOKEN; \
         echo $BOARDLOCK_DIR; env | grep -c ^BOARDLOCK_WAITS_FOR; \
         for b in $BOARDLOCK_BOARD; do sed -n s/^token.//p $b; done'",
    );
    let seen = seen.ok().stdout;
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(lines[0], "z a", "{seen}");
    assert_eq!(lines[1], format!("{} {}", lines[4], lines[5]), "{seen}");
    assert_eq!(lines[2], lab.dir().to_str().unwrap());
    assert_eq!(lines[3], "0");
    // Tokens grow from hold to hold.
    let token = |text: String| text.trim().parse::<u64>().unwrap();
    let mut last = 0;
    for _ in 0..3 {
        let output = lab.sh("bash", "$BOARDLOCK run b -- sh -c 'echo $BOARDLOCK_TOKEN'");
        let now = token(output.ok().stdout);
        assert!(now > last, "{now} after {last}");
        last = now;
    }
}

fn it_is_had_while_the_command_runs() {
    let lab = Lab::new(&[]);
    let mut running = run(&lab, "b rack -- sh -c 'echo in; read line; exit 3'");
    running.expect("in");
    held_by(&lab, "b", running.pid(), "it shows itself");
    assert_eq!(lab.status("b")["lock"], "exclusive");
    assert!(lab.status("b")["command"].contains("run b rack -- sh -c echo in"));
    lab.sh("bash", "flock -n b true").fails(1);
    lab.sh("bash", "touch b").fails(1);
    lab.sh("bash", "$BOARDLOCK run -n rack -- true").fails(1);
    running.say("");
    running.wait(PATIENCE).fails(3);
    free(&lab, "b", "it has ended");
    free(&lab, "rack", "it has ended");
}

fn what_the_command_leaves_behind_keeps_nothing() {
    let lab = Lab::new(&[]);
    let script = "sleep 1000 >/dev/null 2>&1 & echo $!";
    let output = lab.sh("bash", &format!("$BOARDLOCK run b -- bash -c '{script}'"));
    let left: u32 = output.ok().stdout.trim().parse().unwrap();
    free(&lab, "b", "though something still has the file open");
    assert!(crate::shown::stat(left).is_some());
    lab.sh("bash", "flock -n b true").ok();
    lab.sh("bash", &format!("kill {left}")).ok();
}

fn killed_alone_it_leaves_the_board_to_its_command() {
    let lab = Lab::new(&[]);
    let mut running = run(
        &lab,
        "b -- bash -c 'echo $$; read line <&3; echo done' 3<&0",
    );
    let command: u32 = running.line().parse().unwrap();
    running.kill();
    becomes_held_by(&lab, "b", command);
    lab.sh("bash", "flock -n b true").fails(1);
    lab.sh("bash", "touch b").fails(1);
    running.say("");
    running.expect("done");
    becomes_free(&lab, "b");
}

fn whatever_holds_a_board_is_waited_for() {
    let lab = Lab::new(&[]);
    for (take, give) in [
        ("touch('b')", "os.unlink('b')"),
        (
            "touch('b'); open('b', 'w').write('a note')",
            "os.unlink('b')",
        ),
        (
            "fd = os.open('b', os.O_CREAT|os.O_RDWR); fcntl.flock(fd, fcntl.LOCK_SH)",
            "os.close(fd)",
        ),
        (
            "fd = os.open('b', os.O_CREAT|os.O_RDWR); fcntl.lockf(fd, fcntl.LOCK_EX)",
            "os.close(fd)",
        ),
    ] {
        let mut holder = lab.python();
        holder.ok(take);
        let from = lab.log().len();
        let running = run(&lab, "b -- echo mine");
        // What is written into it hides who waits.
        lab.wait_for_log_from(from, |line| line.contains("b: waited for by "));
        assert_eq!(running.said(), 0);
        holder.ok(give);
        let output = running.wait(PATIENCE).ok();
        assert_eq!(output.stdout, "mine\n", "{take}");
    }
    // Nor does it matter how the holder ends.
    let mut holder = lab.python();
    holder.ok("touch('b')");
    let running = run(&lab, "b -- echo mine");
    waits(&lab, "b", &running);
    holder.kill();
    assert_eq!(running.wait(PATIENCE).ok().stdout, "mine\n");
    free(&lab, "b", "at the end");
}

fn it_stands_in_one_line_with_flock() {
    let lab = Lab::new(&[]);
    let mut holder = lab.shell();
    holder.ok("touch b");
    let mut order = Vec::new();
    for n in 0..4 {
        let got = format!("sh -c 'echo {n} >>../order'");
        let next = match n % 2 {
            0 => lab.spawn("bash", &format!("exec flock b {got}")),
            _ => run(&lab, &format!("b -- {got}")),
        };
        order.push(next);
        eventually("it stands in line", PATIENCE, || {
            queue(&lab, "b").len() == n + 1
        });
    }
    // The command line that was typed is shown, and the place.
    let lines = queue(&lab, "b");
    assert!(
        lines[1].command.contains("run b -- sh -c echo 1"),
        "{lines:?}"
    );
    holder.ok("rm b");
    for running in order {
        running.wait(PATIENCE).ok();
    }
    let order = std::fs::read_to_string(lab.dir().parent().unwrap().join("order")).unwrap();
    assert_eq!(order, "0\n1\n2\n3\n");
}

fn a_rename_does_not_give_it_another_board() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    holder.ok("touch('b')");
    let mut running = run(&lab, "b -- sh -c 'echo $BOARDLOCK_BOARD; read line'");
    waits(&lab, "b", &running);
    holder.ok("os.rename('b', 'c')");
    free(&lab, "b", "it is called c now");
    holder.ok("os.unlink('c')");
    running.expect("b");
    held_by(&lab, "b", running.pid(), "what was asked for");
    free(&lab, "c", "what was not asked for");
    running.say("");
    running.wait(PATIENCE).ok();
}

fn what_the_script_has_it_may_lock() {
    let lab = Lab::new(&[]);
    let output = lab.sh(
        "bash",
        "touch b && $BOARDLOCK run -n b -- echo in && [ -e b ] && cat b && rm b",
    );
    let output = output.ok();
    assert!(output.stdout.starts_with("in\n"), "{output}");
    assert!(output.stdout.contains("\nlock -\n"), "{output}");
}

fn a_directory_of_the_script_is_refused() {
    let lab = Lab::new(&[]);
    let script = "mkdir b && $BOARDLOCK run b -- true; code=$?; rmdir b; exit $code";
    lab.sh("bash", script)
        .fails(65)
        .said("this script has it already");
    let script = "ln -s x b && timeout 20 $BOARDLOCK run b -- true; code=$?; rm b; exit $code";
    lab.sh("bash", script)
        .fails(65)
        .said("this script has it already");
}

fn what_is_in_the_way_of_a_name_is_told() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    holder.ok("os.mkdir('rack'); os.symlink('target', 'link')");
    let pid = format!("pid {}", holder.pid());
    lab.sh("bash", "$BOARDLOCK run rack/b -- true")
        .fails(66)
        .said("the directory rack is held by root, ")
        .said(&pid)
        .said("boardlock wait rack");
    lab.sh("bash", "$BOARDLOCK run target -- true")
        .fails(66)
        .said("the link link points to it, and is held by root, ")
        .said(&pid)
        .said("boardlock wait link");
}

fn lease_and_note_show_while_it_runs() {
    let lab = Lab::new(&[]);
    let mut running = run(
        &lab,
        "--lease 2h --note 'nightly test' a b -- sh -c 'echo in; read line'",
    );
    running.expect("in");
    for board in ["a", "b"] {
        let status = lab.status(board);
        assert_eq!(status["note"], "nightly test");
        let left: i64 = status["expires_in_seconds"].parse().unwrap();
        assert!((7100..=7200).contains(&left), "{left}");
    }
    running.say("");
    running.wait(PATIENCE).ok();
    lab.sh("bash", "$BOARDLOCK run b -- cat b").ok();
    let text = lab.sh("bash", "$BOARDLOCK run b -- cat b").ok().stdout;
    assert!(
        text.contains("\nexpires -\n") && text.contains("\nnote -\n"),
        "{text}"
    );
    let long = "$BOARDLOCK run --note $(printf %05000d 1) b -- true";
    lab.sh("bash", long).fails(65).said("longer than 4096");
    free(&lab, "b", "it did not come to run");
}

fn a_lock_that_is_taken_away_is_told() {
    let lab = Lab::new(&[]);
    let mut running = run(&lab, "b -- sh -c 'echo in; read line; exit 4'");
    running.expect("in");
    lab.sh("bash", "rm b").ok();
    eventually("it is told", PATIENCE, || {
        running.stderr().contains("b is not yours any more")
    });
    // What another has by now is not let go by the end of the command.
    let mut other = lab.shell();
    other.ok("touch b");
    running.say("");
    running.wait(PATIENCE).fails(4);
    held_by(&lab, "b", other.pid(), "the other");
}

fn what_it_has_goes_with_who_serves() {
    let mut lab = Lab::new(&[]);
    let mut running = run(&lab, "b -- sh -c 'cd /; echo in; read line; exit 4'");
    running.expect("in");
    lab.stop(Signal::TERM);
    eventually("it is told", PATIENCE, || {
        running.stderr().contains("nobody serves it")
    });
    // It is told once, and costs nothing after that.
    let spent = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", running.pid())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split(' ').collect();
        fields[12].parse::<u64>().unwrap() + fields[13].parse::<u64>().unwrap()
    };
    eventually("it sleeps", PATIENCE, || {
        crate::shown::stat(running.pid()).is_some_and(|(state, _)| state == 'S')
    });
    let before = spent();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(spent() - before < 10, "it looks again and again");
    assert_eq!(running.stderr().lines().count(), 1, "{}", running.stderr());
    running.say("");
    running.wait(PATIENCE).fails(4);
}

fn old_scripts_run_in_it() {
    let lab = Lab::new(&[]);
    let script = "touch b && echo touched; flock -n b true || echo locked; rm b && echo given back";
    let output = lab.sh("bash", &format!("$BOARDLOCK run b -- bash -c '{script}'"));
    let output = output.ok().said("b is not yours any more: released by ");
    assert_eq!(output.stdout, "touched\nlocked\ngiven back\n");
}

fn ignored_children_are_heard_of() {
    let lab = Lab::new(&[]);
    let output = lab.sh(
        "python3",
        "import os, signal, subprocess\n\
         signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n\
         pid = os.fork()\n\
         if pid == 0:\n\
         \x20   os.execlp('sh', 'sh', '-c', '$BOARDLOCK run b -- sh -c \"exit 6\"; echo code $?')\n\
         try:\n\
         \x20   os.waitpid(pid, 0)\n\
         except ChildProcessError:\n\
         \x20   pass\n",
    );
    assert!(output.stdout.contains("code 6"), "{output}");
}

fn the_lock_directory_is_found() {
    let lab = Lab::new(&[]);
    let dir = lab.dir().display();
    lab.sh(
        "bash",
        &format!("cd / && $BOARDLOCK run -d {dir} b -- test -e {dir}/b"),
    )
    .ok();
    lab.sh(
        "bash",
        &format!("cd / && BOARDLOCK_DIR={dir} $BOARDLOCK run b -- test -e {dir}/b"),
    )
    .ok();
    lab.sh("bash", "$BOARDLOCK run ./b -- test -e b").ok();
    lab.sh("bash", "$BOARDLOCK run $PWD/b -- test -e b").ok();
    lab.sh("bash", "$BOARDLOCK run -d / b -- true")
        .fails(66)
        .said("boardlock mount /");
    lab.sh("bash", "$BOARDLOCK run /etc/b -- true")
        .fails(66)
        .said("no board in");
}

fn refusals_tell_what_to_do() {
    let lab = Lab::new(&["--max-per-user", "1"]);
    let mut holder = lab.python_as(NOBODY);
    holder.ok("touch('held')");
    lab.sh("bash", "$BOARDLOCK run -n held -- true")
        .fails(1)
        .said("held is held by nobody, pid ")
        .said("leave out --no-wait")
        .said("boardlock wait held");
    let quiet = lab.sh("bash", "$BOARDLOCK run -qn held -- true").fails(1);
    assert_eq!(quiet.stderr, "");
    // It may lie where that user cannot go.
    copy_program(
        Path::new(BOARDLOCK),
        &lab.dir().parent().unwrap().join("boardlock"),
    );
    lab.sh_as(NOBODY, "bash", "../boardlock run b -- true")
        .fails(73)
        .said("--max-per-user");
    lab.sh("bash", "$BOARDLOCK run no/dir -- true")
        .fails(66)
        .said("no directory no");
    lab.sh("bash", "$BOARDLOCK run --any 'x*' -- true")
        .fails(66);
}

/// The one process that stands in line for a `boardlock run`.
#[track_caller]
pub fn stander(lab: &Lab, board: &str, run: &Running) -> u32 {
    waits(lab, board, run);
    let pid = only_child(run.pid());
    line_up(lab, board, &[pid]);
    pid
}
