//! `boardlock why`: what a failed touch cannot say.

use libtest_mimic::Trial;

use crate::lab::{Lab, NOBODY};
use crate::process::{PATIENCE, eventually};
use crate::trial::ROOT;

pub fn tests() -> Vec<Trial> {
    trials![
        a_refused_touch_is_explained("bash");
        who_waits_is_named("flock");
        detached_boards_are_explained(ROOT, "setsid");
        what_is_free_says_how_to_take_it;
        users_are_told_what_they_may("busybox", ROOT);
        what_is_for_others_is_not_offered("busybox", ROOT);
    ]
}

#[track_caller]
fn why(lab: &Lab, board: &str) -> String {
    lab.sh("sh", &format!("$BOARDLOCK why {board}")).ok().stdout
}

fn a_refused_touch_is_explained() {
    let lab = Lab::new(&[]);
    let mut holder = lab.spawn("bash", "sh -c 'touch beagle || exit 1'; echo; read line");
    holder.expect("");
    let loser = lab
        .spawn("bash", "touch beagle; echo $$; true")
        .wait(PATIENCE);
    assert!(loser.stderr.contains("cannot touch"), "{loser}");
    let text = why(&lab, "beagle");
    let pid = holder.pid();
    let lines: Vec<&str> = text.lines().collect();
    let holds = format!("beagle is held by root (you), pid {pid} (");
    assert!(lines[0].starts_with(&holds), "{text}");
    assert!(lines[0].contains(", since "), "{text}");
    for wanted in [
        "How that was found: touch < sh -c < bash".to_owned(),
        "  touch  only takes boards for what started it".to_owned(),
        "  sh -c  does nothing but take boards".to_owned(),
        "  bash   still has something to do, so it holds".to_owned(),
    ] {
        assert!(lines.contains(&wanted.as_str()), "{wanted}: {text}");
    }
    let refused = lines
        .iter()
        .skip_while(|line| **line != "Refused since then:");
    let refused = refused.clone().nth(1).unwrap_or(&"");
    let loser = format!("root (you), pid {} (", loser.stdout.trim());
    assert!(refused.contains(&loser), "{text}");
    assert!(
        refused.ends_with("by touch < bash: held by another"),
        "{text}"
    );
}

fn who_waits_is_named() {
    let lab = Lab::new(&[]);
    let mut holder = lab.spawn("sh", "exec 9>b; flock 9; echo; read line");
    holder.expect("");
    let waits = lab.program("flock", &["b", "true"]);
    eventually("it waits", PATIENCE, || lab.status("b")["waiters"] == "1");
    let text = why(&lab, "b");
    assert!(
        text.starts_with("b is locked by root (you), pid "),
        "{text}"
    );
    assert!(text.contains("\nHow that was found: flock(2)\n"), "{text}");
    assert!(
        text.contains("\nWaiting: 1\n  1  root (you), pid "),
        "{text}"
    );
    assert!(text.contains(&format!("pid {} (", waits.pid())), "{text}");
}

fn detached_boards_are_explained() {
    let lab = Lab::new(&[]);
    let tmux = crate::tmux::Tmux::new();
    let locks = lab.dir().to_str().unwrap();
    tmux.run(&["new-session", "-d", "cat"]).ok();
    tmux.run(&["new-window", "-d", "-c", locks, "touch b"]).ok();
    eventually("it is taken", PATIENCE, || lab.path("b").exists());
    let text = why(&lab, "b");
    assert!(
        text.starts_with("b belongs to root (you), detached: no process holds it, since "),
        "{text}"
    );
    assert!(
        text.contains("starts sessions: no process is left to hold, the user alone does"),
        "{text}"
    );
}

fn what_is_free_says_how_to_take_it() {
    let lab = Lab::new(&[]);
    let text = why(&lab, "rack1/imx8");
    assert!(text.starts_with("rack1/imx8 is free.\n"), "{text}");
    assert!(
        text.contains("boardlock run rack1/imx8 -- COMMAND"),
        "{text}"
    );
    let text = why(&lab, "'a b'");
    assert!(text.contains("touch 'a b'"), "{text}");
    lab.sh("sh", "$BOARDLOCK why .boardlock").fails(1);
    lab.sh("sh", "$BOARDLOCK why").fails(2);
}

fn users_are_told_what_they_may() {
    let lab = Lab::new(&[]);
    let copy = lab.dir().parent().unwrap().join("boardlock");
    crate::lab::copy_program(crate::lab::BOARDLOCK.as_ref(), &copy);
    let mut client = lab.shell();
    client.ok("touch b");
    let command = format!("{} why b", copy.display());
    let text = lab.sh_as(NOBODY, "sh", &command).ok().stdout;
    assert!(text.contains("b is held by root, pid "), "{text}");
    let asks = |line: &str| line.contains("ask who has it") && line.ends_with(" root");
    assert!(text.lines().any(asks), "{text}");
    assert!(!text.contains("release"), "{text}");
}

fn what_is_for_others_is_not_offered() {
    let temp = tempfile::tempdir().unwrap();
    let boards = temp.path().join("boards.toml");
    let text = "[boards.theirs]\nusers = [1234]\n[boards.ours]\nusers = [65534, \"root\"]\n\
                [boards.groups]\ngroups = [65534]\n[boards.held]\nusers = [1234]\n";
    std::fs::write(&boards, text).unwrap();
    let lab = Lab::new(&["--boards", boards.to_str().unwrap()]);
    let copy = lab.dir().parent().unwrap().join("boardlock");
    crate::lab::copy_program(crate::lab::BOARDLOCK.as_ref(), &copy);
    let mut client = lab.shell();
    client.ok("touch held");
    for (board, offered) in [
        ("theirs", false),
        ("ours", true),
        ("groups", true),
        ("held", false),
    ] {
        let offer = format!("boardlock run {board} -- COMMAND");
        let command = format!("{} why {board}", copy.display());
        let text = lab.sh_as(NOBODY, "sh", &command).ok().stdout;
        assert_eq!(text.contains(&offer), offered, "{text}");
        assert_eq!(text.contains("  take it "), offered, "{text}");
        assert!(text.contains("It can be taken by: "), "{text}");
        // Root may take all of them.
        let text = why(&lab, board);
        assert!(text.contains(&offer), "{text}");
    }
}
