//! tbot's LockManager, command by command as it sends them to an interactive
//! bash on the lab host.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;

use crate::lab::Lab;
use crate::process::{PATIENCE, Running, eventually};
use crate::shown::{free, held_by};

pub fn tests() -> Vec<Trial> {
    trials![
        one_shell_takes_and_gives_back("bash", "flock", "ps");
        a_killed_shell_frees_its_board("bash", "flock", "ps");
        an_expired_lock_stays_with_a_living_shell("bash", "flock", "ps");
        eight_shells_have_one_board_one_at_a_time("bash", "flock", "ps");
    ]
}

/// An interactive bash on the lab host, as tbot drives it.
struct Host {
    bash: Running,
    dir: String,
    commands: u32,
}

impl Host {
    fn new(lab: &Lab) -> Host {
        Host {
            bash: lab.program("bash", &["--norc", "-i"]),
            dir: lab.dir().display().to_string(),
            commands: 0,
        }
    }

    /// Runs a command: its exit status and what it said.
    fn exec(&mut self, command: &str) -> (i32, String) {
        self.commands += 1;
        // Between them nothing is said but by the command; what is typed is
        // not shown, the input being no terminal.
        let end = format!("--- {}", self.commands);
        self.bash.say(command);
        self.bash
            .say(&format!("status=$?; echo; echo {end} $status"));
        let mut said = String::new();
        loop {
            let line = self.bash.line();
            if let Some(status) = line.strip_prefix(&format!("{end} ")) {
                // The empty line before the end is ours.
                let said = said.strip_suffix("\n").unwrap_or(&said).to_owned();
                return (status.parse().unwrap(), said);
            }
            said.push_str(&line);
            said.push('\n');
        }
    }

    fn exec0(&mut self, command: &str) -> String {
        let (status, said) = self.exec(command);
        assert_eq!(status, 0, "{command}: {said}{}", self.bash.stderr());
        said
    }

    /// Whether the lock was got; `seconds` until it expires, or 0.
    fn request(&mut self, name: &str, seconds: u64) -> bool {
        self.acquire(name, seconds) || (self.expired(name) && self.acquire(name, seconds))
    }

    fn acquire(&mut self, name: &str, seconds: u64) -> bool {
        let dir = self.dir.clone();
        let temporary = self.exec0(&format!("mktemp -p {dir} lock.XXX"));
        let temporary = temporary.trim_end().to_owned();
        let expiry = match seconds {
            0 => 0,
            _ => self.now() + seconds,
        };
        let pid = self.exec0("echo $$");
        let pid = pid.trim_end();
        self.exec0(&format!("chmod 0666 {temporary}"));
        self.exec0(&format!(
            "tee {temporary} >/dev/null <<TBOT\n{expiry} {pid}\nTBOT"
        ));
        let (linked, _) = self.exec(&format!("ln {temporary} {dir}/{name}"));
        self.exec0(&format!("rm {temporary}"));
        linked == 0
    }

    /// Whether the lock had expired and was removed.
    fn expired(&mut self, name: &str) -> bool {
        let guard = format!("{}/lock-lock", self.dir);
        // Until file locks are served, the claim that this open makes stands
        // until its shell ends. tbot raises an error, and has no lock.
        if self.exec(&format!("exec 9> {guard}")).0 != 0 {
            return false;
        }
        self.exec0("flock 9");
        self.exec(&format!("chmod 0666 {guard}"));
        let removed = self.remove_expired(name);
        self.exec0("flock -u 9");
        self.exec0("exec 9>&-");
        removed
    }

    fn remove_expired(&mut self, name: &str) -> bool {
        let lock = format!("{}/{name}", self.dir);
        let (status, content) = self.exec(&format!("cat {lock}"));
        if status != 0 {
            return false;
        }
        let mut words = content.split_whitespace().map(|word| word.parse::<u64>());
        let (Some(Ok(expiry)), Some(Ok(pid))) = (words.next(), words.next()) else {
            panic!("not as tbot reads it: {content:?}");
        };
        if expiry == 0 || expiry >= self.now() {
            return false;
        }
        let (status, command) = self.exec(&format!("ps -ocomm= {pid}"));
        if status == 0 && command.trim() == "bash" {
            return false;
        }
        self.exec(&format!("rm {lock}"));
        true
    }

    fn now(&mut self) -> u64 {
        self.exec0("date +%s").trim().parse().unwrap()
    }

    fn release(&mut self, name: &str) {
        let dir = &self.dir.clone();
        self.exec0(&format!("rm {dir}/{name}"));
    }

    fn end(mut self) {
        self.bash.close();
        self.bash.wait(PATIENCE);
    }
}

fn one_shell_takes_and_gives_back() {
    let lab = Lab::new(&[]);
    let (mut one, mut two) = (Host::new(&lab), Host::new(&lab));
    for seconds in [0, 3600] {
        assert!(one.request("board", seconds));
        held_by(&lab, "board", one.bash.pid(), "taken");
        let content = fs::read_to_string(lab.path("board")).unwrap();
        let (expiry, pid) = content.trim_end().split_once(' ').unwrap();
        assert_eq!(pid, one.bash.pid().to_string());
        let ahead = expiry.parse::<u64>().unwrap() > 1_000_000_000;
        assert_eq!(ahead, seconds > 0, "{content}");
        assert!(!two.request("board", seconds));
        held_by(&lab, "board", one.bash.pid(), "the other tried");
        one.release("board");
        free(&lab, "board", "given back");
        assert!(two.request("board", seconds));
        held_by(&lab, "board", two.bash.pid(), "taken by the other");
        two.release("board");
    }
    one.end();
    two.end();
    assert_eq!(fs::read_dir(lab.dir()).unwrap().count(), 0);
}

fn a_killed_shell_frees_its_board() {
    let lab = Lab::new(&[]);
    for seconds in [0, 3600] {
        let (mut one, mut two) = (Host::new(&lab), Host::new(&lab));
        assert!(one.request("board", seconds));
        one.bash.kill();
        free(&lab, "board", "its shell was killed");
        assert!(two.request("board", seconds));
        held_by(&lab, "board", two.bash.pid(), "taken by the other");
        two.end();
        assert_eq!(fs::read_dir(lab.dir()).unwrap().count(), 0);
    }
}

fn an_expired_lock_stays_with_a_living_shell() {
    let lab = Lab::new(&[]);
    let (mut one, mut two) = (Host::new(&lab), Host::new(&lab));
    assert!(one.request("board", 1));
    let taken = two.now();
    eventually("its time is up", PATIENCE, || two.now() > taken + 2);
    assert!(!two.request("board", 0));
    held_by(
        &lab,
        "board",
        one.bash.pid(),
        "expired, and its shell lives",
    );
    one.bash.kill();
    assert!(two.request("board", 0));
    two.end();
}

/// How often the board is to be held, by all together.
const HOLDS: u32 = 120;
/// How often in all a shell is killed while it has the board.
const KILLS: u32 = 10;

fn eight_shells_have_one_board_one_at_a_time() {
    let lab = Lab::new(&[]);
    let temp = tempfile::tempdir().unwrap();
    let witness = temp.path().join("witness");
    let (holds, kills) = (AtomicU32::new(0), AtomicU32::new(0));
    let at_once = AtomicUsize::new(0);
    let most = AtomicUsize::new(0);
    let deadline = Instant::now() + Duration::from_secs(120);
    std::thread::scope(|scope| {
        for number in 0..8_u32 {
            let (lab, witness) = (&lab, &witness);
            let (holds, kills, at_once, most) = (&holds, &kills, &at_once, &most);
            scope.spawn(move || {
                let mut host = Host::new(lab);
                let mut turn = number;
                while holds.load(Ordering::Relaxed) < HOLDS {
                    assert!(Instant::now() < deadline, "no end: {holds:?}");
                    most.fetch_max(
                        at_once.fetch_add(1, Ordering::Relaxed) + 1,
                        Ordering::Relaxed,
                    );
                    let seconds = if turn.is_multiple_of(2) { 0 } else { 3600 };
                    let got = host.request("board", seconds);
                    at_once.fetch_sub(1, Ordering::Relaxed);
                    turn = turn.wrapping_add(1);
                    if !got {
                        continue;
                    }
                    witnessed(witness, number);
                    held_by(lab, "board", host.bash.pid(), "while it is held");
                    let held = holds.fetch_add(1, Ordering::Relaxed);
                    fs::remove_file(witness).unwrap();
                    if held % 10 == 9 && kills.fetch_add(1, Ordering::Relaxed) < KILLS {
                        host.bash.kill();
                        host = Host::new(lab);
                    } else {
                        host.release("board");
                    }
                }
                host.end();
            });
        }
    });
    assert!(most.into_inner() > 1, "they never asked at the same time");
    assert!(kills.into_inner() >= KILLS);
    let left: Vec<_> = fs::read_dir(lab.dir())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Outside the mount: there must be no other holder now.
#[track_caller]
fn witnessed(witness: &Path, number: u32) {
    match fs::File::create_new(witness) {
        Ok(_) => fs::write(witness, number.to_string()).unwrap(),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {
            panic!("{number} and {:?} have it", fs::read_to_string(witness))
        }
        Err(e) => panic!("{e}"),
    }
}
