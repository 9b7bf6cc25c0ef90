//! The history in a file beside the state file: a line for each hold that ended.
//!
//! It is read and written by a thread of its own: nobody waits for that, and where it
//! cannot be written, on a full disk, what ended is told in memory alone. Whoever
//! serves and is killed takes along what has ended in the last few hundredths of a second.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::thread;
use std::time::Duration;

use super::history::{Shared, line};
use crate::lock::ids::Uid;
use crate::printable::printable;
use crate::schema::Hold;

/// So many that ended wait for a slow disk.
const QUEUE: usize = 4096;

/// How long the writer rests once it has written: what ends meanwhile need not wake
/// it up.
const REST: Duration = Duration::from_millis(20);

/// The file is not written anew before this much of it is forgotten.
const SLACK: u64 = 1 << 20;

/// As much is left on the disk for the state file, which grows by a MiB before it is
/// written anew: without it no board is given out, without a history they are.
const SPARE: u64 = 2 << 20;

/// A longer one was not written here, and only its end is read.
const LONGEST: u64 = 64 << 20;

enum Item {
    Hold(Arc<str>),
    Flush(Sender<()>),
}

/// What has holds written to the file.
#[derive(Clone, Debug)]
pub struct Recorder {
    queue: SyncSender<Item>,
    lost: Arc<AtomicU64>,
}

/// The file of the history that goes with this state file.
pub fn beside(state: &Path) -> PathBuf {
    let mut name = state.as_os_str().to_owned();
    name.push(".history");
    PathBuf::from(name)
}

impl Recorder {
    /// Reads what the file has, and writes to it from now on.
    ///
    /// # Errors
    /// When there is no thread for that.
    pub fn start(path: PathBuf, history: Arc<Shared>) -> io::Result<Recorder> {
        let (queue, items) = sync_channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let losing = Arc::clone(&lost);
        history.begin_reading();
        let reader = Arc::clone(&history);
        thread::Builder::new()
            .name("history".to_owned())
            .spawn(move || {
                let mut book = Book::open(path, history, losing);
                reader.end_reading();
                book.attend(&items);
            })?;
        Ok(Recorder { queue, lost })
    }

    /// Has one written.
    pub fn add(&self, line: &Arc<str>) {
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
            self.queue.try_send(Item::Hold(Arc::clone(line)))
        {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many could not be written.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits until all of it is written, at most for `limit`.
    pub fn flush(&self, limit: Duration) {
        let (done, written) = channel();
        if self.queue.try_send(Item::Flush(done)).is_ok() {
            let _ = written.recv_timeout(limit);
        }
    }
}

/// The file.
struct Book {
    path: PathBuf,
    history: Arc<Shared>,
    /// None where it could not be opened.
    file: Option<File>,
    length: u64,
    /// How many were lost, and whether that is told.
    lost: Arc<AtomicU64>,
    failing: bool,
}

impl Book {
    fn open(path: PathBuf, history: Arc<Shared>, lost: Arc<AtomicU64>) -> Book {
        let mut book = Book {
            path,
            history,
            file: None,
            length: 0,
            lost,
            failing: false,
        };
        if let Err(error) = book.read() {
            book.failed(0, &error);
        }
        book
    }

    fn shown(&self) -> String {
        printable(self.path.as_os_str().as_encoded_bytes())
    }

    /// Reads what there is. A line that was not all written is none.
    fn read(&mut self) -> io::Result<()> {
        let mut file = options().create(true).truncate(false).open(&self.path)?;
        let length = file.metadata()?.len();
        if length > LONGEST {
            io::Seek::seek(&mut file, io::SeekFrom::Start(length - LONGEST))?;
        }
        let mut text = Vec::new();
        Read::by_ref(&mut file)
            .take(LONGEST)
            .read_to_end(&mut text)?;
        let whole = text.iter().rposition(|byte| *byte == b'\n');
        let whole = whole.map_or(0, |at| at + 1);
        let mut bad = 0;
        for written in text.get(..whole).unwrap_or_default().split(|b| *b == b'\n') {
            match serde_json::from_slice::<Hold>(written) {
                Ok(hold) => self.history.lock().add_read(Uid(hold.uid), line(&hold)),
                Err(_) => bad += usize::from(!written.is_empty()),
            }
        }
        if bad > 0 {
            log::warn!("{}: {bad} lines of the history make no sense", self.shown());
        }
        self.length = length.saturating_sub((text.len() - whole) as u64);
        file.set_len(self.length)?;
        self.file = Some(file);
        Ok(())
    }

    fn attend(&mut self, items: &Receiver<Item>) {
        while let Ok(item) = items.recv() {
            let (mut text, mut holds, mut flushed) = (Vec::new(), 0, Vec::new());
            let mut next = Some(item);
            while let Some(item) = next {
                match item {
                    Item::Hold(line) => {
                        text.extend_from_slice(line.as_bytes());
                        text.push(b'\n');
                        holds += 1;
                    }
                    Item::Flush(done) => flushed.push(done),
                }
                next = items.try_recv().ok();
            }
            if holds > 0 {
                self.write(&text, holds);
            }
            for done in flushed {
                let _ = done.send(());
            }
            thread::sleep(REST);
        }
    }

    fn write(&mut self, text: &[u8], holds: u64) {
        let written = match &self.file {
            // With what is missing in it.
            Some(_) if self.failing => self.rewrite(),
            Some(file) => has_room(file, text.len())
                .and_then(|()| file.write_all_at(text, self.length))
                .map(|()| self.length += text.len() as u64)
                .inspect_err(|_| {
                    // Whatever came of it is no part of the file.
                    let _ = file.set_len(self.length);
                }),
            None => self.rewrite(),
        };
        match written {
            Ok(()) if self.failing => {
                log::info!("{}: the history is recorded again", self.shown());
                self.failing = false;
            }
            Ok(()) => {
                let live = self.history.lock().length();
                if self.length > live.saturating_mul(2).saturating_add(SLACK)
                    && let Err(error) = self.rewrite()
                {
                    self.failed(0, &error);
                }
            }
            Err(error) => self.failed(holds, &error),
        }
    }

    fn failed(&mut self, holds: u64, error: &io::Error) {
        self.lost.fetch_add(holds, Ordering::Relaxed);
        if !std::mem::replace(&mut self.failing, true) {
            log::warn!(
                "cannot record the history in {}: {error}; what ends is forgotten with the daemon \
                 until that is mended",
                self.shown()
            );
        }
    }

    /// Writes all of it anew, beside the old one, and then in its place.
    fn rewrite(&mut self) -> io::Result<()> {
        let lines = self.history.lock().lines();
        let mut text = Vec::new();
        for line in lines {
            text.extend_from_slice(line.as_bytes());
            text.push(b'\n');
        }
        let mut name = self.path.as_os_str().to_owned();
        name.push(".new");
        let beside = PathBuf::from(name);
        let file = options().create(true).truncate(true).open(&beside)?;
        let replaced = has_room(&file, text.len())
            .and_then(|()| file.write_all_at(&text, 0))
            .and_then(|()| std::fs::rename(&beside, &self.path));
        if let Err(error) = replaced {
            let _ = std::fs::remove_file(&beside);
            return Err(error);
        }
        self.file = Some(file);
        self.length = text.len() as u64;
        Ok(())
    }
}

/// Whether so much more can be written where a file is, and something is left.
fn has_room(file: &File, length: usize) -> io::Result<()> {
    let disk = rustix::fs::fstatvfs(file)?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    match free.checked_sub(length as u64) {
        Some(left) if left >= SPARE => Ok(()),
        _ => Err(io::Error::from_raw_os_error(libc::ENOSPC)),
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC);
    options
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn past(token: u64) -> Hold {
        Hold {
            board: "b".to_owned(),
            holder: "alice".to_owned(),
            uid: 1000,
            pid: None,
            command: None,
            via: Some("touch < sshd".to_owned()),
            since: String::new(),
            ended: String::new(),
            seconds: 1,
            how: "released".to_owned(),
            by: None,
            token,
            kind: "claim".to_owned(),
        }
    }

    /// A daemon in which these end; the tokens that it knows of then.
    fn daemon(path: &Path, tokens: std::ops::Range<u64>) -> Vec<u64> {
        let history = Arc::new(Shared::default());
        let recorder = Recorder::start(path.to_owned(), Arc::clone(&history)).unwrap();
        for token in tokens {
            let line = line(&past(token));
            history.lock().add(Uid(1000), Arc::clone(&line));
            recorder.add(&line);
        }
        recorder.flush(PATIENCE);
        let lines = history.all(PATIENCE);
        let token = |line: &Arc<str>| serde_json::from_str::<Hold>(line).unwrap().token;
        lines.iter().map(token).collect()
    }

    #[test]
    fn it_is_there_again_in_order() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("history");
        assert_eq!(daemon(&path, 0..3), [0, 1, 2]);
        assert_eq!(daemon(&path, 3..5), [0, 1, 2, 3, 4]);
        assert_eq!(daemon(&path, 0..0), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_torn_last_line_and_nonsense_are_left_out() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("history");
        daemon(&path, 0..2);
        let mut text = std::fs::read(&path).unwrap();
        text.extend_from_slice(b"nonsense\n{\"board\":\n");
        let torn = line(&past(7));
        text.extend_from_slice(&torn.as_bytes()[..torn.len() / 2]);
        std::fs::write(&path, text).unwrap();
        assert_eq!(daemon(&path, 2..3), [0, 1, 2]);
        assert_eq!(daemon(&path, 3..4), [0, 1, 2, 3]);
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("history");
        for round in 0..5 {
            daemon(&path, round * 4000..round * 4000 + 4000);
        }
        let length = std::fs::metadata(&path).unwrap().len();
        assert!(length < 2 * SLACK, "{length}");
        assert_eq!(daemon(&path, 0..0).last(), Some(&19_999));
    }

    #[test]
    fn one_that_cannot_be_written_is_a_loss_and_no_more() {
        let history = Arc::new(Shared::default());
        let path = PathBuf::from("/proc/no/such/place");
        let recorder = Recorder::start(path, Arc::clone(&history)).unwrap();
        let line = line(&past(1));
        history.lock().add(Uid(1000), Arc::clone(&line));
        recorder.add(&line);
        recorder.flush(PATIENCE);
        assert_eq!((recorder.lost(), history.all(PATIENCE).len()), (1, 1));
    }
}
