//! Completion on the command line, by this program itself (clap_complete): what the
//! shells' files in contrib/completions ask it for.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use clap::{Command, CommandFactory, ValueHint};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::CompleteEnv;

use crate::client::DirArgs;

/// Says which shell asks, and that one does.
pub const VARIABLE: &str = "BOARDLOCK_COMPLETE";

/// Boards looked at.
const BOARDS: usize = 10_000;

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

/// The boards that begin so: those that are held, and directories.
fn boards(begin: &OsStr) -> Vec<CompletionCandidate> {
    match (DirArgs::default().find(), begin.to_str()) {
        (Ok(root), Some(begin)) => boards_in(&root.path, begin)
            .into_iter()
            .map(CompletionCandidate::new)
            .collect(),
        _ => Vec::new(),
    }
}

fn boards_in(root: &Path, begin: &str) -> Vec<String> {
    let (above, last) = begin.rsplit_once('/').unwrap_or(("", begin));
    // A path leads there by itself: the shell completes it.
    if begin.starts_with(['/', '.']) {
        return Vec::new();
    }
    let Ok(entries) = fs::read_dir(root.join(above)) else {
        return Vec::new();
    };
    let mut boards: Vec<String> = entries
        .take(BOARDS)
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let name = name.starts_with(last).then_some(name)?;
            Some(match above {
                "" => name,
                above => format!("{above}/{name}"),
            })
        })
        .collect();
    boards.sort();
    boards
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn boards_are_those_in_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("rack1")).unwrap();
        for name in ["beagle", "bone", "rack1/beagle"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let all = |begin: &str| boards_in(dir.path(), begin);
        assert_eq!(all(""), ["beagle", "bone", "rack1"]);
        assert_eq!(all("bo"), ["bone"]);
        assert_eq!(all("rack1/"), ["rack1/beagle"]);
        assert_eq!(all("rack2/"), Vec::<String>::new());
        assert_eq!(all("/etc"), Vec::<String>::new(), "a path is the shell's");
    }
}
