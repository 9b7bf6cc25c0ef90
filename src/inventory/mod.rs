//! The inventory: a file in which an administrator lists the boards.

pub mod suggest;
pub mod temporary;
