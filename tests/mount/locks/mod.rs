//! File locks as programs use them: the same cases on a tmpfs and on the mount,
//! which differ only where a case says so, and why.

mod actor;
mod calls;
mod flock1;
mod libraries;
mod mixed;
mod play;
mod side;
mod signals;
mod stress;
mod terminal;
mod tools;
mod waiting;

use libtest_mimic::Trial;

pub fn tests() -> Vec<Trial> {
    [
        calls::tests(),
        flock1::tests(),
        libraries::tests(),
        mixed::tests(),
        signals::tests(),
        stress::tests(),
        tools::tests(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
