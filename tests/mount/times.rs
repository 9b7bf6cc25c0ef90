//! "Metadata": what a board's times say and do. mtime is how long the lock is
//! good for, the change time when it was acquired.

use libtest_mimic::Trial;

use crate::client::Client;
use crate::lab::Lab;
use crate::process::{PATIENCE, eventually};

pub fn tests() -> Vec<Trial> {
    trials![
        mtime_is_now_without_an_expiry("python3");
        times_that_the_holder_sets_read_back_exactly("python3");
        a_time_ahead_is_the_expiry("python3");
        an_expiry_that_has_passed_leaves_the_holder_its_board("python3");
        with_expire_hard_an_expiry_frees("python3");
        a_plain_touch_renews_a_lease("python3");
        a_lease_that_runs_out_leaves_the_holder_its_board("python3");
        the_change_time_is_the_acquisition("python3");
    ]
}

/// A clock of the client that a test compares with, in nanoseconds.
fn time(client: &mut Client, what: &str) -> i128 {
    client.ok(what).parse().unwrap()
}

fn mtime_is_now_without_an_expiry() {
    let lab = Lab::new(&[]);
    let mut me = lab.python();
    me.ok("touch('b'); os.mkdir('d')");
    for name in ["b", "d", "."] {
        let before = time(&mut me, "time.time_ns()");
        let shown = time(&mut me, &format!("os.stat('{name}').st_mtime_ns"));
        let after = time(&mut me, "time.time_ns()");
        assert!(
            (before..=after).contains(&shown),
            "{name}: {before} {shown} {after}"
        );
    }
}

fn times_that_the_holder_sets_read_back_exactly() {
    let lab = Lab::new(&[]);
    let mut me = lab.python();
    me.ok("touch('b'); os.mkdir('d')");
    let now = time(&mut me, "time.time_ns()");
    for mtime in [
        0,
        1,
        -1,
        999_999_999,
        1_000_000_001,
        -1_500_000_000,
        -62_135_596_800_000_000_001, // the last moment before the year 1
        1_234_567_890_123_456_789,
        now - 86_400_000_000_000,
        now + 1_000_000_000,
        now + 7_200_123_456_789,
        4_000_000_000_987_654_321,
        253_402_300_799_999_999_999, // the last moment of the year 9999
    ] {
        for name in ["b", "d"] {
            me.ok(&format!("os.utime('{name}', ns=({}, {mtime}))", mtime / 2));
            let shown = me.ok(&format!(
                "'%d %d' % (lambda s: (s.st_atime_ns, s.st_mtime_ns))(os.stat('{name}'))"
            ));
            // Python's division rounds down, as the kernel's seconds do.
            assert_eq!(shown, format!("{} {mtime}", mtime / 2), "{name}");
        }
    }
    let mut shell = lab.shell();
    shell.ok("touch -d '1901-01-01 00:00:00.5 UTC' s");
    assert_eq!(shell.ok("stat -c %.9Y s"), "-2177452799.500000000");
    shell.ok("touch s");
    assert!(shell.ok("stat -c %Y s").parse::<i64>().unwrap() > 1_700_000_000);
    assert_eq!(lab.status("s")["expires"], "-");
}

fn a_time_ahead_is_the_expiry() {
    let lab = Lab::new(&[]);
    let mut me = lab.shell();
    me.ok("touch b; mkdir d; ln -s x l");
    let ahead = |board: &str| lab.status(board)["expires_in_seconds"].parse::<i64>();
    me.ok("touch -d '+2 hours' b");
    assert!((7190..=7200).contains(&ahead("b").unwrap()));
    let until = me.ok("stat -c %Y b");
    assert_eq!(lab.status("b")[""], format!("{until} {}", me.pid()));
    me.ok("touch b");
    assert_eq!(
        me.ok("stat -c %Y b"),
        until,
        "an absolute expiry is not renewed"
    );
    me.ok("touch -d '+1 hour' b");
    assert!((3590..=3600).contains(&ahead("b").unwrap()));
    // What is no expiry: the past, the present, a directory's time.
    me.ok("touch c; touch -d '-1 hour' c; touch -d now c; touch -d '+1 second' c");
    assert_eq!(lab.status("c")["expires"], "-");
    me.ok("touch -d '+2 hours' d");
    assert_eq!(lab.xattr("d", "expires"), None);
    // At the time of making it, too.
    me.ok("touch -d '+2 hours' new");
    assert!(ahead("new").is_ok());
    me.ok("touch -d 9999-12-31T23:59:59Z new");
    assert_eq!(lab.status("new")["expires"], "9999-12-31T23:59:59Z");
    me.ok("touch -d @253402300800 new");
    assert_eq!(lab.status("new")["state"], "held");
}

fn an_expiry_that_has_passed_leaves_the_holder_its_board() {
    let lab = Lab::new(&[]);
    let (mut me, mut other) = (lab.python(), lab.python());
    me.ok("touch('b')");
    me.ok("os.setxattr('b', 'user.boardlock.expires', b'1')");
    let status = lab.status("b");
    assert_eq!(status["state"], "overdue");
    assert_eq!(
        status[""],
        format!("0 {}", me.pid()),
        "to readers of tbot's form it has none"
    );
    assert_eq!(status["expires"], "1970-01-01T00:00:01Z");
    assert!(status["expires_in_seconds"].starts_with('-'));
    // To tools that steal by age it is fresh.
    assert_eq!(me.ok("time.time() - os.stat('b').st_mtime < 60"), "True");
    other.refused("os.open('b', os.O_WRONLY)", "EBUSY");
    other.refused("os.open('b', os.O_CREAT|os.O_EXCL)", "EEXIST");
    // One that it has set itself comes the same way.
    me.ok("touch('c'); at = time.time_ns() + 2_200_000_000; os.utime('c', ns=(at, at))");
    assert_eq!(lab.status("c")["state"], "held");
    eventually("it is overdue", PATIENCE, || {
        lab.status("c")["state"] == "overdue"
    });
    assert_eq!(me.ok("os.stat('c').st_mtime_ns != at"), "True");
    assert_eq!(lab.holder("c"), Some(me.pid()));
    me.ok("os.setxattr('c', 'user.boardlock.expires', b'')");
    assert_eq!(lab.status("c")["state"], "held");
}

fn with_expire_hard_an_expiry_frees() {
    let lab = Lab::new(&["-o", "expire=hard"]);
    let (mut me, mut other) = (lab.python(), lab.python());
    me.ok("touch('b'); fd = os.open('b', os.O_RDWR); at = time.time_ns() + 2_200_000_000");
    me.ok("os.utime('b', ns=(at, at))");
    assert_eq!(lab.holder("b"), Some(me.pid()));
    eventually("it is free", PATIENCE, || lab.holder("b").is_none());
    lab.wait_for_log(|line| line.contains(" b: released") && line.contains("expired"));
    other.ok("touch('b')");
    me.refused("os.write(fd, b'x')", "EBUSY");
    me.refused("os.utime('b')", "EBUSY");
    // At once, if it is past when it is set.
    me.ok("touch('c'); os.setxattr('c', 'user.boardlock.expires', b'1')");
    assert_eq!(lab.holder("c"), None);
}

fn a_plain_touch_renews_a_lease() {
    let lab = Lab::new(&["--lease", "1h"]);
    let mut me = lab.python();
    me.ok("touch('b')");
    let left = "os.stat('b').st_mtime_ns - time.time_ns() - 3_600_000_000_000";
    assert!(time(&mut me, left) <= 0);
    let first = time(&mut me, "os.stat('b').st_mtime_ns");
    me.ok("os.utime('b')");
    let second = time(&mut me, "os.stat('b').st_mtime_ns");
    assert!(second > first);
    // What it says is when it ends, in seconds.
    let ends = second / 1_000_000_000;
    let told: i128 = lab.status("b")[""]
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert!((ends - 1..=ends + 1).contains(&told));
    for renew in [
        "touch b",
        "touch -m b",
        "touch -c b",
        "busybox touch b",
        "touch -d now b",
    ] {
        let mut shell = lab.shell();
        shell.ok("rm -f b; touch b");
        let first = time(&mut me, "os.stat('b').st_mtime_ns");
        shell.ok(renew);
        if renew.contains("-d") {
            continue;
        }
        assert!(time(&mut me, "os.stat('b').st_mtime_ns") > first, "{renew}");
    }
}

fn a_lease_that_runs_out_leaves_the_holder_its_board() {
    let lab = Lab::new(&["--lease", "1s"]);
    let (mut me, mut other) = (lab.python(), lab.python());
    me.ok("touch('b')");
    eventually("it is overdue", PATIENCE, || {
        lab.status("b")["state"] == "overdue"
    });
    other.refused("os.open('b', os.O_CREAT|os.O_WRONLY)", "EBUSY");
    me.ok("os.utime('b')");
    let lab = Lab::new(&["--lease", "1s", "-o", "expire=hard"]);
    let mut me = lab.python();
    me.ok("touch('b')");
    eventually("it is free", PATIENCE, || lab.holder("b").is_none());
    // A detached claim goes with its lease in any case.
    let lab = Lab::new(&["--lease", "1s"]);
    lab.shell().ok("echo 0 0 >b");
    eventually("it is free", PATIENCE, || lab.holder("b").is_none());
}

fn the_change_time_is_the_acquisition() {
    let lab = Lab::new(&[]);
    let (mut me, mut other) = (lab.python(), lab.python());
    let changed =
        |client: &mut Client, name: &str| time(client, &format!("os.lstat('{name}').st_ctime_ns"));
    let before = time(&mut me, "time.time_ns()");
    me.ok("touch('b')");
    let after = time(&mut me, "time.time_ns()");
    let since = changed(&mut me, "b");
    assert!((before..=after).contains(&since));
    me.ok("os.utime('b'); os.chmod('b', 0); open('b', 'w').write('x'); os.truncate('b', 0)");
    me.ok("os.setxattr('b', 'user.boardlock.note', b'x')");
    assert_eq!(changed(&mut me, "b"), since);
    me.ok("os.rename('b', 'c')");
    assert!(
        changed(&mut me, "c") > since,
        "another name is another acquisition"
    );
    me.ok("fd = os.open('c', os.O_RDONLY); os.unlink('c')");
    other.ok("touch('c')");
    assert!(changed(&mut other, "c") > since);
}
