//! The table of mounts, /proc/self/mountinfo (proc_pid_mountinfo(5)).

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The file system type that a lock directory shows.
pub const FSTYPE: &str = "fuse.boardlock";

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number; used again after it is gone.
    pub id: u32,
    /// Its device, `MAJOR:MINOR`.
    pub device: String,
    /// Where it is.
    pub point: PathBuf,
    /// The options of this mount: `rw,nosuid,nodev,..`.
    pub options: String,
    /// Its type.
    pub fstype: String,
}

impl Entry {
    /// Whether a boardlock serves it, or did.
    pub fn ours(&self) -> bool {
        self.fstype == FSTYPE
    }
}

/// All mounts that this process sees, in the order they were made.
pub fn read() -> io::Result<Vec<Entry>> {
    // Several reads of a long table can miss an entry when another mount goes
    // meanwhile; the kernel gives at most a page a read, so nothing helps but
    // to read it whole.
    Ok(parse(&std::fs::read("/proc/self/mountinfo")?))
}

/// The mount that is seen at `point`: the one on top.
pub fn top(point: &Path) -> io::Result<Option<Entry>> {
    Ok(topmost(read()?, point))
}

/// The last of `entries` at `point`.
pub fn topmost(entries: Vec<Entry>, point: &Path) -> Option<Entry> {
    entries.into_iter().rfind(|entry| entry.point == point)
}

/// Parses the table; lines of a form unknown to it are left out.
#[doc(hidden)]
pub fn parse(table: &[u8]) -> Vec<Entry> {
    table.split(|b| *b == b'\n').filter_map(entry).collect()
}

fn entry(line: &[u8]) -> Option<Entry> {
    let mut words = line.split(|b| *b == b' ');
    let text = |word: &[u8]| String::from_utf8_lossy(word).into_owned();
    let id = text(words.next()?).parse().ok()?;
    let device = text(words.nth(1)?);
    let point = PathBuf::from(OsString::from_vec(unescape(words.nth(1)?)));
    let options = text(words.next()?);
    // Any number of optional words, closed by a dash.
    words.by_ref().find(|word| *word == b"-")?;
    let fstype = text(&unescape(words.next()?));
    Some(Entry {
        id,
        device,
        point,
        options,
        fstype,
    })
}

/// Undoes `\040` and the like.
pub fn unescape(word: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((&first, tail)) = rest.split_first() {
        let code = match (first, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..]) => {
                Some((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'))
            }
            _ => None,
        };
        plain.push(code.unwrap_or(first));
        rest = if code.is_some() { &tail[3..] } else { tail };
    }
    plain
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const TABLE: &[u8] = b"\
24 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
80 24 0:45 / /run/my\\040locks rw,nosuid,nodev,noexec - fuse.boardlock boardlock rw,user_id=0\n\
81 80 0:46 / /run/my\\040locks rw shared:7 master:2 - tmpfs a\\134b rw\n\
82 24 0:47 / /caf\\303\\251 rw - fuse.boardlock boardlock rw\n\
broken\n\
83 24 0:48 /a\\011b /back\\134slash\\012 ro - tmpfs tmpfs rw";

    #[test]
    fn lines_are_taken_apart() {
        let all = parse(TABLE);
        assert_eq!(all.len(), 5);
        assert_eq!(all[1].id, 80);
        assert_eq!(all[1].device, "0:45");
        assert_eq!(all[1].point, Path::new("/run/my locks"));
        assert_eq!(all[1].options, "rw,nosuid,nodev,noexec");
        assert!(all[1].ours() && !all[2].ours());
        assert_eq!(all[2].fstype, "tmpfs", "optional words are skipped");
        assert_eq!(all[3].point, Path::new("/caf\u{e9}"));
        assert_eq!(all[4].point, Path::new("/back\\slash\n"));
    }

    #[test]
    fn the_last_mount_is_on_top() {
        let top = topmost(parse(TABLE), Path::new("/run/my locks")).unwrap();
        assert_eq!(top.id, 81);
        assert_eq!(topmost(parse(TABLE), Path::new("/run")), None);
    }

    #[test]
    fn this_process_has_a_root() {
        assert!(
            read()
                .unwrap()
                .iter()
                .any(|entry| entry.point == Path::new("/"))
        );
    }
}
