//! What the commands have in common that look at a lock directory from outside, as any
//! other program does: which directory it is, which board is meant, what the files in
//! `.boardlock` say, and how that is shown to people.

mod boards;
mod chain;
mod changes;
mod columns;
mod directory;
mod holds;
mod pattern;
mod screen;
mod table;
mod times;
mod told;
mod why;

pub use boards::{BOARD_COLUMNS, BoardColumn, board_table};
pub use changes::{Changes, Woken, end_by};
pub use columns::{Chosen, choose};
pub use directory::{BoardName, DirArgs, LockDirectory, Trouble};
pub use holds::{HOLD_COLUMNS, HoldColumn, hold_table};
pub use pattern::{Pattern, is_temporary_name, select};
pub use screen::{Screen, put};
pub use table::Room;
pub use times::{Clock, moment};
pub use told::clean;
pub use why::{Asking, explain};
