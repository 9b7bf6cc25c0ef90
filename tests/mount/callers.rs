//! Who touched it: the holder is the nearest process above the tool that still
//! has something to do.

use libtest_mimic::Trial;

use crate::lab::{Lab, NOBODY};
use crate::process::{PATIENCE, Running, eventually};
use crate::shown::{becomes_free, becomes_held_by, free, held_by, only_child};
use crate::trial::ROOT;

pub fn tests() -> Vec<Trial> {
    trials![
        a_bash_script_holds_what_it_took_to_its_end("bash", "busybox");
        a_dash_script_holds_what_it_took_to_its_end("dash", "busybox");
        a_zsh_script_holds_what_it_took_to_its_end("zsh", "busybox");
        a_busybox_script_holds_what_it_took_to_its_end("busybox");
        every_tool_takes_for_its_script("bash", "busybox");
        a_program_holds_what_a_shell_took_for_it("python3", "perl");
        make_holds_to_its_end("make");
        a_shell_with_work_in_its_string_holds_itself("bash", "dash", "zsh", "busybox");
        a_shell_that_only_carries_passes_on("bash", "dash", "zsh", "busybox");
        wrappers_pass_on("bash", "strace");
        tools_of_privilege_pass_on(ROOT, "sudo", "su", "runuser");
        sudo_with_a_terminal_of_its_own_passes_on(ROOT, "sudo", "script");
        the_file_is_the_holders_even_when_sudo_took_it(ROOT, "sudo");
        a_program_that_opens_the_file_holds("python3");
        who_asks_again_and_again_is_known_as_what_he_is_now(ROOT, "python3");
        a_thread_that_ends_leaves_the_lock_with_its_process("python3");
        a_process_whose_first_thread_has_ended_holds("python3");
        parallel_subshells_are_two_callers("bash", "dash", "zsh", "busybox");
        a_subshell_that_outlives_its_script_holds_to_its_end("bash", "dash", "zsh", "busybox");
        an_orphan_takes_nothing("python3");
        an_orphan_removes_nothing_of_anothers("python3");
        a_script_called_like_a_tool_holds("bash");
    ]
}

/// Ways for a script to take `b`, in every shell.
const WAYS: &[&str] = &[
    "touch b",
    "busybox touch b",
    "\"$LINKS/touch\" b",
    "take() { touch b; }; take",
    "err=$(touch b 2>&1)",
    "err=$(touch b 2>&1) || exit 1",
    "err=`touch b`",
    "err=$(err=$(touch b 2>&1); exit $?)",
    "err=$(true; busybox touch b; true)",
    "( touch b )",
    "( true; touch b; true )",
    "( ( touch b; true ); true )",
    "touch b | cat",
    "echo x | touch b",
    "true | ( touch b; true )",
    "echo b | while read x; do touch $x; done",
    "touch b & wait",
    "{ touch b; true; } & wait",
    "( touch b & wait )",
    "trap 'touch b' USR1; kill -USR1 $$",
    "if touch b; then true; fi",
    "until touch b; do sleep 1; done",
    "for x in b; do touch $x; done",
    "case x in x) touch b;; esac",
    "eval 'touch b'",
    "command touch b",
    "echo 'touch b; true' >\"$LINKS/part\"; . \"$LINKS/part\"",
    "(set -C; : >b)",
    "(set -C; : >b) 2>/dev/null || exit 1",
    "(set -C; echo $$ >b)",
    "set -C; : >b",
    "set -o noclobber; { : >b; } 2>/dev/null",
    ": >b",
    ": >>b",
    "echo hello >b",
    "exec 9>b",
    "exec 9>>b; exec 9>&-",
    "{ true; } >b",
    "date >b",
    "( date; echo x ) >b",
    "cat >b </dev/null",
    "tee b >/dev/null <<END\nhello\nEND",
    "mkdir b",
    "err=$(mkdir b 2>&1)",
    "sh -c 'touch b'",
    "sh -c 'touch b || exit 1'",
    "bash -c 'touch b'",
    "busybox sh -c 'touch b'",
];

fn a_bash_script_holds_what_it_took_to_its_end() {
    scripts_hold("bash", WAYS);
    scripts_hold("bash", &["coproc touch b; wait", "[[ -e b ]] || touch b"]);
    scripts_hold("bash --posix", &["touch b", "(set -C; : >b)"]);
}

fn a_dash_script_holds_what_it_took_to_its_end() {
    scripts_hold("dash", WAYS);
}

fn a_zsh_script_holds_what_it_took_to_its_end() {
    scripts_hold("zsh", WAYS);
    scripts_hold("zsh", &["[[ -e b ]] || touch b", "() { touch b }"]);
}

fn a_busybox_script_holds_what_it_took_to_its_end() {
    scripts_hold("busybox sh", WAYS);
}

fn every_tool_takes_for_its_script() {
    let ways = [
        "touch t; ln t b; rm t",
        "ln -s nothing b",
        "board=$(mktemp -p . lock.XXXXXX)",
        "mktemp lock.XXXXXX >\"$LINKS/name\"; read board <\"$LINKS/name\"",
        "board=$(mktemp -d -p . lock.XXXXXX)",
        "echo | tee b >/dev/null",
        "cp /dev/null b",
        "cp \"$LINKS/file\" b",
        "cp -a \"$LINKS/file\" b",
        "cp \"$LINKS/file\" c; mv c b",
        "cp \"$LINKS/file\" \"$LINKS/b\"; mv \"$LINKS/b\" b",
        "install \"$LINKS/file\" b",
        "install -m 0600 \"$LINKS/file\" b",
        "dd if=/dev/null of=b status=none",
        "truncate -s 0 b",
        "sort -o b \"$LINKS/file\"",
        "awk 'BEGIN { printf \"x\" >\"b\" }'",
        "perl -e 'exec \"touch\", \"b\"'",
        "busybox mkdir b",
        "busybox cp \"$LINKS/file\" b",
        "busybox tee b </dev/null",
        "busybox mktemp b.XXXXXX >\"$LINKS/name\"; read board <\"$LINKS/name\"",
        "busybox dd if=/dev/null of=b 2>/dev/null",
        "touch t; busybox ln t b",
        "busybox ln -s nothing b",
        "\"$LINKS/mkdir\" b",
    ];
    for shell in ["bash", "busybox sh"] {
        scripts_hold(shell, &ways);
    }
}

/// Runs a script for each of these ways to take `b` (or what the script calls
/// $board): it holds, and when it ends the board is free.
fn scripts_hold(shell: &str, ways: &[&str]) {
    let lab = Lab::new(&[]);
    let links = links();
    for way in ways {
        let mut script = lab.spawn(
            shell,
            &format!(
                "LINKS={}\nexport LINKS\n{way}\necho \"have ${{board:-b}} $?\"\nread line\n",
                links.path().display()
            ),
        );
        let what = format!("{shell}: {way}");
        let said = script.line();
        let words: Vec<&str> = said.split(' ').collect();
        assert_eq!((words[0], words[2]), ("have", "0"), "{what}: {said}");
        let board = words[1];
        if lab.path(board).is_symlink() {
            // Links have no attributes of users: the log tells.
            let pid = format!("pid {} ", script.pid());
            lab.wait_for_log(|line| line.contains("b: acquired") && line.contains(&pid));
        } else {
            held_by(&lab, board, script.pid(), &what);
        }
        script.say("go");
        script.wait(PATIENCE).ok();
        assert!(
            std::fs::symlink_metadata(lab.path(board)).is_err(),
            "{what}: not free\n{}",
            lab.log().join("\n")
        );
    }
}

/// A directory outside the mount with busybox's tools as links, and a file.
fn links() -> tempfile::TempDir {
    let links = tempfile::tempdir().unwrap();
    let busybox = crate::trial::which("busybox").unwrap();
    for name in ["touch", "mkdir"] {
        std::os::unix::fs::symlink(&busybox, links.path().join(name)).unwrap();
    }
    std::fs::write(links.path().join("file"), "taken for a test\n").unwrap();
    links
}

/// Says that it goes on, then waits.
const PYTHON_WAITS: &str = "\nprint('have', flush=True)\ninput()\n";

fn python(lab: &Lab, code: &str) -> Running {
    lab.program("python3", &["-c", &format!("{code}{PYTHON_WAITS}")])
}

/// The program holds once it has said so, until it ends.
fn holds(lab: &Lab, mut program: Running, what: &str) {
    let said = program.line();
    assert_eq!(said, "have", "{what}: {}", program.stderr());
    held_by(lab, "b", program.pid(), what);
    program.say("go");
    program.wait(PATIENCE).ok();
    free(lab, "b", what);
}

fn a_program_holds_what_a_shell_took_for_it() {
    let lab = Lab::new(&[]);
    for code in [
        "import subprocess; subprocess.run(['touch', 'b'], check=True)",
        "import subprocess; subprocess.run('touch b', shell=True, check=True)",
        "import subprocess; subprocess.run('touch b || exit 1', shell=True, check=True)",
        "import subprocess; subprocess.run('touch b 2>&1 && echo ok >&2', shell=True, check=True)",
        "import subprocess; subprocess.check_output('touch b', shell=True)",
        "import subprocess; subprocess.run(['bash', '-c', 'touch b; true'], check=True)",
        "import subprocess; subprocess.run('touch b', shell=True, start_new_session=True)",
        "import os; assert os.system('touch b') == 0",
        "import os; assert os.system('touch b || exit 1') == 0",
        "import os; assert os.system('test -e b || touch b') == 0",
        "import os; assert os.system('(set -C; : >b) 2>/dev/null') == 0",
        "import os; assert os.system('sudo -n touch b 2>/dev/null || touch b') == 0",
        "import os; os.popen('touch b').read()",
        "import os; os.waitpid(os.spawnlp(os.P_NOWAIT, 'touch', 'touch', 'b'), 0)",
        "import os; os.waitpid(os.posix_spawnp('touch', ['touch', 'b'], os.environ), 0)",
        "import threading, os\nt = threading.Thread(target=os.system, args=('touch b',))\n\
         t.start(); t.join()",
    ] {
        holds(&lab, python(&lab, code), code);
    }
    for code in [
        "system('touch b')",
        "system('touch b || exit 1')",
        "`touch b 2>&1`",
        "open(F, '>', 'b'); close(F)",
    ] {
        let whole = format!("$| = 1; {code}; print \"have\\n\"; <STDIN>");
        holds(&lab, lab.program("perl", &["-e", &whole]), code);
    }
}

fn make_holds_to_its_end() {
    let lab = Lab::new(&[]);
    let temp = tempfile::tempdir().unwrap();
    for line in [
        "touch b",
        "touch b || exit 1",
        "@touch b 2>/dev/null",
        "test -e b || touch b",
        "+touch b",
    ] {
        let file = temp.path().join("Makefile");
        std::fs::write(&file, format!("all:\n\t{line}\n\t@echo have; read line\n")).unwrap();
        let make = lab.program("make", &["-s", "-f", file.to_str().unwrap()]);
        holds(&lab, make, line);
    }
}

const SHELLS: [&[&str]; 4] = [&["bash"], &["dash"], &["zsh"], &["busybox", "sh"]];

fn a_shell_with_work_in_its_string_holds_itself() {
    let lab = Lab::new(&[]);
    for shell in SHELLS {
        for string in [
            "touch b; echo have; read line",
            "touch b && { echo have; read line; }",
            "err=$(touch b) || exit 1; echo have; read line; rm b",
            "(set -C; : >b) && echo have && read line",
            ": >b; echo have; read line",
            "exec 9>b; echo have; read line",
        ] {
            let what = format!("{shell:?} -c {string}");
            let args = [&shell[1..], &["-c", string]].concat();
            holds(&lab, lab.program(shell[0], &args), &what);
        }
    }
}

fn a_shell_that_only_carries_passes_on() {
    let lab = Lab::new(&[]);
    for shell in SHELLS {
        for string in [
            "touch b",
            "touch b; exit $?",
            "touch b || exit 1",
            "touch b 2>&1",
            "test -e b || touch b && echo ok >/dev/null",
            "env X=1 touch b; true",
            "cd . && touch b && true",
            "until touch b; do sleep 1; done",
            "(set -C; : >b)",
            "true; : >b; true",
            "x=$(touch b) || exit 1",
        ] {
            let what = format!("{shell:?} -c {string}");
            let code = format!(
                "import subprocess; subprocess.run({shell:?} + ['-c', {string:?}], check=True)"
            );
            holds(&lab, python(&lab, &code), &what);
        }
    }
}

fn wrappers_pass_on() {
    scripts_hold(
        "bash",
        &[
            "env touch b",
            "env -i \"$(command -v touch)\" b",
            "timeout 30 touch b",
            "timeout --foreground 30 touch b",
            "timeout 30 sh -c 'touch b || exit 1'",
            "nice touch b",
            "ionice touch b",
            "nohup touch b 2>/dev/null",
            "setsid touch b",
            "setsid --wait touch b",
            "setsid -f -w touch b",
            "stdbuf -o0 touch b",
            "taskset 1 touch b",
            "chrt -o 0 touch b",
            "setarch \"$(uname -m)\" touch b",
            "echo b | xargs touch",
            "echo b | xargs -n 1 -P 2 sh -c 'touch \"$1\"' sh",
            "find /dev/null -exec touch b \\;",
            "find /dev/null -exec touch b {} +",
            "strace -f -o /dev/null touch b",
            "flock \"$LINKS/file\" touch b",
            "flock \"$LINKS/file\" -c 'touch b'",
            "busybox env touch b",
            "busybox timeout 30 touch b",
            "echo b | busybox xargs touch",
            "env nice timeout 30 env touch b",
            "command time -o /dev/null touch b || touch b",
        ],
    );
}

fn tools_of_privilege_pass_on() {
    scripts_hold(
        "bash",
        &[
            "sudo -n touch b",
            "sudo -n -u root touch b",
            "sudo -n -u nobody touch b",
            "sudo -n sh -c 'touch b'",
            "sudo -n sh -c 'touch b || exit 1'",
            "sudo -n env X=1 timeout 30 touch b",
            "su -c 'touch b'",
            "su root -c 'touch b'",
            "su -s /bin/sh nobody -c 'touch b'",
            "runuser -u root -- touch b",
            "runuser -u nobody -- touch b",
            "setpriv --reuid=65534 touch b",
            "chroot / touch \"$LOCKS/b\"",
            "unshare -m touch b",
            "unshare -r touch b",
            "unshare -pf touch b",
            "nsenter -t $$ -m touch \"$LOCKS/b\"",
        ],
    );
}

fn sudo_with_a_terminal_of_its_own_passes_on() {
    let lab = Lab::new(&[]);
    // sudo gives a command a terminal of its own only where it has one itself.
    for way in ["sudo -n touch b", "sudo -n sh -c 'touch b || exit 1'"] {
        let mut terminal = lab.program(
            "script",
            &[
                "-qec",
                &format!(
                    "exec bash -c '{}; echo have $?; read line'",
                    way.replace('\'', "'\\''")
                ),
                "/dev/null",
            ],
        );
        let said = terminal.line();
        assert_eq!(said.trim_end(), "have 0", "{}", terminal.stderr());
        held_by(&lab, "b", only_child(terminal.pid()), way);
        terminal.say("go");
        terminal.wait(PATIENCE).ok();
        becomes_free(&lab, "b");
    }
}

fn the_file_is_the_holders_even_when_sudo_took_it() {
    let lab = Lab::new(&[]);
    let mut script = lab.spawn("bash", "sudo -n -u nobody touch b; echo have; read line");
    script.expect("have");
    lab.sh("sh", "test \"$(stat -c %u b)\" = 0").ok();
    lab.sh_as(NOBODY, "sh", "rm -f b").fails(1);
    held_by(&lab, "b", script.pid(), "root's script");
}

fn a_program_that_opens_the_file_holds() {
    let lab = Lab::new(&[]);
    for code in [
        "open('b', 'w').close()",
        "f = open('b', 'w')",
        "open('b', 'x').close()",
        "import os; os.close(os.open('b', os.O_CREAT | os.O_EXCL))",
        "import os; os.mkdir('b')",
        "import os; os.mknod('b')",
        "import pathlib; pathlib.Path('b').touch(exist_ok=False)",
        "import os; open('t', 'w'); os.link('t', 'b'); os.unlink('t')",
        "import os; open('t', 'w'); os.rename('t', 'b')",
    ] {
        holds(&lab, python(&lab, code), code);
    }
}

fn who_asks_again_and_again_is_known_as_what_he_is_now() {
    let lab = Lab::new(&[]);
    // Another user, another name, another command line, another program.
    let code = format!(
        "import os
def take(): os.close(os.open('b', os.O_CREAT | os.O_EXCL | os.O_WRONLY))
def show(): print(os.stat('b').st_uid, os.getxattr('b', 'user.boardlock.pid').decode(), flush=True)
for _ in range(20): take(); os.unlink('b')
take(); show(); os.unlink('b')
os.seteuid({NOBODY})
for _ in range(20): take(); show(); os.unlink('b')
os.seteuid(0)
for _ in range(20): take(); os.unlink('b')
os.execvp('sh', ['sh', '-c', 'touch b; echo now; read line'])
"
    );
    let mut program = lab.program("python3", &["-c", &code]);
    let pid = program.pid();
    assert_eq!(program.line(), format!("0 {pid}"));
    for _ in 0..20 {
        assert_eq!(program.line(), format!("{NOBODY} {pid}"));
    }
    program.expect("now");
    let status = lab.status("b");
    assert_eq!(status["pid"], pid.to_string());
    assert_eq!(status["uid"], "0");
    assert_eq!(status["command"], "sh -c touch b; echo now; read line");
    program.say("go");
    program.wait(PATIENCE).ok();
    free(&lab, "b", "it has ended");
}

fn a_thread_that_ends_leaves_the_lock_with_its_process() {
    let lab = Lab::new(&[]);
    for take in [
        "open('b', 'x').close()",
        "os.mkdir('b')",
        "f.append(open('b', 'w'))",
    ] {
        let code = format!(
            "import os, threading\nf = []\nids = []\n\
             def take():\n    {take}\n    ids.append(threading.get_native_id())\n\
             t = threading.Thread(target=take); t.start(); t.join()\n\
             assert ids[0] != os.getpid()\n\
             while os.path.exists('/proc/self/task/%d' % ids[0]): pass"
        );
        let mut program = python(&lab, &code);
        program.expect("have");
        held_by(&lab, "b", program.pid(), take);
        // The same process from another thread still has it.
        lab.sh("sh", "touch b").fails(1);
        program.say("go");
        program.wait(PATIENCE).ok();
        free(&lab, "b", take);
    }
}

fn a_process_whose_first_thread_has_ended_holds() {
    let lab = Lab::new(&[]);
    for take in [
        "open('b', 'x').close()",
        "subprocess.run(['touch', 'b'], check=True)",
        "subprocess.run('touch b || exit 1', shell=True, check=True)",
    ] {
        // The number of exit(2), which ends the calling thread alone.
        let code = format!(
            "import ctypes, os, platform, subprocess, sys, threading\n\
             def work():\n\
             \x20   me = '/proc/self/task/%d/stat' % os.getpid()\n\
             \x20   while ') Z ' not in open(me).read(): pass\n\
             \x20   {take}\n\
             \x20   print('have', flush=True)\n\
             \x20   sys.stdin.readline()\n\
             \x20   os._exit(0)\n\
             threading.Thread(target=work).start()\n\
             number = {{'x86_64': 60, 'i686': 1, 'armv7l': 1}}.get(platform.machine(), 93)\n\
             ctypes.CDLL(None).syscall(number, 0)"
        );
        holds(&lab, lab.program("python3", &["-c", &code]), take);
    }
}

/// A script's own directory outside the mount, where it waits for files.
fn gate() -> tempfile::TempDir {
    let gate = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/bin/sh", gate.path().join("sh")).unwrap();
    gate
}

/// Shell functions: `await FILE` in the gate; a script whose gate has gone goes
/// on, too. `self` is the number of the shell that runs it, subshell or not.
fn with_gate(gate: &tempfile::TempDir, script: &str) -> String {
    format!(
        "GATE={}\n\
         await() {{ while [ -d \"$GATE\" ] && ! [ -e \"$GATE/$1\" ]; do sleep 0.01; done; }}\n\
         self() {{ read self rest </proc/self/stat; }}\n\
         {script}\n",
        gate.path().display()
    )
}

fn open_gate(gate: &tempfile::TempDir, name: &str) {
    std::fs::write(gate.path().join(name), "").unwrap();
}

fn parallel_subshells_are_two_callers() {
    let lab = Lab::new(&[]);
    for shell in ["bash", "dash", "zsh", "busybox sh"] {
        let gate = gate();
        let part = |name: &str| {
            format!(
                "( self; await {name}; touch b 2>/dev/null; echo {name} $self $?;\n\
                 await {name}2; touch b 2>/dev/null; echo {name} $self $?; await {name}3; true ) &\n"
            )
        };
        let script = format!(
            "{}{}wait; echo both; await end; true",
            part("one"),
            part("two")
        );
        let mut script = lab.spawn(shell, &with_gate(&gate, &script));
        open_gate(&gate, "one");
        let said = script.line();
        let one: u32 = said.split(' ').nth(1).unwrap().parse().unwrap();
        assert_eq!(said, format!("one {one} 0"), "{shell}: {}", script.stderr());
        assert_ne!(one, script.pid());
        held_by(&lab, "b", one, shell);
        // The other is refused while the first lives.
        open_gate(&gate, "two");
        let said = script.line();
        assert!(
            said.starts_with("two ") && said.ends_with(" 1"),
            "{shell}: {said}"
        );
        // The winner ends, and its shell goes on with the claim.
        open_gate(&gate, "one2");
        script.line();
        open_gate(&gate, "one3");
        becomes_held_by(&lab, "b", script.pid());
        // Forked from the holder, the loser may come in now.
        open_gate(&gate, "two2");
        let said = script.line();
        assert!(
            said.starts_with("two ") && said.ends_with(" 0"),
            "{shell}: {said}"
        );
        held_by(&lab, "b", script.pid(), shell);
        open_gate(&gate, "two3");
        script.expect("both");
        held_by(&lab, "b", script.pid(), shell);
        open_gate(&gate, "end");
        script.wait(PATIENCE).ok();
        free(&lab, "b", shell);
    }
}

fn a_subshell_that_outlives_its_script_holds_to_its_end() {
    let lab = Lab::new(&[]);
    for shell in ["bash", "dash", "zsh", "busybox sh"] {
        // Taken while the script lives, and after it has ended.
        for first in [
            "touch b; echo $self; await go",
            "await go; touch b; echo $self",
        ] {
            let gate = gate();
            let script = format!("( self; echo up; {first}; await end; true ) & await over");
            let mut script = lab.spawn(shell, &with_gate(&gate, &script));
            script.expect("up");
            let subshell = if first.starts_with("touch") {
                let subshell: u32 = script.line().parse().unwrap();
                held_by(&lab, "b", subshell, shell);
                Some(subshell)
            } else {
                None
            };
            open_gate(&gate, "over");
            script.ended(PATIENCE).unwrap();
            open_gate(&gate, "go");
            let subshell = subshell.unwrap_or_else(|| script.line().parse().unwrap());
            assert_ne!(subshell, script.pid());
            held_by(&lab, "b", subshell, &format!("{shell}: {first}"));
            lab.sh("sh", "touch b").fails(1);
            open_gate(&gate, "end");
            becomes_free(&lab, "b");
        }
    }
}

fn an_orphan_takes_nothing() {
    let lab = Lab::new(&[]);
    for exec in [
        "'touch', ['touch', 'b']",
        "'sh', ['sh', '-c', 'touch b || exit 1']",
        "'env', ['env', 'touch', 'b']",
        "'mkdir', ['mkdir', 'b']",
    ] {
        let from = lab.log().len();
        let code = format!(
            "import os, time\nscript = os.getpid()\nif os.fork() == 0:\n\
             \x20   while os.getppid() == script: time.sleep(0.001)\n\
             \x20   os.execvp({exec})"
        );
        let script = lab.program("python3", &["-c", &code]);
        eventually(&format!("{exec} is refused"), PATIENCE, || {
            script.stderr().contains("Operation not permitted")
        });
        free(&lab, "b", exec);
        lab.wait_for_log_from(from, |line| line.contains("b: refused"));
    }
}

fn an_orphan_removes_nothing_of_anothers() {
    // A script that is killed while its rm is on its way.
    const SCRIPT: &str = "
import os, sys, time
script = os.getpid()
open('b', 'x')
if os.fork() == 0:
    while os.getppid() == script: time.sleep(0.001)
    while not os.path.exists('go'): time.sleep(0.001)
    os.execvp('rm', ['rm', 'b'])
print('have', flush=True)
os.wait()
";
    let lab = Lab::new(&[]);
    let mut script = lab.program("python3", &["-c", SCRIPT]);
    script.expect("have");
    script.kill();
    becomes_free(&lab, "b");
    let mut next = lab.shell();
    let from = lab.log().len();
    next.ok("touch b go");
    lab.wait_for_log_from(from, |line| line.contains("b: refused"));
    held_by(&lab, "b", next.pid(), "an orphan's rm came");
}

fn a_script_called_like_a_tool_holds() {
    let lab = Lab::new(&[]);
    let temp = tempfile::tempdir().unwrap();
    for name in ["install", "touch", "time", "watch", "cron", "rm"] {
        let file = temp.path().join(name);
        std::fs::write(&file, "#!/bin/bash\n: >b\necho have\nread line\n").unwrap();
        lab.sh("sh", &format!("chmod +x {}", file.display())).ok();
        holds(&lab, lab.program("env", &[file.to_str().unwrap()]), name);
    }
}
