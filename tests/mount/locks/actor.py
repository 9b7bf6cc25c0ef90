"""Does what it is told, line by line, and tells how it went.

A line is the name of a thread (- for the main one) and python to run in it. The
answers are `+ THREAD TID` when it begins, and `= THREAD OUTCOME` when it is done:
a value, `ok` if there is none, an errno or the name of an exception.
"""

import ast
import ctypes
import errno
import os
import queue
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from fcntl import *

sys.path.insert(0, '@LIBRARIES@')
# The same numbers by other names.
errno.errorcode[errno.EDEADLK] = 'EDEADLK'
errno.errorcode[errno.EOPNOTSUPP] = 'EOPNOTSUPP'
libc = ctypes.CDLL(None, use_errno=True)
children = []
FLAGS = {
    'r': os.O_RDONLY,
    'w': os.O_WRONLY | os.O_TRUNC,
    'rw': os.O_RDWR,
    'a': os.O_RDWR | os.O_APPEND,
}


def opened(how='rw', name='board'):
    """An open file of the board, made if it is not there."""
    return os.open(name, FLAGS[how] | os.O_CREAT, 0o666)


def cflock(fd, how):
    """flock(2) itself: python's own begins anew after a signal."""
    if libc.flock(fd, how) != 0:
        raise OSError(ctypes.get_errno(), 'flock')


def cposix(fd, kind, ofd=False):
    """fcntl(2) itself, waiting."""
    asked = struct.pack('hhqqi', kind, 0, 0, 0, 0)
    if libc.fcntl(fd, F_OFD_SETLKW if ofd else F_SETLKW, asked) != 0:
        raise OSError(ctypes.get_errno(), 'fcntl')


def posix(fd, kind, start=0, length=0, wait=False, ofd=False):
    """fcntl(2) with any range."""
    how = {
        (False, False): F_SETLK,
        (False, True): F_SETLKW,
        (True, False): F_OFD_SETLK,
        (True, True): F_OFD_SETLKW,
    }[ofd, wait]
    fcntl(fd, how, struct.pack('hhqqi', kind, 0, start, length, 0))


def getlk(fd, kind=F_WRLCK, start=0, length=0, ofd=False):
    """What stands in the way of such a lock: kind, start, length and pid."""
    asked = struct.pack('hhqqi', kind, 0, start, length, 0)
    kind, _, start, length, pid = struct.unpack(
        'hhqqi', fcntl(fd, F_OFD_GETLK if ofd else F_GETLK, asked)
    )
    if kind == F_UNLCK:
        return 'UNLCK'
    return '%s %d %d %d' % ({F_RDLCK: 'RDLCK', F_WRLCK: 'WRLCK'}[kind], start, length, pid)


def fork_idle():
    """A child that shares all open files and does nothing."""
    pid = os.fork()
    if pid == 0:
        while True:
            signal.pause()
    children.append(pid)


def start(*words, becomes=None, **more):
    """Starts a program; waits until it has become another, if it is to."""
    child = subprocess.Popen(words, stdin=subprocess.DEVNULL, **more)
    children.append(child.pid)
    while becomes and child.poll() is None:
        with open('/proc/%d/comm' % child.pid) as file:
            if file.read().strip() == becomes:
                break


def kill_child():
    pid = children.pop()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def in_child(function):
    """How it goes in a forked child."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writer, outcome(function).encode())
        os._exit(0)
    os.close(writer)
    said = os.read(reader, 1000)
    os.close(reader)
    os.waitpid(pid, 0)
    return said.decode()


def sh(command):
    """What a shell's command says, and its exit status."""
    done = subprocess.run(
        ['sh', '-c', command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )
    return '; '.join(done.stdout.splitlines() + [str(done.returncode)])


class Alarm(Exception):
    """Raised by a handler."""


def alarmed(*_):
    raise Alarm


def nothing(*_):
    """A handler."""


def handle(number, handler, restart=False):
    """Sets a handler; whether calls that it interrupts begin anew."""
    signal.signal(number, handler)
    signal.siginterrupt(number, not restart)


def timer(first, again=0):
    """SIGALRM after so many seconds, and again after as many."""
    signal.setitimer(signal.ITIMER_REAL, first, again)


def name_of(error):
    if isinstance(error, OSError) and type(error).__module__ == 'builtins':
        return errno.errorcode.get(error.errno, 'errno %s' % error.errno)
    return type(error).__name__


def outcome(function):
    try:
        value = function()
    except BaseException as error:
        return name_of(error)
    return 'ok' if value is None else str(value)


def evaluate(command):
    """The value of the last of some statements, if it has one."""
    tree = ast.parse(command)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, 'command', 'exec'), globals())
    if last:
        return eval(compile(ast.Expression(last.value), 'command', 'eval'), globals())


def say(text):
    os.write(1, (text + '\n').encode())


def run(thread, command):
    say('+ %s %d' % (thread, threading.get_native_id()))
    try:
        told = outcome(lambda: evaluate(command))
    except BaseException as error:
        # A handler that raises a moment after what it was to interrupt.
        told = 'late ' + name_of(error)
    say('= %s %s' % (thread, told))


def work(thread, commands):
    while True:
        run(thread, commands.get())


threads = {}
idents = {}
for line in iter(sys.stdin.readline, ''):
    thread, command = line.rstrip('\n').split(' ', 1)
    if thread == '-':
        run(thread, command)
        continue
    if thread not in threads:
        threads[thread] = queue.Queue()
        worker = threading.Thread(target=work, args=(thread, threads[thread]), daemon=True)
        worker.start()
        idents[thread] = worker.ident
    threads[thread].put(command)
# Whoever waits for a lock would hold up the end.
os._exit(0)
