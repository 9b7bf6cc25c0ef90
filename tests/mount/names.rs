//! Bad input: names, kinds of files, floods; none costs another user a lock,
//! and the log tells of each without believing it.

use libtest_mimic::Trial;

use crate::client::{Client, python};
use crate::lab::{Lab, NOBODY, copy_program};
use crate::trial::{ROOT, which};

pub fn tests() -> Vec<Trial> {
    trials![
        control_characters_are_refused("python3");
        names_may_have_255_bytes("python3");
        names_of_any_other_bytes_are_boards("python3");
        shells_and_tools_cope_with_any_name;
        no_more_boards_than_one_user_may_have("python3", ROOT);
        no_more_boards_than_there_may_be("python3", ROOT);
        a_flood_from_many_processes_counts_exactly("python3");
        other_kinds_of_files_are_refused("python3");
        every_refusal_is_told_with_its_reason(ROOT);
        the_log_cannot_be_forged("python3");
        a_flood_of_refusals_fills_no_log;
    ]
}

fn control_characters_are_refused() {
    let lab = Lab::new(&[]);
    let mut me = lab.python();
    me.ok("touch('mine')");
    for byte in (1..32).chain([127]) {
        let name = format!("'x' + chr({byte}) + 'y'");
        for call in [
            "touch(N)",
            "os.mkdir(N)",
            "os.symlink('x', N)",
            "os.link('mine', N)",
            "os.rename('mine', N)",
        ] {
            me.refused(&call.replace('N', &name), "EINVAL");
        }
        assert_eq!(me.ok(&format!("os.path.exists({name})")), "False");
    }
    assert_eq!(lab.boards(), ["mine"]);
    lab.wait_for_log(|line| {
        line.contains(r" x\ny: refused to ") && line.contains("control characters")
    });
}

fn names_may_have_255_bytes() {
    let lab = Lab::new(&[]);
    let mut me = lab.python();
    me.ok(
        "long = 'x' * 255; touch(long); os.unlink(long); os.mkdir(long); touch(long + '/' + long)",
    );
    assert_eq!(me.ok("os.listdir(long) == [long]"), "True");
    me.ok("wide = 'ü' * 127 + 'x'; touch(wide); touch('mine')");
    assert_eq!(me.ok("wide in os.listdir('.')"), "True");
    for length in [256, 300, 1023, 1024, 4000] {
        me.ok(&format!("over = 'x' * {length}"));
        for call in [
            "touch(over)",
            "opened(over, os.O_CREAT|os.O_WRONLY)",
            "os.mkdir(over)",
            "os.symlink('x', over)",
            "os.link('mine', over)",
            "os.rename('mine', over)",
            "os.stat(over)",
            "os.unlink(over)",
        ] {
            me.refused(call, "ENAMETOOLONG");
        }
    }
    me.refused("os.symlink('x' * 4096, 'l')", "ENAMETOOLONG");
    assert_eq!(lab.holder("mine"), Some(me.pid()));
}

fn names_of_any_other_bytes_are_boards() {
    let lab = Lab::new(&[]);
    let (mut me, mut other) = (lab.python(), lab.python());
    for (name, shown) in [
        (r"b'\xff\xfe'", r"\xff\xfe"),
        (r"b'caf\xe9'", r"caf\xe9"),
        (r"b'\xc3\xbc'", "ü"),
        (r"b'u\xcc\x88'", "u\u{308}"),
        (r"b'back\\slash'", r"back\\slash"),
        (r"b'\xe2\x80\xae'", r"\u{202e}"),
        (r"b'\xed\xa0\x80'", r"\xed\xa0\x80"),
        ("b' '", " "),
        ("b'...'", "..."),
    ] {
        me.ok(&format!("name = {name}; touch(name)"));
        assert_eq!(me.ok("os.listdir(b'.') == [name]"), "True", "{name}");
        other.refused(&format!("opened({name}, os.O_WRONLY)"), "EBUSY");
        lab.wait_for_log(|line| {
            line.contains(&format!(" {shown}: acquired by "))
                || line.contains(&format!(" \"{shown}\": acquired by "))
        });
        assert_eq!(
            me.ok("open(name).read().splitlines()[1]"),
            format!("board {shown}")
        );
        me.ok("os.unlink(name)");
    }
}

fn shells_and_tools_cope_with_any_name() {
    let lab = Lab::new(&[]);
    let (mut me, mut other) = (lab.shell(), lab.shell());
    for name in [
        "$(reboot)",
        "`id`",
        "a;b",
        "a&b",
        "a|b",
        "*",
        "?",
        "[a]",
        "it's",
        "\"",
        "~",
        "#",
        "!",
        "-rf",
        "--help",
        "-",
        "a b",
        " a",
        "a=b",
        "{a,b}",
        "%s%n",
        "\\",
        "b.lock",
        "$HOME",
        "<>",
    ] {
        let quoted = format!("'{}'", name.replace('\'', r"'\''"));
        me.ok(&format!("touch ./{quoted}"));
        assert_eq!(lab.boards(), [name]);
        assert_eq!(lab.holder(name), Some(me.pid()), "{name}");
        other.refused(&format!(": >./{quoted}"), "EBUSY");
        me.ok(&format!("cat ./{quoted} && rm -- ./{quoted}"));
        assert_eq!(lab.boards(), [""; 0]);
    }
}

/// Takes boards in every way until none is left to take.
fn fill(client: &mut Client, room: usize, errno: &str) {
    client.ok(&format!("[touch('n%d' % i) for i in range({room})]; None"));
    for call in [
        "touch('one-more')",
        "opened('one-more', os.O_CREAT|os.O_WRONLY)",
        "os.mknod('one-more')",
        "os.mkdir('one-more')",
        "os.symlink('x', 'one-more')",
        "os.link('n0', 'one-more')",
    ] {
        client.refused(call, errno);
    }
    client.ok("os.rename('n0', 'another'); os.rename('another', 'n0')");
}

fn no_more_boards_than_one_user_may_have() {
    let lab = Lab::new(&["--max-per-user", "5"]);
    let mut flood = lab.python_as(NOBODY);
    fill(&mut flood, 5, "EDQUOT");
    lab.python_as(NOBODY).refused("touch('one-more')", "EDQUOT");
    lab.wait_for_log(|line| {
        line.contains(" one-more: refused to ") && line.contains("--max-per-user")
    });
    lab.shell_as(NOBODY).refused("touch one-more", "EDQUOT");
    // It costs nobody else one.
    let mut other = lab.python_as(1234);
    other.ok("[touch('other%d' % i) for i in range(5)]; None");
    let mut root = lab.python();
    root.ok("os.mkdir('d'); [touch('d/%d' % i) for i in range(4)]; None");
    root.refused("touch('d/one-more')", "EDQUOT");
    // One that is given back can be taken again, however it went.
    flood.ok("os.unlink('n1'); touch('n1'); os.rename('n1', 'n2'); os.link('n2', 'n1')");
    flood.refused("touch('one-more')", "EDQUOT");
    flood.kill();
    let mut again = lab.python_as(NOBODY);
    fill(&mut again, 5, "EDQUOT");
    again.kill();
    // One that is written over to another user stays on its maker's account.
    assert_eq!(lab.boards().len(), 6);
}

fn no_more_boards_than_there_may_be() {
    let lab = Lab::new(&["--max-boards", "6"]);
    let mut flood = lab.python();
    let mut other = lab.python_as(NOBODY);
    other.ok("touch('theirs')");
    fill(&mut flood, 5, "ENOSPC");
    other.refused("touch('one-more')", "ENOSPC");
    lab.shell().refused("touch one-more", "ENOSPC");
    lab.wait_for_log(|line| {
        line.contains("one-more: refused to ") && line.contains("--max-boards")
    });
    // What is held stays held, and works.
    assert_eq!(lab.holder("theirs"), Some(other.pid()));
    other.ok("os.utime('theirs'); open('theirs', 'w').write('fine')");
    other.ok("os.rename('theirs', 'renamed'); os.unlink('renamed'); touch('theirs')");
    flood.kill();
    other.ok("[touch('n%d' % i) for i in range(5)]; None");
}

fn a_flood_from_many_processes_counts_exactly() {
    let lab = Lab::new(&["--max-per-user", "100"]);
    let script = "
import os, sys
won, full = 0, 0
for i in range(40):
    try:
        os.close(os.open('b-%d-%d' % (os.getpid(), i), os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        won += 1
    except OSError as error:
        assert error.errno == 122, error
        full += 1
print(won, flush=True)
sys.stdin.readline()
";
    let mut all: Vec<_> = (0..5).map(|_| lab.spawn(python(), script)).collect();
    let won: Vec<u32> = all
        .iter_mut()
        .map(|one| one.line().parse().unwrap())
        .collect();
    assert_eq!(won.iter().sum::<u32>(), 100, "{won:?}");
    assert_eq!(lab.boards().len(), 100);
    drop(all);
    crate::process::eventually("all are free", crate::process::PATIENCE, || {
        lab.boards().is_empty()
    });
}

fn other_kinds_of_files_are_refused() {
    let lab = Lab::new(&[]);
    let mut me = lab.python();
    for (call, errno) in [
        ("os.mkfifo('b')", "EPERM"),
        (
            "os.mknod('b', stat.S_IFCHR|0o666, os.makedev(1, 3))",
            "EPERM",
        ),
        (
            "os.mknod('b', stat.S_IFBLK|0o666, os.makedev(7, 0))",
            "EPERM",
        ),
        ("os.mknod('b', stat.S_IFIFO|0o666)", "EPERM"),
        ("os.mknod('b', stat.S_IFSOCK|0o666)", "EPERM"),
        ("socket.socket(socket.AF_UNIX).bind('b')", "EPERM"),
        ("os.open('.', os.O_TMPFILE|os.O_RDWR)", "EOPNOTSUPP"),
    ] {
        // Without the right to make devices the kernel refuses these itself.
        me.refused(call, errno);
        assert_eq!(lab.boards(), [""; 0], "{call}");
    }
    me.ok("fd = os.open('b', os.O_CREAT|os.O_RDWR)");
    me.refused("fallocate(fd, 100)", "EOPNOTSUPP");
    assert_eq!(me.ok("os.stat('b').st_size"), "0");
    lab.shell().refused("mkfifo f", "EPERM");
}

fn every_refusal_is_told_with_its_reason() {
    let lab = Lab::new(&[]);
    let mut holder = lab.shell_as(NOBODY);
    holder.ok("touch b; mkdir d");
    let has = format!("held by nobody, pid {} (", holder.pid());
    for (uid, take, words) in [
        (0, "touch b", "held by"),
        (1234, "busybox touch b", "held by"),
        (1234, "rm -f b", "another's to release"),
        (0, "chown 0 b", "not the caller's to change"),
        (1234, "mv b c", "only its holder"),
        (1234, "touch d/x", "claimed by another"),
        (0, "install /etc/hostname b", "unlinks to take"),
    ] {
        let from = lab.log().len();
        let mut client = if uid == 0 {
            lab.shell()
        } else {
            lab.shell_as(uid)
        };
        assert_ne!(client.run(take).outcome, "0", "{take}");
        let board = if take.contains('/') && take.contains("d/") {
            " d: "
        } else {
            " b: "
        };
        let line = lab.wait_for_log_from(from, |line| line.contains(words));
        let user = if uid == 0 { "root" } else { "1234" };
        assert!(line.contains(board), "{take}: {line}");
        // What is no tool that takes is told of by itself.
        let pid = client.pid();
        let who = format!("refused to {user}, pid {pid} (");
        assert!(
            line.contains(&who) || line.contains("(chown "),
            "{take}: {line}"
        );
        assert!(line.contains(&has), "{take}: {line}");
    }
    let from = lab.log().len();
    lab.shell().run("mkfifo f; ln -s /etc/passwd l");
    lab.wait_for_log_from(from, |line| {
        line.contains(" l: refused to root") && line.contains("beside it")
    });
}

fn the_log_cannot_be_forged() {
    let lab = Lab::new(&[]);
    let evil = "x\n2026-01-01T00:00:00Z info  b: acquired by root\n\u{1b}[31m\r";
    // A program of that name, with such arguments.
    let program = lab.dir().parent().unwrap().join("e\nv\u{1b}[31m");
    copy_program(&which("truncate").unwrap(), &program);
    let mut holder = lab.shell();
    holder.ok("touch b");
    let mut me = lab.python();
    me.ok(
        &format!("program, evil = {:?}, {evil:?}", program.to_str().unwrap())
            .replace(r"\u{1b}", r"\x1b"),
    );
    me.ok("subprocess.run([program, '-s', '0', 'mine'], env={'E': evil})");
    me.ok("subprocess.run([program, '-s', '0', 'b'], stderr=subprocess.DEVNULL); None");
    me.ok(
        "subprocess.run(['/bin/bash', '-c', 'touch c; echo x >d; rm -f c; rm -f b', evil]); None",
    );
    me.ok("touch('noted'); open('noted', 'w').write('7 ' + evil)");
    me.ok("os.setxattr('noted', 'user.boardlock.note', evil.encode()); os.unlink('noted')");
    me.refused("touch(evil)", "EINVAL");
    me.ok("touch('last')");
    // Nor does a name pass for a part of the line.
    me.ok("touch('b: released after 3 s, its holder has ended: root, pid 1 (init)')");
    lab.wait_for_log(|line| {
        line.contains(
            " \"b: released after 3 s, its holder has ended: root, pid 1 (init)\": acquired",
        )
    });
    lab.wait_for_log(|line| line.contains(" last: acquired by"));
    for line in lab.log() {
        let time = line.get(..20).unwrap_or_default();
        let stamped = time.starts_with("20") && time.contains('T');
        assert!(stamped && !line.starts_with("2026-01-01"), "{line:?}");
        assert!(!line.contains(['\u{1b}', '\r']), "{line:?}");
    }
    lab.wait_for_log(|line| line.contains(r"e\nv\x1b[31m"));
}

fn a_flood_of_refusals_fills_no_log() {
    let lab = Lab::new(&[]);
    let mut holder = lab.shell();
    holder.ok("touch b");
    let mut me = lab.shell();
    me.ok("for i in $(seq 200); do : >b; done 2>/dev/null; true");
    me.ok("touch last");
    lab.wait_for_log(|line| line.contains(" last: acquired by"));
    let told = lab
        .log()
        .iter()
        .filter(|line| line.contains(" b: refused"))
        .count();
    assert_eq!(told, 1);
}
