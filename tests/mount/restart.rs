//! What was held when the daemon ended, and is when it is started again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};

use crate::lab::{NOBODY, copy_program, serving};
use crate::process::{Output, PATIENCE, Running, eventually};
use crate::site::{Site, end};
use crate::small::Small;
use crate::trial::{ROOT, which};

pub fn tests() -> Vec<Trial> {
    trials![
        the_living_keep_what_they_had();
        what_the_dead_had_is_free();
        tokens_go_on_growing();
        a_stop_and_a_start_keep_it_too();
        what_is_detached_stays_until_it_expires(ROOT, "dash");
        content_links_and_directories_are_there_again();
        a_locked_board_is_the_openers_from_then_on("flock");
        waits_of_a_daemon_before_are_over("flock");
        losers_stay_losers();
        what_ended_is_remembered("jq");
        none_is_recorded_that_was_not_wanted();
        a_full_disk_gives_nothing_out_and_takes_back(ROOT, "mount", "umount");
        a_state_file_that_is_not_good_is_told_of();
        a_state_file_among_a_users_files_is_refused(ROOT);
        killed_while_boards_come_and_go("python3");
    ]
}

const DAEMON: &str = "locks";

/// A daemon with a state file of its own, which can be killed and started again.
struct Served {
    daemon: Option<Running>,
    args: Vec<String>,
    site: Site,
}

impl Served {
    fn new(args: &[&str]) -> Served {
        let site = Site::new();
        fs::create_dir(site.path(DAEMON)).unwrap();
        let mut served = Served {
            daemon: None,
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            site,
        };
        served.start();
        served
    }

    fn start(&mut self) {
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        self.daemon = Some(self.site.serve(DAEMON, &args));
    }

    /// Kills the daemon and starts another; what that one said.
    fn again(&mut self) -> String {
        self.kill();
        self.start();
        self.daemon.as_ref().unwrap().stderr()
    }

    fn kill(&mut self) {
        let Some(mut daemon) = self.daemon.take() else {
            return;
        };
        let serves = serving(daemon.pid());
        daemon.kill();
        eventually("nobody serves", PATIENCE, || {
            !Path::new(&format!("/proc/{serves}")).exists()
        });
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.site.path(DAEMON).join(name)
    }

    /// A shell in the lock directory.
    fn shell(&self) -> Running {
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg("while read -r line; do eval \"$line\"; echo \"= $?\"; done");
        command.current_dir("/").env("L", self.site.path(DAEMON));
        Running::start(command)
    }

    fn run(&self, script: &str) -> Output {
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir("/");
        command.env("L", self.site.path(DAEMON));
        Running::start(command).wait(PATIENCE)
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path(name)).ok()
    }

    fn holder(&self, name: &str) -> Option<u32> {
        let text = self.read(name)?;
        text.split_whitespace().nth(1)?.parse().ok()
    }
}

/// Says a line to a shell; the status.
fn tell(shell: &mut Running, line: &str) -> String {
    shell.say(line);
    shell.line()
}

fn value(status: &str, key: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.unwrap_or_else(|| panic!("no {key} in {status}"))
        .trim()
        .to_owned()
}

fn the_living_keep_what_they_had() {
    let mut served = Served::new(&[]);
    let mut one = served.shell();
    let mut two = served.shell();
    assert_eq!(tell(&mut one, "touch $L/a"), "= 0");
    assert_eq!(tell(&mut two, "echo note >$L/b"), "= 0");
    let before = (served.read("a").unwrap(), served.read("b").unwrap());
    let said = served.again();
    assert!(said.contains("2 held still, 0 whose"), "{said}");
    let after = (served.read("a").unwrap(), served.read("b").unwrap());
    assert_eq!(before, after);
    assert_eq!(served.holder("a"), Some(one.pid()));
    // They exclude others, are given back, and end with their processes.
    served.run("touch $L/a").fails(1);
    assert_eq!(tell(&mut two, "rm $L/b"), "= 0");
    served.run("touch $L/b && rm $L/b").ok();
    assert_eq!(tell(&mut two, "touch $L/b"), "= 0");
    drop(one);
    eventually("it is free", PATIENCE, || served.holder("a").is_none());
    assert_eq!(served.holder("b"), Some(two.pid()));
}

fn what_the_dead_had_is_free() {
    let mut served = Served::new(&[]);
    let mut one = served.shell();
    let mut two = served.shell();
    assert_eq!(
        tell(&mut one, "touch $L/a $L/b; mkdir $L/d; touch $L/d/c"),
        "= 0"
    );
    assert_eq!(tell(&mut two, "touch $L/x"), "= 0");
    served.kill();
    drop(one);
    served.start();
    let said = served.daemon.as_ref().unwrap().stderr();
    assert!(
        said.contains("1 held still, 4 whose holders ended"),
        "{said}"
    );
    assert_eq!(served.run("ls $L").ok().stdout, "x\n");
    served.run("touch $L/a").ok();
}

fn tokens_go_on_growing() {
    let mut served = Served::new(&[]);
    let token = |served: &Served| -> u64 {
        let mut shell = served.shell();
        assert_eq!(tell(&mut shell, "touch $L/b"), "= 0");
        let status = served.read("b").unwrap();
        assert_eq!(tell(&mut shell, "rm $L/b"), "= 0");
        value(&status, "token").parse().unwrap()
    };
    let mut last = 0;
    for _ in 0..3 {
        let (one, two) = (token(&served), token(&served));
        assert!(last < one && one < two, "{last} {one} {two}");
        last = two;
        served.again();
    }
}

fn a_stop_and_a_start_keep_it_too() {
    let mut served = Served::new(&[]);
    let mut one = served.shell();
    assert_eq!(tell(&mut one, "touch $L/a"), "= 0");
    let daemon = served.daemon.take().unwrap();
    let pid = Pid::from_raw(daemon.pid().cast_signed()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    daemon.wait(PATIENCE).ok();
    // Nobody gets it meanwhile.
    assert!(
        fs::read_dir(served.site.path(DAEMON))
            .unwrap()
            .next()
            .is_none()
    );
    served.start();
    assert_eq!(served.holder("a"), Some(one.pid()));
}

fn what_is_detached_stays_until_it_expires() {
    let mut served = Served::new(&["--session-manager", "lab-sshd"]);
    let temp = tempfile::tempdir().unwrap();
    let manager = temp.path().join("lab-sshd");
    copy_program(&which("dash").unwrap(), &manager);
    let lock = |served: &Served, name: &str, date: &str| {
        let script = format!("setsid touch -d '{date}' $L/{name}; sleep 0");
        let mut command = Command::new(&manager);
        command.args(["-c", &script]).current_dir("/");
        command.env("L", served.site.path(DAEMON));
        Running::start(command).wait(PATIENCE).ok();
        let status = served.read(name).unwrap();
        assert!(status.contains("detached"), "{status}");
        status
    };
    let long = lock(&served, "long", "+2 hours");
    lock(&served, "short", "+4 seconds");
    served.again();
    let lasting = |status: &str| -> Vec<String> {
        let counts = |line: &&str| !line.starts_with("expires_in_seconds");
        status.lines().filter(counts).map(str::to_owned).collect()
    };
    assert_eq!(lasting(&served.read("long").unwrap()), lasting(&long));
    eventually("it expires", PATIENCE, || served.read("short").is_none());
    // One that expires while nobody serves is gone, too.
    lock(&served, "brief", "+3 seconds");
    served.kill();
    let begun = Instant::now();
    eventually("its time is over", PATIENCE, || {
        begun.elapsed() > Duration::from_millis(3100)
    });
    served.start();
    assert_eq!(served.run("ls $L").ok().stdout, "long\n");
}

fn content_links_and_directories_are_there_again() {
    let mut served = Served::new(&[]);
    let mut one = served.shell();
    let script =
        "cd $L; echo \"0 $$\" >tmp; ln tmp board; mkdir d; echo in >d/x; ln -s to sym; cd /";
    assert_eq!(tell(&mut one, script), "= 0");
    let look = "cd $L; stat -c '%n %i %h %s %A %z' * d/*; cat board d/x; readlink sym";
    let before = served.run(look).ok().stdout;
    served.again();
    assert_eq!(served.run(look).ok().stdout, before);
    // A symbolic link still keeps its target from being made.
    served.run("touch $L/to").fails(1);
    assert_eq!(
        tell(&mut one, "cd $L; rm tmp board d/x sym; rmdir d; cd /"),
        "= 0"
    );
    assert_eq!(served.run("ls $L").ok().stdout, "");
}

fn a_locked_board_is_the_openers_from_then_on() {
    let mut served = Served::new(&[]);
    let mut one = served.shell();
    assert_eq!(tell(&mut one, "exec 9>$L/b; flock 9"), "= 0");
    served.again();
    // Its file is not connected any more, and it believes that it has the lock.
    assert_eq!(served.holder("b"), Some(one.pid()));
    served.run("flock -n $L/b true").fails(1);
    served.run("touch $L/b").fails(1);
    drop(one);
    eventually("it is free", PATIENCE, || served.read("b").is_none());
    served.run("flock -n $L/b true").ok();
}

fn waits_of_a_daemon_before_are_over() {
    let mut served = Served::new(&[]);
    let mut one = served.shell();
    let mut two = served.shell();
    assert_eq!(tell(&mut one, "exec 9>$L/b; flock 9"), "= 0");
    two.say("exec 9>$L/b; flock 9");
    eventually("it waits", PATIENCE, || {
        value(&served.read("b").unwrap(), "waiters") == "1"
    });
    served.again();
    assert_ne!(two.line(), "= 0");
    // Not the death of the first one that serves, which would be an end.
    let daemon = served.daemon.as_ref().unwrap();
    let serves = serving(daemon.pid());
    kill_process(Pid::from_raw(serves.cast_signed()).unwrap(), Signal::KILL).unwrap();
    eventually("another serves", PATIENCE, || {
        daemon.stderr().contains("is served on")
    });
    assert_eq!(served.holder("b"), Some(one.pid()));
    assert_eq!(value(&served.read("b").unwrap(), "waiters"), "0");
    one.kill();
    served.run("touch $L/b && rm $L/b").ok();
}

fn losers_stay_losers() {
    let mut served = Served::new(&[]);
    let mut winner = served.shell();
    let mut loser = served.shell();
    assert_eq!(tell(&mut winner, "touch $L/b"), "= 0");
    assert_eq!(tell(&mut loser, "touch $L/b 2>/dev/null"), "= 1");
    served.again();
    assert_eq!(tell(&mut loser, "rm -f $L/b 2>/dev/null"), "= 1");
    assert_eq!(served.holder("b"), Some(winner.pid()));
}

fn what_ended_is_remembered() {
    let place = Site::new();
    let state = place.path("state");
    let mut served = Served::new(&["--state", state.to_str().unwrap()]);
    let mut one = served.shell();
    assert_eq!(tell(&mut one, "touch $L/a $L/b; rm $L/a"), "= 0");
    // A little later than it ends, which a kill can be faster than.
    eventually("it is written", PATIENCE, || {
        let history = fs::read_to_string(place.path("state.history"));
        history.is_ok_and(|text| text.contains("released"))
    });
    served.kill();
    drop(one);
    served.start();
    let told = "jq -rc '.holds[] | [.board, .how, .token]' $L/.boardlock/history.json";
    let lines = "[\"a\",\"released\",1]\n[\"b\",\"died\",2]\n";
    eventually("what ended meanwhile is told", PATIENCE, || {
        served.run(told).ok().stdout == lines
    });
    served.run("touch $L/c; rm $L/c").ok();
    // Stopped, it writes what it has.
    end(served.daemon.take().unwrap(), Signal::TERM);
    served.start();
    let more = format!("{lines}[\"c\",\"released\",3]\n");
    assert_eq!(served.run(told).ok().stdout, more);
}

fn none_is_recorded_that_was_not_wanted() {
    let mut served = Served::new(&["--state", "none"]);
    let mut one = served.shell();
    assert_eq!(tell(&mut one, "touch $L/a"), "= 0");
    served.again();
    assert_eq!(served.run("ls $L").ok().stdout, "");
}

fn a_full_disk_gives_nothing_out_and_takes_back() {
    let place = Site::new();
    let small = Small::new(&place.path("small"));
    let file = small.0.join("state");
    let mut served = Served::new(&["--state", file.to_str().unwrap()]);
    let mut one = served.shell();
    assert_eq!(tell(&mut one, "touch $L/a"), "= 0");
    served
        .run(&format!(
            "head -c 1000000 /dev/zero >{}/full",
            small.0.display()
        ))
        .fails(1);
    // What is reserved is used up first.
    let script = "i=0; while touch $L/x$i && [ $i -lt 9999 ]; do i=$((i + 1)); done 2>&1";
    let mut many = served.shell();
    many.say(script);
    let mut said = many.line();
    while !said.contains("No space left on device") {
        assert!(said != "= 0", "it went on");
        said = many.line();
    }
    // Giving back still works, and is recorded.
    assert_eq!(tell(&mut one, "rm $L/a"), "= 0");
    let left = served.run("ls $L").ok().stdout;
    served.again();
    assert_eq!(served.run("ls $L").ok().stdout, left);
    served.run("touch $L/a").fails(1);
    fs::remove_file(small.0.join("full")).unwrap();
    eventually("there is room", PATIENCE, || {
        served.run("touch $L/a").status.success()
    });
}

fn a_state_file_among_a_users_files_is_refused() {
    // Whoever serves could not replace it, and the user could.
    let site = Site::new();
    let theirs = site.path("theirs");
    fs::create_dir(&theirs).unwrap();
    std::os::unix::fs::chown(&theirs, Some(NOBODY), Some(NOBODY)).unwrap();
    let state = theirs.join("state").display().to_string();
    site.refused(DAEMON, &["--state", &state], 1, &["of root's own"]);
    assert_eq!(site.mounts(), 0);
    assert_eq!(fs::read_dir(&theirs).unwrap().count(), 0);
    fs::set_permissions(&theirs, PermissionsExt::from_mode(0o1777)).unwrap();
    end(site.serve(DAEMON, &["--state", &state]), Signal::TERM);
}

fn a_state_file_that_is_not_good_is_told_of() {
    let mut served = Served::new(&[]);
    served.kill();
    let file = served.site.path(&format!("{DAEMON}.state"));
    for (text, words) in [
        ("boardlock state 7\n...", "was written by a later boardlock"),
        ("0 12345\n", "is no state file of boardlock's"),
        (
            "boardlock state 1\nxxxxxxxxxxxxxxxxx",
            "is damaged at byte 18",
        ),
    ] {
        fs::write(&file, text).unwrap();
        served
            .site
            .refused(DAEMON, &[], 1, &[words, "may be in use", "--state FILE"]);
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
        // Nothing is served, and nobody can take anything.
        assert!(!served.path("b").exists());
    }
    let dir = served.site.path("dir");
    fs::create_dir(&dir).unwrap();
    let args = ["--state", dir.to_str().unwrap()];
    served
        .site
        .refused(DAEMON, &args, 1, &["cannot open the state file"]);
}

fn killed_while_boards_come_and_go() {
    // Each of them tells what it was told, and the daemon is killed all the time.
    const CLIENT: &str = "
import os, sys
lock, names = sys.argv[1], sys.argv[2:]
print('ready', flush=True)
for line in sys.stdin:
    done = ''
    for name in names:
        try:
            os.close(os.open(lock + '/' + name, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            done += name + ' '
        except OSError:
            break
    print(done, flush=True)
    sys.stdin.readline()
    for name in done.split():
        os.unlink(lock + '/' + name)
    print('gone', flush=True)
";
    let mut served = Served::new(&[]);
    let names: Vec<String> = (0..200).map(|number| format!("b{number}")).collect();
    for round in 0..10 {
        let mut command = Command::new(crate::client::python());
        command.args(["-c", CLIENT]).arg(served.site.path(DAEMON));
        command.args(&names).current_dir("/");
        let mut client = Running::start(command);
        client.expect("ready");
        client.say("go");
        std::thread::sleep(Duration::from_millis(round * 3));
        served.again();
        let told = client.line();
        let mut held: Vec<&str> = told.split_whitespace().collect();
        held.sort_unstable();
        let listed = served.run("ls $L").ok().stdout;
        let mut shown: Vec<&str> = listed.lines().collect();
        shown.sort_unstable();
        // What was told is held; of what was being asked for nobody was told.
        shown.retain(|name| held.contains(name));
        assert_eq!(shown, held, "round {round}");
        assert!(listed.lines().count() <= held.len() + 1, "{listed}");
        client.say("go on");
        client.expect("gone");
        drop(client);
        eventually("all are free", PATIENCE, || {
            served.run("ls $L").ok().stdout.is_empty()
        });
    }
}
