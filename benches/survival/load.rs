//! A client: takes boards and gives them back in many ways, and knows for each call
//! what it may be told.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use libc::{EAGAIN, EBUSY, EEXIST, EINTR, EISDIR, ENOENT};
use rustix::fs::{AtFlags, CWD, OFlags, Timespec, Timestamps, XattrFlags};

use super::ledger::{Kind, Phase, Writer};
use super::random::Random;
use super::sys::{self, Family, Want};
use super::timer;

/// Boards that all clients want.
const BOARDS: u64 = 5;
/// More that are taken by link(2) alone.
const LINKED: u64 = 2;

struct Load {
    locks: PathBuf,
    ledger: Writer,
    random: Random,
    pid: u32,
    /// Opened before any board: its locks go first when the process ends.
    witness: File,
    /// The last token of each board.
    tokens: File,
}

/// How a board is had.
#[derive(Clone, Copy)]
struct Had {
    board: u64,
    want: Want,
    token: u64,
    begin: u64,
}

/// Plays until it is told to end.
pub fn run(seed: u64, locks: &Path, shared: &Path) {
    sys::prepare();
    let open = |name: &str| {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        options.open(shared.join(name)).unwrap()
    };
    let mut load = Load {
        witness: open("witness"),
        tokens: open("tokens"),
        locks: locks.to_owned(),
        ledger: Writer::new(shared, seed),
        random: Random::new(seed),
        pid: std::process::id(),
    };
    while load.ledger.phase() != Phase::End {
        load.step();
        load.pause(3000);
    }
}

impl Load {
    fn pause(&mut self, most: u64) {
        let micros = self.random.below(most);
        std::thread::sleep(Duration::from_micros(micros));
    }

    fn path(&self, board: u64) -> PathBuf {
        self.locks.join(format!("b{board}"))
    }

    fn call<T>(&mut self, kind: Kind, call: impl FnOnce() -> Result<T, i32>) -> Result<T, i32> {
        let begin = sys::now();
        self.ledger.at(kind, begin);
        let result = call();
        let end = sys::now();
        self.ledger.did(kind, begin, end);
        result
    }

    fn note(&mut self, kind: Kind) {
        let now = sys::now();
        self.ledger.did(kind, now, now);
    }

    /// A call that must succeed.
    #[track_caller]
    fn must<T>(&mut self, what: &str, kind: Kind, call: impl FnOnce() -> Result<T, i32>) -> T {
        match self.call(kind, call) {
            Ok(done) => done,
            Err(errno) => self.wrong(&format!("{what}: {}", name(errno))),
        }
    }

    /// A call that may be refused by one of these; none if it was.
    #[track_caller]
    fn may<T>(
        &mut self,
        what: &str,
        kind: Kind,
        refusals: &[i32],
        call: impl FnOnce() -> Result<T, i32>,
    ) -> Option<T> {
        match self.call(kind, call) {
            Ok(done) => Some(done),
            Err(errno) if refusals.contains(&errno) => {
                self.note(Kind::Refused);
                None
            }
            Err(errno) => self.wrong(&format!("{what}: {}", name(errno))),
        }
    }

    #[track_caller]
    fn wrong(&self, what: &str) -> ! {
        panic!("client {}: {what}", self.pid);
    }

    fn value(&mut self, board: u64, key: &str) -> u64 {
        let path = self.path(board);
        let key = format!("user.boardlock.{key}");
        let text = self.must(&format!("{key} of b{board}"), Kind::Look, || {
            let mut text = [0; 32];
            match rustix::fs::getxattr(&path, key.as_str(), &mut text[..]) {
                Ok(length) => Ok(String::from_utf8_lossy(&text[..length]).into_owned()),
                Err(error) => Err(error.raw_os_error()),
            }
        });
        text.parse().unwrap()
    }

    fn last_token(&self, board: u64) -> u64 {
        let mut bytes = [0; 8];
        let _ = self.tokens.read_at(&mut bytes, 8 * board).unwrap();
        u64::from_le_bytes(bytes)
    }

    /// The client has a board: nobody else has, and it shows.
    #[track_caller]
    fn have(&mut self, board: u64, want: Want) -> Had {
        if sys::witness(&self.witness, board, want).is_err() {
            let other = sys::witnessed(&self.witness, board);
            self.wrong(&format!("b{board} is process {other}'s, too"));
        }
        let last = self.last_token(board);
        let token = self.value(board, "token");
        let grows = match want {
            Want::Shared => token >= last,
            _ => token > last,
        };
        if !grows {
            self.wrong(&format!("b{board}: token {token} after {last}"));
        }
        self.tokens
            .write_all_at(&token.to_le_bytes(), 8 * board)
            .unwrap();
        Had {
            board,
            want,
            token,
            begin: sys::now(),
        }
    }

    /// Holds it for a while, and looks whether it is still had.
    #[track_caller]
    fn hold(&mut self, had: Had) {
        if self.random.below(40) == 0 {
            self.pause(300_000);
        } else {
            self.pause(4000);
        }
        let token = self.value(had.board, "token");
        // Each that shares it has a token of its own.
        let more = had.want == Want::Shared && token > had.token;
        if token != had.token && !more {
            let board = had.board;
            self.wrong(&format!(
                "b{board}: lost, token {token} and not {}",
                had.token
            ));
        }
        if had.want == Want::Exclusive {
            let pid = self.value(had.board, "pid");
            if pid != u64::from(self.pid) {
                self.wrong(&format!("b{}: lost, it is process {pid}'s", had.board));
            }
        }
        let kind = match had.want {
            Want::Shared => Kind::Share,
            _ => Kind::Hold,
        };
        self.ledger.did(kind, had.begin, sys::now());
        // It is about to be given back.
        sys::witness(&self.witness, had.board, Want::Nothing).unwrap();
    }

    fn step(&mut self) {
        let board = self.random.below(BOARDS);
        match self.random.below(100) {
            0..14 => self.claims(board),
            14..22 => self.touches(board),
            22..28 => self.makes_a_directory(board),
            28..34 => self.links(),
            34..70 => self.locks(board),
            70..80 => self.redirects(board),
            80..90 => self.looks(board),
            _ => self.does_its_own(),
        }
    }

    fn remove(&mut self, board: u64) {
        let path = self.path(board);
        self.must(&format!("unlink b{board}"), Kind::Remove, || unlink(&path));
    }

    /// `set -C; : >b`.
    fn claims(&mut self, board: u64) {
        let path = self.path(board);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let what = "open O_EXCL";
        let Some(fd) = self.may(what, Kind::Open, &[EEXIST], || sys::open(&path, flags)) else {
            return;
        };
        let had = self.have(board, Want::Exclusive);
        self.close(fd);
        self.hold(had);
        self.remove(board);
    }

    /// `touch b`.
    fn touches(&mut self, board: u64) {
        let path = self.path(board);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOCTTY | OFlags::NONBLOCK;
        let opened = self.may("touch", Kind::Open, &[EAGAIN, EISDIR], || {
            sys::open(&path, flags)
        });
        let refusals = &[EBUSY, ENOENT];
        let set = self.may("utimensat", Kind::Make, refusals, || set_times(&path));
        if let Some(fd) = opened {
            self.close(fd);
        }
        if set.is_some() {
            let had = self.have(board, Want::Exclusive);
            self.hold(had);
            self.remove(board);
        }
    }

    fn makes_a_directory(&mut self, board: u64) {
        let path = self.path(board);
        let made = self.may("mkdir", Kind::Make, &[EEXIST], || {
            rustix::fs::mkdir(&path, 0o777.into()).map_err(|e| e.raw_os_error())
        });
        if made.is_none() {
            return;
        }
        let had = self.have(board, Want::Exclusive);
        let inner = path.join("pid");
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let fd = self.must("open in it", Kind::Open, || sys::open(&inner, flags));
        self.close(fd);
        self.hold(had);
        self.must("unlink in it", Kind::Remove, || unlink(&inner));
        self.must("rmdir", Kind::Remove, || {
            rustix::fs::rmdir(&path).map_err(|e| e.raw_os_error())
        });
    }

    /// As link-style lockers do it, on boards of their own: who has opened a file with
    /// two names has the lock of that file, whichever name is removed.
    fn links(&mut self) {
        let board = BOARDS + self.random.below(LINKED);
        let path = self.path(board);
        let own = self.locks.join(format!("tmp{}", self.pid));
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        let fd = self.must("open a temporary", Kind::Open, || sys::open(&own, flags));
        self.must("write", Kind::Look, || {
            rustix::io::write(&fd, b"note").map_err(|e| e.raw_os_error())
        });
        self.close(fd);
        let linked = self.may("link", Kind::Make, &[EEXIST], || {
            rustix::fs::link(&own, &path).map_err(|e| e.raw_os_error())
        });
        // The file is the board from then on: who has opened it waits for that.
        self.must("unlink a temporary", Kind::Remove, || unlink(&own));
        if linked.is_some() {
            let had = self.have(board, Want::Exclusive);
            self.hold(had);
            self.remove(board);
        }
    }

    /// Any lock, as flock(1) and the libraries do it.
    fn locks(&mut self, board: u64) {
        let path = self.path(board);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::APPEND;
        let open = || sys::open(&path, flags);
        if let Some(fd) = self.may("open O_APPEND", Kind::Open, &[EISDIR], open) {
            self.through(board, fd);
        }
    }

    /// `exec 9>b; flock 9`.
    fn redirects(&mut self, board: u64) {
        let path = self.path(board);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
        // Stopped and continued while it waits, it is told so, as by a FIFO.
        let refusals = &[EBUSY, EISDIR, EINTR];
        let open = || sys::open(&path, flags);
        if let Some(fd) = self.may("open O_TRUNC", Kind::OpenWait, refusals, open) {
            self.through(board, fd);
        }
    }

    fn through(&mut self, board: u64, fd: OwnedFd) {
        let family = self
            .random
            .pick(&[Family::Flock, Family::Flock, Family::Posix, Family::Ofd]);
        let want = match self.random.below(4) {
            // For reading it would have to be opened so.
            0 if family == Family::Flock => Want::Shared,
            _ => Want::Exclusive,
        };
        if !self.takes(&fd, family, want) {
            self.close(fd);
            return;
        }
        let had = self.have(board, want);
        self.hold(had);
        match self.random.below(4) {
            0 if want == Want::Exclusive => {
                self.remove(board);
                self.close(fd);
            }
            1 | 2 => {
                self.must("unlock", Kind::Unlock, || {
                    sys::lock(&fd, family, Want::Nothing, false)
                });
                self.close(fd);
            }
            _ => self.close(fd),
        }
    }

    /// Whether it gets the lock.
    fn takes(&mut self, fd: &OwnedFd, family: Family, want: Want) -> bool {
        let how = self.random.below(10);
        if how < 3 {
            let lock = || sys::lock(fd, family, want, false);
            return self.may("try", Kind::Lock, &[EAGAIN], lock).is_some();
        }
        if how < 8 {
            self.must("wait", Kind::Wait, || sys::lock(fd, family, want, true));
            return true;
        }
        let limit = Duration::from_micros(1 + self.random.below(20_000));
        let handled = sys::handled();
        timer::set(Some(limit));
        let got = self.call(Kind::Wait, || sys::lock(fd, family, want, true));
        timer::set(None);
        match got {
            Ok(()) => true,
            Err(EINTR) if sys::handled() != handled => {
                self.note(Kind::Interrupted);
                false
            }
            Err(errno) => self.wrong(&format!("wait for a while: {}", name(errno))),
        }
    }

    fn close(&mut self, fd: OwnedFd) {
        self.must("close", Kind::Close, || {
            drop(fd);
            Ok(())
        });
    }

    /// Takes nothing.
    fn looks(&mut self, board: u64) {
        let path = self.path(board);
        let locks = self.locks.clone();
        let stat = || rustix::fs::stat(&path).map_err(|e| e.raw_os_error());
        self.may("stat", Kind::Look, &[ENOENT], stat);
        self.must("readdir", Kind::Look, || {
            let entries = std::fs::read_dir(&locks).map_err(|e| e.raw_os_error().unwrap_or(0))?;
            for entry in entries {
                entry.map_err(|e| e.raw_os_error().unwrap_or(0))?;
            }
            Ok(())
        });
        let status = self.may("read", Kind::Look, &[ENOENT, EISDIR, EBUSY], || text(&path));
        let right = |text: &String| text == "note" || text.lines().count() >= 14;
        if let Some(text) = status.filter(|text| !right(text)) {
            self.wrong(&format!("b{board} reads {text:?}"));
        }
    }

    /// With names that nobody else uses each call has one answer.
    fn does_its_own(&mut self) {
        let [one, two] =
            ["own", "other"].map(|name| self.locks.join(format!("{name}{}", self.pid)));
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        let fd = self.must("open its own", Kind::Open, || sys::open(&one, flags));
        self.must("flock its own", Kind::Lock, || {
            sys::lock(&fd, Family::Flock, Want::Exclusive, false)
        });
        self.must("unlock its own", Kind::Unlock, || {
            sys::lock(&fd, Family::Flock, Want::Nothing, false)
        });
        self.close(fd);
        let free = self.may("stat its own", Kind::Look, &[ENOENT], || {
            rustix::fs::stat(&one).map_err(|e| e.raw_os_error())
        });
        if free.is_some() {
            self.wrong("its own is there when it was given back");
        }
        let fd = self.must("open its own again", Kind::Open, || sys::open(&one, flags));
        self.close(fd);
        let again = self.may("and again", Kind::Open, &[EEXIST], || {
            sys::open(&one, flags)
        });
        if again.is_some() {
            self.wrong("its own was given twice");
        }
        self.must("link its own", Kind::Make, || {
            rustix::fs::link(&one, &two).map_err(|e| e.raw_os_error())
        });
        self.must("unlink its own", Kind::Remove, || unlink(&one));
        self.must("rename its own", Kind::Make, || {
            rustix::fs::rename(&two, &one).map_err(|e| e.raw_os_error())
        });
        self.must("note on its own", Kind::Make, || {
            let (key, value) = ("user.boardlock.note", b"mine");
            rustix::fs::setxattr(&one, key, value, XattrFlags::empty())
                .map_err(|e| e.raw_os_error())
        });
        self.must("remove its own", Kind::Remove, || unlink(&one));
        let twice = self.may("remove its own twice", Kind::Remove, &[ENOENT], || {
            unlink(&one)
        });
        if twice.is_some() {
            self.wrong("its own was removed twice");
        }
    }
}

fn name(errno: i32) -> String {
    format!("{:?}", nix::errno::Errno::from_raw(errno))
}

/// All of a file by one read: after a death the rest would be that of what it shows
/// by then.
fn text(path: &Path) -> Result<String, i32> {
    let file = sys::open(path, OFlags::RDONLY)?;
    let mut text = vec![0; 16384];
    let length = rustix::io::read(&file, &mut text).map_err(|e| e.raw_os_error())?;
    text.truncate(length);
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn unlink(path: &Path) -> Result<(), i32> {
    rustix::fs::unlink(path).map_err(|e| e.raw_os_error())
}

fn set_times(path: &Path) -> Result<(), i32> {
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: libc::UTIME_NOW,
    };
    let times = Timestamps {
        last_access: now,
        last_modification: now,
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::empty()).map_err(|e| e.raw_os_error())
}
