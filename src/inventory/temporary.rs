//! Names that tools make for a moment on the way to a lock. They are no boards, and must
//! be made for the lock to be had. They were seen in the tools' system calls, but for
//! shlock's and busybox's, which are known from their sources.
//!
//! Not among them is `NAME.lock`, though git makes such: `lockfile-create NAME` locks
//! `NAME.lock`, and would lock thin air by it. Nor are names that scripts choose, as
//! `NAME.$$`: the inventory can have patterns of its own.

/// Whether this is such a name. Names of boards can be, too: they are boards then.
pub fn is_temporary(name: &[u8]) -> bool {
    [
        liblockfile,
        procmail,
        shlock,
        mktemp,
        tbots_guard,
        coreutils,
        sed,
        rsync,
    ]
    .iter()
    .any(|made_by| made_by(name))
}

/// dotlockfile and lockfile-create: `.lk`, the pid with five digits at least, a
/// hexadecimal digit and the host's name.
fn liblockfile(name: &[u8]) -> bool {
    let rest = name.strip_prefix(b".lk").unwrap_or_default();
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    digits >= 5 && rest.len() > digits
}

/// procmail's lockfile: `_`, two words that count pid and time, and the host's name, with
/// dots between.
fn procmail(name: &[u8]) -> bool {
    let word = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
    let Some(rest) = name.strip_prefix(b"_") else {
        return false;
    };
    let mut parts = rest.splitn(3, |byte| *byte == b'.');
    let mut next = |least: usize, most: usize| {
        parts
            .next()
            .is_some_and(|part| (least..=most).contains(&part.len()) && part.iter().all(word))
    };
    next(1, 8) && next(4, 8) && parts.next().is_some_and(|host| !host.is_empty())
}

/// shlock: its pid behind its name.
fn shlock(name: &[u8]) -> bool {
    let pid = name.strip_prefix(b"shlock").unwrap_or_default();
    !pid.is_empty() && pid.iter().all(u8::is_ascii_digit)
}

/// mktemp: `tmp.XXXXXXXXXX` (busybox `tmp.XXXXXX`), and as tbot calls it, `lock.XXX`.
fn mktemp(name: &[u8]) -> bool {
    let tail = name.strip_prefix(b"tmp.").map(|tail| (tail, 6..=10));
    let tail = tail.or_else(|| name.strip_prefix(b"lock.").map(|tail| (tail, 3..=10)));
    tail.is_some_and(|(tail, lengths)| lengths.contains(&tail.len()) && is_random(tail))
}

/// tbot locks this file with flock(2) while it looks whether a lock has expired.
fn tbots_guard(name: &[u8]) -> bool {
    name == b"lock-lock"
}

/// `ln -f` and `ln -sf`.
fn coreutils(name: &[u8]) -> bool {
    name.strip_prefix(b"Cu").is_some_and(six)
}

/// `sed -i`.
fn sed(name: &[u8]) -> bool {
    name.strip_prefix(b"sed").is_some_and(six)
}

/// rsync: `.NAME.XXXXXX`.
fn rsync(name: &[u8]) -> bool {
    let Some(rest) = name.strip_prefix(b".") else {
        return false;
    };
    match rest.iter().rposition(|byte| *byte == b'.') {
        Some(dot) if dot > 0 => six(rest.get(dot + 1..).unwrap_or_default()),
        _ => false,
    }
}

/// As mkstemp(3) puts in place of `XXXXXX`.
fn six(tail: &[u8]) -> bool {
    tail.len() == 6 && is_random(tail)
}

fn is_random(tail: &[u8]) -> bool {
    tail.iter().all(u8::is_ascii_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tools_make_passes() {
        for name in [
            // dotlockfile and lockfile-create of liblockfile 1.17
            ".lk278448vm",
            ".lk000121lab.example.org",
            ".lk1234567fhost",
            // lockfile of procmail 3.22
            "_NzG.YeKDrB.vm",
            "_i1.-aB_9x.lab.example.org",
            "shlock4711",
            "tmp.Q9jd8mVQLH",
            "tmp.aB3dE6",
            "lock.aZ9",
            "lock.aZ9bcd",
            "lock-lock",
            // coreutils 9.1, sed 4.9, rsync 3.2.7
            "CuLafVCU",
            "sedkQ1UzW",
            ".beagle.Z651gA",
            ".rack.beagle.Z651gA",
        ] {
            assert!(is_temporary(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn what_people_type_does_not() {
        for name in [
            "",
            "beagle",
            "beagel",
            "beagle.lock",
            "beagle.4711",
            "lock",
            "locks",
            "lock.",
            "lock.a",
            "lock-lock2",
            "lock.beagle-1",
            "tmp",
            "tmp.",
            "tmp.a",
            "sed",
            "sedan",
            "Cu",
            "Cuprum",
            ".beagle",
            ".beagle.swp",
            ".lk",
            ".lk123",
            ".lk12345",
            "_beagle",
            "_a.b.c",
            "_beagle.1",
            "shlock",
            "shlockx",
            "_",
            ".",
            "..",
            ".Z651gA",
            "..Z651gA",
        ] {
            assert!(!is_temporary(name.as_bytes()), "{name}");
        }
    }
}
