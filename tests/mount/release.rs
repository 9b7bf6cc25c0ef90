//! "Release": who may take a board's file away, who may not, and what the
//! death of a holder does.

use std::time::Duration;

use libtest_mimic::Trial;

use crate::lab::{Lab, NOBODY};
use crate::process::{PATIENCE, eventually};
use crate::trial::ROOT;

pub fn tests() -> Vec<Trial> {
    trials![
        the_holders_side_may_unlink;
        every_way_of_giving_a_board_back;
        the_files_user_and_root_may_unlink_others_may_not(ROOT);
        a_loser_does_not_remove_the_winners_board_at_its_exit("dash", "zsh", "busybox");
        with_release_holder_no_loser_removes_anything("dash", "zsh", "busybox");
        who_was_refused_may_unlink_once_the_hold_is_over;
        a_script_cleans_up_no_more_than_its_program_may("python3");
        a_program_that_unlinks_to_take_is_refused("dotlockfile", "lockfile");
        a_detached_board_is_not_taken_by_copying_over_it;
        with_release_holder_only_the_holders_side_unlinks(ROOT);
        with_release_holder_a_detached_board_is_its_users(ROOT);
        a_holder_that_is_killed_holds_nothing_its_children_neither;
        after_kill_and_wait_the_board_is_free;
        every_end_of_a_holder_frees_what_it_holds;
        a_subshells_claim_passes_to_its_shell;
        a_directory_with_its_boards_is_freed_by_death;
        a_rename_away_is_the_holders_alone(ROOT);
    ]
}

fn the_holders_side_may_unlink() {
    let lab = Lab::new(&["-o", "release=holder"]);
    let mut me = lab.shell();
    for rm in [
        "rm b",
        "rm -f b",
        "unlink b",
        "busybox rm b",
        "(rm b)",
        "( (rm b; :); :)",
        "sh -c 'rm b; :'",
        "sh -c 'sh -c \"rm b; :\"; :'",
        "env rm b",
        "echo b | xargs rm",
        "find . -name b -delete",
        "err=$(rm b 2>&1)",
        "mv b c && rm c",
        "bash -c 'trap \"rm -f b\" EXIT; true'",
        "setsid -w rm b",
    ] {
        me.ok("touch b");
        me.ok(rm);
        assert_eq!(lab.boards(), [""; 0], "{rm}");
    }
}

fn every_way_of_giving_a_board_back() {
    let lab = Lab::new(&[]);
    let mut me = lab.python();
    for (take, give) in [
        ("touch('b')", "os.unlink('b')"),
        ("touch('b')", "os.rename('b', 'c'); os.unlink('c')"),
        ("os.mkdir('b')", "os.rmdir('b')"),
        ("os.symlink('to', 'b')", "os.unlink('b')"),
        (
            "touch('b'); os.link('b', 'c')",
            "os.unlink('b'); os.unlink('c')",
        ),
        (
            "touch('b'); touch('c')",
            "os.rename('b', 'c'); os.unlink('c')",
        ),
    ] {
        me.ok(take);
        me.ok(give);
        assert_eq!(lab.boards(), [""; 0], "{give}");
    }
    me.refused("os.unlink('b')", "ENOENT");
    me.refused("os.rmdir('b')", "ENOENT");
    me.ok("touch('b'); os.mkdir('d')");
    me.refused("os.rmdir('b')", "ENOTDIR");
    me.refused("os.unlink('d')", "EISDIR");
}

fn the_files_user_and_root_may_unlink_others_may_not() {
    let lab = Lab::new(&[]);
    let mut holder = lab.shell_as(NOBODY);
    for make in ["touch b", "mkdir b", "ln -s somewhere b"] {
        let rm = if make == "mkdir b" {
            "rmdir b"
        } else {
            "rm -f b"
        };
        holder.ok(make);
        let mut stranger = lab.shell_as(1234);
        stranger.refused(rm, "EPERM");
        stranger.refused("mv -f b c", "EPERM");
        assert!(lab.boards().contains(&"b".to_owned()), "{make}");
        lab.wait_for_log(|line| line.contains("b: refused to 1234,") && line.contains("release"));
        // The same user's other session.
        lab.shell_as(NOBODY).ok(rm);
        assert_eq!(lab.boards(), [""; 0], "{make}");
        holder.ok(make);
        lab.shell().ok(rm);
        assert_eq!(lab.boards(), [""; 0], "{make} by root");
    }
    // Root's board is not for others.
    let mut root = lab.shell();
    root.ok("touch b");
    holder.refused("rm -f b", "EPERM");
    assert_eq!(lab.holder("b"), Some(root.pid()));
}

/// A loser whose trap removes the board at its exit.
fn losers_trap(shell: &str, take: &str, lab: &Lab) {
    let script = format!("trap 'rm -rf b; exit 9' EXIT; ({take}) || exit 1; echo took it");
    let output = lab.sh(shell, &script).fails(9);
    assert_eq!(output.stdout, "", "{shell}: {take}");
}

fn a_loser_does_not_remove_the_winners_board_at_its_exit() {
    let lab = Lab::new(&[]);
    let mut winner = lab.shell();
    winner.ok("touch b");
    for shell in ["bash", "dash", "zsh", "busybox sh"] {
        for take in ["touch b", ": >b", "echo $$ >b", "touch x; mv x b"] {
            let from = lab.log().len();
            losers_trap(shell, take, &lab);
            assert_eq!(lab.holder("b"), Some(winner.pid()), "{shell}: {take}");
            lab.wait_for_log_from(from, |line| {
                line.contains(" b: refused to") && line.contains("was refused this board before")
            });
        }
    }
    // One that had nothing to do with it before is the user's own hand.
    lab.sh("sh", "rm b").ok();
}

fn with_release_holder_no_loser_removes_anything() {
    // Where the kernel answers EEXIST by itself the daemon hears of no defeat,
    // so only this option stops the trap.
    let lab = Lab::new(&["-o", "release=holder"]);
    let mut winner = lab.shell();
    for (take, boards) in [
        ("touch b", "touch b"),
        ("(set -C; : >b)", "touch b"),
        ("touch x; ln x b", "touch b"),
        ("mkdir b", "mkdir b"),
        ("ln -s me b", "ln -s me b"),
    ] {
        winner.ok(boards);
        for shell in ["bash", "dash", "zsh", "busybox sh"] {
            losers_trap(shell, take, &lab);
            assert_eq!(
                lab.holder_of_any("b"),
                Some(winner.pid()),
                "{shell}: {take}"
            );
        }
        winner.ok("rm -rf b");
    }
}

fn a_script_cleans_up_no_more_than_its_program_may() {
    let lab = Lab::new(&[]);
    let mut holder = lab.shell();
    holder.ok("touch b");
    let python = crate::client::python();
    let lose = format!("{python} -c 'open(\"b\", \"w\")' 2>/dev/null");
    let clean = format!("{python} -c 'import os; os.unlink(\"b\")' 2>/dev/null");
    for (why, script) in [
        (
            "the program lost",
            format!("trap 'rm -f b' EXIT; {lose} || exit 1"),
        ),
        ("its script lost", format!(": >b; {clean}; exit 1")),
    ] {
        assert!(!lab.sh("bash", &script).status.success(), "{why}");
        assert_eq!(lab.holder("b"), Some(holder.pid()), "{why}");
    }
    // Who lost nothing is no loser.
    lab.sh("bash", "rm b").ok();
}

fn who_was_refused_may_unlink_once_the_hold_is_over() {
    let lab = Lab::new(&[]);
    let (mut me, mut other) = (lab.shell(), lab.shell());
    other.ok("touch b");
    me.refused("busybox touch b", "EBUSY");
    me.refused("rm b", "EPERM");
    other.ok("rm b");
    me.ok("touch b");
    me.ok("rm b");
    // That one was refused in another hold does not count in this one.
    other.ok("touch b");
    me.ok("rm b");
    assert_eq!(lab.boards(), [""; 0]);
}

fn a_program_that_unlinks_to_take_is_refused() {
    let lab = Lab::new(&[]);
    let mut holder = lab.shell();
    holder.ok("touch b");
    // They judge by age: this one is old.
    holder.ok("touch -d '2001-01-01' b");
    let file = lab.dir().parent().unwrap().join("file");
    std::fs::write(&file, "x").unwrap();
    let file = file.display();
    for (program, take) in [
        ("cp", format!("cp -f {file} b")),
        ("cp", format!("cp --remove-destination {file} b")),
        ("busybox cp", format!("busybox cp -f {file} b")),
        ("install", format!("install {file} b")),
        ("mv", format!("cp {file} {file}-2; mv -f {file}-2 b")),
        (
            "ln",
            "touch src; ln -f src b; r=$?; rm -f src; (exit $r)".to_owned(),
        ),
        ("ln", "ln -sf somewhere b".to_owned()),
        ("busybox ln", "busybox ln -sf somewhere b".to_owned()),
        ("dotlockfile", "dotlockfile -l -r 0 b".to_owned()),
        ("dotlockfile", "dotlockfile -l -r 0 -p b".to_owned()),
        ("lockfile", "timeout 1 lockfile -0 -r0 -l1 -s1 b".to_owned()),
    ] {
        let from = lab.log().len();
        let output = lab.sh("bash", &take);
        assert!(!output.status.success(), "{take}: {output}");
        assert_eq!(lab.boards(), ["b"], "{take}");
        assert_eq!(lab.holder("b"), Some(holder.pid()), "{take}");
        // Those that never get so far as to unlink were refused otherwise.
        let name = program.rsplit(' ').next().unwrap();
        let line = lab.wait_for_log_from(from, |line| {
            line.contains(" b: refused to root")
                && line.contains(&format!("held by root, pid {}", holder.pid()))
        });
        assert!(line.contains("pid "), "{name}: {line}");
    }
    // Those that unlink at once are told why.
    for program in ["install", "cp"] {
        lab.wait_for_log(|line| line.contains("unlinks to take") && line.contains(program));
    }
}

fn a_detached_board_is_not_taken_by_copying_over_it() {
    let lab = Lab::new(&[]);
    let mut me = lab.shell();
    me.ok("echo 0 0 >b");
    let token = lab.xattr("b", "token");
    let file = lab.dir().parent().unwrap().join("file");
    std::fs::write(&file, "x").unwrap();
    let file = file.display();
    for take in [
        format!("cp -f {file} b"),
        format!("cp --remove-destination {file} b"),
        format!("install {file} b"),
        format!("cp {file} {file}-2; mv -f {file}-2 b"),
        "touch src; ln -f src b; r=$?; rm -f src; (exit $r)".to_owned(),
    ] {
        assert!(!lab.sh("bash", &take).status.success(), "{take}");
        assert_eq!(lab.xattr("b", "token"), token, "{take}");
    }
    me.ok("rm b");
}

fn with_release_holder_only_the_holders_side_unlinks() {
    let lab = Lab::new(&["-o", "release=holder"]);
    let mut holder = lab.shell_as(NOBODY);
    holder.ok("touch b; mkdir d");
    for mut other in [lab.shell(), lab.shell_as(NOBODY), lab.shell_as(1234)] {
        other.refused("rm -f b", "EPERM");
        other.refused("rmdir d", "EPERM");
        other.refused("mv b c", "EPERM");
    }
    assert_eq!(lab.boards(), ["b", "d"]);
    holder.ok("sh -c 'rm b; rmdir d; :'");
    assert_eq!(lab.boards(), [""; 0]);
}

fn with_release_holder_a_detached_board_is_its_users() {
    let lab = Lab::new(&["-o", "release=holder"]);
    let mut me = lab.shell_as(NOBODY);
    let detach = "echo $(( $(date +%s) + 3600 )) 0 >b";
    me.ok(detach);
    assert_eq!(lab.holder("b"), Some(0));
    lab.shell_as(1234).refused("rm -f b", "EPERM");
    lab.shell_as(NOBODY).ok("rm b");
    me.ok(detach);
    lab.shell().ok("rm b");
}

fn a_holder_that_is_killed_holds_nothing_its_children_neither() {
    let lab = Lab::new(&[]);
    let mut holder = lab.shell();
    holder.ok("exec 9>b; touch c; sleep 1000 & disown");
    let child = holder.ok("echo $!");
    let mut other = lab.shell();
    other.refused("busybox touch b", "EBUSY");
    holder.kill();
    assert!(std::path::Path::new(&format!("/proc/{child}/fd/9")).exists());
    other.ok("touch b && mkdir c");
    assert_eq!(lab.holder("b"), Some(other.pid()));
    lab.sh("sh", &format!("kill -9 {child}")).ok();
    assert_eq!(lab.holder("b"), Some(other.pid()));
}

fn after_kill_and_wait_the_board_is_free() {
    let lab = Lab::new(&[]);
    let output = lab
        .sh(
            "bash",
            "for i in $(seq 50); do
                bash -c 'touch b && exec sleep 1000' &
                until [ -e b ]; do :; done
                kill -9 $!
                wait $! 2>/dev/null
                touch b || { echo failed in round $i; exit 1; }
                rm b
            done",
        )
        .ok();
    assert_eq!(output.stdout, "");
}

fn every_end_of_a_holder_frees_what_it_holds() {
    let lab = Lab::new(&[]);
    for end in [
        "exit 0",
        "exit 1",
        "kill -TERM $$",
        "kill -KILL $$",
        "kill -SEGV $$",
        "exec true",
    ] {
        let mut holder = lab.spawn(
            "bash",
            &format!("ulimit -c 0; touch b; echo have; read x; {end}"),
        );
        holder.expect("have");
        assert_eq!(lab.holder("b"), Some(holder.pid()), "{end}");
        holder.say("go");
        assert!(holder.ended(PATIENCE).is_some(), "{end}");
        lab.sh("sh", "touch b && rm b").ok();
    }
    // A zombie, whom nobody waits for, is dead.
    let mut parent = lab.python();
    parent.ok(
        "p = subprocess.Popen(['bash', '-c', 'touch b; echo have; read x'], \
               stdin=subprocess.PIPE, stdout=subprocess.PIPE)",
    );
    parent.ok("p.stdout.readline(); p.stdin.close()");
    eventually(
        "the board of a zombie is free",
        Duration::from_secs(10),
        || lab.holder("b").is_none(),
    );
    let pid = parent.ok("p.pid");
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    assert!(stat.contains(") Z "), "{stat}");
}

fn a_subshells_claim_passes_to_its_shell() {
    let lab = Lab::new(&[]);
    let mut me = lab.shell();
    me.ok("(touch b; true)");
    let me_pid = me.pid();
    assert_eq!(lab.holder("b"), Some(me_pid));
    // While it lives it is the holder itself, and its shell is not.
    let fifo = lab.dir().parent().unwrap().join("fifo");
    me.ok(&format!(
        "mkfifo {0}; (touch c; echo $BASHPID >{0}; read x <{0}) & sub=$!",
        fifo.display()
    ));
    let sub: u32 = me
        .ok(&format!("read x <{}; echo $x", fifo.display()))
        .parse()
        .unwrap();
    assert_eq!(lab.holder("c"), Some(sub));
    me.refused("busybox touch c", "EBUSY");
    me.ok(&format!("echo go >{}; wait $sub", fifo.display()));
    assert_eq!(lab.holder("c"), Some(me_pid));
    me.ok("touch c");
    lab.wait_for_log(|line| line.contains(" c: now held by"));
    me.kill();
    assert_eq!(lab.boards(), [""; 0]);
}

fn a_directory_with_its_boards_is_freed_by_death() {
    let lab = Lab::new(&[]);
    let mut holder = lab.shell();
    holder.ok("mkdir d; mkdir d/e; touch d/b d/e/c; echo $$ >d/pid; ln -s x l; ln d/b b");
    holder.kill();
    assert_eq!(lab.boards(), [""; 0]);
    lab.sh("sh", "mkdir d && touch d/b b && ln -s x l").ok();
}

fn a_rename_away_is_the_holders_alone() {
    let lab = Lab::new(&[]);
    let mut holder = lab.shell_as(NOBODY);
    holder.ok("touch b");
    // It would be taking, not giving back: not even for the file's user or root.
    for mut other in [lab.shell(), lab.shell_as(NOBODY), lab.shell_as(1234)] {
        other.refused("mv b c", "EPERM");
        other.refused("mv -T b c", "EPERM");
        other.refused("busybox mv b c", "EPERM");
    }
    assert_eq!(lab.holder("b"), Some(holder.pid()));
    holder.ok("mv b c");
    assert_eq!(lab.boards(), ["c"]);
    assert_eq!(lab.holder("c"), Some(holder.pid()));
}
