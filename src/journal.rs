//! The log, on stderr, in a file or the system's: one line a record, and never a reason
//! to stop.
//!
//! A paused terminal or a full pipe must not hold up a daemon on whose answer
//! every user of the directory waits. So records go through a bounded queue to
//! a thread of their own; what does not fit is dropped, counted, and the count
//! told as soon as there is room.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use jiff::Zoned;
use log::{Level, LevelFilter};
use nix::sys::signal::{SigSet, SigmaskHow};

use crate::background;
use crate::cli::options::{LogPlan, Verbosity};
use crate::printable::{escape, printable, unprintable};
use crate::supervise;
use crate::syslog::{self, SystemLog};

/// Records that wait for a slow reader.
const QUEUE: usize = 4096;
/// How long the writer rests once it has written: whoever logs more meanwhile
/// need not wake it up, which costs more than all else about a lock.
const REST: Duration = Duration::from_millis(2);
/// How long an exit may wait for one.
const FLUSH: Duration = Duration::from_secs(1);
/// The environment variable that says what to log.
const FILTER: &str = "BOARDLOCK_LOG";

enum Item {
    Record(Vec<u8>),
    Flush(Sender<()>),
}

/// The running log; dropping it writes out what is queued, within a second.
#[derive(Debug)]
pub struct Journal {
    queue: SyncSender<Item>,
}

impl Journal {
    /// Waits until everything logged so far is written, at most for `limit`;
    /// whether it is.
    pub fn flush(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let (done, written) = channel();
        let mut item = Item::Flush(done);
        loop {
            match self.queue.try_send(item) {
                Ok(()) => break,
                Err(TrySendError::Disconnected(_)) => return false,
                Err(TrySendError::Full(back)) if Instant::now() < deadline => item = back,
                Err(TrySendError::Full(_)) => return false,
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        written.recv_timeout(left).is_ok()
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.flush(FLUSH);
    }
}

/// How a record is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Time, level and message.
    Line { colour: bool },
    /// `<LEVEL>message`, for what knows the time (sd-daemon(3)).
    Level,
}

/// Starts logging. Once in a process.
///
/// # Errors
/// When the file cannot be opened, with its name.
pub fn start(verbosity: Verbosity, to: &LogPlan) -> io::Result<Journal> {
    let (form, out): (Form, Box<dyn Write + Send>) = match to {
        LogPlan::Stderr if is_journal() => (Form::Level, Box::new(io::stderr())),
        LogPlan::Stderr => {
            let colour = colours();
            (Form::Line { colour }, Box::new(io::stderr()))
        }
        LogPlan::System => {
            if background::is_heard() && !supervise::was_started() && !syslog::is_there() {
                complain(
                    "nobody listens for a system log (/dev/log): what is logged waits for that; \
                     --log FILE names a file",
                );
            }
            (Form::Level, Box::new(SystemLog::new()))
        }
        LogPlan::File(path) => {
            let mut file = OpenOptions::new();
            file.append(true).create(true).mode(0o640);
            let file = file.open(path).map_err(|error| {
                let name = printable(path.as_os_str().as_encoded_bytes());
                io::Error::new(error.kind(), format!("{name}: {error}"))
            })?;
            (Form::Line { colour: false }, Box::new(file))
        }
    };
    let colour = form == Form::Line { colour: true };
    let heard = match verbosity {
        Verbosity::Quiet | Verbosity::Normal => Level::Warn,
        Verbosity::Verbose | Verbosity::Trace => Level::Trace,
    };
    let (journal, sink) = queue(QUEUE, out, form)?;
    if *to != LogPlan::Stderr {
        // What a panic says goes to stderr, where nobody may be.
        std::panic::set_hook(Box::new(|info| log::error!("{info}")));
    }
    let mut builder = env_logger::Builder::new();
    match std::env::var(FILTER) {
        Ok(filter) if !filter.trim().is_empty() => {
            builder.parse_filters(&filter);
        }
        _ => {
            let (own, fuser) = match verbosity {
                Verbosity::Quiet => (LevelFilter::Warn, LevelFilter::Warn),
                Verbosity::Normal => (LevelFilter::Info, LevelFilter::Warn),
                Verbosity::Verbose => (LevelFilter::Debug, LevelFilter::Warn),
                Verbosity::Trace => (LevelFilter::Trace, LevelFilter::Debug),
            };
            builder
                .filter_level(LevelFilter::Warn)
                .filter_module("boardlock", own)
                .filter_module("fuser", fuser);
        }
    }
    builder
        .write_style(if colour {
            env_logger::WriteStyle::Always
        } else {
            env_logger::WriteStyle::Never
        })
        .target(env_logger::Target::Pipe(Box::new(sink)))
        .format(move |out, record| {
            let line = match form {
                Form::Line { colour } => line(&Zoned::now(), record, colour),
                Form::Level => levelled(record),
            };
            if record.level() <= heard && background::is_heard() {
                complain(&message(record, false));
            }
            out.write_all(line.as_bytes())
        })
        .try_init()
        .map_err(io::Error::other)?;
    Ok(journal)
}

/// Whether stderr gets colours (no-color.org, bixense.com/clicolors).
fn colours() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if set("NO_COLOR") {
        return false;
    }
    if std::env::var_os("CLICOLOR_FORCE").is_some_and(|v| !v.is_empty() && v != "0") {
        return true;
    }
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// A record as it is written: time, level, message, one line.
fn line(now: &Zoned, record: &log::Record<'_>, colour: bool) -> String {
    let (word, style) = match record.level() {
        Level::Error => ("error", AnsiColor::Red.on_default().bold()),
        Level::Warn => ("warn ", AnsiColor::Yellow.on_default().bold()),
        Level::Info => ("info ", AnsiColor::Green.on_default()),
        Level::Debug => ("debug", AnsiColor::Blue.on_default()),
        Level::Trace => ("trace", AnsiColor::Cyan.on_default()),
    };
    let time = now.strftime("%Y-%m-%dT%H:%M:%S%.3f%:z");
    let mut line = if colour {
        format!(
            "{} {} ",
            paint(Style::new().dimmed(), time),
            paint(style, word)
        )
    } else {
        format!("{time} {word} ")
    };
    line.push_str(&message(record, colour));
    line.push('\n');
    line
}

/// A record for what knows the time: the level as syslog(3) has it, message, one line.
fn levelled(record: &log::Record<'_>) -> String {
    let level = match record.level() {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    };
    format!("<{level}>{}\n", message(record, false))
}

/// What a record says, in one line.
fn message(record: &log::Record<'_>, colour: bool) -> String {
    let mut message = String::new();
    if !record.target().starts_with("boardlock") {
        message.push_str(&printable(record.target()));
        message.push_str(": ");
    }
    one_line(&mut message, &record.args().to_string(), colour);
    message
}

/// Tells whoever waits for the directory to be served.
fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "boardlock: {text}");
}

/// Whether stderr is a stream to the journal, which is told levels and knows the time
/// (`JOURNAL_STREAM` of systemd.exec(5)).
fn is_journal() -> bool {
    let stream = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    rustix::fs::fstat(io::stderr())
        .is_ok_and(|about| stream == format!("{}:{}", about.st_dev, about.st_ino))
}

/// `text` in a colour, for a log message; left out where there are none.
/// What comes from a user must have been through
/// [`printable`](crate::printable::printable).
pub fn paint(style: Style, text: impl fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Appends `message` with control characters escaped. Colour codes alone
/// survive, or vanish where there are no colours.
fn one_line(line: &mut String, message: &str, colour: bool) {
    let mut rest = message;
    while let Some(c) = rest.chars().next() {
        if let Some(code) = colour_code(rest) {
            if colour {
                line.push_str(&rest[..code]);
            }
            rest = &rest[code..];
            continue;
        }
        if unprintable(c) {
            escape(line, c);
        } else {
            line.push(c);
        }
        rest = &rest[c.len_utf8()..];
    }
}

/// The length of the colour code (`ESC [ digits and ; m`) that `text` begins with.
fn colour_code(text: &str) -> Option<usize> {
    let body = text.strip_prefix("\x1b[")?;
    let end = body.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    (body.as_bytes()[end] == b'm').then_some(2 + end + 1)
}

/// The end of the queue that records go into.
struct Sink {
    queue: SyncSender<Item>,
    dropped: Arc<AtomicU64>,
    form: Form,
}

impl Sink {
    /// Tells of what was dropped before, then sends; the order is that of the
    /// records.
    fn send(&self, record: Vec<u8>) {
        let before = self.dropped.swap(0, Ordering::AcqRel);
        if before > 0
            && self
                .queue
                .try_send(Item::Record(notice(before, self.form)))
                .is_err()
        {
            self.dropped.fetch_add(before + 1, Ordering::AcqRel);
            return;
        }
        if self.queue.try_send(Item::Record(record)).is_err() {
            self.dropped.fetch_add(1, Ordering::AcqRel);
        }
    }
}

impl Write for Sink {
    // The logger hands over a record at a time.
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        self.send(record.to_vec());
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn notice(dropped: u64, form: Form) -> Vec<u8> {
    if form == Form::Level {
        return format!("<4>{dropped} log lines were dropped: nobody was reading them\n")
            .into_bytes();
    }
    let time = Zoned::now();
    let time = time.strftime("%Y-%m-%dT%H:%M:%S%.3f%:z");
    format!("{time} warn  {dropped} log lines were dropped: nobody was reading them\n").into_bytes()
}

/// Starts the thread that writes to `out`.
fn queue(
    length: usize,
    out: impl Write + Send + 'static,
    form: Form,
) -> io::Result<(Journal, Sink)> {
    let (queue, items) = sync_channel(length);
    let dropped = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&dropped);
    // Signals are for the thread that waits for them; the mask is inherited.
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let started = std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || write_out(&items, &counted, out, form));
    mask.thread_set_mask()?;
    started?;
    let sink = Sink {
        queue: queue.clone(),
        dropped,
        form,
    };
    Ok((Journal { queue }, sink))
}

fn write_out(items: &Receiver<Item>, dropped: &AtomicU64, mut out: impl Write, form: Form) {
    while let Ok(first) = items.recv() {
        let mut next = Some(first);
        while let Some(item) = next {
            match item {
                // A log that cannot be written cannot be complained about.
                Item::Record(record) => {
                    let _ = out.write_all(&record);
                }
                Item::Flush(done) => {
                    tell_dropped(dropped, &mut out, form);
                    let _ = out.flush();
                    let _ = done.send(());
                }
            }
            next = items.try_recv().ok();
            if next.is_none() {
                std::thread::sleep(REST);
                next = items.try_recv().ok();
            }
        }
        tell_dropped(dropped, &mut out, form);
    }
}

fn tell_dropped(dropped: &AtomicU64, out: &mut impl Write, form: Form) {
    let count = dropped.swap(0, Ordering::AcqRel);
    if count > 0 {
        let _ = out.write_all(&notice(count, form));
    }
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
