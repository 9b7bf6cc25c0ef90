//! `boardlock check-boards`: an inventory is looked at before it counts.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::inventory;
use crate::lock::boards::Boards;
use crate::printable::printable;

/// The arguments of `boardlock check-boards`.
#[derive(Args, Clone, Debug)]
pub struct CheckBoardsArgs {
    /// The inventory
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Runs `boardlock check-boards`.
pub fn run(args: &CheckBoardsArgs) -> ExitCode {
    match inventory::load(&args.file) {
        Ok(boards) => {
            // Who does not read it does not want it.
            let _ = std::io::stdout().write_all(summary(&boards).as_bytes());
            ExitCode::SUCCESS
        }
        Err(broken) => {
            super::complain(&broken.to_string());
            ExitCode::FAILURE
        }
    }
}

/// What a typing error in a pool's name would show in.
fn summary(boards: &Boards) -> String {
    let out = |(_, board): &(&[u8], &crate::lock::boards::Board)| board.out_of_service.is_some();
    let mut text = format!(
        "{} boards, {} of them out of service; {} directories\n",
        boards.len(),
        boards.iter().filter(out).count(),
        boards.directories().count()
    );
    for (pool, paths) in boards.pools() {
        let paths: Vec<String> = paths.into_iter().map(printable).collect();
        text.push_str(&format!("pool {}: {}\n", printable(pool), paths.join(", ")));
    }
    text
}
