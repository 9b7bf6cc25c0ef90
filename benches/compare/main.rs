//! What boardlock costs, beside its peers, all in one run and in turn:
//!
//! - a tmpfs, with the kernel's own locks;
//! - a bare file system by fuser that answers the same requests and does nothing (one
//!   thread, a process of its own, mounted directly): the floor under any that is made
//!   with it;
//! - boardlock as it is by default, with its state file on the tmpfs, where /run is.
//!
//! Five groups: `cycles` (system calls of one process), `commands` (as scripts run
//! them, and what other lock tools do), `handover` (from a holder to who waits),
//! `growth` (the same with many boards, holders and waiters; memory; start), `idle`
//! (how often who serves wakes up with nothing to do). Each figure is the median of
//! rounds in which all places take their turn; a ratio is the median of the rounds'
//! own ratios, since a round is one state of the machine.
//!
//! `cargo bench --bench compare [-- [GROUP..] [--rounds N] [--json FILE] [--svg FILE]]`,
//! as root, for the mounts. What a group needs that is not installed is said and left out.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod commands;
mod cycles;
mod floor;
mod growth;
mod handover;
mod idle;
mod picture;
mod places;
mod report;
mod roles;

use std::path::{Path, PathBuf};

use clap::Parser;

use report::Report;

/// What is measured.
#[derive(Parser)]
struct Args {
    /// Of these groups only: cycles, commands, handover, growth, idle
    groups: Vec<String>,
    /// Rounds in which all take their turn
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Hand-overs of each kind
    #[arg(long, default_value_t = 500)]
    handovers: usize,
    /// How many boards are held at most in `growth`
    #[arg(long, default_value_t = 100_000)]
    boards: usize,
    /// How many processes hold at most in `growth`
    #[arg(long, default_value_t = 10_000)]
    holders: usize,
    /// How long who serves is watched doing nothing, in seconds
    #[arg(long, default_value_t = 60)]
    idle: u64,
    /// Write all figures to this file
    #[arg(long)]
    json: Option<PathBuf>,
    /// Draw the ratios into this file
    #[arg(long)]
    svg: Option<PathBuf>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    if let ["role", name, rest @ ..] = &words[..] {
        return roles::play(name, rest);
    }
    let args = Args::parse();
    if !rustix::process::geteuid().is_root() {
        println!("compare: needs root, for a tmpfs and direct mounts");
        return;
    }
    let wants = |group: &str| args.groups.is_empty() || args.groups.iter().any(|g| g == group);
    let mut report = Report::new(args.rounds);
    if wants("cycles") {
        cycles::measure(&mut report);
    }
    if wants("commands") {
        commands::measure(&mut report);
    }
    if wants("handover") {
        handover::measure(&mut report, args.handovers);
    }
    if wants("growth") {
        growth::measure(&mut report, args.boards, args.holders);
    }
    if wants("idle") {
        idle::measure(&mut report, args.idle);
    }
    report.print();
    if let Some(file) = &args.json {
        std::fs::write(file, report.json()).unwrap();
    }
    if let Some(file) = &args.svg {
        std::fs::write(file, picture::draw(&report)).unwrap();
    }
}

fn arg(path: &Path) -> &str {
    path.to_str().unwrap()
}
