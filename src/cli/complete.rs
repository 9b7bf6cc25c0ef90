//! Completion on the command line, by this program itself (clap_complete): what the
//! shells' files in contrib/completions ask it for.

use std::ffi::OsStr;

use clap::{Command, CommandFactory, ValueHint};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::CompleteEnv;

use crate::client::DirArgs;
use crate::schema::StatusFile;

/// Says which shell asks, and that one does.
pub const VARIABLE: &str = "BOARDLOCK_COMPLETE";

/// Answers a shell that asks what can come next, and exits; else does nothing.
pub fn complete() {
    CompleteEnv::with_factory(command)
        .var(VARIABLE)
        .bin("boardlock")
        .complete();
}

/// The commands, knowing what each argument is by its name in the help.
pub fn command() -> Command {
    let command = super::Cli::command();
    let names: Vec<String> = command
        .get_subcommands()
        .map(|one| one.get_name().to_owned())
        .collect();
    names.into_iter().fold(command, |command, name| {
        command.mut_subcommand(name, |one| {
            one.mut_args(|arg| {
                let value = arg.get_value_names().and_then(<[_]>::first);
                match value.map(|name| name.as_str().to_owned()).as_deref() {
                    Some("BOARD") => arg.add(ArgValueCompleter::new(boards)),
                    Some("DIR") => arg.value_hint(ValueHint::DirPath),
                    Some("FILE") => arg.value_hint(ValueHint::FilePath),
                    Some("CMD") => arg.value_hint(ValueHint::CommandWithArguments),
                    _ => arg,
                }
            })
        })
    })
}

/// The boards that begin so: those that are held and, with an inventory, the free ones.
fn boards(begin: &OsStr) -> Vec<CompletionCandidate> {
    let status = DirArgs::default().find().and_then(|dir| dir.status());
    let shell = std::env::var_os(VARIABLE).unwrap_or_default();
    match (status, begin.to_str()) {
        (Ok(status), Some(begin)) => beginning(status, begin)
            .into_iter()
            .filter(|board| offered(board, &shell))
            .map(CompletionCandidate::new)
            .collect(),
        _ => Vec::new(),
    }
}

fn beginning(status: StatusFile, begin: &str) -> Vec<String> {
    let boards = status.boards.into_iter();
    boards
        .filter(|board| !board.temporary && board.board.starts_with(begin))
        .map(|board| board.board)
        .collect()
}

/// Whether a name can be put on the command line. Others choose the names of boards: bash
/// takes what is completed as if it had been typed, while zsh and fish quote it, and one that
/// begins with a dash is an option to all of them.
fn offered(board: &str, shell: &OsStr) -> bool {
    let plain = |c: char| c.is_alphanumeric() || "_-./:@%+=,".contains(c);
    !board.starts_with('-') && (shell != "bash" || board.chars().all(plain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Board;

    #[test]
    fn boards_are_those_of_the_status() {
        let board = |board: &str, temporary| Board {
            board: board.to_owned(),
            temporary,
            ..Board::default()
        };
        let all = |begin: &str| {
            let status = StatusFile {
                version: 1,
                directory: "/run/locks".to_owned(),
                boardlock: String::new(),
                now: String::new(),
                now_unix: 0,
                boards: vec![
                    board("beagle", false),
                    board("lock.abcdef", true),
                    board("rack1/beagle", false),
                ],
            };
            beginning(status, begin)
        };
        assert_eq!(all(""), ["beagle", "rack1/beagle"]);
        assert_eq!(all("rack1/"), ["rack1/beagle"]);
        assert_eq!(all("/etc"), Vec::<String>::new(), "a path is the shell's");
    }

    #[test]
    fn a_name_is_no_command() {
        for name in ["beagle", "rack1/imx8-2", "a.b_c:d@e%f+g=h,i", "m\u{fc}ller"] {
            assert!(offered(name, "bash".as_ref()), "{name}");
        }
        for name in [
            "b;id", "$(id)", "`id`", "a b", "a|b", "a>b", "*", "a&", "#a", "~", "a'", "!1",
        ] {
            assert!(!offered(name, "bash".as_ref()), "{name}");
            assert!(offered(name, "zsh".as_ref()), "it quotes {name}");
        }
        for shell in ["bash", "zsh", "fish"] {
            assert!(!offered("--force", shell.as_ref()));
        }
    }
}
