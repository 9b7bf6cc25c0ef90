//! What other programs tell: the STRING of a `sh -c`, /proc/PID/stat and status,
//! the table of mounts.

use boardlock::fuse::mountinfo;
use boardlock::lock::ids::Pid;
use boardlock::printable::{printable, unprintable};
use boardlock::process::fuzzed;

use super::bytes::Bytes;

pub fn check(data: &[u8]) {
    let mut bytes = Bytes(data);
    match bytes.byte() % 6 {
        0 => command(bytes.0, false),
        1 => command(bytes.0, true),
        2 => stat(&mut bytes),
        3 => status(bytes.0),
        4 => mounts(bytes.0),
        _ => shown(bytes.0),
    }
}

/// What only claims does so no more with work behind it.
fn command(string: &[u8], fish: bool) {
    if fuzzed::claims(string, fish) {
        let more = [string, b"\n\n./work\n"].concat();
        assert!(!fuzzed::claims(&more, fish), "work that is not seen");
        let more = [b"./work\n", string].concat();
        assert!(!fuzzed::claims(&more, fish), "work before it");
    }
}

fn stat(bytes: &mut Bytes) {
    let pid = Pid::new(1).unwrap();
    let _ = fuzzed::stat(pid, bytes.0);
    // Whatever a process is called.
    let parent = u32::from(bytes.u16());
    let start = bytes.u64();
    let name = bytes.take(64);
    let mut text = b"17 (".to_vec();
    text.extend(name);
    text.extend(
        format!(") S {parent} 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 3 0 {start} 9\n").bytes(),
    );
    let (comm, ppid, id) = fuzzed::stat(pid, &text).expect("the kernel's form is read");
    assert_eq!(comm, name);
    assert_eq!(ppid, Pid::new(parent));
    assert_eq!(id.start.0, start);
}

fn status(text: &[u8]) {
    if let Some((_, _, numbers)) = fuzzed::status(text) {
        assert!(!numbers.is_empty());
    }
}

fn mounts(text: &[u8]) {
    let lines = text.split(|byte| *byte == b'\n').count();
    let all = mountinfo::parse(text);
    assert!(all.len() <= lines);
    for entry in all.iter().take(3) {
        assert!(mountinfo::topmost(all.clone(), &entry.point).is_some());
    }
}

/// Nothing gets through that moves a cursor, and no two texts look the same.
fn shown(text: &[u8]) {
    for shown in [printable(text), fuzzed::shown(text)] {
        assert!(!shown.chars().any(unprintable), "{shown:?}");
    }
    let plain = super::metadata::unescape(&printable(text));
    assert_eq!(plain, text);
}
