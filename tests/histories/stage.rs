//! The stage of a history: clients play their scripts, signals are sent, the
//! dead are reaped at once, and all that happens is kept.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::action::{Action, BOARDS};
use super::client::DONE;
use super::history::{Death, History, Poke, Sent, Trace};
use super::plan::Plan;
use super::pool::{Client, PATIENCE, Pool};
use super::record::Time;
use super::sys::now;

/// A client on the stage, and what is known of it.
struct Actor {
    client: Option<Client>,
    /// How much of what it was told it has not said that it is through with.
    told: u32,
    trace: Trace,
}

/// A history that is being played.
pub struct Stage<'a> {
    pool: &'a mut Pool,
    actors: Vec<Actor>,
    start: Instant,
    /// Scripts for who comes after a client that is gone.
    heirs: Vec<Vec<Action>>,
}

/// Plays a plan.
///
/// # Errors
/// What hangs, in words.
pub fn play(plan: &Plan, pool: &mut Pool) -> Result<History, String> {
    pool.prepare(plan.scripts.len() + 2);
    let mut stage = Stage::new(pool);
    stage.heirs.clone_from(&plan.heirs);
    stage.heirs.reverse();
    for script in &plan.scripts {
        stage.enter(script);
    }
    for event in &plan.events {
        stage.until(Some(Duration::from_micros(event.at)), |_| false)?;
        stage.poke(event.client, event.poke)?;
        if stage.over() {
            break;
        }
    }
    stage.end()
}

impl<'a> Stage<'a> {
    /// An empty one.
    pub fn new(pool: &'a mut Pool) -> Stage<'a> {
        Stage {
            pool,
            actors: Vec::new(),
            start: Instant::now(),
            heirs: Vec::new(),
        }
    }

    /// A client comes and begins to play its script; its number.
    pub fn enter(&mut self, script: &[Action]) -> usize {
        let mut client = self.pool.take();
        client.tell(true, script);
        self.actors.push(Actor {
            trace: Trace {
                pid: client.pid(),
                records: Vec::new(),
                sent: Vec::new(),
                death: None,
            },
            client: Some(client),
            told: 1,
        });
        self.actors.len() - 1
    }

    /// A client goes on with this.
    pub fn tell(&mut self, number: usize, script: &[Action]) {
        let actor = &mut self.actors[number];
        if let Some(client) = &mut actor.client {
            client.tell(false, script);
            actor.told += 1;
        }
    }

    /// Whether a client is through with what it was told, or gone.
    pub fn idle(&self, number: usize) -> bool {
        let actor = &self.actors[number];
        actor.told == 0 || actor.client.is_none()
    }

    /// Whether a client is gone.
    pub fn gone(&self, number: usize) -> bool {
        self.actors[number].client.is_none()
    }

    /// Whether nobody plays any more.
    pub fn over(&self) -> bool {
        (0..self.actors.len()).all(|number| self.idle(number))
    }

    /// What a client has done so far.
    pub fn trace(&mut self, number: usize) -> &Trace {
        self.collect(number);
        &self.actors[number].trace
    }

    fn collect(&mut self, number: usize) {
        let actor = &mut self.actors[number];
        if let Some(client) = &actor.client {
            actor.trace.records = client.records();
        }
    }

    /// Goes on until it is so long after the start, if there is such a time,
    /// or until it is so that `enough`, or everybody is through.
    ///
    /// # Errors
    /// Somebody hangs.
    pub fn until(
        &mut self,
        time: Option<Duration>,
        enough: impl Fn(&Stage) -> bool,
    ) -> Result<(), String> {
        let patience = Instant::now() + PATIENCE;
        loop {
            if self.over() || enough(self) {
                return Ok(());
            }
            let end = time.map_or(patience, |time| self.start + time);
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return match time {
                    Some(_) => Ok(()),
                    None => Err(self.hanging()),
                };
            }
            for number in self.heard(left) {
                self.attend(number)?;
            }
        }
    }

    /// Who says something within this time, or ends.
    fn heard(&self, limit: Duration) -> Vec<usize> {
        let playing: Vec<(usize, &Client)> = self
            .actors
            .iter()
            .enumerate()
            .filter(|(_, actor)| actor.told > 0)
            .filter_map(|(number, actor)| Some((number, actor.client.as_ref()?)))
            .collect();
        let mut fds: Vec<PollFd> = playing
            .iter()
            .map(|(_, client)| PollFd::new(client.output(), PollFlags::IN))
            .collect();
        match poll(&mut fds, Some(&Timespec::try_from(limit).unwrap())) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("poll: {error}"),
        }
        let said = playing.iter().zip(&fds);
        said.filter(|(_, fd)| !fd.revents().is_empty())
            .map(|((number, _), _)| *number)
            .collect()
    }

    /// Hears what a client says: that it is through, or by the end of its
    /// output that it ends.
    fn attend(&mut self, number: usize) -> Result<(), String> {
        let actor = &mut self.actors[number];
        let Some(client) = &mut actor.client else {
            return Ok(());
        };
        match client.hear(PATIENCE) {
            Some(DONE) => {
                actor.told -= 1;
                Ok(())
            }
            Some(word) => panic!("a client said {word}"),
            None => {
                self.collect(number);
                let last = self.actors[number].trace.records.last().copied();
                let last = last.filter(|last| last.action == Action::Exit);
                let Some(last) = last else {
                    let actor = &mut self.actors[number];
                    let how = actor.client.as_mut().map(Client::ended);
                    return Err(format!("client {number} ended by itself: {how:?}"));
                };
                self.bury(number, last.begin)
            }
        }
    }

    /// Reaps a client, and lets an heir come.
    fn bury(&mut self, number: usize, from: Time) -> Result<(), String> {
        let actor = &mut self.actors[number];
        let Some(mut client) = actor.client.take() else {
            return Ok(());
        };
        let reaped = client.reap(PATIENCE);
        actor.trace.records = client.records();
        let Some(to) = reaped else {
            let text = client.describe();
            actor.client = Some(client);
            return Err(format!("client {number} does not die: {text}"));
        };
        // One that is killed may have been about to end by itself.
        let last = actor.trace.records.last();
        let exit = last.filter(|last| last.action == Action::Exit);
        let from = exit.map_or(from, |exit| exit.begin.min(from));
        actor.trace.death = Some(Death { from, to });
        // What does nothing but finish is not worth a client.
        if let Some(script) = self.heirs.pop().filter(|script| script.len() > 1) {
            self.enter(&script);
        }
        Ok(())
    }

    /// Does something to a client that plays.
    ///
    /// # Errors
    /// It is killed and does not die.
    pub fn poke(&mut self, number: usize, poke: Poke) -> Result<(), String> {
        let actor = &mut self.actors[number];
        let Some(client) = actor.client.as_mut() else {
            return Ok(());
        };
        // Only what is stopped goes on, and who is through has nothing to lose.
        let wanted = match poke {
            Poke::Continue => client.stopped(),
            _ => actor.told > 0,
        };
        if !wanted {
            return Ok(());
        }
        let begin = now();
        client.poke(poke);
        let end = now();
        actor.trace.sent.push(Sent { poke, begin, end });
        if poke == Poke::Kill {
            self.bury(number, begin)?;
        }
        Ok(())
    }

    /// Ends the history: all go on to the end of their scripts, then somebody
    /// looks what is left of the boards.
    ///
    /// # Errors
    /// Somebody hangs.
    pub fn end(mut self) -> Result<History, String> {
        for number in 0..self.actors.len() {
            self.poke(number, Poke::Continue)?;
        }
        self.until(None, |_| false)?;
        let look: Vec<Action> = (0u8..).take(BOARDS.len()).map(Action::Stat).collect();
        if !self.pool.bare() {
            self.enter(&look);
            self.until(None, |_| false)?;
        }
        Ok(self.history())
    }

    /// What has happened; the clients go back to where they came from.
    fn history(mut self) -> History {
        for number in 0..self.actors.len() {
            self.collect(number);
        }
        let mut history = History::default();
        for actor in self.actors.drain(..) {
            history.traces.push(actor.trace);
            if let Some(client) = actor.client
                && actor.told == 0
            {
                self.pool.give(client);
            }
        }
        history
    }

    /// Who hangs, and in what.
    fn hanging(&mut self) -> String {
        let mut text = format!("after {PATIENCE:?} of nothing:\n");
        for number in 0..self.actors.len() {
            if self.idle(number) {
                continue;
            }
            self.collect(number);
            let actor = &self.actors[number];
            if let Some(client) = &actor.client {
                let last = actor.trace.records.last();
                let client = client.describe();
                text.push_str(&format!("client {number} hangs at {last:?}: {client}\n"));
            }
        }
        text.push_str(&format!("the daemon: {}\n", self.pool.describe_daemon()));
        text.push_str(&super::report::raw(&self.partial()));
        text
    }

    fn partial(&mut self) -> History {
        for number in 0..self.actors.len() {
            self.collect(number);
        }
        History {
            traces: self
                .actors
                .iter()
                .map(|actor| actor.trace.clone())
                .collect(),
            full: Vec::new(),
        }
    }
}
