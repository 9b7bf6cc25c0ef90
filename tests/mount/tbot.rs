//! tbot's LockManager, command by command as it sends them to an interactive
//! bash on the lab host.

use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};

use crate::lab::Lab;
use crate::process::{PATIENCE, Running, eventually};
use crate::shown::{free, held_by, holder};

pub fn tests() -> Vec<Trial> {
    trials![
        one_shell_takes_and_gives_back("bash", "flock", "ps");
        a_killed_shell_frees_its_board("bash", "flock", "ps");
        an_expired_lock_stays_with_a_living_shell("bash", "flock", "ps");
        eight_shells_have_one_board_one_at_a_time("bash", "flock", "ps");
    ]
}

/// An interactive bash on the lab host, as tbot drives it.
pub struct Host {
    pub bash: Running,
    dir: String,
    commands: u32,
}

/// The bash is gone: somebody killed it.
#[derive(Debug)]
pub struct Killed;

impl Host {
    pub fn new(lab: &Lab) -> Host {
        Host {
            bash: lab.program("bash", &["--norc", "-i"]),
            dir: lab.dir().display().to_string(),
            commands: 0,
        }
    }

    /// Runs a command: its exit status and what it said.
    fn exec(&mut self, command: &str) -> Result<(i32, String), Killed> {
        self.commands += 1;
        // Between them nothing is said but by the command; what is typed is
        // not shown, the input being no terminal.
        let end = format!("--- {}", self.commands);
        let typed = format!("{command}\nstatus=$?; echo; echo {end} $status");
        if !self.bash.try_say(&typed) {
            return Err(Killed);
        }
        let mut said = String::new();
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            // A child that outlives it has its output open still.
            let Some(line) = self.bash.next_line(Duration::from_millis(100)) else {
                match self.bash.ended(Duration::ZERO) {
                    Some(_) => return Err(Killed),
                    None => continue,
                }
            };
            if let Some(status) = line.strip_prefix(&format!("{end} ")) {
                // The empty line before the end is ours.
                let said = said.strip_suffix("\n").unwrap_or(&said).to_owned();
                return Ok((status.parse().unwrap(), said));
            }
            said.push_str(&line);
            said.push('\n');
        }
        panic!("no end of {command}: {said}{}", self.bash.stderr());
    }

    fn exec0(&mut self, command: &str) -> Result<String, Killed> {
        let (status, said) = self.exec(command)?;
        assert_eq!(status, 0, "{command}: {said}{}", self.bash.stderr());
        Ok(said)
    }

    /// Whether the lock was got; `seconds` until it expires, or 0.
    pub fn request(&mut self, name: &str, seconds: u64) -> Result<bool, Killed> {
        Ok(self.acquire(name, seconds)? || (self.expired(name)? && self.acquire(name, seconds)?))
    }

    fn acquire(&mut self, name: &str, seconds: u64) -> Result<bool, Killed> {
        let dir = self.dir.clone();
        let temporary = self.exec0(&format!("mktemp -p {dir} lock.XXX"))?;
        let temporary = temporary.trim_end().to_owned();
        let expiry = match seconds {
            0 => 0,
            _ => self.now()? + seconds,
        };
        let pid = self.exec0("echo $$")?;
        let pid = pid.trim_end();
        self.exec0(&format!("chmod 0666 {temporary}"))?;
        self.exec0(&format!(
            "tee {temporary} >/dev/null <<TBOT\n{expiry} {pid}\nTBOT"
        ))?;
        let (linked, _) = self.exec(&format!("ln {temporary} {dir}/{name}"))?;
        self.exec0(&format!("rm {temporary}"))?;
        Ok(linked == 0)
    }

    /// Whether the lock had expired and was removed. One shell at a time looks.
    fn expired(&mut self, name: &str) -> Result<bool, Killed> {
        let guard = format!("{}/lock-lock", self.dir);
        self.exec0(&format!("exec 9> {guard}"))?;
        self.exec0("flock 9")?;
        self.exec(&format!("chmod 0666 {guard}"))?;
        let removed = self.remove_expired(name)?;
        self.exec0("flock -u 9")?;
        self.exec0("exec 9>&-")?;
        Ok(removed)
    }

    fn remove_expired(&mut self, name: &str) -> Result<bool, Killed> {
        let lock = format!("{}/{name}", self.dir);
        let (status, content) = self.exec(&format!("cat {lock}"))?;
        if status != 0 {
            return Ok(false);
        }
        let mut words = content.split_whitespace().map(|word| word.parse::<u64>());
        let (Some(Ok(expiry)), Some(Ok(pid))) = (words.next(), words.next()) else {
            panic!("not as tbot reads it: {content:?}");
        };
        if expiry == 0 || expiry >= self.now()? {
            return Ok(false);
        }
        let (status, command) = self.exec(&format!("ps -ocomm= {pid}"))?;
        if status == 0 && command.trim() == "bash" {
            return Ok(false);
        }
        self.exec(&format!("rm {lock}"))?;
        Ok(true)
    }

    fn now(&mut self) -> Result<u64, Killed> {
        Ok(self.exec0("date +%s")?.trim().parse().unwrap())
    }

    pub fn release(&mut self, name: &str) -> Result<(), Killed> {
        let dir = &self.dir.clone();
        self.exec0(&format!("rm {dir}/{name}"))?;
        Ok(())
    }

    pub fn end(mut self) {
        self.bash.close();
        self.bash.wait(PATIENCE);
    }
}

fn one_shell_takes_and_gives_back() {
    let lab = Lab::new(&[]);
    let (mut one, mut two) = (Host::new(&lab), Host::new(&lab));
    for seconds in [0, 3600] {
        assert!(one.request("board", seconds).unwrap());
        held_by(&lab, "board", one.bash.pid(), "taken");
        let content = fs::read_to_string(lab.path("board")).unwrap();
        let (expiry, pid) = content.trim_end().split_once(' ').unwrap();
        assert_eq!(pid, one.bash.pid().to_string());
        let ahead = expiry.parse::<u64>().unwrap() > 1_000_000_000;
        assert_eq!(ahead, seconds > 0, "{content}");
        assert!(!two.request("board", seconds).unwrap());
        held_by(&lab, "board", one.bash.pid(), "the other tried");
        one.release("board").unwrap();
        free(&lab, "board", "given back");
        assert!(two.request("board", seconds).unwrap());
        held_by(&lab, "board", two.bash.pid(), "taken by the other");
        two.release("board").unwrap();
    }
    one.end();
    two.end();
    assert_eq!(fs::read_dir(lab.dir()).unwrap().count(), 0);
}

fn a_killed_shell_frees_its_board() {
    let lab = Lab::new(&[]);
    for seconds in [0, 3600] {
        let (mut one, mut two) = (Host::new(&lab), Host::new(&lab));
        assert!(one.request("board", seconds).unwrap());
        one.bash.kill();
        free(&lab, "board", "its shell was killed");
        assert!(two.request("board", seconds).unwrap());
        held_by(&lab, "board", two.bash.pid(), "taken by the other");
        two.end();
        assert_eq!(fs::read_dir(lab.dir()).unwrap().count(), 0);
    }
}

fn an_expired_lock_stays_with_a_living_shell() {
    let lab = Lab::new(&[]);
    let (mut one, mut two) = (Host::new(&lab), Host::new(&lab));
    assert!(one.request("board", 1).unwrap());
    let taken = two.now().unwrap();
    eventually("its time is up", PATIENCE, || {
        two.now().unwrap() > taken + 2
    });
    assert!(!two.request("board", 0).unwrap());
    held_by(
        &lab,
        "board",
        one.bash.pid(),
        "expired, and its shell lives",
    );
    one.bash.kill();
    assert!(two.request("board", 0).unwrap());
    two.end();
}

/// Shells at a time.
const SHELLS: usize = 8;
/// How often each of them asks for the board, and gives it back where it got it.
/// BOARDLOCK_RACES=8 makes it eight times as often.
const ROUNDS: u32 = 200;
/// A random shell is killed as often as this, whatever it does at that moment.
const BETWEEN_KILLS: Duration = Duration::from_secs(1);

/// What all of them see: who has the board, by what they were told.
#[derive(Default)]
struct Witness {
    holder: Mutex<Option<usize>>,
    taken: AtomicU32,
}

/// A shell that may be killed at any moment. Its number in the witness goes
/// before it does, so that who is given the board then finds no one there.
#[derive(Default)]
struct Place {
    pid: Mutex<Option<u32>>,
}

impl Place {
    /// A new shell in this place.
    fn sit(&self, host: &Host) {
        *self.pid.lock().unwrap() = Some(host.bash.pid());
    }

    /// The board is this shell's, unless it has been killed.
    fn got(&self, number: usize, witness: &Witness) -> bool {
        let pid = self.pid.lock().unwrap();
        if pid.is_none() {
            return false;
        }
        let before = witness.holder.lock().unwrap().replace(number);
        assert_eq!(before, None, "{number} has it, and another");
        witness.taken.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// It is about to give the board back.
    fn gives(&self, number: usize, witness: &Witness) {
        let _pid = self.pid.lock().unwrap();
        let mut holder = witness.holder.lock().unwrap();
        if *holder == Some(number) {
            *holder = None;
        }
    }

    /// Kills the shell, if there is one.
    fn kill(&self, number: usize, witness: &Witness) -> bool {
        let mut pid = self.pid.lock().unwrap();
        let Some(victim) = pid.take() else {
            return false;
        };
        let mut holder = witness.holder.lock().unwrap();
        if *holder == Some(number) {
            *holder = None;
        }
        drop(holder);
        // Its thread has not reaped it: it would have to be dead for that.
        let victim = Pid::from_raw(victim.cast_signed()).unwrap();
        kill_process(victim, Signal::KILL).unwrap();
        true
    }
}

fn eight_shells_have_one_board_one_at_a_time() {
    let times = std::env::var("BOARDLOCK_RACES").ok();
    let times: u32 = times.map_or(1, |times| times.parse().expect("BOARDLOCK_RACES: a number"));
    let rounds = ROUNDS * times;
    let lab = Lab::new(&[]);
    let witness = Witness::default();
    let places: Vec<Place> = (0..SHELLS).map(|_| Place::default()).collect();
    let at_work = AtomicU32::new(0);
    let kills = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for (number, place) in places.iter().enumerate() {
            let (lab, witness, at_work) = (&lab, &witness, &at_work);
            at_work.fetch_add(1, Ordering::Relaxed);
            scope.spawn(move || {
                // Also when it fails: whoever waits for it is to end.
                let _leave = Leave(at_work);
                let mut host = Host::new(lab);
                place.sit(&host);
                for round in 0..rounds {
                    let seconds = if round.is_multiple_of(2) { 0 } else { 3600 };
                    if shell_round(lab, &mut host, place, number, seconds, witness).is_err() {
                        host = Host::new(lab);
                        place.sit(&host);
                    }
                }
                *place.pid.lock().unwrap() = None;
                host.end();
            });
        }
        let mut next = Instant::now() + BETWEEN_KILLS;
        let mut random = std::process::id() as usize;
        while at_work.load(Ordering::Relaxed) > 0 {
            if Instant::now() >= next {
                // As good as any: Knuth's linear congruential generator.
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                let number = (random >> 33) % SHELLS;
                if places[number].kill(number, &witness) {
                    kills.fetch_add(1, Ordering::Relaxed);
                }
                next += BETWEEN_KILLS;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let taken = witness.taken.into_inner();
    eprintln!(
        "tbot: {taken} times taken, {} shells killed",
        kills.into_inner()
    );
    // How often is a matter of luck; that nobody ever has it is not.
    assert!(taken > rounds / 4, "{taken}");
    // A killed shell's child may be the last to have lock-lock.
    eventually("nothing is left", PATIENCE, || {
        fs::read_dir(lab.dir()).unwrap().count() == 0
    });
}

struct Leave<'a>(&'a AtomicU32);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn shell_round(
    lab: &Lab,
    host: &mut Host,
    place: &Place,
    number: usize,
    seconds: u64,
    witness: &Witness,
) -> Result<(), Killed> {
    if !host.request("board", seconds)? {
        return Ok(());
    }
    if !place.got(number, witness) {
        return Err(Killed);
    }
    let shown = holder(lab, "board");
    let alive = place.pid.lock().unwrap();
    if alive.is_some() {
        assert_eq!(shown, Some(host.bash.pid()), "{}", lab.log().join("\n"));
    }
    drop(alive);
    place.gives(number, witness);
    host.release("board")
}
