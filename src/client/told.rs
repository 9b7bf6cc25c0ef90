//! Reading what the files in `.boardlock` say.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::directory::{LockDirectory, Trouble, shown};
use super::glance::attribute;
use crate::printable::{escape, unprintable};
use crate::schema::{self, Board, HistoryFile, StatusFile};

/// So often it is tried to read a file in one piece, while whoever serves changes or
/// other files of the same user drive out what was read of this one.
const TRIES: usize = 20;
/// After so long.
const PAUSE: Duration = Duration::from_millis(50);

/// So many boards are looked at by themselves: each may take as long as reading /proc.
const LOOKED_UP: usize = 64;

impl LockDirectory {
    /// The boards as they are now.
    ///
    /// # Errors
    /// When that cannot be read; says what to do.
    pub fn status(&self) -> Result<StatusFile, Trouble> {
        self.read("status.json")
    }

    /// The same once it was looked who has the boards that file locks hold, the first of
    /// them: whoever serves does that only for who asks of a board by itself.
    ///
    /// # Errors
    /// As [`LockDirectory::status`].
    pub fn status_looked_up(&self) -> Result<StatusFile, Trouble> {
        let status = self.status()?;
        match self.look_up(&status) {
            true => self.status(),
            false => Ok(status),
        }
    }

    /// Has it looked who has the boards that file locks hold, where that is not known;
    /// whether it is by now.
    pub(super) fn look_up(&self, status: &StatusFile) -> bool {
        let unknown = |board: &&Board| {
            // The names of others are escaped.
            board.lock.is_some() && board.pid.is_none() && !board.board.contains('\\')
        };
        let mut looked = false;
        for board in status.boards.iter().filter(unknown).take(LOOKED_UP) {
            let path = self.path.join(&board.board);
            looked |= attribute(&path, "pid").is_some();
        }
        looked
    }

    /// The holds that have ended.
    ///
    /// # Errors
    /// When that cannot be read; says what to do.
    pub fn history(&self) -> Result<HistoryFile, Trouble> {
        self.read("history.json")
    }

    /// Whether it is served to who asks.
    ///
    /// # Errors
    /// When it is not; says what to do.
    pub fn answers(&self) -> Result<(), Trouble> {
        let about = std::fs::metadata(&self.path);
        about.map_or_else(
            |error| Err(self.unreadable("status.json", &error)),
            |_| Ok(()),
        )
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<T, Trouble> {
        let text = self
            .text(name, None)
            .map_err(|error| self.unreadable(name, &error))?;
        self.understand(name, &text)
    }

    /// All of a file, of one moment; from `open`, if that is an open file of it, else
    /// from one opened for that.
    pub(super) fn text(&self, name: &str, open: Option<&File>) -> io::Result<Vec<u8>> {
        let mut tries = 0;
        loop {
            tries += 1;
            let text = match open {
                Some(file) => whole(file),
                None => File::open(self.told(name)).and_then(|file| whole(&file)),
            };
            match text {
                // What the rest of it was to be read from is not kept any more.
                Err(error) if error.raw_os_error() == Some(libc::ESTALE) && tries < TRIES => {
                    std::thread::sleep(PAUSE);
                }
                text => return text,
            }
        }
    }

    /// What the text of a file says.
    pub(super) fn understand<T: DeserializeOwned>(
        &self,
        name: &str,
        text: &[u8],
    ) -> Result<T, Trouble> {
        understood(text).map_err(|why| Trouble(format!("{}: {why}", shown(&self.told(name)))))
    }

    /// What a file in `.boardlock` that cannot be read means, and what to do about it.
    pub(super) fn unreadable(&self, name: &str, error: &io::Error) -> Trouble {
        let dir = shown(&self.path);
        Trouble(match error.raw_os_error() {
            Some(libc::ENOTCONN | libc::ECONNABORTED | libc::ENODEV) => {
                format!("nobody serves {dir} any more; start it again by: boardlock mount {dir}")
            }
            Some(libc::EACCES | libc::EPERM) => format!(
                "{dir} is not served to you: its user mounted it for himself alone; \
                 to serve everybody, mount it as root, or with user_allow_other in \
                 /etc/fuse.conf"
            ),
            Some(libc::ENOENT | libc::ENOTDIR) => format!(
                "the boardlock that serves {dir} has no {}/{name}, it is older than this one \
                 ({}); root has this one go on there by: boardlock upgrade {dir}",
                schema::DIRECTORY,
                env!("CARGO_PKG_VERSION")
            ),
            _ => format!("cannot read {}: {error}", shown(&self.told(name))),
        })
    }
}

/// All that there is, of one moment. The size that the file shows says nothing.
fn whole(file: &File) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let mut buffer = vec![0; 128 * 1024];
    let mut at = 0;
    loop {
        match file.read_at(&mut buffer, at) {
            Ok(0) => return Ok(text),
            Ok(count) => {
                text.extend(buffer.iter().take(count));
                at = at.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// What one of the files says.
fn understood<T: DeserializeOwned>(text: &[u8]) -> Result<T, String> {
    let mut value: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if let Some(version) = value.get("version").and_then(Value::as_u64)
        && version > u64::from(schema::VERSION)
    {
        return Err("a later boardlock serves it; use that one's commands".to_owned());
    }
    clean_all(&mut value);
    serde_json::from_value(value).map_err(|error| error.to_string())
}

/// The same text with nothing in it that a terminal would obey. Boardlock's own files
/// have no such text; whoever can mount something can call it a boardlock.
pub fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        if unprintable(c) {
            escape(&mut clean, c);
        } else {
            clean.push(c);
        }
    }
    clean
}

fn clean_all(value: &mut Value) {
    match value {
        Value::String(text) if text.contains(unprintable) => *text = clean(text),
        Value::Array(values) => values.iter_mut().for_each(clean_all),
        Value::Object(values) => values.values_mut().for_each(clean_all),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn nothing_of_it_reaches_a_terminal_raw() {
        let text = "{\"version\":1,\"holds\":[{\"board\":\"a\\u001b[31mb\\u202e\",\"holder\":\"x\\\\y\",\
            \"uid\":1,\"pid\":null,\"command\":\"\\u009b2J\",\"via\":null,\"since\":\"s\",\"ended\":\"e\",\
            \"seconds\":1,\"how\":\"died\",\"by\":null,\"token\":1,\"kind\":\"claim\"}]}";
        let file: HistoryFile = understood(text.as_bytes()).unwrap();
        let hold = file.holds.first().unwrap();
        assert_eq!(hold.board, "a\\x1b[31mb\\u{202e}");
        assert_eq!(hold.command.as_deref(), Some("\\u{9b}2J"));
        // What is escaped already stays as it is.
        assert_eq!(hold.holder, "x\\y");
    }

    #[test]
    fn a_later_file_is_not_guessed_at() {
        let error = understood::<HistoryFile>(b"{\"version\":2}").unwrap_err();
        assert!(error.contains("later boardlock"), "{error}");
        assert!(understood::<HistoryFile>(b"").is_err());
    }

    #[test]
    fn troubles_say_what_to_type() {
        let dir = LockDirectory {
            path: "/run/locks".into(),
        };
        let said = |errno| {
            dir.unreadable("status.json", &io::Error::from_raw_os_error(errno))
                .to_string()
        };
        assert!(said(libc::ENOTCONN).contains("boardlock mount /run/locks"));
        assert!(said(libc::ENOENT).contains("boardlock upgrade /run/locks"));
        assert!(said(libc::EACCES).contains("user_allow_other"));
        assert!(said(libc::EIO).contains("/run/locks/.boardlock/status.json"));
    }
}
