//! The death of the process that mounted, without a service manager that keeps the
//! connection: nothing can be taken until a daemon is started again, and then the
//! living have what they had.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use libtest_mimic::Trial;

use crate::lab::serving;
use crate::process::{PATIENCE, Running, eventually};
use crate::random::Random;
use crate::site::Site;

pub fn tests() -> Vec<Trial> {
    trials![
        everything_fails_once_who_mounted_is_dead("python3");
        the_living_keep_theirs_whenever_who_mounted_dies("python3");
    ]
}

/// Does what each line says; tells `ok` or the errno.
const CLIENT: &str = "
import errno, fcntl, os, sys
os.chdir('/')
L = sys.argv[1] + '/'
files = {}
def touch(board):
    os.close(os.open(L + board, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
def opened(board):
    files[board] = os.open(L + board, os.O_CREAT | os.O_APPEND | os.O_RDWR, 0o666)
def flock(board, how=fcntl.LOCK_EX):
    fcntl.flock(files[board], how)
def lock(board):
    opened(board)
    flock(board, fcntl.LOCK_EX | fcntl.LOCK_NB)
for line in sys.stdin:
    try:
        exec(line)
        print('ok', flush=True)
    except OSError as error:
        print(errno.errorcode[error.errno], flush=True)
";

const DIR: &str = "locks";

fn client(site: &Site) -> Running {
    let mut command = Command::new(crate::client::python());
    command.args(["-c", CLIENT]).arg(site.path(DIR));
    Running::start(command)
}

#[track_caller]
fn tell(client: &mut Running, line: &str) -> String {
    client.say(line);
    client.line()
}

/// Kills the process that mounted, and it alone.
fn kill(mut daemon: Running) {
    let serves = serving(daemon.pid());
    daemon.kill();
    eventually("nobody serves", PATIENCE, || {
        !Path::new(&format!("/proc/{serves}")).exists()
    });
}

fn everything_fails_once_who_mounted_is_dead() {
    let site = Site::new();
    let daemon = site.serve(DIR, &[]);
    let [mut holder, mut other, mut waiter] = [client(&site), client(&site), client(&site)];
    for line in ["touch('a')", "lock('b')", "os.mkdir(L + 'd')"] {
        assert_eq!(tell(&mut holder, line), "ok");
    }
    for client in [&mut other, &mut waiter] {
        assert_eq!(tell(client, "opened('b')"), "ok");
    }
    waiter.say("flock('b')");
    eventually("it waits", PATIENCE, || {
        fs::read_to_string(site.path("locks/b")).is_ok_and(|b| b.contains("\nwaiters 1\n"))
    });
    kill(daemon);
    let told = waiter.line();
    assert!(
        ["ENOTCONN", "ECONNABORTED"].contains(&told.as_str()),
        "who waits is told: {told}"
    );
    let all = [
        "touch('new')",
        "opened('new')",
        "os.mkdir(L + 'new')",
        "os.symlink('x', L + 'new')",
        "os.mknod(L + 'new')",
        "os.link(L + 'a', L + 'new')",
        "os.rename(L + 'a', L + 'new')",
        "touch('a')",
        "opened('a')",
        "os.utime(L + 'a')",
        "os.truncate(L + 'a', 0)",
        "os.unlink(L + 'a')",
        "os.rmdir(L + 'd')",
        "touch('d/new')",
        "os.stat(L + 'a')",
        "os.listdir(L)",
        "os.statvfs(L)",
        "os.getxattr(L + 'a', 'user.boardlock.pid')",
        // Through a file that was opened before.
        "flock('b', fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "flock('b', fcntl.LOCK_SH)",
        "flock('b', fcntl.LOCK_UN)",
        "os.read(files['b'], 1)",
        "os.write(files['b'], b'x')",
        "os.fstat(files['b'])",
    ];
    for line in all {
        for client in [&mut holder, &mut other] {
            assert_eq!(tell(client, line), "ENOTCONN", "{line}");
        }
    }
    let daemon = site.serve(DIR, &[]);
    for (board, refusal) in [("a", "EEXIST"), ("b", "EEXIST")] {
        assert_eq!(tell(&mut other, &format!("touch('{board}')")), refusal);
        assert_eq!(shown(&site, board), Some(holder.pid()), "{board}");
    }
    assert_eq!(tell(&mut other, "touch('new')"), "ok");
    assert_eq!(tell(&mut holder, "os.unlink(L + 'a')"), "ok");
    assert_eq!(tell(&mut other, "touch('a')"), "ok");
    crate::site::end(daemon, rustix::process::Signal::TERM);
}

/// Who is shown to have a board.
fn shown(site: &Site, board: &str) -> Option<u32> {
    let text = fs::read_to_string(site.path(DIR).join(board)).ok()?;
    text.split_whitespace().nth(1)?.parse().ok()
}

/// Rounds, and clients and boards in each.
const ROUNDS: u64 = 15;
const CLIENTS: u64 = 8;
const BOARDS: u64 = 5;

fn the_living_keep_theirs_whenever_who_mounted_dies() {
    let site = Site::new();
    let mut random = Random::new(7);
    let mut daemon = site.serve(DIR, &[]);
    let mut had = 0;
    for round in 0..ROUNDS {
        let mut clients: Vec<Running> = (0..CLIENTS).map(|_| client(&site)).collect();
        for client in &mut clients {
            assert_eq!(tell(client, "pass"), "ok");
        }
        // Each asks for a few, one after the other, and the death comes at any moment.
        let mut asked: Vec<Vec<String>> = Vec::new();
        for client in &mut clients {
            let mut boards = Vec::new();
            for _ in 0..4 {
                let board = format!("b{}", random.below(BOARDS));
                if boards.contains(&board) {
                    continue;
                }
                let how = random.pick(&["touch", "lock"]);
                client.say(&format!("{how}('{board}')"));
                boards.push(board);
            }
            asked.push(boards);
        }
        let all: usize = asked.iter().map(Vec::len).sum();
        let enough = usize::try_from(random.below(all as u64)).unwrap();
        let told = |clients: &[Running]| clients.iter().map(Running::said).sum::<usize>();
        let first = clients.len();
        eventually("some are told", PATIENCE, || {
            told(&clients) >= first + enough
        });
        kill(daemon);
        let mut holders: BTreeMap<String, usize> = BTreeMap::new();
        let mut open: Vec<(String, usize)> = Vec::new();
        for (number, boards) in asked.into_iter().enumerate() {
            for board in boards {
                match clients[number].line().as_str() {
                    "ok" => {
                        let before = holders.insert(board.clone(), number);
                        assert_eq!(before, None, "round {round}: {board} was given to two");
                    }
                    "EEXIST" | "EAGAIN" => {}
                    // It may have been recorded, and nobody was told.
                    "ENOTCONN" | "ECONNABORTED" => open.push((board, number)),
                    other => panic!("round {round}: {board}: {other}"),
                }
            }
        }
        had += holders.len();
        let killed: Vec<bool> = clients.iter().map(|_| random.percent(30)).collect();
        for (client, _) in clients
            .iter_mut()
            .zip(&killed)
            .filter(|(_, killed)| **killed)
        {
            client.kill();
        }
        let alive = |number: &usize| !killed[*number];
        daemon = site.serve(DIR, &[]);
        for board in (0..BOARDS).map(|number| format!("b{number}")) {
            let shown = shown(&site, &board);
            let holder = holders.get(&board).copied();
            match holder.filter(alive) {
                Some(holder) => {
                    assert_eq!(shown, Some(clients[holder].pid()), "round {round}: {board}");
                }
                // Nobody who was told, or a dead one: free, or of one who was not told.
                None => {
                    let of = |(asked, by): &(String, usize)| {
                        *asked == board && alive(by) && Some(clients[*by].pid()) == shown
                    };
                    assert!(
                        shown.is_none() || open.iter().any(of),
                        "round {round}: {board} is {shown:?}'s"
                    );
                }
            }
            // Nobody else can have it.
            let other = (0..clients.len()).find(|at| alive(at) && holder != Some(*at));
            if let (Some(other), Some(pid)) = (other, shown)
                && clients[other].pid() != pid
            {
                let told = tell(&mut clients[other], &format!("touch('{board}')"));
                assert_eq!(told, "EEXIST", "round {round}: {board}");
            }
        }
        drop(clients);
        eventually("all are free", PATIENCE, || {
            fs::read_dir(site.path(DIR)).is_ok_and(|mut all| all.next().is_none())
        });
    }
    assert!(had > 10, "{had} boards were had in {ROUNDS} rounds");
    eprintln!("{had} boards were had in {ROUNDS} rounds");
    crate::site::end(daemon, rustix::process::Signal::TERM);
}
