//! Requests for what is in `.boardlock`.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::opened::Asked;
use super::{File, Place, find, is_view_handle, place};
use crate::chronicle::file::Recorder;
use crate::clock;
use crate::lock::attributes::{Attributes, Kind};
use crate::lock::ids::{Gid, Handle, Ino, User};
use crate::lock::open::OpenMode;
use crate::lock::refusal::Refusal;
use crate::process::Reach;
use crate::service::desk::Desk;
use crate::service::request::{At, Failure, Listing, Sender};
use crate::service::{Service, State, Tell};

/// How a read is answered, at once or later.
pub type Read = Box<dyn FnOnce(Result<&[u8], Failure>) + Send>;

/// What is told of the mount itself.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// Where it is mounted.
    pub directory: Vec<u8>,
    /// The form of what is recorded; none where nothing is.
    pub state: Option<u32>,
    /// Whether the kernel sends again what was not answered.
    pub resend: bool,
    /// Whether another program can go on in place of this one.
    pub upgrade: bool,
    /// Whether another process served it before.
    pub resumed: bool,
}

impl Service {
    /// Tells what to tell of the mount.
    pub fn set_about(&self, about: About) {
        let _ = self.about.set(about);
    }

    /// What a name in the directory, or that of the directory itself, shows; none
    /// for boards.
    pub(in crate::service) fn view_at(&self, at: At<'_>) -> Option<Result<Attributes, Failure>> {
        Some(match find(at)? {
            Ok(place) => Ok(self.view_shows(place)),
            Err(refusal) => Err(refusal.into()),
        })
    }

    /// What an inode of the directory shows; none for boards.
    pub(in crate::service) fn view_of(&self, ino: Ino) -> Option<Result<Attributes, Failure>> {
        Some(match place(ino)? {
            Ok(place) => Ok(self.view_shows(place)),
            Err(refusal) => Err(refusal.into()),
        })
    }

    fn view_shows(&self, place: Place) -> Attributes {
        let now = clock::now().wall;
        let state = self.state.lock();
        let events = &state.chronicle.events;
        let (size, changed) = match place {
            // tail(1) looks at both for what is new.
            Place::File(File::Events) => (events.ring.end(), events.last.unwrap_or(self.began)),
            _ => (0, now),
        };
        Attributes {
            ino: place.ino(),
            kind: match place {
                Place::Directory => Kind::Directory,
                Place::File(_) => Kind::File,
            },
            size,
            atime: changed,
            mtime: changed,
            ctime: changed,
            links: 1,
            user: User {
                uid: state.table.options().daemon,
                gid: Gid(0),
            },
        }
    }

    /// The entries of the directory after a place, and the inode above it; none for
    /// boards' directories.
    pub(in crate::service) fn view_list(
        &self,
        dir: Ino,
        after: u64,
    ) -> Option<Result<(Ino, Listing), Failure>> {
        Some(match place(dir)? {
            Ok(Place::Directory) => Ok((
                Ino::ROOT,
                (1..)
                    .zip(File::ALL)
                    .filter(|(at, _)| *at > after)
                    .map(|(at, file)| (at, file.name().into(), self.view_shows(Place::File(file))))
                    .collect(),
            )),
            Ok(Place::File(_)) => Err(Refusal::NotDirectory.into()),
            Err(refusal) => Err(refusal.into()),
        })
    }

    /// Opens the directory; none for boards'.
    pub(in crate::service) fn view_open_directory(&self, ino: Ino) -> Option<Result<(), Failure>> {
        Some(match place(ino)? {
            Ok(Place::Directory) => Ok(()),
            Ok(Place::File(_)) => Err(Refusal::NotDirectory.into()),
            Err(refusal) => Err(refusal.into()),
        })
    }

    /// Opens a file of the directory; none for boards.
    pub(in crate::service) fn view_open(
        &self,
        sender: Sender,
        ino: Ino,
        mode: OpenMode,
    ) -> Option<Result<Handle, Failure>> {
        let place = match place(ino)? {
            Ok(place) => place,
            Err(refusal) => return Some(Err(refusal.into())),
        };
        if mode.write || mode.append || mode.truncate {
            return Some(Err(self.spare(sender, place.path())));
        }
        Some(match place {
            Place::File(file) => Ok(self.state.lock().view.open(file, sender.user.uid)),
            Place::Directory => Err(Refusal::IsDirectory.into()),
        })
    }

    /// Refuses whoever would change something at this path.
    pub(in crate::service) fn spare(&self, sender: Sender, path: Vec<u8>) -> Failure {
        match self.caller(sender, Reach::Holder) {
            Ok((caller, _)) => self.act(|desk| desk.table.spare(path, &caller)).into(),
            Err(error) => error.into(),
        }
    }

    /// The same for an inode; none for boards.
    pub(in crate::service) fn spare_inode(&self, sender: Sender, ino: Ino) -> Result<(), Failure> {
        match place(ino) {
            None => Ok(()),
            Some(Ok(place)) => Err(self.spare(sender, place.path())),
            Some(Err(refusal)) => Err(refusal.into()),
        }
    }

    /// The same for a name.
    pub(in crate::service) fn spare_name(&self, sender: Sender, at: At<'_>) -> Result<(), Failure> {
        if !super::reserves(at) {
            return Ok(());
        }
        let path = match place(at.0) {
            Some(Ok(place)) => [&place.path(), at.1].join(&b'/'),
            _ => at.1.to_vec(),
        };
        Err(self.spare(sender, path))
    }

    /// Reads a file of the directory. A read from the start shows what is there
    /// then, those after it the same; one whose start is kept no more fails with
    /// `Gone`: what it read and what it would read are not of one moment.
    pub fn view_read(
        self: &Arc<Service>,
        sender: Sender,
        (ino, handle): (Ino, Handle),
        (offset, size): (u64, usize),
        answer: Read,
    ) {
        let file = match place(ino) {
            Some(Ok(Place::File(file))) => file,
            _ => return answer(Err(Refusal::Gone.into())),
        };
        if file == File::Events {
            let text = {
                let mut state = self.state.lock();
                let State {
                    view, chronicle, ..
                } = &mut *state;
                let ring = &chronicle.events.ring;
                view.read_on((handle, sender.user.uid), ring, offset, size)
            };
            return answer(Ok(&text));
        }
        if offset > 0 {
            let text = self.state.lock().view.text(handle);
            return match text {
                Some(text) => answer(Ok(part(&text, offset, size))),
                None => answer(Err(Refusal::Gone.into())),
            };
        }
        let asked = Asked {
            handle,
            file,
            uid: sender.user.uid,
            size,
            answer,
        };
        if self.state.lock().view.ask(asked) {
            self.make_views();
        }
    }

    /// Whether there is something new to be read through an open file of the
    /// directory; `tell` is called at the next change; with the number by which the
    /// kernel knows who polls.
    pub fn view_poll(
        &self,
        sender: Sender,
        (ino, handle): (Ino, Handle),
        tell: Option<(u64, Tell)>,
    ) -> bool {
        let Some(Ok(Place::File(file))) = place(ino) else {
            return true;
        };
        self.act(|desk| {
            let new = match file {
                File::Events => desk.view.has_events(handle, &desk.chronicle.events.ring),
                _ => desk.view.seen(handle) != Some(desk.version(file)),
            };
            if let Some((number, tell)) = tell {
                desk.table.watched_as(handle, number);
                desk.view.poll(handle, file, sender.user.uid, tell);
            }
            new
        })
    }

    /// Closes an open file of the directory; false for a board's.
    pub(in crate::service) fn view_close(&self, handle: Handle) -> bool {
        let ours = is_view_handle(handle);
        if ours {
            self.act(|desk| {
                desk.view.close(handle);
                desk.table.unwatched(handle);
            });
        }
        ours
    }
}

impl Desk<'_> {
    /// The last change of a file.
    pub(super) fn version(&self, file: File) -> u64 {
        match file {
            // Who was refused is told there as well.
            File::Status => self
                .table
                .changes()
                .wrapping_add(self.chronicle.refused.changes()),
            File::Metrics => self.counted(),
            File::History => self.chronicle.history.lock().changes(),
            File::Events => self.chronicle.events.ring.end(),
            File::Capabilities => 0,
        }
    }

    /// What tells the metrics of one moment from those of another.
    fn counted(&self) -> u64 {
        let recorder = self.chronicle.recorder.as_ref();
        let mut hasher = DefaultHasher::new();
        (
            self.table.changes(),
            self.table.open_files(),
            self.table.holds_back(),
            self.chronicle.counts.changes(),
            recorder.map_or(0, Recorder::lost),
        )
            .hash(&mut hasher);
        hasher.finish()
    }

    /// Tells those who poll of what has changed.
    pub fn tell_viewers(&mut self) {
        if !self.view.is_polled() {
            return;
        }
        let versions = File::ALL.map(|file| (file, self.version(file)));
        let seen = |file, seen: Option<u64>| seen.is_some_and(|s| versions.contains(&(file, s)));
        self.view.tell(&self.chronicle.events.ring, seen);
    }
}

/// A part of what an open file shows.
pub(super) fn part(text: &[u8], offset: u64, size: usize) -> &[u8] {
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    let start = start.min(text.len());
    let end = start.saturating_add(size).min(text.len());
    text.get(start..end).unwrap_or_default()
}
