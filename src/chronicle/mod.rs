//! What happened, beside what is: who had the boards before, who was refused one, how
//! often and how long. It is fed what the table decided, and decides nothing.
//!
//! All of it is bounded, and what one user does drives out little of what others did.

pub mod asks;
pub mod counts;
pub mod events;
pub mod file;
pub mod history;
pub mod refused;
pub mod ring;

use std::sync::Arc;

pub use asks::Asks;

use crate::lock::effect::{Effect, End};
use crate::lock::ids::{Pid, Uid};
use crate::lock::time::Now;

use counts::Counts;
use events::Events;
use file::Recorder;
use refused::Refusals;

/// What happened so far.
#[derive(Debug, Default)]
pub struct Chronicle {
    /// Who was refused boards that are held.
    pub refused: Refusals,
    /// What happened of late.
    pub events: Events,
    /// How often and how long.
    pub counts: Counts,
    /// The holds that ended.
    pub history: Arc<history::Shared>,
    /// What records them.
    pub recorder: Option<Recorder>,
}

impl Chronicle {
    /// Takes note of what the table decided; `name` names users. What is not to be
    /// `told`, since its user causes too much, is no event.
    pub fn take(
        &mut self,
        effect: &Effect,
        now: &Now,
        told: bool,
        name: &mut dyn FnMut(Uid) -> String,
    ) {
        self.counts.add(effect);
        if told {
            self.events.add(effect, now, name);
        } else {
            self.events.omit();
        }
        match effect {
            Effect::Refused {
                path,
                caller,
                refusal,
                held: Some(_),
                ..
            } => self.refused.add(path, Asks::of(caller), *refusal, now.wall),
            // The same who had it have it locked now.
            Effect::Released {
                end: End::Locked, ..
            } => {}
            Effect::Released { held, end, after } => {
                self.refused.forget(&held.path);
                let line = history::line(&history::ended(held, end, *after, now, name));
                self.history.lock().add(held.maker, Arc::clone(&line));
                if let Some(recorder) = &self.recorder {
                    recorder.add(&line);
                }
            }
            _ => {}
        }
    }
}

/// A text that is not empty.
pub fn text(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

/// The number of a process.
pub fn pid_of(pid: Option<Pid>) -> Option<u32> {
    pid.map(Pid::get)
}
