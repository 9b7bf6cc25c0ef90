"""Workers lock one board again and again, hand the lock on to children, and die.

A worker with its children that share the open file is a family. Who gets the
lock writes its family into shared memory, where no other may be; the last of a
family takes it out before it closes the file, unlocks or kills itself. `disturbed`, all
workers are stopped, continued and sent signals with handlers all the time.
"""

import errno
import mmap
import os
import random
import signal
import struct
import sys
import time
from fcntl import *
from multiprocessing import Lock

KINDS = sys.argv[1].split(',')
TOTAL = int(sys.argv[2])
DISTURBED = sys.argv[3:] == ['disturbed']
WORKERS = 8
FAMILIES = 4096

memory = mmap.mmap(-1, 4 * (3 + FAMILIES))
mutex = Lock()
OWNER, TURNS, NEXT, MEMBERS = range(4)


def get(at):
    return struct.unpack_from('i', memory, 4 * at)[0]


def put(at, value):
    struct.pack_into('i', memory, 4 * at, value)


def got():
    """The lock is this family's, which is given a number."""
    with mutex:
        assert get(OWNER) == 0, 'two have it: %d and a new one' % get(OWNER)
        put(NEXT, get(NEXT) + 1)
        family = get(NEXT) % FAMILIES
        put(MEMBERS + family, 1)
        put(OWNER, family + 1)
        put(TURNS, get(TURNS) + 1)
    return family


def joins(family):
    with mutex:
        put(MEMBERS + family, get(MEMBERS + family) + 1)


def leaves(family):
    """One of the family lets go; the last of it frees the board."""
    with mutex:
        assert get(OWNER) == family + 1, (get(OWNER), family + 1)
        put(MEMBERS + family, get(MEMBERS + family) - 1)
        if get(MEMBERS + family) == 0:
            put(OWNER, 0)


def opened(chosen, kind):
    flags = [os.O_RDWR, os.O_RDWR | os.O_APPEND]
    if kind == 'flock':
        flags += [os.O_RDONLY, os.O_WRONLY]
    return os.open('board', chosen.choice(flags) | os.O_CREAT, 0o666)


def lock(chosen, kind, fd):
    call = flock if kind == 'flock' else lockf
    if kind == 'ofd':
        def call(fd, how):
            posix = {LOCK_EX: F_WRLCK, LOCK_UN: F_UNLCK}[how & ~LOCK_NB]
            asked = struct.pack('hhqqi', posix, 0, 0, 0, 0)
            fcntl(fd, F_OFD_SETLK if how & LOCK_NB else F_OFD_SETLKW, asked)
    if chosen.random() < 0.3:
        call(fd, LOCK_EX | LOCK_NB)
    else:
        call(fd, LOCK_EX)
    return lambda: call(fd, LOCK_UN)


def child(chosen, family, fd):
    if chosen.random() < 0.3:
        twin = os.dup(fd)
        os.close(fd)
        fd = twin
    time.sleep(chosen.random() / 1000)
    leaves(family)
    end = chosen.random()
    if end < 0.3:
        os.kill(os.getpid(), signal.SIGKILL)
    elif end < 0.6:
        os.close(fd)
    os._exit(0)


def turn(chosen):
    kind = chosen.choice(KINDS)
    fd = opened(chosen, kind)
    unlock = None
    try:
        unlock = lock(chosen, kind, fd)
    except OSError as error:
        assert error.errno in (errno.EAGAIN, errno.EDEADLK), error
        os.close(fd)
        return
    family = got()
    children = []
    # A POSIX lock is the worker's alone.
    for number in range(chosen.choice([0, 0, 1, 2]) if kind != 'fcntl' else 0):
        joins(family)
        seed = chosen.random()
        pid = os.fork()
        if pid == 0:
            child(random.Random(seed), family, fd)
        children.append(pid)
    end = chosen.random()
    if children or end < 0.4:
        leaves(family)
        os.close(fd)
    elif end < 0.6:
        leaves(family)
        os.kill(os.getpid(), signal.SIGKILL)
    else:
        leaves(family)
        unlock()
        os.close(fd)
    for pid in children:
        os.waitpid(pid, 0)


def work(seed):
    chosen = random.Random(seed)
    while get(TURNS) < TOTAL:
        turn(chosen)


def start(seed):
    pid = os.fork()
    if pid == 0:
        try:
            work(seed)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return pid


def disturb(pid):
    """Interrupts a worker in whatever it does."""
    if random.random() < 0.5:
        os.kill(pid, signal.SIGALRM)
    else:
        os.kill(pid, signal.SIGSTOP)
        time.sleep(random.random() / 1000)
        os.kill(pid, signal.SIGCONT)


signal.signal(signal.SIGALRM, lambda *_: None)
workers = [start(seed) for seed in range(WORKERS)]
seed = WORKERS
failed = False
while workers:
    pid, status = os.waitpid(-1, os.WNOHANG if DISTURBED else 0)
    if pid == 0:
        disturb(random.choice(workers))
        time.sleep(random.random() / 1000)
        continue
    workers.remove(pid)
    failed |= status not in (0, signal.SIGKILL)
    if status == signal.SIGKILL:
        seed += 1
        workers.append(start(seed))
assert not failed
assert get(OWNER) == 0
print('over', flush=True)
