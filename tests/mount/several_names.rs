//! Boards that are names of one file (`ln a b`): whoever waits for one of them with
//! flock gets that one, as soon as it is free, and under no other name.

use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};

use crate::lab::{Lab, NOBODY};
use crate::process::{PATIENCE, Running, eventually};
use crate::shown::{becomes_free, free, held_by};
use crate::trial::ROOT;
use crate::waiting::line_up;

pub fn tests() -> Vec<Trial> {
    trials![
        who_waits_for_a_name_that_is_removed_has_it_at_once("flock");
        a_killed_link_lockers_board_is_had_under_its_own_name("flock", ROOT);
        when_the_holder_ends_each_name_goes_to_who_waits_for_it("flock");
        a_name_that_is_renamed_away_goes_to_who_waits_for_it("flock");
        names_are_kept_apart_through_the_deaths_of_who_serves("flock");
        the_file_of_who_links_and_locks_is_of_both_names("python3", "flock");
        an_open_file_shows_its_own_board("python3", "flock");
        opens_of_names_that_come_and_go_lock_what_they_name("python3");
    ]
}

/// `flock BOARD`, which says when it has it and goes when it is told to.
fn flock(lab: &Lab, board: &str) -> Running {
    lab.spawn(
        "sh",
        &format!("exec flock {board} sh -c 'echo has; read x'"),
    )
}

/// The same, which waits behind nobody.
fn waits(lab: &Lab, board: &str) -> Running {
    let waits = flock(lab, board);
    line_up_at(lab, board, waits.pid());
    waits
}

fn line_up_at(lab: &Lab, board: &str, pid: u32) {
    eventually("it waits", PATIENCE, || {
        let found = crate::waiting::queue(lab, board);
        found.iter().any(|waiter| waiter.pid == pid)
    });
}

/// Nobody else takes or locks a board, by any way.
fn is_taken(lab: &Lab, board: &str) {
    lab.sh("sh", &format!("touch {board}")).fails(1);
    lab.sh("sh", &format!("flock -n {board} true")).fails(1);
    lab.sh("sh", &format!("mkdir {board}")).fails(1);
}

fn end(mut waits: Running) {
    waits.say("x");
    assert!(waits.wait(PATIENCE).status.success());
}

/// A script that has made `a` and `b` one file, and does what it is told.
fn linked(lab: &Lab) -> Running {
    let mut holder = lab.spawn(
        "sh",
        "touch a && ln a b; echo linked; while read -r line; do eval \"$line\"; echo \"= $?\"; done",
    );
    holder.expect("linked");
    holder
}

fn tell(holder: &mut Running, line: &str) {
    holder.say(line);
    holder.expect("= 0");
}

fn links(lab: &Lab, board: &str) -> u64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(lab.path(board)).unwrap().nlink()
}

fn who_waits_for_a_name_that_is_removed_has_it_at_once() {
    for (gone, left) in [("a", "b"), ("b", "a")] {
        let lab = Lab::new(&[]);
        let mut holder = linked(&lab);
        let mut by_gone = waits(&lab, gone);
        let mut by_left = waits(&lab, left);
        assert_eq!((links(&lab, "a"), links(&lab, "b")), (2, 2));
        tell(&mut holder, &format!("rm {gone}"));
        by_gone.expect("has");
        is_taken(&lab, gone);
        is_taken(&lab, left);
        held_by(&lab, left, holder.pid(), "the other name");
        line_up(&lab, left, &[by_left.pid()]);
        assert_eq!((links(&lab, "a"), links(&lab, "b")), (1, 1));
        // What the holder does with its name is nothing to the other.
        tell(&mut holder, &format!("rm {left}"));
        by_left.expect("has");
        is_taken(&lab, gone);
        end(by_gone);
        becomes_free(&lab, gone);
        is_taken(&lab, left);
        end(by_left);
        becomes_free(&lab, left);
    }
}

fn a_killed_link_lockers_board_is_had_under_its_own_name() {
    let lab = Lab::new(&[]);
    let mut locker = lab.spawn("sh", "echo $$ >tmp && ln tmp b && echo linked; read x");
    locker.expect("linked");
    let mut first = waits(&lab, "b");
    let mut second = flock(&lab, "b");
    line_up(&lab, "b", &[first.pid(), second.pid()]);
    locker.kill();
    first.expect("has");
    // It has never heard of the other name.
    becomes_free(&lab, "tmp");
    is_taken(&lab, "b");
    assert_eq!(links(&lab, "b"), 1);
    // Given back by `rm`, as root may: who waits behind has `b`, nobody else.
    lab.sh("sh", "rm b").ok();
    second.expect("has");
    is_taken(&lab, "b");
    free(&lab, "tmp");
    lab.sh_as(NOBODY, "sh", "touch tmp && rm tmp").ok();
    end(second);
    end(first);
    assert_eq!(lab.boards(), [""; 0]);
}

fn when_the_holder_ends_each_name_goes_to_who_waits_for_it() {
    let lab = Lab::new(&[]);
    let mut holder = linked(&lab);
    let mut by_b = waits(&lab, "b");
    let mut by_a = waits(&lab, "a");
    let mut behind = flock(&lab, "a");
    line_up_at(&lab, "a", behind.pid());
    holder.kill();
    by_a.expect("has");
    by_b.expect("has");
    line_up(&lab, "a", &[behind.pid()]);
    line_up(&lab, "b", &[]);
    end(by_b);
    becomes_free(&lab, "b");
    is_taken(&lab, "a");
    end(by_a);
    behind.expect("has");
    end(behind);
    becomes_free(&lab, "a");
}

fn a_name_that_is_renamed_away_goes_to_who_waits_for_it() {
    let lab = Lab::new(&[]);
    let mut holder = linked(&lab);
    let mut by_a = waits(&lab, "a");
    tell(&mut holder, "mv a c");
    by_a.expect("has");
    is_taken(&lab, "a");
    held_by(&lab, "b", holder.pid(), "the other name");
    held_by(&lab, "c", holder.pid(), "the new name");
    assert_eq!((links(&lab, "a"), links(&lab, "b")), (1, 2));
    end(by_a);
    becomes_free(&lab, "a");
}

/// Kills the process that serves; the next one goes on.
fn kill(lab: &Lab) {
    let before = lab.daemon_pid();
    kill_process(
        Pid::from_raw(before.try_into().unwrap()).unwrap(),
        Signal::KILL,
    )
    .unwrap();
    eventually("another serves", PATIENCE, || lab.daemon_pid() != before);
}

fn names_are_kept_apart_through_the_deaths_of_who_serves() {
    let lab = Lab::new(&[]);
    let mut holder = linked(&lab);
    let mut by_a = waits(&lab, "a");
    let mut by_b = waits(&lab, "b");
    kill(&lab);
    line_up_at(&lab, "a", by_a.pid());
    tell(&mut holder, "rm a");
    by_a.expect("has");
    line_up(&lab, "b", &[by_b.pid()]);
    kill(&lab);
    is_taken(&lab, "a");
    held_by(&lab, "b", holder.pid(), "the other name");
    line_up(&lab, "b", &[by_b.pid()]);
    holder.kill();
    by_b.expect("has");
    kill(&lab);
    is_taken(&lab, "a");
    is_taken(&lab, "b");
    end(by_a);
    becomes_free(&lab, "a");
    is_taken(&lab, "b");
    end(by_b);
    becomes_free(&lab, "b");
}

fn the_file_of_who_links_and_locks_is_of_both_names() {
    let lab = Lab::new(&[]);
    let mut holder = lab.python();
    holder.ok("fd = os.open('tmp', os.O_CREAT|os.O_EXCL|os.O_RDWR); os.link('tmp', 'b')");
    assert_eq!(holder.ok("os.fstat(fd).st_nlink"), "2");
    let mut by_b = waits(&lab, "b");
    holder.ok("os.unlink('tmp'); os.write(fd, b'mine')");
    assert_eq!(holder.ok("os.fstat(fd).st_nlink"), "1");
    assert_eq!(std::fs::read(lab.path("b")).unwrap(), b"mine");
    assert_eq!(
        holder.ok("os.fstat(fd).st_ino == os.stat('b').st_ino"),
        "True"
    );
    holder.ok("fcntl.flock(fd, fcntl.LOCK_EX)");
    held_by(&lab, "b", holder.pid(), "locked");
    line_up(&lab, "b", &[by_b.pid()]);
    holder.ok("fcntl.flock(fd, fcntl.LOCK_UN)");
    by_b.expect("has");
    end(by_b);
}

fn an_open_file_shows_its_own_board() {
    let lab = Lab::new(&[]);
    let mut holder = linked(&lab);
    let mut client = lab.python();
    client.ok("fd = os.open('a', os.O_RDWR|os.O_APPEND)");
    client.begin("fcntl.flock(fd, fcntl.LOCK_EX)");
    line_up(&lab, "a", &[client.pid()]);
    tell(&mut holder, "rm a");
    client.done("flock");
    // It can tell that it has a board, may write to it, and renew and read it.
    held_by(&lab, "a", client.pid(), "locked");
    client.ok("os.write(fd, b'note')");
    assert_eq!(std::fs::read(lab.path("a")).unwrap(), b"note");
    client.ok("os.ftruncate(fd, 2)");
    assert_eq!(std::fs::read(lab.path("a")).unwrap(), b"no");
    assert_eq!(client.ok("os.pread(fd, 100, 0)"), "b'no'");
    tell(&mut holder, "rm b");
    // The kernel's number of it stands for nothing else by now.
    assert_eq!(client.ok("os.fstat(fd).st_nlink"), "1");
    assert_eq!(client.ok("os.fstat(fd).st_size"), "2");
    client.ok("os.unlink('a')");
    assert_eq!(client.ok("os.fstat(fd).st_nlink"), "0");
    assert_eq!(lab.boards(), [""; 0]);
}

/// Lockers that link, and flocks of each name, all at once: who has locked a name has
/// it alone.
fn opens_of_names_that_come_and_go_lock_what_they_name() {
    let lab = Lab::new(&[]);
    let outside = tempfile::tempdir().unwrap();
    let script = format!(
        "python3 - {} <<'END'\n{}\nEND",
        outside.path().display(),
        STORM
    );
    let output = lab.sh("sh", &script).ok();
    assert!(output.stdout.contains("all alone"), "{output}");
    assert_eq!(lab.boards(), [""; 0]);
}

/// Each child that believes that it has `a` or `b` takes a lock of the kernel's elsewhere
/// for it, which must be free.
const STORM: &str = r#"
import fcntl, os, random, signal, sys, time
outside = sys.argv[1]
def alone(name):
    fd = os.open(outside + '/' + name, os.O_CREAT | os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    time.sleep(random.random() / 500)
    return fd
def link(seed):
    for turn in range(60):
        one, other = random.sample('ab', 2)
        try:
            os.close(os.open(one, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            continue
        first = alone(one)
        second = None
        try:
            os.link(one, other)
            second = alone(other)
        except FileExistsError:
            pass
        os.close(first)
        os.unlink(one)
        if second is not None:
            time.sleep(random.random() / 500)
            os.close(second)
            os.unlink(other)
def lock(seed):
    for turn in range(120):
        name = random.choice('ab')
        fd = os.open(name, os.O_CREAT | os.O_RDWR | os.O_APPEND)
        fcntl.flock(fd, fcntl.LOCK_EX)
        mine = alone(name)
        os.close(mine)
        os.close(fd)
children = []
for seed in range(8):
    pid = os.fork()
    if pid == 0:
        random.seed(seed)
        signal.alarm(50)
        try:
            (link if seed < 3 else lock)(seed)
        except BaseException as error:
            print(seed, repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    children.append(pid)
ends = [os.waitpid(pid, 0)[1] for pid in children]
print('all alone' if not any(ends) else ends)
"#;
