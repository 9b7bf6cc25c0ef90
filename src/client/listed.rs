//! What keeps a board that nobody has from being had: it is not in the inventory, or out of
//! service, or for others, or in what somebody else has.

use std::path::Path;

use super::describe;
use super::directory::{BoardName, LockDirectory};
use super::pattern::is_temporary_name;
use super::times::Clock;
use crate::inventory::suggest;
use crate::printable::printable;
use crate::schema::{Board, Listed, StatusFile};

/// Says it, and what to type next, where the inventory does not have a board that nobody
/// has, or has it as out of service.
pub fn in_the_way(dir: &LockDirectory, board: &BoardName) -> Option<String> {
    let status = dir.status().ok()?;
    if status.boards.iter().all(|board| board.inventory.is_none()) {
        return None;
    }
    let name = board.to_string();
    if let Some(found) = status.boards.iter().find(|told| told.board == name) {
        return out_of_service(found.inventory.as_ref()?);
    }
    if is_known(&status.boards, &name) {
        return None;
    }
    let path = dir.file(board);
    if path.symlink_metadata().is_ok_and(|about| about.is_dir()) {
        return Some(directory(&path));
    }
    Some(unknown(&status, &name))
}

/// Whether a name is a board's, or may be used though it is none: all may without an
/// inventory, those that lock tools make for a moment, and in a directory that somebody has
/// taken all names are his.
pub fn is_known(boards: &[Board], name: &str) -> bool {
    let find = |name: &str| boards.iter().find(|board| board.board == name);
    // What the inventory has as a directory is no board.
    let is_somebodys =
        |name| find(name).is_some_and(|board| board.kind.as_deref() == Some("directory"));
    let mut above = name.match_indices('/').map(|(at, _)| name.split_at(at).0);
    boards.iter().all(|board| board.inventory.is_none())
        || find(name).is_some()
        || is_temporary_name(name)
        || above.any(is_somebodys)
}

fn unknown(status: &StatusFile, name: &str) -> String {
    let listed = status.boards.iter().filter(|told| told.inventory.is_some());
    let names = listed.map(|told| told.board.as_bytes());
    let next = match suggest::nearest(name.as_bytes(), names) {
        Some(nearest) => format!("did you mean {}?", String::from_utf8_lossy(nearest)),
        None => "to see what there is: boardlock status".to_owned(),
    };
    format!("there is no such board in the inventory; {next}")
}

/// What is no board, but has boards in it.
pub fn directory(path: &Path) -> String {
    format!(
        "it is a directory for boards; to see them: ls {}",
        printable(path.as_os_str().as_encoded_bytes())
    )
}

fn out_of_service(listed: &Listed) -> Option<String> {
    let reason = listed.out_of_service.as_ref()?;
    Some(format!(
        "it is out of service: {reason}; to see the others: boardlock status"
    ))
}

/// Why a board may not be taken by this user.
pub fn not_permitted(dir: &LockDirectory, board: &BoardName) -> String {
    let name = board.to_string();
    let listed = dir.status().ok().and_then(|status| {
        let board = status.boards.into_iter().find(|told| told.board == name)?;
        board.inventory
    });
    if let Some(out) = listed.as_ref().and_then(out_of_service) {
        return out;
    }
    match listed.and_then(|listed| listed.may_take) {
        Some(who) => {
            let groups = who.groups.iter().map(|group| format!("group {group}"));
            let who: Vec<String> = who.users.into_iter().chain(groups).collect();
            let who = match who.is_empty() {
                true => "root alone".to_owned(),
                false => describe::list(&who),
            };
            format!("it is for {who}; to see the others: boardlock status")
        }
        None => "that is not permitted; the log of the daemon tells why".to_owned(),
    }
}

/// Whose the directory is that a board is in, or the link that points to it: while somebody
/// has that, nobody else can have the board.
pub fn whose(dir: &LockDirectory, board: &BoardName) -> Option<String> {
    let clock = Clock::here(jiff::Timestamp::now().as_second());
    let held = |other: &BoardName| {
        let told = dir.told_of(other).ok().flatten()?.board;
        let next = match told.pid {
            Some(pid) if super::above::is_above(pid) => {
                format!("to give that back: boardlock release {other}")
            }
            _ => format!("to be told when that is free: boardlock wait {other}"),
        };
        Some((describe::holder(&told, &clock), next))
    };
    for above in std::iter::successors(board.above(), BoardName::above) {
        if let Some((holder, next)) = held(&above) {
            return Some(format!("the directory {above} is {holder}; {next}"));
        }
    }
    let status = dir.status().ok()?;
    let links = status.boards.iter();
    let links = links.filter(|told| told.kind.as_deref() == Some("link"));
    for link in links.filter_map(|told| dir.board(told.board.as_ref()).ok()) {
        let points = std::fs::read_link(dir.file(&link)).ok();
        let beside = link.above() == board.above();
        if beside && points.as_deref().map(Path::as_os_str) == board.as_path().file_name() {
            let (holder, next) = held(&link)?;
            return Some(format!(
                "the link {link} points to it, and is {holder}; {next}"
            ));
        }
    }
    let (holder, next) = held(board)?;
    Some(format!("it is {holder}; {next}"))
}
