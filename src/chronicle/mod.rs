//! What happened, beside what is: who had the boards before, who was refused one, how
//! often and how long. It is fed what the table decided, and decides nothing.
//!
//! All of it is bounded, and what one user does drives out little of what others did.

pub mod asks;
pub mod refused;

pub use asks::Asks;

use crate::lock::effect::{Effect, End};
use crate::lock::ids::Pid;
use crate::lock::time::Now;

use refused::Refusals;

/// What happened so far.
#[derive(Debug, Default)]
pub struct Chronicle {
    /// Who was refused boards that are held.
    pub refused: Refusals,
}

impl Chronicle {
    /// Takes note of what the table decided.
    pub fn take(&mut self, effect: &Effect, now: &Now) {
        match effect {
            Effect::Refused {
                path,
                caller,
                refusal,
                held: Some(_),
            } => self.refused.add(path, Asks::of(caller), *refusal, now.wall),
            Effect::Released { held, end, .. } if *end != End::Locked => {
                self.refused.forget(&held.path);
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
