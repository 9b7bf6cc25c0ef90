//! Making what is read in `.boardlock`, for all who ask at a time.

use std::sync::Arc;
use std::thread;

use super::File;
use super::serve::part;
use crate::chronicle::counts::Gauges;
use crate::chronicle::file::Recorder;
use crate::lock::options::{ExpireRule, OpenRule, ReleaseRule};
use crate::lock::refusal::Refusal;
use crate::schema::VERSION;
use crate::service::Service;

/// Whoever makes things. However that ends, another can begin.
struct Maker<'a>(&'a Service);

impl Drop for Maker<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let left = self.0.state.lock().view.give_up();
            for asked in left {
                (asked.answer)(Err(Refusal::Gone.into()));
            }
        }
    }
}

impl Service {
    /// Makes what is asked for, in a thread of its own that ends when nobody asks
    /// any more.
    pub(super) fn make_views(self: &Arc<Service>) {
        let service = Arc::clone(self);
        let made = thread::Builder::new()
            .name("views".to_owned())
            .spawn(move || service.make_all());
        if let Err(error) = made {
            log::warn!("cannot start a thread: {error}");
            self.make_all();
        }
    }

    fn make_all(&self) {
        let _maker = Maker(self);
        loop {
            let mut asked = self.state.lock().view.take_asked();
            if asked.is_empty() {
                return;
            }
            // Each as of a moment after all of them have asked.
            asked.sort_by_key(|asked| asked.file);
            let mut made: Option<(File, u64, Arc<Vec<u8>>)> = None;
            for asked in asked {
                let (seen, text) = match &made {
                    Some((file, seen, text)) if *file == asked.file => (*seen, Arc::clone(text)),
                    _ => {
                        // What changes meanwhile may be in it, or not.
                        let seen = self.act(|desk| desk.version(asked.file));
                        let text: Arc<Vec<u8>> = Arc::new(self.view_text(asked.file));
                        made = Some((asked.file, seen, Arc::clone(&text)));
                        (seen, text)
                    }
                };
                self.state.lock().view.show(&asked, &text, seen);
                (asked.answer)(Ok(part(&text, 0, asked.size)));
            }
        }
    }

    fn view_text(&self, file: File) -> Vec<u8> {
        match file {
            File::Status => self.status_json(),
            File::History => self.history_json(),
            File::Metrics => self.metrics().into_bytes(),
            // They are read as they are.
            File::Events => Vec::new(),
            File::Capabilities => self.capabilities().into_bytes(),
        }
    }

    fn metrics(&self) -> String {
        let resumed = self.about.get().is_some_and(|about| about.resumed);
        self.act(|desk| {
            let recorder = desk.chronicle.recorder.as_ref();
            desk.chronicle.counts.render(&Gauges {
                held: desk.table.boards(),
                waiters: desk.table.waiters(),
                open_files: desk.table.open_files(),
                recorded: !desk.table.holds_back(),
                resumed,
                lost: recorder.map_or(0, Recorder::lost),
                began: self.began.secs,
            })
        })
    }

    /// What this boardlock can do here, and the options in force: a key and its value
    /// a line. An interface; keys stay.
    fn capabilities(&self) -> String {
        let options = *self.state.lock().table.options();
        let about = self.about.get().cloned().unwrap_or_default();
        let yes = |so: bool| if so { "yes" } else { "no" }.to_owned();
        let number = |number: Option<u64>| number.map_or("-".to_owned(), |n| n.to_string());
        let lines = [
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("state", number(about.state.map(u64::from))),
            ("resend", yes(about.resend)),
            ("upgrade", yes(about.upgrade)),
            ("files", VERSION.to_string()),
            ("force-release", yes(true)),
            ("history", yes(true)),
            ("events", yes(true)),
            (
                "release",
                match options.release {
                    ReleaseRule::Owner => "owner",
                    ReleaseRule::Holder => "holder",
                }
                .to_owned(),
            ),
            (
                "expire",
                match options.expire {
                    ExpireRule::Keep => "keep",
                    ExpireRule::Hard => "hard",
                }
                .to_owned(),
            ),
            (
                "open",
                match options.open {
                    OpenRule::Wait => "wait",
                    OpenRule::Strict => "strict",
                    OpenRule::Shared => "shared",
                }
                .to_owned(),
            ),
            ("open-wait", options.open_wait.as_secs_f64().to_string()),
            ("lease", number(options.lease.map(|lease| lease.as_secs()))),
            ("max-boards", options.max_boards.to_string()),
            ("max-per-user", options.max_per_user.to_string()),
        ];
        let lines = lines.map(|(key, value)| format!("{key} {value}\n"));
        lines.concat()
    }
}
