//! What survives the daemon: a file that each change of the table is written to
//! before anybody hears of it.
//!
//! It is written by write(2) and not flushed: that survives the death of the
//! daemon, which is what it is for, and not that of the machine, with which all
//! processes end; what is detached then is as the disk has it.

#[doc(hidden)]
pub mod format;
mod place;
mod written;

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock};

use format::{Content, Digest, Entries, Frame, MAGIC, UNANSWERED, Unreadable, digest_of, push};
pub use format::{FORM, Owner};
pub use place::{default_path, owner};
use written::Written;

use crate::fault::{self, Point};
use crate::lock::ids::{Handle, WaitId};
use crate::lock::saved::{Changes, Counters, Key, Saved, Value, Whole};
use crate::printable::printable;

/// As much is always reserved behind what is written, so that giving back can be
/// written on a full disk.
const RESERVE: u64 = 64 << 10;

/// The file is not written anew before this much of it is out of date.
const SLACK: u64 = 1 << 20;

/// How long a daemon takes to end that was killed.
const LAST: Duration = Duration::from_secs(1);

/// How often it is tried again to write a file that could not be written.
pub const RETRY: Duration = Duration::from_secs(1);

/// A state file that cannot be used, and what to do about it.
#[derive(Debug)]
pub struct StoreError(String);

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StoreError {}

/// A table that can be written whole.
pub trait All {
    /// As far as they got.
    fn counters(&self) -> Counters;

    /// All of it, in order.
    fn values(&self) -> impl Iterator<Item = (Key, Value)>;
}

impl All for Whole<'_> {
    fn counters(&self) -> Counters {
        Whole::counters(self)
    }

    fn values(&self) -> impl Iterator<Item = (Key, Value)> {
        Whole::values(self)
    }
}

impl All for Saved {
    fn counters(&self) -> Counters {
        self.counters
    }

    fn values(&self) -> impl Iterator<Item = (Key, Value)> {
        let values = self.values.iter();
        values.map(|(key, value)| (*key, value.clone()))
    }
}

impl<A: All> All for &A {
    fn counters(&self) -> Counters {
        A::counters(self)
    }

    fn values(&self) -> impl Iterator<Item = (Key, Value)> {
        A::values(self)
    }
}

/// A request that was done, and the open file that it made.
pub type Done = (WaitId, Option<Handle>);

/// What a state file held.
#[derive(Debug)]
pub struct Found {
    /// The table.
    pub saved: Saved,
    /// Whether the processes in it are of this boot.
    pub same_boot: bool,
    /// The requests that were done last, with the open files that they made.
    pub done: VecDeque<Done>,
    /// How long the part is that was written whole.
    length: u64,
    /// Whether its last change was not written whole.
    torn: bool,
}

/// The state file of a running daemon.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    owner: Owner,
    file: File,
    length: u64,
    /// How long it would be if it were written anew.
    live: u64,
    /// Up to where space is reserved.
    reserved: u64,
    /// Of each value in it, the checksum and length of what was written last.
    written: Written,
    counters: Counters,
    /// The requests that were done last.
    done: VecDeque<Done>,
    /// Why it cannot be written, and when that was tried last.
    failing: Option<(io::Error, Instant)>,
}

impl Store {
    /// Takes the state file over, or makes it, and says what it held.
    ///
    /// # Errors
    /// Where going on could give a board to two: it belongs to a daemon that runs,
    /// to another lock directory or pid namespace, or cannot be read whole; and
    /// where it cannot be written.
    pub fn open(path: &Path, owner: Owner) -> Result<(Store, Option<Found>), StoreError> {
        let shown = printable(path.as_os_str().as_encoded_bytes());
        let failed = |doing: &str, error: io::Error| {
            StoreError(format!("cannot {doing} the state file {shown}: {error}"))
        };
        if let Some(dir) = path.parent() {
            place::make_dir(dir).map_err(|error| failed("make the directory of", error))?;
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)
            .map_err(|error| failed("open", error))?;
        if !locks(&file) {
            return Err(StoreError(format!(
                "the state file {shown} is another running boardlock's; \
                 each lock directory needs its own (--state FILE)"
            )));
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text)
            .map_err(|error| failed("read", error))?;
        let found = read_found(&text, &owner).map_err(|why| {
            StoreError(format!(
                "the state file {shown} {why}; boards in it may be in use. Look into it, then \
                 move it away to begin with all boards free, or name another (--state FILE)"
            ))
        })?;
        let mut store = Store {
            path: path.to_owned(),
            owner,
            file,
            length: found.as_ref().map_or(0, |found| found.length),
            live: 0,
            reserved: 0,
            written: Written::default(),
            counters: Counters::default(),
            done: found
                .as_ref()
                .map(|found| found.done.clone())
                .unwrap_or_default(),
            failing: None,
        };
        let nothing = Saved::default();
        let saved = found.as_ref().map_or(&nothing, |found| &found.saved);
        if let Err(error) = store.rewrite(saved) {
            // On a full disk, say. What is written is good, and can be gone on with.
            match &found {
                Some(found) if found.same_boot => {
                    if found.torn {
                        // In its place, which takes no room. Shortening the file would
                        // give up what is reserved behind it.
                        store
                            .blank(text.len())
                            .map_err(|error| failed("mend", error))?;
                    }
                    store.go_on(found, error)?;
                }
                _ => return Err(failed("write", error)),
            }
        }
        Ok((store, found))
    }

    /// Makes nothing of what follows in the file, up to this length.
    fn blank(&mut self, length: usize) -> io::Result<()> {
        let length = (length as u64).saturating_sub(self.length);
        let nothing = vec![0; usize::try_from(length).unwrap_or(0)];
        self.file.write_all_at(&nothing, self.length)
    }

    /// Goes on with the file as it is.
    fn go_on(&mut self, found: &Found, error: io::Error) -> Result<(), StoreError> {
        log::warn!(
            "cannot write the state file anew: {error}; no more boards are given out until that is \
             mended"
        );
        let broken = |error| StoreError(format!("cannot use the state file: {error}"));
        // What is added is of this form.
        self.file.write_all_at(MAGIC, 0).map_err(broken)?;
        for (key, value) in &found.saved.values {
            let digest = digest(value).map_err(broken)?;
            self.written.set(*key, Some(digest));
        }
        self.counters = found.saved.counters;
        self.live = self.length;
        Ok(())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Records what an event changed. What cannot be recorded is told in the log,
    /// and nothing can be acquired until it is ([`Store::is_ready`]).
    /// With it, the requests that are done by that.
    pub fn record<A: All>(&mut self, changes: &Changes, done: &[Done], all: impl FnOnce() -> A) {
        self.done.extend(done);
        while self.done.len() > UNANSWERED {
            self.done.pop_front();
        }
        if self.failing.is_some() {
            self.retry(all);
            return;
        }
        let mut news = News::default();
        let added = changes
            .values
            .iter()
            .try_for_each(|(key, value)| news.add(&self.written, key, value.as_ref()));
        let appended = added.and_then(|()| self.append(&news, &changes.counters, done));
        self.appended(appended, all);
    }

    fn appended<A: All>(&mut self, appended: io::Result<()>, all: impl FnOnce() -> A) {
        if let Err(error) = appended {
            log::error!(
                "cannot record what is held in {}: {error}; no more boards are given out until that \
                 is mended",
                printable(self.path.as_os_str().as_encoded_bytes())
            );
            self.failing = Some((error, Instant::now()));
            return;
        }
        if self.length > self.live.saturating_mul(2).saturating_add(SLACK)
            && let Err(error) = self.rewrite(&all())
        {
            // The old one is still good.
            log::warn!("cannot write the state file anew: {error}");
            self.live = self.length;
        }
    }

    /// Records what a table came to that took over what was found: what it did not
    /// take, or gave to others, is not to come back.
    pub fn taken_over(&mut self, all: &impl All) {
        if self.failing.is_some() {
            self.retry(|| all);
            return;
        }
        let mut news = News::default();
        let mut there = HashSet::new();
        let mut add = || {
            for (key, value) in all.values() {
                there.insert(key);
                news.add(&self.written, &key, Some(&value))?;
            }
            let mut gone = self.written.keys().filter(|key| !there.contains(key));
            gone.try_for_each(|key| news.add(&self.written, &key, None))
        };
        let added = add();
        let appended = added.and_then(|()| self.append(&news, &all.counters(), &[]));
        self.appended(appended, || all);
    }

    /// Whether what is acquired now can be recorded.
    pub fn is_ready<A: All>(&mut self, all: impl FnOnce() -> A) -> io::Result<()> {
        if self.failing.is_some() {
            self.retry(all);
        } else if self.reserved < self.length.saturating_add(RESERVE) {
            self.reserve()?;
        }
        match &self.failing {
            Some((error, _)) => Err(match error.raw_os_error() {
                Some(number) => io::Error::from_raw_os_error(number),
                None => io::Error::other(error.to_string()),
            }),
            None => Ok(()),
        }
    }

    fn retry<A: All>(&mut self, all: impl FnOnce() -> A) {
        let recent = |(_, tried): &(io::Error, Instant)| tried.elapsed() < RETRY;
        if self.failing.as_ref().is_some_and(recent) {
            return;
        }
        match self.rewrite(&all()) {
            Ok(()) => {
                self.failing = None;
                log::info!("what is held is recorded again");
            }
            Err(error) => self.failing = Some((error, Instant::now())),
        }
    }

    fn append(&mut self, news: &News, counters: &Counters, done: &[Done]) -> io::Result<()> {
        let others = counters.token != self.counters.token || !done.is_empty();
        if news.entries.is_empty() && !others {
            return Ok(());
        }
        let frame = news.entries.frame(counters, done);
        let bytes = frame.map_err(io::Error::other)?;
        fault::within(Point::Recording, || {
            let half = bytes.get(..bytes.len() / 2).unwrap_or_default();
            let _ = self.file.write_all_at(half, self.length);
        });
        if let Err(error) = self.file.write_all_at(&bytes, self.length) {
            // Whatever came of it is no part of the file.
            let _ = self.file.set_len(self.length);
            return Err(error);
        }
        self.length += bytes.len() as u64;
        self.counters = *counters;
        for (key, entry) in &news.written {
            let before = self.written.set(*key, *entry);
            let length = |digest: Option<Digest>| digest.map_or(0, |(_, length)| u64::from(length));
            let live = self.live.saturating_sub(length(before));
            self.live = live.saturating_add(length(*entry));
        }
        Ok(())
    }

    /// Writes the whole file anew, beside the old one, and then in its place.
    fn rewrite(&mut self, all: &impl All) -> io::Result<()> {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".new");
        let beside = PathBuf::from(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&beside)?;
        let replaced = self.write_all(&file, all).and_then(|written| {
            reserve(&file, written.0)?;
            flock(&file, FlockOperation::NonBlockingLockExclusive)?;
            fault::point(Point::Rewriting);
            std::fs::rename(&beside, &self.path)?;
            Ok(written)
        });
        let (length, written) = match replaced {
            Ok(written) => written,
            Err(error) => {
                let _ = std::fs::remove_file(&beside);
                return Err(error);
            }
        };
        fault::point(Point::Rewritten);
        self.file = file;
        self.length = length;
        self.live = length;
        self.reserved = length.saturating_add(2 * RESERVE);
        self.written = written;
        self.counters = all.counters();
        Ok(())
    }

    /// Writes all into an empty file, a part at a time: what is held once more, if only
    /// for a moment, is memory that the daemon has from then on. How long it is, and what
    /// was written.
    fn write_all(&self, file: &File, all: &impl All) -> io::Result<(u64, Written)> {
        let mut bytes = MAGIC.to_vec();
        push(&mut bytes, &self.owner).map_err(io::Error::other)?;
        let mut written = Written::default();
        let mut length = 0;
        let mut frame = Frame {
            counters: all.counters(),
            values: Vec::new(),
            done: Vec::new(),
        };
        for (key, value) in all.values() {
            written.set(key, Some(digest(&value)?));
            frame.values.push((key, Some(value)));
            if frame.values.len() >= 256 {
                push(&mut bytes, &frame).map_err(io::Error::other)?;
                frame.values.clear();
                file.write_all_at(&bytes, length)?;
                length += bytes.len() as u64;
                bytes.clear();
            }
        }
        frame.done.extend(self.done.iter().copied());
        push(&mut bytes, &frame).map_err(io::Error::other)?;
        file.write_all_at(&bytes, length)?;
        Ok((length + bytes.len() as u64, written))
    }

    fn reserve(&mut self) -> io::Result<()> {
        reserve(&self.file, self.length)?;
        self.reserved = self.length.saturating_add(2 * RESERVE);
        Ok(())
    }
}

/// What is to be written because it is other than what was written last.
#[derive(Debug, Default)]
struct News {
    entries: Entries,
    written: Vec<(Key, Option<Digest>)>,
}

impl News {
    fn add(&mut self, before: &Written, key: &Key, value: Option<&Value>) -> io::Result<()> {
        let News { entries, written } = self;
        let is_news = |digest| {
            let is_news = before.get(key) != digest;
            if is_news {
                written.push((*key, digest));
            }
            is_news
        };
        entries.add(key, value, is_news).map_err(io::Error::other)
    }
}

/// Locks a state file; whoever served before may be about to end.
fn locks(file: &File) -> bool {
    let deadline = Instant::now() + LAST;
    loop {
        if flock(file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Reserves space behind what is written. A file system that cannot do that is
/// taken as it is.
fn reserve(file: &File, length: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::KEEP_SIZE, length, 2 * RESERVE) {
        Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The checksum and length of what is written of a value.
fn digest(value: &Value) -> io::Result<Digest> {
    let bytes = postcard::to_stdvec(value).map_err(io::Error::other)?;
    digest_of(&bytes).map_err(io::Error::other)
}

/// What a file held, if it is this lock directory's; none of an empty one.
fn read_found(text: &[u8], owner: &Owner) -> Result<Option<Found>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let Content {
        owner: theirs,
        saved,
        done,
        length,
        torn,
    } = format::read(text).map_err(|why| match why {
        Unreadable::Foreign => "is no state file of boardlock's".to_owned(),
        Unreadable::Later => "was written by a later boardlock".to_owned(),
        Unreadable::Damaged(at) => format!("is damaged at byte {at}"),
    })?;
    if theirs.dir != owner.dir {
        return Err(format!("is that of {}", printable(&theirs.dir)));
    }
    let same_boot = theirs.boot == owner.boot;
    if same_boot && theirs.pids != owner.pids {
        return Err("counts the processes of another pid namespace".to_owned());
    }
    if torn {
        log::info!("the last change in the state file was not written whole, and told to nobody");
    }
    Ok(Some(Found {
        saved,
        same_boot,
        done,
        length: length as u64,
        torn,
    }))
}

#[cfg(test)]
mod tests;
