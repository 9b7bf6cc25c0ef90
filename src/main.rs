//! The `boardlock` command.

fn main() {}
