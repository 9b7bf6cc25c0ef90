//! `boardlock status` and `boardlock history`: on terminals, in pipes, for programs.

use std::time::Duration;

use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::lab::{BOARDLOCK, Lab, NOBODY};
use crate::process::{PATIENCE, Running, eventually};
use crate::site::Site;
use crate::tmux::Tmux;
use crate::trial::ROOT;

pub fn tests() -> Vec<Trial> {
    trials![
        a_table_fits_a_terminal("tmux", "bash");
        nothing_is_cut_in_a_pipe;
        columns_are_chosen;
        json_is_the_daemons("jq");
        exit_codes_tell_what_is_free;
        boards_by_pattern_and_by_path;
        with_an_inventory_all_boards_are_listed;
        what_lock_tools_make_for_a_moment_is_hidden("mktemp");
        history_tells_who_had_it_and_how_it_ended("jq");
        history_fits_a_terminal("tmux", "bash");
        watching_tells_of_changes_alone("jq");
        watching_redraws_a_terminal("tmux", "bash");
        watching_comes_back_to_a_terminal("tmux", "bash");
        json_of_a_watch_is_not_overwritten("tmux", "bash");
        what_is_ignored_does_not_end_a_watch("sh");
        watching_goes_on_with_another_daemon("flock");
        who_has_a_locked_board_is_shown("flock");
        watching_ends_with_its_reader_and_the_mount("head");
        what_the_overdue_become_is_shown;
        names_and_commands_reach_no_terminal_raw("bash", "python3");
        others_see_it_too(ROOT);
        errors_say_what_to_type;
        a_dead_mount_says_how_to_start_it;
        output_that_cannot_be_written_is_told("sh");
    ]
}

/// What a command prints, where it succeeds.
#[track_caller]
fn said(lab: &Lab, command: &str) -> String {
    lab.sh("sh", command).ok().stdout
}

fn who_has_a_locked_board_is_shown() {
    let lab = Lab::new(&[]);
    let mut holder = lab.spawn("sh", "exec 9>b; flock 9; echo have; read line");
    holder.expect("have");
    // Nobody has asked of it by itself before.
    let script = format!(
        "{BOARDLOCK} status -no board,pid; {BOARDLOCK} status --json | jq '.boards[0].pid'"
    );
    let output = lab.sh("sh", &script).ok();
    let pid = holder.pid();
    assert_eq!(output.stdout, format!("b  {pid}\n{pid}\n"));
    // Who takes over has not looked, and who watches alone asks of it.
    let from = lab.log().len();
    lab.sh("sh", &format!("kill -9 {}", lab.daemon_pid())).ok();
    lab.wait_for_log_from(from, |line| line.contains("goes on"));
    let mut watch = lab.program(BOARDLOCK, &["status", "--watch", "-no", "board,pid"]);
    watch.expect(&format!("b  {pid}"));
}

fn a_table_fits_a_terminal() {
    let lab = Lab::new(&[]);
    let long = "a_long_one_with_many_words_and_letters_in_it";
    let mut holders = Vec::new();
    for board in ["zynq", "rack-imx8", "beagle"] {
        let script =
            format!("# {long}\ntouch {board}; touch -d '+7190 seconds' {board}; echo; read line");
        let name = lab.dir().parent().unwrap().join(format!("{long}-{board}"));
        std::fs::write(&name, script).unwrap();
        let mut holder = lab.program("sh", &[name.to_str().unwrap(), long, long]);
        holder.expect("");
        holders.push(holder);
    }
    for columns in [80, 200] {
        let tmux = Tmux::new();
        tmux.shell(&lab, columns, 24);
        tmux.types("boardlock status; echo en''d");
        let lines = tmux.shows("end");
        let [begin, headings, rows @ .., end] = lines.as_slice() else {
            panic!("{lines:?}");
        };
        assert_eq!((begin.as_str(), end.as_str()), ("begin", "end"));
        let words: Vec<&str> = headings.split_whitespace().collect();
        assert_eq!(
            words,
            [
                "BOARD", "STATE", "HOLDER", "PID", "COMMAND", "SINCE", "EXPIRES", "WAITERS"
            ]
        );
        let boards: Vec<&str> = rows
            .iter()
            .map(|row| row.split(' ').next().unwrap())
            .collect();
        // One line each: none is wrapped.
        assert_eq!(boards, ["beagle", "rack-imx8", "zynq"], "{lines:#?}");
        for row in rows {
            assert!(row.contains(" held "), "{row}");
            assert!(row.ends_with(" 0"), "{row}");
            let board = row.split(' ').next().unwrap();
            let command = &lab.status(board)["command"];
            assert_eq!(row.contains(command), columns == 200, "{command}: {row}");
            // Since when and until when, from now too, at the length that fits.
            let left = [" 1h59m ", "(in 1 h 59 min) "];
            assert!(left.iter().any(|left| row.contains(left)), "{row}");
        }
        // What is still on the screen is no answer: each ends with a word of its own.
        tmux.types("clear; boardlock status -o board,command beagle; echo cho''sen");
        let lines = tmux.shows("chosen");
        assert!(lines.iter().all(|line| line.chars().count() <= columns));
        // The headings are bold, where that is not unwanted.
        tmux.types("clear; boardlock status beagle; echo bo''ld");
        tmux.shows("bold");
        let raw = tmux.run(&["capture-pane", "-p", "-e"]).ok().stdout;
        assert!(raw.contains("\u{1b}[1mBOARD"), "{raw:?}");
        tmux.types("clear; NO_COLOR=1 boardlock status beagle; echo o''ver");
        tmux.shows("over");
        let raw = tmux.run(&["capture-pane", "-p", "-e"]).ok().stdout;
        assert!(!raw.contains('\u{1b}'), "{raw:?}");
    }
}

fn nothing_is_cut_in_a_pipe() {
    let lab = Lab::new(&[]);
    let mut client = lab.shell();
    client.ok("touch b; mkdir a");
    let text = said(&lab, "COLUMNS=20 $BOARDLOCK status | cat");
    assert!(!text.contains('\u{1b}') && !text.contains("..."), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    let pid = lab.holder("b").unwrap().to_string();
    for (line, board) in lines[1..].iter().zip(["a", "b"]) {
        assert!(line.starts_with(board), "{line}");
        assert!(line.contains(&pid), "{line}");
        assert!(line.contains(" ago)") || line.contains("(now)"), "{line}");
        assert!(line.contains(&lab.status("b")["command"]), "{line}");
    }
    // The same with colours for who asks for them.
    let text = said(&lab, "$BOARDLOCK status --color always | cat");
    assert!(text.contains("\u{1b}[1mBOARD"), "{text:?}");
    client.ok("rm b; rmdir a");
    let output = lab.sh("sh", "$BOARDLOCK status").ok();
    assert_eq!(output.stdout.lines().count(), 1, "{output}");
    assert!(output.stderr.contains("no board is held"), "{output}");
}

fn columns_are_chosen() {
    let lab = Lab::new(&[]);
    let mut client = lab.shell();
    client.ok("touch b; touch a");
    let token = &lab.status("b")["token"];
    assert_eq!(
        said(&lab, "$BOARDLOCK status -n -o board,token b"),
        format!("b  {token}\n")
    );
    let text = said(&lab, "$BOARDLOCK status -o +token,via");
    let headings: Vec<&str> = text.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(headings[0], "BOARD");
    assert_eq!(headings[headings.len() - 2..], ["TOKEN", "VIA"]);
    lab.sh("sh", "$BOARDLOCK status -o board,nonsense")
        .fails(2)
        .said("there is no column 'nonsense'; there are board, state,");
    lab.sh("sh", "$BOARDLOCK status -o board --json").fails(2);
    lab.sh("sh", "$BOARDLOCK status -q").fails(2);
}

fn json_is_the_daemons() {
    let lab = Lab::new(&[]);
    let mut client = lab.shell();
    client.ok("touch a; touch -d '+1 hour' b");
    for filter in [
        ".version == 1 and (.boards | length) == 2",
        ".boards == (.boards | sort_by(.board))",
        "[.boards[].state] == [\"held\", \"held\"]",
        "[.boards[] | .expires_unix | type] == [\"null\", \"number\"]",
        "(.boards[1].expires_in_seconds | . > 3500 and . <= 3600)",
        ".directory == $ENV.LOCKS",
    ] {
        lab.sh(
            "sh",
            &format!("$BOARDLOCK status --json | jq -e '{filter}'"),
        )
        .ok();
    }
    // Keys that are new to one of them are compared when both have them.
    let keys = "$BOARDLOCK status -a --json | jq -e --slurpfile daemon .boardlock/status.json \
                '.boards[0] as $b | $daemon[0].boards[0] | to_entries | map(select(.key != \
                \"expires_in_seconds\")) | all(.value == $b[.key])'";
    lab.sh("sh", keys).ok();
    lab.sh(
        "sh",
        "$BOARDLOCK status --json nobody-has-it | jq -e '.boards == [.boards[0]] and \
         .boards[0].state == \"free\" and .boards[0].board == \"nobody-has-it\"'",
    )
    .ok();
}

fn exit_codes_tell_what_is_free() {
    let lab = Lab::new(&[]);
    let mut client = lab.shell();
    client.ok("touch a b1 b2");
    for (boards, code) in [
        ("a", 0),
        ("a b1", 0),
        ("'b*'", 0),
        ("free", 3),
        ("a free", 3),
        ("'free*'", 3),
        ("./a", 0),
        ("/etc/passwd", 1),
    ] {
        let output = lab
            .sh("sh", &format!("$BOARDLOCK status -q {boards}"))
            .fails(code);
        assert_eq!(output.stdout, "", "{boards}");
        assert_eq!(output.stderr.is_empty(), code != 1, "{output}");
    }
}

fn boards_by_pattern_and_by_path() {
    let lab = Lab::new(&[]);
    let mut client = lab.shell();
    client.ok("touch a1 a2 b; mkdir rack; touch rack/a3");
    let names = |arguments: &str| {
        let text = said(&lab, &format!("$BOARDLOCK status -n -o board {arguments}"));
        text.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(names(""), ["a1", "a2", "b", "rack", "rack/a3"]);
    assert_eq!(names("'a*'"), ["a1", "a2"]);
    assert_eq!(names("'rack/*' b"), ["b", "rack/a3"]);
    assert_eq!(names("./rack/a3 \"$LOCKS/b\""), ["b", "rack/a3"]);
    let elsewhere = said(
        &lab,
        "cd /; $BOARDLOCK status -n -o board -d \"$LOCKS\" 'a?'",
    );
    assert_eq!(elsewhere, "a1\na2\n");
    let variable = said(
        &lab,
        "cd /; BOARDLOCK_DIR=$LOCKS $BOARDLOCK status -n -o board b",
    );
    assert_eq!(variable, "b\n");
}

fn with_an_inventory_all_boards_are_listed() {
    let temp = tempfile::tempdir().unwrap();
    let boards = temp.path().join("boards.toml");
    let text = "[boards.beagle]\ndescription = \"BeagleBone\"\n[directories.rack]\n[boards.\"rack/imx8\"]\n";
    std::fs::write(&boards, text).unwrap();
    let lab = Lab::new(&["--boards", boards.to_str().unwrap()]);
    let mut client = lab.shell();
    client.ok("touch beagle");
    assert_eq!(
        said(&lab, "$BOARDLOCK status -n -o board,state,description"),
        "beagle     held  BeagleBone\nrack/imx8  free  -\n"
    );
    lab.sh("sh", "$BOARDLOCK status -q rack/imx8").fails(3);
    // What there is not is not free.
    for command in ["status", "status -q", "status --watch"] {
        lab.sh("sh", &format!("$BOARDLOCK {command} beagel"))
            .fails(1)
            .said("there is no board beagel in the inventory; did you mean beagle?");
    }
    lab.sh("sh", "$BOARDLOCK status beagle/pid")
        .fails(1)
        .said("there is no board beagle/pid in the inventory");
    // In a directory that somebody has all names are his.
    client.ok("mkdir rack/imx8");
    lab.sh("sh", "$BOARDLOCK status -q rack/imx8/pid").fails(3);
    let text = said(&lab, "$BOARDLOCK why rack/imx8/pid");
    assert!(text.starts_with("rack/imx8/pid is free.\n"), "{text}");
    client.ok("rmdir rack/imx8");
    let text = said(&lab, "$BOARDLOCK why imx8");
    assert!(
        text.starts_with("There is no board imx8 in the inventory.\n"),
        "{text}"
    );
    assert!(text.contains("boardlock why rack/imx8"), "{text}");
}

fn what_lock_tools_make_for_a_moment_is_hidden() {
    let lab = Lab::new(&[]);
    let mut client = lab.shell();
    client.ok("touch board .lk12345ahost; mktemp -p . lock.XXXXXXXXXX");
    let count = |arguments: &str| {
        let text = said(&lab, &format!("$BOARDLOCK {arguments}"));
        text.lines().count()
    };
    assert_eq!(said(&lab, "$BOARDLOCK status -n -o board"), "board\n");
    assert_eq!(count("status -n -a"), 3);
    assert_eq!(count("status -n .lk12345ahost"), 1);
    client.ok("rm board .lk* lock.*");
    eventually("all are remembered", PATIENCE, || {
        count("history --no-headings -a") == 3
    });
    assert_eq!(
        said(&lab, "$BOARDLOCK history --no-headings -o board"),
        "board\n"
    );
    assert_eq!(count("history --no-headings .lk12345ahost"), 1);
}

fn history_tells_who_had_it_and_how_it_ended() {
    let lab = Lab::new(&[]);
    let output = lab.sh("sh", "$BOARDLOCK history").ok();
    assert_eq!(output.stdout.lines().count(), 1, "{output}");
    assert!(output.stderr.contains("nothing is remembered"), "{output}");
    let mut client = lab.shell();
    client.ok("touch a b; rm a");
    client.kill();
    let history = |arguments: &str| {
        let command = "history --no-headings -o board,holder,how,by";
        let text = said(&lab, &format!("$BOARDLOCK {command} {arguments}"));
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        text.lines().map(words).collect::<Vec<_>>()
    };
    eventually("both are remembered", PATIENCE, || history("").len() == 2);
    assert_eq!(history(""), ["a root released root", "b root died -"]);
    assert_eq!(history("-n 1"), ["b root died -"]);
    assert_eq!(history("'[ab]' --since 1h").len(), 2);
    assert_eq!(history("a"), ["a root released root"]);
    assert!(history("--since 2100-01-01").is_empty());
    assert!(history("c").is_empty());
    lab.sh(
        "sh",
        "$BOARDLOCK history --json a | jq -e '.version == 1 and (.holds | length) == 1 and \
         (.holds[0] | .how == \"released\" and .uid == 0 and .token > 0)'",
    )
    .ok();
    lab.sh("sh", "$BOARDLOCK history --since yesterday-ish")
        .fails(2)
        .said("is no time; write it as 2h");
    let text = said(&lab, "$BOARDLOCK why b");
    assert!(
        text.contains("had it last, for ") && text.contains("its process ended"),
        "{text}"
    );
}

fn history_fits_a_terminal() {
    let lab = Lab::new(&[]);
    lab.sh(
        "bash",
        "for i in 1 2 3; do touch a-board; rm a-board; done; # and so on",
    )
    .ok();
    for columns in [80, 200] {
        let tmux = Tmux::new();
        tmux.shell(&lab, columns, 24);
        tmux.types("boardlock history; echo en''d");
        let lines = tmux.shows("end");
        assert_eq!(lines.len(), 6, "{lines:#?}");
        assert!(lines[1].starts_with("SINCE "), "{lines:#?}");
        for line in &lines[2..5] {
            assert!(line.ends_with(" released  root"), "{line}");
            assert_eq!(
                line.contains(" ago)") || line.contains("(now)"),
                columns == 200
            );
        }
    }
}

/// A watch in a pipe, whose lines are the boards.
fn watch(lab: &Lab, arguments: &str) -> Running {
    lab.spawn(
        "sh",
        &format!(
            "$BOARDLOCK status --watch --json {arguments} | \
             jq --unbuffered -r '[.boards[] | .board + \":\" + .state] | join(\" \") | \"=\" + .'"
        ),
    )
}

fn watching_tells_of_changes_alone() {
    let lab = Lab::new(&[]);
    let mut client = lab.shell();
    let mut all = watch(&lab, "");
    let mut one = watch(&lab, "a");
    all.expect("=");
    one.expect("=a:free");
    client.ok("touch c");
    all.expect("=c:held");
    client.ok("touch a");
    // Of c nothing was told to who asked for a alone.
    one.expect("=a:held");
    all.expect("=a:held c:held");
    client.ok("rm a c");
    one.expect("=a:free");
    eventually(
        "the last of what is told is that none is held",
        PATIENCE,
        || all.line() == "=",
    );
    // What does not change is not told, however often it is looked at.
    lab.sh("sh", "cat a; ls; $BOARDLOCK status").ok();
    let (all_said, one_said) = (all.said(), one.said());
    assert_eq!(one_said, 3);
    assert!(all.next_line(Duration::from_millis(300)).is_none());
    assert_eq!((all.said(), one.said()), (all_said, one_said));
}

fn watching_redraws_a_terminal() {
    let lab = Lab::new(&[]);
    let mut client = lab.shell();
    let tmux = Tmux::new();
    tmux.shell(&lab, 80, 10);
    tmux.types("boardlock status --watch");
    let drawn = |lines: &[String]| lines.first().is_some_and(|line| line.starts_with("BOARD"));
    tmux.shows_all("the headings are on top", drawn);
    tmux.shows("no board is held");
    client.ok("touch beagle");
    let lines = tmux.shows("beagle");
    assert!(drawn(&lines) && lines.len() == 2, "{lines:#?}");
    // More than there is room for.
    client.ok("touch b1 b2 b3 b4 b5 b6 b7 b8 b9");
    let lines = tmux.shows("(and 3 more)");
    assert!(drawn(&lines) && lines.len() == 9, "{lines:#?}");
    // Another size.
    tmux.run(&["resize-window", "-x", "180", "-y", "20"]).ok();
    let lines = tmux.shows("ago)");
    assert!(lines.iter().any(|line| line.contains("b9")), "{lines:#?}");
    client.ok("rm b*");
    tmux.shows("no board is held");
    tmux.press("C-c");
    tmux.is_idle();
    // As any program that Ctrl-C ends; what it showed stays.
    tmux.types("echo over $?");
    let lines = tmux.shows("over 130");
    assert!(drawn(&lines), "{lines:#?}");
}

fn watching_comes_back_to_a_terminal() {
    let lab = Lab::new(&[]);
    let mut client = lab.shell();
    client.ok("touch a-board-with-a-name-of-some-length other");
    let tmux = Tmux::new();
    // Less than it can be fitted to: a board takes one line all the same.
    tmux.shell(&lab, 20, 6);
    tmux.types("boardlock status --watch");
    let drawn = |lines: &[String]| {
        let begins = |at: usize, with| lines.get(at).is_some_and(|line| line.starts_with(with));
        begins(0, "BOARD") && begins(1, "a-board-") && begins(2, "other ") && lines.len() == 3
    };
    tmux.shows_all("a line for each board", drawn);
    tmux.press("C-z");
    tmux.is_idle();
    tmux.types("clear; echo st''opped");
    tmux.shows_all("it is stopped", |lines| lines == ["stopped"]);
    // Nothing has changed meanwhile but the terminal.
    tmux.types("fg");
    tmux.shows_all("it is drawn again", drawn);
    tmux.press("C-c");
    tmux.is_idle();
}

fn json_of_a_watch_is_not_overwritten() {
    let lab = Lab::new(&[]);
    let mut client = lab.shell();
    let tmux = Tmux::new();
    tmux.shell(&lab, 80, 24);
    tmux.types("boardlock status --watch --json b");
    // Lines go on at the terminal's edge.
    let states = |lines: &[String]| {
        let text = lines.concat();
        let told = text.split("\"state\":\"").skip(1);
        let words = told.map(|rest| rest.split('"').next().unwrap().to_owned());
        words.collect::<Vec<String>>()
    };
    tmux.shows_all("it is free", |lines| states(lines) == ["free"]);
    // Another size is no change of a board.
    tmux.run(&["resize-window", "-x", "90", "-y", "24"]).ok();
    client.ok("touch b");
    tmux.shows_all("it is held", |lines| states(lines) == ["free", "held"]);
    tmux.press("C-c");
    tmux.is_idle();
}

fn what_is_ignored_does_not_end_a_watch() {
    let lab = Lab::new(&[]);
    let mut client = lab.shell();
    let mut one = lab.spawn(
        "sh",
        "trap '' HUP INT; exec $BOARDLOCK status --watch -n -o state a",
    );
    one.expect("free");
    one.expect("");
    one.signal(Signal::HUP);
    one.signal(Signal::INT);
    client.ok("touch a");
    one.expect("held");
    one.signal(Signal::TERM);
    let ended = one.ended(PATIENCE).expect("it does not end");
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&ended),
        Some(15)
    );
}

fn watching_goes_on_with_another_daemon() {
    let lab = Lab::new(&[]);
    let mut client = lab.shell();
    client.ok("touch a");
    let mut one = watch(&lab, "a b");
    one.expect("=a:held b:free");
    let from = lab.log().len();
    let serves = lab.daemon_pid();
    lab.sh("sh", &format!("kill -9 {serves}")).ok();
    lab.wait_for_log_from(from, |line| line.contains("goes on"));
    client.ok("touch b");
    // Who takes over does not know of who sleeps; it looks by itself once a minute.
    let told = one.next_line(Duration::from_secs(100));
    assert_eq!(told.as_deref(), Some("=a:held b:held"));
    lab.sh("sh", "cd /; $BOARDLOCK upgrade \"$LOCKS\"").ok();
    client.ok("rm a");
    let told = one.next_line(Duration::from_secs(100));
    assert_eq!(told.as_deref(), Some("=a:free b:held"));
}

fn watching_ends_with_its_reader_and_the_mount() {
    let mut lab = Lab::new(&[]);
    // It sleeps, and learns that nobody reads any more.
    lab.sh("sh", "$BOARDLOCK status --watch | head -n 1").ok();
    let mut watch = lab.program(BOARDLOCK, &["status", "--watch"]);
    assert!(watch.line().starts_with("BOARD"));
    lab.stop(Signal::TERM);
    let ended = watch.ended(PATIENCE).expect("it does not end");
    assert_eq!(ended.code(), Some(1));
    eventually("it says why", PATIENCE, || {
        watch
            .stderr()
            .contains("start it again by: boardlock mount ")
    });
}

fn what_the_overdue_become_is_shown() {
    let lab = Lab::new(&["-o", "expire=keep"]);
    let mut client = lab.shell();
    client.ok("touch a");
    let soon = "setfattr -n user.boardlock.expires -v +3s a";
    if lab.sh("sh", "command -v setfattr").status.success() {
        client.ok(soon);
    } else {
        client.ok("touch -d '+4 seconds' a");
    }
    let mut one = lab.program(BOARDLOCK, &["status", "-w", "-n", "-o", "state", "a"]);
    one.expect("held");
    one.expect("");
    // No event tells of it.
    one.expect("overdue");
    drop(one);
    let text = said(&lab, "$BOARDLOCK status a");
    assert!(text.contains("overdue") && text.contains(" ago)"), "{text}");
}

fn names_and_commands_reach_no_terminal_raw() {
    let lab = Lab::new(&[]);
    let program = "import os, sys\n\
        for name in [b'bad\\xff', 'turn\\u202ed'.encode(), b'back\\\\slash']:\n    \
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY))\n\
        print(flush=True)\n\
        sys.stdin.read()\n";
    let file = lab.dir().parent().unwrap().join("program.py");
    std::fs::write(&file, program).unwrap();
    let escape = "\u{1b}]0;owned\u{7}\u{9b}2J";
    let mut holder = lab.program("python3", &[file.to_str().unwrap(), escape]);
    holder.expect("");
    let listed = said(&lab, "$BOARDLOCK status -n -o board");
    assert_eq!(listed, "back\\\\slash\nbad\\xff\nturn\\u{202e}d\n");
    for command in [
        "status",
        "status --json",
        "status -o +via,note",
        "status --color never 'b*'",
        "why 'bad\\xff'",
    ] {
        let output = lab.sh("sh", &format!("$BOARDLOCK {command}")).ok();
        let raw = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        let text = output.stdout.clone() + &output.stderr;
        assert!(!text.contains(raw), "{command}: {text:?}");
    }
    let text = said(&lab, "$BOARDLOCK status -n -o command 'bad*'");
    assert!(text.contains("\\x1b]0;owned\\x07"), "{text}");
    // A name as it is, though it shows otherwise.
    let name = "$(printf 'bad\\377')";
    lab.sh("bash", &format!("$BOARDLOCK status -q {name}")).ok();
    let errors = lab.sh("bash", "$BOARDLOCK status $'../a\\e[31m'").fails(1);
    assert!(!errors.stderr.contains('\u{1b}'), "{errors}");
}

fn others_see_it_too() {
    let lab = Lab::new(&[]);
    let mut client = lab.shell();
    client.ok("touch a");
    let copy = lab.dir().parent().unwrap().join("boardlock");
    crate::lab::copy_program(BOARDLOCK.as_ref(), &copy);
    let command = format!("{} status -n -o board,holder", copy.display());
    assert_eq!(lab.sh_as(NOBODY, "sh", &command).ok().stdout, "a  root\n");
}

fn a_dead_mount_says_how_to_start_it() {
    let site = Site::new();
    let mut daemon = site.serve("locks", &["--state", "none"]);
    // With no state the end of the one that serves is the end; this one unmounts nothing.
    let serves = crate::lab::serving(daemon.pid());
    daemon.signal(Signal::KILL);
    daemon.ended(PATIENCE).expect("it does not end");
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(serves.try_into().unwrap()).unwrap(),
        Signal::KILL,
    )
    .ok();
    let locks = site.path("locks");
    eventually("nobody serves it", PATIENCE, || {
        std::fs::metadata(&locks).is_err_and(|error| error.raw_os_error() == Some(libc::ENOTCONN))
    });
    for command in [
        &["status"][..],
        &["status", "--watch"],
        &["history"],
        &["why", "b"],
        &["run", "b", "--", "true"],
        &["wait", "b"],
        &["renew", "b"],
        &["release", "b"],
    ] {
        let mut client = std::process::Command::new(BOARDLOCK);
        client.args(command).env("BOARDLOCK_DIR", &locks);
        let output = Running::start(client).wait(PATIENCE);
        let said = &output.stderr;
        let remedy = format!("boardlock mount {}", locks.display());
        assert!(
            !output.status.success() && said.contains(&remedy),
            "{output}"
        );
        assert!(said.contains("nobody serves "), "{output}");
    }
}

fn errors_say_what_to_type() {
    let mut lab = Lab::new(&[]);
    for command in ["status", "history", "why a"] {
        lab.sh("sh", &format!("$BOARDLOCK {command} -d /proc"))
            .fails(1)
            .said("start it there by: boardlock mount /proc");
        lab.sh("sh", &format!("$BOARDLOCK {command} ../outside"))
            .fails(if command == "why a" { 2 } else { 1 });
    }
    lab.stop(Signal::TERM);
    lab.sh("sh", "cd /; $BOARDLOCK status -d \"$LOCKS\"")
        .fails(1)
        .said("boardlock mount");
}

fn output_that_cannot_be_written_is_told() {
    let lab = Lab::new(&[]);
    lab.sh("sh", "$BOARDLOCK status >/dev/full")
        .fails(1)
        .said("cannot write to stdout: No space left on device");
    // Who has read enough is no error.
    let output = lab
        .sh("sh", "{ $BOARDLOCK status; echo $? >&2; } | true")
        .ok();
    assert_eq!(output.stderr.lines().next(), Some("0"), "{output}");
}
