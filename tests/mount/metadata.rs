//! "Metadata": what a board shows as a file, what of it can be set, by whom.

use libtest_mimic::Trial;

use crate::lab::{Lab, NOBODY};
use crate::trial::ROOT;

pub fn tests() -> Vec<Trial> {
    trials![
        the_owner_is_the_holder_and_the_mode_is_open_to_all("python3", ROOT);
        modes_are_accepted_without_effect_and_owners_refused("python3", ROOT);
        content_is_kept_and_read_back_unchanged("python3");
        the_status_has_these_keys_in_this_order("python3");
        readers_at_work_see_one_snapshot("python3");
        attributes_are_listed_and_read("python3", "getfattr");
        notes_and_expiries_are_set_by_those_who_may("python3", ROOT);
        other_attributes_are_refused("python3");
        statfs_tells_how_much_room_there_is("python3");
        access_says_yes_to_everyone("python3", ROOT);
    ]
}

fn the_owner_is_the_holder_and_the_mode_is_open_to_all() {
    let lab = Lab::new(&[]);
    let show = "(lambda s: '%o %d %d %d' % (s.st_mode, s.st_uid, s.st_gid, s.st_nlink))\
                (os.lstat('NAME'))";
    for uid in [0, NOBODY, 1234] {
        let mut client = if uid == 0 {
            lab.python()
        } else {
            lab.python_as(uid)
        };
        client.ok("os.umask(0o077)");
        client.ok("os.close(os.open('f', os.O_CREAT|os.O_WRONLY, 0o4600))");
        client.ok("os.mkdir('d', 0o1700)");
        client.ok("os.symlink('to', 'l')");
        for (name, mode, links) in [("f", "100666", 1), ("d", "40777", 1), ("l", "120777", 1)] {
            let shown = client.ok(&show.replace("NAME", name));
            assert_eq!(shown, format!("{mode} {uid} {uid} {links}"), "{name}");
        }
        client.ok("os.unlink('f'); os.rmdir('d'); os.unlink('l')");
    }
    let mut client = lab.python();
    // No sticky bit: the kernel would refuse O_CREAT on others' files.
    assert_eq!(client.ok("'%o' % os.stat('.').st_mode"), "40777");
}

fn modes_are_accepted_without_effect_and_owners_refused() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python_as(NOBODY);
    holder.ok("touch('b'); os.mkdir('d'); fd = os.open('b', os.O_RDWR)");
    for (mut client, answer) in [
        (lab.python_as(NOBODY), "ok"),
        (lab.python(), "ok"),
        (lab.python_as(1234), "EPERM"),
    ] {
        for change in [
            "os.chmod('b', 0o600)",
            "os.chmod('b', 0o4755)",
            "os.chmod('d', 0o1000)",
        ] {
            assert_eq!(client.run(change).outcome, answer, "{change}");
        }
        // The table has no exception for an owner that stays the same.
        for change in [
            "os.chown('b', 0, 0)",
            "os.chown('b', 65534, 65534)",
            "os.chown('d', 1, -1)",
        ] {
            assert_eq!(client.run(change).outcome, "EPERM", "{change}");
        }
    }
    holder.ok("os.fchmod(fd, 0o600)");
    holder.refused("os.fchown(fd, 65534, -1)", "EPERM");
    assert_eq!(
        holder.ok("'%o %o' % (os.stat('b').st_mode, os.stat('d').st_mode)"),
        "100666 40777"
    );
    // Nor has it an effect on who may do what.
    assert!(lab.python_as(1234).ok("read('b')").contains("token"));
}

fn content_is_kept_and_read_back_unchanged() {
    let lab = Lab::new(&[]);
    let mut me = lab.python();
    for content in [
        r"b'note'",
        r"b'\n'",
        r"b' '",
        r"bytes(range(256))",
        r"b'\0' * 4096",
        r"b'7\n'",
        r"b'0'",
        r"b'0 0 0'",
        r"b'\xff\xfe'",
        r"'grüße'.encode()",
    ] {
        me.ok(&format!("data = {content}; open('b', 'wb').write(data)"));
        assert_eq!(me.ok("open('b', 'rb').read() == data"), "True", "{content}");
        assert_eq!(
            me.ok("os.stat('b').st_size == len(data)"),
            "True",
            "{content}"
        );
        assert_eq!(lab.holder("b"), Some(me.pid()), "{content}");
    }
    me.ok("fd = os.open('b', os.O_RDWR|os.O_TRUNC)");
    me.ok("os.pwrite(fd, b'end', 10); os.pwrite(fd, b'start', 0)");
    assert_eq!(
        me.ok("os.pread(fd, 100, 0)"),
        r"b'start\x00\x00\x00\x00\x00end'"
    );
    assert_eq!(me.ok("os.pread(fd, 3, 11)"), "b'nd'");
    assert_eq!(me.ok("os.pread(fd, 3, 100)"), "b''");
    me.ok("open('b', 'ab').write(b'!')");
    assert_eq!(me.ok("open('b', 'rb').read()[10:]"), "b'end!'");
    // It ends with the hold.
    me.ok("os.unlink('b'); touch('b')");
    assert!(me.ok("read('b')").contains("token"));
    assert_eq!(me.ok("os.stat('b').st_size"), "0");
}

fn the_status_has_these_keys_in_this_order() {
    let lab = Lab::new(&["--lease", "1h"]);
    let mut me = lab.shell();
    me.ok("touch b; (exec 9<b); setfattr -n user.boardlock.note -v $'to  be\\ncontinued' b");
    let text = me.ok("cat b");
    let lines: Vec<&str> = text.lines().collect();
    let keys: Vec<&str> = lines[1..]
        .iter()
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    let all = [
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
    assert_eq!(keys, all, "{text}");
    let status = lab.status("b");
    let uid = rustix::process::getuid().as_raw();
    assert_eq!(status["board"], "b");
    assert_eq!(status["state"], "held");
    assert_eq!(status["uid"], uid.to_string());
    assert_eq!(status["holder"], me.ok("id -un"));
    assert_eq!(status["pid"], me.pid().to_string());
    assert!(status["command"].contains("bash"), "{text}");
    assert_eq!(status["via"], "touch < bash");
    assert_eq!(status["token"], "1");
    assert_eq!(status["waiters"], "0");
    assert_eq!(status["note"], r"to  be\ncontinued");
    let first: Vec<&str> = lines[0].split(' ').collect();
    assert_eq!(first.len(), 2, "{text}");
    assert_eq!(
        first[0],
        me.ok("date -d \"$(getfattr --only-values -n user.boardlock.expires b)\" +%s")
    );
    assert_eq!(first[1], me.pid().to_string());
    for key in ["since", "expires"] {
        me.ok(&format!("date -d '{}'", status[key]));
        assert!(
            status[key].ends_with('Z') && status[key].len() == 20,
            "{text}"
        );
    }
    // A command line cannot forge a line of it, nor can a name.
    let mut forger = lab.spawn(
        "bash",
        "exec bash -c 'touch \"c d\"; echo have; read x' $'x\\nstate free\\n\\e[31m'",
    );
    forger.expect("have");
    let text = std::fs::read_to_string(lab.path("c d")).unwrap();
    assert_eq!(text.lines().count(), 15, "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
    assert!(text.contains("\nboard c d\n"), "{text}");
}

fn readers_at_work_see_one_snapshot() {
    let lab = Lab::new(&[]);
    let (mut me, mut other) = (lab.python(), lab.python());
    other.ok("touch('b')");
    me.ok("fd = os.open('b', os.O_RDONLY); first = os.read(fd, 9)");
    // Everything in it changes before the rest is read.
    other.ok("os.setxattr('b', 'user.boardlock.note', b'a note that makes it longer')");
    other.ok("os.rename('b', 'another-name')");
    me.ok("rest = b''.join(iter(lambda: os.read(fd, 7), b'')); text = (first + rest).decode()");
    let text = me.ok("text");
    assert!(
        text.contains("\nboard b\n") && text.trim_end().ends_with("\nnote -\nlock -"),
        "{text}"
    );
    // Written content, too.
    other.ok("open('another-name', 'w').write('aaaa')");
    me.ok("fd = os.open('another-name', os.O_RDONLY); first = os.read(fd, 2)");
    other.ok("open('another-name', 'w').write('bbbbbb')");
    assert_eq!(me.ok("(first + os.read(fd, 100)).decode()"), "aaaa");
    assert_eq!(me.ok("read('another-name')"), "bbbbbb");
}

fn attributes_are_listed_and_read() {
    let lab = Lab::new(&[]);
    let mut me = lab.python();
    me.ok("touch('b'); os.mkdir('d')");
    let listed = "' '.join(sorted(n[len('user.boardlock.'):] for n in os.listxattr('b')))";
    assert_eq!(me.ok(listed), "holder pid since token");
    me.ok("os.setxattr('b', 'user.boardlock.note', b'hello')");
    me.ok("os.setxattr('b', 'user.boardlock.expires', b'+2h')");
    assert_eq!(me.ok(listed), "expires holder note pid since token");
    let status = lab.status("b");
    for key in ["holder", "pid", "since", "expires", "token", "note"] {
        assert_eq!(lab.xattr("b", key).as_ref(), Some(&status[key]), "{key}");
    }
    assert_eq!(lab.xattr("d", "pid"), Some(me.pid().to_string()));
    // As setxattr(2) and removexattr(2) have it.
    let again = "os.setxattr('b', 'user.boardlock.note', b'x', os.XATTR_CREATE)";
    me.refused(again, "EEXIST");
    me.ok("os.removexattr('b', 'user.boardlock.note')");
    me.refused("os.removexattr('b', 'user.boardlock.note')", "ENODATA");
    me.refused(&again.replace("CREATE", "REPLACE"), "ENODATA");
    me.ok(again);
    me.refused("os.getxattr('b', 'user.boardlock.nothing')", "ENODATA");
    me.refused("os.getxattr('b', 'user.other')", "ENODATA");
    me.refused("os.getxattr('none', 'user.boardlock.pid')", "ENOENT");
    let mut shell = lab.shell();
    let dump = shell.ok("getfattr -d b");
    assert!(dump.contains("user.boardlock.note=\"x\""), "{dump}");
    // The lock directory itself is no board.
    me.ok("os.listxattr('.')");
    me.refused("os.getxattr('.', 'user.boardlock.pid')", "ENODATA");
}

fn notes_and_expiries_are_set_by_those_who_may() {
    for holder_only in [false, true] {
        let args: &[&str] = if holder_only {
            &["-o", "release=holder"]
        } else {
            &[]
        };
        let lab = Lab::new(args);
        let mut holder = lab.shell_as(NOBODY);
        holder.ok("touch b; mkdir d");
        let same = if holder_only { "EPERM" } else { "ok" };
        for (mut client, answer) in [
            (lab.python_as(NOBODY), same),
            (lab.python(), same),
            (lab.python_as(1234), "EPERM"),
        ] {
            for call in [
                "os.setxattr('b', 'user.boardlock.note', b'x')",
                "os.removexattr('b', 'user.boardlock.note')",
                "os.setxattr('b', 'user.boardlock.expires', b'1999999999')",
                "os.setxattr('d', 'user.boardlock.expires', b'+1h')",
                "os.removexattr('b', 'user.boardlock.expires')",
            ] {
                assert_eq!(client.run(call).outcome, answer, "{call} {holder_only}");
            }
        }
        holder.ok("setfattr -n user.boardlock.note -v 'by its side' b");
        assert_eq!(lab.xattr("b", "note").as_deref(), Some("by its side"));
        holder.ok("sh -c 'setfattr -n user.boardlock.expires -v 2026-01-01T00:00:00Z b; :'");
        assert_eq!(lab.status("b")["state"], "overdue");
        holder.ok("setfattr -x user.boardlock.note b; setfattr -x user.boardlock.expires b");
        assert_eq!(lab.xattr("b", "note"), None);
        assert_eq!(lab.xattr("b", "expires"), None);
        assert_eq!(lab.holder("b"), Some(holder.pid()));
        // What is no time, no note.
        for bad in [
            "tomorrow",
            "-5",
            "253402300800",
            "1 2",
            "99999999999999999999",
        ] {
            holder.refused(
                &format!("setfattr -n user.boardlock.expires -v '{bad}' b"),
                "EINVAL",
            );
        }
        holder.refused(
            "setfattr -n user.boardlock.note -v $(printf %05000d 0) b",
            "EFBIG",
        );
        assert_eq!(lab.status("b")["note"], "-");
    }
}

fn other_attributes_are_refused() {
    let lab = Lab::new(&[]);
    let mut me = lab.python();
    me.ok("touch('b')");
    for key in ["pid", "holder", "since", "token"] {
        me.refused(
            &format!("os.setxattr('b', 'user.boardlock.{key}', b'1')"),
            "EPERM",
        );
        me.refused(
            &format!("os.removexattr('b', 'user.boardlock.{key}')"),
            "EPERM",
        );
    }
    for name in ["user.boardlock.nothing", "user.boardlock.", "user.mine"] {
        me.refused(&format!("os.setxattr('b', '{name}', b'1')"), "EOPNOTSUPP");
    }
    assert_eq!(lab.holder("b"), Some(me.pid()));
    // Note that a board is: a file that tools copy attributes from.
    let mut shell = lab.shell();
    shell.ok("touch c; cp --preserve=all c $LOCKS/../copy 2>/dev/null; cp -p c $LOCKS/../copy");
}

fn statfs_tells_how_much_room_there_is() {
    let lab = Lab::new(&["--max-boards", "10"]);
    let mut me = lab.python();
    let show = "(lambda s: '%d %d %d %d' % (s.f_files, s.f_ffree, s.f_blocks, s.f_namemax))\
                (os.statvfs('.'))";
    assert_eq!(me.ok(show), "10 10 10 255");
    me.ok("touch('a'); os.mkdir('d'); os.link('a', 'b')");
    assert_eq!(me.ok(show), "10 7 10 255");
    me.ok("os.unlink('b'); os.rmdir('d'); os.unlink('a')");
    assert_eq!(me.ok(show), "10 10 10 255");
    lab.shell().ok("df . && df -i . && stat -f .");
}

fn access_says_yes_to_everyone() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python_as(NOBODY);
    holder.ok("touch('b'); os.mkdir('d')");
    for mut client in [lab.python(), lab.python_as(NOBODY), lab.python_as(1234)] {
        for name in ["b", "d", "."] {
            for mode in ["os.F_OK", "os.R_OK", "os.W_OK", "os.R_OK|os.W_OK"] {
                let asked = client.ok(&format!("os.access('{name}', {mode})"));
                assert_eq!(asked, "True", "{name} {mode}");
            }
        }
        assert_eq!(
            client.ok("os.access('b', os.X_OK), os.access('d', os.X_OK)"),
            "(False, True)"
        );
        assert_eq!(client.ok("os.access('none', os.F_OK)"), "False");
    }
    for mut shell in [lab.shell(), lab.shell_as(1234)] {
        shell.ok(
            "[ -w b ] && [ -r b ] && [ ! -x b ] && [ -w d ] && [ -x d ] && [ -f b ] && [ -d d ]",
        );
        shell.ok("busybox test -w b && dash -c '[ -w b ]' && zsh -c '[ -w b ]'");
    }
    assert_eq!(lab.holder("b"), Some(holder.pid()));
}
