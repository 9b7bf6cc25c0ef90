//! What the commands have in common that look at a lock directory from outside, as any
//! other program does: which directory it is, and which board is meant.

mod directory;

pub use directory::{BoardName, DirArgs, LockDirectory, Trouble};
