//! The end of a holder, by any means, frees what it held; nothing else does.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};

use crate::lab::Lab;
use crate::process::{PATIENCE, Running, eventually};
use crate::shown::{becomes_free, children, free, held_by, holder, stat};
use crate::trial::ROOT;

pub fn tests() -> Vec<Trial> {
    trials![
        whatever_ends_the_holder_frees_its_boards("bash");
        a_crash_frees("python3");
        an_exec_keeps("bash");
        a_zombie_is_dead("python3");
        children_of_a_dead_holder_keep_nothing("bash");
        a_stopped_holder_keeps("bash");
        a_stopped_daemon_loses_no_death("bash");
        a_board_is_free_to_take_once_its_holder_is_reaped("bash", "python3");
        all_boards_of_a_holder_are_freed("python3");
        a_subshell_that_is_killed_passes_to_its_script("bash");
        a_pid_used_again_is_another_process(ROOT, "python3", "unshare");
        a_written_pid_used_again_is_another_process(ROOT, "python3", "unshare");
        a_pid_in_an_old_lock_file_used_again_is_another_process(ROOT, "python3", "unshare");
        the_log_warns_of_a_holder_that_ends_at_once("bash");
        an_idle_daemon_does_not_wake_up("bash");
    ]
}

/// A script that holds `b` and waits.
#[track_caller]
fn script(lab: &Lab, take: &str) -> Running {
    let mut script = lab.spawn("bash", &format!("{take}\necho have\nread line\n"));
    script.expect("have");
    script
}

fn whatever_ends_the_holder_frees_its_boards() {
    let lab = Lab::new(&[]);
    for take in [
        "touch b",
        ": >b",
        "exec 9>b",
        "mkdir b",
        "touch t; ln t b",
        "ln -s x b",
    ] {
        for signal in [
            Signal::KILL,
            Signal::TERM,
            Signal::HUP,
            Signal::USR1,
            Signal::SEGV,
        ] {
            let mut script = script(&lab, take);
            script.signal(signal);
            script.ended(PATIENCE).unwrap();
            let what = format!("{take}, {signal:?}");
            let left = fs::read_dir(lab.dir()).unwrap().count();
            assert_eq!(left, 0, "{what}\n{}", lab.log().join("\n"));
        }
        let mut script = script(&lab, take);
        script.close();
        script.ended(PATIENCE).unwrap();
        assert!(fs::symlink_metadata(lab.path("b")).is_err(), "{take}, exit");
    }
}

fn a_crash_frees() {
    let lab = Lab::new(&[]);
    let code = "import os; open('b', 'x'); os.abort()";
    let mut program = lab.program("python3", &["-c", code]);
    program.ended(PATIENCE).unwrap();
    free(&lab, "b", code);
}

fn an_exec_keeps() {
    let lab = Lab::new(&[]);
    // The same process: what it runs by now is no matter.
    let mut script = lab.spawn("bash", "touch b; exec bash -c 'echo have; read line; true'");
    script.expect("have");
    held_by(&lab, "b", script.pid(), "after exec");
    script.kill();
    free(&lab, "b", "after exec");
}

fn a_zombie_is_dead() {
    let lab = Lab::new(&[]);
    let code = "import os, sys\n\
        r, w = os.pipe()\n\
        child = os.fork()\n\
        if child == 0:\n\
        \x20   open('b', 'x').close()\n\
        \x20   os.write(w, b'x')\n\
        \x20   os.read(0, 1)\n\
        \x20   os._exit(0)\n\
        os.read(r, 1)\n\
        print(child, flush=True)\n\
        while ') Z ' not in open('/proc/%d/stat' % child).read(): pass\n\
        print('zombie', flush=True)\n\
        sys.stdin.read()";
    let mut parent = lab.program("python3", &["-c", code]);
    let child: u32 = parent.line().parse().unwrap();
    held_by(&lab, "b", child, "the child");
    parent.say("x");
    parent.expect("zombie");
    free(&lab, "b", "the child is a zombie");
    lab.sh("sh", "touch b && rm b").ok();
    // Still not reaped.
    assert_eq!(stat(child).map(|(state, _)| state), Some('Z'));
}

fn children_of_a_dead_holder_keep_nothing() {
    let lab = Lab::new(&[]);
    let gate = tempfile::tempdir().unwrap();
    let wait = format!(
        "while [ -d {} ]; do sleep 0.02; done",
        gate.path().display()
    );
    // Forked, exec'd, with the board open, and reparented.
    for background in [
        format!("( {wait} ) &"),
        format!("sh -c '{wait}; true' &"),
        format!("exec 9>>b; sh -c '{wait}; true' 9>&9 &"),
        format!("setsid sh -c '{wait}; true' &"),
        format!("( ( {wait} ) & )"),
    ] {
        let mut script = script(&lab, &format!("touch b; {background}"));
        held_by(&lab, "b", script.pid(), &background);
        script.kill();
        free(&lab, "b", &background);
        lab.sh("sh", "touch b && rm b").ok();
    }
}

fn a_stopped_holder_keeps() {
    let lab = Lab::new(&[]);
    let mut script = script(&lab, "touch b");
    script.signal(Signal::STOP);
    eventually("it is stopped", PATIENCE, || {
        stat(script.pid()).is_some_and(|(state, _)| state == 'T')
    });
    held_by(&lab, "b", script.pid(), "stopped");
    lab.sh("sh", "touch b").fails(1);
    // The refused one's trap takes nothing away.
    lab.sh("sh", "trap 'rm -f b' EXIT; touch b || exit 1")
        .fails(1);
    held_by(&lab, "b", script.pid(), "stopped");
    script.signal(Signal::KILL);
    script.ended(PATIENCE).unwrap();
    free(&lab, "b", "killed while it was stopped");
}

fn a_stopped_daemon_loses_no_death() {
    let lab = Lab::new(&[]);
    let mut script = script(&lab, "touch b; touch c");
    let daemon = Pid::from_raw(i32::try_from(lab.daemon_pid()).unwrap()).unwrap();
    // From here on this process must not touch the mount: it would wait.
    kill_process(daemon, Signal::STOP).unwrap();
    script.kill();
    kill_process(daemon, Signal::CONT).unwrap();
    free(&lab, "b", "the holder died while the daemon was stopped");
    free(&lab, "c", "the holder died while the daemon was stopped");
}

fn a_board_is_free_to_take_once_its_holder_is_reaped() {
    let lab = Lab::new(&[]);
    // All within one script, as fast as it goes: kill, wait, take.
    let rounds = "for i in $(seq 30); do\n\
        coproc holder { exec bash -c 'touch b; echo have; read line'; }\n\
        read have <&${holder[0]}\n\
        kill -9 $holder_PID\n\
        wait $holder_PID 2>/dev/null\n\
        TAKE || exit 1\n\
        RELEASE || exit 2\n\
        done";
    for (take, release) in [
        ("touch b", "rm b"),
        ("(set -C; : >b)", "rm b"),
        ("mkdir b", "rmdir b"),
        ("ln -s x b", "rm b"),
        ("touch t; ln t b && rm t", "rm b"),
        ("touch t; mv t b", "rm b"),
    ] {
        let script = rounds.replace("TAKE", take).replace("RELEASE", release);
        let output = lab.sh("bash", &script);
        assert!(output.status.success(), "{take}: {output}");
    }
}

fn all_boards_of_a_holder_are_freed() {
    let lab = Lab::new(&[]);
    let code = "import os\nfor i in range(500): os.close(os.open('b%d' % i, os.O_CREAT | os.O_EXCL))\n\
        for i in range(50): os.mkdir('d%d' % i); open('d%d/inner' % i, 'x').close()\n\
        os.link('b1', 'other')\n\
        print('have', flush=True)\ninput()";
    let mut program = lab.program("python3", &["-c", code]);
    program.expect("have");
    assert_eq!(fs::read_dir(lab.dir()).unwrap().count(), 551);
    let mut other = lab.spawn("sh", "touch mine; echo have; read line");
    other.expect("have");
    program.kill();
    let left: Vec<_> = fs::read_dir(lab.dir())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["mine"]);
    held_by(&lab, "mine", other.pid(), "another's");
}

fn a_subshell_that_is_killed_passes_to_its_script() {
    let lab = Lab::new(&[]);
    let mut script = lab.spawn(
        "bash",
        "exec 3<&0; { touch b; echo $BASHPID; read line <&3; } &\nwait; echo over; read line",
    );
    let subshell: u32 = script.line().parse().unwrap();
    assert_ne!(subshell, script.pid());
    held_by(&lab, "b", subshell, "the subshell");
    lab.sh("sh", &format!("cd /; kill -9 {subshell}")).ok();
    script.expect("over");
    held_by(&lab, "b", script.pid(), "its script");
    script.kill();
    free(&lab, "b", "both are dead");
}

/// Helpers of the programs that use a pid again: they run, with the daemon, in
/// a pid namespace of their own where nobody else takes numbers, and are told
/// apart by them. `again(pid)` makes every number up to `pid` be used, around
/// the greatest one, and returns the process that has it.
const AGAIN: &str = r#"
import os, signal, subprocess, sys, time
locks, boardlock = sys.argv[1], os.environ['BOARDLOCK']

def serve(*args):
    daemon = subprocess.Popen([boardlock, 'mount', '--state', 'none', *args, locks], stderr=subprocess.PIPE, text=True)
    said = []
    while True:
        line = daemon.stderr.readline()
        assert line, said
        said.append(line)
        if 'ready' in line:
            return daemon

def last(number):
    with open('/proc/sys/kernel/ns_last_pid', 'w') as file:
        file.write(str(number))

def spawn(code):
    """A shell with this script; its first line says that it is up."""
    child = subprocess.Popen(['sh', '-c', code], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             text=True, cwd=locks)
    assert child.stdout.readline() == 'up\n'
    return child

def again(pid, code):
    """A shell that has this number, which a dead one had."""
    assert not os.path.exists('/proc/%d' % pid)
    highest = int(open('/proc/sys/kernel/pid_max').read())
    last(highest - 20)
    seen = []
    while True:
        child = subprocess.Popen(['sh', '-c', 'read go && { ' + code + '; }'], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, text=True, cwd='/')
        seen.append(child.pid)
        if child.pid == pid:
            break
        child.communicate()
        assert len(seen) < 30000
    # The numbers went around.
    assert max(seen) > highest - 20 > 1000 > pid, seen
    return child

def first_line():
    with open(locks + '/b') as file:
        return file.readline().split()

# Far from the first numbers, which are not used again.
last(500)
"#;

/// Runs a program with these helpers. The mount ends with its namespaces.
fn in_namespaces(code: &str) {
    let code = format!("{AGAIN}{code}\nprint('over', flush=True)\n");
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("program.py");
    fs::write(&file, code).unwrap();
    // Its own mounts, which are seen nowhere else, and a first process that
    // does nothing but wait.
    let locks = temp.path().join("locks");
    fs::create_dir(&locks).unwrap();
    let mut command = Command::new("unshare");
    command
        .args(["-mpf", "--mount-proc", "--kill-child", "sh", "-c"])
        .args([
            "python3 \"$0\" \"$1\"; exit $?".as_ref(),
            file.as_os_str(),
            locks.as_os_str(),
        ])
        .env("BOARDLOCK", env!("CARGO_BIN_EXE_boardlock"))
        .current_dir("/");
    let output = Running::start(command).wait(Duration::from_secs(60)).ok();
    assert_eq!(output.stdout, "over\n", "{output}");
}

fn a_pid_used_again_is_another_process() {
    in_namespaces(
        r#"
daemon = serve()
for stopped in [False, True]:
    holder = spawn('touch b; echo up; read line; true')
    assert first_line() == ['0', str(holder.pid)]
    # With the daemon stopped, nothing tells it of the death before the number
    # is another's.
    if stopped:
        daemon.send_signal(signal.SIGSTOP)
    holder.kill()
    holder.wait()
    take = 'cd %s && (set -C; : >b) && echo mine; read line; true' % locks
    other = again(holder.pid, take)
    assert other.pid == holder.pid
    other.stdin.write('go\n'); other.stdin.flush()
    if stopped:
        daemon.send_signal(signal.SIGCONT)
    # O_EXCL: free, or the number would be all that counts.
    assert other.stdout.readline() == 'mine\n'
    assert first_line() == ['0', str(other.pid)]
    other.communicate()
    assert not os.path.exists(locks + '/b')

# Of a board that is still held: the number of a dead subshell of its script is
# nobody's way in.
holder = spawn('( touch b ); sh -c "echo \\$PPID" >/dev/null; echo up; read line; true')
assert first_line() == ['0', str(holder.pid)]
for number in range(holder.pid + 1, holder.pid + 4):
    other = again(number, 'cd %s && touch b 2>/dev/null; echo $?' % locks)
    out, _ = other.communicate('go\n')
    assert out == '1\n', out
holder.communicate()
"#,
    );
}

fn a_written_pid_used_again_is_another_process() {
    in_namespaces(
        r#"
daemon = serve()
# The script writes the number of its child, which holds from then on; when
# that dies the number is a stranger's, who holds nothing.
holder = spawn('touch b; sleep 1000 & '
               'while read name </proc/$!/comm && [ "$name" != sleep ]; do :; done; '
               'echo $! >b; echo up; read line; kill -9 $!; wait; echo dead; read line; true')
child = int(open(locks + '/b').read())
assert child != holder.pid
pid = os.getxattr(locks + '/b', 'user.boardlock.pid')
assert int(pid) == child, (pid, child)
holder.stdin.write('go\n'); holder.stdin.flush()
assert holder.stdout.readline().strip() == 'dead'
assert not os.path.exists(locks + '/b')

# A number that is a stranger's by the time it is written counts for nothing.
dead = spawn('echo up; read line')
dead.communicate()
stranger = again(dead.pid, 'read line')
writer = spawn('touch b; echo %d >b; echo up; read line; true' % dead.pid)
pid = os.getxattr(locks + '/b', 'user.boardlock.pid')
assert int(pid) == writer.pid, (pid, writer.pid, stranger.pid)
stranger.kill(); stranger.wait()
assert os.path.exists(locks + '/b')
writer.communicate()
assert not os.path.exists(locks + '/b')
holder.communicate()
"#,
    );
}

fn a_pid_in_an_old_lock_file_used_again_is_another_process() {
    in_namespaces(
        r#"
dead = spawn('echo up; read line')
dead.communicate()
living = spawn('echo up; read line; true')
for name, pid in [('old', dead.pid), ('new', living.pid)]:
    with open(locks + '/' + name, 'w') as file:
        file.write('0 %d\n' % pid)
# Written an hour ago by whoever had the number then.
os.utime(locks + '/old', (time.time() - 3600, time.time() - 3600))
stranger = again(dead.pid, 'read line')
daemon = serve('--over')
assert sorted(os.listdir(locks)) == ['new'], os.listdir(locks)
living.communicate()
assert os.listdir(locks) == []
stranger.kill(); stranger.wait()
"#,
    );
}

fn the_log_warns_of_a_holder_that_ends_at_once() {
    let lab = Lab::new(&[]);
    // sh has work to do, by its string, so it holds; and ends with it.
    lab.sh("bash", "sh -c 'touch b; ls >/dev/null'; true").ok();
    let line = lab.wait_for_log(|line| line.contains("its holder ended"));
    assert!(line.contains(" warn "), "{line}");
    assert!(line.contains("b:") && line.contains("via touch"), "{line}");
    assert!(line.contains("sh -c touch b; ls"), "{line}");
    // One that releases is not worth a word.
    let from = lab.log().len();
    lab.sh("bash", "touch b; rm b").ok();
    lab.wait_for_log_from(from, |line| line.contains("b: released"));
    let log = lab.log();
    assert!(
        !log[from..].iter().any(|line| line.contains(" warn ")),
        "{log:?}"
    );
}

/// How often each thread of a process was given a processor and left it.
fn switches(pid: u32) -> Vec<(String, u64)> {
    let mut threads: Vec<_> = fs::read_dir(format!("/proc/{pid}/task"))
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let status = fs::read_to_string(entry.path().join("status")).unwrap();
            let count = status
                .lines()
                .filter(|line| line.contains("voluntary_ctxt_switches"))
                .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
                .sum();
            (entry.file_name().into_string().unwrap(), count)
        })
        .collect();
    threads.sort();
    threads
}

fn an_idle_daemon_does_not_wake_up() {
    let lab = Lab::new(&["-vv", "--lease", "2h"]);
    let mut holder = script(
        &lab,
        "for i in 1 2 3 4 5 6 7 8 9; do touch b$i; mkdir d$i; done; exec 9>b; touch -d '+1 hour' b",
    );
    let daemon = lab.daemon_pid();
    // What came before is over once every thread sleeps and stays as it is.
    let mut before = switches(daemon);
    let quiet = |from: &mut Vec<_>, span: Duration| {
        let until = Instant::now() + span;
        while Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
            let now = switches(daemon);
            if now != *from {
                *from = now;
                return false;
            }
        }
        true
    };
    eventually("the daemon is at rest", PATIENCE, || {
        quiet(&mut before, Duration::from_millis(200))
    });
    // Whoever looks at all mounts of the machine asks this one, too.
    let asked = || {
        let log = lab.log();
        log.iter().filter(|line| line.contains(" FUSE(")).count()
    };
    eventually("nobody asks for a while", PATIENCE, || {
        let (rest, requests) = (before.clone(), asked());
        let rested = quiet(&mut before, Duration::from_secs(2));
        if !rested {
            let told = Instant::now() + Duration::from_secs(2);
            while asked() == requests {
                assert!(Instant::now() < told, "{rest:?} {before:?}");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        rested
    });
    assert!(!children(daemon).iter().any(|_| true));
    held_by(&lab, "b", holder.pid(), "all the time");
    holder.kill();
    becomes_free(&lab, "b");
    assert_eq!(holder_of_any(&lab), None);
}

fn holder_of_any(lab: &Lab) -> Option<u32> {
    (1..=9).find_map(|i| holder(lab, &format!("b{i}")).or_else(|| holder(lab, &format!("d{i}"))))
}
