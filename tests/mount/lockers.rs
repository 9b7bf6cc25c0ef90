//! Lock tools and idioms that people already use, each with two contenders and
//! a holder that is killed.

use libtest_mimic::Trial;

use crate::lab::Lab;
use crate::process::{PATIENCE, Running};
use crate::shown::{free, held_by, holder};

pub fn tests() -> Vec<Trial> {
    trials![
        dotlockfile_locks("dotlockfile", "bash", "dash");
        lockfile_of_procmail_locks("lockfile", "bash", "dash");
        lockfile_create_locks("lockfile-create", "bash", "dash");
        directories_lock("bash", "dash", "busybox");
        symbolic_links_lock("bash", "dash");
        links_lock("bash", "dash", "busybox");
        noclobber_locks("bash", "dash", "zsh");
        git_respects_a_held_index_lock("git", "bash");
        the_dance_of_git_holds("python3");
        python_lock_files_lock("python3");
    ]
}

/// A way to lock `b`: to take it without waiting, and to give it back.
struct Way {
    take: &'static str,
    give: &'static str,
}

fn way(take: &'static str, give: &'static str) -> Way {
    Way { take, give }
}

/// A script that tries to take `b` when told, and gives it back.
fn contender(lab: &Lab, shell: &str, way: &Way) -> Running {
    let script = format!(
        "while read what; do\n\
         case $what in take) {};; give) {};; esac\n\
         echo $what $?\ndone 2>&1",
        way.take, way.give
    );
    lab.spawn(shell, &script)
}

/// The exit status of what it is told to do.
fn tell(contender: &mut Running, what: &str) -> i32 {
    contender.say(what);
    let mut said = String::new();
    loop {
        let line = contender.line();
        // Before it the tool may have said something.
        if let Some(status) = line.strip_prefix(&format!("{what} ")) {
            return status.parse().unwrap();
        }
        said.push_str(&line);
        assert!(said.len() < 10_000, "{said}");
    }
}

fn lock(shells: &[&str], ways: &[Way]) {
    let lab = Lab::new(&[]);
    for shell in shells {
        for way in ways {
            let what = format!("{shell}: {}", way.take);
            let mut one = contender(&lab, shell, way);
            let mut two = contender(&lab, shell, way);
            let held = |pid: u32| {
                if lab.path("b").is_symlink() {
                    return;
                }
                held_by(&lab, "b", pid, &what);
            };
            let text = || format!("{what}\n{}", lab.log().join("\n"));
            // One after the other.
            assert_eq!(tell(&mut one, "take"), 0, "{}", text());
            held(one.pid());
            assert_ne!(tell(&mut two, "take"), 0, "{}", text());
            held(one.pid());
            assert_eq!(tell(&mut one, "give"), 0, "{}", text());
            free(&lab, "b", &what);
            assert_eq!(tell(&mut two, "take"), 0, "{}", text());
            held(two.pid());
            assert_ne!(tell(&mut one, "take"), 0, "{}", text());
            held(two.pid());
            // The holder is killed, and the other comes in.
            two.kill();
            assert_eq!(tell(&mut one, "take"), 0, "{}", text());
            held(one.pid());
            assert_eq!(tell(&mut one, "give"), 0, "{}", text());
            one.close();
            one.wait(PATIENCE);
            // No temporary file of anybody is left.
            let left: Vec<_> = std::fs::read_dir(lab.dir())
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .collect();
            assert!(left.is_empty(), "{what}: {left:?}");
        }
    }
}

fn dotlockfile_locks() {
    lock(
        &["bash", "dash"],
        &[
            way("dotlockfile -r 0 b", "dotlockfile -u b"),
            way("dotlockfile -l -r 0 b", "rm b"),
            way("dotlockfile -p -r 0 b", "dotlockfile -u b"),
        ],
    );
}

fn lockfile_of_procmail_locks() {
    lock(
        &["bash", "dash"],
        &[
            way("lockfile -r 0 b", "rm -f b"),
            way("lockfile -1 -r 0 -l 1 b", "rm -f b"),
        ],
    );
}

fn lockfile_create_locks() {
    lock(
        &["bash", "dash"],
        &[
            way("lockfile-create -r 0 -l b", "lockfile-remove -l b"),
            way(
                "lockfile-create --use-pid -r 0 -l b",
                "lockfile-remove -l b",
            ),
        ],
    );
}

fn directories_lock() {
    lock(
        &["bash", "dash", "busybox sh"],
        &[
            way("mkdir b", "rmdir b"),
            way("mkdir b && echo $$ >b/pid", "rm -r b"),
            way("err=$(mkdir b 2>&1)", "rmdir b"),
        ],
    );
}

fn symbolic_links_lock() {
    lock(
        &["bash", "dash"],
        &[
            way("ln -s $$ b", "rm b"),
            way("ln -s host:$$ b 2>/dev/null", "rm -f b"),
        ],
    );
}

fn links_lock() {
    lock(
        &["bash", "dash", "busybox sh"],
        &[
            way("touch t.$$; ln t.$$ b; s=$?; rm -f t.$$; (exit $s)", "rm b"),
            way(
                "echo $$ >t.$$; ln t.$$ b 2>/dev/null; s=$(stat -c %h t.$$); rm t.$$; [ $s = 2 ]",
                "rm b",
            ),
        ],
    );
}

fn noclobber_locks() {
    lock(
        &["bash", "dash", "zsh"],
        &[
            way("(set -C; : >b) 2>/dev/null", "rm -f b"),
            way("(set -C; echo $$ >b) 2>/dev/null", "rm -f b"),
            way(
                "( set -o noclobber; echo \"$$\" > b ) 2> /dev/null",
                "rm -f b",
            ),
        ],
    );
}

fn git_respects_a_held_index_lock() {
    let lab = Lab::new(&[]);
    let repo = tempfile::tempdir().unwrap();
    let at = repo.path().display();
    let git = format!("GIT_INDEX_FILE=$LOCKS/index git -C {at}");
    lab.sh("bash", &format!("git init -q {at} && echo x >{at}/file"))
        .ok();
    // Made as index.lock, renamed, and gone with its git.
    lab.sh("bash", &format!("{git} add file")).ok();
    free(&lab, "index", "git add has ended");
    free(&lab, "index.lock", "git add has ended");
    let mut one = lab.spawn("bash", "touch index.lock; echo have; read line");
    one.expect("have");
    let output = lab.sh("bash", &format!("{git} add file"));
    assert!(output.stderr.contains("File exists"), "{output}");
    held_by(&lab, "index.lock", one.pid(), "while git tried");
    one.kill();
    lab.sh("bash", &format!("{git} add file")).ok();
    // One whose index is held cannot rename over it, and leaves no lock.
    let mut one = lab.spawn("bash", "touch index; echo have; read line");
    one.expect("have");
    assert!(
        !lab.sh("bash", &format!("{git} update-index --add file"))
            .status
            .success()
    );
    held_by(&lab, "index", one.pid(), "while git tried");
    free(&lab, "index.lock", "git has given up");
}

const DANCE: &str = "
import os, sys
def dance():
    fd = os.open('index.lock', os.O_RDWR | os.O_CREAT | os.O_EXCL)
    os.write(fd, b'x' * 100)
    os.close(fd)
    try:
        os.rename('index.lock', 'index')
    except OSError:
        os.unlink('index.lock')
        raise
for line in sys.stdin:
    status = 0
    try:
        if line == 'take\\n': dance()
        elif line == 'half\\n': os.open('index.lock', os.O_RDWR | os.O_CREAT | os.O_EXCL)
        elif line == 'give\\n': os.unlink('index')
    except OSError as error:
        status = error.errno
    print(line.strip(), status, flush=True)
";

fn the_dance_of_git_holds() {
    let lab = Lab::new(&[]);
    let start = || lab.program("python3", &["-c", DANCE]);
    let (mut one, mut two) = (start(), start());
    assert_eq!(tell(&mut one, "take"), 0);
    assert_eq!(holder(&lab, "index.lock"), None);
    held_by(&lab, "index", one.pid(), "renamed");
    // Once more, over its own.
    assert_eq!(tell(&mut one, "take"), 0);
    held_by(&lab, "index", one.pid(), "renamed again");
    assert_eq!(tell(&mut two, "take"), libc::EBUSY);
    held_by(&lab, "index", one.pid(), "the other tried");
    assert_eq!(holder(&lab, "index.lock"), None);
    assert_eq!(tell(&mut one, "give"), 0);
    assert_eq!(tell(&mut two, "take"), 0);
    // Killed half way.
    assert_eq!(tell(&mut two, "half"), 0);
    assert_eq!(tell(&mut one, "take"), libc::EEXIST);
    two.kill();
    assert_eq!(tell(&mut one, "take"), 0);
    held_by(&lab, "index", one.pid(), "the other was killed");
}

fn python_lock_files_lock() {
    let lab = Lab::new(&[]);
    // As pid file modules and many scripts do.
    let code = "
import os, sys
for line in sys.stdin:
    status = 0
    try:
        if line == 'take\\n':
            fd = os.open('b', os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            os.write(fd, b'%d\\n' % os.getpid())
            os.close(fd)
        else:
            os.unlink('b')
    except OSError as error:
        status = error.errno
    print(line.strip(), status, flush=True)
";
    let start = || lab.program("python3", &["-c", code]);
    let (mut one, mut two) = (start(), start());
    assert_eq!(tell(&mut one, "take"), 0);
    held_by(&lab, "b", one.pid(), "with its pid in it");
    assert_eq!(tell(&mut two, "take"), libc::EEXIST);
    one.kill();
    assert_eq!(tell(&mut two, "take"), 0);
    held_by(&lab, "b", two.pid(), "the other was killed");
    assert_eq!(tell(&mut two, "give"), 0);
    free(&lab, "b", "given back");
}
