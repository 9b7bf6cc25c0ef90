//! The file of an inventory: it is read or refused, with a place in it, and what it says
//! can be laid out and taken away again.

use std::sync::Arc;
use std::time::Duration;

use boardlock::inventory::accounts::Accounts;
use boardlock::inventory::parse::parse;
use boardlock::lock::Table;
use boardlock::lock::ids::Ino;
use boardlock::lock::node::check_name;
use boardlock::lock::options::Options;
use boardlock::lock::time::{BootTime, Now, Timestamp};

/// Everybody with a short name.
struct Short;

impl Accounts for Short {
    fn user(&self, name: &str) -> Result<Option<u32>, String> {
        match u32::try_from(name.len()) {
            Ok(length) if length < 6 => Ok((length > 1).then_some(length)),
            _ => Err("no such user".to_owned()),
        }
    }

    fn group(&self, name: &str) -> Result<Option<u32>, String> {
        self.user(name)
    }
}

pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let boards = match parse(text, &Short) {
        Ok(boards) => boards,
        Err(wrong) => {
            assert!((1..=text.matches('\n').count() + 1).contains(&wrong.line));
            let line = text.split('\n').nth(wrong.line - 1).unwrap();
            assert!((1..=line.chars().count() + 1).contains(&wrong.column));
            assert!(!wrong.what.is_empty() && !wrong.what.contains('\n'));
            return;
        }
    };
    let paths: Vec<Vec<u8>> = boards
        .directories()
        .map(|(path, _)| path.to_vec())
        .collect();
    for path in paths
        .iter()
        .map(Vec::as_slice)
        .chain(boards.iter().map(|(path, _)| path))
    {
        let names: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
        assert!(names.iter().all(|name| check_name(name).is_ok()));
        for depth in 1..names.len() {
            assert!(
                boards.is_directory(&names[..depth].join(&b'/')),
                "above {path:?}"
            );
        }
        assert!(boards.get(path).is_none() || !boards.is_directory(path));
    }
    for (path, board) in boards.iter().take(64) {
        if path.len() <= 100 {
            assert!(boards.suggest(path).is_some(), "it is near itself");
        }
        assert_ne!(board.longest_lease, Some(Duration::ZERO));
        boards.is_temporary(path);
    }
    lay_out(boards, &paths);
}

fn lay_out(boards: boardlock::lock::boards::Boards, paths: &[Vec<u8>]) {
    let now = Now {
        wall: Timestamp::from_secs(1_000_000_000),
        boot: BootTime(Duration::from_secs(5000)),
    };
    let count = boards.len();
    let mut table = Table::new(Options::default(), &now);
    table.know(Some(Arc::new(boards)));
    table.lay_out(&now);
    for path in paths {
        let mut at = Ino::ROOT;
        for name in path.split(|byte| *byte == b'/') {
            at = table.lookup(at, name).expect("it is laid out");
        }
        assert!(table.is_laid_out(at));
    }
    assert_eq!(table.free_boards().len(), count);
    assert_eq!((table.boards(), table.residue()), (0, paths.len()));
    table.know(None);
    table.lay_out(&now);
    assert_eq!(table.residue(), 0, "nothing is left");
}
