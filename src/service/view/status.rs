//! `status.json`: what is held.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde::Serialize;

use crate::chronicle::{pid_of, refused, text};
use crate::clock;
use crate::inventory::temporary;
use crate::lock::attributes::Kind;
use crate::lock::file_lock::LockKind;
use crate::lock::ids::{Ino, Pid, Uid};
use crate::lock::queue;
use crate::lock::record::Status;
use crate::lock::time::Timestamp;
use crate::printable::printable;
use crate::schema::{Board, HistoryFile, Listed, MayTake, Refused, StatusFile, VERSION, Waiting};
use crate::service::Service;
use crate::service::desk::Desk;

/// So many boards, whose notes can have 4 KiB each, are looked at before others are let
/// in.
const SLICE: usize = 32;

/// How long the history's file may take to be read before what there is is told.
const READING: Duration = Duration::from_secs(5);

/// Boards by their paths, as they are told.
type Boards = BTreeMap<Vec<u8>, Vec<u8>>;

/// Some of them.
type Slice = Vec<(Vec<u8>, Board)>;

impl Service {
    /// All boards, each as of a moment since this was called, with a slice of them
    /// looked at at a time. Who has a board that file locks hold is as it was looked
    /// at last: that takes reading /proc for each.
    pub(super) fn status_json(&self) -> Vec<u8> {
        let mut boards = Boards::new();
        let mut dirs = VecDeque::from([Ino::ROOT]);
        while let Some(dir) = dirs.pop_front() {
            let mut place = 0;
            loop {
                let (next, slice) = self.act(|desk| desk.slice(dir, place, &mut dirs));
                // One that was given back and taken again meanwhile comes twice.
                boards.extend(
                    slice
                        .iter()
                        .map(|(path, board)| (path.clone(), to_json(board))),
                );
                let Some(next) = next else {
                    break;
                };
                place = next;
                thread::yield_now();
            }
        }
        // Of those that are given back or taken meanwhile what was seen first is told.
        for path in self.act(|desk| desk.table.free_boards()) {
            let free = || to_json(&self.act(|desk| desk.free_board(&path)));
            boards.entry(path.clone()).or_insert_with(free);
        }
        let about = self.about.get().cloned().unwrap_or_default();
        let now = clock::now().wall;
        let head = StatusFile {
            version: VERSION,
            boardlock: env!("CARGO_PKG_VERSION").to_owned(),
            directory: printable(&about.directory),
            now: now.rfc3339(),
            now_unix: now.secs,
            boards: Vec::new(),
        };
        with_lines(to_json(&head), boards.into_values())
    }

    /// The holds that ended.
    pub(super) fn history_json(&self) -> Vec<u8> {
        // Not while the file is read in which they are: it takes long.
        let history = Arc::clone(&self.state.lock().chronicle.history);
        let head = HistoryFile {
            version: VERSION,
            holds: Vec::new(),
        };
        let holds = history.all(READING);
        let holds = holds.iter().map(|hold| hold.as_bytes().to_vec());
        with_lines(to_json(&head), holds)
    }
}

/// A JSON object that ends with an empty array, with these in it, each on a line.
fn with_lines(mut json: Vec<u8>, lines: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    json.truncate(json.len().saturating_sub(b"]}".len()));
    for (at, line) in lines.enumerate() {
        json.extend_from_slice(if at > 0 { b",\n" } else { b"\n" });
        json.extend(line);
    }
    json.extend_from_slice(b"\n]}\n");
    json
}

/// Nothing that is told here can fail to be written so.
fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

impl Desk<'_> {
    /// The boards of a directory after a place, as far as a slice goes, and where to go
    /// on after them, if there are more. Notes the directories in it.
    fn slice(&mut self, dir: Ino, place: u64, dirs: &mut VecDeque<Ino>) -> (Option<u64>, Slice) {
        let entries: Vec<(u64, Vec<u8>, Ino)> = match self.table.directory(dir) {
            Ok(directory) => directory
                .after(place)
                .take(SLICE)
                .map(|(place, name, ino)| (place, name.to_vec(), ino))
                .collect(),
            // It is gone meanwhile.
            Err(_) => Vec::new(),
        };
        let mut boards = Vec::new();
        for (_, name, ino) in &entries {
            // Not all that are watched: these are many, and this is one slice of many.
            self.settle(*ino);
            let Ok(node) = self.table.node(*ino) else {
                continue;
            };
            let kind = node.body.kind();
            if kind == Kind::Directory {
                dirs.push_back(*ino);
            }
            if node.claim.is_some() {
                let status = self.table.status(*ino, &self.now);
                let path = self.table.path_of(dir, name);
                let board = self.board(&path, kind, status);
                boards.push((path, board));
            }
        }
        (entries.last().map(|(place, ..)| *place), boards)
    }

    fn board(&mut self, path: &[u8], kind: Kind, status: Status) -> Board {
        let names = &mut *self.names;
        let mut name = |uid| printable(names.of(uid));
        let refused = self.chronicle.refused.of(path);
        Board {
            board: printable(path),
            kind: Some(
                match kind {
                    Kind::File => "file",
                    Kind::Directory => "directory",
                    Kind::Link => "link",
                }
                .to_owned(),
            ),
            state: status.state.word().to_owned(),
            holder: status.user.map(|user| name(user.uid)),
            uid: status.user.map(|user| user.uid.0),
            pid: status.pid.map(Pid::get),
            command: text(&status.command),
            via: text(&status.via),
            since: status.since.map(Timestamp::rfc3339),
            since_unix: status.since.map(|since| since.secs),
            expires: status.expires.map(Timestamp::rfc3339),
            expires_unix: status.expires.map(|expires| expires.secs),
            expires_in_seconds: status.expires_in,
            token: status.token.map(|token| token.0),
            waiters: status.waiters,
            note: text(&printable(&status.note)),
            lock: status.locks.map(|(kind, _)| word(kind).to_owned()),
            locks: status.locks.map_or(0, |(_, count)| count),
            waiting: (1..)
                .zip(&status.waiting)
                .map(|(place, waiting)| waits(place, waiting, &mut name))
                .collect(),
            refused: refused
                .map(|refused| Refused {
                    when: refused.when.rfc3339(),
                    holder: name(refused.asks.user.uid),
                    uid: refused.asks.user.uid.0,
                    pid: pid_of(refused.asks.pid),
                    command: text(&refused.asks.command),
                    via: text(&refused.asks.via),
                    reason: refused::reason(refused.refusal, None),
                    code: refused.refusal.word().to_owned(),
                })
                .collect(),
            temporary: self.is_temporary(path),
            inventory: self.listed(path),
        }
    }

    /// A board of the inventory that nobody has.
    fn free_board(&self, path: &[u8]) -> Board {
        Board {
            board: printable(path),
            state: "free".to_owned(),
            inventory: self.listed(path),
            ..Board::default()
        }
    }

    /// Whether a name is one that lock tools make for a moment, and no board.
    fn is_temporary(&self, path: &[u8]) -> bool {
        match self.table.inventory() {
            Some(boards) => boards.get(path).is_none() && boards.is_temporary(path),
            None => {
                temporary::is_temporary(path.rsplit(|byte| *byte == b'/').next().unwrap_or(path))
            }
        }
    }

    /// What the inventory says of a board.
    fn listed(&self, path: &[u8]) -> Option<Listed> {
        let board = self.table.inventory()?.get(path)?;
        let shown = |text: &String| printable(text);
        let may_take = board.may_take.as_ref().map(|may| MayTake {
            users: may.users.values().map(shown).collect(),
            groups: may.groups.values().map(shown).collect(),
        });
        Some(Listed {
            description: board.description.as_ref().map(shown),
            tags: board.tags.iter().map(shown).collect(),
            pools: board.pools.iter().map(shown).collect(),
            longest_lease_seconds: board.longest_lease.map(|longest| longest.as_secs()),
            may_take,
            out_of_service: board.out_of_service.as_ref().map(shown),
        })
    }
}

fn waits(place: usize, waiting: &queue::Waiting, name: &mut impl FnMut(Uid) -> String) -> Waiting {
    Waiting {
        place,
        holder: name(waiting.user.uid),
        uid: waiting.user.uid.0,
        pid: pid_of(waiting.pid),
        lock: word(waiting.kind).to_owned(),
        since: waiting.since.rfc3339(),
        command: waiting.command.clone(),
    }
}

fn word(kind: LockKind) -> &'static str {
    match kind {
        LockKind::Shared => "shared",
        LockKind::Exclusive => "exclusive",
    }
}
