//! `boardlock wait`, `renew` and `release`.

use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::lab::{BOARDLOCK, Lab, NOBODY, copy_program};
use crate::process::{PATIENCE, eventually};
use crate::run::terminal::Terminal;
use crate::shown::{becomes_free, free, held_by};
use crate::trial::ROOT;
use crate::waiting::line_up;

pub fn tests() -> Vec<Trial> {
    trials![
        wait_returns_when_boards_are_free("python3");
        wait_gives_up_in_time("python3");
        run_waits_for_directories_and_links("python3");
        renew_says_until_when("python3", ROOT);
        renew_begins_the_lease_anew("python3");
        what_is_ones_own_is_released_without_a_question("python3");
        anothers_needs_a_terminal_or_yes("python3");
        who_may_not_release_is_told_whose_it_is("python3", ROOT);
        force_tells_the_holder_and_signals_it("python3");
        it_asks_on_a_terminal("python3", "tmux");
        a_late_yes_ends_nobody_elses_hold("python3", "tmux");
    ]
}

fn wait_returns_when_boards_are_free() {
    let lab = Lab::new(&[]);
    lab.sh("bash", "$BOARDLOCK wait a b").ok();
    let mut holder = lab.python();
    for (take, give) in [
        ("touch('b')", "os.unlink('b')"),
        ("os.mkdir('b')", "os.rmdir('b')"),
        ("os.symlink('x', 'b')", "os.unlink('b')"),
        (
            "touch('b'); open('b', 'w').write('a note')",
            "os.unlink('b')",
        ),
    ] {
        holder.ok(&format!("touch('a'); {take}"));
        let mut waiting = lab.spawn("bash", "$BOARDLOCK wait a b; echo done $?");
        eventually("it is told", PATIENCE, || {
            waiting.stderr().contains("a: held by") && waiting.stderr().contains("b: held by")
        });
        holder.ok("os.unlink('a')");
        assert_eq!(
            waiting.next_line(std::time::Duration::from_millis(100)),
            None,
            "{take}"
        );
        holder.ok(give);
        waiting.expect("done 0");
    }
    // It takes nothing, and stands in no line.
    holder.ok("touch('b')");
    let waiting = lab.spawn("bash", "exec $BOARDLOCK wait b");
    eventually("it waits", PATIENCE, || {
        waiting.stderr().contains("b: held by")
    });
    line_up(&lab, "b", &[]);
    holder.kill();
    waiting.wait(PATIENCE).ok();
    free(&lab, "b", "nobody has it");
}

fn wait_gives_up_in_time() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    holder.ok("touch('b')");
    for limit in ["0", "0.2", "1"] {
        lab.sh("bash", &format!("$BOARDLOCK wait -w {limit} b"))
            .fails(1)
            .said("b is held by")
            .said("boardlock run b -- CMD");
    }
    lab.sh("bash", "$BOARDLOCK wait -w soon b").fails(2);
    lab.sh("bash", "$BOARDLOCK wait").fails(2);
}

fn run_waits_for_directories_and_links() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    for (take, give) in [
        ("os.mkdir('b')", "os.rmdir('b')"),
        ("os.symlink('x', 'b')", "os.unlink('b')"),
    ] {
        holder.ok(take);
        lab.sh("bash", "$BOARDLOCK run -n b -- echo never").fails(1);
        let mut running = lab.spawn("bash", "exec $BOARDLOCK run b -- sh -c 'echo in; read x'");
        eventually("it waits", PATIENCE, || {
            running.stderr().contains("b: waiting; held by")
        });
        assert_eq!(running.said(), 0);
        holder.ok(give);
        running.expect("in");
        held_by(&lab, "b", running.pid(), take);
        running.say("");
        running.wait(PATIENCE).ok();
        // One that becomes a file under its eyes is stood in line for.
        holder.ok(take);
        let running = lab.spawn("bash", "exec $BOARDLOCK run b -- echo in");
        eventually("it waits", PATIENCE, || {
            running.stderr().contains("b: waiting; held by")
        });
        holder.ok("touch('c')");
        holder.ok(give);
        assert_eq!(running.wait(PATIENCE).ok().stdout, "in\n");
        holder.ok("os.unlink('c')");
    }
}

fn renew_says_until_when() {
    let lab = Lab::new(&[]);
    copy_program(
        BOARDLOCK.as_ref(),
        &lab.dir().parent().unwrap().join("boardlock"),
    );
    let mut holder = lab.shell_as(NOBODY);
    holder.ok("touch b");
    holder.ok("../boardlock renew --lease 2h b");
    let left: i64 = lab.status("b")["expires_in_seconds"].parse().unwrap();
    assert!((7100..=7200).contains(&left), "{left}");
    // Without a lease that applies it is to be said for how long.
    holder.ok("! ../boardlock renew b");
    lab.sh("bash", "touch e; $BOARDLOCK renew e")
        .fails(1)
        .said("no lease applies to it; it is held by root, pid ")
        .said("boardlock renew --lease 2h e");
    let other = lab
        .sh_as(1234, "bash", "../boardlock renew --lease 1d b")
        .fails(1);
    let other = other.said("it is not yours").said("held by nobody, pid ");
    assert!(other.stderr.contains("boardlock run b -- CMD"), "{other}");
    lab.sh("bash", "$BOARDLOCK renew c")
        .fails(1)
        .said("c is free");
    lab.sh("bash", "$BOARDLOCK renew --lease never b").fails(2);
    // Detached ones, which nobody can touch.
    holder.ok("echo 0 0 >b");
    holder.ok("../boardlock renew --lease 1h b");
    let left = lab.xattr("b", "expires").unwrap();
    assert!(left.ends_with('Z'), "{left}");
    // All that can be, and the exit code tells of the rest.
    let both = lab.sh(
        "bash",
        "touch d; $BOARDLOCK renew --lease 1h d none; code=$?; exit $code",
    );
    let both = both.fails(1).said("none is free");
    assert!(both.stdout.starts_with("d is yours until "), "{both}");
}

fn renew_begins_the_lease_anew() {
    let lab = Lab::new(&["--lease", "1h"]);
    let output = lab.sh("bash", "touch b; $BOARDLOCK renew b && cat b").ok();
    assert!(output.stdout.starts_with("b is yours until "), "{output}");
    // One of its own that is later stays.
    let output = lab
        .sh("bash", "touch -d '+5 hours' b; $BOARDLOCK renew b; cat b")
        .ok();
    let left = output
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("expires_in_seconds "));
    let left: i64 = left.unwrap().parse().unwrap();
    assert!(left > 4 * 3600, "{output}");
}

fn what_is_ones_own_is_released_without_a_question() {
    let lab = Lab::new(&[]);
    let output = lab
        .sh("bash", "touch b; $BOARDLOCK release b; [ ! -e b ]")
        .ok();
    assert!(
        output.stdout.starts_with("b is released; it was held by "),
        "{output}"
    );
    let output = lab.sh("bash", "$BOARDLOCK release b").ok();
    assert_eq!(output.stdout, "b is free\n");
    let mut holder = lab.python();
    holder.ok("touch('b'); open('b', 'w').write('0 0')");
    lab.sh("bash", "$BOARDLOCK release b").ok();
    free(&lab, "b", "a detached one of one's own");
    lab.sh("bash", "mkdir d && mkdir d/e && $BOARDLOCK release d")
        .fails(1);
}

fn anothers_needs_a_terminal_or_yes() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    holder.ok("touch('b')");
    lab.sh("bash", "$BOARDLOCK release b </dev/null")
        .fails(1)
        .said("b is not yours: held by")
        .said(&format!("pid {}", holder.pid()))
        .said("boardlock release --yes b");
    held_by(&lab, "b", holder.pid(), "it is left alone");
    let output = lab.sh("bash", "$BOARDLOCK release -y b").ok();
    assert!(
        output.stdout.contains("b is released; it was held by"),
        "{output}"
    );
    free(&lab, "b", "released");
}

fn who_may_not_release_is_told_whose_it_is() {
    let lab = Lab::new(&[]);
    copy_program(
        BOARDLOCK.as_ref(),
        &lab.dir().parent().unwrap().join("boardlock"),
    );
    let mut holder = lab.python();
    holder.ok("touch('b')");
    for option in ["", "-y", "--force"] {
        let refused = lab.sh_as(NOBODY, "bash", &format!("../boardlock release {option} b"));
        refused
            .fails(1)
            .said("cannot release b")
            .said("held by root, pid ")
            .said("boardlock run b -- CMD");
    }
    // Root renews what is not his.
    let mut other = lab.shell_as(NOBODY);
    other.ok("touch c");
    let renewed = lab.sh("bash", "$BOARDLOCK renew --lease 1h c").ok();
    assert!(
        renewed.stdout.starts_with("c is held by nobody until "),
        "{renewed}"
    );
    held_by(&lab, "b", holder.pid(), "it is left alone");
    // Where rm is for the holder's side alone, root needs force.
    let lab = Lab::new(&["-o", "release=holder"]);
    let mut holder = lab.python();
    holder.ok("touch('b')");
    lab.sh("bash", "$BOARDLOCK release -y b")
        .fails(1)
        .said("boardlock release --force b");
    lab.sh("bash", "$BOARDLOCK release --force b").ok();
    free(&lab, "b", "forced");
}

fn force_tells_the_holder_and_signals_it() {
    let lab = Lab::new(&[]);
    let mut running = lab.spawn(
        "bash",
        "exec $BOARDLOCK run b -- sh -c 'echo in; read line; exit 4'",
    );
    running.expect("in");
    lab.sh("bash", "$BOARDLOCK release --force b").ok();
    eventually("it is told", PATIENCE, || {
        running
            .stderr()
            .contains("b is not yours any more: forced by root")
    });
    let history = std::fs::read_to_string(lab.path(".boardlock/history.json")).unwrap();
    assert!(history.contains("\"forced\""), "{history}");
    running.say("");
    running.wait(PATIENCE).fails(4);
    // The signal goes to whoever is shown, boardlock run here, which passes it on.
    let mut running = lab.spawn(
        "bash",
        "exec $BOARDLOCK run b -- sh -c 'echo in; exec sleep 1000'",
    );
    running.expect("in");
    let output = lab
        .sh("bash", "$BOARDLOCK release --force --signal term b")
        .ok();
    let sent = format!("pid {} was sent SIGTERM", running.pid());
    assert!(output.stdout.contains(&sent), "{output}");
    running.wait(PATIENCE).fails(143);
    // No process, no signal, and nothing is done.
    let mut holder = lab.python();
    holder.ok("touch('b'); open('b', 'w').write('0 0')");
    lab.sh("bash", "$BOARDLOCK release -y --signal TERM b")
        .fails(1)
        .said("cannot signal the holder");
    assert_eq!(lab.holder("b"), Some(0));
    lab.sh("bash", "$BOARDLOCK release --signal NOPE b")
        .fails(2);
    drop(holder);
}

fn it_asks_on_a_terminal() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    holder.ok("touch('b')");
    let terminal = Terminal::new(&lab, 200);
    for answer in ["n", "", "no"] {
        terminal.say("clear; $BOARDLOCK release b; echo got $?");
        let screen = terminal.shows("Release it? [y/N]");
        assert!(
            screen.contains(&format!("pid {}", holder.pid())),
            "{screen}"
        );
        terminal.say(answer);
        terminal.shows("got 1");
        held_by(&lab, "b", holder.pid(), answer);
    }
    terminal.say("clear; $BOARDLOCK release b; echo got $?");
    terminal.shows("Release it? [y/N]");
    terminal.say("y");
    terminal.shows("got 0");
    becomes_free(&lab, "b");
    // Ctrl-C is an answer, too.
    holder.ok("touch('b')");
    // What is still on the screen is no question.
    terminal.say("clear; echo be''gin");
    terminal.shows("begin");
    terminal.say("clear; $BOARDLOCK release b");
    terminal.shows("Release it? [y/N]");
    terminal.press("C-c");
    terminal.say("echo got $?");
    terminal.shows("got 130");
    held_by(&lab, "b", holder.pid(), "it is left alone");
}

fn a_late_yes_ends_nobody_elses_hold() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    let mut next = lab.python();
    for again in [false, true] {
        holder.ok("touch('b')");
        let terminal = Terminal::new(&lab, 200);
        terminal.say("clear; $BOARDLOCK release --force --signal TERM b; echo got $?");
        terminal.shows("Release it? [y/N]");
        holder.ok("os.unlink('b')");
        // Another's, or the same process's next hold.
        let now = if again { &mut holder } else { &mut next };
        now.ok("touch('b')");
        let pid = now.pid();
        terminal.say("y");
        terminal.shows("has changed hands meanwhile");
        terminal.shows("got 1");
        held_by(&lab, "b", pid, "a later hold");
        next.signal(Signal::CONT);
        let now = if again { &mut holder } else { &mut next };
        now.ok("os.unlink('b')");
    }
}
