//! What the commands have in common that look at a lock directory from outside, as any
//! other program does: which directory it is, which board is meant, who has it, and taking
//! and waiting for boards.

mod above;
mod candidates;
pub mod child;
pub mod describe;
mod directory;
pub mod glance;
mod line;
pub mod refused;
mod signals;
mod spawn;
mod take;
mod times;
mod told;
mod waiter;
mod waiting;
mod watch;

pub use above::is_above;
pub use candidates::{Slot, slots};
pub use directory::{BoardName, DirArgs, LockDirectory, Trouble};
pub use line::Line;
pub use refused::Refused;
pub use signals::{ENDING, Signals};
pub use take::{Outcome, Patience, Taken, Want};
pub use times::Clock;
pub use told::clean;
pub use waiter::stand_in_line;
pub use watch::{Freed, Watch};
