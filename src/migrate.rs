//! Lock files that lay in the directory before it was served.
//!
//! A lab switches while boards are in use: files in tbot's form whose process
//! lives or whose expiry lies ahead become claims. Everything else is left
//! where it is, below the mount, with the reason for the log.

use serde::{Deserialize, Serialize};

use std::ffi::OsString;

/// A file that was there before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Its name.
    pub name: OsString,
    /// What is in it; cut after more than a board may hold.
    pub content: Vec<u8>,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// When it was last written, seconds since 1970: a process that started
    /// later did not write it.
    pub modified: i64,
}

/// A claim to be made for a file that was there before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// The board.
    pub name: OsString,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Until when, seconds since 1970.
    pub expiry: Option<i64>,
    /// The holder, which lives; none: detached.
    pub pid: Option<u32>,
}

/// Whether `found` still counts at `now` (seconds since 1970), and as what;
/// else the reason why not. `lives` is asked whether the file's writer, by pid,
/// is still there.
pub fn import(found: &Found, now: i64, lives: impl FnOnce(u32) -> bool) -> Result<Import, String> {
    let (expiry, pid) = parse(&found.content)?;
    let holder = pid.filter(|pid| lives(*pid));
    if holder.is_none() {
        let dead = match pid {
            Some(pid) => format!("the process {pid} that wrote it is gone"),
            None => "it names no process".to_owned(),
        };
        match expiry {
            None => return Err(format!("{dead} and it has no expiry")),
            Some(expiry) if expiry <= now => {
                return Err(format!(
                    "{dead} and it expired {} s ago",
                    now.saturating_sub(expiry)
                ));
            }
            Some(_) => {}
        }
    }
    Ok(Import {
        name: found.name.clone(),
        uid: found.uid,
        gid: found.gid,
        expiry,
        pid: holder,
    })
}

/// The last second of the year 9999, the last that can be shown.
const LAST: i64 = 253_402_300_799;

/// `EXPIRY PID`, two decimal numbers and nothing else, 0 standing for none.
fn parse(content: &[u8]) -> Result<(Option<i64>, Option<u32>), String> {
    let form = || "it is not of the form EXPIRY PID".to_owned();
    if content.len() > 4096 {
        return Err(form());
    }
    let text = std::str::from_utf8(content).map_err(|_| form())?;
    let mut words = text.split_ascii_whitespace();
    let (Some(expiry), Some(pid), None) = (words.next(), words.next(), words.next()) else {
        return Err(form());
    };
    let digits = |word: &str| word.bytes().all(|b| b.is_ascii_digit());
    if !digits(expiry) || !digits(pid) {
        return Err(form());
    }
    let expiry = match expiry.parse::<i64>() {
        Ok(expiry) if expiry <= LAST => expiry,
        _ => return Err("its expiry is beyond the year 9999".to_owned()),
    };
    let pid = match pid.parse::<u32>() {
        Ok(pid) if i32::try_from(pid).is_ok() => pid,
        _ => return Err("its pid is more than any process has".to_owned()),
    };
    Ok(((expiry != 0).then_some(expiry), (pid != 0).then_some(pid)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const NOW: i64 = 1_800_000_000;

    /// What becomes of a file with this content while only process 42 lives.
    fn of(content: &str) -> Result<(Option<i64>, Option<u32>), String> {
        let found = Found {
            name: "b".into(),
            content: content.into(),
            uid: 1000,
            gid: 100,
            modified: NOW - 5,
        };
        let import = import(&found, NOW, |pid| pid == 42)?;
        assert_eq!(
            (import.name, import.uid, import.gid),
            ("b".into(), 1000, 100)
        );
        Ok((import.expiry, import.pid))
    }

    #[test]
    fn taken_over() {
        assert_eq!(of("0 42\n"), Ok((None, Some(42))));
        assert_eq!(of("1800000001 42\n"), Ok((Some(NOW + 1), Some(42))));
        assert_eq!(
            of("1799999999 42"),
            Ok((Some(NOW - 1), Some(42))),
            "overdue, but it lives"
        );
        assert_eq!(of("1800000001 0\n"), Ok((Some(NOW + 1), None)));
        assert_eq!(
            of("1800000001 43\n"),
            Ok((Some(NOW + 1), None)),
            "dead: detached"
        );
        assert_eq!(of("  0\t42 \n\n"), Ok((None, Some(42))));
    }

    #[test]
    fn left() {
        for (content, reason) in [
            ("0 0\n", "names no process and it has no expiry"),
            (
                "0 43\n",
                "process 43 that wrote it is gone and it has no expiry",
            ),
            (
                "1799999990 43\n",
                "process 43 that wrote it is gone and it expired 10 s ago",
            ),
            ("1800000000 0\n", "expired 0 s ago"),
            ("", "form"),
            ("42\n", "form"),
            ("0 42 7\n", "form"),
            ("+0 42\n", "form"),
            ("0 -42\n", "form"),
            ("0x10 42\n", "form"),
            ("soon 42\n", "form"),
            ("99999999999999999999 42\n", "9999"),
            ("253402300800 42\n", "9999"),
            ("0 4294967338\n", "more than any process has"),
            ("0 2147483648\n", "more than any process has"),
        ] {
            let error = of(content).unwrap_err();
            assert!(error.contains(reason), "{content:?}: {error}");
        }
        let mut long = b"0 42".to_vec();
        long.resize(4097, b' ');
        assert!(parse(&long).is_err());
        assert!(parse(b"0 42 \xff").is_err());
    }
}
