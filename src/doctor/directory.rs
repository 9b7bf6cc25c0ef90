//! What concerns one lock directory.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{Finding, Machine, shown};
use crate::fuse::mountinfo::{FSTYPE, topmost, unescape};
use crate::fuse::prepare::Answer;

/// Units that are started at boot.
const ENABLED: &str = "/etc/systemd/system/multi-user.target.wants";
/// What `boardlock.service` serves.
const STANDARD: &str = "/run/locks";
/// Where mount(8) looks for its helper.
const HELPER: &str = "/sbin/mount.boardlock";

/// The lock directories of this machine: those that are mounted, that stand in fstab, and
/// that a unit serves at boot.
pub fn configured(machine: &Machine) -> Vec<PathBuf> {
    let mut dirs = BTreeSet::new();
    let mounts = machine.mounts().unwrap_or_default();
    dirs.extend(mounts.into_iter().filter(|m| m.ours()).map(|m| m.point));
    dirs.extend(in_fstab(machine));
    for unit in fs::read_dir(machine.place(ENABLED))
        .into_iter()
        .flatten()
        .flatten()
    {
        dirs.extend(served_by(unit.file_name().as_bytes()));
    }
    dirs.into_iter().collect()
}

/// What stands in fstab(5).
fn in_fstab(machine: &Machine) -> Vec<PathBuf> {
    let table = fs::read(machine.place("/etc/fstab")).unwrap_or_default();
    let words = |line: &[u8]| -> Vec<Vec<u8>> {
        let words = line.split(u8::is_ascii_whitespace);
        words
            .filter(|w| !w.is_empty())
            .map(<[u8]>::to_vec)
            .collect()
    };
    table
        .split(|byte| *byte == b'\n')
        .map(words)
        .filter(|words| !words.first().is_some_and(|word| word.starts_with(b"#")))
        .filter_map(|words| match words.as_slice() {
            [_, dir, fstype, ..] if fstype == b"boardlock" || fstype == FSTYPE.as_bytes() => {
                Some(PathBuf::from(OsString::from_vec(unescape(dir))))
            }
            _ => None,
        })
        .collect()
}

/// What a unit of this name serves, by the escapes of systemd-escape(1).
fn served_by(unit: &[u8]) -> Option<PathBuf> {
    if unit == b"boardlock.service" {
        return Some(STANDARD.into());
    }
    let name = unit
        .strip_prefix(b"boardlock@")?
        .strip_suffix(b".service")?;
    let mut path = vec![b'/'];
    let mut rest = name;
    while let Some((&first, tail)) = rest.split_first() {
        let hex = match (first, tail) {
            (b'\\', [b'x', digits @ ..]) => digits
                .first_chunk::<2>()
                .and_then(|digits| std::str::from_utf8(digits).ok())
                .and_then(|digits| u8::from_str_radix(digits, 16).ok()),
            _ => None,
        };
        path.push(match (hex, first) {
            (Some(byte), _) => byte,
            (None, b'-') => b'/',
            (None, byte) => byte,
        });
        rest = if hex.is_some() { &tail[3..] } else { tail };
    }
    Some(PathBuf::from(OsString::from_vec(path)))
}

pub(super) fn examine(machine: &Machine, dir: &Path) -> Vec<Finding> {
    let name = shown(dir);
    let mut findings = Vec::new();
    if in_fstab(machine).iter().any(|other| other == dir) && !machine.place(HELPER).exists() {
        findings.push(Finding::fail(
            format!("{name}: it stands in /etc/fstab, but there is no {HELPER}"),
            format!("run `ln -s $(command -v boardlock) {HELPER}` as root"),
        ));
    }
    let mounts = match machine.mounts() {
        Ok(mounts) => mounts,
        Err(error) => {
            findings.push(Finding::fail(
                format!("{name}: the table of mounts cannot be read: {error}"),
                "mount /proc: `mount -t proc proc /proc`",
            ));
            return findings;
        }
    };
    // A name by links (/var/run/locks) is no other directory.
    let dir = &machine.without_links(dir);
    let below = mounts
        .iter()
        .any(|mount| mount.point == *dir && mount.ours());
    let shut = mounts.iter().any(|mount| {
        let mut options = mount.options.split(',');
        mount.point == *dir && !mount.ours() && options.any(|option| option == "ro")
    });
    let top = topmost(mounts, dir);
    findings.push(match top {
        Some(top) if top.ours() => served(machine, dir),
        Some(top) if below => Finding::fail(
            format!("{name}: a mount of {} hides the lock directory", top.fstype),
            format!("run `umount {name}` as root"),
        ),
        _ => bare(machine, dir, shut),
    });
    findings
}

/// One that is mounted.
fn served(machine: &Machine, dir: &Path) -> Finding {
    let name = shown(dir);
    match (machine.ask)(&machine.place(dir)) {
        Answer::Alive => Finding::ok(format!("{name}: it is served")),
        Answer::Dead => Finding::fail(
            format!("{name}: a stale mount: nobody serves it any more, and nothing can be taken"),
            format!(
                "start boardlock there again, which detaches it; or `umount -l {name}` as root"
            ),
        ),
        Answer::Silent => Finding::fail(
            format!("{name}: whoever serves it does not answer"),
            "look at that process (`pgrep -a boardlock`) and its log, then end it and start \
             another",
        ),
    }
}

/// One that is not mounted.
fn bare(machine: &Machine, dir: &Path, shut: bool) -> Finding {
    let name = shown(dir);
    let start = format!("start boardlock there: `boardlock mount {name}`, its unit, or mount(8)");
    let about = match fs::metadata(machine.place(dir)) {
        Ok(about) => about,
        Err(error) => {
            return Finding::warn(
                format!("{name}: nobody serves it, and nothing can be taken ({error})"),
                start,
            );
        }
    };
    if !about.is_dir() {
        return Finding::fail(
            format!("{name}: it is no directory"),
            "give another one, or remove that",
        );
    }
    let mode = about.permissions().mode();
    let files = fs::read_dir(machine.place(dir)).map_or(0, Iterator::count);
    if mode & 0o222 & !0o200 != 0 && !shut {
        let sticky = mode & 0o1000 != 0 && protects(machine);
        let but = if sticky {
            ", and others' files there cannot be opened by O_CREAT (fs.protected_regular)"
        } else {
            ""
        };
        return Finding::fail(
            format!(
                "{name}: nobody serves it and users can make files in it (mode {:04o}): a `touch` \
                 succeeds and locks nothing{but}",
                mode & 0o7777
            ),
            format!("run `chmod 0555 {name}`, then {start}"),
        );
    }
    if files > 0 {
        return Finding::fail(
            format!("{name}: nobody serves it, and the {files} files in it lock nothing"),
            format!("remove them, or take them over with --over; then {start}"),
        );
    }
    if shut {
        Finding::warn(
            format!("{name}: nobody serves it; nothing can be made in it"),
            start,
        )
    } else {
        Finding::warn(
            format!(
                "{name}: nobody serves it; its owner and root can make files that lock nothing"
            ),
            start,
        )
    }
}

fn protects(machine: &Machine) -> bool {
    let protects = machine.read("/proc/sys/fs/protected_regular");
    protects.is_ok_and(|text| text.trim() != "0")
}
