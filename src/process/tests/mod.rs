//! The rules, against made-up trees and against real processes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod chains;
mod numbers;
mod real;
mod strings;
mod tree;
