//! The open files of `.boardlock`, and what they show.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::serve::Read;
use super::{FIRST, File};
use crate::chronicle::ring::{Reader, Ring};
use crate::lock::ids::{Handle, Uid};
use crate::service::Tell;

/// Of so many open files of a user it is kept what they show, those that were read
/// from the start last.
const SNAPSHOTS: usize = 256;

/// And no more than so many bytes of it, but for the last one.
const SNAPSHOT_BYTES: usize = 32 << 20;

/// What the open files of `.boardlock` are, and who waits for what.
#[derive(Default)]
pub(in crate::service) struct View {
    last: u64,
    opens: HashMap<Handle, Opened>,
    /// The open files of each user that show something, the oldest first.
    kept: HashMap<Uid, VecDeque<Handle>>,
    /// The reads that wait until what they show is made.
    asked: Vec<Asked>,
    /// Whether somebody is making it.
    making: bool,
    /// Those that are polled, until they are told.
    polled: HashMap<Handle, Tell>,
}

/// An open file.
#[derive(Debug)]
struct Opened {
    file: File,
    uid: Uid,
    /// What its reads show.
    text: Option<Arc<Vec<u8>>>,
    /// As of which change.
    seen: Option<u64>,
    /// Of the events: how far it has read.
    reader: Reader,
}

/// A read that waits.
pub(super) struct Asked {
    pub handle: Handle,
    pub file: File,
    pub uid: Uid,
    pub size: usize,
    pub answer: Read,
}

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asked").field("file", &self.file).finish()
    }
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View")
            .field("opens", &self.opens)
            .field("polled", &self.polled.len())
            .finish_non_exhaustive()
    }
}

impl View {
    /// One that gives out numbers of open files that no process before this one has
    /// given out on the same connection: `begun` microseconds since the boot.
    pub fn new(begun: u64) -> View {
        View {
            last: FIRST.saturating_add(begun),
            ..View::default()
        }
    }

    /// Opens a file.
    pub(super) fn open(&mut self, file: File, uid: Uid) -> Handle {
        self.last += 1;
        let handle = Handle(self.last);
        self.know(handle, file, uid);
        handle
    }

    /// An open file, which may be one that a process before this one has opened.
    fn know(&mut self, handle: Handle, file: File, uid: Uid) -> &mut Opened {
        self.opens.entry(handle).or_insert(Opened {
            file,
            uid,
            text: None,
            seen: None,
            reader: Reader::default(),
        })
    }

    /// The last descriptor of an open file was closed.
    pub fn close(&mut self, handle: Handle) {
        self.polled.remove(&handle);
        if let Some(opened) = self.opens.remove(&handle) {
            self.drop_kept(handle, opened.uid);
        }
    }

    fn drop_kept(&mut self, handle: Handle, uid: Uid) {
        if let Some(kept) = self.kept.get_mut(&uid) {
            kept.retain(|other| *other != handle);
            if kept.is_empty() {
                self.kept.remove(&uid);
            }
        }
    }

    /// What an open file shows from an offset on; none if that is kept no more.
    pub fn text(&self, handle: Handle) -> Option<Arc<Vec<u8>>> {
        self.opens.get(&handle)?.text.clone()
    }

    /// Keeps what an open file shows from now on, as of this change.
    pub(super) fn show(&mut self, asked: &Asked, text: &Arc<Vec<u8>>, seen: u64) {
        let handle = asked.handle;
        let opened = self.know(handle, asked.file, asked.uid);
        opened.text = Some(Arc::clone(text));
        opened.seen = Some(seen);
        let uid = opened.uid;
        let kept = self.kept.entry(uid).or_default();
        kept.retain(|other| *other != handle);
        kept.push_back(handle);
        let length = |opens: &HashMap<Handle, Opened>, handle: &Handle| {
            let text = opens.get(handle).and_then(|opened| opened.text.as_ref());
            text.map_or(0, |text| text.len())
        };
        let mut bytes: usize = kept.iter().map(|other| length(&self.opens, other)).sum();
        while kept.len() > SNAPSHOTS || (bytes > SNAPSHOT_BYTES && kept.len() > 1) {
            let Some(oldest) = kept.pop_front() else {
                break;
            };
            bytes = bytes.saturating_sub(length(&self.opens, &oldest));
            if let Some(opened) = self.opens.get_mut(&oldest) {
                opened.text = None;
            }
        }
    }

    /// Has a read wait; true if nobody is making anything yet, and the caller is to.
    pub(super) fn ask(&mut self, asked: Asked) -> bool {
        self.asked.push(asked);
        !std::mem::replace(&mut self.making, true)
    }

    /// The reads that wait. With none left nobody makes anything any more.
    pub(super) fn take_asked(&mut self) -> Vec<Asked> {
        let asked = std::mem::take(&mut self.asked);
        self.making = !asked.is_empty();
        asked
    }

    /// Nobody makes anything any more, for those either who wait for it.
    pub(super) fn give_up(&mut self) -> Vec<Asked> {
        self.making = false;
        std::mem::take(&mut self.asked)
    }

    /// As of which change an open file shows what it shows.
    pub fn seen(&self, handle: Handle) -> Option<u64> {
        self.opens.get(&handle)?.seen
    }

    /// Tells of the next change, once.
    pub(super) fn poll(&mut self, handle: Handle, file: File, uid: Uid, tell: Tell) {
        self.know(handle, file, uid);
        self.polled.insert(handle, tell);
    }

    /// Reads events through an open file. One that was opened before this process
    /// began is at the end of other events than these.
    pub(super) fn read_on(
        &mut self,
        (handle, uid): (Handle, Uid),
        ring: &Ring,
        offset: u64,
        size: usize,
    ) -> Vec<u8> {
        let known = self.opens.contains_key(&handle);
        let opened = self.know(handle, File::Events, uid);
        if !known {
            opened.reader = Reader::of_another(offset, ring);
        }
        opened.reader.read(ring, offset, size)
    }

    /// Whether there are events that were not read through an open file.
    pub(super) fn has_events(&self, handle: Handle, ring: &Ring) -> bool {
        let opened = self.opens.get(&handle);
        opened
            .map_or_else(Reader::default, |opened| opened.reader)
            .has_news(ring)
    }

    /// Whether anybody polls.
    pub(super) fn is_polled(&self) -> bool {
        !self.polled.is_empty()
    }

    /// Tells those who poll a file that is another than they have `seen`, or of which
    /// they have not read all.
    pub(super) fn tell(&mut self, ring: &Ring, seen: impl Fn(File, Option<u64>) -> bool) {
        let opens = &self.opens;
        let news = |handle: &Handle| {
            let opened = opens.get(handle);
            opened.is_none_or(|opened| match opened.file {
                File::Events => opened.reader.has_news(ring),
                file => !seen(file, opened.seen),
            })
        };
        let told: Vec<Handle> = self.polled.keys().copied().filter(news).collect();
        for handle in told {
            if let Some(tell) = self.polled.remove(&handle) {
                tell();
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const USER: Uid = Uid(1);

    fn text(length: usize) -> Arc<Vec<u8>> {
        Arc::new(vec![b'x'; length])
    }

    fn read(view: &mut View, handle: Handle, uid: Uid, text: &Arc<Vec<u8>>) {
        let asked = Asked {
            handle,
            file: File::Status,
            uid,
            size: 1,
            answer: Box::new(|_| ()),
        };
        view.show(&asked, text, 1);
    }

    #[test]
    fn what_a_user_leaves_half_read_is_bounded() {
        let mut view = View::new(0);
        let mine = view.open(File::Status, Uid(2));
        read(&mut view, mine, Uid(2), &text(SNAPSHOT_BYTES * 2));
        let big = text(SNAPSHOT_BYTES / 4);
        let handles: Vec<Handle> = (0..20).map(|_| view.open(File::Status, USER)).collect();
        for handle in &handles {
            read(&mut view, *handle, USER, &big);
        }
        let shown = |view: &View| {
            let shown = handles
                .iter()
                .filter(|handle| view.text(**handle).is_some());
            shown.count()
        };
        assert_eq!(shown(&view), 4);
        assert!(view.text(*handles.last().unwrap()).is_some());
        // Of another, that which he read last, however long.
        assert!(view.text(mine).is_some());
        let small = text(1);
        let many: Vec<Handle> = (0..1000).map(|_| view.open(File::Status, USER)).collect();
        for handle in &many {
            read(&mut view, *handle, USER, &small);
        }
        let left = many.iter().filter(|handle| view.text(**handle).is_some());
        assert_eq!((left.count(), shown(&view)), (SNAPSHOTS, 0));
        for handle in handles.into_iter().chain(many).chain([mine]) {
            view.close(handle);
        }
        assert!(view.opens.is_empty() && view.kept.is_empty());
    }
}
