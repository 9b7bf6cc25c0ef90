//! Every command in real terminals of 80 and 200 columns, and in a pipe: what it says comes
//! up, and in a pipe it is text alone.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::CommandFactory;
use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::lab::Lab;
use crate::process::{PATIENCE, eventually};
use crate::site;
use crate::tmux::Tmux;
use crate::trial::ROOT;

pub fn tests() -> Vec<Trial> {
    trials![
        every_command_is_driven;
        commands_speak_in_terminals_and_pipes("tmux", "bash", "python3", ROOT);
        mount_tells_a_terminal_and_a_pipe("tmux", "bash", ROOT);
    ]
}

/// A command line, its exit code, and what it says.
type Case = (&'static str, Option<i32>, &'static [&'static str]);

/// `held` is another's, `mine` is that of the shell it is typed into.
const CASES: &[Case] = &[
    (
        "status",
        Some(0),
        &["BOARD ", "held ", "mine ", "free", "WAITERS"],
    ),
    ("status -q held", Some(0), &[]),
    ("history", Some(0), &["SINCE ", "gone ", "released"]),
    (
        "why held",
        Some(0),
        &[
            "held is held by root (you), pid ",
            "How that was found: ",
            "What to do:",
        ],
    ),
    (
        "run -n held -- true",
        Some(1),
        &[
            "held is held by root, pid ",
            ", since ",
            "boardlock wait held",
        ],
    ),
    (
        "run other -- echo while it has it",
        Some(0),
        &["while it has it"],
    ),
    (
        "wait -w 0 held",
        Some(1),
        &[
            "held is held by root, pid ",
            ", since ",
            "boardlock run held -- CMD",
        ],
    ),
    (
        "renew --lease 2h mine",
        Some(0),
        &["mine is yours until ", "(in "],
    ),
    (
        "renew other",
        Some(1),
        &["other is free; to take it: boardlock run other -- CMD"],
    ),
    (
        "release --signal TERM --yes detached",
        Some(1),
        &["cannot signal the holder of detached", "since "],
    ),
    (
        "release mine",
        Some(0),
        &["mine is released; it was held by root, pid "],
    ),
    ("upgrade .", Some(0), &[" is served by this boardlock"]),
    (
        "upgrade /proc",
        Some(1),
        &["cannot upgrade /proc: it is no directory that boardlock serves"],
    ),
    // Whether all is well depends on the machine.
    ("doctor .", None, &["kernel: Linux ", "it is served"]),
    ("check-boards ../boards.toml", Some(0), &["5 boards"]),
    ("check-boards ../broken.toml", Some(1), &["broken.toml:2:"]),
];

/// Those that have a test of their own here.
const OTHERS: &[&str] = &["mount"];

fn every_command_is_driven() {
    let cli = boardlock::cli::Cli::command();
    let there: BTreeSet<&str> = cli.get_subcommands().map(clap::Command::get_name).collect();
    let driven = CASES.iter().filter_map(|case| case.0.split(' ').next());
    let driven: BTreeSet<&str> = driven.chain(OTHERS.iter().copied()).collect();
    assert_eq!(driven, there);
}

/// Something a terminal would obey.
fn is_raw(c: char) -> bool {
    c != '\n' && c.is_control()
}

fn commands_speak_in_terminals_and_pipes() {
    let temp = tempfile::tempdir().unwrap();
    let boards = temp.path().join("boards.toml");
    let text = "[boards.held]\n[boards.mine]\n[boards.other]\n\
                [boards.gone]\n[boards.detached]\n";
    std::fs::write(&boards, text).unwrap();
    let lab = Lab::new(&["--boards", boards.to_str().unwrap()]);
    let beside = |name: &str| -> PathBuf { lab.dir().parent().unwrap().join(name) };
    std::fs::copy(&boards, beside("boards.toml")).unwrap();
    std::fs::write(beside("broken.toml"), "[boards.a]\ncolour = 1\n").unwrap();
    let mut holder = lab.python();
    holder.ok("touch('held'); touch('gone'); os.unlink('gone'); touch('detached')");
    holder.ok("open('detached', 'w').write('0 0')");
    for (line, code, words) in CASES {
        let script =
            format!("[ -e mine ] || touch mine; $BOARDLOCK {line} | cat; exit ${{PIPESTATUS[0]}}");
        let output = lab.sh("bash", &script);
        if let Some(code) = code {
            assert_eq!(output.status.code(), Some(*code), "{line}: {output}");
        }
        let said = output.stdout.clone() + &output.stderr;
        for word in *words {
            assert!(said.contains(word), "{line}: no {word:?}: {output}");
        }
        assert!(!said.contains(is_raw), "{line}: {said:?}");
    }
    for columns in [80, 200] {
        let tmux = Tmux::new();
        tmux.shell(&lab, columns, 40);
        for (at, (line, code, words)) in CASES.iter().enumerate() {
            tmux.types(&format!(
                "clear; [ -e mine ] || touch mine; boardlock {line}; echo {at}: code $?."
            ));
            tmux.shows(&format!("{at}: code "));
            // Lines that go on at the edge as one.
            let said = tmux.run(&["capture-pane", "-p", "-J"]).ok().stdout;
            if let Some(code) = code {
                assert!(
                    said.contains(&format!("code {code}.")),
                    "{columns}: {line}: {said}"
                );
            }
            for word in *words {
                assert!(
                    said.contains(word),
                    "{columns}: {line}: no {word:?}: {said}"
                );
            }
        }
    }
}

/// A lock directory beside that of the test, which goes with this.
struct Second(PathBuf);

impl Drop for Second {
    fn drop(&mut self) {
        site::unmount(&self.0);
    }
}

fn mount_tells_a_terminal_and_a_pipe() {
    let lab = Lab::new(&[]);
    let second = Second(lab.dir().parent().unwrap().join("second"));
    let words = [
        "info  ready: ",
        " is a lock directory",
        "SIGINT: no longer serving ",
        "is unmounted",
    ];
    for columns in [80, 200] {
        let tmux = Tmux::new();
        tmux.shell(&lab, columns, 24);
        tmux.types("boardlock mount --state none ../second; echo \"co\"\"de $?.\"");
        tmux.shows("to give it back");
        let raw = tmux.run(&["capture-pane", "-p", "-e"]).ok().stdout;
        assert!(raw.contains("\u{1b}["), "it has colours: {raw:?}");
        tmux.press("C-c");
        tmux.shows("code 0.");
        let said = tmux.run(&["capture-pane", "-p", "-J"]).ok().stdout;
        for word in words {
            assert!(said.contains(word), "{columns}: no {word:?}: {said}");
        }
        site::unmount(&second.0);
    }
    let daemon = lab.spawn("bash", "exec $BOARDLOCK mount --state none ../second");
    eventually("it is ready", PATIENCE, || {
        daemon.stderr().contains("to give it back")
    });
    daemon.signal(Signal::INT);
    let output = daemon.wait(PATIENCE).ok();
    for word in words {
        assert!(output.stderr.contains(word), "no {word:?}: {output}");
    }
    assert!(!output.stderr.contains(is_raw), "{output}");
}
