//! Many processes at once for one free board: one of them gets it.

use std::time::Duration;

use libtest_mimic::Trial;

use crate::lab::Lab;
use crate::process::PATIENCE;

pub fn tests() -> Vec<Trial> {
    trials![
        one_of_64_wins_by_open("python3");
        one_of_64_wins_by_touch("python3");
        one_of_64_wins_by_exclusive_open("python3");
        one_of_64_wins_by_mkdir("python3");
        one_of_64_wins_by_link("python3");
        one_of_64_wins_by_symlink("python3");
        one_of_64_wins_by_rename("python3");
        one_of_64_wins_by_mknod("python3");
        one_of_64_wins_by_a_mix_of_calls("python3");
        holders_that_die_hand_over_to_one_at_a_time("python3");
    ]
}

/// Rounds for the mix of calls; a quarter of them for each kind alone.
/// BOARDLOCK_RACES=8 makes them eight times as many.
const ROUNDS: u32 = 1000;

fn rounds() -> u32 {
    let times = std::env::var("BOARDLOCK_RACES").ok();
    let times: u32 = times.map_or(1, |times| times.parse().expect("BOARDLOCK_RACES: a number"));
    ROUNDS * times
}

/// 64 processes wait for a byte from a pipe, try, and tell; the one that won
/// must be shown as the holder. Rounds use two pipes in turn, so that nobody
/// takes another's byte.
const RACE: &str = r#"
import errno, os, random, struct, sys
kinds, rounds = sys.argv[1].split(','), int(sys.argv[2])
RACERS = 64

def touch():
    try:
        fd = os.open('b', os.O_WRONLY | os.O_CREAT | os.O_NOCTTY | os.O_NONBLOCK, 0o666)
    except OSError as error:
        # It sets the times all the same, and exits 0 where that works.
        os.utime('b')
        return
    os.utime(fd)
    os.close(fd)

def mine():
    name = 't%d' % os.getpid()
    if not os.path.exists(name):
        os.close(os.open(name, os.O_CREAT | os.O_EXCL))
    return name

take = {
    'open': lambda: os.close(os.open('b', os.O_WRONLY | os.O_CREAT | os.O_TRUNC)),
    'touch': touch,
    'excl': lambda: os.close(os.open('b', os.O_WRONLY | os.O_CREAT | os.O_EXCL)),
    'mkdir': lambda: os.mkdir('b'),
    'link': lambda: os.link(mine(), 'b'),
    'symlink': lambda: os.symlink(str(os.getpid()), 'b'),
    'rename': lambda: os.rename(mine(), 'b'),
    'mknod': lambda: os.mknod('b'),
}
go = [os.pipe(), os.pipe()]
told = os.pipe()

def race(number):
    os.close(go[0][1]), os.close(go[1][1]), os.close(told[0])
    chosen = random.Random(number)
    for round in range(rounds):
        kind = chosen.choice(kinds)
        if kind in ('link', 'rename'):
            mine()
        if os.read(go[round % 2][0], 1) != b'g':
            return
        try:
            take[kind]()
            result = 0
        except OSError as error:
            result = error.errno
        os.write(told[1], struct.pack('ii', os.getpid(), result))
    # The winner of the last round has it until it is seen.
    os.read(go[rounds % 2][0], 1)

for number in range(RACERS):
    if os.fork() == 0:
        try:
            race(number)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
        os._exit(0)
os.close(told[1])

def tell():
    data = b''
    while len(data) < 8:
        more = os.read(told[0], 8 - len(data))
        assert more, 'the racers are gone'
        data += more
    return struct.unpack('ii', data)

# EISDIR is the kernel's own answer to writers where a mkdir has won.
BUSY = {errno.EEXIST, errno.EBUSY, errno.EAGAIN, errno.EISDIR}
for round in range(rounds):
    os.write(go[round % 2][1], b'g' * RACERS)
    results = [tell() for _ in range(RACERS)]
    winners = [pid for pid, result in results if result == 0]
    assert len(winners) == 1, (round, results)
    others = {result for _, result in results if result}
    # Setting the times follows a link to what is not there.
    allowed = BUSY | {errno.ENOENT} if os.path.islink('b') else BUSY
    assert others <= allowed, (round, others)
    if os.path.islink('b'):
        assert os.readlink('b') == str(winners[0]), round
    else:
        shown = int(os.getxattr('b', 'user.boardlock.pid'))
        assert shown == winners[0], (round, shown, winners)
    if os.path.isdir('b') and not os.path.islink('b'):
        os.rmdir('b')
    else:
        os.unlink('b')
print('over', flush=True)
"#;

fn race(kinds: &str, rounds: u32) {
    let lab = Lab::new(&[]);
    // A hang is what this is for; a busy machine takes 0.2 s a round.
    let limit = PATIENCE + Duration::from_millis(800) * rounds;
    let output = lab
        .program("python3", &["-c", RACE, kinds, &rounds.to_string()])
        .wait(limit)
        .ok();
    assert_eq!(output.stdout, "over\n", "{output}");
    assert_eq!(output.stderr, "");
}

fn one_of_64_wins_by_open() {
    race("open", rounds() / 4);
}

fn one_of_64_wins_by_touch() {
    race("touch", rounds() / 4);
}

fn one_of_64_wins_by_exclusive_open() {
    race("excl", rounds() / 4);
}

fn one_of_64_wins_by_mkdir() {
    race("mkdir", rounds() / 4);
}

fn one_of_64_wins_by_link() {
    race("link", rounds() / 4);
}

fn one_of_64_wins_by_symlink() {
    race("symlink", rounds() / 4);
}

fn one_of_64_wins_by_rename() {
    race("rename", rounds() / 4);
}

fn one_of_64_wins_by_mknod() {
    race("mknod", rounds() / 4);
}

fn one_of_64_wins_by_a_mix_of_calls() {
    race("open,touch,excl,mkdir,link,symlink,rename,mknod", rounds());
}

/// Processes take the board over and over, by all kinds of calls, and give it
/// back or are killed while they have it. The witness is a flock on a file
/// outside, which a dead process loses before anyone can know of its death.
const DEATHS: &str = r#"
import fcntl, os, random, signal, sys, time
holds, witness = int(sys.argv[1]), sys.argv[2]
count = os.open(witness, os.O_RDWR | os.O_CREAT | os.O_APPEND)

def take(kind):
    if kind == 'mkdir':
        os.mkdir('b')
        return os.rmdir
    if kind == 'symlink':
        os.symlink('x', 'b')
    elif kind == 'excl':
        os.close(os.open('b', os.O_CREAT | os.O_EXCL))
    elif kind == 'open':
        # Through a link that goes away meanwhile it would take another name.
        os.close(os.open('b', os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW))
    else:
        name = 't%d' % os.getpid()
        os.close(os.open(name, os.O_CREAT | os.O_EXCL))
        try:
            if kind == 'link':
                os.link(name, 'b')
            else:
                os.rename(name, 'b')
                return os.unlink
        finally:
            if kind == 'link' or os.path.exists(name):
                os.unlink(name)
    return os.unlink

def work():
    file = os.open(witness + '.lock', os.O_RDWR | os.O_CREAT)
    chosen = random.Random(os.getpid())
    while os.fstat(count).st_size < holds:
        try:
            give = take(chosen.choice(['mkdir', 'symlink', 'excl', 'open', 'link', 'rename']))
        except OSError:
            continue
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(count, b'x')
        if chosen.random() < 0.5:
            os.kill(os.getpid(), signal.SIGKILL)
        fcntl.flock(file, fcntl.LOCK_UN)
        give('b')

def start():
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)

for _ in range(16):
    start()
running = 16
while running:
    pid, status = os.wait()
    running -= 1
    assert status in (0, signal.SIGKILL), status
    if status == signal.SIGKILL:
        start()
        running += 1
assert os.listdir('.') == [], os.listdir('.')
print('over', flush=True)
"#;

fn holders_that_die_hand_over_to_one_at_a_time() {
    let lab = Lab::new(&[]);
    let temp = tempfile::tempdir().unwrap();
    let witness = temp.path().join("witness").display().to_string();
    let holds = rounds();
    let output = lab
        .program("python3", &["-c", DEATHS, &holds.to_string(), &witness])
        .wait(PATIENCE + Duration::from_millis(150) * holds)
        .ok();
    assert_eq!(output.stdout, "over\n", "{output}");
}
