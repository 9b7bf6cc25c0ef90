//! What is written into boards, and what they show of it.

use std::time::Duration;

use boardlock::fuse::xattr;
use boardlock::lock::Table;
use boardlock::lock::acquire::Make;
use boardlock::lock::caller::{Caller, Candidate, Chain, Groups, Standing};
use boardlock::lock::content::Named;
use boardlock::lock::ids::{Gid, Handle, Ino, Pid, ProcessId, StartTime, Uid, User};
use boardlock::lock::node::check_name;
use boardlock::lock::open::OpenMode;
use boardlock::lock::options::Options;
use boardlock::lock::record::{Written, judge};
use boardlock::lock::time::{BootTime, LAST_SECOND, Now, Timestamp};
use boardlock::migrate::{Found, import};
use boardlock::printable::{printable, unprintable};

use super::bytes::Bytes;

const USER: User = User {
    uid: Uid(1000),
    gid: Gid(100),
};

const NOW: Now = Now {
    wall: Timestamp::from_secs(1_700_000_000),
    boot: BootTime(Duration::from_secs(5000)),
};

pub fn check(data: &[u8]) {
    let mut bytes = Bytes(data);
    match bytes.byte() % 4 {
        0 => judged(bytes.0),
        1 => moment(bytes.0),
        2 => numbers(&mut bytes),
        _ => board(&mut bytes),
    }
}

/// The same as the plainest reading of it.
fn judged(content: &[u8]) {
    let written = judge(content);
    let text = String::from_utf8_lossy(content);
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let numbers: Option<Vec<u64>> = words
        .iter()
        .map(|word| word.parse().ok().filter(|_| !word.starts_with('+')))
        .collect();
    let last = u64::try_from(LAST_SECOND).unwrap();
    let should = match numbers.as_deref() {
        _ if content.is_empty() => Written::Nothing,
        Some([pid]) if *pid > 0 => Written::Pid(*pid),
        Some([expiry, pid]) if *expiry <= last => Written::Both {
            expiry: i64::try_from(*expiry).ok().filter(|expiry| *expiry > 0),
            pid: Some(*pid).filter(|pid| *pid > 0),
        },
        _ => Written::Note,
    };
    assert_eq!(written, should);
    taken_over(content, written);
}

/// What lay there before counts as the same, or not at all.
fn taken_over(content: &[u8], written: Written) {
    let found = Found {
        name: "b".into(),
        content: content.to_vec(),
        uid: 1,
        gid: 1,
        modified: 0,
    };
    let taken = import(&found, 0, |_| true);
    if let Ok(import) = taken {
        let pid = import.pid.map(u64::from);
        let expiry = import.expiry;
        assert_eq!(written, Written::Both { expiry, pid });
        assert!(expiry.is_some() || pid.is_some());
    }
}

/// An expiry lies in the years that can be shown; as it is shown it is read.
fn moment(value: &[u8]) {
    if let Some(Some(secs)) = xattr::moment(value, NOW.wall) {
        assert!((1..=LAST_SECOND).contains(&secs));
        let again = xattr::moment(secs.to_string().as_bytes(), NOW.wall);
        assert_eq!(again, Some(Some(secs)));
        let shown = Timestamp::from_secs(secs).rfc3339();
        // jiff reads no timestamps of the last day, lest a time zone overflow.
        if secs <= LAST_SECOND - 2 * 86400 {
            assert_eq!(xattr::moment(shown.as_bytes(), NOW.wall), Some(Some(secs)));
        }
    }
}

/// Times at the end of what there is.
fn numbers(bytes: &mut Bytes) {
    let secs = bytes.u64().cast_signed();
    let nanos = u32::try_from(bytes.u64() % 1_000_000_000).unwrap();
    let moment = Timestamp { secs, nanos };
    let span = Duration::new(
        bytes.u64(),
        u32::try_from(bytes.u64() % 1_000_000_000).unwrap(),
    );
    let later = moment.plus(span);
    assert!(later.nanos < 1_000_000_000);
    assert!(later >= moment || later.secs == i64::MAX);
    if later.secs != i64::MAX {
        assert_eq!(later.since(moment), Some(span));
    }
    let shown = moment.rfc3339();
    assert!(!shown.contains(char::is_whitespace));
    let text = format!("{} {}", bytes.u64(), bytes.u64());
    judged(text.as_bytes());
}

fn caller() -> Caller {
    let process = ProcessId {
        pid: Pid::new(100).unwrap(),
        start: StartTime(1),
    };
    Caller {
        thread: Some(process.pid),
        requester: Some(process),
        program: "sh".to_owned(),
        user: USER,
        standing: Standing::Process(Candidate {
            lineage: vec![process],
            user: USER,
            command: "sh job".to_owned(),
            via: Chain("sh".to_owned()),
        }),
        ancestors: vec![process],
        job: 1,
        groups: Groups::default(),
        scripts: Vec::new(),
    }
}

/// A board with such a name, content and note, and its status.
fn board(bytes: &mut Bytes) {
    let name = bytes.piece();
    let note = bytes.piece();
    let (offset, user) = (u64::from(bytes.u16() % 5000), bytes.piece());
    let mut table = Table::new(Options::default(), &NOW);
    let caller = caller();
    let mode = OpenMode {
        write: true,
        append: false,
        truncate: false,
        nonblock: false,
        again: false,
        brief: false,
    };
    let made = table.make(
        &NOW,
        &caller,
        (Ino::ROOT, name),
        Make::File,
        true,
        Some(mode),
    );
    let Ok((ino, Some(handle))) = made else {
        assert!(check_name(name).is_err());
        return;
    };
    assert_eq!(table.lookup(Ino::ROOT, name), Ok(ino));
    // Another user's name counts as one word, whatever it is.
    let user = String::from_utf8_lossy(user).into_owned();
    if !note.is_empty() {
        let set = table.set_note(&caller, ino, Some(note.to_vec()), None);
        let note = set.is_ok().then(|| note.to_vec());
        shown(&table, ino, name, note, &user);
    }
    write(&mut table, ino, handle, offset, bytes.0);
    shown(&table, ino, name, None, &user);
}

/// What is written is there, and names whom it names.
fn write(table: &mut Table, ino: Ino, handle: Handle, offset: u64, data: &[u8]) {
    let before = table.content(ino).unwrap_or_default().to_vec();
    let end = offset + data.len() as u64;
    match table.write(handle, offset, data) {
        Ok(kept) => {
            assert!(end <= 4096 || data.is_empty());
            let content = table.content(ino).unwrap_or_default().to_vec();
            if !data.is_empty() {
                let offset = usize::try_from(offset).unwrap();
                assert_eq!(&content[offset..offset + data.len()], data);
            }
            assert!(table.wants_snapshot(handle, 0));
            table.set_snapshot(handle, content.clone());
            assert_eq!(table.read(handle, 0, 5000), content);
            if let Written::Both { pid: None, .. } = judge(&content) {
                table.name(&NOW, &kept, Named::Detached);
            }
        }
        Err(_) => assert_eq!(table.content(ino).unwrap_or_default(), before),
    }
}

/// The status as others read it: `key value` lines that nothing can forge.
fn shown(table: &Table, ino: Ino, name: &[u8], note: Option<Vec<u8>>, user: &str) {
    const KEYS: [&str; 14] = [
        "board",
        "state",
        "holder",
        "uid",
        "pid",
        "command",
        "via",
        "since",
        "expires",
        "expires_in_seconds",
        "token",
        "waiters",
        "note",
        "lock",
    ];
    if table.claim(ino).is_none() {
        return;
    }
    let status = table.status(ino, &NOW);
    let text = status.render(|_| user.to_owned());
    assert!(text.ends_with('\n'));
    assert!(!text.replace('\n', "").chars().any(unprintable), "{text:?}");
    let mut lines = text.lines();
    let first = lines.next().unwrap();
    let pid = status.pid.map(|pid| u64::from(pid.get()));
    match judge(first.as_bytes()) {
        Written::Both { pid: said, .. } => assert_eq!(said, pid),
        other => panic!("{first:?} is {other:?}"),
    }
    let lines: Vec<(&str, &str)> = lines.map(|line| line.split_once(' ').unwrap()).collect();
    assert!(lines.iter().map(|(key, _)| *key).eq(KEYS), "{text}");
    assert!(lines.iter().all(|(_, value)| !value.is_empty()), "{text}");
    assert_eq!(unescape(lines[0].1), name);
    assert!(!lines[2].1.contains(char::is_whitespace), "{text}");
    let told = status.note;
    assert_eq!(printable(&told).is_empty(), told.is_empty());
    if !told.is_empty() {
        assert_eq!(unescape(lines[12].1), told);
    }
    if let Some(note) = note {
        assert_eq!(told, note);
    }
}

/// Undoes `printable`.
pub fn unescape(text: &str) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            plain.extend(c.to_string().bytes());
            continue;
        }
        match rest.next().expect("a backslash says more") {
            '\\' => plain.push(b'\\'),
            'n' => plain.push(b'\n'),
            't' => plain.push(b'\t'),
            'r' => plain.push(b'\r'),
            'x' => {
                let digits: String = rest.by_ref().take(2).collect();
                plain.push(u8::from_str_radix(&digits, 16).unwrap());
            }
            'u' => {
                assert_eq!(rest.next(), Some('{'));
                let digits: String = rest.by_ref().take_while(|c| *c != '}').collect();
                let c = char::from_u32(u32::from_str_radix(&digits, 16).unwrap()).unwrap();
                plain.extend(c.to_string().bytes());
            }
            other => panic!("no escape: {other:?}"),
        }
    }
    plain
}
