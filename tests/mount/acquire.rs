//! The table "Acquire, by call": each call on a board that is free, the
//! caller's own, another's; what it answers and who holds then.

use libtest_mimic::Trial;

use crate::client::{Client, Kind};
use crate::lab::Lab;

pub fn tests() -> Vec<Trial> {
    trials![
        every_system_call_answers_as_the_table_says("python3");
        every_tool_answers_as_the_table_says("busybox");
        mktemp_claims_the_name_that_it_makes_up;
        only_what_the_caller_holds_becomes_a_board("python3");
        a_subshell_that_becomes_the_tool_still_holds("dash", "zsh", "busybox");
        a_link_is_the_same_claim_under_two_names("python3");
        a_rename_onto_ones_own_board_leaves_one_claim("python3");
        a_claim_is_complete_before_anyone_sees_it("python3");
        each_acquisition_has_a_greater_token("python3");
    ]
}

/// Who holds the board afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Nobody,
    Me,
    Other,
}
use By::{Me, Nobody, Other};

/// The outcome of a call, and who holds then.
type Cell = (&'static str, By);

/// A row of the table: the call; on a free board; the caller's own; another's.
/// `{b}` is the board, `{src}` another board of the caller, `{file}` a file
/// elsewhere. `!` stands for any failure.
type Row = (&'static str, Cell, Cell, Cell);

const EXISTS: Cell = ("EEXIST", Me);
const TAKEN: Cell = ("EEXIST", Other);
const BUSY: Cell = ("EBUSY", Other);
const ABSENT: Cell = ("ENOENT", Nobody);
const OK: Cell = ("ok", Me);

const CALLS: &[Row] = &[
    // open with O_CREAT, any mode
    ("opened('{b}', os.O_CREAT)", OK, OK, ("ok", Other)),
    ("opened('{b}', os.O_CREAT|os.O_WRONLY)", OK, OK, BUSY),
    ("opened('{b}', os.O_CREAT|os.O_RDWR)", OK, OK, BUSY),
    (
        "opened('{b}', os.O_CREAT|os.O_WRONLY|os.O_TRUNC)",
        OK,
        OK,
        BUSY,
    ),
    (
        "opened('{b}', os.O_CREAT|os.O_RDONLY|os.O_TRUNC)",
        OK,
        OK,
        BUSY,
    ),
    (
        "opened('{b}', os.O_CREAT|os.O_WRONLY|os.O_SYNC)",
        OK,
        OK,
        BUSY,
    ),
    (
        "opened('{b}', os.O_CREAT|os.O_WRONLY|os.O_NOFOLLOW)",
        OK,
        OK,
        BUSY,
    ),
    (
        "opened('{b}', os.O_CREAT|os.O_WRONLY|os.O_NONBLOCK)",
        OK,
        OK,
        ("EAGAIN", Other),
    ),
    (
        "opened('{b}', os.O_CREAT|os.O_RDWR|os.O_NONBLOCK)",
        OK,
        OK,
        ("EAGAIN", Other),
    ),
    (
        "opened('{b}', os.O_CREAT|os.O_WRONLY|os.O_APPEND)",
        OK,
        OK,
        ("ok", Other),
    ),
    (
        "opened('{b}', os.O_CREAT|os.O_RDWR|os.O_APPEND|os.O_TRUNC)",
        OK,
        OK,
        ("ok", Other),
    ),
    ("open('{b}', 'w').close()", OK, OK, BUSY),
    ("open('{b}', 'a+').close()", OK, OK, ("ok", Other)),
    // open with O_CREAT and O_EXCL, mknod of a regular file
    ("opened('{b}', os.O_CREAT|os.O_EXCL)", OK, EXISTS, TAKEN),
    (
        "opened('{b}', os.O_CREAT|os.O_EXCL|os.O_WRONLY)",
        OK,
        EXISTS,
        TAKEN,
    ),
    (
        "opened('{b}', os.O_CREAT|os.O_EXCL|os.O_RDWR|os.O_NONBLOCK)",
        OK,
        EXISTS,
        TAKEN,
    ),
    (
        "opened('{b}', os.O_CREAT|os.O_EXCL|os.O_WRONLY|os.O_APPEND)",
        OK,
        EXISTS,
        TAKEN,
    ),
    ("open('{b}', 'x').close()", OK, EXISTS, TAKEN),
    ("os.mknod('{b}')", OK, EXISTS, TAKEN),
    ("os.mknod('{b}', 0o600|stat.S_IFREG)", OK, EXISTS, TAKEN),
    // open without O_CREAT
    ("opened('{b}', os.O_RDONLY)", ABSENT, OK, ("ok", Other)),
    (
        "opened('{b}', os.O_RDONLY|os.O_NONBLOCK)",
        ABSENT,
        OK,
        ("ok", Other),
    ),
    ("opened('{b}', os.O_PATH)", ABSENT, OK, ("ok", Other)),
    ("opened('{b}', os.O_WRONLY)", ABSENT, OK, BUSY),
    ("opened('{b}', os.O_RDWR)", ABSENT, OK, BUSY),
    ("opened('{b}', os.O_WRONLY|os.O_TRUNC)", ABSENT, OK, BUSY),
    ("opened('{b}', os.O_RDONLY|os.O_TRUNC)", ABSENT, OK, BUSY),
    (
        "opened('{b}', os.O_WRONLY|os.O_NONBLOCK)",
        ABSENT,
        OK,
        ("EAGAIN", Other),
    ),
    (
        "opened('{b}', os.O_WRONLY|os.O_APPEND)",
        ABSENT,
        OK,
        ("ok", Other),
    ),
    // link
    ("os.link('{src}', '{b}')", OK, EXISTS, TAKEN),
    ("os.link('{file}', '{b}')", ("EXDEV", Nobody), EXISTS, TAKEN),
    ("os.link('{b}', '{b}2')", ABSENT, OK, ("EPERM", Other)),
    // rename, in its three kinds
    ("os.rename('{src}', '{b}')", OK, OK, BUSY),
    ("renameat2('{src}', '{b}', NOREPLACE)", OK, EXISTS, TAKEN),
    (
        "renameat2('{src}', '{b}', EXCHANGE)",
        ABSENT,
        ("EINVAL", Me),
        ("EINVAL", Other),
    ),
    (
        "renameat2('{src}', '{b}', WHITEOUT)",
        ("EINVAL", Nobody),
        ("EINVAL", Me),
        ("EINVAL", Other),
    ),
    (
        "os.rename('{file}', '{b}')",
        ("EXDEV", Nobody),
        ("EXDEV", Me),
        ("EXDEV", Other),
    ),
    (
        "os.rename('{b}', '{b}2')",
        ABSENT,
        ("ok", Nobody),
        ("EPERM", Other),
    ),
    // mkdir, symlink
    ("os.mkdir('{b}')", OK, EXISTS, TAKEN),
    ("os.symlink('somewhere', '{b}')", OK, EXISTS, TAKEN),
    // utimens, truncate by path
    ("os.utime('{b}')", ABSENT, OK, BUSY),
    ("os.utime('{b}', (1, 1))", ABSENT, OK, BUSY),
    (
        "os.utime('{b}', ns=(1, 1), follow_symlinks=False)",
        ABSENT,
        OK,
        BUSY,
    ),
    ("os.truncate('{b}', 0)", ABSENT, OK, BUSY),
    ("os.truncate('{b}', 7)", ABSENT, OK, BUSY),
    // what only looks
    ("os.stat('{b}') and None", ABSENT, OK, ("ok", Other)),
    ("os.listxattr('{b}') and None", ABSENT, OK, ("ok", Other)),
];

const FAILS: Cell = ("!", Other);
const MINE: Cell = ("0", Me);
const MINE_STAYS: Cell = ("!", Me);
const NOTHING: Cell = ("!", Nobody);

const TOOLS: &[Row] = &[
    ("touch {b}", MINE, MINE, FAILS),
    ("touch -d '+1 hour' {b}", MINE, MINE, FAILS),
    ("touch -r {file} {b}", MINE, MINE, FAILS),
    ("touch -c {b}", ("0", Nobody), MINE, FAILS),
    ("touch -h {b}", ("!", Nobody), MINE, FAILS),
    ("busybox touch {b}", MINE, MINE, FAILS),
    ("busybox touch -c {b}", ("0", Nobody), MINE, FAILS),
    (": >{b}", MINE, MINE, FAILS),
    ("true >{b}", MINE, MINE, FAILS),
    (">{b}", MINE, MINE, FAILS),
    ("echo hello >{b}", MINE, MINE, FAILS),
    ("echo hello >>{b}", MINE, MINE, FAILS),
    (": >>{b}", MINE, MINE, ("0", Other)),
    (": <>{b}", MINE, MINE, FAILS),
    ("exec 9>{b}", MINE, MINE, FAILS),
    ("exec 9<>{b}", MINE, MINE, FAILS),
    ("exec 9>>{b}", MINE, MINE, ("0", Other)),
    ("exec 9<{b}", NOTHING, MINE, ("0", Other)),
    ("(set -C; : >{b})", MINE, MINE_STAYS, FAILS),
    (
        "set -C; : >{b}; got=$?; set +C; (exit $got)",
        MINE,
        MINE_STAYS,
        FAILS,
    ),
    ("dash -c 'set -C; : >{b}'", MINE, MINE_STAYS, FAILS),
    ("busybox sh -c ': >{b}'", MINE, MINE, FAILS),
    ("err=$(touch {b} 2>&1)", MINE, MINE, FAILS),
    ("ln {src} {b}", MINE, MINE_STAYS, FAILS),
    ("ln -f {src} {b}", MINE, MINE, FAILS),
    ("ln -s somewhere {b}", MINE, MINE_STAYS, FAILS),
    ("ln -sf somewhere {b}", MINE, MINE, FAILS),
    ("busybox ln -s somewhere {b}", MINE, MINE_STAYS, FAILS),
    ("mkdir {b}", MINE, MINE_STAYS, FAILS),
    ("mkdir -p {b}", MINE, MINE_STAYS, FAILS),
    ("busybox mkdir {b}", MINE, MINE_STAYS, FAILS),
    ("mv {src} {b}", MINE, MINE, FAILS),
    ("mv -f {src} {b}", MINE, MINE, FAILS),
    ("mv -T {src} {b}", MINE, MINE, FAILS),
    // GNU mv says 0 to this on its own: it never asks to rename.
    ("mv -n {src} {b}; [ ! -e {src} ]", MINE, MINE_STAYS, FAILS),
    ("busybox mv {src} {b}", MINE, MINE, FAILS),
    ("cp {file} copy-{b}; mv copy-{b} {b}", MINE, MINE, FAILS),
    (
        "cp {file} $LOCKS/../x-{b}; mv $LOCKS/../x-{b} {b}",
        MINE,
        MINE,
        FAILS,
    ),
    ("cp {file} {b}", MINE, MINE, FAILS),
    ("cp -f {file} {b}", MINE, MINE, FAILS),
    ("cp --remove-destination {file} {b}", MINE, MINE, FAILS),
    ("busybox cp {file} {b}", MINE, MINE, FAILS),
    ("busybox cp -f {file} {b}", MINE, MINE, FAILS),
    ("install {file} {b}", MINE, MINE, FAILS),
    ("install -m 600 {file} {b}", MINE, MINE, FAILS),
    ("tee {b}", MINE, MINE, FAILS),
    ("echo hello | tee {b}", MINE, MINE, FAILS),
    ("echo hello | tee -a {b}", MINE, MINE, FAILS),
    ("tee -a {b}", MINE, MINE, ("0", Other)),
    ("echo hello | busybox tee {b}", MINE, MINE, FAILS),
    ("dd if={file} of={b} status=none", MINE, MINE, FAILS),
    ("dd if=/dev/null of={b} status=none", MINE, MINE, FAILS),
    (
        "dd if={file} of={b} conv=excl status=none",
        MINE,
        MINE_STAYS,
        FAILS,
    ),
    (
        "dd if={file} of={b} conv=notrunc status=none",
        MINE,
        MINE,
        FAILS,
    ),
    (
        "dd if={file} of={b} conv=nocreat status=none",
        NOTHING,
        MINE,
        FAILS,
    ),
    ("busybox dd if={file} of={b} 2>/dev/null", MINE, MINE, FAILS),
    ("truncate -s 0 {b}", MINE, MINE, FAILS),
    ("truncate -s 5 {b}", MINE, MINE, FAILS),
    ("truncate -c -s 0 {b}", ("0", Nobody), MINE, FAILS),
    ("busybox truncate -s 0 {b}", MINE, MINE, FAILS),
    ("sed -i s/a/b/ {b}", NOTHING, MINE, FAILS),
    ("sort -o {b} {file}", MINE, MINE, FAILS),
    ("mknod {b} p", NOTHING, MINE_STAYS, FAILS),
    ("env touch {b}", MINE, MINE, FAILS),
    ("timeout 30 touch {b}", MINE, MINE, FAILS),
    ("echo {b} | xargs touch", MINE, MINE, FAILS),
    ("sh -c 'touch {b} || exit 1'", MINE, MINE, FAILS),
    // What only looks.
    ("cat {b}", NOTHING, MINE, ("0", Other)),
    ("[ -e {b} ]", NOTHING, MINE, ("0", Other)),
    ("[ -w {b} ]", NOTHING, MINE, ("0", Other)),
    ("ls -l {b}", NOTHING, MINE, ("0", Other)),
];

/// Goes through the table with two clients; all that is wrong is told at once.
fn walk_the_table(lab: &Lab, me: &mut Client, other: &mut Client, rows: &[Row]) {
    let file = lab.dir().parent().unwrap().join("file");
    std::fs::write(&file, "from elsewhere\n").unwrap();
    let take = |client: &mut Client, board: &str| match client.kind() {
        Kind::Shell => client.ok(&format!("touch {board}")),
        Kind::Python => client.ok(&format!("touch('{board}')")),
    };
    let mut wrong = Vec::new();
    for (row, (call, free, mine, theirs)) in rows.iter().enumerate() {
        for (state, (outcome, by)) in [("free", free), ("mine", mine), ("theirs", theirs)] {
            let board = format!("{state}-{row}");
            let src = format!("src-{state}-{row}");
            if call.contains("{src}") {
                take(me, &src);
            }
            match state {
                "free" => {}
                "mine" => drop(take(me, &board)),
                _ => drop(take(other, &board)),
            }
            let command = call
                .replace("{b}", &board)
                .replace("{src}", &src)
                .replace("{file}", file.to_str().unwrap());
            let reply = me.run(&command);
            let as_told = match *outcome {
                "!" => reply.outcome != "0",
                told => reply.outcome == told,
            };
            let holder = lab.holder_of_any(&board);
            let by_whom = match holder {
                None => Some(Nobody),
                Some(pid) if pid == me.pid() => Some(Me),
                Some(pid) if pid == other.pid() => Some(Other),
                Some(_) => None,
            };
            if !as_told || by_whom != Some(*by) {
                wrong.push(format!(
                    "{state}: {command}\n  is {} and then {by_whom:?} {holder:?}, \
                     should be {outcome} and {by:?}; {:?}",
                    reply.outcome, reply.said
                ));
            }
        }
    }
    // What tools make on their way (cp's, mv's, sed's and ln's temporary names)
    // they also remove.
    for name in lab.boards() {
        let ours = ["free-", "mine-", "theirs-", "src-", "copy-"];
        if !ours.iter().any(|prefix| name.starts_with(prefix)) {
            wrong.push(format!("left over: {name}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn every_system_call_answers_as_the_table_says() {
    let lab = Lab::new(&[]);
    walk_the_table(&lab, &mut lab.python(), &mut lab.python(), CALLS);
}

fn every_tool_answers_as_the_table_says() {
    let lab = Lab::new(&[]);
    walk_the_table(&lab, &mut lab.shell(), &mut lab.shell(), TOOLS);
}

fn mktemp_claims_the_name_that_it_makes_up() {
    let lab = Lab::new(&[]);
    let mut me = lab.shell();
    for make in [
        "mktemp ./b.XXXXXX",
        "busybox mktemp ./b.XXXXXX",
        "mktemp -d ./b.XXXXXX",
    ] {
        let name = me.ok(make);
        assert_eq!(lab.holder_of_any(&name), Some(me.pid()), "{make}");
    }
    assert_eq!(lab.boards().len(), 3);
}

fn only_what_the_caller_holds_becomes_a_board() {
    let lab = Lab::new(&[]);
    let (mut me, mut other) = (lab.python(), lab.python());
    other.ok("touch('tmp')");
    for call in [
        "os.link('tmp', 'b')",
        "os.rename('tmp', 'b')",
        "renameat2('tmp', 'b', NOREPLACE)",
    ] {
        me.refused(call, "EPERM");
        assert_eq!(lab.boards(), ["tmp"], "{call}");
    }
    me.refused("os.link('none', 'b')", "ENOENT");
    me.refused("os.rename('none', 'b')", "ENOENT");
    other.ok("os.rename('tmp', 'b')");
    assert_eq!(lab.holder("b"), Some(other.pid()));
    assert_eq!(lab.boards(), ["b"]);
}

fn a_subshell_that_becomes_the_tool_still_holds() {
    // The last command of a subshell runs in its process, in some shells.
    let lab = Lab::new(&[]);
    for shell in ["bash", "dash", "zsh", "busybox sh"] {
        for take in [
            "(touch tmp; mv tmp b)",
            "(touch tmp; ln tmp b)",
            "(touch b; touch b)",
            "(touch b; exec touch -d '+1 hour' b)",
            "(touch b; echo x | exec tee b)",
            "(mkdir b; touch b/in)",
            "(touch tmp; exec env mv tmp b)",
            "sh -c 'touch tmp; exec mv tmp b'",
        ] {
            lab.sh(
                shell,
                &format!("{take} || exit 2; rm -r b || exit 3; rm -f tmp"),
            )
            .ok();
        }
    }
}

fn a_link_is_the_same_claim_under_two_names() {
    let lab = Lab::new(&[]);
    let mut me = lab.python();
    me.ok("touch('tmp')");
    me.ok("os.link('tmp', 'b')");
    let same = "(lambda a, b: (a.st_ino == b.st_ino, a.st_nlink, b.st_nlink, a.st_mode == \
                b.st_mode))(os.stat('tmp'), os.stat('b'))";
    assert_eq!(me.ok(same), "(True, 2, 2, True)");
    me.ok("os.unlink('tmp')");
    assert_eq!(me.ok("os.stat('b').st_nlink"), "1");
    assert_eq!(lab.holder("b"), Some(me.pid()));
    // They end together.
    me.ok("os.link('b', 'c')");
    me.kill();
    assert_eq!(lab.holder("b"), None);
    assert_eq!(lab.boards(), [""; 0]);
}

fn a_rename_onto_ones_own_board_leaves_one_claim() {
    let lab = Lab::new(&[]);
    let mut me = lab.python();
    me.ok("touch('a'); touch('b'); os.link('b', 'other-name')");
    me.ok("open('a', 'w').write('a was here')");
    me.ok("os.rename('a', 'b')");
    assert_eq!(me.ok("read('b')"), "a was here");
    assert_eq!(me.ok("os.stat('b').st_nlink"), "1");
    // Names of one file: rename(2) does nothing.
    me.ok("os.link('b', 'c')");
    me.ok("os.rename('b', 'c')");
    assert_eq!(me.ok("os.stat('b').st_nlink"), "2");
    // A name that a rename takes is one name; unlink ends one, so does this.
    assert_eq!(lab.boards(), ["b", "c", "other-name"]);
    assert_eq!(me.ok("os.stat('other-name').st_nlink"), "1");
}

fn a_claim_is_complete_before_anyone_sees_it() {
    let lab = Lab::new(&[]);
    let mut me = lab.python();
    me.ok("touch('b')");
    let inside = lab.status("b");
    for key in ["pid", "uid", "since", "token"] {
        let value = &inside[key];
        assert_ne!(value, "-", "{key}");
    }
    assert_eq!(inside[""], format!("0 {}", me.pid()));
    assert_eq!(inside["pid"], me.pid().to_string());
    assert_eq!(inside["state"], "held");
}

fn each_acquisition_has_a_greater_token() {
    let lab = Lab::new(&[]);
    let (mut me, mut other) = (lab.python(), lab.python());
    let token = |board: &str| lab.xattr(board, "token").unwrap().parse::<u64>().unwrap();
    let mut last = 0;
    let mut grows = |call: &str, board: &str| {
        let now = token(board);
        assert!(now > last, "{call}: {last}, then {now}");
        last = now;
    };
    for call in [
        "touch('b')",
        "os.link('b', 'c')",
        "os.rename('b', 'd')",
        "os.mkdir('e')",
        "os.mknod('f')",
    ] {
        me.ok(call);
        grows(
            call,
            &call[call.rfind('(').unwrap()..]
                .chars()
                .rev()
                .nth(2)
                .unwrap()
                .to_string(),
        );
    }
    me.kill();
    other.ok("touch('b')");
    grows("another takes b", "b");
    let before = token("b");
    other.ok("opened('b', os.O_CREAT|os.O_WRONLY); os.utime('b')");
    assert_eq!(token("b"), before, "nothing is acquired by what one has");
}
