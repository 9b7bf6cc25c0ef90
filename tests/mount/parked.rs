//! "Opening a held board for writing": an open that waits until it is decided
//! what the board is.

use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::client::Client;
use crate::lab::{Lab, NOBODY};
use crate::process::{PATIENCE, Running, eventually};
use crate::shown::{free, held_by};
use crate::trial::ROOT;
use crate::waiting::{CLOSE, FLOCK, LOCKF, OFD, SHARE, blocks, inode, line_up, queue};

pub fn tests() -> Vec<Trial> {
    trials![
        one_that_is_closed_is_a_claim_and_refused_at_once("python3");
        a_lock_decides_and_nothing_is_truncated("python3");
        a_try_that_fails_decides_too("python3");
        closing_decides("python3");
        freeing_decides_and_o_creat_takes("python3");
        a_holder_that_dies_decides("python3");
        many_that_wait_are_decided_at_once("python3");
        after_the_open_wait_it_is_a_claim("python3");
        without_open_wait_nothing_waits("python3");
        one_that_does_not_block_does_not_wait("python3", "truncate");
        reading_and_appending_do_not_wait("python3");
        with_strict_locked_boards_are_refused("python3", "flock");
        with_shared_every_open_goes_through("python3", "flock");
        a_signal_ends_it("python3");
        death_ends_it("python3");
        a_holder_that_names_who_waits_lets_it_in("python3");
        a_claim_that_passes_to_its_shell_decides("python3");
        whoever_reads_or_walks_meanwhile_does_not_wait("python3", ROOT);
        shells_contend_cleanly("flock", "dash", "busybox");
        programs_contend_cleanly("python3");
        every_way_of_locking_contends_cleanly("flock");
    ]
}

/// So long that a test fails before.
const PATIENT: &[&str] = &["--open-wait", "600s"];

/// Claims `b` and leaves open what it is.
const CLAIM: &str = "fd = os.open('b', os.O_CREAT|os.O_RDWR); os.write(fd, b'kept') and None";

const OPENS: [&str; 4] = [
    "fd = os.open('b', os.O_WRONLY)",
    "fd = os.open('b', os.O_RDWR|os.O_CREAT)",
    "fd = os.open('b', os.O_WRONLY|os.O_CREAT|os.O_TRUNC)",
    "fd = os.open('b', os.O_RDWR|os.O_TRUNC)",
];

/// A client whose open of `b` waits.
#[track_caller]
fn opener(lab: &Lab, open: &str) -> Client {
    let mut opener = lab.python();
    opener.begin(open);
    blocks(lab, opener.pid());
    opener
}

fn one_that_is_closed_is_a_claim_and_refused_at_once() {
    let lab = Lab::new(PATIENT);
    let (mut holder, mut other) = (lab.python(), lab.python());
    for claim in [
        "touch('b')",
        "opened('b', os.O_CREAT|os.O_RDONLY)",
        "os.mknod('b')",
    ] {
        holder.ok(claim);
        for open in OPENS {
            other.refused(open, "EBUSY");
        }
        held_by(&lab, "b", holder.pid(), claim);
        holder.ok("os.unlink('b')");
    }
    // Another open file of the holder's does not make it undecided.
    holder.ok("touch('b'); fd = os.open('b', os.O_RDWR)");
    other.refused(OPENS[0], "EBUSY");
}

fn a_lock_decides_and_nothing_is_truncated() {
    let lab = Lab::new(PATIENT);
    let locks = [
        FLOCK,
        SHARE,
        LOCKF,
        OFD,
        "fcntl.flock(fd, fcntl.LOCK_EX|fcntl.LOCK_NB)",
        "fcntl.lockf(fd, fcntl.LOCK_EX|fcntl.LOCK_NB, 1)",
    ];
    for (at, lock) in locks.iter().enumerate() {
        let open = OPENS[at % OPENS.len()];
        let mut holder = lab.python();
        holder.ok(CLAIM);
        let number = inode(&lab, "b");
        let mut other = opener(&lab, open);
        // It has no place in a queue.
        assert_eq!(lab.xattr("b", "pid"), Some(holder.pid().to_string()));
        holder.ok(lock);
        other.done(open);
        assert_eq!(other.ok("os.fstat(fd).st_ino"), number.to_string());
        let kept = holder.ok("os.pread(fd, 100, 0).decode()");
        assert_eq!(kept, "kept", "{open}");
        other.refused("os.write(fd, b'x')", "EBUSY");
        other.refused("os.ftruncate(fd, 0)", "EBUSY");
        other.refused("fcntl.flock(fd, fcntl.LOCK_EX|fcntl.LOCK_NB)", "EAGAIN");
        other.begin(FLOCK);
        holder.ok("os.ftruncate(fd, 0)");
        line_up(&lab, "b", &[other.pid()]);
        // It has ended the claim: closing the file frees the board.
        holder.ok(CLOSE);
        other.done(FLOCK);
        held_by(&lab, "b", other.pid(), lock);
        other.ok("os.write(fd, b'mine')");
        other.ok(CLOSE);
        free(&lab, "b", lock);
    }
}

fn a_try_that_fails_decides_too() {
    let lab = Lab::new(PATIENT);
    let mut holder = lab.python();
    holder.ok(CLAIM);
    holder.ok("second = os.open('b', os.O_RDWR); fcntl.flock(second, fcntl.LOCK_EX)");
    // Locked under the claim, through a file that has not claimed it.
    let mut other = opener(&lab, OPENS[1]);
    holder.refused("fcntl.flock(fd, fcntl.LOCK_EX|fcntl.LOCK_NB)", "EAGAIN");
    other.done(OPENS[1]);
    // The lock alone holds it now, and the script may be gone.
    holder.ok("os.close(second)");
    free(&lab, "b", "no claim is left");
    other.ok(FLOCK);
    held_by(&lab, "b", other.pid(), "taken back");
}

fn closing_decides() {
    let lab = Lab::new(PATIENT);
    for open in OPENS {
        let mut holder = lab.python();
        holder.ok(CLAIM);
        // The last close of it, of this process and its children.
        holder.ok("more = os.dup(fd)");
        let mut other = opener(&lab, open);
        holder.ok("os.close(fd)");
        blocks(&lab, other.pid());
        holder.ok("os.close(more)");
        assert_eq!(other.reply().outcome, "EBUSY", "{open}");
        held_by(&lab, "b", holder.pid(), open);
        assert_eq!(holder.ok("read('b')"), "kept", "{open}");
        holder.ok("os.unlink('b')");
    }
}

fn freeing_decides_and_o_creat_takes() {
    let lab = Lab::new(PATIENT);
    for open in OPENS {
        let mut holder = lab.python();
        holder.ok(CLAIM);
        let mut other = opener(&lab, open);
        holder.ok("os.unlink('b')");
        if open.contains("O_CREAT") {
            other.done(open);
            held_by(&lab, "b", other.pid(), open);
            // It is the claiming file of that hold: what it is, is not decided.
            let mut third = opener(&lab, OPENS[0]);
            other.ok(FLOCK);
            third.done(OPENS[0]);
            other.ok(CLOSE);
        } else {
            assert_eq!(other.reply().outcome, "ENOENT", "{open}");
        }
        free(&lab, "b", open);
    }
}

fn a_holder_that_dies_decides() {
    let lab = Lab::new(PATIENT);
    for open in OPENS {
        let mut holder = lab.python();
        holder.ok(CLAIM);
        // Its children may have the file open still: the claim is its own.
        holder.ok("child = subprocess.Popen(['sleep', '1000'], pass_fds=[fd])");
        let mut other = opener(&lab, open);
        holder.kill();
        if open.contains("O_CREAT") {
            other.done(open);
            held_by(&lab, "b", other.pid(), open);
            other.ok("os.unlink('b')");
        } else {
            assert_eq!(other.reply().outcome, "ENOENT", "{open}");
        }
        free(&lab, "b", open);
    }
}

fn many_that_wait_are_decided_at_once() {
    let lab = Lab::new(PATIENT);
    // Locked: all have it open. Closed: all are refused.
    for (decision, outcome) in [(FLOCK, "ok"), (CLOSE, "EBUSY")] {
        let mut holder = lab.python();
        holder.ok(CLAIM);
        let mut others: Vec<Client> = (0..5).map(|_| opener(&lab, OPENS[1])).collect();
        holder.ok(decision);
        for other in &mut others {
            assert_eq!(other.reply().outcome, outcome);
        }
    }
    // Freed: one takes it. The others wait for what that one does, or are told
    // that it is held.
    let mut holder = lab.python();
    holder.ok(CLAIM);
    let mut others: Vec<Client> = (0..5).map(|_| opener(&lab, OPENS[1])).collect();
    holder.ok("os.unlink('b')");
    let mut winner = None;
    eventually("one takes it", PATIENCE, || {
        let shown = lab.holder("b");
        winner = others.iter().position(|other| Some(other.pid()) == shown);
        winner.is_some()
    });
    let mut winner = others.remove(winner.unwrap());
    winner.done(OPENS[1]);
    winner.ok(FLOCK);
    for other in &mut others {
        let outcome = other.reply().outcome;
        assert!(["ok", "EBUSY"].contains(&outcome.as_str()), "{outcome}");
    }
    held_by(&lab, "b", winner.pid(), "the one that took it");
    winner.ok(CLOSE);
    free(&lab, "b", "it is closed");
}

fn after_the_open_wait_it_is_a_claim() {
    for (args, least) in [(&[][..], 2.0), (&["-o", "open_wait=1s"], 1.0)] {
        let lab = Lab::new(args);
        let mut holder = lab.python();
        holder.ok(CLAIM);
        for open in &OPENS[..2] {
            let mut other = lab.python();
            let begin = Instant::now();
            other.refused(open, "EBUSY");
            assert!(begin.elapsed() >= Duration::from_secs_f64(least), "{open}");
            let refused = format!("pid {} ", other.pid());
            lab.wait_for_log(|line| line.contains("b: refused to ") && line.contains(&refused));
            held_by(&lab, "b", holder.pid(), open);
        }
        // It is no less undecided for that.
        let mut other = opener(&lab, OPENS[0]);
        holder.ok(FLOCK);
        other.done(OPENS[0]);
    }
}

fn without_open_wait_nothing_waits() {
    let lab = Lab::new(&["--open-wait", "0"]);
    let (mut holder, mut other) = (lab.python(), lab.python());
    holder.ok(CLAIM);
    for open in OPENS {
        let begin = Instant::now();
        other.refused(open, "EBUSY");
        assert!(begin.elapsed() < Duration::from_secs(2), "{open}");
    }
    holder.ok(FLOCK);
    for open in OPENS {
        other.ok(open);
        other.ok(CLOSE);
    }
}

fn one_that_does_not_block_does_not_wait() {
    let lab = Lab::new(PATIENT);
    let (mut holder, mut other) = (lab.python(), lab.python());
    holder.ok(CLAIM);
    for open in OPENS {
        other.refused(&open.replace(')', "|os.O_NONBLOCK)"), "EAGAIN");
    }
    // Tools that open so.
    let mut shell = lab.shell();
    shell.refused("touch b", "EAGAIN");
    shell.refused("truncate -s 0 b", "EAGAIN");
    assert_eq!(holder.ok("read('b')"), "kept");
    holder.ok(FLOCK);
    for open in OPENS {
        other.ok(&open.replace(')', "|os.O_NONBLOCK)"));
        other.ok(CLOSE);
    }
    shell.refused("touch b", "EBUSY");
}

fn reading_and_appending_do_not_wait() {
    let lab = Lab::new(PATIENT);
    let (mut holder, mut other) = (lab.python(), lab.python());
    holder.ok(CLAIM);
    for flags in [
        "os.O_RDONLY",
        "os.O_RDONLY|os.O_CREAT",
        "os.O_WRONLY|os.O_APPEND",
        "os.O_RDWR|os.O_CREAT|os.O_APPEND|os.O_TRUNC",
    ] {
        other.ok(&format!("opened('b', {flags})"));
    }
    // The holder itself does not wait for itself, nor do its subshells.
    holder.ok("opened('b', os.O_WRONLY)");
    let mut shell = lab.shell();
    shell.ok("exec 9>c; (exec 8>c); : >c; echo x >c; exec 9>&-");
    assert_eq!(holder.ok("read('b')"), "kept");
}

fn with_strict_locked_boards_are_refused() {
    let lab = Lab::new(&["-o", "open=strict", "--open-wait", "600s"]);
    let mut holder = lab.python();
    let mut other = lab.python();
    holder.ok(CLAIM);
    let mut waits = opener(&lab, OPENS[2]);
    holder.ok(FLOCK);
    assert_eq!(waits.reply().outcome, "EBUSY");
    for open in OPENS {
        other.refused(open, "EBUSY");
        other.refused(&open.replace(')', "|os.O_NONBLOCK)"), "EAGAIN");
    }
    assert_eq!(holder.ok("read('b')"), "kept");
    let mut shell = lab.shell();
    shell.refused(": >b", "EBUSY");
    shell.ok("cat b && : >>b");
    shell.ok("! flock -n b true");
    holder.ok(CLOSE);
    shell.ok("flock -n b true && : >b && rm b");
    // Who is shown opens it all the same.
    shell.ok("exec 9>b; flock 9; : >b; exec 9>&-");
    free(&lab, "b", "closed");
}

fn with_shared_every_open_goes_through() {
    let lab = Lab::new(&["-o", "open=shared", "--open-wait", "600s"]);
    let mut holder = lab.python();
    let mut other = lab.python();
    for claim in [
        "fd = -1; open('b', 'w').write('kept')",
        CLAIM,
        &format!("{CLAIM}; {FLOCK}"),
    ] {
        holder.ok(claim);
        for open in OPENS {
            for open in [open.to_owned(), open.replace(')', "|os.O_NONBLOCK)")] {
                other.ok(&open);
                other.refused("os.write(fd, b'x')", "EBUSY");
                other.refused("fcntl.flock(fd, fcntl.LOCK_EX|fcntl.LOCK_NB)", "EAGAIN");
                other.ok(CLOSE);
            }
        }
        let mut shell = lab.shell();
        shell.refused("touch b", "EBUSY");
        shell.ok(": >b; ! (flock -n 9) 9>b");
        assert_eq!(holder.ok("read('b')"), "kept", "{claim}");
        held_by(&lab, "b", holder.pid(), claim);
        let mut waits = lab.python();
        waits.ok(OPENS[2]);
        waits.begin(FLOCK);
        blocks(&lab, waits.pid());
        holder.ok("os.unlink('b'); fd < 0 or os.close(fd)");
        waits.done(FLOCK);
        waits.ok(CLOSE);
        free(&lab, "b", claim);
    }
}

/// open(2) as it is: python begins anew after a signal.
const RAW: &str = "libc.open(b'b', os.O_RDWR|os.O_CREAT) >= 0 or ctypes.get_errno()";

fn a_signal_ends_it() {
    let lab = Lab::new(PATIENT);
    let mut holder = lab.python();
    holder.ok("fd = os.open('b', os.O_CREAT|os.O_RDWR)");
    // A handler, also one that asks for system calls to go on.
    for goes_on in ["True", "False"] {
        let mut other = lab.python();
        other.ok("signal.signal(signal.SIGUSR1, lambda number, frame: None) and None");
        other.ok(&format!("signal.siginterrupt(signal.SIGUSR1, {goes_on})"));
        other.begin(RAW);
        blocks(&lab, other.pid());
        other.signal(Signal::USR1);
        assert_eq!(other.done(RAW), libc::EINTR.to_string());
        // As if it had never come.
        other.begin(RAW);
        blocks(&lab, other.pid());
        other.signal(Signal::USR1);
        assert_eq!(other.done(RAW), libc::EINTR.to_string());
        // python opens again, and waits again.
        other.begin(OPENS[1]);
        blocks(&lab, other.pid());
        other.signal(Signal::USR1);
        blocks(&lab, other.pid());
        other.kill();
    }
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut other = lab.spawn("dash", "exec 9>b; echo has it");
        blocks(&lab, other.pid());
        other.signal(signal);
        assert!(other.ended(PATIENCE).is_some(), "{signal:?}");
        assert_eq!(other.said(), 0, "{signal:?}");
    }
    held_by(&lab, "b", holder.pid(), "others were interrupted");
    holder.ok(FLOCK);
    line_up(&lab, "b", &[]);
}

fn death_ends_it() {
    let lab = Lab::new(PATIENT);
    let mut holder = lab.python();
    holder.ok(CLAIM);
    let mut others: Vec<Client> = (0..4).map(|_| opener(&lab, OPENS[1])).collect();
    for other in &mut others[..2] {
        other.kill();
    }
    blocks(&lab, others[2].pid());
    // At the moment at which it is decided.
    others[2].signal(Signal::KILL);
    holder.ok("os.unlink('b')");
    others[3].done(OPENS[1]);
    held_by(&lab, "b", others[3].pid(), "the one that lives");
    others[2].ended().expect("it is killed and does not die");
    others[3].ok(FLOCK);
    others[3].ok(CLOSE);
    free(&lab, "b", "nobody is left");
    assert_eq!(lab.boards(), [""; 0]);
}

fn a_holder_that_names_who_waits_lets_it_in() {
    let lab = Lab::new(PATIENT);
    let mut holder = lab.python();
    holder.ok("fd = os.open('b', os.O_CREAT|os.O_RDWR)");
    let child =
        "import os; fd = os.open(\"b\", os.O_WRONLY); print(\"has it\", flush=True); input()";
    holder.ok(&format!(
        "child = subprocess.Popen([sys.executable, '-c', '{child}'], \
         stdin=subprocess.PIPE, stdout=subprocess.PIPE)"
    ));
    let pid: u32 = holder.ok("child.pid").parse().unwrap();
    blocks(&lab, pid);
    holder.ok("os.write(fd, b'%d' % child.pid) and None");
    held_by(&lab, "b", pid, "named");
    assert_eq!(holder.ok("child.stdout.readline()"), "b'has it\\n'");
    holder.ok("child.kill(); child.wait() and None");
    free(&lab, "b", "who was named has ended");
}

fn a_claim_that_passes_to_its_shell_decides() {
    let lab = Lab::new(PATIENT);
    let mut holder = lab.spawn("bash", "(exec 9>b; echo in; read x); echo out; read x");
    holder.expect("in");
    let mut other = opener(&lab, OPENS[1]);
    holder.say("on");
    holder.expect("out");
    assert_eq!(other.reply().outcome, "EBUSY");
    held_by(&lab, "b", holder.pid(), "passed on");
}

fn whoever_reads_or_walks_meanwhile_does_not_wait() {
    let lab = Lab::new(PATIENT);
    let mut holder = lab.python();
    holder.ok("fd = os.open('b', os.O_CREAT|os.O_RDWR)");
    let mut others: Vec<Client> = (0..20).map(|_| opener(&lab, OPENS[1])).collect();
    let mut user = lab.shell_as(NOBODY);
    user.ok("cat b >&2; ls -la >&2; find . >&2; grep -r pid . >&2; stat b >&2; df . >&2");
    user.ok("touch c; mkdir d; touch d/e; ln -s x l; rm -r c d l");
    assert_eq!(queue(&lab, "b"), []);
    holder.ok(FLOCK);
    for other in &mut others {
        other.done(OPENS[1]);
    }
}

/// Shells that take `b` so often, each in its way. Nobody else is to be in it
/// meanwhile: a directory made elsewhere tells.
#[track_caller]
fn contend(lab: &Lab, shell: &str, ways: &[&str], rounds: u32) {
    let witness = tempfile::tempdir().unwrap();
    let inside = witness.path().join("inside");
    let inside = inside.display();
    let alone = format!("{{ mkdir {inside} || echo not alone; rmdir {inside}; }}");
    let shells: Vec<(&str, Running)> = ways
        .iter()
        .map(|way| {
            let body = way.replace("ALONE", &alone);
            let script = format!(
                "i=0; while [ $i -lt {rounds} ]; do i=$((i+1)); {body}\ndone; echo done $i"
            );
            (*way, lab.spawn(shell, &script))
        })
        .collect();
    for (way, running) in shells {
        let output = running.wait(PATIENCE * 4).ok();
        let what = format!("{shell}: {way}: {output}");
        assert_eq!(output.stdout, format!("done {rounds}\n"), "{what}");
        assert_eq!(output.stderr, "", "{what}");
    }
    free(lab, "b", shell);
    assert_eq!(lab.boards(), [""; 0]);
}

fn shells_contend_cleanly() {
    // That nobody is so slow between opening and locking that the others give
    // up is for the machine to say.
    let lab = Lab::new(PATIENT);
    let way = "exec 9>b || echo not opened; flock 9 || echo not locked; ALONE; exec 9>&-";
    for (shell, count) in [
        ("bash", 2),
        ("bash", 8),
        ("dash", 2),
        ("dash", 8),
        ("busybox sh", 4),
    ] {
        contend(&lab, shell, &vec![way; count], 50);
    }
}

fn every_way_of_locking_contends_cleanly() {
    let lab = Lab::new(PATIENT);
    let ways = [
        "exec 9>b || echo not opened; flock 9 || echo not locked; ALONE; exec 9>&-",
        "exec 9<>b || echo not opened; flock -w 100 9 || echo not locked; ALONE; exec 9>&-",
        "exec 9>>b || echo not opened; flock 9 || echo not locked; ALONE; flock -u 9; exec 9>&-",
        "(flock 9 || echo not locked; ALONE) 9>b",
        "(flock -s 9 && flock -x 9 || echo not locked; ALONE) 9>b",
        "(until flock -n 9; do sleep 0.01; done; ALONE) 9>b",
        "flock b -c '{ ALONE; }'",
        "flock -o b sh -c '{ ALONE; }'",
    ];
    contend(&lab, "bash", &ways, 30);
    contend(&lab, "dash", &ways, 30);
}

/// The same without the time that starting flock(1) takes, through all calls.
const CONTENDER: &str = "
import fcntl, os, random, struct, sys
witness, seed = sys.argv[1:]
chosen = random.Random(int(seed))
MODES = [os.O_WRONLY, os.O_RDWR, os.O_WRONLY|os.O_TRUNC, os.O_RDWR|os.O_APPEND]
ALL = struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, 0, 0, 0)
LOCKS = [
    lambda fd: fcntl.flock(fd, fcntl.LOCK_EX),
    lambda fd: fcntl.lockf(fd, fcntl.LOCK_EX),
    lambda fd: fcntl.fcntl(fd, fcntl.F_OFD_SETLKW, ALL),
]
for round in range(400):
    fd = os.open('b', os.O_CREAT|chosen.choice(MODES), 0o666)
    chosen.choice(LOCKS)(fd)
    os.mkdir(witness)
    os.rmdir(witness)
    if chosen.random() < 0.1:
        os.unlink('b')
    os.close(fd)
print('done', flush=True)
";

fn programs_contend_cleanly() {
    let lab = Lab::new(PATIENT);
    let witness = tempfile::tempdir().unwrap();
    let inside = witness.path().join("inside");
    let contenders: Vec<Running> = (0..6)
        .map(|seed: u32| {
            let args = ["-c", CONTENDER, inside.to_str().unwrap(), &seed.to_string()];
            lab.program(crate::client::python(), &args)
        })
        .collect();
    for contender in contenders {
        let output = contender.wait(PATIENCE * 4).ok();
        assert_eq!(output.stdout, "done\n", "{output}");
    }
    free(&lab, "b", "all are done");
    assert_eq!(lab.boards(), [""; 0]);
}
