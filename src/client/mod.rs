//! What the commands have in common that look at a lock directory from outside, as any
//! other program does: which directory it is, which board is meant, what the files in
//! `.boardlock` say and how that is shown to people, and taking and waiting for boards.

mod above;
mod boards;
mod candidates;
mod chain;
mod changes;
pub mod child;
mod columns;
pub mod describe;
mod directory;
pub mod glance;
mod holds;
mod line;
pub mod listed;
mod pattern;
pub mod refused;
mod screen;
mod signals;
mod spawn;
mod table;
mod take;
mod times;
mod told;
mod waiter;
mod waiting;
mod watch;
mod why;

pub use above::is_above;
pub use boards::{BOARD_COLUMNS, BoardColumn};
pub use candidates::{Slot, slots};
pub use changes::{Changes, Woken, end_by};
pub use columns::{Chosen, Shows, choose};
pub use directory::{BoardName, DirArgs, LockDirectory, Trouble};
pub use holds::{HOLD_COLUMNS, HoldColumn};
pub use line::{Line, REWRITING};
pub use pattern::{Pattern, is_temporary_name, select};
pub use refused::Refused;
pub use screen::{Screen, put};
pub use signals::{ENDING, Signals};
pub use table::Room;
pub use take::{Outcome, Patience, Taken, Want};
pub use times::{Clock, moment};
pub use told::clean;
pub use waiter::stand_in_line;
pub use watch::{Freed, Watch};
pub use why::{Asking, explain};
