//! `boardlock why`: who has a board, how that was found, who was refused it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::process::ExitCode;

use clap::Args;

use crate::client::{Asking, Clock, DirArgs, Pattern, Trouble, explain, listed, put, select};
use crate::inventory::accounts::{Accounts, System};
use crate::inventory::suggest;
use crate::schema::{Hold, MayTake, StatusFile};

use super::status;

/// The arguments of `boardlock why`.
#[derive(Args, Clone, Debug)]
pub struct WhyArgs {
    /// The board, by name or by a path that leads to it
    #[arg(value_name = "BOARD")]
    pub board: OsString,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub dir: DirArgs,
}

/// Runs `boardlock why`.
pub fn run(args: &WhyArgs) -> ExitCode {
    super::code_of(why(args))
}

fn why(args: &WhyArgs) -> Result<ExitCode, Trouble> {
    let dir = args.dir.find()?;
    let name = dir.board(&args.board)?.to_string();
    let file = dir.status_looked_up()?;
    let clock = Clock::here(file.now_unix);
    let listed = file.boards.iter().any(|board| board.board == name);
    let uid = rustix::process::getuid().as_raw();
    let may_take = file.boards.iter().find(|board| board.board == name);
    let may_take = may_take.and_then(|board| board.inventory.as_ref()?.may_take.as_ref());
    // Whoever serves it may take everything.
    let serves = std::fs::metadata(&dir.path).is_ok_and(|about| about.uid() == uid);
    let asking = Asking {
        uid,
        board: for_a_shell(&name, args.board.as_bytes()),
        meant: meant(&file, &name, listed),
        unknown: !listed::is_known(&file.boards, &name),
        for_others: uid != 0 && !serves && may_take.is_some_and(|who| !is_among(uid, who)),
    };
    // It says enough without.
    let mut before: Vec<Hold> = dir.history().map_or(Vec::new(), |file| file.holds);
    before.retain(|hold| hold.board == name);
    let asked = [Pattern::exact(name)];
    let mut text = String::new();
    for board in select(file.boards, &asked, true) {
        for line in explain(&board, &before, &clock, &asking) {
            text.push_str(&line);
            text.push('\n');
        }
    }
    Ok(status::written(put(&text))?.unwrap_or(ExitCode::SUCCESS))
}

/// Whether who asks is one of those who may take a board. Of a name that cannot be looked
/// up it is not known, and the refusal tells.
fn is_among(uid: u32, who: &MayTake) -> bool {
    let mut groups: Vec<u32> = rustix::process::getgroups()
        .unwrap_or_default()
        .into_iter()
        .map(|group| group.as_raw())
        .collect();
    groups.push(rustix::process::getgid().as_raw());
    let is_user = |name: &String| System.user(name).map_or(true, |id| id == Some(uid));
    let is_group = |name: &String| {
        let id = System.group(name);
        id.map_or(true, |id| id.is_some_and(|id| groups.contains(&id)))
    };
    who.users.iter().any(is_user) || who.groups.iter().any(is_group)
}

/// The board that may have been meant: that with the nearest name, where it is none of
/// the inventory, or nobody is known to have it.
fn meant(file: &StatusFile, name: &str, listed: bool) -> Option<String> {
    if listed {
        return None;
    }
    let names = file.boards.iter().filter(|board| !board.temporary);
    let names = names.map(|board| board.board.as_bytes());
    let nearest = suggest::nearest(name.as_bytes(), names)?;
    let nearest = String::from_utf8_lossy(nearest).into_owned();
    Some(for_a_shell(&nearest, nearest.as_bytes()))
}

/// The board in a command to be typed: in quotes if a shell would take it for more than a
/// name. One that cannot be shown as it is was escaped; its user has to know better.
fn for_a_shell(name: &str, given: &[u8]) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_-./:@%+,=".contains(c);
    if !name.is_empty() && name.chars().all(plain) && !name.starts_with('-') {
        return name.to_owned();
    }
    let text = String::from_utf8_lossy(given);
    let text = crate::client::clean(&text);
    let dash = if text.starts_with('-') { "-- " } else { "" };
    format!("{dash}'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_be_typed() {
        let typed = |name: &str| for_a_shell(name, name.as_bytes());
        assert_eq!(typed("rack1/imx8"), "rack1/imx8");
        assert_eq!(typed("a b"), "'a b'");
        assert_eq!(typed("a'b"), "'a'\\''b'");
        assert_eq!(typed("-x"), "-- '-x'");
        assert!(!for_a_shell("a\\x1b", b"a\x1b").contains('\u{1b}'));
    }
}
