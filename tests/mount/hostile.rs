//! Users who mean harm: what one of them does to another's boards comes to
//! nothing. Two real users; `floods` has what they do by numbers.

mod floods;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::client::Client;
use crate::lab::{Lab, copy_program};
use crate::process::{PATIENCE, eventually};
use crate::shown::held_by;
use crate::trial::{ROOT, which};
use crate::waiting::{FLOCK, inode, line_up};

pub fn tests() -> Vec<Trial> {
    let mut tests = trials![
        another_users_board_stays_as_it_is(ROOT, "python3");
        another_users_locked_board_stays_as_it_is(ROOT, "python3");
        another_users_detached_board_stays_as_it_is(ROOT, "python3");
        what_a_program_is_called_gets_it_nothing_of_others(ROOT, "perl");
        a_copy_of_anothers_command_line_gets_nothing(ROOT, "perl", "bash");
        a_number_of_another_namespace_is_no_process_of_ours(ROOT, "unshare", "python3");
        root_of_a_user_namespace_is_not_root(ROOT, "unshare", "bash");
        an_open_file_that_is_passed_on_is_still_his_who_opened_it(ROOT, "python3");
        an_orphan_takes_and_frees_nothing(ROOT, "python3");
        what_is_written_forges_nothing_but_itself(ROOT, "python3");
        no_name_passes_for_a_chain_in_log_and_status(ROOT, "perl");
        who_is_stopped_holds_up_nobody(ROOT, "python3");
        a_loser_is_remembered_whoever_else_loses(ROOT, "python3");
    ];
    tests.extend(floods::tests());
    tests
}

/// The one who has something.
const ALICE: u32 = 4001;
/// The one who means harm.
const BOB: u32 = 4002;

/// Everything that takes, frees, hides or changes a board, as system calls, each
/// of which must fail.
const ATTACKS: [(&str, &str); 30] = [
    ("unlink", "os.unlink('b')"),
    ("rmdir", "os.rmdir('b')"),
    ("rename it away", "os.rename('b', 'c')"),
    ("rename over it", "os.rename('mine', 'b')"),
    ("exchange", "renameat2('mine', 'b', EXCHANGE)"),
    ("whiteout", "renameat2('b', 'c', WHITEOUT)"),
    ("rename it, noreplace", "renameat2('b', 'c', NOREPLACE)"),
    ("link it", "os.link('b', 'c')"),
    ("link over it", "os.link('mine', 'b')"),
    ("symlink over it", "os.symlink('mine', 'b')"),
    ("symlink to it", "os.symlink('b', 'c')"),
    ("mkdir", "os.mkdir('b')"),
    ("mknod", "os.mknod('b')"),
    ("create", "touch('b')"),
    ("times", "os.utime('b')"),
    ("old times", "os.utime('b', (0, 0))"),
    ("late times", "os.utime('b', (4e9, 4e9))"),
    ("truncate", "os.truncate('b', 0)"),
    ("chmod", "os.chmod('b', 0)"),
    ("chown", "os.chown('b', os.getuid(), os.getgid())"),
    ("expiry", "os.setxattr('b', 'user.boardlock.expires', b'1')"),
    ("no expiry", "os.removexattr('b', 'user.boardlock.expires')"),
    ("note", "os.setxattr('b', 'user.boardlock.note', b'x')"),
    ("no note", "os.removexattr('b', 'user.boardlock.note')"),
    (
        "holder",
        "os.setxattr('b', 'user.boardlock.holder', b'bob')",
    ),
    ("pid", "os.setxattr('b', 'user.boardlock.pid', b'1')"),
    ("append", "os.write(fd, b'%d' % os.getpid())"),
    ("truncate what is open", "os.ftruncate(fd, 0)"),
    ("times of what is open", "os.utime(fd, (0, 0))"),
    ("lock", "fcntl.flock(fd, fcntl.LOCK_EX|fcntl.LOCK_NB)"),
];

/// Has bob try it all on alice's board `b`, whose file he has open as whoever
/// may, for appending; afterwards it is what it was.
#[track_caller]
fn attack(lab: &Lab, what: &str) {
    let seen = |lab: &Lab| {
        let about = std::fs::symlink_metadata(lab.path("b")).unwrap();
        let xattrs = ["holder", "pid", "since", "expires", "token", "note"];
        (
            inode(lab, "b"),
            std::os::unix::fs::MetadataExt::uid(&about),
            about.file_type(),
            xattrs.map(|key| lab.xattr("b", key)),
        )
    };
    let before = seen(lab);
    let mut bob = lab.python_as(BOB);
    bob.ok("touch('mine'); fd = os.open('b', os.O_RDWR|os.O_APPEND)");
    for (name, call) in ATTACKS {
        let reply = bob.run(call);
        let refused = reply.outcome.starts_with('E');
        assert!(refused, "{what}: {name}: {reply:?}");
        assert_eq!(seen(lab), before, "{what}: {name}");
    }
    assert_eq!(lab.boards(), ["b", "mine"], "{what}");
    let mut shell = lab.shell_as(BOB);
    for tool in [
        "rm -rf b",
        "mv -f mine b",
        "cp -f /etc/passwd b",
        "ln -f mine b",
        "ln -sf mine b",
        "touch b",
        "busybox touch b",
        "set -C; : >b",
        "flock -n b true",
        "flock -w 0.01 b true",
    ] {
        assert_ne!(shell.run(tool).outcome, "0", "{what}: {tool}");
        assert_eq!(seen(lab), before, "{what}: {tool}");
    }
    bob.ok("os.close(fd); os.unlink('mine')");
}

fn another_users_board_stays_as_it_is() {
    let lab = Lab::new(&[]);
    let mut alice = lab.python_as(ALICE);
    alice.ok("touch('b')");
    attack(&lab, "a claim");
    alice.ok("os.setxattr('b', 'user.boardlock.expires', b'+2h')");
    alice.ok("os.setxattr('b', 'user.boardlock.note', b'mine')");
    attack(&lab, "one with an expiry and a note");
    assert_eq!(lab.holder("b"), Some(alice.pid()));
}

fn another_users_locked_board_stays_as_it_is() {
    let lab = Lab::new(&[]);
    let mut alice = lab.python_as(ALICE);
    alice.ok("fd = os.open('b', os.O_RDWR|os.O_CREAT)");
    alice.ok(FLOCK);
    attack(&lab, "a locked one");
    assert_eq!(lab.status("b")["lock"], "exclusive");
}

fn another_users_detached_board_stays_as_it_is() {
    let lab = Lab::new(&[]);
    let mut alice = lab.shell_as(ALICE);
    alice.ok("echo '0 0' >b");
    assert_eq!(lab.holder("b"), Some(0));
    attack(&lab, "a detached one");
}

/// A program under another name, for everybody to run.
fn called(lab: &Lab, program: &str, name: &str) -> PathBuf {
    let bin = lab.dir().parent().unwrap().join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::set_permissions(&bin, PermissionsExt::from_mode(0o755)).unwrap();
    let copy = bin.join(name);
    if !copy.exists() {
        copy_program(&which(program).unwrap(), &copy);
    }
    copy
}

/// What bob's programs do below, in perl: take what they can, free what they can.
const GREED: &str = r#"
    my @got;
    push @got, "rm" if unlink "b";
    push @got, "mv" if rename "b", "c";
    push @got, "times" if utime 1, 1, "b";
    push @got, "open" if sysopen my $one, "b", O_WRONLY;
    push @got, "append" if sysopen(my $two, "b", O_WRONLY|O_APPEND) && syswrite $two, "$$";
    push @got, "nothing" unless @got;
    push @got, "own" if sysopen my $own, "own", O_CREAT|O_EXCL|O_WRONLY;
    print "@got", chr 10;"#;

fn what_a_program_is_called_gets_it_nothing_of_others() {
    let lab = Lab::new(&[]);
    let mut alice = lab.shell_as(ALICE);
    alice.ok("touch b");
    let mut bob = lab.shell_as(BOB);
    bob.ok(&format!("greed='{}'", GREED.replace('\n', " ")));
    // Tools, wrappers, session managers, shells, and alice's own shell.
    for name in [
        "touch", "rm", "mv", "sudo", "env", "sshd", "systemd", "init", "bash", "sh", "flock",
    ] {
        let program = called(&lab, "perl", name);
        let got = bob.ok(&format!("{} -MFcntl -e \"$greed\"; :", program.display()));
        assert_eq!(got, "nothing own", "{name}");
        held_by(&lab, "b", alice.pid(), name);
        // What it takes is bob's: the program's, which has ended, or his shell's, or
        // nobody's.
        if let Some(holder) = lab.holder("own") {
            assert!([0, bob.pid()].contains(&holder), "{name}: {holder}");
            assert_eq!(alice.ok("stat -c %u own"), BOB.to_string());
            bob.ok("rm own");
        }
    }
}

fn a_copy_of_anothers_command_line_gets_nothing() {
    // Forked subshells are known by their shell's command line.
    let lab = Lab::new(&[]);
    let mut alice = lab.shell_as(ALICE);
    alice.ok("touch b");
    let words = std::fs::read(format!("/proc/{}/cmdline", alice.pid())).unwrap();
    let words: Vec<&str> = words[..words.len() - 1]
        .split(|byte| *byte == 0)
        .map(|word| std::str::from_utf8(word).unwrap())
        .collect();
    // A bash, the same script, the same words.
    let mut bob = lab.shell_as(BOB);
    let copy = words.join("' '");
    let command = "rm -f b || echo no; : >b || echo no; touch b || echo no; exit";
    let said = bob.ok(&format!(
        "echo '{command}' | (exec -a '{}' '{copy}') 2>/dev/null; :",
        words[0]
    ));
    assert_eq!(said.lines().filter(|line| *line == "no").count(), 3);
    held_by(&lab, "b", alice.pid(), "bob has her command line");
}

fn a_number_of_another_namespace_is_no_process_of_ours() {
    let lab = Lab::new(&[]);
    let mut alice = lab.python_as(ALICE);
    alice.ok("touch('b')");
    let number = alice.pid();
    // Bob's process has her number in a pid namespace of his own.
    let code = format!(
        "import os, subprocess, sys
with open('/proc/sys/kernel/ns_last_pid', 'w') as file:
    file.write('{}')
pid = os.fork()
if pid == 0:
    def tried(call):
        try:
            call()
            return 'done'
        except OSError:
            return 'refused'
    print(os.getpid(), flush=True)
    fd = os.open('own', os.O_CREAT|os.O_EXCL|os.O_WRONLY)
    os.write(fd, b'%d' % os.getpid())
    print(tried(lambda: os.unlink('b')), tried(lambda: os.utime('b')),
          tried(lambda: os.open('b', os.O_WRONLY|os.O_NONBLOCK)), flush=True)
    sys.stdin.readline()
else:
    os.wait()
",
        number - 1
    );
    let mut bob = lab.spawn_as(BOB, "unshare -Urpf --mount-proc python3", &code);
    bob.expect(&number.to_string());
    bob.expect("refused refused refused");
    held_by(&lab, "b", number, "hers");
    let own = lab.holder("own").unwrap();
    assert_ne!(own, number, "what bob has is not alice's");
    let uid = std::os::unix::fs::MetadataExt::uid(&lab.path("own").metadata().unwrap());
    assert_eq!(uid, BOB);
    alice.kill();
    assert_eq!(lab.holder("b"), None);
    assert_eq!(lab.holder("own"), Some(own));
    bob.say("go");
}

fn root_of_a_user_namespace_is_not_root() {
    let lab = Lab::new(&[]);
    let mut alice = lab.shell_as(ALICE);
    alice.ok("touch b; mkdir d");
    let script = "id -u; rm -f b && echo gone; rmdir d && echo gone; chown 0 b && echo own
        mount -t tmpfs none . && cd . && touch b && echo mine
        touch $LOCKS/own; stat -c %u $LOCKS/own; read line";
    let mut bob = lab.spawn_as(BOB, "unshare -Urm bash", script);
    bob.expect("0");
    // What he mounts, he alone sees.
    let mut line = bob.line();
    if line == "mine" {
        line = bob.line();
    }
    assert_ne!(line, "gone");
    held_by(&lab, "b", alice.pid(), "a root that is none");
    held_by(&lab, "d", alice.pid(), "a root that is none");
    lab.sh_as(ALICE, "sh", "ls b d").ok();
    bob.say("go");
}

fn an_open_file_that_is_passed_on_is_still_his_who_opened_it() {
    let lab = Lab::new(&[]);
    let mut alice = lab.python_as(ALICE);
    alice.ok("touch('b'); place = '\\0boardlock-hostile-%d' % os.getpid()");
    alice.ok("door = socket.socket(socket.AF_UNIX); door.bind(place); door.listen()");
    let mut bob = lab.python_as(BOB);
    bob.ok("fd = os.open('b', os.O_RDWR|os.O_APPEND)");
    bob.ok(&format!(
        "door = socket.socket(socket.AF_UNIX); door.connect('\\0boardlock-hostile-{}')",
        alice.pid()
    ));
    // From bob to alice, whose process is the holder: she is no tool of his.
    bob.ok("socket.send_fds(door, [b'x'], [fd]); None");
    alice.ok("visit, _ = door.accept(); _, fds, _, _ = socket.recv_fds(visit, 1, 1)");
    alice.refused("os.write(fds[0], b'0 0')", "EBUSY");
    alice.refused("os.ftruncate(fds[0], 0)", "EBUSY");
    held_by(&lab, "b", alice.pid(), "by bob's file");
    // From alice to bob: one that she reads through gives him nothing.
    alice.ok("fd = os.open('b', os.O_RDONLY); socket.send_fds(visit, [b'x'], [fd]); None");
    bob.ok("_, fds, _, _ = socket.recv_fds(door, 1, 1)");
    bob.refused("fcntl.flock(fds[0], fcntl.LOCK_EX|fcntl.LOCK_NB)", "EAGAIN");
    bob.refused("os.unlink('b')", "EPERM");
    // Nor does what he keeps of her file keep the board, or anything of its next
    // holder's.
    alice.kill();
    assert_eq!(lab.holder("b"), None);
    let mut next = lab.python_as(ALICE);
    next.ok("touch('b')");
    bob.refused("fcntl.flock(fds[0], fcntl.LOCK_EX|fcntl.LOCK_NB)", "EAGAIN");
    bob.refused("os.write(fd, b'0 0')", "EBUSY");
    held_by(&lab, "b", next.pid(), "the next holder");
}

fn an_orphan_takes_and_frees_nothing() {
    // A process that has got rid of its parents is not taken for theirs, nor is
    // what adopts it, and a tool of nobody's takes nothing.
    let lab = Lab::new(&[]);
    let mut alice = lab.shell_as(ALICE);
    alice.ok("touch b");
    let touch = which("touch").unwrap();
    let code = format!(
        "import os
if os.fork() == 0:
    middle = os.getpid()
    if os.fork() == 0:
        while os.getppid() == middle: pass
        os.execv('{}', ['touch', 'own', 'b'])
    os._exit(0)
os.wait()
",
        touch.display()
    );
    let bob = lab.spawn_as(BOB, crate::client::python(), &code);
    bob.wait(PATIENCE).ok();
    lab.wait_for_log(|line| line.contains(" b: refused to 4002"));
    held_by(&lab, "b", alice.pid(), "an orphan");
    assert_ne!(lab.holder("own"), Some(alice.pid()));
}

fn what_is_written_forges_nothing_but_itself() {
    let lab = Lab::new(&[]);
    let mut alice = lab.python_as(ALICE);
    alice.ok("touch('hers')");
    let mut bob = lab.python_as(BOB);
    bob.ok("fd = os.open('b', os.O_CREAT|os.O_RDWR)");
    // A status in which she has it; her pid; a number that is nobody's.
    for text in [
        format!(
            "0 {0}\\nboard b\\nstate held\\nholder alice\\nuid {ALICE}\\npid {0}\\n",
            alice.pid()
        ),
        format!("{}\\n", alice.pid()),
        format!("0 {}\\n", alice.pid()),
        "9".repeat(400),
        "\\x1b]0;owned\\x07\\x1b[2J\\n2026-01-01T00:00:00Z info  hers: released".to_owned(),
    ] {
        bob.ok(&format!(
            "os.ftruncate(fd, 0); os.pwrite(fd, b'{text}', 0); None"
        ));
        assert_eq!(lab.holder("b"), Some(bob.pid()), "{text}");
        assert_eq!(lab.xattr("b", "holder").as_deref(), Some("4002"));
        let uid = std::os::unix::fs::MetadataExt::uid(&lab.path("b").metadata().unwrap());
        assert_eq!(uid, BOB);
    }
    // As the note of a board that he has locked it is escaped in the status.
    bob.ok("os.ftruncate(fd, 0); None");
    bob.ok(
        "os.setxattr('b', 'user.boardlock.note', b'x\\nholder alice\\n\\x1b[2J\\xe2\\x80\\xae')",
    );
    let status = std::fs::read_to_string(lab.path("b")).unwrap();
    assert_eq!(status.matches("\nholder ").count(), 1, "{status}");
    assert!(status.contains("\nholder 4002\n"), "{status}");
    assert!(!status.contains(['\u{1b}', '\u{202e}']), "{status}");
    for line in lab.log() {
        assert!(!line.contains(['\u{1b}', '\u{7}']), "{line:?}");
        assert!(!line.starts_with("2026-01-01T00:00:00Z"), "{line:?}");
    }
    held_by(&lab, "hers", alice.pid(), "hers");
}

fn no_name_passes_for_a_chain_in_log_and_status() {
    let lab = Lab::new(&[]);
    let mut bob = lab.shell_as(BOB);
    for name in ["touch < sshd", "sh, token 99"] {
        let program = called(&lab, "perl", name);
        bob.ok(&format!("program='{}'", program.display()));
        bob.ok("make='sysopen my $made, \"b\", O_CREAT|O_EXCL|O_WRONLY; <STDIN>'");
        bob.ok("exec 8> >(exec \"$program\" -MFcntl -e \"$make\")");
        let told = format!("via \"{name}\", token ");
        lab.wait_for_log(|line| line.contains(" b: acquired by 4002") && line.contains(&told));
        assert_eq!(lab.status("b")["via"], format!("\"{name}\""));
        bob.ok("exec 8>&-; rm b 2>/dev/null; :");
        eventually("it is free", PATIENCE, || lab.holder("b").is_none());
    }
}

fn who_is_stopped_holds_up_nobody() {
    let lab = Lab::new(&["-o", "open_wait=1s"]);
    let python = |uid| -> Client { lab.python_as(uid) };
    // Stopped with the file open by which it has claimed a board: others learn
    // that it is held.
    let (mut alice, mut bob) = (python(ALICE), python(BOB));
    bob.ok("fd = os.open('b', os.O_CREAT|os.O_RDWR)");
    bob.signal(Signal::STOP);
    alice.refused("os.open('b', os.O_WRONLY)", "EBUSY");
    alice.refused("os.open('b', os.O_WRONLY|os.O_NONBLOCK)", "EAGAIN");
    alice.ok("touch('other'); os.unlink('other')");
    bob.signal(Signal::CONT);
    bob.ok("os.close(fd); os.unlink('b')");
    // Stopped in the middle of waiting: who comes after it goes on.
    let mut holder = python(ALICE);
    holder.ok("touch('b')");
    bob.ok("fd = os.open('b', os.O_RDONLY)");
    bob.begin(FLOCK);
    line_up(&lab, "b", &[bob.pid()]);
    alice.ok("fd = os.open('b', os.O_RDONLY)");
    alice.begin(FLOCK);
    line_up(&lab, "b", &[bob.pid(), alice.pid()]);
    bob.signal(Signal::STOP);
    line_up(&lab, "b", &[alice.pid()]);
    holder.ok("os.unlink('b')");
    alice.done("lock");
    assert_eq!(lab.status("b")["uid"], ALICE.to_string());
    bob.kill();
}

fn a_loser_is_remembered_whoever_else_loses() {
    // Alice's second job lost, and its trap removes what it did not get. Bob makes
    // the daemon remember as many losers as he can.
    let lab = Lab::new(&[]);
    let mut alice = lab.shell_as(ALICE);
    alice.ok("touch b");
    let mut loser = lab.shell_as(ALICE);
    loser.refused("touch b", "EAGAIN");
    let mut bob = lab.python_as(BOB);
    bob.ok("one = lambda: os.open('b', os.O_WRONLY|os.O_NONBLOCK)");
    bob.ok("exec('def tried():\\n try: one()\\n except OSError: return 0\\n return 1')");
    bob.ok("lose = lambda: os.waitpid(os.fork() or os._exit(tried()), 0)[1]");
    assert_eq!(bob.ok("sum(lose() for _ in range(1200))"), "0");
    loser.refused("rm -f b", "EPERM");
    held_by(&lab, "b", alice.pid(), "after 1200 losers");
}
