//! Man pages and completions are those of the commands that there are, and name every
//! flag. `cargo run --example generate` writes them.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../contrib/generate/pages.rs"]
mod pages;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use clap::Arg;

const BOARDLOCK: &str = env!("CARGO_BIN_EXE_boardlock");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a program; none where it is missing, which fails under CI.
fn run(command: &mut Command) -> Option<Output> {
    match command.output() {
        Ok(output) => Some(output),
        Err(error) if std::env::var_os("CI").is_none_or(|ci| ci != "true") => {
            eprintln!("skipped: {command:?}: {error}");
            None
        }
        Err(error) => panic!("{command:?}: {error}"),
    }
}

fn pages_by_hand_and_machine() -> Vec<PathBuf> {
    let man = fs::read_dir(root().join("contrib/man")).unwrap();
    let mut pages: Vec<PathBuf> = man
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|section| section != "more"))
        .collect();
    pages.sort();
    pages
}

#[test]
fn what_is_generated_is_current() {
    let remedy = "run `cargo run --example generate`";
    for (path, content) in pages::all(root()).unwrap() {
        let there = fs::read_to_string(root().join(&path)).unwrap_or_default();
        assert!(
            there == content,
            "{} is not current: {remedy}",
            path.display()
        );
    }
    assert_eq!(
        pages::stale(root()).unwrap(),
        Vec::<PathBuf>::new(),
        "{remedy}"
    );
}

/// How a flag is written.
fn flags(arg: &Arg) -> Vec<String> {
    let long = arg.get_long().map(|long| format!("--{long}"));
    let short = arg.get_short().map(|short| format!("-{short}"));
    long.into_iter().chain(short).collect()
}

/// Whether a text has the flag as a word of its own.
fn names(text: &str, flag: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '-';
    text.match_indices(flag).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + flag.len()..].chars().next();
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

#[test]
fn a_flag_is_found_as_a_word() {
    assert!(names("[-o --over]", "--over"));
    assert!(!names("--overt", "--over") && !names("x--over", "--over"));
    assert!(!names("--over", "-o") && !names("-ov", "-o"));
}

#[test]
fn every_flag_stands_in_help_and_man_page() {
    let mut flags_seen = 0;
    for (mut command, section) in pages::commands() {
        let path = pages::page(&command, section);
        let page = fs::read_to_string(root().join(&path))
            .unwrap()
            .replace("\\-", "-");
        // Without the marks of fonts.
        let page = page
            .replace("\\fB", "")
            .replace("\\fI", "")
            .replace("\\fR", "");
        let help = command.render_long_help().to_string();
        for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
            for flag in flags(arg) {
                flags_seen += 1;
                for (text, what) in [(&help, "its --help"), (&page, "its man page")] {
                    assert!(
                        names(text, &flag),
                        "{flag} of {} is not in {what}",
                        command.get_name()
                    );
                }
            }
            if arg.is_positional() {
                let name = arg.get_value_names().unwrap()[0].as_str();
                assert!(names(&page, name) && names(&help, name), "{name}");
            }
            assert!(arg.get_help().is_some(), "{}: {arg}", command.get_name());
        }
    }
    assert!(flags_seen > 20, "{flags_seen}");
}

#[test]
fn every_mount_option_stands_in_the_man_page() {
    let path = root().join("contrib/man/boardlock-mount.1");
    let page = fs::read_to_string(path).unwrap().replace("\\-", "-");
    for option in boardlock::cli::options::OWN {
        assert!(names(&page, option), "{option}");
    }
}

#[test]
fn pages_are_well_formed() {
    for page in pages_by_hand_and_machine() {
        // Another name of one.
        if fs::read_to_string(&page).unwrap().starts_with(".so ") {
            continue;
        }
        let lint = Command::new("mandoc")
            .args(["-T", "lint", "-W", "warning"])
            .arg(&page)
            .output();
        if let Ok(lint) = &lint {
            let said = String::from_utf8_lossy(&lint.stdout);
            // As clap_mangen has it.
            let of_note: Vec<&str> = said
                .lines()
                .filter(|line| !line.contains("skipping paragraph macro"))
                .collect();
            assert_eq!(of_note, Vec::<&str>::new());
        } else {
            run(&mut Command::new("mandoc"));
        }
        let mut man = Command::new("man");
        man.args(["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"])
            .arg(&page);
        man.env("LC_ALL", "C.UTF-8")
            .env("MANROFFSEQ", "")
            .env("MANWIDTH", "80");
        if let Some(output) = run(&mut man) {
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(
                output.status.success() && said.is_empty(),
                "{}: {said}",
                page.display()
            );
        }
    }
}

/// What a shell is told can come next.
fn completed(shell: &str, words: &[&str], dir: Option<&Path>) -> BTreeSet<String> {
    let mut command = Command::new(BOARDLOCK);
    command
        .env("BOARDLOCK_COMPLETE", shell)
        .arg("--")
        .args(words);
    command.env("_CLAP_COMPLETE_INDEX", (words.len() - 1).to_string());
    command.env("_CLAP_IFS", "\n").env_remove("BOARDLOCK_DIR");
    if let Some(dir) = dir {
        command.env("BOARDLOCK_DIR", dir);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn commands_and_flags_are_completed() {
    for shell in ["bash", "zsh", "fish"] {
        let commands = completed(shell, &["boardlock", "mo"], None);
        assert!(
            commands.iter().any(|one| one.starts_with("mount")),
            "{shell} {commands:?}"
        );
        assert!(
            !commands.iter().any(|one| one.starts_with("upgrade")),
            "{shell}"
        );
        let flags = completed(shell, &["boardlock", "mount", "--le"], None);
        assert!(
            flags.iter().any(|one| one.starts_with("--lease")),
            "{shell} {flags:?}"
        );
    }
}

/// A PATH on which the boardlock that is tried comes first.
fn path() -> std::ffi::OsString {
    let mut path = Path::new(BOARDLOCK)
        .parent()
        .unwrap()
        .as_os_str()
        .to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap());
    path
}

#[test]
fn zsh_completes_at_the_first_tab() {
    // What compinit and the completion system would have defined.
    let script = r#"
        fpath=(contrib/completions $fpath)
        autoload -Uz _boardlock
        compdef() { :; }
        _describe() { print -rl -- ${(P)argv[-1]}; }
        words=(boardlock mou) CURRENT=2
        _boardlock"#;
    let mut zsh = Command::new("zsh");
    zsh.args(["-f", "-c", script])
        .current_dir(root())
        .env("PATH", path());
    if let Some(output) = run(&mut zsh) {
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.starts_with("mount"), "{output:?}");
    }
}

#[test]
fn bash_completes_with_the_file_that_is_installed() {
    let script = r#"
        source contrib/completions/boardlock.bash
        COMP_WORDS=(boardlock mount --sta); COMP_CWORD=2 COMP_TYPE=9
        _clap_complete_boardlock boardlock --sta mount
        echo "${COMPREPLY[@]}""#;
    let mut bash = Command::new("bash");
    bash.args(["-c", script])
        .current_dir(root())
        .env("PATH", path());
    if let Some(output) = run(&mut bash) {
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "--state\n",
            "{output:?}"
        );
    }
}

#[test]
fn other_shells_understand_their_files() {
    for (shell, file) in [("zsh", "_boardlock"), ("fish", "boardlock.fish")] {
        let mut check = Command::new(shell);
        check
            .arg("-n")
            .arg(root().join("contrib/completions").join(file));
        if let Some(output) = run(&mut check) {
            assert!(output.status.success(), "{shell}: {output:?}");
        }
    }
}
