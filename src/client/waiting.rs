//! Waiting for one of several boards, without asking again and again: processes stand in
//! line, poll(2) tells how that goes, what changes, and which signals come.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::describe;
use super::directory::{BoardName, LockDirectory};
use super::glance::Told;
use super::line::{Line, Text};
use super::refused::{self, Refused, code};
use super::signals::Signals;
use super::take::{Patience, Taken, Tried, attempt, confirmed};
use super::times::Clock;
use super::waiter::{Ended, Waiter};

/// How often a line that tells how time passes is rewritten.
const REWRITTEN: Duration = Duration::from_secs(60);

/// How long it may take until somebody who has come is seen in line.
const COMING: Duration = Duration::from_millis(300);

/// How waiting went.
#[derive(Debug)]
pub enum Waited {
    /// It is ours.
    Got(Taken),
    /// The time was over, or there was none: who has them.
    NotInTime(Vec<(BoardName, Option<Told>)>),
    /// A signal came.
    Signal(Signal),
}

/// What a wait needs.
pub(super) struct Waits<'a> {
    pub(super) dir: &'a LockDirectory,
    pub(super) patience: Patience,
    pub(super) signals: &'a Signals,
    pub(super) line: &'a mut Line,
    /// How many boards are wanted beside this one.
    pub(super) others: usize,
}

/// A board that is waited for.
struct Place {
    board: BoardName,
    /// None for what cannot be locked as it is now.
    standing: Option<(File, Waiter)>,
    told: Option<Told>,
    /// When it came.
    since: Instant,
    /// Whether it was seen in line.
    was_seen: bool,
}

impl Waits<'_> {
    /// Waits until one of these is ours.
    pub(super) fn wait(&mut self, held: Vec<Tried>, is_any: bool) -> Result<Waited, Refused> {
        let dir = self.dir;
        if self.patience == Patience::None {
            return Ok(Waited::NotInTime(
                held.iter()
                    .filter_map(board_of)
                    .map(|board| look(dir, board))
                    .collect(),
            ));
        }
        let mut places = Vec::new();
        for tried in held {
            match tried {
                Tried::Got(taken) => return Ok(Waited::Got(taken)),
                Tried::Ours => {}
                Tried::Held(board, file) => places.push(self.stand(board, file)?),
                Tried::HeldOtherwise(board) => places.push(Place::of(board)),
            }
        }
        let changes = Changes::of(dir, &places)?;
        let result = self.until_one_is_got(&mut places, changes, is_any);
        self.line.clear();
        result
    }

    fn stand(&self, board: BoardName, file: File) -> Result<Place, Refused> {
        let waiter = Waiter::start(&file, self.signals)
            .map_err(|error| Refused::new(code::OS, format!("cannot wait for {board}: {error}")))?;
        Ok(Place {
            standing: Some((file, waiter)),
            ..Place::of(board)
        })
    }

    fn until_one_is_got(
        &mut self,
        places: &mut Vec<Place>,
        mut changes: Option<Changes>,
        is_any: bool,
    ) -> Result<Waited, Refused> {
        let dir = self.dir;
        for place in places.iter_mut() {
            place.look(dir);
        }
        // It may have changed before anybody watched.
        if changes.is_some()
            && let Some(taken) = self.try_again(places)?
        {
            return Ok(Waited::Got(taken));
        }
        loop {
            self.tell(places, is_any);
            let Some(woken) = self.sleep(places, changes.as_ref())? else {
                return Ok(Waited::NotInTime(
                    places.iter().map(|place| look(dir, &place.board)).collect(),
                ));
            };
            if let Some(signal) = self.line.hear(self.signals) {
                return Ok(Waited::Signal(signal));
            }
            for at in (0..places.len()).rev() {
                if woken.ended.contains(&at)
                    && let Some(waited) = self.ended(places, at)?
                {
                    return Ok(waited);
                }
            }
            for place in places.iter_mut() {
                place.look_if(dir, &woken);
            }
            if woken.changes {
                if let Some(changes) = &mut changes {
                    changes.passed();
                }
                if let Some(taken) = self.try_again(places)? {
                    return Ok(Waited::Got(taken));
                }
            }
        }
    }

    /// One that stood in line stands there no longer.
    fn ended(&mut self, places: &mut Vec<Place>, at: usize) -> Result<Option<Waited>, Refused> {
        let place = places.remove(at);
        let Some((file, waiter)) = place.standing else {
            return Ok(None);
        };
        match waiter.ended() {
            Ended::Locked => match confirmed(self.dir, &place.board, file) {
                Some(taken) => return Ok(Some(Waited::Got(taken))),
                // It waited for a board that was renamed meanwhile.
                None => match attempt(self.dir, &place.board, &[]) {
                    Ok(Tried::Got(taken)) => return Ok(Some(Waited::Got(taken))),
                    Ok(Tried::Ours) => {}
                    Ok(Tried::Held(board, file)) => places.push(self.stand(board, file)?),
                    Ok(Tried::HeldOtherwise(board)) => places.push(Place::of(board)),
                    Err(refused) => or_another(places, refused)?,
                },
            },
            Ended::Failed(error) => {
                let refused = refused::locking(self.dir, &place.board, &error);
                or_another(places, refused)?;
            }
            // Whoever ends what the status shows means the whole.
            Ended::Killed(signal) => {
                let first = self.line.hear(self.signals);
                return Ok(Some(Waited::Signal(first.unwrap_or(signal))));
            }
        }
        Ok(None)
    }

    /// Tries those again for which nobody can stand in line.
    fn try_again(&self, places: &mut Vec<Place>) -> Result<Option<Taken>, Refused> {
        let mut last = None;
        for mut place in std::mem::take(places) {
            if place.standing.is_some() {
                places.push(place);
                continue;
            }
            match attempt(self.dir, &place.board, &[]) {
                Ok(Tried::Got(taken)) => return Ok(Some(taken)),
                Ok(Tried::Held(board, file)) => {
                    place = self.stand(board, file)?;
                    place.look(self.dir);
                    places.push(place);
                }
                Ok(Tried::Ours | Tried::HeldOtherwise(_)) => places.push(place),
                Err(refused) => last = Some(refused),
            }
        }
        last.map_or(Ok(()), |refused| or_another(places, refused))?;
        Ok(None)
    }

    /// Sleeps until something happens; none when the time is over.
    fn sleep(&self, places: &[Place], changes: Option<&Changes>) -> Result<Option<Woken>, Refused> {
        let now = Instant::now();
        let deadline = match self.patience {
            Patience::Until(deadline) => Some(deadline),
            _ => None,
        };
        let rewritten = self.line.is_live().then(|| now + REWRITTEN);
        let told = self.line.is_told();
        let settled = places
            .iter()
            .filter(|_| told)
            .filter_map(Place::is_settled_at);
        let settled = settled.filter(|then| *then > now);
        let until = deadline.into_iter().chain(rewritten).chain(settled).min();
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Ok(None);
        }
        let mut fds = vec![PollFd::new(self.signals, PollFlags::IN)];
        let mut means = vec![Means::Signal];
        if let Some(changes) = changes {
            fds.push(PollFd::from_borrowed_fd(changes.as_fd(), PollFlags::IN));
            means.push(Means::Changes);
        }
        for (at, place) in places.iter().enumerate() {
            if let Some((file, waiter)) = &place.standing {
                fds.push(PollFd::new(waiter, PollFlags::IN));
                means.push(Means::Ended(at));
                if self.line.is_told() {
                    fds.push(PollFd::new(file, PollFlags::IN));
                    means.push(Means::Told(at));
                }
            }
        }
        let left = until.map(|until| until.saturating_duration_since(now));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut fds, left.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                let error = io::Error::from(error);
                return Err(Refused::new(code::OS, format!("cannot wait: {error}")));
            }
        }
        let mut woken = Woken::default();
        for (fd, means) in fds.iter().zip(means) {
            match means {
                _ if fd.revents().is_empty() => {}
                Means::Signal => {}
                Means::Changes => woken.changes = true,
                Means::Ended(at) => woken.ended.push(at),
                Means::Told(at) => {
                    woken
                        .told
                        .extend(places.get(at).map(|place| place.board.clone()));
                }
            }
        }
        let is_over = deadline.is_some_and(|deadline| deadline <= Instant::now());
        Ok((!is_over || !woken.ended.is_empty()).then_some(woken))
    }

    fn tell(&mut self, places: &[Place], is_any: bool) {
        // Who has only just come has no place yet.
        let now = Instant::now();
        let is_early = |place: &Place| place.is_settled_at().is_some_and(|then| now < then);
        if places.iter().any(is_early) {
            return;
        }
        let others = self.others;
        let text = |clock: &Clock, live: bool| {
            let one = |place: &Place| place.words(clock, live);
            let words: Vec<String> = places.iter().map(one).collect();
            let more = match others {
                0 => String::new(),
                1 => " (one more board is wanted with it)".to_owned(),
                n => format!(" ({n} more boards are wanted with it)"),
            };
            let any = if is_any { "waiting for any: " } else { "" };
            format!("{any}{}{more}", words.join("; "))
        };
        self.line.tell(&Text {
            live: &|clock| text(clock, true),
            plain: &|clock| text(clock, false),
        });
    }
}

impl Place {
    /// One for which nobody stands in line.
    fn of(board: BoardName) -> Place {
        Place {
            board,
            standing: None,
            told: None,
            since: Instant::now(),
            was_seen: false,
        }
    }

    fn look(&mut self, dir: &LockDirectory) {
        let told = match &self.standing {
            Some((file, _)) => dir.told_by(&self.board, file),
            None => dir.told_of(&self.board),
        };
        // What cannot be read now may be told by the next change.
        self.told = told.ok().flatten();
        self.was_seen |= self.place().is_some();
    }

    fn look_if(&mut self, dir: &LockDirectory, woken: &Woken) {
        if woken.told.contains(&self.board) || (woken.changes && self.standing.is_none()) {
            self.look(dir);
        }
    }

    /// Its place in the line, where that is seen.
    fn place(&self) -> Option<usize> {
        let (_, waiter) = self.standing.as_ref()?;
        let all = &self.told.as_ref()?.board.waiting;
        let ours = all.iter().find(|one| one.pid == Some(waiter.pid()))?;
        Some(ours.place)
    }

    /// Until when it is to be seen that it stands in line: it has only just come. Where it
    /// was seen and is no more, it has been its turn.
    fn is_settled_at(&self) -> Option<Instant> {
        if self.standing.is_none() || self.place().is_some() {
            return None;
        }
        Some(self.since + if self.was_seen { REWRITTEN } else { COMING })
    }

    /// `beagle: 2nd of 3 in line; held by alice, pid 123 (make test), since ..`.
    fn words(&self, clock: &Clock, live: bool) -> String {
        let name = &self.board;
        let told = self.told.as_ref().filter(|told| told.board.state != "free");
        let Some(told) = told else {
            return format!("{name}: waiting");
        };
        let place = match (self.place(), told.board.waiters) {
            (Some(place), n) => format!("{} of {n} in line; ", describe::ordinal(place)),
            // Pids count otherwise here than where it is served.
            (None, n) if self.standing.is_some() && n > 0 => format!("one of {n} in line; "),
            (None, _) => "waiting; ".to_owned(),
        };
        let holder = if live {
            describe::holder(&told.board, clock)
        } else {
            describe::holder_plainly(&told.board, clock)
        };
        format!("{name}: {place}{holder}")
    }
}

#[derive(Debug, Default)]
struct Woken {
    changes: bool,
    ended: Vec<usize>,
    told: Vec<BoardName>,
}

#[derive(Clone, Copy)]
enum Means {
    Signal,
    Changes,
    Ended(usize),
    Told(usize),
}

/// The changes of all boards, for those for which nobody can stand in line.
pub(super) struct Changes(File);

impl Changes {
    fn of(dir: &LockDirectory, places: &[Place]) -> Result<Option<Changes>, Refused> {
        match places.iter().find(|place| place.standing.is_none()) {
            None => Ok(None),
            Some(place) => Changes::open(dir, &place.board).map(Some),
        }
    }

    pub(super) fn open(dir: &LockDirectory, board: &BoardName) -> Result<Changes, Refused> {
        let opened = File::open(dir.told("events")).and_then(|mut file| {
            file.seek(SeekFrom::End(0))?;
            Ok(file)
        });
        opened.map(Changes).map_err(|error| {
            Refused::new(
                code::UNAVAILABLE,
                format!(
                    "cannot wait for {board}: it is held as a directory or link, and the \
                     changes of boards cannot be read: {error}"
                ),
            )
        })
    }

    /// What has changed so far is known.
    pub(super) fn passed(&mut self) {
        let mut piece = [0; 16 * 1024];
        while self.0.read(&mut piece).is_ok_and(|n| n > 0) {}
    }
}

impl AsFd for Changes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// One that is refused by now does not keep it from the others.
fn or_another(places: &[Place], refused: Refused) -> Result<(), Refused> {
    if places.is_empty() {
        return Err(refused);
    }
    Ok(())
}

fn board_of(tried: &Tried) -> Option<&BoardName> {
    match tried {
        Tried::Held(board, _) | Tried::HeldOtherwise(board) => Some(board),
        Tried::Got(_) | Tried::Ours => None,
    }
}

fn look(dir: &LockDirectory, board: &BoardName) -> (BoardName, Option<Told>) {
    (board.clone(), dir.told_of(board).ok().flatten())
}
